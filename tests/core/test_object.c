// SPDX-License-Identifier: GPL-2.0-or-later
/* test_object.c - blocks, their copies and the chunks of device memory under them */
#include "core/object.h"

#include <signal.h>

#include "testmem.h"

#define FRAMES	2048u

static struct testmem tm;
static struct dmo_device dev, other;
static struct dmo_object object;
static struct dmo_block *block;

static void setup(void)
{
	testmem_init(&tm);
	ck_assert_int_eq(dmo_device_init(&dev, &tm.mem, 0, FRAMES), 0);
	ck_assert_int_eq(dmo_device_init(&other, &tm.mem, 1, FRAMES), 0);
	dmo_object_init(&object, &tm.mem, 16ull << DMO_BLOCK_SHIFT);
	block = dmo_block_get(&object, 3);
	ck_assert_ptr_nonnull(block);
	ck_assert_int_eq(dmo_block_open(block), 0);
}

static void drop_copies(void)
{
	while (block->copies)
		dmo_copy_free(block->copies);
}

static void teardown(void)
{
	drop_copies();
	dmo_block_put(block);
	dmo_object_fini(&object);
	ck_assert_uint_eq(dev.used + other.used, 0);
	dmo_device_fini(&dev);
	dmo_device_fini(&other);
	ck_assert_uint_eq(tm.blocks, 0);
}

static struct dmo_copy *copy_on(struct dmo_device *d)
{
	struct dmo_copy *c = dmo_block_add_copy(block, d);

	ck_assert_ptr_nonnull(c);
	return c;
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

static bool is_dirty(const struct dmo_copy *c, unsigned first, unsigned count)
{
	return dmo_bits_all(dmo_copy_bits(c, DMO_DIRTY), first, count);
}

static bool has(unsigned row, unsigned first, unsigned count)
{
	return dmo_bits_all(dmo_block_bits(block, row), first, count);
}

static void reserve(struct dmo_copy *c, unsigned first, unsigned count)
{
	ck_assert_int_eq(dmo_copy_reserve(c, &tm.mem, first, count), 0);
}

static void check_memory(void)
{
	ck_assert_uint_eq(dev.used, dev.phys.pages - dmo_phys_free_pages(&dev.phys));
	ck_assert_uint_le(dev.used, dev.limit);
	ck_assert_ptr_null(dmo_block_check(block));
}

/* ---- blocks ------------------------------------------------------------------------------------------ */

START_TEST(an_absent_block_and_a_new_one_say_that_the_cpu_may_hold_everything)
{
	struct dmo_block *b = dmo_block_get(&object, 9);

	ck_assert(dmo_bits_all(dmo_block_bits(b, DMO_CPU), 0, DMO_BLOCK_PAGES));
	for (unsigned row = DMO_MAPPED; row < DMO_BLOCK_ROWS; row++)
		ck_assert(!dmo_bits_any(dmo_block_bits(b, row)));
	dmo_block_put(b);
	ck_assert_ptr_null(dmo_block_find(&object, 9));
}
END_TEST

START_TEST(a_block_that_says_something_outlives_its_users)
{
	struct dmo_block *b = dmo_block_get(&object, 9);

	ck_assert_int_eq(dmo_block_open(b), 0);
	dmo_block_set_cpu(b, 7, 1, false);
	dmo_block_put(b);
	b = dmo_block_find(&object, 9);
	ck_assert_ptr_nonnull(b);
	ck_assert(!dmo_bits_test(dmo_block_bits(b, DMO_CPU), 7));
	ck_assert_ptr_eq(dmo_block_get(&object, 9), b);
	ck_assert_int_eq(dmo_block_open(b), 0);
	dmo_block_set_cpu(b, 7, 1, true);
	dmo_block_put(b);
	ck_assert_ptr_null(dmo_block_find(&object, 9));
}
END_TEST

START_TEST(a_block_stays_as_long_as_anybody_uses_it)
{
	struct dmo_block *b = dmo_block_get(&object, 9);

	ck_assert_ptr_eq(dmo_block_get(&object, 9), b);
	dmo_block_put(b);
	ck_assert_ptr_eq(dmo_block_find(&object, 9), b);
	dmo_block_put(b);
	ck_assert_ptr_null(dmo_block_find(&object, 9));
}
END_TEST

/* A block that was evicted, and that the CPU does not hold. */
static struct dmo_block *evicted_block(void)
{
	struct dmo_block *b = dmo_block_get(&object, 9);

	ck_assert_int_eq(dmo_block_open(b), 0);
	dmo_block_set_cpu(b, 7, 1, false);
	b->evicted = 5;
	dmo_block_put(b);
	return dmo_block_find(&object, 9);
}

START_TEST(a_block_that_says_only_what_helps_can_be_forgotten)
{
	ck_assert(dmo_block_forget(evicted_block()));
	ck_assert_ptr_null(dmo_block_find(&object, 9));
}
END_TEST

START_TEST(a_block_that_is_used_is_not_forgotten)
{
	struct dmo_block *b = evicted_block();

	dmo_block_get(&object, 9);
	ck_assert(!dmo_block_forget(b));
	dmo_block_put(b);
	b->io = 1;
	ck_assert(!dmo_block_forget(b));
	b->io = 0;
	ck_assert(dmo_block_claim(b));
	ck_assert(!dmo_block_forget(b));
	dmo_block_release(b);
	b->revoked = true;
	ck_assert(!dmo_block_forget(b));
	b->revoked = false;
	ck_assert(dmo_block_forget(b));
}
END_TEST

START_TEST(a_block_with_a_copy_is_not_forgotten)
{
	struct dmo_block *b = dmo_block_get(&object, 9);

	ck_assert_int_eq(dmo_block_open(b), 0);
	ck_assert_ptr_nonnull(dmo_block_add_copy(b, &dev));
	dmo_block_put(b);
	ck_assert(!dmo_block_forget(b));
	dmo_copy_free(b->copies);
	ck_assert(dmo_block_forget(b));
}
END_TEST

START_TEST(a_block_with_any_bit_is_not_forgotten)
{
	struct dmo_block *b = dmo_block_get(&object, 9);

	for (unsigned row = 0; row < DMO_BLOCK_ROWS; row++) {
		if (row == DMO_CPU)
			continue;
		ck_assert_int_eq(dmo_block_open(b), 0);
		dmo_bits_set(dmo_rows_row(&b->rows, row), 3, 1);
		dmo_block_put(b);
		ck_assert(!dmo_block_forget(b));
		ck_assert_ptr_eq(dmo_block_get(&object, 9), b);
		ck_assert_int_eq(dmo_block_open(b), 0);
		dmo_bits_clear(dmo_rows_row(&b->rows, row), 3, 1);
	}
	dmo_block_put(b);
}
END_TEST

START_TEST(each_failed_allocation_of_a_get_leaves_no_block)
{
	for (u64 n = 1;; n++) {
		struct dmo_block *b;

		testmem_fail(&tm, n);
		b = dmo_block_get(&object, 1ull << 40);
		if (!testmem_failed(&tm)) {
			dmo_block_put(b);
			break;
		}
		ck_assert_ptr_null(b);
		ck_assert_ptr_null(dmo_block_find(&object, 1ull << 40));
	}
}
END_TEST

START_TEST(each_failed_allocation_of_an_open_changes_no_bit)
{
	u64 before = tm.blocks;

	copy_on(&dev);
	copy_on(&other);
	dmo_block_put(block);
	ck_assert_uint_eq(tm.blocks, before + 1);	/* two copies, without rows; the block's rows went */
	block->users++;
	for (u64 n = 1; n <= 3; n++) {
		testmem_fail(&tm, n);
		ck_assert_int_eq(dmo_block_open(block), -ENOMEM);
		ck_assert(testmem_failed(&tm));
		ck_assert(has(DMO_CPU, 0, DMO_BLOCK_PAGES));
		ck_assert_ptr_null(dmo_block_check(block));
		dmo_block_put(block);
		block->users++;
	}
	ck_assert_int_eq(dmo_block_open(block), 0);
}
END_TEST

START_TEST(each_failed_allocation_of_an_added_copy_leaves_none)
{
	for (u64 n = 1; n <= 2; n++) {
		testmem_fail(&tm, n);
		ck_assert_ptr_null(dmo_block_add_copy(block, &dev));
		ck_assert(testmem_failed(&tm));
		ck_assert_ptr_null(block->copies);
		ck_assert_uint_eq(object.copies, 0);
	}
	ck_assert_ptr_eq(copy_on(&dev), copy_on(&dev));
	ck_assert_uint_eq(object.copies, 1);
}
END_TEST

START_TEST(a_block_counts_the_pages_before_the_end)
{
	object.size = (3ull << DMO_BLOCK_SHIFT);
	ck_assert_uint_eq(dmo_block_pages(block), 0);
	object.size += 1;
	ck_assert_uint_eq(dmo_block_pages(block), 1);
	object.size += DMO_PAGE_SIZE;
	ck_assert_uint_eq(dmo_block_pages(block), 2);
	object.size = 4ull << DMO_BLOCK_SHIFT;
	ck_assert_uint_eq(dmo_block_pages(block), DMO_BLOCK_PAGES);
	object.size = ~0ull;
	ck_assert_uint_eq(dmo_block_pages(block), DMO_BLOCK_PAGES);
}
END_TEST

START_TEST(a_claim_excludes_others_and_a_move_waits_for_io)
{
	ck_assert(dmo_block_claim(block));
	ck_assert(!dmo_block_claim(block));
	block->io = 1;
	ck_assert(!dmo_block_move(block));
	block->io = 0;
	ck_assert(dmo_block_move(block));
	ck_assert(!dmo_block_claim(block));
	dmo_block_release(block);
	ck_assert(dmo_block_claim(block));
	dmo_block_release(block);
}
END_TEST

/* ---- what changes without a move ----------------------------------------------------------------------- */

START_TEST(harvested_dirt_goes_to_the_copy_that_was_mapped_for_writing)
{
	struct dmo_copy *c = copy_on(&dev), *o = copy_on(&other);
	u64 found[DMO_BITS_WORDS];

	reserve(c, 0, 64);
	reserve(o, 64, 64);
	valid(c, 0, 64);
	valid(o, 64, 64);
	dmo_block_set_cpu(block, 0, 128, false);
	dmo_block_mapped(block, 0, 128, true, false);
	dmo_bits_zero(found);
	dmo_bits_set(found, 60, 8);
	dmo_block_unmapped(block, 0, 66, found);
	ck_assert(is_dirty(c, 60, 4) && is_dirty(o, 64, 2));
	ck_assert_uint_eq(dmo_bits_count(dmo_copy_bits(c, DMO_DIRTY)), 4);
	ck_assert_uint_eq(dmo_bits_count(dmo_copy_bits(o, DMO_DIRTY)), 2);
	ck_assert_uint_eq(dmo_bits_count(dmo_block_bits(block, DMO_WMAPPED)), 62);
	ck_assert_ptr_null(dmo_block_check(block));
}
END_TEST

START_TEST(dirt_of_pages_mapped_for_reading_is_not_believed)
{
	struct dmo_copy *c = copy_on(&dev);
	u64 found[DMO_BITS_WORDS] = { ~0ull };

	reserve(c, 0, 4);
	valid(c, 0, 4);
	dmo_block_mapped(block, 0, 4, false, false);
	dmo_block_wprotected(block, 0, 4, found);
	ck_assert(has(DMO_MAPPED, 0, 4));
	ck_assert(!dmo_bits_any(dmo_copy_bits(c, DMO_DIRTY)));
}
END_TEST

START_TEST(dropped_pages_are_valid_nowhere_and_no_more_lost)
{
	struct dmo_copy *c = copy_on(&dev);

	reserve(c, 0, 16);
	dirty(c, 0, 8);
	dmo_copy_lost(c);
	ck_assert_uint_eq(object.lost, 1);
	valid(c, 8, 8);
	dmo_block_drop(block, 0, 4);
	ck_assert(has(DMO_LOST, 4, 4));
	ck_assert_uint_eq(object.lost, 1);
	dmo_block_drop(block, 4, 12);
	ck_assert_uint_eq(object.lost, 0);
	ck_assert(!dmo_bits_any(dmo_copy_bits(c, DMO_VALID)));
	check_memory();
}
END_TEST

START_TEST(a_lost_device_takes_its_dirty_pages_along)
{
	struct dmo_copy *c = copy_on(&dev);

	reserve(c, 0, 16);
	valid(c, 0, 16);
	dirty(c, 4, 4);
	dmo_copy_lost(c);
	ck_assert(has(DMO_LOST, 4, 4));
	ck_assert_uint_eq(dmo_bits_count(dmo_block_bits(block, DMO_LOST)), 4);
	ck_assert(!dmo_bits_any(dmo_copy_bits(c, DMO_VALID)));
	ck_assert_uint_eq(object.lost, 1);
	check_memory();
}
END_TEST

START_TEST(a_dirty_page_that_another_device_has_too_is_not_lost)
{
	struct dmo_copy *c = copy_on(&dev), *o = copy_on(&other);

	reserve(c, 0, 16);
	reserve(o, 0, 16);
	dirty(c, 0, 8);
	valid(o, 2, 4);
	dmo_copy_lost(c);
	ck_assert(is_dirty(o, 2, 4));
	ck_assert_uint_eq(dmo_bits_count(dmo_block_bits(block, DMO_LOST)), 4);
	ck_assert(!dmo_bits_any_in(dmo_block_bits(block, DMO_LOST), 2, 4));
	check_memory();
}
END_TEST

START_TEST(a_page_is_found_in_its_dirty_copy_first)
{
	struct dmo_copy *c = copy_on(&dev), *o = copy_on(&other);
	u64 bits[DMO_BITS_WORDS] = { 0 };

	reserve(c, 0, 4);
	reserve(o, 0, 4);
	valid(c, 0, 2);
	dirty(o, 1, 1);
	ck_assert_ptr_eq(dmo_page_copy(block, 0), c);
	ck_assert_ptr_eq(dmo_page_copy(block, 1), o);
	ck_assert_ptr_null(dmo_page_copy(block, 2));
	dirty(c, 0, 1);
	dmo_bits_clear(dmo_rows_row(&o->rows, DMO_DIRTY), 1, 1);
	ck_assert_ptr_nonnull(dmo_page_copy(block, 1));
	dmo_block_dirty(block, bits);
	ck_assert_uint_eq(bits[0], 1);
	dmo_block_valid(block, bits);
	ck_assert_uint_eq(bits[0], 3);
}
END_TEST

/* ---- chunks ---------------------------------------------------------------------------------------------- */

START_TEST(a_whole_block_lies_in_one_chunk)
{
	struct dmo_copy *c = copy_on(&dev);
	u32 frame;

	reserve(c, 0, DMO_BLOCK_PAGES);
	ck_assert_uint_eq(dmo_copy_run(c, 0, DMO_BLOCK_PAGES, &frame), DMO_BLOCK_PAGES);
	ck_assert_uint_eq(frame % DMO_BLOCK_PAGES, 0);
	ck_assert_uint_eq(dev.used, DMO_BLOCK_PAGES);
	ck_assert_uint_eq(dmo_copy_run(c, 100, 7, &frame), 7);
	check_memory();
}
END_TEST

START_TEST(only_what_is_missing_is_reserved)
{
	struct dmo_copy *c = copy_on(&dev);
	u32 frame;

	reserve(c, 100, 20);
	ck_assert_uint_eq(dev.used, 20);
	ck_assert_uint_eq(dmo_copy_missing(c, 90, 40), 20);
	ck_assert_uint_eq(dmo_copy_run(c, 99, 1, &frame), 0);
	ck_assert_uint_eq(dmo_copy_run(c, 120, 1, &frame), 0);
	reserve(c, 0, DMO_BLOCK_PAGES);
	ck_assert_uint_eq(dev.used, DMO_BLOCK_PAGES);
	ck_assert_uint_eq(dmo_copy_missing(c, 0, DMO_BLOCK_PAGES), 0);
	reserve(c, 0, DMO_BLOCK_PAGES);
	ck_assert_uint_eq(dev.used, DMO_BLOCK_PAGES);
	ck_assert_uint_eq(dev.peak, DMO_BLOCK_PAGES);
	check_memory();
}
END_TEST

START_TEST(a_reservation_past_the_limit_takes_nothing)
{
	struct dmo_copy *c = copy_on(&dev);

	dev.limit = 300;
	ck_assert_int_eq(dmo_copy_reserve(c, &tm.mem, 0, DMO_BLOCK_PAGES), -ENOMEM);
	ck_assert_uint_eq(dev.used, 0);
	reserve(c, 0, 300);
	ck_assert_int_eq(dmo_copy_reserve(c, &tm.mem, 300, 1), -ENOMEM);
	ck_assert_uint_eq(dev.used, 300);
	check_memory();
}
END_TEST

/* Takes every second frame away; the frames are in taken. */
static unsigned fragment(struct dmo_phys *p, u32 *taken)
{
	unsigned n = 0;

	for (u32 f; !dmo_phys_alloc(p, 0, &f);)
		taken[n++] = f;
	for (unsigned i = 0; i < n; i += 2)
		dmo_phys_free(p, taken[i], 0);
	return n;
}

START_TEST(fragmented_memory_is_used_to_the_last_frame)
{
	static u32 taken[FRAMES];
	unsigned n = fragment(&dev.phys, taken);
	struct dmo_copy *c = copy_on(&dev);

	reserve(c, 0, DMO_BLOCK_PAGES);
	ck_assert_uint_eq(dev.used, DMO_BLOCK_PAGES);
	ck_assert_uint_eq(c->nr_chunks, DMO_BLOCK_PAGES);
	ck_assert_ptr_null(dmo_block_check(block));
	for (unsigned i = 1; i < n; i += 2)
		dmo_phys_free(&dev.phys, taken[i], 0);
	check_memory();
}
END_TEST

START_TEST(each_failed_allocation_of_a_reservation_leaves_nothing_reserved)
{
	static u32 taken[FRAMES];
	struct dmo_copy *c = copy_on(&dev);

	fragment(&dev.phys, taken);
	for (u64 n = 1;; n++) {
		int err;

		testmem_fail(&tm, n);
		err = dmo_copy_reserve(c, &tm.mem, 0, DMO_BLOCK_PAGES);
		if (!testmem_failed(&tm)) {
			ck_assert_int_eq(err, 0);
			break;
		}
		ck_assert_int_eq(err, -EAGAIN);
		ck_assert_ptr_null(dmo_block_check(block));
		ck_assert_uint_eq(dmo_copy_missing(c, 0, DMO_BLOCK_PAGES), DMO_BLOCK_PAGES);
		ck_assert_uint_eq(dev.used, 0);
		dmo_copy_free(c);
		c = copy_on(&dev);
	}
}
END_TEST

/* What was there before it stays, pinned or not. */
START_TEST(a_reservation_that_is_taken_back_leaves_what_was_there)
{
	struct dmo_copy *c = copy_on(&dev);
	u64 holes[DMO_BITS_WORDS] = { 0 };
	u32 before, after;

	reserve(c, 64, 64);
	valid(c, 64, 64);
	c->pins++;
	dmo_copy_run(c, 64, 1, &before);
	dmo_copy_holes(c, 0, 256, holes);
	ck_assert_uint_eq(dmo_bits_count(holes), 192);
	ck_assert(!dmo_bits_any_in(holes, 64, 64));
	reserve(c, 0, 256);
	dmo_copy_unreserve(c, holes);
	ck_assert_uint_eq(dev.used, 64);
	ck_assert_uint_eq(dmo_copy_missing(c, 0, 256), 192);
	ck_assert_uint_eq(dmo_copy_run(c, 64, 64, &after), 64);
	ck_assert_uint_eq(after, before);
	c->pins--;
	check_memory();
}
END_TEST

/* ---- a device that manages its own memory -------------------------------------------------------- */

static u32 own_next, own_left;
static u64 own_given;

/* Gives frames upwards, no more than own_left and no chunk above order 3. */
static int own_alloc(void *ctx, unsigned order, u32 *frame)
{
	if (order > 3 || own_left < 1u << order)
		return -ENOMEM;
	*frame = own_next;
	own_next += 1u << order;
	own_left -= 1u << order;
	own_given += 1u << order;
	return 0;
}

static void own_free(void *ctx, u32 frame, unsigned order)
{
	ck_assert_uint_le(frame + (1u << order), own_next);
	own_given -= 1u << order;
}

static void manage_own(u32 left)
{
	static const struct dmo_frames_ops ops = { own_alloc, own_free };

	dev.frames = &ops;
	own_next = own_given = 0;
	own_left = left;
}

START_TEST(a_device_with_memory_of_its_own_gives_what_chunks_it_has)
{
	struct dmo_copy *c = copy_on(&dev);
	u32 frame;

	manage_own(1000);
	reserve(c, 0, DMO_BLOCK_PAGES);
	ck_assert_uint_eq(c->nr_chunks, DMO_BLOCK_PAGES / 8);
	ck_assert_uint_eq(own_given, DMO_BLOCK_PAGES);
	ck_assert_uint_eq(dmo_phys_free_pages(&dev.phys), FRAMES);
	ck_assert_uint_eq(dmo_copy_run(c, 0, DMO_BLOCK_PAGES, &frame), DMO_BLOCK_PAGES);
	valid(c, 5, 1);
	dmo_copy_trim(c);
	ck_assert_uint_eq(own_given, 1);
	dmo_block_drop(block, 0, DMO_BLOCK_PAGES);
	dmo_copy_trim(c);
	ck_assert_uint_eq(own_given, 0);
}
END_TEST

START_TEST(a_device_that_runs_out_of_its_own_memory_gets_all_of_it_back)
{
	struct dmo_copy *c = copy_on(&dev);

	manage_own(100);
	ck_assert_int_eq(dmo_copy_reserve(c, &tm.mem, 0, 128), -ENOMEM);
	ck_assert_uint_eq(own_given, 0);
	ck_assert_uint_eq(dev.used, 0);
	manage_own(100);
	ck_assert_int_eq(dmo_copy_reserve(c, &tm.mem, 0, 100), 0);
	dev.limit = 100;
	ck_assert_int_eq(dmo_copy_reserve(c, &tm.mem, 0, 101), -ENOMEM);
	ck_assert_uint_eq(own_given, 100);
}
END_TEST

START_TEST(trimming_gives_back_halves_without_a_valid_page)
{
	struct dmo_copy *c = copy_on(&dev);
	u32 frame, whole;

	reserve(c, 0, DMO_BLOCK_PAGES);
	dmo_copy_run(c, 0, 1, &whole);
	valid(c, 300, 1);
	valid(c, 319, 1);
	dmo_copy_trim(c);
	ck_assert_uint_eq(dev.used, 32);
	ck_assert_uint_eq(dmo_copy_run(c, 288, 32, &frame), 32);
	ck_assert_uint_eq(frame, whole + 288);
	check_memory();
	dmo_block_drop(block, 0, DMO_BLOCK_PAGES);
	dmo_copy_trim(c);
	ck_assert_uint_eq(dev.used, 0);
	ck_assert_uint_eq(c->nr_chunks, 0);
	reserve(c, 0, 3);
	check_memory();
}
END_TEST

START_TEST(trimming_leaves_a_pinned_copy_its_memory)
{
	struct dmo_copy *c = copy_on(&dev);

	reserve(c, 0, 40);
	c->pins = 1;
	dmo_copy_trim(c);
	ck_assert_uint_eq(dev.used, 40);
	c->pins = 0;
	dmo_copy_trim(c);
	ck_assert_uint_eq(dev.used, 0);
}
END_TEST

START_TEST(random_reservations_and_trims_lose_no_frame)
{
	u64 seed = 40 + _i;
	struct dmo_copy *c = copy_on(&dev);

	for (unsigned i = 0; i < 3000; i++) {
		unsigned first = test_below(&seed, DMO_BLOCK_PAGES);
		unsigned count = 1 + test_below(&seed, DMO_BLOCK_PAGES - first);
		u32 frame;

		if (test_below(&seed, 2)) {
			reserve(c, first, count);
			valid(c, first, 1 + test_below(&seed, count));
			for (unsigned p = first; p < first + count;)
				p += dmo_copy_run(c, p, first + count - p, &frame);
		} else {
			dmo_block_drop(block, first, count);
			dmo_copy_trim(c);
		}
		check_memory();
	}
}
END_TEST

START_TEST(freeing_a_pinned_copy_is_a_bug)
{
	struct dmo_copy *c = copy_on(&dev);

	c->pins = 1;
	dmo_copy_free(c);
}
END_TEST

START_TEST(dropping_mapped_pages_is_a_bug)
{
	dmo_block_mapped(block, 3, 1, false, true);
	dmo_block_drop(block, 0, 8);
}
END_TEST

/* ---- the checker itself ------------------------------------------------------------------------------------- */

START_TEST(the_check_sees_each_broken_rule)
{
	struct dmo_copy *c = copy_on(&dev), *o = copy_on(&other);

	reserve(c, 0, 8);
	reserve(o, 0, 8);
	ck_assert_ptr_null(dmo_block_check(block));
	switch (_i) {
	case 0:
		valid(c, 8, 1);		/* in no chunk */
		break;
	case 1:
		dirty(c, 0, 1);
		dmo_bits_zero(dmo_rows_row(&c->rows, DMO_VALID));
		break;
	case 2:
		dirty(c, 0, 1);
		dirty(o, 0, 1);
		break;
	case 3:				/* held by the CPU */
		valid(c, 0, 1);
		dmo_block_mapped(block, 0, 1, true, false);
		break;
	case 4:				/* two copies */
		valid(c, 0, 1);
		valid(o, 0, 1);
		dmo_block_set_cpu(block, 0, 1, false);
		dmo_block_mapped(block, 0, 1, true, false);
		break;
	case 5:
		dirty(c, 0, 1);
		dmo_block_mapped(block, 0, 1, false, true);
		break;
	case 6:
		dmo_block_mapped(block, 0, 1, false, false);
		break;
	case 7:
		dirty(c, 0, 1);
		dmo_copy_lost(c);
		valid(o, 0, 1);
		break;
	case 8:
		c->chunks[0].order++;
		break;
	}
	ck_assert_ptr_nonnull(dmo_block_check(block));
	if (_i == 8)
		c->chunks[0].order--;
	dmo_block_unmapped(block, 0, 8, NULL);
}
END_TEST

static TCase *blocks(void)
{
	TCase *t = tcase_create("blocks");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, an_absent_block_and_a_new_one_say_that_the_cpu_may_hold_everything);
	tcase_add_test(t, a_block_that_says_something_outlives_its_users);
	tcase_add_test(t, a_block_stays_as_long_as_anybody_uses_it);
	tcase_add_test(t, a_block_that_says_only_what_helps_can_be_forgotten);
	tcase_add_test(t, a_block_that_is_used_is_not_forgotten);
	tcase_add_test(t, a_block_with_a_copy_is_not_forgotten);
	tcase_add_test(t, a_block_with_any_bit_is_not_forgotten);
	tcase_add_test(t, each_failed_allocation_of_a_get_leaves_no_block);
	tcase_add_test(t, each_failed_allocation_of_an_open_changes_no_bit);
	tcase_add_test(t, each_failed_allocation_of_an_added_copy_leaves_none);
	tcase_add_test(t, a_block_counts_the_pages_before_the_end);
	tcase_add_test(t, a_claim_excludes_others_and_a_move_waits_for_io);
	return t;
}

static TCase *changes(void)
{
	TCase *t = tcase_create("changes");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, harvested_dirt_goes_to_the_copy_that_was_mapped_for_writing);
	tcase_add_test(t, dirt_of_pages_mapped_for_reading_is_not_believed);
	tcase_add_test(t, dropped_pages_are_valid_nowhere_and_no_more_lost);
	tcase_add_test(t, a_lost_device_takes_its_dirty_pages_along);
	tcase_add_test(t, a_dirty_page_that_another_device_has_too_is_not_lost);
	tcase_add_test(t, a_page_is_found_in_its_dirty_copy_first);
	tcase_add_test_raise_signal(t, dropping_mapped_pages_is_a_bug, SIGABRT);
	tcase_add_loop_test(t, the_check_sees_each_broken_rule, 0, 9);
	return t;
}

static TCase *chunks(void)
{
	TCase *t = tcase_create("chunks");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_whole_block_lies_in_one_chunk);
	tcase_add_test(t, only_what_is_missing_is_reserved);
	tcase_add_test(t, a_reservation_past_the_limit_takes_nothing);
	tcase_add_test(t, fragmented_memory_is_used_to_the_last_frame);
	tcase_add_test(t, each_failed_allocation_of_a_reservation_leaves_nothing_reserved);
	tcase_add_test(t, a_reservation_that_is_taken_back_leaves_what_was_there);
	tcase_add_test(t, a_device_with_memory_of_its_own_gives_what_chunks_it_has);
	tcase_add_test(t, a_device_that_runs_out_of_its_own_memory_gets_all_of_it_back);
	tcase_add_test(t, trimming_gives_back_halves_without_a_valid_page);
	tcase_add_test(t, trimming_leaves_a_pinned_copy_its_memory);
	tcase_add_loop_test(t, random_reservations_and_trims_lose_no_frame, 0, 3);
	tcase_add_test_raise_signal(t, freeing_a_pinned_copy_is_a_bug, SIGABRT);
	return t;
}

int main(void)
{
	Suite *s = suite_create("object");

	suite_add_tcase(s, blocks());
	suite_add_tcase(s, changes());
	suite_add_tcase(s, chunks());
	return test_run(s);
}
