/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon.c - the parent's exit means that the mount can be used
 */
#include "config.h"

#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "options.h"

static int ready_pipe = -1;

static void parent_waits(int fd, pid_t child)
{
	char ok;
	int status;

	if (read(fd, &ok, 1) == 1)
		_exit(FS_EXIT_OK);
	if (waitpid(child, &status, 0) == child && WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	fputs("dmofs: the service died before the mount was ready\n", stderr);
	_exit(FS_EXIT_SYSTEM);
}

void fs_daemon_start(void)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC)) {
		perror("dmofs: pipe");
		exit(FS_EXIT_SYSTEM);
	}
	pid = fork();
	if (pid < 0) {
		perror("dmofs: fork");
		exit(FS_EXIT_SYSTEM);
	}
	if (pid) {
		close(fds[1]);
		parent_waits(fds[0], pid);
	}
	close(fds[0]);
	ready_pipe = fds[1];
	setsid();
}

void fs_daemon_ready(void)
{
	int null;

	if (ready_pipe < 0)
		return;
	fs_log_to_syslog();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, 0);
		dup2(null, 1);
		if (!fs_log_has_journal())
			dup2(null, 2);
		close(null);
	}
	(void)!chdir("/");
	(void)!write(ready_pipe, "", 1);
	close(ready_pipe);
	ready_pipe = -1;
}

void fs_daemon_notify(const char *text)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;
	int fd;

	if (length < 2 || length >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, length);
	if (*path == '@')
		to.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to,
	       offsetof(struct sockaddr_un, sun_path) + length);
	close(fd);
}
