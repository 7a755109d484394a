// SPDX-License-Identifier: GPL-2.0-or-later
/* test_radix.c - the sparse table against a plain list */
#include "core/radix.h"

#include <signal.h>

#include "testmem.h"

#define LIMIT	(1ull << 54)
#define ENTRIES	300
#define STEPS	10000

static struct testmem tm;
static struct dmo_radix radix;

/* The plain list: indices in no order, and what stands there. */
static struct {
	u64 index;
	void *p;
} list[ENTRIES];
static unsigned listed;

static void setup(void)
{
	testmem_init(&tm);
	memset(&radix, 0, sizeof(radix));
	listed = 0;
}

static int put(u64 index)
{
	return dmo_radix_insert(&radix, &tm.mem, index, &list[index % ENTRIES]);
}

static int list_find(u64 index)
{
	for (unsigned i = 0; i < listed; i++)
		if (list[i].index == index)
			return (int)i;
	return -1;
}

static int list_next(u64 from)
{
	int best = -1;

	for (unsigned i = 0; i < listed; i++)
		if (list[i].index >= from && (best < 0 || list[i].index < list[best].index))
			best = (int)i;
	return best;
}

/* Indices of all heights, close together and far apart, edges of nodes among them. */
static u64 any_index(u64 *seed)
{
	u64 base = 1ull << test_below(seed, 54);

	switch (test_below(seed, 4)) {
	case 0:
		return test_below(seed, 700);
	case 1:
		return base - test_below(seed, 2);
	case 2:
		return (base + test_below(seed, 1100)) % LIMIT;
	default:
		return test_below(seed, LIMIT);
	}
}

static void check_same(u64 index)
{
	int at = list_find(index);
	u64 i = index;
	void *p = dmo_radix_next(&radix, &i);
	int next = list_next(index);

	ck_assert_ptr_eq(dmo_radix_get(&radix, index), at < 0 ? NULL : list[at].p);
	ck_assert_ptr_eq(p, next < 0 ? NULL : list[next].p);
	if (next >= 0)
		ck_assert_uint_eq(i, list[next].index);
}

static void insert_one(u64 *seed, u64 index)
{
	void *p = (void *)(uintptr_t)(8 + 8 * test_below(seed, 1000));
	bool fail = !test_below(seed, 3);
	int err;

	testmem_fail(&tm, fail ? 1 + test_below(seed, 7) : 0);
	err = dmo_radix_insert(&radix, &tm.mem, index, p);
	if (testmem_failed(&tm)) {
		ck_assert_int_eq(err, -ENOMEM);
		return;
	}
	ck_assert_int_eq(err, 0);
	list[listed].index = index;
	list[listed++].p = p;
}

static void remove_one(unsigned at)
{
	ck_assert_ptr_eq(dmo_radix_remove(&radix, &tm.mem, list[at].index), list[at].p);
	list[at] = list[--listed];
}

START_TEST(random_operations_and_failures_agree_with_a_list)
{
	u64 seed = 100 + _i;

	for (unsigned i = 0; i < STEPS; i++) {
		u64 index = any_index(&seed);

		if (listed && (listed == ENTRIES || test_below(&seed, 2)))
			remove_one(test_below(&seed, listed));
		else if (list_find(index) < 0)
			insert_one(&seed, index);
		check_same(index);
		if (!listed)
			ck_assert_uint_eq(tm.blocks, 0);
	}
	while (listed)
		remove_one(0);
	ck_assert_uint_eq(tm.blocks, 0);
}
END_TEST

START_TEST(the_last_index_is_2_to_54_minus_1)
{
	ck_assert_int_eq(put(LIMIT - 1), 0);
	ck_assert_int_eq(put(LIMIT), -EFBIG);
	ck_assert_int_eq(put(~0ull), -EFBIG);
	ck_assert_ptr_nonnull(dmo_radix_get(&radix, LIMIT - 1));
	ck_assert_ptr_null(dmo_radix_get(&radix, LIMIT));
	ck_assert_ptr_null(dmo_radix_get(&radix, ~0ull));
	ck_assert_ptr_nonnull(dmo_radix_remove(&radix, &tm.mem, LIMIT - 1));
	ck_assert_uint_eq(tm.blocks, 0);
}
END_TEST

START_TEST(next_finds_nothing_past_the_last_entry)
{
	u64 i = LIMIT - 1;

	ck_assert_int_eq(put(LIMIT - 2), 0);
	ck_assert_ptr_null(dmo_radix_next(&radix, &i));
	i = ~0ull;
	ck_assert_ptr_null(dmo_radix_next(&radix, &i));
	i = 0;
	ck_assert_ptr_nonnull(dmo_radix_next(&radix, &i));
	ck_assert_uint_eq(i, LIMIT - 2);
	dmo_radix_remove(&radix, &tm.mem, LIMIT - 2);
}
END_TEST

START_TEST(removing_what_is_not_there_gives_nothing)
{
	ck_assert_ptr_null(dmo_radix_remove(&radix, &tm.mem, 5));
	ck_assert_int_eq(put(5), 0);
	ck_assert_ptr_null(dmo_radix_remove(&radix, &tm.mem, 6));
	ck_assert_ptr_null(dmo_radix_remove(&radix, &tm.mem, 1ull << 40));
	ck_assert_ptr_nonnull(dmo_radix_remove(&radix, &tm.mem, 5));
	ck_assert_uint_eq(tm.blocks, 0);
}
END_TEST

START_TEST(each_failed_allocation_of_an_insert_leaves_the_table_as_it_was)
{
	u64 memory;

	ck_assert_int_eq(put(3), 0);
	for (u64 n = 1;; n++) {
		int err;

		memory = tm.blocks;
		testmem_fail(&tm, n);
		err = put(1ull << 50);
		if (!testmem_failed(&tm))
			break;
		ck_assert_int_eq(err, -ENOMEM);
		ck_assert_ptr_nonnull(dmo_radix_get(&radix, 3));
		ck_assert_ptr_null(dmo_radix_get(&radix, 1ull << 50));
		ck_assert_uint_ge(tm.blocks, memory);
	}
	ck_assert_ptr_nonnull(dmo_radix_get(&radix, 1ull << 50));
	dmo_radix_remove(&radix, &tm.mem, 1ull << 50);
	dmo_radix_remove(&radix, &tm.mem, 3);
	ck_assert_uint_eq(tm.blocks, 0);
}
END_TEST

START_TEST(inserting_over_an_entry_is_a_bug)
{
	put(3);
	put(3);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("radix");
	TCase *t = tcase_create("radix");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_loop_test(t, random_operations_and_failures_agree_with_a_list, 0, 4);
	tcase_add_test(t, the_last_index_is_2_to_54_minus_1);
	tcase_add_test(t, next_finds_nothing_past_the_last_entry);
	tcase_add_test(t, removing_what_is_not_there_gives_nothing);
	tcase_add_test(t, each_failed_allocation_of_an_insert_leaves_the_table_as_it_was);
	tcase_add_test_raise_signal(t, inserting_over_an_entry_is_a_bug, SIGABRT);
	suite_add_tcase(s, t);
	return test_run(s);
}
