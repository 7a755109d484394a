// SPDX-License-Identifier: GPL-2.0-or-later
/* query.c - residency and advice of a range, with the holes of the backing file */
#include "internal.h"

#include "core/query.h"

#include <linux/fs.h>

static s64 seek(void *file, u64 offset, bool hole)
{
	struct kdm_obj *obj = file;

	return vfs_llseek(obj->ro, offset, hole ? SEEK_HOLE : SEEK_DATA);
}

/* The extent that begins at page. */
static void extent_at(struct kdm_obj *obj, u64 page, u64 end, struct dmo_extent *e)
{
	mutex_lock(&obj->lock);
	dmo_query_extent(&obj->core, page, end, e);
	mutex_unlock(&obj->lock);
	dmo_query_hole(e, seek, obj);
}

int kdm_query(struct kdm_file *f, struct dmo_query *q)
{
	struct kdm_obj *obj = f->obj;
	u64 page = q->offset >> DMO_PAGE_SHIFT, end, asked;
	unsigned int room = q->count;

	mutex_lock(&obj->lock);
	kdm_obj_refresh(obj);
	end = (obj->core.size + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT;
	dmo_query_settle(&obj->core, page, end, kdm_wprotect_pages);
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
