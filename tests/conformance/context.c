/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * context.c - the conformance tests' dealings with device contexts: mappings, commands, checksums
 */
#include "kit.h"

#define CONTEXTS 1024

static struct dmo_as *handles[CONTEXTS];	/* by descriptor */

int ctx_open(const char *device)
{
	int fd = conf_home->open_context(device, O_RDWR | O_CLOEXEC);

	ck_assert_msg(fd >= 0, "context of %s: %s", device, strerror(-fd));
	ck_assert_int_lt(fd, CONTEXTS);
	ck_ok(dmo_as_import(fd, &handles[fd]));
	return fd;
}

void ctx_close(int ctx)
{
	dmo_as_destroy(handles[ctx]);
	handles[ctx] = NULL;
}

struct dmo_as *ctx_handle(int ctx)
{
	return handles[ctx];
}

int ctx_map_op(int ctx, struct dmo_map_op *op)
{
	size_t done;
	int err = dmo_map_batch(ctx_handle(ctx), op, 1, &done);

	ck_assert_uint_eq(done, err ? 0 : 1);
	return err;
}

uint64_t ctx_map(int ctx, int fd, uint64_t offset, uint64_t length, uint32_t prot)
{
	uint64_t va;

	ck_ok(dmo_map(ctx_handle(ctx), fd, offset, length, prot, 0, 0, &va));
	ck_assert_uint_eq(va % PAGE, 0);
	return va;
}

int ctx_try_map(int ctx, int fd, uint64_t offset, uint64_t length, uint32_t prot)
{
	uint64_t va;

	return dmo_map(ctx_handle(ctx), fd, offset, length, prot, 0, 0, &va);
}

int ctx_unmap(int ctx, uint64_t va, uint64_t length)
{
	return dmo_unmap(ctx_handle(ctx), va, length);
}

/* ---- commands ------------------------------------------------------------------------------------ */

int ctx_run(int ctx, const struct dmo_command *command, struct dmo_completion *completion)
{
	int err = dmo_run(ctx_handle(ctx), command, completion);

	ck_assert_int_eq(err, completion->status);
	ck_assert_uint_eq(completion->op, command->op);
	return err;
}

/* A chain that leads from a page to itself, followed for longer than anybody lives. */
void ctx_submit_endless(int ctx)
{
	int fd = obj_create("loop", PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, PAGE, DMO_PROT_READ);
	struct dmo_command command;

	obj_pwrite(fd, &va, sizeof(va), 0);
	dmo_cmd_chase(&command, va, 1ull << 60);
	ck_assert_int_eq(dmo_submit(ctx_handle(ctx), &command, 1), 1);
}

int ctx_fill_completion(int ctx, uint64_t va, uint64_t length, int byte, struct dmo_completion *completion)
{
	struct dmo_command command;

	dmo_cmd_fill(&command, va, length, byte);
	return ctx_run(ctx, &command, completion);
}

int ctx_fill(int ctx, uint64_t va, uint64_t length, int byte)
{
	struct dmo_completion completion;

	return ctx_fill_completion(ctx, va, length, byte, &completion);
}

int ctx_copy(int ctx, uint64_t dst, uint64_t src, uint64_t length)
{
	struct dmo_completion completion;
	struct dmo_command command;

	dmo_cmd_copy(&command, dst, src, length);
	return ctx_run(ctx, &command, &completion);
}

int ctx_cksum(int ctx, uint64_t va, uint64_t length, struct dmo_completion *completion)
{
	struct dmo_command command;

	dmo_cmd_cksum(&command, va, length, 0, 0, true);
	return ctx_run(ctx, &command, completion);
}

int ctx_add(int ctx, uint64_t va, uint64_t addend, uint64_t *old)
{
	struct dmo_completion completion;
	struct dmo_command command;
	int err;

	dmo_cmd_atomic_add(&command, va, addend);
	err = ctx_run(ctx, &command, &completion);
	*old = completion.result[0];
	return err;
}

int ctx_load(int ctx, uint64_t va, uint64_t *value)
{
	struct dmo_completion completion;
	struct dmo_command command;
	int err;

	dmo_cmd_chase(&command, va, 1);
	err = ctx_run(ctx, &command, &completion);
	*value = completion.result[0];
	return err;
}

/* ---- checksums ----------------------------------------------------------------------------------- */

static uint32_t crc_table[8][256];	/* [k]: what a byte does k bytes later */

static uint32_t crc_byte(uint32_t crc, unsigned char byte)
{
	return crc << 8 ^ crc_table[0][(crc >> 24 ^ byte) & 0xff];
}

static void crc_fill(void)
{
	unsigned i, bit, k;

	for (i = 0; i < 256; i++) {
		uint32_t crc = i << 24;

		for (bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7 : 0);
		crc_table[0][i] = crc;
	}
	for (k = 1; k < 8; k++)
		for (i = 0; i < 256; i++)
			crc_table[k][i] = crc_table[k - 1][i] << 8 ^ crc_table[0][crc_table[k - 1][i] >> 24];
}

static uint32_t crc_eight(uint32_t crc, const unsigned char *p)
{
	return crc_table[7][p[0] ^ crc >> 24] ^ crc_table[6][p[1] ^ (crc >> 16 & 0xff)] ^
	       crc_table[5][p[2] ^ (crc >> 8 & 0xff)] ^ crc_table[4][p[3] ^ (crc & 0xff)] ^ crc_table[3][p[4]] ^
	       crc_table[2][p[5]] ^ crc_table[1][p[6]] ^ crc_table[0][p[7]];
}

uint32_t posix_cksum(const void *buf, uint64_t length)
{
	const unsigned char *p = buf, *end = p + length;
	uint32_t crc = 0;

	if (!crc_table[0][1])
		crc_fill();
	for (; end - p >= 8; p += 8)
		crc = crc_eight(crc, p);
	for (; p < end; p++)
		crc = crc_byte(crc, *p);
	for (; length; length >>= 8)
		crc = crc_byte(crc, length & 0xff);
	return ~crc;
}

static void check_sum(int ctx, uint64_t va, void *expected, uint64_t length)
{
	struct dmo_completion completion;

	ck_ok(ctx_cksum(ctx, va, length, &completion));
	ck_assert_uint_eq(completion.result[0], posix_cksum(expected, length));
	free(expected);
}

void ctx_check_pattern(int ctx, uint64_t va, uint64_t offset, uint64_t length, unsigned seed)
{
	void *expected = malloc(length);

	mem_pattern(expected, offset, length, seed);
	check_sum(ctx, va, expected, length);
}

void ctx_check_byte(int ctx, uint64_t va, uint64_t length, int byte)
{
	void *expected = malloc(length);

	memset(expected, byte, length);
	check_sum(ctx, va, expected, length);
}
