/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmabuf.h - what the files of dma-bufs share
 *
 *	export	a range of an object that has a dma-buf; lives until the dma-buf and every hold of it are gone
 *	hold	the pages of an export while an importer uses them: each stays where it is
 */
#ifndef KDM_DMABUF_H
#define KDM_DMABUF_H

#include "internal.h"

#include <linux/dma-buf.h>
#include <linux/dma-resv.h>

struct kdm_export {
	struct kref ref;
	struct list_head link;		/* in obj->exports, under obj->lock */
	struct kdm_obj *obj;		/* with a use */
	struct dmo_dev *dev;		/* NULL: host memory */
	struct kdm_range range;		/* held: importers may write */
	struct kdm_payer payer;		/* to whom holds are charged */
	struct dma_resv resv;
	struct kdm_hold *mapped;	/* of the vmap, under resv */
};

void kdm_export_get(struct kdm_export *e);
void kdm_export_put(struct kdm_export *e);

struct kdm_hold {
	struct kref ref;
	struct list_head link;		/* host memory: in obj->holds, under obj->lock */
	struct kdm_export *export;	/* with a reference */
	struct dmo_dev *dev;		/* as kdm_get_pinnable gives it; NULL: host memory */
	struct page **pages;		/* with a reference each */
	unsigned long count;
	struct work_struct work;
};

/*
 * Brings the export's pages to where they belong and keeps them there. It copies and may wait: no lock
 * held. An ERR_PTR: -EDQUOT, -EINVAL the object became shorter, -ENODEV, -EIO lost pages, or as
 * kdm_access.
 */
struct kdm_hold *kdm_hold_make(struct kdm_export *e);
static inline struct kdm_hold *kdm_hold_get(struct kdm_hold *h)
{
	kref_get(&h->ref);
	return h;
}

/* The last one lets the pages go when the fences of the reservation have signalled; never waits. */
void kdm_hold_put(struct kdm_hold *h);

/* True where dmabuf is an export of this module. */
bool kdm_is_export(const struct dma_buf *dmabuf);

#endif
