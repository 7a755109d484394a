/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * socket.c - where descriptors will be handed out that an ioctl through FUSE can't carry
 *
 * An abstract socket: no name stays behind, whatever happens. In this home there is nothing to hand out yet: who
 * connects is told the version, in one line, and the connection ends.
 */
#include "config.h"

#include "socket.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>


static void *answer(void *arg)
{
	int listener = (int)(intptr_t)arg, fd;
	char line[64];
	int n = snprintf(line, sizeof(line), "dmofs %s abi %d\n", VERSION, DMO_ABI_VERSION);

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0 || errno == EINTR || errno == ECONNABORTED) {
		if (fd < 0)
			continue;
		(void)!send(fd, line, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
	}
	close(listener);
	return NULL;
}

void fs_socket_start(struct fs *fs)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	unsigned long long salt;
	pthread_t thread;
	int fd, n;

	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	n = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "dmofs-%d-%016llx", (int)getpid(), salt);
	if (bind(fd, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 1 + n) || listen(fd, 8) ||
	    pthread_create(&thread, NULL, answer, (void *)(intptr_t)fd)) {
		close(fd);
		return;
	}
	pthread_detach(thread);
	snprintf(fs->socket, sizeof(fs->socket), "@%s", name.sun_path + 1);
}
