/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * object.h - residency: where each page of an object is
 *
 * An object is a table of blocks (2 MiB). A block keeps rows of page bits and a list of copies, one for each
 * device that holds pages of it. A page without a valid copy is in the backing file (or a hole there).
 *
 *   rows of a block                          rows of a copy
 *   CPU      the kernel's page cache may     VALID  the device has the page's current content
 *            hold the page                   DIRTY  ... and the backing file does not
 *   MAPPED   in some device's page table
 *   WMAPPED  ... with permission to write
 *   REMOTE   ... across the link, in place
 *   LOST     was dirty on a lost device
 *   READ     read by the CPU since its last
 *            revocation began
 *   LEAVING  read before, and being revoked
 *
 * Between them (checked by dmo_block_check; the numbers are the design's invariants):
 *   - DIRTY implies VALID, and in one copy only (1).
 *   - a WMAPPED page is VALID in exactly one copy, is not REMOTE and not CPU (1, 2). Its DIRTY bit is unknown until
 *     the translation is taken away and the device's own dirty bit harvested.
 *   - a REMOTE page is MAPPED, and DIRTY nowhere (1).
 *   - a VALID page lies in a chunk of its copy; a device's used frames are the sum of its copies' chunks (6).
 *   - LOST excludes VALID (9).
 * A block that is absent from the table says: CPU everywhere, nothing else. New blocks begin so.
 *
 * States of a block, and who moves it:
 *
 *            dmo_block_claim              dmo_block_move
 *     IDLE ------------------> CLAIMED ------------------> MOVING
 *       ^ <--- dmo_block_release ---+ <-- dmo_block_release --+
 *
 * CLAIMED: somebody means to move pages and is revoking the CPU's copies or finding memory. CPU reads and writes go on,
 * served from where the pages are. MOVING: bytes are under way; reads and writes wait for the release. `io` counts
 * reads and writes under way on the block; MOVING begins only at 0.
 *
 * Locks. Everything in an object is guarded by the object's lock, which the home owns: every function here wants it
 * held. struct dmo_device (memory, LRU list, counters) is guarded by the device's lock; it is taken inside the
 * object's, and the functions that want it say so.
 */
#ifndef DMO_CORE_OBJECT_H
#define DMO_CORE_OBJECT_H

#include "core/attr.h"
#include "core/itree.h"
#include "core/list.h"
#include "core/phys.h"
#include "core/radix.h"
#include "core/rows.h"

#include <dmo/ioctl.h>

#define DMO_BLOCK_PAGES	DMO_BITS

/* ---- devices ------------------------------------------------------------------------------------- */

/* Frames of a device that manages its own memory; as dmo_phys_alloc and dmo_phys_free. Device's lock held. */
struct dmo_frames_ops {
	int (*alloc)(void *ctx, unsigned order, u32 *frame);
	void (*free)(void *ctx, u32 frame, unsigned order);
};

struct dmo_device {
	u32 number;
	bool faults;		/* DMO_DEVICE_FAULTS */
	bool dirty_bits;	/* DMO_DEVICE_DIRTY */
	bool lost;
	struct dmo_phys phys;
	const struct dmo_frames_ops *frames;	/* NULL: phys does */
	void *frames_ctx;
	u64 used;		/* frames in chunks of copies */
	u64 peak;
	u64 limit, high, low;	/* frames: never above limit; eviction runs from above high down to low */
	u64 clock;		/* moves so far: the device's time */
	struct dmo_link lru;	/* copies, the least recently used first */
};

/* Makes a device of frames frames with every limit at its memory. 0, -EINVAL, -ENOMEM. */
int dmo_device_init(struct dmo_device *d, const struct dmo_mem *mem, u32 number, u64 frames);
void dmo_device_fini(struct dmo_device *d);

/* ---- copies ---------------------------------------------------------------------------------------- */

enum { DMO_VALID, DMO_DIRTY, DMO_COPY_ROWS };

struct dmo_chunk {
	u32 frame;
	u16 page;		/* first page of the block that it holds */
	u8 order;
	u8 reserved;
};

struct dmo_copy {
	struct dmo_copy *next;	/* the block's next */
	struct dmo_block *block;
	struct dmo_device *dev;
	struct dmo_link lru;	/* in dev->lru, under the device's lock */
	struct dmo_rows rows;
	struct dmo_chunk one;	/* storage of a single chunk */
	struct dmo_chunk *chunks;	/* sorted by page; &one or an array */
	u16 nr_chunks, room;
	u32 frames;
	u32 pins;
	u32 held;		/* of them, those under which others than devices here may write its pages unseen */
	bool owed;		/* came on request and was not looked at for eviction yet */
	u64 accessed;		/* dev->clock when last seen used; under the device's lock */
};

static inline const u64 *dmo_copy_bits(const struct dmo_copy *c, unsigned row)
{
	return dmo_rows_get(&c->rows, row);
}

/* How many pages from page on lie in consecutive frames, at most count; 0: page is in no chunk. */
unsigned dmo_copy_run(const struct dmo_copy *c, unsigned page, unsigned count, u32 *frame);

/* How many pages of [first, first + count) lie in no chunk. */
unsigned dmo_copy_missing(const struct dmo_copy *c, unsigned first, unsigned count);

/*
 * Gives a copy chunks for every page of [first, first + count), in the largest pieces that fit. Device's lock held.
 * 0; -ENOMEM: memory (or the limit) does not suffice, and nothing was taken (two that each held half of what
 * they need would wait for each other): ask again after eviction; -EAGAIN: the core's own memory was short. What was
 * got before an error is given back.
 */
int dmo_copy_reserve(struct dmo_copy *c, const struct dmo_mem *mem, unsigned first, unsigned count);

/* Adds the pages of [first, first + count) that lie in no chunk. */
void dmo_copy_holes(const struct dmo_copy *c, unsigned first, unsigned count, u64 *pages);

/*
 * Takes back a reservation: the chunks that hold pages, which were all holes before it and none of which is valid.
 * Never fails. Device's lock held.
 */
void dmo_copy_unreserve(struct dmo_copy *c, const u64 *pages);

/*
 * Gives back chunks, and halves of chunks, in which no page is valid, but never those of a pinned copy. Never fails.
 * Device's lock held.
 */
void dmo_copy_trim(struct dmo_copy *c);

/* ---- blocks ------------------------------------------------------------------------------------------ */

enum { DMO_CPU, DMO_MAPPED, DMO_WMAPPED, DMO_REMOTE, DMO_LOST, DMO_READ, DMO_LEAVING, DMO_BLOCK_ROWS };

enum dmo_block_state { DMO_BLOCK_IDLE, DMO_BLOCK_CLAIMED, DMO_BLOCK_MOVING };

struct dmo_block {
	struct dmo_object *object;
	u64 index;
	struct dmo_copy *copies;
	struct dmo_rows rows;
	u8 state;		/* enum dmo_block_state */
	bool revoked;		/* its pages were taken back from the CPU at some time */
	u16 io;			/* CPU reads and writes under way */
	u16 writepages;		/* of them, pages of mappings that the kernel writes back */
	u32 users;		/* who holds a pointer to it; settled only at 0 */
	u64 evicted;		/* the device's clock when it was last evicted or mapped remotely; 0: never */
};

struct dmo_object {
	const struct dmo_mem *mem;
	u64 size;		/* bytes */
	u32 writers;		/* opens that may write */
	u32 copies;		/* over all blocks */
	u32 lost;		/* blocks with LOST pages */
	u64 next_page;		/* where a sequential device would go on */
	u64 run;		/* pages of the sequential run so far */
	u64 noted;		/* the page after the last fault that scatter counts */
	u8 scatter;		/* faults with nothing beside them, on balance (policy.c) */
	bool evicted;		/* some block of it was */
	struct dmo_radix blocks;
	struct dmo_itree rmap;	/* mappings of devices, by byte offset */
	struct dmo_attrs attrs;
};

void dmo_object_init(struct dmo_object *o, const struct dmo_mem *mem, u64 size);
/* All blocks must be without copies. */
void dmo_object_fini(struct dmo_object *o);
/* True when no block is claimed, used, or has reads and writes under way. */
bool dmo_object_idle(const struct dmo_object *o);
/* Forgets every block of an idle object without copies: the CPU may hold all of it, nothing else is known. */
void dmo_object_forget_blocks(struct dmo_object *o);

static inline struct dmo_block *dmo_block_find(const struct dmo_object *o, u64 index)
{
	return dmo_radix_get(&o->blocks, index);
}

/* The block, made where it is absent; NULL: no memory. Takes a user reference. */
struct dmo_block *dmo_block_get(struct dmo_object *o, u64 index);
/* Drops it: the last one compacts the block, and frees it where it says no more than its absence would. */
void dmo_block_put(struct dmo_block *b);
/*
 * For want of memory: frees a block that nobody uses and that says no more than what the CPU may hold, and when it was last
 * evicted. False: it stays.
 */
bool dmo_block_forget(struct dmo_block *b);

static inline const u64 *dmo_block_bits(const struct dmo_block *b, unsigned row)
{
	return dmo_rows_get(&b->rows, row);
}

/* Opens the rows of the block and its copies for writing, until the last put. 0 or -ENOMEM. */
int dmo_block_open(struct dmo_block *b);
/* The same with memory of mem, which the object's frees: of a home that has some which never runs out. */
int dmo_block_open_from(struct dmo_block *b, const struct dmo_mem *mem);

/* The block's copy on d, or NULL. */
struct dmo_copy *dmo_block_copy(const struct dmo_block *b, const struct dmo_device *d);
/* The same, made where it is absent (not yet in the LRU list); NULL: no memory. The block must be open. */
struct dmo_copy *dmo_block_add_copy(struct dmo_block *b, struct dmo_device *d);
/* Frees a copy, its chunks and its place in the LRU list. No pin may hold it. Device's lock held. */
void dmo_copy_free(struct dmo_copy *c);

/* The copy in which page is valid (the dirty one first), or NULL. */
struct dmo_copy *dmo_page_copy(const struct dmo_block *b, unsigned page);
/* Adds, for every page of the block, whether some copy has it dirty (valid with any). */
void dmo_block_dirty(const struct dmo_block *b, u64 *dirty);
void dmo_block_valid(const struct dmo_block *b, u64 *valid);
bool dmo_block_pinned(const struct dmo_block *b);

/* Pages of the block that lie before the end of the object, at least partly. */
unsigned dmo_block_pages(const struct dmo_block *b);

/* ---- what changes without a move ----------------------------------------------------------------------- */

/* Translations of the pages were taken away (all of them, in all address spaces); dirty: harvested, or NULL. */
void dmo_block_unmapped(struct dmo_block *b, unsigned first, unsigned count, const u64 *dirty);
/* Only the permission to write was. */
void dmo_block_wprotected(struct dmo_block *b, unsigned first, unsigned count, const u64 *dirty);
/* Translations were entered. */
void dmo_block_mapped(struct dmo_block *b, unsigned first, unsigned count, bool write, bool remote);
/* The CPU may hold the pages from now on, or no more. */
void dmo_block_set_cpu(struct dmo_block *b, unsigned first, unsigned count, bool holds);
/* It was evicted, or mapped remotely, at that time of the device. */
static inline void dmo_block_set_evicted(struct dmo_block *b, u64 clock)
{
	b->evicted = clock;
	b->object->evicted = true;
}

/* The content of the pages changed in the backing file, or is dead: no copy is valid any more, none lost. */
void dmo_block_drop(struct dmo_block *b, unsigned first, unsigned count);
/*
 * The device died: its valid pages go. Of its dirty ones those that another copy has too are dirty there from now on, the
 * rest are LOST. No translation may be left.
 */
void dmo_copy_lost(struct dmo_copy *c);

/* ---- claims --------------------------------------------------------------------------------------------- */

/* IDLE to CLAIMED. False: somebody else has it. */
static inline bool dmo_block_claim(struct dmo_block *b)
{
	if (b->state != DMO_BLOCK_IDLE)
		return false;
	b->state = DMO_BLOCK_CLAIMED;
	return true;
}

/* CLAIMED to MOVING. False: reads or writes are under way; wait for them. */
static inline bool dmo_block_move(struct dmo_block *b)
{
	DMO_BUG_ON(b->state != DMO_BLOCK_CLAIMED);
	if (b->io)
		return false;
	b->state = DMO_BLOCK_MOVING;
	return true;
}

static inline void dmo_block_release(struct dmo_block *b)
{
	DMO_BUG_ON(b->state == DMO_BLOCK_IDLE);
	b->state = DMO_BLOCK_IDLE;
}

/* What breaks the rules at the head of this file, or NULL. For tests and debugging. */
const char *dmo_block_check(const struct dmo_block *b);
/* Bytes of the core's memory that an object takes, itself included. */
size_t dmo_object_metadata(const struct dmo_object *o);

#endif
