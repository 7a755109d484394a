/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench.h - what the measuring programs share: a clock, files mapped whole, and ending with a line
 *
 * Every program does one thing once and prints its seconds (or a rate); bench/run repeats, interleaves it with its
 * peer and takes medians. Not thread-safe, and needs not be.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

double bench_now(void);		/* seconds, monotonic */
_Noreturn void bench_die(const char *what);	/* what, errno's text; exit 1 */

/* Opens path with flags and maps it shared and whole, prot as in mmap(2); the fd in *fd. Dies on errors. */
void *bench_map(const char *path, int flags, int prot, int *fd, size_t *size);

struct bench_mode {
	const char *name;
	int args;		/* arguments after the mode's name */
	const char *help;
	void (*run)(char **args);
};
/* Runs the mode that argv names; prints the usage and returns 2 where there is none. A name of NULL ends modes. */
int bench_main(int argc, char **argv, const struct bench_mode *modes);

#endif
