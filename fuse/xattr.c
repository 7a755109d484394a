/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xattr.c - extended attributes of the store's files
 *
 * They are reached by path through /proc, since descriptors that only name a file have no attribute calls. Such a
 * path would follow a symbolic link: for those it is the link's own name, which /proc tells, believed where the
 * same link is found there.
 */
#include "config.h"

#include "xattr.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "passthrough.h"
#include "worker.h"

struct place {
	struct fs_inode *inode;
	bool link;			/* path is a symbolic link itself */
	char path[PATH_MAX];
};

static bool find_link(struct place *p)
{
	char by_fd[32];
	ssize_t n = readlink(fs_inode_path(p->inode, by_fd), p->path, sizeof(p->path) - 1);
	struct stat st;

	if (n <= 0)
		return false;
	p->path[n] = 0;
	return !lstat(p->path, &st) && st.st_ino == p->inode->ino && st.st_dev == p->inode->dev;
}

/* Where the file's attributes are. False: error was answered, which is for files that can have none. */
static bool find(fuse_req_t req, fuse_ino_t ino, int error, struct place *p)
{
	if (fs_is_control(ino)) {	/* the kernel asks for ACLs: it must hear that there are none */
		fuse_reply_err(req, error);
		return false;
	}
	p->inode = fs_inode(fs_of(req), ino);
	p->link = S_ISLNK(p->inode->type);
	if (!p->link) {
		fs_inode_path(p->inode, p->path);
		return true;
	}
	if (find_link(p))
		return true;
	fuse_reply_err(req, error);
	return false;
}

static void reply_change(fuse_req_t req, struct fs_inode *inode, const char *name, int rc)
{
	int error = rc ? errno : 0;

	if (!error && !strcmp(name, FS_XATTR_PASSTHROUGH))
		fs_passthrough_hint_changed(inode);
	fuse_reply_err(req, error);
}

void fs_xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct place p;

	if (find(req, ino, ENOTSUP, &p))
		reply_change(req, p.inode, name, (p.link ? lsetxattr : setxattr)(p.path, name, value, size, flags));
}

void fs_xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct place p;

	if (find(req, ino, ENOTSUP, &p))
		reply_change(req, p.inode, name, (p.link ? lremovexattr : removexattr)(p.path, name));
}

/* size 0 asks how much there is; the worker's block takes any attribute the kernel allows (64 KiB). */
static void reply_value(fuse_req_t req, ssize_t n, const char *value, size_t size)
{
	if (n < 0)
		fuse_reply_err(req, errno);
	else if (!size)
		fuse_reply_xattr(req, n);
	else
		fuse_reply_buf(req, value, n);
}

static size_t room(fuse_req_t req, size_t size)
{
	size_t max = fs_of(req)->max_write;

	return size < max ? size : max;
}

void fs_xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	char *value = fs_worker()->block + FS_BLOCK_DATA;
	struct place p;
	ssize_t n;

	if (!find(req, ino, ENODATA, &p))
		return;
	n = (p.link ? lgetxattr : getxattr)(p.path, name, value, room(req, size));
	if (n < 0 && errno == ENOTSUP && !strncmp(name, "system.posix_acl_", 17))
		errno = ENODATA;	/* a store without ACLs: else the kernel refuses every access but root's */
	reply_value(req, n, value, size);
}

/* Takes out the names that only an administrator sees, as the store would for the caller itself. What is left. */
static ssize_t drop_trusted(char *list, ssize_t n)
{
	char *to = list;

	for (char *name = list; name < list + n;) {
		size_t length = strlen(name) + 1;

		if (strncmp(name, "trusted.", 8)) {
			memmove(to, name, length);
			to += length;
		}
		name += length;
	}
	return to - list;
}

void fs_xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char *value = fs_worker()->block + FS_BLOCK_DATA;
	struct place p;
	ssize_t n;

	if (!find(req, ino, ENOTSUP, &p))
		return;
	n = (p.link ? llistxattr : listxattr)(p.path, value, fs_of(req)->max_write);
	if (n > 0 && fuse_req_ctx(req)->uid)
		n = drop_trusted(value, n);
	if (size && n > (ssize_t)size) {
		errno = ERANGE;
		n = -1;
	}
	reply_value(req, n, value, size);
}
