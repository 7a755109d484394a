// SPDX-License-Identifier: GPL-2.0-or-later
/* query.c - residency and advice of a range, with the holes of the backing file */
#include "internal.h"

#include "core/query.h"

#include <linux/fs.h>

/* Marks an extent that lies in a hole of the backing file, and cuts it where the hole begins or ends. */
static void mark_hole(struct kdm_obj *obj, struct dmo_extent *e)
{
	loff_t data, end = e->offset + e->length, stop;

	if (e->flags & DMO_EXT_RESIDENT)
		return;
	data = vfs_llseek(obj->ro, e->offset, SEEK_DATA);
	if (data < 0 && data != -ENXIO)
		return;
	if (data < 0 || data >= end) {
		e->flags |= DMO_EXT_HOLE;
		return;
	}
	stop = round_down(data, DMO_PAGE_SIZE);
	if (stop > e->offset)
		e->flags |= DMO_EXT_HOLE;
	else
		stop = round_up(vfs_llseek(obj->ro, e->offset, SEEK_HOLE), DMO_PAGE_SIZE);
	if (stop > e->offset && stop < end)
		e->length = stop - e->offset;
}

/*
 * A page that a device may write is dirty only if it did: the device's dirty bits are harvested.
 * obj->lock held.
 */
static void settle_dirty(struct kdm_obj *obj, u64 first, u64 end)
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
			kdm_wprotect_pages(b, pages);
		dmo_block_put(b);
	}
}

/* The extent that begins at page. */
static void extent_at(struct kdm_obj *obj, u64 page, u64 end, struct dmo_extent *e)
{
	mutex_lock(&obj->lock);
	dmo_query_extent(&obj->core, page, end, e);
	mutex_unlock(&obj->lock);
	mark_hole(obj, e);
}

int kdm_query(struct kdm_file *f, struct dmo_query *q)
{
	struct kdm_obj *obj = f->obj;
	u64 page = q->offset >> DMO_PAGE_SHIFT, end, asked;
	unsigned int room = q->count;

	mutex_lock(&obj->lock);
	kdm_obj_refresh(obj);
	end = (obj->core.size + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT;
	settle_dirty(obj, page, end);
	mutex_unlock(&obj->lock);
	asked = (q->offset + q->length + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT;
	if (q->length && asked < end)
		end = asked;
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
