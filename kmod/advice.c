// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * advice.c - advice on ranges: stored with the object, or carried out
 *
 * WILLNEED, DONTNEED and DISCARD are acts. Everything else is an attribute (core/attr.h) that lives as
 * long as the object.
 */
#include "internal.h"

#include <linux/fadvise.h>
#include <linux/falloc.h>

static int discard(struct kdm_file *f, const struct dmo_advise *adv)
{
	struct inode *inode = f->obj->inode;
	u64 size = i_size_read(f->obj->backing_inode);
	u64 length = adv->length ? adv->length : size > adv->offset ? size - adv->offset : 0;
	int err;

	if (!f->writes)
		return -EACCES;
	if (!length)
		return 0;
	inode_lock(inode);
	err = kdm_fallocate(f->obj, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, adv->offset, length);
	inode_unlock(inode);
	return err;
}

static int move(struct kdm_file *f, const struct dmo_advise *adv, u32 device)
{
	struct dmo_migrate m = { .offset = adv->offset, .length = adv->length, .device = device };

	return kdm_migrate(f, &m);
}

static int store(struct kdm_file *f, const struct dmo_advise *adv)
{
	u64 first = adv->offset >> DMO_PAGE_SHIFT;
	u64 last = adv->length ? first + (adv->length >> DMO_PAGE_SHIFT) - 1 : DMO_PAGE_OPEN;
	int err;

	if (!f->writes && !inode_owner_or_capable(&nop_mnt_idmap, f->obj->backing_inode))
		return -EACCES;
	mutex_lock(&f->obj->lock);
	err = dmo_attrs_advise(&f->obj->core.attrs, &kdm_mem, first, last, adv);
	mutex_unlock(&f->obj->lock);
	return err;
}

int kdm_advise(struct kdm_file *f, const struct dmo_advise *adv)
{
	switch (adv->advice) {
	case DMO_ADV_WILLNEED:
		return move(f, adv, adv->device);
	case DMO_ADV_DONTNEED:
		return move(f, adv, DMO_DEVICE_HOST);
	case DMO_ADV_DISCARD:
		return discard(f, adv);
	default:
		return store(f, adv);
	}
}

/* posix_fadvise: its own values, as advice on whole pages; WILLNEED reads ahead on the host. */
int kdm_fadvise(struct file *file, loff_t offset, loff_t len, int advice)
{
	struct kdm_file *f = file->private_data;
	static const u32 ours[] = {
		[POSIX_FADV_NORMAL] = DMO_ADV_NORMAL, [POSIX_FADV_RANDOM] = DMO_ADV_RANDOM,
		[POSIX_FADV_SEQUENTIAL] = DMO_ADV_SEQUENTIAL,
	};
	struct dmo_advise adv = { .device = DMO_DEVICE_ANY };
	int err;

	if (offset < 0 || len < 0)
		return -EINVAL;
	err = vfs_fadvise(f->obj->ro, offset, len, advice);
	if (err || advice >= ARRAY_SIZE(ours))
		return err;
	adv.advice = ours[advice];
	adv.offset = round_down(offset, DMO_PAGE_SIZE);
	adv.length = len ? round_up(offset + len, DMO_PAGE_SIZE) - adv.offset : 0;
	err = store(f, &adv);
	return err == -EACCES ? 0 : err;
}
