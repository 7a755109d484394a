// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * revoke.c - taking pages back from the CPU
 *
 * The block is MOVING, so faults that begin now see it and wait. One that looked before holds the folio
 * lock until its page table entry is in place, and took it before obj->lock, under which the block
 * became MOVING. So a folio that is seen unlocked, and then unmapped, is nobody's any more. Any other is
 * locked, and unmapped again under its lock, before its content counts. What remains afterwards are pins
 * of direct I/O and the like, which write to memory without a page table: such a page is not moved.
 *
 * No lock of ours is held.
 */
#include "internal.h"

#include <linux/pagemap.h>

static void unmap_range(struct kdm_obj *obj, struct dmo_block *b, unsigned int first, unsigned int count)
{
	/* even_cows = false: private copies of pages are their owners' */
	unmap_mapping_pages(obj->backing_inode->i_mapping, kdm_block_pgoff(b) + first, count, false);
}

/* Is the folio nobody's to map, nor pinned? No lock is taken. */
static bool is_settled(struct address_space *mapping, struct folio *folio)
{
	if (folio_test_locked(folio))
		return false;
	smp_rmb();	/* who mapped it has unlocked it since */
	if (folio->mapping != mapping || folio_mapped(folio))
		return false;
	smp_rmb();	/* get_user_pages pins a page, then looks whether it is still mapped */
	return !folio_maybe_dma_pinned(folio);
}

/* Puts the folio's pages in [first, last] into host, with a reference each; the first is the caller's. */
static void keep_pages(struct folio *folio, pgoff_t first, pgoff_t last, struct page **host)
{
	pgoff_t from = max(folio->index, first), to = min(folio_next_index(folio) - 1, last);

	if (!folio_test_uptodate(folio)) {
		folio_put(folio);
		return;
	}
	if (to > from)
		folio_ref_add(folio, to - from);
	for (pgoff_t i = from; i <= to; i++)
		host[i - first] = folio_page(folio, i - folio->index);
}

/* A reference to the folio that xas has found, as filemap_get_folios takes it. */
static bool get_folio(struct xa_state *xas, struct folio *folio)
{
	if (!folio_try_get(folio))
		return false;
	if (folio == xas_reload(xas))
		return true;
	folio_put(folio);
	return false;
}

bool kdm_keep_settled(struct kdm_obj *obj, pgoff_t first, unsigned int n, struct page **host)
{
	struct address_space *mapping = obj->backing_inode->i_mapping;
	pgoff_t last = first + n - 1;
	XA_STATE(xas, &mapping->i_pages, first);
	struct folio *folio;
	bool all = true;

	rcu_read_lock();
	xas_for_each(&xas, folio, last) {
		if (xas_retry(&xas, folio) || xa_is_value(folio))
			continue;
		if (!get_folio(&xas, folio)) {
			all = false;
		} else if (is_settled(mapping, folio)) {
			keep_pages(folio, first, last, host);
		} else {
			folio_put(folio);
			all = false;
		}
	}
	rcu_read_unlock();
	return all;
}

/* Settles one page under its folio's lock: NULL where it is not in the page cache. */
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
	pgoff_t base = kdm_block_pgoff(b);
	unsigned int first, n;
	int err = 0;

	KDM_FOR_EACH_RUN(pages, first, n) {
		unmap_range(obj, b, first, n);
		if (kdm_keep_settled(obj, base + first, n, host + first))
			continue;
		for (unsigned int i = first; i < first + n && !err; i++)
			if (!host[i])
				err = settle(obj, base + i, &host[i]);
		if (err)
			break;
	}
	return err;
}

/* Does somebody besides the device's allocator hold one of the frames' pages? */
static bool in_use(struct dmo_dev *dev, u32 frame, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (page_ref_count(dev->page0 + frame + i) != 1)
			return true;
	return false;
}

int kdm_unmap_copy(struct kdm_obj *obj, struct dmo_copy *c, unsigned int first, unsigned int count)
{
	unsigned int end = first + count, n;
	u32 frame = 0;

	if (!kdm_coherent(c->dev))
		return 0;
	unmap_range(obj, c->block, first, count);
	for (unsigned int i = first; i < end; i += max(n, 1u)) {
		n = dmo_copy_run(c, i, end - i, &frame);
		if (in_use(kdm_dev_of(c->dev), frame, n))
			return -EBUSY;
	}
	return 0;
}
