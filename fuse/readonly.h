/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * readonly.h - the operations of a mount that must not change its store
 *
 * The kernel's own read-only flag would forbid opening a device's context, which is written to. So the mount is
 * writable for the kernel, and the service refuses with EROFS whatever would change the store.
 */
#ifndef FS_READONLY_H
#define FS_READONLY_H

#include "fs.h"

/* Fills ops with those of a read-only mount, made from all. */
void fs_readonly_ops(struct fuse_lowlevel_ops *ops, const struct fuse_lowlevel_ops *all);

#endif
