/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * space.h - a device's address space: which bytes of which object stand at which device address
 *
 * A space is a set of disjoint mappings, page aligned, sparse. Each mapping is in two trees: its space's, by
 * device address, and its object's reverse map, by byte offset in the object, where the mappings of all
 * spaces overlap freely. Neighbours that continue each other (address, object, offset, protection, bits,
 * owner) are one mapping, so that a file mapped page by page in order costs one node.
 *
 * What is an object, who counts references to it and how it is locked is the caller's: struct dmo_space_ops.
 *
 * Locks. There are two kinds, the space's and the object's; order: space, then object.
 *  - space->va and everything else in struct dmo_space: the space's lock. The caller holds it over every
 *    dmo_space_* call, exclusively for map, unmap and fini; shared is enough for find, first and next.
 *  - an object's reverse map, and the obj_node of the mappings in it: the object's lock. dmo_space_map, _unmap
 *    and _fini take it themselves, by ops->lock and ops->unlock, one object at a time, round a change of that
 *    object's tree alone; the caller holds no object's lock then. dmo_rmap_first and _next: the caller holds the
 *    object's lock.
 *  - a mapping's fields: written under both locks, so either suffices to read them.
 *  - ops->gone is called with the space's lock alone, before the piece leaves either tree; ops->get and ops->put
 *    with the space's lock alone.
 */
#ifndef DMO_CORE_SPACE_H
#define DMO_CORE_SPACE_H

#include "core/itree.h"
#include "core/mem.h"

struct dmo_space;

struct dmo_mapping {
	struct dmo_itnode va_node;	/* device addresses, in space->va */
	struct dmo_itnode obj_node;	/* bytes of the object, in its reverse map */
	struct dmo_space *space;
	void *object;
	void *owner;			/* the caller's: say, the open file it was mapped through */
	u64 bits;			/* opaque device bits */
	u32 prot;			/* DMO_PROT_* */
};

static inline u64 dmo_mapping_va(const struct dmo_mapping *m)
{
	return m->va_node.start;
}

static inline u64 dmo_mapping_length(const struct dmo_mapping *m)
{
	return m->va_node.last - m->va_node.start + 1;
}

/* The first byte of the object that it maps. */
static inline u64 dmo_mapping_offset(const struct dmo_mapping *m)
{
	return m->obj_node.start;
}

/* The byte of the object at device address va, and the address of that byte; each must lie in the mapping. */
static inline u64 dmo_mapping_offset_of(const struct dmo_mapping *m, u64 va)
{
	return m->obj_node.start + (va - m->va_node.start);
}

static inline u64 dmo_mapping_va_of(const struct dmo_mapping *m, u64 offset)
{
	return m->va_node.start + (offset - m->obj_node.start);
}

struct dmo_space_ops {
	/*
	 * Locks and unlocks object and returns its reverse map. May be NULL together: then rmap gives the
	 * tree.
	 */
	void (*lock)(void *object);
	void (*unlock)(void *object);
	struct dmo_itree *(*rmap)(void *object);
	/* A mapping of object (and owner) came into being, or is no more. Either may be NULL. */
	void (*get)(struct dmo_mapping *m);
	void (*put)(struct dmo_mapping *m);
	/*
	 * The length bytes at va, a piece of m, are about to go: unmap them from the device. May be NULL.
	 * Neither the space nor m may be changed from here.
	 */
	void (*gone)(struct dmo_space *s, struct dmo_mapping *m, u64 va, u64 length);
};

struct dmo_space {
	struct dmo_itree va;
	u64 va_start;			/* addresses run from here ... */
	u64 va_end;			/* ... to before here */
	u64 hint;			/* where the search for a free range begins */
	u64 mapped;			/* bytes */
	const struct dmo_space_ops *ops;
	struct dmo_mem mem;
	void *ctx;			/* the caller's */
	struct dmo_mapping *spare;	/* private: nodes put by, so that a change can't fail half-way */
	u32 spares;
};

/* What to map. prot and flags as in <dmo/ioctl.h>. */
struct dmo_space_request {
	void *object;
	void *owner;
	u64 va;			/* with DMO_MAP_FIXED */
	u64 length;		/* bytes, page aligned, not 0 */
	u64 offset;		/* in the object, page aligned; offset + length does not overflow */
	u64 bits;
	u32 prot;
	u32 flags;
};

/* An empty space over [va_start, va_end), page aligned, va_start < va_end. Never fails. */
void dmo_space_init(struct dmo_space *s, const struct dmo_mem *mem, const struct dmo_space_ops *ops,
		    u64 va_start, u64 va_end);

/* Unmaps everything, with ops->gone for each piece, and gives the memory back. */
void dmo_space_fini(struct dmo_space *s);

/*
 * Maps r. Without DMO_MAP_FIXED it picks the address: aligned so that the object's 2 MiB blocks fall on 2 MiB
 * of device addresses where length is at least that, else to a page. All or nothing. 0 with the address in
 * *va; -EINVAL for unaligned numbers, a zero length, REPLACE without FIXED, or a fixed range outside the
 * space; -EEXIST where FIXED meets a mapping; -ENOSPC where no free range is large enough; -EOVERFLOW where
 * offset + length passes 2^63 - 1; -ENOMEM.
 */
int dmo_space_map(struct dmo_space *s, const struct dmo_space_request *r, u64 *va);

/*
 * Unmaps what is mapped in [va, va + length), splitting mappings at its ends; what is not mapped is passed
 * over. All or nothing. 0; -EINVAL for unaligned numbers, a zero length or a range outside the space; -ENOMEM
 * for the one node that a split in the middle of a mapping needs.
 */
int dmo_space_unmap(struct dmo_space *s, u64 va, u64 length);

/* The mapping at va, or NULL. */
struct dmo_mapping *dmo_space_find(const struct dmo_space *s, u64 va);

/* The first mapping that meets the addresses [va, last], and the next after m; or NULL. */
struct dmo_mapping *dmo_space_first(const struct dmo_space *s, u64 va, u64 last);
struct dmo_mapping *dmo_space_next(const struct dmo_mapping *m, u64 last);

/* Through an object's reverse map: the mappings of any space that meet its bytes [first, last]; or NULL. */
struct dmo_mapping *dmo_rmap_first(const struct dmo_itree *rmap, u64 first, u64 last);
struct dmo_mapping *dmo_rmap_next(const struct dmo_mapping *m, u64 first, u64 last);

#endif
