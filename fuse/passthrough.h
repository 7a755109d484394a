/* SPDX-License-Identifier: GPL-2.0-or-later */
/* passthrough.h - files that the kernel takes straight to the store */
#ifndef FS_PASSTHROUGH_H
#define FS_PASSTHROUGH_H

#include "open.h"

/*
 * On a file, or on its directory. "1": no device will touch it, passthrough may be used. "0": devices will, also where
 * the mount asks for passthrough.
 */
#define FS_XATTR_PASSTHROUGH "user.dmo.passthrough"

/* This kernel is known to have no passthrough: it is older than Linux 6.9, or was built without. */
bool fs_passthrough_absent(void);
/* Completes libfuse's answer to INIT. */
void fs_passthrough_init(struct fs *fs, const struct fuse_in_header *in, struct fuse_init_out *out);
/* Decides the mode of a new open; sets file->bypass. The inode's lock is held, the file not yet in its list. */
void fs_passthrough_enter(struct fs_file *file);
/* The open goes; the inode's lock is held, the file is out of its list. */
void fs_passthrough_leave(struct fs_file *file);
/* Does an attribute promise that no device will touch the file? */
bool fs_passthrough_promised(struct fs_inode *inode);
/* An inode was found in parent: takes over what stands on the directory. */
void fs_passthrough_inherit(struct fs_inode *inode, struct fs_inode *parent);
/* The attribute was set on the inode, or removed. */
void fs_passthrough_hint_changed(struct fs_inode *inode);

#endif
