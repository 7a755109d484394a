/* SPDX-License-Identifier: GPL-2.0-or-later */
/* dir.h - reading directories */
#ifndef FS_DIR_H
#define FS_DIR_H

#include "fs.h"

void fs_dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void fs_dir_read_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void fs_dir_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_dir_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

#endif
