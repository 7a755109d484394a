/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * proto.h - the FUSE protocol as the kernel speaks it, where libfuse 3.14 or older kernel headers fall short
 *
 * linux/fuse.h of Debian 12 stops at protocol 7.38. What came later and is used here is defined below, each
 * under its kernel name, unless the header already has it.
 */
#ifndef FS_PROTO_H
#define FS_PROTO_H

#include <linux/fuse.h>
#include <sys/ioctl.h>

#if FUSE_KERNEL_MINOR_VERSION < 39
enum { FUSE_STATX = 52 };	/* 7.39 */

struct fuse_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};

struct fuse_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0[1];
	uint64_t ino, size, blocks, attributes_mask;
	struct fuse_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};

struct fuse_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	struct fuse_statx stat;
};
#endif

#ifndef FOPEN_PASSTHROUGH
#define FOPEN_PASSTHROUGH	(1u << 7)	/* 7.40 */
#define FUSE_PASSTHROUGH	(1ULL << 37)

struct fuse_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};

#define FUSE_DEV_IOC_BACKING_OPEN	_IOW(229, 1, struct fuse_backing_map)
#define FUSE_DEV_IOC_BACKING_CLOSE	_IOW(229, 2, uint32_t)
#endif

/* struct fuse_init_out of 7.40: max_stack_depth is the first word of what older headers call unused. */
static inline void fs_init_set_stack_depth(struct fuse_init_out *out, uint32_t depth)
{
	uint32_t *word = (uint32_t *)((char *)&out->flags2 + sizeof(out->flags2));

	*word = depth;
}

/* struct fuse_open_out of 7.40: backing_id is what older headers call padding. */
static inline void fs_open_set_backing(struct fuse_open_out *out, int32_t id)
{
	int32_t *word = (int32_t *)((char *)&out->open_flags + sizeof(out->open_flags));

	*word = id;
}

#endif
