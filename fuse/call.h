/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call.h - requests that may be answered later, by an engine thread; the buffers they carry; interrupts */
#ifndef FS_CALL_H
#define FS_CALL_H

#include "fs.h"

struct fs_worker;

/*
 * A block is a pool buffer that takes any request whole: its data, a page into the block, is page aligned, with the
 * headers of a WRITE right before it.
 */
#define FS_BLOCK_DATA	4096u
#define FS_REQUEST_HEAD (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))

struct fs_call {
	struct eng_req req;		/* first: req.done finds the call */
	struct fs *fs;
	int fd;				/* the channel that the answer leaves on */
	uint64_t unique;
	uint32_t opcode;
	bool direct;			/* write: nobody else holds the data */
	uint32_t out_size;		/* ioctl: bytes of the answer */
	uint32_t size;			/* bytes asked for */
	char *block;			/* owned */
	void (*answer)(struct fs_call *call);	/* sends the answer; req.result is set */
	void *data;			/* answer's own */
	unsigned refs;			/* under the shard's lock */
	struct fs_call *next, **link;	/* in its shard, under its lock */
};

int fs_calls_start(struct fs *fs);
void fs_calls_stop(struct fs *fs);

char *fs_block_get(struct fs *fs);	/* NULL: no memory */
void fs_block_put(struct fs *fs, char *block);

/*
 * A call for the worker's request, with a block. NULL: no memory. It is either begun, or kept for the next with
 * fs_call_keep.
 */
struct fs_call *fs_call_get(struct fs_worker *w);
void fs_call_keep(struct fs_worker *w, struct fs_call *call);
/* The call takes the worker's block, with the data of the request; the worker gets the call's. */
void fs_call_take_block(struct fs_worker *w, struct fs_call *call);
/* Registers it, so that it can be interrupted; from now on req.done must come. It answers and frees. */
void fs_call_begin(struct fs_call *call, void (*answer)(struct fs_call *call));
/* Takes back a begun call that turned out not to wait; the worker's again. */
void fs_call_unbegin(struct fs_call *call);
/* A worker ends: frees its spare. */
void fs_call_drop(struct fs_worker *w);

/* The common answers: error only; a byte count as WRITE and COPY_FILE_RANGE give it. */
void fs_call_answer_error(struct fs_call *call);
void fs_call_answer_count(struct fs_call *call);

/*
 * For requests that came through libfuse: frees req, hands back a begun call that answers by hand. NULL: ENOMEM has
 * been replied.
 */
struct fs_call *fs_call_take(fuse_req_t req, void (*answer)(struct fs_call *call));

/* Carries out an INTERRUPT request. */
void fs_call_interrupt(struct fs_worker *w);

#endif
