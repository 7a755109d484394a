/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * context.c - a device context is an open file: commands are written, completions read
 *
 * OPEN is answered with flags that libfuse 3.14 doesn't know. Without FOPEN_STREAM the file has a position, and the
 * kernel would hold its lock over a waiting read(2), which would then stop every write(2). Parallel direct writes
 * keep two writers from waiting for each other.
 *
 * Lock: open_lock protects the list of open contexts and the count of releases under way.
 */
#include "config.h"

#include "context.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "cred.h"
#include "reply.h"

struct fs_context {
	struct fs_open open;		/* FS_OPEN_CONTEXT */
	struct eng_ctx *ctx;
	struct fs_context *next, **link;
};

static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static struct fs_context *contexts;
static unsigned releasing;

struct eng_ctx *fs_context_of(struct fs_open *open)
{
	return ((struct fs_context *)open)->ctx;
}

static void *release_thread(void *arg)
{
	struct fs_context *c = arg;

	eng_ctx_release(c->ctx);
	free(c);
	pthread_mutex_lock(&open_lock);
	releasing--;
	pthread_cond_broadcast(&released);
	pthread_mutex_unlock(&open_lock);
	return NULL;
}

/* open_lock held. */
static void start_release(struct fs_context *c)
{
	pthread_attr_t attr;
	pthread_t thread;

	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	releasing++;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, release_thread, c)) {
		pthread_mutex_unlock(&open_lock);
		release_thread(c);
		pthread_mutex_lock(&open_lock);
	}
	pthread_attr_destroy(&attr);
}

void fs_context_release(struct fs *fs, struct fs_open *open)
{
	pthread_mutex_lock(&open_lock);
	start_release((struct fs_context *)open);
	pthread_mutex_unlock(&open_lock);
}

void fs_context_release_all(void)
{
	pthread_mutex_lock(&open_lock);
	while (contexts)
		start_release(contexts);
	while (releasing)
		pthread_cond_wait(&released, &open_lock);
	pthread_mutex_unlock(&open_lock);
}

void fs_context_open(fuse_req_t req, struct eng_device *dev, struct fuse_file_info *fi)
{
	struct eng_cred cred = fs_cred_of(req, false);
	struct fs_context *c = calloc(1, sizeof(*c));
	struct fs *fs = fs_of(req);
	int rc;

	if (!c) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	c->open.kind = FS_OPEN_CONTEXT;
	rc = eng_ctx_open(dev, &cred, &c->ctx);
	if (rc) {
		free(c);
		fuse_reply_err(req, -rc);
		return;
	}
	pthread_mutex_lock(&open_lock);
	c->next = contexts;
	c->link = &contexts;
	if (c->next)
		c->next->link = &c->next;
	contexts = c;
	pthread_mutex_unlock(&open_lock);
	fi->fh = (uintptr_t)c;
	if (fs_reply_open(req, fi, FOPEN_DIRECT_IO | FOPEN_STREAM | FOPEN_NOFLUSH | FOPEN_PARALLEL_DIRECT_WRITES, 0))
		fs_context_release(fs, &c->open);
}

static void answer_read(struct fs_call *call)
{
	int64_t n = call->req.result;

	fs_reply(call->fd, call->unique, n < 0 ? (int)n : 0, call->block + FS_BLOCK_DATA, n < 0 ? 0 : n);
}

void fs_context_read(struct fs_worker *w, struct fs_open *open, const struct fuse_read_in *arg)
{
	struct fs_call *call = fs_call_get(w);

	if (!call) {
		fs_reply(w->fd, w->in->unique, -ENOMEM, NULL, 0);
		return;
	}
	fs_call_begin(call, answer_read);
	eng_ctx_read(fs_context_of(open), &call->req, call->block + FS_BLOCK_DATA, arg->size,
		     arg->flags & O_NONBLOCK);
}

void fs_context_write(struct fs_worker *w, struct fs_open *open, const struct fuse_write_in *arg)
{
	struct fs_call *call = fs_call_get(w);
	size_t size = arg->size;

	if (!call) {
		fs_reply(w->fd, w->in->unique, -ENOMEM, NULL, 0);
		return;
	}
	fs_call_take_block(w, call);
	fs_call_begin(call, fs_call_answer_count);
	eng_ctx_write(fs_context_of(open), &call->req, call->block + FS_BLOCK_DATA, size);
}
