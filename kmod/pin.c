// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pin.c - leases on residency, held by an open file
 *
 * A pin makes its range resident and counts in each block's copy, which is then neither evicted nor
 * moved. It is charged to the user's locked memory (RLIMIT_MEMLOCK); who may lock without limit
 * (CAP_IPC_LOCK) may pin without one. A service that pins for somebody names him (DMO_CHARGE_OTHER): by
 * a process, and by its user too, lest the number be another's by now. A pin keeps the device's driver.
 *
 * Locks: obj->lock for the copies' counts, file->lock for the file's list.
 */
#include "internal.h"
#include "dmo_trace.h"

#include <linux/cred.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/user.h>
#include <linux/user_namespace.h>

struct pin {
	struct list_head link;
	struct dmo_dev *dev;
	u64 id;
	struct kdm_range range;
	struct kdm_payer payer;
};

static atomic64_t last_id;

/* ---- what a user may ------------------------------------------------------ */

static void payer_is(struct kdm_payer *payer, struct user_struct *user, unsigned long limit, bool unlimited)
{
	payer->user = get_uid(user);
	payer->limit = unlimited || limit == RLIM_INFINITY ? U64_MAX : limit >> PAGE_SHIFT;
}

static int payer_of_task(struct kdm_payer *payer, struct task_struct *task, kuid_t uid)
{
	const struct cred *cred = get_task_cred(task);
	int err = uid_eq(cred->fsuid, uid) ? 0 : -ESRCH;

	if (!err)
		payer_is(payer, cred->user, task_rlimit(task, RLIMIT_MEMLOCK),
			 has_capability(task, CAP_IPC_LOCK));
	put_cred(cred);
	return err;
}

static int find_other(struct kdm_payer *payer, u64 charge)
{
	struct task_struct *task;
	struct pid *pid;
	int err;

	if (!capable(CAP_SYS_RESOURCE))
		return -EPERM;
	pid = find_get_pid(lower_32_bits(charge));
	task = pid ? get_pid_task(pid, PIDTYPE_PID) : NULL;
	put_pid(pid);
	if (!task)
		return -ESRCH;
	err = payer_of_task(payer, task, make_kuid(current_user_ns(), upper_32_bits(charge)));
	put_task_struct(task);
	return err;
}

int kdm_payer_find(struct kdm_payer *payer, u32 flags, u64 charge)
{
	if (flags & DMO_CHARGE_OTHER)
		return find_other(payer, charge);
	payer_is(payer, current_user(), rlimit(RLIMIT_MEMLOCK), capable(CAP_IPC_LOCK));
	return 0;
}

void kdm_payer_put(struct kdm_payer *payer)
{
	free_uid(payer->user);
}

int kdm_charge(const struct kdm_payer *payer, u64 pages)
{
	u64 now = atomic_long_add_return(pages, &payer->user->locked_vm);

	if (now <= payer->limit)
		return 0;
	atomic_long_sub(pages, &payer->user->locked_vm);
	return -EDQUOT;
}

void kdm_uncharge(const struct kdm_payer *payer, u64 pages)
{
	atomic_long_sub(pages, &payer->user->locked_vm);
}

/* ---- pins ----------------------------------------------------------------- */

static int pin_block(struct kdm_obj *obj, struct dmo_dev *dev, const struct kdm_range *r, u64 index)
{
	struct kdm_access a = { .obj = obj, .dev = dev, .whole = true, .pin = true, .write = r->held,
				.exposed = r->held };

	kdm_cut(index, r->first, r->last, &a.first, &a.count);
	a.page = index * DMO_BLOCK_PAGES + a.first;
	return kdm_access(&a);
}

static void unpin_block(struct kdm_obj *obj, struct dmo_dev *dev, const struct kdm_range *r, u64 index)
{
	struct dmo_block *b;
	struct dmo_copy *c;

	mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, index);
	c = b ? dmo_block_copy(b, &dev->core) : NULL;
	if (c && c->pins)
		c->pins--;
	if (c && r->held && c->held)
		c->held--;
	if (c && b->state == DMO_BLOCK_IDLE && !b->io) {
		/* it may have kept the memory of a truncated range */
		b->users++;
		kdm_drop_empty(b, dev);
		dmo_block_put(b);
	}
	mutex_unlock(&obj->lock);
}

static void unpin_blocks(struct kdm_obj *obj, struct dmo_dev *dev, const struct kdm_range *r, u64 end)
{
	for (u64 i = r->first / DMO_BLOCK_PAGES; i < end; i++)
		unpin_block(obj, dev, r, i);
}

int kdm_pin_pages(struct kdm_obj *obj, struct dmo_dev *dev, const struct kdm_range *r)
{
	int err = 0;
	u64 i;

	for (i = r->first / DMO_BLOCK_PAGES; i <= r->last / DMO_BLOCK_PAGES && !err; i++)
		err = pin_block(obj, dev, r, i);
	if (err)
		unpin_blocks(obj, dev, r, i - 1);
	return err;
}

void kdm_unpin_pages(struct kdm_obj *obj, struct dmo_dev *dev, const struct kdm_range *r)
{
	unpin_blocks(obj, dev, r, r->last / DMO_BLOCK_PAGES + 1);
}

int kdm_pin_check(struct kdm_obj *obj, struct dmo_dev *dev, const struct kdm_range *r)
{
	u64 pages, limit;

	mutex_lock(&obj->lock);
	kdm_obj_refresh(obj);
	pages = (obj->core.size + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT;
	mutex_unlock(&obj->lock);
	if (r->last >= pages)
		return -EINVAL;
	if (!dev)
		return 0;
	mutex_lock(&dev->lock);
	limit = dev->core.limit;
	mutex_unlock(&dev->lock);
	return kdm_range_pages(r) > limit ? -ENOSPC : 0;
}

static int pin_range(struct kdm_obj *obj, struct pin *pin)
{
	u64 pages = kdm_range_pages(&pin->range);
	int err = kdm_charge(&pin->payer, pages);

	if (err)
		return err;
	kdm_obj_track(obj);
	err = kdm_pin_pages(obj, pin->dev, &pin->range);
	if (err)
		kdm_uncharge(&pin->payer, pages);
	return err;
}

static struct pin *new_pin(struct dmo_dev *dev, const struct dmo_pin *req)
{
	struct pin *pin = kzalloc(sizeof(*pin), GFP_KERNEL);
	int err = pin ? kdm_payer_find(&pin->payer, req->flags, req->charge) : -ENOMEM;

	if (err) {
		kfree(pin);
		return ERR_PTR(err);
	}
	pin->dev = dev;
	pin->range = kdm_range_of(req->offset, req->length);
	return pin;
}

static void free_pin(struct pin *pin)
{
	kdm_payer_put(&pin->payer);
	kdm_put_pinnable(pin->dev);
	kfree(pin);
}

struct dmo_dev *kdm_get_pinnable(u32 number)
{
	struct dmo_dev *dev = kdm_dev_get(number);

	if (dev && !try_module_get(dev->ops->owner)) {
		kdm_dev_put(dev);
		dev = NULL;
	}
	return dev;
}

void kdm_put_pinnable(struct dmo_dev *dev)
{
	module_put(dev->ops->owner);
	kdm_dev_put(dev);
}

int kdm_pin(struct kdm_file *f, struct dmo_pin *req)
{
	struct dmo_dev *dev = f->reads ? kdm_get_pinnable(req->device) : NULL;
	struct pin *pin;
	int err;

	if (!dev)
		return f->reads ? -ENODEV : -EACCES;
	pin = new_pin(dev, req);
	if (IS_ERR(pin)) {
		kdm_put_pinnable(dev);
		return PTR_ERR(pin);
	}
	err = kdm_pin_check(f->obj, dev, &pin->range);
	if (!err)
		err = pin_range(f->obj, pin);
	trace_dmo_pin(dev, f->obj, pin->range.first, kdm_range_pages(&pin->range), err);
	if (err) {
		free_pin(pin);
		return err;
	}
	pin->id = atomic64_inc_return(&last_id);
	req->id = pin->id;
	mutex_lock(&f->lock);
	list_add(&pin->link, &f->pins);
	mutex_unlock(&f->lock);
	return 0;
}

static void end_pin(struct kdm_file *f, struct pin *pin)
{
	u64 pages = kdm_range_pages(&pin->range);

	kdm_unpin_pages(f->obj, pin->dev, &pin->range);
	trace_dmo_unpin(pin->dev, f->obj, pin->range.first, pages, 0);
	kdm_uncharge(&pin->payer, pages);
	free_pin(pin);
}

int kdm_unpin(struct kdm_file *f, u64 id)
{
	struct pin *pin, *found = NULL;

	mutex_lock(&f->lock);
	list_for_each_entry(pin, &f->pins, link) {
		if (pin->id != id)
			continue;
		found = pin;
		list_del(&pin->link);
		break;
	}
	mutex_unlock(&f->lock);
	if (!found)
		return -ENOENT;
	end_pin(f, found);
	return 0;
}

u64 kdm_pinned(struct kdm_file *f)
{
	struct pin *pin;
	u64 pages = 0;

	mutex_lock(&f->lock);
	list_for_each_entry(pin, &f->pins, link)
		pages += kdm_range_pages(&pin->range);
	mutex_unlock(&f->lock);
	return pages;
}

void kdm_unpin_all(struct kdm_file *f)
{
	struct pin *pin, *next;

	list_for_each_entry_safe(pin, next, &f->pins, link)
		end_pin(f, pin);
}
