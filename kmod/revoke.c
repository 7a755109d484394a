// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * revoke.c - taking pages back from the CPU
 *
 * The block is MOVING, so faults that begin now see it and wait. One that looked before holds the folio
 * lock until its page table entry is in place: each folio is therefore locked, and unmapped again under
 * its lock, before its content counts. What remains afterwards are pins of direct I/O and the like,
 * which write to memory without a page table: such a page is not moved.
 *
 * No lock of ours is held.
 */
#include "internal.h"

#include <linux/pagemap.h>
#include <linux/rmap.h>

static void unmap_range(struct kdm_obj *obj, struct dmo_block *b, unsigned int first, unsigned int count)
{
	/* even_cows = false: private copies of pages are their owners' */
	unmap_mapping_pages(obj->backing_inode->i_mapping, kdm_block_pgoff(b) + first, count, false);
}

/* Settles one page: NULL where it is not in the page cache. */
static int settle(struct kdm_obj *obj, pgoff_t index, struct page **out)
{
	struct address_space *mapping = obj->backing_inode->i_mapping;
	struct folio *folio = filemap_lock_folio(mapping, index);
	int err = 0;

	*out = NULL;
	if (IS_ERR_OR_NULL(folio))	/* NULL: before 6.4 */
		return 0;
	if (folio_mapped(folio))
		unmap_mapping_pages(mapping, folio->index, folio_nr_pages(folio), false);
	if (folio_maybe_dma_pinned(folio))
		err = -EBUSY;
	else if (folio_test_uptodate(folio))
		*out = folio_file_page(folio, index);
	folio_unlock(folio);
	if (!*out)
		folio_put(folio);
	return err;
}

void kdm_put_pages(struct page **host, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		if (host[i])
			put_page(host[i]);
		host[i] = NULL;
	}
}

int kdm_revoke(struct kdm_obj *obj, struct dmo_block *b, const u64 *pages, struct page **host)
{
	unsigned int first, n;

	KDM_FOR_EACH_RUN(pages, first, n) {
		unmap_range(obj, b, first, n);
		for (unsigned int i = first; i < first + n; i++) {
			int err = settle(obj, kdm_block_pgoff(b) + i, &host[i]);

			if (err)
				return err;
		}
	}
	return 0;
}

/* Does somebody besides the device's allocator hold the frame's page? */
static bool in_use(struct dmo_dev *dev, u32 frame)
{
	return page_ref_count(dev->page0 + frame) != 1;
}

int kdm_unmap_copy(struct kdm_obj *obj, struct dmo_copy *c, unsigned int first, unsigned int count)
{
	struct dmo_dev *dev = kdm_dev_of(c->dev);
	u32 frame;

	if (!kdm_coherent(c->dev))
		return 0;
	unmap_range(obj, c->block, first, count);
	for (unsigned int i = first; i < first + count; i++)
		if (dmo_copy_run(c, i, 1, &frame) && in_use(dev, frame))
			return -EBUSY;
	return 0;
}
