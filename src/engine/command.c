/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.c - commands for devices that take no faults
 *
 * Such a device stops dead at a missing translation, so what a command names is made resident, pinned and mapped before it
 * starts, and until it has ended the blocks stay MOVING: reads and writes of the CPU wait, nothing is evicted.
 *
 *   1. collect   the blocks that the command touches, in one order for everybody (object, index)
 *   2. bring     each of them, with a pin: this may revoke
 *   3. hold      all of them at once, MOVING: this may not revoke (a read that spans two blocks may keep one locked while
 *                it waits for the other); if one would have to be revoked again, all are let go and 2 begins anew
 *   4. submit    and at the completion let go, unpin, and take the next command of the context
 *
 * What does not fit completes with ENOSPC before it starts. Commands of a context run one after the other.
 */
#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS_MOST 200

struct touched {
	struct eng_object *obj;
	u64 index;
	unsigned first, last;
	bool write, pinned, held;
};

struct eng_staged {
	struct eng_staged *next;
	struct eng_work work;
	struct eng_ctx *ctx;
	struct dmo_command command;
	struct dmo_completion completion;
	struct touched *blocks;
	unsigned nr, room;
};

/* ---- 1. collect ----------------------------------------------------------------------------------------------- */

static int add_block(struct eng_staged *s, struct eng_object *obj, u64 index, unsigned first, unsigned last, bool write)
{
	for (unsigned i = 0; i < s->nr; i++) {
		struct touched *t = &s->blocks[i];

		if (t->obj != obj || t->index != index)
			continue;
		t->first = first < t->first ? first : t->first;
		t->last = last > t->last ? last : t->last;
		t->write |= write;
		return 0;
	}
	if (s->nr == s->room) {
		unsigned room = s->room ? s->room * 2 : 8;
		struct touched *blocks = realloc(s->blocks, room * sizeof(*blocks));

		if (!blocks)
			return -ENOMEM;
		s->blocks = blocks;
		s->room = room;
	}
	eng_object_ref(obj);
	s->blocks[s->nr++] = (struct touched){ .obj = obj, .index = index, .first = first, .last = last,
					       .write = write };
	return 0;
}

/* The blocks under the device range [va, end); ctx->lock held. */
static int add_range(struct eng_staged *s, u64 va, u64 end, bool write)
{
	int err = 0;

	while (va < end && !err) {
		struct dmo_mapping *m = dmo_space_find(&s->ctx->space, va);
		u64 offset, base, stop;

		if (!m)
			return -EFAULT;
		if (!(m->prot & (write ? DMO_PROT_WRITE : DMO_PROT_READ)))
			return -EACCES;
		offset = dmo_mapping_offset_of(m, va);
		base = offset & ~(u64)(DMO_BLOCK_SIZE - 1);
		stop = base + DMO_BLOCK_SIZE - offset;
		if (stop > dmo_mapping_va(m) + dmo_mapping_length(m) - va)
			stop = dmo_mapping_va(m) + dmo_mapping_length(m) - va;
		if (stop > end - va)
			stop = end - va;
		err = add_block(s, m->object, eng_block_of(offset), (offset - base) >> DMO_PAGE_SHIFT,
				(offset - base + stop - 1) >> DMO_PAGE_SHIFT, write);
		va += stop;
	}
	return err;
}

static int by_block(const void *a, const void *b)
{
	const struct touched *x = a, *y = b;

	if (x->obj != y->obj)
		return x->obj < y->obj ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int collect(struct eng_staged *s)
{
	struct dmo_cmd_range ranges[DMO_CMD_RANGES_MAX];
	int n = dmo_command_ranges(&s->command, ranges, DMO_CMD_RANGES_MAX), err = 0;

	if (n < 0)
		return n;
	pthread_mutex_lock(&s->ctx->lock);
	for (int i = 0; i < n && !err; i++)
		err = add_range(s, ranges[i].va, ranges[i].va + ranges[i].len, ranges[i].write);
	pthread_mutex_unlock(&s->ctx->lock);
	if (s->nr)
		qsort(s->blocks, s->nr, sizeof(*s->blocks), by_block);
	return err;
}

/* ---- 2. and 3. --------------------------------------------------------------------------------------------------- */

static struct eng_access access_of(struct eng_staged *s, const struct touched *t)
{
	return (struct eng_access){ .obj = t->obj, .dev = s->ctx->dev, .ctx = s->ctx,
				    .page = t->index * DMO_BLOCK_PAGES + t->first, .write = t->write, .whole = true,
				    .first = t->first, .count = t->last - t->first + 1, .cancel = &s->ctx->closing };
}

static void unpin(struct eng_staged *s, struct touched *t)
{
	struct dmo_copy *c;
	struct dmo_block *b;

	pthread_mutex_lock(&t->obj->lock);
	b = dmo_block_find(&t->obj->core, t->index);
	c = b ? dmo_block_copy(b, &s->ctx->dev->core) : NULL;
	if (c && c->pins)
		c->pins--;
	pthread_mutex_unlock(&t->obj->lock);
	t->pinned = false;
}

static int bring(struct eng_staged *s)
{
	for (unsigned i = 0; i < s->nr; i++) {
		struct eng_access a = access_of(s, &s->blocks[i]);
		int err;

		a.pin = !s->blocks[i].pinned;
		err = eng_access(&a);
		if (err)
			return err;
		s->blocks[i].pinned = true;
	}
	return 0;
}

static void let_go(struct eng_staged *s)
{
	for (unsigned i = 0; i < s->nr; i++) {
		struct touched *t = &s->blocks[i];

		if (!t->held)
			continue;
		t->held = false;
		eng_let_go(t->obj, t->index);
	}
}

static int hold_all(struct eng_staged *s)
{
	for (unsigned i = 0; i < s->nr; i++) {
		struct eng_access a = access_of(s, &s->blocks[i]);
		int err = eng_hold(&a);

		if (err) {
			let_go(s);
			return err;
		}
		s->blocks[i].held = true;
	}
	return 0;
}

static int prepare(struct eng_staged *s)
{
	int err = collect(s);

	for (unsigned round = 0; !err; round++) {
		err = bring(s);
		if (!err)
			err = hold_all(s);
		if (err != -EAGAIN)
			break;
		if (round == ROUNDS_MOST)
			return -EBUSY;
		usleep(round * 10);
		err = 0;
	}
	return err;
}

static void finish(struct eng_staged *s)
{
	let_go(s);
	for (unsigned i = 0; i < s->nr; i++) {
		if (s->blocks[i].pinned)
			unpin(s, &s->blocks[i]);
		eng_object_unref(s->blocks[i].obj);
	}
	free(s->blocks);
	free(s);
}

/* ---- the queue ------------------------------------------------------------------------------------------------------ */

static void run_command(struct eng_work *w);

/* Starts the context's next command where none runs; out_lock held. */
static void start_next(struct eng_ctx *ctx)
{
	struct eng_staged *s = ctx->queue;

	if (ctx->running || !s)
		return;
	ctx->queue = s->next;
	if (!ctx->queue)
		ctx->queue_tail = &ctx->queue;
	ctx->running = s;
	ctx->users++;
	eng_pool_run(&ctx->dev->eng->pool, &s->work);
}

static void over(struct eng_ctx *ctx, struct eng_staged *s, const struct dmo_completion *c)
{
	finish(s);
	eng_ctx_complete(ctx, c);
	pthread_mutex_lock(&ctx->out_lock);
	ctx->running = NULL;
	start_next(ctx);
	pthread_mutex_unlock(&ctx->out_lock);
	eng_ctx_leave(ctx);
}

static void run_command(struct eng_work *w)
{
	struct eng_staged *s = dmo_container_of(w, struct eng_staged, work);
	struct eng_ctx *ctx = s->ctx;
	struct dmo_completion c = { .cookie = s->command.cookie, .op = s->command.op };
	int err = atomic_load(&ctx->closing) ? -ECANCELED : prepare(s);

	if (!err)
		err = ctx->dev->ops->submit(ctx->as, &s->command, 1);
	if (!err)
		return;
	c.status = err == -EINTR ? -ECANCELED : err == -ENODEV ? -EIO : err;
	over(ctx, s, &c);
}

static void run_over(struct eng_work *w)
{
	struct eng_staged *s = dmo_container_of(w, struct eng_staged, work);
	struct dmo_completion c = s->completion;

	over(s->ctx, s, &c);
}

/* On a device's thread: what was parked behind the command is run by the pool. */
void eng_command_done(struct eng_ctx *ctx, const struct dmo_completion *c)
{
	struct eng_staged *s = ctx->running;

	s->completion = *c;
	s->work.run = run_over;
	eng_pool_run(&ctx->dev->eng->pool, &s->work);
}

int eng_command_queue(struct eng_ctx *ctx, const struct dmo_command *cmds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct eng_staged *s = calloc(1, sizeof(*s));
		struct dmo_completion c = { .cookie = cmds[i].cookie, .op = cmds[i].op, .status = -ENOMEM };

		if (!s) {
			eng_ctx_complete(ctx, &c);
			continue;
		}
		s->work.run = run_command;
		s->ctx = ctx;
		s->command = cmds[i];
		pthread_mutex_lock(&ctx->out_lock);
		*ctx->queue_tail = s;
		ctx->queue_tail = &s->next;
		start_next(ctx);
		pthread_mutex_unlock(&ctx->out_lock);
	}
	return 0;
}

void eng_command_flush(struct eng_ctx *ctx)
{
	struct eng_staged *list;

	pthread_mutex_lock(&ctx->out_lock);
	list = ctx->queue;
	ctx->queue = NULL;
	ctx->queue_tail = &ctx->queue;
	pthread_mutex_unlock(&ctx->out_lock);
	while (list) {
		struct eng_staged *next = list->next;

		free(list);
		list = next;
	}
}
