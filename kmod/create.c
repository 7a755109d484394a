// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * create.c - DMO_IOC_OBJECT_CREATE: what may become an object
 *
 * Refused is what can't be revoked: a file whose mappings show another inode's pages (overlayfs), that
 * has no page cache (DAX), whose pages are of another size (hugetlb), or whose daemon would have to be
 * waited for (FUSE); and what is no regular file. A dma-buf is another driver's (dmabuf_import.c).
 */
#include "internal.h"

#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/magic.h>
#include <linux/shmem_fs.h>

static int check_inode(struct inode *inode)
{
	if (S_ISDIR(inode->i_mode))
		return -EISDIR;
	if (!S_ISREG(inode->i_mode))
		return -EINVAL;
	if (inode->i_fop == &kdm_object_fops)
		return -ELOOP;
	if (IS_DAX(inode) || inode->i_sb->s_magic == HUGETLBFS_MAGIC)
		return -EOPNOTSUPP;
	if (inode->i_sb->s_magic == OVERLAYFS_SUPER_MAGIC || inode->i_sb->s_magic == FUSE_SUPER_MAGIC)
		return -EOPNOTSUPP;
	return inode->i_mapping->a_ops->read_folio || shmem_mapping(inode->i_mapping) ? 0 : -EOPNOTSUPP;
}

static int check_backing(struct file *file)
{
	int err = check_inode(file_inode(file));

	if (err)
		return err;
	if (!(file->f_mode & FMODE_READ))
		return -EACCES;
	return file->f_op->mmap && file->f_mode & FMODE_CAN_READ ? 0 : -EOPNOTSUPP;
}

static int open_flags(const struct file *backing, u32 flags)
{
	bool writes = backing->f_mode & FMODE_WRITE && !(flags & DMO_CREATE_READ);

	return O_LARGEFILE | (writes ? O_RDWR : O_RDONLY);
}

/* On a mount without limits: what it calls a lack of space is one of memory. */
static struct file *fresh_backing(loff_t size)
{
	struct file *file = shmem_file_setup("dmo", size, VM_NORESERVE);

	return file == ERR_PTR(-ENOSPC) ? ERR_PTR(-ENOMEM) : file;
}

static struct file *get_backing(const struct dmo_object_create *req)
{
	struct dma_buf *dmabuf;
	struct file *file;
	int err;

	if (req->backing == -1)
		return fresh_backing(req->size);
	dmabuf = dma_buf_get(req->backing);
	if (!IS_ERR(dmabuf)) {
		file = kdm_import(dmabuf);
		dma_buf_put(dmabuf);
		return file;
	}
	file = fget(req->backing);
	if (!file)
		return ERR_PTR(-EBADF);
	err = check_backing(file);
	if (err) {
		fput(file);
		return ERR_PTR(err);
	}
	return file;
}

int kdm_create(struct dmo_object_create *req, struct file **out)
{
	struct file *backing = get_backing(req), *file;
	int fd;

	if (IS_ERR(backing))
		return PTR_ERR(backing);
	fd = get_unused_fd_flags(req->flags & DMO_CREATE_CLOEXEC ? O_CLOEXEC : 0);
	if (fd < 0)
		goto out;
	file = kdm_object_open(backing, req->backing == -1, open_flags(backing, req->flags));
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		fd = PTR_ERR(file);
		goto out;
	}
	req->size = i_size_read(file_inode(file));
	req->fd = fd;
	*out = file;
out:
	fput(backing);
	return fd < 0 ? fd : 0;
}
