/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_copy.h - the copy engine: moves bytes between the host and device memory, or within it
 *
 * Jobs wait in one queue. Up to SIM_TRANSFERS of them are open at a time; each is cut into pieces that the engine's
 * threads take. A job is done when its bytes are there and the link would have carried them. Jobs that wait for
 * the link do not keep others from being copied, so the latency of a list of jobs is paid once.
 */
#ifndef DMO_SIM_COPY_H
#define DMO_SIM_COPY_H

#include <dmo/backend.h>
#include <pthread.h>

#include "sim_link.h"

#define SIM_TRANSFERS		32
#define SIM_COPY_THREADS	2

enum sim_transfer_state { SIM_TRANSFER_FREE, SIM_TRANSFER_COPYING, SIM_TRANSFER_COPIED };

/* An open job. All fields under the engine's lock. */
struct sim_transfer {
	enum sim_transfer_state state;
	struct dmo_copy_job *job;
	uint64_t taken, copied;		/* bytes */
	uint64_t due;			/* when the link has carried it; 0: at once */
	int status;
};

struct sim_copy {
	unsigned char *memory;		/* the device's */
	uint64_t size;
	struct sim_link *link;
	pthread_mutex_t lock;		/* protects what follows */
	pthread_cond_t wake;
	struct dmo_copy_job *head, **tail;	/* jobs that are not open yet */
	struct sim_transfer transfers[SIM_TRANSFERS];
	unsigned open;			/* transfers that are not free */
	unsigned threads;		/* how many run */
	uint64_t fail_in;		/* the job that fails, counted from 1; 0: none */
	bool lost, stopping;
	pthread_t thread[SIM_COPY_THREADS];
};

/* memory and link outlive the engine. 0 or -errno. Starts no thread. */
int sim_copy_init(struct sim_copy *copy, unsigned char *memory, uint64_t size, struct sim_link *link);
/* Starts the threads if they don't run. Without any, sim_copy_jobs works on its caller's thread. */
void sim_copy_start(struct sim_copy *copy);
/* Finishes every job and stops the threads. */
void sim_copy_destroy(struct sim_copy *copy);

/* Takes a list of jobs, as dmo_backend_ops.copy. A small one may be done when this returns. */
void sim_copy_jobs(struct sim_copy *copy, struct dmo_copy_job *jobs);
/* The nth job from now fails with -EIO, its destination partly written. */
/* A transfer through the window counts as a job: 0, -EIO where it was made to fail, -ENODEV. */
int sim_copy_pass(struct sim_copy *copy);
void sim_copy_fail(struct sim_copy *copy, uint64_t nth);
/* From now on every job ends with -ENODEV. */
void sim_copy_lose(struct sim_copy *copy);

#endif
