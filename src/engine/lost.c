/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lost.c - a device is gone (invariant 9)
 *
 * Each of its copies ends: translations go, pages that were dirty on it become LOST and read as EIO until they are
 * wholly overwritten, punched or truncated away; everything else is in the backing file or on another device. Moves under
 * way on it fail by themselves and leave their blocks to this.
 */
#include "engine/internal.h"

#include <errno.h>
#include <syslog.h>

static void bury(struct eng_object *obj, struct dmo_block *b, struct eng_device *dev)
{
	struct dmo_copy *c = dmo_block_copy(b, &dev->core);
	u64 pages[DMO_BITS_WORDS];

	if (!c)
		return;
	dmo_bits_copy(pages, dmo_block_bits(b, DMO_MAPPED));
	eng_release_pages(b, pages);
	if (dmo_bits_any(dmo_copy_bits(c, DMO_DIRTY)))
		eng_writeback_error(obj, -EIO);
	dmo_copy_lost(c);
	c->pins = 0;
	pthread_mutex_lock(&dev->lock);
	dmo_copy_free(c);
	pthread_cond_broadcast(&dev->cond);
	pthread_mutex_unlock(&dev->lock);
}

static int bury_object(struct eng_object *obj, void *arg)
{
	struct eng_device *dev = arg;
	struct dmo_block *b;

	pthread_mutex_lock(&obj->lock);
	for (u64 i = 0; (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		if (!dmo_block_copy(b, &dev->core) || eng_claim(obj, i, NULL, &b))
			continue;
		while (obj->barrier || !dmo_block_move(b))
			pthread_cond_wait(&obj->cond, &obj->lock);
		bury(obj, b, dev);
		eng_unclaim(b);
	}
	pthread_mutex_unlock(&obj->lock);
	eng_unpark(obj);
	return 0;
}

void eng_device_lost(struct eng_device *dev)
{
	eng_log(dev->eng, LOG_ERR, "device %s is lost; pages that were dirty on it read as EIO", dev->name);
	eng_for_each_object(dev->eng, bury_object, dev);
}
