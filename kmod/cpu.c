// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cpu.c - CPU faults
 *
 * Where a page is, looked up under obj->lock, says what a fault does:
 *
 *	HOST	in the backing file: its own handler finds the page; then, under the folio lock, a second look
 *	DEVICE	in memory that the CPU reaches: mapped there, with its neighbours, under obj->lock
 *	FETCH	newer in memory that the CPU can't reach: the backing's handlers make a page, and the
 *		device's bytes go into it
 *	WAIT	its block is moving: wait, without the fault's lock where the kernel lets us
 *	LOST	SIGBUS
 *
 * In a mapping whose filesystem has no page_mkwrite a store after the first fault is not seen; there
 * each fault of a shared mapping of a file open for writing counts as a store (may_store).
 */
#include "internal.h"

#include <linux/file.h>
#include <linux/pagemap.h>

#define FAULT_AGAIN	0	/* look once more */

enum where { HOST, DEVICE, FETCH, WAIT, LOST };

static bool may_store(const struct vm_area_struct *vma)
{
	return (vma->vm_flags & VM_SHARED) && (vma->vm_flags & VM_MAYWRITE) && !vma->vm_ops->page_mkwrite;
}

static bool blocked(struct kdm_obj *obj, u64 index)
{
	struct dmo_block *b = dmo_block_find(&obj->core, index);

	return obj->barrier || (b && b->state == DMO_BLOCK_MOVING);
}

static bool taken(struct kdm_obj *obj, u64 index)
{
	struct dmo_block *b = dmo_block_find(&obj->core, index);

	return obj->barrier || (b && (b->state != DMO_BLOCK_IDLE || b->io));
}

static enum where look(struct kdm_obj *obj, struct dmo_block *b, unsigned int page, struct dmo_copy **copy)
{
	bool newer = false;

	if (obj->barrier || (b && b->state == DMO_BLOCK_MOVING))
		return WAIT;
	if (!b)
		return HOST;
	if (dmo_bits_test(dmo_block_bits(b, DMO_LOST), page))
		return LOST;
	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		if (!dmo_bits_test(dmo_copy_bits(c, DMO_VALID), page))
			continue;
		newer |= dmo_bits_test(dmo_copy_bits(c, DMO_DIRTY), page);
		newer |= dmo_bits_test(dmo_block_bits(b, DMO_WMAPPED), page);
		if (kdm_coherent(c->dev))
			*copy = c;
	}
	if (*copy && (!newer || dmo_page_copy(b, page) == *copy))
		return DEVICE;
	return newer ? FETCH : HOST;
}

/* Waits for the block (until it is idle, or only until it is not moving); no lock of ours held. */
static vm_fault_t wait_block(struct vm_fault *vmf, struct kdm_obj *obj,
			     bool (*busy)(struct kdm_obj *obj, u64 index))
{
	bool unlock = fault_flag_allow_retry_first(vmf->flags);
	u64 index = vmf->pgoff / DMO_BLOCK_PAGES;
	int err;

	if (unlock && (vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
		return VM_FAULT_RETRY;
	if (unlock)
		release_fault_lock(vmf);
	mutex_lock(&obj->lock);
	err = kdm_obj_wait(obj, !busy(obj, index));
	mutex_unlock(&obj->lock);
	if (unlock)
		return VM_FAULT_RETRY;
	return err ? VM_FAULT_SIGBUS : FAULT_AGAIN;
}

/* The CPU holds the pages from now on; other copies than keep end where it may store into them. */
static int take(struct dmo_block *b, unsigned int first, unsigned int count, struct dmo_copy *keep,
		bool store)
{
	u64 release[DMO_BITS_WORDS] = { 0 };
	int err;

	b->users++;
	err = dmo_block_open(b);
	if (!err)
		err = dmo_cpu_write_prepare(b, first, count, false, release);
	if (err)
		goto out;
	kdm_release_pages(b, release);
	for (struct dmo_copy *c = b->copies; c && store; c = c->next) {
		if (c == keep) {
			dmo_bits_set(dmo_rows_row(&c->rows, DMO_DIRTY), first, count);
			continue;
		}
		dmo_bits_clear(dmo_rows_row(&c->rows, DMO_VALID), first, count);
		dmo_bits_clear(dmo_rows_row(&c->rows, DMO_DIRTY), first, count);
	}
	dmo_block_set_cpu(b, first, count, true);
out:
	dmo_block_put(b);
	return err;
}

static vm_fault_t fault_error(int err)
{
	return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}

/* ---- DEVICE --------------------------------------------------------------- */

/*
 * The page and those round it that can be mapped with it: in the VMA, valid in c alone, not in use by a
 * device.
 */
static unsigned int window(struct vm_fault *vmf, struct dmo_block *b, struct dmo_copy *c, unsigned int *first)
{
	struct vm_area_struct *vma = vmf->vma;
	pgoff_t base = kdm_block_pgoff(b), lo = max(base, vma->vm_pgoff);
	pgoff_t end = min(base + dmo_block_pages(b), vma->vm_pgoff + vma_pages(vma));
	unsigned int page = vmf->pgoff - base, from = page, to = page + 1;
	u64 good[DMO_BITS_WORDS];

	if (b->copies == c && !c->next) {
		dmo_bits_andnot(good, dmo_copy_bits(c, DMO_VALID), dmo_block_bits(b, DMO_MAPPED));
		while (from > lo - base && dmo_bits_test(good, from - 1))
			from--;
		while (to < end - base && dmo_bits_test(good, to))
			to++;
	}
	*first = from;
	return to - from;
}

static struct page *frame_page(struct dmo_copy *c, unsigned int page)
{
	u32 frame;

	if (!dmo_copy_run(c, page, 1, &frame))
		return NULL;
	return kdm_dev_of(c->dev)->page0 + frame;
}

static vm_fault_t insert(struct vm_fault *vmf, struct dmo_block *b, struct dmo_copy *c, unsigned int first,
			 unsigned int count)
{
	struct page **pages = kmalloc_array(count, sizeof(*pages), GFP_NOWAIT | __GFP_NOWARN);
	unsigned int before = vmf->pgoff - kdm_block_pgoff(b) - first;
	unsigned long at = vmf->address - ((unsigned long)before << PAGE_SHIFT), left = count;
	int err = -EBUSY;

	if (pages) {
		for (unsigned int i = 0; i < count; i++)
			pages[i] = frame_page(c, first + i);
		err = vm_insert_pages(vmf->vma, at & PAGE_MASK, pages, &left);
		kfree(pages);
	}
	if (err)	/* one of them was there; perhaps ours is not */
		err = vm_insert_page(vmf->vma, vmf->address & PAGE_MASK,
				     frame_page(c, vmf->pgoff - kdm_block_pgoff(b)));
	return !err || err == -EBUSY ? VM_FAULT_NOPAGE : fault_error(err);
}

/* A private mapping is about to copy the page: it gets it locked, like any page of a file. */
static vm_fault_t lend(struct vm_fault *vmf, struct page *page)
{
	get_page(page);
	lock_page(page);
	vmf->page = page;
	return VM_FAULT_LOCKED;
}

/* obj->lock held. */
static vm_fault_t map_device(struct vm_fault *vmf, struct dmo_block *b, struct dmo_copy *c)
{
	bool cow = (vmf->flags & FAULT_FLAG_WRITE) && !(vmf->vma->vm_flags & VM_SHARED);
	unsigned int page = vmf->pgoff - kdm_block_pgoff(b), first = page, count = 1;
	int err;

	if (page >= dmo_block_pages(b))
		return VM_FAULT_SIGBUS;
	if (!cow)
		count = window(vmf, b, c, &first);
	err = take(b, first, count, c, may_store(vmf->vma));
	if (err)
		return fault_error(err);
	return cow ? lend(vmf, frame_page(c, page)) : insert(vmf, b, c, first, count);
}

/* ---- FETCH ---------------------------------------------------------------- */

/* The filesystem is told that the page will be dirty; it comes back locked, or is gone. */
static vm_fault_t backing_mkwrite(struct kdm_obj *obj, struct vm_fault *vmf)
{
	unsigned int flags = vmf->flags;
	vm_fault_t ret;

	unlock_page(vmf->page);
	vmf->flags = FAULT_FLAG_WRITE | FAULT_FLAG_MKWRITE;
	ret = obj->backing_vm_ops->page_mkwrite(vmf);
	vmf->flags = flags;
	if (ret & VM_FAULT_LOCKED)
		return VM_FAULT_LOCKED;
	put_page(vmf->page);
	vmf->page = NULL;
	return ret ? ret : VM_FAULT_NOPAGE;
}

static vm_fault_t backing_page(struct kdm_obj *obj, struct vm_fault *vmf)
{
	vm_fault_t ret = obj->backing_vm_ops->fault(vmf);

	if (ret & (VM_FAULT_ERROR | VM_FAULT_RETRY | VM_FAULT_NOPAGE | VM_FAULT_DONE_COW))
		return ret;
	if (!(ret & VM_FAULT_LOCKED))
		lock_page(vmf->page);
	return ret | VM_FAULT_LOCKED;
}

/* Which pages of the block the folio holds. */
static unsigned int folio_span(struct folio *folio, struct dmo_block *b, unsigned int *first)
{
	pgoff_t base = kdm_block_pgoff(b), lo = max(folio->index, base);
	pgoff_t end = min(folio_next_index(folio), base + DMO_BLOCK_PAGES);

	*first = lo - base;
	return end - lo;
}

/* Takes the translations of the folio's pages away and says which are newer on a device. */
static void newer_pages(struct kdm_obj *obj, struct dmo_block *b, unsigned int first, unsigned int count,
			u64 *newer)
{
	u64 pages[DMO_BITS_WORDS] = { 0 };

	mutex_lock(&obj->lock);
	dmo_bits_set(pages, first, count);
	dmo_bits_and(newer, pages, dmo_block_bits(b, DMO_MAPPED));
	kdm_release_pages(b, newer);
	dmo_bits_zero(newer);
	dmo_block_dirty(b, newer);
	dmo_bits_and(newer, newer, pages);
	mutex_unlock(&obj->lock);
}

static int copy_newer(struct dmo_block *b, struct folio *folio, const u64 *newer)
{
	unsigned int first, n;
	int err = 0;

	KDM_FOR_EACH_RUN(newer, first, n) {
		for (unsigned int i = first; i < first + n && !err; i++) {
			struct page *page = folio_file_page(folio, kdm_block_pgoff(b) + i);

			err = kdm_copy_pages(dmo_page_copy(b, i), DMO_COPY_OUT, i, &page, 1);
		}
	}
	return err;
}

/* The folio has the newest bytes: the copies are clean, or end where the CPU may store. */
static void settle_fetched(struct kdm_obj *obj, struct dmo_block *b, unsigned int first,
			   unsigned int count, bool store)
{
	struct dmo_copy *c, *next;

	mutex_lock(&obj->lock);
	for (c = b->copies; c; c = next) {
		next = c->next;
		dmo_bits_clear(dmo_rows_row(&c->rows, DMO_DIRTY), first, count);
		if (!store)
			continue;
		dmo_bits_clear(dmo_rows_row(&c->rows, DMO_VALID), first, count);
		kdm_drop_empty(b, kdm_dev_of(c->dev));
	}
	dmo_block_set_cpu(b, first, count, true);
	mutex_unlock(&obj->lock);
}

/* The block is MOVING. */
static vm_fault_t fetch_moving(struct kdm_obj *obj, struct vm_fault *vmf, struct dmo_block *b)
{
	vm_fault_t ret = backing_page(obj, vmf);
	u64 newer[DMO_BITS_WORDS];
	unsigned int first, count;
	struct folio *folio;
	int err;

	if (ret & VM_FAULT_LOCKED && vmf->vma->vm_ops->page_mkwrite)
		ret = backing_mkwrite(obj, vmf);
	if (!(ret & VM_FAULT_LOCKED))
		return ret;
	folio = page_folio(vmf->page);
	count = folio_span(folio, b, &first);
	newer_pages(obj, b, first, count, newer);
	err = copy_newer(b, folio, newer);
	if (err) {
		folio_unlock(folio);
		folio_put(folio);
		vmf->page = NULL;
		return fault_error(err);
	}
	folio_mark_dirty(folio);
	settle_fetched(obj, b, first, count, may_store(vmf->vma));
	return ret;
}

static vm_fault_t fetch(struct kdm_obj *obj, struct vm_fault *vmf)
{
	u64 index = vmf->pgoff / DMO_BLOCK_PAGES;
	struct dmo_block *b;
	vm_fault_t ret;
	int err;

	mutex_lock(&obj->lock);
	if (taken(obj, index)) {
		mutex_unlock(&obj->lock);
		return wait_block(vmf, obj, taken);
	}
	err = kdm_claim_moving(obj, index, &b);
	mutex_unlock(&obj->lock);
	if (err)
		return fault_error(err);
	ret = fetch_moving(obj, vmf, b);
	mutex_lock(&obj->lock);
	kdm_unclaim(b);
	mutex_unlock(&obj->lock);
	return ret;
}

/* ---- HOST ----------------------------------------------------------------- */

/* The folio is locked: HOST only if it still is, for each of its pages. */
static enum where look_folio(struct kdm_obj *obj, struct dmo_block *b, struct folio *folio)
{
	unsigned int first, count;
	enum where where = HOST;

	if (!b)
		return obj->barrier ? WAIT : HOST;
	count = folio_span(folio, b, &first);
	for (unsigned int i = first; i < first + count && where == HOST; i++) {
		struct dmo_copy *copy = NULL;

		where = look(obj, b, i, &copy);
	}
	return where;
}

/* Lets the CPU have a host page, locked: 0, or FAULT_AGAIN's reason as 1, or -errno. */
static int take_host(struct kdm_obj *obj, struct page *page, pgoff_t pgoff, bool store)
{
	struct folio *folio = page_folio(page);
	struct dmo_block *b;
	int err = 0;

	mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, pgoff / DMO_BLOCK_PAGES);
	if (look_folio(obj, b, folio) != HOST) {
		err = 1;
	} else if (b) {
		unsigned int first, count = folio_span(folio, b, &first);

		err = take(b, first, count, NULL, store);
	}
	mutex_unlock(&obj->lock);
	return err;
}

static vm_fault_t give_back(struct vm_fault *vmf, vm_fault_t ret)
{
	unlock_page(vmf->page);
	put_page(vmf->page);
	vmf->page = NULL;
	return ret;
}

static vm_fault_t host_page(struct kdm_obj *obj, struct vm_fault *vmf)
{
	vm_fault_t ret = backing_page(obj, vmf);
	int err;

	if (!(ret & VM_FAULT_LOCKED) || !READ_ONCE(obj->tracked))
		return ret;
	err = take_host(obj, vmf->page, vmf->pgoff, may_store(vmf->vma));
	if (err)
		return give_back(vmf, err > 0 ? FAULT_AGAIN : fault_error(err));
	return ret;
}

/* ---- entry ---------------------------------------------------------------- */

static vm_fault_t fault_once(struct kdm_obj *obj, struct vm_fault *vmf)
{
	struct dmo_copy *copy = NULL;
	struct dmo_block *b;
	enum where where;
	vm_fault_t ret;

	if (!READ_ONCE(obj->tracked))
		return host_page(obj, vmf);
	mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, vmf->pgoff / DMO_BLOCK_PAGES);
	where = look(obj, b, vmf->pgoff % DMO_BLOCK_PAGES, &copy);
	if (where == DEVICE)
		ret = map_device(vmf, b, copy);
	mutex_unlock(&obj->lock);
	switch (where) {
	case DEVICE:
		return ret;
	case FETCH:
		return fetch(obj, vmf);
	case WAIT:
		return wait_block(vmf, obj, blocked);
	case LOST:
		return VM_FAULT_SIGBUS;
	default:
		return host_page(obj, vmf);
	}
}

vm_fault_t kdm_cpu_fault(struct vm_fault *vmf)
{
	struct file *file = get_file(vmf->vma->vm_file);	/* the VMA may go when its lock is dropped */
	struct kdm_obj *obj = vmf->vma->vm_private_data;
	vm_fault_t ret;

	do {
		ret = fault_once(obj, vmf);
	} while (ret == FAULT_AGAIN && !fatal_signal_pending(current));
	fput(file);
	return ret == FAULT_AGAIN ? VM_FAULT_NOPAGE : ret;
}

/* A store to a device page that is mapped read-only. It has no mapping, so it must come back locked. */
static vm_fault_t mkwrite_device(struct kdm_obj *obj, struct vm_fault *vmf)
{
	unsigned int page = vmf->pgoff % DMO_BLOCK_PAGES;
	struct dmo_copy *copy = NULL;
	struct dmo_block *b;
	enum where where;
	int err = 0;

	mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, vmf->pgoff / DMO_BLOCK_PAGES);
	where = look(obj, b, page, &copy);
	if (where == DEVICE && frame_page(copy, page) == vmf->page)
		err = take(b, page, 1, copy, true);
	else
		err = 1;		/* it moved: the entry is gone, or goes */
	if (where == WAIT)		/* page_mkwrite may not drop the fault's lock */
		kdm_obj_wait(obj, !blocked(obj, vmf->pgoff / DMO_BLOCK_PAGES));
	mutex_unlock(&obj->lock);
	if (err)
		return err > 0 ? VM_FAULT_NOPAGE : fault_error(err);
	lock_page(vmf->page);
	return VM_FAULT_LOCKED;
}

vm_fault_t kdm_cpu_mkwrite(struct vm_fault *vmf)
{
	struct kdm_obj *obj = vmf->vma->vm_private_data;
	vm_fault_t ret;
	int err;

	if (is_zone_device_page(vmf->page))
		return mkwrite_device(obj, vmf);
	ret = obj->backing_vm_ops->page_mkwrite(vmf);
	if (!(ret & VM_FAULT_LOCKED) || !READ_ONCE(obj->tracked))
		return ret;
	err = take_host(obj, vmf->page, vmf->pgoff, true);
	if (!err)
		return ret;
	unlock_page(vmf->page);
	return err > 0 ? VM_FAULT_NOPAGE : fault_error(err);
}

/* Fault-around, under RCU: only where no device has to do with the pages. */
static bool all_host(struct kdm_obj *obj, pgoff_t start, pgoff_t end)
{
	if (obj->barrier)
		return false;
	for (u64 i = start / DMO_BLOCK_PAGES; i <= end / DMO_BLOCK_PAGES; i++) {
		struct dmo_block *b = dmo_block_find(&obj->core, i);

		if (b && (b->state == DMO_BLOCK_MOVING || b->copies ||
			  dmo_bits_any(dmo_block_bits(b, DMO_MAPPED)) ||
			  dmo_bits_any(dmo_block_bits(b, DMO_LOST))))
			return false;
	}
	return true;
}

vm_fault_t kdm_cpu_map_pages(struct vm_fault *vmf, pgoff_t start, pgoff_t end)
{
	struct kdm_obj *obj = vmf->vma->vm_private_data;
	vm_fault_t ret = 0;

	if (!READ_ONCE(obj->tracked))
		return obj->backing_vm_ops->map_pages(vmf, start, end);
	if (!mutex_trylock(&obj->lock))
		return 0;
	if (all_host(obj, start, end))
		ret = obj->backing_vm_ops->map_pages(vmf, start, end);
	mutex_unlock(&obj->lock);
	return ret;
}
