// SPDX-License-Identifier: GPL-2.0-or-later
/* test_bits.c - bitmaps of a block's pages against an array of bool */
#include "core/bits.h"

#include "testmem.h"

static void as_bools(const u64 *b, bool *out)
{
	for (unsigned i = 0; i < DMO_BITS; i++)
		out[i] = b[i / 64] >> (i % 64) & 1;
}

static unsigned count_bools(const bool *m, unsigned first, unsigned count)
{
	unsigned n = 0;

	for (unsigned i = first; i < first + count; i++)
		n += m[i];
	return n;
}

static unsigned next_bool(const bool *m, unsigned from, bool value)
{
	while (from < DMO_BITS && m[from] != value)
		from++;
	return from;
}

static void check_range(const u64 *b, const bool *m, unsigned first, unsigned count)
{
	unsigned n = count_bools(m, first, count);

	ck_assert_uint_eq(dmo_bits_count_in(b, first, count), n);
	ck_assert_int_eq(dmo_bits_all(b, first, count), n == count);
	ck_assert_int_eq(dmo_bits_any_in(b, first, count), n != 0);
}

START_TEST(random_ranges_agree_with_an_array)
{
	u64 b[DMO_BITS_WORDS] = { 0 }, seed = 1;
	bool m[DMO_BITS] = { false }, seen[DMO_BITS];

	for (int round = 0; round < 20000; round++) {
		unsigned first = test_below(&seed, DMO_BITS + 1), count = test_below(&seed, DMO_BITS - first + 1);
		bool value = test_random(&seed) & 1;

		if (test_random(&seed) & 2)
			count = count < 9 ? count : count % 9;
		(value ? dmo_bits_set : dmo_bits_clear)(b, first, count);
		memset(m + first, value, count);
		as_bools(b, seen);
		ck_assert_int_eq(memcmp(m, seen, sizeof(m)), 0);
		first = test_below(&seed, DMO_BITS + 1);
		check_range(b, m, first, test_below(&seed, DMO_BITS - first + 1));
		ck_assert_uint_eq(dmo_bits_next_set(b, first), next_bool(m, first, true));
		ck_assert_uint_eq(dmo_bits_next_zero(b, first), next_bool(m, first, false));
		ck_assert_uint_eq(dmo_bits_count(b), count_bools(m, 0, DMO_BITS));
		ck_assert_int_eq(dmo_bits_any(b), count_bools(m, 0, DMO_BITS) != 0);
	}
}
END_TEST

START_TEST(runs_cover_exactly_the_bits_of_that_value)
{
	u64 b[DMO_BITS_WORDS] = { 0 }, again[DMO_BITS_WORDS] = { 0 }, seed = 2;
	unsigned i, n;

	for (int k = 0; k < 40; k++)
		dmo_bits_set(b, test_below(&seed, 500), test_below(&seed, 12));
	for (i = 0; (n = dmo_bits_run(b, i, DMO_BITS, true, &i)); i += n) {
		ck_assert(dmo_bits_all(b, i, n));
		dmo_bits_set(again, i, n);
	}
	ck_assert(dmo_bits_equal(b, again));
	for (i = 0; (n = dmo_bits_run(b, i, DMO_BITS, false, &i)); i += n) {
		ck_assert(!dmo_bits_any_in(b, i, n));
		dmo_bits_set(again, i, n);
	}
	ck_assert_uint_eq(dmo_bits_count(again), DMO_BITS);
}
END_TEST

START_TEST(a_run_stops_at_the_end_asked_for)
{
	u64 b[DMO_BITS_WORDS];
	unsigned first = 0;

	memset(b, 0xff, sizeof(b));
	ck_assert_uint_eq(dmo_bits_run(b, 100, 130, true, &first), 30);
	ck_assert_uint_eq(first, 100);
	ck_assert_uint_eq(dmo_bits_run(b, 130, 130, true, &first), 0);
	ck_assert_uint_eq(dmo_bits_run(b, 0, DMO_BITS, false, &first), 0);
	ck_assert_uint_eq(dmo_bits_run(b, 0, DMO_BITS, true, &first), DMO_BITS);
}
END_TEST

START_TEST(edges_empty_full_and_word_borders)
{
	u64 b[DMO_BITS_WORDS] = { 0 };

	dmo_bits_set(b, 0, 0);
	dmo_bits_set(b, DMO_BITS, 0);
	ck_assert(!dmo_bits_any(b));
	ck_assert(dmo_bits_all(b, 17, 0));
	dmo_bits_set(b, 63, 2);
	ck_assert(b[0] == 1ull << 63 && b[1] == 1);
	dmo_bits_set(b, 0, DMO_BITS);
	ck_assert_uint_eq(dmo_bits_count(b), DMO_BITS);
	ck_assert_uint_eq(dmo_bits_next_zero(b, 0), DMO_BITS);
	ck_assert_uint_eq(dmo_bits_next_set(b, DMO_BITS), DMO_BITS);
	dmo_bits_clear(b, 511, 1);
	ck_assert_uint_eq(dmo_bits_next_zero(b, 0), 511);
	ck_assert(!dmo_bits_test(b, 511) && dmo_bits_test(b, 510));
	dmo_bits_zero(b);
	ck_assert(!dmo_bits_any(b));
}
END_TEST

START_TEST(operations_on_whole_maps)
{
	u64 a[DMO_BITS_WORDS], b[DMO_BITS_WORDS], c[DMO_BITS_WORDS], seed = 3;

	for (unsigned w = 0; w < DMO_BITS_WORDS; w++) {
		a[w] = test_random(&seed);
		b[w] = test_random(&seed);
	}
	dmo_bits_or(c, a, b);
	ck_assert(c[3] == (a[3] | b[3]));
	dmo_bits_and(c, a, b);
	ck_assert(c[4] == (a[4] & b[4]));
	dmo_bits_andnot(c, a, b);
	ck_assert(c[7] == (a[7] & ~b[7]));
	ck_assert(!dmo_bits_equal(a, c));
	dmo_bits_copy(c, a);
	ck_assert(dmo_bits_equal(a, c));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bits");
	TCase *tc = tcase_create("bits");

	tcase_add_test(tc, random_ranges_agree_with_an_array);
	tcase_add_test(tc, runs_cover_exactly_the_bits_of_that_value);
	tcase_add_test(tc, a_run_stops_at_the_end_asked_for);
	tcase_add_test(tc, edges_empty_full_and_word_borders);
	tcase_add_test(tc, operations_on_whole_maps);
	suite_add_tcase(s, tc);
	return test_run(s);
}
