// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * attr.c - advice on page ranges: split, apply, merge
 *
 * The ranges of an object are disjoint, hold no value that is DMO_ATTR_NONE, and no two that touch are equal
 * (invariant of the file). Advice on [first, last] meets them so ('=' keeps its value, '#' takes the new
 * one):
 *
 *	left overlap	   |=======|		  |===|####|
 *			       |------|		      |#######|		the gap to the right becomes a range
 *	right overlap	       |=======|	      |####|===|
 *			   |------|		  |#######|
 *	middle		|=============|		|===|#####|===|		the one case that makes three of one
 *			    |-----|
 *	cover		   |==| |==|		   |##|#|##|		equal neighbours join: |#######|
 *			|-----------|
 *	undo		|===|#####|===|		|=============|		joins to the left and to the right
 *
 * How a change is made, so that it is all or nothing:
 *  1. locate() and weigh(): walk the pieces that will be, and count the ranges that the change adds and the
 *     nodes it needs on its way. Nothing is touched; -EINVAL and -ENOSPC come from here.
 *  2. reserve(): the nodes are allocated; -ENOMEM comes from here.
 *  3. split_ends(), rewrite() what lies between, join() what has become equal. None of these can fail.
 */
#include "core/attr.h"

#define range_of(n)	dmo_container_of(n, struct dmo_attr_range, node)

struct change {
	u64 first;
	u64 last;
	const struct dmo_advise *advice;	/* or NULL: then value replaces */
	const struct dmo_attr *value;
	struct dmo_attr_range *at;		/* holds first, or NULL */
	struct dmo_attr_range *left;		/* the last range that begins before first */
	struct dmo_attr_range *right;		/* the first that begins at or after it */
	struct dmo_attr_range *split_last;	/* goes on after last, or NULL */
	struct dmo_attr_range *reserved;	/* chained through node.child[0] */
	u32 nodes;				/* needed on the way */
	s64 added;				/* ranges in the end, less ranges now */
	bool differs;				/* some page's value changes */
};

static const struct dmo_attr none = DMO_ATTR_NONE;

static struct dmo_attr_range *entry(struct dmo_itnode *n)
{
	return n ? range_of(n) : NULL;
}

bool dmo_attr_is_none(const struct dmo_attr *v)
{
	return dmo_attr_equal(v, &none);
}

/* ---- what advice does to a value -------------------------------------------------------------------- */

static const struct { u32 set, clear; bool stored; } flag_of[DMO_ADV_COUNT] = {
	[DMO_ADV_NORMAL] = { 0, DMO_ATTR_SEQUENTIAL | DMO_ATTR_RANDOM | DMO_ATTR_COLD, true },
	[DMO_ADV_SEQUENTIAL] = { DMO_ATTR_SEQUENTIAL, DMO_ATTR_RANDOM, true },
	[DMO_ADV_RANDOM] = { DMO_ATTR_RANDOM, DMO_ATTR_SEQUENTIAL, true },
	[DMO_ADV_COLD] = { DMO_ATTR_COLD, 0, true },
	[DMO_ADV_READ_MOSTLY] = { DMO_ATTR_READ_MOSTLY, 0, true },
	[DMO_ADV_NO_READ_MOSTLY] = { 0, DMO_ATTR_READ_MOSTLY, true },
	[DMO_ADV_PREFERRED] = { DMO_ATTR_PREFERRED, 0, true },
	[DMO_ADV_NO_PREFERRED] = { 0, DMO_ATTR_PREFERRED, true },
	[DMO_ADV_ACCESSED_BY] = { 0, 0, true },
	[DMO_ADV_NO_ACCESSED_BY] = { 0, 0, true },
	[DMO_ADV_NO_MIGRATE] = { DMO_ATTR_NO_MIGRATE, 0, true },
	[DMO_ADV_MIGRATE] = { 0, DMO_ATTR_NO_MIGRATE, true },
	[DMO_ADV_GRANULARITY] = { 0, 0, true },
	[DMO_ADV_DEVICE_BITS] = { 0, 0, true },
};

bool dmo_advice_is_stored(u32 advice)
{
	return advice < DMO_ADV_COUNT && flag_of[advice].stored;
}

static int apply_accessed_by(struct dmo_attr *v, u32 device, bool set)
{
	u64 bits = device == DMO_DEVICE_ANY ? DMO_ACCESSED_BY_ALL : 1ull << (device & 63);

	if (device != DMO_DEVICE_ANY && device > 63)
		return -EINVAL;
	v->accessed_by = set ? v->accessed_by | bits : v->accessed_by & ~bits;
	return 0;
}

static bool granularity_ok(u64 log2)
{
	return !log2 || (log2 >= DMO_PAGE_SHIFT && log2 <= DMO_BLOCK_SHIFT);
}

int dmo_attr_apply(struct dmo_attr *v, const struct dmo_advise *a)
{
	if (!dmo_advice_is_stored(a->advice))
		return -EINVAL;
	if (a->advice == DMO_ADV_PREFERRED && a->device == DMO_DEVICE_ANY)
		return -EINVAL;
	if (a->advice == DMO_ADV_GRANULARITY && !granularity_ok(a->value))
		return -EINVAL;
	v->flags = (v->flags & ~flag_of[a->advice].clear) | flag_of[a->advice].set;
	switch (a->advice) {
	case DMO_ADV_PREFERRED:
		v->preferred = a->device;
		break;
	case DMO_ADV_NO_PREFERRED:
		v->preferred = DMO_DEVICE_ANY;
		break;
	case DMO_ADV_ACCESSED_BY:
		return apply_accessed_by(v, a->device, true);
	case DMO_ADV_NO_ACCESSED_BY:
		return apply_accessed_by(v, a->device, false);
	case DMO_ADV_GRANULARITY:
		v->granularity = (u8)a->value;
		break;
	case DMO_ADV_DEVICE_BITS:
		v->device_bits = a->value;
		break;
	}
	return 0;
}

/* The value that a page with value old has after the change. */
static int changed(const struct change *c, const struct dmo_attr *old, struct dmo_attr *out)
{
	if (!c->advice) {
		*out = *c->value;
		return 0;
	}
	*out = *old;
	return dmo_attr_apply(out, c->advice);
}

/* ---- weighing --------------------------------------------------------------------------------------- */

/* Finds the ranges round c->first. */
static void locate(const struct dmo_attrs *a, struct change *c)
{
	struct dmo_itnode *floor, *above;
	bool begins_there;

	dmo_it_around(&a->tree, c->first, &floor, &above);
	begins_there = floor && floor->start == c->first;
	c->at = floor && floor->last >= c->first ? range_of(floor) : NULL;
	c->left = entry(begins_there ? dmo_it_pred(floor) : floor);
	c->right = entry(begins_there ? floor : above);
}

struct tally {
	const struct dmo_attr *before;	/* the values left of the boundary looked at, before the change */
	const struct dmo_attr *after;	/* and after it */
};

/* A boundary between two values counts one range more where the value right of it is something. */
static s64 begins(const struct dmo_attr *left, const struct dmo_attr *right)
{
	return !dmo_attr_is_none(right) && !dmo_attr_equal(left, right);
}

/* Moves the tally over a boundary; adds to c->added. */
static void step(struct change *c, struct tally *t, const struct dmo_attr *before,
		 const struct dmo_attr *after)
{
	c->added += begins(t->after, after) - begins(t->before, before);
	t->before = before;
	t->after = after;
}

/*
 * Walks on from the end of a piece: the range that begins at the page after it, or NULL; in *next the one
 * after.
 */
static struct dmo_attr_range *piece_after(u64 end, struct dmo_attr_range *r, struct dmo_attr_range **next)
{
	if (r)
		*next = entry(dmo_it_succ(&r->node));
	return *next && (*next)->node.start == end + 1 ? *next : NULL;
}

static int weigh(struct change *c)
{
	struct dmo_attr_range *r = c->at, *next = c->right;
	struct tally t = { &none, &none };
	struct dmo_attr values[2], *now = &values[0];	/* this piece's new value and the last's, in turn */
	u64 end;

	if (c->left && c->left->node.last + 1 >= c->first)
		t.before = t.after = &c->left->value;
	c->nodes = r && r != c->right;
	for (;; r = piece_after(end, r, &next)) {
		const struct dmo_attr *old = r ? &r->value : &none;
		int err = changed(c, old, now);

		if (err)
			return err;
		c->nodes += !r && !dmo_attr_is_none(now);
		c->differs |= !dmo_attr_equal(old, now);
		step(c, &t, old, now);
		now = now == values ? &values[1] : values;
		end = r ? r->node.last : next ? next->node.start - 1 : DMO_PAGE_OPEN;
		if (end >= c->last)
			break;
	}
	c->split_last = r && end > c->last ? r : NULL;
	c->nodes += c->split_last != NULL;
	if (c->last == DMO_PAGE_OPEN)
		return 0;
	r = c->split_last ? r : piece_after(c->last, r, &next);
	step(c, &t, r ? &r->value : &none, r ? &r->value : &none);
	return 0;
}

/* ---- changing --------------------------------------------------------------------------------------- */

static void release(struct change *c, const struct dmo_mem *mem)
{
	while (c->reserved) {
		struct dmo_attr_range *r = c->reserved;

		c->reserved = (struct dmo_attr_range *)r->node.child[0];
		dmo_free(mem, r, sizeof(*r));
	}
}

static void put_by(struct change *c, struct dmo_attr_range *r)
{
	r->node.child[0] = (struct dmo_itnode *)c->reserved;
	c->reserved = r;
}

static int reserve(struct change *c, const struct dmo_mem *mem)
{
	for (u32 i = 0; i < c->nodes; i++) {
		struct dmo_attr_range *r = dmo_alloc(mem, sizeof(*r));

		if (!r) {
			release(c, mem);
			return -ENOMEM;
		}
		put_by(c, r);
	}
	return 0;
}

static struct dmo_attr_range *add(struct dmo_attrs *a, struct change *c, u64 first, u64 last,
				  const struct dmo_attr *value, struct dmo_attr_range *pred,
				  struct dmo_attr_range *succ)
{
	struct dmo_attr_range *r = c->reserved;

	DMO_BUG_ON(!r);
	c->reserved = (struct dmo_attr_range *)r->node.child[0];
	r->node.start = first;
	r->node.last = last;
	r->value = *value;
	dmo_it_insert_between(&a->tree, &r->node, pred ? &pred->node : NULL, succ ? &succ->node : NULL);
	return r;
}

static void drop(struct dmo_attrs *a, struct change *c, struct dmo_attr_range *r)
{
	dmo_it_remove(&a->tree, &r->node);
	put_by(c, r);
}

/* Makes r, which holds both page - 1 and page, end before page. Returns the range that begins there now. */
static struct dmo_attr_range *split(struct dmo_attrs *a, struct change *c, struct dmo_attr_range *r, u64 page)
{
	u64 last = r->node.last;

	dmo_it_resize(&r->node, r->node.start, page - 1);
	return add(a, c, page, last, &r->value, r, entry(dmo_it_succ(&r->node)));
}

/* No range crosses either end of the change any more, and c->right is the first range in it or after it. */
static void split_ends(struct dmo_attrs *a, struct change *c)
{
	if (c->at && c->at != c->right) {
		c->right = split(a, c, c->at, c->first);
		if (c->split_last == c->at)
			c->split_last = c->right;
	}
	if (c->split_last)
		split(a, c, c->split_last, c->last + 1);
}

/* Joins left and right where they touch and are equal. Returns the range that ends where right did. */
static struct dmo_attr_range *join(struct dmo_attrs *a, struct change *c, struct dmo_attr_range *left,
				   struct dmo_attr_range *right)
{
	u64 last = right->node.last;

	if (!left || left->node.last + 1 != right->node.start || !dmo_attr_equal(&left->value, &right->value))
		return right;
	drop(a, c, right);
	dmo_it_resize(&left->node, left->node.start, last);
	return left;
}

/*
 * Gives [first, last], which one range holds wholly (r) or none does, its new value; left ends before first.
 */
static struct dmo_attr_range *rewrite_piece(struct dmo_attrs *a, struct change *c, u64 first, u64 last,
					    struct dmo_attr_range *r, struct dmo_attr_range *left,
					    struct dmo_attr_range *right)
{
	struct dmo_attr now;

	changed(c, r ? &r->value : &none, &now);
	if (dmo_attr_is_none(&now)) {
		if (r)
			drop(a, c, r);
		return left;
	}
	if (left && left->node.last + 1 == first && dmo_attr_equal(&left->value, &now)) {
		if (r)
			drop(a, c, r);
		dmo_it_resize(&left->node, left->node.start, last);
		return left;
	}
	if (!r)
		return add(a, c, first, last, &now, left, right);
	r->value = now;
	return r;
}

/*
 * Both ends are at boundaries: gives every piece of [c->first, c->last] its new value and joins as it goes.
 */
static void rewrite(struct dmo_attrs *a, struct change *c)
{
	struct dmo_attr_range *left = c->left, *r = c->right, *next;
	u64 at = c->first, end = 0;

	for (; at <= c->last; at = end + 1) {
		if (r && r->node.start == at) {
			end = r->node.last;
			next = entry(dmo_it_succ(&r->node));
			left = rewrite_piece(a, c, at, end, r, left, next);
			r = next;
		} else {
			end = r && r->node.start <= c->last ? r->node.start - 1 : c->last;
			left = rewrite_piece(a, c, at, end, NULL, left, r);
		}
		if (end == DMO_PAGE_OPEN)
			break;
	}
	if (r && left)
		join(a, c, left, r);
}

static int change(struct dmo_attrs *a, const struct dmo_mem *mem, struct change *c)
{
	int err;

	if (c->first > c->last)
		return -EINVAL;
	locate(a, c);
	err = weigh(c);
	if (err || !c->differs)
		return err;
	if (c->added > 0 && a->tree.count + (u64)c->added > DMO_ATTR_RANGES_MAX)
		return -ENOSPC;
	err = reserve(c, mem);
	if (err)
		return err;
	split_ends(a, c);
	rewrite(a, c);
	release(c, mem);
	a->gen++;
	return 0;
}

int dmo_attrs_advise(struct dmo_attrs *a, const struct dmo_mem *mem, u64 first, u64 last,
		     const struct dmo_advise *advice)
{
	struct change c = { .first = first, .last = last, .advice = advice };

	return change(a, mem, &c);
}

int dmo_attrs_set(struct dmo_attrs *a, const struct dmo_mem *mem, u64 first, u64 last,
		  const struct dmo_attr *value)
{
	struct change c = { .first = first, .last = last, .value = value };

	return change(a, mem, &c);
}

void dmo_attrs_truncate(struct dmo_attrs *a, const struct dmo_mem *mem, u64 pages)
{
	struct dmo_attr_range *r = entry(dmo_it_highest(&a->tree)), *left;

	for (; r && r->node.last >= pages; r = left) {
		left = entry(dmo_it_pred(&r->node));
		if (r->node.last == DMO_PAGE_OPEN)
			continue;
		a->gen++;
		if (r->node.start < pages) {
			dmo_it_resize(&r->node, r->node.start, pages - 1);
		} else {
			dmo_it_remove(&a->tree, &r->node);
			dmo_free(mem, r, sizeof(*r));
		}
	}
}

/* The range that holds page, or NULL; in *next the first that begins after it. */
static struct dmo_attr_range *range_at(const struct dmo_attrs *a, u64 page, struct dmo_attr_range **next)
{
	struct dmo_itnode *floor, *above;

	dmo_it_around(&a->tree, page, &floor, &above);
	*next = entry(above);
	return floor && floor->last >= page ? range_of(floor) : NULL;
}

void dmo_attrs_get(const struct dmo_attrs *a, u64 page, struct dmo_attr *out, u64 *run_last)
{
	struct dmo_attr_range *next = NULL, *r = range_at(a, page, &next);

	*out = r ? r->value : none;
	if (run_last)
		*run_last = r ? r->node.last : next ? next->node.start - 1 : DMO_PAGE_OPEN;
}

void dmo_attrs_init(struct dmo_attrs *a)
{
	dmo_it_init(&a->tree);
	a->gen = 0;
}

void dmo_attrs_fini(struct dmo_attrs *a, const struct dmo_mem *mem)
{
	struct dmo_attr_range *r;

	while ((r = dmo_attrs_first(a))) {
		dmo_it_remove(&a->tree, &r->node);
		dmo_free(mem, r, sizeof(*r));
	}
}

struct dmo_attr_range *dmo_attrs_first(const struct dmo_attrs *a)
{
	return entry(dmo_it_lowest(&a->tree));
}

struct dmo_attr_range *dmo_attrs_next(const struct dmo_attr_range *r)
{
	return entry(dmo_it_succ(&r->node));
}
