/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel.h - the kernel module under the mount: files of the store as its objects
 *
 * Where the module serves (fs->kernel is set), every open regular file is an object over the store's file, and the
 * kernel takes reads, writes and mappings straight there (passthrough.c). What remains for the service is names, the
 * size, and requests by number, which it hands on.
 */
#ifndef FS_KERNEL_H
#define FS_KERNEL_H

#include "open.h"

struct fs_kernel;

#define FS_KERNEL_CONTROL "/dev/dmo/control"

/* A device of the module, as it was at the mount. */
struct fs_kernel_device {
	char name[32];
	mode_t mode;		/* of its node */
	uid_t uid;
	gid_t gid;
};

/* Finds the module and its devices. 0; -ENOENT: no module; -errno. */
int fs_kernel_start(struct fs *fs);
/* Waits for requests under way. */
void fs_kernel_stop(struct fs *fs);

unsigned fs_kernel_device_count(const struct fs *fs);
const struct fs_kernel_device *fs_kernel_device(const struct fs *fs, unsigned number);
/* Where contexts of the device are opened, written into path, which is also the result. */
const char *fs_kernel_node(const struct fs *fs, unsigned number, char *path, size_t size);
/* Text of a control file ("info", "memory.max"); its length or -errno. */
ssize_t fs_kernel_show(const struct fs *fs, unsigned number, const char *file, char *buf, size_t size);
/* Writes one; it may evict, so done comes from a thread of its own. text must stay until then. */
void fs_kernel_store(struct fs *fs, unsigned number, const char *file, struct eng_req *req, const char *text,
		     size_t length);

/*
 * The object over an open file of the store, as a new descriptor; read: it may only be read. The store's descriptor
 * stays the caller's. -errno: the module can't take this file.
 */
int fs_kernel_object(struct fs *fs, int fd, bool read);

/* Carries out an object's request and replies; at once, or on a thread of its own where it may take long. */
void fs_kernel_ioctl(fuse_req_t req, struct fs_file *file, unsigned cmd, const void *in, size_t in_size,
		     size_t out_size);
/* poll(2) of an object; a handle is notified when an asynchronous migration is over. */
void fs_kernel_poll(fuse_req_t req, struct fs_file *file, struct fuse_pollhandle *handle);
/* The open goes: its poll handle is forgotten. */
void fs_kernel_release(struct fs_file *file);

#endif
