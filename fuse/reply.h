/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reply.h - answers written by hand, where libfuse has no call for them or is in the way */
#ifndef FS_REPLY_H
#define FS_REPLY_H

#include "fs.h"

/*
 * Answers request unique on channel fd: error 0 or -errno; size bytes of data where 0. 0, or -errno: the request was
 * interrupted (ENOENT) or the connection is over.
 */
int fs_reply(int fd, uint64_t unique, int error, const void *data, size_t size);
/* Answers the worker's request and frees req. */
int fs_reply_req(fuse_req_t req, int error, const void *data, size_t size);
/* Answers the worker's OPEN by hand, with flags that libfuse 3.14 doesn't know. */
int fs_reply_open(fuse_req_t req, const struct fuse_file_info *fi, uint32_t open_flags, int32_t backing_id);
/* The same for CREATE. */
int fs_reply_create(fuse_req_t req, const struct fuse_entry_param *e, const struct fuse_file_info *fi,
		    uint32_t open_flags, int32_t backing_id);

#endif
