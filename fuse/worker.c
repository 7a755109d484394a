/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * worker.c - threads, each with its own channel to the kernel
 *
 * A worker reads a request, carries it out and answers. READ, WRITE and INTERRUPT are taken straight from the wire
 * (data.c, call.c): they are the hot ones, or need what libfuse does not show. All others go through libfuse, whose
 * replies come back through send_reply and leave on the worker's channel.
 *
 * Workers never wait for a revocation nor for anybody who does (engine.h): what may wait becomes a call (call.c), and
 * the thread goes on. They do wait for the store. So there is always one more thread ready to read: the last
 * idle one that takes a request first starts another, up to a limit that nothing but a hanging store reaches. The
 * kernel wakes idle readers in turn, which costs cache misses, so only a few are kept.
 *
 * Channels outlive their threads (an answer may still be owed on one) and are handed to later threads.
 */
#include "config.h"

#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cred.h"
#include "data.h"
#include "log.h"
#include "passthrough.h"

#define IDLE_MAX 16
#define STACK_SIZE (256u << 10)

struct fs_workers {
	atomic_int idle, total;
	atomic_bool stop;
	pthread_mutex_t lock;		/* protects all below */
	pthread_cond_t gone;
	int *channels;			/* those without a thread */
	unsigned channel_count;
	pthread_t threads[1024];	/* running ones, for waking */
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
	default:
		fuse_session_process_buf(w->fs->se, &buf);
	}
}

static int start_thread(struct fs *fs);

/* Before a request is carried out: somebody must be left who reads the next. */
static void leave_idle(struct fs *fs)
{
	struct fs_workers *ws = fs->workers;

	if (atomic_fetch_sub(&ws->idle, 1) > 1 || atomic_load(&ws->stop))
		return;
	if (atomic_load(&ws->total) < (int)fs->opt->threads)
		start_thread(fs);
}

/* False where enough others wait already, and this thread should go. */
static bool enter_idle(struct fs_workers *ws)
{
	if (atomic_fetch_add(&ws->idle, 1) < IDLE_MAX)
		return true;
	atomic_fetch_sub(&ws->idle, 1);
	return false;
}

/* The next request into the worker's block. False: the connection is over or the service stops. */
static bool next_request(struct fs_worker *w)
{
	struct fs_workers *ws = w->fs->workers;
	char *at = w->block + FS_BLOCK_DATA - FS_REQUEST_HEAD;
	ssize_t n;

	while (!atomic_load(&ws->stop)) {
		n = read(w->fd, at, FS_REQUEST_HEAD + w->fs->max_write);
		if (n >= (ssize_t)sizeof(*w->in)) {
			w->in = (const void *)at;
			w->in_size = n;
			return true;
		}
		if (n < 0 && errno != EINTR && errno != ENOENT && errno != EAGAIN)
			break;
	}
	return false;
}

static void serve(struct fs_worker *w)
{
	struct fs *fs = w->fs;

	while (enter_idle(fs->workers)) {
		if (!next_request(w)) {
			atomic_fetch_sub(&fs->workers->idle, 1);
			if (!atomic_exchange(&fs->ended, true))
				fs->workers->on_end(fs->workers->on_end_arg);
			return;
		}
		leave_idle(fs);
		dispatch(w);
	}
}

static void thread_gone(struct fs_workers *ws, int channel)
{
	pthread_t me = pthread_self();
	unsigned i = 0;

	pthread_mutex_lock(&ws->lock);
	while (!pthread_equal(ws->threads[i], me))
		i++;
	ws->threads[i] = ws->threads[--ws->thread_count];
	ws->channels[ws->channel_count++] = channel;
	atomic_fetch_sub(&ws->total, 1);
	pthread_cond_broadcast(&ws->gone);
	pthread_mutex_unlock(&ws->lock);
}

static void *worker_main(void *arg)
{
	struct fs_worker *w = arg;

	self = w;
	fs_cred_start(w);
	serve(w);
	fs_call_drop(w);
	if (w->pipe[0] >= 0) {
		close(w->pipe[0]);
		close(w->pipe[1]);
	}
	fs_block_put(w->fs, w->block);
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
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&ws->threads[ws->thread_count], &attr, worker_main, w);
	pthread_attr_destroy(&attr);
	if (rc)
		return -rc;
	ws->thread_count++;
	atomic_fetch_add(&ws->total, 1);
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

int fs_workers_start(struct fs *fs, void (*on_end)(void *arg), void *arg)
{
	struct sigaction wake = { .sa_handler = on_wake };
	struct fs_workers *ws = calloc(1, sizeof(*ws));
	int rc;

	if (!ws)
		return -ENOMEM;
	ws->channels = calloc(fs->opt->threads, sizeof(*ws->channels));
	if (!ws->channels) {
		free(ws);
		return -ENOMEM;
	}
	pthread_mutex_init(&ws->lock, NULL);
	pthread_cond_init(&ws->gone, NULL);
	ws->on_end = on_end;
	ws->on_end_arg = arg;
	fs->workers = ws;
	sigaction(SIGUSR1, &wake, NULL);
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
		for (unsigned i = 0; i < ws->thread_count; i++)
			pthread_kill(ws->threads[i], SIGUSR1);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 10000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&ws->gone, &ws->lock, &until);
	}
	pthread_mutex_unlock(&ws->lock);
}

void fs_workers_free(struct fs *fs)
{
	struct fs_workers *ws = fs->workers;

	if (!ws)
		return;
	while (ws->channel_count)
		close(ws->channels[--ws->channel_count]);
	pthread_mutex_destroy(&ws->lock);
	pthread_cond_destroy(&ws->gone);
	free(ws->channels);
	free(ws);
	fs->workers = NULL;
}
