/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/rows.h"

static const u64 all_zero[DMO_BITS_WORDS];
static const u64 all_one[DMO_BITS_WORDS] = { ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull };

size_t dmo_rows_bytes(const struct dmo_rows *r)
{
	return r->words ? r->count * sizeof(all_zero) : 0;
}

const u64 *dmo_rows_get(const struct dmo_rows *r, unsigned row)
{
	if (r->words)
		return r->words + row * DMO_BITS_WORDS;
	return r->ones >> row & 1 ? all_one : all_zero;
}

u64 *dmo_rows_row(struct dmo_rows *r, unsigned row)
{
	DMO_BUG_ON(!r->words);
	return r->words + row * DMO_BITS_WORDS;
}

int dmo_rows_open(struct dmo_rows *r, const struct dmo_mem *mem)
{
	u64 *words;

	if (r->words)
		return 0;
	words = dmo_alloc(mem, r->count * sizeof(all_zero));
	if (!words)
		return -ENOMEM;
	for (unsigned i = 0; i < r->count; i++)
		dmo_bits_copy(words + i * DMO_BITS_WORDS, dmo_rows_get(r, i));
	r->words = words;
	return 0;
}

void dmo_rows_close(struct dmo_rows *r, const struct dmo_mem *mem)
{
	u8 ones = 0;

	if (!r->words)
		return;
	for (unsigned i = 0; i < r->count; i++) {
		const u64 *row = dmo_rows_get(r, i);

		if (dmo_bits_equal(row, all_one))
			ones |= 1u << i;
		else if (!dmo_bits_equal(row, all_zero))
			return;
	}
	dmo_rows_fini(r, mem);
	r->ones = ones;
}

void dmo_rows_fini(struct dmo_rows *r, const struct dmo_mem *mem)
{
	dmo_free(mem, r->words, dmo_rows_bytes(r));
	r->words = NULL;
	r->ones = 0;
}
