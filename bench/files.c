/* SPDX-License-Identifier: GPL-2.0-or-later */
/* files.c - times the life of files: create, close, open, close, unlink */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void one_file(const char *name)
{
	int fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);

	if (fd < 0)
		bench_die(name);
	close(fd);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		bench_die(name);
	close(fd);
	if (unlink(name))
		bench_die(name);
}

static void run_lives(char **args)
{
	unsigned long count = strtoul(args[1], NULL, 0);
	char name[32];
	double start;

	if (chdir(args[0]))
		bench_die(args[0]);
	start = bench_now();
	for (unsigned long i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "f%lu", i);
		one_file(name);
	}
	printf("%.6f\n", bench_now() - start);
}

int main(int argc, char **argv)
{
	static const struct bench_mode modes[] = {
		{ "lives", 2, "FOLDER N: so many files come and go; seconds", run_lives },
		{ NULL, 0, NULL, NULL },
	};

	return bench_main(argc, argv, modes);
}
