/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * target.c - mounts, devices and files that commands work on
 */
#include "ctl.h"

#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The dmofs mounts there are: how many, and a copy of the first one's mount point (NULL: none, or no memory). */
static unsigned find_mounts(char **point)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *entry;
	unsigned n = 0;

	*point = NULL;
	if (!mounts)
		return 0;
	while ((entry = getmntent(mounts))) {
		if (strcmp(entry->mnt_type, "fuse.dmofs") == 0 && n++ == 0)
			*point = strdup(entry->mnt_dir);
	}
	endmntent(mounts);
	return n;
}

int target_mount(const char *given, char **path)
{
	char control[PATH_MAX];
	unsigned mounts;
	int r = dmo_mount_of_path(given ? given : ".", control, sizeof(control));

	if (r == 0) {
		*path = strdup(given ? given : ".");
		return *path ? CTL_OK : fail(given ? given : ".", -ENOMEM);
	}
	if (given)
		return fail(given, r);
	mounts = find_mounts(path);
	if (mounts == 1 && *path)
		return CTL_OK;
	free(*path);
	if (mounts == 0)
		return complain("there is no dmofs mount (\"dmofs STORE MOUNT --device sim:npu0,memory=32M\" makes one)");
	return complain("there are %u dmofs mounts: say which with --mount PATH, or go into it", mounts);
}

int target_open(const char *file, int flags)
{
	int fd = open(file, flags | O_CLOEXEC);
	struct stat st;

	if (fd < 0) {
		fail(file, -errno);
		return fd;
	}
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		close(fd);
		fail(file, -EISDIR);
		return -1;
	}
	return fd;
}

int target_device(const char *file, int fd, const char *name, uint32_t *device)
{
	struct dmo_device_info info;
	int r;

	*device = 0;
	r = name ? dmo_device_find(fd, name, device) : dmo_device_info(fd, 0, &info);
	if (r == 0)
		return CTL_OK;
	return name && r == -ENODEV ? fail_device(file, name, r) : fail(file, r);
}

int target_dev_open(const char *path, const char *name, struct dmo_dev **dev)
{
	char first[1][DMO_NAME_MAX] = { "" };
	int r;

	if (!name) {
		r = dmo_mount_devices(path, first, 1);
		if (r < 0)
			return fail(path, r);
		name = first[0];
	}
	r = dmo_dev_open(path, name, dev);
	if (r == 0)
		return CTL_OK;
	return r == -ENODEV ? fail_device(path, name, r) : fail(path, r);
}

int target_pages(const char *file, uint64_t size, const struct options *options, uint64_t *offset, uint64_t *length)
{
	uint64_t first = options->offset, end = options->length ? first + options->length : size;
	uint64_t page = DMO_PAGE_SIZE - 1;

	if (end < first || end > size)
		return complain("%s: the range passes the end, at %llu bytes (truncate -s makes the file larger)",
				file, (unsigned long long)size);
	*offset = first & ~page;
	*length = ((end + page) & ~page) - *offset;
	return CTL_OK;
}

int names_load(int fd, struct names *names)
{
	struct dmo_device_info *infos;
	int n = dmo_devices(fd, NULL, 0);

	*names = (struct names){ 0 };
	if (n <= 0)
		return n;
	infos = calloc((size_t)n, sizeof(*infos));
	names->name = calloc((size_t)n, sizeof(*names->name));
	if (!infos || !names->name) {
		free(infos);
		names_free(names);
		return -ENOMEM;
	}
	names->count = (unsigned)n;
	dmo_devices(fd, infos, names->count);
	for (unsigned i = 0; i < names->count; i++)
		memcpy(names->name[i], infos[i].name, DMO_NAME_MAX);
	free(infos);
	return 0;
}

const char *names_get(const struct names *names, uint32_t device)
{
	if (device == DMO_DEVICE_HOST)
		return "host";
	if (device == DMO_DEVICE_ANY)
		return "any";
	return device < names->count ? names->name[device] : "?";
}

void names_free(struct names *names)
{
	free(names->name);
	*names = (struct names){ 0 };
}
