// SPDX-License-Identifier: GPL-2.0-or-later
/* test_command.c - the blocks that a command names, against arrays of the pages it names */
#include "core/command.h"

#include "testmem.h"

#define PAGE	((u64)DMO_PAGE_SIZE)
#define BLOCK	((u64)DMO_BLOCK_SIZE)
#define START	(1ull << 30)
#define END	(START + 64 * BLOCK)
#define RW	(DMO_PROT_READ | DMO_PROT_WRITE)
#define MANY	(1ull << 40)

static struct testmem tm;
static struct dmo_itree rmaps[3];
static struct dmo_space space;
static struct dmo_named_blocks named;

static struct dmo_itree *op_rmap(void *object)
{
	return object;
}

static const struct dmo_space_ops ops = { .rmap = op_rmap };

static void setup(void)
{
	testmem_init(&tm);
	for (int i = 0; i < 3; i++)
		dmo_it_init(&rmaps[i]);
	dmo_space_init(&space, &tm.mem, &ops, START, END);
}

static void teardown(void)
{
	dmo_named_fini(&named);
	dmo_space_fini(&space);
	ck_assert_uint_eq(tm.blocks, 0);
}

static void map(int object, u64 va, u64 length, u64 offset, u32 prot)
{
	struct dmo_space_request r = { .object = &rmaps[object], .va = va, .length = length, .offset = offset,
				       .prot = prot, .flags = DMO_MAP_FIXED };

	ck_assert_int_eq(dmo_space_map(&space, &r, &va), 0);
}

static int collect(u32 op, u64 a, u64 b, u64 c, u64 limit)
{
	struct dmo_command cmd = { .op = op, .arg = { a, b, c } };

	dmo_named_fini(&named);
	return dmo_command_blocks(&named, &tm.mem, &space, &cmd, limit);
}

static void check(u32 i, int object, u64 index, unsigned first, unsigned last, bool write)
{
	ck_assert_uint_lt(i, named.count);
	ck_assert_ptr_eq(named.blocks[i].object, &rmaps[object]);
	ck_assert_uint_eq(named.blocks[i].index, index);
	ck_assert_uint_eq(named.blocks[i].first, first);
	ck_assert_uint_eq(named.blocks[i].last, last);
	ck_assert_int_eq(named.blocks[i].write, write);
	ck_assert(!named.blocks[i].pinned && !named.blocks[i].held);
}

START_TEST(a_range_is_cut_at_blocks)
{
	map(0, START, 4 * BLOCK, 0, RW);
	ck_assert_int_eq(collect(DMO_OP_FILL, START + BLOCK - 1, BLOCK + 2, 0, MANY), 0);
	ck_assert_uint_eq(named.count, 3);
	check(0, 0, 0, 511, 511, true);
	check(1, 0, 1, 0, 511, true);
	check(2, 0, 2, 0, 0, true);
	ck_assert_uint_eq(named.pages, 514);
}
END_TEST

START_TEST(blocks_are_those_of_the_object_not_of_the_addresses)
{
	map(0, START, 2 * BLOCK, BLOCK - PAGE, RW);
	ck_assert_int_eq(collect(DMO_OP_FILL, START, 2 * PAGE, 0, MANY), 0);
	ck_assert_uint_eq(named.count, 2);
	check(0, 0, 0, 511, 511, true);
	check(1, 0, 1, 0, 0, true);
}
END_TEST

START_TEST(a_command_without_ranges_names_nothing)
{
	ck_assert_int_eq(collect(DMO_OP_NOP, 0, 0, 0, 0), 0);
	ck_assert_uint_eq(named.count, 0);
	ck_assert_int_eq(collect(DMO_OP_FILL, START, 0, 0, 0), 0);
	ck_assert_uint_eq(named.count, 0);
}
END_TEST

/* Both operands of a copy lie in one block, by two mappings. */
START_TEST(a_block_named_twice_is_one_and_written_if_once_written)
{
	map(0, START, BLOCK, 0, DMO_PROT_WRITE);
	map(0, START + 8 * BLOCK, BLOCK, 0, DMO_PROT_READ);
	ck_assert_int_eq(collect(DMO_OP_COPY, START + 7 * PAGE, START + 8 * BLOCK + 3 * PAGE, PAGE, MANY), 0);
	ck_assert_uint_eq(named.count, 1);
	check(0, 0, 0, 3, 7, true);
	ck_assert_int_eq(collect(DMO_OP_COMPARE, START + 8 * BLOCK, START + 8 * BLOCK, PAGE, 1), 0);
	ck_assert_uint_eq(named.count, 1);
	check(0, 0, 0, 0, 0, false);
}
END_TEST

START_TEST(blocks_come_in_one_order_however_they_are_mapped)
{
	for (u64 i = 0; i < 30; i++)
		map((i * 7 + 1) % 3, START + i * PAGE, PAGE, (i * 11 % 30) * BLOCK, RW);
	ck_assert_int_eq(collect(DMO_OP_FILL, START, 30 * PAGE, 0, MANY), 0);
	ck_assert_uint_eq(named.count, 30);
	for (u32 i = 1; i < named.count; i++) {
		struct dmo_named *a = &named.blocks[i - 1], *b = a + 1;

		ck_assert(a->object < b->object || (a->object == b->object && a->index < b->index));
	}
}
END_TEST

START_TEST(what_is_not_mapped_or_not_permitted_is_refused)
{
	map(0, START, BLOCK, 0, DMO_PROT_READ);
	map(0, START + 2 * BLOCK, BLOCK, 0, DMO_PROT_WRITE);
	ck_assert_int_eq(collect(DMO_OP_FILL, START, 1, 0, MANY), -EACCES);
	ck_assert_int_eq(collect(DMO_OP_COMPARE, START, START + 2 * BLOCK, 1, MANY), -EACCES);
	ck_assert_int_eq(collect(DMO_OP_FILL, START + 3 * BLOCK - 1, 2, 0, MANY), -EFAULT);
	ck_assert_uint_eq(named.count, 0);
	ck_assert_int_eq(collect(DMO_OP_CHASE, START, 1, 0, MANY), -EOPNOTSUPP);
	ck_assert_int_eq(collect(DMO_OP_FILL, START, 1, 256, MANY), -EINVAL);
}
END_TEST

START_TEST(more_pages_than_the_limit_are_refused)
{
	map(0, START, 64 * BLOCK, 0, RW);
	ck_assert_int_eq(collect(DMO_OP_FILL, START, 3 * BLOCK, 0, 3 * 512), 0);
	ck_assert_int_eq(collect(DMO_OP_FILL, START + 1, 3 * BLOCK, 0, 3 * 512), -ENOSPC);
	ck_assert_uint_eq(named.count, 0);
	ck_assert_int_eq(collect(DMO_OP_FILL, START, 64 * BLOCK, 0, 10), -ENOSPC);
	ck_assert_uint_le(named.room, 16);		/* it was given up early */
}
END_TEST

/* The same block at every address: the list stays short. */
START_TEST(a_block_mapped_often_takes_one_entry)
{
	for (u64 i = 0; i < 60; i++)
		map(0, START + i * BLOCK, BLOCK, 0, RW);
	ck_assert_int_eq(collect(DMO_OP_FILL, START, 60 * BLOCK, 0, 512), 0);
	ck_assert_uint_eq(named.count, 1);
	check(0, 0, 0, 0, 511, true);
	ck_assert_uint_le(named.room, 8);
}
END_TEST

START_TEST(no_memory_leaves_nothing_behind)
{
	u64 blocks, n;

	map(0, START, 64 * BLOCK, 0, RW);
	blocks = tm.blocks;
	for (n = 1;; n++) {
		int err;

		testmem_fail(&tm, n);
		err = collect(DMO_OP_FILL, START, 64 * BLOCK, 0, MANY);
		if (!testmem_failed(&tm))
			break;
		ck_assert_int_eq(err, -ENOMEM);
		ck_assert_uint_eq(named.count, 0);
		dmo_named_fini(&named);
		ck_assert_uint_eq(tm.blocks, blocks);
	}
	ck_assert_uint_gt(n, 3);
	ck_assert_uint_eq(named.count, 64);
}
END_TEST

/* Random pages of three objects all over the space; the list must name exactly their blocks. */
START_TEST(random_commands_name_the_blocks_of_their_pages)
{
	enum { PAGES = 4096, BLOCKS = 40 };
	static struct { u64 object, index; } model[PAGES];
	u64 state = 5;

	for (u64 i = 0; i < PAGES; i++) {
		model[i].object = test_below(&state, 3);
		model[i].index = test_below(&state, BLOCKS);
		map(model[i].object, START + i * PAGE, PAGE, model[i].index * BLOCK + i % 512 * PAGE, RW);
	}
	for (int round = 0; round < 300; round++) {
		static bool want[3][BLOCKS];
		u64 first = test_below(&state, PAGES), n = 1 + test_below(&state, PAGES - first), count = 0;

		memset(want, 0, sizeof(want));
		for (u64 i = first; i < first + n; i++)
			want[model[i].object][model[i].index] = true;
		for (int i = 0; i < 3 * BLOCKS; i++)
			count += want[i / BLOCKS][i % BLOCKS];
		ck_assert_int_eq(collect(DMO_OP_FILL, START + first * PAGE, n * PAGE, 0, MANY), 0);
		ck_assert_uint_eq(named.count, count);
		for (u32 i = 0; i < named.count; i++)
			ck_assert(want[(struct dmo_itree *)named.blocks[i].object - rmaps][named.blocks[i].index]);
	}
}
END_TEST

int main(void)
{
	TCase *c = tcase_create("command");
	Suite *s = suite_create("command");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, a_range_is_cut_at_blocks);
	tcase_add_test(c, blocks_are_those_of_the_object_not_of_the_addresses);
	tcase_add_test(c, a_command_without_ranges_names_nothing);
	tcase_add_test(c, a_block_named_twice_is_one_and_written_if_once_written);
	tcase_add_test(c, blocks_come_in_one_order_however_they_are_mapped);
	tcase_add_test(c, what_is_not_mapped_or_not_permitted_is_refused);
	tcase_add_test(c, more_pages_than_the_limit_are_refused);
	tcase_add_test(c, a_block_mapped_often_takes_one_entry);
	tcase_add_test(c, no_memory_leaves_nothing_behind);
	tcase_add_test(c, random_commands_name_the_blocks_of_their_pages);
	suite_add_tcase(s, c);
	return test_run(s);
}
