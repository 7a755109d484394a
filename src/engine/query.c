/* SPDX-License-Identifier: GPL-2.0-or-later */
/* query.c - residency and advice of a range, with the holes of the backing file */
#include "engine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static s64 seek(void *file, u64 offset, bool hole)
{
	struct eng_object *obj = file;
	off_t at = lseek(obj->fd, offset, hole ? SEEK_HOLE : SEEK_DATA);

	return at < 0 ? -errno : at;
}

/* The extent that begins at page. */
static void extent_at(struct eng_object *obj, u64 page, u64 end, struct dmo_extent *e)
{
	pthread_mutex_lock(&obj->lock);
	dmo_query_extent(&obj->core, page, end, e);
	pthread_mutex_unlock(&obj->lock);
	dmo_query_hole(e, seek, obj);
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
	dmo_query_settle(&obj->core, page, end, eng_wprotect_pages);
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
