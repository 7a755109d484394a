/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * names.c - the namespace of the store
 *
 * Every operation is the system call of the same name, relative to the descriptor of the parent. The kernel
 * holds the directory's lock while it asks, and nobody else changes the store, so what was answered (also that
 * a name does not exist) may be kept for as long as the kernel likes.
 */
#include "config.h"

#include "names.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "control.h"
#include "cred.h"
#include "passthrough.h"
#include "prune.h"

bool fs_names_fold_case(struct fs *fs)
{
	/* FAT, exFAT, NTFS (both drivers), SMB (three), HFS+; ext4 and f2fs where a directory is told to */
	static const uint32_t types[] = {
		0x4d44, 0x2011bab0, 0x5346544e, 0x7366746e, 0x517b, 0xff534d42, 0xfe534d42, 0x482b,
	};
	int flags = 0, fd = fs_inode_reopen(&fs->inodes.root, O_RDONLY | O_DIRECTORY);
	struct statfs st;

	if (fd >= 0) {
		ioctl(fd, FS_IOC_GETFLAGS, &flags);
		close(fd);
	}
	if (flags & FS_CASEFOLD_FL)
		return true;
	for (unsigned i = 0; !fstatfs(fs->inodes.root.fd, &st) && i < sizeof(types) / sizeof(*types); i++)
		if ((uint32_t)st.f_type == types[i])
			return true;
	return false;
}

bool fs_names_refused(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);

	if (!fs_is_control(parent) && (parent != FUSE_ROOT_ID || strcmp(name, fs->opt->ctl)))
		return false;
	fuse_reply_err(req, EPERM);
	return true;
}

int fs_names_entry(struct fs *fs, struct fs_inode *parent, int fd, bool data, struct fuse_entry_param *e)
{
	struct fs_inode *inode = fs_inode_adopt(fs, fd, &e->attr, data, data);

	if (!inode)
		return -ENOMEM;
	fs_passthrough_inherit(inode, parent);
	e->ino = (uintptr_t)inode;
	e->generation = 1;
	e->attr_timeout = FS_TIMEOUT;
	e->entry_timeout = fs->entry_timeout;
	e->attr.st_ino = fs_inode_number(fs, e->attr.st_dev, e->attr.st_ino);
	return 0;
}

int fs_names_find(struct fs *fs, struct fs_inode *parent, const char *name, struct fuse_entry_param *e)
{
	int fd = fs_prune_openat(fs, parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &e->attr)) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fs_names_entry(fs, parent, fd, false, e);
}

void fs_names_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e = { 0 };
	int rc;

	if (fs_is_control(parent) || (parent == FUSE_ROOT_ID && !strcmp(name, fs->opt->ctl)))
		rc = fs_control_find(fs, parent, name, &e);
	else
		rc = fs_names_find(fs, fs_inode(fs, parent), name, &e);
	if (rc == -ENOENT) {
		e.ino = 0;
		e.entry_timeout = fs->entry_timeout;
		rc = 0;
	}
	if (rc)
		fuse_reply_err(req, -rc);
	else if (fuse_reply_entry(req, &e) && e.ino && !fs_is_control(e.ino))
		fs_inode_forget(fs, fs_inode(fs, e.ino), 1);
}

static void forget(struct fs *fs, fuse_ino_t ino, uint64_t count)
{
	if (!fs_is_control(ino))
		fs_inode_forget(fs, fs_inode(fs, ino), count);
}

void fs_names_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	forget(fs_of(req), ino, count);
	fuse_reply_none(req);
}

void fs_names_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *list)
{
	for (size_t i = 0; i < count; i++)
		forget(fs_of(req), list[i].ino, list[i].nlookup);
	fuse_reply_none(req);
}

/* Answers with what name is now. */
static void reply_found(fuse_req_t req, struct fs_inode *parent, const char *name)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e = { 0 };
	int rc = fs_names_find(fs, parent, name, &e);

	if (rc)
		fuse_reply_err(req, -rc);
	else if (fuse_reply_entry(req, &e))
		fs_inode_forget(fs, fs_inode(fs, e.ino), 1);
}

static void reply_made(fuse_req_t req, struct fs_inode *parent, const char *name, int rc)
{
	uid_t uid;
	gid_t gid;

	if (!rc && fs_cred_owes(req, &uid, &gid))
		rc = fchownat(parent->fd, name, uid, gid, AT_SYMLINK_NOFOLLOW);
	if (rc)
		fuse_reply_err(req, errno);
	else
		reply_found(req, parent, name);
}

void fs_names_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fs_inode *dir = fs_inode(fs_of(req), parent);

	if (fs_names_refused(req, parent, name))
		return;
	fs_cred_enter(req);
	reply_made(req, dir, name, mknodat(dir->fd, name, mode, rdev));
}

void fs_names_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fs_inode *dir = fs_inode(fs_of(req), parent);

	if (fs_names_refused(req, parent, name))
		return;
	fs_cred_enter(req);
	reply_made(req, dir, name, mkdirat(dir->fd, name, mode));
}

void fs_names_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct fs_inode *dir = fs_inode(fs_of(req), parent);

	if (fs_names_refused(req, parent, name))
		return;
	fs_cred_enter(req);
	reply_made(req, dir, name, symlinkat(target, dir->fd, name));
}

/* By descriptor as root; the path through /proc serves everybody else. */
static int link_fd(struct fs_inode *inode, struct fs_inode *dir, const char *name)
{
	char path[32];

	if (!linkat(inode->fd, "", dir->fd, name, AT_EMPTY_PATH))
		return 0;
	if (errno != ENOENT && errno != EINVAL && errno != EPERM)
		return -1;
	return linkat(AT_FDCWD, fs_inode_path(inode, path), dir->fd, name, AT_SYMLINK_FOLLOW);
}

void fs_names_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct fs_inode *dir = fs_inode(fs_of(req), parent);

	if (fs_is_control(ino)) {
		fuse_reply_err(req, EPERM);
		return;
	}
	if (fs_names_refused(req, parent, name))
		return;
	if (link_fd(fs_inode(fs_of(req), ino), dir, name))
		fuse_reply_err(req, errno);
	else
		reply_found(req, dir, name);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
	struct fs_inode *dir = fs_inode(fs_of(req), parent);

	if (fs_names_refused(req, parent, name))
		return;
	fuse_reply_err(req, unlinkat(dir->fd, name, flags) ? errno : 0);
}

void fs_names_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, 0);
}

void fs_names_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, AT_REMOVEDIR);
}

/* What stood on the old directory holds no longer, what stands on the new one does. */
static void inherit_anew(struct fs *fs, struct fs_inode *dir, const char *name)
{
	struct fuse_entry_param e = { 0 };

	if (atomic_load(&fs->passthrough) && !fs_names_find(fs, dir, name, &e))
		fs_inode_forget(fs, fs_inode(fs, e.ino), 1);
}

void fs_names_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		     const char *new_name, unsigned flags)
{
	struct fs *fs = fs_of(req);
	struct fs_inode *from, *to;
	int rc;

	if (fs_names_refused(req, parent, name) || fs_names_refused(req, new_parent, new_name))
		return;
	from = fs_inode(fs, parent);
	to = fs_inode(fs, new_parent);
	rc = renameat2(from->fd, name, to->fd, new_name, flags) ? errno : 0;
	if (!rc && from != to)
		inherit_anew(fs, to, new_name);
	if (!rc && from != to && flags & RENAME_EXCHANGE)
		inherit_anew(fs, from, name);
	fuse_reply_err(req, rc);
}

void fs_names_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[PATH_MAX + 1];
	ssize_t n;

	if (fs_is_control(ino)) {
		fs_control_readlink(req, ino);
		return;
	}
	n = readlinkat(fs_inode(fs_of(req), ino)->fd, "", target, PATH_MAX);
	if (n < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	target[n] = 0;
	fuse_reply_readlink(req, target);
}
