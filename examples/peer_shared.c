/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * peer_shared.c - one address for the CPU and a device: pointers that both can follow
 *
 *	peer_shared DIRECTORY [DEVICE]
 *
 * DIRECTORY is on a dmofs mount. The CPU builds a linked list with ordinary pointers in a peer mapping; the device
 * follows it. Then both add to one counter in turns, and the range is advised on by its address. Exit status: 0,
 * or 1 and a line that says what went wrong.
 */
#define _GNU_SOURCE
#include <dmo/dmo.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LENGTH (4ul << 20)
#define NODES 1000
#define ROUNDS 100

struct node {
	struct node *next;
	uint64_t pad[63];
};

static void must(int r, const char *what)
{
	if (r < 0)
		errx(1, "%s: %s", what, strerror(-r));
}

static int create_file(const char *directory)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/peer_shared.XXXXXX", directory);
	fd = mkstemp(path);
	if (fd < 0)
		err(1, "%s", path);
	unlink(path);
	if (ftruncate(fd, LENGTH) < 0)
		err(1, "ftruncate");
	return fd;
}

/* The device follows pointers that the CPU wrote. */
static void chase(struct dmo_as *as, struct node *nodes)
{
	struct dmo_completion completion;
	struct dmo_command command;

	/* A fixed, scattered order: 389 and NODES have no common factor. */
	for (unsigned i = 0; i < NODES; i++)
		nodes[i * 389 % NODES].next = &nodes[(i + 1) * 389 % NODES];
	dmo_cmd_chase(&command, (uintptr_t)nodes, NODES);
	must(dmo_run(as, &command, &completion), "chase");
	if (completion.result[0] != (uintptr_t)nodes)
		errx(1, "after a whole round the device is at %#llx, not at %p",
		     (unsigned long long)completion.result[0], (void *)nodes);
	printf("the device followed %d of the CPU's pointers and came back to %p\n", NODES, (void *)nodes);
}

/* Both add to one number. */
static void count(struct dmo_as *as, volatile uint64_t *counter)
{
	struct dmo_completion completion;
	struct dmo_command command;

	for (uint64_t i = 0; i < ROUNDS; i++) {
		*counter += 1;
		dmo_cmd_atomic_add(&command, (uintptr_t)counter, 1);
		must(dmo_run(as, &command, &completion), "atomic add");
		if (completion.result[0] != 2 * i + 1)
			errx(1, "in round %llu the device found %llu", (unsigned long long)i,
			     (unsigned long long)completion.result[0]);
	}
	if (*counter != 2 * ROUNDS)
		errx(1, "the counter is %llu", (unsigned long long)*counter);
	printf("CPU and device counted to %d in turns\n", 2 * ROUNDS);
}

int main(int argc, char **argv)
{
	const char *device = argc > 2 ? argv[2] : "npu0";
	struct dmo_dev *dev;
	struct dmo_as *as;
	char *peer;
	int fd;

	if (argc < 2)
		errx(2, "usage: peer_shared DIRECTORY [DEVICE]");
	fd = create_file(argv[1]);
	must(dmo_dev_open_at(fd, device, &dev), device);
	must(dmo_as_create(dev, &as), "context");
	must(dmo_peer_map(as, fd, LENGTH, PROT_READ | PROT_WRITE, 0, (void **)&peer), "peer map");
	close(fd);
	printf("%lu bytes at %p for the CPU and for %s\n", LENGTH, (void *)peer, device);

	chase(as, (struct node *)peer);
	count(as, (volatile uint64_t *)(peer + LENGTH / 2));
	must(dmo_hmadvise(dmo_dev_number(dev), peer, LENGTH, DMO_ADV_PREFERRED), "hmadvise");
	printf("advised by address: it should stay on %s\n", device);

	must(dmo_peer_unmap(peer), "peer unmap");
	dmo_as_destroy(as);
	dmo_dev_close(dev);
	puts("all right");
	return 0;
}
