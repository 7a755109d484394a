/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/radix.h"

#define MAX_HEIGHT 6u

struct dmo_radix_node {
	u32 used;
	void *slot[DMO_RADIX_SLOTS];
};

static unsigned slot_of(u64 index, unsigned level)
{
	return index >> (level * DMO_RADIX_BITS) & (DMO_RADIX_SLOTS - 1);
}

static bool fits(const struct dmo_radix *r, u64 index)
{
	return r->height && !(index >> (r->height * DMO_RADIX_BITS));
}

void *dmo_radix_get(const struct dmo_radix *r, u64 index)
{
	void *p = r->root;

	if (!fits(r, index))
		return NULL;
	for (unsigned level = r->height; p && level--;)
		p = ((struct dmo_radix_node *)p)->slot[slot_of(index, level)];
	return p;
}

/* Frees the empty nodes on the way to index, lowest first; an index that is too high for the tree has none. */
static void prune(struct dmo_radix *r, const struct dmo_mem *mem, u64 index)
{
	struct dmo_radix_node *path[MAX_HEIGHT + 1] = { r->root };
	unsigned depth = 0;

	if (!fits(r, index))
		return;
	while (depth + 1 < r->height && path[depth]) {
		path[depth + 1] = path[depth]->slot[slot_of(index, r->height - 1 - depth)];
		depth++;
	}
	for (unsigned d = depth + 1; d-- > 0;) {
		if (!path[d])
			continue;
		if (path[d]->used)
			return;
		dmo_free(mem, path[d], sizeof(*path[d]));
		if (d == 0) {
			r->root = NULL;
			r->height = 0;
			return;
		}
		path[d - 1]->slot[slot_of(index, r->height - d)] = NULL;
		path[d - 1]->used--;
	}
}

/* A root for an empty tree, at once as high as index asks for: no node without an entry below it may come to be. */
static int plant(struct dmo_radix *r, const struct dmo_mem *mem, u64 index)
{
	r->root = dmo_alloc(mem, sizeof(*r->root));
	if (!r->root)
		return -ENOMEM;
	while (!fits(r, index))
		r->height++;
	return 0;
}

static int grow(struct dmo_radix *r, const struct dmo_mem *mem, u64 index)
{
	if (!r->root)
		return plant(r, mem, index);
	while (!fits(r, index)) {
		struct dmo_radix_node *n = dmo_alloc(mem, sizeof(*n));

		if (!n)
			return -ENOMEM;
		n->slot[0] = r->root;
		n->used = 1;
		r->root = n;
		r->height++;
	}
	return 0;
}

static int descend(struct dmo_radix *r, const struct dmo_mem *mem, u64 index, struct dmo_radix_node **leaf)
{
	struct dmo_radix_node *n = r->root;

	for (unsigned level = r->height - 1; level; level--) {
		void **slot = &n->slot[slot_of(index, level)];

		if (!*slot) {
			*slot = dmo_alloc(mem, sizeof(*n));
			if (!*slot)
				return -ENOMEM;
			n->used++;
		}
		n = *slot;
	}
	*leaf = n;
	return 0;
}

int dmo_radix_insert(struct dmo_radix *r, const struct dmo_mem *mem, u64 index, void *p)
{
	struct dmo_radix_node *leaf;
	int err;

	if (index >> (MAX_HEIGHT * DMO_RADIX_BITS))
		return -EFBIG;
	err = grow(r, mem, index);
	if (!err)
		err = descend(r, mem, index, &leaf);
	if (err) {
		prune(r, mem, index);
		return err;
	}
	DMO_BUG_ON(leaf->slot[slot_of(index, 0)]);
	leaf->slot[slot_of(index, 0)] = p;
	leaf->used++;
	return 0;
}

void *dmo_radix_remove(struct dmo_radix *r, const struct dmo_mem *mem, u64 index)
{
	struct dmo_radix_node *n = r->root;
	void *p;

	if (!dmo_radix_get(r, index))
		return NULL;
	for (unsigned level = r->height - 1; level; level--)
		n = n->slot[slot_of(index, level)];
	p = n->slot[slot_of(index, 0)];
	n->slot[slot_of(index, 0)] = NULL;
	n->used--;
	prune(r, mem, index);
	return p;
}

void *dmo_radix_next(const struct dmo_radix *r, u64 *index)
{
	u64 i = *index;

	while (fits(r, i)) {
		void *p = r->root;
		unsigned level = r->height;

		while (level) {
			struct dmo_radix_node *n = p;

			p = n->slot[slot_of(i, --level)];
			if (!p)
				break;
		}
		if (p) {
			*index = i;
			return p;
		}
		i = ((i >> (level * DMO_RADIX_BITS)) + 1) << (level * DMO_RADIX_BITS);
		if (!i)
			break;
	}
	return NULL;
}
