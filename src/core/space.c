// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * space.c - mapping and unmapping: where a new range joins its neighbours and where a hole splits one
 *
 * Unmapping [va, last] meets a mapping in one of four ways; '-' goes, '=' stays:
 *
 *	whole:   |-----------|	both trees lose the node
 *	tail:    |=====|-----|	the node ends earlier
 *	head:    |-----|=====|	the node begins later, so it moves in the reverse map
 *	middle:  |==|-----|==|	the node ends earlier, and a new node takes what is right of the hole
 *
 * Only the last needs memory, and at most one mapping of a call is met that way. Mapping needs one node at
 * most, and one more where REPLACE cuts a middle out. So each changing call first puts two nodes by, and
 * cannot fail after that.
 *
 * A mapping's two ranges change together, inside one hold of the object's lock. Where two nodes take part,
 * what stays mapped is for a moment in both, and at no time in neither.
 */
#include "core/space.h"

#include <dmo/ioctl.h>

#define SPARES_NEEDED	2u
#define SPARES_KEPT	32u
#define PAGE_MASK	((u64)DMO_PAGE_SIZE - 1)
#define BLOCK_MASK	((u64)DMO_BLOCK_SIZE - 1)
#define OFFSET_MAX	0x7fffffffffffffffull

#define mapping_of_va(n)	dmo_container_of(n, struct dmo_mapping, va_node)
#define mapping_of_obj(n)	dmo_container_of(n, struct dmo_mapping, obj_node)

static struct dmo_mapping *va_entry(struct dmo_itnode *n)
{
	return n ? mapping_of_va(n) : NULL;
}

static struct dmo_mapping *obj_entry(struct dmo_itnode *n)
{
	return n ? mapping_of_obj(n) : NULL;
}

/* ---- nodes put by --------------------------------------------------------------------------------- */

static void spare_push(struct dmo_space *s, struct dmo_mapping *m)
{
	m->object = s->spare;
	s->spare = m;
	s->spares++;
}

static struct dmo_mapping *spare_pop(struct dmo_space *s)
{
	struct dmo_mapping *m = s->spare;

	s->spare = m->object;
	s->spares--;
	return m;
}

static int spares_fill(struct dmo_space *s)
{
	while (s->spares < SPARES_NEEDED) {
		struct dmo_mapping *m = dmo_alloc(&s->mem, sizeof(*m));

		if (!m)
			return -ENOMEM;
		spare_push(s, m);
	}
	return 0;
}

/* ---- one mapping ---------------------------------------------------------------------------------- */

static struct dmo_itree *object_lock(struct dmo_space *s, void *object)
{
	if (s->ops->lock)
		s->ops->lock(object);
	return s->ops->rmap(object);
}

static void object_unlock(struct dmo_space *s, void *object)
{
	if (s->ops->unlock)
		s->ops->unlock(object);
}

/*
 * Puts a mapping of length bytes like the model (whose object, owner, bits and prot it takes) into both
 * trees.
 */
static void mapping_add(struct dmo_space *s, const struct dmo_space_request *r, u64 va,
			struct dmo_itnode *pred, struct dmo_itnode *succ)
{
	struct dmo_mapping *m = spare_pop(s);

	m->space = s;
	m->object = r->object;
	m->owner = r->owner;
	m->bits = r->bits;
	m->prot = r->prot;
	m->va_node.start = va;
	m->va_node.last = va + r->length - 1;
	m->obj_node.start = r->offset;
	m->obj_node.last = r->offset + r->length - 1;
	if (s->ops->get)
		s->ops->get(m);
	dmo_it_insert_between(&s->va, &m->va_node, pred, succ);
	dmo_it_insert(object_lock(s, m->object), &m->obj_node);
	object_unlock(s, m->object);
}

static void mapping_remove(struct dmo_space *s, struct dmo_mapping *m)
{
	dmo_it_remove(object_lock(s, m->object), &m->obj_node);
	object_unlock(s, m->object);
	dmo_it_remove(&s->va, &m->va_node);
	if (s->ops->put)
		s->ops->put(m);
	if (s->spares < SPARES_KEPT)
		spare_push(s, m);
	else
		dmo_free(&s->mem, m, sizeof(*m));
}

/* Makes m run from va to last; what it maps at an address stays the same. */
static void mapping_resize(struct dmo_space *s, struct dmo_mapping *m, u64 va, u64 last)
{
	struct dmo_itree *rmap = object_lock(s, m->object);
	u64 start = m->obj_node.start + (va - m->va_node.start), end = start + (last - va);

	if (start == m->obj_node.start) {
		dmo_it_resize(&m->obj_node, start, end);
	} else {
		dmo_it_remove(rmap, &m->obj_node);
		m->obj_node.start = start;
		m->obj_node.last = end;
		dmo_it_insert(rmap, &m->obj_node);
	}
	dmo_it_resize(&m->va_node, va, last);
	object_unlock(s, m->object);
}

/* ---- unmap ---------------------------------------------------------------------------------------- */

/* A new mapping for what m maps from va to its end; m itself is cut by the caller. */
static void split_off(struct dmo_space *s, struct dmo_mapping *m, u64 va)
{
	struct dmo_space_request rest = {
		.object = m->object, .owner = m->owner, .bits = m->bits, .prot = m->prot,
		.offset = dmo_mapping_offset_of(m, va), .length = m->va_node.last - va + 1,
	};

	mapping_add(s, &rest, va, &m->va_node, dmo_it_succ(&m->va_node));
}

/* Takes [lo, hi], a part of m, away. */
static void cut(struct dmo_space *s, struct dmo_mapping *m, u64 lo, u64 hi)
{
	bool keep_head = m->va_node.start < lo, keep_tail = m->va_node.last > hi;
	u64 last = m->va_node.last;

	if (s->ops->gone)
		s->ops->gone(s, m, lo, hi - lo + 1);
	s->mapped -= hi - lo + 1;
	if (!keep_head && !keep_tail)
		mapping_remove(s, m);
	else if (!keep_head)
		mapping_resize(s, m, hi + 1, last);
	else if (!keep_tail)
		mapping_resize(s, m, m->va_node.start, lo - 1);
	else {
		split_off(s, m, hi + 1);
		mapping_resize(s, m, m->va_node.start, lo - 1);
	}
}

static void cut_range(struct dmo_space *s, u64 va, u64 last)
{
	struct dmo_mapping *m = dmo_space_first(s, va, last), *next;

	for (; m; m = next) {
		u64 lo = m->va_node.start > va ? m->va_node.start : va;
		u64 hi = m->va_node.last < last ? m->va_node.last : last;

		next = hi < last ? va_entry(dmo_it_succ(&m->va_node)) : NULL;
		if (next && next->va_node.start > last)
			next = NULL;
		cut(s, m, lo, hi);
	}
}

static bool range_ok(const struct dmo_space *s, u64 va, u64 length)
{
	if (!length || (va | length) & PAGE_MASK)
		return false;
	return va >= s->va_start && va < s->va_end && length <= s->va_end - va;
}

int dmo_space_unmap(struct dmo_space *s, u64 va, u64 length)
{
	int err;

	if (!range_ok(s, va, length))
		return -EINVAL;
	err = spares_fill(s);
	if (err)
		return err;
	cut_range(s, va, va + length - 1);
	return 0;
}

/* ---- map ------------------------------------------------------------------------------------------ */

/* A free range; where it is large enough, device addresses agree with object offsets modulo a block. */
static int pick(struct dmo_space *s, const struct dmo_space_request *r, u64 *va)
{
	bool large = r->length >= DMO_BLOCK_SIZE;
	u64 phase = large ? r->offset & BLOCK_MASK : 0, align = large ? DMO_BLOCK_SIZE : DMO_PAGE_SIZE;
	u64 size = r->length + phase;
	int err;

	if (size < phase)
		return -ENOSPC;
	err = dmo_it_gap(&s->va, s->hint, s->va_end - 1, size, align, va);
	if (err && s->hint != s->va_start)
		err = dmo_it_gap(&s->va, s->va_start, s->va_end - 1, size, align, va);
	if (err)
		return err;
	*va += phase;
	s->hint = *va + r->length;
	return 0;
}

static int request_check(const struct dmo_space *s, const struct dmo_space_request *r)
{
	if (!r->length || (r->length | r->offset) & PAGE_MASK)
		return -EINVAL;
	if (r->flags & ~(DMO_MAP_FIXED | DMO_MAP_REPLACE))
		return -EINVAL;
	if (r->flags & DMO_MAP_REPLACE && !(r->flags & DMO_MAP_FIXED))
		return -EINVAL;
	if (r->offset > OFFSET_MAX || r->length > OFFSET_MAX - r->offset)
		return -EOVERFLOW;
	if (r->flags & DMO_MAP_FIXED && !range_ok(s, r->va, r->length))
		return -EINVAL;
	return 0;
}

static bool same(const struct dmo_mapping *m, const struct dmo_space_request *r)
{
	return m->object == r->object && m->owner == r->owner && m->prot == r->prot && m->bits == r->bits;
}

/* Enters r at va, which is free and lies between left and right; joins those that it continues. */
static void enter(struct dmo_space *s, const struct dmo_space_request *r, u64 va, struct dmo_mapping *left,
		  struct dmo_mapping *right)
{
	u64 last = va + r->length - 1;
	bool join_left = left && left->va_node.last + 1 == va && left->obj_node.last + 1 == r->offset &&
			 same(left, r);
	bool join_right = right && right->va_node.start == last + 1 &&
			  right->obj_node.start == r->offset + r->length && same(right, r);

	s->mapped += r->length;
	if (join_left && join_right) {
		u64 end = right->va_node.last;

		mapping_resize(s, left, left->va_node.start, end);
		mapping_remove(s, right);
	} else if (join_left) {
		mapping_resize(s, left, left->va_node.start, last);
	} else if (join_right) {
		mapping_resize(s, right, va, right->va_node.last);
	} else {
		mapping_add(s, r, va, left ? &left->va_node : NULL, right ? &right->va_node : NULL);
	}
}

/*
 * The mappings round va, where va itself may be mapped: the last that starts at or below it, and the one
 * after.
 */
static void neighbours(const struct dmo_space *s, u64 va, struct dmo_mapping **left,
		       struct dmo_mapping **right)
{
	struct dmo_itnode *floor, *above;

	dmo_it_around(&s->va, va, &floor, &above);
	*left = va_entry(floor);
	*right = va_entry(above);
}

int dmo_space_map(struct dmo_space *s, const struct dmo_space_request *r, u64 *va)
{
	struct dmo_mapping *left, *right;
	u64 at = r->va;
	bool met;
	int err = request_check(s, r);

	if (!err)
		err = spares_fill(s);
	if (!err && !(r->flags & DMO_MAP_FIXED))
		err = pick(s, r, &at);
	if (err)
		return err;
	neighbours(s, at, &left, &right);
	met = (left && left->va_node.last >= at) || (right && right->va_node.start <= at + r->length - 1);
	if (met && !(r->flags & DMO_MAP_REPLACE))
		return -EEXIST;
	if (met) {
		cut_range(s, at, at + r->length - 1);
		neighbours(s, at, &left, &right);
	}
	enter(s, r, at, left, right);
	*va = at;
	return 0;
}

/* ---- the rest ------------------------------------------------------------------------------------- */

void dmo_space_init(struct dmo_space *s, const struct dmo_mem *mem, const struct dmo_space_ops *ops,
		    u64 va_start, u64 va_end)
{
	memset(s, 0, sizeof(*s));
	DMO_BUG_ON(va_start >= va_end || (va_start | va_end) & PAGE_MASK);
	dmo_it_init(&s->va);
	s->va_start = va_start;
	s->va_end = va_end;
	s->hint = va_start;
	s->ops = ops;
	s->mem = *mem;
}

void dmo_space_fini(struct dmo_space *s)
{
	struct dmo_itnode *n;

	while ((n = dmo_it_lowest(&s->va)))
		cut(s, mapping_of_va(n), n->start, n->last);
	while (s->spare)
		dmo_free(&s->mem, spare_pop(s), sizeof(struct dmo_mapping));
}

struct dmo_mapping *dmo_space_find(const struct dmo_space *s, u64 va)
{
	struct dmo_itnode *n = dmo_it_floor(&s->va, va);

	return n && n->last >= va ? mapping_of_va(n) : NULL;
}

struct dmo_mapping *dmo_space_first(const struct dmo_space *s, u64 va, u64 last)
{
	struct dmo_itnode *n, *above;

	dmo_it_around(&s->va, va, &n, &above);
	if (!n || n->last < va)
		n = above;
	return n && n->start <= last ? mapping_of_va(n) : NULL;
}

struct dmo_mapping *dmo_space_next(const struct dmo_mapping *m, u64 last)
{
	struct dmo_itnode *n = dmo_it_succ(&m->va_node);

	return n && n->start <= last ? mapping_of_va(n) : NULL;
}

struct dmo_mapping *dmo_rmap_first(const struct dmo_itree *rmap, u64 first, u64 last)
{
	return obj_entry(dmo_it_first(rmap, first, last));
}

struct dmo_mapping *dmo_rmap_next(const struct dmo_mapping *m, u64 first, u64 last)
{
	return obj_entry(dmo_it_next(&m->obj_node, first, last));
}
