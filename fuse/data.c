/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * data.c - bytes between the kernel, the store and the engine
 *
 * The engine says for each request whether a device has to do with the file. If not (the common case) bytes go
 * straight between the kernel and the store on this thread: through the worker's block for small requests, through
 * a pipe for large reads, which saves a copy. Else the request becomes a call that the engine answers.
 *
 * The kernel marks direct I/O by a lock owner in READ and WRITE: no page cache takes part in those. Everything else
 * leaves pages with the kernel, also where the file was opened with O_DIRECT (a mapping of it).
 */
#include "config.h"

#include "data.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "context.h"
#include "control.h"
#include "cred.h"
#include "open.h"
#include "reply.h"

#define SPLICE_MIN (64u << 10)

/* ---- READ ----------------------------------------------------------------------------------------------- */

static void answer_read(struct fs_call *call)
{
	int64_t n = call->req.result;

	if (n < 0)
		fs_call_answer_error(call);
	else
		fs_reply(call->fd, call->unique, 0, call->block + FS_BLOCK_DATA, n);
}

/* The descriptor for a request: the O_DIRECT one where offset and length suit any device's blocks. */
static int fd_for(const struct fs_file *file, bool direct, uint64_t offset, uint64_t length)
{
	if (direct && file->direct_fd >= 0 && !((offset | length) % DMO_PAGE_SIZE))
		return file->direct_fd;
	return file->fd;
}

static void read_through_block(struct fs_worker *w, int fd, uint64_t offset, uint32_t size)
{
	char *block = w->block;
	ssize_t n = pread(fd, block + FS_BLOCK_DATA, size, offset);

	fs_reply(w->fd, w->in->unique, n < 0 ? -errno : 0, block + FS_BLOCK_DATA, n < 0 ? 0 : n);
}

/* A pipe that holds a header and the largest read. */
static bool have_pipe(struct fs_worker *w)
{
	if (w->pipe[0] >= 0)
		return true;
	if (w->pipe[0] == -2 || pipe2(w->pipe, O_CLOEXEC | O_NONBLOCK))
		return false;
	if (fcntl(w->pipe[1], F_SETPIPE_SZ, 2 * w->fs->max_write) > (int)w->fs->max_write)
		return true;
	close(w->pipe[0]);
	close(w->pipe[1]);
	w->pipe[0] = -2;
	return false;
}

static void drop_pipe(struct fs_worker *w)
{
	close(w->pipe[0]);
	close(w->pipe[1]);
	w->pipe[0] = w->pipe[1] = -1;
}

/*
 * The answer's header names its length, so it can only be sent this way if the store gives all that was asked for.
 * False: nothing was answered.
 */
static bool read_through_pipe(struct fs_worker *w, int fd, uint64_t offset, uint32_t size)
{
	struct fuse_out_header out = { .len = sizeof(out) + size, .unique = w->in->unique };
	struct iovec iov = { &out, sizeof(out) };
	off_t at = offset;
	ssize_t n;

	if (!have_pipe(w))
		return false;
	if (vmsplice(w->pipe[1], &iov, 1, SPLICE_F_NONBLOCK) != (ssize_t)sizeof(out))
		goto fail;
	n = splice(fd, &at, w->pipe[1], NULL, size, SPLICE_F_NONBLOCK);
	if (n != (ssize_t)size)
		goto fail;
	if (splice(w->pipe[0], NULL, w->fd, NULL, out.len, 0) < 0)
		drop_pipe(w);
	return true;
fail:
	drop_pipe(w);
	return false;
}

static void read_file(struct fs_worker *w, struct fs_file *file, const struct fuse_read_in *arg)
{
	bool direct = arg->read_flags & FUSE_READ_LOCKOWNER;
	struct fs_call *call = fs_call_get(w);
	int fd;

	if (!call) {
		fs_reply(w->fd, w->in->unique, -ENOMEM, NULL, 0);
		return;
	}
	fs_call_begin(call, answer_read);
	if (!eng_read(file->eng, &call->req, call->block + FS_BLOCK_DATA, arg->offset, arg->size,
		      direct ? ENG_IO_NOCACHE : 0))
		return;
	fs_call_unbegin(call);
	fd = fd_for(file, direct, arg->offset, arg->size);
	if (arg->size < SPLICE_MIN || fd != file->fd || !read_through_pipe(w, fd, arg->offset, arg->size))
		read_through_block(w, fd, arg->offset, arg->size);
}

void fs_data_read(struct fs_worker *w)
{
	const struct fuse_read_in *arg = fs_worker_arg(w);
	struct fs_open *open = (struct fs_open *)(uintptr_t)arg->fh;

	if (arg->size > w->fs->max_write) {
		fs_reply(w->fd, w->in->unique, -EINVAL, NULL, 0);
		return;
	}
	switch (open->kind) {
	case FS_OPEN_FILE:
		read_file(w, (struct fs_file *)open, arg);
		break;
	case FS_OPEN_CONTEXT:
		fs_context_read(w, open, arg);
		break;
	case FS_OPEN_TEXT:
		fs_control_read(w, open, arg);
		break;
	default:
		fs_reply(w->fd, w->in->unique, -EISDIR, NULL, 0);
	}
}

/* ---- WRITE ------------------------------------------------------------------------------------------------ */

void fs_data_kill_suid(struct fs_worker *w, int fd)
{
	struct stat st;
	mode_t drop = S_ISUID;

	if (fstat(fd, &st))
		return;
	if (st.st_mode & S_ISGID && (st.st_mode & S_IXGRP || !fs_cred_in_group(w->in, st.st_gid)))
		drop |= S_ISGID;
	if (st.st_mode & drop)
		(void)!fchmod(fd, st.st_mode & 07777 & ~drop);
}

/* All of it, unless the store has no more room: then what went in counts, as write(2) has it. */
static ssize_t write_all(int fd, const char *data, size_t size, uint64_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pwrite(fd, data + done, size - done, offset + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return done ? (ssize_t)done : n < 0 ? -errno : -EIO;
		done += n;
	}
	return done;
}

/* Gives the request's data, in the worker's block, to the engine. */
static void hand_over(struct fs_worker *w, struct fs_file *file, const struct fuse_write_in *arg, uint32_t flags)
{
	struct fs_call *call = fs_call_get(w);
	struct fuse_write_in copy = *arg;

	if (!call) {
		fs_reply(w->fd, w->in->unique, -ENOMEM, NULL, 0);
		return;
	}
	fs_call_take_block(w, call);
	fs_call_begin(call, fs_call_answer_count);
	eng_write(file->eng, &call->req, call->block + FS_BLOCK_DATA, copy.offset, copy.size, flags);
}

static void write_file(struct fs_worker *w, struct fs_file *file, const struct fuse_write_in *arg)
{
	bool direct = arg->write_flags & FUSE_WRITE_LOCKOWNER;
	bool writepage = arg->write_flags & FUSE_WRITE_CACHE;
	uint32_t flags = (writepage ? ENG_IO_WRITEPAGE : 0) | (direct ? ENG_IO_NOCACHE : 0);
	struct fuse_write_out out = { 0 };
	ssize_t n;

	if (arg->write_flags & FUSE_WRITE_KILL_SUIDGID)
		fs_data_kill_suid(w, file->fd);
	if (!eng_write_begin(file->eng)) {
		hand_over(w, file, arg, flags);
		return;
	}
	n = write_all(fd_for(file, direct, arg->offset, arg->size), w->block + FS_BLOCK_DATA, arg->size, arg->offset);
	eng_write_end(file->eng, arg->offset, n > 0 ? n : 0);
	if (writepage && n != (ssize_t)arg->size) {
		hand_over(w, file, arg, flags);
		return;
	}
	out.size = n > 0 ? n : 0;
	fs_reply(w->fd, w->in->unique, n < 0 ? (int)n : 0, &out, sizeof(out));
}

void fs_data_write(struct fs_worker *w)
{
	const struct fuse_write_in *arg = fs_worker_arg(w);
	struct fs_open *open = (struct fs_open *)(uintptr_t)arg->fh;

	if (w->in_size != FS_REQUEST_HEAD + arg->size) {
		fs_reply(w->fd, w->in->unique, -EIO, NULL, 0);
		return;
	}
	switch (open->kind) {
	case FS_OPEN_FILE:
		write_file(w, (struct fs_file *)open, arg);
		break;
	case FS_OPEN_CONTEXT:
		fs_context_write(w, open, arg);
		break;
	case FS_OPEN_TEXT:
		fs_control_write(w, open, arg);
		break;
	default:
		fs_reply(w->fd, w->in->unique, -EBADF, NULL, 0);
	}
}
