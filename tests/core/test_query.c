// SPDX-License-Identifier: GPL-2.0-or-later
/* test_query.c - extents of pages that agree in everything */
#include "core/query.h"

#include "testmem.h"

static struct testmem tm;
static struct dmo_device dev, stage;
static struct dmo_object object;

static void setup(void)
{
	testmem_init(&tm);
	ck_assert_int_eq(dmo_device_init(&dev, &tm.mem, 3, 4096), 0);
	ck_assert_int_eq(dmo_device_init(&stage, &tm.mem, DMO_DEVICES_MAX, 4096), 0);
	dmo_object_init(&object, &tm.mem, 8ull << DMO_BLOCK_SHIFT);
}

/* A copy of block index whose pages [first, first + count) are valid. */
static struct dmo_copy *put_copy(struct dmo_device *d, u64 index, unsigned first, unsigned count)
{
	struct dmo_block *b = dmo_block_get(&object, index);
	struct dmo_copy *c;

	ck_assert_int_eq(dmo_block_open(b), 0);
	dmo_block_set_cpu(b, first, count, false);
	c = dmo_block_add_copy(b, d);
	ck_assert_int_eq(dmo_copy_reserve(c, &tm.mem, first, count), 0);
	dmo_bits_set(dmo_rows_row(&c->rows, DMO_VALID), first, count);
	return c;
}

static void teardown(void)
{
	struct dmo_block *b;

	for (u64 i = 0; (b = dmo_radix_next(&object.blocks, &i)); i++) {
		while (b->copies) {
			b->copies->pins = 0;
			dmo_copy_free(b->copies);
		}
		dmo_block_put(b);
	}
	dmo_object_forget_blocks(&object);
	dmo_attrs_fini(&object.attrs, &tm.mem);
	dmo_object_fini(&object);
	dmo_device_fini(&dev);
	dmo_device_fini(&stage);
	ck_assert_uint_eq(tm.blocks, 0);
}

static struct dmo_extent extent(u64 page, u64 end)
{
	struct dmo_extent e;

	dmo_query_extent(&object, page, end, &e);
	ck_assert_uint_eq(e.offset, page << DMO_PAGE_SHIFT);
	return e;
}

static u64 pages(const struct dmo_extent *e)
{
	return e->length >> DMO_PAGE_SHIFT;
}

START_TEST(what_no_device_knows_is_one_extent_of_the_host)
{
	struct dmo_extent e = extent(5, 4096);

	ck_assert_uint_eq(pages(&e), 4091);
	ck_assert_uint_eq(e.flags, DMO_EXT_CPU);
	ck_assert_uint_eq(e.device, DMO_DEVICE_HOST);
}
END_TEST

START_TEST(an_extent_ends_where_residency_changes)
{
	struct dmo_extent e;

	put_copy(&dev, 2, 10, 20);
	e = extent(0, 4096);
	ck_assert_uint_eq(pages(&e), 2 * DMO_BLOCK_PAGES + 10);
	e = extent(2 * DMO_BLOCK_PAGES + 10, 4096);
	ck_assert_uint_eq(pages(&e), 20);
	ck_assert_uint_eq(e.flags, DMO_EXT_RESIDENT);
	ck_assert_uint_eq(e.device, 3);
	e = extent(2 * DMO_BLOCK_PAGES + 30, 4096);
	ck_assert_uint_eq(pages(&e), 4096 - 2 * DMO_BLOCK_PAGES - 30);
}
END_TEST

START_TEST(dirty_pinned_and_mapped_pages_are_told)
{
	struct dmo_copy *c = put_copy(&dev, 0, 0, 8);
	struct dmo_extent e;

	dmo_bits_set(dmo_rows_row(&c->rows, DMO_DIRTY), 0, 4);
	c->pins = 1;
	dmo_block_mapped(c->block, 4, 4, true, false);
	e = extent(0, 4096);
	ck_assert_uint_eq(e.flags, DMO_EXT_RESIDENT | DMO_EXT_DIRTY | DMO_EXT_PINNED);
	ck_assert_uint_eq(pages(&e), 4);
	e = extent(4, 4096);
	ck_assert_uint_eq(e.flags, DMO_EXT_RESIDENT | DMO_EXT_DIRTY | DMO_EXT_PINNED | DMO_EXT_MAPPED);
	ck_assert_uint_eq(pages(&e), 4);
}
END_TEST

START_TEST(a_page_on_two_devices_is_a_replica)
{
	struct dmo_extent e;
	struct dmo_copy *c;

	put_copy(&dev, 0, 0, 8);
	c = put_copy(&stage, 0, 0, 4);
	ck_assert_ptr_nonnull(c);
	e = extent(0, 4096);
	ck_assert(e.flags & DMO_EXT_REPLICA);
	ck_assert_uint_eq(pages(&e), 4);
}
END_TEST

START_TEST(an_extent_ends_where_advice_changes)
{
	struct dmo_advise adv = { .advice = DMO_ADV_RANDOM };
	struct dmo_extent e;

	ck_assert_int_eq(dmo_attrs_advise(&object.attrs, &tm.mem, 100, 199, &adv), 0);
	e = extent(0, 4096);
	ck_assert_uint_eq(pages(&e), 100);
	e = extent(100, 4096);
	ck_assert_uint_eq(pages(&e), 100);
	ck_assert_uint_eq(e.attrs, DMO_ATTR_RANDOM);
	e = extent(100, 150);
	ck_assert_uint_eq(pages(&e), 50);
}
END_TEST

START_TEST(resident_bytes_count_each_page_once_and_only_on_devices)
{
	put_copy(&dev, 0, 0, 8);
	put_copy(&dev, 7, 500, 12);
	put_copy(&stage, 1, 0, 100);
	put_copy(&stage, 0, 4, 100);
	ck_assert_uint_eq(dmo_query_resident(&object), 20 * DMO_PAGE_SIZE);
}
END_TEST

/* A file whose data lies at [data, hole); an errno in data is what each seek gives. */
struct layout {
	s64 data, hole;
};

static s64 seek(void *file, u64 offset, bool hole)
{
	const struct layout *l = file;

	if (l->data < 0)
		return l->data;
	if (hole)
		return (s64)offset < l->data ? (s64)offset : l->hole;
	if ((s64)offset >= l->hole)
		return -ENXIO;
	return (s64)offset < l->data ? l->data : (s64)offset;
}

/* The extent of pages [first, end) over a file of that layout. */
static struct dmo_extent over(u64 first, u64 end, s64 data, s64 hole)
{
	struct layout l = { data, hole };
	struct dmo_extent e = extent(first, end);

	dmo_query_hole(&e, seek, &l);
	return e;
}

START_TEST(a_hole_is_told_and_ends_where_data_begins)
{
	struct dmo_extent e = over(0, 100, 10 * DMO_PAGE_SIZE + 5, 20 * DMO_PAGE_SIZE);

	ck_assert(e.flags & DMO_EXT_HOLE);
	ck_assert_uint_eq(pages(&e), 10);
	e = over(0, 8, 10 * DMO_PAGE_SIZE, 20 * DMO_PAGE_SIZE);
	ck_assert(e.flags & DMO_EXT_HOLE);
	ck_assert_uint_eq(pages(&e), 8);
	e = over(30, 100, 0, 20 * DMO_PAGE_SIZE);
	ck_assert(e.flags & DMO_EXT_HOLE);
	ck_assert_uint_eq(pages(&e), 70);
}
END_TEST

START_TEST(data_ends_at_the_page_in_which_a_hole_begins)
{
	struct dmo_extent e = over(0, 100, 0, 20 * DMO_PAGE_SIZE + 1);

	ck_assert(!(e.flags & DMO_EXT_HOLE));
	ck_assert_uint_eq(pages(&e), 21);
	e = over(0, 100, 5, 20 * DMO_PAGE_SIZE);
	ck_assert(!(e.flags & DMO_EXT_HOLE));
}
END_TEST

START_TEST(what_a_device_holds_and_what_can_t_be_asked_is_no_hole)
{
	struct dmo_extent e = over(0, 100, -EIO, 0);

	ck_assert(!(e.flags & DMO_EXT_HOLE));
	ck_assert_uint_eq(pages(&e), 100);
	put_copy(&dev, 0, 0, 8);
	e = over(0, 100, 50 * DMO_PAGE_SIZE, 60 * DMO_PAGE_SIZE);
	ck_assert_uint_eq(e.flags, DMO_EXT_RESIDENT);
}
END_TEST

static u64 harvested;

static void harvest(struct dmo_block *b, const u64 *bits)
{
	harvested += dmo_bits_count(bits);
	dmo_block_wprotected(b, 0, DMO_BLOCK_PAGES, NULL);
}

START_TEST(only_pages_that_a_device_may_write_are_settled)
{
	struct dmo_copy *c = put_copy(&dev, 0, 0, 8), *far = put_copy(&dev, 7, 0, 8);

	harvested = 0;
	dmo_block_mapped(c->block, 0, 4, true, false);
	dmo_block_mapped(c->block, 4, 4, false, false);
	dmo_block_mapped(far->block, 0, 8, true, false);
	dmo_query_settle(&object, 0, 2 * DMO_BLOCK_PAGES, harvest);
	ck_assert_uint_eq(harvested, 4);
	dmo_query_settle(&object, 0, 8 * DMO_BLOCK_PAGES, harvest);
	ck_assert_uint_eq(harvested, 12);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("query");
	TCase *c = tcase_create("query");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, what_no_device_knows_is_one_extent_of_the_host);
	tcase_add_test(c, an_extent_ends_where_residency_changes);
	tcase_add_test(c, dirty_pinned_and_mapped_pages_are_told);
	tcase_add_test(c, a_page_on_two_devices_is_a_replica);
	tcase_add_test(c, an_extent_ends_where_advice_changes);
	tcase_add_test(c, resident_bytes_count_each_page_once_and_only_on_devices);
	tcase_add_test(c, a_hole_is_told_and_ends_where_data_begins);
	tcase_add_test(c, data_ends_at_the_page_in_which_a_hole_begins);
	tcase_add_test(c, what_a_device_holds_and_what_can_t_be_asked_is_no_hole);
	tcase_add_test(c, only_pages_that_a_device_may_write_are_settled);
	suite_add_tcase(s, c);
	return test_run(s);
}
