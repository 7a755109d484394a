/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * range.c - requests that the engine carries out, in its own time
 */
#include "config.h"

#include "range.h"

#include <errno.h>

#include "call.h"
#include "open.h"
#include "reply.h"

#define COPY_MAX (1u << 30)	/* the answer counts in 32 bits, and the caller asks for the rest */

void fs_range_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fs_file *file = fs_file(fi);
	struct fs_call *call;

	if (!file) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	call = fs_call_take(req, fs_call_answer_error);
	if (call)
		eng_fsync(file->eng, &call->req, datasync);
}

void fs_range_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			struct fuse_file_info *fi)
{
	struct fs_file *file = fs_file(fi);
	struct fs_call *call;

	if (!file) {
		fuse_reply_err(req, ENODEV);
		return;
	}
	call = fs_call_take(req, fs_call_answer_error);
	if (call)
		eng_fallocate(file->eng, &call->req, mode, offset, length);
}

static void answer_lseek(struct fs_call *call)
{
	struct fuse_lseek_out out = { .offset = call->req.result };

	if (call->req.result < 0)
		fs_call_answer_error(call);
	else
		fs_reply(call->fd, call->unique, 0, &out, sizeof(out));
}

void fs_range_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct fs_file *file = fs_file(fi);
	struct fs_call *call;

	if (!file) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	call = fs_call_take(req, answer_lseek);
	if (call)
		eng_lseek(file->eng, &call->req, offset, whence);
}

void fs_range_copy(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in, fuse_ino_t ino_out,
		   off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct fs_file *in = fs_file(fi_in), *out = fs_file(fi_out);
	struct fs_call *call;

	if (len > COPY_MAX)
		len = COPY_MAX;

	if (!in || !out) {
		fuse_reply_err(req, EXDEV);
		return;
	}
	call = fs_call_take(req, fs_call_answer_count);
	if (call)
		eng_copy_range(in->eng, off_in, out->eng, off_out, len, flags, &call->req);
}
