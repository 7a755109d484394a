/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * device.c - a mount's devices as their control files show them
 *
 * A struct dmo_dev owns one O_PATH descriptor of devices/NAME in the control directory; every access opens the file it
 * wants below it, so that the file's own modes decide. The file info has lines "name value", of which these are read:
 * number, memory, threads, link, va_start, va_end (numbers), memory_type (private, coherent), faults and dirty_bits
 * (yes, no), state (online, lost).
 */
#include "lib.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dmo_dev {
	int dir;
	uint32_t number;
	char name[DMO_NAME_MAX];
};

/* Control files are small. */
#define TEXT_MAX 16384

/* Calls set(arg, name, value) for each "name value" line, the newline taken off. */
static void each_line(char *text, void (*set)(void *arg, const char *name, const char *value), void *arg)
{
	char *save, *line = strtok_r(text, "\n", &save);

	for (; line; line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' ');

		if (!space)
			continue;
		*space = '\0';
		set(arg, line, space + 1);
	}
}

static void set_info(void *arg, const char *name, const char *value)
{
	static const struct {
		const char *name;
		size_t offset;
		bool wide;
	} numbers[] = {
		{ "number", offsetof(struct dmo_device_info, device), false },
		{ "threads", offsetof(struct dmo_device_info, threads), false },
		{ "memory", offsetof(struct dmo_device_info, memory), true },
		{ "link", offsetof(struct dmo_device_info, link), true },
		{ "va_start", offsetof(struct dmo_device_info, va_start), true },
		{ "va_end", offsetof(struct dmo_device_info, va_end), true },
	};
	struct dmo_device_info *info = arg;
	uint64_t n = strtoull(value, NULL, 0);

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		char *field = (char *)info + numbers[i].offset;

		if (strcmp(name, numbers[i].name) != 0)
			continue;
		if (numbers[i].wide)
			memcpy(field, &n, sizeof(n));
		else
			memcpy(field, &(uint32_t){ (uint32_t)n }, sizeof(uint32_t));
	}
	if (strcmp(name, "memory_type") == 0)
		info->memory_type = strcmp(value, "coherent") == 0 ? DMO_MEM_COHERENT : DMO_MEM_PRIVATE;
	if (strcmp(name, "faults") == 0 && strcmp(value, "yes") == 0)
		info->flags |= DMO_DEVICE_FAULTS;
	if (strcmp(name, "dirty_bits") == 0 && strcmp(value, "yes") == 0)
		info->flags |= DMO_DEVICE_DIRTY;
	if (strcmp(name, "state") == 0 && strcmp(value, "lost") == 0)
		info->flags |= DMO_DEVICE_LOST;
}

/* -EBADMSG: info says no number, so is none. */
static int read_info(int dir, struct dmo_device_info *info)
{
	char text[TEXT_MAX];
	int r = sys_read_text(dir, "info", text, sizeof(text));

	if (r < 0)
		return r;
	*info = (struct dmo_device_info){ .device = DMO_DEVICE_ANY };
	each_line(text, set_info, info);
	return info->device == DMO_DEVICE_ANY ? -EBADMSG : 0;
}

static int read_number(int dir, uint32_t *number)
{
	struct dmo_device_info info;
	int r = read_info(dir, &info);

	if (r == 0)
		*number = info.device;
	return r;
}

static int open_in(const char *control, const char *name, struct dmo_dev **dev)
{
	char path[PATH_MAX + sizeof("/devices/") + DMO_NAME_MAX];
	struct dmo_dev *d;
	int r;

	if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') || strlen(name) >= DMO_NAME_MAX)
		return -ENODEV;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	strcpy(d->name, name);
	snprintf(path, sizeof(path), "%s/devices/%s", control, name);
	r = d->dir = sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY);
	if (r < 0)
		goto no_dir;
	r = read_number(d->dir, &d->number);
	if (r < 0)
		goto no_number;
	*dev = d;
	return 0;

no_number:
	close(d->dir);
no_dir:
	free(d);
	return r == -ENOENT || r == -ENOTDIR ? -ENODEV : r;
}

PUBLIC int dmo_dev_open(const char *file, const char *name, struct dmo_dev **dev)
{
	KEEP_ERRNO;
	char control[PATH_MAX];
	int r = dmo_mount_of_path(file, control, sizeof(control));

	return r < 0 ? r : open_in(control, name, dev);
}

PUBLIC int dmo_dev_open_at(int fd, const char *name, struct dmo_dev **dev)
{
	KEEP_ERRNO;
	char control[PATH_MAX];
	int r = dmo_mount_of(fd, control, sizeof(control));

	return r < 0 ? r : open_in(control, name, dev);
}

PUBLIC void dmo_dev_close(struct dmo_dev *dev)
{
	KEEP_ERRNO;

	if (!dev)
		return;
	close(dev->dir);
	free(dev);
}

PUBLIC const char *dmo_dev_name(const struct dmo_dev *dev)
{
	return dev->name;
}

PUBLIC uint32_t dmo_dev_number(const struct dmo_dev *dev)
{
	return dev->number;
}

PUBLIC int dmo_as_create(struct dmo_dev *dev, struct dmo_as **as)
{
	KEEP_ERRNO;
	int fd = sys_openat(dev->dir, "context", O_RDWR);
	int r;

	if (fd < 0)
		return fd;
	r = dmo_as_import(fd, as);
	if (r < 0)
		close(fd);
	return r;
}

/* ---- limits and counters ---- */

static const char *const limit_files[] = {
	[DMO_LIMIT_MAX] = "memory.max",
	[DMO_LIMIT_HIGH] = "memory.high",
	[DMO_LIMIT_LOW] = "memory.low",
	[DMO_LIMIT_CURRENT] = "memory.current",
	[DMO_LIMIT_PEAK] = "memory.peak",
};
#define LIMITS (sizeof(limit_files) / sizeof(limit_files[0]))

PUBLIC int dmo_dev_limit_get(struct dmo_dev *dev, enum dmo_limit limit, uint64_t *bytes)
{
	KEEP_ERRNO;
	char text[64], *end;
	int r;

	if ((unsigned)limit >= LIMITS)
		return -EINVAL;
	r = sys_read_text(dev->dir, limit_files[limit], text, sizeof(text));
	if (r < 0)
		return r;
	if (strcmp(text, "max\n") == 0) {
		*bytes = UINT64_MAX;
		return 0;
	}
	*bytes = strtoull(text, &end, 10);
	return end == text ? -EBADMSG : 0;
}

PUBLIC int dmo_dev_limit_set(struct dmo_dev *dev, enum dmo_limit limit, uint64_t bytes)
{
	KEEP_ERRNO;
	char text[32] = "max\n";

	if ((unsigned)limit >= LIMITS)
		return -EINVAL;
	if (bytes != UINT64_MAX)
		snprintf(text, sizeof(text), "%" PRIu64 "\n", bytes);
	return sys_write_text(dev->dir, limit_files[limit], text);
}

static int read_stat(struct dmo_dev *dev, const char *file, struct dmo_stat *stat)
{
	char text[TEXT_MAX];
	int r = sys_read_text(dev->dir, file, text, sizeof(text));

	return r < 0 ? r : dmo_stat_parse(text, stat);
}

PUBLIC int dmo_stat(struct dmo_dev *dev, struct dmo_stat *stat)
{
	KEEP_ERRNO;

	return read_stat(dev, "memory.stat", stat);
}

PUBLIC int dmo_events(struct dmo_dev *dev, struct dmo_stat *stat)
{
	KEEP_ERRNO;

	return read_stat(dev, "memory.events", stat);
}

PUBLIC int dmo_dev_info(struct dmo_dev *dev, struct dmo_device_info *info)
{
	KEEP_ERRNO;
	struct dmo_device_info got;
	uint64_t used, limit;
	int r = read_info(dev->dir, &got);

	if (r == 0)
		r = dmo_dev_limit_get(dev, DMO_LIMIT_CURRENT, &used);
	if (r == 0)
		r = dmo_dev_limit_get(dev, DMO_LIMIT_MAX, &limit);
	if (r < 0)
		return r;
	got.used = used;
	got.limit = limit < got.memory ? limit : got.memory;
	strcpy(got.name, dev->name);
	*info = got;
	return 0;
}

/* ---- all of a mount's devices ---- */

/* Puts one device where its number says. */
static int place(int devices, const char *name, char (*names)[DMO_NAME_MAX], unsigned room)
{
	uint32_t number;
	int dir = sys_openat(devices, name, O_PATH | O_DIRECTORY);
	int r;

	if (dir < 0)
		return dir;
	r = read_number(dir, &number);
	close(dir);
	if (r == 0 && number < room && strlen(name) < DMO_NAME_MAX)
		strcpy(names[number], name);
	return r;
}

static int list(DIR *dir, char (*names)[DMO_NAME_MAX], unsigned room)
{
	struct dirent *entry;
	int count = 0, r;

	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		r = place(dirfd(dir), entry->d_name, names, room);
		if (r < 0)
			return r;
		count++;
	}
	return count;
}

PUBLIC int dmo_mount_devices(const char *file, char (*names)[DMO_NAME_MAX], unsigned room)
{
	KEEP_ERRNO;
	char path[PATH_MAX + sizeof("/devices")];
	DIR *dir;
	int r = dmo_mount_of_path(file, path, PATH_MAX);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < room; i++)
		names[i][0] = '\0';
	strcat(path, "/devices");
	dir = opendir(path);
	if (!dir)
		return -errno;
	r = list(dir, names, room);
	closedir(dir);
	return r;
}
