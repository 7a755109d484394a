/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sys.c - the system calls that the library makes, with -errno results
 *
 * Reading and writing small files goes on after short transfers; a signal that interrupts a wait is the caller's
 * affair (-EINTR), one that interrupts a read or write of a file is not.
 */
#include "lib.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int sys_ioctl(int fd, unsigned long request, void *arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

int sys_openat(int dir, const char *path, int flags)
{
	int fd = openat(dir, path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int read_all(int fd, char *buf, size_t size)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = read(fd, buf + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return (int)got;
		got += (size_t)n;
	}
	return -EMSGSIZE;
}

int sys_read_text(int dir, const char *path, char *buf, size_t size)
{
	int fd = sys_openat(dir, path, O_RDONLY);
	int n;

	if (fd < 0)
		return fd;
	n = read_all(fd, buf, size);
	close(fd);
	if (n >= 0)
		buf[n] = '\0';
	return n;
}

int sys_write_text(int dir, const char *path, const char *text)
{
	int fd = sys_openat(dir, path, O_WRONLY);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = write(fd, text, strlen(text));
	n = n < 0 ? -errno : 0;
	if (close(fd) < 0 && n == 0)
		n = -errno;
	return (int)n;
}

void deadline_set(struct deadline *deadline, int timeout_ms)
{
	deadline->never = timeout_ms < 0;
	clock_gettime(CLOCK_MONOTONIC, &deadline->at);
	if (deadline->never)
		return;
	deadline->at.tv_sec += timeout_ms / 1000;
	deadline->at.tv_nsec += timeout_ms % 1000 * 1000000l;
	if (deadline->at.tv_nsec >= 1000000000l) {
		deadline->at.tv_nsec -= 1000000000l;
		deadline->at.tv_sec++;
	}
}

int deadline_left(const struct deadline *deadline)
{
	struct timespec now;
	long long ns;

	if (deadline->never)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (deadline->at.tv_sec - now.tv_sec) * 1000000000ll + (deadline->at.tv_nsec - now.tv_nsec);
	return ns <= 0 ? 0 : (int)((ns + 999999) / 1000000);
}

int sys_poll(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r = poll(&p, 1, timeout_ms);

	if (r < 0)
		return -errno;
	if (r > 0 && (p.revents & POLLNVAL))
		return -EBADF;
	return r;
}
