// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * file.c - open files of an object
 *
 * What each needs of its own hangs off private_data; everything else hangs off the inode, because FUSE
 * passthrough opens the inode again by i_fop->open. The inode may outlive its object: an O_PATH descriptor
 * keeps it, and then finds ESTALE.
 */
#include "internal.h"

#include <linux/module.h>
#include <linux/mount.h>
#include <linux/seq_file.h>
#include <linux/splice.h>

/* The object with a use, NULL where it has ended. */
static struct kdm_obj *get_obj(struct inode *inode)
{
	struct kdm_obj *obj;

	rcu_read_lock();
	obj = READ_ONCE(inode->i_private);
	if (obj && !atomic_inc_not_zero(&obj->users))
		obj = NULL;
	rcu_read_unlock();
	return obj;
}

static struct kdm_file *new_file(struct kdm_obj *obj, const struct file *file)
{
	struct kdm_file *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return NULL;
	f->obj = obj;
	f->reads = file->f_mode & FMODE_READ;
	f->writes = file->f_mode & FMODE_WRITE;
	refcount_set(&f->refs, 1);
	mutex_init(&f->lock);
	INIT_LIST_HEAD(&f->pins);
	INIT_LIST_HEAD(&f->moves);
	init_waitqueue_head(&f->wait);
	f->client = kdm_client_new();
	f->wb_seen = errseq_sample(&obj->wb_err);
	return f;
}

static int object_open(struct inode *inode, struct file *file)
{
	struct kdm_obj *obj = get_obj(inode);
	struct kdm_file *f;

	if (!obj)
		return -ESTALE;
	if (file->f_mode & FMODE_WRITE && !obj->rw) {
		kdm_obj_put(obj);
		return -EROFS;
	}
	f = new_file(obj, file);
	if (!f) {
		kdm_obj_put(obj);
		return -ENOMEM;
	}
	file->private_data = f;
	file->f_mode |= FMODE_CAN_ODIRECT | FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;
	return 0;
}

void kdm_file_put(struct kdm_file *f)
{
	if (!refcount_dec_and_test(&f->refs))
		return;
	kdm_migrate_forget(f);
	kdm_obj_put(f->obj);
	kfree(f);
}

static int object_release(struct inode *inode, struct file *file)
{
	struct kdm_file *f = file->private_data;

	if (!f)
		return 0;
	kdm_key_drop(f);
	kdm_unpin_all(f);
	kdm_file_put(f);
	return 0;
}

struct kdm_file *kdm_file_of(struct file *file)
{
	return file->f_op == &kdm_object_fops ? file->private_data : NULL;
}

static __poll_t object_poll(struct file *file, poll_table *wait)
{
	struct kdm_file *f = file->private_data;

	poll_wait(file, &f->wait, wait);
	return EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM | (kdm_migrate_over(f) ? EPOLLPRI : 0);
}

static long object_fallocate(struct file *file, int mode, loff_t offset, loff_t len)
{
	struct inode *inode = file_inode(file);
	struct kdm_file *f = file->private_data;
	long err;

	inode_lock(inode);
	err = kdm_fallocate(f->obj, mode, offset, len);
	inode_unlock(inode);
	return err;
}

const struct file_operations kdm_object_fops = {
	.owner = THIS_MODULE,
	.open = object_open,
	.release = object_release,
	.read_iter = kdm_read_iter,
	.write_iter = kdm_write_iter,
	.splice_read = copy_splice_read,
	.splice_write = iter_file_splice_write,
	.llseek = kdm_llseek,
	.fallocate = object_fallocate,
	.fsync = kdm_fsync,
	.fadvise = kdm_fadvise,
	.poll = object_poll,
	.mmap = kdm_mmap,
	.show_fdinfo = kdm_object_show,
	.unlocked_ioctl = kdm_object_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* ---- the inode ------------------------------------------------------------ */

/* Size, blocks and times are the backing file's; the inode number and device are the object's. */
static int object_getattr(struct mnt_idmap *idmap, const struct path *path, struct kstat *stat, u32 mask,
			  unsigned int flags)
{
	struct inode *inode = d_inode(path->dentry);
	struct kdm_obj *obj = get_obj(inode);
	int err;

	if (!obj)
		return -ESTALE;
	err = vfs_getattr_nosec(&obj->ro->f_path, stat, mask, flags & AT_STATX_SYNC_TYPE);
	kdm_obj_put(obj);
	if (err)
		return err;
	stat->ino = inode->i_ino;
	stat->dev = inode->i_sb->s_dev;
	i_size_write(inode, stat->size);
	return 0;
}

/* Owner, mode and times are the backing file's; its filesystem says who may change them. */
static int change_backing(struct kdm_obj *obj, const struct iattr *attr)
{
	const struct path *path = &obj->ro->f_path;
	struct inode *backing = d_inode(path->dentry);
	struct iattr change = *attr;
	int err = mnt_want_write(path->mnt);

	if (err)
		return err;
	change.ia_valid &= ~(ATTR_SIZE | ATTR_OPEN | ATTR_FILE);
	inode_lock(backing);
	err = notify_change(file_mnt_idmap(obj->ro), path->dentry, &change, NULL);
	inode_unlock(backing);
	mnt_drop_write(path->mnt);
	return err;
}

static int object_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr)
{
	struct kdm_obj *obj = get_obj(d_inode(dentry));
	int err;

	if (!obj)
		return -ESTALE;
	if (attr->ia_valid & ATTR_SIZE)
		err = kdm_truncate(obj, attr->ia_size);
	else
		err = change_backing(obj, attr);
	kdm_obj_put(obj);
	return err;
}

/* Who opens an object again (/proc/PID/fd) needs the rights that the backing file asks for. */
static int object_permission(struct mnt_idmap *idmap, struct inode *inode, int mask)
{
	struct kdm_obj *obj;
	int err;

	if (mask & MAY_NOT_BLOCK)
		return -ECHILD;
	obj = get_obj(inode);
	if (!obj)
		return -ESTALE;
	err = inode_permission(file_mnt_idmap(obj->ro), obj->backing_inode, mask);
	kdm_obj_put(obj);
	return err;
}

const struct inode_operations kdm_object_iops = {
	.permission = object_permission,
	.getattr = object_getattr,
	.setattr = object_setattr,
};
