/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * readonly.c - the operations of a mount that must not change its store; see readonly.h
 *
 * Control files stay writable: limits may be set. Names in the control directory can't be made or removed in any mount, so
 * that EROFS is as right an answer there as any.
 */
#include "config.h"

#include "readonly.h"

#include "attr.h"
#include "inode.h"
#include "open.h"

#include <errno.h>
#include <fcntl.h>

static void no_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
	fuse_reply_err(req, EROFS);
}

static void no_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	fuse_reply_err(req, EROFS);
}

static void no_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void no_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void no_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent, const char *to,
		      unsigned flags)
{
	fuse_reply_err(req, EROFS);
}

static void no_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void no_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	fuse_reply_err(req, EROFS);
}

static void no_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	fuse_reply_err(req, EROFS);
}

static void no_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void set_control_attr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid, struct fuse_file_info *fi)
{
	if (fs_is_control(ino))
		fs_attr_set(req, ino, attr, valid, fi);
	else
		fuse_reply_err(req, EROFS);
}

static void open_unchanged(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	bool changes = (fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC);

	if (changes && !fs_is_control(ino))
		fuse_reply_err(req, EROFS);
	else
		fs_open_open(req, ino, fi);
}

void fs_readonly_ops(struct fuse_lowlevel_ops *ops, const struct fuse_lowlevel_ops *all)
{
	*ops = *all;
	ops->mknod = no_mknod;
	ops->mkdir = no_mkdir;
	ops->unlink = no_remove;
	ops->rmdir = no_remove;
	ops->symlink = no_symlink;
	ops->rename = no_rename;
	ops->link = no_link;
	ops->create = no_create;
	ops->setxattr = no_setxattr;
	ops->removexattr = no_removexattr;
	ops->setattr = set_control_attr;
	ops->open = open_unchanged;
}
