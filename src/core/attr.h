/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attr.h - stored advice: which attributes are in force on which pages of an object
 *
 * Ranges of 4 KiB pages with split and merge (attr.c draws the cases). Pages that have no advice take no
 * memory. A range whose last page is DMO_PAGE_OPEN goes on to the end of the file and whatever is added
 * later.
 *
 * At most DMO_ATTR_RANGES_MAX ranges an object: what would pass that is refused with -ENOSPC, and nothing
 * changes.
 *
 * Locks: none here. The caller's lock of the object covers every call; get and the iteration can share it.
 */
#ifndef DMO_CORE_ATTR_H
#define DMO_CORE_ATTR_H

#include "core/itree.h"
#include "core/mem.h"

#include <dmo/ioctl.h>

#define DMO_ATTR_RANGES_MAX	4096u
#define DMO_PAGE_OPEN		(~0ull)				/* as a last page: no end */
#define DMO_PAGE_MAX		(0x7fffffffffffffffull >> DMO_PAGE_SHIFT)	/* a file's last, at most */
#define DMO_ACCESSED_BY_ALL	(~0ull)

struct dmo_attr {
	u32 flags;		/* DMO_ATTR_* */
	u32 preferred;		/* with DMO_ATTR_PREFERRED a device or DMO_DEVICE_HOST, else DMO_DEVICE_ANY */
	u64 accessed_by;	/* a bit for each device 0 to 63 */
	u64 device_bits;
	u8 granularity;		/* log2 of bytes, 12 to 21; 0: not set */
};

/* No advice. */
#define DMO_ATTR_NONE { .preferred = DMO_DEVICE_ANY }

struct dmo_attr_range {
	struct dmo_itnode node;		/* pages */
	struct dmo_attr value;		/* never DMO_ATTR_NONE, nor equal to that of a range that touches it */
};

struct dmo_attrs {
	struct dmo_itree tree;
	u64 gen;			/* raised by each change: equal numbers mean equal attributes */
};

void dmo_attrs_init(struct dmo_attrs *a);

/* Forgets everything and gives the memory back. */
void dmo_attrs_fini(struct dmo_attrs *a, const struct dmo_mem *mem);

static inline bool dmo_attr_equal(const struct dmo_attr *a, const struct dmo_attr *b)
{
	return a->flags == b->flags && a->preferred == b->preferred && a->accessed_by == b->accessed_by &&
	       a->device_bits == b->device_bits && a->granularity == b->granularity;
}

bool dmo_attr_is_none(const struct dmo_attr *v);

/* True for the advice that is kept as an attribute; WILLNEED, DONTNEED and DISCARD are acts. */
bool dmo_advice_is_stored(u32 advice);

/*
 * What advice makes of a value: 0, or -EINVAL for advice that is not stored, a device it doesn't take
 * (PREFERRED takes a device or DMO_DEVICE_HOST; ACCESSED_BY a device below 64 or DMO_DEVICE_ANY), or a
 * granularity out of range. Only advice, device and value of the request are looked at.
 */
int dmo_attr_apply(struct dmo_attr *v, const struct dmo_advise *advice);

/*
 * Applies advice to the pages [first, last]; last DMO_PAGE_OPEN for no end. first <= last. All or nothing: 0;
 * -EINVAL as dmo_attr_apply; -ENOMEM; -ENOSPC past DMO_ATTR_RANGES_MAX.
 */
int dmo_attrs_advise(struct dmo_attrs *a, const struct dmo_mem *mem, u64 first, u64 last,
		     const struct dmo_advise *advice);

/*
 * Gives the pages [first, last] exactly value. All or nothing: 0, -ENOMEM, -ENOSPC. With DMO_ATTR_NONE it
 * forgets: that can need one node, for a hole in the middle of a range.
 */
int dmo_attrs_set(struct dmo_attrs *a, const struct dmo_mem *mem, u64 first, u64 last,
		  const struct dmo_attr *value);

static inline int dmo_attrs_clear(struct dmo_attrs *a, const struct dmo_mem *mem, u64 first, u64 last)
{
	struct dmo_attr none = DMO_ATTR_NONE;

	return dmo_attrs_set(a, mem, first, last, &none);
}

/*
 * The file now has that many pages: advice beyond goes, save that of open-ended ranges, which still holds for
 * what may be added later. Never fails.
 */
void dmo_attrs_truncate(struct dmo_attrs *a, const struct dmo_mem *mem, u64 pages);

/*
 * The value in force on page, and in *run_last (may be NULL) the last page up to which it holds without a
 * change.
 */
void dmo_attrs_get(const struct dmo_attrs *a, u64 page, struct dmo_attr *out, u64 *run_last);

static inline u64 dmo_attrs_count(const struct dmo_attrs *a)
{
	return a->tree.count;
}

/* Walks the ranges in order of pages: NULL at the end. */
struct dmo_attr_range *dmo_attrs_first(const struct dmo_attrs *a);
struct dmo_attr_range *dmo_attrs_next(const struct dmo_attr_range *r);

#endif
