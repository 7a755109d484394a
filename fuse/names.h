/* SPDX-License-Identifier: GPL-2.0-or-later */
/* names.h - directory entries: found, made, moved and removed */
#ifndef FS_NAMES_H
#define FS_NAMES_H

#include "fs.h"

void fs_names_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_names_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void fs_names_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *list);
void fs_names_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void fs_names_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fs_names_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void fs_names_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void fs_names_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_names_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_names_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		     const char *new_name, unsigned flags);
void fs_names_readlink(fuse_req_t req, fuse_ino_t ino);

/* Names that differ may be one to the store (a fold of case): what was found or not found must not be kept. */
bool fs_names_fold_case(struct fs *fs);
/* Finds name in the directory: fills e, with one kernel reference on the inode. 0 or -errno. */
int fs_names_find(struct fs *fs, struct fs_inode *parent, const char *name, struct fuse_entry_param *e);
/* Fills e for an open file (fd is given away) whose attributes are e->attr. 0 or -errno. */
int fs_names_entry(struct fs *fs, struct fs_inode *parent, int fd, bool data, struct fuse_entry_param *e);
/* True (and EPERM replied) where the name is the service's own or parent is in the control directory. */
bool fs_names_refused(fuse_req_t req, fuse_ino_t parent, const char *name);

#endif
