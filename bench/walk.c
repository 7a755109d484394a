/* SPDX-License-Identifier: GPL-2.0-or-later */
/* walk.c - times the CPU on one file: through a mapping, and by 4 KiB calls at random places */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, WARM_PASSES = 4 };

static volatile uint64_t sink;

static void touch_all(const volatile char *map, size_t size)
{
	uint64_t sum = 0;

	for (size_t at = 0; at < size; at += PAGE)
		sum += (uint64_t)map[at];
	sink = sum;
}

static void sum_all(const uint64_t *words, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += words[i];
	sink = sum;
}

static void run_read(char **args)
{
	double start = bench_now();
	size_t size;
	int fd;
	void *map = bench_map(args[0], O_RDONLY, PROT_READ, &fd, &size);

	sum_all(map, size / sizeof(uint64_t));
	printf("%.6f\n", bench_now() - start);
}

static void run_fault(char **args)
{
	size_t size;
	int fd;
	void *map = bench_map(args[0], O_RDONLY, PROT_READ, &fd, &size);
	double start = bench_now();

	touch_all(map, size);
	printf("%.6f\n", bench_now() - start);
}

static void run_store(char **args)
{
	size_t size;
	int fd;
	volatile char *map = bench_map(args[0], O_RDWR, PROT_READ | PROT_WRITE, &fd, &size);
	double start = bench_now();

	for (size_t at = 0; at < size; at += PAGE)
		map[at] = 1;
	printf("%.6f\n", bench_now() - start);
}

static void run_warm(char **args)
{
	size_t size;
	int fd;
	void *map = bench_map(args[0], O_RDWR, PROT_READ | PROT_WRITE, &fd, &size);
	double start;

	touch_all(map, size);
	start = bench_now();
	for (int pass = 0; pass < WARM_PASSES; pass++)
		sum_all(map, size / sizeof(uint64_t));
	printf("%.6f\n", (bench_now() - start) / WARM_PASSES);
}

/* A permutation's next step, so that no page comes twice: a full-period generator modulo a power of two. */
static size_t next_page(size_t page, size_t pages)
{
	return (page * 5 + 12345) & (pages - 1);
}

static size_t open_for_pages(const char *path, int flags, int *fd)
{
	struct stat st;
	size_t pages = 1;

	*fd = open(path, flags | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st))
		bench_die(path);
	while (pages * 2 * PAGE <= (size_t)st.st_size)
		pages *= 2;
	return pages;
}

static void run_random(const char *path, int flags, size_t count)
{
	static char page[PAGE];
	int fd;
	size_t pages = open_for_pages(path, flags, &fd), at = 1;
	double start = bench_now();

	for (size_t i = 0; i < count; i++, at = next_page(at, pages)) {
		off_t offset = (off_t)(at * PAGE);
		ssize_t got = flags == O_RDONLY ? pread(fd, page, PAGE, offset) : pwrite(fd, page, PAGE, offset);

		if (got != PAGE)
			bench_die("pread or pwrite");
	}
	printf("%.6f\n", bench_now() - start);
}

static void run_random_read(char **args)
{
	run_random(args[0], O_RDONLY, strtoul(args[1], NULL, 0));
}

static void run_random_write(char **args)
{
	run_random(args[0], O_WRONLY, strtoul(args[1], NULL, 0));
}

int main(int argc, char **argv)
{
	static const struct bench_mode modes[] = {
		{ "read", 1, "FILE: maps it and adds up all its words; seconds", run_read },
		{ "fault", 1, "FILE: maps it and touches each page once; seconds", run_fault },
		{ "store", 1, "FILE: maps it and stores to each page once; seconds", run_store },
		{ "warm", 1, "FILE: maps it writable and adds up pages that are there; seconds a pass", run_warm },
		{ "random-read", 2, "FILE N: that many pages by pread; seconds", run_random_read },
		{ "random-write", 2, "FILE N: that many pages by pwrite; seconds", run_random_write },
		{ NULL, 0, NULL, NULL },
	};

	return bench_main(argc, argv, modes);
}
