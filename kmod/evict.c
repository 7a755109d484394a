// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * evict.c - pages leave a device, or are written back and stay
 *
 * It takes a copy whole: translations go (dirty bits are harvested), the CPU is unmapped where it
 * reached the memory, dirty pages are copied out and written through the filesystem with no lock held,
 * clean ones are just dropped, the chunks are freed. If that fails the copy stays as it is, dirty, and
 * fsync tells (invariant 3).
 *
 * Each device has a thread that keeps its memory between the watermarks; whoever needs memory at once
 * evicts by itself. Victims come from the cold end of the LRU list; one whose translations were used
 * since the last look gets another round. A victim is taken only if its object's lock and its block are
 * free, so that two moves never wait for each other's blocks.
 */
#include "internal.h"
#include "dmo_trace.h"

#include <linux/freezer.h>
#include <linux/kthread.h>

#define LOOK_MAX	32	/* copies looked at for one victim */
#define WAIT_MS		10
#define WAITS_MAX	20
#define RETRY_MS	100	/* of the evictor, when it gave up above the upper watermark */

/* ---- the list ------------------------------------------------------------- */

static bool is_cold(struct dmo_copy *c)
{
	struct dmo_attr attr;

	dmo_attrs_get(&c->block->object->attrs, kdm_block_pgoff(c->block), &attr, NULL);
	return attr.flags & DMO_ATTR_COLD;
}

/* To the hot end of the list; obj->lock held. */
void kdm_copy_touch(struct dmo_copy *c)
{
	struct dmo_dev *dev = kdm_dev_of(c->dev);
	bool cold = is_cold(c);

	mutex_lock(&dev->lock);
	c->accessed = ++dev->core.clock;
	dmo_list_remove(&c->lru);
	dmo_list_append(cold ? dev->core.lru.next : &dev->core.lru, &c->lru);
	mutex_unlock(&dev->lock);
}

void kdm_copy_freed(struct dmo_copy *c)
{
	struct dmo_dev *dev = kdm_dev_of(c->dev);

	mutex_lock(&dev->lock);
	dmo_copy_free(c);
	mutex_unlock(&dev->lock);
	wake_up_all(&dev->wait);
}

/* May c go? dev->lock and its object's lock held. One that was used, or prefetched, moves to the hot end. */
static bool may_go(struct dmo_dev *dev, struct dmo_copy *c, unsigned int looked)
{
	struct kdm_obj *obj = kdm_obj_of(c->block->object);

	if (c->pins || c->block->state != DMO_BLOCK_IDLE || c->block->io || obj->barrier)
		return false;
	if (looked < LOOK_MAX / 2 && (kdm_block_accessed(c->block, dev) || c->owed)) {
		c->owed = false;
		c->accessed = dev->core.clock;
		dmo_list_remove(&c->lru);
		dmo_list_append(&dev->core.lru, &c->lru);
		return false;
	}
	return true;
}

/* The copy that goes next: its object, with a use and its lock, or NULL. */
static struct kdm_obj *find_victim(struct dmo_dev *dev, struct dmo_block **b)
{
	struct kdm_obj *found = NULL;
	struct dmo_link *l, *next;
	unsigned int looked = 0;

	mutex_lock(&dev->lock);
	for (l = dev->core.lru.next; l != &dev->core.lru && !found && looked < LOOK_MAX; l = next, looked++) {
		struct dmo_copy *c = dmo_container_of(l, struct dmo_copy, lru);
		struct kdm_obj *obj = kdm_obj_of(c->block->object);

		next = l->next;
		if (!mutex_trylock(&obj->lock))
			continue;
		if (may_go(dev, c, looked)) {
			kdm_obj_get(obj);	/* a copy keeps the object (retire) */
			*b = c->block;
			found = obj;
		} else {
			mutex_unlock(&obj->lock);
		}
	}
	mutex_unlock(&dev->lock);
	return found;
}

bool kdm_coldest(struct dmo_dev *dev, u64 *accessed)
{
	struct dmo_block *b;
	struct kdm_obj *obj = find_victim(dev, &b);

	if (!obj)
		return false;
	*accessed = dmo_block_copy(b, &dev->core)->accessed;
	mutex_unlock(&obj->lock);
	kdm_obj_put_later(obj);
	return true;
}

/* ---- one copy ------------------------------------------------------------- */

static int copy_out(struct kdm_obj *obj, struct dmo_copy *c, const u64 *dirty)
{
	unsigned int first, n;
	int err = 0;

	KDM_FOR_EACH_RUN(dirty, first, n) {
		err = kdm_copy_out(obj, c, first, n);
		if (err)
			break;
	}
	return err;
}

/*
 * CPU mappings of the memory go: an evicted page's for good, a cleaned one's so that the next store
 * finds it dirty again. *busy: direct I/O or the like may store into it at any time.
 */
static int unmap_cpu(struct kdm_obj *obj, struct dmo_plan *plan, struct dmo_copy *c, bool *busy)
{
	bool evict = plan->kind == DMO_PLAN_EVICT;
	int err = kdm_unmap_copy(obj, c, evict ? plan->first : 0, evict ? plan->count : DMO_BLOCK_PAGES);

	*busy = err == -EBUSY;
	return evict ? err : 0;
}

/*
 * The block is MOVING, the lock held: EVICT's or CLEAN's copies, then the commit. What is busy stays
 * dirty.
 */
static int write_out(struct kdm_obj *obj, struct dmo_plan *plan, bool *dirty)
{
	struct dmo_copy *c = dmo_block_copy(plan->block, plan->dev);
	bool busy = false;
	int err = 0;

	kdm_release_pages(plan->block, plan->steps[DMO_STEP_RELEASE]);
	kdm_wprotect_pages(plan->block, plan->steps[DMO_STEP_WPROTECT]);
	dmo_plan_copies(plan);
	*dirty = dmo_plan_has(plan, DMO_STEP_COPY_OUT);
	if (*dirty || kdm_coherent(plan->dev)) {
		mutex_unlock(&obj->lock);
		err = unmap_cpu(obj, plan, c, &busy);
		if (!err)
			err = copy_out(obj, c, plan->steps[DMO_STEP_COPY_OUT]);
		mutex_lock(&obj->lock);
	}
	if (!err && !busy)
		dmo_plan_commit(plan);
	return err;
}

static void trim(struct dmo_copy *c)
{
	struct dmo_dev *dev = kdm_dev_of(c->dev);

	mutex_lock(&dev->lock);
	dmo_copy_trim(c);
	mutex_unlock(&dev->lock);
	wake_up_all(&dev->wait);
}

/* Pages [first, first + count) leave the copy; the block is MOVING and the lock held. */
static int evict_copy(struct kdm_obj *obj, struct dmo_copy *c, unsigned int first, unsigned int count)
{
	struct dmo_plan plan = { .block = c->block, .dev = c->dev, .first = first, .count = count };
	struct dmo_dev *dev = kdm_dev_of(c->dev);
	bool dirty;
	int err;

	dmo_plan_evict(&plan);
	err = write_out(obj, &plan, &dirty);
	if (trace_dmo_evict_enabled())
		trace_dmo_evict(dev, obj, kdm_block_pgoff(c->block) + first, count,
				dmo_bits_count(plan.steps[DMO_STEP_COPY_OUT]), err);
	if (err) {
		atomic64_inc(&dev->stats.evict_failed);
		if (err != -EBUSY)
			errseq_set(&obj->wb_err, err);
		return err;
	}
	atomic64_inc(dirty ? &dev->stats.evict_dirty : &dev->stats.evict_clean);
	if (dmo_bits_any(dmo_copy_bits(c, DMO_VALID))) {
		trim(c);
		return 0;
	}
	mutex_lock(&dev->lock);
	dmo_block_set_evicted(c->block, ++dev->core.clock);
	mutex_unlock(&dev->lock);
	kdm_copy_freed(c);
	return 0;
}

static int evict_copies(struct kdm_obj *obj, struct dmo_block *b, struct dmo_dev *dev, unsigned int first,
			unsigned int count)
{
	struct dmo_copy *c, *next;
	int err = 0;

	for (c = b->copies; c; c = next) {
		int one;

		next = c->next;
		if (dev && c->dev != &dev->core)
			continue;
		one = c->pins ? -EBUSY : evict_copy(obj, c, first, count);
		if (!err)
			err = one;
	}
	return err;
}

int kdm_evict_pages(struct kdm_obj *obj, struct dmo_dev *dev, u64 index, unsigned int first,
		    unsigned int count)
{
	struct dmo_block *b;
	int err = 0;

	mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, index);
	if (b && b->copies) {
		err = kdm_claim_moving(obj, index, &b);
		if (!err) {
			err = evict_copies(obj, b, dev, first, count);
			kdm_unclaim(b);
		}
	}
	mutex_unlock(&obj->lock);
	return err;
}

int kdm_evict_all(struct kdm_obj *obj, struct dmo_dev *dev)
{
	u64 index = 0;
	int err = 0;

	for (;;) {
		struct dmo_block *b;
		int one;

		mutex_lock(&obj->lock);
		b = dmo_radix_next(&obj->core.blocks, &index);
		mutex_unlock(&obj->lock);
		if (!b)
			return err;
		one = kdm_evict_pages(obj, dev, index++, 0, DMO_BLOCK_PAGES);
		if (!err)
			err = one;
	}
}

/* ---- making room ---------------------------------------------------------- */

/* Evicts one copy. 0, -EAGAIN: nothing could be had just now, or why the eviction failed. */
static int evict_one(struct dmo_dev *dev)
{
	struct dmo_block *b;
	struct kdm_obj *obj = find_victim(dev, &b);
	struct dmo_copy *c;
	int err;

	if (!obj)
		return -EAGAIN;
	b->users++;
	dmo_block_claim(b);
	dmo_block_move(b);		/* find_victim saw it idle, without I/O */
	err = dmo_block_open(b);
	if (!err)
		err = evict_copies(obj, b, dev, 0, DMO_BLOCK_PAGES);
	c = dmo_block_copy(b, &dev->core);
	if (err && c)
		kdm_copy_touch(c);	/* it stays; let others go first */
	kdm_unclaim(b);
	mutex_unlock(&obj->lock);
	kdm_obj_put_later(obj);
	return err == -EBUSY ? -EAGAIN : err;
}

static bool has_room(struct dmo_dev *dev, u64 frames)
{
	bool room;

	mutex_lock(&dev->lock);
	room = dev->core.used + frames <= dev->core.limit;
	mutex_unlock(&dev->lock);
	return room;
}

static bool all_pinned(struct dmo_dev *dev)
{
	bool pinned = true;

	mutex_lock(&dev->lock);
	for (struct dmo_link *l = dev->core.lru.next; l != &dev->core.lru && pinned; l = l->next)
		pinned = dmo_container_of(l, struct dmo_copy, lru)->pins;
	mutex_unlock(&dev->lock);
	return pinned;
}

/* The same without the lock, to wait for. */
static bool seems_to_have_room(struct dmo_dev *dev, u64 frames)
{
	return READ_ONCE(dev->core.used) + frames <= READ_ONCE(dev->core.limit);
}

/*
 * A device that manages its own memory has refused frames although the limit would allow them: one copy has
 * to go in any case.
 */
static bool refused(struct dmo_dev *dev, u64 frames)
{
	return dev->core.frames && frames && has_room(dev, frames);
}

int kdm_make_room(struct dmo_dev *dev, u64 frames)
{
	unsigned int waits = 0, failures = 0;
	bool one = refused(dev, frames);
	int err;

	atomic64_inc(&dev->stats.event_max);
	while (one || !has_room(dev, frames)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		if (READ_ONCE(dev->gone))
			return -ENODEV;
		err = evict_one(dev);
		one = one && err;
		if (!err || (err != -EAGAIN && ++failures < LOOK_MAX))
			continue;
		if (err != -EAGAIN || all_pinned(dev)) {
			atomic64_inc(&dev->stats.event_oom);
			return err == -EAGAIN ? -ENOSPC : err;
		}
		if (waits++ == WAITS_MAX)
			return -EBUSY;
		wait_event_killable_timeout(dev->wait, !one && seems_to_have_room(dev, frames),
					    msecs_to_jiffies(WAIT_MS));
	}
	return 0;
}

/* ---- the evictor ---------------------------------------------------------- */

void kdm_evictor_wake(struct dmo_dev *dev)
{
	WRITE_ONCE(dev->evict_now, true);
	wake_up_all(&dev->wait);
}

static bool above_low(struct dmo_dev *dev)
{
	bool above;

	mutex_lock(&dev->lock);
	above = dmo_policy_above_low(&dev->core);
	mutex_unlock(&dev->lock);
	return above;
}

static bool above_high(struct dmo_dev *dev)
{
	bool above;

	mutex_lock(&dev->lock);
	above = dmo_policy_above_high(&dev->core);
	mutex_unlock(&dev->lock);
	return above;
}

static void run_down(struct dmo_dev *dev)
{
	unsigned int failures = 0;

	atomic64_inc(&dev->stats.event_high);
	while (failures < LOOK_MAX && above_low(dev) && !kthread_should_stop())
		if (evict_one(dev))
			failures++;
}

static int evictor(void *arg)
{
	struct dmo_dev *dev = arg;

	while (!kthread_should_stop()) {
		/* above the mark after a run: everything was busy, or the store refused; again in a while */
		long t = above_high(dev) ? msecs_to_jiffies(RETRY_MS) : MAX_SCHEDULE_TIMEOUT;

		wait_event_idle_timeout(dev->wait, READ_ONCE(dev->evict_now) || kthread_should_stop(), t);
		WRITE_ONCE(dev->evict_now, false);
		if (above_high(dev))
			run_down(dev);
	}
	return 0;
}

int kdm_evictor_start(struct dmo_dev *dev)
{
	struct task_struct *t = kthread_run(evictor, dev, "dmo-evict/%s", dev->name);

	if (IS_ERR(t))
		return PTR_ERR(t);
	dev->evictor = t;
	return 0;
}

void kdm_evictor_stop(struct dmo_dev *dev)
{
	if (dev->evictor)
		kthread_stop(dev->evictor);
	dev->evictor = NULL;
}

/* ---- writing back, keeping the pages -------------------------------------- */

static bool may_be_dirty(const struct dmo_block *b)
{
	u64 dirty[DMO_BITS_WORDS] = { 0 };

	dmo_block_dirty(b, dirty);
	return dmo_bits_any(dirty) || dmo_bits_any(dmo_block_bits(b, DMO_WMAPPED)) ||
	       b->state == DMO_BLOCK_MOVING;
}

static int clean_copies(struct kdm_obj *obj, struct dmo_block *b)
{
	int err = 0;

	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		struct dmo_plan plan = { .block = b, .dev = c->dev };
		bool dirty;
		int one;

		dmo_plan_clean(&plan);
		one = write_out(obj, &plan, &dirty);
		if (one)
			errseq_set(&obj->wb_err, one);
		if (!err)
			err = one;
	}
	return err;
}

static int clean_block(struct kdm_obj *obj, u64 index)
{
	struct dmo_block *b;
	int err = kdm_claim_moving(obj, index, &b);

	if (err)
		return err;
	err = clean_copies(obj, b);
	kdm_unclaim(b);
	return err;
}

int kdm_clean_range(struct kdm_obj *obj, u64 offset, u64 last)
{
	struct dmo_block *b;
	int err = 0;

	mutex_lock(&obj->lock);
	for (u64 i = kdm_block_of(offset); (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		int one;

		if (i > kdm_block_of(last))
			break;
		one = may_be_dirty(b) ? clean_block(obj, i) : 0;
		if (!err)
			err = one;
	}
	mutex_unlock(&obj->lock);
	return err;
}
