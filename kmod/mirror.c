// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mirror.c - DMO_IOC_MIRROR: what the caller has mapped, in a context at the same addresses
 *
 * Mappings of objects can be mirrored, those that come through FUSE passthrough among them: they are known
 * by their vm_ops. It is a snapshot. The caller's VMAs are looked at one by one, and the mmap_lock is not
 * held while one is entered: that waits for I/O, which may fault.
 */
#include "internal.h"

#include <linux/sched/mm.h>

/* What lies at an address of the caller's: a use of the object comes with 0. */
struct piece {
	struct kdm_obj *obj;
	u64 end;		/* of the VMA */
	u64 offset;		/* in the object, of the address */
};

static int check_access(const struct vm_area_struct *vma, u32 prot)
{
	if ((prot & DMO_PROT_READ) && !(vma->vm_flags & VM_READ))
		return -EACCES;
	if ((prot & DMO_PROT_WRITE) && !(vma->vm_flags & VM_WRITE))
		return -EACCES;
	/* a private mapping's own pages are out of reach */
	return (prot & DMO_PROT_WRITE) && !(vma->vm_flags & VM_MAYSHARE) ? -EOPNOTSUPP : 0;
}

static int look(struct vm_area_struct *vma, u64 at, u32 prot, struct piece *p)
{
	int err;

	if (!vma || vma->vm_start > at)
		return -EFAULT;
	err = check_access(vma, prot);
	if (err)
		return err;
	p->obj = kdm_vma_obj(vma);
	if (!p->obj)
		return -EOPNOTSUPP;
	kdm_obj_get(p->obj);
	p->end = vma->vm_end;
	p->offset = ((u64)vma->vm_pgoff << PAGE_SHIFT) + (at - vma->vm_start);
	return 0;
}

static int find_piece(struct mm_struct *mm, u64 at, u32 prot, struct piece *p)
{
	int err;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	err = look(find_vma(mm, at), at, prot, p);
	mmap_read_unlock(mm);
	return err;
}

/* Enters what lies at *at, up to end or to the end of its VMA, and goes on to there. */
static int mirror_piece(struct dmo_as *as, const struct dmo_mirror *req, u64 *at, u64 end)
{
	struct dmo_map_op op = { .va = *at, .prot = req->prot, .flags = DMO_MAP_FIXED, .bits = req->bits };
	struct piece p;
	int err = find_piece(current->mm, *at, req->prot, &p);
	u64 va;

	if (err)
		return err;
	op.length = min(p.end, end) - *at;
	op.offset = p.offset;
	err = kdm_as_map_object(as, p.obj, &op, &va);
	kdm_obj_put_later(p.obj);
	if (!err)
		*at += op.length;
	return err;
}

int kdm_as_mirror(struct dmo_as *as, const struct dmo_mirror *req)
{
	u64 at = req->address, end = req->address + req->length;
	int err = current->mm ? 0 : -ESRCH;

	while (!err && at < end)
		err = mirror_piece(as, req, &at, end);
	if (err && at > req->address)		/* all or nothing */
		kdm_as_unmap_range(as, req->address, at - req->address);
	return err;
}
