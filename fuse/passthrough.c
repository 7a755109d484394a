/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * passthrough.c - FUSE passthrough: mmap, read and write at the store's own speed
 *
 * Linux 6.9 lets an OPEN name a backing file that the kernel then uses for all data of that open. libfuse 3.14 has
 * no call for it: the answer to INIT is completed here before it leaves, and OPEN is answered by hand.
 *
 * The kernel wants one mode and one backing id per inode while it is open. So the first open decides, and later
 * ones follow:
 *
 *	no opens --first open, wanted, no device there--> passthrough   (backing id registered, bypass counted)
 *	no opens --any other first open-----------------> coherent
 *	passthrough/coherent --last release-------------> no opens      (backing id closed)
 *
 * While a file is in passthrough the kernel's page cache of it gets old: the next coherent open drops it.
 * Passthrough is wanted for every file (-o passthrough), or where an attribute promises that no device will touch
 * the file. The attribute on the file goes before the one on its directory, and that before the mount's option.
 */
#include "config.h"

#include "passthrough.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "kernel.h"
#include "log.h"

bool fs_passthrough_absent(void)
{
	struct fuse_backing_map map = { .fd = -1 };
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), error = 0;

	if (fd < 0)
		return false;
	if (ioctl(fd, FUSE_DEV_IOC_BACKING_OPEN, &map) < 0)	/* one that has it says that nothing is mounted */
		error = errno;
	close(fd);
	return error == ENOTTY || error == EOPNOTSUPP;
}

void fs_passthrough_init(struct fs *fs, const struct fuse_in_header *in, struct fuse_init_out *out)
{
	const struct fuse_init_in *arg = (const void *)(in + 1);
	uint64_t offered = arg->flags;

	if (in->len >= sizeof(*in) + sizeof(*arg) && arg->flags & FUSE_INIT_EXT)
		offered |= (uint64_t)arg->flags2 << 32;
	/* The read-ahead is set through the mount's bdi; the writes are as large as the blocks here. */
	out->max_readahead = UINT32_MAX;
	out->max_write = fs->max_write;
	out->max_pages = fs->max_write / sysconf(_SC_PAGESIZE);
	out->flags |= FUSE_MAX_PAGES | (offered & FUSE_HANDLE_KILLPRIV_V2);
	if (!(offered & FUSE_PASSTHROUGH) && fs->kernel)
		fs_log(LOG_WARNING, "this kernel has no FUSE passthrough (Linux 6.9): files can't be mapped shared");
	if (!(offered & FUSE_PASSTHROUGH) || !fs->privileged)
		return;
	out->flags |= FUSE_INIT_EXT;
	out->flags2 |= FUSE_PASSTHROUGH >> 32;
	fs_init_set_stack_depth(out, fs->stacked ? 2 : 1);
	atomic_store(&fs->passthrough, true);
}

static enum fs_hint read_hint(struct fs_inode *inode)
{
	char path[32], value;

	if (getxattr(fs_inode_path(inode, path), FS_XATTR_PASSTHROUGH, &value, 1) != 1)
		return FS_HINT_NONE;
	return value == '1' ? FS_HINT_YES : value == '0' ? FS_HINT_NO : FS_HINT_NONE;
}

static enum fs_hint hint_of(struct fs_inode *inode)
{
	if (inode->hint == FS_HINT_UNKNOWN)
		inode->hint = read_hint(inode);
	return inode->hint;
}

void fs_passthrough_inherit(struct fs_inode *inode, struct fs_inode *parent)
{
	if (!atomic_load(&inode->fs->passthrough))
		return;
	inode->parent = (uintptr_t)parent;
	inode->parent_hint = hint_of(parent);
}

static void inherit_again(struct fs_inode *inode, void *parent)
{
	if (inode->parent == (uintptr_t)parent)
		inode->parent_hint = ((struct fs_inode *)parent)->hint;
}

void fs_passthrough_hint_changed(struct fs_inode *inode)
{
	inode->hint = read_hint(inode);
	if (S_ISDIR(inode->type))
		fs_inodes_each(inode->fs, inherit_again, inode);
}

/* What the attribute on the file says, else that on its directory. */
static enum fs_hint nearest_hint(struct fs_inode *inode)
{
	enum fs_hint hint = hint_of(inode);

	return hint < FS_HINT_NO ? inode->parent_hint : hint;
}

bool fs_passthrough_promised(struct fs_inode *inode)
{
	return nearest_hint(inode) == FS_HINT_YES;
}

static bool wanted(struct fs_inode *inode)
{
	struct fs *fs = inode->fs;
	enum fs_hint hint;

	if (!atomic_load(&fs->passthrough))
		return false;
	if (inode->object)
		return true;
	hint = nearest_hint(inode);
	return hint < FS_HINT_NO ? fs->opt->passthrough : hint == FS_HINT_YES;
}

/* The module's object over the store's file fd, which the inode keeps. */
static int object_fd(struct fs_inode *inode, int fd, bool writable)
{
	if (inode->object_fd >= 0)
		return inode->object_fd;
	fd = fs_kernel_object(inode->fs, fd, !writable);
	if (fd < 0)
		return fd;
	inode->object_fd = fd;
	atomic_fetch_add(&inode->fs->inodes.data_fds, 1);
	return fd;
}

/* The store's file, or the module's object over it, for opens of any mode: later ones follow. */
static int backing_fd(struct fs_inode *inode)
{
	int fd = fs_inode_data_fd_locked(inode, true);
	bool writable = fd >= 0;

	if (fd < 0)
		fd = atomic_load(&inode->data_fd);
	if (fd < 0)
		return -EBADF;
	return inode->object ? object_fd(inode, fd, writable) : fd;
}

static int register_backing(struct fs_inode *inode)
{
	struct fuse_backing_map map = { 0 };
	int id;

	map.fd = backing_fd(inode);
	if (map.fd < 0)
		return map.fd;
	id = ioctl(fuse_session_fd(inode->fs->se), FUSE_DEV_IOC_BACKING_OPEN, &map);
	if (id < 0)
		return -errno;
	inode->backing_id = id;
	return 0;
}

static void unregister_backing(struct fs_inode *inode)
{
	uint32_t id = inode->backing_id;

	ioctl(fuse_session_fd(inode->fs->se), FUSE_DEV_IOC_BACKING_CLOSE, &id);
	inode->backing_id = -1;
}

/* The first open of the inode. */
static bool try_first(struct fs_inode *inode)
{
	int rc;

	if (!wanted(inode) || eng_object_busy(inode->obj) || eng_object_bypass(inode->obj, 1))
		return false;
	rc = register_backing(inode);
	if (!rc)
		return true;
	eng_object_bypass(inode->obj, -1);
	if (rc != -EBADF) {
		fs_log(LOG_WARNING, "no passthrough: %s", strerror(-rc));
		atomic_store(&inode->fs->passthrough, false);
	}
	return false;
}

void fs_passthrough_enter(struct fs_file *file)
{
	struct fs_inode *inode = file->inode;

	if (inode->bypassing)
		file->bypass = !eng_object_bypass(inode->obj, 1);
	else if (!inode->files)
		file->bypass = try_first(inode);
	if (!file->bypass)
		return;
	inode->bypassing++;
	inode->drop_cache = true;
}

void fs_passthrough_leave(struct fs_file *file)
{
	struct fs_inode *inode = file->inode;

	if (!file->bypass)
		return;
	eng_object_bypass(inode->obj, -1);
	if (!--inode->bypassing)
		unregister_backing(inode);
}
