/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * share_fd.c - passes an open object to another process, which lets a device work on it
 *
 *	share_fd DIRECTORY [DEVICE]
 *
 * DIRECTORY is on a dmofs mount. Two processes that share nothing but a socket: the owner creates a file and sends its
 * descriptor; the guest never learns the file's name, maps what it got for itself and for a device, and writes. Each
 * sees what the other and the device wrote. Exit status: 0, or 1 and a line that says what went wrong.
 */
#define _GNU_SOURCE
#include <dmo/dmo.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)DMO_PAGE_SIZE)
#define PAGES 4

static void must(int r, const char *what)
{
	if (r < 0)
		errx(1, "%s: %s", what, strerror(-r));
}

/* ---- a descriptor over a socket ---- */

static void send_fd(int sock, int fd)
{
	char byte = 'F', room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(sock, &msg, 0) != 1)
		err(1, "sendmsg");
}

static int receive_fd(int sock)
{
	char byte, room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	int fd;

	if (recvmsg(sock, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		errx(1, "no descriptor came");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

/* The two take turns by a byte. */
static void pass_turn(int sock)
{
	if (write(sock, "T", 1) != 1)
		err(1, "write");
}

static void await_turn(int sock)
{
	char byte;

	if (read(sock, &byte, 1) != 1)
		errx(1, "the other process is gone");
}

static void expect(const unsigned char *page, unsigned char byte, const char *what)
{
	for (size_t i = 0; i < PAGE; i++)
		if (page[i] != byte)
			errx(1, "%s: byte %zu is %#x, not %#x", what, i, page[i], byte);
	printf("  %s\n", what);
	fflush(stdout);
}

static unsigned char *map_file(int fd)
{
	unsigned char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

/* ---- the guest ---- */

static void guest(int sock, const char *device)
{
	int fd = receive_fd(sock);
	unsigned char *p = map_file(fd);
	struct dmo_completion completion;
	struct dmo_command command;
	struct dmo_dev *dev;
	struct dmo_as *as;
	uint64_t va;

	must(dmo_dev_open_at(fd, device, &dev), device);
	must(dmo_as_create(dev, &as), "context");
	must(dmo_as_attach(as, fd, DMO_PROT_READ | DMO_PROT_WRITE, &va, NULL), "attach");

	printf("guest: has a file with no name, at %p for itself and %#llx for %s\n", (void *)p, (unsigned long long)va,
	       device);
	expect(p, 'A', "the guest's CPU sees the owner's page 0");
	dmo_cmd_copy(&command, va + PAGE, va, PAGE);
	must(dmo_run(as, &command, NULL), "copy");
	dmo_cmd_fill(&command, va + 2 * PAGE, PAGE, 'C');
	must(dmo_run(as, &command, NULL), "fill");
	expect(p + PAGE, 'A', "the guest's CPU sees the device's copy of it in page 1");
	memset(p + 3 * PAGE, 'D', PAGE);
	pass_turn(sock);

	await_turn(sock);
	memset(p + PAGE, 'Z', PAGE);
	dmo_cmd_compare(&command, va, va + PAGE, PAGE);
	must(dmo_run(as, &command, &completion), "compare");
	if (completion.result[0] != PAGE)
		errx(1, "the device sees an old byte at %llu", (unsigned long long)completion.result[0]);
	printf("  the device sees the owner's new page 0\n");
	fflush(stdout);
	dmo_as_destroy(as);
	dmo_dev_close(dev);
	exit(0);
}

/* ---- the owner ---- */

static void owner(int sock, const char *directory)
{
	char path[4096];
	unsigned char *p;
	int fd;

	snprintf(path, sizeof(path), "%s/share_fd.XXXXXX", directory);
	fd = mkstemp(path);
	if (fd < 0)
		err(1, "%s", path);
	unlink(path);
	if (ftruncate(fd, PAGES * PAGE) < 0)
		err(1, "ftruncate");
	p = map_file(fd);
	memset(p, 'A', PAGE);
	printf("owner: writes page 0 and sends the descriptor\n");
	fflush(stdout);
	send_fd(sock, fd);

	await_turn(sock);
	printf("owner: looks at its mapping\n");
	expect(p + PAGE, 'A', "the owner sees the device's copy in page 1");
	expect(p + 2 * PAGE, 'C', "the owner sees the device's fill of page 2");
	expect(p + 3 * PAGE, 'D', "the owner sees the guest's page 3");
	memset(p, 'Z', PAGE);
	pass_turn(sock);
}

int main(int argc, char **argv)
{
	const char *device = argc > 2 ? argv[2] : "npu0";
	int ends[2], status;
	pid_t child;

	if (argc < 2)
		errx(2, "usage: share_fd DIRECTORY [DEVICE]");
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		err(1, "socketpair");
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (child == 0) {
		close(ends[0]);
		guest(ends[1], device);
	}
	close(ends[1]);
	owner(ends[0], argv[1]);
	if (waitpid(child, &status, 0) != child || status != 0)
		errx(1, "the guest failed");
	puts("all bytes right");
	return 0;
}
