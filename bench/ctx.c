/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ctx.c - a device context with one file mapped; see ctx.h */
#include "ctx.h"
#include "bench.h"

#include <dmo/ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

void bench_ctx_open(struct bench_ctx *ctx, const char *context, int file, size_t length)
{
	union {
		struct dmo_map head;
		char room[sizeof(struct dmo_map) + sizeof(struct dmo_map_op)];
	} map = { .room = { 0 } };
	struct dmo_map_op *op = map.head.ops;
	struct dmo_key key = { 0 };

	ctx->fd = open(context, O_RDWR | O_CLOEXEC);
	if (ctx->fd < 0)
		bench_die(context);
	if (ioctl(file, DMO_IOC_KEY, &key))
		bench_die("DMO_IOC_KEY");
	map.head.count = 1;
	op->key = key.key;
	op->length = (length + DMO_PAGE_SIZE - 1) & ~(uint64_t)(DMO_PAGE_SIZE - 1);
	op->prot = DMO_PROT_READ | DMO_PROT_WRITE;
	if (ioctl(ctx->fd, DMO_IOC_MAP(1), &map))
		bench_die("DMO_IOC_MAP");
	ctx->va = op->va;
}

uint64_t bench_ctx_do(struct bench_ctx *ctx, uint32_t op, uint64_t arg0, uint64_t arg1, uint64_t arg2)
{
	struct dmo_command command = { .op = op, .arg = { arg0, arg1, arg2 } };
	struct dmo_completion completion;

	if (write(ctx->fd, &command, sizeof(command)) != sizeof(command))
		bench_die("writing a command");
	if (read(ctx->fd, &completion, sizeof(completion)) != sizeof(completion))
		bench_die("reading a completion");
	if (completion.status) {
		errno = -completion.status;
		bench_die("command");
	}
	return completion.result[0];
}
