// SPDX-License-Identifier: GPL-2.0-or-later
/* test_rows.c - rows of page bits: what they read as, and when they are stored */
#include "core/rows.h"

#include <signal.h>

#include "testmem.h"

#define ROWS	5u
#define ONES	(1u << 1 | 1u << 4)

static struct testmem tm;
static struct dmo_rows rows;

static void setup(void)
{
	testmem_init(&tm);
	dmo_rows_init(&rows, ROWS, ONES);
}

static void teardown(void)
{
	dmo_rows_fini(&rows, &tm.mem);
	ck_assert_uint_eq(tm.blocks, 0);
}

static bool uniform(unsigned row, bool value)
{
	const u64 *bits = dmo_rows_get(&rows, row);

	return value ? dmo_bits_all(bits, 0, DMO_BITS) : !dmo_bits_any(bits);
}

static void check_initial(void)
{
	for (unsigned r = 0; r < ROWS; r++)
		ck_assert(uniform(r, ONES >> r & 1));
}

START_TEST(rows_begin_uniform_and_take_no_memory)
{
	check_initial();
	ck_assert_uint_eq(dmo_rows_bytes(&rows), 0);
	ck_assert_uint_eq(tm.blocks, 0);
}
END_TEST

START_TEST(opening_changes_no_bit)
{
	ck_assert_int_eq(dmo_rows_open(&rows, &tm.mem), 0);
	check_initial();
	ck_assert_uint_eq(tm.bytes, dmo_rows_bytes(&rows));
}
END_TEST

START_TEST(opening_twice_is_harmless)
{
	ck_assert_int_eq(dmo_rows_open(&rows, &tm.mem), 0);
	dmo_bits_set(dmo_rows_row(&rows, 0), 7, 3);
	ck_assert_int_eq(dmo_rows_open(&rows, &tm.mem), 0);
	ck_assert_uint_eq(tm.blocks, 1);
	ck_assert_uint_eq(dmo_bits_count(dmo_rows_get(&rows, 0)), 3);
}
END_TEST

START_TEST(a_failed_open_changes_nothing)
{
	testmem_fail(&tm, 1);
	ck_assert_int_eq(dmo_rows_open(&rows, &tm.mem), -ENOMEM);
	ck_assert(testmem_failed(&tm));
	check_initial();
	ck_assert_int_eq(dmo_rows_open(&rows, &tm.mem), 0);
}
END_TEST

START_TEST(closing_gives_uniform_rows_back)
{
	ck_assert_int_eq(dmo_rows_open(&rows, &tm.mem), 0);
	dmo_bits_set(dmo_rows_row(&rows, 0), 0, DMO_BITS);
	dmo_bits_zero(dmo_rows_row(&rows, 1));
	dmo_rows_close(&rows, &tm.mem);
	ck_assert_uint_eq(tm.blocks, 0);
	ck_assert(uniform(0, true) && uniform(1, false) && uniform(2, false) && uniform(3, false));
	ck_assert(uniform(4, true));
}
END_TEST

START_TEST(closing_keeps_all_rows_where_one_bit_differs)
{
	unsigned page = _i * 73 % DMO_BITS;

	ck_assert_int_eq(dmo_rows_open(&rows, &tm.mem), 0);
	dmo_bits_set(dmo_rows_row(&rows, 2), page, 1);
	dmo_rows_close(&rows, &tm.mem);
	ck_assert_uint_eq(tm.blocks, 1);
	ck_assert(dmo_bits_test(dmo_rows_get(&rows, 2), page));
	ck_assert_uint_eq(dmo_bits_count(dmo_rows_get(&rows, 2)), 1);
	ck_assert(uniform(1, true) && uniform(3, false));
}
END_TEST

START_TEST(closing_what_is_closed_is_harmless)
{
	dmo_rows_close(&rows, &tm.mem);
	check_initial();
}
END_TEST

START_TEST(a_row_that_became_uniform_again_is_given_back)
{
	ck_assert_int_eq(dmo_rows_open(&rows, &tm.mem), 0);
	dmo_bits_set(dmo_rows_row(&rows, 3), 100, 1);
	dmo_rows_close(&rows, &tm.mem);
	ck_assert_int_eq(dmo_rows_open(&rows, &tm.mem), 0);
	dmo_bits_clear(dmo_rows_row(&rows, 3), 100, 1);
	dmo_rows_close(&rows, &tm.mem);
	ck_assert_uint_eq(tm.blocks, 0);
	check_initial();
}
END_TEST

START_TEST(writing_a_closed_row_is_a_bug)
{
	dmo_rows_row(&rows, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rows");
	TCase *t = tcase_create("rows");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, rows_begin_uniform_and_take_no_memory);
	tcase_add_test(t, opening_changes_no_bit);
	tcase_add_test(t, opening_twice_is_harmless);
	tcase_add_test(t, a_failed_open_changes_nothing);
	tcase_add_test(t, closing_gives_uniform_rows_back);
	tcase_add_loop_test(t, closing_keeps_all_rows_where_one_bit_differs, 0, 8);
	tcase_add_test(t, closing_what_is_closed_is_harmless);
	tcase_add_test(t, a_row_that_became_uniform_again_is_given_back);
	tcase_add_test_raise_signal(t, writing_a_closed_row_is_a_bug, SIGABRT);
	suite_add_tcase(s, t);
	return test_run(s);
}
