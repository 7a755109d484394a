// SPDX-License-Identifier: GPL-2.0-or-later
/* test_policy.c - what is brought along with a fault; a device that evicts whole blocks, the oldest first */
#include "core/policy.h"

#include "testmem.h"

#define FRAMES	1024u
#define BLOCKS	16u		/* eight times the device */
#define WIDE	16u		/* 64 KiB */

static struct testmem tm;
static struct dmo_device dev;
static struct dmo_object object;
static u64 seed;

static void setup(void)
{
	testmem_init(&tm);
	seed = 1;
	ck_assert_int_eq(dmo_device_init(&dev, &tm.mem, 0, FRAMES), 0);
	dmo_object_init(&object, &tm.mem, (u64)BLOCKS << DMO_BLOCK_SHIFT);
}

static void evict_oldest(void)
{
	struct dmo_copy *c = dmo_container_of(dev.lru.next, struct dmo_copy, lru);
	struct dmo_block *b = c->block;

	b->users++;
	dmo_block_set_evicted(b, ++dev.clock);
	dmo_copy_free(c);
	dmo_block_put(b);
}

static void teardown(void)
{
	while (!dmo_list_empty(&dev.lru))
		evict_oldest();
	dmo_object_fini(&object);
	dmo_device_fini(&dev);
	ck_assert_uint_eq(tm.blocks, 0);
}

static bool is_there(u64 page)
{
	struct dmo_block *b = dmo_block_find(&object, page / DMO_BLOCK_PAGES);
	struct dmo_copy *c = b ? dmo_block_copy(b, &dev) : NULL;

	return c && dmo_bits_test(dmo_copy_bits(c, DMO_VALID), page % DMO_BLOCK_PAGES);
}

static struct dmo_window ask(u64 page, u64 bytes)
{
	struct dmo_block *b = dmo_block_get(&object, page / DMO_BLOCK_PAGES);
	const struct dmo_attr attr = DMO_ATTR_NONE;
	struct dmo_window w;

	ck_assert_ptr_nonnull(b);
	w = dmo_policy_window(b, &dev, page % DMO_BLOCK_PAGES, bytes, &attr);
	dmo_block_put(b);
	return w;
}

static void bring(u64 index, const struct dmo_window *w)
{
	struct dmo_block *b = dmo_block_get(&object, index);
	struct dmo_copy *c;

	ck_assert(!dmo_block_open(b));
	c = dmo_block_add_copy(b, &dev);
	ck_assert(!dmo_copy_reserve(c, &tm.mem, w->first, w->count));
	if (dmo_list_empty(&c->lru))
		dmo_list_append(&dev.lru, &c->lru);
	dmo_bits_set(dmo_rows_row(&c->rows, DMO_VALID), w->first, w->count);
	dmo_block_put(b);
}

/* Uses one page: how many were brought for it. */
static unsigned use(u64 page)
{
	struct dmo_window w;
	u64 before;

	if (is_there(page))
		return 0;
	w = ask(page, 0);
	while (dev.used + w.count > dev.limit)
		evict_oldest();
	before = dev.used;
	bring(page / DMO_BLOCK_PAGES, &w);
	return (unsigned)(dev.used - before);
}

static u64 any_page(void)
{
	return test_below(&seed, object.size >> DMO_PAGE_SHIFT);
}

static void use_at_random(unsigned times)
{
	while (times--)
		use(any_page());
}

START_TEST(scattered_use_of_more_than_the_device_holds_soon_brings_little_but_what_is_asked)
{
	unsigned asked = 0, brought = 0;

	use_at_random(100);
	for (unsigned i = 0; i < 2000; i++) {
		unsigned n = use(any_page());

		asked += !!n;
		brought += n;
	}
	ck_assert_uint_gt(asked, 1000);
	ck_assert_uint_lt(brought, asked * 3 / 2);
}
END_TEST

START_TEST(scattered_use_of_what_fits_brings_64_KiB)
{
	object.size = 2ull << DMO_BLOCK_SHIFT;
	for (unsigned i = 0; i < 50; i++)
		ask(any_page(), 0);
	ck_assert_uint_eq(ask(any_page(), 0).count, WIDE);
}
END_TEST

START_TEST(what_fits_but_was_evicted_counts_as_more_than_the_device_holds)
{
	object.size = 2ull << DMO_BLOCK_SHIFT;
	use(5);
	evict_oldest();
	for (unsigned i = 0; i < 50; i++)
		ask(any_page(), 0);
	ck_assert_uint_eq(ask(any_page(), 0).count, 1);
}
END_TEST

START_TEST(a_walk_after_scattered_use_faults_no_more_than_once_for_64_KiB)
{
	unsigned faults = 0;

	use_at_random(1000);
	for (u64 page = 0; page < 4 * DMO_BLOCK_PAGES; page++)
		faults += !!use(page);
	ck_assert_uint_le(faults, 4 * DMO_BLOCK_PAGES / WIDE);
}
END_TEST

/* None of them sees the next page asked for after the last. */
START_TEST(walkers_side_by_side_in_both_directions_go_on_getting_64_KiB)
{
	for (u64 i = 0; i < 4 * DMO_BLOCK_PAGES; i++) {
		u64 page[3] = { i, 15 * DMO_BLOCK_PAGES - i, 8 * DMO_BLOCK_PAGES + i };

		for (unsigned k = 0; k < 3; k++)
			if (!is_there(page[k])) {
				ck_assert_uint_ge(ask(page[k], 0).count, WIDE / 2);
				use(page[k]);
			}
	}
}
END_TEST

START_TEST(a_fault_that_is_asked_again_is_noted_once)
{
	for (unsigned i = 0; i < 1000; i++)
		ask(777, 0);
	ck_assert_uint_eq(ask(777, 0).count, WIDE);
}
END_TEST

START_TEST(what_a_command_will_need_comes_however_scattered_the_use)
{
	use_at_random(1000);
	ck_assert_uint_ge(ask(1024, 64 * DMO_PAGE_SIZE).count, 64);
}
END_TEST

/* Matrices in any order are no reason to bring less of what is used a page at a time. */
START_TEST(faults_that_ask_for_much_are_not_scattered)
{
	for (unsigned i = 0; i < 100; i++)
		ask(any_page(), WIDE * DMO_PAGE_SIZE);
	ck_assert_uint_eq(ask(777, 0).count, WIDE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("policy");
	TCase *t = tcase_create("window");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, scattered_use_of_more_than_the_device_holds_soon_brings_little_but_what_is_asked);
	tcase_add_test(t, scattered_use_of_what_fits_brings_64_KiB);
	tcase_add_test(t, what_fits_but_was_evicted_counts_as_more_than_the_device_holds);
	tcase_add_test(t, a_walk_after_scattered_use_faults_no_more_than_once_for_64_KiB);
	tcase_add_test(t, walkers_side_by_side_in_both_directions_go_on_getting_64_KiB);
	tcase_add_test(t, a_fault_that_is_asked_again_is_noted_once);
	tcase_add_test(t, what_a_command_will_need_comes_however_scattered_the_use);
	tcase_add_test(t, faults_that_ask_for_much_are_not_scattered);
	suite_add_tcase(s, t);
	return test_run(s);
}
