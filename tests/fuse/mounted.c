/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mounted.c - starts and ends the service under test
 *
 * Readiness is waited for as systemd does: by the datagram that the service sends to NOTIFY_SOCKET.
 */
#include "config.h"

#include "mounted.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 32

const char *mounted_program(void)
{
	static char path[4096];
	const char *build = getenv("top_builddir");

	snprintf(path, sizeof(path), "%s/fuse/dmofs", build ? build : ".");
	return path;
}

void mounted_need(bool root)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		printf("skipped: /dev/fuse: %s\n", strerror(errno));
		exit(77);
	}
	close(fd);
	if (root && geteuid()) {
		printf("skipped: needs root\n");
		exit(77);
	}
}

static int notify_socket(const struct mounted *m, char *path, size_t size)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	snprintf(path, size, "%s/notify", m->base);
	unlink(path);
	strcpy(name.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	return fd;
}

static void wait_ready(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[64] = "";

	ck_assert_msg(poll(&p, 1, PATIENCE * 1000) == 1, "the service did not become ready");
	ck_assert_int_gt(recv(fd, text, sizeof(text) - 1, 0), 0);
	ck_assert_str_eq(text, "READY=1");
	close(fd);
}

static void run(struct mounted *m, va_list extra)
{
	const char *argv[ARGS_MAX] = { mounted_program(), "-f", m->store, m->mount };
	char path[100];
	int n = 4, fd = notify_socket(m, path, sizeof(path));
	bool device = false;

	while (n < ARGS_MAX - 3 && (argv[n] = va_arg(extra, const char *))) {
		device |= !strcmp(argv[n], "--device");
		n++;
	}
	if (!device) {
		argv[n++] = "--device";
		argv[n++] = "sim:npu0,memory=16M";
	}
	argv[n] = NULL;
	fflush(stdout);
	m->pid = fork();
	ck_assert_int_ge(m->pid, 0);
	if (!m->pid) {
		setenv("NOTIFY_SOCKET", path, 1);
		execv(argv[0], (char **)argv);
		_exit(127);
	}
	wait_ready(fd);
}

void mounted_start(struct mounted *m, ...)
{
	va_list extra;

	strcpy(m->base, "/tmp/dmofs-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(m->base));
	chmod(m->base, 0755);
	sprintf(m->store, "%s/store", m->base);
	sprintf(m->mount, "%s/mount", m->base);
	ck_assert_int_eq(mkdir(m->store, 0755), 0);
	ck_assert_int_eq(mkdir(m->mount, 0755), 0);
	va_start(extra, m);
	run(m, extra);
	va_end(extra);
}

void mounted_restart(struct mounted *m, ...)
{
	va_list extra;

	va_start(extra, m);
	run(m, extra);
	va_end(extra);
}

static int status_of(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int mounted_wait(struct mounted *m)
{
	int status;

	for (int i = 0; i < PATIENCE * 100; i++) {
		if (waitpid(m->pid, &status, WNOHANG) == m->pid) {
			m->pid = 0;
			return status_of(status);
		}
		usleep(10000);
	}
	return -1;
}

int mounted_umount(const char *mount)
{
	int err = umount2(mount, 0);

	for (int i = 0; err && errno == EBUSY && i < PATIENCE * 100; i++) {
		usleep(10000);
		err = umount2(mount, 0);
	}
	return err;
}

int mounted_stop(struct mounted *m)
{
	char command[256];

	if (mounted_umount(m->mount)) {
		snprintf(command, sizeof(command), "fusermount3 -u %s", m->mount);
		ck_assert_int_eq(system(command), 0);
	}
	return mounted_wait(m);
}

void mounted_clean(struct mounted *m)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf --one-file-system %s", m->base);
	ck_assert_int_eq(system(command), 0);
}
