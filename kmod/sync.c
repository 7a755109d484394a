// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sync.c - fsync, and what changes a file's size or punches holes into it
 *
 * A change of the range raises the object's barrier: blocks that are MOVING and I/O come to their end,
 * no other begins, faults wait. Under the barrier translations of the range go, a page that the range
 * covers in part is written back, the backing file is changed (which unmaps the CPU), then every copy
 * in the range is dropped. If the backing file can't be changed nothing has been.
 */
#include "internal.h"

#include <linux/falloc.h>
#include <linux/mount.h>

/* ---- the barrier ---------------------------------------------------------- */

static bool quiet(struct kdm_obj *obj, u64 first, u64 last)
{
	struct dmo_block *b;
	u64 i = first;

	while ((b = dmo_radix_next(&obj->core.blocks, &i)) && i <= last) {
		if (b->state == DMO_BLOCK_MOVING || b->io)
			return false;
		i++;
	}
	return true;
}

static void raise_barrier(struct kdm_obj *obj, u64 first, u64 last)
{
	kdm_obj_wait_sure(obj, !obj->barrier);
	obj->barrier = true;
	kdm_obj_wait_sure(obj, quiet(obj, first, last));
}

static void drop_barrier(struct kdm_obj *obj)
{
	obj->barrier = false;
	wake_up_all(&obj->wait);
}

/* ---- what a change does to residency -------------------------------------- */

/* Takes the translations of the block's pages away: of the range, or (whole) of all. */
static int release_block(struct dmo_block *b, unsigned int from, unsigned int count)
{
	u64 pages[DMO_BITS_WORDS] = { 0 };
	int err;

	b->users++;
	err = dmo_block_open(b);
	if (!err) {
		dmo_bits_set(pages, from, count);
		dmo_bits_and(pages, pages, dmo_block_bits(b, DMO_MAPPED));
		kdm_release_pages(b, pages);
	}
	dmo_block_put(b);
	return err;
}

/* Copies that have nothing valid left go; pinned ones keep their memory, orphaned (invariant 7). */
static void free_empty(struct dmo_block *b)
{
	struct dmo_copy *c, *next;

	for (c = b->copies; c; c = next) {
		next = c->next;
		if (!c->pins && !dmo_bits_any(dmo_copy_bits(c, DMO_VALID)))
			kdm_copy_freed(c);
	}
}

/* The content is gone already, so this can't fail. */
static int drop_block(struct dmo_block *b, unsigned int from, unsigned int count)
{
	b->users++;
	kdm_open_sure(b);
	dmo_block_drop(b, from, count);
	free_empty(b);
	dmo_block_put(b);
	return 0;
}

static int each_block(struct kdm_obj *obj, u64 first, u64 last,
		      int (*act)(struct dmo_block *b, unsigned int from, unsigned int count))
{
	struct dmo_block *b;
	int err = 0;

	for (u64 i = first / DMO_BLOCK_PAGES; (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		unsigned int from, count;

		if (i > last / DMO_BLOCK_PAGES || err)
			break;
		kdm_cut(i, first, last, &from, &count);
		err = act(b, from, count);
	}
	return err;
}

void kdm_forget_lost(struct kdm_obj *obj)
{
	mutex_lock(&obj->lock);
	if (obj->core.lost && !obj->core.copies)
		each_block(obj, 0, ~0ull >> PAGE_SHIFT, drop_block);
	mutex_unlock(&obj->lock);
}

/* Writes the page that holds byte at back where a device has it newer: its other part stays. */
static int write_edge(struct kdm_obj *obj, u64 at)
{
	unsigned int page = (at >> PAGE_SHIFT) & (DMO_BLOCK_PAGES - 1);
	struct dmo_block *b;
	struct dmo_copy *c;
	struct page *host;
	int err;

	mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, kdm_block_of(at));
	c = b ? dmo_page_copy(b, page) : NULL;
	if (c && !dmo_bits_test(dmo_copy_bits(c, DMO_DIRTY), page))
		c = NULL;
	mutex_unlock(&obj->lock);
	if (!c)
		return 0;
	err = kdm_alloc_pages(&host, 1);
	if (err)
		return err;
	err = kdm_copy_pages(c, DMO_COPY_OUT, page, &host, 1);
	if (!err)
		err = kdm_backing_write(obj, at >> PAGE_SHIFT, &host, 1);
	kdm_free_pages(&host, 1);
	return err;
}

struct change {
	int mode;
	loff_t offset, len;
	int (*run)(struct kdm_obj *obj, const struct change *c);
};

/* Runs c with the copies of [offset, end) gone afterwards; end ~0: the rest of the file. */
static int change_range(struct kdm_obj *obj, u64 offset, u64 end, const struct change *c)
{
	u64 first = offset >> PAGE_SHIFT, last = end == ~0ull ? ~0ull >> PAGE_SHIFT : (end - 1) >> PAGE_SHIFT;
	int err;

	mutex_lock(&obj->lock);
	raise_barrier(obj, first / DMO_BLOCK_PAGES, last / DMO_BLOCK_PAGES);
	err = each_block(obj, first, last, release_block);
	mutex_unlock(&obj->lock);
	if (!err && offset_in_page(offset))
		err = write_edge(obj, offset);
	if (!err && end != ~0ull && offset_in_page(end))
		err = write_edge(obj, end);
	if (!err)
		err = c->run(obj, c);
	mutex_lock(&obj->lock);
	if (!err)
		err = each_block(obj, first, last, drop_block);
	kdm_obj_refresh(obj);
	drop_barrier(obj);
	mutex_unlock(&obj->lock);
	return err;
}

/* ---- size ----------------------------------------------------------------- */

static int set_size(struct kdm_obj *obj, const struct change *c)
{
	struct dentry *dentry = file_dentry(obj->rw);
	struct iattr attr = { .ia_valid = ATTR_SIZE | ATTR_MTIME | ATTR_CTIME | ATTR_FILE | ATTR_OPEN,
			      .ia_size = c->len, .ia_file = obj->rw };
	int err = mnt_want_write_file(obj->rw);

	if (err)
		return err;
	inode_lock(d_inode(dentry));
	err = notify_change(file_mnt_idmap(obj->rw), dentry, &attr, NULL);
	inode_unlock(d_inode(dentry));
	mnt_drop_write_file(obj->rw);
	return err;
}

int kdm_extend(struct kdm_obj *obj, loff_t size)
{
	struct change c = { .len = size };

	return set_size(obj, &c);
}

int kdm_truncate(struct kdm_obj *obj, loff_t size)
{
	struct change c = { .len = size, .run = set_size };

	if (!obj->rw)
		return -EROFS;
	if (size >= i_size_read(obj->backing_inode)) {
		int err = set_size(obj, &c);

		mutex_lock(&obj->lock);
		kdm_obj_refresh(obj);
		mutex_unlock(&obj->lock);
		return err;
	}
	return change_range(obj, size, ~0ull, &c);
}

static int run_fallocate(struct kdm_obj *obj, const struct change *c)
{
	return vfs_fallocate(obj->rw, c->mode, c->offset, c->len);
}

long kdm_fallocate(struct kdm_obj *obj, int mode, loff_t offset, loff_t len)
{
	struct change c = { mode, offset, len, run_fallocate };
	bool moves = mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
	long err;

	if (!obj->rw)
		return -EBADF;
	if (moves) {		/* what lies behind the range changes place too */
		err = kdm_clean_range(obj, 0, ~0ull >> 1);
		return err ? err : change_range(obj, round_down(offset, PAGE_SIZE), ~0ull, &c);
	}
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return change_range(obj, offset, offset + len, &c);
	err = run_fallocate(obj, &c);
	mutex_lock(&obj->lock);
	kdm_obj_refresh(obj);
	mutex_unlock(&obj->lock);
	return err;
}

static int change_nothing(struct kdm_obj *obj, const struct change *c)
{
	return 0;
}

void kdm_discard(struct kdm_obj *obj)
{
	struct change c = { .run = change_nothing };

	change_range(obj, 0, ~0ull, &c);
}

/* ---- fsync, llseek -------------------------------------------------------- */

/* Invariant 5. file is an open object, or a mapping's file on the backing inode (mmap.c). */
int kdm_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	struct kdm_file *f = kdm_file_of(file);
	struct kdm_obj *obj = f ? f->obj : kdm_obj_lookup(file_inode(file));
	int err = 0, later = 0;

	if (READ_ONCE(obj->tracked) && obj->rw)
		err = kdm_clean_range(obj, start, end);
	if (obj->rw)
		later = vfs_fsync_range(obj->rw, start, end, datasync);
	if (f) {		/* what this call met is not told a second time */
		int seen;

		mutex_lock(&f->lock);
		seen = errseq_check_and_advance(&obj->wb_err, &f->wb_seen);
		mutex_unlock(&f->lock);
		err = err ? err : seen;
	}
	return err ? err : later;
}

loff_t kdm_llseek(struct file *file, loff_t offset, int whence)
{
	struct kdm_file *f = file->private_data;
	struct kdm_obj *obj = f->obj;
	loff_t size = i_size_read(obj->backing_inode);
	int err = 0;

	i_size_write(obj->inode, size);
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return generic_file_llseek_size(file, offset, whence, MAX_LFS_FILESIZE, size);
	if (READ_ONCE(obj->tracked) && obj->rw)
		err = kdm_clean_range(obj, max_t(loff_t, offset, 0), LLONG_MAX);
	offset = err ? err : vfs_llseek(obj->ro, offset, whence);
	return offset < 0 ? offset : vfs_setpos(file, offset, MAX_LFS_FILESIZE);
}
