// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mmap.c - mappings of an object by CPUs
 *
 * vm_file is a second open file on the backing inode that carries our file operations: so the mapping
 * is the backing file's (its reverse map, reclaim, swap and writeback are the core kernel's), while
 * msync, MADV_REMOVE and WILLNEED come to us, and the object lives as long as the mapping. private_data
 * stays the filesystem's; the object is found by the inode, in faults by vm_private_data.
 *
 * Two tables of vm_ops: a filesystem that has no page_mkwrite must not get one, it would make each
 * first write two faults.
 */
#include "internal.h"

#include <linux/file.h>
#include <linux/module.h>

static struct kdm_obj *map_obj(struct file *file)
{
	return kdm_obj_lookup(file_inode(file));
}

static int map_release(struct inode *inode, struct file *file)
{
	struct kdm_obj *obj = map_obj(file);
	int err = 0;

	if (obj->backing_fops->release)
		err = obj->backing_fops->release(inode, file);
	kdm_obj_put(obj);
	return err;
}

static long map_fallocate(struct file *file, int mode, loff_t offset, loff_t len)
{
	struct kdm_obj *obj = map_obj(file);
	long err;

	/* the caller holds off a freeze of the backing's filesystem; who waits for a block may not */
	file_end_write(file);
	inode_lock(obj->inode);
	err = kdm_fallocate(obj, mode, offset, len);
	inode_unlock(obj->inode);
	file_start_write(file);
	return err;
}

static int map_fadvise(struct file *file, loff_t offset, loff_t len, int advice)
{
	return vfs_fadvise(map_obj(file)->ro, offset, len, advice);
}

static unsigned long map_area(struct file *file, unsigned long addr, unsigned long len, unsigned long pgoff,
			      unsigned long flags)
{
	return mm_get_unmapped_area(current->mm, file, addr, len, pgoff, flags);
}

/* Only what reaches a mapping's file: the file itself is nobody's descriptor. */
static const struct file_operations map_fops = {
	.owner = THIS_MODULE,
	.release = map_release,
	.fsync = kdm_fsync,
	.fallocate = map_fallocate,
	.fadvise = map_fadvise,
	.get_unmapped_area = map_area,
};

static const struct vm_operations_struct vm_ops = {
	.fault = kdm_cpu_fault,
	.map_pages = kdm_cpu_map_pages,
};

static const struct vm_operations_struct vm_ops_mkwrite = {
	.fault = kdm_cpu_fault,
	.map_pages = kdm_cpu_map_pages,
	.page_mkwrite = kdm_cpu_mkwrite,
};

/* The second file, with a use of the object. */
static struct file *open_map_file(struct kdm_obj *obj, struct file *file)
{
	struct file *back = file->f_mode & FMODE_WRITE ? obj->rw : obj->ro, *map;
	int flags = (file->f_flags & O_ACCMODE) | O_LARGEFILE;

	map = dentry_open(&back->f_path, flags, file->f_cred);
	if (IS_ERR(map))
		return map;
	if (map->f_op != obj->backing_fops) {
		fput(map);
		return ERR_PTR(-EOPNOTSUPP);
	}
	kdm_obj_get(obj);
	__module_get(THIS_MODULE);
	replace_fops(map, &map_fops);
	return map;
}

/* What the wrappers can't stand for: handlers that keep count of mappings. */
static bool can_wrap(const struct vm_operations_struct *ops)
{
	return ops && ops->fault && ops->map_pages && !ops->open && !ops->close;
}

int kdm_mmap_object(struct kdm_obj *obj, struct file *file, struct vm_area_struct *vma)
{
	struct file *map;
	int err;

	if (!obj->backing_fops->mmap)
		return -ENODEV;
	map = open_map_file(obj, file);
	if (IS_ERR(map))
		return PTR_ERR(map);
	vma_set_file(vma, map);
	fput(map);			/* the VMA has its own reference */
	err = obj->backing_fops->mmap(map, vma);
	if (!err && !can_wrap(vma->vm_ops))
		err = -EOPNOTSUPP;
	if (err)
		return err;
	WRITE_ONCE(obj->backing_vm_ops, vma->vm_ops);
	vma->vm_ops = vma->vm_ops->page_mkwrite ? &vm_ops_mkwrite : &vm_ops;
	vma->vm_private_data = obj;
	vm_flags_set(vma, VM_MIXEDMAP);
	return 0;
}

struct kdm_obj *kdm_vma_obj(const struct vm_area_struct *vma)
{
	return vma->vm_ops == &vm_ops || vma->vm_ops == &vm_ops_mkwrite ? vma->vm_private_data : NULL;
}

int kdm_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct kdm_file *f = file->private_data;

	return kdm_mmap_object(f->obj, file, vma);
}
