/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * socket.c - fetching a descriptor from the service
 *
 * A request through the mount gives a ticket where it would give a descriptor (struct dmo_export). The socket that hands
 * it over is named in the control directory's info, on the line "socket @NAME": an abstract name.
 */
#include "lib.h"

#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The address's size, or -errno. */
static int read_address(const char *control, struct sockaddr_un *address)
{
	static const char key[] = "\nsocket @";
	char path[PATH_MAX + sizeof("/info")], text[PATH_MAX + 512], *name, *end;
	int r;

	snprintf(path, sizeof(path), "%s/info", control);
	r = sys_read_text(AT_FDCWD, path, text, sizeof(text));
	if (r < 0)
		return r;
	for (name = NULL, end = text; (end = strstr(end, key)); end++)
		name = end + strlen(key);	/* the last: a store's path may have lines too */
	end = name ? strchr(name, '\n') : NULL;
	if (!end || end - name >= (ptrdiff_t)sizeof(address->sun_path))
		return -ENOTCONN;
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(address->sun_path + 1, name, end - name);
	return (int)(offsetof(struct sockaddr_un, sun_path) + 1 + (end - name));
}

static int join(const struct sockaddr_un *address, socklen_t size)
{
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (s < 0)
		return -errno;
	if (connect(s, (const struct sockaddr *)address, size) == 0)
		return s;
	close(s);
	return -ENOTCONN;
}

/* The descriptor that came along; -EMFILE: the process has no room for it. */
static int passed(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int fd;

	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(fd)))
		return msg->msg_flags & MSG_CTRUNC ? -EMFILE : -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static int receive(int s)
{
	int32_t result;
	struct iovec iov = { &result, sizeof(result) };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;

	do
		n = recvmsg(s, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(result))
		return -ENOTCONN;
	return result ? result : passed(&msg);
}

int socket_fetch(int fd, uint64_t ticket)
{
	char control[PATH_MAX];
	struct sockaddr_un address;
	int r = dmo_mount_of(fd, control, sizeof(control)), s;

	if (r < 0)
		return r;
	r = read_address(control, &address);
	s = r < 0 ? r : join(&address, (socklen_t)r);
	if (s < 0)
		return s;
	if (send(s, &ticket, sizeof(ticket), MSG_NOSIGNAL) == sizeof(ticket))
		r = receive(s);
	else
		r = -ENOTCONN;
	close(s);
	return r;
}
