// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * commands.c - what a device's commands compute, and how they fail; each on a private and on a coherent
 * device
 */
#define _GNU_SOURCE
#include "kit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RW (DMO_PROT_READ | DMO_PROT_WRITE)
#define SIZE (3 * BLOCK)

static uint32_t memory_type;

static uint32_t device(void)
{
	return device_of(memory_type);
}

/* An object, its mapping in a context and in this process. */
struct mapped {
	int fd, ctx;
	uint64_t va;
	uint8_t *at;
};

static struct mapped mapped(uint64_t size)
{
	struct mapped m = { .fd = fresh(size), .ctx = context(device()) };

	m.va = ctx_map(m.ctx, m.fd, size, RW);
	m.at = map(m.fd, size);
	return m;
}

static struct dmo_completion run(int ctx, struct dmo_command cmd)
{
	struct dmo_completion c;

	eq(write(ctx, &cmd, sizeof(cmd)), sizeof(cmd));
	eq(read(ctx, &c, sizeof(c)), sizeof(c));
	eq(c.op, cmd.op);
	return c;
}

static struct dmo_completion cksum(int ctx, uint64_t va, uint64_t bytes, uint32_t crc, uint64_t before, int finish)
{
	return run(ctx, (struct dmo_command){ .op = DMO_OP_CKSUM, .arg = { va, bytes, crc, before, finish } });
}

/* ---- results -------------------------------------------------------------- */

static void a_nop_completes_after_all_before_it(void)
{
	struct mapped m = mapped(SIZE);
	struct dmo_command cmds[3] = {
		{ .cookie = 1, .op = DMO_OP_FILL, .arg = { m.va, SIZE, 1 } },
		{ .cookie = 2, .op = DMO_OP_FILL, .arg = { m.va, SIZE, 2 } },
		{ .cookie = 3, .op = DMO_OP_NOP },
	};
	struct dmo_completion c;

	eq(write(m.ctx, cmds, sizeof(cmds)), sizeof(cmds));
	for (int i = 1; i <= 3; i++) {
		eq(read(m.ctx, &c, sizeof(c)), sizeof(c));
		eq(c.cookie, i);
		eq(c.status, 0);
	}
	eq(m.at[0], 2);
	eq(m.at[SIZE - 1], 2);
}

static void a_fill_writes_its_bytes_and_no_others(void)
{
	static const struct { uint64_t at, bytes; } cases[] = {
		{ 0, 1 }, { PAGE - 1, 2 }, { 7, PAGE }, { BLOCK - 3, 7 }, { 13, BLOCK + 11 }, { 5, 0 },
	};
	struct mapped m = mapped(SIZE);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t from = cases[i].at + PAGE, to = from + cases[i].bytes;

		memset(m.at, 0x11, SIZE);
		eq(fill(m.ctx, m.va + from, to - from, 0xee), 0);
		for (uint64_t at = 0; at < SIZE; at++)
			if (m.at[at] != (at >= from && at < to ? 0xee : 0x11))
				fail_at(__FILE__, __LINE__, "a byte", m.at[at], at);
	}
}

static void a_copy_moves_its_bytes_and_no_others(void)
{
	static const struct { uint64_t to, from, bytes; } cases[] = {
		{ 0, BLOCK, PAGE }, { 3, BLOCK + 4090, 10000 }, { BLOCK - 1, 17, 2 }, { BLOCK + 1, 2, BLOCK - 5 },
		{ 9, BLOCK, 0 }, { 100, 0, 100 }, { 0, 100, 100 },
	};
	struct mapped m = mapped(SIZE);
	uint8_t *want = malloc(SIZE);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		pattern(m.at, 0, SIZE, i);
		pattern(want, 0, SIZE, i);
		memmove(want + cases[i].to, want + cases[i].from, cases[i].bytes);
		eq(command(m.ctx, DMO_OP_COPY, m.va + cases[i].to, m.va + cases[i].from, cases[i].bytes).status, 0);
		eq(memcmp(m.at, want, SIZE), 0);
	}
}

/* The sum of the POSIX standard, bit by bit. */
static uint32_t crc_of(uint32_t crc, const uint8_t *at, uint64_t n)
{
	while (n--) {
		crc ^= (uint32_t)*at++ << 24;
		for (int i = 0; i < 8; i++)
			crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7 : 0);
	}
	return crc;
}

static uint32_t cksum_of(const uint8_t *at, uint64_t n)
{
	uint32_t crc = crc_of(0, at, n);

	for (; n; n >>= 8)
		crc = crc_of(crc, (uint8_t[]){ n }, 1);
	return ~crc;
}

static void a_cksum_is_that_of_posix(void)
{
	struct mapped m = mapped(SIZE);

	memcpy(m.at + 1, "123456789", 9);
	eq(cksum(m.ctx, m.va + 1, 9, 0, 0, 1).result[0], 930766865);
	eq(cksum(m.ctx, m.va, 0, 0, 0, 1).result[0], 4294967295);
	pattern(m.at, 0, SIZE, 3);
	eq(cksum(m.ctx, m.va + 5, BLOCK + 77, 0, 0, 1).result[0], cksum_of(m.at + 5, BLOCK + 77));
}

static void a_cksum_can_be_taken_in_parts(void)
{
	struct mapped m = mapped(SIZE);
	struct dmo_completion c;

	pattern(m.at, 0, SIZE, 3);
	c = cksum(m.ctx, m.va, PAGE + 1, 0, 0, 0);
	eq(c.result[0], crc_of(0, m.at, PAGE + 1));
	c = cksum(m.ctx, m.va + PAGE + 1, BLOCK, c.result[0], PAGE + 1, 1);
	eq(c.result[0], cksum_of(m.at, PAGE + 1 + BLOCK));
}

static void a_compare_tells_where_ranges_first_differ(void)
{
	static const uint64_t differs_at[] = { BLOCK - 6, PAGE, PAGE - 1, 1, 0 };
	struct mapped m = mapped(SIZE);

	memset(m.at, 7, SIZE);
	eq(command(m.ctx, DMO_OP_COMPARE, m.va + 5, m.va + BLOCK + 9, BLOCK - 5).result[0], BLOCK - 5);
	eq(command(m.ctx, DMO_OP_COMPARE, m.va, m.va + 9, 0).result[0], 0);
	for (size_t i = 0; i < sizeof(differs_at) / sizeof(differs_at[0]); i++) {
		m.at[BLOCK + 9 + differs_at[i]] = 8;
		eq(command(m.ctx, DMO_OP_COMPARE, m.va + 5, m.va + BLOCK + 9, BLOCK - 5).result[0], differs_at[i]);
	}
}

static void a_chase_follows_as_many_addresses_as_told(void)
{
	enum { HOPS = 300, STRIDE = 17 * 4096 + 8 };
	struct mapped m = mapped(SIZE);
	uint64_t place = 0;

	for (int i = 0; i < HOPS; i++, place = (place + STRIDE) % SIZE)
		*(uint64_t *)(m.at + place) = m.va + (place + STRIDE) % SIZE;
	eq(command(m.ctx, DMO_OP_CHASE, m.va, HOPS, 0).result[0], m.va + place);
	eq(command(m.ctx, DMO_OP_CHASE, m.va, 0, 0).result[0], m.va);
}

static void an_atomic_add_gives_the_old_value_and_wraps(void)
{
	struct mapped m = mapped(PAGE);
	uint64_t *word = (uint64_t *)m.at + 511;

	*word = 5;
	eq(command(m.ctx, DMO_OP_ATOMIC_ADD, m.va + PAGE - 8, ~0ull, 0).result[0], 5);
	eq(command(m.ctx, DMO_OP_ATOMIC_ADD, m.va + PAGE - 8, ~0ull - 3, 0).result[0], 4);
	eq(*word, 0);
}

static void additions_of_two_contexts_are_all_there(void)
{
	enum { BATCHES = 20, BATCH = 100 };
	struct mapped m = mapped(PAGE);
	int other = context(device()), both[2] = { m.ctx, other };
	uint64_t va[2] = { m.va, ctx_map(other, m.fd, PAGE, RW) };
	struct dmo_command cmds[BATCH];
	struct dmo_completion c[BATCH];

	for (int batch = 0; batch < BATCHES; batch++) {
		for (int i = 0; i < 2; i++) {
			for (int j = 0; j < BATCH; j++)
				cmds[j] = (struct dmo_command){ .op = DMO_OP_ATOMIC_ADD, .arg = { va[i], 3 } };
			eq(write(both[i], cmds, sizeof(cmds)), sizeof(cmds));
		}
		for (int i = 0; i < 2; i++)
			for (int got = 0, n; got < (int)sizeof(c); got += n) {
				n = read(both[i], c, sizeof(c) - got);
				sys(n);
				eq(c[0].status, 0);
			}
	}
	eq(*(uint64_t *)m.at, 2 * BATCHES * BATCH * 3);
}

/* ---- failures ------------------------------------------------------------- */

static void floating_point_is_not_offered(void)
{
	struct mapped m = mapped(BLOCK);
	const uint64_t va = m.va;
	struct dmo_command cmds[] = {
		{ .op = DMO_OP_AXPY, .arg = { va, va + PAGE, 4, 0 } },
		{ .op = DMO_OP_GEMV, .arg = { va, va + PAGE, va + 2 * PAGE, 0, 4, 4 } },
		{ .op = DMO_OP_GATHER, .arg = { va, va + PAGE, va + 2 * PAGE, 4, 4, 4 } },
		{ .op = DMO_OP_LAYERNORM, .arg = { va, va + PAGE, va + PAGE, va + PAGE, 4, 0 } },
		{ .op = DMO_OP_GELU, .arg = { va, va + PAGE, 4 } },
		{ .op = DMO_OP_ATTENTION, .arg = { va, va + PAGE, va + 2 * PAGE, va + 3 * PAGE, 1, 4, 1, 4 } },
		{ .op = DMO_OP_ARGMAX, .arg = { va, 4 } },
	};

	for (size_t i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++)
		eq(run(m.ctx, cmds[i]).status, -EOPNOTSUPP);
	eq(command(m.ctx, DMO_OP_NOP, 0, 0, 0).status, 0);
}

static void arguments_that_make_no_sense_are_invalid(void)
{
	struct mapped m = mapped(BLOCK);
	const uint64_t va = m.va;
	struct dmo_command cmds[] = {
		{ .op = DMO_OP_FILL, .arg = { va, 1, 256 } },
		{ .op = DMO_OP_FILL, .arg = { ~0ull, 2, 1 } },
		{ .op = DMO_OP_COPY, .arg = { va, va + 10, 11 } },
		{ .op = DMO_OP_CKSUM, .arg = { va, 1, 1ull << 32, 0, 1 } },
		{ .op = DMO_OP_CKSUM, .arg = { va, 1, 0, 0, 2 } },
		{ .op = DMO_OP_CHASE, .arg = { va + 4, 1 } },
		{ .op = DMO_OP_ATOMIC_ADD, .arg = { va + PAGE - 4, 1 } },
		{ .op = DMO_OP_NOP, .arg = { 1 } },
		{ .op = DMO_OP_FILL, .flags = 1, .arg = { va, 1, 1 } },
	};

	for (size_t i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++)
		eq(run(m.ctx, cmds[i]).status, -EINVAL);
	eq(m.at[0], 0);
}

static void a_completion_tells_the_address_that_failed(void)
{
	struct mapped m = mapped(4 * PAGE);
	uint64_t end = m.va + 4 * PAGE;
	struct dmo_completion c;

	c = command(m.ctx, DMO_OP_FILL, m.va + 5, 5 * PAGE, 3);
	eq(c.status, -EFAULT);
	eq(c.va, end);
	eq(m.at[4 * PAGE - 1], 3);
	c = command(m.ctx, DMO_OP_COPY, end, m.va, PAGE);
	eq(c.status, -EFAULT);
	eq(c.va, end);
	c = command(m.ctx, DMO_OP_COMPARE, m.va + 5, end - 1, 2);
	eq(c.status, -EFAULT);
	eq(c.va, end);
	eq(c.result[0], 0);
	*(uint64_t *)m.at = end + 8;
	c = command(m.ctx, DMO_OP_CHASE, m.va, 2, 0);
	eq(c.status, -EFAULT);
	eq(c.va, end + 8);
	eq(c.result[0], 0);
}

static void a_range_mapped_for_reading_is_not_written(void)
{
	struct mapped m = mapped(BLOCK);
	uint64_t ro = ctx_map(m.ctx, m.fd, BLOCK, DMO_PROT_READ);
	struct dmo_completion c;

	m.at[PAGE] = 9;
	eq(command(m.ctx, DMO_OP_COMPARE, ro, m.va, BLOCK).result[0], BLOCK);
	c = command(m.ctx, DMO_OP_FILL, ro + PAGE, 1, 1);
	eq(c.status, -EACCES);
	eq(c.va, ro + PAGE);
	eq(command(m.ctx, DMO_OP_ATOMIC_ADD, ro, 1, 0).status, -EACCES);
	eq(command(m.ctx, DMO_OP_COPY, m.va, ro + PAGE, 1).status, 0);
	eq(m.at[0], 9);
	eq(m.at[PAGE], 9);
}

static void a_failed_command_stops_no_other(void)
{
	struct mapped m = mapped(PAGE);
	struct dmo_command cmds[4] = {
		{ .cookie = 0, .op = DMO_OP_ATOMIC_ADD, .arg = { m.va, 1 } },
		{ .cookie = 1, .op = DMO_OP_ATOMIC_ADD, .arg = { m.va + PAGE, 1 } },
		{ .cookie = 2, .op = DMO_OP_FILL, .arg = { 4096, 1, 1 } },
		{ .cookie = 3, .op = DMO_OP_ATOMIC_ADD, .arg = { m.va, 1 } },
	};
	struct dmo_completion c;

	eq(write(m.ctx, cmds, sizeof(cmds)), sizeof(cmds));
	for (int i = 0; i < 4; i++) {
		eq(read(m.ctx, &c, sizeof(c)), sizeof(c));
		eq(c.cookie, i);
		eq(c.status, i == 1 || i == 2 ? -EFAULT : 0);
	}
	eq(c.result[0], 1);
}

/* ---- faults and translations ---------------------------------------------- */

static void a_completion_counts_its_faults(void)
{
	struct mapped m = mapped(SIZE);
	struct dmo_completion c = command(m.ctx, DMO_OP_FILL, m.va, SIZE, 1);

	yes(c.faults >= SIZE / BLOCK && c.faults <= SIZE / PAGE);
	yes(c.waited_ns > 0 && c.waited_ns <= c.ran_ns);
	c = command(m.ctx, DMO_OP_FILL, m.va, PAGE, 2);
	eq(c.faults, 0);
	eq(c.waited_ns, 0);
}

/* Two objects take turns at one address. */
static void an_unmapped_translation_is_not_used_again(void)
{
	int fds[2] = { fresh(BLOCK), fresh(BLOCK) }, ctx = context(device());
	uint8_t *at[2] = { map(fds[0], BLOCK), map(fds[1], BLOCK) };
	struct { struct dmo_map head; struct dmo_map_op op; } m = { .head.count = 1 };

	for (int i = 1; i < 60; i++) {
		m.op = (struct dmo_map_op){ .va = 1ull << 40, .length = BLOCK, .key = key_of(fds[i % 2]),
					    .prot = RW, .flags = DMO_MAP_FIXED };
		sys(ioctl(ctx, DMO_IOC_MAP(1), &m));
		eq(fill(ctx, m.op.va, PAGE, i), 0);
		eq(at[i % 2][PAGE - 1], i);
		eq(at[!(i % 2)][PAGE - 1], i - 1);
		eq(ctx_unmap(ctx, m.op.va, BLOCK), 0);
		eq(fill(ctx, m.op.va, PAGE, 200), -EFAULT);
	}
}

static void a_moved_page_is_not_used_where_it_was(void)
{
	struct mapped m = mapped(BLOCK);

	for (int i = 1; i < 60; i++) {
		eq(fill(m.ctx, m.va, 2 * PAGE, i), 0);
		eq(m.at[PAGE], i);
		eq(migrate(m.fd, 0, BLOCK, DMO_DEVICE_HOST), 0);
		m.at[PAGE] = 100 + i;
		eq(command(m.ctx, DMO_OP_COPY, m.va, m.va + PAGE, 1).status, 0);
		eq(m.at[0], 100 + i);
	}
}

/* fsync takes the permission to write away and with it what was dirty; a cached one must go, too. */
static void a_write_after_each_fsync_is_seen_by_the_next(void)
{
	int back = memfd(BLOCK), fd = object_over(back), ctx = context(device());
	uint64_t va = ctx_map(ctx, fd, BLOCK, RW);
	uint8_t got;

	for (int i = 1; i < 100; i++) {
		eq(fill(ctx, va + 7 * PAGE, PAGE, i), 0);
		sys(fsync(fd));
		eq(pread(back, &got, 1, 7 * PAGE + i), 1);
		eq(got, i);
	}
}

/* Every other page of a block of addresses from elsewhere: no two frames follow each other. */
static void pages_in_any_order_have_their_own_translations(void)
{
	enum { N = 256 };
	struct { struct dmo_map head; struct dmo_map_op ops[N]; } maps = { .head.count = N };
	int fd = fresh(2 * N * PAGE), ctx = context(device());
	uint64_t key = key_of(fd), base = 1ull << 40;
	uint8_t *at = map(fd, 2 * N * PAGE);

	for (int i = 0; i < N; i++)
		maps.ops[i] = (struct dmo_map_op){ .va = base + i * PAGE, .length = PAGE, .key = key, .prot = RW,
						   .offset = (2 * (i * 37 % N) + 1) * PAGE,
						   .flags = DMO_MAP_FIXED };
	sys(ioctl(ctx, DMO_IOC_MAP(N), &maps));
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < N; i++)
			eq(fill(ctx, base + i * PAGE, PAGE, i + round), 0);
		for (int i = 0; i < N; i++) {
			eq(at[maps.ops[i].offset], (uint8_t)(i + round));
			eq(at[maps.ops[i].offset - PAGE], 0);
		}
	}
}

int main(void)
{
	static const struct test tests[] = {
		T(a_nop_completes_after_all_before_it), T(a_fill_writes_its_bytes_and_no_others),
		T(a_copy_moves_its_bytes_and_no_others), T(a_cksum_is_that_of_posix),
		T(a_cksum_can_be_taken_in_parts), T(a_compare_tells_where_ranges_first_differ),
		T(a_chase_follows_as_many_addresses_as_told), T(an_atomic_add_gives_the_old_value_and_wraps),
		T(additions_of_two_contexts_are_all_there), T(floating_point_is_not_offered),
		T(arguments_that_make_no_sense_are_invalid), T(a_completion_tells_the_address_that_failed),
		T(a_range_mapped_for_reading_is_not_written), T(a_failed_command_stops_no_other),
		T(a_completion_counts_its_faults), T(an_unmapped_translation_is_not_used_again),
		T(a_moved_page_is_not_used_where_it_was), T(a_write_after_each_fsync_is_seen_by_the_next),
		T(pages_in_any_order_have_their_own_translations),
	};
	static const uint32_t types[] = { DMO_MEM_PRIVATE, DMO_MEM_COHERENT };
	int worst = 0;

	for (int i = 0; i < 2; i++) {
		int r;

		memory_type = types[i];
		printf("# %s memory\n", i ? "coherent" : "private");
		r = RUN(tests);
		worst = r == 1 ? 1 : worst;
	}
	return worst;
}
