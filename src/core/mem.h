/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mem.h - where the core's memory comes from: the caller
 *
 * A home fills one struct dmo_mem and hands it to whatever allocates. Tests hand in one that fails the Nth call.
 */
#ifndef DMO_CORE_MEM_H
#define DMO_CORE_MEM_H

#include "dmo_env.h"

struct dmo_mem {
	/* Zeroed memory of size bytes, aligned for any type; NULL when there is none. May not sleep. */
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);
	void *ctx;
};

static inline void *dmo_alloc(const struct dmo_mem *m, size_t size)
{
	return m->alloc(m->ctx, size);
}

static inline void dmo_free(const struct dmo_mem *m, void *p, size_t size)
{
	if (p)
		m->free(m->ctx, p, size);
}

#endif
