/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watchdog.c - kill -9 must end the mount, not hang it
 *
 * A service killed while a thread of it invalidates pages stays: the thread waits in the kernel for a WRITE that
 * nobody will answer, so the descriptor of the connection is never closed, and everybody who touches the
 * mount waits too. The watchdog aborts the connection from outside, which releases them all, and unmounts.
 *
 * It learns of the death by PR_SET_PDEATHSIG, which comes when the main thread dies, whatever the others do; the
 * end of the pipe would not come. It holds no descriptor of the connection, only files of fusectl, opened in advance:
 * abort, and waiting, which is empty once the connection is gone. Without that a watchdog that comes late would end
 * a new mount in the same place, which gets the device number that the old one had.
 */
#include "config.h"

#include "watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

struct order {
	struct fs_mount_id id;
	char mountpoint[4096];
};

static pid_t watchdog_pid;
static int order_pipe = -1;

/* ---- in the watchdog ------------------------------------------------------------------------------------------ */

/* A file of the connection's folder in fusectl. */
static int open_control(unsigned minor, const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/%s", minor, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	(void)!mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0, NULL);
	return open(path, flags | O_CLOEXEC);
}

/* Looked at through a new descriptor each time: the file is read from its beginning once. */
static bool connection_lives(int waiting_fd)
{
	char path[32], digit;
	bool lives;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", waiting_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	lives = read(fd, &digit, 1) == 1;
	close(fd);
	return lives;
}

/* The mount may have been taken away, and the name reused, since; the number of its device, too. */
static bool still_there(const struct order *order, int waiting_fd)
{
	struct fs_mount_id now;

	if (waiting_fd >= 0 && !connection_lives(waiting_fd))
		return false;
	return !fs_mount_find(order->mountpoint, &now) && now.major == order->id.major && now.minor == order->id.minor;
}

static void end_mount(const struct order *order, int abort_fd, int waiting_fd)
{
	if (abort_fd >= 0)
		(void)!write(abort_fd, "1", 1);
	for (int i = 0; i < 8 && still_there(order, waiting_fd); i++) {
		umount2(order->mountpoint, UMOUNT_NOFOLLOW | MNT_FORCE);
		if (fs_mount_remove(order->mountpoint, true))
			usleep(50000);
	}
}

static void watch(int pipe_fd, pid_t parent)
{
	struct order order = { 0 };
	sigset_t set;
	int sig = SIGUSR1, abort_fd = -1, waiting_fd = -1;
	bool orphan;	/* the parent died before it could be watched */
	ssize_t n;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	prctl(PR_SET_PDEATHSIG, SIGUSR1);
	orphan = getppid() != parent;
	do
		n = read(pipe_fd, &order, sizeof(order));
	while (n < 0 && errno == EINTR);
	if (n != sizeof(order))
		_exit(0);
	abort_fd = open_control(order.id.minor, "abort", O_WRONLY);
	waiting_fd = open_control(order.id.minor, "waiting", O_RDONLY);
	if (!geteuid())
		mlockall(MCL_CURRENT);
	while (!orphan && sigwait(&set, &sig))
		;
	if (sig == SIGUSR1)
		end_mount(&order, abort_fd, waiting_fd);
	_exit(0);
}

/* Signals that are meant for the service pass it by; the two that it waits for stay pending until it does. */
static void prepare(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t set;

	/* Who waits for the end of the service's output must not wait for ours. */
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	prctl(PR_SET_NAME, "dmofs-watchdog");
	(void)!chdir("/");
}

/* ---- in the service ------------------------------------------------------------------------------------------- */

int fs_watchdog_start(void)
{
	pid_t parent = getpid();
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	watchdog_pid = fork();
	if (!watchdog_pid) {
		close(fds[1]);
		prepare();
		watch(fds[0], parent);
	}
	close(fds[0]);
	if (watchdog_pid < 0) {
		close(fds[1]);
		return -errno;
	}
	order_pipe = fds[1];
	return 0;
}

void fs_watchdog_guard(const char *mountpoint, const struct fs_mount_id *id)
{
	struct order order = { .id = *id };

	if (strlen(mountpoint) >= sizeof(order.mountpoint))
		return;
	strcpy(order.mountpoint, mountpoint);
	if (write(order_pipe, &order, sizeof(order)) != sizeof(order))
		fs_log(LOG_WARNING, "no watchdog: %s", strerror(errno));
}

void fs_watchdog_dismiss(void)
{
	if (order_pipe >= 0)
		close(order_pipe);
	order_pipe = -1;
	if (watchdog_pid <= 0)
		return;
	kill(watchdog_pid, SIGHUP);
	waitpid(watchdog_pid, NULL, 0);
	watchdog_pid = 0;
}
