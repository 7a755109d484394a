/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioctl.c - requests by number
 *
 * FUSE carries exactly the bytes that the command word names, in and out; nothing behind a pointer. Our own requests
 * go to the engine. The store's file flags (lsattr, chattr) go to the store. All others are ENOTTY.
 *
 * An error that has something to tell (how far a migration came) carries the answer's bytes all the same: the
 * kernel copies them out, then returns the result.
 */
#include "config.h"

#include "ioctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "context.h"
#include "cred.h"
#include "kernel.h"
#include "open.h"
#include "reply.h"

static void answer_ioctl(struct fs_call *call)
{
	struct {
		struct fuse_out_header head;
		struct fuse_ioctl_out out;
	} answer = {
		.head = { .len = sizeof(answer), .unique = call->unique },
		.out = { .result = (int32_t)call->req.result },
	};
	struct iovec iov[2] = { { &answer, sizeof(answer) }, { call->req.buf, call->out_size } };
	bool data = call->out_size && call->req.buf;

	if (data)
		answer.head.len += call->out_size;
	(void)!writev(call->fd, iov, data ? 2 : 1);
	eng_ioctl_free(&call->req);
}

bool fs_ioctl_owns(fuse_req_t req, struct fs_inode *inode)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct stat st;

	return !ctx->uid || (!fstat(inode->fd, &st) && st.st_uid == ctx->uid);
}

struct fs_call *fs_ioctl_call(fuse_req_t req, size_t out_size)
{
	struct fs_call *call = fs_call_take(req, answer_ioctl);

	if (call)
		call->out_size = out_size;
	return call;
}

static void engine_ioctl(fuse_req_t req, struct fs_open *open, unsigned cmd, const void *in, size_t in_size,
			 size_t out_size)
{
	struct fs_file *file = open->kind == FS_OPEN_FILE ? (struct fs_file *)open : NULL;
	struct eng_cred cred = fs_cred_of(req, file && fs_ioctl_owns(req, file->inode));
	struct fs_call *call = fs_ioctl_call(req, out_size);

	if (!call)
		return;
	if (file)
		eng_ioctl(file->eng, &call->req, cmd, in, in_size, &cred);
	else
		eng_ctx_ioctl(fs_context_of(open), &call->req, cmd, in, in_size, &cred);
}

/* Flags may forbid writing, or all but appending: the store must be asked again at each open. */
static void stop_sharing_for_writes(struct fs_inode *inode)
{
	pthread_mutex_lock(&inode->lock);
	inode->data_writable = false;
	pthread_mutex_unlock(&inode->lock);
}

/* The store's own flags of a file or directory. */
static void store_ioctl(fuse_req_t req, struct fs_inode *inode, unsigned cmd, const void *in, size_t in_size,
			size_t out_size)
{
	union {
		int flags;
		struct fsxattr attr;
	} value = { 0 };
	bool changes = _IOC_DIR(cmd) & _IOC_WRITE;
	int fd, rc;

	if (changes && inode->fs->read_only) {
		fuse_reply_err(req, EROFS);
		return;
	}
	fd = fs_inode_reopen(inode, O_RDONLY | O_NONBLOCK);

	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	if (in_size)
		memcpy(&value, in, in_size < sizeof(value) ? in_size : sizeof(value));
	rc = ioctl(fd, cmd, &value);
	if (changes)
		stop_sharing_for_writes(inode);
	if (rc < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_ioctl(req, rc, &value, out_size < sizeof(value) ? out_size : sizeof(value));
	close(fd);
}

static bool is_object(const struct fs_open *open)
{
	return open->kind == FS_OPEN_FILE && ((const struct fs_file *)open)->object;
}

static bool is_store_ioctl(unsigned cmd)
{
	return cmd == FS_IOC_GETFLAGS || cmd == FS_IOC_SETFLAGS || cmd == FS_IOC_FSGETXATTR || cmd == FS_IOC_FSSETXATTR;
}

void fs_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi, unsigned flags,
	      const void *in, size_t in_size, size_t out_size)
{
	struct fs_open *open = fs_handle(fi);
	bool engine = open && (open->kind == FS_OPEN_FILE || open->kind == FS_OPEN_CONTEXT);

	if (flags & FUSE_IOCTL_UNRESTRICTED)
		fuse_reply_err(req, ENOTTY);
	else if (_IOC_TYPE(cmd) == DMO_IOC_MAGIC && engine && is_object(open))
		fs_kernel_ioctl(req, (struct fs_file *)open, cmd, in, in_size, out_size);
	else if (_IOC_TYPE(cmd) == DMO_IOC_MAGIC && engine)
		engine_ioctl(req, open, cmd, in, in_size, out_size);
	else if (is_store_ioctl(cmd) && !fs_is_control(ino))
		store_ioctl(req, fs_inode(fs_of(req), ino), cmd, in, in_size, out_size);
	else
		fuse_reply_err(req, ENOTTY);
}

void fs_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *handle)
{
	struct fs_open *open = fs_handle(fi);

	switch (open->kind) {
	case FS_OPEN_FILE:
		if (is_object(open))
			fs_kernel_poll(req, (struct fs_file *)open, handle);
		else
			fuse_reply_poll(req, eng_poll(((struct fs_file *)open)->eng, handle));
		break;
	case FS_OPEN_CONTEXT:
		fuse_reply_poll(req, eng_ctx_poll(fs_context_of(open), handle));
		break;
	default:
		if (handle)
			fuse_pollhandle_destroy(handle);
		fuse_reply_poll(req, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
	}
}
