// SPDX-License-Identifier: GPL-2.0-or-later
/* test_attr.c - advice on ranges against an array of pages, whose last stands for all beyond it */
#include "core/attr.h"

#include "testmem.h"

#define PAGES 64

static struct testmem tm;
static struct dmo_attrs attrs;
static struct dmo_attr model[PAGES];
static const struct dmo_attr none = DMO_ATTR_NONE;

static void setup(void)
{
	testmem_init(&tm);
	dmo_attrs_init(&attrs);
	for (int i = 0; i < PAGES; i++)
		model[i] = none;
}

static void teardown(void)
{
	dmo_attrs_fini(&attrs, &tm.mem);
	ck_assert_uint_eq(tm.blocks, 0);
}

/* The last page of the run of equal values that begins at i. */
static u64 model_run(unsigned i)
{
	unsigned last = i;

	while (last + 1 < PAGES && dmo_attr_equal(&model[last + 1], &model[i]))
		last++;
	return last + 1 == PAGES ? DMO_PAGE_OPEN : last;
}

static void check_ranges(void)
{
	struct dmo_attr_range *before = NULL;

	for (struct dmo_attr_range *r = dmo_attrs_first(&attrs); r; before = r, r = dmo_attrs_next(r)) {
		ck_assert(r->node.start <= r->node.last && !dmo_attr_is_none(&r->value));
		if (!before)
			continue;
		ck_assert(before->node.last < r->node.start);
		ck_assert(before->node.last + 1 < r->node.start || !dmo_attr_equal(&before->value, &r->value));
	}
	ck_assert_uint_eq(tm.blocks, dmo_attrs_count(&attrs));
}

static void check_model(void)
{
	struct dmo_attr v;
	u64 last;

	check_ranges();
	for (unsigned i = 0; i < PAGES; i++) {
		dmo_attrs_get(&attrs, i, &v, &last);
		ck_assert(dmo_attr_equal(&v, &model[i]));
		ck_assert_uint_eq(last, model_run(i));
	}
	dmo_attrs_get(&attrs, DMO_PAGE_MAX, &v, NULL);
	ck_assert(dmo_attr_equal(&v, &model[PAGES - 1]));
}

static struct dmo_advise random_advice(u64 *seed)
{
	struct dmo_advise a = { .device = test_below(seed, 3) };

	do
		a.advice = test_below(seed, DMO_ADV_COUNT);
	while (!dmo_advice_is_stored(a.advice));
	if (a.advice == DMO_ADV_GRANULARITY)
		a.value = test_below(seed, 2) ? 12 + test_below(seed, 3) : 0;
	if (a.advice == DMO_ADV_DEVICE_BITS)
		a.value = test_below(seed, 3);
	return a;
}

static void random_range(u64 *seed, u64 *first, u64 *last)
{
	*first = test_below(seed, PAGES);
	*last = *first + test_below(seed, test_below(seed, 2) ? PAGES - *first : 1 + (PAGES - *first) / 8);
	if (*last == PAGES - 1)
		*last = DMO_PAGE_OPEN;
}

static void model_advise(u64 first, u64 last, const struct dmo_advise *a)
{
	for (u64 i = first; i < PAGES && i <= last; i++)
		ck_assert_int_eq(dmo_attr_apply(&model[i], a), 0);
}

START_TEST(random_advice_agrees_with_an_array)
{
	u64 seed = (u64)_i, first, last;

	for (int round = 0; round < 5000; round++) {
		struct dmo_advise a = random_advice(&seed);

		random_range(&seed, &first, &last);
		ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, first, last, &a), 0);
		model_advise(first, last, &a);
		check_model();
	}
}
END_TEST

START_TEST(every_allocation_failed_leaves_everything_as_it_was)
{
	u64 seed = 7, first, last, failures = 0;

	for (int round = 0; round < 2000; round++) {
		struct dmo_advise a = random_advice(&seed);

		random_range(&seed, &first, &last);
		for (u64 n = 1; ; n++) {
			u64 gen = attrs.gen;
			int err;

			testmem_fail(&tm, n);
			err = dmo_attrs_advise(&attrs, &tm.mem, first, last, &a);
			if (!testmem_failed(&tm)) {
				ck_assert_int_eq(err, 0);
				break;
			}
			ck_assert_int_eq(err, -ENOMEM);
			ck_assert_uint_eq(attrs.gen, gen);
			check_model();
			failures++;
		}
		model_advise(first, last, &a);
		check_model();
	}
	ck_assert_uint_gt(failures, 500);
}
END_TEST

START_TEST(truncate_forgets_what_lies_beyond_but_open_ended_ranges)
{
	u64 seed = 8, first, last;

	for (int round = 0; round < 5000; round++) {
		struct dmo_advise a = random_advice(&seed);
		u64 pages = test_below(&seed, PAGES), open = PAGES;

		random_range(&seed, &first, &last);
		ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, first, last, &a), 0);
		model_advise(first, last, &a);
		if (round % 3)
			continue;
		while (open && dmo_attr_equal(&model[open - 1], &model[PAGES - 1]))
			open--;
		for (u64 i = pages; i < open; i++)
			model[i] = none;
		dmo_attrs_truncate(&attrs, &tm.mem, pages);
		check_model();
	}
}
END_TEST

START_TEST(clearing_a_range_makes_a_hole)
{
	struct dmo_advise cold = { .advice = DMO_ADV_COLD };

	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 0, DMO_PAGE_OPEN, &cold), 0);
	model_advise(0, DMO_PAGE_OPEN, &cold);
	testmem_fail(&tm, 1);
	ck_assert_int_eq(dmo_attrs_clear(&attrs, &tm.mem, 10, 19), -ENOMEM);
	check_model();
	testmem_fail(&tm, 0);
	ck_assert_int_eq(dmo_attrs_clear(&attrs, &tm.mem, 10, 19), 0);
	for (int i = 10; i < 20; i++)
		model[i] = none;
	check_model();
	ck_assert_int_eq(dmo_attrs_clear(&attrs, &tm.mem, 0, DMO_PAGE_OPEN), 0);
	ck_assert_uint_eq(dmo_attrs_count(&attrs), 0);
}
END_TEST

static const struct { struct dmo_advise does, undoes; } opposites[] = {
	{ { .advice = DMO_ADV_SEQUENTIAL }, { .advice = DMO_ADV_NORMAL } },
	{ { .advice = DMO_ADV_RANDOM }, { .advice = DMO_ADV_NORMAL } },
	{ { .advice = DMO_ADV_COLD }, { .advice = DMO_ADV_NORMAL } },
	{ { .advice = DMO_ADV_READ_MOSTLY }, { .advice = DMO_ADV_NO_READ_MOSTLY } },
	{ { .advice = DMO_ADV_PREFERRED, .device = 1 }, { .advice = DMO_ADV_NO_PREFERRED } },
	{ { .advice = DMO_ADV_PREFERRED, .device = DMO_DEVICE_HOST }, { .advice = DMO_ADV_NO_PREFERRED } },
	{ { .advice = DMO_ADV_ACCESSED_BY, .device = 63 }, { .advice = DMO_ADV_NO_ACCESSED_BY, .device = 63 } },
	{ { .advice = DMO_ADV_ACCESSED_BY, .device = DMO_DEVICE_ANY },
	  { .advice = DMO_ADV_NO_ACCESSED_BY, .device = DMO_DEVICE_ANY } },
	{ { .advice = DMO_ADV_NO_MIGRATE }, { .advice = DMO_ADV_MIGRATE } },
	{ { .advice = DMO_ADV_GRANULARITY, .value = 21 }, { .advice = DMO_ADV_GRANULARITY } },
	{ { .advice = DMO_ADV_DEVICE_BITS, .value = ~0ull }, { .advice = DMO_ADV_DEVICE_BITS } },
};

START_TEST(each_advice_is_undone_by_its_opposite)
{
	struct dmo_attr v;

	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 3, 9, &opposites[_i].does), 0);
	dmo_attrs_get(&attrs, 5, &v, NULL);
	ck_assert(!dmo_attr_is_none(&v));
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 0, 20, &opposites[_i].undoes), 0);
	dmo_attrs_get(&attrs, 5, &v, NULL);
	ck_assert(dmo_attr_is_none(&v));
	ck_assert_uint_eq(tm.blocks, 0);
}
END_TEST

START_TEST(sequential_and_random_exclude_each_other)
{
	struct dmo_attr v = none;
	struct dmo_advise a = { .advice = DMO_ADV_SEQUENTIAL };

	ck_assert_int_eq(dmo_attr_apply(&v, &a), 0);
	ck_assert_uint_eq(v.flags, DMO_ATTR_SEQUENTIAL);
	a.advice = DMO_ADV_RANDOM;
	ck_assert_int_eq(dmo_attr_apply(&v, &a), 0);
	ck_assert_uint_eq(v.flags, DMO_ATTR_RANDOM);
}
END_TEST

static const struct dmo_advise refused[] = {
	{ .advice = DMO_ADV_WILLNEED }, { .advice = DMO_ADV_DONTNEED }, { .advice = DMO_ADV_DISCARD },
	{ .advice = DMO_ADV_COUNT }, { .advice = ~0u },
	{ .advice = DMO_ADV_PREFERRED, .device = DMO_DEVICE_ANY },
	{ .advice = DMO_ADV_ACCESSED_BY, .device = 64 },
	{ .advice = DMO_ADV_ACCESSED_BY, .device = DMO_DEVICE_HOST },
	{ .advice = DMO_ADV_GRANULARITY, .value = 11 },
	{ .advice = DMO_ADV_GRANULARITY, .value = 22 },
	{ .advice = DMO_ADV_GRANULARITY, .value = 0x10c },
	{ .advice = DMO_ADV_GRANULARITY, .value = ~0ull },
};

START_TEST(advice_that_is_no_attribute_is_refused)
{
	struct dmo_advise cold = { .advice = DMO_ADV_COLD };

	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 0, 5, &refused[_i]), -EINVAL);
	ck_assert_uint_eq(tm.blocks, 0);
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 5, 4, &cold), -EINVAL);
}
END_TEST

START_TEST(the_number_of_ranges_is_bounded_and_undoing_still_works)
{
	struct dmo_advise cold = { .advice = DMO_ADV_COLD }, normal = { .advice = DMO_ADV_NORMAL };

	for (u64 i = 0; i < DMO_ATTR_RANGES_MAX; i++)
		ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 4 * i, 4 * i + 2, &cold), 0);
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 1u << 20, 1u << 20, &cold), -ENOSPC);
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 1, 1, &normal), -ENOSPC);
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 3, 3, &cold), 0);
	ck_assert_uint_eq(dmo_attrs_count(&attrs), DMO_ATTR_RANGES_MAX - 1);
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 1, 1, &normal), 0);
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 4, 6, &normal), 0);
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 0, DMO_PAGE_OPEN, &normal), 0);
	ck_assert_uint_eq(dmo_attrs_count(&attrs), 0);
}
END_TEST

START_TEST(filling_many_gaps_counts_towards_the_bound)
{
	struct dmo_advise cold = { .advice = DMO_ADV_COLD }, sequential = { .advice = DMO_ADV_SEQUENTIAL };

	for (u64 i = 0; i < DMO_ATTR_RANGES_MAX / 2; i++)
		ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 4 * i, 4 * i + 2, &cold), 0);
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 0, DMO_ATTR_RANGES_MAX * 2 - 1, &sequential), 0);
	ck_assert_uint_eq(dmo_attrs_count(&attrs), DMO_ATTR_RANGES_MAX);
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 1u << 20, 1u << 20, &cold), -ENOSPC);
	ck_assert_int_eq(dmo_attrs_clear(&attrs, &tm.mem, 0, DMO_PAGE_OPEN), 0);
	for (u64 i = 0; i < DMO_ATTR_RANGES_MAX / 2 + 1; i++)
		ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 4 * i, 4 * i + 2, &cold), 0);
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 0, 4 * DMO_ATTR_RANGES_MAX, &sequential), -ENOSPC);
	ck_assert_uint_eq(dmo_attrs_count(&attrs), DMO_ATTR_RANGES_MAX / 2 + 1);
}
END_TEST

START_TEST(the_generation_moves_with_changes_only)
{
	struct dmo_advise cold = { .advice = DMO_ADV_COLD };
	u64 gen = attrs.gen;

	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 0, DMO_PAGE_MAX, &cold), 0);
	ck_assert_uint_ne(attrs.gen, gen);
	gen = attrs.gen;
	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, 10, 20, &cold), 0);
	dmo_attrs_truncate(&attrs, &tm.mem, DMO_PAGE_MAX + 1);
	ck_assert_uint_eq(attrs.gen, gen);
	dmo_attrs_truncate(&attrs, &tm.mem, 15);
	ck_assert_uint_ne(attrs.gen, gen);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("attr");
	TCase *tc = tcase_create("attr");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, random_advice_agrees_with_an_array, 0, 8);
	tcase_add_test(tc, every_allocation_failed_leaves_everything_as_it_was);
	tcase_add_test(tc, truncate_forgets_what_lies_beyond_but_open_ended_ranges);
	tcase_add_test(tc, clearing_a_range_makes_a_hole);
	tcase_add_loop_test(tc, each_advice_is_undone_by_its_opposite, 0, sizeof(opposites) / sizeof(opposites[0]));
	tcase_add_test(tc, sequential_and_random_exclude_each_other);
	tcase_add_loop_test(tc, advice_that_is_no_attribute_is_refused, 0, sizeof(refused) / sizeof(refused[0]));
	tcase_add_test(tc, the_number_of_ranges_is_bounded_and_undoing_still_works);
	tcase_add_test(tc, filling_many_gaps_counts_towards_the_bound);
	tcase_add_test(tc, the_generation_moves_with_changes_only);
	suite_add_tcase(s, tc);
	return test_run(s);
}
