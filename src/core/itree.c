// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * itree.c - the interval tree: an AVL tree ordered by start, where each node knows the largest last below it
 *
 * Invariants, after each call:
 *  1. in-order, starts never fall;
 *  2. the heights of a node's two subtrees differ by one at most, and its balance says how (right less left);
 *  3. max_last is the largest last in the node's subtree.
 *
 * Balances instead of heights, so that a change looks only at the nodes of one path and stops where the
 * heights settle. An insertion raises max_last on its way down; a removal lowers it on the way up and stops
 * at the first node whose maximum was another's. No recursion anywhere. The two sides share their code:
 * child[0] is left.
 */
#include "core/itree.h"

static struct dmo_itnode *parent_of(const struct dmo_itnode *n)
{
	return (struct dmo_itnode *)(n->link & ~(uintptr_t)3);
}

static int balance_of(const struct dmo_itnode *n)
{
	return (int)(n->link & 3) - 1;
}

static void set_parent(struct dmo_itnode *n, struct dmo_itnode *parent)
{
	n->link = (uintptr_t)parent | (n->link & 3);
}

static void set_balance(struct dmo_itnode *n, int balance)
{
	n->link = (n->link & ~(uintptr_t)3) | (uintptr_t)(balance + 1);
}

static unsigned side_of(const struct dmo_itnode *parent, const struct dmo_itnode *n)
{
	return parent->child[1] == n;
}

static u64 max_below(const struct dmo_itnode *n)
{
	const struct dmo_itnode *l = n->child[0], *r = n->child[1];
	u64 max = n->last;

	if (l && l->max_last > max)
		max = l->max_last;
	if (r && r->max_last > max)
		max = r->max_last;
	return max;
}

/* Makes whatever pointed at old, from parent or as the root, point at now. */
static void relink(struct dmo_itree *t, struct dmo_itnode *parent, struct dmo_itnode *old,
		   struct dmo_itnode *now)
{
	if (parent)
		parent->child[side_of(parent, old)] = now;
	else
		t->root = now;
}

/*
 * Lifts p's child on side s into p's place; p becomes its child on the other side. Balances are the caller's.
 */
static void rotate(struct dmo_itree *t, struct dmo_itnode *p, unsigned s)
{
	struct dmo_itnode *c = p->child[s], *moved = c->child[!s], *above = parent_of(p);

	relink(t, above, p, c);
	set_parent(c, above);
	c->child[!s] = p;
	set_parent(p, c);
	p->child[s] = moved;
	if (moved)
		set_parent(moved, p);
	c->max_last = p->max_last;
	p->max_last = max_below(p);
}

/*
 * p is two higher on side s: restores invariant 2 there. True when the subtree became one lower than it was.
 */
static bool rebalance(struct dmo_itree *t, struct dmo_itnode *p, unsigned s)
{
	struct dmo_itnode *c = p->child[s], *g = c->child[!s];
	int dir = s ? 1 : -1, was = balance_of(c);

	if (was == -dir) {
		int inner = balance_of(g);

		rotate(t, c, !s);
		rotate(t, p, s);
		set_balance(p, inner == dir ? -dir : 0);
		set_balance(c, inner == -dir ? dir : 0);
		set_balance(g, 0);
		return true;
	}
	rotate(t, p, s);
	set_balance(p, was ? 0 : dir);
	set_balance(c, was ? 0 : -dir);
	return was;
}

/* The subtree of n grew by one. */
static void grown(struct dmo_itree *t, struct dmo_itnode *n)
{
	struct dmo_itnode *p;

	for (; (p = parent_of(n)); n = p) {
		unsigned s = side_of(p, n);
		int balance = balance_of(p) + (s ? 1 : -1);

		if (balance == 2 || balance == -2) {
			rebalance(t, p, s);
			return;
		}
		set_balance(p, balance);
		if (!balance)
			return;
	}
}

/* p's subtree on side s became one lower. */
static void shrunk(struct dmo_itree *t, struct dmo_itnode *p, unsigned s)
{
	while (p) {
		struct dmo_itnode *above = parent_of(p);
		unsigned above_side = above ? side_of(above, p) : 0;
		int balance = balance_of(p) + (s ? -1 : 1);

		if (balance == 2 || balance == -2) {
			if (!rebalance(t, p, !s))
				return;
		} else {
			set_balance(p, balance);
			if (balance)
				return;
		}
		p = above;
		s = above_side;
	}
}

/* A node with last gone left the subtree of n: lowers the maxima from n up to, not including, stop. */
static void lower_max(struct dmo_itnode *n, const struct dmo_itnode *stop, u64 gone)
{
	for (; n != stop && n->max_last == gone; n = parent_of(n)) {
		n->max_last = max_below(n);
		if (n->max_last == gone)
			return;
	}
}

/* Hangs n below p on side s, where p has no child; p NULL: n is the root. */
static void hang(struct dmo_itree *t, struct dmo_itnode *n, struct dmo_itnode *p, unsigned s)
{
	for (struct dmo_itnode *x = p; x && x->max_last < n->last; x = parent_of(x))
		x->max_last = n->last;
	n->child[0] = NULL;
	n->child[1] = NULL;
	n->max_last = n->last;
	n->link = (uintptr_t)p | 1;
	if (p)
		p->child[s] = n;
	else
		t->root = n;
	t->count++;
	grown(t, n);
}

void dmo_it_insert(struct dmo_itree *t, struct dmo_itnode *n)
{
	struct dmo_itnode *p = NULL, *x = t->root;
	unsigned s = 0;

	while (x) {
		p = x;
		s = n->start >= p->start;
		x = p->child[s];
	}
	hang(t, n, p, s);
}

void dmo_it_insert_between(struct dmo_itree *t, struct dmo_itnode *n, struct dmo_itnode *pred,
			   struct dmo_itnode *succ)
{
	unsigned s = pred && !pred->child[1];

	hang(t, n, s ? pred : succ, s);
}

/* Takes out n, which has at most one child. */
static void remove_outer(struct dmo_itree *t, struct dmo_itnode *n)
{
	struct dmo_itnode *p = parent_of(n), *c = n->child[0] ? n->child[0] : n->child[1];
	unsigned s = p ? side_of(p, n) : 0;

	relink(t, p, n, c);
	if (c)
		set_parent(c, p);
	lower_max(p, NULL, n->last);
	shrunk(t, p, s);
}

/* Takes out n, which has two children: its successor, which has no left child, takes its place. */
static void remove_inner(struct dmo_itree *t, struct dmo_itnode *n)
{
	struct dmo_itnode *y = n->child[1], *above = parent_of(n), *from;
	unsigned s;

	while (y->child[0])
		y = y->child[0];
	from = parent_of(y);
	s = side_of(from, y);
	if (from != n) {
		from->child[0] = y->child[1];
		if (y->child[1])
			set_parent(y->child[1], from);
		lower_max(from, n, y->last);
		y->child[1] = n->child[1];
		set_parent(y->child[1], y);
	} else {
		from = y;
	}
	y->child[0] = n->child[0];
	set_parent(y->child[0], y);
	y->link = n->link;
	relink(t, above, n, y);
	y->max_last = max_below(y);
	lower_max(above, NULL, n->last);
	shrunk(t, from, s);
}

void dmo_it_remove(struct dmo_itree *t, struct dmo_itnode *n)
{
	t->count--;
	if (n->child[0] && n->child[1])
		remove_inner(t, n);
	else
		remove_outer(t, n);
}

void dmo_it_resize(struct dmo_itnode *n, u64 start, u64 last)
{
	n->start = start;
	n->last = last;
	for (; n; n = parent_of(n)) {
		u64 max = max_below(n);

		if (max == n->max_last)
			return;
		n->max_last = max;
	}
}

/*
 * The leftmost node of the subtree of n that meets [start, last]; the subtree's max_last is at least start.
 */
static struct dmo_itnode *first_below(const struct dmo_itnode *n, u64 start, u64 last)
{
	for (;;) {
		const struct dmo_itnode *l = n->child[0];

		if (l && l->max_last >= start) {
			n = l;
			continue;
		}
		if (n->start > last)
			return NULL;
		if (n->last >= start)
			return (struct dmo_itnode *)n;
		n = n->child[1];
	}
}

struct dmo_itnode *dmo_it_first(const struct dmo_itree *t, u64 start, u64 last)
{
	if (!t->root || t->root->max_last < start)
		return NULL;
	return first_below(t->root, start, last);
}

struct dmo_itnode *dmo_it_next(const struct dmo_itnode *n, u64 start, u64 last)
{
	for (;;) {
		const struct dmo_itnode *r = n->child[1], *p;

		if (r && r->max_last >= start)
			return first_below(r, start, last);
		for (p = parent_of(n); p && side_of(p, n); p = parent_of(n))
			n = p;
		if (!p || p->start > last)
			return NULL;
		if (p->last >= start)
			return (struct dmo_itnode *)p;
		n = p;
	}
}

void dmo_it_around(const struct dmo_itree *t, u64 at, struct dmo_itnode **floor, struct dmo_itnode **above)
{
	struct dmo_itnode *n = t->root, *passed[2] = { NULL, NULL };

	while (n) {
		unsigned s = n->start <= at;

		passed[s] = n;
		n = n->child[s];
	}
	*floor = passed[1];
	*above = passed[0];
}

struct dmo_itnode *dmo_it_floor(const struct dmo_itree *t, u64 at)
{
	struct dmo_itnode *floor, *above;

	dmo_it_around(t, at, &floor, &above);
	return floor;
}

static struct dmo_itnode *outermost(const struct dmo_itnode *n, unsigned s)
{
	while (n && n->child[s])
		n = n->child[s];
	return (struct dmo_itnode *)n;
}

static struct dmo_itnode *neighbour(const struct dmo_itnode *n, unsigned s)
{
	const struct dmo_itnode *p;

	if (n->child[s])
		return outermost(n->child[s], !s);
	for (p = parent_of(n); p && side_of(p, n) == s; p = parent_of(n))
		n = p;
	return (struct dmo_itnode *)p;
}

struct dmo_itnode *dmo_it_pred(const struct dmo_itnode *n)
{
	return neighbour(n, 0);
}

struct dmo_itnode *dmo_it_succ(const struct dmo_itnode *n)
{
	return neighbour(n, 1);
}

struct dmo_itnode *dmo_it_lowest(const struct dmo_itree *t)
{
	return outermost(t->root, 0);
}

struct dmo_itnode *dmo_it_highest(const struct dmo_itree *t)
{
	return outermost(t->root, 1);
}

/* The lowest multiple of align with size free numbers from it, all within [lo, hi]. */
static bool fits(u64 lo, u64 hi, u64 size, u64 align, u64 *start)
{
	u64 at = (lo + align - 1) & ~(align - 1);

	if (at < lo || at > hi || hi - at < size - 1)
		return false;
	*start = at;
	return true;
}

int dmo_it_gap(const struct dmo_itree *t, u64 lo, u64 hi, u64 size, u64 align, u64 *start)
{
	const struct dmo_itnode *n = dmo_it_floor(t, lo);
	u64 at = lo;

	for (n = n ? n : dmo_it_lowest(t); n && n->start <= hi; n = dmo_it_succ(n)) {
		if (n->start > at && fits(at, n->start - 1, size, align, start))
			return 0;
		if (n->last >= hi)
			return -ENOSPC;
		if (n->last >= at)
			at = n->last + 1;
	}
	return fits(at, hi, size, align, start) ? 0 : -ENOSPC;
}
