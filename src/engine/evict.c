/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * evict.c - pages leave a device, or are written back and stay
 *
 * Eviction never revokes: what the CPU holds of a page stays right when the page moves to the backing file. It takes
 * a copy whole: translations go (dirty bits are harvested), dirty pages are copied out, clean ones are just dropped, the
 * chunks are freed. If the copy out fails the copy stays as it is, dirty, and fsync tells (invariant 3).
 *
 * Each device has one evictor thread that keeps its memory between the watermarks; whoever needs memory at once evicts
 * by itself. Victims come from the cold end of the LRU list; one whose translations were used since the last look gets
 * another round. What a migration has brought stays until it ends, where anything else can be had. A victim is taken
 * only if its object's lock and its block are free, so that two moves never wait for each other's blocks.
 */
#include "engine/internal.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#define LOOK_MAX	32	/* copies looked at for one victim */
#define WAIT_MS		10
#define WAITS_MAX	500
#define RETRY_MS	100	/* of the evictor, when it gave up above the upper watermark */

/* ---- the list -------------------------------------------------------------------------------------------- */

static bool is_cold(struct eng_object *obj, const struct dmo_copy *c)
{
	struct dmo_attr attr;

	dmo_attrs_get(&obj->core.attrs, c->block->index * DMO_BLOCK_PAGES, &attr, NULL);
	return attr.flags & DMO_ATTR_COLD;
}

void eng_copy_touch(struct dmo_copy *c)
{
	struct eng_device *dev = dmo_container_of(c->dev, struct eng_device, core);
	struct eng_object *obj = dmo_container_of(c->block->object, struct eng_object, core);
	bool cold = is_cold(obj, c);

	pthread_mutex_lock(&dev->lock);
	c->accessed = ++dev->core.clock;
	dmo_list_remove(&c->lru);
	dmo_list_append(cold ? dev->core.lru.next : &dev->core.lru, &c->lru);
	pthread_mutex_unlock(&dev->lock);
}

static struct eng_object *object_of(const struct dmo_copy *c)
{
	return dmo_container_of(c->block->object, struct eng_object, core);
}

/* Does the promise count on c? Not where c holds more than was promised: then it could not be made room in. */
static bool counts_on(const struct eng_promise *p, const struct dmo_copy *c)
{
	u64 base = c->block->index * DMO_BLOCK_PAGES, end = base + DMO_BLOCK_PAGES - 1;
	u64 first = p->first > base ? p->first : base, last = p->last < end ? p->last : end;

	return c->dev == &p->dev->core && first <= last && c->frames <= last - first + 1;
}

/* The age of the oldest promise that counts on c, ~0 where none does; its object's lock held. */
static u64 age_of(const struct dmo_copy *c)
{
	u64 age = ~0ull;

	for (struct eng_promise *p = object_of(c)->promises; p; p = p->next)
		if (p->age < age && counts_on(p, c))
			age = p->age;
	return age;
}

/* May c go? dev->lock and its object's lock held. One that was used, or prefetched, moves to the hot end. */
static bool may_go(struct eng_device *dev, struct dmo_copy *c, unsigned look)
{
	if (c->pins || c->block->state != DMO_BLOCK_IDLE || c->block->io || object_of(c)->barrier)
		return false;
	if (look < LOOK_MAX / 2 && (eng_block_accessed(c->block, dev) || c->owed)) {
		c->owed = false;
		c->accessed = dev->core.clock;
		dmo_list_remove(&c->lru);
		dmo_list_append(&dev->core.lru, &c->lru);
		return false;
	}
	return true;
}

struct eng_object *eng_victim(struct eng_device *dev, u64 spare, u64 *index, u64 *accessed)
{
	struct eng_object *found = NULL;
	struct dmo_link *l, *next;
	unsigned look = 0;

	pthread_mutex_lock(&dev->lock);
	for (l = dev->core.lru.next; l != &dev->core.lru && !found && look < LOOK_MAX; l = next) {
		struct dmo_copy *c = dmo_container_of(l, struct dmo_copy, lru);
		struct eng_object *obj = object_of(c);

		next = l->next;
		if (pthread_mutex_trylock(&obj->lock)) {
			look++;
			continue;
		}
		if (age_of(c) > spare && may_go(dev, c, look++)) {
			*index = c->block->index;
			*accessed = c->accessed;
			atomic_fetch_add(&obj->refs, 1);	/* not the first: the copy has one */
			found = obj;
		}
		pthread_mutex_unlock(&obj->lock);
	}
	pthread_mutex_unlock(&dev->lock);
	return found;
}

/* ---- one copy ------------------------------------------------------------------------------------------------ */

static void release_steps(struct dmo_plan *plan)
{
	u64 pages[DMO_BITS_WORDS];

	dmo_bits_copy(pages, plan->steps[DMO_STEP_RELEASE]);
	eng_release_pages(plan->block, pages);
	dmo_bits_copy(pages, plan->steps[DMO_STEP_WPROTECT]);
	eng_wprotect_pages(plan->block, pages);
}

/* The block is MOVING, the lock held: EVICT's or CLEAN's copies, then the commit. */
static int write_out(struct eng_object *obj, struct dmo_plan *plan, bool *dirty)
{
	int err;

	release_steps(plan);
	dmo_plan_copies(plan);
	*dirty = dmo_plan_has(plan, DMO_STEP_COPY_OUT);
	if (*dirty) {
		pthread_mutex_unlock(&obj->lock);
		err = eng_tier_steps(plan, DMO_STEP_COPY_OUT);
		pthread_mutex_lock(&obj->lock);
		if (err)
			return err;
	}
	dmo_plan_commit(plan);
	return 0;
}

static void free_copy(struct dmo_copy *c, bool remember)
{
	struct eng_device *dev = dmo_container_of(c->dev, struct eng_device, core);
	struct dmo_block *b = c->block;

	pthread_mutex_lock(&dev->lock);
	if (remember)
		dmo_block_set_evicted(b, ++dev->core.clock);
	dmo_copy_free(c);
	pthread_cond_broadcast(&dev->cond);
	pthread_mutex_unlock(&dev->lock);
}

/* Pages [first, first + count) leave the copy; the block is MOVING and the lock held. */
static int evict_copy(struct eng_object *obj, struct dmo_copy *c, unsigned first, unsigned count)
{
	struct eng_device *dev = dmo_container_of(c->dev, struct eng_device, core);
	struct dmo_plan plan = { .block = c->block, .dev = c->dev, .first = first, .count = count };
	bool dirty;
	int err;

	dmo_plan_evict(&plan);
	err = write_out(obj, &plan, &dirty);
	if (err) {
		atomic_fetch_add(&dev->stats.evict_failed, 1);
		eng_writeback_error(obj, err);
		return err;
	}
	atomic_fetch_add(dirty ? &dev->stats.evict_dirty : &dev->stats.evict_clean, 1);
	if (!dmo_bits_any(dmo_copy_bits(c, DMO_VALID))) {
		free_copy(c, true);
		return 0;
	}
	pthread_mutex_lock(&dev->lock);
	dmo_copy_trim(c);
	pthread_cond_broadcast(&dev->cond);
	pthread_mutex_unlock(&dev->lock);
	return 0;
}

/* CLAIMED to MOVING, waiting for reads and writes under way; obj->lock held. */
static void wait_move(struct eng_object *obj, struct dmo_block *b)
{
	while (obj->barrier || !dmo_block_move(b))
		pthread_cond_wait(&obj->cond, &obj->lock);
}

/* Pages of all copies of the block on dev (or anywhere); MOVING, lock held. */
static int evict_copies(struct eng_object *obj, struct dmo_block *b, struct eng_device *dev, unsigned first,
			unsigned count)
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

static int evict(struct eng_object *obj, struct eng_device *dev, u64 index, unsigned first, unsigned count)
{
	struct dmo_block *b;
	int err = 0;

	pthread_mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, index);
	if (b && b->copies)
		err = eng_claim(obj, index, NULL, &b);
	else
		b = NULL;
	if (b && !err) {
		wait_move(obj, b);
		err = evict_copies(obj, b, dev, first, count);
		eng_unclaim(b);
	}
	pthread_mutex_unlock(&obj->lock);
	eng_unpark(obj);
	return err;
}

int eng_evict_block(struct eng_object *obj, struct eng_device *dev, u64 index)
{
	return evict(obj, dev, index, 0, DMO_BLOCK_PAGES);
}

int eng_evict_pages(struct eng_object *obj, u64 index, unsigned first, unsigned count)
{
	return evict(obj, NULL, index, first, count);
}

/* The same for a victim: gives up where the block is in use by now. */
static int evict_victim(struct eng_object *obj, struct eng_device *dev, u64 index)
{
	struct dmo_block *b;
	int err = -EBUSY;

	pthread_mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, index);
	if (b && b->copies && !b->io && !obj->barrier && dmo_block_claim(b)) {
		b->users++;
		err = dmo_block_open(b);
		dmo_block_move(b);
		if (!err)
			err = evict_copies(obj, b, dev, 0, DMO_BLOCK_PAGES);
		eng_unclaim(b);
	}
	pthread_mutex_unlock(&obj->lock);
	eng_unpark(obj);
	return err;
}

/* ---- making room ----------------------------------------------------------------------------------------------- */

static bool has_room(struct eng_device *dev, u64 frames)
{
	bool room;

	pthread_mutex_lock(&dev->lock);
	room = dev->core.used + frames <= dev->core.limit;
	pthread_mutex_unlock(&dev->lock);
	return room;
}

/* Evicts one copy. 0, -EAGAIN: nothing could be had just now, or why the eviction failed. */
static int evict_one(struct eng_device *dev, u64 spare)
{
	u64 index, accessed;
	struct eng_object *obj = eng_victim(dev, spare, &index, &accessed);
	int err;

	if (!obj)
		return -EAGAIN;
	err = evict_victim(obj, dev, index);
	if (err && err != -EBUSY) {		/* it stays; let others go first */
		pthread_mutex_lock(&obj->lock);
		struct dmo_block *b = dmo_block_find(&obj->core, index);
		struct dmo_copy *c = b ? dmo_block_copy(b, &dev->core) : NULL;

		if (c)
			eng_copy_touch(c);
		pthread_mutex_unlock(&obj->lock);
	}
	eng_object_unref(obj);
	return err == -EBUSY ? -EAGAIN : err;
}

enum { NOTHING, SOMETHING, PROMISED };

/* What c may become to a migration of that age (0: to others) when time goes by; dev->lock held. */
static int will_be(const struct dmo_copy *c, u64 age)
{
	struct eng_object *obj = object_of(c);
	int what = NOTHING;

	if (pthread_mutex_trylock(&obj->lock))
		return SOMETHING;
	if (!c->pins && age_of(c) != age)
		what = age_of(c) < age ? PROMISED : SOMETHING;
	pthread_mutex_unlock(&obj->lock);
	return what;
}

/*
 * Nothing can be had now. NOTHING: nor later, all is pinned or the migration's own; SOMETHING: what is in use now;
 * PROMISED: what older migrations need until they end.
 */
static int is_there_hope(struct eng_device *dev, u64 age)
{
	int best = NOTHING;

	pthread_mutex_lock(&dev->lock);
	for (struct dmo_link *l = dev->core.lru.next; l != &dev->core.lru && best != PROMISED; l = l->next) {
		int what = will_be(dmo_container_of(l, struct dmo_copy, lru), age);

		best = what > best ? what : best;
	}
	pthread_mutex_unlock(&dev->lock);
	return best;
}

/* dev->lock held. ETIMEDOUT, or 0 when memory was freed or the evictor has something to do. */
static int timed_wait(struct eng_device *dev, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += ms * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	return pthread_cond_timedwait(&dev->cond, &dev->lock, &until);
}

static void wait_for_memory(struct eng_device *dev)
{
	pthread_mutex_lock(&dev->lock);
	timed_wait(dev, WAIT_MS);
	pthread_mutex_unlock(&dev->lock);
}

/* Evicts one copy; promised ones of younger migrations (of all, for who has no age) where nothing else came in a while. */
static int evict_for(struct eng_device *dev, u64 age, bool waited)
{
	int err = evict_one(dev, ENG_SPARE_ALL);

	return err == -EAGAIN && waited ? evict_one(dev, age) : err;
}

int eng_make_room(struct eng_device *dev, u64 frames, u64 age, const atomic_bool *cancel)
{
	unsigned waits = 0, failures = 0;
	bool waited = false;
	int err, hope;

	atomic_fetch_add(&dev->stats.event_max, 1);
	while (!has_room(dev, frames)) {
		if (cancel && atomic_load(cancel))
			return -EINTR;
		if (atomic_load(&dev->lost))
			return -ENODEV;
		err = evict_for(dev, age, waited);
		if (!err)
			continue;
		if (err != -EAGAIN && ++failures < LOOK_MAX)
			continue;
		hope = is_there_hope(dev, age);
		if (err != -EAGAIN || hope == NOTHING) {
			atomic_fetch_add(&dev->stats.event_oom, 1);
			return err == -EAGAIN ? -ENOSPC : err;
		}
		if (hope != PROMISED && waits++ == WAITS_MAX)
			return -EBUSY;
		wait_for_memory(dev);
		waited = true;
	}
	return 0;
}

/* ---- the evictor --------------------------------------------------------------------------------------------------- */

void eng_evictor_wake(struct eng_device *dev)
{
	dev->evict_now = true;
	pthread_cond_broadcast(&dev->cond);
}

static void run_down(struct eng_device *dev)
{
	unsigned failures = 0;

	atomic_fetch_add(&dev->stats.event_high, 1);
	while (failures < LOOK_MAX) {
		bool more;

		pthread_mutex_lock(&dev->lock);
		more = dmo_policy_above_low(&dev->core) && !dev->stop;
		pthread_mutex_unlock(&dev->lock);
		if (!more)
			return;
		if (evict_one(dev, ENG_SPARE_ALL))
			failures++;
	}
}

static void *evictor(void *arg)
{
	struct eng_device *dev = arg;

	pthread_mutex_lock(&dev->lock);
	while (!dev->stop) {
		if (!dev->evict_now) {
			if (!dmo_policy_above_high(&dev->core))
				pthread_cond_wait(&dev->cond, &dev->lock);
			else	/* everything was busy, or the store refused: again in a while */
				dev->evict_now = timed_wait(dev, RETRY_MS) == ETIMEDOUT;
			continue;
		}
		dev->evict_now = false;
		pthread_mutex_unlock(&dev->lock);
		run_down(dev);
		pthread_mutex_lock(&dev->lock);
	}
	pthread_mutex_unlock(&dev->lock);
	eng_tier_thread_exit();
	return NULL;
}

int eng_evictor_start(struct eng_device *dev)
{
	int err = pthread_create(&dev->evictor, NULL, evictor, dev);

	dev->evictor_on = !err;
	return -err;
}

void eng_evictor_stop(struct eng_device *dev)
{
	if (!dev->evictor_on)
		return;
	pthread_mutex_lock(&dev->lock);
	dev->stop = true;
	pthread_cond_broadcast(&dev->cond);
	pthread_mutex_unlock(&dev->lock);
	pthread_join(dev->evictor, NULL);
	dev->evictor_on = false;
}

/* ---- writing back, keeping the pages --------------------------------------------------------------------------------- */

static bool may_be_dirty(const struct dmo_block *b)
{
	u64 dirty[DMO_BITS_WORDS] = { 0 };

	dmo_block_dirty(b, dirty);
	return dmo_bits_any(dirty) || dmo_bits_any(dmo_block_bits(b, DMO_WMAPPED));
}

/* MOVING, lock held. A staged copy that could be written at last is no longer needed. */
static int clean_copies(struct eng_object *obj, struct dmo_block *b)
{
	struct dmo_copy *c, *next;
	int err = 0;

	for (c = b->copies; c; c = next) {
		struct dmo_plan plan = { .block = b, .dev = c->dev };
		bool dirty;
		int one;

		next = c->next;
		dmo_plan_clean(&plan);
		one = write_out(obj, &plan, &dirty);
		if (one)
			eng_writeback_error(obj, one);
		else if (c->dev == &obj->eng->stage->core)
			free_copy(c, false);
		if (!err)
			err = one;
	}
	return err;
}

static int clean_block(struct eng_object *obj, u64 index)
{
	struct dmo_block *b;
	int err = eng_claim(obj, index, NULL, &b);

	if (err)
		return err;
	wait_move(obj, b);
	err = clean_copies(obj, b);
	eng_unclaim(b);
	return err;
}

int eng_clean_range(struct eng_object *obj, u64 offset, u64 last)
{
	struct dmo_block *b;
	int err = 0;

	pthread_mutex_lock(&obj->lock);
	for (u64 i = eng_block_of(offset); (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		int one = 0;

		if (i > eng_block_of(last))
			break;
		if (may_be_dirty(b) || b->state == DMO_BLOCK_MOVING)
			one = clean_block(obj, i);
		if (!err)
			err = one;
		pthread_mutex_unlock(&obj->lock);
		eng_unpark(obj);
		pthread_mutex_lock(&obj->lock);
	}
	pthread_mutex_unlock(&obj->lock);
	return err;
}
