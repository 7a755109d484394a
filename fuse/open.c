/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * open.c - open, create, release
 *
 * An open uses the inode's shared descriptor (inode.c). It has one of its own where the shared one will not do: the
 * store refuses to open the file for reading and writing both (append-only files, a service that is not root).
 * O_APPEND needs nothing, since the kernel says where each write goes; O_SYNC neither, since it follows a write
 * with FSYNC. An O_DIRECT open gets a second descriptor for requests that the store can take directly.
 *
 * The kernel keeps the pages of a file over opens; what makes them stale is revoked at the time (notify.c). FLUSH
 * would bring nothing: nothing is held back in the service.
 */
#include "config.h"

#include "open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "cred.h"
#include "data.h"
#include "kernel.h"
#include "log.h"
#include "names.h"
#include "passthrough.h"
#include "prune.h"
#include "reply.h"
#include "worker.h"

struct fs_file *fs_file(const struct fuse_file_info *fi)
{
	struct fs_open *open = fs_handle(fi);

	return open && open->kind == FS_OPEN_FILE ? (struct fs_file *)open : NULL;
}

/* The first open of a file decides whether it is an object of the module. Lock held. */
static bool takes_object(struct fs_inode *inode)
{
	if (!inode->files)
		inode->object = inode->fs->kernel && !fs_passthrough_promised(inode);
	return inode->object;
}

/* The module wants to read what it takes, so the store's file is open for both; an object only for writing is opened again. */
static int make_object(const struct fs_file *file)
{
	int mode = file->flags & O_ACCMODE, fd = fs_kernel_object(file->inode->fs, file->fd, mode == O_RDONLY), again;
	char path[32];

	if (fd < 0 || mode != O_WRONLY)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_WRONLY | O_CLOEXEC);
	if (again < 0)
		again = -errno;
	close(fd);
	return again;
}

/* Makes fd the module's object over the store's file. Lock held. */
static int use_object(struct fs_file *file)
{
	static atomic_bool told;
	int fd = make_object(file);

	if (fd < 0 && file->inode->files) {
		if (file->own_fd)
			close(file->fd);
		return fd;
	}
	if (fd < 0) {		/* served by the service, without devices */
		file->inode->object = false;
		if (!atomic_exchange(&told, true))
			fs_log(LOG_WARNING, "%s: the module can't take a file (%s): no device will reach such",
			       file->inode->fs->opt->store, strerror(-fd));
		return 0;
	}
	if (file->own_fd)
		close(file->fd);
	file->fd = fd;
	file->own_fd = file->object = true;
	return 0;
}

/* Lock held. */
static int choose_fd(struct fs_file *file)
{
	struct fs_inode *inode = file->inode;
	int fd = fs_inode_data_fd_locked(inode, (file->flags & O_ACCMODE) != O_RDONLY);

	if (fd == -EACCES || fd == -EPERM) {
		fd = fs_inode_reopen(inode, file->flags & (O_ACCMODE | O_APPEND));
		file->own_fd = fd >= 0;
	}
	if (fd < 0)
		return fd;
	file->fd = fd;
	if (takes_object(inode)) {
		fd = use_object(file);
		if (fd < 0 || file->object)
			return fd;
	}
	if (file->flags & O_DIRECT)
		file->direct_fd = fs_inode_reopen(inode, file->flags & (O_ACCMODE | O_DIRECT));
	return 0;
}

static void close_fds(struct fs_file *file)
{
	if (file->own_fd)
		close(file->fd);
	if (file->direct_fd >= 0)
		close(file->direct_fd);
}

/* Lock held. */
static int file_start(struct fs_file *file, const struct eng_cred *cred)
{
	struct fs_inode *inode = file->inode;
	int rc = fs_inode_object(inode);

	if (!rc)
		rc = choose_fd(file);
	if (rc)
		return rc;
	rc = eng_open(inode->obj, file->fd, file->flags, cred, &file->eng);
	if (rc) {
		close_fds(file);
		return rc;
	}
	fs_passthrough_enter(file);
	file->next = inode->files;
	file->link = &inode->files;
	if (file->next)
		file->next->link = &file->next;
	inode->files = file;
	return 0;
}

/* A new open of the inode. 0 or -errno. */
static int file_open(fuse_req_t req, struct fs_inode *inode, int flags, struct fs_file **out)
{
	struct eng_cred cred = fs_cred_of(req, false);
	struct fs_file *file = malloc(sizeof(*file));
	int rc;

	if (!file)
		return -ENOMEM;
	*file = (struct fs_file){ .open.kind = FS_OPEN_FILE, .flags = flags, .fd = -1, .direct_fd = -1, .inode = inode };
	pthread_mutex_lock(&inode->lock);
	rc = file_start(file, &cred);
	pthread_mutex_unlock(&inode->lock);
	if (rc)
		free(file);
	else
		*out = file;
	return rc;
}

/* Lock held, no opens left: gives up the shared descriptor where too many are kept. */
static void trim_data_fd(struct fs_inode *inode)
{
	struct fs_inodes *t = &inode->fs->inodes;
	int fd = atomic_load(&inode->data_fd);

	if (atomic_load(&t->data_fds) <= t->data_fds_max)
		return;
	if (inode->object_fd >= 0) {
		close(inode->object_fd);
		inode->object_fd = -1;
		atomic_fetch_sub(&t->data_fds, 1);
	}
	if (fd < 0 || fd == inode->fd)
		return;
	atomic_store(&inode->data_fd, -1);
	close(fd);
	atomic_fetch_sub(&t->data_fds, 1);
}

static void file_release(struct fs_file *file)
{
	struct fs_inode *inode = file->inode;

	eng_release(file->eng);
	if (file->object) {
		fs_kernel_release(file);
		fs_tickets_drop(&inode->fs->tickets, file);
	}
	pthread_mutex_lock(&inode->lock);
	*file->link = file->next;
	if (file->next)
		file->next->link = file->link;
	fs_passthrough_leave(file);
	if (!inode->files)
		trim_data_fd(inode);
	pthread_mutex_unlock(&inode->lock);
	close_fds(file);
	free(file);
}

void fs_open_release_all(struct fs_inode *inode, void *arg)
{
	while (inode->files)
		file_release(inode->files);
}

void fs_open_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs_file *file = fs_file(fi);

	if (file)
		file_release(file);
	else
		fs_control_release(fs_of(req), fs_handle(fi));
	fuse_reply_err(req, 0);
}

/* What the kernel is told of the open; decided by fs_passthrough_enter. */
static uint32_t open_flags(struct fs_file *file)
{
	struct fs_inode *inode = file->inode;

	if (file->bypass)
		return FOPEN_PASSTHROUGH | FOPEN_NOFLUSH;
	if (file->object)	/* nothing may stay in a cache that the module does not know */
		return FOPEN_DIRECT_IO | FOPEN_NOFLUSH;
	if (!inode->drop_cache)
		return FOPEN_KEEP_CACHE | FOPEN_NOFLUSH;
	inode->drop_cache = false;
	return FOPEN_NOFLUSH;
}

static int truncate_opened(struct fs_file *file)
{
	const struct fuse_open_in *arg = fs_worker_arg(fs_worker());
	int rc = eng_truncate(file->inode->obj, file->fd, 0);

	if (!rc && arg->open_flags & FUSE_OPEN_KILL_SUIDGID)
		fs_data_kill_suid(fs_worker(), file->fd);
	return rc;
}

void fs_open_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs_file *file;
	int rc;

	if (fs_is_control(ino)) {
		fs_control_open(req, ino, fi);
		return;
	}
	rc = file_open(req, fs_inode(fs_of(req), ino), fi->flags, &file);
	if (!rc && fi->flags & O_TRUNC) {
		rc = truncate_opened(file);
		if (rc)
			file_release(file);
	}
	if (rc) {
		fuse_reply_err(req, -rc);
		return;
	}
	fi->fh = (uintptr_t)file;
	if (fs_reply_open(req, fi, open_flags(file), file->inode->backing_id))
		file_release(file);
}

/* Makes the file and its inode. For reading and writing, so that the descriptor serves all opens to come. */
static int create_inode(fuse_req_t req, struct fs_inode *dir, const char *name, mode_t mode, int flags,
			struct fuse_entry_param *e)
{
	uid_t uid;
	gid_t gid;
	int fd, rc;

	fs_cred_enter(req);
	fd = fs_prune_openat(dir->fs, dir->fd, name, (flags & O_EXCL) | O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	if ((fs_cred_owes(req, &uid, &gid) && fchown(fd, uid, gid)) || fstat(fd, &e->attr)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fs_names_entry(dir->fs, dir, fd, true, e);
}

void fs_open_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e = { 0 };
	struct fs_file *file;
	int rc;

	if (fs_names_refused(req, parent, name))
		return;
	rc = create_inode(req, fs_inode(fs, parent), name, mode, fi->flags, &e);
	if (rc) {
		fuse_reply_err(req, -rc);
		return;
	}
	rc = file_open(req, fs_inode(fs, e.ino), fi->flags, &file);
	if (!rc && fi->flags & O_TRUNC && e.attr.st_size)
		rc = eng_truncate(file->inode->obj, file->fd, 0);
	if (rc)
		goto fail;
	fi->fh = (uintptr_t)file;
	if (!fs_reply_create(req, &e, fi, open_flags(file), file->inode->backing_id))
		return;
	file_release(file);
	fs_inode_forget(fs, fs_inode(fs, e.ino), 1);
	return;
fail:
	fs_inode_forget(fs, fs_inode(fs, e.ino), 1);
	fuse_reply_err(req, -rc);
}
