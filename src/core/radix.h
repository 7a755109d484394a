/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * radix.h - a sparse table from a 54-bit index to a pointer: the blocks of an object
 *
 * A tree of 512-slot nodes that is as high as its largest index asks for, and empty where nothing is stored.
 *
 * Locks: none here; changing calls need the owner's lock exclusively, lookups shared.
 */
#ifndef DMO_CORE_RADIX_H
#define DMO_CORE_RADIX_H

#include "core/mem.h"

#define DMO_RADIX_BITS	9u
#define DMO_RADIX_SLOTS	(1u << DMO_RADIX_BITS)

struct dmo_radix {
	struct dmo_radix_node *root;
	u32 height;		/* levels; 0: empty */
};

/* What stands at index, or NULL. */
void *dmo_radix_get(const struct dmo_radix *r, u64 index);
/* Puts p, not NULL, at index, which is empty. 0, -ENOMEM, or -EFBIG for an index of 2^54 or more. */
int dmo_radix_insert(struct dmo_radix *r, const struct dmo_mem *mem, u64 index, void *p);
/* Empties index and gives back nodes that became empty. Returns what stood there. */
void *dmo_radix_remove(struct dmo_radix *r, const struct dmo_mem *mem, u64 index);
/* The first entry at or after *index, its index in *index; NULL when there is none. */
void *dmo_radix_next(const struct dmo_radix *r, u64 *index);

#endif
