// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * io.c - read(2) and write(2)
 *
 * An object that no device had to do with hands the request to the backing file. A tracked one passes
 * it through pages of the module, block by block, because the filesystem must not touch the caller's
 * memory (which may be this very object) under its own locks:
 *
 *              newer on a device, or reached by the CPU there      otherwise
 *   read       that copy                                           the backing file
 *   write      that copy                                           the backing file; clean copies go
 *
 * While bytes are under way the block has I/O counted and can't become MOVING. Writers of one object
 * come one at a time (inode lock), so a page that is written in part can be read, changed and written
 * back.
 */
#include "internal.h"

#include <linux/highmem.h>
#include <linux/bvec.h>
#include <linux/uio.h>

#define CHUNK_PAGES	16

/* Part of a request within one block; start and end in bytes. */
struct part {
	u64 index, start, end;
	unsigned int first, count;
};

static struct part cut_part(u64 pos, size_t left)
{
	struct part p = { .index = kdm_block_of(pos), .start = pos };
	u64 base = p.index << DMO_BLOCK_SHIFT;
	u64 most = round_down(pos, PAGE_SIZE) + CHUNK_PAGES * PAGE_SIZE;

	p.end = min3(pos + (u64)left, most, base + DMO_BLOCK_SIZE);
	p.first = (pos - base) >> PAGE_SHIFT;
	p.count = DIV_ROUND_UP(p.end - base, PAGE_SIZE) - p.first;
	return p;
}

/* ---- past residency ------------------------------------------------------- */

static bool begin_direct(struct kdm_obj *obj)
{
	atomic_inc(&obj->direct);
	smp_mb__after_atomic();		/* pairs with the barrier of kdm_obj_track */
	if (!READ_ONCE(obj->tracked))
		return true;
	if (atomic_dec_and_test(&obj->direct))
		wake_up_all(&obj->wait);
	return false;
}

static void end_direct(struct kdm_obj *obj)
{
	if (atomic_dec_and_test(&obj->direct) && READ_ONCE(obj->tracked))
		wake_up_all(&obj->wait);
}

/* ---- one block ------------------------------------------------------------ */

static bool blocked(struct kdm_obj *obj, u64 index)
{
	struct dmo_block *b = dmo_block_find(&obj->core, index);

	return obj->barrier || (b && b->state == DMO_BLOCK_MOVING);
}

static void end_io(struct kdm_obj *obj, struct dmo_block *b)
{
	b->io--;
	dmo_block_put(b);
	wake_up_all(&obj->wait);
}

/*
 * Where a page's bytes are read: a device's copy that is newer or may be written right now; NULL the
 * backing file.
 */
static struct dmo_copy *source(struct dmo_block *b, unsigned int page)
{
	bool wmapped = dmo_bits_test(dmo_block_bits(b, DMO_WMAPPED), page);
	struct dmo_copy *c = dmo_page_copy(b, page);

	if (c && (wmapped || dmo_bits_test(dmo_copy_bits(c, DMO_DIRTY), page)))
		return c;
	return NULL;
}

static unsigned int same_source(struct kdm_obj *obj, struct dmo_block *b, unsigned int page, unsigned int end,
				struct dmo_copy **copy)
{
	unsigned int n = 1;

	mutex_lock(&obj->lock);
	*copy = source(b, page);
	while (page + n < end && source(b, page + n) == *copy)
		n++;
	mutex_unlock(&obj->lock);
	return n;
}

static int fill_pages(struct kdm_obj *obj, struct dmo_block *b, const struct part *p, struct page **pages)
{
	unsigned int at = p->first, end = p->first + p->count, n;
	struct dmo_copy *copy;
	int err = 0;

	for (; at < end && !err; at += n) {
		n = same_source(obj, b, at, end, &copy);
		if (copy)
			err = kdm_copy_pages(copy, DMO_COPY_OUT, at, pages + (at - p->first), n);
		else
			err = kdm_backing_read(obj, kdm_block_pgoff(b) + at, pages + (at - p->first), n);
	}
	return err == -ENODEV ? -EIO : err;
}

/* ---- reading -------------------------------------------------------------- */

static int read_part(struct kdm_obj *obj, const struct part *p, struct page **pages)
{
	struct dmo_block *b;
	int err;

	mutex_lock(&obj->lock);
	err = kdm_obj_wait(obj, !blocked(obj, p->index));
	b = err ? NULL : dmo_block_find(&obj->core, p->index);
	if (b && dmo_bits_any_in(dmo_block_bits(b, DMO_LOST), p->first, p->count)) {
		err = -EIO;
		b = NULL;
	}
	if (b) {
		b->users++;
		b->io++;
	}
	mutex_unlock(&obj->lock);
	if (err)
		return err;
	if (!b)
		return kdm_backing_read(obj, p->start >> PAGE_SHIFT, pages, p->count);
	err = fill_pages(obj, b, p, pages);
	mutex_lock(&obj->lock);
	end_io(obj, b);
	mutex_unlock(&obj->lock);
	return err;
}

/*
 * By copying: handed the page itself, a kernel whose splice reads into the pipe would keep it there while
 * it is filled anew.
 */
static size_t copy_page_out(struct page *page, size_t offset, size_t bytes, struct iov_iter *to)
{
	void *at = kmap_local_page(page);
	size_t n = copy_to_iter(at + offset, bytes, to);

	kunmap_local(at);
	return n;
}

typedef size_t copy_page_fn(struct page *page, size_t offset, size_t bytes, struct iov_iter *iter);

/* Copies the part's bytes between pages and iter; how many. */
static size_t copy_pages(struct page **pages, const struct part *p, struct iov_iter *iter, copy_page_fn *copy)
{
	size_t done = 0, left = p->end - p->start, skip = offset_in_page(p->start);

	for (unsigned int i = 0; left; i++) {
		size_t n = min_t(size_t, left, PAGE_SIZE - skip);
		size_t got = copy(pages[i], skip, n, iter);

		done += got;
		left -= got;
		skip = 0;
		if (got < n)
			break;
	}
	return done;
}

static ssize_t read_tracked(struct kdm_obj *obj, loff_t *pos, struct iov_iter *to)
{
	struct page *pages[CHUNK_PAGES];
	ssize_t done = 0;
	int err = kdm_alloc_pages(pages, CHUNK_PAGES);

	if (err)
		return err;
	while (iov_iter_count(to) && *pos < i_size_read(obj->backing_inode)) {
		size_t left = min_t(u64, iov_iter_count(to), i_size_read(obj->backing_inode) - *pos);
		struct part p = cut_part(*pos, left);
		size_t n;

		err = read_part(obj, &p, pages);
		if (err)
			break;
		n = copy_pages(pages, &p, to, copy_page_out);
		*pos += n;
		done += n;
		if (n < p.end - p.start) {
			err = -EFAULT;
			break;
		}
	}
	kdm_free_pages(pages, CHUNK_PAGES);
	return done ? done : err;
}

ssize_t kdm_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct kdm_file *f = iocb->ki_filp->private_data;
	ssize_t r;

	if (begin_direct(f->obj)) {
		r = vfs_iter_read(f->obj->ro, to, &iocb->ki_pos, 0);
		end_direct(f->obj);
		return r;
	}
	return read_tracked(f->obj, &iocb->ki_pos, to);
}

/* ---- writing -------------------------------------------------------------- */

/* The copy through which the CPU reaches the page, if it has it: what is written goes there. */
static struct dmo_copy *reachable(struct dmo_block *b, unsigned int page)
{
	for (struct dmo_copy *c = b->copies; c; c = c->next)
		if ((kdm_coherent(c->dev) || c->pins) && dmo_bits_test(dmo_copy_bits(c, DMO_VALID), page))
			return c;
	return NULL;
}

/*
 * Settles, for a write, in which copy each page is dirty; every other copy of it goes. Translations are
 * gone.
 */
static void choose_targets(struct dmo_block *b, const struct part *p)
{
	for (unsigned int i = p->first; i < p->first + p->count; i++) {
		struct dmo_copy *keep = source(b, i);

		if (!keep)
			keep = reachable(b, i);
		for (struct dmo_copy *c = b->copies; c; c = c->next) {
			if (c == keep)
				dmo_bits_set(dmo_rows_row(&c->rows, DMO_DIRTY), i, 1);
			else
				dmo_bits_clear(dmo_rows_row(&c->rows, DMO_VALID), i, 1);
		}
	}
}

static bool whole_pages(struct kdm_obj *obj, const struct part *p)
{
	return !offset_in_page(p->start) && (!offset_in_page(p->end) || p->end >= obj->core.size);
}

/* What was lost is there again: its pages have been wholly overwritten. */
static void forgive_lost(struct dmo_block *b, const struct part *p)
{
	u64 *lost = dmo_rows_row(&b->rows, DMO_LOST);

	if (!dmo_bits_any_in(lost, p->first, p->count))
		return;
	dmo_bits_clear(lost, p->first, p->count);
	if (!dmo_bits_any(lost))
		b->object->lost--;
}

static int begin_write(struct kdm_obj *obj, const struct part *p, struct dmo_block **out)
{
	u64 release[DMO_BITS_WORDS] = { 0 };
	struct dmo_block *b;
	int err;

	err = kdm_obj_wait(obj, !blocked(obj, p->index));
	if (err)
		return err;
	kdm_obj_refresh(obj);
	b = dmo_block_get(&obj->core, p->index);
	err = b ? dmo_block_open(b) : -ENOMEM;
	if (!err)
		err = dmo_cpu_write_prepare(b, p->first, p->count, whole_pages(obj, p), release);
	if (err) {
		if (b)
			dmo_block_put(b);
		return err;
	}
	kdm_release_pages(b, release);
	choose_targets(b, p);
	b->io++;
	*out = b;
	return 0;
}

/* Bytes [start, end) that lie in pages of one device copy. pages hold the new bytes at their place. */
static int write_device(struct dmo_copy *c, u64 start, u64 end, struct page **pages)
{
	struct kdm_obj *obj = kdm_obj_of(c->block->object);
	int err = 0;

	for (unsigned int i = 0; start < end && !err; i++) {
		unsigned int page = (start >> PAGE_SHIFT) & (DMO_BLOCK_PAGES - 1), at = offset_in_page(start);
		unsigned int n = min_t(u64, PAGE_SIZE - at, end - start);
		struct page *old;
		void *to;

		if (kdm_coherent(c->dev)) {
			mutex_lock(&obj->lock);
			to = kdm_copy_address(c, page);
			mutex_unlock(&obj->lock);
			memcpy_from_page(to + at, pages[i], at, n);
		} else if (n == PAGE_SIZE) {
			err = kdm_copy_pages(c, DMO_COPY_IN, page, &pages[i], 1);
		} else {
			old = alloc_page(GFP_KERNEL);
			err = old ? kdm_copy_pages(c, DMO_COPY_OUT, page, &old, 1) : -ENOMEM;
			if (!err) {
				memcpy_page(old, at, pages[i], at, n);
				err = kdm_copy_pages(c, DMO_COPY_IN, page, &old, 1);
			}
			if (old)
				__free_page(old);
		}
		start += n;
	}
	return err;
}

static int write_backing(struct kdm_obj *obj, u64 start, u64 end, struct page **pages)
{
	struct bio_vec vecs[CHUNK_PAGES];
	struct iov_iter iter;
	loff_t pos = start;
	size_t left = end - start;
	unsigned int n = 0;

	for (u64 at = start; at < end; at = round_down(at, PAGE_SIZE) + PAGE_SIZE, n++)
		bvec_set_page(&vecs[n], pages[n], min_t(u64, PAGE_SIZE - offset_in_page(at), end - at),
			      offset_in_page(at));
	iov_iter_bvec(&iter, ITER_SOURCE, vecs, n, left);
	while (left) {
		ssize_t r = vfs_iter_write(obj->rw, &iter, &pos, 0);

		if (r <= 0)
			return r ? r : -EIO;
		left -= r;
	}
	return 0;
}

static int write_pages(struct kdm_obj *obj, struct dmo_block *b, const struct part *p, struct page **pages)
{
	u64 base = p->index << DMO_BLOCK_SHIFT;
	unsigned int at = p->first, last = p->first + p->count, n;
	int err = 0;

	for (; at < last && !err; at += n) {
		struct page **from = pages + (at - p->first);
		struct dmo_copy *copy;
		u64 start, end;

		n = same_source(obj, b, at, last, &copy);
		start = max(p->start, base + ((u64)at << PAGE_SHIFT));
		end = min(p->end, base + ((u64)(at + n) << PAGE_SHIFT));
		err = copy ? write_device(copy, start, end, from) : write_backing(obj, start, end, from);
	}
	return err == -ENODEV ? -EIO : err;
}

static int write_part(struct kdm_obj *obj, const struct part *p, struct page **pages)
{
	struct dmo_block *b;
	int err;

	mutex_lock(&obj->lock);
	err = begin_write(obj, p, &b);
	mutex_unlock(&obj->lock);
	if (err)
		return err;
	err = write_pages(obj, b, p, pages);
	if (!err && p->end > i_size_read(obj->backing_inode))
		err = kdm_extend(obj, p->end);
	mutex_lock(&obj->lock);
	if (!err)
		forgive_lost(b, p);
	kdm_obj_refresh(obj);
	end_io(obj, b);
	mutex_unlock(&obj->lock);
	return err;
}

static ssize_t write_tracked(struct kdm_obj *obj, loff_t *pos, struct iov_iter *from)
{
	struct page *pages[CHUNK_PAGES];
	ssize_t done = 0;
	int err = kdm_alloc_pages(pages, CHUNK_PAGES);

	if (err)
		return err;
	while (iov_iter_count(from)) {
		struct part p = cut_part(*pos, iov_iter_count(from));
		size_t n = copy_pages(pages, &p, from, copy_page_from_iter);

		if (!n) {
			err = -EFAULT;
			break;
		}
		p = cut_part(*pos, n);
		err = write_part(obj, &p, pages);
		if (err)
			break;
		*pos += n;
		done += n;
	}
	kdm_free_pages(pages, CHUNK_PAGES);
	return done ? done : err;
}

/* Size, limits and O_APPEND as for any file; the inode lock is held. */
static ssize_t write_checked(struct kiocb *iocb, struct iov_iter *from)
{
	struct kdm_file *f = iocb->ki_filp->private_data;
	ssize_t n;

	i_size_write(f->obj->inode, i_size_read(f->obj->backing_inode));
	n = generic_write_checks(iocb, from);
	if (n <= 0)
		return n;
	if (!begin_direct(f->obj))
		return write_tracked(f->obj, &iocb->ki_pos, from);
	n = vfs_iter_write(f->obj->rw, from, &iocb->ki_pos, 0);
	end_direct(f->obj);
	return n;
}

ssize_t kdm_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct kdm_file *f = iocb->ki_filp->private_data;
	struct inode *inode = f->obj->inode;
	ssize_t n;

	inode_lock(inode);
	n = write_checked(iocb, from);
	i_size_write(inode, i_size_read(f->obj->backing_inode));
	inode_unlock(inode);
	if (n > 0 && iocb_is_dsync(iocb)) {
		int err = kdm_fsync(iocb->ki_filp, iocb->ki_pos - n, iocb->ki_pos - 1, true);

		if (err)
			return err;
	}
	return n;
}
