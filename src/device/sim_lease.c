/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_lease.c - how a lane reaches memory: TLB, faults, the link
 *
 * The order that makes release honest, all of it sequentially consistent:
 *
 *	lane:     publish lease;          read generation (then TLB or table)
 *	release:  change table, bump generation;          read leases
 *
 * Either the lane sees the new generation, and with it the changed table, or the release sees the lease and waits.
 */
#include "sim_exec.h"

#include <errno.h>
#include <string.h>

#define STREAM_AHEAD	((uint64_t)SIM_STREAM * SIM_PIECE)	/* bytes of a stream that are asked for before they are needed */
#define SLICE_NS	10000000	/* how long a lane sleeps before it looks whether it is still wanted */

/* ---- the lease --------------------------------------------------------------------------------------- */

static void publish(struct sim_lane *lane, struct sim_as *as, uint64_t va, uint64_t end)
{
	atomic_store(&lane->lease_seq, lane->lease_seq + 1);
	atomic_store_explicit(&lane->lease_va, va, memory_order_release);
	atomic_store_explicit(&lane->lease_end, end, memory_order_release);
	atomic_store(&lane->lease_as, as);
}

static void unpublish(struct sim_lane *lane)
{
	struct sim_exec *exec = lane->exec;

	atomic_store(&lane->lease_as, NULL);
	if (!atomic_load(&exec->lease_waiters))
		return;
	pthread_mutex_lock(&exec->lease_lock);
	pthread_cond_broadcast(&exec->lease_over);
	pthread_mutex_unlock(&exec->lease_lock);
}

static bool in_the_way(struct sim_lane *lane, struct sim_as *as, uint64_t va, uint64_t end, uint64_t *seq)
{
	*seq = atomic_load(&lane->lease_seq);
	if (atomic_load(&lane->lease_as) != as)
		return false;
	return atomic_load(&lane->lease_va) < end && atomic_load(&lane->lease_end) > va;
}

/* A lease with another number began after the translation went. */
static bool still_held(struct sim_lane *lane, struct sim_as *as, uint64_t seq)
{
	return atomic_load(&lane->lease_as) == as && atomic_load(&lane->lease_seq) == seq;
}

static void wait_for_lane(struct sim_lane *lane, struct sim_as *as, uint64_t seq)
{
	struct sim_exec *exec = lane->exec;

	for (int i = 0; i < 200; i++) {
		if (!still_held(lane, as, seq))
			return;
		sim_relax();
	}
	pthread_mutex_lock(&exec->lease_lock);
	atomic_fetch_add(&exec->lease_waiters, 1);
	while (still_held(lane, as, seq))
		pthread_cond_wait(&exec->lease_over, &exec->lease_lock);
	atomic_fetch_sub(&exec->lease_waiters, 1);
	pthread_mutex_unlock(&exec->lease_lock);
}

void sim_as_sync(struct sim_as *as, uint64_t va, uint64_t end)
{
	struct sim_exec *exec = as->exec;
	uint64_t seq;

	atomic_fetch_add(&as->generation, 1);
	for (unsigned i = 0; i < exec->threads; i++) {
		if (in_the_way(&exec->lanes[i], as, va, end, &seq))
			wait_for_lane(&exec->lanes[i], as, seq);
	}
}

/* ---- translation -------------------------------------------------------------------------------------- */

static const struct sim_run_of_pages *translate(struct sim_lane *lane, struct sim_as *as, uint64_t va, bool write)
{
	struct sim_tlb_entry *entry = &lane->tlb[(va >> DMO_BLOCK_SHIFT) % SIM_TLB];
	uint64_t generation = atomic_load(&as->generation);

	if (entry->as == as && entry->generation == generation && va >= entry->run.va && va < entry->run.end &&
	    (entry->run.writable || !write))
		return &entry->run;
	entry->as = NULL;
	if (!sim_mmu_walk(&as->mmu, va, write, &entry->run))
		return NULL;
	entry->as = as;
	entry->generation = generation;
	return &entry->run;
}

/* Why the command can't go on; 0: it can. */
static int stopped(struct sim_lane *lane)
{
	if (atomic_load_explicit(&lane->exec->lost, memory_order_relaxed))
		return -EIO;
	if (atomic_load_explicit(&lane->run->as->dying, memory_order_relaxed) ||
	    atomic_load_explicit(&lane->run->status, memory_order_relaxed))
		return -ECANCELED;
	return 0;
}

/* ---- faults -------------------------------------------------------------------------------------------- */

static bool fault_goes_on(struct sim_lane *lane)
{
	return !lane->fault_over && !atomic_load(&lane->exec->lost) && !atomic_load(&lane->run->as->dying);
}

static void post_fault(struct sim_lane *lane)
{
	struct sim_exec *exec = lane->exec;

	pthread_mutex_lock(&exec->fault_lock);
	lane->fault_id = ++exec->fault_id;
	lane->fault_over = false;
	lane->fault_as = lane->run->as;
	pthread_mutex_unlock(&exec->fault_lock);
}

static int wait_fault(struct sim_lane *lane)
{
	struct sim_exec *exec = lane->exec;
	int status;

	pthread_mutex_lock(&exec->fault_lock);
	while (fault_goes_on(lane))
		pthread_cond_wait(&lane->fault_cond, &exec->fault_lock);
	status = lane->fault_over ? lane->fault_status : 0;
	lane->fault_as = NULL;
	pthread_mutex_unlock(&exec->fault_lock);
	return status;
}

/* Has the host resolve a miss; holds no lease. */
static int take_fault(struct sim_lane *lane, uint64_t va, uint64_t rest, bool write)
{
	struct dmo_dev_fault fault = { .owner = lane->run->as->owner, .va = va & ~(uint64_t)(DMO_PAGE_SIZE - 1),
				       .write = write };
	uint64_t start = sim_now();
	int err;

	if (!lane->exec->faults)
		return -EFAULT;
	fault.bytes = va - fault.va + rest;
	if (fault.bytes < DMO_PAGE_SIZE)
		fault.bytes = DMO_PAGE_SIZE;
	post_fault(lane);
	fault.id = lane->fault_id;
	lane->exec->host->fault(lane->exec->host_ctx, &fault);
	err = wait_fault(lane);
	atomic_fetch_add(&lane->run->faults, 1);
	atomic_fetch_add(&lane->run->waited, sim_now() - start);
	return err;
}

/* ---- the link ------------------------------------------------------------------------------------------ */

/* When bytes that are asked for now, or were asked for ahead of the command, arrive; it may be fewer. */
static uint64_t ask(struct sim_lane *lane, uint64_t *bytes)
{
	uint64_t at;

	if (!lane->stream_alone && sim_ahead_take(lane->run, bytes, &at))
		return at;
	lane->stream_alone = true;
	return sim_link_reserve(lane->exec->link, SIM_LINK_IN, *bytes);
}

static void ask_for(struct sim_lane *lane, uint64_t bytes)
{
	struct sim_arrival *arrival = &lane->stream[(lane->stream_head + lane->stream_count++) % SIM_STREAM];

	arrival->bytes = bytes < SIM_PIECE ? bytes : SIM_PIECE;
	arrival->at = ask(lane, &arrival->bytes);
	lane->stream_ahead += arrival->bytes;
}

/* Keeps the link busy with what the stream will need, then with what the next command will. */
static void top_up(struct sim_lane *lane)
{
	while (lane->stream_count < SIM_STREAM && lane->stream_ahead < STREAM_AHEAD &&
	       lane->stream_ahead < lane->stream_left)
		ask_for(lane, lane->stream_left - lane->stream_ahead);
	if (lane->stream_asked || lane->stream_ahead < lane->stream_left)
		return;
	lane->stream_asked = true;
	if (atomic_fetch_add(&lane->run->asked, 1) + 1 == lane->run->parts)
		sim_ahead_ask(lane->run);
}

/* When the next bytes of the stream are there. */
static uint64_t take_stream(struct sim_lane *lane, uint64_t bytes)
{
	struct sim_arrival *first;
	uint64_t at = 0, part, want = bytes;

	while (want) {
		if (!lane->stream_count)
			ask_for(lane, want);
		first = &lane->stream[lane->stream_head];
		part = want < first->bytes ? want : first->bytes;
		at = first->at;
		first->bytes -= part;
		want -= part;
		lane->stream_ahead -= part;
		if (!first->bytes) {
			lane->stream_head = (lane->stream_head + 1) % SIM_STREAM;
			lane->stream_count--;
		}
	}
	lane->stream_left -= bytes < lane->stream_left ? bytes : lane->stream_left;
	top_up(lane);
	return at;
}

/* Waits until bytes have come over the link; holds no lease. */
static void wait_link(struct sim_lane *lane, uint64_t at)
{
	uint64_t start = sim_now(), now = start;

	while (now < at && !stopped(lane)) {
		sim_wait_until(at < now + SLICE_NS ? at : now + SLICE_NS);
		now = sim_now();
	}
	atomic_fetch_add(&lane->run->waited, now - start);
}

/* How many bytes at va have been paid for and not been given up yet. */
static uint64_t paid_for(const struct sim_lane *lane, uint64_t va)
{
	return va >= lane->paid_va && va < lane->paid_end ? lane->paid_end - va : 0;
}

/* Pays for a remote access. True: it was waited, and the lease given up for that. */
static bool pay(struct sim_lane *lane, uint64_t va, uint64_t bytes, unsigned flags)
{
	uint64_t at;

	lane->paid_va = va;
	lane->paid_end = va + bytes;
	if (sim_link_is_free(lane->exec->link))
		return false;
	at = flags & SIM_LEASE_STREAM ? take_stream(lane, bytes) :
					sim_link_reserve(lane->exec->link, SIM_LINK_IN, bytes);
	if (at <= sim_now())
		return false;
	unpublish(lane);
	wait_link(lane, at);
	return true;
}

/* ---- what commands call ---------------------------------------------------------------------------------- */

static uint64_t shorter(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The end of a lease that starts at va: within its block. */
static uint64_t lease_limit(uint64_t va, uint64_t want)
{
	uint64_t block = (va | (DMO_BLOCK_SIZE - 1)) + 1;

	return shorter(block - va, want) + va;
}

static bool outside(uint64_t va)
{
	return va < SIM_VA_START || va >= SIM_VA_END;
}

static void hold(struct sim_lane *lane, const struct sim_run_of_pages *run, uint64_t va, uint64_t got, unsigned flags,
		 void **ptr)
{
	*ptr = (void *)(run->at + (va - run->va));
	lane->lease_block = run->block;
	lane->lease_write = flags & SIM_LEASE_WRITE;
	if (run->remote)
		sim_guard_arm(&lane->guard, *ptr, got);
}

int sim_lease(struct sim_lane *lane, uint64_t va, uint64_t want, uint64_t rest, unsigned flags, void **ptr,
	      uint64_t *got)
{
	struct sim_as *as = lane->run->as;
	const struct sim_run_of_pages *run;
	uint64_t end = lease_limit(va, want), paid;
	int err;

	if (outside(va))
		return sim_fail(lane, va, -EFAULT);
	for (;;) {
		err = stopped(lane);
		if (err)
			return sim_fail(lane, va, err);
		publish(lane, as, va, end);
		run = translate(lane, as, va, flags & SIM_LEASE_WRITE);
		if (!run) {
			unpublish(lane);
			err = take_fault(lane, va, rest, flags & SIM_LEASE_WRITE);
			if (err)
				return sim_fail(lane, va, err);
			continue;
		}
		*got = shorter(end, run->end) - va;
		if (!run->remote)
			break;
		paid = paid_for(lane, va);
		*got = shorter(*got, paid ? paid : SIM_PIECE);
		if (paid || !pay(lane, va, *got, flags))
			break;
	}
	hold(lane, run, va, *got, flags, ptr);
	return 0;
}

void sim_lease_end(struct sim_lane *lane, uint64_t used)
{
	uint64_t va = atomic_load_explicit(&lane->lease_va, memory_order_relaxed);

	sim_guard_disarm(&lane->guard);
	if (used)
		sim_block_mark(lane->lease_block, va, used, lane->lease_write);
	if (paid_for(lane, va))
		lane->paid_va = va + used;
	unpublish(lane);
}

void sim_lease_drop(struct sim_lane *lane)
{
	if (atomic_load_explicit(&lane->lease_as, memory_order_relaxed))
		sim_lease_end(lane, 0);
}

static int read_by(struct sim_lane *lane, uint64_t va, void *buffer, uint64_t bytes, uint64_t rest, unsigned flags)
{
	uint64_t got;
	void *ptr;
	int err;

	while (bytes) {
		err = sim_lease(lane, va, bytes, rest, flags, &ptr, &got);
		if (err)
			return err;
		memcpy(buffer, ptr, got);
		sim_lease_end(lane, got);
		buffer = (char *)buffer + got;
		va += got;
		bytes -= got;
		rest -= got;
	}
	return 0;
}

int sim_read(struct sim_lane *lane, uint64_t va, void *buffer, uint64_t bytes, uint64_t rest)
{
	return read_by(lane, va, buffer, bytes, rest, 0);
}

int sim_read_stream(struct sim_lane *lane, uint64_t va, void *buffer, uint64_t bytes, uint64_t rest)
{
	return read_by(lane, va, buffer, bytes, rest, SIM_LEASE_STREAM);
}

int sim_write(struct sim_lane *lane, uint64_t va, const void *buffer, uint64_t bytes, uint64_t rest)
{
	uint64_t got;
	void *ptr;
	int err;

	while (bytes) {
		err = sim_lease(lane, va, bytes, rest, SIM_LEASE_WRITE, &ptr, &got);
		if (err)
			return err;
		memcpy(ptr, buffer, got);
		sim_lease_end(lane, got);
		buffer = (const char *)buffer + got;
		va += got;
		bytes -= got;
		rest -= got;
	}
	return 0;
}
