/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctx.h - a device context with one file mapped, by the bare ABI
 *
 * So that what is measured is the service, and not the library on the way to it. Dies on errors.
 */
#ifndef BENCH_CTX_H
#define BENCH_CTX_H

#include <stddef.h>
#include <stdint.h>

struct bench_ctx {
	int fd;
	uint64_t va;		/* where the file is mapped */
};

/* Opens the context file and maps file (an open fd of the mount, readable and writable), length bytes of it. */
void bench_ctx_open(struct bench_ctx *ctx, const char *context, int file, size_t length);
/* One command, waited for; its first result. */
uint64_t bench_ctx_do(struct bench_ctx *ctx, uint32_t op, uint64_t arg0, uint64_t arg1, uint64_t arg2);

#endif
