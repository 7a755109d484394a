// SPDX-License-Identifier: GPL-2.0-or-later
/* test_plan.c - what a plan asks for, case by case; events.c carries millions of them out */
#include "core/plan.h"

#include "testmem.h"

static struct testmem tm;
static struct dmo_device dev, other;
static struct dmo_object object;
static struct dmo_block *block;
static struct dmo_copy *copy, *copy2;
static struct dmo_plan plan;

static void setup(void)
{
	testmem_init(&tm);
	ck_assert_int_eq(dmo_device_init(&dev, &tm.mem, 0, 1024), 0);
	ck_assert_int_eq(dmo_device_init(&other, &tm.mem, 1, 1024), 0);
	dev.dirty_bits = other.dirty_bits = true;
	dmo_object_init(&object, &tm.mem, 1ull << DMO_BLOCK_SHIFT);
	block = dmo_block_get(&object, 0);
	ck_assert_int_eq(dmo_block_open(block), 0);
	copy = dmo_block_add_copy(block, &dev);
	copy2 = dmo_block_add_copy(block, &other);
	ck_assert_int_eq(dmo_copy_reserve(copy, &tm.mem, 0, DMO_BLOCK_PAGES), 0);
	ck_assert_int_eq(dmo_copy_reserve(copy2, &tm.mem, 0, DMO_BLOCK_PAGES), 0);
	plan = (struct dmo_plan){ .block = block, .dev = &dev, .count = 16 };
}

static void teardown(void)
{
	ck_assert_ptr_null(dmo_block_check(block));
	copy->pins = copy2->pins = 0;
	dmo_copy_free(copy);
	dmo_copy_free(copy2);
	dmo_block_put(block);
	dmo_object_fini(&object);
	dmo_device_fini(&dev);
	dmo_device_fini(&other);
	ck_assert_uint_eq(tm.blocks, 0);
}

static void valid(struct dmo_copy *c, unsigned first, unsigned count)
{
	dmo_bits_set(dmo_rows_row(&c->rows, DMO_VALID), first, count);
}

static void dirty(struct dmo_copy *c, unsigned first, unsigned count)
{
	valid(c, first, count);
	dmo_bits_set(dmo_rows_row(&c->rows, DMO_DIRTY), first, count);
}

static void no_cpu(void)
{
	dmo_block_set_cpu(block, 0, DMO_BLOCK_PAGES, false);
}

/* The plan has exactly the pages [first, first + count) in steps of the kind. */
static void has_step(enum dmo_step_kind kind, unsigned first, unsigned count)
{
	ck_assert_uint_eq(dmo_bits_count(plan.steps[kind]), count);
	ck_assert(dmo_bits_all(plan.steps[kind], first, count));
}

static void access_to_commit(void)
{
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
	ck_assert(!dmo_plan_has(&plan, DMO_STEP_REVOKE));
	dmo_plan_copies(&plan);
	dmo_plan_commit(&plan);
}

/* ---- access ---------------------------------------------------------------------------------------- */

START_TEST(a_read_shares_with_the_cpu_while_nobody_may_write)
{
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
	has_step(DMO_STEP_REVOKE, 0, 0);
	dmo_plan_copies(&plan);
	has_step(DMO_STEP_COPY_IN, 0, 16);
	plan.map_write = true;
	dmo_plan_commit(&plan);
	has_step(DMO_STEP_MAP, 0, 16);
	has_step(DMO_STEP_MAP_WRITE, 0, 0);
}
END_TEST

START_TEST(a_read_revokes_where_somebody_may_write)
{
	object.writers = 1;
	dmo_block_set_cpu(block, 4, 100, false);
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
	has_step(DMO_STEP_REVOKE, 0, 4);
}
END_TEST

START_TEST(a_write_revokes_always)
{
	plan.write = true;
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
	has_step(DMO_STEP_REVOKE, 0, 16);
}
END_TEST

START_TEST(a_writer_who_comes_during_a_read_s_copies_keeps_cpu_pages_unmapped)
{
	dmo_block_set_cpu(block, 8, 8, false);
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
	dmo_plan_copies(&plan);
	object.writers = 1;
	dmo_plan_commit(&plan);
	has_step(DMO_STEP_MAP, 8, 8);
	ck_assert(dmo_bits_all(dmo_copy_bits(copy, DMO_VALID), 0, 16));
}
END_TEST

START_TEST(bytes_come_from_the_copy_that_is_newer_than_the_backing_file)
{
	no_cpu();
	valid(copy, 0, 2);
	dirty(copy2, 4, 4);
	valid(copy2, 8, 4);
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
	dmo_plan_copies(&plan);
	has_step(DMO_STEP_COPY_DEVICE, 4, 4);
	ck_assert_uint_eq(dmo_bits_count(plan.steps[DMO_STEP_COPY_IN]), 10);
	ck_assert(!dmo_bits_any_in(plan.steps[DMO_STEP_COPY_IN], 0, 2));
	dmo_plan_commit(&plan);
	ck_assert(dmo_bits_all(dmo_copy_bits(copy2, DMO_DIRTY), 4, 4));
	ck_assert(!dmo_bits_any(dmo_copy_bits(copy, DMO_DIRTY)));
}
END_TEST

START_TEST(a_device_that_writes_takes_over_what_was_dirty)
{
	no_cpu();
	dirty(copy2, 4, 4);
	valid(copy2, 10, 2);
	plan.write = true;
	access_to_commit();
	ck_assert(dmo_bits_all(dmo_copy_bits(copy, DMO_DIRTY), 4, 4));
	ck_assert(!dmo_bits_any(dmo_copy_bits(copy2, DMO_VALID)));
	has_step(DMO_STEP_MAP_WRITE, 0, 16);
}
END_TEST

START_TEST(translations_for_writing_elsewhere_are_harvested_before_copies_are_chosen)
{
	u64 found[DMO_BITS_WORDS] = { 1ull << 3 };

	no_cpu();
	valid(copy2, 0, 8);
	dmo_block_mapped(block, 0, 8, true, false);
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
	has_step(DMO_STEP_WPROTECT, 0, 8);
	dmo_block_wprotected(block, 0, 8, found);
	dmo_plan_copies(&plan);
	has_step(DMO_STEP_COPY_DEVICE, 3, 1);
	dmo_plan_commit(&plan);
}
END_TEST

START_TEST(a_read_maps_for_writing_what_nobody_else_holds)
{
	no_cpu();
	dmo_block_set_cpu(block, 0, 2, true);
	valid(copy2, 2, 2);
	dmo_block_mapped(block, 4, 2, false, true);
	plan.map_write = true;
	access_to_commit();
	has_step(DMO_STEP_MAP_WRITE, 6, 10);
	has_step(DMO_STEP_MAP, 0, 6);
}
END_TEST

START_TEST(a_device_without_dirty_bits_is_not_given_more_than_it_asks_for)
{
	no_cpu();
	dev.dirty_bits = false;
	plan.map_write = true;
	access_to_commit();
	has_step(DMO_STEP_MAP_WRITE, 0, 0);
}
END_TEST

/* A device without dirty bits reports what it has mapped for writing: a page mapped anew for reading would be missed. */
START_TEST(what_is_mapped_for_writing_is_never_mapped_anew_for_reading)
{
	no_cpu();
	dev.dirty_bits = _i;
	plan.write = true;
	plan.count = 8;
	access_to_commit();
	dmo_block_mapped(block, 0, 8, true, false);
	plan.write = plan.map_write = false;
	plan.count = 16;
	access_to_commit();
	has_step(DMO_STEP_MAP_WRITE, 0, 8);
	has_step(DMO_STEP_MAP, 8, 8);
	dmo_block_unmapped(block, 0, 16, NULL);
}
END_TEST

START_TEST(pages_past_the_end_can_t_be_accessed)
{
	object.size = 5 * DMO_PAGE_SIZE + 1;
	plan.page = 6;
	ck_assert_int_eq(dmo_plan_access(&plan), -EFAULT);
	ck_assert_int_eq(dmo_plan_remote(&plan), -EFAULT);
	plan.page = 5;
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
	has_step(DMO_STEP_MAP, 0, 6);
}
END_TEST

START_TEST(a_lost_page_is_an_error_and_its_neighbours_are_not)
{
	dirty(copy, 3, 1);
	dmo_copy_lost(copy);
	plan.page = 3;
	ck_assert_int_eq(dmo_plan_access(&plan), -EIO);
	ck_assert_int_eq(dmo_plan_remote(&plan), -EIO);
	plan.page = 4;
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
	ck_assert_uint_eq(dmo_bits_count(plan.steps[DMO_STEP_MAP]), 15);
}
END_TEST

START_TEST(a_page_pinned_on_another_device_can_be_read_but_not_written)
{
	no_cpu();
	valid(copy2, 3, 4);
	copy2->pins = 1;
	plan.write = true;
	plan.page = 3;
	ck_assert_int_eq(dmo_plan_access(&plan), -EBUSY);
	plan.page = 0;
	access_to_commit();
	ck_assert_uint_eq(dmo_bits_count(plan.steps[DMO_STEP_MAP_WRITE]), 12);
	ck_assert(dmo_bits_all(dmo_copy_bits(copy2, DMO_VALID), 3, 4));
	plan.write = false;
	plan.page = 3;
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
}
END_TEST

START_TEST(a_page_held_on_another_device_is_not_even_copied)
{
	no_cpu();
	valid(copy2, 3, 4);
	copy2->pins = copy2->held = 1;
	plan.page = 3;
	ck_assert_int_eq(dmo_plan_access(&plan), -EBUSY);
	plan.page = 0;
	access_to_commit();
	ck_assert(!dmo_bits_any_in(dmo_copy_bits(copy, DMO_VALID), 3, 4));
	copy2->held = 0;
	plan.page = 3;
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
}
END_TEST

/* ---- remote ------------------------------------------------------------------------------------------ */

START_TEST(what_is_newer_on_a_device_can_t_be_mapped_remotely)
{
	no_cpu();
	plan.dev = &other;
	plan.page = 2;
	valid(copy, 0, 4);
	dirty(copy, 2, 1);
	ck_assert_int_eq(dmo_plan_remote(&plan), -EAGAIN);
	plan.page = 3;
	ck_assert_int_eq(dmo_plan_remote(&plan), 0);
	ck_assert_uint_eq(dmo_bits_count(plan.steps[DMO_STEP_MAP_REMOTE]), 15);
	dmo_block_mapped(block, 3, 1, true, false);
	ck_assert_int_eq(dmo_plan_remote(&plan), -EAGAIN);
}
END_TEST

START_TEST(remote_mapping_revokes_where_somebody_may_write)
{
	ck_assert_int_eq(dmo_plan_remote(&plan), 0);
	has_step(DMO_STEP_REVOKE, 0, 0);
	object.writers = 1;
	ck_assert_int_eq(dmo_plan_remote(&plan), 0);
	has_step(DMO_STEP_REVOKE, 0, 16);
}
END_TEST

/* ---- eviction and write-back ------------------------------------------------------------------------------ */

START_TEST(eviction_copies_dirty_pages_of_its_range_and_drops_the_rest)
{
	no_cpu();
	valid(copy, 0, 16);
	dirty(copy, 4, 4);
	dmo_block_mapped(block, 0, 2, false, false);
	plan.first = 1;
	plan.count = 5;
	dmo_plan_evict(&plan);
	has_step(DMO_STEP_RELEASE, 1, 1);
	dmo_block_unmapped(block, 1, 1, NULL);
	dmo_plan_copies(&plan);
	has_step(DMO_STEP_COPY_OUT, 4, 2);
	dmo_plan_commit(&plan);
	ck_assert_uint_eq(dmo_bits_count(dmo_copy_bits(copy, DMO_VALID)), 11);
	ck_assert_uint_eq(dmo_bits_count(dmo_copy_bits(copy, DMO_DIRTY)), 2);
	dmo_block_unmapped(block, 0, 1, NULL);
}
END_TEST

START_TEST(cleaning_keeps_the_pages_and_takes_permission_to_write)
{
	no_cpu();
	valid(copy, 0, 8);
	dirty(copy, 10, 2);
	dmo_block_mapped(block, 0, 8, true, false);
	dmo_plan_clean(&plan);
	has_step(DMO_STEP_WPROTECT, 0, 8);
	dmo_block_wprotected(block, 0, 8, (u64[DMO_BITS_WORDS]){ 1 });
	dmo_plan_copies(&plan);
	ck_assert_uint_eq(plan.steps[DMO_STEP_COPY_OUT][0], 0xc01);
	dmo_plan_commit(&plan);
	ck_assert(!dmo_bits_any(dmo_copy_bits(copy, DMO_DIRTY)));
	ck_assert_uint_eq(dmo_bits_count(dmo_copy_bits(copy, DMO_VALID)), 10);
	dmo_block_unmapped(block, 0, 8, NULL);
}
END_TEST

START_TEST(a_plan_that_is_not_committed_leaves_everything_as_it_was)
{
	u64 before[2][DMO_BITS_WORDS];

	no_cpu();
	dirty(copy, 0, 8);
	valid(copy2, 8, 8);
	dmo_bits_copy(before[0], dmo_copy_bits(copy, DMO_DIRTY));
	dmo_bits_copy(before[1], dmo_copy_bits(copy2, DMO_VALID));
	plan.write = true;
	plan.dev = &other;
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
	dmo_plan_copies(&plan);
	plan.dev = &dev;
	dmo_plan_evict(&plan);
	dmo_plan_copies(&plan);
	ck_assert(dmo_bits_equal(before[0], dmo_copy_bits(copy, DMO_DIRTY)));
	ck_assert(dmo_bits_equal(before[0], dmo_copy_bits(copy, DMO_VALID)));
	ck_assert(dmo_bits_equal(before[1], dmo_copy_bits(copy2, DMO_VALID)));
}
END_TEST

START_TEST(a_step_from_a_device_has_one_source)
{
	struct dmo_device third = { .number = 2 };
	struct dmo_step s;
	unsigned at = 0;

	no_cpu();
	dirty(copy, 0, 4);
	dirty(copy2, 4, 4);
	plan.dev = &third;
	ck_assert_int_eq(dmo_plan_access(&plan), 0);
	dmo_plan_copies(&plan);
	ck_assert(dmo_plan_next(&plan, DMO_STEP_COPY_DEVICE, &at, &s));
	ck_assert(s.first == 0 && s.count == 4 && s.from == copy);
	ck_assert(dmo_plan_next(&plan, DMO_STEP_COPY_DEVICE, &at, &s));
	ck_assert(s.first == 4 && s.count == 4 && s.from == copy2);
	ck_assert(!dmo_plan_next(&plan, DMO_STEP_COPY_DEVICE, &at, &s));
}
END_TEST

/* ---- the CPU ---------------------------------------------------------------------------------------------- */

START_TEST(a_cpu_read_takes_as_much_from_devices_as_the_writers_demand)
{
	u64 release[DMO_BITS_WORDS] = { 0 }, wprotect[DMO_BITS_WORDS] = { 0 };

	no_cpu();
	valid(copy, 0, 8);
	dmo_block_mapped(block, 0, 8, false, false);
	dmo_block_mapped(block, 0, 4, true, false);
	ck_assert_int_eq(dmo_cpu_read_prepare(block, 2, 4, release, wprotect), 0);
	ck_assert_uint_eq(release[0], 0);
	ck_assert_uint_eq(wprotect[0], 0xc);
	object.writers = 1;
	dmo_bits_zero(wprotect);
	ck_assert_int_eq(dmo_cpu_read_prepare(block, 2, 4, release, wprotect), 0);
	ck_assert_uint_eq(release[0], 0x3c);
	ck_assert_uint_eq(wprotect[0], 0);
	dmo_block_unmapped(block, 0, 8, NULL);
}
END_TEST

START_TEST(a_lost_page_can_be_overwritten_in_whole_only)
{
	u64 release[DMO_BITS_WORDS] = { 0 }, wprotect[DMO_BITS_WORDS] = { 0 };

	dirty(copy, 3, 1);
	dmo_copy_lost(copy);
	ck_assert_int_eq(dmo_cpu_read_prepare(block, 0, 4, release, wprotect), -EIO);
	ck_assert_int_eq(dmo_cpu_read_prepare(block, 0, 3, release, wprotect), 0);
	ck_assert_int_eq(dmo_cpu_write_prepare(block, 3, 1, false, release), -EIO);
	ck_assert_int_eq(dmo_cpu_write_prepare(block, 3, 1, true, release), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("plan");
	TCase *t = tcase_create("plan");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_read_shares_with_the_cpu_while_nobody_may_write);
	tcase_add_test(t, a_read_revokes_where_somebody_may_write);
	tcase_add_test(t, a_write_revokes_always);
	tcase_add_test(t, a_writer_who_comes_during_a_read_s_copies_keeps_cpu_pages_unmapped);
	tcase_add_test(t, bytes_come_from_the_copy_that_is_newer_than_the_backing_file);
	tcase_add_test(t, a_device_that_writes_takes_over_what_was_dirty);
	tcase_add_test(t, translations_for_writing_elsewhere_are_harvested_before_copies_are_chosen);
	tcase_add_test(t, a_read_maps_for_writing_what_nobody_else_holds);
	tcase_add_test(t, a_device_without_dirty_bits_is_not_given_more_than_it_asks_for);
	tcase_add_loop_test(t, what_is_mapped_for_writing_is_never_mapped_anew_for_reading, 0, 2);
	tcase_add_test(t, pages_past_the_end_can_t_be_accessed);
	tcase_add_test(t, a_lost_page_is_an_error_and_its_neighbours_are_not);
	tcase_add_test(t, a_page_pinned_on_another_device_can_be_read_but_not_written);
	tcase_add_test(t, a_page_held_on_another_device_is_not_even_copied);
	tcase_add_test(t, what_is_newer_on_a_device_can_t_be_mapped_remotely);
	tcase_add_test(t, remote_mapping_revokes_where_somebody_may_write);
	tcase_add_test(t, eviction_copies_dirty_pages_of_its_range_and_drops_the_rest);
	tcase_add_test(t, cleaning_keeps_the_pages_and_takes_permission_to_write);
	tcase_add_test(t, a_plan_that_is_not_committed_leaves_everything_as_it_was);
	tcase_add_test(t, a_step_from_a_device_has_one_source);
	tcase_add_test(t, a_cpu_read_takes_as_much_from_devices_as_the_writers_demand);
	tcase_add_test(t, a_lost_page_can_be_overwritten_in_whole_only);
	suite_add_tcase(s, t);
	return test_run(s);
}
