/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * release.c - device page tables: entering translations and taking them away
 *
 * An object's reverse map finds every (address space, address) of a page. Entering and releasing happen under the
 * object's lock, as does a mapping's own coming and going in the reverse map, so a translation never outlives its mapping.
 */
#include "engine/internal.h"

/* The pages of the block that mapping m covers, cut to [first, first + count). */
static unsigned meet(const struct dmo_block *b, const struct dmo_mapping *m, unsigned *first, unsigned count)
{
	u64 base = b->index << DMO_BLOCK_SHIFT;
	u64 lo = base + ((u64)*first << DMO_PAGE_SHIFT), hi = lo + ((u64)count << DMO_PAGE_SHIFT);
	u64 start = dmo_mapping_offset(m), end = start + dmo_mapping_length(m);

	if (start > lo)
		lo = start;
	if (end < hi)
		hi = end;
	if (lo >= hi)
		return 0;
	*first = (lo - base) >> DMO_PAGE_SHIFT;
	return (hi - lo) >> DMO_PAGE_SHIFT;
}

static u64 va_of(const struct dmo_block *b, const struct dmo_mapping *m, unsigned page)
{
	return dmo_mapping_va_of(m, (b->index << DMO_BLOCK_SHIFT) + ((u64)page << DMO_PAGE_SHIFT));
}

#define FOR_EACH_MAPPING(m, b, first, count) \
	for (u64 lo_ = ((b)->index << DMO_BLOCK_SHIFT) + ((u64)(first) << DMO_PAGE_SHIFT), \
	     hi_ = lo_ + ((u64)(count) << DMO_PAGE_SHIFT) - 1, once_ = 1; once_; once_ = 0) \
		for (struct dmo_mapping *m = dmo_rmap_first(&(b)->object->rmap, lo_, hi_); m; \
		     m = dmo_rmap_next(m, lo_, hi_))

/* Shifts the bits that a device reported for a run at page first to their place in the block. */
static void place(u64 *to, const u64 *from, unsigned first, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (from[i / 64] >> (i % 64) & 1)
			to[(first + i) / 64] |= 1ull << ((first + i) % 64);
}

void eng_release_mapping(struct dmo_block *b, struct dmo_mapping *m, unsigned first, unsigned count)
{
	struct eng_ctx *ctx = m->space->ctx;
	u64 found[DMO_BITS_WORDS] = { 0 }, dirty[DMO_BITS_WORDS] = { 0 }, *row;

	if (!dmo_bits_any_in(dmo_block_bits(b, DMO_MAPPED), first, count))
		return;
	ctx->dev->ops->as_release(ctx->as, va_of(b, m, first), count, 0, found);
	place(dirty, found, first, count);
	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		row = dmo_rows_row(&c->rows, DMO_DIRTY);
		if (c->dev != &ctx->dev->core)
			continue;
		for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
			row[w] |= dirty[w] & dmo_copy_bits(c, DMO_VALID)[w];
	}
}

static void release_run(struct dmo_block *b, unsigned first, unsigned count, u32 flags, u64 *dirty)
{
	FOR_EACH_MAPPING(m, b, first, count) {
		struct eng_ctx *ctx = m->space->ctx;
		u64 found[DMO_BITS_WORDS] = { 0 };
		unsigned at = first, n = meet(b, m, &at, count);

		if (!n || ((flags & DMO_RELEASE_WPROTECT) && !(m->prot & DMO_PROT_WRITE)))
			continue;
		ctx->dev->ops->as_release(ctx->as, va_of(b, m, at), n, flags, found);
		place(dirty, found, at, n);
	}
}

void eng_release_pages(struct dmo_block *b, const u64 *bits)
{
	unsigned first, n;

	for (unsigned i = 0; (n = dmo_bits_run(bits, i, DMO_BITS, true, &first)); i = first + n) {
		u64 dirty[DMO_BITS_WORDS] = { 0 };

		release_run(b, first, n, 0, dirty);
		dmo_block_unmapped(b, first, n, dirty);
	}
}

void eng_wprotect_pages(struct dmo_block *b, const u64 *bits)
{
	unsigned first, n;

	for (unsigned i = 0; (n = dmo_bits_run(bits, i, DMO_BITS, true, &first)); i = first + n) {
		u64 dirty[DMO_BITS_WORDS] = { 0 };

		release_run(b, first, n, DMO_RELEASE_WPROTECT, dirty);
		dmo_block_wprotected(b, first, n, dirty);
	}
}

bool eng_block_accessed(struct dmo_block *b, struct eng_device *dev)
{
	bool used = false;

	if (!dev->ops->as_accessed)
		return false;
	FOR_EACH_MAPPING(m, b, 0, DMO_BLOCK_PAGES) {
		struct eng_ctx *ctx = m->space->ctx;
		unsigned at = 0, n = meet(b, m, &at, DMO_BLOCK_PAGES);

		if (n && ctx->dev == dev && dev->ops->as_accessed(ctx->as, va_of(b, m, at), n))
			used = true;
	}
	return used;
}

/* The device bits of page at: the mapping's and those advised. *n: cut to the pages that have the same. */
static u64 bits_of(const struct dmo_block *b, const struct dmo_mapping *m, unsigned at, unsigned *n)
{
	u64 page = b->index * DMO_BLOCK_PAGES + at, last;
	struct dmo_attr attr;

	dmo_attrs_get(&b->object->attrs, page, &attr, &last);
	if (last - page < *n)
		*n = last - page + 1;
	return m->bits | attr.device_bits;
}

/* Enters [at, at + n) for mapping m: in runs of consecutive frames, or of the mapped backing file where copy is NULL. */
static int enter_mapping(struct dmo_block *b, struct dmo_mapping *m, struct dmo_copy *copy, unsigned at, unsigned n,
			 u32 prot)
{
	struct eng_object *obj = dmo_container_of(b->object, struct eng_object, core);
	struct eng_ctx *ctx = m->space->ctx;
	u64 va = va_of(b, m, at);
	int err = 0;

	if (va <= atomic_load(&ctx->dying_last) && va + ((u64)n << DMO_PAGE_SHIFT) > atomic_load(&ctx->dying_first))
		return 0;
	while (n && !err) {
		struct dmo_pte_run run = { .va = va_of(b, m, at), .prot = prot & m->prot, .pages = n };

		run.bits = bits_of(b, m, at, &run.pages);
		if (copy)
			run.pages = dmo_copy_run(copy, at, run.pages, &run.frame);
		else
			run.host = (char *)obj->map + (b->index << DMO_BLOCK_SHIFT) +
				   ((u64)at << DMO_PAGE_SHIFT);
		err = ctx->dev->ops->as_enter(ctx->as, &run);
		if (!err)
			dmo_block_mapped(b, at, run.pages, run.prot & DMO_PROT_WRITE, !copy);
		at += run.pages;
		n -= run.pages;
	}
	return err;
}

int eng_enter_pages(struct dmo_block *b, struct eng_device *dev, struct eng_ctx *ctx, struct dmo_copy *copy,
		    unsigned first, unsigned count, u32 prot)
{
	int err = 0;

	FOR_EACH_MAPPING(m, b, first, count) {
		struct eng_ctx *owner = m->space->ctx;
		unsigned at = first, n = meet(b, m, &at, count);

		if (!n || owner->dev != dev || (ctx && owner != ctx))
			continue;
		err = enter_mapping(b, m, copy, at, n, prot);
		if (err)
			return err;
	}
	return 0;
}
