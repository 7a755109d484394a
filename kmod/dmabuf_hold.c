// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dmabuf_hold.c - pages that an importer uses stay where they are
 *
 * An importer reaches pages by their addresses, reads and writes them without a page table of ours, and
 * can't be told to stop. So a hold
 *
 *	of device memory	pins the copies, and lets no other device have a copy of what is in them; the
 *				pages count as dirty, and have a reference that keeps fsync from taking
 *				them for clean and the device's memory from going away
 *	of host memory		brings the pages home and refers to them; what is held no device gets (-EBUSY)
 *
 * Truncate wins: the hold keeps its pages, which are nobody's content any more. The pages are
 * charged to who made the export.
 *
 * Locks: obj->lock for obj->holds. Nothing is held while a hold is made.
 */
#include "dmabuf.h"

#include <linux/pagemap.h>

static bool may_write(const struct kdm_hold *h)
{
	return h->export->range.held;
}

/* ---- device memory -------------------------------------------------------- */

static int take_frame(struct kdm_hold *h, struct dmo_block *b, u64 page)
{
	struct dmo_copy *c = b ? dmo_block_copy(b, &h->dev->core) : NULL;
	u32 frame;

	if (!c || !dmo_copy_run(c, page % DMO_BLOCK_PAGES, 1, &frame))
		return -EFAULT;		/* truncated before the pin, then made longer */
	h->pages[h->count] = h->dev->page0 + frame;
	get_page(h->pages[h->count++]);
	return 0;
}

static int take_frames(struct kdm_hold *h)
{
	const struct kdm_range *r = &h->export->range;
	struct kdm_obj *obj = h->export->obj;
	int err = 0;

	mutex_lock(&obj->lock);
	for (u64 page = r->first; page <= r->last && !err; page++)
		err = take_frame(h, dmo_block_find(&obj->core, page / DMO_BLOCK_PAGES), page);
	mutex_unlock(&obj->lock);
	return err;
}

static void put_all(struct kdm_hold *h)
{
	while (h->count) {
		put_page(h->pages[--h->count]);
		cond_resched();
	}
}

static int hold_device(struct kdm_hold *h)
{
	struct kdm_export *e = h->export;
	int err = kdm_pin_pages(e->obj, h->dev, &e->range);

	if (err)
		return err;
	err = take_frames(h);
	if (err) {
		put_all(h);
		kdm_unpin_pages(e->obj, h->dev, &e->range);
	}
	return err;
}

static void release_device(struct kdm_hold *h)
{
	put_all(h);
	kdm_unpin_pages(h->export->obj, h->dev, &h->export->range);
}

/* ---- host memory ---------------------------------------------------------- */

bool kdm_host_held(struct kdm_obj *obj, const struct dmo_block *b, const u64 *pages)
{
	u64 base = b->index * DMO_BLOCK_PAGES;
	struct kdm_hold *h;

	lockdep_assert_held(&obj->lock);
	list_for_each_entry(h, &obj->holds, link) {
		const struct kdm_range *r = &h->export->range;
		unsigned int first, count;

		if (r->first >= base + DMO_BLOCK_PAGES || r->last < base)
			continue;
		kdm_cut(b->index, r->first, r->last, &first, &count);
		if (dmo_bits_any_in(pages, first, count))
			return true;
	}
	return false;
}

/* Nothing of the range is anywhere but in the backing file, where obj->holds keeps it. */
static int bring_home(struct kdm_hold *h)
{
	const struct kdm_range *r = &h->export->range;
	struct kdm_obj *obj = h->export->obj;
	struct dmo_block *b;
	int err = 0;

	for (u64 i = r->first / DMO_BLOCK_PAGES; i <= r->last / DMO_BLOCK_PAGES && !err; i++) {
		unsigned int first, count;

		kdm_cut(i, r->first, r->last, &first, &count);
		err = kdm_evict_pages(obj, NULL, i, first, count);
		if (err)
			break;
		mutex_lock(&obj->lock);
		b = dmo_block_find(&obj->core, i);
		if (b && dmo_bits_any_in(dmo_block_bits(b, DMO_LOST), first, count))
			err = -EIO;
		mutex_unlock(&obj->lock);
	}
	return err;
}

static int take_host_pages(struct kdm_hold *h)
{
	const struct kdm_range *r = &h->export->range;

	for (u64 i = r->first; i <= r->last; i++) {
		struct page *page = kdm_host_page(h->export->obj, i);

		if (IS_ERR(page))
			return PTR_ERR(page);
		h->pages[h->count++] = page;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static void release_host(struct kdm_hold *h)
{
	struct kdm_obj *obj = h->export->obj;

	for (unsigned long i = 0; i < h->count && may_write(h); i++)
		set_page_dirty_lock(h->pages[i]);
	put_all(h);
	mutex_lock(&obj->lock);
	list_del(&h->link);
	mutex_unlock(&obj->lock);
}

static int hold_host(struct kdm_hold *h)
{
	struct kdm_obj *obj = h->export->obj;
	int err;

	mutex_lock(&obj->lock);
	list_add(&h->link, &obj->holds);
	mutex_unlock(&obj->lock);
	err = bring_home(h);
	if (!err)
		err = take_host_pages(h);
	if (err)
		release_host(h);
	return err;
}

/* ---- both ----------------------------------------------------------------- */

/* The device that the export names, if it still is the one. */
static int find_device(struct kdm_hold *h)
{
	struct kdm_export *e = h->export;

	if (!e->dev)
		return 0;
	h->dev = kdm_get_pinnable(e->dev->core.number);
	if (h->dev == e->dev)
		return 0;
	if (h->dev)
		kdm_put_pinnable(h->dev);
	h->dev = NULL;
	return -ENODEV;
}

static int hold_pages(struct kdm_hold *h)
{
	struct kdm_export *e = h->export;
	u64 n = kdm_range_pages(&e->range);
	int err = kdm_pin_check(e->obj, h->dev, &e->range);

	if (!err)
		err = kdm_charge(&e->payer, n);
	if (err)
		return err;
	kdm_obj_track(e->obj);
	h->pages = kvmalloc_array(n, sizeof(*h->pages), GFP_KERNEL);
	err = h->pages ? h->dev ? hold_device(h) : hold_host(h) : -ENOMEM;
	if (err) {
		kvfree(h->pages);
		kdm_uncharge(&e->payer, n);
	}
	return err;
}

static void free_hold(struct kdm_hold *h)
{
	struct kdm_export *e = h->export;

	if (h->dev)
		kdm_put_pinnable(h->dev);
	kfree(h);
	kdm_export_put(e);
}

static void end_hold(struct kdm_hold *h)
{
	if (h->dev)
		release_device(h);
	else
		release_host(h);
	kvfree(h->pages);
	kdm_uncharge(&h->export->payer, kdm_range_pages(&h->export->range));
	free_hold(h);
}

/* Who let go of the pages may have left work on them: its fences say when that is over. */
static void end_when_idle(struct work_struct *work)
{
	struct kdm_hold *h = container_of(work, struct kdm_hold, work);

	dma_resv_wait_timeout(&h->export->resv, DMA_RESV_USAGE_BOOKKEEP, false, MAX_SCHEDULE_TIMEOUT);
	end_hold(h);
}

struct kdm_hold *kdm_hold_make(struct kdm_export *e)
{
	struct kdm_hold *h = kzalloc(sizeof(*h), GFP_KERNEL);
	int err;

	if (!h)
		return ERR_PTR(-ENOMEM);
	kref_init(&h->ref);
	INIT_WORK(&h->work, end_when_idle);
	kdm_export_get(e);
	h->export = e;
	err = find_device(h);
	if (!err)
		err = hold_pages(h);
	if (err) {
		free_hold(h);
		return ERR_PTR(err);
	}
	return h;
}

static void last_put(struct kref *ref)
{
	struct kdm_hold *h = container_of(ref, struct kdm_hold, ref);

	if (dma_resv_test_signaled(&h->export->resv, DMA_RESV_USAGE_BOOKKEEP))
		end_hold(h);
	else
		queue_work(kdm_wq, &h->work);
}

void kdm_hold_put(struct kdm_hold *h)
{
	kref_put(&h->ref, last_put);
}
