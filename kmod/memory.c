// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * memory.c - the core's memory: small pieces from the slab, tables of a device from vmalloc where they
 * are large; all of it is counted, and /sys/class/misc/dmo-control/metadata tells
 */
#include "internal.h"

#include <linux/sched/mm.h>

static atomic64_t held;

/* What size bytes take: the allocator's sizes. */
static size_t taken(size_t size)
{
	return size > KMALLOC_MAX_CACHE_SIZE ? PAGE_ALIGN(size) : kmalloc_size_roundup(size);
}

static void *get(size_t size, gfp_t flags)
{
	/* obj->lock is held, and writeback must not wait for it */
	unsigned int nofs = memalloc_nofs_save();
	void *p = kvzalloc(size, flags);

	memalloc_nofs_restore(nofs);
	if (p)
		atomic64_add(taken(size), &held);
	return p;
}

static void *mem_alloc(void *ctx, size_t size)
{
	return get(size, GFP_KERNEL);
}

static void *mem_alloc_sure(void *ctx, size_t size)
{
	return get(size, GFP_KERNEL | __GFP_NOFAIL);
}

static void mem_free(void *ctx, void *p, size_t size)
{
	if (p)
		atomic64_sub(taken(size), &held);
	kvfree(p);
}

const struct dmo_mem kdm_mem = { mem_alloc, mem_free, NULL };
const struct dmo_mem kdm_mem_sure = { mem_alloc_sure, mem_free, NULL };

u64 kdm_mem_held(void)
{
	return atomic64_read(&held);
}
