// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_exec.c - the simulated device's commands: the integer ones
 *
 * One worker runs a page table's queue, a command at a time, a page at a time. An access that misses
 * faults and sleeps.
 */
#include "sim.h"

#include <linux/err.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

struct queued {
	struct list_head link;
	struct dmo_command command;
};

/* ---- memory, a page at a time --------------------------------------------- */

static u64 in_page(u64 va, u64 bytes)
{
	return min_t(u64, bytes, SIM_PAGE - va % SIM_PAGE);
}

static int read_page(struct sim_pt *pt, u64 va, u64 more, void *to, u64 n)
{
	void *at = sim_touch(pt, va, more, false);

	if (IS_ERR(at))
		return PTR_ERR(at);
	memcpy(to, at, n);
	up_read(&pt->sem);
	return 0;
}

static int write_page(struct sim_pt *pt, u64 va, u64 more, const void *from, u64 n)
{
	void *at = sim_touch(pt, va, more, true);

	if (IS_ERR(at))
		return PTR_ERR(at);
	memcpy(at, from, n);
	up_read(&pt->sem);
	return 0;
}

/* ---- commands: 0 or -errno, with where it failed in c->va ----------------- */

static int op_nop(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	return 0;
}

static int op_fill(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	u64 va = arg[0], left = arg[1], n;

	for (; left; va += n, left -= n) {
		void *at = sim_touch(pt, va, left, true);

		c->va = va;
		if (IS_ERR(at))
			return PTR_ERR(at);
		n = in_page(va, left);
		memset(at, arg[2], n);
		up_read(&pt->sem);
	}
	return 0;
}

static int op_copy(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	u64 dst = arg[0], src = arg[1], left = arg[2], n;
	int err;

	for (; left; dst += n, src += n, left -= n) {
		n = min(in_page(dst, left), in_page(src, left));
		c->va = src;
		err = read_page(pt, src, left, pt->buffer, n);
		if (err)
			return err;
		c->va = dst;
		err = write_page(pt, dst, left, pt->buffer, n);
		if (err)
			return err;
	}
	return 0;
}

/* POSIX cksum: CRC-32 by 0x04c11db7, the highest bit first. */
static u32 crc_byte(u32 crc, u8 byte)
{
	crc ^= (u32)byte << 24;
	for (int i = 0; i < 8; i++)
		crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7 : 0);
	return crc;
}

static u32 crc_table[256];

static void make_crc_table(void)
{
	for (int i = 0; i < 256; i++)
		crc_table[i] = crc_byte(0, i);
}

static u32 crc_bytes(u32 crc, const u8 *at, u64 n)
{
	while (n--)
		crc = crc << 8 ^ crc_table[crc >> 24 ^ *at++];
	return crc;
}

static int op_cksum(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	u64 va = arg[0], left = arg[1], total = arg[3] + arg[1], n;
	u32 crc = arg[2];
	int err;

	for (; left; va += n, left -= n) {
		n = in_page(va, left);
		c->va = va;
		err = read_page(pt, va, left, pt->buffer, n);
		if (err)
			return err;
		crc = crc_bytes(crc, pt->buffer, n);
	}
	for (; arg[4] && total; total >>= 8)
		crc = crc << 8 ^ crc_table[crc >> 24 ^ (total & 0xff)];
	c->result[0] = arg[4] ? (u32)~crc : crc;
	return 0;
}

/* Where the buffer and n bytes at va first differ, or n. */
static int differ(struct sim_pt *pt, u64 va, u64 more, u64 n, u64 *where)
{
	const char *at = sim_touch(pt, va, more, false);

	if (IS_ERR(at))
		return PTR_ERR(at);
	for (*where = 0; *where < n && at[*where] == pt->buffer[*where];)
		++*where;
	up_read(&pt->sem);
	return 0;
}

static int op_compare(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	u64 done = 0, n, where;
	int err;

	for (; done < arg[2]; done += n) {
		u64 a = arg[0] + done, b = arg[1] + done, left = arg[2] - done;

		n = min(in_page(a, left), in_page(b, left));
		c->va = a;
		err = read_page(pt, a, left, pt->buffer, n);
		if (err)
			return err;
		c->va = b;
		err = differ(pt, b, left, n, &where);
		if (err)
			return err;
		if (where < n) {
			c->result[0] = done + where;
			return 0;
		}
	}
	c->result[0] = arg[2];
	return 0;
}

static int op_chase(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	u64 at = arg[0];
	int err;

	for (u64 hop = 0; hop < arg[1] && !READ_ONCE(pt->dying); hop++) {
		c->va = at;
		if (at % sizeof(at))
			return -EINVAL;
		err = read_page(pt, at, sizeof(at), &at, sizeof(at));
		if (err)
			return err;
	}
	c->result[0] = at;
	return READ_ONCE(pt->dying) ? -ECANCELED : 0;
}

static int op_atomic_add(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	atomic64_t *at = sim_touch(pt, arg[0], sizeof(u64), true);

	c->va = arg[0];
	if (IS_ERR(at))
		return PTR_ERR(at);
	c->result[0] = atomic64_fetch_add(arg[1], at);
	up_read(&pt->sem);
	return 0;
}

static int (*const commands[])(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c) = {
	[DMO_OP_NOP] = op_nop, [DMO_OP_FILL] = op_fill, [DMO_OP_COPY] = op_copy, [DMO_OP_CKSUM] = op_cksum,
	[DMO_OP_COMPARE] = op_compare, [DMO_OP_CHASE] = op_chase, [DMO_OP_ATOMIC_ADD] = op_atomic_add,
};

/* ---- the queue ------------------------------------------------------------ */

static void run_one(struct sim_pt *pt, const struct dmo_command *cmd)
{
	struct dmo_completion c = { .cookie = cmd->cookie, .op = cmd->op };
	u64 start = ktime_get_ns();

	if (READ_ONCE(pt->dying))
		c.status = -ECANCELED;
	else if (cmd->op >= ARRAY_SIZE(commands))
		c.status = -EOPNOTSUPP;		/* floating point */
	else
		c.status = commands[cmd->op](pt, cmd->arg, &c);
	if (!c.status)
		c.va = 0;
	c.ran_ns = ktime_get_ns() - start;
	dmo_dev_complete(pt->as, &c);
}

static struct queued *next(struct sim_pt *pt)
{
	struct queued *q;

	spin_lock(&pt->queue_lock);
	q = list_first_entry_or_null(&pt->queue, struct queued, link);
	if (q)
		list_del(&q->link);
	spin_unlock(&pt->queue_lock);
	return q;
}

void sim_exec_work(struct work_struct *work)
{
	struct sim_pt *pt = container_of(work, struct sim_pt, work);
	struct queued *q;

	while ((q = next(pt))) {
		run_one(pt, &q->command);
		kfree(q);
		cond_resched();
	}
}

static void free_list(struct list_head *list)
{
	struct queued *q, *next;

	list_for_each_entry_safe(q, next, list, link)
		kfree(q);
}

int sim_submit(void *priv, const struct dmo_command *cmds, u32 count)
{
	struct sim_pt *pt = priv;
	LIST_HEAD(list);

	if (!crc_table[1])
		make_crc_table();
	for (u32 i = 0; i < count; i++) {
		struct queued *q = kmalloc(sizeof(*q), GFP_KERNEL);

		if (!q) {
			free_list(&list);
			return -ENOMEM;
		}
		q->command = cmds[i];
		list_add_tail(&q->link, &list);
	}
	spin_lock(&pt->queue_lock);
	list_splice_tail(&list, &pt->queue);
	spin_unlock(&pt->queue_lock);
	queue_work(pt->sim->commands, &pt->work);
	return 0;
}

void sim_exec_end(struct sim_pt *pt)
{
	WRITE_ONCE(pt->dying, true);
	flush_work(&pt->work);
}
