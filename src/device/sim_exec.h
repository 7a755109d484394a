/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_exec.h - compute: lanes (threads) that run the commands of address spaces
 *
 * A command is cut into parts, which lanes run on their own; whoever ends the last part finishes the command. An
 * address space has one command running at a time; those that have one waiting take turns.
 *
 * A lane reaches memory through a lease: the addresses, within one block, that it uses right now through one
 * translation. It holds one at a time, for the time of working through those bytes, and none while it waits for a
 * fault or for the link. Whoever takes a translation away bumps the address space's generation, which makes TLB
 * entries void, and waits for the leases in its way. Operands that are needed together go through the lane's local
 * memory.
 *
 * Lock order: sim_exec.lock, then fault_lock, then lease_lock; none of them is held while the host is called.
 */
#ifndef DMO_SIM_EXEC_H
#define DMO_SIM_EXEC_H

#include <dmo/backend.h>
#include <pthread.h>
#include <stdatomic.h>

#include "sim_guard.h"
#include "sim_link.h"
#include "sim_mmu.h"
#include "sim_spec.h"

#define SIM_TLB		64
#define SIM_LOCAL	32768u		/* floats in each of a lane's local buffers */
#define SIM_LOCALS	3
#define SIM_STREAM	16		/* pieces of a stream that the link has been asked for ... */
#define SIM_PIECE	(64u << 10)	/* ... of so many bytes */

struct sim_exec;
struct sim_as;
struct sim_lane;
struct sim_run;

/* What a kind of command does. Results are 0 or -errno; what they touch is theirs while they run. */
struct sim_op {
	/* Checks the arguments and cuts the command: sets units, and parts if it is worth several lanes. */
	int (*plan)(struct sim_run *run);
	/* Runs one part. NULL: nothing to do. */
	int (*part)(struct sim_lane *lane, struct sim_run *run, unsigned part);
	/* Puts the parts' results together, after the last of them. NULL: nothing to do. */
	int (*finish)(struct sim_lane *lane, struct sim_run *run);
};

/* A command that runs; part of its address space. */
struct sim_run {
	struct sim_as *as;
	struct sim_run *next;		/* in the list of those with parts to give */
	const struct sim_op *op;
	struct dmo_command cmd;
	unsigned parts, given;		/* given: under exec.lock */
	uint64_t unit, units;		/* set by plan: size of a unit of work, and how many */
	uint64_t seq;			/* its number in the address space */
	uint64_t start;			/* ns */
	atomic_uint asked;		/* parts that have asked the link for all they stream */
	atomic_uint left;		/* parts that are not over */
	atomic_int status;		/* the first error */
	_Atomic uint64_t va;		/* ... and where */
	_Atomic uint64_t faults, waited;
	_Atomic uint64_t bound;		/* COMPARE: no need to look further */
	uint64_t partial[SIM_THREADS_MAX][2];	/* each part's results */
	uint64_t result[2];
	float *scratch;			/* each part's sums; kept for the next command */
	size_t scratch_size;		/* bytes */
};

/* Bytes on their way over the link. */
struct sim_arrival {
	uint64_t bytes, at;
};

/* What the link was asked for on behalf of a command that has not begun. */
struct sim_ahead {
	uint64_t seq;			/* the command's */
	unsigned head, count;
	struct sim_arrival arrivals[SIM_STREAM];
};

struct sim_batch {
	struct sim_batch *next;
	uint32_t count, at;
	struct dmo_command commands[];
};

struct sim_as {
	struct sim_exec *exec;
	void *owner;
	struct sim_mmu mmu;
	_Atomic uint64_t generation;	/* of translations; never goes back */
	atomic_bool dying;
	/* under exec.lock: */
	struct sim_as *next;		/* in the list of those whose turn will come, or of free ones */
	struct sim_as *all_next;	/* every one ever made */
	struct sim_batch *head, **tail;
	bool running, live;
	uint64_t started;		/* commands that have begun; the last one's seq */
	struct sim_ahead ahead;
	struct sim_run run;		/* used by lanes while running */
};

struct sim_tlb_entry {
	struct sim_as *as;
	uint64_t generation;
	struct sim_run_of_pages run;
};

struct sim_lane {
	struct sim_exec *exec;
	unsigned index;
	pthread_t thread;

	/* The lease. Written by the lane, read by those who take translations away. */
	_Alignas(64) _Atomic(struct sim_as *) lease_as;		/* NULL: none */
	_Atomic uint64_t lease_va, lease_end, lease_seq;

	/* The lane's own. */
	_Alignas(64) struct sim_run *run;
	struct sim_block *lease_block;
	bool lease_write;
	uint64_t fail_va;		/* the address of the last error */
	uint64_t paid_va, paid_end;	/* bytes that have come over the link for this command */
	uint64_t stream_left;		/* bytes that the command will go on streaming */
	uint64_t stream_ahead;		/* of them asked for */
	bool stream_asked;		/* for all of them */
	bool stream_alone;		/* nothing, or nothing more, was asked for ahead of the command */
	unsigned stream_head, stream_count;
	struct sim_arrival stream[SIM_STREAM];
	unsigned spin_ns;
	struct sim_tlb_entry tlb[SIM_TLB];
	struct sim_guard guard;
	float *local[SIM_LOCALS];	/* SIM_LOCAL floats each */

	/* under exec.fault_lock: */
	pthread_cond_t fault_cond;
	struct sim_as *fault_as;	/* NULL: no fault is out */
	uint64_t fault_id;
	bool fault_over;
	int fault_status;
};

struct sim_exec {
	const struct dmo_host *host;
	void *host_ctx;
	struct sim_link *link;
	bool faults;
	unsigned threads, started;
	struct sim_lane *lanes;
	atomic_bool lost;

	pthread_mutex_t lock;		/* protects what follows, and what sim_as says */
	pthread_cond_t work;		/* a lane may have something to do */
	pthread_cond_t idle;		/* a command is over */
	struct sim_as *ready, **ready_tail;
	struct sim_run *open, **open_tail;	/* with parts to give */
	struct sim_as *all, *free;
	unsigned sleeping;
	bool stopping;
	_Atomic uint64_t work_seq;	/* changes with each piece of work; for lanes that spin */

	pthread_mutex_t fault_lock;	/* protects the lanes' faults */
	uint64_t fault_id;

	pthread_mutex_t lease_lock;	/* for waiting only */
	pthread_cond_t lease_over;
	atomic_uint lease_waiters;
};

/* ---- set-up (sim_exec.c) ------------------------------------------------------------------------------- */

int sim_exec_init(struct sim_exec *exec, const struct sim_spec *spec, struct sim_link *link,
		  const struct dmo_host *host, void *host_ctx);
/* Starts the lanes if they don't run. 0 or -errno. */
int sim_exec_start(struct sim_exec *exec);
/* Stops the lanes and frees every address space. */
void sim_exec_destroy(struct sim_exec *exec);

int sim_as_create(struct sim_exec *exec, void *owner, struct sim_as **as);
/* Stops what runs, completes what is queued with ECANCELED. Not from within host->complete. */
void sim_as_destroy(struct sim_as *as);
int sim_as_submit(struct sim_as *as, const struct dmo_command *commands, uint32_t count);
void sim_as_fault_done(struct sim_as *as, uint64_t id, int status);
/* Releases everybody who waits for a fault; commands end with -EIO from now on. */
void sim_exec_lose(struct sim_exec *exec);

/* Returns when no lane uses a translation of [va, end) that is older than this call. */
void sim_as_sync(struct sim_as *as, uint64_t va, uint64_t end);

/* ---- streams across commands (sim_ahead.c) ---------------------------------------------------------------- */

/*
 * Asks the link for the first bytes of what a command behind run will stream, where that is remote. Called when run
 * has asked for all of its own, so that the link does not idle between two commands.
 */
void sim_ahead_ask(struct sim_run *run);
/* Takes up to *bytes of what was asked for ahead of run: when they arrive, and in *bytes how many. False: none left. */
bool sim_ahead_take(struct sim_run *run, uint64_t *bytes, uint64_t *at);

/* ---- memory, for commands (sim_lease.c) ------------------------------------------------------------------ */

#define SIM_LEASE_WRITE		(1u << 0)
#define SIM_LEASE_STREAM	(1u << 1)	/* part of what stream_left announced */

/*
 * Leases memory at va: *ptr to *got bytes, at least 1 and at most want, until sim_lease_end. rest (at least want): how far
 * beyond va the command will go on, a hint for the fault. Waits for faults and for the link. -EFAULT, -EACCES,
 * -EIO ... with fail_va set; -ECANCELED: another part failed or the address space goes.
 */
int sim_lease(struct sim_lane *lane, uint64_t va, uint64_t want, uint64_t rest, unsigned flags, void **ptr,
	      uint64_t *got);
/* Gives it back, the first used bytes read (or written). */
void sim_lease_end(struct sim_lane *lane, uint64_t used);
/* Gives back whatever is held, unused. */
void sim_lease_drop(struct sim_lane *lane);

/* Copies between device addresses and memory of the lane's. As sim_lease. */
int sim_read(struct sim_lane *lane, uint64_t va, void *buffer, uint64_t bytes, uint64_t rest);
int sim_read_stream(struct sim_lane *lane, uint64_t va, void *buffer, uint64_t bytes, uint64_t rest);
int sim_write(struct sim_lane *lane, uint64_t va, const void *buffer, uint64_t bytes, uint64_t rest);

/* Reports an error at an address: sets fail_va, returns err. */
static inline int sim_fail(struct sim_lane *lane, uint64_t va, int err)
{
	lane->fail_va = va;
	return err;
}

#endif
