// SPDX-License-Identifier: GPL-2.0-or-later
/* test_itree.c - the interval tree against arrays, its invariants after each change */
#include "core/itree.h"

#include "testmem.h"

#define NODES 300

/* Checks the subtree of n, whose parent is p: links, balances, maxima. Returns its height. */
static int check_subtree(const struct dmo_itnode *n, const struct dmo_itnode *p, u64 *count, u64 *max)
{
	u64 left_max = 0, right_max = 0, most;
	int left, right;

	*max = 0;
	if (!n)
		return 0;
	ck_assert_ptr_eq((void *)(n->link & ~(uintptr_t)3), p);
	left = check_subtree(n->child[0], n, count, &left_max);
	right = check_subtree(n->child[1], n, count, &right_max);
	ck_assert_int_eq(right - left, (int)(n->link & 3) - 1);
	most = n->last > left_max ? n->last : left_max;
	most = most > right_max ? most : right_max;
	ck_assert_uint_eq(n->max_last, most);
	*max = most;
	++*count;
	return 1 + (left > right ? left : right);
}

static int check_tree(const struct dmo_itree *t)
{
	u64 count = 0, max;
	int height = check_subtree(t->root, NULL, &count, &max);

	ck_assert_uint_eq(count, t->count);
	for (struct dmo_itnode *n = dmo_it_lowest(t), *next; n; n = next) {
		next = dmo_it_succ(n);
		count--;
		if (!next) {
			ck_assert_ptr_eq(n, dmo_it_highest(t));
			continue;
		}
		ck_assert(n->start <= next->start);
		ck_assert_ptr_eq(dmo_it_pred(next), n);
	}
	ck_assert_uint_eq(count, 0);
	return height;
}

static bool meets(const struct dmo_itnode *n, u64 start, u64 last)
{
	return n->start <= last && n->last >= start;
}

static void check_query(const struct dmo_itree *t, const struct dmo_itnode *nodes, const bool *in, u64 start, u64 last)
{
	unsigned expected = 0, found = 0;
	u64 before = 0;

	for (unsigned i = 0; i < NODES; i++)
		expected += in[i] && meets(&nodes[i], start, last);
	for (struct dmo_itnode *n = dmo_it_first(t, start, last); n; n = dmo_it_next(n, start, last)) {
		ck_assert(meets(n, start, last) && n->start >= before && in[n - nodes]);
		before = n->start;
		found++;
	}
	ck_assert_uint_eq(found, expected);
}

START_TEST(overlapping_ranges_agree_with_an_array)
{
	static struct dmo_itnode nodes[NODES];
	bool in[NODES] = { false };
	struct dmo_itree t = DMO_ITREE_INIT;
	u64 seed = 1;

	for (int round = 0; round < 100000; round++) {
		unsigned i = test_below(&seed, NODES);
		u64 start = test_below(&seed, 1000), last = start + test_below(&seed, 100);

		if (in[i]) {
			dmo_it_remove(&t, &nodes[i]);
		} else {
			nodes[i].start = test_below(&seed, 1000);
			nodes[i].last = nodes[i].start + test_below(&seed, test_below(&seed, 20) ? 30 : 900);
			dmo_it_insert(&t, &nodes[i]);
		}
		in[i] = !in[i];
		check_query(&t, nodes, in, start, last);
		if (round % 16 == 0)
			check_tree(&t);
	}
}
END_TEST

START_TEST(resizing_in_place_keeps_the_maxima)
{
	static struct dmo_itnode nodes[NODES];
	bool in[NODES];
	struct dmo_itree t = DMO_ITREE_INIT;
	u64 seed = 2;

	for (unsigned i = 0; i < NODES; i++) {
		nodes[i].start = i * 10;
		nodes[i].last = i * 10 + 3;
		in[i] = true;
		dmo_it_insert(&t, &nodes[i]);
	}
	for (int round = 0; round < 20000; round++) {
		unsigned i = test_below(&seed, NODES);
		u64 start = i * 10 + test_below(&seed, 10);

		dmo_it_resize(&nodes[i], start, start + test_below(&seed, 100));
		check_query(&t, nodes, in, test_below(&seed, 3000), 3100);
		if (round % 16 == 0)
			check_tree(&t);
	}
}
END_TEST

#define CELLS 400

/* The lowest start of size free cells, a multiple of align, in [lo, hi]; CELLS when there is none. */
static u64 gap_in_cells(const bool *used, u64 lo, u64 hi, u64 size, u64 align)
{
	for (u64 at = (lo + align - 1) / align * align; at + size - 1 <= hi; at += align) {
		u64 n = 0;

		while (n < size && !used[at + n])
			n++;
		if (n == size)
			return at;
	}
	return CELLS;
}

static void check_gap(const struct dmo_itree *t, const bool *used, u64 *seed)
{
	u64 lo = test_below(seed, CELLS), hi = lo + test_below(seed, CELLS - lo), size = 1 + test_below(seed, 20);
	u64 align = 1ull << test_below(seed, 5), at = CELLS;
	int err = dmo_it_gap(t, lo, hi, size, align, &at);

	ck_assert_uint_eq(at, gap_in_cells(used, lo, hi, size, align));
	ck_assert_int_eq(err, at == CELLS ? -ENOSPC : 0);
}

START_TEST(gap_and_floor_of_disjoint_ranges_agree_with_cells)
{
	static struct dmo_itnode nodes[CELLS];
	bool used[CELLS] = { false };
	struct dmo_itree t = DMO_ITREE_INIT;
	u64 seed = 3;

	for (int round = 0; round < 100000; round++) {
		u64 at = test_below(&seed, CELLS), length = 1 + test_below(&seed, 6);
		struct dmo_itnode *n = dmo_it_floor(&t, at), *after = n ? dmo_it_succ(n) : dmo_it_lowest(&t);

		ck_assert(!n || n->start <= at);
		ck_assert(!after || after->start > at);
		ck_assert_int_eq(used[at], n && n->last >= at);
		if (used[at]) {
			memset(used + n->start, 0, n->last - n->start + 1);
			dmo_it_remove(&t, n);
		} else if (at + length <= (after ? after->start : CELLS)) {
			nodes[at].start = at;
			nodes[at].last = at + length - 1;
			memset(used + at, 1, length);
			dmo_it_insert_between(&t, &nodes[at], n, after);
		}
		check_gap(&t, used, &seed);
		if (round % 16 == 0)
			check_tree(&t);
	}
}
END_TEST

START_TEST(the_whole_range_of_numbers_is_usable)
{
	struct dmo_itnode whole = { .start = 0, .last = ~0ull }, first = { .start = 0, .last = 0 };
	struct dmo_itnode end = { .start = ~0ull, .last = ~0ull };
	struct dmo_itree t = DMO_ITREE_INIT;
	u64 at = 7;

	dmo_it_insert(&t, &whole);
	ck_assert_ptr_eq(dmo_it_first(&t, ~0ull, ~0ull), &whole);
	ck_assert_ptr_eq(dmo_it_first(&t, 0, 0), &whole);
	ck_assert_int_eq(dmo_it_gap(&t, 0, ~0ull, 1, 1, &at), -ENOSPC);
	dmo_it_insert(&t, &first);
	dmo_it_insert(&t, &end);
	check_tree(&t);
	ck_assert_ptr_eq(dmo_it_next(dmo_it_first(&t, ~0ull, ~0ull), ~0ull, ~0ull), &end);
	dmo_it_remove(&t, &whole);
	ck_assert_int_eq(dmo_it_gap(&t, 0, ~0ull, ~0ull - 1, 1, &at), 0);
	ck_assert_uint_eq(at, 1);
	ck_assert_int_eq(dmo_it_gap(&t, 0, ~0ull, ~0ull, 1, &at), -ENOSPC);
	ck_assert_int_eq(dmo_it_gap(&t, 1, ~0ull, 1, 1ull << 63, &at), 0);
	ck_assert_uint_eq(at, 1ull << 63);
	ck_assert_int_eq(dmo_it_gap(&t, (1ull << 63) + 1, ~0ull, 1, 1ull << 63, &at), -ENOSPC);
	check_tree(&t);
}
END_TEST

START_TEST(an_empty_tree_answers)
{
	struct dmo_itree t = DMO_ITREE_INIT;
	u64 at = 1;

	ck_assert_ptr_null(dmo_it_first(&t, 0, ~0ull));
	ck_assert_ptr_null(dmo_it_floor(&t, ~0ull));
	ck_assert_ptr_null(dmo_it_lowest(&t));
	ck_assert_ptr_null(dmo_it_highest(&t));
	ck_assert_int_eq(dmo_it_gap(&t, 0, ~0ull, ~0ull, 1, &at), 0);
	ck_assert_uint_eq(at, 0);
}
END_TEST

START_TEST(height_stays_logarithmic_in_any_order_of_insertion)
{
	enum { N = 50000 };
	struct dmo_itnode *nodes = calloc(N, sizeof(*nodes));
	u64 seed = 4;

	for (int order = 0; order < 3; order++) {
		struct dmo_itree t = DMO_ITREE_INIT;

		for (u64 i = 0; i < N; i++) {
			u64 key = order == 0 ? i : order == 1 ? N - i : test_random(&seed);

			nodes[i].start = key;
			nodes[i].last = key;
			dmo_it_insert(&t, &nodes[i]);
		}
		ck_assert_int_le(check_tree(&t), 23);	/* 1.44 log2 of 50000 */
		for (u64 i = 0; i < N; i++)
			dmo_it_remove(&t, &nodes[i]);
		ck_assert_ptr_null(t.root);
		ck_assert_uint_eq(t.count, 0);
	}
	free(nodes);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("itree");
	TCase *tc = tcase_create("itree");

	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, overlapping_ranges_agree_with_an_array);
	tcase_add_test(tc, resizing_in_place_keeps_the_maxima);
	tcase_add_test(tc, gap_and_floor_of_disjoint_ranges_agree_with_cells);
	tcase_add_test(tc, the_whole_range_of_numbers_is_usable);
	tcase_add_test(tc, an_empty_tree_answers);
	tcase_add_test(tc, height_stays_logarithmic_in_any_order_of_insertion);
	suite_add_tcase(s, tc);
	return test_run(s);
}
