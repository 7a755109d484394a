/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * worker.c - threads, each with its own channel to the kernel
 *
 * A worker reads a request, carries it out and answers. READ, WRITE, INTERRUPT and STATX are taken straight from the
 * wire (data.c, call.c, statx.c): they are the hot ones, or need what libfuse does not show. All others go through
 * libfuse, whose replies come back through send_reply and leave on the worker's channel.
 *
 * Workers never wait for a revocation nor for anybody who does (engine.h): what may wait becomes a call (call.c), and
 * the thread goes on. They do wait for the store. idle.c says who reads, and starts more threads, up to a limit that
 * nothing but a hanging store reaches. The only reader looks out for LOOKOUT_NS before it sleeps: who makes one request
 * after the other has the next one ready by then.
 *
 * Channels outlive their threads (an answer may still be owed on one) and are handed to later threads.
 */
#include "config.h"

#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "cred.h"
#include "data.h"
#include "idle.h"
#include "log.h"
#include "passthrough.h"
#include "prune.h"
#include "statx.h"

#define STACK_SIZE (256u << 10)
#define LOOKOUT_NS 20000

struct fs_workers {
	struct fs_idle *idle;
	long lookout;			/* ns; none where the caller needs the only CPU */
	atomic_bool stop;
	pthread_mutex_t lock;		/* protects all below */
	pthread_cond_t gone;
	int *channels;			/* those without a thread */
	unsigned channel_count;
	unsigned thread_count;
	void (*on_end)(void *arg);
	void *on_end_arg;
};

static __thread struct fs_worker *self;

struct fs_worker *fs_worker(void)
{
	return self;
}

/* ---- what libfuse sends ----------------------------------------------------------------------------- */

static ssize_t send_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	ssize_t n;

	if (self && out->unique) {
		fd = self->fd;
		if (self->in->opcode == FUSE_INIT && count == 2 && !out->error)
			fs_passthrough_init(self->fs, self->in, iov[1].iov_base);
	}
	n = writev(fd, iov, count);
	return n;
}

static ssize_t read_nothing(int fd, void *buf, size_t size, void *userdata)
{
	errno = EIO;
	return -1;
}

static const struct fuse_custom_io custom_io = { .writev = send_reply, .read = read_nothing };

/* ---- a thread ------------------------------------------------------------------------------------------ */

/* Does carrying it out open a file that stays open? */
static bool opens(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_LOOKUP:
	case FUSE_CREATE:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_LINK:
	case FUSE_OPEN:
	case FUSE_OPENDIR:
	case FUSE_READDIRPLUS:
		return true;
	}
	return false;
}

static void dispatch(struct fs_worker *w)
{
	struct fuse_buf buf = { .mem = (void *)w->in, .size = w->in_size };

	switch (w->in->opcode) {
	case FUSE_READ:
		fs_data_read(w);
		break;
	case FUSE_WRITE:
		fs_data_write(w);
		break;
	case FUSE_INTERRUPT:
		fs_call_interrupt(w);
		break;
	case FUSE_STATX:
		fs_statx(w);
		break;
	default:
		if (opens(w->in->opcode))
			fs_prune_wait(w->fs);
		fuse_session_process_buf(w->fs->se, &buf);
	}
}

static long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* Makes reads of the channel return at once, or wait. */
static void set_nonblocking(struct fs_worker *w, bool nonblocking)
{
	int flags;

	if (w->nonblocking == nonblocking)
		return;
	flags = fcntl(w->fd, F_GETFL);
	if (flags >= 0 && !fcntl(w->fd, F_SETFL, nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK))
		w->nonblocking = nonblocking;
}

/* Does somebody wait for the answer? The next request of a lone caller may come at once after one of the others. */
static bool waited_for(const struct fuse_in_header *in)
{
	switch (in->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		return false;
	}
	return true;
}

enum next { NEXT_TAKEN, NEXT_CHANGED, NEXT_OVER };

/* One read of the channel into the worker's block. NEXT_CHANGED: nothing was there, or a signal came. */
static enum next read_request(struct fs_worker *w)
{
	char *at = w->block + FS_BLOCK_DATA - FS_REQUEST_HEAD;
	ssize_t n = read(w->fd, at, FS_REQUEST_HEAD + w->fs->max_write);

	if (n >= (ssize_t)sizeof(*w->in)) {
		w->in = (const void *)at;
		w->in_size = n;
		return NEXT_TAKEN;
	}
	return n < 0 && errno != EINTR && errno != ENOENT && errno != EAGAIN ? NEXT_OVER : NEXT_CHANGED;
}

/* The next request. *at_once: it was there before anybody looked. */
static enum next next_request(struct fs_worker *w, bool *at_once)
{
	struct fs_workers *ws = w->fs->workers;
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	long until = 0;
	enum next next;

	set_nonblocking(w, w->idler.alone);
	*at_once = w->idler.alone;
	while ((next = read_request(w)) == NEXT_CHANGED) {
		*at_once = false;
		if (w->idler.alone && !until)
			until = now_ns() + ws->lookout;
		if (w->idler.alone && now_ns() < until)
			continue;
		if (fs_idle_changed(ws->idle, &w->idler))
			break;
		if (w->nonblocking)
			poll(&p, 1, -1);
	}
	return next;
}

static void connection_over(struct fs_worker *w)
{
	struct fs_workers *ws = w->fs->workers;

	if (!atomic_load(&ws->stop) && !atomic_exchange(&w->fs->ended, true))
		ws->on_end(ws->on_end_arg);
}

static void serve(struct fs_worker *w)
{
	struct fs_idle *idle = w->fs->workers->idle;
	bool waited = false, at_once;

	while (fs_idle_enter(idle, &w->idler)) {
		enum next next = next_request(w, &at_once);

		if (next != NEXT_TAKEN) {
			fs_idle_left(idle, &w->idler);
			if (next == NEXT_CHANGED)
				continue;
			connection_over(w);
			return;
		}
		fs_idle_taken(idle, &w->idler, at_once && waited && waited_for(w->in));
		waited = waited_for(w->in);
		dispatch(w);
		fs_idle_done(idle);
	}
}

static void thread_gone(struct fs_workers *ws, int channel)
{
	pthread_mutex_lock(&ws->lock);
	ws->thread_count--;
	ws->channels[ws->channel_count++] = channel;
	pthread_cond_broadcast(&ws->gone);
	pthread_mutex_unlock(&ws->lock);
}

static void *worker_main(void *arg)
{
	struct fs_worker *w = arg;

	self = w;
	fs_cred_start(w);
	fs_idle_join(w->fs->workers->idle, &w->idler);
	serve(w);
	fs_idle_quit(w->fs->workers->idle, &w->idler);
	fs_call_drop(w);
	if (w->pipe[0] >= 0) {
		close(w->pipe[0]);
		close(w->pipe[1]);
	}
	fs_block_put(w->fs, w->block);
	set_nonblocking(w, false);
	thread_gone(w->fs->workers, w->fd);
	free(w);
	return NULL;
}

/* A channel of its own where the kernel gives one (Linux 4.2), else the session's. Lock held. */
static int get_channel(struct fs *fs)
{
	struct fs_workers *ws = fs->workers;
	uint32_t master = fuse_session_fd(fs->se);
	int fd;

	if (ws->channel_count)
		return ws->channels[--ws->channel_count];
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return dup(master);
	if (ioctl(fd, FUSE_DEV_IOC_CLONE, &master)) {
		close(fd);
		return dup(master);
	}
	return fd;
}

static struct fs_worker *worker_create(struct fs *fs)
{
	struct fs_worker *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->fs = fs;
	w->pipe[0] = w->pipe[1] = -1;
	w->block = fs_block_get(fs);
	if (!w->block)
		goto fail;
	w->fd = get_channel(fs);
	if (w->fd >= 0)
		return w;
	fs_block_put(fs, w->block);
fail:
	free(w);
	return NULL;
}

/* Lock held. */
static int create_thread(struct fs_workers *ws, struct fs_worker *w)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, worker_main, w);
	pthread_attr_destroy(&attr);
	if (rc)
		return -rc;
	ws->thread_count++;
	return 0;
}

static int start_thread(struct fs *fs)
{
	struct fs_workers *ws = fs->workers;
	struct fs_worker *w;
	int rc = -ENOMEM;

	pthread_mutex_lock(&ws->lock);
	if (ws->thread_count >= fs->opt->threads || atomic_load(&ws->stop))
		goto out;
	w = worker_create(fs);
	if (!w)
		goto out;
	rc = create_thread(ws, w);
	if (rc) {
		ws->channels[ws->channel_count++] = w->fd;
		fs_block_put(fs, w->block);
		free(w);
	}
out:
	pthread_mutex_unlock(&ws->lock);
	return rc;
}

/* ---- all of them ----------------------------------------------------------------------------------------- */

static void on_wake(int sig)
{
}

static void wake(struct fs_idler *idler)
{
	pthread_kill(idler->thread, SIGUSR1);
}

static void start(void *arg)
{
	start_thread(arg);
}

static struct fs_workers *workers_create(struct fs *fs)
{
	struct fs_idle_ops ops = { .start = start, .wake = wake, .arg = fs };
	struct fs_workers *ws = calloc(1, sizeof(*ws));

	if (!ws)
		return NULL;
	ws->lookout = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? LOOKOUT_NS : 0;
	ws->channels = calloc(fs->opt->threads, sizeof(*ws->channels));
	ws->idle = ws->channels ? fs_idle_create(&ops) : NULL;
	if (!ws->idle) {
		free(ws->channels);
		free(ws);
		return NULL;
	}
	pthread_mutex_init(&ws->lock, NULL);
	pthread_cond_init(&ws->gone, NULL);
	return ws;
}

int fs_workers_start(struct fs *fs, void (*on_end)(void *arg), void *arg)
{
	struct sigaction act = { .sa_handler = on_wake };
	struct fs_workers *ws = workers_create(fs);
	int rc;

	if (!ws)
		return -ENOMEM;
	ws->on_end = on_end;
	ws->on_end_arg = arg;
	fs->workers = ws;
	sigaction(SIGUSR1, &act, NULL);
	rc = fuse_session_custom_io(fs->se, &custom_io, fuse_session_fd(fs->se));
	for (int i = 0; !rc && i < 2; i++)
		rc = start_thread(fs);
	return rc;
}

void fs_workers_stop(struct fs *fs)
{
	struct fs_workers *ws = fs->workers;
	struct timespec until;

	if (!ws)
		return;
	atomic_store(&fs->ended, true);
	atomic_store(&ws->stop, true);
	pthread_mutex_lock(&ws->lock);
	while (ws->thread_count) {
		fs_idle_stop(ws->idle);
		until = fs_clock_after(CLOCK_REALTIME, 10000000);
		pthread_cond_timedwait(&ws->gone, &ws->lock, &until);
	}
	pthread_mutex_unlock(&ws->lock);
}

void fs_workers_free(struct fs *fs)
{
	struct fs_workers *ws = fs->workers;

	if (!ws)
		return;
	fs_idle_destroy(ws->idle);
	while (ws->channel_count)
		close(ws->channels[--ws->channel_count]);
	pthread_mutex_destroy(&ws->lock);
	pthread_cond_destroy(&ws->gone);
	free(ws->channels);
	free(ws);
	fs->workers = NULL;
}
