/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * context.c - the conformance tests' dealings with device contexts: mappings, commands, checksums
 */
#include "kit.h"

int ctx_open(const char *device)
{
	int fd = conf_home.open_context(device, O_RDWR | O_CLOEXEC);

	ck_assert_msg(fd >= 0, "context of %s: %s", device, strerror(-fd));
	return fd;
}

int ctx_map_op(int ctx, struct dmo_map_op *op)
{
	struct {
		struct dmo_map head;
		struct dmo_map_op op;
	} map = { .head = { .count = 1 }, .op = *op };
	int err = request(ctx, DMO_IOC_MAP(1), &map);

	ck_assert_uint_eq(map.head.done, err ? 0 : 1);
	*op = map.op;
	return err;
}

uint64_t ctx_map(int ctx, int fd, uint64_t offset, uint64_t length, uint32_t prot)
{
	struct dmo_map_op op = { .length = length, .key = obj_key(fd), .offset = offset, .prot = prot };

	ck_ok(ctx_map_op(ctx, &op));
	ck_assert_uint_eq(op.va % PAGE, 0);
	return op.va;
}

int ctx_try_map(int ctx, int fd, uint64_t offset, uint64_t length, uint32_t prot)
{
	struct dmo_map_op op = { .length = length, .key = obj_key(fd), .offset = offset, .prot = prot };

	return ctx_map_op(ctx, &op);
}

int ctx_unmap(int ctx, uint64_t va, uint64_t length)
{
	struct {
		struct dmo_unmap head;
		struct dmo_unmap_op op;
	} unmap = { .head = { .count = 1 }, .op = { .va = va, .length = length } };

	return request(ctx, DMO_IOC_UNMAP(1), &unmap);
}

/* ---- commands ----------------------------------------------------------------------------------------------- */

void ctx_submit(int ctx, const struct dmo_command *command)
{
	ssize_t n = write(ctx, command, sizeof(*command));

	ck_assert_msg(n == sizeof(*command), "submitting: %zd %s", n, strerror(errno));
}

void ctx_complete(int ctx, struct dmo_completion *completion)
{
	ssize_t n;

	do
		n = read(ctx, completion, sizeof(*completion));
	while (n < 0 && errno == EINTR);
	ck_assert_msg(n == sizeof(*completion), "completion: %zd %s", n, strerror(errno));
}

struct dmo_completion ctx_run(int ctx, uint32_t op, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	static uint64_t cookie;
	struct dmo_command command = { .cookie = ++cookie, .op = op, .arg = { a, b, c, d, e } };
	struct dmo_completion completion;

	ctx_submit(ctx, &command);
	ctx_complete(ctx, &completion);
	ck_assert_uint_eq(completion.cookie, command.cookie);
	ck_assert_uint_eq(completion.op, op);
	return completion;
}

int ctx_fill(int ctx, uint64_t va, uint64_t length, int byte)
{
	return ctx_run(ctx, DMO_OP_FILL, va, length, byte, 0, 0).status;
}

int ctx_copy(int ctx, uint64_t dst, uint64_t src, uint64_t length)
{
	return ctx_run(ctx, DMO_OP_COPY, dst, src, length, 0, 0).status;
}

int ctx_cksum(int ctx, uint64_t va, uint64_t length, uint32_t *sum)
{
	struct dmo_completion c = ctx_run(ctx, DMO_OP_CKSUM, va, length, 0, 0, 1);

	*sum = c.result[0];
	return c.status;
}

int ctx_add(int ctx, uint64_t va, uint64_t addend, uint64_t *old)
{
	struct dmo_completion c = ctx_run(ctx, DMO_OP_ATOMIC_ADD, va, addend, 0, 0, 0);

	*old = c.result[0];
	return c.status;
}

int ctx_load(int ctx, uint64_t va, uint64_t *value)
{
	struct dmo_completion c = ctx_run(ctx, DMO_OP_CHASE, va, 1, 0, 0, 0);

	*value = c.result[0];
	return c.status;
}

/* ---- checksums ---------------------------------------------------------------------------------------------- */

static uint32_t crc_byte(const uint32_t table[256], uint32_t crc, unsigned char byte)
{
	return crc << 8 ^ table[(crc >> 24 ^ byte) & 0xff];
}

static const uint32_t *crc_table(void)
{
	static uint32_t table[256];
	unsigned i, bit;

	for (i = 0; !table[255] && i < 256; i++) {
		table[i] = i << 24;
		for (bit = 0; bit < 8; bit++)
			table[i] = table[i] << 1 ^ (table[i] >> 31 ? 0x04c11db7 : 0);
	}
	return table;
}

uint32_t posix_cksum(const void *buf, uint64_t length)
{
	const uint32_t *table = crc_table();
	const unsigned char *p = buf;
	uint32_t crc = 0;
	uint64_t i;

	for (i = 0; i < length; i++)
		crc = crc_byte(table, crc, p[i]);
	for (; length; length >>= 8)
		crc = crc_byte(table, crc, length & 0xff);
	return ~crc;
}

static void check_sum(int ctx, uint64_t va, void *expected, uint64_t length)
{
	uint32_t sum;

	ck_ok(ctx_cksum(ctx, va, length, &sum));
	ck_assert_uint_eq(sum, posix_cksum(expected, length));
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
