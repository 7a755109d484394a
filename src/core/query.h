/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * query.h - residency and advice of a range, as extents of pages that agree in everything
 *
 * Locks: the object's.
 */
#ifndef DMO_CORE_QUERY_H
#define DMO_CORE_QUERY_H

#include "core/object.h"

#define DMO_DEVICES_MAX	63u	/* a home's devices; a copy on one of a higher number is the home's own affair */

/*
 * Fills in the extent that begins at page and ends at most before end (pages, page < end): whatever an object knows of
 * it. A page of no device counts as the backing file's; where that has holes, and which extent is the last, is the
 * caller's to say.
 */
void dmo_query_extent(const struct dmo_object *o, u64 page, u64 end, struct dmo_extent *e);

/*
 * A page that a device may write is dirty only if it did. Has wprotect, the home's, harvest the device's dirty bits of the
 * pages [first, end), at the price of a fault at the next write. Blocks on the move are passed over.
 */
void dmo_query_settle(struct dmo_object *o, u64 first, u64 end,
		      void (*wprotect)(struct dmo_block *b, const u64 *pages));

/* lseek(2) of the backing file with SEEK_DATA, or with SEEK_HOLE: an offset, or -errno. */
typedef s64 dmo_query_seek(void *file, u64 offset, bool hole);

/*
 * Marks an extent of the backing file that lies in a hole of it, and cuts it where a hole begins or ends. An error other
 * than ENXIO leaves it as it is. No lock held.
 */
void dmo_query_hole(struct dmo_extent *e, dmo_query_seek *seek, void *file);

/* Bytes of the object that are on any device. */
u64 dmo_query_resident(const struct dmo_object *o);

#endif
