// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * copy_out.c - pages of a device go to the backing file
 *
 * With one copy where that can be, in one of three ways:
 *
 *	shmem		its pages are held and overwritten by the driver's engine, or the CPU, then marked
 *			dirty, as drivers do that keep their memory in shmem: a page that is held is
 *			neither swapped out nor moved
 *	CPU reaches	the filesystem writes from the device's memory
 *	neither		the engine copies into pages of ours, from which the filesystem writes: other
 *			filesystems than shmem have to be told of a page that becomes dirty
 *
 * The block is MOVING, or has I/O under way, so nobody reads or maps the pages. No lock is held. After
 * an error the copy is what it was, and nobody looks at what became of the page in the backing file
 * (invariant 3).
 */
#include "internal.h"

#include <linux/fsnotify.h>
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>

#define OUT_PAGES	64	/* copied at a time */

/* ---- into shmem ----------------------------------------------------------- */

static int may_write(struct kdm_obj *obj)
{
	if (!obj->rw)
		return -EROFS;
	return SHMEM_I(obj->backing_inode)->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) ? -EPERM : 0;
}

/* The page, made where there is none. */
static int get_page_of(struct kdm_obj *obj, pgoff_t page, struct page **out)
{
	struct page *got = shmem_read_mapping_page(obj->backing_inode->i_mapping, page);

	if (IS_ERR(got))
		return PTR_ERR(got);
	*out = got;
	return 0;
}

/* Holds n pages of the backing file from page on; new ones are charged to the object's owner. */
static int hold_pages(struct kdm_obj *obj, pgoff_t page, struct page **host, unsigned int n)
{
	struct mem_cgroup *old = set_active_memcg(obj->memcg);
	int err = 0;

	memset(host, 0, n * sizeof(*host));
	kdm_keep_settled(obj, page, n, host);
	for (unsigned int i = 0; i < n && !err; i++)
		err = host[i] ? 0 : get_page_of(obj, page + i, &host[i]);
	if (err)
		kdm_put_pages(host, n);
	set_active_memcg(old);
	return err;
}

/* Bytes past the end of the file are zeros, whatever the device has there. */
static void zero_past(struct page *last, loff_t size)
{
	unsigned int from = offset_in_page(size);

	if (from)
		memzero_page(last, from, PAGE_SIZE - from);
}

static int copy_to_shmem(struct kdm_obj *obj, struct dmo_copy *c, unsigned int first, unsigned int n)
{
	pgoff_t page = kdm_block_pgoff(c->block) + first;
	loff_t size = i_size_read(obj->backing_inode);
	pgoff_t end = DIV_ROUND_UP(size, PAGE_SIZE);
	struct page *host[OUT_PAGES];
	int err = may_write(obj);

	n = min_t(pgoff_t, n, end > page ? end - page : 0);
	if (!err)
		err = hold_pages(obj, page, host, n);
	if (err || !n)
		return err;
	err = kdm_copy_pages(c, DMO_COPY_OUT, first, host, n);
	if (page + n == end)
		zero_past(host[n - 1], size);
	for (unsigned int i = 0; i < n && !err; i++)
		if (!PageDirty(host[i]))
			set_page_dirty(host[i]);
	kdm_put_pages(host, n);
	return err;
}

/* What a write would have done besides. */
static void note_written(struct kdm_obj *obj)
{
	file_update_time(obj->rw);
	fsnotify_modify(obj->rw);
}

/* ---- through the filesystem ----------------------------------------------- */

static int write_frames(struct kdm_obj *obj, struct dmo_copy *c, unsigned int first, unsigned int n)
{
	struct page *frames[OUT_PAGES];
	int err = kdm_copy_frames(c, first, frames, n);

	return err ? err : kdm_backing_write(obj, kdm_block_pgoff(c->block) + first, frames, n);
}

static int write_copies(struct kdm_obj *obj, struct dmo_copy *c, unsigned int first, unsigned int n)
{
	struct page *host[OUT_PAGES];
	int err = kdm_alloc_pages(host, n);

	if (err)
		return err;
	err = kdm_copy_pages(c, DMO_COPY_OUT, first, host, n);
	if (!err)
		err = kdm_backing_write(obj, kdm_block_pgoff(c->block) + first, host, n);
	kdm_free_pages(host, n);
	return err;
}

int kdm_copy_out(struct kdm_obj *obj, struct dmo_copy *c, unsigned int first, unsigned int n)
{
	bool shmem = shmem_mapping(obj->backing_inode->i_mapping), direct = kdm_copy_by_cpu(c);
	int err = 0;

	for (unsigned int some; n && !err; first += some, n -= some) {
		some = min(n, OUT_PAGES);
		if (shmem)
			err = copy_to_shmem(obj, c, first, some);
		else if (direct)
			err = write_frames(obj, c, first, some);
		else
			err = write_copies(obj, c, first, some);
	}
	if (shmem && !err)
		note_written(obj);
	return err;
}
