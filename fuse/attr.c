/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attr.c - stat, chmod, chown, truncate, utimes, statfs
 *
 * A change of size goes through the engine, which drops what devices hold beyond; it never waits there, since
 * the kernel holds back WRITEs until the answer.
 */
#include "config.h"

#include "attr.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "control.h"
#include "data.h"
#include "kernel.h"
#include "open.h"
#include "worker.h"

static void reply_attr(fuse_req_t req, struct fs_inode *inode)
{
	struct stat st;

	if (fstat(inode->fd, &st)) {
		fuse_reply_err(req, errno);
		return;
	}
	st.st_ino = fs_inode_number(inode->fs, st.st_dev, st.st_ino);
	fuse_reply_attr(req, &st, FS_TIMEOUT);
}

void fs_attr_get(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (fs_is_control(ino))
		fs_control_getattr(req, ino);
	else
		reply_attr(req, fs_inode(fs_of(req), ino));
}

static int set_mode(struct fs_inode *inode, mode_t mode)
{
	char path[32];

	return chmod(fs_inode_path(inode, path), mode) ? -errno : 0;
}

static int set_owner(struct fs_inode *inode, const struct stat *attr, int valid)
{
	uid_t uid = valid & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = valid & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;

	return fchownat(inode->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

/*
 * A descriptor to truncate through: the open's, or one for the moment (*temporary). The inode's own may be closed by
 * the last release at any time; a copy of it is cheaper than opening the file.
 */
static int size_fd(struct fs_inode *inode, struct fs_file *file, bool *temporary)
{
	int fd = -1;

	*temporary = !file;
	if (file)
		return file->fd;
	pthread_mutex_lock(&inode->lock);
	if (atomic_load(&inode->data_fd) >= 0 && inode->data_writable)
		fd = fcntl(atomic_load(&inode->data_fd), F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&inode->lock);
	return fd >= 0 ? fd : fs_inode_reopen(inode, O_WRONLY);
}

/* The module's object in the place of the store's descriptor: what devices hold beyond the new end must go. */
static int use_object(struct fs *fs, int fd, bool temporary)
{
	int object = fs->kernel && temporary ? fs_kernel_object(fs, fd, false) : -1;

	if (object < 0)
		return fd;
	close(fd);
	return object;
}

static int set_size(struct fs_inode *inode, struct fs_file *file, uint64_t size)
{
	const struct fuse_setattr_in *arg = fs_worker_arg(fs_worker());
	bool temporary;
	int fd, rc;

	pthread_mutex_lock(&inode->lock);
	rc = fs_inode_object(inode);
	pthread_mutex_unlock(&inode->lock);
	if (rc)
		return rc;
	fd = size_fd(inode, file, &temporary);
	if (fd < 0)
		return fd;
	fd = use_object(inode->fs, fd, temporary);
	rc = eng_truncate(inode->obj, fd, size);
	if (!rc && arg->valid & FATTR_KILL_SUIDGID)
		fs_data_kill_suid(fs_worker(), fd);
	if (temporary)
		close(fd);
	return rc;
}

static struct timespec time_of(const struct timespec *t, int valid, int set, int now)
{
	if (valid & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	return valid & set ? *t : (struct timespec){ .tv_nsec = UTIME_OMIT };
}

static int set_times(struct fs_inode *inode, const struct stat *attr, int valid)
{
	struct timespec times[2] = {
		time_of(&attr->st_atim, valid, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW),
		time_of(&attr->st_mtim, valid, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW),
	};
	char path[32];

	if (!utimensat(inode->fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return 0;
	if (errno != EINVAL || S_ISLNK(inode->type))
		return -errno;
	return utimensat(AT_FDCWD, fs_inode_path(inode, path), times, 0) ? -errno : 0;
}

void fs_attr_set(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid, struct fuse_file_info *fi)
{
	struct fs_inode *inode;
	int rc = 0;

	if (fs_is_control(ino)) {
		fs_control_setattr(req, ino, valid);
		return;
	}
	inode = fs_inode(fs_of(req), ino);
	if (valid & FUSE_SET_ATTR_MODE)
		rc = set_mode(inode, attr->st_mode & 07777);
	if (!rc && valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		rc = set_owner(inode, attr, valid);
	if (!rc && valid & FUSE_SET_ATTR_SIZE)
		rc = set_size(inode, fi ? fs_file(fi) : NULL, attr->st_size);
	if (!rc && valid & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME))
		rc = set_times(inode, attr, valid);
	if (rc)
		fuse_reply_err(req, -rc);
	else
		reply_attr(req, inode);
}

void fs_attr_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fs *fs = fs_of(req);
	struct fs_inode *inode = fs_is_control(ino) ? &fs->inodes.root : fs_inode(fs, ino);
	struct statvfs st;

	if (fstatvfs(inode->fd, &st))
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}
