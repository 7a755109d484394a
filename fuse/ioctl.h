/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ioctl.h - ioctl(2) and poll(2) on files and contexts */
#ifndef FS_IOCTL_H
#define FS_IOCTL_H

#include "call.h"

void fs_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi, unsigned flags,
	      const void *in, size_t in_size, size_t out_size);
/* Takes a request for an answer later: req.result, and out_size bytes at req.buf, freed by eng_ioctl_free. NULL: replied. */
struct fs_call *fs_ioctl_call(fuse_req_t req, size_t out_size);
/* Is the request's caller the file's owner, or root? */
bool fs_ioctl_owns(fuse_req_t req, struct fs_inode *inode);
void fs_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *handle);

#endif
