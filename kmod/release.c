// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * release.c - device page tables: entering translations and taking them away
 *
 * An object's reverse map finds every (address space, address) of a page. Entering and releasing happen
 * under obj->lock, as does a mapping's own coming and going in the reverse map, so a translation never
 * outlives its mapping.
 */
#include "internal.h"

/* The pages of the block that mapping m covers, cut to [first, first + count). */
static unsigned int meet(const struct dmo_block *b, const struct dmo_mapping *m, unsigned int *first,
			 unsigned int count)
{
	u64 base = b->index << DMO_BLOCK_SHIFT;
	u64 lo = base + ((u64)*first << DMO_PAGE_SHIFT), hi = lo + ((u64)count << DMO_PAGE_SHIFT);
	u64 start = dmo_mapping_offset(m), end = start + dmo_mapping_length(m);

	lo = max(lo, start);
	hi = min(hi, end);
	if (lo >= hi)
		return 0;
	*first = (lo - base) >> DMO_PAGE_SHIFT;
	return (hi - lo) >> DMO_PAGE_SHIFT;
}

static u64 va_of(const struct dmo_block *b, const struct dmo_mapping *m, unsigned int page)
{
	return dmo_mapping_va_of(m, (b->index << DMO_BLOCK_SHIFT) + ((u64)page << DMO_PAGE_SHIFT));
}

static u64 byte_of(const struct dmo_block *b, unsigned int page)
{
	return (b->index << DMO_BLOCK_SHIFT) + ((u64)page << DMO_PAGE_SHIFT);
}

#define FOR_EACH_MAPPING(m, b, first, count) \
	for (struct dmo_mapping *m = dmo_rmap_first(&(b)->object->rmap, byte_of(b, first), \
						    byte_of(b, (first) + (count)) - 1); \
	     m; m = dmo_rmap_next(m, byte_of(b, first), byte_of(b, (first) + (count)) - 1))

/* Shifts the bits that a device reported for a run at page first to their place in the block. */
static void place(u64 *to, const unsigned long *from, unsigned int first, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (from[i / BITS_PER_LONG] >> (i % BITS_PER_LONG) & 1)
			to[(first + i) / 64] |= 1ull << ((first + i) % 64);
}

/* Pages [at, at + n) of one mapping; adds what was dirty to dirty. */
static void release_one(struct dmo_block *b, struct dmo_mapping *m, unsigned int at, unsigned int n,
			bool protect, u64 *dirty)
{
	unsigned long found[DMO_BITS / BITS_PER_LONG] = { 0 };
	struct dmo_as *as = m->space->ctx;
	const struct dmo_dev_ops *ops = as->dev->ops;

	if (!as->pt)
		return;
	if (protect)
		ops->pt_protect(as->pt, va_of(b, m, at), n, found);
	else
		ops->pt_release(as->pt, va_of(b, m, at), n, found);
	ops->tlb_invalidate(as->pt, va_of(b, m, at), n);
	place(dirty, found, at, n);
}

/* Page by page it isn't known who else reads it in place: those fault again. */
static void release_remote_range(struct dmo_block *b, unsigned int first, unsigned int count)
{
	u64 pages[DMO_BITS_WORDS] = { 0 };

	dmo_bits_set(pages, first, count);
	kdm_release_remote(b, pages);
}

void kdm_release_mapping(struct dmo_block *b, struct dmo_mapping *m, unsigned int first, unsigned int count)
{
	struct dmo_as *as = m->space->ctx;
	u64 dirty[DMO_BITS_WORDS] = { 0 };

	if (!dmo_bits_any_in(dmo_block_bits(b, DMO_MAPPED), first, count))
		return;
	release_one(b, m, first, count, false, dirty);
	release_remote_range(b, first, count);
	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		u64 *row = dmo_rows_row(&c->rows, DMO_DIRTY);

		if (c->dev != &as->dev->core)
			continue;
		for (unsigned int w = 0; w < DMO_BITS_WORDS; w++)
			row[w] |= dirty[w] & dmo_copy_bits(c, DMO_VALID)[w];
	}
}

static void release_run(struct dmo_block *b, unsigned int first, unsigned int count, bool protect, u64 *dirty)
{
	FOR_EACH_MAPPING(m, b, first, count) {
		unsigned int at = first, n = meet(b, m, &at, count);

		if (n && (!protect || m->prot & DMO_PROT_WRITE))
			release_one(b, m, at, n, protect, dirty);
	}
}

void kdm_release_pages(struct dmo_block *b, const u64 *bits)
{
	unsigned int first, n;

	KDM_FOR_EACH_RUN(bits, first, n) {
		u64 dirty[DMO_BITS_WORDS] = { 0 };

		release_run(b, first, n, false, dirty);
		dmo_block_unmapped(b, first, n, dirty);
		kdm_remote_drop(b, first, n);
	}
}

void kdm_release_remote(struct dmo_block *b, const u64 *bits)
{
	u64 pages[DMO_BITS_WORDS];

	dmo_bits_copy(pages, dmo_block_bits(b, DMO_REMOTE));
	if (bits)
		dmo_bits_and(pages, pages, bits);
	kdm_release_pages(b, pages);
}

void kdm_wprotect_pages(struct dmo_block *b, const u64 *bits)
{
	unsigned int first, n;

	KDM_FOR_EACH_RUN(bits, first, n) {
		u64 dirty[DMO_BITS_WORDS] = { 0 };

		release_run(b, first, n, true, dirty);
		dmo_block_wprotected(b, first, n, dirty);
	}
}

bool kdm_block_accessed(struct dmo_block *b, struct dmo_dev *dev)
{
	bool used = false;

	if (!dev->ops->pt_accessed)
		return false;
	FOR_EACH_MAPPING(m, b, 0, DMO_BLOCK_PAGES) {
		struct dmo_as *as = m->space->ctx;
		unsigned int at = 0, n = meet(b, m, &at, DMO_BLOCK_PAGES);

		if (n && as->dev == dev && as->pt && dev->ops->pt_accessed(as->pt, va_of(b, m, at), n))
			used = true;
	}
	return used;
}

/* The device bits of page at: the mapping's and those advised. *n: cut to the pages that have the same. */
static u64 bits_of(const struct dmo_block *b, const struct dmo_mapping *m, unsigned int at, u32 *n)
{
	u64 page = b->index * DMO_BLOCK_PAGES + at, last;
	struct dmo_attr attr;

	dmo_attrs_get(&b->object->attrs, page, &attr, &last);
	if (last - page < *n)
		*n = last - page + 1;
	return m->bits | attr.device_bits;
}

static bool dying(const struct dmo_as *as, u64 va, unsigned int pages)
{
	return va <= READ_ONCE(as->dying_last) &&
	       va + ((u64)pages << DMO_PAGE_SHIFT) > READ_ONCE(as->dying_first);
}

/* Enters [at, at + n) for mapping m, in runs of consecutive frames, or of host pages where copy is NULL. */
static int enter_mapping(struct dmo_block *b, struct dmo_mapping *m, struct dmo_copy *copy, unsigned int at,
			 unsigned int n, u32 prot)
{
	struct dmo_as *as = m->space->ctx;
	int err = as->pt ? 0 : -ENODEV;

	if (dying(as, va_of(b, m, at), n))
		return 0;
	while (n && !err) {
		struct dmo_pte_run run = { .va = va_of(b, m, at), .prot = prot & m->prot, .pages = n };

		run.bits = bits_of(b, m, at, &run.pages);
		if (copy)
			run.pages = dmo_copy_run(copy, at, run.pages, &run.frame);
		else
			run.host = kdm_remote_pages(b) + at;
		err = as->dev->ops->pt_enter(as->pt, &run);
		if (!err)
			dmo_block_mapped(b, at, run.pages, run.prot & DMO_PROT_WRITE, !copy);
		at += run.pages;
		n -= run.pages;
	}
	return err;
}

int kdm_enter_pages(struct dmo_block *b, struct dmo_dev *dev, struct dmo_as *as, struct dmo_copy *copy,
		    unsigned int first, unsigned int count, u32 prot)
{
	FOR_EACH_MAPPING(m, b, first, count) {
		struct dmo_as *owner = m->space->ctx;
		unsigned int at = first, n = meet(b, m, &at, count);
		int err;

		if (!n || owner->dev != dev || (as && owner != as))
			continue;
		err = enter_mapping(b, m, copy, at, n, prot);
		if (err)
			return err;
	}
	return 0;
}
