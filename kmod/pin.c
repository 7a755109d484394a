// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pin.c - leases on residency, held by an open file
 *
 * A pin makes its range resident and counts in each block's copy, which is then neither evicted nor
 * moved. It is charged to the user's locked memory (RLIMIT_MEMLOCK); who may lock without limit
 * (CAP_IPC_LOCK) may pin without one. A pin keeps the device's driver.
 *
 * Locks: obj->lock for the copies' counts, file->lock for the file's list.
 */
#include "internal.h"
#include "dmo_trace.h"

#include <linux/module.h>
#include <linux/sched/user.h>
#include <linux/sched/signal.h>

struct pin {
	struct list_head link;
	struct dmo_dev *dev;
	u64 id;
	struct kdm_range range;
	struct user_struct *user;
};

static atomic64_t last_id;

/* ---- what a user may ------------------------------------------------------ */

u64 kdm_charge_limit(void)
{
	if (rlimit(RLIMIT_MEMLOCK) == RLIM_INFINITY || capable(CAP_IPC_LOCK))
		return U64_MAX;
	return rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
}

int kdm_charge(struct user_struct *user, u64 pages, u64 limit)
{
	u64 now = atomic_long_add_return(pages, &user->locked_vm);

	if (now <= limit)
		return 0;
	atomic_long_sub(pages, &user->locked_vm);
	return -EDQUOT;
}

void kdm_uncharge(struct user_struct *user, u64 pages)
{
	atomic_long_sub(pages, &user->locked_vm);
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
	int err = kdm_charge(pin->user, pages, kdm_charge_limit());

	if (err)
		return err;
	kdm_obj_track(obj);
	err = kdm_pin_pages(obj, pin->dev, &pin->range);
	if (err)
		kdm_uncharge(pin->user, pages);
	return err;
}

static struct pin *new_pin(struct dmo_dev *dev, const struct dmo_pin *req)
{
	struct pin *pin = kzalloc(sizeof(*pin), GFP_KERNEL);

	if (!pin)
		return NULL;
	pin->dev = dev;
	pin->range = kdm_range_of(req->offset, req->length);
	pin->user = get_uid(current_user());
	return pin;
}

static void free_pin(struct pin *pin)
{
	free_uid(pin->user);
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
	if (!pin) {
		kdm_put_pinnable(dev);
		return -ENOMEM;
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
	kdm_uncharge(pin->user, pages);
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
