/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plan.h - the core decides, a home acts
 *
 * A plan says what has to be done to one block for one event, as page bitmaps that dmo_plan_next hands out as runs
 * (steps). Making a plan changes nothing. The home carries the steps out in this order:
 *
 *   REVOKE        take the pages back from the CPU. The home first clears their CPU bits, then revokes without the
 *                 object's lock, then makes the plan anew: pages that were read meanwhile are in it again.
 *   -- the block becomes MOVING (dmo_block_move); the lock is held from making the plan to here --
 *   RELEASE       take translations away in every address space, with dmo_block_unmapped for what was harvested
 *   WPROTECT      take write permission away, with dmo_block_wprotected
 *   -- dmo_plan_copies: what was harvested decides what is copied; the lock may be dropped --
 *   COPY_OUT      device to backing file
 *   COPY_DEVICE   another device's (step.from) to this one
 *   COPY_IN       backing file to device; bytes past the end of the file are zeroed
 *   -- lock; dmo_plan_commit: the only place where state changes --
 *   MAP           enter translations for reading
 *   MAP_WRITE     and for writing
 *   MAP_REMOTE    to host memory
 *
 * Whoever fails before the commit just releases the block: every authoritative copy is where it was (invariant 3).
 *
 * Locks: the object's, for every function here.
 */
#ifndef DMO_CORE_PLAN_H
#define DMO_CORE_PLAN_H

#include "core/object.h"

enum dmo_step_kind {
	DMO_STEP_REVOKE, DMO_STEP_RELEASE, DMO_STEP_WPROTECT,
	DMO_STEP_COPY_OUT, DMO_STEP_COPY_DEVICE, DMO_STEP_COPY_IN,
	DMO_STEP_MAP, DMO_STEP_MAP_WRITE, DMO_STEP_MAP_REMOTE,
	DMO_STEP_KINDS
};

struct dmo_step {
	unsigned first, count;		/* pages of the block */
	struct dmo_copy *from;		/* COPY_DEVICE: the source; COPY_OUT: what is written back */
};

enum dmo_plan_kind {
	DMO_PLAN_ACCESS,	/* make pages accessible to a device, there */
	DMO_PLAN_REMOTE,	/* ... for reading, where they are */
	DMO_PLAN_EVICT,		/* end a copy, or some pages of it */
	DMO_PLAN_CLEAN,		/* write its dirty pages back, keep it */
};

struct dmo_plan {
	enum dmo_plan_kind kind;
	struct dmo_block *block;
	struct dmo_device *dev;
	bool write;			/* ACCESS: the device is going to write the demanded page */
	bool map_write;			/* ACCESS: write translations where nothing forbids them */
	unsigned first, count;		/* the window */
	unsigned page;			/* the page demanded; the rest of the window is welcome but not owed */
	u64 steps[DMO_STEP_KINDS][DMO_BITS_WORDS];
};

/*
 * ACCESS: plan->block, dev, write, map_write, first, count, page are set. The window is cut to the object's end and
 * to pages that can come. The block is claimed by the caller, and open.
 * 0; -EFAULT: page lies past the end; -EIO: it is lost; -EBUSY: a write, and it is pinned on another device.
 */
int dmo_plan_access(struct dmo_plan *plan);
/* REMOTE: the same for reading in place. -EAGAIN besides: the page is newer on a device than in the backing file. */
int dmo_plan_remote(struct dmo_plan *plan);
/* EVICT and CLEAN: plan->block and dev are set, for EVICT first and count too; the copy is there. */
void dmo_plan_evict(struct dmo_plan *plan);
void dmo_plan_clean(struct dmo_plan *plan);

/* After RELEASE and WPROTECT: fills in the copy steps. */
void dmo_plan_copies(struct dmo_plan *plan);
/*
 * The copies are done. ACCESS: the pages are valid on the device (and for a write nowhere else); REMOTE: nothing but
 * the mapping; EVICT: the pages are not valid in the copy; CLEAN: nothing of it is dirty.
 */
void dmo_plan_commit(struct dmo_plan *plan);

/* True where the plan has a step of that kind. */
static inline bool dmo_plan_has(const struct dmo_plan *plan, enum dmo_step_kind kind)
{
	return dmo_bits_any(plan->steps[kind]);
}

/* The next step of a kind at or after page *at (0 to begin with), which is moved past it. False: no more. */
bool dmo_plan_next(const struct dmo_plan *plan, enum dmo_step_kind kind, unsigned *at, struct dmo_step *step);

/* ---- what a CPU access asks for, before it is let through ------------------------------------------------- */

/*
 * The CPU is going to hold [first, first + count). Adds to release the pages whose translations must go first, to
 * wprotect those that must lose the permission to write (invariant 2). -EIO: a page of them is lost.
 */
int dmo_cpu_read_prepare(const struct dmo_block *b, unsigned first, unsigned count, u64 *release, u64 *wprotect);
/*
 * The CPU writes bytes of [first, first + count); whole says that it writes all bytes of it. Adds to release; -EIO:
 * a lost page is written in part.
 */
int dmo_cpu_write_prepare(const struct dmo_block *b, unsigned first, unsigned count, bool whole, u64 *release);

#endif
