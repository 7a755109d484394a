// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dmabuf_export.c - DMO_IOC_EXPORT: a dma-buf of a range of an object
 *
 * The bytes stay the object's: what an importer writes is in the file, and the reverse.
 *
 *	attached	the pages are held (dmabuf_hold.c) from attach to detach, since no importer has to
 *			follow a move. attach comes without the reservation's lock, under which nothing
 *			may wait for a filesystem; map then only makes the table
 *	not attached	they move as any others
 *	mmap		a mapping of the object, cut to the range: it follows every move
 *	vmap		shares the hold of an attachment; where there is none, a worker makes one: who waits
 *			for it has the reservation's lock, so no mover waits for that (kdm_export_fence)
 *	reservation	gets the fences of copies by an engine; importers and begin_cpu_access wait for them.
 *			Fences that importers leave are waited for before the pages move
 *
 * CPU caches are coherent with every memory that is exported; begin and end of CPU access tell the DMA
 * mappings of importers, of which some copy (bounce buffers).
 *
 * Where importers can't be kept from writing (map for a direction that writes, vmap) a descriptor that
 * only reads is refused.
 */
#include "dmabuf.h"

#include <linux/dma-mapping.h>
#include <linux/iosys-map.h>
#include <linux/module.h>
#include <linux/shmem_fs.h>
#include <linux/vmalloc.h>

struct attachment {
	struct kdm_hold *hold;
	struct sg_table *table;		/* while mapped, under the reservation */
};

/* ---- life ----------------------------------------------------------------- */

void kdm_export_get(struct kdm_export *e)
{
	kref_get(&e->ref);
}

static void free_export(struct kref *ref)
{
	struct kdm_export *e = container_of(ref, struct kdm_export, ref);

	mutex_lock(&e->obj->lock);
	list_del(&e->link);
	mutex_unlock(&e->obj->lock);
	dma_resv_fini(&e->resv);
	kdm_payer_put(&e->payer);
	if (e->dev)
		kdm_dev_put(e->dev);
	kdm_obj_put_later(e->obj);	/* importers let go in places that may not wait */
	kfree(e);
}

void kdm_export_put(struct kdm_export *e)
{
	kref_put(&e->ref, free_export);
}

static void export_release(struct dma_buf *dmabuf)
{
	kdm_export_put(dmabuf->priv);
}

/* ---- importers ------------------------------------------------------------ */

static int export_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct attachment *a = kzalloc(sizeof(*a), GFP_KERNEL);
	int err;

	if (!a)
		return -ENOMEM;
	a->hold = kdm_hold_make(dmabuf->priv);
	if (IS_ERR(a->hold)) {
		err = PTR_ERR(a->hold);
		kfree(a);
		return err;
	}
	attach->priv = a;
	return 0;
}

static void export_detach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct attachment *a = attach->priv;

	kdm_hold_put(a->hold);
	kfree(a);
}

static bool writes(enum dma_data_direction dir)
{
	return dir != DMA_TO_DEVICE;
}

static int fill_table(struct sg_table *table, struct kdm_hold *h, struct device *dev,
		      enum dma_data_direction dir)
{
	int err = sg_alloc_table_from_pages_segment(table, h->pages, h->count, 0, h->count << PAGE_SHIFT,
						    dma_get_max_seg_size(dev), GFP_KERNEL);

	if (err)
		return err;
	err = dma_map_sgtable(dev, table, dir, 0);
	if (err)
		sg_free_table(table);
	return err;
}

static struct sg_table *export_map(struct dma_buf_attachment *attach, enum dma_data_direction dir)
{
	struct kdm_export *e = attach->dmabuf->priv;
	struct attachment *a = attach->priv;
	struct sg_table *table;
	int err;

	if (writes(dir) && !e->range.held)
		return ERR_PTR(-EACCES);
	table = kzalloc(sizeof(*table), GFP_KERNEL);
	if (!table)
		return ERR_PTR(-ENOMEM);
	err = fill_table(table, a->hold, attach->dev, dir);
	if (err) {
		kfree(table);
		return ERR_PTR(err);
	}
	a->table = table;
	return table;
}

static void export_unmap(struct dma_buf_attachment *attach, struct sg_table *table,
			 enum dma_data_direction dir)
{
	struct attachment *a = attach->priv;

	a->table = NULL;
	dma_unmap_sgtable(attach->dev, table, dir, 0);
	sg_free_table(table);
	kfree(table);
}

/* ---- the CPU -------------------------------------------------------------- */

static int sync_mappings(struct dma_buf *dmabuf, enum dma_data_direction dir,
			 void (*sync)(struct device *dev, struct sg_table *table,
				      enum dma_data_direction dir))
{
	struct dma_buf_attachment *at;

	dma_resv_lock(dmabuf->resv, NULL);
	list_for_each_entry(at, &dmabuf->attachments, node) {
		struct attachment *a = at->priv;

		if (a->table)
			sync(at->dev, a->table, dir);
	}
	dma_resv_unlock(dmabuf->resv);
	return 0;
}

static int export_begin_cpu(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	return sync_mappings(dmabuf, dir, dma_sync_sgtable_for_cpu);
}

static int export_end_cpu(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	return sync_mappings(dmabuf, dir, dma_sync_sgtable_for_device);
}

/* An importer may bring a VMA of a file that writes. */
static int check_vma(const struct kdm_export *e, struct vm_area_struct *vma)
{
	if (e->range.held || !(vma->vm_flags & VM_SHARED))
		return 0;
	if (vma->vm_flags & VM_WRITE)
		return -EACCES;
	vm_flags_clear(vma, VM_MAYWRITE);
	return 0;
}

static int export_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct kdm_export *e = dmabuf->priv;
	int err = check_vma(e, vma);

	if (err)
		return err;
	vm_flags_set(vma, VM_DONTEXPAND);	/* the range ends where the VMA may */
	vma->vm_pgoff += e->range.first;
	return kdm_mmap_object(e->obj, dmabuf->file, vma);
}

struct making {
	struct work_struct work;
	struct completion over;
	struct kdm_export *export;
	struct kdm_hold *hold;
};

static void make_hold(struct work_struct *work)
{
	struct making *m = container_of(work, struct making, work);

	m->hold = kdm_hold_make(m->export);
	complete(&m->over);
}

static struct kdm_hold *make_hold_apart(struct kdm_export *e)
{
	struct making m = { .export = e };

	INIT_WORK_ONSTACK(&m.work, make_hold);
	init_completion(&m.over);
	queue_work(kdm_wq, &m.work);
	wait_for_completion(&m.over);
	destroy_work_on_stack(&m.work);
	return m.hold;
}

/* With a reference. */
static struct kdm_hold *hold_for_vmap(struct dma_buf *dmabuf)
{
	struct dma_buf_attachment *at =
		list_first_entry_or_null(&dmabuf->attachments, struct dma_buf_attachment, node);

	if (!at)
		return make_hold_apart(dmabuf->priv);
	return kdm_hold_get(((struct attachment *)at->priv)->hold);
}

static int export_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct kdm_export *e = dmabuf->priv;
	struct kdm_hold *h;
	void *vaddr;

	if (!e->range.held)
		return -EACCES;
	h = hold_for_vmap(dmabuf);
	if (IS_ERR(h))
		return PTR_ERR(h);
	vaddr = vmap(h->pages, h->count, VM_MAP, PAGE_KERNEL);
	if (!vaddr) {
		kdm_hold_put(h);
		return -ENOMEM;
	}
	e->mapped = h;
	iosys_map_set_vaddr(map, vaddr);
	return 0;
}

static void export_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct kdm_export *e = dmabuf->priv;

	vunmap(map->vaddr);
	kdm_hold_put(e->mapped);
	e->mapped = NULL;
}

static const struct dma_buf_ops export_ops = {
	.attach = export_attach,
	.detach = export_detach,
	.map_dma_buf = export_map,
	.unmap_dma_buf = export_unmap,
	.begin_cpu_access = export_begin_cpu,
	.end_cpu_access = export_end_cpu,
	.mmap = export_mmap,
	.vmap = export_vmap,
	.vunmap = export_vunmap,
	.release = export_release,
};

bool kdm_is_export(const struct dma_buf *dmabuf)
{
	return dmabuf->ops == &export_ops;
}

/* ---- fences of copies ----------------------------------------------------- */

/* The next export of the range after last (NULL: the first), with a reference; last's goes. */
static struct kdm_export *next_export(struct kdm_obj *obj, struct kdm_export *last, u64 first, u64 end)
{
	struct kdm_export *e, *found = NULL;

	mutex_lock(&obj->lock);
	e = list_prepare_entry(last, &obj->exports, link);
	list_for_each_entry_continue(e, &obj->exports, link) {
		if (e->range.first > end || e->range.last < first || !kref_get_unless_zero(&e->ref))
			continue;
		found = e;
		break;
	}
	mutex_unlock(&obj->lock);
	if (last)
		kdm_export_put(last);
	return found;
}

void kdm_export_fence(struct kdm_obj *obj, u64 first, u64 last, struct dma_fence *fence)
{
	struct kdm_export *e = NULL;

	if (list_empty_careful(&obj->exports))
		return;
	while ((e = next_export(obj, e, first, last))) {
		/* else importers need not know: who copies waits, and held pages don't move */
		if (!dma_resv_trylock(&e->resv))
			continue;
		if (!dma_resv_reserve_fences(&e->resv, 1))
			dma_resv_add_fence(&e->resv, fence, DMA_RESV_USAGE_KERNEL);
		dma_resv_unlock(&e->resv);
	}
}

/* ---- DMO_IOC_EXPORT ------------------------------------------------------- */

/* Host memory is tmpfs's: other filesystems have to know when a page is written, and can't. */
static int find_memory(struct kdm_obj *obj, const struct dmo_export *req, struct dmo_dev **dev)
{
	u32 number = req->device;
	struct dmo_attr attr;

	if (number == DMO_DEVICE_ANY) {
		mutex_lock(&obj->lock);
		dmo_attrs_get(&obj->core.attrs, req->offset >> DMO_PAGE_SHIFT, &attr, NULL);
		mutex_unlock(&obj->lock);
		number = attr.flags & DMO_ATTR_PREFERRED ? attr.preferred : DMO_DEVICE_HOST;
	}
	*dev = NULL;
	if (number == DMO_DEVICE_HOST)
		return shmem_mapping(obj->backing_inode->i_mapping) ? 0 : -EOPNOTSUPP;
	*dev = kdm_dev_get(number);
	if (!*dev)
		return -ENODEV;
	if (kdm_coherent(&(*dev)->core))
		return 0;
	kdm_dev_put(*dev);
	return -EOPNOTSUPP;
}

static struct kdm_export *new_export(struct kdm_file *f, const struct dmo_export *req, struct dmo_dev *dev)
{
	struct kdm_export *e = kzalloc(sizeof(*e), GFP_KERNEL);
	int err = e ? kdm_payer_find(&e->payer, req->flags, req->charge) : -ENOMEM;

	if (err) {
		kfree(e);
		return ERR_PTR(err);
	}
	kref_init(&e->ref);
	e->obj = f->obj;
	kdm_obj_get(e->obj);
	e->dev = dev;
	e->range = kdm_range_of(req->offset, req->length);
	e->range.held = f->writes;
	dma_resv_init(&e->resv);
	mutex_lock(&e->obj->lock);
	list_add(&e->link, &e->obj->exports);
	mutex_unlock(&e->obj->lock);
	return e;
}

static struct dma_buf *make_dmabuf(struct kdm_export *e, u64 size)
{
	struct dma_buf_export_info info = {
		.exp_name = KBUILD_MODNAME, .owner = THIS_MODULE, .ops = &export_ops, .size = size,
		.flags = e->range.held ? O_RDWR : O_RDONLY, .resv = &e->resv, .priv = e,
	};

	return dma_buf_export(&info);
}

static struct dma_buf *export_range(struct kdm_file *f, const struct dmo_export *req)
{
	struct dma_buf *dmabuf;
	struct kdm_export *e;
	struct dmo_dev *dev;
	struct kdm_range r = kdm_range_of(req->offset, req->length);
	int err = find_memory(f->obj, req, &dev);

	if (err)
		return ERR_PTR(err);
	err = kdm_pin_check(f->obj, dev, &r);
	e = err ? ERR_PTR(err) : new_export(f, req, dev);
	if (IS_ERR(e)) {
		if (dev)
			kdm_dev_put(dev);
		return ERR_CAST(e);
	}
	dmabuf = make_dmabuf(e, req->length);
	if (IS_ERR(dmabuf))
		kdm_export_put(e);
	return dmabuf;
}

int kdm_export(struct kdm_file *f, struct dmo_export *req, struct file **file)
{
	struct dma_buf *dmabuf;
	int fd;

	if (!f->reads)
		return -EACCES;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	dmabuf = export_range(f, req);
	if (IS_ERR(dmabuf)) {
		put_unused_fd(fd);
		return PTR_ERR(dmabuf);
	}
	req->fd = fd;
	req->ticket = 0;
	*file = dmabuf->file;
	return 0;
}
