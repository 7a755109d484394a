/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reply.c - the wire format of answers
 */
#include "config.h"

#include "reply.h"

#include <errno.h>
#include <sys/uio.h>

#include "worker.h"

int fs_reply(int fd, uint64_t unique, int error, const void *data, size_t size)
{
	struct fuse_out_header out = { .len = sizeof(out), .error = error, .unique = unique };
	struct iovec iov[2] = { { &out, sizeof(out) }, { (void *)data, size } };

	if (!error)
		out.len += size;
	return writev(fd, iov, error || !size ? 1 : 2) < 0 ? -errno : 0;
}

int fs_reply_req(fuse_req_t req, int error, const void *data, size_t size)
{
	struct fs_worker *w = fs_worker();
	int rc = fs_reply(w->fd, w->in->unique, error, data, size);

	fuse_reply_none(req);
	return rc;
}

static void fill_open(struct fuse_open_out *out, const struct fuse_file_info *fi, uint32_t flags, int32_t backing_id)
{
	*out = (struct fuse_open_out){ .fh = fi->fh, .open_flags = flags };
	if (flags & FOPEN_PASSTHROUGH)
		fs_open_set_backing(out, backing_id);
}

int fs_reply_open(fuse_req_t req, const struct fuse_file_info *fi, uint32_t open_flags, int32_t backing_id)
{
	struct fuse_open_out out;

	fill_open(&out, fi, open_flags, backing_id);
	return fs_reply_req(req, 0, &out, sizeof(out));
}

static void fill_attr(struct fuse_attr *attr, const struct stat *st)
{
	*attr = (struct fuse_attr){
		.ino = st->st_ino, .size = st->st_size, .blocks = st->st_blocks, .mode = st->st_mode,
		.nlink = st->st_nlink, .uid = st->st_uid, .gid = st->st_gid, .rdev = st->st_rdev,
		.blksize = st->st_blksize, .atime = st->st_atim.tv_sec, .atimensec = st->st_atim.tv_nsec,
		.mtime = st->st_mtim.tv_sec, .mtimensec = st->st_mtim.tv_nsec, .ctime = st->st_ctim.tv_sec,
		.ctimensec = st->st_ctim.tv_nsec,
	};
}

int fs_reply_create(fuse_req_t req, const struct fuse_entry_param *e, const struct fuse_file_info *fi,
		    uint32_t open_flags, int32_t backing_id)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} out = {
		.entry = { .nodeid = e->ino, .generation = e->generation, .entry_valid = (uint64_t)e->entry_timeout,
			   .attr_valid = (uint64_t)e->attr_timeout },
	};

	fill_attr(&out.entry.attr, &e->attr);
	fill_open(&out.open, fi, open_flags, backing_id);
	return fs_reply_req(req, 0, &out, sizeof(out));
}
