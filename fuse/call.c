/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * call.c - requests in flight at the engine
 *
 *	get -> begin -> (engine) -> done -> answer -> put
 *	  `-> keep	   `-> unbegin, where the engine has nothing to do with it
 *
 * A begun call stands in a shard chosen by its request number, where INTERRUPT finds it. An interrupt may meet the
 * completion on another thread: it holds a reference while it talks to the engine, and the last one to let go
 * frees the call.
 *
 * An INTERRUPT whose request is not here is being carried out on a worker right now, or is over: EAGAIN makes the
 * kernel ask again as long as the request lives.
 *
 * Locks: a shard's lock protects its list, and refs of the calls in it; the pool's lock protects the free lists. No
 * lock is taken inside another.
 */
#include "config.h"

#include "call.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reply.h"
#include "worker.h"

#define SHARDS 16
#define KEEP_CALLS 16	/* free ones that are kept, each with a block */

struct shard {
	pthread_mutex_t lock;
	struct fs_call *first;
};

struct fs_calls {
	struct shard shards[SHARDS];
	pthread_mutex_t lock;		/* protects the free list */
	struct fs_call *free;
	unsigned free_count;
};

int fs_calls_start(struct fs *fs)
{
	struct fs_calls *calls = calloc(1, sizeof(*calls));

	if (!calls)
		return -ENOMEM;
	for (int i = 0; i < SHARDS; i++)
		pthread_mutex_init(&calls->shards[i].lock, NULL);
	pthread_mutex_init(&calls->lock, NULL);
	fs->calls = calls;
	return 0;
}

static size_t block_size(const struct fs *fs)
{
	return FS_BLOCK_DATA + fs->max_write;
}

char *fs_block_get(struct fs *fs)
{
	void *block = mmap(NULL, block_size(fs), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return block == MAP_FAILED ? NULL : block;
}

void fs_block_put(struct fs *fs, char *block)
{
	munmap(block, block_size(fs));
}

static void call_free(struct fs *fs, struct fs_call *call)
{
	fs_block_put(fs, call->block);
	free(call);
}

void fs_calls_stop(struct fs *fs)
{
	struct fs_calls *calls = fs->calls;
	struct fs_call *call;

	if (!calls)
		return;
	while ((call = calls->free)) {
		calls->free = call->next;
		call_free(fs, call);
	}
	free(calls);
	fs->calls = NULL;
}

static struct fs_call *call_new(struct fs *fs)
{
	struct fs_call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	call->fs = fs;
	call->block = fs_block_get(fs);
	if (call->block)
		return call;
	free(call);
	return NULL;
}

static struct fs_call *take_free(struct fs_calls *calls)
{
	struct fs_call *call;

	pthread_mutex_lock(&calls->lock);
	call = calls->free;
	if (call) {
		calls->free = call->next;
		calls->free_count--;
	}
	pthread_mutex_unlock(&calls->lock);
	return call;
}

static void call_put(struct fs_call *call)
{
	struct fs_calls *calls = call->fs->calls;
	bool keep;

	pthread_mutex_lock(&calls->lock);
	keep = calls->free_count < KEEP_CALLS;
	if (keep) {
		call->next = calls->free;
		calls->free = call;
		calls->free_count++;
	}
	pthread_mutex_unlock(&calls->lock);
	if (!keep)
		call_free(call->fs, call);
}

struct fs_call *fs_call_get(struct fs_worker *w)
{
	struct fs_call *call = w->spare;

	w->spare = NULL;
	if (!call)
		call = take_free(w->fs->calls);
	if (!call)
		call = call_new(w->fs);
	if (!call)
		return NULL;
	call->fd = w->fd;
	call->unique = w->in->unique;
	call->opcode = w->in->opcode;
	return call;
}

void fs_call_keep(struct fs_worker *w, struct fs_call *call)
{
	if (w->spare)
		call_put(call);
	else
		w->spare = call;
}

void fs_call_drop(struct fs_worker *w)
{
	if (w->spare)
		call_put(w->spare);
	w->spare = NULL;
}

void fs_call_take_block(struct fs_worker *w, struct fs_call *call)
{
	char *block = w->block;

	w->block = call->block;
	call->block = block;
}

static struct shard *shard_of(struct fs_calls *calls, uint64_t unique)
{
	return &calls->shards[(unique >> 1) % SHARDS];
}

/* Shard's lock held. */
static void unlink_call(struct fs_call *call)
{
	if (!call->link)
		return;
	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	call->link = NULL;
}

static void call_release(struct fs_call *call)
{
	struct shard *shard = shard_of(call->fs->calls, call->unique);
	bool last;

	pthread_mutex_lock(&shard->lock);
	unlink_call(call);
	last = !--call->refs;
	pthread_mutex_unlock(&shard->lock);
	if (last)
		call_put(call);
}

static void on_done(struct eng_req *req)
{
	struct fs_call *call = (struct fs_call *)req;

	call->answer(call);
	call_release(call);
}

void fs_call_begin(struct fs_call *call, void (*answer)(struct fs_call *call))
{
	struct shard *shard = shard_of(call->fs->calls, call->unique);

	call->req = (struct eng_req){ .done = on_done };
	call->answer = answer;
	call->refs = 1;
	pthread_mutex_lock(&shard->lock);
	call->next = shard->first;
	call->link = &shard->first;
	if (call->next)
		call->next->link = &call->next;
	shard->first = call;
	pthread_mutex_unlock(&shard->lock);
}

void fs_call_unbegin(struct fs_call *call)
{
	struct fs_worker *w = fs_worker();
	struct shard *shard = shard_of(call->fs->calls, call->unique);
	bool last;

	pthread_mutex_lock(&shard->lock);
	unlink_call(call);
	last = !--call->refs;
	pthread_mutex_unlock(&shard->lock);
	if (last)
		fs_call_keep(w, call);
}

struct fs_call *fs_call_take(fuse_req_t req, void (*answer)(struct fs_call *call))
{
	struct fs_call *call = fs_call_get(fs_worker());

	if (!call) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	fs_call_begin(call, answer);
	fuse_reply_none(req);
	return call;
}

void fs_call_answer_error(struct fs_call *call)
{
	fs_reply(call->fd, call->unique, call->req.result < 0 ? (int)call->req.result : 0, NULL, 0);
}

void fs_call_answer_count(struct fs_call *call)
{
	struct fuse_write_out out = { .size = (uint32_t)call->req.result };

	if (call->req.result < 0)
		fs_call_answer_error(call);
	else
		fs_reply(call->fd, call->unique, 0, &out, sizeof(out));
}

static struct fs_call *find_and_hold(struct fs_calls *calls, uint64_t unique)
{
	struct shard *shard = shard_of(calls, unique);
	struct fs_call *call;

	pthread_mutex_lock(&shard->lock);
	for (call = shard->first; call && call->unique != unique; call = call->next)
		;
	if (call)
		call->refs++;
	pthread_mutex_unlock(&shard->lock);
	return call;
}

/* Lets go of a call without ending it. */
static void call_unhold(struct fs_call *call)
{
	struct shard *shard = shard_of(call->fs->calls, call->unique);
	bool last;

	pthread_mutex_lock(&shard->lock);
	last = !--call->refs;
	pthread_mutex_unlock(&shard->lock);
	if (last)
		call_put(call);
}

void fs_call_interrupt(struct fs_worker *w)
{
	const struct fuse_interrupt_in *arg = fs_worker_arg(w);
	struct fs_call *call = find_and_hold(w->fs->calls, arg->unique);

	if (call) {
		eng_cancel(w->fs->eng, &call->req);
		call_unhold(call);
		return;
	}
	usleep(1000);
	fs_reply(w->fd, w->in->unique, -EAGAIN, NULL, 0);
}
