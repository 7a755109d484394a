/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * race.c - a write(2) on its way when its pages are revoked
 *
 * The kernel puts the new bytes into its page cache before it sends the WRITE. A revocation in between drops the page.
 * If the page is then read again before the WRITE is taken, the CPU is left with the page as it was; if it is also
 * stored to through a mapping, the kernel will write the whole old page back over the WRITE. So, where a block
 * was revoked before:
 *
 *  1. While a WRITE is under way it stands in obj->underway with its bytes and those that were there before. A page
 *     written back meanwhile has the WRITE's bytes put in where it still has the old ones. The WRITE enters the list when
 *     no page of its blocks is being written back; a page that comes later waits until the old bytes are known.
 *  2. When its bytes are in place, its pages must not be in the CPU's cache as they were before. The rows of the block
 *     say what to do before the WRITE is answered, so that nobody reads the old page after write(2) returned:
 *       READ     read since the last revocation began: revoke them once more
 *       LEAVING  read before, and a revocation is under way that drops them: wait for its end, then look at READ again
 *
 * A page that this very WRITE keeps locked can't be revoked before the answer: the kernel locks one that is written in
 * part and was not up to date, so can't be stale. A WRITE of parts of pages is therefore answered after HOLD_MS in any
 * case; one of whole pages locks none and waits for as long as it takes.
 *
 * Before the first revocation of a block no WRITE takes part in this: that revocation waits for those under way (move.c).
 *
 * Locks: the list and ready are under obj->lock; what becomes of the answer under underway->lock.
 */
#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HOLD_MS 1000

struct eng_underway {
	struct eng_underway *next;	/* obj->underway, the oldest first */
	struct eng_work work, timer;
	struct eng_object *obj;
	struct eng_req *req;
	int64_t result;
	enum eng_hold hold;
	u64 offset, length;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool ready;			/* bytes are there */
	bool answered, over;
	unsigned refs;
	char bytes[];			/* length old ones, then length new ones */
};

struct eng_underway *eng_underway_begin(struct eng_object *obj, u64 offset, u64 length)
{
	struct eng_underway *u = malloc(sizeof(*u) + 2 * length), **at;

	if (!u)
		return NULL;
	*u = (struct eng_underway){ .obj = obj, .offset = offset, .length = length, .refs = 1 };
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->cond, NULL);
	eng_object_ref(obj);
	for (at = &obj->underway; *at; at = &(*at)->next)
		;
	*at = u;
	return u;
}

void eng_underway_fill(struct eng_underway *u, struct eng_file *f, const char *buf)
{
	if (eng_read_bytes(f, u->bytes, u->offset, u->length) < 0)
		memcpy(u->bytes, buf, u->length);	/* nothing legible there that could come back */
	memcpy(u->bytes + u->length, buf, u->length);
	pthread_mutex_lock(&u->obj->lock);
	u->ready = true;
	pthread_cond_broadcast(&u->obj->cond);
	pthread_mutex_unlock(&u->obj->lock);
}

static void take_out(struct eng_underway *u)
{
	struct eng_underway **at;

	pthread_mutex_lock(&u->obj->lock);
	for (at = &u->obj->underway; *at != u; at = &(*at)->next)
		;
	*at = u->next;
	pthread_mutex_unlock(&u->obj->lock);
}

static void put(struct eng_underway *u)
{
	unsigned left;

	pthread_mutex_lock(&u->lock);
	left = --u->refs;
	pthread_mutex_unlock(&u->lock);
	if (left)
		return;
	eng_object_unref(u->obj);
	pthread_mutex_destroy(&u->lock);
	pthread_cond_destroy(&u->cond);
	free(u);
}

void eng_underway_end(struct eng_underway *u)
{
	take_out(u);
	put(u);
}

/* ---- pages written back meanwhile ----------------------------------------------------------------------------- */

/* Puts u's bytes into those at offset where the old ones still stand. */
static void patch(const struct eng_underway *u, char *buf, u64 offset, u64 length)
{
	u64 lo = u->offset > offset ? u->offset : offset;
	u64 hi = u->offset + u->length < offset + length ? u->offset + u->length : offset + length;

	for (u64 i = lo; i < hi; i++)
		if (buf[i - offset] == u->bytes[i - u->offset])
			buf[i - offset] = u->bytes[u->length + (i - u->offset)];
}

/* Waits until the old bytes of every WRITE under way in the range are known; lock held. */
static void wait_ready(struct eng_object *obj, u64 offset, u64 length)
{
	struct eng_underway *u = obj->underway;

	while (u) {
		if (u->ready || u->offset >= offset + length || offset >= u->offset + u->length) {
			u = u->next;
			continue;
		}
		pthread_cond_wait(&obj->cond, &obj->lock);
		u = obj->underway;
	}
}

int64_t eng_underway_patch(struct eng_file *f, const char *buf, u64 offset, u64 length, eng_write_fn write)
{
	struct eng_object *obj = f->obj;
	char *copy = NULL;
	int64_t result;

	pthread_mutex_lock(&obj->lock);
	wait_ready(obj, offset, length);
	for (struct eng_underway *u = obj->underway; u; u = u->next) {
		if (u->offset >= offset + length || offset >= u->offset + u->length)
			continue;
		if (!copy && (copy = malloc(length)))
			memcpy(copy, buf, length);
		if (copy)
			patch(u, copy, offset, length);
	}
	pthread_mutex_unlock(&obj->lock);
	result = write(f, copy ? copy : buf, offset, length, ENG_IO_WRITEPAGE);
	free(copy);
	return result;
}

/* ---- the answer that waits -------------------------------------------------------------------------------------- */

static void answer(struct eng_underway *u)
{
	bool mine;

	pthread_mutex_lock(&u->lock);
	mine = !u->answered;
	u->answered = true;
	pthread_mutex_unlock(&u->lock);
	if (!mine)
		return;
	u->req->result = u->result;
	u->req->done(u->req);
}

/* Is a bit of the row set in the range? Forgets it where clear is given. obj->lock held. */
static bool any_in_row(struct eng_object *obj, unsigned row, u64 offset, u64 length, bool clear)
{
	bool found = false;
	struct eng_part p;

	FOR_EACH_PART(p, offset, length) {
		struct dmo_block *b = dmo_block_find(&obj->core, p.index);

		if (!b || !dmo_bits_any_in(dmo_block_bits(b, row), p.first, p.count))
			continue;
		found = true;
		b->users++;
		if (clear && !dmo_block_open(b))
			dmo_bits_clear(dmo_rows_row(&b->rows, row), p.first, p.count);
		dmo_block_put(b);
	}
	return found;
}

enum eng_hold eng_underway_look(struct eng_underway *u)
{
	struct eng_object *obj = u->obj;
	enum eng_hold hold = ENG_HOLD_NOT;

	pthread_mutex_lock(&obj->lock);
	if (any_in_row(obj, DMO_READ, u->offset, u->length, true))
		hold = ENG_HOLD_REVOKE;
	else if (any_in_row(obj, DMO_LEAVING, u->offset, u->length, false))
		hold = ENG_HOLD_WAIT;
	pthread_mutex_unlock(&obj->lock);
	return hold;
}

/* Waits until the revocation under way is over. Were the pages read again meanwhile? */
static bool wait_left(struct eng_underway *u)
{
	struct eng_object *obj = u->obj;
	bool again;

	pthread_mutex_lock(&obj->lock);
	while (any_in_row(obj, DMO_LEAVING, u->offset, u->length, false))
		pthread_cond_wait(&obj->cond, &obj->lock);
	again = any_in_row(obj, DMO_READ, u->offset, u->length, true);
	pthread_mutex_unlock(&obj->lock);
	return again;
}

static void revoke_again(struct eng_underway *u)
{
	struct eng_object *obj = u->obj;
	u64 first = u->offset & ~(u64)(DMO_PAGE_SIZE - 1);
	u64 end = (u->offset + u->length + DMO_PAGE_SIZE - 1) & ~(u64)(DMO_PAGE_SIZE - 1);

	atomic_fetch_add(&obj->eng->rerevocations, 1);
	obj->eng->fs->revoke(obj->inode, first, end - first);
}

static void run_hold(struct eng_work *w)
{
	struct eng_underway *u = dmo_container_of(w, struct eng_underway, work);

	if (u->hold == ENG_HOLD_REVOKE || wait_left(u))
		revoke_again(u);
	pthread_mutex_lock(&u->lock);
	u->over = true;
	pthread_cond_broadcast(&u->cond);
	pthread_mutex_unlock(&u->lock);
	answer(u);
	eng_underway_end(u);
}

static void run_timer(struct eng_work *w)
{
	struct eng_underway *u = dmo_container_of(w, struct eng_underway, timer);
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += HOLD_MS / 1000;
	pthread_mutex_lock(&u->lock);
	while (!u->over && !pthread_cond_timedwait(&u->cond, &u->lock, &until))
		;
	pthread_mutex_unlock(&u->lock);
	answer(u);
	put(u);
}

void eng_underway_hold(struct eng_underway *u, struct eng_req *req, int64_t result, enum eng_hold hold)
{
	struct eng_pool *pool = &u->obj->eng->pool;
	bool parts = (u->offset | (u->offset + u->length)) & (DMO_PAGE_SIZE - 1);

	u->req = req;
	u->result = result;
	u->hold = hold;
	u->work.run = run_hold;
	u->timer.run = run_timer;
	u->refs += parts;
	if (parts)
		eng_pool_run(pool, &u->timer);
	eng_pool_run(pool, &u->work);
}
