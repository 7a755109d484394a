/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prune.h - asks the kernel to forget files that nobody uses, before descriptors run out */
#ifndef FS_PRUNE_H
#define FS_PRUNE_H

#include "fs.h"

/* Starts the thread, once the mount serves. Without it the kernel keeps what it likes. */
void fs_prune_start(struct fs *fs);
void fs_prune_stop(struct fs *fs);
/*
 * openat, that waits for the kernel to forget some files where descriptors have run out; two seconds at most. For
 * workers: others read the FORGETs.
 */
int fs_prune_openat(struct fs *fs, int dir, const char *name, int flags, mode_t mode);
/* A file more is known. Any thread, no lock held; never waits. */
void fs_prune_consider(struct fs *fs);
/* Before a request opens a file: waits, a few seconds at most, while descriptors are nearly used up. On a worker. */
void fs_prune_wait(struct fs *fs);

#endif
