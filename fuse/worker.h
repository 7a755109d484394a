/* SPDX-License-Identifier: GPL-2.0-or-later */
/* worker.h - the threads that take requests from the kernel */
#ifndef FS_WORKER_H
#define FS_WORKER_H

#include "call.h"
#include "fs.h"
#include "idle.h"

/* What a worker owns; only its own thread touches it. */
struct fs_worker {
	struct fs *fs;
	struct fs_idler idler;
	int fd;				/* its channel: requests read from it are answered on it */
	bool nonblocking;		/* reads of fd don't wait */
	char *block;			/* a buffer of the pool (call.h) */
	const struct fuse_in_header *in;	/* the request at hand, inside block */
	size_t in_size;
	struct fs_call *spare;		/* a call ready for use; NULL: fs_call_get makes one */
	int pipe[2];			/* for splicing; -1 until wanted */
	uid_t uid;			/* the credentials that the thread runs with (cred.c) */
	gid_t gid;
	mode_t mask;
	bool keeps_caps;		/* changing uid leaves its capabilities alone */
};

/* The worker that runs this thread; NULL on any other. */
struct fs_worker *fs_worker(void);
/* The request at hand, behind its header. */
static inline const void *fs_worker_arg(const struct fs_worker *w)
{
	return w->in + 1;
}

/* Starts the first workers for the mounted session; more come and go with the load. 0 or -errno. */
int fs_workers_start(struct fs *fs, void (*on_end)(void *arg), void *arg);
/* Wakes all of them and waits for their end. Answers may still be sent through their descriptors. */
void fs_workers_stop(struct fs *fs);
/* Closes the descriptors: nothing is answered any more. */
void fs_workers_free(struct fs *fs);

#endif
