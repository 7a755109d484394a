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

/* Bytes of the object that are on any device. */
u64 dmo_query_resident(const struct dmo_object *o);

#endif
