/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * advice.c - advice on ranges: stored with the object, kept over remounts in an extended attribute, or carried out
 *
 * WILLNEED, DONTNEED and DISCARD are acts. Everything else is an attribute (core/attr.h) and, where the store takes
 * extended attributes, written to DMO_ADVICE_XATTR of the backing file in the form of core/advice_codec.h. What is read there was
 * written by anybody: whatever does not decode is ignored, with one line in the log.
 */
#include "engine/internal.h"

#include "core/advice_codec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <syslog.h>
#include <unistd.h>

static const char *name_of(void *ctx, u32 device)
{
	struct eng_device *dev = eng_device(ctx, device);

	return dev ? dev->name : NULL;
}

static int number_of(void *ctx, const char *name)
{
	struct engine *eng = ctx;

	for (unsigned i = 0; i < eng->nr_devices; i++)
		if (!strcmp(eng->devices[i]->name, name))
			return i;
	return -1;
}

static struct dmo_device_names names(struct engine *eng)
{
	return (struct dmo_device_names){ .name = name_of, .number = number_of, .ctx = eng };
}

void eng_advice_load(struct eng_object *obj)
{
	struct dmo_device_names n = names(obj->eng);
	char buf[DMO_ADVICE_BYTES_MAX];
	ssize_t got = -1;
	int err = 0;

	pthread_mutex_lock(&obj->lock);
	if (obj->advice_loaded) {
		pthread_mutex_unlock(&obj->lock);
		return;
	}
	obj->advice_loaded = true;
	pthread_mutex_unlock(&obj->lock);
	if (obj->eng->config.store_advice)
		got = fgetxattr(obj->fd, DMO_ADVICE_XATTR, buf, sizeof(buf));
	if (got < 0)
		return;
	pthread_mutex_lock(&obj->lock);
	if (!dmo_attrs_count(&obj->core.attrs))
		err = dmo_advice_decode(&obj->core.attrs, &eng_mem, &n, buf, got);
	pthread_mutex_unlock(&obj->lock);
	if (err)
		eng_log(obj->eng, LOG_WARNING, "stored advice of a file does not decode; ignored");
}

/* Writes the attributes to the backing file; one writer at a time, and the last one writes the latest. */
static int save(struct eng_object *obj)
{
	struct dmo_device_names n = names(obj->eng);
	char buf[DMO_ADVICE_BYTES_MAX];
	s64 length;
	int err = 0;

	if (!obj->eng->config.store_advice || !obj->fd_writes)
		return 0;
	pthread_mutex_lock(&obj->eng->advice_lock);
	pthread_mutex_lock(&obj->lock);
	length = dmo_attrs_count(&obj->core.attrs) ? dmo_advice_encode(&obj->core.attrs, &n, buf, sizeof(buf)) : 0;
	pthread_mutex_unlock(&obj->lock);
	if (length == 0)
		err = fremovexattr(obj->fd, DMO_ADVICE_XATTR) && errno != ENODATA ? -errno : 0;
	else if (length > 0)
		err = fsetxattr(obj->fd, DMO_ADVICE_XATTR, buf, length, 0) ? -errno : 0;
	else
		err = length == -E2BIG ? -ENOSPC : (int)length;
	pthread_mutex_unlock(&obj->eng->advice_lock);
	return err == -EOPNOTSUPP ? 0 : err;	/* a store without attributes: kept as long as the service runs */
}

static int store(struct eng_object *obj, const struct dmo_advise *adv)
{
	u64 first = adv->offset >> DMO_PAGE_SHIFT;
	u64 last = adv->length ? first + (adv->length >> DMO_PAGE_SHIFT) - 1 : DMO_PAGE_OPEN;
	struct dmo_device_names n = names(obj->eng);
	char before[DMO_ADVICE_BYTES_MAX];
	s64 length;
	int err;

	pthread_mutex_lock(&obj->lock);
	length = dmo_advice_encode(&obj->core.attrs, &n, before, sizeof(before));
	err = dmo_attrs_advise(&obj->core.attrs, &eng_mem, first, last, adv);
	pthread_mutex_unlock(&obj->lock);
	if (err)
		return err == -E2BIG ? -ENOSPC : err;
	err = save(obj);
	if (err && length >= 0) {		/* all or nothing */
		pthread_mutex_lock(&obj->lock);
		dmo_advice_restore(&obj->core.attrs, &eng_mem, &n, before, length);
		pthread_mutex_unlock(&obj->lock);
	}
	return err;
}

/* ---- acts ---------------------------------------------------------------------------------------------------- */

static int discard(struct eng_file *f, const struct dmo_advise *adv)
{
	struct eng_object *obj = f->obj;
	u64 length = adv->length;

	if (!f->writes)
		return -EACCES;
	if (!length) {
		pthread_mutex_lock(&obj->lock);
		length = obj->core.size > adv->offset ? obj->core.size - adv->offset : 0;
		pthread_mutex_unlock(&obj->lock);
	}
	return length ? eng_punch(f, adv->offset, length) : 0;
}

static int move(struct eng_file *f, const struct dmo_advise *adv, u32 device, const struct eng_cred *cred,
		const atomic_bool *cancel)
{
	struct dmo_migrate m = { .offset = adv->offset, .length = adv->length, .device = device };

	return eng_migrate(f, &m, cred, cancel);
}

int eng_advise(struct eng_file *f, const struct dmo_advise *adv, const struct eng_cred *cred, const atomic_bool *cancel)
{
	int err = eng_object_track(f->obj);

	if (err)
		return err;
	if (adv->advice == DMO_ADV_WILLNEED)
		return move(f, adv, adv->device, cred, cancel);
	if (adv->advice == DMO_ADV_DONTNEED)
		return move(f, adv, DMO_DEVICE_HOST, cred, cancel);
	if (adv->advice == DMO_ADV_DISCARD)
		return discard(f, adv);
	if (!f->writes && !cred->owner)
		return -EACCES;
	return store(f->obj, adv);
}
