// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * release.c - device page tables: entering translations and taking them away
 *
 * An object's reverse map finds every (address space, address) of a page. Entering and releasing happen
 * under obj->lock, as does a mapping's own coming and going in the reverse map, so a translation never
 * outlives its mapping.
 *
 * A round trip to a device may cost more than all the rest: runs of one mapping are entered together where
 * the driver has map, and what is taken away from it is flushed from the TLB together where it has
 * tlb_invalidate_ranges. Nobody relies on the translations being gone before the flush.
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

/* ---- taking away ---------------------------------------------------------- */

#define FLUSH_MAX	32

/* Ranges of one page table whose TLB entries are to go. */
struct flush {
	struct dmo_as *as;
	unsigned int count;
	struct dmo_va_range ranges[FLUSH_MAX];
};

static void flush_now(struct flush *f)
{
	const struct dmo_dev_ops *ops = f->as->dev->ops;

	if (f->count > 1 && ops->tlb_invalidate_ranges) {
		ops->tlb_invalidate_ranges(f->as->pt, f->ranges, f->count);
	} else {
		for (unsigned int i = 0; i < f->count; i++)
			ops->tlb_invalidate(f->as->pt, f->ranges[i].va, f->ranges[i].pages);
	}
	f->count = 0;
}

static void flush_later(struct flush *f, u64 va, u64 pages)
{
	if (f->count == FLUSH_MAX)
		flush_now(f);
	f->ranges[f->count++] = (struct dmo_va_range){ va, pages };
}

/* Pages [at, at + n) of one mapping; adds what was dirty to dirty. The flush is the caller's. */
static void release_one(struct dmo_block *b, struct dmo_mapping *m, unsigned int at, unsigned int n,
			bool protect, u64 *dirty, struct flush *f)
{
	unsigned long found[DMO_BITS / BITS_PER_LONG] = { 0 };
	const struct dmo_dev_ops *ops = f->as->dev->ops;
	u64 va = va_of(b, m, at);

	if (!protect && ops->unmap) {
		ops->unmap(f->as->pt, va, n, found);
	} else if (protect) {
		ops->pt_protect(f->as->pt, va, n, found);
		flush_later(f, va, n);
	} else {
		ops->pt_release(f->as->pt, va, n, found);
		flush_later(f, va, n);
	}
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
	struct flush f = { .as = m->space->ctx };
	u64 dirty[DMO_BITS_WORDS] = { 0 };

	if (!f.as->pt || !dmo_bits_any_in(dmo_block_bits(b, DMO_MAPPED), first, count))
		return;
	release_one(b, m, first, count, false, dirty, &f);
	flush_now(&f);
	release_remote_range(b, first, count);
	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		u64 *row = dmo_rows_row(&c->rows, DMO_DIRTY);

		if (c->dev != &f.as->dev->core)
			continue;
		for (unsigned int w = 0; w < DMO_BITS_WORDS; w++)
			row[w] |= dirty[w] & dmo_copy_bits(c, DMO_VALID)[w];
	}
}

/* What of the pages mapping m covers, in as few round trips as the driver allows. */
static void release_bits(struct dmo_block *b, struct dmo_mapping *m, const u64 *bits, bool protect,
			 u64 *dirty)
{
	struct flush f = { .as = m->space->ctx };
	unsigned int first, count;

	if (!f.as->pt || (protect && !(m->prot & DMO_PROT_WRITE)))
		return;
	KDM_FOR_EACH_RUN(bits, first, count) {
		unsigned int at = first, n = meet(b, m, &at, count);

		if (n)
			release_one(b, m, at, n, protect, dirty, &f);
	}
	flush_now(&f);
}

static void release_all(struct dmo_block *b, const u64 *bits, bool protect)
{
	u64 dirty[DMO_BITS_WORDS] = { 0 };
	unsigned int first, n;

	if (!dmo_bits_any(bits))
		return;
	FOR_EACH_MAPPING(m, b, 0, DMO_BLOCK_PAGES)
		release_bits(b, m, bits, protect, dirty);
	KDM_FOR_EACH_RUN(bits, first, n) {
		if (protect) {
			dmo_block_wprotected(b, first, n, dirty);
		} else {
			dmo_block_unmapped(b, first, n, dirty);
			kdm_remote_drop(b, first, n);
		}
	}
}

void kdm_release_pages(struct dmo_block *b, const u64 *bits)
{
	release_all(b, bits, false);
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
	release_all(b, bits, true);
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

/* ---- entering ------------------------------------------------------------- */

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

#define RUNS_MAX	16

/* Enters the runs, which begin at page at. */
static int enter_runs(struct dmo_block *b, struct dmo_as *as, const struct dmo_pte_run *runs,
		      unsigned int count, unsigned int at)
{
	const struct dmo_dev_ops *ops = as->dev->ops;
	int err = ops->map ? ops->map(as->pt, runs, count) : 0;

	for (unsigned int i = 0; i < count && !err; i++) {
		if (!ops->map)
			err = ops->pt_enter(as->pt, &runs[i]);
		if (!err)
			dmo_block_mapped(b, at, runs[i].pages, runs[i].prot & DMO_PROT_WRITE, runs[i].host);
		at += runs[i].pages;
	}
	return err;
}

/*
 * Collects runs of consecutive frames, or of host pages, with the same device bits: how many; *at and *n go
 * on behind them.
 */
static unsigned int collect_runs(struct dmo_block *b, struct dmo_mapping *m, struct dmo_copy *copy, u32 prot,
				 unsigned int *at, unsigned int *n, struct dmo_pte_run *runs)
{
	unsigned int count = 0;

	while (*n && count < RUNS_MAX) {
		struct dmo_pte_run *run = &runs[count++];

		*run = (struct dmo_pte_run){ .va = va_of(b, m, *at), .prot = prot & m->prot, .pages = *n };
		run->bits = bits_of(b, m, *at, &run->pages);
		if (copy)
			run->pages = dmo_copy_run(copy, *at, run->pages, &run->frame);
		else
			run->host = kdm_remote_pages(b) + *at;
		*at += run->pages;
		*n -= run->pages;
	}
	return count;
}

/* Enters [at, at + n) for mapping m: of the copy, or of host pages where that is NULL. */
static int enter_mapping(struct dmo_block *b, struct dmo_mapping *m, struct dmo_copy *copy, unsigned int at,
			 unsigned int n, u32 prot)
{
	struct dmo_pte_run runs[RUNS_MAX];
	struct dmo_as *as = m->space->ctx;
	int err = as->pt ? 0 : -ENODEV;

	if (dying(as, va_of(b, m, at), n))
		return 0;
	while (n && !err) {
		unsigned int first = at, count = collect_runs(b, m, copy, prot, &at, &n, runs);

		err = enter_runs(b, as, runs, count, first);
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
