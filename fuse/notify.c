/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * notify.c - from the engine to the kernel
 *
 * Revocation runs on the engine's threads and may take long: the kernel first sends the dirty pages of the range
 * as WRITEs, which workers serve meanwhile. Nothing here takes a lock that a worker might hold.
 */
#include "config.h"

#include "notify.h"

#include <errno.h>
#include <stdlib.h>

#include "log.h"

static int revoke(void *arg, uint64_t offset, uint64_t length)
{
	struct fs_inode *inode = arg;
	struct fs *fs = inode->fs;
	int rc;

	if (atomic_load(&fs->ended))
		return -ENOENT;
	rc = fuse_lowlevel_notify_inval_inode(fs->se, fs_node_id(fs, inode), offset, length);
	if (rc == -ENODEV || rc == -ENOTCONN || rc == -EBADF)
		return -ENOENT;
	return rc;
}

static void attr_changed(void *arg)
{
	struct fs_inode *inode = arg;
	struct fs *fs = inode->fs;

	if (!atomic_load(&fs->ended))
		fuse_lowlevel_notify_inval_inode(fs->se, fs_node_id(fs, inode), -1, 0);
}

static int open_backing(void *arg, int flags)
{
	return fs_inode_reopen(arg, flags);
}

static void poll_notify(void *handle)
{
	fuse_lowlevel_notify_poll(handle);
}

static void poll_forget(void *handle)
{
	fuse_pollhandle_destroy(handle);
}

static struct fs *the_mount;

void fs_notify_start(struct fs *fs)
{
	the_mount = fs;
}

static struct eng_object *find_mapped(dev_t dev, ino_t ino)
{
	return the_mount && dev == the_mount->dev ? fs_inode_find_object(the_mount, ino) : NULL;
}

const struct eng_fs_ops fs_notify_ops = {
	.revoke = revoke,
	.attr_changed = attr_changed,
	.open_backing = open_backing,
	.inode_get = fs_inode_get,
	.inode_put = fs_inode_put,
	.find_mapped = find_mapped,
	.poll_notify = poll_notify,
	.poll_forget = poll_forget,
	.log = fs_log_line,
};

static void revoke_open(struct fs_inode *inode, void *arg)
{
	bool open;

	pthread_mutex_lock(&inode->lock);
	open = inode->files;
	pthread_mutex_unlock(&inode->lock);
	if (open)
		fuse_lowlevel_notify_inval_inode(inode->fs->se, (uintptr_t)inode, 0, 0);
}

void fs_notify_revoke_all(struct fs *fs)
{
	fs_inodes_each(fs, revoke_open, NULL);
}
