// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memory.c - the core's memory: small pieces from the slab, tables of a device from vmalloc where they
 * are large
 */
#include "internal.h"

#include <linux/sched/mm.h>

static void *mem_alloc(void *ctx, size_t size)
{
	/* obj->lock is held, and writeback must not wait for it */
	unsigned int nofs = memalloc_nofs_save();
	void *p = kvzalloc(size, GFP_KERNEL);

	memalloc_nofs_restore(nofs);
	return p;
}

static void mem_free(void *ctx, void *p, size_t size)
{
	kvfree(p);
}

const struct dmo_mem kdm_mem = { mem_alloc, mem_free, NULL };
