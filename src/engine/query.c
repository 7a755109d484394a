/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query.c - residency and advice of a range, as extents of pages that agree in everything */
#include "engine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The state of a page as an extent of one; obj->lock held. */
static void residency(const struct dmo_object *o, const struct dmo_block *b, unsigned page, struct dmo_extent *e)
{
	struct dmo_copy *c = dmo_page_copy(b, page);
	unsigned holders = 0;

	for (struct dmo_copy *i = b->copies; i; i = i->next) {
		holders += dmo_bits_test(dmo_copy_bits(i, DMO_VALID), page);
		if (i->pins && dmo_bits_test(dmo_copy_bits(i, DMO_VALID), page))
			e->flags |= DMO_EXT_PINNED;
	}
	if (c && c->dev->number < ENG_DEVICES_MAX) {
		e->device = c->dev->number;
		e->flags |= DMO_EXT_RESIDENT;
	}
	if (c && dmo_bits_test(dmo_copy_bits(c, DMO_DIRTY), page))
		e->flags |= DMO_EXT_DIRTY;
	if (holders > 1)
		e->flags |= DMO_EXT_REPLICA;
	if (dmo_bits_test(dmo_block_bits(b, DMO_WMAPPED), page))
		e->flags |= DMO_EXT_DIRTY;
	e->flags |= dmo_bits_test(dmo_block_bits(b, DMO_CPU), page) ? DMO_EXT_CPU : 0;
	e->flags |= dmo_bits_test(dmo_block_bits(b, DMO_MAPPED), page) ? DMO_EXT_MAPPED : 0;
	e->flags |= dmo_bits_test(dmo_block_bits(b, DMO_REMOTE), page) ? DMO_EXT_REMOTE : 0;
	e->flags |= dmo_bits_test(dmo_block_bits(b, DMO_LOST), page) ? DMO_EXT_LOST : 0;
}

static void advice_of(const struct dmo_object *o, u64 page, struct dmo_extent *e, u64 *last)
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

/* What holds at page, and how many pages it certainly holds for (whole absent blocks at a time). */
static u64 describe(struct eng_object *obj, u64 page, u64 end, struct dmo_extent *e)
{
	struct dmo_object *o = &obj->core;
	struct dmo_block *b = dmo_block_find(o, page / DMO_BLOCK_PAGES);
	u64 last, n = 1, next;

	*e = (struct dmo_extent){ .offset = page << DMO_PAGE_SHIFT, .device = DMO_DEVICE_HOST };
	advice_of(o, page, e, &last);
	if (b) {
		residency(o, b, page % DMO_BLOCK_PAGES, e);
		return n;
	}
	e->flags = DMO_EXT_CPU;
	next = page / DMO_BLOCK_PAGES;
	if (dmo_radix_next(&o->blocks, &next))
		n = next * DMO_BLOCK_PAGES - page;
	else
		n = end - page;
	if (n > end - page)
		n = end - page;
	if (last - page < n - 1)
		n = last - page + 1;
	return n;
}

/* Marks an extent that lies in a hole of the backing file, and cuts it where the hole begins or ends. */
static void mark_hole(struct eng_object *obj, struct dmo_extent *e)
{
	off_t data;

	if (e->flags & DMO_EXT_RESIDENT)
		return;
	data = lseek(obj->fd, e->offset, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		return;
	if (data < 0 || (u64)data >= e->offset + e->length) {
		e->flags |= DMO_EXT_HOLE;
	} else if ((u64)data > e->offset && ((u64)data & ~(u64)(DMO_PAGE_SIZE - 1)) > e->offset) {
		e->flags |= DMO_EXT_HOLE;
		e->length = ((u64)data & ~(u64)(DMO_PAGE_SIZE - 1)) - e->offset;
	} else {
		off_t hole = lseek(obj->fd, e->offset, SEEK_HOLE);
		u64 stop = ((u64)hole + DMO_PAGE_SIZE - 1) & ~(u64)(DMO_PAGE_SIZE - 1);

		if (hole > 0 && stop < e->offset + e->length && stop > e->offset)
			e->length = stop - e->offset;
	}
}

/*
 * A page that a device may write is dirty only if it did: the device's dirty bits are harvested, at the price of a fault at
 * the next write. obj->lock held.
 */
static void settle_dirty(struct eng_object *obj, u64 first, u64 end)
{
	struct dmo_block *b;

	for (u64 i = first / DMO_BLOCK_PAGES; (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		u64 pages[DMO_BITS_WORDS];

		if (i * DMO_BLOCK_PAGES >= end)
			return;
		dmo_bits_copy(pages, dmo_block_bits(b, DMO_WMAPPED));
		if (b->state == DMO_BLOCK_MOVING || !dmo_bits_any(pages))
			continue;
		b->users++;
		if (!dmo_block_open(b))
			eng_wprotect_pages(b, pages);
		dmo_block_put(b);
	}
}

/* The extent that begins at page. */
static void extent_at(struct eng_object *obj, u64 page, u64 end, struct dmo_extent *e)
{
	u64 n;

	pthread_mutex_lock(&obj->lock);
	n = describe(obj, page, end, e);
	while (page + n < end) {
		struct dmo_extent more;
		u64 m = describe(obj, page + n, end, &more);

		if (!alike(e, &more))
			break;
		n += m;
	}
	pthread_mutex_unlock(&obj->lock);
	e->length = n << DMO_PAGE_SHIFT;
	mark_hole(obj, e);
}

int eng_query(struct eng_file *f, struct dmo_query *q)
{
	struct eng_object *obj = f->obj;
	u64 page = q->offset >> DMO_PAGE_SHIFT, end, size;
	unsigned room = q->count;
	struct stat st;
	int err = eng_object_backing(obj);

	if (err)
		return err;
	if (fstat(obj->fd, &st))
		return -errno;
	if (!atomic_load(&obj->ready))
		eng_advice_load(obj);
	pthread_mutex_lock(&obj->lock);
	size = atomic_load(&obj->ready) ? obj->core.size : (u64)st.st_size;
	end = (size + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT;
	settle_dirty(obj, page, end);
	pthread_mutex_unlock(&obj->lock);
	if (q->length && (q->offset + q->length + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT < end)
		end = (q->offset + q->length + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT;
	for (q->count = 0; q->count < room && page < end; q->count++) {
		struct dmo_extent *e = &q->extents[q->count];

		extent_at(obj, page, end, e);
		page += e->length >> DMO_PAGE_SHIFT;
		if (page >= end)
			e->flags |= DMO_EXT_LAST;
	}
	q->offset = page << DMO_PAGE_SHIFT;
	return 0;
}
