/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.c - commands for devices that take no faults
 *
 * Such a device stops dead at a missing translation, so what a command names is made resident, pinned and mapped before it
 * starts, and until it has ended the blocks stay MOVING: reads and writes of the CPU wait, nothing is evicted.
 *
 *   1. collect   the blocks that the command names, in one order for everybody (core/command.h)
 *   2. bring     each of them, with a pin: this may revoke
 *   3. hold      all of them at once, MOVING: this may not revoke (a read that spans two blocks may keep one locked while
 *                it waits for the other); if one would have to be revoked again, all are let go and 2 begins anew
 *   4. submit    and at the completion let go, unpin, and take the next command of the context
 *
 * What does not fit completes with ENOSPC before it starts. Commands of a context run one after the other.
 */
#include "engine/internal.h"

#include "core/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS_MOST 200

struct eng_staged {
	struct eng_staged *next;
	struct eng_work work;
	struct eng_ctx *ctx;
	struct dmo_command command;
	struct dmo_completion completion;
	struct dmo_named_blocks named;
};

#define FOR_EACH_NAMED(t, s) \
	for (struct dmo_named *t = (s)->named.blocks; t && t != (s)->named.blocks + (s)->named.count; t++)

/* ---- 1. collect ----------------------------------------------------------------------------------------------- */

static int collect(struct eng_staged *s)
{
	struct eng_device *dev = s->ctx->dev;
	u64 limit;
	int err;

	pthread_mutex_lock(&dev->lock);
	limit = dev->core.limit;
	pthread_mutex_unlock(&dev->lock);
	pthread_mutex_lock(&s->ctx->lock);
	err = dmo_command_blocks(&s->named, &eng_mem, &s->ctx->space, &s->command, limit);
	FOR_EACH_NAMED(t, s)
		eng_object_ref(t->object);
	pthread_mutex_unlock(&s->ctx->lock);
	return err;
}

/* ---- 2. and 3. --------------------------------------------------------------------------------------------------- */

static struct eng_access access_of(struct eng_staged *s, const struct dmo_named *t)
{
	return (struct eng_access){ .obj = t->object, .dev = s->ctx->dev, .ctx = s->ctx,
				    .page = t->index * DMO_BLOCK_PAGES + t->first, .write = t->write, .whole = true,
				    .first = t->first, .count = t->last - t->first + 1, .cancel = &s->ctx->closing };
}

static void unpin(struct eng_staged *s, struct dmo_named *t)
{
	struct eng_object *obj = t->object;
	struct dmo_copy *c;
	struct dmo_block *b;

	pthread_mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, t->index);
	c = b ? dmo_block_copy(b, &s->ctx->dev->core) : NULL;
	if (c && c->pins)
		c->pins--;
	pthread_mutex_unlock(&obj->lock);
	t->pinned = false;
}

static int bring(struct eng_staged *s)
{
	FOR_EACH_NAMED(t, s) {
		struct eng_access a = access_of(s, t);
		int err;

		a.pin = !t->pinned;
		err = eng_access(&a);
		if (err)
			return err;
		t->pinned = true;
	}
	return 0;
}

static void let_go(struct eng_staged *s)
{
	FOR_EACH_NAMED(t, s) {
		if (t->held)
			eng_let_go(t->object, t->index);
		t->held = NULL;
	}
}

static int hold_all(struct eng_staged *s)
{
	FOR_EACH_NAMED(t, s) {
		struct eng_access a = access_of(s, t);
		int err = eng_hold(&a);

		if (err) {
			let_go(s);
			return err;
		}
		t->held = t->object;
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
	FOR_EACH_NAMED(t, s) {
		if (t->pinned)
			unpin(s, t);
		eng_object_unref(t->object);
	}
	dmo_named_fini(&s->named);
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
