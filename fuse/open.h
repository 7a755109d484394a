/* SPDX-License-Identifier: GPL-2.0-or-later */
/* open.h - opens of the store's files and directories */
#ifndef FS_OPEN_H
#define FS_OPEN_H

#include "loose.h"

struct fs_file {
	struct fs_open open;		/* FS_OPEN_FILE */
	int flags;			/* open(2)'s, as the caller gave them */
	int fd;				/* the inode's, or its own */
	int direct_fd;			/* O_DIRECT, for aligned requests; -1: none */
	bool own_fd;
	bool object;			/* fd is an object of the module */
	bool bypass;			/* in passthrough mode */
	struct fs_inode *inode;
	struct eng_file *eng;
	struct fuse_pollhandle *poll_handle;	/* of an object; this and the next: kernel_poll.c */
	struct fs_file *polled_next;
	bool polled;
	struct fs_file *next, **link;	/* the inode's opens, under its lock */
};

struct fs_dir {
	struct fs_loose loose;		/* FS_OPEN_DIR */
	int fd;
	pthread_mutex_t lock;		/* protects all below */
	int64_t offset;			/* where fd stands, and buf's first entry was */
	size_t used, at;		/* bytes in buf; the next entry */
	char buf[32768];
};

void fs_open_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_open_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void fs_open_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* At the end: releases every open of the inode (fs_inodes_each). */
void fs_open_release_all(struct fs_inode *inode, void *arg);

/* The open of a regular file behind fi, or NULL: something else. */
struct fs_file *fs_file(const struct fuse_file_info *fi);

#endif
