// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * move.c - the one way in which pages come to a device: faults, prefetches, pins
 *
 *      claim --> plan --> memory? --no--> [unclaimed: make room] --+   (or: better read in place)
 *                 ^          | yes                                  |
 *                 +----------|--------------------------------------+
 *                            v
 *      I/O over --> MOVING: release translations --> [unlocked: revoke, copy] --> commit --> enter --> IDLE
 *
 * Unlike the user-space home this one revokes when the block is MOVING already (revoke.c says why that
 * ends at once), so a plan is made once. A page that the CPU keeps pinned fails the move; where only
 * the demanded page is owed, the move is tried again with that page alone.
 *
 * A page that is to be read where it is (advice says so, or memory is full of what is hotter) takes no memory
 * and no copy: it is revoked and its host page entered (remote.c). Where a device has it newer it moves.
 *
 * A failure at any point ends the claim; the state is what it was (invariant 3).
 *
 * Who holds several blocks (command.c) takes them in the order of core/command.h and waits for no barrier
 * meanwhile. Readers, writers and faults never wait for a block while they have another, so this is all that
 * a circle could be made of.
 */
#include "internal.h"
#include "dmo_trace.h"

#define WAITED_MAX 16		/* times that every copy was busy */

enum { MOVE_AGAIN = 1 };

/*
 * holds: the caller holds blocks. Whoever raised the barrier may wait for one of those, so it is not waited
 * for: -EAGAIN.
 */
static int claim(struct kdm_obj *obj, u64 index, bool holds, struct dmo_block **out)
{
	struct dmo_block *b = dmo_block_get(&obj->core, index);
	int err;

	if (!b)
		return -ENOMEM;
	err = kdm_obj_wait(obj, (holds && obj->barrier) || (!obj->barrier && dmo_block_claim(b)));
	if (!err && holds && obj->barrier)
		err = -EAGAIN;
	if (err) {
		dmo_block_put(b);
		return err;
	}
	err = dmo_block_open(b);
	if (err) {
		kdm_unclaim(b);
		return err;
	}
	kdm_obj_refresh(obj);
	*out = b;
	return 0;
}

int kdm_claim(struct kdm_obj *obj, u64 index, struct dmo_block **out)
{
	return claim(obj, index, false, out);
}

int kdm_claim_moving(struct kdm_obj *obj, u64 index, struct dmo_block **out)
{
	int err = kdm_claim(obj, index, out);

	if (!err)
		kdm_obj_wait_sure(obj, !obj->barrier && dmo_block_move(*out));
	return err;
}

void kdm_open_sure(struct dmo_block *b)
{
	WARN_ON_ONCE(dmo_block_open_from(b, &kdm_mem_sure));
}

void kdm_unclaim(struct dmo_block *b)
{
	struct kdm_obj *obj = kdm_obj_of(b->object);

	dmo_block_release(b);
	dmo_block_put(b);
	wake_up_all(&obj->wait);
}

void kdm_drop_empty(struct dmo_block *b, struct dmo_dev *dev)
{
	struct dmo_copy *copy = dmo_block_copy(b, &dev->core);

	if (copy && !copy->pins && !dmo_bits_any(dmo_copy_bits(copy, DMO_VALID)))
		kdm_copy_freed(copy);
}

static void unreserve(struct dmo_copy *copy, const u64 *pages)
{
	struct dmo_dev *dev = kdm_dev_of(copy->dev);

	mutex_lock(&dev->lock);
	dmo_copy_unreserve(copy, pages);
	mutex_unlock(&dev->lock);
	wake_up_all(&dev->wait);
}

/* Tells the driver of frames that come into use. If it refuses one they are all free again. */
static int prepare_frames(struct dmo_copy *copy, const u64 *pages)
{
	struct dmo_dev *dev = kdm_dev_of(copy->dev);
	unsigned int first, n, done, run;
	int err = 0;

	KDM_FOR_EACH_RUN(pages, first, n) {
		for (done = 0; done < n && !err; done += run) {
			u32 frame;

			run = dmo_copy_run(copy, first + done, n - done, &frame);
			err = dev->ops->page_prepare(dev->priv, frame, run);
		}
		if (err)
			break;
	}
	if (err)
		unreserve(copy, pages);
	return err;
}

static int reserve_chunks(struct kdm_access *a, struct dmo_plan *plan, struct dmo_copy *copy)
{
	struct dmo_dev *dev = a->dev;
	int err;

	mutex_lock(&dev->lock);
	err = dev->gone ? -ENODEV : dmo_copy_reserve(copy, a->obj->core.mem, plan->first, plan->count);
	if (!err && dmo_list_empty(&copy->lru)) {
		dmo_list_append(&dev->core.lru, &copy->lru);
		copy->accessed = dev->core.clock;
	}
	if (dmo_policy_above_high(&dev->core))
		kdm_evictor_wake(dev);
	mutex_unlock(&dev->lock);
	return err == -EAGAIN ? -ENOMEM : err == -ENOMEM ? MOVE_AGAIN : err;
}

/* Chunks for the window. MOVE_AGAIN: memory has to be made free first. */
static int reserve(struct kdm_access *a, struct dmo_plan *plan)
{
	struct dmo_copy *copy = dmo_block_add_copy(plan->block, &a->dev->core);
	u64 fresh[DMO_BITS_WORDS] = { 0 };
	int err;

	if (!copy)
		return -ENOMEM;
	dmo_copy_holes(copy, plan->first, plan->count, fresh);
	err = reserve_chunks(a, plan, copy);
	if (!err && a->dev->ops->page_prepare)
		err = prepare_frames(copy, fresh);
	return err;
}

/* Does another device hold some of the pages that are owed, which are to be in one place? */
static bool held_elsewhere(const struct kdm_access *a, const struct dmo_block *b)
{
	struct dmo_attr attr;

	dmo_attrs_get(&a->obj->core.attrs, a->page, &attr, NULL);
	if (attr.flags & DMO_ATTR_READ_MOSTLY)
		return false;
	for (struct dmo_copy *c = b->copies; c; c = c->next)
		if (c->dev != &a->dev->core &&
		    dmo_bits_any_in(dmo_copy_bits(c, DMO_VALID), a->first, a->count))
			return true;
	return false;
}

static void fill_plan(const struct kdm_access *a, struct dmo_block *b, bool narrow, struct dmo_plan *plan)
{
	unsigned int page = a->page % DMO_BLOCK_PAGES;
	struct dmo_window w = { a->first, a->count };
	struct dmo_attr attr;

	dmo_attrs_get(&a->obj->core.attrs, a->page, &attr, NULL);
	if (!a->whole)
		w = dmo_policy_window(b, &a->dev->core, page, a->bytes, &attr);
	if (narrow)
		w = (struct dmo_window){ page, 1 };
	plan->block = b;
	plan->dev = &a->dev->core;
	plan->write = a->write || (a->whole && held_elsewhere(a, b));
	plan->map_write = true;
	plan->first = w.first;
	plan->count = w.count;
	plan->page = page;
}

/* ---- in place or not ------------------------------------------------------ */

static bool advised_in_place(const struct kdm_access *a)
{
	struct dmo_attr attr;

	if (!a->may_stay || a->write)
		return false;
	dmo_attrs_get(&a->obj->core.attrs, a->page, &attr, NULL);
	return dmo_policy_in_place(&attr, &a->dev->core);
}

/* Would the plan's window bring the device above its high watermark, and so evict somebody? */
static bool nearly_full(struct kdm_access *a, const struct dmo_plan *plan)
{
	const struct dmo_copy *copy = dmo_block_copy(plan->block, &a->dev->core);
	bool full;

	if (copy && dmo_bits_test(dmo_copy_bits(copy, DMO_VALID), plan->page))
		return false;
	mutex_lock(&a->dev->lock);
	full = a->dev->core.used + plan->count > a->dev->core.high;
	mutex_unlock(&a->dev->lock);
	return full;
}

/* Is the coldest copy still hotter than this block? Lock dropped and taken. */
static bool better_stay(struct kdm_access *a, struct dmo_block *b)
{
	u64 accessed;
	bool any;

	if (!a->may_stay || a->write || !b->evicted)
		return false;
	if (dmo_bits_any(dmo_block_bits(b, DMO_REMOTE)))
		return true;	/* its other pages were left in place, and nothing was asked of them since */
	mutex_unlock(&a->obj->lock);
	any = kdm_coldest(a->dev, &accessed);
	mutex_lock(&a->obj->lock);
	return !any || dmo_policy_stay(b, &(struct dmo_copy){ .accessed = accessed });
}

/* What is owed to a command must be there to its end: past the object's it is an address of nothing. */
static int plan_access(const struct kdm_access *a, struct dmo_plan *plan)
{
	int err = dmo_plan_access(plan);

	return !err && a->hold && plan->count < a->count ? -EFAULT : err;
}

/* A plan of the kind that a asks for. MOVE_AGAIN: the page can't be read in place, it has to move. */
static int make_plan(struct kdm_access *a, struct dmo_plan *plan)
{
	int err = a->remote ? dmo_plan_remote(plan) : plan_access(a, plan);

	if (!a->remote || err != -EAGAIN)
		return err;
	a->may_stay = false;
	a->remote = false;
	return MOVE_AGAIN;
}

/*
 * Evicts with the block given back: a claimed block is nobody's victim, so those who wait for memory
 * would wait for each other's. *block is the claimed one again, NULL where that failed.
 */
static int make_room(struct kdm_access *a, unsigned int frames, struct dmo_block **block)
{
	struct kdm_obj *obj = a->obj;
	u64 index = (*block)->index;
	int err, again;

	kdm_drop_empty(*block, a->dev);
	kdm_unclaim(*block);
	*block = NULL;
	mutex_unlock(&obj->lock);
	err = kdm_make_room(a->dev, frames);
	mutex_lock(&obj->lock);
	again = claim(obj, index, a->holds, block);
	return again ? again : err;
}

static bool any_lost(const struct dmo_block *b, const struct dmo_plan *plan)
{
	return dmo_bits_any_in(dmo_block_bits(b, DMO_LOST), plan->first, plan->count);
}

/* One plan, with its memory. MOVE_AGAIN after the lock was dropped. */
static int one_round(struct kdm_access *a, struct dmo_block **block, struct dmo_plan *plan, bool *narrow)
{
	int err;

	fill_plan(a, *block, *narrow, plan);
	err = make_plan(a, plan);
	if (err || a->remote)
		return err;
	if (a->whole && dmo_bits_count(plan->steps[DMO_STEP_MAP]) != plan->count)
		return any_lost(*block, plan) ? -EIO : -EBUSY;
	if (nearly_full(a, plan) && better_stay(a, *block)) {
		a->remote = true;
		return MOVE_AGAIN;
	}
	err = reserve(a, plan);
	if (err != MOVE_AGAIN)
		return err;
	err = make_room(a, plan->count, block);
	if (!*block)
		return err;
	if (err == -EBUSY && !a->holds && ++a->waited < WAITED_MAX)
		return fatal_signal_pending(current) ? -EINTR : MOVE_AGAIN;
	if (err && !a->whole && !*narrow && err != -ENODEV) {
		*narrow = true;
		return MOVE_AGAIN;
	}
	return err ? err : MOVE_AGAIN;
}

/* ---- carrying out --------------------------------------------------------- */

/* Other devices' memory that the CPU reaches: nobody may go on using what a write here makes old. */
static int unmap_others(struct kdm_access *a, struct dmo_plan *plan)
{
	int err = 0;

	for (struct dmo_copy *c = plan->block->copies; c && plan->write && !err; c = c->next)
		if (c->dev != plan->dev)
			err = kdm_unmap_copy(a->obj, c, plan->first, plan->count);
	return err;
}

/* Reads what of pages [first, first + n) is not in the page cache into pages of ours. */
static int read_missing(struct kdm_obj *obj, struct dmo_block *b, unsigned int first, unsigned int n,
			struct page **host)
{
	unsigned int end = first + n, run;
	int err = 0;

	for (unsigned int i = first; i < end && !err; i += max(run, 1u)) {
		for (run = 0; i + run < end && !host[i + run]; run++)
			;
		if (run)
			err = kdm_alloc_pages(host + i, run);
		if (run && !err)
			err = kdm_backing_read(obj, kdm_block_pgoff(b) + i, host + i, run);
	}
	return err;
}

static int copy_in(struct kdm_access *a, struct dmo_plan *plan, struct page **host)
{
	struct dmo_copy *copy = dmo_block_copy(plan->block, plan->dev);
	unsigned int first, n;
	int err = 0;

	KDM_FOR_EACH_RUN(plan->steps[DMO_STEP_COPY_IN], first, n) {
		err = read_missing(a->obj, plan->block, first, n, host);
		if (!err)
			err = kdm_copy_pages(copy, DMO_COPY_IN, first, host + first, n);
		if (err)
			break;
	}
	return err;
}

static int copy_device(struct dmo_plan *plan)
{
	struct dmo_copy *copy = dmo_block_copy(plan->block, plan->dev);
	struct dmo_step s;
	int err = 0;

	for (unsigned int at = 0; !err && dmo_plan_next(plan, DMO_STEP_COPY_DEVICE, &at, &s);)
		err = kdm_copy_across(copy, s.from, s.first, s.count);
	return err;
}

/* Host pages that an importer of a dma-buf uses stay where they are. */
static int check_held(struct kdm_obj *obj, struct dmo_block *b, const u64 *pages)
{
	bool held;

	mutex_lock(&obj->lock);
	held = kdm_host_held(obj, b, pages);
	mutex_unlock(&obj->lock);
	return held ? -EBUSY : 0;
}

/* The block is MOVING, no lock is held. */
static int revoke_and_copy(struct kdm_access *a, struct dmo_plan *plan)
{
	struct page **host = kvcalloc(DMO_BLOCK_PAGES, sizeof(*host), GFP_KERNEL);
	u64 settle[DMO_BITS_WORDS];
	int err;

	if (!host)
		return -ENOMEM;
	dmo_bits_or(settle, plan->steps[DMO_STEP_REVOKE], plan->steps[DMO_STEP_COPY_IN]);
	err = check_held(a->obj, plan->block, settle);
	if (!err)
		err = kdm_revoke(a->obj, plan->block, settle, host);
	if (!err)
		err = unmap_others(a, plan);
	if (!err)
		err = copy_device(plan);
	if (!err)
		err = copy_in(a, plan, host);
	kdm_put_pages(host, DMO_BLOCK_PAGES);
	kvfree(host);
	return err;
}

static int enter_steps(struct kdm_access *a, struct dmo_plan *plan, struct dmo_copy *copy)
{
	struct dmo_step s;
	int err = 0;

	for (unsigned int at = 0; !err && dmo_plan_next(plan, DMO_STEP_MAP, &at, &s);)
		err = kdm_enter_pages(plan->block, a->dev, a->as, copy, s.first, s.count, DMO_PROT_READ);
	for (unsigned int at = 0; !err && dmo_plan_next(plan, DMO_STEP_MAP_WRITE, &at, &s);)
		err = kdm_enter_pages(plan->block, a->dev, a->as, copy, s.first, s.count,
				      DMO_PROT_READ | DMO_PROT_WRITE);
	return err;
}

static void set_not_cpu(struct dmo_plan *plan)
{
	unsigned int first, n;

	KDM_FOR_EACH_RUN(plan->steps[DMO_STEP_REVOKE], first, n)
		dmo_block_set_cpu(plan->block, first, n, false);
}

static bool has_work(const struct dmo_plan *plan)
{
	return dmo_plan_has(plan, DMO_STEP_REVOKE) || dmo_plan_has(plan, DMO_STEP_COPY_IN) ||
	       dmo_plan_has(plan, DMO_STEP_COPY_DEVICE) || plan->write;
}

static void trace_move(const struct kdm_access *a, const struct dmo_plan *plan, int err)
{
	if (trace_dmo_migrate_enabled())
		trace_dmo_migrate(a->dev, a->obj, kdm_block_pgoff(plan->block) + plan->first, plan->count,
				  dmo_bits_count(plan->steps[DMO_STEP_COPY_IN]) +
				  dmo_bits_count(plan->steps[DMO_STEP_COPY_DEVICE]), err);
}

/* What is held may be written at any time, so it counts as newer than the backing file all along. */
static void pin_copy(const struct kdm_access *a, struct dmo_copy *copy)
{
	copy->pins++;
	if (!a->exposed)
		return;
	copy->held++;
	dmo_bits_set(dmo_rows_row(&copy->rows, DMO_DIRTY), a->first, a->count);
}

/* The block is MOVING and the lock held: translations go, bytes come, state changes. */
static int carry_out(struct kdm_access *a, struct dmo_plan *plan)
{
	struct kdm_obj *obj = a->obj;
	struct dmo_copy *copy;
	int err = 0;

	kdm_release_pages(plan->block, plan->steps[DMO_STEP_RELEASE]);
	kdm_release_remote(plan->block, plan->steps[DMO_STEP_MAP]);
	kdm_wprotect_pages(plan->block, plan->steps[DMO_STEP_WPROTECT]);
	dmo_plan_copies(plan);
	if (has_work(plan)) {
		mutex_unlock(&obj->lock);
		err = revoke_and_copy(a, plan);
		mutex_lock(&obj->lock);
		atomic64_inc(&a->dev->stats.migrations);
		trace_move(a, plan, err);
	}
	if (err)
		return err;
	set_not_cpu(plan);
	dmo_plan_commit(plan);
	copy = dmo_block_copy(plan->block, plan->dev);
	kdm_copy_touch(copy);
	copy->owed = a->whole;
	err = a->dev->info.va_end ? enter_steps(a, plan, copy) : 0;
	if (!err && a->pin)
		pin_copy(a, copy);
	return err;
}

/* The block was left in place now; the first page of it counts. */
static void note_stay(struct kdm_access *a, struct dmo_block *b)
{
	if (dmo_bits_any(dmo_block_bits(b, DMO_REMOTE)))
		return;
	mutex_lock(&a->dev->lock);
	dmo_block_set_evicted(b, ++a->dev->core.clock);
	mutex_unlock(&a->dev->lock);
}

/* The block is MOVING and the lock held: host pages are found, and entered for reading. */
static int read_in_place(struct kdm_access *a, struct dmo_plan *plan)
{
	const u64 *asked = plan->steps[DMO_STEP_MAP_REMOTE];
	struct dmo_block *b = plan->block;
	u64 pages[DMO_BITS_WORDS], there[DMO_BITS_WORDS];
	struct page **host;
	int err;

	dmo_bits_andnot(pages, asked, dmo_block_bits(b, DMO_REMOTE));
	mutex_unlock(&a->obj->lock);
	host = kvcalloc(DMO_BLOCK_PAGES, sizeof(*host), GFP_KERNEL);
	err = host ? kdm_remote_find(a->obj, plan, pages, host) : -ENOMEM;
	mutex_lock(&a->obj->lock);
	if (!err) {
		set_not_cpu(plan);
		note_stay(a, b);
		dmo_bits_and(there, asked, dmo_block_bits(b, DMO_REMOTE));
		dmo_bits_or(pages, pages, there);
		err = kdm_remote_enter(a->obj, a->dev, a->as, b, pages, host);
	}
	if (host)
		kdm_put_pages(host, DMO_BLOCK_PAGES);
	kvfree(host);
	return err;
}

/* The reserved window may have lost its memory to a truncate meanwhile. */
static bool still_reserved(const struct dmo_plan *plan)
{
	struct dmo_copy *copy = dmo_block_copy(plan->block, plan->dev);

	return copy && !dmo_copy_missing(copy, plan->first, plan->count);
}

static int move_once(struct kdm_access *a, struct dmo_block **b, bool *narrow)
{
	struct kdm_obj *obj = a->obj;
	struct dmo_plan plan;
	int err;

	do {
		err = one_round(a, b, &plan, narrow);
	} while (err == MOVE_AGAIN);
	if (err)
		return err;
	kdm_obj_wait_sure(obj, obj->barrier ? a->holds : dmo_block_move(*b));
	if ((*b)->state != DMO_BLOCK_MOVING)
		return -EAGAIN;
	kdm_obj_refresh(obj);
	err = make_plan(a, &plan);	/* what it found may have changed, the window not */
	if (err)
		return err;
	if (a->remote)
		return read_in_place(a, &plan);
	return still_reserved(&plan) ? carry_out(a, &plan) : MOVE_AGAIN;
}

int kdm_access(struct kdm_access *a)
{
	struct kdm_obj *obj = a->obj;
	struct dmo_block *b = NULL;
	bool narrow = false;
	int err;

	mutex_lock(&obj->lock);
	a->remote = advised_in_place(a);
	for (;;) {
		err = claim(obj, a->page / DMO_BLOCK_PAGES, a->holds, &b);
		if (!err)
			err = move_once(a, &b, &narrow);
		if (!err && a->hold) {
			a->held = b;
			break;
		}
		if (b) {
			kdm_drop_empty(b, a->dev);
			kdm_unclaim(b);
			b = NULL;
		}
		if (err == -EBUSY && !a->whole && !narrow)
			narrow = true;
		else if (err != MOVE_AGAIN)
			break;
	}
	mutex_unlock(&obj->lock);
	return err;
}

void kdm_let_go(struct dmo_block *b, struct dmo_dev *dev)
{
	struct kdm_obj *obj = kdm_obj_of(b->object);
	struct dmo_copy *copy;

	mutex_lock(&obj->lock);
	copy = dmo_block_copy(b, &dev->core);
	if (copy && copy->pins)		/* the end of a device ends them, too */
		copy->pins--;
	kdm_drop_empty(b, dev);
	kdm_unclaim(b);
	mutex_unlock(&obj->lock);
	wake_up_all(&dev->wait);
}
