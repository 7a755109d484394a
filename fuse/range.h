/* SPDX-License-Identifier: GPL-2.0-or-later */
/* range.h - requests on ranges of a file: sync, allocate, find data, copy */
#ifndef FS_RANGE_H
#define FS_RANGE_H

#include "fs.h"

void fs_range_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void fs_range_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			struct fuse_file_info *fi);
void fs_range_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);
void fs_range_copy(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in, fuse_ino_t ino_out,
		   off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags);

#endif
