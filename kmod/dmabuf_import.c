// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dmabuf_import.c - objects over dma-bufs of other drivers
 *
 * The backing file of such an object is one of the module's own: an inode for each dma-buf, found again
 * while it is used, so that a dma-buf has one object however often it is imported. What the file holds is
 * what the dma-buf holds: it is read and written through the kernel's mapping of it (vmap), between the
 * begin and the end of CPU access. We stay attached, so that an exporter keeps the pages where they are.
 *
 * Devices work on copies, as they do with any backing file. Others who have the dma-buf don't know of
 * them, and don't tell what they write: copies are in step with it when they are made, and when they are
 * written back (fsync) or given up (migrate to the host).
 *
 * The size is fixed, and there is no mmap: the exporter's mapping could not be taken back.
 */
#include "dmabuf.h"

#include <linux/highmem.h>
#include <linux/iosys-map.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/uio.h>

struct import {
	struct dma_buf *dmabuf;		/* with a reference */
	struct dma_buf_attachment *attach;
	struct iosys_map map;
};

static struct import *import_of(struct file *file)
{
	return file_inode(file)->i_private;
}

/* ---- reading and writing -------------------------------------------------- */

/* A mover can't be interrupted by a signal; a reader can. */
static int begin_access(struct import *i, bool mover, enum dma_data_direction dir)
{
	enum dma_resv_usage usage = dma_resv_usage_rw(dir == DMA_TO_DEVICE);

	if (mover)
		dma_resv_wait_timeout(i->dmabuf->resv, usage, false, MAX_SCHEDULE_TIMEOUT);
	return dma_buf_begin_cpu_access(i->dmabuf, dir);
}

/* Memory that only I/O accessors reach goes through a page. */
static size_t copy_iomem(const struct import *i, loff_t pos, size_t n, struct iov_iter *iter, void *page,
			 bool in)
{
	size_t done = 0, got = 1;

	while (done < n && got) {
		size_t some = min_t(size_t, n - done, PAGE_SIZE);

		if (in) {
			got = copy_from_iter(page, some, iter);
			memcpy_toio(i->map.vaddr_iomem + pos + done, page, got);
		} else {
			memcpy_fromio(page, i->map.vaddr_iomem + pos + done, some);
			got = copy_to_iter(page, some, iter);
		}
		done += got;
	}
	return done;
}

static ssize_t copy_bytes(const struct import *i, loff_t pos, size_t n, struct iov_iter *iter, bool in)
{
	size_t done;
	void *page;

	if (!i->map.is_iomem) {
		done = in ? copy_from_iter(i->map.vaddr + pos, n, iter) :
			    copy_to_iter(i->map.vaddr + pos, n, iter);
		return done ? done : -EFAULT;
	}
	page = (void *)__get_free_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	done = copy_iomem(i, pos, n, iter, page, in);
	free_page((unsigned long)page);
	return done ? done : -EFAULT;
}

static ssize_t transfer(struct kiocb *iocb, struct iov_iter *iter, enum dma_data_direction dir)
{
	struct import *i = import_of(iocb->ki_filp);
	size_t n = min_t(u64, iov_iter_count(iter), i->dmabuf->size - iocb->ki_pos);
	ssize_t done;
	int err = begin_access(i, iov_iter_is_bvec(iter), dir);

	if (err)
		return err;
	done = copy_bytes(i, iocb->ki_pos, n, iter, dir == DMA_TO_DEVICE);
	err = dma_buf_end_cpu_access(i->dmabuf, dir);
	if (err && done > 0)
		return err;
	if (done > 0)
		iocb->ki_pos += done;
	return done;
}

static ssize_t import_read(struct kiocb *iocb, struct iov_iter *to)
{
	if (iocb->ki_pos >= import_of(iocb->ki_filp)->dmabuf->size || !iov_iter_count(to))
		return 0;
	return transfer(iocb, to, DMA_FROM_DEVICE);
}

static ssize_t import_write(struct kiocb *iocb, struct iov_iter *from)
{
	if (!iov_iter_count(from))
		return 0;
	if (iocb->ki_pos >= import_of(iocb->ki_filp)->dmabuf->size)
		return -ENOSPC;
	return transfer(iocb, from, DMA_TO_DEVICE);
}

static const struct file_operations import_fops = {
	.owner = THIS_MODULE,
	.read_iter = import_read,
	.write_iter = import_write,
	.llseek = generic_file_llseek,
	.fsync = noop_fsync,
};

static int import_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr)
{
	return -EPERM;
}

static const struct inode_operations import_iops = {
	.setattr = import_setattr,
};

/* ---- the inode ------------------------------------------------------------ */

static int map_buffer(struct import *i)
{
	int err;

	if (!i->dmabuf->ops->vmap)
		return -EOPNOTSUPP;
	i->attach = dma_buf_attach(i->dmabuf, kdm_control_device());
	if (IS_ERR(i->attach))
		return PTR_ERR(i->attach);
	err = dma_buf_vmap_unlocked(i->dmabuf, &i->map);
	if (err)
		dma_buf_detach(i->dmabuf, i->attach);
	return err;
}

static void end_import(struct import *i)
{
	dma_buf_vunmap_unlocked(i->dmabuf, &i->map);
	dma_buf_detach(i->dmabuf, i->attach);
	dma_buf_put(i->dmabuf);
	kfree(i);
	module_put(THIS_MODULE);
}

void kdm_import_evict(struct inode *inode)
{
	if (inode->i_fop != &import_fops)
		return;
	remove_inode_hash(inode);	/* is_same looks at it until then */
	end_import(inode->i_private);
}

static int is_same(struct inode *inode, void *data)
{
	struct import *there = inode->i_private, *i = data;

	return there->dmabuf == i->dmabuf;
}

static int set_import(struct inode *inode, void *data)
{
	inode->i_private = data;
	return 0;
}

static void fill_inode(struct inode *inode, struct import *i)
{
	__module_get(THIS_MODULE);
	get_dma_buf(i->dmabuf);
	inode->i_ino = get_next_ino();
	inode->i_mode = S_IFREG | 0600;
	inode->i_op = &import_iops;
	inode->i_fop = &import_fops;
	simple_inode_init_ts(inode);
	i_size_write(inode, i->dmabuf->size);
	unlock_new_inode(inode);
}

/* The dma-buf's inode, with a reference. */
static struct inode *get_inode(struct dma_buf *dmabuf)
{
	struct import *i = kzalloc(sizeof(*i), GFP_KERNEL);
	struct inode *inode;
	int err;

	if (!i)
		return ERR_PTR(-ENOMEM);
	i->dmabuf = dmabuf;
	inode = iget5_locked(kdm_mount()->mnt_sb, (unsigned long)dmabuf, is_same, set_import, i);
	if (!inode || !(inode->i_state & I_NEW)) {
		kfree(i);
		return inode ? inode : ERR_PTR(-ENOMEM);
	}
	err = map_buffer(i);
	if (err) {
		iget_failed(inode);	/* the same */
		kfree(i);
		return ERR_PTR(err);
	}
	fill_inode(inode, i);
	return inode;
}

struct file *kdm_import(struct dma_buf *dmabuf)
{
	struct inode *inode;
	struct file *file;

	if (kdm_is_export(dmabuf))
		return ERR_PTR(-ELOOP);
	if (!(dmabuf->file->f_mode & FMODE_READ))
		return ERR_PTR(-EACCES);
	inode = get_inode(dmabuf);
	if (IS_ERR(inode))
		return ERR_CAST(inode);
	file = alloc_file_pseudo(inode, kdm_mount(), "dmabuf",
				 O_LARGEFILE | (dmabuf->file->f_mode & FMODE_WRITE ? O_RDWR : O_RDONLY),
				 &import_fops);
	if (IS_ERR(file))
		iput(inode);
	else
		__module_get(THIS_MODULE);	/* alloc_file_pseudo takes none, the release puts one */
	return file;
}
