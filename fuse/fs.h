/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fs.h - what all parts of the service share: the mount, and the kinds of nodes and opens
 *
 * A node id in the protocol is the address of a struct fs_node (1 is the root). A file handle is the address of a
 * struct fs_open. Both begin with their kind, since control files and files of the store arrive by the same
 * requests.
 */
#ifndef FS_FS_H
#define FS_FS_H

#define FUSE_USE_VERSION 314
#include <engine/engine.h>
#include <fuse3/fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "inode.h"
#include "options.h"
#include "proto.h"
#include "ticket.h"

/* The store belongs to the service while it is mounted: what the kernel was told stays true until it is told more. */
#define FS_TIMEOUT 1e6

struct fs_control;
struct fs_workers;
struct fs_calls;
struct fs_kernel;

struct fs {
	const struct fs_options *opt;
	struct engine *eng;
	struct fuse_session *se;
	struct fs_control *control;
	struct fs_workers *workers;
	struct fs_calls *calls;
	struct fs_kernel *kernel;	/* the module serves; NULL: the engine does */
	struct fs_inodes inodes;
	dev_t dev;		/* the mount's, as stat(2) shows it */
	int proc_fd;		/* /proc/self/fd: opens an O_PATH descriptor again, for I/O */
	bool privileged;	/* root: acts for any caller */
	bool read_only;		/* the store or the mount is */
	bool stacked;		/* the store is itself a stacked filesystem (overlay) */
	double entry_timeout;	/* how long a name stays true: no time where names that differ may be one */
	atomic_bool passthrough;	/* the kernel agreed to passthrough */
	atomic_bool ended;	/* no more requests: the kernel holds nothing */
	uint32_t max_write;	/* bytes of a request's data */
	char socket[108];	/* the name of the socket that hands descriptors out; "" where there is none */
	struct fs_tickets tickets;	/* ... which ones, to whom */
};

enum fs_node_kind { FS_NODE_STORE, FS_NODE_CONTROL };
enum fs_open_kind { FS_OPEN_FILE, FS_OPEN_DIR, FS_OPEN_TEXT, FS_OPEN_CONTEXT };

struct fs_open {
	enum fs_open_kind kind;
};

static inline struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline struct fs_open *fs_handle(const struct fuse_file_info *fi)
{
	return (struct fs_open *)(uintptr_t)fi->fh;
}

#endif
