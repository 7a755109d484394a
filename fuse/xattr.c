/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * xattr.c - extended attributes of the store's files
 *
 * They are reached through /proc, since descriptors that only name a file have no attribute calls. A symbolic
 * link can't be reached that way: it shows none, and takes none.
 */
#include "config.h"

#include "xattr.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "passthrough.h"
#include "worker.h"

/* The file's inode, or NULL with an answer given. */
static struct fs_inode *target(fuse_req_t req, fuse_ino_t ino, int link_error)
{
	struct fs_inode *inode;

	if (fs_is_control(ino)) {	/* the kernel asks for ACLs: it must hear that there are none */
		fuse_reply_err(req, link_error == ENODATA ? ENODATA : ENOTSUP);
		return NULL;
	}
	inode = fs_inode(fs_of(req), ino);
	if (!S_ISLNK(inode->type))
		return inode;
	fuse_reply_err(req, link_error);
	return NULL;
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
	struct fs_inode *inode = target(req, ino, EPERM);
	char path[32];

	if (!inode)
		return;
	reply_change(req, inode, name, setxattr(fs_inode_path(inode, path), name, value, size, flags));
}

void fs_xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct fs_inode *inode = target(req, ino, EPERM);
	char path[32];

	if (!inode)
		return;
	reply_change(req, inode, name, removexattr(fs_inode_path(inode, path), name));
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
	struct fs_inode *inode = target(req, ino, ENODATA);
	char *value = fs_worker()->block + FS_BLOCK_DATA, path[32];

	ssize_t n;

	if (!inode)
		return;
	n = getxattr(fs_inode_path(inode, path), name, value, room(req, size));
	if (n < 0 && errno == ENOTSUP && !strncmp(name, "system.posix_acl_", 17))
		errno = ENODATA;	/* a store without ACLs: else the kernel refuses every access but root's */
	reply_value(req, n, value, size);
}

void fs_xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct fs_inode *inode = target(req, ino, ENOTSUP);
	char *value = fs_worker()->block + FS_BLOCK_DATA, path[32];

	if (!inode)
		return;
	reply_value(req, listxattr(fs_inode_path(inode, path), value, room(req, size)), value, size);
}
