// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_exec.c - the queue of commands
 *
 * One worker runs a page table's queue, a command at a time; page tables run side by side.
 */
#include "sim.h"

#include <linux/ktime.h>
#include <linux/slab.h>

struct queued {
	struct list_head link;
	struct dmo_command command;
};

static int run_command(struct sim_pt *pt, const struct dmo_command *cmd, struct dmo_completion *c)
{
	if (READ_ONCE(pt->sim->lost))
		return -EIO;
	if (READ_ONCE(pt->dying))
		return -ECANCELED;
	return sim_op(pt, cmd, c);
}

/* A command that failed has no results; one that was cancelled failed at no address. */
static void run_one(struct sim_pt *pt, const struct dmo_command *cmd)
{
	struct dmo_completion c = { .cookie = cmd->cookie, .op = cmd->op };
	u64 start = ktime_get_ns();

	pt->faults = 0;
	pt->waited_ns = 0;
	sim_touch_begin(pt);
	c.status = run_command(pt, cmd, &c);
	if (c.status)
		c.result[0] = 0;
	if (c.status == -ECANCELED)
		c.va = 0;
	c.faults = pt->faults;
	c.waited_ns = pt->waited_ns;
	c.ran_ns = ktime_get_ns() - start;
	dmo_dev_complete(pt->as, &c);
}

static struct queued *next_queued(struct sim_pt *pt)
{
	struct queued *q;

	spin_lock(&pt->queue_lock);
	q = list_first_entry_or_null(&pt->queue, struct queued, link);
	if (q)
		list_del(&q->link);
	spin_unlock(&pt->queue_lock);
	return q;
}

static void run_queue(struct work_struct *work)
{
	struct sim_pt *pt = container_of(work, struct sim_pt, work);
	struct queued *q;

	while ((q = next_queued(pt))) {
		run_one(pt, &q->command);
		kfree(q);
		cond_resched();
	}
}

static void free_queued(struct list_head *list)
{
	struct queued *q, *next;

	list_for_each_entry_safe(q, next, list, link)
		kfree(q);
}

int sim_submit(void *priv, const struct dmo_command *cmds, u32 count)
{
	struct sim_pt *pt = priv;
	LIST_HEAD(list);

	for (u32 i = 0; i < count; i++) {
		struct queued *q = kmalloc(sizeof(*q), GFP_KERNEL);

		if (!q) {
			free_queued(&list);
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

void sim_exec_init(struct sim_pt *pt)
{
	spin_lock_init(&pt->queue_lock);
	INIT_LIST_HEAD(&pt->queue);
	INIT_WORK(&pt->work, run_queue);
}

void sim_exec_end(struct sim_pt *pt)
{
	WRITE_ONCE(pt->dying, true);
	flush_work(&pt->work);
}
