/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * context.c - open device contexts: commands in, completions out
 *
 * write(2) hands commands to the device (or, for a device that takes no faults, to command.c); read(2) takes completions.
 * A read that finds too few (ioctl_dmo_lowat(2)) is kept and answered by the thread that brings the next one; nothing
 * here ever blocks a worker.
 *
 * Locks: ctx->lock the address space; ctx->out_lock all of the queues. No callback is called with either held.
 */
#include "engine/internal.h"

#include "core/abi.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

int eng_ctx_open(struct eng_device *dev, const struct eng_cred *cred, struct eng_ctx **out)
{
	struct eng_ctx *ctx;
	int err;

	if (atomic_load(&dev->lost))
		return -ENODEV;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ctx->dev = dev;
	ctx->cred = *cred;
	ctx->out_tail = &ctx->out;
	ctx->queue_tail = &ctx->queue;
	ctx->lowat = 1;
	ctx->dying_last = 0;
	ctx->dying_first = 1;
	pthread_mutex_init(&ctx->lock, NULL);
	pthread_mutex_init(&ctx->out_lock, NULL);
	pthread_cond_init(&ctx->out_cond, NULL);
	dmo_space_init(&ctx->space, &eng_mem, &eng_space_ops, dev->info.va_start, dev->info.va_end);
	ctx->space.ctx = ctx;
	err = dev->ops->as_create(dev->dev, ctx, &ctx->as);
	if (err) {
		free(ctx);
		return err;
	}
	*out = ctx;
	return 0;
}

static void answer(struct eng_req *r, int64_t result)
{
	r->result = result;
	r->done(r);
}

static void answer_list(struct eng_req *list, int64_t result)
{
	while (list) {
		struct eng_req *next = list->next;

		answer(list, result);
		list = next;
	}
}

static void free_outs(struct eng_out *o)
{
	while (o) {
		struct eng_out *next = o->next;

		free(o);
		o = next;
	}
}

void eng_ctx_enter(struct eng_ctx *ctx)
{
	pthread_mutex_lock(&ctx->out_lock);
	ctx->users++;
	pthread_mutex_unlock(&ctx->out_lock);
}

void eng_ctx_leave(struct eng_ctx *ctx)
{
	pthread_mutex_lock(&ctx->out_lock);
	if (!--ctx->users)
		pthread_cond_broadcast(&ctx->out_cond);
	pthread_mutex_unlock(&ctx->out_lock);
}

void eng_ctx_release(struct eng_ctx *ctx)
{
	struct eng_req *readers;

	atomic_store(&ctx->closing, true);
	pthread_mutex_lock(&ctx->out_lock);
	readers = ctx->readers;
	ctx->readers = NULL;
	pthread_mutex_unlock(&ctx->out_lock);
	answer_list(readers, -ECANCELED);
	eng_command_flush(ctx);
	eng_ctx_unmap_all(ctx);
	ctx->dev->ops->as_destroy(ctx->as);
	pthread_mutex_lock(&ctx->out_lock);
	while (ctx->users)
		pthread_cond_wait(&ctx->out_cond, &ctx->out_lock);
	pthread_mutex_unlock(&ctx->out_lock);
	if (ctx->poll_handle)
		ctx->dev->eng->fs->poll_forget(ctx->poll_handle);
	free_outs(ctx->out);
	free_outs(ctx->spare);
	pthread_cond_destroy(&ctx->out_cond);
	pthread_mutex_destroy(&ctx->out_lock);
	pthread_mutex_destroy(&ctx->lock);
	free(ctx);
}

/* ---- completions -------------------------------------------------------------------------------------------- */

/* Moves whole completions into buf; how many bytes. out_lock held. */
static size_t take(struct eng_ctx *ctx, void *buf, size_t length)
{
	size_t got = 0;

	while (ctx->out && length - got >= sizeof(struct dmo_completion)) {
		struct eng_out *o = ctx->out;

		memcpy((char *)buf + got, &o->completion, sizeof(o->completion));
		got += sizeof(o->completion);
		ctx->out = o->next;
		if (!ctx->out)
			ctx->out_tail = &ctx->out;
		ctx->outstanding--;
		ctx->ready--;
		free(o);
	}
	return got;
}

/* Whether who has room for that many completions is to have what is there. out_lock held. */
static bool readable(const struct eng_ctx *ctx, size_t room)
{
	return dmo_completions_ready(ctx->ready, ctx->outstanding, room < ctx->lowat ? room : ctx->lowat);
}

/* Readers that can be answered now, each with its result set, off the list. out_lock held. */
static struct eng_req *serve_readers(struct eng_ctx *ctx)
{
	struct eng_req *served = NULL, **tail = &served;

	while (ctx->readers && readable(ctx, ctx->readers->length / sizeof(struct dmo_completion))) {
		struct eng_req *r = ctx->readers;

		ctx->readers = r->next;
		r->next = NULL;
		r->result = take(ctx, r->buf, r->length);
		*tail = r;
		tail = &r->next;
	}
	return served;
}

/* Tells who waits, if there is enough for them. Called with out_lock, which it gives back. */
static void wake(struct eng_ctx *ctx)
{
	struct eng_req *served = serve_readers(ctx), *next;
	void *handle = readable(ctx, ctx->lowat) ? ctx->poll_handle : NULL;

	if (handle)
		ctx->poll_handle = NULL;
	pthread_mutex_unlock(&ctx->out_lock);
	if (handle) {
		ctx->dev->eng->fs->poll_notify(handle);
		ctx->dev->eng->fs->poll_forget(handle);
	}
	for (; served; served = next) {
		next = served->next;
		served->done(served);
	}
}

void eng_ctx_complete(struct eng_ctx *ctx, const struct dmo_completion *c)
{
	struct eng_out *o;

	if (c->status)
		atomic_fetch_add(&ctx->dev->stats.command_errors, 1);
	pthread_mutex_lock(&ctx->out_lock);
	o = ctx->spare;
	DMO_BUG_ON(!o);
	ctx->spare = o->next;
	*o = (struct eng_out){ .completion = *c };
	*ctx->out_tail = o;
	ctx->out_tail = &o->next;
	ctx->ready++;
	wake(ctx);
}

void eng_ctx_lowat(struct eng_ctx *ctx, unsigned count)
{
	pthread_mutex_lock(&ctx->out_lock);
	ctx->lowat = count;
	wake(ctx);
}

void eng_ctx_read(struct eng_ctx *ctx, struct eng_req *r, void *buf, size_t length, bool nonblock)
{
	size_t room = length / sizeof(struct dmo_completion);
	int64_t result;

	if (!room) {
		answer(r, -EINVAL);
		return;
	}
	pthread_mutex_lock(&ctx->out_lock);
	result = nonblock || readable(ctx, room) ? (int64_t)take(ctx, buf, length) : 0;
	if (!result && !nonblock) {
		struct eng_req **at = &ctx->readers;

		while (*at)
			at = &(*at)->next;
		r->buf = buf;
		r->length = length;
		r->ctx = ctx;
		r->next = NULL;
		*at = r;
		pthread_mutex_unlock(&ctx->out_lock);
		return;
	}
	pthread_mutex_unlock(&ctx->out_lock);
	answer(r, result ? result : -EAGAIN);
}

void eng_ctx_cancel(struct eng_ctx *ctx, struct eng_req *req)
{
	struct eng_req **at;

	pthread_mutex_lock(&ctx->out_lock);
	for (at = &ctx->readers; *at && *at != req;)
		at = &(*at)->next;
	if (*at)
		*at = req->next;
	else
		req = NULL;
	pthread_mutex_unlock(&ctx->out_lock);
	if (req)
		answer(req, -EINTR);
}

unsigned eng_ctx_poll(struct eng_ctx *ctx, void *handle)
{
	void *old = NULL;
	unsigned events;

	pthread_mutex_lock(&ctx->out_lock);
	events = (readable(ctx, ctx->lowat) ? POLLIN | POLLRDNORM : 0) |
		 (ctx->outstanding < DMO_OUTSTANDING_MAX ? POLLOUT | POLLWRNORM : 0);
	if (handle) {
		old = ctx->poll_handle;
		ctx->poll_handle = handle;
	}
	pthread_mutex_unlock(&ctx->out_lock);
	if (atomic_load(&ctx->dev->lost))
		events |= POLLERR;
	if (old)
		ctx->dev->eng->fs->poll_forget(old);
	return events;
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

static void refuse(struct eng_ctx *ctx, const struct dmo_command *c, int err)
{
	eng_ctx_complete(ctx, &(struct dmo_completion){ .cookie = c->cookie, .op = c->op, .status = err });
}

static void hand_over(struct eng_ctx *ctx, const struct dmo_command *cmds, unsigned n)
{
	struct eng_device *dev = ctx->dev;
	int err = 0;

	if (!n)
		return;
	if (dev->core.faults)
		err = dev->ops->submit(ctx->as, cmds, n);
	else
		err = eng_command_queue(ctx, cmds, n);
	for (unsigned i = 0; err && i < n; i++)
		refuse(ctx, &cmds[i], err);
}

/* Hands over runs of good commands; bad ones complete at once. */
static void submit(struct eng_ctx *ctx, const struct dmo_command *cmds, unsigned n)
{
	unsigned start = 0;

	for (unsigned i = 0; i < n; i++) {
		int err = dmo_abi_check_command(&cmds[i]);

		if (!err)
			continue;
		hand_over(ctx, cmds + start, i - start);
		refuse(ctx, &cmds[i], err);
		start = i + 1;
	}
	hand_over(ctx, cmds + start, n - start);
}

/* Memory for the completions of n commands, as far as there is some: of how many. */
static unsigned reserve(struct eng_ctx *ctx, unsigned n)
{
	unsigned got;

	for (got = 0; got < n; got++) {
		struct eng_out *o = malloc(sizeof(*o));

		if (!o)
			break;
		pthread_mutex_lock(&ctx->out_lock);
		o->next = ctx->spare;
		ctx->spare = o;
		pthread_mutex_unlock(&ctx->out_lock);
	}
	return got;
}

static void unreserve(struct eng_ctx *ctx, unsigned n)
{
	pthread_mutex_lock(&ctx->out_lock);
	ctx->outstanding -= n;
	wake(ctx);
}

void eng_ctx_write(struct eng_ctx *ctx, struct eng_req *r, const void *buf, size_t length)
{
	unsigned n = length / sizeof(struct dmo_command), room, got;

	if (!n || length % sizeof(struct dmo_command)) {
		answer(r, -EINVAL);
		return;
	}
	pthread_mutex_lock(&ctx->out_lock);
	room = DMO_OUTSTANDING_MAX - ctx->outstanding;
	if (n > room)
		n = room;
	ctx->outstanding += n;
	pthread_mutex_unlock(&ctx->out_lock);
	if (!n) {
		answer(r, -EAGAIN);
		return;
	}
	got = reserve(ctx, n);
	if (got < n)
		unreserve(ctx, n - got);
	if (!got) {
		answer(r, -ENOMEM);
		return;
	}
	atomic_fetch_add(&ctx->dev->stats.commands, got);
	submit(ctx, buf, got);
	answer(r, (int64_t)got * sizeof(struct dmo_command));
}
