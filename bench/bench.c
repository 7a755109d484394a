/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bench.c - what the measuring programs share; see bench.h */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

double bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void bench_die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

void *bench_map(const char *path, int flags, int prot, int *fd, size_t *size)
{
	struct stat st;
	void *map;

	*fd = open(path, flags | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st))
		bench_die(path);
	*size = (size_t)st.st_size;
	map = mmap(NULL, *size, prot, MAP_SHARED, *fd, 0);
	if (map == MAP_FAILED)
		bench_die("mmap");
	return map;
}

int bench_main(int argc, char **argv, const struct bench_mode *modes)
{
	const struct bench_mode *mode;

	for (mode = modes; mode->name && argc > 1; mode++) {
		if (!strcmp(argv[1], mode->name) && argc == 2 + mode->args) {
			mode->run(argv + 2);
			return 0;
		}
	}
	for (mode = modes; mode->name; mode++)
		fprintf(stderr, "%s %s %s\n", argv[0], mode->name, mode->help);
	return 2;
}
