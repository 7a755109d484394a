/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ops.c - which operation is where, and what is agreed with the kernel
 *
 * READ, WRITE, INTERRUPT and STATX are not here: worker.c takes them from the wire. Locks (fcntl, flock) are not here
 * either: where a filesystem has no operation for them the kernel keeps them itself, which is right for a store that
 * nobody else touches. FLUSH is declined at open.
 */
#include "config.h"

#include "ops.h"

#include "attr.h"
#include "dir.h"
#include "ioctl.h"
#include "names.h"
#include "open.h"
#include "range.h"
#include "xattr.h"

static void set_cap(struct fuse_conn_info *conn, unsigned cap, bool on)
{
	if (on)
		conn->want |= conn->capable & cap;
	else
		conn->want &= ~cap;
}

/*
 * Pages are revoked explicitly, so a changed mtime must not drop a file's cache. The caller's umask comes along,
 * since a default ACL replaces it. Splicing is done in data.c where it wins.
 */
static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;

	set_cap(conn, FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_HANDLE_KILLPRIV, false);
	set_cap(conn, FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE, false);
	set_cap(conn, FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO |
		FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_DONT_MASK | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_CACHE_SYMLINKS |
		FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_IOCTL_DIR, true);
	set_cap(conn, FUSE_CAP_POSIX_ACL, fs->privileged);
	conn->max_background = 64;
	conn->congestion_threshold = 48;
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = on_init,
	.lookup = fs_names_lookup,
	.forget = fs_names_forget,
	.forget_multi = fs_names_forget_multi,
	.getattr = fs_attr_get,
	.setattr = fs_attr_set,
	.readlink = fs_names_readlink,
	.mknod = fs_names_mknod,
	.mkdir = fs_names_mkdir,
	.unlink = fs_names_unlink,
	.rmdir = fs_names_rmdir,
	.symlink = fs_names_symlink,
	.rename = fs_names_rename,
	.link = fs_names_link,
	.open = fs_open_open,
	.create = fs_open_create,
	.release = fs_open_release,
	.fsync = fs_range_fsync,
	.opendir = fs_dir_open,
	.readdir = fs_dir_read,
	.readdirplus = fs_dir_read_plus,
	.releasedir = fs_dir_release,
	.fsyncdir = fs_dir_fsync,
	.statfs = fs_attr_statfs,
	.setxattr = fs_xattr_set,
	.getxattr = fs_xattr_get,
	.listxattr = fs_xattr_list,
	.removexattr = fs_xattr_remove,
	.ioctl = fs_ioctl,
	.poll = fs_poll,
	.fallocate = fs_range_fallocate,
	.lseek = fs_range_lseek,
	.copy_file_range = fs_range_copy,
};
