// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fdinfo.c - what /proc/PID/fdinfo says of objects and contexts
 *
 * Keys of ours begin with dmo-. The memory keys of the kernel's drm-usage-stats follow, a region for
 * each device, so that the tools which know graphics devices show these as well:
 *
 *	drm-total-NAME		what has a place there (object: is resident; context: is mapped)
 *	drm-shared-NAME		of that, what has another user: the object is open or mapped elsewhere, too
 *	drm-resident-NAME	what is in the device's memory
 *	drm-purgeable-NAME	of that, what can be dropped without a copy: clean, and not pinned
 *
 * Locks: as->lock, obj->lock.
 */
#include "internal.h"

#include <linux/pci.h>
#include <linux/seq_file.h>

struct held {
	char name[DMO_NAME_MAX];	/* empty: nothing there */
	u64 resident, dirty, purgeable;	/* pages */
};

static void show_kib(struct seq_file *m, const char *key, const char *region, u64 pages)
{
	seq_printf(m, "%s%s:\t%llu KiB\n", key, region, pages << (PAGE_SHIFT - 10));
}

u64 kdm_client_new(void)
{
	static atomic64_t last;

	return atomic64_inc_return(&last);
}

/* By its number an open file is known again where its descriptor was duplicated. */
static void show_client(struct seq_file *m, u64 id)
{
	seq_printf(m, "drm-driver:\tdmo\ndrm-client-id:\t%llu\n", id);
}

/* ---- objects -------------------------------------------------------------- */

static void add_copy(struct held *h, struct dmo_copy *c)
{
	u64 resident = dmo_bits_count(dmo_copy_bits(c, DMO_VALID));
	u64 dirty = dmo_bits_count(dmo_copy_bits(c, DMO_DIRTY));

	strscpy(h->name, kdm_dev_of(c->dev)->name, DMO_NAME_MAX);
	h->resident += resident;
	h->dirty += dirty;
	if (!c->pins)
		h->purgeable += resident - dirty;
}

/* obj->lock held. */
static void add_copies(struct kdm_obj *obj, struct held *held)
{
	struct dmo_block *b;

	for (u64 i = 0; (b = dmo_radix_next(&obj->core.blocks, &i)); i++)
		for (struct dmo_copy *c = b->copies; c; c = c->next)
			add_copy(&held[c->dev->number], c);
}

static void show_held(struct seq_file *m, const struct held *h, bool shared)
{
	if (!h->name[0])
		return;
	show_kib(m, "dmo-dirty-", h->name, h->dirty);
	show_kib(m, "drm-total-", h->name, h->resident);
	show_kib(m, "drm-shared-", h->name, shared ? h->resident : 0);
	show_kib(m, "drm-resident-", h->name, h->resident);
	show_kib(m, "drm-purgeable-", h->name, h->purgeable);
}

void kdm_object_show(struct seq_file *m, struct file *file)
{
	struct kdm_file *f = file->private_data;
	struct held *held = kcalloc(KDM_DEVICES_MAX, sizeof(*held), GFP_KERNEL);
	struct kdm_obj *obj = f->obj;
	struct inode *backing = obj->backing_inode;

	if (!held)
		return;
	seq_printf(m, "dmo-backing:\t%u:%u %lu\ndmo-size:\t%lld\ndmo-pinned:\t%llu KiB\n",
		   MAJOR(backing->i_sb->s_dev), MINOR(backing->i_sb->s_dev), backing->i_ino,
		   i_size_read(backing), kdm_pinned(f) << (PAGE_SHIFT - 10));
	mutex_lock(&obj->lock);
	add_copies(obj, held);
	seq_printf(m, "dmo-lost-blocks:\t%u\n", obj->core.lost);
	mutex_unlock(&obj->lock);
	show_client(m, f->client);
	for (unsigned int i = 0; i < KDM_DEVICES_MAX; i++)
		show_held(m, &held[i], atomic_read(&obj->users) > 1);
	kfree(held);
}

/* ---- contexts ------------------------------------------------------------- */

/* Pages of [first, last] of the mapping's object that the device has. */
static u64 mapped_resident(struct dmo_as *as, const struct dmo_mapping *m)
{
	u64 first = dmo_mapping_offset(m) >> PAGE_SHIFT;
	u64 last = first + (dmo_mapping_length(m) >> PAGE_SHIFT) - 1;
	struct kdm_obj *obj = m->object;
	struct dmo_block *b;
	u64 sum = 0;

	mutex_lock(&obj->lock);
	for (u64 i = first / DMO_BLOCK_PAGES; (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		struct dmo_copy *c = dmo_block_copy(b, &as->dev->core);
		u64 bits[DMO_BITS_WORDS] = { 0 };
		unsigned int from, count;

		if (i > last / DMO_BLOCK_PAGES)
			break;
		if (!c)
			continue;
		kdm_cut(i, first, last, &from, &count);
		dmo_bits_set(bits, from, count);
		dmo_bits_and(bits, bits, dmo_copy_bits(c, DMO_VALID));
		sum += dmo_bits_count(bits);
	}
	mutex_unlock(&obj->lock);
	return sum;
}

void kdm_as_show(struct seq_file *m, struct file *file)
{
	struct dmo_as *as = file->private_data;
	u64 mapped, resident = 0, mappings = 0;
	struct dmo_mapping *at;

	mutex_lock(&as->lock);
	at = as->pt ? dmo_space_first(&as->space, 0, ~0ull) : NULL;
	mapped = as->pt ? as->space.mapped >> PAGE_SHIFT : 0;
	for (; at; at = dmo_space_next(at, ~0ull), mappings++)
		resident += mapped_resident(as, at);
	if (as->pt && as->dev->parent && dev_is_pci(as->dev->parent))	/* with pt the device is there */
		seq_printf(m, "drm-pdev:\t%s\n", dev_name(as->dev->parent));
	mutex_unlock(&as->lock);
	seq_printf(m, "dmo-device:\t%s\ndmo-mappings:\t%llu\ndmo-outstanding:\t%u\n", as->dev->name, mappings,
		   READ_ONCE(as->outstanding));
	show_client(m, as->client);
	show_kib(m, "drm-total-", as->dev->name, mapped);
	show_kib(m, "drm-resident-", as->dev->name, resident);
}
