/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * itree.h - an intrusive balanced tree of [start, last] ranges, both ends included
 *
 * One tree serves two uses. Overlapping ranges (the reverse map of an object): insert, remove, first and next
 * that meet a range. Disjoint ranges (attributes, a device's addresses): also floor, predecessor and gap.
 * Nodes live in the caller's structs; the tree never allocates. Ranges are full 64-bit: [0, ~0] is a range.
 *
 * Locks: none here. Every function that takes a tree, or a node that is in one, needs the caller's lock that
 * guards that tree: changing calls exclusively, the others shared.
 */
#ifndef DMO_CORE_ITREE_H
#define DMO_CORE_ITREE_H

#include "dmo_env.h"

struct dmo_itnode {
	uintptr_t link;			/* private: the parent, and in the low two bits the balance + 1 */
	struct dmo_itnode *child[2];	/* private */
	u64 start;			/* the caller sets both before insert, and dmo_it_resize after it */
	u64 last;
	u64 max_last;			/* private: the largest last in the subtree */
};

struct dmo_itree {
	struct dmo_itnode *root;
	u64 count;			/* nodes in the tree */
};

#define DMO_ITREE_INIT { NULL, 0 }

#define dmo_container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))

static inline void dmo_it_init(struct dmo_itree *t)
{
	t->root = NULL;
	t->count = 0;
}

/*
 * Adds n, whose start <= last are set and which is in no tree. Equal and overlapping ranges are allowed.
 * O(log n).
 */
void dmo_it_insert(struct dmo_itree *t, struct dmo_itnode *n);

/*
 * The same where the caller knows n's neighbours in order of start: pred and succ, next to each other in t,
 * NULL at the ends. Constant time but for rebalancing.
 */
void dmo_it_insert_between(struct dmo_itree *t, struct dmo_itnode *n, struct dmo_itnode *pred,
			   struct dmo_itnode *succ);

/* Takes n, which is in t, out of it. n's start and last stay readable. O(log n). */
void dmo_it_remove(struct dmo_itree *t, struct dmo_itnode *n);

/*
 * Gives n, which is in a tree, another range. The order of starts in the tree must stay what it is: in a
 * disjoint tree any range that meets no other node will do.
 */
void dmo_it_resize(struct dmo_itnode *n, u64 start, u64 last);

/* The node with the lowest start that meets [start, last], or NULL. O(log n). */
struct dmo_itnode *dmo_it_first(const struct dmo_itree *t, u64 start, u64 last);

/* After n, in order of start, the next node that meets [start, last], or NULL. */
struct dmo_itnode *dmo_it_next(const struct dmo_itnode *n, u64 start, u64 last);

/* The last node, in order of start, whose start is at or below at; NULL when all begin above. O(log n). */
struct dmo_itnode *dmo_it_floor(const struct dmo_itree *t, u64 at);

/*
 * Both sides of at in one descent: the floor, and the first node whose start is above at; each may be NULL.
 * They are next to each other, so that a node that starts there goes between them (dmo_it_insert_between).
 */
void dmo_it_around(const struct dmo_itree *t, u64 at, struct dmo_itnode **floor, struct dmo_itnode **above);

/* The neighbours of n in order of start, or NULL. */
struct dmo_itnode *dmo_it_pred(const struct dmo_itnode *n);
struct dmo_itnode *dmo_it_succ(const struct dmo_itnode *n);

/* The node with the lowest, and with the highest, start; NULL in an empty tree. */
struct dmo_itnode *dmo_it_lowest(const struct dmo_itree *t);
struct dmo_itnode *dmo_it_highest(const struct dmo_itree *t);

/*
 * In a tree of disjoint ranges: the lowest start of size free numbers within [lo, hi], a multiple of align (a
 * power of two). 0 with *start, or -ENOSPC. Walks the nodes from lo to the gap, so start at a hint (next fit)
 * where the tree is large. size is not 0.
 */
int dmo_it_gap(const struct dmo_itree *t, u64 lo, u64 hi, u64 size, u64 align, u64 *start);

#endif
