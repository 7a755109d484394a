// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * advice.c - advice on ranges: stored with the object and in its backing file, or carried out
 *
 * WILLNEED, DONTNEED and DISCARD are acts. Everything else is an attribute (core/attr.h) and, where the
 * backing file takes extended attributes, written to DMO_ADVICE_XATTR of it, in the form that the service
 * uses: a store can change homes. What is read there was written by anybody: whatever does not decode is
 * ignored, with one line in the log. What posix_fadvise says ends with the object: readers say it of
 * files that they only pass through.
 *
 * Locks: the object's inode lock, over the writing of the extended attribute: the last writer writes the
 * latest.
 */
#include "internal.h"

#include "core/advice_codec.h"

#include <linux/cred.h>
#include <linux/fadvise.h>
#include <linux/falloc.h>
#include <linux/mount.h>
#include <linux/xattr.h>

/* ---- the extended attribute ----------------------------------------------- */

/* One call of the codec's: the last name that it asked for. */
struct naming {
	struct dmo_device_names names;
	char last[DMO_NAME_MAX];
};

static const char *name_of(void *ctx, u32 device)
{
	struct naming *n = ctx;

	return kdm_dev_name(device, n->last) ? n->last : NULL;
}

static int number_of(void *ctx, const char *name)
{
	return kdm_dev_number(name);
}

static void init_naming(struct naming *n)
{
	n->names = (struct dmo_device_names){ .name = name_of, .number = number_of, .ctx = n };
}

/* Fresh memory goes with its object, and its advice too. */
bool kdm_stores_advice(const struct kdm_obj *obj)
{
	struct dentry *dentry = file_dentry(obj->ro);

	return !obj->fresh && !IS_RDONLY(obj->backing_inode) &&
	       __vfs_getxattr(dentry, d_inode(dentry), DMO_ADVICE_XATTR, NULL, 0) != -EOPNOTSUPP;
}

/* What is not read for want of memory would be lost with the next advice that is stored. */
int kdm_advice_load(struct kdm_obj *obj)
{
	struct dentry *dentry = file_dentry(obj->ro);
	struct naming n;
	ssize_t got;
	void *buf;
	int err;

	if (obj->fresh)
		return 0;
	buf = kmalloc(DMO_ADVICE_BYTES_MAX, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	got = __vfs_getxattr(dentry, d_inode(dentry), DMO_ADVICE_XATTR, buf, DMO_ADVICE_BYTES_MAX);
	init_naming(&n);
	err = got < 0 ? got : dmo_advice_decode(&obj->core.attrs, &kdm_mem, &n.names, buf, got);
	if (got >= 0 && err && err != -ENOMEM)
		pr_warn_ratelimited("dmo: stored advice of a file does not decode; ignored\n");
	kfree(buf);
	return err == -ENOMEM ? err : 0;
}

/* The stored form of what is in force: its length, 0 for no advice; obj->lock held. */
static s64 encode(struct kdm_obj *obj, void *buf)
{
	struct naming n;

	init_naming(&n);
	return dmo_attrs_count(&obj->core.attrs) ?
	       dmo_advice_encode(&obj->core.attrs, &n.names, buf, DMO_ADVICE_BYTES_MAX) : 0;
}

/* As whoever brought the writable backing file: the filesystem checks that it still may. */
static int write_xattr(struct kdm_obj *obj, const void *buf, size_t length)
{
	struct dentry *dentry = file_dentry(obj->rw);
	struct mnt_idmap *idmap = file_mnt_idmap(obj->rw);
	const struct cred *mine;
	int err = mnt_want_write_file(obj->rw);

	if (err)
		return err;
	mine = override_creds(obj->rw->f_cred);
	err = length ? vfs_setxattr(idmap, dentry, DMO_ADVICE_XATTR, buf, length, 0) :
		       vfs_removexattr(idmap, dentry, DMO_ADVICE_XATTR);
	revert_creds(mine);
	mnt_drop_write_file(obj->rw);
	return err;
}

/* Writes the attributes to the backing file; inode lock held. */
static int save(struct kdm_obj *obj, void *buf)
{
	s64 length;
	int err;

	if (obj->fresh || !obj->rw)
		return 0;
	mutex_lock(&obj->lock);
	length = encode(obj, buf);
	mutex_unlock(&obj->lock);
	if (length < 0)
		return length == -E2BIG ? -ENOSPC : length;
	err = write_xattr(obj, buf, length);
	/* nothing was there; or a file without attributes: kept as long as the object */
	return (err == -ENODATA && !length) || err == -EOPNOTSUPP ? 0 : err;
}

/* ---- advice that is kept -------------------------------------------------- */

static int set(struct kdm_obj *obj, const struct dmo_advise *adv)
{
	u64 first = adv->offset >> DMO_PAGE_SHIFT;
	u64 last = adv->length ? first + (adv->length >> DMO_PAGE_SHIFT) - 1 : DMO_PAGE_OPEN;

	lockdep_assert_held(&obj->lock);
	return dmo_attrs_advise(&obj->core.attrs, &kdm_mem, first, last, adv);
}

/* Back to what encode wrote. */
static void restore(struct kdm_obj *obj, const void *before, size_t length)
{
	struct naming n;

	init_naming(&n);
	mutex_lock(&obj->lock);
	dmo_advice_restore(&obj->core.attrs, &kdm_mem_sure, &n.names, before, length);
	mutex_unlock(&obj->lock);
}

/* All or nothing; inode lock held. before, buf: DMO_ADVICE_BYTES_MAX each. */
static int set_and_save(struct kdm_obj *obj, const struct dmo_advise *adv, void *before, void *buf)
{
	s64 length;
	int err;

	mutex_lock(&obj->lock);
	length = encode(obj, before);
	err = set(obj, adv);
	mutex_unlock(&obj->lock);
	if (err)
		return err;
	err = save(obj, buf);
	if (err && length >= 0)
		restore(obj, before, length);
	return err;
}

static int store(struct kdm_file *f, const struct dmo_advise *adv)
{
	struct inode *inode = f->obj->inode;
	char *bufs;
	int err;

	if (!f->writes && !inode_owner_or_capable(&nop_mnt_idmap, f->obj->backing_inode))
		return -EACCES;
	bufs = kmalloc(2 * DMO_ADVICE_BYTES_MAX, GFP_KERNEL);
	if (!bufs)
		return -ENOMEM;
	inode_lock(inode);
	err = set_and_save(f->obj, adv, bufs, bufs + DMO_ADVICE_BYTES_MAX);
	inode_unlock(inode);
	kfree(bufs);
	return err;
}

/* ---- acts ----------------------------------------------------------------- */

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
	if (!f->writes && !inode_owner_or_capable(&nop_mnt_idmap, f->obj->backing_inode))
		return 0;
	adv.advice = ours[advice];
	adv.offset = round_down(offset, DMO_PAGE_SIZE);
	adv.length = len ? round_up(offset + len, DMO_PAGE_SIZE) - adv.offset : 0;
	mutex_lock(&f->obj->lock);
	err = set(f->obj, &adv);
	mutex_unlock(&f->obj->lock);
	return err;
}
