// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * command.c - commands for devices that take no faults
 *
 * Such a device stops at a missing translation. So what a command names is made resident and mapped before
 * it starts, and until it has ended its blocks stay MOVING, their copies pinned: CPUs wait, nothing is
 * evicted, truncated or unmapped. Commands of a context run one after the other.
 *
 *	queued --start--> collect --> hold each block, in order --> submitted --kdm_command_done--> end
 *	                                 ^    |
 *	                                 +----+ a barrier, or no memory: all are let go first
 *
 * Commands of several contexts hold memory side by side. One that finds none waits until no other has any
 * and goes alone; only then is ENOSPC the answer. One that names more than the device may hold gets it at
 * once.
 *
 * Locks: as->out_lock the queue, running and paused; dev->lock staged and alone. A command that runs is its
 * works' alone. `end` waits for no block and has a workqueue of its own: those who wait for blocks can't
 * keep it from letting them go.
 */
#include "internal.h"

#include "core/command.h"

#include <linux/delay.h>

#define BUSY_ROUNDS	100	/* while pages are in use by direct I/O or the like */
#define PAUSE_MAX_MS	20

struct kdm_staged {
	struct list_head link;
	struct dmo_command command;
	struct dmo_completion completion;
	struct dmo_named_blocks named;
	bool alone;			/* no other command of the device may have memory */
};

#define FOR_EACH_NAMED(t, s) \
	for (struct dmo_named *t = (s)->named.blocks; t && t != (s)->named.blocks + (s)->named.count; t++)

/* ---- who has memory ------------------------------------------------------- */

static bool try_begin(struct dmo_dev *dev, bool alone)
{
	bool may;

	mutex_lock(&dev->lock);
	may = alone ? !dev->staged : !dev->alone;
	dev->staged += may;
	mutex_unlock(&dev->lock);
	return may;
}

static void begin(struct dmo_dev *dev, bool alone)
{
	if (alone) {		/* others wait from now on */
		mutex_lock(&dev->lock);
		dev->alone++;
		mutex_unlock(&dev->lock);
	}
	while (!try_begin(dev, alone))
		wait_event(dev->wait, alone ? !READ_ONCE(dev->staged) : !READ_ONCE(dev->alone));
}

static void end_turn(struct dmo_dev *dev, bool alone)
{
	mutex_lock(&dev->lock);
	dev->staged--;
	dev->alone -= alone;
	mutex_unlock(&dev->lock);
	wake_up_all(&dev->wait);
}

/* ---- collecting and holding ----------------------------------------------- */

/* The blocks, with a use of the object of each. */
static int collect(struct dmo_as *as, struct kdm_staged *s)
{
	u64 limit;
	int err;

	mutex_lock(&as->dev->lock);
	limit = as->dev->core.limit;
	mutex_unlock(&as->dev->lock);
	mutex_lock(&as->lock);
	err = dmo_command_blocks(&s->named, &kdm_mem, &as->space, &s->command, limit);
	FOR_EACH_NAMED(t, s)
		kdm_obj_get(t->object);
	mutex_unlock(&as->lock);
	return err;
}

static void let_go(struct dmo_as *as, struct kdm_staged *s)
{
	FOR_EACH_NAMED(t, s) {
		if (t->held)
			kdm_let_go(t->held, as->dev);
		t->held = NULL;
	}
}

static int hold(struct dmo_as *as, struct kdm_staged *s, struct dmo_named *t)
{
	struct kdm_access a = {
		.obj = t->object, .dev = as->dev, .as = as, .page = t->index * DMO_BLOCK_PAGES + t->first,
		.first = t->first, .count = t->last - t->first + 1,
		.write = t->write, .whole = true, .pin = true, .hold = true, .holds = t != s->named.blocks,
	};
	int err = READ_ONCE(as->closing) ? -ECANCELED : kdm_access(&a);

	t->held = a.held;
	return err;
}

/* All of them, with a turn at the device's memory; or none, and no turn. */
static int hold_all(struct dmo_as *as, struct kdm_staged *s)
{
	int err = 0;

	begin(as->dev, s->alone);
	FOR_EACH_NAMED(t, s) {
		err = hold(as, s, t);
		if (err)
			break;
	}
	if (err) {
		let_go(as, s);
		end_turn(as->dev, s->alone);
	}
	return err;
}

/* 0: what kept the command from its blocks may be over in a while. */
static int try_again(struct kdm_staged *s, int err, unsigned int round)
{
	if (err == -ENOSPC && !s->alone) {
		s->alone = true;
		return 0;
	}
	if (err == -EBUSY && round < BUSY_ROUNDS)
		s->alone = true;
	else if (err != -EAGAIN)
		return err;
	msleep(min(round + 1, PAUSE_MAX_MS));
	return 0;
}

static int prepare(struct dmo_as *as, struct kdm_staged *s)
{
	int err = collect(as, s);

	for (unsigned int round = 0; !err; round++) {
		err = hold_all(as, s);
		if (!err)
			return 0;
		err = try_again(s, err, round);
	}
	if (err == -ENODEV)
		return READ_ONCE(as->closing) ? -ECANCELED : -EIO;
	return err;
}

/* ---- one command ---------------------------------------------------------- */

static struct kdm_staged *take_next(struct dmo_as *as)
{
	struct kdm_staged *s = NULL;

	spin_lock(&as->out_lock);
	if (!as->running && (!as->paused || READ_ONCE(as->closing)))
		s = list_first_entry_or_null(&as->queue, struct kdm_staged, link);
	if (s) {
		list_del(&s->link);
		as->running = s;
	}
	spin_unlock(&as->out_lock);
	return s;
}

static void finish(struct dmo_as *as, struct kdm_staged *s)
{
	FOR_EACH_NAMED(t, s)
		kdm_obj_put_later(t->object);
	dmo_named_fini(&s->named);
	kdm_as_complete(as, &s->completion);
	spin_lock(&as->out_lock);
	as->running = NULL;
	spin_unlock(&as->out_lock);
	wake_up_all(&as->wait);
	kfree(s);
}

static int submit(struct dmo_as *as, struct kdm_staged *s)
{
	int err;

	mutex_lock(&as->lock);
	err = as->pt ? as->dev->ops->submit(as->pt, &s->command, 1) : -ECANCELED;
	mutex_unlock(&as->lock);
	return err;
}

/* After 0 the command is the device's, and perhaps over. */
static int run(struct dmo_as *as, struct kdm_staged *s)
{
	int err = READ_ONCE(as->closing) ? -ECANCELED : prepare(as, s);

	if (err)
		return err;
	err = submit(as, s);
	if (err) {
		let_go(as, s);
		end_turn(as->dev, s->alone);
	}
	return err;
}

static void start_work(struct work_struct *work)
{
	struct dmo_as *as = container_of(work, struct dmo_as, start);
	struct kdm_staged *s;

	while ((s = take_next(as))) {
		int err = run(as, s);

		if (!err)
			return;		/* end_work goes on */
		s->completion = (struct dmo_completion){
			.cookie = s->command.cookie, .op = s->command.op, .status = err,
		};
		finish(as, s);
	}
}

static void end_work(struct work_struct *work)
{
	struct dmo_as *as = container_of(work, struct dmo_as, end);
	struct kdm_staged *s = as->running;

	let_go(as, s);
	end_turn(as->dev, s->alone);
	finish(as, s);
	queue_work(kdm_wq, &as->start);
}

void kdm_command_done(struct dmo_as *as, const struct dmo_completion *c)
{
	struct kdm_staged *s = READ_ONCE(as->running);

	if (WARN_ON_ONCE(!s))
		return;
	s->completion = *c;
	queue_work(kdm_end_wq, &as->end);
}

/* ---- the queue ------------------------------------------------------------ */

void kdm_commands_init(struct dmo_as *as)
{
	INIT_LIST_HEAD(&as->queue);
	INIT_WORK(&as->start, start_work);
	INIT_WORK(&as->end, end_work);
}

int kdm_commands_queue(struct dmo_as *as, const struct dmo_command *cmds, unsigned int n)
{
	struct kdm_staged *s, *next;
	LIST_HEAD(list);

	for (unsigned int i = 0; i < n; i++) {
		s = kzalloc(sizeof(*s), GFP_KERNEL);
		if (!s)
			goto out_free;
		s->command = cmds[i];
		list_add_tail(&s->link, &list);
	}
	spin_lock(&as->out_lock);
	list_splice_tail(&list, &as->queue);
	spin_unlock(&as->out_lock);
	queue_work(kdm_wq, &as->start);
	return 0;

out_free:
	list_for_each_entry_safe(s, next, &list, link)
		kfree(s);
	return -ENOMEM;
}

int kdm_commands_pause(struct dmo_as *as)
{
	spin_lock(&as->out_lock);
	as->paused++;
	spin_unlock(&as->out_lock);
	if (!wait_event_killable(as->wait, !READ_ONCE(as->running)))
		return 0;
	kdm_commands_resume(as);
	return -EINTR;
}

void kdm_commands_resume(struct dmo_as *as)
{
	bool more;

	spin_lock(&as->out_lock);
	as->paused--;
	more = !list_empty(&as->queue);
	spin_unlock(&as->out_lock);
	if (more)
		queue_work(kdm_wq, &as->start);
}

static bool idle(struct dmo_as *as)
{
	bool none;

	spin_lock(&as->out_lock);
	none = !as->running && list_empty(&as->queue);
	spin_unlock(&as->out_lock);
	return none;
}

void kdm_commands_end(struct dmo_as *as)
{
	do {
		flush_work(&as->start);
		wait_event(as->wait, !READ_ONCE(as->running));
		flush_work(&as->end);
		flush_work(&as->start);
	} while (!idle(as));
}
