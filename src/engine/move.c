/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * move.c - the one way in which pages come to a device: faults, prefetches, pins
 *
 * eng_access claims the block, makes a plan, and goes round until the plan asks for nothing that needs the lock dropped:
 *
 *      claim --> plan --> revoke? --yes--> [unlocked: revoke] --+
 *                 ^         | no                                 |
 *                 |         v                                    |
 *                 +--- memory? --no--> [unclaimed: make room] ---+   (or: better mapped remotely)
 *                 |         | yes                                |
 *                 +--- I/O under way? --> [wait] ----------------+
 *                           | no
 *                           v
 *      MOVING: release translations --> [unlocked: copies] --> commit --> enter translations --> IDLE
 *
 * A revocation holds only if no read of the range was answered while it ran (reads set the CPU bit again, and the next
 * plan has them in it). After ROUNDS_WIDE such rounds only the demanded page is gone on with.
 *
 * A failure at any point ends the claim; the state is what it was (invariant 3).
 */
#include "engine/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif

#define ROUNDS_WIDE	4
#define ROUNDS_MOST	64

static bool cancelled(const atomic_bool *cancel)
{
	return cancel && atomic_load(cancel);
}

int eng_claim(struct eng_object *obj, u64 index, const atomic_bool *cancel, struct dmo_block **out)
{
	struct dmo_block *b = dmo_block_get(&obj->core, index);

	if (!b)
		return -ENOMEM;
	while (obj->barrier || !dmo_block_claim(b)) {
		if (cancelled(cancel)) {
			dmo_block_put(b);
			return -EINTR;
		}
		pthread_cond_wait(&obj->cond, &obj->lock);
	}
	if (dmo_block_open(b)) {
		dmo_block_release(b);
		dmo_block_put(b);
		return -ENOMEM;
	}
	*out = b;
	return 0;
}

void eng_unclaim(struct dmo_block *b)
{
	struct eng_object *obj = dmo_container_of(b->object, struct eng_object, core);

	dmo_block_release(b);
	dmo_block_put(b);
	pthread_cond_broadcast(&obj->cond);
}

/* ---- one round ----------------------------------------------------------------------------------------- */

/* What a round came to: go on, or plan again, or an errno. */
enum { MOVE_READY = 0, MOVE_AGAIN = 1 };

/* The revocation of pages begins: the CPU holds none of them, what it read before is leaving. */
static void begin_revoke(struct dmo_block *b, const u64 *pages)
{
	u64 *cpu = dmo_rows_row(&b->rows, DMO_CPU), *read = dmo_rows_row(&b->rows, DMO_READ);
	u64 *leaving = dmo_rows_row(&b->rows, DMO_LEAVING);

	dmo_bits_andnot(cpu, cpu, pages);
	dmo_bits_and(leaving, read, pages);
	dmo_bits_andnot(read, read, pages);
}

/* It is over: the pages have left, or after an error are held as before. */
static void end_revoke(struct dmo_block *b, const u64 *pages, int err)
{
	u64 *cpu = dmo_rows_row(&b->rows, DMO_CPU), *read = dmo_rows_row(&b->rows, DMO_READ);
	u64 *leaving = dmo_rows_row(&b->rows, DMO_LEAVING);

	if (err) {
		dmo_bits_or(cpu, cpu, pages);
		dmo_bits_or(read, read, leaving);
	}
	dmo_bits_zero(leaving);
}

/* Takes the plan's pages back from the CPU; drops the lock meanwhile. */
static int revoke_pages(struct eng_object *obj, struct dmo_plan *plan)
{
	struct engine *eng = obj->eng;
	struct dmo_block *b = plan->block;
	u64 pages[DMO_BITS_WORDS];
	struct dmo_step s;
	int err = 0;

	if (!b->revoked) {	/* reads and writes that began without regard to revocations end first (race.c) */
		b->revoked = true;
		while (b->io)
			pthread_cond_wait(&obj->cond, &obj->lock);
		return MOVE_AGAIN;
	}
	dmo_bits_copy(pages, plan->steps[DMO_STEP_REVOKE]);
	begin_revoke(b, pages);
	pthread_mutex_unlock(&obj->lock);
	for (unsigned at = 0; !err && dmo_plan_next(plan, DMO_STEP_REVOKE, &at, &s);) {
		atomic_fetch_add(&eng->revocations, 1);
		err = eng->fs->revoke(obj->inode,
				      (b->index << DMO_BLOCK_SHIFT) + ((u64)s.first << DMO_PAGE_SHIFT),
				      (u64)s.count << DMO_PAGE_SHIFT);
		if (err == -ENOENT)
			err = 0;
	}
	pthread_mutex_lock(&obj->lock);
	end_revoke(b, pages, err);
	pthread_cond_broadcast(&obj->cond);
	return err ? err : MOVE_AGAIN;
}

/* Chunks for the window; on -ENOMEM of the device the lock is dropped to make room. */
static int reserve(struct eng_access *a, struct dmo_plan *plan)
{
	struct eng_object *obj = a->obj;
	struct eng_device *dev = a->dev;
	struct dmo_copy *copy = dmo_block_add_copy(plan->block, &dev->core);
	int err;

	if (!copy)
		return -ENOMEM;
	pthread_mutex_lock(&dev->lock);
	err = atomic_load(&dev->lost) ? -ENODEV : dmo_copy_reserve(copy, obj->core.mem, plan->first, plan->count);
	if (!err && dmo_list_empty(&copy->lru)) {
		dmo_list_append(&dev->core.lru, &copy->lru);
		copy->accessed = dev->core.clock;
	}
	if (dmo_policy_above_high(&dev->core))
		eng_evictor_wake(dev);
	pthread_mutex_unlock(&dev->lock);
	return err == -EAGAIN ? -ENOMEM : err == -ENOMEM ? MOVE_AGAIN : err;
}

/* A copy without a valid page is of no use to anybody; obj->lock held. */
static void drop_empty(struct dmo_block *b, struct eng_device *dev)
{
	struct dmo_copy *copy = dmo_block_copy(b, &dev->core);

	if (!copy || copy->pins || dmo_bits_any(dmo_copy_bits(copy, DMO_VALID)))
		return;
	pthread_mutex_lock(&dev->lock);
	dmo_copy_free(copy);
	pthread_cond_broadcast(&dev->cond);
	pthread_mutex_unlock(&dev->lock);
}

/* Would the plan's window bring the device above its high watermark, and so evict somebody? */
static bool nearly_full(struct eng_access *a, const struct dmo_plan *plan)
{
	const struct dmo_copy *copy = dmo_block_copy(plan->block, &a->dev->core);
	bool full;

	if (copy && dmo_bits_all(dmo_copy_bits(copy, DMO_VALID), plan->page, 1))
		return false;
	pthread_mutex_lock(&a->dev->lock);
	full = a->dev->core.used + plan->count > a->dev->core.high;
	pthread_mutex_unlock(&a->dev->lock);
	return full;
}

/* Is the coldest copy still hotter than this block? Lock dropped and taken. */
static bool better_stay(struct eng_access *a, struct dmo_block *b)
{
	struct eng_object *obj = a->obj, *other;
	u64 index, accessed;
	bool stay;

	if (!a->may_stay || a->write || !b->evicted)
		return false;
	if (dmo_bits_any(dmo_block_bits(b, DMO_REMOTE)))
		return true;		/* its other pages were left in place, and nothing was asked of them since */
	pthread_mutex_unlock(&obj->lock);
	other = eng_victim(a->dev, ENG_SPARE_ALL, &index, &accessed);
	if (other)
		eng_object_unref(other);
	pthread_mutex_lock(&obj->lock);
	stay = !other || dmo_policy_stay(b, &(struct dmo_copy){ .accessed = accessed });
	return stay;
}

/* ---- remote mappings --------------------------------------------------------------------------------------- */

/* The backing file in the service's address space, as long as the object is now; obj->lock held. */
static int map_backing(struct eng_object *obj)
{
	size_t length = (obj->core.size + DMO_BLOCK_SIZE - 1) & ~(u64)(DMO_BLOCK_SIZE - 1);
	void *map;

	if (obj->map && obj->map_length >= length)
		return 0;
	if (obj->map)
		return -EAGAIN;		/* translations may point into it; the pages migrate instead */
	map = mmap(NULL, length, PROT_READ, MAP_SHARED, obj->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	madvise(map, length, MADV_SEQUENTIAL);
	obj->map = map;
	obj->map_length = length;
	return 0;
}

/*
 * Fills the service's page table for the pages of the plan, with one call where the device would take a fault for
 * every few pages. Only a hint: what can't be had shows when the device reads it. Drops the lock; the block is MOVING.
 */
static void populate(struct eng_access *a, struct dmo_plan *plan)
{
	u64 base = plan->block->index << DMO_BLOCK_SHIFT, pages[DMO_BITS_WORDS];
	char *map = a->obj->map;
	unsigned at = 0, first, count;

	dmo_bits_andnot(pages, plan->steps[DMO_STEP_MAP_REMOTE], dmo_block_bits(plan->block, DMO_REMOTE));
	if (!dmo_bits_any(pages))
		return;
	pthread_mutex_unlock(&a->obj->lock);
	for (; (count = dmo_bits_run(pages, at, DMO_BLOCK_PAGES, true, &first)); at = first + count)
		madvise(map + base + ((u64)first << DMO_PAGE_SHIFT), (u64)count << DMO_PAGE_SHIFT,
			MADV_POPULATE_READ);
	pthread_mutex_lock(&a->obj->lock);
}

static int enter_remote(struct eng_access *a, struct dmo_plan *plan)
{
	bool first = !dmo_bits_any(dmo_block_bits(plan->block, DMO_REMOTE));
	struct dmo_step s;
	int err = 0;

	populate(a, plan);
	for (unsigned at = 0; !err && dmo_plan_next(plan, DMO_STEP_MAP_REMOTE, &at, &s);) {
		err = eng_enter_pages(plan->block, a->dev, a->ctx, NULL, s.first, s.count, DMO_PROT_READ);
		atomic_fetch_add(&a->dev->stats.bytes_remote_mapped, (u64)s.count << DMO_PAGE_SHIFT);
	}
	if (first) {
		pthread_mutex_lock(&a->dev->lock);
		dmo_block_set_evicted(plan->block, ++a->dev->core.clock);
		pthread_mutex_unlock(&a->dev->lock);
	}
	atomic_fetch_add(&a->dev->stats.remote_maps, 1);
	return err;
}

/* ---- the end of a plan ------------------------------------------------------------------------------------------ */

static int enter_steps(struct eng_access *a, struct dmo_plan *plan)
{
	struct dmo_copy *copy = dmo_block_copy(plan->block, &a->dev->core);
	struct dmo_step s;
	int err = 0;

	for (unsigned at = 0; !err && dmo_plan_next(plan, DMO_STEP_MAP, &at, &s);)
		err = eng_enter_pages(plan->block, a->dev, a->ctx, copy, s.first, s.count, DMO_PROT_READ);
	for (unsigned at = 0; !err && dmo_plan_next(plan, DMO_STEP_MAP_WRITE, &at, &s);)
		err = eng_enter_pages(plan->block, a->dev, a->ctx, copy, s.first, s.count,
				      DMO_PROT_READ | DMO_PROT_WRITE);
	return err;
}

static void release_steps(struct dmo_plan *plan)
{
	u64 pages[DMO_BITS_WORDS];

	dmo_bits_copy(pages, plan->steps[DMO_STEP_RELEASE]);
	eng_release_pages(plan->block, pages);
	dmo_bits_copy(pages, plan->steps[DMO_STEP_WPROTECT]);
	eng_wprotect_pages(plan->block, pages);
}

/* The block is MOVING and the lock held: translations go, bytes come, state changes. */
static int carry_out(struct eng_access *a, struct dmo_plan *plan)
{
	struct eng_object *obj = a->obj;
	struct dmo_copy *copy;
	int err = 0;

	release_steps(plan);
	dmo_plan_copies(plan);
	if (dmo_plan_has(plan, DMO_STEP_COPY_IN) || dmo_plan_has(plan, DMO_STEP_COPY_DEVICE)) {
		pthread_mutex_unlock(&obj->lock);
		err = eng_tier_steps(plan, DMO_STEP_COPY_DEVICE);
		if (!err)
			err = eng_tier_steps(plan, DMO_STEP_COPY_IN);
		pthread_mutex_lock(&obj->lock);
		atomic_fetch_add(&a->dev->stats.migrations, 1);
	}
	if (err)
		return err;
	dmo_plan_commit(plan);
	copy = dmo_block_copy(plan->block, &a->dev->core);
	eng_copy_touch(copy);
	copy->owed = a->whole;
	if (a->pin)
		copy->pins++;
	err = enter_steps(a, plan);
	if (err && a->pin)
		copy->pins--;
	return err;
}

/* Does another device hold some of the pages that are owed, which are to be in one place? */
static bool held_elsewhere(const struct eng_access *a, const struct dmo_block *b)
{
	struct dmo_attr attr;

	dmo_attrs_get(&a->obj->core.attrs, a->page, &attr, NULL);
	for (struct dmo_copy *c = b->copies; c && !(attr.flags & DMO_ATTR_READ_MOSTLY); c = c->next)
		if (c->dev != &a->dev->core && dmo_bits_any_in(dmo_copy_bits(c, DMO_VALID), a->first, a->count))
			return true;
	return false;
}

static void fill_plan(const struct eng_access *a, struct dmo_block *b, bool remote, bool narrow,
		      struct dmo_plan *plan)
{
	unsigned page = a->page & (DMO_BLOCK_PAGES - 1);
	struct dmo_window w = { a->first, a->count };

	if (!a->whole) {
		struct dmo_attr attr;

		dmo_attrs_get(&a->obj->core.attrs, a->page, &attr, NULL);
		w = dmo_policy_window(b, &a->dev->core, page, a->bytes, &attr);
		if (remote && !a->obj->core.writers && !(attr.flags & DMO_ATTR_RANDOM))
			w = (struct dmo_window){ 0, DMO_BLOCK_PAGES };	/* takes no memory, revokes nothing */
		if (narrow)
			w = (struct dmo_window){ page, 1 };
	}
	plan->block = b;
	plan->dev = &a->dev->core;
	plan->write = a->write || (a->whole && held_elsewhere(a, b));
	plan->map_write = true;
	plan->first = w.first;
	plan->count = w.count;
	plan->page = page;
}

/* Does advice, or the state of memory, say that the pages are to be used where they are? */
static bool advised_remote(struct eng_access *a)
{
	struct dmo_attr attr;

	if (!a->may_stay || a->write)
		return false;
	dmo_attrs_get(&a->obj->core.attrs, a->page, &attr, NULL);
	return dmo_policy_in_place(&attr, &a->dev->core);
}

/*
 * Evicts with the block given back: a claimed block is nobody's victim, so those who wait for memory would wait for
 * each other's. *block is the claimed one again, NULL where that failed.
 */
static int make_room(struct eng_access *a, unsigned frames, struct dmo_block **block)
{
	struct eng_object *obj = a->obj;
	u64 index = (*block)->index;
	int err, again;

	drop_empty(*block, a->dev);
	eng_unclaim(*block);
	*block = NULL;
	pthread_mutex_unlock(&obj->lock);
	eng_unpark(obj);
	err = eng_make_room(a->dev, frames, a->age, a->cancel);
	pthread_mutex_lock(&obj->lock);
	again = eng_claim(obj, index, a->cancel, block);
	return again ? again : err;
}

/* Memory for the plan's window, by eviction where need be; MOVE_AGAIN after the lock was dropped. */
static int find_memory(struct eng_access *a, struct dmo_block **b, struct dmo_plan *plan, bool *remote, bool *narrow)
{
	int err;

	if (nearly_full(a, plan) && better_stay(a, plan->block)) {
		*remote = true;
		return MOVE_AGAIN;
	}
	err = reserve(a, plan);
	if (err != MOVE_AGAIN)
		return err;
	err = make_room(a, plan->count, b);
	if (!*b)
		return err;
	if (err == -EBUSY && !a->no_wait)
		err = 0;
	if (err && !a->whole && !*narrow && err != -EINTR && err != -ENODEV) {
		*narrow = true;
		err = 0;
	}
	return err ? err : MOVE_AGAIN;
}

/* Plans, and does one thing that the plan waits for. MOVE_READY: the block is MOVING and plan may be carried out. */
static int one_round(struct eng_access *a, struct dmo_block **block, struct dmo_plan *plan, bool *remote, bool *narrow)
{
	struct dmo_block *b = *block;
	int err;

	if (a->obj->bypass)
		return -EBUSY;		/* CPUs would go past the engine to the backing file */
	fill_plan(a, b, *remote, *narrow, plan);
	err = *remote ? dmo_plan_remote(plan) : dmo_plan_access(plan);
	if (err == -EAGAIN && *remote) {
		*remote = a->may_stay = false;
		return MOVE_AGAIN;
	}
	if (err)
		return err;
	if (a->whole && dmo_bits_count(plan->steps[DMO_STEP_MAP]) != plan->count)
		return dmo_bits_any_in(dmo_block_bits(b, DMO_LOST), plan->first, plan->count) ? -EIO : -EBUSY;
	if (dmo_plan_has(plan, DMO_STEP_REVOKE))
		return revoke_pages(a->obj, plan);
	if (!*remote) {
		err = find_memory(a, block, plan, remote, narrow);
		if (err)
			return err;
	} else if (map_backing(a->obj)) {
		*remote = a->may_stay = false;
		return MOVE_AGAIN;
	}
	if (a->obj->barrier || !dmo_block_move(b)) {
		pthread_cond_wait(&a->obj->cond, &a->obj->lock);
		return MOVE_AGAIN;
	}
	return MOVE_READY;
}

/* Rounds until the block is MOVING. *b is NULL where it was given back and could not be claimed again. */
static int get_ready(struct eng_access *a, struct dmo_block **b, struct dmo_plan *plan, bool *remote)
{
	bool narrow = false;
	int err;

	for (unsigned round = 0;; round++) {
		if (cancelled(a->cancel))
			return -EINTR;
		if (atomic_load(&a->dev->lost))
			return -ENODEV;
		if (round == ROUNDS_WIDE && !a->whole)
			narrow = true;
		if (round == ROUNDS_MOST && a->no_wait)
			return -EBUSY;
		err = one_round(a, b, plan, remote, &narrow);
		if (err != MOVE_AGAIN)
			return err;
		if (round)
			atomic_fetch_add(&a->obj->eng->revoke_retries, 1);
		if (round > ROUNDS_MOST) {
			pthread_mutex_unlock(&a->obj->lock);
			usleep(200);
			pthread_mutex_lock(&a->obj->lock);
		}
	}
}

int eng_access(struct eng_access *a)
{
	struct eng_object *obj = a->obj;
	struct dmo_block *b = NULL;
	struct dmo_plan plan;
	bool remote;
	int err;

	pthread_mutex_lock(&obj->lock);
	err = eng_claim(obj, a->page / DMO_BLOCK_PAGES, a->cancel, &b);
	if (!err) {
		remote = advised_remote(a);
		err = get_ready(a, &b, &plan, &remote);
		if (!err)
			err = remote ? enter_remote(a, &plan) : carry_out(a, &plan);
	}
	if (b) {
		drop_empty(b, a->dev);
		eng_unclaim(b);
	}
	pthread_mutex_unlock(&obj->lock);
	eng_unpark(obj);
	return err;
}

/* ---- for devices without faults --------------------------------------------------------------------------------- */

int eng_hold(struct eng_access *a)
{
	struct eng_object *obj = a->obj;
	struct dmo_block *b;
	struct dmo_plan plan;
	int err;

	pthread_mutex_lock(&obj->lock);
	err = eng_claim(obj, a->page / DMO_BLOCK_PAGES, a->cancel, &b);
	if (err) {
		pthread_mutex_unlock(&obj->lock);
		return err;
	}
	while (obj->barrier || b->io)
		pthread_cond_wait(&obj->cond, &obj->lock);
	fill_plan(a, b, false, false, &plan);
	err = dmo_plan_access(&plan);
	if (!err && dmo_plan_has(&plan, DMO_STEP_REVOKE))
		err = -EAGAIN;
	if (!err && !dmo_block_copy(b, &a->dev->core))
		err = -EAGAIN;
	if (!err) {
		struct dmo_copy *copy = dmo_block_copy(b, &a->dev->core);

		if (!dmo_bits_all(dmo_copy_bits(copy, DMO_VALID), plan.first, plan.count))
			err = -EAGAIN;
	}
	if (!err) {
		dmo_block_move(b);
		err = carry_out(a, &plan);
	}
	if (err)
		eng_unclaim(b);
	pthread_mutex_unlock(&obj->lock);
	if (err)
		eng_unpark(obj);
	return err;
}

void eng_let_go(struct eng_object *obj, u64 index)
{
	pthread_mutex_lock(&obj->lock);
	eng_unclaim(dmo_block_find(&obj->core, index));
	pthread_mutex_unlock(&obj->lock);
	eng_unpark(obj);
}
