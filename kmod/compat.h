/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compat.h - what kernels between 6.1 (Debian 12) and 6.12 name or do differently
 *
 * The module is written for 6.12. Each entry says since when the kernel has what is used, and stands in
 * for it before. Where a difference needs a line of code in its place, that line says so itself.
 */
#ifndef KDM_COMPAT_H
#define KDM_COMPAT_H

#include <linux/dma-buf.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/shrinker.h>
#include <linux/slab.h>
#include <linux/splice.h>
#include <linux/version.h>

/* 6.3: mounts map ids through struct mnt_idmap; before, through a user namespace */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define mnt_idmap		user_namespace
#define nop_mnt_idmap		init_user_ns
#define file_mnt_idmap(file)	file_mnt_user_ns(file)
#endif

/* 6.3: a VMA's flags change by a call */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags &= ~flags;
}
#endif

/* 6.2: the reservation's lock is the caller's over vmap and map; before, dma-buf has a lock of its own */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define dma_buf_vmap_unlocked	dma_buf_vmap
#define dma_buf_vunmap_unlocked	dma_buf_vunmap
#endif

/* 6.7: an inode's times are set by calls */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
static inline void simple_inode_init_ts(struct inode *inode)
{
	inode->i_atime = current_time(inode);
	inode->i_mtime = inode->i_atime;
	inode->i_ctime = inode->i_atime;
}

static inline struct timespec64 inode_get_mtime(const struct inode *inode)
{
	return inode->i_mtime;
}
#endif

/* 6.5: splice by copying; before, the pipe is an iterator that is read into (copy_to_iter copies, too) */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#define copy_splice_read	generic_file_splice_read
#endif

/* 6.6: a fault of a file mapping may hold its VMA's lock alone; before, it is always mmap_lock */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0)
static inline void release_fault_lock(struct vm_fault *vmf)
{
	mmap_read_unlock(vmf->vma->vm_mm);
}
#endif

/* 6.7: shrinkers are allocated; before, their memory is the caller's; one that is not registered is none */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
static inline struct shrinker *shrinker_alloc(unsigned int flags, const char *name)
{
	struct shrinker *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (s) {
		s->flags = flags;
		s->seeks = DEFAULT_SEEKS;
	}
	return s;
}

static inline void shrinker_register(struct shrinker *s)
{
	if (register_shrinker(s, "dmo"))
		pr_warn("dmo: no memory for a shrinker\n");
}

static inline void shrinker_free(struct shrinker *s)
{
	unregister_shrinker(s);
	kfree(s);
}
#endif

/* 6.10: where a mapping goes is asked of a call */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
static inline unsigned long mm_get_unmapped_area(struct mm_struct *mm, struct file *file, unsigned long addr,
						 unsigned long len, unsigned long pgoff, unsigned long flags)
{
	return mm->get_unmapped_area(file, addr, len, pgoff, flags);
}
#endif

#endif
