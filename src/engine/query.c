/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query.c - residency and advice of a range, with the holes of the backing file */
#include "engine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
	pthread_mutex_lock(&obj->lock);
	dmo_query_extent(&obj->core, page, end, e);
	pthread_mutex_unlock(&obj->lock);
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
