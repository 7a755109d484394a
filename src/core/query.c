/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/query.h"

static u32 if_set(const u64 *row, unsigned page, u32 flag)
{
	return dmo_bits_test(row, page) ? flag : 0;
}

/* What the copies of a page say. */
static void copies(const struct dmo_block *b, unsigned page, struct dmo_extent *e)
{
	struct dmo_copy *c = dmo_page_copy(b, page);
	unsigned holders = 0;

	for (struct dmo_copy *i = b->copies; i; i = i->next) {
		if (!dmo_bits_test(dmo_copy_bits(i, DMO_VALID), page))
			continue;
		holders++;
		if (i->pins)
			e->flags |= DMO_EXT_PINNED;
	}
	if (holders > 1)
		e->flags |= DMO_EXT_REPLICA;
	if (c && c->dev->number < DMO_DEVICES_MAX) {
		e->device = c->dev->number;
		e->flags |= DMO_EXT_RESIDENT;
	}
	if (c)
		e->flags |= if_set(dmo_copy_bits(c, DMO_DIRTY), page, DMO_EXT_DIRTY);
}

static void residency(const struct dmo_block *b, unsigned page, struct dmo_extent *e)
{
	copies(b, page, e);
	e->flags |= if_set(dmo_block_bits(b, DMO_WMAPPED), page, DMO_EXT_DIRTY) |
		    if_set(dmo_block_bits(b, DMO_CPU), page, DMO_EXT_CPU) |
		    if_set(dmo_block_bits(b, DMO_MAPPED), page, DMO_EXT_MAPPED) |
		    if_set(dmo_block_bits(b, DMO_REMOTE), page, DMO_EXT_REMOTE) |
		    if_set(dmo_block_bits(b, DMO_LOST), page, DMO_EXT_LOST);
}

static void advice(const struct dmo_object *o, u64 page, struct dmo_extent *e, u64 *last)
{
	struct dmo_attr attr;

	dmo_attrs_get(&o->attrs, page, &attr, last);
	e->attrs = attr.flags;
	e->preferred = attr.preferred;
	e->accessed_by = attr.accessed_by;
	e->granularity = attr.granularity;
	e->device_bits = attr.device_bits;
}

static bool alike(const struct dmo_extent *a, const struct dmo_extent *b)
{
	return a->flags == b->flags && a->device == b->device && a->attrs == b->attrs &&
	       a->preferred == b->preferred && a->accessed_by == b->accessed_by &&
	       a->granularity == b->granularity && a->device_bits == b->device_bits;
}

/* Pages from page on that lie in absent blocks, at most to before end. */
static u64 absent(const struct dmo_object *o, u64 page, u64 end)
{
	u64 next = page / DMO_BLOCK_PAGES;

	if (dmo_radix_next(&o->blocks, &next) && next * DMO_BLOCK_PAGES < end)
		end = next * DMO_BLOCK_PAGES;
	return end - page;
}

/* What holds at page, and how many pages it certainly holds for. */
static u64 describe(const struct dmo_object *o, u64 page, u64 end, struct dmo_extent *e)
{
	const struct dmo_block *b = dmo_block_find(o, page / DMO_BLOCK_PAGES);
	u64 last, n;

	*e = (struct dmo_extent){ .offset = page << DMO_PAGE_SHIFT, .device = DMO_DEVICE_HOST };
	advice(o, page, e, &last);
	if (b) {
		residency(b, page % DMO_BLOCK_PAGES, e);
		return 1;
	}
	e->flags = DMO_EXT_CPU;
	n = absent(o, page, end);
	return last - page < n - 1 ? last - page + 1 : n;
}

void dmo_query_extent(const struct dmo_object *o, u64 page, u64 end, struct dmo_extent *e)
{
	u64 n = describe(o, page, end, e);

	while (page + n < end) {
		struct dmo_extent more;
		u64 m = describe(o, page + n, end, &more);

		if (!alike(e, &more))
			break;
		n += m;
	}
	e->length = n << DMO_PAGE_SHIFT;
}

void dmo_query_settle(struct dmo_object *o, u64 first, u64 end,
		      void (*wprotect)(struct dmo_block *b, const u64 *pages))
{
	struct dmo_block *b;

	for (u64 i = first / DMO_BLOCK_PAGES; (b = dmo_radix_next(&o->blocks, &i)); i++) {
		u64 pages[DMO_BITS_WORDS];

		if (i * DMO_BLOCK_PAGES >= end)
			return;
		dmo_bits_copy(pages, dmo_block_bits(b, DMO_WMAPPED));
		if (b->state == DMO_BLOCK_MOVING || !dmo_bits_any(pages))
			continue;
		b->users++;
		if (!dmo_block_open(b))
			wprotect(b, pages);
		dmo_block_put(b);
	}
}

void dmo_query_hole(struct dmo_extent *e, dmo_query_seek *seek, void *file)
{
	const u64 mask = DMO_PAGE_SIZE - 1;
	s64 start = (s64)e->offset, end = start + (s64)e->length, at;

	if (e->flags & DMO_EXT_RESIDENT)
		return;
	at = seek(file, e->offset, false);
	if (at < 0 && at != -ENXIO)
		return;
	if (at < 0 || at >= end) {
		e->flags |= DMO_EXT_HOLE;
		return;
	}
	at &= ~mask;
	if (at > start) {
		e->flags |= DMO_EXT_HOLE;
	} else {
		at = seek(file, e->offset, true);
		at = at > 0 ? (s64)(((u64)at + mask) & ~mask) : end;
	}
	if (at > start && at < end)
		e->length = (u64)(at - start);
}

u64 dmo_query_resident(const struct dmo_object *o)
{
	u64 pages = 0;
	struct dmo_block *b;

	for (u64 i = 0; (b = dmo_radix_next(&o->blocks, &i)); i++) {
		u64 valid[DMO_BITS_WORDS] = { 0 };

		for (struct dmo_copy *c = b->copies; c; c = c->next)
			if (c->dev->number < DMO_DEVICES_MAX)
				dmo_bits_or(valid, valid, dmo_copy_bits(c, DMO_VALID));
		pages += dmo_bits_count(valid);
	}
	return pages << DMO_PAGE_SHIFT;
}
