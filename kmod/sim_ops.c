// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_ops.c - what each command does: the integer ones
 *
 * Arguments were checked before (dmo_abi_check_command). Memory is used a page at a time, one operand
 * after the other through a buffer, so that a device with a single page makes progress, too.
 */
#include "sim.h"

#include <linux/crc32.h>
#include <linux/err.h>
#include <linux/minmax.h>
#include <linux/string.h>

typedef int sim_op_fn(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c);

static u64 in_page(u64 va, u64 bytes)
{
	return min_t(u64, bytes, SIM_PAGE - va % SIM_PAGE);
}

/* sim_touch for a command, whose completion tells the address that failed. */
static void *touch(struct sim_pt *pt, u64 va, u64 more, bool write, struct dmo_completion *c)
{
	void *at = sim_touch(pt, va, more, write);

	if (IS_ERR(at))
		c->va = va;
	return at;
}

static int load(struct sim_pt *pt, u64 va, u64 more, void *to, u64 n, struct dmo_completion *c)
{
	void *at = touch(pt, va, more, false, c);

	if (IS_ERR(at))
		return PTR_ERR(at);
	memcpy(to, at, n);
	up_read(&pt->sem);
	return 0;
}

static int store(struct sim_pt *pt, u64 va, u64 more, const void *from, u64 n, struct dmo_completion *c)
{
	void *at = touch(pt, va, more, true, c);

	if (IS_ERR(at))
		return PTR_ERR(at);
	memcpy(at, from, n);
	up_read(&pt->sem);
	return 0;
}

static int op_nop(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	return 0;
}

static int op_fill(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	u64 va = arg[0], left = arg[1], n;

	for (; left; va += n, left -= n) {
		void *at = touch(pt, va, left, true, c);

		if (IS_ERR(at))
			return PTR_ERR(at);
		n = in_page(va, left);
		memset(at, arg[2], n);
		up_read(&pt->sem);
		cond_resched();
	}
	return 0;
}

static int op_copy(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	u64 dst = arg[0], src = arg[1], left = arg[2], n;
	int err = 0;

	for (; left && !err; dst += n, src += n, left -= n) {
		n = min(in_page(dst, left), in_page(src, left));
		err = load(pt, src, left, pt->buffer, n, c);
		if (!err)
			err = store(pt, dst, left, pt->buffer, n, c);
		cond_resched();
	}
	return err;
}

/* POSIX cksum appends the number of bytes, lowest first, as many as it needs. */
static u32 finish_cksum(u32 crc, u64 bytes)
{
	for (; bytes; bytes >>= 8) {
		u8 byte = bytes;

		crc = crc32_be(crc, &byte, 1);
	}
	return ~crc;
}

static int op_cksum(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	u64 va = arg[0], left = arg[1], n;
	u32 crc = arg[2];

	for (; left; va += n, left -= n) {
		const void *at = touch(pt, va, left, false, c);

		if (IS_ERR(at))
			return PTR_ERR(at);
		n = in_page(va, left);
		crc = crc32_be(crc, at, n);
		up_read(&pt->sem);
		cond_resched();
	}
	c->result[0] = arg[4] ? finish_cksum(crc, arg[3] + arg[1]) : crc;
	return 0;
}

static u64 first_difference(const u8 *a, const u8 *b, u64 n)
{
	u64 i = 0;

	while (i < n && a[i] == b[i])
		i++;
	return i;
}

/* How many of n bytes are the same at a and at b, before the first that are not. */
static int compare_part(struct sim_pt *pt, u64 a, u64 b, u64 left, u64 n, u64 *same, struct dmo_completion *c)
{
	int err = load(pt, a, left, pt->buffer, n, c);
	const void *at;

	if (err)
		return err;
	at = touch(pt, b, left, false, c);
	if (IS_ERR(at))
		return PTR_ERR(at);
	*same = memcmp(at, pt->buffer, n) ? first_difference(at, pt->buffer, n) : n;
	up_read(&pt->sem);
	return 0;
}

static int op_compare(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	u64 done = 0, same = 0, n = 0;
	int err = 0;

	for (; done < arg[2] && same == n && !err; done += same) {
		u64 a = arg[0] + done, b = arg[1] + done, left = arg[2] - done;

		n = min(in_page(a, left), in_page(b, left));
		err = compare_part(pt, a, b, left, n, &same, c);
		cond_resched();
	}
	c->result[0] = done;
	return err;
}

static int op_chase(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	u64 at = arg[0];
	int err = 0;

	for (u64 hop = 0; hop < arg[1] && !err; hop++) {
		if (at % sizeof(at)) {
			c->va = at;
			return -EINVAL;
		}
		err = load(pt, at, sizeof(at), &at, sizeof(at), c);
		cond_resched();
	}
	c->result[0] = at;
	return err;
}

static int op_atomic_add(struct sim_pt *pt, const u64 *arg, struct dmo_completion *c)
{
	atomic64_t *at = touch(pt, arg[0], sizeof(u64), true, c);

	if (IS_ERR(at))
		return PTR_ERR(at);
	c->result[0] = atomic64_fetch_add(arg[1], at);
	up_read(&pt->sem);
	return 0;
}

/* Those that are not here compute with floating point, which the kernel doesn't. */
static sim_op_fn *const operations[DMO_OP_COUNT] = {
	[DMO_OP_NOP] = op_nop, [DMO_OP_FILL] = op_fill, [DMO_OP_COPY] = op_copy, [DMO_OP_CKSUM] = op_cksum,
	[DMO_OP_COMPARE] = op_compare, [DMO_OP_CHASE] = op_chase, [DMO_OP_ATOMIC_ADD] = op_atomic_add,
};

int sim_op(struct sim_pt *pt, const struct dmo_command *cmd, struct dmo_completion *c)
{
	sim_op_fn *op = cmd->op < DMO_OP_COUNT ? operations[cmd->op] : NULL;

	return op ? op(pt, cmd->arg, c) : -EOPNOTSUPP;
}
