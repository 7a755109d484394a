/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * statx.c - attributes with the time of birth
 *
 * The kernel (Linux 6.6) asks so where a program wants the time of birth, and keeps the rest as from GETATTR. Where
 * the store has none the answer's mask says so. Control files have none.
 */
#include "config.h"

#include "statx.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "control.h"
#include "reply.h"

#define WANTED (STATX_BASIC_STATS | STATX_BTIME)

static struct fuse_sx_time time_of(const struct statx_timestamp *t)
{
	return (struct fuse_sx_time){ .tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec };
}

static void fill_from_store(const struct fs_inode *inode, const struct statx *from, struct fuse_statx *to)
{
	*to = (struct fuse_statx){
		.mask = from->stx_mask & WANTED, .blksize = from->stx_blksize, .nlink = from->stx_nlink,
		.uid = from->stx_uid, .gid = from->stx_gid, .mode = from->stx_mode, .size = from->stx_size,
		.blocks = from->stx_blocks, .atime = time_of(&from->stx_atime), .btime = time_of(&from->stx_btime),
		.ctime = time_of(&from->stx_ctime), .mtime = time_of(&from->stx_mtime),
		.rdev_major = from->stx_rdev_major, .rdev_minor = from->stx_rdev_minor,
	};
	to->ino = fs_inode_number(inode->fs, makedev(from->stx_dev_major, from->stx_dev_minor), from->stx_ino);
}

static struct fuse_sx_time time_in(const struct timespec *t)
{
	return (struct fuse_sx_time){ .tv_sec = t->tv_sec, .tv_nsec = (uint32_t)t->tv_nsec };
}

static void fill_from_stat(const struct stat *from, struct fuse_statx *to)
{
	*to = (struct fuse_statx){
		.mask = STATX_BASIC_STATS, .blksize = from->st_blksize, .nlink = from->st_nlink, .uid = from->st_uid,
		.gid = from->st_gid, .mode = from->st_mode, .ino = from->st_ino, .size = from->st_size,
		.blocks = from->st_blocks, .atime = time_in(&from->st_atim), .ctime = time_in(&from->st_ctim),
		.mtime = time_in(&from->st_mtim),
	};
}

static int look(struct fs *fs, fuse_ino_t ino, struct fuse_statx *to)
{
	struct fs_inode *inode;
	struct statx seen;
	struct stat st;

	if (fs_is_control(ino)) {
		fs_control_stat(fs, ino, &st);
		fill_from_stat(&st, to);
		return 0;
	}
	inode = fs_inode(fs, ino);
	if (statx(inode->fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, WANTED, &seen))
		return -errno;
	fill_from_store(inode, &seen, to);
	return 0;
}

void fs_statx(struct fs_worker *w)
{
	struct fuse_statx_out out = { .attr_valid = (uint64_t)FS_TIMEOUT };
	int rc = look(w->fs, w->in->nodeid, &out.stat);

	fs_reply(w->fd, w->in->unique, rc, &out, sizeof(out));
}
