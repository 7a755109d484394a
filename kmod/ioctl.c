// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ioctl.c - requests: copied in, checked by the core's decoder, handed to who carries them out, copied back
 *
 * Nothing is followed through a pointer. A request is copied back when its direction says so, after an
 * error too: done and error tell how far it came.
 */
#include "internal.h"

#include "core/query.h"

#include <linux/file.h>
#include <linux/uaccess.h>

struct request {
	u32 cmd;
	void *arg;
	struct file *made;	/* OBJECT_CREATE, EXPORT: to be installed when the caller has its number */
	int fd;			/* ... which is reserved */
};

/* ---- object --------------------------------------------------------------- */

static int object_info(struct kdm_file *f, struct dmo_info *info)
{
	struct kdm_obj *obj = f->obj;

	*info = (struct dmo_info){
		.abi_version = DMO_ABI_VERSION, .home = DMO_HOME_KERNEL, .devices = kdm_dev_count(),
		.block_size = DMO_BLOCK_SIZE, .page_size = DMO_PAGE_SIZE,
		.size = i_size_read(obj->backing_inode),
		.caps = DMO_CAP_DMABUF | DMO_CAP_MIRROR_FILES |
			(kdm_stores_advice(obj) ? DMO_CAP_STORED_ADVICE : 0),
	};
	mutex_lock(&obj->lock);
	info->resident = dmo_query_resident(&obj->core);
	mutex_unlock(&obj->lock);
	return 0;
}

static int device_info(struct dmo_device_info *info)
{
	struct dmo_dev *dev = kdm_dev_get(info->device);

	if (!dev)
		return -ENODEV;
	kdm_dev_describe(dev, info);
	kdm_dev_put(dev);
	return 0;
}

static int get_key(struct kdm_file *f, struct dmo_key *key)
{
	key->reserved = 0;
	return kdm_key_make(f, &key->key);
}

static int do_migrate(struct kdm_file *f, struct dmo_migrate *m)
{
	return m->flags & DMO_MIGRATE_ASYNC ? kdm_migrate_async(f, m) : kdm_migrate(f, m);
}

static int do_export(struct kdm_file *f, struct request *r)
{
	struct dmo_export *req = r->arg;
	int err = kdm_export(f, req, &r->made);

	r->fd = req->fd;
	return err;
}

static int object_request(struct kdm_file *f, struct request *r)
{
	switch (_IOC_NR(r->cmd)) {
	case _IOC_NR(DMO_IOC_INFO):
		return object_info(f, r->arg);
	case _IOC_NR(DMO_IOC_DEVICE):
		return device_info(r->arg);
	case _IOC_NR(DMO_IOC_KEY):
		return get_key(f, r->arg);
	case _IOC_NR(DMO_IOC_ADVISE):
		return kdm_advise(f, r->arg);
	case _IOC_NR(DMO_IOC_QUERY(0)):
		return f->reads ? kdm_query(f, r->arg) : -EACCES;
	case _IOC_NR(DMO_IOC_MIGRATE):
		return do_migrate(f, r->arg);
	case _IOC_NR(DMO_IOC_WAIT):
		return kdm_migrate_wait(f, r->arg);
	case _IOC_NR(DMO_IOC_PIN):
		return kdm_pin(f, r->arg);
	case _IOC_NR(DMO_IOC_UNPIN):
		return kdm_unpin(f, ((struct dmo_pin *)r->arg)->id);
	case _IOC_NR(DMO_IOC_EXPORT):
		return do_export(f, r);
	default:
		return -EOPNOTSUPP;
	}
}

/* ---- context -------------------------------------------------------------- */

static int do_fault(struct dmo_as *as, const struct dmo_fault *f)
{
	int err = 0;

	if (f->prot & DMO_PROT_READ)
		err = kdm_as_fault(as, f->va, f->length, false);
	if (!err && f->prot & DMO_PROT_WRITE)
		err = kdm_as_fault(as, f->va, f->length, true);
	return err;
}

static int context_request(struct dmo_as *as, struct request *r)
{
	switch (_IOC_NR(r->cmd)) {
	case _IOC_NR(DMO_IOC_DEVICE):
		return device_info(r->arg);
	case _IOC_NR(DMO_IOC_MAP(0)):
		return kdm_as_map(as, r->arg);
	case _IOC_NR(DMO_IOC_UNMAP(0)):
		return kdm_as_unmap(as, r->arg);
	case _IOC_NR(DMO_IOC_MIRROR):
		return kdm_as_mirror(as, r->arg);
	case _IOC_NR(DMO_IOC_FAULT):
		return do_fault(as, r->arg);
	case _IOC_NR(DMO_IOC_LOWAT):
		kdm_as_lowat(as, ((struct dmo_lowat *)r->arg)->count);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/* ---- control -------------------------------------------------------------- */

static int do_create(struct request *r)
{
	struct dmo_object_create *req = r->arg;
	int err = kdm_create(req, &r->made);

	r->fd = req->fd;
	return err;
}

static int control_request(struct request *r)
{
	if (_IOC_NR(r->cmd) == _IOC_NR(DMO_IOC_DEVICE))
		return device_info(r->arg);
	return do_create(r);
}

/* The new descriptor appears only when the caller knows its number. */
static void settle_made(struct request *r, bool known)
{
	if (!r->made)
		return;
	if (known) {
		fd_install(r->fd, r->made);
		return;
	}
	put_unused_fd(r->fd);
	fput(r->made);
}

/* ---- in and out ----------------------------------------------------------- */

static int run(struct request *r, enum dmo_abi_side side, void *who)
{
	int err = dmo_abi_check(r->cmd, r->arg, _IOC_SIZE(r->cmd), side, kdm_dev_count());

	if (err)
		return err;
	if (side == DMO_ABI_OBJECT)
		return object_request(who, r);
	return side == DMO_ABI_CONTEXT ? context_request(who, r) : control_request(r);
}

static long answer(struct request *r, void __user *user, int err)
{
	bool back = _IOC_DIR(r->cmd) & _IOC_READ;

	if (back && copy_to_user(user, r->arg, _IOC_SIZE(r->cmd)))
		err = -EFAULT;
	settle_made(r, !err);
	return err;
}

static long dispatch(unsigned int cmd, unsigned long arg, enum dmo_abi_side side, void *who)
{
	size_t size = _IOC_SIZE(cmd);
	struct request r = { .cmd = cmd };
	long err;

	if (_IOC_TYPE(cmd) != DMO_IOC_MAGIC)
		return -ENOTTY;
	r.arg = kvzalloc(size + 1, GFP_KERNEL);
	if (!r.arg)
		return -ENOMEM;
	if (_IOC_DIR(cmd) & _IOC_WRITE && copy_from_user(r.arg, (void __user *)arg, size))
		err = -EFAULT;
	else
		err = answer(&r, (void __user *)arg, run(&r, side, who));
	kvfree(r.arg);
	return err;
}

long kdm_object_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return dispatch(cmd, arg, DMO_ABI_OBJECT, file->private_data);
}

long kdm_as_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return dispatch(cmd, arg, DMO_ABI_CONTEXT, file->private_data);
}

long kdm_control_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return dispatch(cmd, arg, DMO_ABI_CONTROL, NULL);
}
