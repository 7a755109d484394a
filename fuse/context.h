/* SPDX-License-Identifier: GPL-2.0-or-later */
/* context.h - open device contexts */
#ifndef FS_CONTEXT_H
#define FS_CONTEXT_H

#include "worker.h"

/* Opens a context of the device and answers. */
void fs_context_open(fuse_req_t req, struct eng_device *dev, struct fuse_file_info *fi);
/* Frees an open, on a thread of its own: running commands may hold it up. */
void fs_context_release(struct fs *fs, struct fs_open *open);
/* At the end: releases all that are open and waits for every release. */
void fs_context_release_all(void);

void fs_context_read(struct fs_worker *w, struct fs_open *open, const struct fuse_read_in *arg);
void fs_context_write(struct fs_worker *w, struct fs_open *open, const struct fuse_write_in *arg);
struct eng_ctx *fs_context_of(struct fs_open *open);

#endif
