/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * phys.h - a device's memory: a buddy allocator that never touches the memory it hands out
 *
 * Frames are 4 KiB pages numbered from 0; a chunk of order o is 2^o frames, aligned to its size, orders 0 (4
 * KiB) to 18 (1 GiB). All metadata is allocated at init: 2 bits a page and little more (phys.c says how).
 *
 * Locks: none here. The caller's one lock per allocator covers every call; dmo_phys_init and _fini run alone.
 */
#ifndef DMO_CORE_PHYS_H
#define DMO_CORE_PHYS_H

#include "core/mem.h"

#define DMO_PHYS_ORDER_MAX	18u
#define DMO_PHYS_ORDERS		(DMO_PHYS_ORDER_MAX + 1)
#define DMO_PHYS_ORDER_BLOCK	9u		/* a chunk of 2 MiB */
#define DMO_PHYS_LEVELS		6u		/* 64-way summaries over 2^32 pages */

/* Private: one order's bitmap and the summaries above it. */
struct dmo_phys_order {
	u64 *map;
	u32 level[DMO_PHYS_LEVELS];	/* where, in words from map, each summary begins; level[0] is 0 */
	u32 free;			/* free chunks of exactly this order */
	u32 hot;			/* the word whose summary bit need not be true */
	u8 levels;
};

struct dmo_phys {
	struct dmo_phys_order order[DMO_PHYS_ORDERS];
	u64 pages;
	u64 free_pages;
	u32 avail;			/* bit o: some chunk of order o is free */
	u32 top;			/* the largest order in use */
	u64 *words;			/* the one allocation, nwords long */
	u64 nwords;
	struct dmo_mem mem;
};

/*
 * Makes an allocator over pages frames (1 to 2^32 - 1; any number, not only powers of two), all free. 0,
 * -EINVAL for the number, -ENOMEM.
 */
int dmo_phys_init(struct dmo_phys *p, const struct dmo_mem *mem, u64 pages);

/* Gives the metadata back, whatever is still allocated. */
void dmo_phys_fini(struct dmo_phys *p);

/*
 * Takes a chunk of the smallest order that has any free, split down: one freed lately where there is one, else
 * the lowest. 0 with its first frame
 * in *frame; -ENOMEM where no free chunk is that large; -EINVAL for an order above DMO_PHYS_ORDER_MAX.
 */
int dmo_phys_alloc(struct dmo_phys *p, unsigned order, u32 *frame);

/*
 * Gives back a chunk that dmo_phys_alloc handed out with that very order. Anything else (a second free,
 * another order, a frame inside a chunk or outside the memory) is a bug and caught as one.
 */
void dmo_phys_free(struct dmo_phys *p, u32 frame, unsigned order);

/*
 * Splits an allocated chunk of order from into allocated chunks of order to <= from: each is freed by itself
 * then. For giving back part of a chunk.
 */
void dmo_phys_split(struct dmo_phys *p, u32 frame, unsigned from, unsigned to);

/* True when dmo_phys_free(p, frame, order) would be right. */
bool dmo_phys_is_allocated(const struct dmo_phys *p, u32 frame, unsigned order);

/* Free frames. */
static inline u64 dmo_phys_free_pages(const struct dmo_phys *p)
{
	return p->free_pages;
}

/* The largest order that dmo_phys_alloc would grant now, or -1 when the memory is full. */
static inline int dmo_phys_largest(const struct dmo_phys *p)
{
	return p->avail ? 31 - __builtin_clz(p->avail) : -1;
}

/* Bytes that the allocator itself takes, struct dmo_phys included. */
size_t dmo_phys_metadata(const struct dmo_phys *p);

#endif
