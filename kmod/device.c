// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * device.c - devices: what drivers register
 *
 * A device has a slot (its number), a node, and references: one of the driver, one of each open context
 * and of each call that uses it. dmo_dev_destroy ends its life as a place for pages; the struct lives
 * until the last reference.
 *
 * kdm_devices_lock guards the slots.
 */
#include "internal.h"

#include <linux/ctype.h>
#include <linux/delay.h>
#include <linux/module.h>

static struct dmo_dev *devices[KDM_DEVICES_MAX];
static DEFINE_MUTEX(kdm_devices_lock);

/* ---- finding -------------------------------------------------------------- */

struct dmo_dev *kdm_dev_get(u32 number)
{
	struct dmo_dev *dev = NULL;

	mutex_lock(&kdm_devices_lock);
	if (number < KDM_DEVICES_MAX && devices[number] && devices[number]->online) {
		dev = devices[number];
		kref_get(&dev->ref);
	}
	mutex_unlock(&kdm_devices_lock);
	return dev;
}

static void free_dev(struct kref *ref)
{
	struct dmo_dev *dev = container_of(ref, struct dmo_dev, ref);

	mutex_destroy(&dev->lock);
	kfree(dev);
}

void kdm_dev_put(struct dmo_dev *dev)
{
	kref_put(&dev->ref, free_dev);
}

u32 kdm_dev_count(void)
{
	u32 n = KDM_DEVICES_MAX;

	mutex_lock(&kdm_devices_lock);
	while (n && !(devices[n - 1] && devices[n - 1]->online))
		n--;
	mutex_unlock(&kdm_devices_lock);
	return n;
}

static int find_name(const char *name)
{
	for (int i = 0; i < KDM_DEVICES_MAX; i++)
		if (devices[i] && !strcmp(devices[i]->name, name))
			return i;
	return -1;
}

int kdm_dev_number(const char *name)
{
	int n;

	mutex_lock(&kdm_devices_lock);
	n = find_name(name);
	mutex_unlock(&kdm_devices_lock);
	return n;
}

bool kdm_dev_name(u32 number, char *name)
{
	bool found;

	mutex_lock(&kdm_devices_lock);
	found = number < KDM_DEVICES_MAX && devices[number];
	if (found)
		strscpy(name, devices[number]->name, DMO_NAME_MAX);
	mutex_unlock(&kdm_devices_lock);
	return found;
}

void kdm_dev_describe(struct dmo_dev *dev, struct dmo_device_info *info)
{
	memset(info, 0, sizeof(*info));
	info->device = dev->core.number;
	info->memory_type = dev->memory_type;
	info->flags = dev->info.flags | (READ_ONCE(dev->gone) ? DMO_DEVICE_LOST : 0);
	info->threads = dev->info.threads;
	info->memory = dev->frames << DMO_PAGE_SHIFT;
	mutex_lock(&dev->lock);
	info->used = dev->core.used << DMO_PAGE_SHIFT;
	info->limit = dev->core.limit << DMO_PAGE_SHIFT;
	mutex_unlock(&dev->lock);
	info->link = dev->info.link;
	info->va_start = dev->info.va_start;
	info->va_end = dev->info.va_end;
	strscpy(info->name, dev->name, DMO_NAME_MAX);
}

/* ---- making one ----------------------------------------------------------- */

static bool good_name(const char *name)
{
	size_t n = strlen(name);

	if (!n || n >= DMO_NAME_MAX || name[0] == '.' || !strcmp(name, "control"))
		return false;
	for (; *name; name++)
		if (!isalnum(*name) && !strchr("_-.", *name))
			return false;
	return true;
}

/*
 * Page tables come all together or not at all, what goes with them only then; private memory needs an engine
 * (register_physmem looks).
 */
static bool good_ops(const struct dmo_dev_ops *ops, const struct dmo_dev_info *info)
{
	bool some = ops->pt_create || ops->pt_destroy || ops->pt_enter || ops->pt_release ||
		    ops->pt_protect || ops->tlb_invalidate || ops->submit;
	bool all = ops->pt_create && ops->pt_destroy && ops->pt_enter && ops->pt_release && ops->pt_protect &&
		   ops->tlb_invalidate && ops->submit;
	bool extra = ops->map || ops->unmap || ops->va_alloc || ops->tlb_invalidate_ranges ||
		     ops->pt_accessed;
	u64 va = info->va_start | info->va_end;

	if (!ops->owner || some != all || all != !!info->va_end || (extra && !all))
		return false;
	if (!ops->va_alloc != !ops->va_free || !ops->page_alloc != !ops->page_free)
		return false;
	return !(va & (DMO_PAGE_SIZE - 1)) && (!all || info->va_start < info->va_end);
}

static int take_slot(struct dmo_dev *dev)
{
	int i, err = -ENOSPC;

	mutex_lock(&kdm_devices_lock);
	if (find_name(dev->name) >= 0)
		err = -EEXIST;
	for (i = 0; err == -ENOSPC && i < KDM_DEVICES_MAX; i++) {
		if (devices[i])
			continue;
		devices[i] = dev;
		dev->core.number = i;
		err = 0;
	}
	mutex_unlock(&kdm_devices_lock);
	return err;
}

static void give_slot(struct dmo_dev *dev)
{
	mutex_lock(&kdm_devices_lock);
	devices[dev->core.number] = NULL;
	mutex_unlock(&kdm_devices_lock);
}

struct dmo_dev *dmo_dev_create(const char *name, const struct dmo_dev_ops *ops, void *priv,
			       struct device *parent, const struct dmo_dev_info *info)
{
	struct dmo_dev *dev;
	int err;

	if (!good_name(name) || !good_ops(ops, info))
		return ERR_PTR(-EINVAL);
	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return ERR_PTR(-ENOMEM);
	kref_init(&dev->ref);
	dev->ops = ops;
	dev->priv = priv;
	dev->parent = parent;
	dev->info = *info;
	strscpy(dev->name, name, DMO_NAME_MAX);
	mutex_init(&dev->lock);
	init_waitqueue_head(&dev->wait);
	INIT_LIST_HEAD(&dev->spaces);
	err = take_slot(dev);
	if (err) {
		kdm_dev_put(dev);
		return ERR_PTR(err);
	}
	return dev;
}
EXPORT_SYMBOL_GPL(dmo_dev_create);

/* ---- memory --------------------------------------------------------------- */

/* Gives the CPU's view of coherent memory struct pages. Each keeps one reference, the allocator's. */
static int map_coherent(struct dmo_dev *dev, const struct dmo_physmem *mem)
{
	void *at;

	dev->pgmap.type = MEMORY_DEVICE_GENERIC;
	dev->pgmap.range = (struct range){ .start = mem->start, .end = mem->start + mem->size - 1 };
	dev->pgmap.nr_range = 1;
	at = memremap_pages(&dev->pgmap, mem->node);
	if (IS_ERR(at))
		return PTR_ERR(at);
	dev->page0 = pfn_to_page(PHYS_PFN(mem->start));
	return 0;
}

static void unmap_coherent(struct dmo_dev *dev)
{
	if (dev->page0)
		memunmap_pages(&dev->pgmap);
	dev->page0 = NULL;
}

void *dmo_dev_frame_address(struct dmo_dev *dev, u32 frame)
{
	return page_address(dev->page0 + frame);
}
EXPORT_SYMBOL_GPL(dmo_dev_frame_address);

/* A device that manages its own memory. What it gives must lie in what it registered. */
static int own_alloc(void *ctx, unsigned int order, u32 *frame)
{
	struct dmo_dev *dev = ctx;
	int err = dev->ops->page_alloc(dev->priv, order, frame);

	if (err)
		return -ENOMEM;
	if (!WARN_ON_ONCE(*frame + (1ull << order) > dev->frames))
		return 0;
	dev->ops->page_free(dev->priv, *frame, order);
	return -ENOMEM;
}

static void own_free(void *ctx, u32 frame, unsigned int order)
{
	struct dmo_dev *dev = ctx;

	dev->ops->page_free(dev->priv, frame, order);
}

static const struct dmo_frames_ops own_frames = { own_alloc, own_free };

static int init_core(struct dmo_dev *dev, const struct dmo_physmem *mem)
{
	u32 number = dev->core.number;
	int err;

	dev->frames = mem->size >> DMO_PAGE_SHIFT;
	err = dmo_device_init(&dev->core, &kdm_mem, number, dev->frames);
	if (err)
		return err;
	dev->core.faults = dev->info.flags & DMO_DEVICE_FAULTS;
	dev->core.dirty_bits = dev->info.flags & DMO_DEVICE_DIRTY;
	if (dev->ops->page_alloc) {
		dev->core.frames = &own_frames;
		dev->core.frames_ctx = dev;
	}
	dmo_policy_watermarks(&dev->core);
	dev->memory_type = mem->type;
	return 0;
}

static bool good_mem(struct dmo_dev *dev, const struct dmo_physmem *mem)
{
	if (!mem->size || mem->size & (DMO_PAGE_SIZE - 1) || mem->size >> DMO_PAGE_SHIFT > U32_MAX)
		return false;
	if (mem->type == DMO_MEM_PRIVATE)
		return dev->ops->copy;
	return mem->type == DMO_MEM_COHERENT && IS_ALIGNED(mem->start, DMO_BLOCK_SIZE);
}

int dmo_dev_register_physmem(struct dmo_dev *dev, const struct dmo_physmem *mem)
{
	int err;

	if (dev->frames)
		return -EBUSY;
	if (!good_mem(dev, mem))
		return -EINVAL;
	err = init_core(dev, mem);
	if (err)
		return err;
	err = mem->type == DMO_MEM_COHERENT ? map_coherent(dev, mem) : 0;
	if (err)
		goto out_core;
	err = kdm_evictor_start(dev);
	if (err)
		goto out_unmap;
	err = kdm_node_add(dev);
	if (err)
		goto out_evictor;
	WRITE_ONCE(dev->online, true);
	pr_info("dmo: %s: %llu KiB of %s memory\n", dev->name, dev->frames << 2,
		dev->page0 ? "coherent" : "private");
	return 0;

out_evictor:
	kdm_evictor_stop(dev);
out_unmap:
	unmap_coherent(dev);
out_core:
	dmo_device_fini(&dev->core);
	dev->frames = 0;
	return err;
}
EXPORT_SYMBOL_GPL(dmo_dev_register_physmem);

/* ---- the end -------------------------------------------------------------- */

/* Leases end with the device that they were on; what they held goes home like the rest. */
static void end_leases(struct kdm_obj *obj, void *arg)
{
	struct dmo_dev *dev = arg;
	struct dmo_block *b;

	mutex_lock(&obj->lock);
	for (u64 i = 0; (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		struct dmo_copy *c = dmo_block_copy(b, &dev->core);

		if (c)
			c->pins = 0;
	}
	mutex_unlock(&obj->lock);
}

static void bring_home(struct kdm_obj *obj, void *arg)
{
	struct dmo_dev *dev = arg;

	end_leases(obj, dev);
	kdm_evict_all(obj, dev);
}

static void bury_copy(struct kdm_obj *obj, struct dmo_block *b, struct dmo_copy *c)
{
	kdm_release_pages(b, dmo_block_bits(b, DMO_MAPPED));
	if (dmo_bits_any(dmo_copy_bits(c, DMO_DIRTY)))
		errseq_set(&obj->wb_err, -EIO);
	dmo_copy_lost(c);
	c->pins = 0;
	kdm_copy_freed(c);
}

/* What was newer on the device is lost, and said to be (invariant 9). */
static void bury(struct kdm_obj *obj, void *arg)
{
	struct dmo_dev *dev = arg;
	struct dmo_block *b;

	mutex_lock(&obj->lock);
	for (u64 i = 0; (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		struct dmo_copy *c = dmo_block_copy(b, &dev->core);

		if (!c || kdm_claim_moving(obj, i, &b))
			continue;
		c = dmo_block_copy(b, &dev->core);
		if (c)
			bury_copy(obj, b, c);
		kdm_unclaim(b);
	}
	mutex_unlock(&obj->lock);
}

static bool empty(struct dmo_dev *dev)
{
	bool none;

	mutex_lock(&dev->lock);
	none = !dev->core.used && dmo_list_empty(&dev->core.lru);
	mutex_unlock(&dev->lock);
	return none;
}

/* Coherent pages that somebody else holds are waited for: their memory must not go away under direct I/O. */
static void drain(struct dmo_dev *dev)
{
	for (unsigned int round = 0; !empty(dev); round++) {
		kdm_visit_objects(bring_home, dev);
		if (empty(dev))
			break;
		if (round >= 20 && !dev->page0)
			kdm_visit_objects(bury, dev);
		else if (round == 20)
			pr_warn("dmo: %s: waiting for pages that are in use\n", dev->name);
		msleep(50);
	}
}

/* No page comes to the device from here on. */
static void close_gate(struct dmo_dev *dev)
{
	mutex_lock(&dev->lock);
	WRITE_ONCE(dev->gone, true);
	mutex_unlock(&dev->lock);
	wake_up_all(&dev->wait);
}

void dmo_dev_lost(struct dmo_dev *dev)
{
	if (WARN_ON(!dev->frames || dev->page0))
		return;
	pr_err("dmo: %s is lost; pages that were newer on it read EIO\n", dev->name);
	close_gate(dev);
	while (!empty(dev)) {
		kdm_visit_objects(bury, dev);
		if (!empty(dev))
			msleep(20);	/* a move that began before comes to its end */
	}
}
EXPORT_SYMBOL_GPL(dmo_dev_lost);

void dmo_dev_destroy(struct dmo_dev *dev)
{
	struct dmo_as *as;

	if (!dev->frames) {
		give_slot(dev);
		kdm_dev_put(dev);
		return;
	}
	kdm_node_remove(dev);
	close_gate(dev);
	kdm_evictor_stop(dev);
	drain(dev);
	while ((as = kdm_as_first(dev))) {
		kdm_as_end(as);
		kdm_as_put(as);
	}
	give_slot(dev);
	unmap_coherent(dev);
	dmo_device_fini(&dev->core);
	kdm_dev_put(dev);
}
EXPORT_SYMBOL_GPL(dmo_dev_destroy);
