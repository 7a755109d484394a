/* SPDX-License-Identifier: GPL-2.0-or-later */
/* attr.h - attributes of files, and of the filesystem */
#ifndef FS_ATTR_H
#define FS_ATTR_H

#include "fs.h"

void fs_attr_get(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_attr_set(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid, struct fuse_file_info *fi);
void fs_attr_statfs(fuse_req_t req, fuse_ino_t ino);

#endif
