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
