/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel_poll.c - poll(2) of the module's objects
 *
 * An object is always readable and writable; what is waited for is POLLPRI, the end of an asynchronous migration. One
 * thread, started with the first handle, waits for all objects that somebody polls.
 *
 * Lock: poll_lock protects the handles of all opens and the thread's coming; nothing is called with it held but epoll.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "kernel.h"
#include "log.h"

static pthread_mutex_t poll_lock = PTHREAD_MUTEX_INITIALIZER;
static int epoll_fd = -1;
static struct fs_file *polled;		/* opens that are in the set */

/* Takes the open's handle; poll_lock held. */
static struct fuse_pollhandle *take(struct fs_file *file)
{
	struct fuse_pollhandle *handle = file->poll_handle;

	file->poll_handle = NULL;
	return handle;
}

static bool is_polled(const struct fs_file *file)
{
	const struct fs_file *f = polled;

	while (f && f != file)
		f = f->polled_next;
	return f;
}

/* The open may have gone since the event came: only its address is looked at until it is found. */
static void notify(struct fs_file *file)
{
	struct fuse_pollhandle *handle = NULL;

	pthread_mutex_lock(&poll_lock);
	if (is_polled(file))
		handle = take(file);
	if (handle)
		fuse_lowlevel_notify_poll(handle);
	pthread_mutex_unlock(&poll_lock);
	if (handle)
		fuse_pollhandle_destroy(handle);
}

static void *wait_for_events(void *arg)
{
	struct epoll_event event;
	int n;

	for (;;) {
		n = epoll_wait(epoll_fd, &event, 1, -1);
		if (n > 0)
			notify(event.data.ptr);
		else if (n < 0 && errno != EINTR)
			return NULL;
	}
}

/* poll_lock held. */
static int start(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	if (epoll_fd >= 0)
		return 0;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		return -errno;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, wait_for_events, NULL);
	pthread_attr_destroy(&attr);
	if (!rc)
		return 0;
	close(epoll_fd);
	epoll_fd = -1;
	return -rc;
}

/* poll_lock held. */
static int watch(struct fs_file *file)
{
	struct epoll_event event = { .events = EPOLLPRI | EPOLLONESHOT, .data.ptr = file };
	int rc = start();

	if (rc)
		return rc;
	if (epoll_ctl(epoll_fd, file->polled ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, file->fd, &event))
		return -errno;
	if (!file->polled) {
		file->polled = true;
		file->polled_next = polled;
		polled = file;
	}
	return 0;
}

/* From now on handle is notified; the one before is the caller's. */
static struct fuse_pollhandle *exchange(struct fs_file *file, struct fuse_pollhandle *handle)
{
	struct fuse_pollhandle *old;
	int rc;

	pthread_mutex_lock(&poll_lock);
	old = take(file);
	file->poll_handle = handle;
	rc = watch(file);
	pthread_mutex_unlock(&poll_lock);
	if (rc)
		fs_log(LOG_WARNING, "poll(2) can't tell of the end of migrations: %s", strerror(-rc));
	return old;
}

void fs_kernel_poll(fuse_req_t req, struct fs_file *file, struct fuse_pollhandle *handle)
{
	struct pollfd p = { .fd = file->fd, .events = POLLPRI };
	struct fuse_pollhandle *old = handle ? exchange(file, handle) : NULL;

	if (old)
		fuse_pollhandle_destroy(old);
	poll(&p, 1, 0);
	fuse_reply_poll(req, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | (p.revents & POLLPRI));
}

void fs_kernel_release(struct fs_file *file)
{
	struct fuse_pollhandle *handle;
	struct fs_file **at;

	pthread_mutex_lock(&poll_lock);
	handle = take(file);
	if (file->polled) {
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, file->fd, NULL);
		for (at = &polled; *at != file; at = &(*at)->polled_next)
			;
		*at = file->polled_next;
	}
	pthread_mutex_unlock(&poll_lock);
	if (handle)
		fuse_pollhandle_destroy(handle);
}
