/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.c - devices of the engine: "TYPE:NAME,options" and what becomes of it
 *
 * Options that concern who may use a device and how much of it are the engine's (user, group, mode, memory.max,
 * memory.high, memory.low, inject); the rest goes to the backend of that type.
 */
#include "engine/internal.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct dmo_backend_ops *const backends[] = { &dmo_sim_ops };

static const struct dmo_backend_ops *find_backend(const char *type, size_t length)
{
	for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
		if (strlen(backends[i]->type) == length && !strncmp(backends[i]->type, type, length))
			return backends[i];
	return NULL;
}

static bool good_name(const char *name)
{
	size_t n = strlen(name);

	if (!n || n >= DMO_NAME_MAX || name[0] == '.')
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("_-.", *name))
			return false;
	return true;
}

static struct eng_device *find_name(struct engine *eng, const char *name)
{
	for (unsigned i = 0; i < eng->nr_devices; i++)
		if (!strcmp(eng->devices[i]->name, name))
			return eng->devices[i];
	return NULL;
}

/* ---- the engine's own options ------------------------------------------------------------------------------ */

struct limits {
	const char *max, *high, *low;
};

static int take_user(struct eng_device *dev, const char *v)
{
	const struct passwd *pw = getpwnam(v);
	char *end;

	if (pw) {
		dev->uid = pw->pw_uid;
		return 0;
	}
	dev->uid = strtoul(v, &end, 10);
	return *v && !*end ? 0 : -EINVAL;
}

static int take_group(struct eng_device *dev, const char *v)
{
	const struct group *gr = getgrnam(v);
	char *end;

	if (gr) {
		dev->gid = gr->gr_gid;
		return 0;
	}
	dev->gid = strtoul(v, &end, 10);
	return *v && !*end ? 0 : -EINVAL;
}

static int take_mode(struct eng_device *dev, const char *v)
{
	char *end;
	unsigned long mode = strtoul(v, &end, 8);

	if (!*v || *end || mode > 0777)
		return -EINVAL;
	dev->mode = mode;
	return 0;
}

static int take_inject(struct eng_device *dev, const char *v)
{
	dev->inject = !strcmp(v, "yes");
	return dev->inject || !strcmp(v, "no") ? 0 : -EINVAL;
}

/* 1: the option is the engine's and taken; 0: it is not the engine's; -EINVAL. */
static int take_option(struct eng_device *dev, struct limits *limits, const char *key, const char *v)
{
	static const struct {
		const char *key;
		int (*take)(struct eng_device *dev, const char *v);
	} table[] = {
		{ "user", take_user }, { "group", take_group }, { "mode", take_mode }, { "inject", take_inject },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!strcmp(key, table[i].key))
			return table[i].take(dev, v) ? -EINVAL : 1;
	if (!strcmp(key, "memory.max"))
		return limits->max = v, 1;
	if (!strcmp(key, "memory.high"))
		return limits->high = v, 1;
	if (!strcmp(key, "memory.low"))
		return limits->low = v, 1;
	return 0;
}

/* Splits options (changed in place): the engine's are taken, the others collected into rest, joined by commas. */
static int take_options(struct eng_device *dev, struct limits *limits, char *options, char *rest, char *why, size_t size)
{
	char *save = NULL;

	rest[0] = 0;
	for (char *o = strtok_r(options, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
		char *eq = strchr(o, '=');
		int took = 0;

		if (eq) {
			*eq = 0;
			took = take_option(dev, limits, o, eq + 1);
			*eq = '=';
		}
		if (took < 0) {
			snprintf(why, size, "device %s: can't read \"%s\": user= and group= take a name or number, "
				 "mode= an octal number up to 777, inject= yes or no", dev->name, o);
			return -EINVAL;
		}
		if (!took)
			strcat(strcat(rest, rest[0] ? "," : ""), o);
	}
	return 0;
}

/* ---- making one ------------------------------------------------------------------------------------------------ */

static int parse_head(struct engine *eng, const char *spec, struct eng_device *dev, char *why, size_t size)
{
	const char *colon = strchr(spec, ':');
	size_t n;

	dev->ops = colon ? find_backend(spec, colon - spec) : NULL;
	if (!dev->ops) {
		snprintf(why, size, "device \"%s\": want TYPE:NAME,option=value,... with TYPE one of: %s", spec,
			 backends[0]->type);
		return -EINVAL;
	}
	n = strcspn(colon + 1, ",");
	snprintf(dev->name, sizeof(dev->name), "%.*s", (int)(n < DMO_NAME_MAX ? n : DMO_NAME_MAX), colon + 1);
	if (n >= DMO_NAME_MAX || !good_name(dev->name)) {
		snprintf(why, size, "device \"%s\": a name is 1 to %d letters, digits, '_', '-' or '.', not first '.'",
			 spec, DMO_NAME_MAX - 1);
		return -EINVAL;
	}
	if (find_name(eng, dev->name)) {
		snprintf(why, size, "device \"%s\": there is a device of that name already; choose another", dev->name);
		return -EEXIST;
	}
	return 0;
}

static int set_limit(struct eng_device *dev, const char *file, const char *text, char *why, size_t size)
{
	int err = text ? eng_device_set_limit(dev, file, text) : 0;

	if (err)
		snprintf(why, size, "device %s: %s=%s is not a size (like 16M) nor \"max\"", dev->name, file, text);
	return err;
}

static int make_backend(struct engine *eng, struct eng_device *dev, const char *spec, char *why, size_t size)
{
	const char *comma = strchr(spec, ',');
	char *options = strdup(comma ? comma + 1 : ""), *rest = malloc(strlen(spec) + 1);
	struct limits limits = { NULL, NULL, NULL };
	int err = options && rest ? take_options(dev, &limits, options, rest, why, size) : -ENOMEM;

	if (!err)
		err = dev->ops->create(&eng_host, dev, dev->name, rest, &dev->info, &dev->dev, why, size);
	if (!err) {
		err = dmo_device_init(&dev->core, &eng_mem, eng->nr_devices, dev->info.frames);
		dev->core.faults = dev->info.flags & DMO_DEVICE_FAULTS;
		dev->core.dirty_bits = dev->info.flags & DMO_DEVICE_DIRTY;
		if (!err) {
			dmo_policy_watermarks(&dev->core);
			err = set_limit(dev, "memory.max", limits.max, why, size);
			if (!err)
				err = set_limit(dev, "memory.high", limits.high, why, size);
			if (!err)
				err = set_limit(dev, "memory.low", limits.low, why, size);
			if (err)
				dmo_device_fini(&dev->core);
		}
		if (err)
			dev->ops->destroy(dev->dev);
	}
	free(options);
	free(rest);
	return err;
}

static void lost_work(struct eng_work *w)
{
	eng_device_lost(dmo_container_of(w, struct eng_device, lost_work));
}

int eng_device_add(struct engine *eng, const char *spec, char *why, size_t size)
{
	struct eng_device *dev;
	int err;

	why[0] = 0;
	if (eng->nr_devices == ENG_DEVICES_MAX) {
		snprintf(why, size, "%u devices are the most that one service has", ENG_DEVICES_MAX);
		return -ENOSPC;
	}
	dev = calloc(1, sizeof(*dev));
	if (!dev)
		return -ENOMEM;
	dev->eng = eng;
	dev->mode = 0600;
	dev->uid = geteuid();
	dev->gid = getegid();
	dev->lost_work.run = lost_work;
	pthread_mutex_init(&dev->lock, NULL);
	pthread_cond_init(&dev->cond, NULL);
	err = parse_head(eng, spec, dev, why, size);
	if (!err)
		err = make_backend(eng, dev, spec, why, size);
	if (err) {
		pthread_cond_destroy(&dev->cond);
		pthread_mutex_destroy(&dev->lock);
		free(dev);
		return err;
	}
	eng->devices[eng->nr_devices++] = dev;
	return 0;
}

void eng_device_free(struct eng_device *dev)
{
	dev->ops->destroy(dev->dev);
	dmo_device_fini(&dev->core);
	pthread_cond_destroy(&dev->cond);
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

/* ---- finding them -------------------------------------------------------------------------------------------------- */

unsigned eng_device_count(struct engine *eng)
{
	return eng->nr_devices;
}

struct eng_device *eng_device(struct engine *eng, unsigned number)
{
	return number < eng->nr_devices ? eng->devices[number] : NULL;
}

const char *eng_device_name(const struct eng_device *dev)
{
	return dev->name;
}

void eng_device_owner(const struct eng_device *dev, uid_t *uid, gid_t *gid, mode_t *mode)
{
	*uid = dev->uid;
	*gid = dev->gid;
	*mode = dev->mode;
}

void eng_device_describe(struct eng_device *dev, struct dmo_device_info *info)
{
	memset(info, 0, sizeof(*info));
	info->device = dev->core.number;
	info->memory_type = dev->info.memory_type;
	info->flags = dev->info.flags | (atomic_load(&dev->lost) ? DMO_DEVICE_LOST : 0);
	info->threads = dev->info.threads;
	info->memory = dev->info.frames << DMO_PAGE_SHIFT;
	pthread_mutex_lock(&dev->lock);
	info->used = dev->core.used << DMO_PAGE_SHIFT;
	info->limit = dev->core.limit << DMO_PAGE_SHIFT;
	pthread_mutex_unlock(&dev->lock);
	info->link = dev->info.link;
	info->va_start = dev->info.va_start;
	info->va_end = dev->info.va_end;
	memcpy(info->name, dev->name, DMO_NAME_MAX);
}
