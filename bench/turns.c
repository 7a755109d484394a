/* SPDX-License-Identifier: GPL-2.0-or-later */
/* turns.c - rounds a second of two who take turns: CPU and device on one page, or two processes on two pipes */
#include "bench.h"
#include "ctx.h"

#include <dmo/ioctl.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static _Noreturn void wrong(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static void run_device(char **args)
{
	unsigned long rounds = strtoul(args[2], NULL, 0);
	struct bench_ctx ctx;
	size_t size;
	int fd;
	volatile uint64_t *word = bench_map(args[0], O_RDWR, PROT_READ | PROT_WRITE, &fd, &size);
	double start;

	bench_ctx_open(&ctx, args[1], fd, size);
	*word = 0;
	start = bench_now();
	for (unsigned long i = 0; i < rounds; i++) {
		*word += 1;
		if (bench_ctx_do(&ctx, DMO_OP_ATOMIC_ADD, ctx.va, 1, 0) != 2 * i + 1)
			wrong("the device saw another number than the CPU wrote");
	}
	if (*word != 2 * rounds)
		wrong("the CPU sees another number than the device wrote");
	printf("%.1f\n", (double)rounds / (bench_now() - start));
}

static void bounce(int in, int out)
{
	char byte;

	while (read(in, &byte, 1) == 1)
		if (write(out, &byte, 1) != 1)
			break;
	_exit(0);
}

static void run_pipes(char **args)
{
	unsigned long rounds = strtoul(args[0], NULL, 0);
	int there[2], back[2];
	char byte = 'x';
	double start;

	if (pipe(there) || pipe(back))
		bench_die("pipe");
	if (!fork()) {
		close(there[1]);
		bounce(there[0], back[1]);
	}
	start = bench_now();
	for (unsigned long i = 0; i < rounds; i++)
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			bench_die("pipe");
	printf("%.1f\n", (double)rounds / (bench_now() - start));
}

int main(int argc, char **argv)
{
	static const struct bench_mode modes[] = {
		{ "device", 3, "FILE CONTEXT N: the CPU adds 1, the device adds 1; rounds a second", run_device },
		{ "pipes", 1, "N: a byte goes to another process and back; rounds a second", run_pipes },
		{ NULL, 0, NULL, NULL },
	};

	return bench_main(argc, argv, modes);
}
