/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.h - the blocks that a command names, for devices that take no faults
 *
 * Such a device stops at a missing translation, so all that a command names is there before it starts. A home takes the
 * blocks one after the other, and in one order for everybody: so commands never wait for each other in a circle.
 *
 * Locks: the space's, shared, over dmo_command_blocks. The list is the caller's alone.
 */
#ifndef DMO_CORE_COMMAND_H
#define DMO_CORE_COMMAND_H

#include "core/abi.h"
#include "core/space.h"

struct dmo_named {
	void *object;
	u64 index;		/* of the block */
	u16 first, last;	/* from the first page named to the last, which is included */
	bool write;
	bool pinned;		/* the home's, false at first */
	void *held;		/* the home's, NULL at first */
};

struct dmo_named_blocks {
	const struct dmo_mem *mem;
	struct dmo_named *blocks;	/* by object and index, each once */
	u32 count;
	u32 room;
	u64 pages;		/* of all of them */
};

/*
 * Fills *n with what command c names through space s; references are the caller's to take before it gives the space's
 * lock back. 0; -EFAULT: an address where nothing is mapped; -EACCES: what it does there is not permitted; -ENOSPC: more
 * than limit pages; -ENOMEM; or as dmo_command_ranges. dmo_named_fini is owed in any case; after an error the list is
 * empty.
 */
int dmo_command_blocks(struct dmo_named_blocks *n, const struct dmo_mem *mem, const struct dmo_space *s,
		       const struct dmo_command *c, u64 limit);
void dmo_named_fini(struct dmo_named_blocks *n);

#endif
