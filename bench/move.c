/* SPDX-License-Identifier: GPL-2.0-or-later */
/* move.c - times whole files on their way to device memory and back, and a memcpy of the same bytes */
#include "bench.h"
#include "ctx.h"

#include <dmo/ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static void run_memcpy(char **args)
{
	size_t size;
	int fd;
	void *from = bench_map(args[0], O_RDONLY, PROT_READ, &fd, &size);
	void *to = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	double start;

	if (to == MAP_FAILED || madvise(from, size, MADV_POPULATE_READ))
		bench_die("mmap");
	memcpy(to, from, size);		/* a hypervisor may fill page tables of its own at the first touch */
	start = bench_now();
	memcpy(to, from, size);
	printf("%.6f\n", bench_now() - start);
}

static void migrate(int fd, uint32_t device)
{
	struct dmo_migrate move = { .device = device };

	if (ioctl(fd, DMO_IOC_MIGRATE, &move)) {
		fprintf(stderr, "%llu bytes came, then error %d: ", (unsigned long long)move.done, move.error);
		bench_die("DMO_IOC_MIGRATE");
	}
}

static int open_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		bench_die(path);
	return fd;
}

static void time_migration(const char *path, uint32_t device)
{
	int fd = open_file(path);
	double start = bench_now();

	migrate(fd, device);
	printf("%.6f\n", bench_now() - start);
}

static void run_prefetch(char **args)
{
	time_migration(args[0], (uint32_t)strtoul(args[1], NULL, 0));
}

static void run_evict(char **args)
{
	time_migration(args[0], DMO_DEVICE_HOST);
}

static void run_fill(char **args)
{
	int fd = open_file(args[0]);
	size_t size = (size_t)lseek(fd, 0, SEEK_END);
	struct bench_ctx ctx;
	double start;

	bench_ctx_open(&ctx, args[1], fd, size);
	start = bench_now();
	bench_ctx_do(&ctx, DMO_OP_FILL, ctx.va, size, strtoul(args[2], NULL, 0));
	printf("%.6f\n", bench_now() - start);
}

int main(int argc, char **argv)
{
	static const struct bench_mode modes[] = {
		{ "memcpy", 1, "FILE: from its mapped pages to memory; seconds", run_memcpy },
		{ "prefetch", 2, "FILE DEVICE: to the device's memory; seconds", run_prefetch },
		{ "evict", 1, "FILE: to the backing file; seconds", run_evict },
		{ "fill", 3, "FILE CONTEXT BYTE: the device writes all of it; seconds", run_fill },
		{ NULL, 0, NULL, NULL },
	};

	return bench_main(argc, argv, modes);
}
