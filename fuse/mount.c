/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mount.c - mounting through libfuse, unmounting by hand
 *
 * libfuse mounts with mount(2) as root and through fusermount3 otherwise. The kernel checks permissions
 * (default_permissions) in both cases; others than the mounting user may enter where root mounts.
 */
#include "config.h"

#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "names.h"
#include "notify.h"
#include "ops.h"
#include "readonly.h"

#define OVERLAY_MAGIC 0x794c7630

/*
 * A mount point inside the store: the service would meet its own mount there, and wait for itself. Over the store
 * itself is fine, since the store was opened before.
 */
static bool inside_store(const struct fs_options *opt)
{
	char path[PATH_MAX], *slash;
	struct stat store, st;

	if (stat(opt->store, &store) || strlen(opt->mountpoint) >= sizeof(path))
		return false;
	strcpy(path, opt->mountpoint);
	while ((slash = strrchr(path, '/')) && strcmp(path, "/")) {
		slash[slash == path] = 0;
		if (!stat(path, &st) && st.st_dev == store.st_dev && st.st_ino == store.st_ino)
			return true;
	}
	return false;
}

/* What libfuse and fusermount3 would refuse in words of their own. */
static bool may_mount(const struct fs_options *opt)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		fs_log(LOG_ERR, "/dev/fuse: %s: %s", strerror(errno), errno == EACCES ? "be root, or make it mode 0666" :
		       "load the module fuse, or pass the device to the container");
		return false;
	}
	close(fd);
	if (geteuid() && access(opt->mountpoint, W_OK)) {
		fs_log(LOG_ERR, "%s: %s: who is not root mounts on a directory that is theirs to write",
		       opt->mountpoint, strerror(errno));
		return false;
	}
	return true;
}

int fs_mount_check(const struct fs_options *opt)
{
	struct fs_mount_id id;
	struct stat st;

	if (stat(opt->mountpoint, &st)) {
		if (errno == ENOTCONN)
			fs_log(LOG_ERR, "%s: a dead mount is in the way: umount %s", opt->mountpoint, opt->mountpoint);
		else if (errno == ENOENT)
			fs_log(LOG_ERR, "%s: no such directory: mkdir %s", opt->mountpoint, opt->mountpoint);
		else
			fs_log(LOG_ERR, "%s: %s", opt->mountpoint, strerror(errno));
		return FS_EXIT_MOUNT;
	}
	if (!S_ISDIR(st.st_mode)) {
		fs_log(LOG_ERR, "%s: not a directory: name one to mount on", opt->mountpoint);
		return FS_EXIT_MOUNT;
	}
	if (!fs_mount_find(opt->mountpoint, &id)) {
		fs_log(LOG_ERR, "%s: something is mounted there: umount %s, or name another directory",
		       opt->mountpoint, opt->mountpoint);
		return FS_EXIT_MOUNT;
	}
	if (inside_store(opt)) {
		fs_log(LOG_ERR, "%s: lies inside the store %s: name a directory outside of it", opt->mountpoint,
		       opt->store);
		return FS_EXIT_MOUNT;
	}
	return may_mount(opt) ? FS_EXIT_OK : FS_EXIT_MOUNT;
}

/* Appends text to a list of mount options; commas and backslashes in it are escaped. */
static void append_escaped(char *list, size_t size, const char *text)
{
	size_t n = strlen(list);

	for (; *text && n + 3 < size; text++) {
		if (*text == ',' || *text == '\\')
			list[n++] = '\\';
		list[n++] = *text;
	}
	list[n] = 0;
}

static struct fuse_session *new_session(struct fs *fs)
{
	const struct fs_options *opt = fs->opt;
	char list[8192] = "subtype=dmofs,default_permissions,fsname=";
	char *argv[] = { "dmofs", "-o", list, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_lowlevel_ops ops = fs_ops;
	struct fuse_session *se;

	append_escaped(list, sizeof(list) - 1024, opt->fsname ? opt->fsname : opt->store);
	strcat(list, opt->kernel);
	if (fs->privileged && !opt->private_mount)
		strcat(list, ",allow_other");
	if (fs->read_only)
		fs_readonly_ops(&ops, &fs_ops);
	se = fuse_session_new(&args, &ops, sizeof(ops), fs);
	fuse_opt_free_args(&args);
	return se;
}

static void note_store(struct fs *fs)
{
	struct statfs st;

	fs->stacked = !fstatfs(fs->inodes.root.fd, &st) && (unsigned long)st.f_type == OVERLAY_MAGIC;
	fs->entry_timeout = fs_names_fold_case(fs) ? 0 : FS_TIMEOUT;
}

static char libfuse_says[256];

/* libfuse's lines: the last one becomes part of ours when mounting fails. */
static void keep_libfuse_line(enum fuse_log_level level, const char *format, va_list args)
{
	size_t n;

	vsnprintf(libfuse_says, sizeof(libfuse_says), format, args);
	n = strcspn(libfuse_says, "\n");
	libfuse_says[n] = 0;
	fs_log(LOG_DEBUG, "libfuse: %s", libfuse_says);
}

int fs_mount_start(struct fs *fs)
{
	fuse_set_log_func(keep_libfuse_line);
	note_store(fs);
	fs->se = new_session(fs);
	if (!fs->se)
		return FS_EXIT_SYSTEM;
	if (!fuse_session_mount(fs->se, fs->opt->mountpoint))
		return FS_EXIT_OK;
	fs_log(LOG_ERR, "%s: can't mount (%s): is /dev/fuse usable, may this user mount, is fusermount3 installed?",
	       fs->opt->mountpoint, *libfuse_says ? libfuse_says : "no reason given");
	fuse_session_destroy(fs->se);
	fs->se = NULL;
	return FS_EXIT_MOUNT;
}

/* "\040" and the like, as mountinfo writes blanks, undone in place. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] && text[2] && text[3]) {
			*to++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = 0;
}

int fs_mount_find(const char *mountpoint, struct fs_mount_id *id)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, path[4096];
	struct fs_mount_id at;
	int rc = -ENOENT;
	size_t room = 0;

	if (!f)
		return -ENOENT;
	while (getline(&line, &room, f) > 0) {
		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &at.major, &at.minor, path) != 3)
			continue;
		unescape(path);
		if (strcmp(path, mountpoint))
			continue;
		*id = at;
		rc = 0;
	}
	free(line);
	fclose(f);
	return rc;
}

void fs_mount_readahead(struct fs *fs)
{
	struct fs_mount_id id;
	struct statfs st;
	char path[80];
	FILE *f;

	/* statfs waits for the kernel's INIT: whoever is told that we are ready finds a mount that answers. */
	if (statfs(fs->opt->mountpoint, &st) || !fs->privileged || !fs->opt->readahead_kb ||
	    fs_mount_find(fs->opt->mountpoint, &id))
		return;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", id.major, id.minor);
	f = fopen(path, "we");
	if (!f) {
		fs_log(LOG_WARNING, "%s: %s: read-ahead stays at the kernel's default", path, strerror(errno));
		return;
	}
	fprintf(f, "%u\n", fs->opt->readahead_kb);
	if (fclose(f))
		fs_log(LOG_WARNING, "%s: %s", path, strerror(errno));
}

static int run_fusermount(const char *mountpoint, bool lazy)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		execlp("fusermount3", "fusermount3", lazy ? "-uzq" : "-uq", "--", mountpoint, (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -EAGAIN;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EBUSY;
}

int fs_mount_remove(const char *mountpoint, bool lazy)
{
	if (!umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)))
		return 0;
	if (errno != EPERM)
		return -errno;
	return run_fusermount(mountpoint, lazy);
}

/* Writes what the kernel still holds, while requests are served. */
static void write_back(struct fs *fs)
{
	int fd = open(fs->opt->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		syncfs(fd);
		close(fd);
	}
	fs_notify_revoke_all(fs);
}

bool fs_mount_stop(struct fs *fs)
{
	int rc = fs_mount_remove(fs->opt->mountpoint, false);

	if (!rc)
		return true;
	if (rc != -EBUSY)
		return false;
	fs_log(LOG_WARNING, "%s: in use: what is open there gets ENOTCONN from now on", fs->opt->mountpoint);
	write_back(fs);
	fs_mount_remove(fs->opt->mountpoint, true);
	return false;
}
