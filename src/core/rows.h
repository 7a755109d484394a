/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rows.h - several page bitmaps of one block, stored only while they differ from all-zero and all-one
 *
 * Most blocks are uniform: wholly resident, wholly clean. Such a row costs one bit. A row is written between
 * dmo_rows_open, which makes room for all of them, and dmo_rows_close, which gives it back where every row is uniform.
 *
 * Locks: those of the block they belong to.
 */
#ifndef DMO_CORE_ROWS_H
#define DMO_CORE_ROWS_H

#include "core/bits.h"
#include "core/mem.h"

struct dmo_rows {
	u64 *words;	/* NULL: every row is uniform */
	u8 ones;	/* bit r: row r is all one, while words is NULL */
	u8 count;	/* rows, 8 at most */
};

static inline void dmo_rows_init(struct dmo_rows *r, unsigned count, u8 ones)
{
	r->words = NULL;
	r->count = count;
	r->ones = ones;
}

/* Row number row for reading, valid until the next open or close. */
const u64 *dmo_rows_get(const struct dmo_rows *r, unsigned row);
/* Row number row for writing, between open and close. */
u64 *dmo_rows_row(struct dmo_rows *r, unsigned row);
/* 0 or -ENOMEM. Opening twice is harmless. */
int dmo_rows_open(struct dmo_rows *r, const struct dmo_mem *mem);
void dmo_rows_close(struct dmo_rows *r, const struct dmo_mem *mem);
/* Frees what is stored. */
void dmo_rows_fini(struct dmo_rows *r, const struct dmo_mem *mem);
/* Bytes stored beyond the struct. */
size_t dmo_rows_bytes(const struct dmo_rows *r);

#endif
