/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control.h - the control directory, MOUNT/.dmo */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H

#include "worker.h"

/* Builds the tree, once all devices are there. 0 or -errno. */
int fs_control_start(struct fs *fs);
void fs_control_stop(struct fs *fs);

/* Finds name in parent (the root, for the directory itself). 0 or -errno. */
int fs_control_find(struct fs *fs, fuse_ino_t parent, const char *name, struct fuse_entry_param *e);
void fs_control_stat(struct fs *fs, fuse_ino_t ino, struct stat *st);
/* The link to a device's node. */
void fs_control_readlink(fuse_req_t req, fuse_ino_t ino);
void fs_control_getattr(fuse_req_t req, fuse_ino_t ino);
/* Takes truncation (echo 1M > memory.max), refuses all else. */
void fs_control_setattr(fuse_req_t req, fuse_ino_t ino, int valid);
void fs_control_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus);
void fs_control_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_control_release(struct fs *fs, struct fs_open *open);
void fs_control_read(struct fs_worker *w, struct fs_open *open, const struct fuse_read_in *arg);
void fs_control_write(struct fs_worker *w, struct fs_open *open, const struct fuse_write_in *arg);

#endif
