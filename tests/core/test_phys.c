// SPDX-License-Identifier: GPL-2.0-or-later
/* test_phys.c - the buddy allocator against an array of pages */
#include "core/phys.h"

#include <signal.h>

#include "testmem.h"

#define PAGES_MAX 3000

static struct testmem tm;
static struct dmo_phys phys;

/* For each page: 0 free, else 1 + the order of the chunk that it is in. */
static u8 model[PAGES_MAX];

static void setup(void)
{
	testmem_init(&tm);
}

static void start(u64 pages)
{
	memset(model, 0, sizeof(model));
	ck_assert_int_eq(dmo_phys_init(&phys, &tm.mem, pages), 0);
}

static void finish(void)
{
	dmo_phys_fini(&phys);
	ck_assert_uint_eq(tm.blocks, 0);
}

static bool model_free(u64 frame, u64 n)
{
	for (u64 i = frame; i < frame + n; i++)
		if (model[i])
			return false;
	return true;
}

static int model_largest(u64 pages)
{
	for (int o = DMO_PHYS_ORDER_MAX; o >= 0; o--)
		for (u64 f = 0; f + (1ull << o) <= pages; f += 1ull << o)
			if (model_free(f, 1ull << o))
				return o;
	return -1;
}

static u64 model_count_free(u64 pages)
{
	u64 n = 0;

	for (u64 f = 0; f < pages; f++)
		n += !model[f];
	return n;
}

static void check_counts(u64 pages)
{
	ck_assert_uint_eq(dmo_phys_free_pages(&phys), model_count_free(pages));
	ck_assert_int_eq(dmo_phys_largest(&phys), model_largest(pages));
}

static void try_alloc(u64 pages, unsigned order)
{
	int largest = dmo_phys_largest(&phys);
	u32 f = ~0u;

	if ((int)order > largest) {
		ck_assert_int_eq(dmo_phys_alloc(&phys, order, &f), -ENOMEM);
		ck_assert_uint_eq(f, ~0u);
		return;
	}
	ck_assert_int_eq(dmo_phys_alloc(&phys, order, &f), 0);
	ck_assert_uint_eq(f & ((1u << order) - 1), 0);
	ck_assert(f + (1ull << order) <= pages && model_free(f, 1ull << order));
	memset(model + f, 1 + (int)order, 1ull << order);
}

static void free_chunk_at(u64 page)
{
	unsigned order = model[page] - 1u;
	u32 f = page >> order << order;

	dmo_phys_free(&phys, f, order);
	memset(model + f, 0, 1ull << order);
}

/* Asks about every chunk that could be named; only the allocated ones may say yes. */
static void check_allocated(u64 pages)
{
	for (unsigned o = 0; o <= DMO_PHYS_ORDER_MAX + 1; o++)
		for (u64 f = 0; f < pages; f++)
			ck_assert_int_eq(dmo_phys_is_allocated(&phys, f, o),
					 o <= DMO_PHYS_ORDER_MAX && model[f] == 1 + o && !(f & ((1u << o) - 1)));
}

START_TEST(random_chunks_agree_with_an_array)
{
	static const u64 sizes[] = { 1, 2, 3, 5, 64, 100, 127, 128, 129, 1000, 1024, 2999 };
	u64 pages = sizes[_i], seed = 10 + (u64)_i;

	start(pages);
	for (int round = 0; round < 3000; round++) {
		u64 page = test_below(&seed, pages);

		if (model[page])
			free_chunk_at(page);
		else
			try_alloc(pages, test_below(&seed, test_below(&seed, 8) ? 4 : 13));
		if (pages < 130 || round % 16 == 0)
			check_counts(pages);
		if (round % 500 == 0)
			check_allocated(pages);
	}
	for (u64 page = 0; page < pages; page++)
		if (model[page])
			free_chunk_at(page);
	check_counts(pages);
	finish();
}
END_TEST

START_TEST(every_page_of_any_size_can_be_had_and_joins_again)
{
	static u32 frames[PAGES_MAX];

	for (u64 pages = 1; pages < 700; pages++) {
		u64 n = 0;

		start(pages);
		while (!dmo_phys_alloc(&phys, 0, &frames[n])) {
			ck_assert_uint_eq(model[frames[n]]++, 0);
			n++;
		}
		ck_assert_uint_eq(n, pages);
		ck_assert_int_eq(dmo_phys_largest(&phys), -1);
		while (n--)
			dmo_phys_free(&phys, frames[n], 0);
		memset(model, 0, sizeof(model));
		check_counts(pages);
		finish();
	}
}
END_TEST

START_TEST(splitting_makes_chunks_that_are_freed_by_themselves)
{
	u32 f;

	start(1024);
	ck_assert_int_eq(dmo_phys_alloc(&phys, 9, &f), 0);
	dmo_phys_split(&phys, f, 9, 9);
	ck_assert(dmo_phys_is_allocated(&phys, f, 9));
	dmo_phys_split(&phys, f, 9, 3);
	ck_assert(!dmo_phys_is_allocated(&phys, f, 9));
	for (u32 i = 0; i < 512; i += 8) {
		ck_assert(dmo_phys_is_allocated(&phys, f + i, 3));
		dmo_phys_free(&phys, f + i, 3);
	}
	ck_assert_int_eq(dmo_phys_largest(&phys), 10);
	finish();
}
END_TEST

START_TEST(gigabyte_chunks_and_a_tail_beyond_them)
{
	u64 pages = (3ull << DMO_PHYS_ORDER_MAX) + 12345;
	u32 f, frames[3];

	start(pages);
	ck_assert_int_eq(dmo_phys_largest(&phys), DMO_PHYS_ORDER_MAX);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(dmo_phys_alloc(&phys, DMO_PHYS_ORDER_MAX, &frames[i]), 0);
	ck_assert_int_eq(dmo_phys_alloc(&phys, DMO_PHYS_ORDER_MAX, &f), -ENOMEM);
	ck_assert_uint_eq(dmo_phys_free_pages(&phys), 12345);
	ck_assert_int_eq(dmo_phys_largest(&phys), 13);
	for (int i = 0; i < 3; i++)
		dmo_phys_free(&phys, frames[i], DMO_PHYS_ORDER_MAX);
	ck_assert_uint_eq(dmo_phys_free_pages(&phys), pages);
	finish();
}
END_TEST

START_TEST(metadata_stays_below_three_tenths_of_a_byte_a_page)
{
	static const u64 pages[] = { 8192, 65536, 1u << 20, (1u << 20) + 1, 12345678, 1u << 26 };

	for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		start(pages[i]);
		ck_assert_uint_eq(dmo_phys_metadata(&phys), tm.bytes + sizeof(phys));
		ck_assert_uint_le(tm.bytes * 10, pages[i] * 3);
		finish();
	}
}
END_TEST

START_TEST(impossible_arguments_are_refused)
{
	u32 f = 77;

	ck_assert_int_eq(dmo_phys_init(&phys, &tm.mem, 0), -EINVAL);
	ck_assert_int_eq(dmo_phys_init(&phys, &tm.mem, 1ull << 32), -EINVAL);
	ck_assert_int_eq(dmo_phys_init(&phys, &tm.mem, ~0ull), -EINVAL);
	ck_assert_uint_eq(tm.blocks, 0);
	start(100);
	ck_assert_int_eq(dmo_phys_alloc(&phys, DMO_PHYS_ORDER_MAX + 1, &f), -EINVAL);
	ck_assert_int_eq(dmo_phys_alloc(&phys, ~0u, &f), -EINVAL);
	ck_assert_int_eq(dmo_phys_alloc(&phys, DMO_PHYS_ORDER_MAX, &f), -ENOMEM);
	ck_assert_uint_eq(f, 77);
	finish();
}
END_TEST

START_TEST(no_memory_for_the_metadata)
{
	testmem_fail(&tm, 1);
	ck_assert_int_eq(dmo_phys_init(&phys, &tm.mem, 100), -ENOMEM);
	ck_assert_uint_eq(tm.blocks, 0);
}
END_TEST

/* Frees that must be caught: a chunk of order 3 at frame 8 is allocated, of 100 pages. */
static const struct { u32 frame; unsigned order; } wrong[] = {
	{ 0, 0 }, { 8, 2 }, { 8, 4 }, { 12, 2 }, { 9, 0 }, { 9, 3 }, { 16, 3 }, { 0, 3 }, { 96, 3 }, { 100, 0 },
	{ ~0u, 0 }, { 8, 19 }, { 8, ~0u }, { 0, 18 }, { 8, 32 },
};

START_TEST(a_wrong_free_is_caught)
{
	u32 f, n = 0, frames[16];

	start(100);
	while (!dmo_phys_alloc(&phys, 3, &f))
		if (f != 8)
			frames[n++] = f;
	while (n)
		dmo_phys_free(&phys, frames[--n], 3);
	ck_assert_uint_eq(dmo_phys_free_pages(&phys), 92);
	dmo_phys_free(&phys, wrong[_i].frame, wrong[_i].order);
}
END_TEST

START_TEST(a_second_free_is_caught)
{
	u32 f;

	start(100);
	ck_assert_int_eq(dmo_phys_alloc(&phys, 2, &f), 0);
	dmo_phys_free(&phys, f, 2);
	dmo_phys_free(&phys, f, 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("phys");
	TCase *tc = tcase_create("phys");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, random_chunks_agree_with_an_array, 0, 12);
	tcase_add_test(tc, every_page_of_any_size_can_be_had_and_joins_again);
	tcase_add_test(tc, splitting_makes_chunks_that_are_freed_by_themselves);
	tcase_add_test(tc, gigabyte_chunks_and_a_tail_beyond_them);
	tcase_add_test(tc, metadata_stays_below_three_tenths_of_a_byte_a_page);
	tcase_add_test(tc, impossible_arguments_are_refused);
	tcase_add_test(tc, no_memory_for_the_metadata);
	tcase_add_loop_test_raise_signal(tc, a_wrong_free_is_caught, SIGABRT, 0, sizeof(wrong) / sizeof(wrong[0]));
	tcase_add_test_raise_signal(tc, a_second_free_is_caught, SIGABRT);
	suite_add_tcase(s, tc);
	return test_run(s);
}
