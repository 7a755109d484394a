/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mount.c - from a file to its mount's control directory, and from there to the names of its devices
 *
 * A file's st_dev is its mount's, and /proc/self/mountinfo has a line for each mount with that number, the type
 * (fuse.dmofs) and where it is. A bind mount of a subdirectory shows the same number but no control directory, so
 * only lines whose root is "/" count; and a mount point may be hidden below another mount, so it is
 * looked at before it is believed. The control directory's name is the attribute user.dmo.ctl of the mount's
 * root, ".dmo" where it has none.
 */
#include "mount.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* Undoes mountinfo's \ooo escapes, in place. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++, out++) {
		if (s[0] == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
			*out = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*out = *s;
		}
	}
	*out = '\0';
}

int mount_parse_line(char *line, struct mount_line *mount)
{
	unsigned major_number, minor_number;
	char *save, *root, *point, *word;

	word = strtok_r(line, " ", &save);			/* mount id */
	word = word ? strtok_r(NULL, " ", &save) : NULL;	/* parent id */
	word = word ? strtok_r(NULL, " ", &save) : NULL;
	if (!word || sscanf(word, "%u:%u", &major_number, &minor_number) != 2)
		return -EBADMSG;
	root = strtok_r(NULL, " ", &save);
	point = strtok_r(NULL, " ", &save);
	while ((word = strtok_r(NULL, " ", &save)) && strcmp(word, "-") != 0)
		;
	word = word ? strtok_r(NULL, " \n", &save) : NULL;
	if (!word)
		return -EBADMSG;
	unescape(point);
	*mount = (struct mount_line){
		.dev = makedev(major_number, minor_number),
		.whole = strcmp(root, "/") == 0,
		.ours = strcmp(word, "fuse.dmofs") == 0,
		.point = point,
	};
	return 0;
}

/* True where point is the root of the mount that has the number dev. */
static bool is_seen(const char *point, dev_t dev)
{
	struct stat st;

	return stat(point, &st) == 0 && st.st_dev == dev;
}

static int append_ctl(const char *point, char *path, size_t size)
{
	char name[NAME_MAX + 1];
	ssize_t n = getxattr(point, "user.dmo.ctl", name, sizeof(name) - 1);
	struct stat st;
	int length;

	name[n < 0 ? 0 : n] = '\0';
	length = snprintf(path, size, "%s/%s", point, name[0] ? name : ".dmo");
	if (length < 0 || (size_t)length >= size)
		return -ERANGE;
	return stat(path, &st) < 0 ? -errno : 0;
}

/* Looks for the mount with number dev. 1: it is in path; else -ENOTTY, -ENOENT, ... */
static int search(FILE *mountinfo, dev_t dev, char *path, size_t size)
{
	char *line = NULL;
	size_t room = 0;
	int r = -ENOTTY;

	while (r < 0 && r != -ERANGE && getline(&line, &room, mountinfo) > 0) {
		struct mount_line mount;

		if (mount_parse_line(line, &mount) < 0 || !mount.ours || mount.dev != dev)
			continue;
		r = mount.whole && is_seen(mount.point, dev) ? append_ctl(mount.point, path, size) : -ENOENT;
	}
	free(line);
	return r;
}

PUBLIC int dmo_mount_of(int fd, char *path, size_t size)
{
	KEEP_ERRNO;
	struct stat st;
	FILE *mountinfo;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	mountinfo = fopen("/proc/self/mountinfo", "re");
	if (!mountinfo)
		return -errno;
	r = search(mountinfo, st.st_dev, path, size);
	fclose(mountinfo);
	return r;
}

PUBLIC int dmo_mount_of_path(const char *file, char *path, size_t size)
{
	KEEP_ERRNO;
	int fd = sys_openat(AT_FDCWD, file, O_PATH);
	int r;

	if (fd < 0)
		return fd;
	r = dmo_mount_of(fd, path, size);
	close(fd);
	return r;
}
