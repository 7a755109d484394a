/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * socket.c - where descriptors are handed out that an ioctl through FUSE can't carry
 *
 * An abstract socket: no name stays behind, whatever happens. Who connects sends the 8 bytes of a ticket (ticket.h),
 * gets an int32, 0 with the descriptor or -errno, and the connection ends.
 *
 * One thread serves all. It never waits for a client: one that sends nothing keeps its place until others want it,
 * first those of the same user.
 */
#include "config.h"

#include "socket.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CLIENTS		64
#define CLIENTS_OF_USER	16

struct client {
	int fd;
	uid_t uid;
	size_t got;		/* bytes of the ticket */
	uint64_t ticket;
};

struct server {
	struct fs *fs;
	int listener;
	unsigned count;
	struct client clients[CLIENTS];		/* the longest connected first */
};

static void drop(struct server *s, unsigned i)
{
	close(s->clients[i].fd);
	s->count--;
	memmove(&s->clients[i], &s->clients[i + 1], (s->count - i) * sizeof(s->clients[0]));
}

static void make_place(struct server *s, uid_t uid)
{
	unsigned of_user = 0, oldest = 0;

	for (unsigned i = s->count; i-- > 0;) {
		if (s->clients[i].uid != uid)
			continue;
		of_user++;
		oldest = i;
	}
	if (of_user >= CLIENTS_OF_USER)
		drop(s, oldest);
	else if (s->count == CLIENTS)
		drop(s, 0);
}

static void take_client(struct server *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	socklen_t size = sizeof(struct ucred);
	struct ucred peer;

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
		poll(NULL, 0, 100);	/* it would be asked again at once */
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size)) {
		close(fd);
		return;
	}
	make_place(s, peer.uid);
	s->clients[s->count++] = (struct client){ fd, peer.uid, 0, 0 };
}

static void answer(struct server *s, const struct client *c)
{
	int fd = fs_ticket_take(&s->fs->tickets, c->ticket, c->uid);
	int32_t result = fd < 0 ? fd : 0;
	struct iovec iov = { &result, sizeof(result) };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {
		.head = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS },
	};
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	(void)!sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (fd >= 0)
		close(fd);
}

/* True when the client is done with. */
static bool serve(struct server *s, struct client *c)
{
	ssize_t n = recv(c->fd, (char *)&c->ticket + c->got, sizeof(c->ticket) - c->got, MSG_DONTWAIT);

	if (n <= 0)
		return n == 0 || (errno != EAGAIN && errno != EINTR);
	c->got += n;
	if (c->got < sizeof(c->ticket))
		return false;
	answer(s, c);
	return true;
}

static void ring(struct server *s, int timer)
{
	uint64_t times;

	if (read(timer, &times, sizeof(times)) == sizeof(times))
		fs_tickets_expire(&s->fs->tickets);
}

/* The last first, so that those still to be looked at keep their places. */
static void round_of(struct server *s, const struct pollfd *fds)
{
	for (unsigned i = s->count; i-- > 0;)
		if (fds[2 + i].revents && serve(s, &s->clients[i]))
			drop(s, i);
	if (fds[0].revents)
		ring(s, fds[0].fd);
	if (fds[1].revents)
		take_client(s);
}

static void *run(void *arg)
{
	struct server *s = arg;
	struct pollfd fds[2 + CLIENTS];

	for (;;) {
		fds[0] = (struct pollfd){ .fd = s->fs->tickets.timer, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = s->listener, .events = POLLIN };
		for (unsigned i = 0; i < s->count; i++)
			fds[2 + i] = (struct pollfd){ .fd = s->clients[i].fd, .events = POLLIN };
		if (poll(fds, 2 + s->count, -1) > 0)
			round_of(s, fds);
	}
	return NULL;
}

static int listen_as(const struct sockaddr_un *name, socklen_t size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && (bind(fd, (const struct sockaddr *)name, size) || listen(fd, CLIENTS))) {
		close(fd);
		return -1;
	}
	return fd;
}

void fs_socket_start(struct fs *fs)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	struct server *s = calloc(1, sizeof(*s));
	unsigned long long salt;
	pthread_t thread;
	int n;

	if (!s || fs_tickets_start(&fs->tickets) || getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
		goto none;
	n = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "dmofs-%d-%016llx", (int)getpid(), salt);
	s->fs = fs;
	s->listener = listen_as(&name, offsetof(struct sockaddr_un, sun_path) + 1 + n);
	if (s->listener < 0)
		goto none;
	if (pthread_create(&thread, NULL, run, s)) {
		close(s->listener);
		goto none;
	}
	pthread_detach(thread);
	snprintf(fs->socket, sizeof(fs->socket), "@%s", name.sun_path + 1);
	return;
none:
	free(s);
}
