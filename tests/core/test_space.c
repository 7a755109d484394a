// SPDX-License-Identifier: GPL-2.0-or-later
/* test_space.c - a device address space of 256 pages and the reverse maps of its objects against arrays */
#include "core/space.h"

#include <dmo/ioctl.h>

#include "testmem.h"

#define PAGES	256
#define OBJECTS	3
#define PAGE	((u64)DMO_PAGE_SIZE)
#define START	(1ull << 30)

struct object {
	struct dmo_itree rmap;
	int refs;
	bool locked;
};

struct page {
	struct object *object;	/* NULL: not mapped */
	u64 offset;
	u64 bits;
	u32 prot;
};

static struct testmem tm;
static struct object objects[OBJECTS];
static struct dmo_space space;
static struct page model[PAGES];
static u64 gone_bytes;

static void op_lock(void *object)
{
	for (int i = 0; i < OBJECTS; i++)
		ck_assert(!objects[i].locked);
	((struct object *)object)->locked = true;
}

static void op_unlock(void *object)
{
	ck_assert(((struct object *)object)->locked);
	((struct object *)object)->locked = false;
}

static struct dmo_itree *op_rmap(void *object)
{
	ck_assert(((struct object *)object)->locked);
	return &((struct object *)object)->rmap;
}

static void op_get(struct dmo_mapping *m)
{
	((struct object *)m->object)->refs++;
}

static void op_put(struct dmo_mapping *m)
{
	((struct object *)m->object)->refs--;
}

/* The piece is still to be found in both trees, and nobody holds an object's lock. */
static void op_gone(struct dmo_space *s, struct dmo_mapping *m, u64 va, u64 length)
{
	struct object *o = m->object;
	bool found = false;

	for (int i = 0; i < OBJECTS; i++)
		ck_assert(!objects[i].locked);
	ck_assert_ptr_eq(dmo_space_find(s, va), m);
	ck_assert_ptr_eq(dmo_space_find(s, va + length - 1), m);
	for (struct dmo_mapping *x = dmo_rmap_first(&o->rmap, dmo_mapping_offset_of(m, va),
						    dmo_mapping_offset_of(m, va + length - 1));
	     x; x = dmo_rmap_next(x, dmo_mapping_offset_of(m, va), dmo_mapping_offset_of(m, va + length - 1)))
		found |= x == m;
	ck_assert(found);
	gone_bytes += length;
}

static const struct dmo_space_ops ops = { op_lock, op_unlock, op_rmap, op_get, op_put, op_gone };

static void setup(void)
{
	testmem_init(&tm);
	memset(objects, 0, sizeof(objects));
	memset(model, 0, sizeof(model));
	gone_bytes = 0;
	dmo_space_init(&space, &tm.mem, &ops, START, START + PAGES * PAGE);
}

static void teardown(void)
{
	u64 mapped = space.mapped;

	gone_bytes = 0;
	dmo_space_fini(&space);
	ck_assert_uint_eq(gone_bytes, mapped);
	ck_assert_uint_eq(tm.blocks, 0);
	for (int i = 0; i < OBJECTS; i++) {
		ck_assert_int_eq(objects[i].refs, 0);
		ck_assert_uint_eq(objects[i].rmap.count, 0);
	}
}

static bool continues(const struct dmo_mapping *a, const struct dmo_mapping *b)
{
	return a->va_node.last + 1 == b->va_node.start && a->obj_node.last + 1 == b->obj_node.start &&
	       a->object == b->object && a->prot == b->prot && a->bits == b->bits && a->owner == b->owner;
}

static void check_addresses(void)
{
	u64 mapped = 0, nodes = 0;

	for (u64 i = 0; i < PAGES; i++) {
		struct dmo_mapping *m = dmo_space_find(&space, START + i * PAGE + i);

		ck_assert_int_eq(m != NULL, model[i].object != NULL);
		if (!m)
			continue;
		mapped += PAGE;
		ck_assert_ptr_eq(m->object, model[i].object);
		ck_assert_uint_eq(dmo_mapping_offset_of(m, START + i * PAGE), model[i].offset);
		ck_assert_uint_eq(m->prot, model[i].prot);
		ck_assert_uint_eq(m->bits, model[i].bits);
	}
	ck_assert_uint_eq(space.mapped, mapped);
	for (struct dmo_mapping *m = dmo_space_first(&space, 0, ~0ull), *next; m; m = next) {
		next = dmo_space_next(m, ~0ull);
		ck_assert(!next || !continues(m, next));
		nodes++;
	}
	ck_assert_uint_eq(nodes, space.va.count);
}

/* Every page of every object leads to exactly the addresses at which the model has it. */
static void check_reverse(struct object *o, u64 page)
{
	u64 expected = 0, found = 0, first = page * PAGE, last = first + PAGE - 1;

	for (u64 i = 0; i < PAGES; i++)
		expected += model[i].object == o && model[i].offset == first;
	for (struct dmo_mapping *m = dmo_rmap_first(&o->rmap, first, last); m; m = dmo_rmap_next(m, first, last)) {
		u64 i = (dmo_mapping_va_of(m, first) - START) / PAGE;

		ck_assert_ptr_eq(m->space, &space);
		ck_assert(i < PAGES && model[i].object == o && model[i].offset == first);
		found++;
	}
	ck_assert_uint_eq(found, expected);
}

static void check_model(void)
{
	u64 nodes = 0;
	int refs = 0;

	check_addresses();
	for (int i = 0; i < OBJECTS; i++) {
		nodes += objects[i].rmap.count;
		refs += objects[i].refs;
		for (u64 page = 0; page < 40; page++)
			check_reverse(&objects[i], page);
	}
	ck_assert_uint_eq(nodes, space.va.count);
	ck_assert_int_eq(refs, (int)space.va.count);
	ck_assert_uint_eq(tm.blocks, space.va.count + space.spares);
}

static struct dmo_space_request random_request(u64 *seed)
{
	u64 page = test_below(seed, PAGES), length = 1 + test_below(seed, test_below(seed, 4) ? 4 : 20);
	struct dmo_space_request r = {
		.object = &objects[test_below(seed, OBJECTS)],
		.va = START + page * PAGE,
		.offset = test_below(seed, 3) ? page % 16 * PAGE : test_below(seed, 20) * PAGE,
		.bits = test_below(seed, 8) == 0,
		.prot = test_below(seed, 8) ? DMO_PROT_READ : DMO_PROT_READ | DMO_PROT_WRITE,
		.flags = DMO_MAP_FIXED | (test_below(seed, 2) ? DMO_MAP_REPLACE : 0),
	};

	if (test_below(seed, 3) == 0)
		r.object = &objects[0];
	r.length = (page + length > PAGES ? PAGES - page : length) * PAGE;
	return r;
}

static bool model_used(u64 va, u64 length)
{
	for (u64 i = (va - START) / PAGE; i < (va - START + length) / PAGE; i++)
		if (model[i].object)
			return true;
	return false;
}

static void model_map(const struct dmo_space_request *r, u64 va)
{
	for (u64 i = 0; i < r->length / PAGE; i++)
		model[(va - START) / PAGE + i] =
			(struct page){ r->object, r->offset + i * PAGE, r->bits, r->prot };
}

static void model_unmap(u64 va, u64 length)
{
	memset(&model[(va - START) / PAGE], 0, length / PAGE * sizeof(model[0]));
}

static void random_map(u64 *seed)
{
	struct dmo_space_request r = random_request(seed);
	u64 va = 1;
	int err = dmo_space_map(&space, &r, &va);

	if (!(r.flags & DMO_MAP_REPLACE) && model_used(r.va, r.length)) {
		ck_assert_int_eq(err, -EEXIST);
		ck_assert_uint_eq(va, 1);
		return;
	}
	ck_assert_int_eq(err, 0);
	ck_assert_uint_eq(va, r.va);
	model_map(&r, va);
}

static void random_pick(u64 *seed)
{
	struct dmo_space_request r = random_request(seed);
	u64 va = 1;
	int err;

	r.flags = 0;
	err = dmo_space_map(&space, &r, &va);
	if (!err) {
		ck_assert(!model_used(va, r.length));
		model_map(&r, va);
		return;
	}
	ck_assert_int_eq(err, -ENOSPC);
	for (u64 at = START; at + r.length <= START + PAGES * PAGE; at += PAGE)
		ck_assert(model_used(at, r.length));
}

static void random_unmap(u64 *seed)
{
	u64 page = test_below(seed, PAGES), length = 1 + test_below(seed, 12), mapped = 0, before = gone_bytes;

	length = page + length > PAGES ? PAGES - page : length;
	for (u64 i = page; i < page + length; i++)
		mapped += model[i].object ? PAGE : 0;
	ck_assert_int_eq(dmo_space_unmap(&space, START + page * PAGE, length * PAGE), 0);
	ck_assert_uint_eq(gone_bytes - before, mapped);
	model_unmap(START + page * PAGE, length * PAGE);
}

START_TEST(random_maps_and_unmaps_agree_with_an_array)
{
	u64 seed = (u64)_i;

	for (int round = 0; round < 3000; round++) {
		switch (test_below(&seed, 8)) {
		case 0:
			random_pick(&seed);
			break;
		case 1: case 2: case 3:
			random_unmap(&seed);
			break;
		default:
			random_map(&seed);
		}
		if (round % 8 == 0)
			check_model();
	}
	check_model();
}
END_TEST

/*
 * One random change with every allocation failed in turn; the spares are used up first so that it must
 * allocate.
 */
static u64 fail_each_in(u64 *seed)
{
	struct dmo_space_request r = random_request(seed);
	bool map = test_below(seed, 2);
	u64 va, failures = 0;

	r.flags |= DMO_MAP_REPLACE;
	for (u64 n = 1; ; n++, failures++) {
		int err;

		while (space.spare) {
			struct dmo_mapping *m = space.spare;

			space.spare = m->object;
			space.spares--;
			dmo_free(&tm.mem, m, sizeof(*m));
		}
		testmem_fail(&tm, n);
		err = map ? dmo_space_map(&space, &r, &va) : dmo_space_unmap(&space, r.va, r.length);
		if (!testmem_failed(&tm)) {
			ck_assert_int_eq(err, 0);
			break;
		}
		ck_assert_int_eq(err, -ENOMEM);
		check_model();
	}
	if (map)
		model_map(&r, r.va);
	else
		model_unmap(r.va, r.length);
	return failures;
}

START_TEST(every_allocation_failed_changes_nothing)
{
	u64 seed = 50, failures = 0;

	for (int round = 0; round < 300; round++)
		failures += fail_each_in(&seed);
	check_model();
	ck_assert_uint_eq(failures, 600);
}
END_TEST

START_TEST(a_sequential_map_page_by_page_is_one_node)
{
	u64 va, first = 0;

	for (u64 i = 0; i < PAGES; i++) {
		struct dmo_space_request r = { .object = &objects[0], .length = PAGE, .offset = i * PAGE,
					       .prot = DMO_PROT_READ };

		ck_assert_int_eq(dmo_space_map(&space, &r, &va), 0);
		first = i ? first : va;
		ck_assert_uint_eq(va, first + i * PAGE);
	}
	ck_assert_uint_eq(space.va.count, 1);
	ck_assert_uint_eq(objects[0].rmap.count, 1);
}
END_TEST

START_TEST(filling_a_hole_joins_both_sides)
{
	struct dmo_space_request r = { .object = &objects[1], .length = 9 * PAGE, .va = START, .flags = DMO_MAP_FIXED,
				       .prot = DMO_PROT_WRITE };
	u64 va;

	ck_assert_int_eq(dmo_space_map(&space, &r, &va), 0);
	ck_assert_int_eq(dmo_space_unmap(&space, START + 4 * PAGE, PAGE), 0);
	ck_assert_uint_eq(space.va.count, 2);
	r.va += 4 * PAGE;
	r.offset += 4 * PAGE;
	r.length = PAGE;
	ck_assert_int_eq(dmo_space_map(&space, &r, &va), 0);
	ck_assert_uint_eq(space.va.count, 1);
	ck_assert_int_eq(objects[1].refs, 1);
}
END_TEST

START_TEST(large_objects_are_placed_so_that_blocks_agree)
{
	struct dmo_space s;
	u64 va;

	dmo_space_init(&s, &tm.mem, &ops, START, START + (1ull << 36));
	for (int i = 0; i < 20; i++) {
		struct dmo_space_request r = { .object = &objects[i % OBJECTS], .length = (2 << 20) + (u64)i * PAGE,
					       .offset = (u64)i * 37 * PAGE, .prot = DMO_PROT_READ };

		ck_assert_int_eq(dmo_space_map(&s, &r, &va), 0);
		ck_assert_uint_eq((va - r.offset) % DMO_BLOCK_SIZE, 0);
	}
	dmo_space_fini(&s);
}
END_TEST

START_TEST(a_full_space_says_so_and_a_hole_is_found_again)
{
	struct dmo_space_request r = { .object = &objects[0], .length = PAGES * PAGE, .prot = DMO_PROT_READ };
	u64 va;

	ck_assert_int_eq(dmo_space_map(&space, &r, &va), 0);
	r.length = PAGE;
	ck_assert_int_eq(dmo_space_map(&space, &r, &va), -ENOSPC);
	ck_assert_int_eq(dmo_space_unmap(&space, START + 100 * PAGE, 2 * PAGE), 0);
	r.length = 3 * PAGE;
	ck_assert_int_eq(dmo_space_map(&space, &r, &va), -ENOSPC);
	r.length = 2 * PAGE;
	ck_assert_int_eq(dmo_space_map(&space, &r, &va), 0);
	ck_assert_uint_eq(va, START + 100 * PAGE);
}
END_TEST

#define FIXED	DMO_MAP_FIXED

static const struct { struct dmo_space_request r; int err; } refused[] = {
	{ { .va = START, .length = 0, .flags = FIXED }, -EINVAL },
	{ { .va = START, .length = 1, .flags = FIXED }, -EINVAL },
	{ { .va = START + 1, .length = PAGE, .flags = FIXED }, -EINVAL },
	{ { .va = START, .length = PAGE, .offset = 7, .flags = FIXED }, -EINVAL },
	{ { .va = START - PAGE, .length = PAGE, .flags = FIXED }, -EINVAL },
	{ { .va = START + PAGES * PAGE, .length = PAGE, .flags = FIXED }, -EINVAL },
	{ { .va = START, .length = (PAGES + 1) * PAGE, .flags = FIXED }, -EINVAL },
	{ { .va = START + PAGE, .length = -2 * PAGE, .flags = FIXED }, -EOVERFLOW },
	{ { .va = 0, .length = PAGE, .flags = FIXED }, -EINVAL },
	{ { .va = -PAGE, .length = PAGE, .flags = FIXED }, -EINVAL },
	{ { .length = PAGE, .flags = DMO_MAP_REPLACE }, -EINVAL },
	{ { .length = PAGE, .flags = 4 }, -EINVAL },
	{ { .length = PAGE, .offset = -PAGE }, -EOVERFLOW },
	{ { .length = PAGE, .offset = 1ull << 63 }, -EOVERFLOW },
	{ { .length = 1ull << 62, .offset = 1ull << 62 }, -EOVERFLOW },
	{ { .length = 1ull << 62 }, -ENOSPC },
	{ { .length = (PAGES + 1) * PAGE }, -ENOSPC },
};

START_TEST(impossible_requests_are_refused)
{
	struct dmo_space_request r = refused[_i].r;
	u64 va = 3;

	r.object = &objects[0];
	r.prot = DMO_PROT_READ;
	ck_assert_int_eq(dmo_space_map(&space, &r, &va), refused[_i].err);
	ck_assert_uint_eq(va, 3);
	ck_assert_uint_eq(space.va.count, 0);
}
END_TEST

START_TEST(impossible_unmaps_are_refused)
{
	ck_assert_int_eq(dmo_space_unmap(&space, START, 0), -EINVAL);
	ck_assert_int_eq(dmo_space_unmap(&space, START, 1), -EINVAL);
	ck_assert_int_eq(dmo_space_unmap(&space, START + 1, PAGE), -EINVAL);
	ck_assert_int_eq(dmo_space_unmap(&space, START - PAGE, PAGE), -EINVAL);
	ck_assert_int_eq(dmo_space_unmap(&space, START + PAGE, PAGES * PAGE), -EINVAL);
	ck_assert_int_eq(dmo_space_unmap(&space, START, -PAGE), -EINVAL);
	ck_assert_int_eq(dmo_space_unmap(&space, -PAGE, PAGE), -EINVAL);
	ck_assert_int_eq(dmo_space_unmap(&space, START, PAGES * PAGE), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("space");
	TCase *tc = tcase_create("space");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, random_maps_and_unmaps_agree_with_an_array, 0, 4);
	tcase_add_test(tc, every_allocation_failed_changes_nothing);
	tcase_add_test(tc, a_sequential_map_page_by_page_is_one_node);
	tcase_add_test(tc, filling_a_hole_joins_both_sides);
	tcase_add_test(tc, large_objects_are_placed_so_that_blocks_agree);
	tcase_add_test(tc, a_full_space_says_so_and_a_hole_is_found_again);
	tcase_add_loop_test(tc, impossible_requests_are_refused, 0, sizeof(refused) / sizeof(refused[0]));
	tcase_add_test(tc, impossible_unmaps_are_refused);
	suite_add_tcase(s, tc);
	return test_run(s);
}
