/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stage.c - the staging device: host memory for mapped pages that the store refuses
 *
 * When the kernel writes back a page of a mapping and is refused (ENOSPC), it drops the page: the bytes would be lost. So
 * such a write is taken into a copy on this device, which is like any other copy that is newer than the backing file:
 * reads come from it, devices copy from it, fsync tries to write it and tells why it can't. Its memory is reserved
 * address space, touched only where staged.
 *
 * It computes nothing and has no address spaces, takes no part in eviction, and is not listed.
 */
#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *stage_window(void *dev, uint32_t frame, uint32_t pages)
{
	return (char *)dev + ((u64)frame << DMO_PAGE_SHIFT);
}

static void *stage_address(void *dev, uint32_t frame)
{
	return stage_window(dev, frame, 1);
}

static void stage_destroy(void *dev)
{
}

static const struct dmo_backend_ops stage_ops = {
	.type = "stage",
	.destroy = stage_destroy,
	.window = stage_window,
	.cpu_address = stage_address,
};

/* Half of the machine's memory: more can't be held anyway. */
static u64 stage_frames(void)
{
	u64 pages = sysconf(_SC_PHYS_PAGES) / 2 * (sysconf(_SC_PAGESIZE) / DMO_PAGE_SIZE);

	return pages < 1u << 24 ? pages : 1u << 24;
}

int eng_stage_create(struct engine *eng)
{
	struct eng_device *dev = calloc(1, sizeof(*dev));
	u64 frames = stage_frames();
	int err;

	if (!dev)
		return -ENOMEM;
	dev->eng = eng;
	dev->ops = &stage_ops;
	strcpy(dev->name, "stage");
	pthread_mutex_init(&dev->lock, NULL);
	pthread_cond_init(&dev->cond, NULL);
	dev->dev = mmap(NULL, frames << DMO_PAGE_SHIFT, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (dev->dev == MAP_FAILED) {
		free(dev);
		return -ENOMEM;
	}
	err = dmo_device_init(&dev->core, &eng_mem, ENG_DEVICES_MAX, frames);
	if (err) {
		munmap(dev->dev, frames << DMO_PAGE_SHIFT);
		free(dev);
		return err;
	}
	dev->info.frames = frames;
	eng->stage = dev;
	return 0;
}

void eng_stage_destroy(struct engine *eng)
{
	struct eng_device *dev = eng->stage;

	munmap(dev->dev, dev->info.frames << DMO_PAGE_SHIFT);
	dmo_device_fini(&dev->core);
	pthread_cond_destroy(&dev->cond);
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

/* A copy with chunks for the pages; obj->lock held. */
static int stage_reserve(struct eng_object *obj, struct dmo_block *b, unsigned first, unsigned count,
			 struct dmo_copy **out)
{
	struct eng_device *dev = obj->eng->stage;
	struct dmo_copy *c = dmo_block_add_copy(b, &dev->core);
	int err;

	if (!c)
		return -ENOMEM;
	pthread_mutex_lock(&dev->lock);
	err = dmo_copy_reserve(c, obj->core.mem, first, count);
	if (dmo_list_empty(&c->lru))
		dmo_list_append(&dev->core.lru, &c->lru);
	pthread_mutex_unlock(&dev->lock);
	*out = c;
	return err ? -ENOMEM : 0;
}

/*
 * One block's pages: whole ones, as the kernel writes them back (the last one of a file is zero-filled). The block has I/O
 * under way, the caller's, so it does not move.
 */
static int stage_part(struct eng_object *obj, const char *buf, u64 offset, u64 bytes)
{
	u64 within = offset & (DMO_BLOCK_SIZE - 1);
	unsigned first = within >> DMO_PAGE_SHIFT;
	unsigned count = ((within + bytes + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT) - first;
	struct dmo_block *b;
	struct dmo_copy *c;
	int err;

	pthread_mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, eng_block_of(offset));
	err = dmo_block_open(b);
	if (!err)
		err = stage_reserve(obj, b, first, count, &c);
	if (!err) {
		for (struct dmo_copy *o = b->copies; o; o = o->next)
			if (o != c) {
				dmo_bits_clear(dmo_rows_row(&o->rows, DMO_VALID), first, count);
				dmo_bits_clear(dmo_rows_row(&o->rows, DMO_DIRTY), first, count);
			}
		dmo_bits_set(dmo_rows_row(&c->rows, DMO_VALID), first, count);
		dmo_bits_set(dmo_rows_row(&c->rows, DMO_DIRTY), first, count);
	}
	pthread_mutex_unlock(&obj->lock);
	return err ? err : eng_copy_bytes(c, DMO_COPY_IN, within, bytes, (void *)buf);
}

int eng_stage_write(struct eng_object *obj, const void *buf, u64 offset, u64 length)
{
	const char *at = buf;
	int err = 0;

	while (length && !err) {
		u64 n = DMO_BLOCK_SIZE - (offset & (DMO_BLOCK_SIZE - 1));

		if (n > length)
			n = length;
		err = stage_part(obj, at, offset, n);
		at += n;
		offset += n;
		length -= n;
	}
	return err;
}
