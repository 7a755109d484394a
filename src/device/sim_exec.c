/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_exec.c - the command queue and the lanes that work it off
 *
 * Two lists feed the lanes: runs with parts to give, and address spaces whose turn it is. A lane takes a part where
 * there is one, else the next command of the first address space, which then goes to the end of the list.
 *
 *	queued --start_next--> planned --(parts given)--> running --end_part (last)--> finished, completed
 *
 * A lane without work spins for a moment, less and less where that is in vain, then sleeps.
 *
 * Address spaces are never freed before the device is: a late fault_done finds a live structure and no fault.
 */
#include "sim_exec.h"
#include "sim_ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPIN_MAX_NS	20000
#define SPIN_MIN_NS	500

/* ---- wake-up, under the lock --------------------------------------------------------------------------- */

static void announce(struct sim_exec *exec, unsigned lanes)
{
	atomic_fetch_add(&exec->work_seq, 1);
	while (lanes-- && exec->sleeping)
		pthread_cond_signal(&exec->work);
}

static void make_ready(struct sim_as *as)
{
	struct sim_exec *exec = as->exec;

	as->next = NULL;
	*exec->ready_tail = as;
	exec->ready_tail = &as->next;
}

static void offer_parts(struct sim_run *run)
{
	struct sim_exec *exec = run->as->exec;

	run->next = NULL;
	*exec->open_tail = run;
	exec->open_tail = &run->next;
	announce(exec, run->parts - 1);
}

static struct sim_run *take_part(struct sim_exec *exec, unsigned *part)
{
	struct sim_run *run = exec->open;

	if (!run)
		return NULL;
	*part = run->given++;
	if (run->given == run->parts) {
		exec->open = run->next;
		if (!exec->open)
			exec->open_tail = &exec->open;
	}
	return run;
}

/* Takes the next command of the address space whose turn it is. */
static struct sim_run *start_next(struct sim_exec *exec)
{
	struct sim_as *as = exec->ready;
	struct sim_batch *batch;
	struct sim_run *run;

	if (!as)
		return NULL;
	exec->ready = as->next;
	if (!exec->ready)
		exec->ready_tail = &exec->ready;
	run = &as->run;
	batch = as->head;
	run->cmd = batch->commands[batch->at++];
	if (batch->at == batch->count) {
		as->head = batch->next;
		if (!as->head)
			as->tail = &as->head;
		free(batch);
	}
	as->running = true;
	run->seq = ++as->started;
	return run;
}

/* ---- running --------------------------------------------------------------------------------------------- */

static void record_error(struct sim_lane *lane, struct sim_run *run, int err)
{
	int none = 0;

	if (err && atomic_compare_exchange_strong(&run->status, &none, err))
		atomic_store(&run->va, err == -ECANCELED ? 0 : lane->fail_va);
}

/* Calls fn with the guard up; a host page that can't be had ends it with -EIO. */
static int call_guarded(struct sim_lane *lane, struct sim_run *run, unsigned part, bool finish)
{
	int err;

	lane->run = run;
	lane->fail_va = 0;
	lane->paid_end = 0;
	lane->stream_left = 0;
	lane->stream_ahead = 0;
	lane->stream_count = 0;
	lane->stream_asked = false;
	lane->stream_alone = false;
	sim_guard_enter(&lane->guard);
	if (sigsetjmp(lane->guard.env, 0)) {
		lane->fail_va = lane->lease_va + (lane->guard.fault - lane->guard.start);
		sim_lease_drop(lane);
		err = -EIO;
	} else {
		err = finish ? run->op->finish(lane, run) : run->op->part(lane, run, part);
	}
	sim_guard_leave(&lane->guard);
	return err;
}

static void plan(struct sim_lane *lane, struct sim_run *run)
{
	struct sim_exec *exec = lane->exec;

	run->start = sim_now();
	run->parts = 1;
	run->given = 1;
	run->units = 1;
	run->result[0] = 0;
	run->result[1] = 0;
	atomic_store(&run->va, 0);
	atomic_store(&run->faults, 0);
	atomic_store(&run->waited, 0);
	atomic_store(&run->asked, 0);
	atomic_store(&run->status, atomic_load(&exec->lost) ? -EIO : 0);
	run->op = sim_op_find(run->cmd.op);
	if (!run->op)
		record_error(lane, run, -EINVAL);
	if (!atomic_load(&run->status))
		record_error(lane, run, run->op->plan(run));
	atomic_store(&run->left, run->parts);
}

static void complete(struct sim_run *run)
{
	struct dmo_completion done = {
		.cookie = run->cmd.cookie,
		.status = atomic_load(&run->status),
		.op = run->cmd.op,
		.va = atomic_load(&run->va),
		.faults = atomic_load(&run->faults),
		.waited_ns = atomic_load(&run->waited),
		.ran_ns = sim_now() - run->start,
	};

	if (!done.status)
		memcpy(done.result, run->result, sizeof(run->result));
	run->as->exec->host->complete(run->as->owner, &done);
}

static void finish_run(struct sim_lane *lane, struct sim_run *run)
{
	struct sim_as *as = run->as;
	struct sim_exec *exec = as->exec;

	if (!atomic_load(&run->status) && run->op->finish)
		record_error(lane, run, call_guarded(lane, run, 0, true));
	complete(run);
	pthread_mutex_lock(&exec->lock);
	as->running = false;
	if (atomic_load(&as->dying))
		pthread_cond_broadcast(&exec->idle);
	else if (as->head)
		make_ready(as);		/* this lane looks there next, nobody need wake up */
	pthread_mutex_unlock(&exec->lock);
}

static void run_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	if (!atomic_load(&run->status) && run->op->part)
		record_error(lane, run, call_guarded(lane, run, part, false));
	if (atomic_fetch_sub(&run->left, 1) == 1)
		finish_run(lane, run);
}

static void start_run(struct sim_lane *lane, struct sim_run *run)
{
	struct sim_exec *exec = lane->exec;

	plan(lane, run);
	if (run->parts > 1) {
		pthread_mutex_lock(&exec->lock);
		offer_parts(run);
		pthread_mutex_unlock(&exec->lock);
	}
	run_part(lane, run, 0);
}

/* ---- lanes --------------------------------------------------------------------------------------------------- */

/* Does one thing; called and returns with the lock held. */
static bool work(struct sim_lane *lane)
{
	struct sim_exec *exec = lane->exec;
	unsigned part;
	struct sim_run *run = take_part(exec, &part);

	if (run) {
		pthread_mutex_unlock(&exec->lock);
		run_part(lane, run, part);
	} else {
		run = start_next(exec);
		if (!run)
			return false;
		pthread_mutex_unlock(&exec->lock);
		start_run(lane, run);
	}
	pthread_mutex_lock(&exec->lock);
	return true;
}

/* Looks for work without sleeping, for a time that adapts. */
static bool spin(struct sim_lane *lane, uint64_t seen)
{
	uint64_t end = sim_now() + lane->spin_ns;

	while (lane->spin_ns && sim_now() < end) {
		if (atomic_load_explicit(&lane->exec->work_seq, memory_order_relaxed) != seen) {
			lane->spin_ns = lane->spin_ns * 2 < SPIN_MAX_NS ? lane->spin_ns * 2 : SPIN_MAX_NS;
			return true;
		}
		for (int i = 0; i < 16; i++)
			sim_relax();
	}
	lane->spin_ns = lane->spin_ns / 2 > SPIN_MIN_NS ? lane->spin_ns / 2 : SPIN_MIN_NS;
	return false;
}

static void wait_for_work(struct sim_lane *lane)
{
	struct sim_exec *exec = lane->exec;
	uint64_t seen = atomic_load(&exec->work_seq), start;

	pthread_mutex_unlock(&exec->lock);
	if (spin(lane, seen)) {
		pthread_mutex_lock(&exec->lock);
		return;
	}
	pthread_mutex_lock(&exec->lock);
	if (atomic_load(&exec->work_seq) != seen || exec->stopping)
		return;
	start = sim_now();
	exec->sleeping++;
	pthread_cond_wait(&exec->work, &exec->lock);
	exec->sleeping--;
	if (sim_now() - start < 4 * SPIN_MAX_NS)
		lane->spin_ns = SPIN_MAX_NS;
}

static void *lane_main(void *arg)
{
	struct sim_lane *lane = arg;
	struct sim_exec *exec = lane->exec;

	sim_thread_start("dmo-compute");
	pthread_mutex_lock(&exec->lock);
	while (!exec->stopping) {
		if (!work(lane))
			wait_for_work(lane);
	}
	pthread_mutex_unlock(&exec->lock);
	return NULL;
}

static int lane_init(struct sim_exec *exec, struct sim_lane *lane, unsigned index)
{
	int err;

	lane->exec = exec;
	lane->index = index;
	lane->spin_ns = SPIN_MAX_NS;
	for (int i = 0; i < SIM_LOCALS; i++) {
		lane->local[i] = aligned_alloc(64, SIM_LOCAL * sizeof(float));
		if (!lane->local[i])
			return -ENOMEM;
	}
	err = pthread_cond_init(&lane->fault_cond, NULL);
	return -err;
}

static void lane_free(struct sim_lane *lane)
{
	for (int i = 0; i < SIM_LOCALS; i++)
		free(lane->local[i]);
	if (lane->exec)
		pthread_cond_destroy(&lane->fault_cond);
}

static int init_locks(struct sim_exec *exec)
{
	return -(pthread_mutex_init(&exec->lock, NULL) ?: pthread_mutex_init(&exec->fault_lock, NULL) ?:
		 pthread_mutex_init(&exec->lease_lock, NULL) ?: pthread_cond_init(&exec->work, NULL) ?:
		 pthread_cond_init(&exec->idle, NULL) ?: pthread_cond_init(&exec->lease_over, NULL));
}

static void destroy_locks(struct sim_exec *exec)
{
	pthread_cond_destroy(&exec->work);
	pthread_cond_destroy(&exec->idle);
	pthread_cond_destroy(&exec->lease_over);
	pthread_mutex_destroy(&exec->lock);
	pthread_mutex_destroy(&exec->fault_lock);
	pthread_mutex_destroy(&exec->lease_lock);
}

static void free_lanes(struct sim_exec *exec)
{
	for (unsigned i = 0; i < exec->threads; i++)
		lane_free(&exec->lanes[i]);
	free(exec->lanes);
}

static int make_lanes(struct sim_exec *exec)
{
	int err = 0;

	exec->lanes = aligned_alloc(64, exec->threads * sizeof(*exec->lanes));
	if (!exec->lanes)
		return -ENOMEM;
	memset(exec->lanes, 0, exec->threads * sizeof(*exec->lanes));
	for (unsigned i = 0; i < exec->threads && !err; i++)
		err = lane_init(exec, &exec->lanes[i], i);
	if (err)
		free_lanes(exec);
	return err;
}

int sim_exec_init(struct sim_exec *exec, const struct sim_spec *spec, struct sim_link *link,
		  const struct dmo_host *host, void *host_ctx)
{
	int err;

	memset(exec, 0, sizeof(*exec));
	exec->host = host;
	exec->host_ctx = host_ctx;
	exec->link = link;
	exec->faults = spec->faults;
	exec->threads = spec->threads;
	exec->ready_tail = &exec->ready;
	exec->open_tail = &exec->open;
	err = init_locks(exec);
	if (err)
		return err;
	err = make_lanes(exec);
	if (err)
		destroy_locks(exec);
	return err;
}

int sim_exec_start(struct sim_exec *exec)
{
	int err = 0;

	pthread_mutex_lock(&exec->lock);
	while (exec->started < exec->threads && !err) {
		err = pthread_create(&exec->lanes[exec->started].thread, NULL, lane_main, &exec->lanes[exec->started]);
		exec->started += !err;
	}
	/* One lane runs every part of a command as well as many do. */
	if (exec->started)
		err = 0;
	pthread_mutex_unlock(&exec->lock);
	return -err;
}

/* ---- address spaces ---------------------------------------------------------------------------------------- */

static struct sim_as *as_alloc(struct sim_exec *exec)
{
	struct sim_as *as = calloc(1, sizeof(*as));

	if (!as)
		return NULL;
	if (sim_mmu_init(&as->mmu)) {
		free(as);
		return NULL;
	}
	as->exec = exec;
	as->run.as = as;
	as->all_next = exec->all;
	exec->all = as;
	return as;
}

int sim_as_create(struct sim_exec *exec, void *owner, struct sim_as **out)
{
	struct sim_as *as;

	pthread_mutex_lock(&exec->lock);
	as = exec->free;
	if (as)
		exec->free = as->next;
	else
		as = as_alloc(exec);
	if (as) {
		as->owner = owner;
		as->tail = &as->head;
		as->live = true;
		atomic_store(&as->dying, false);
	}
	pthread_mutex_unlock(&exec->lock);
	*out = as;
	return as ? 0 : -ENOMEM;
}

static void unready(struct sim_as *as)
{
	struct sim_exec *exec = as->exec;
	struct sim_as **link = &exec->ready;

	while (*link && *link != as)
		link = &(*link)->next;
	if (!*link)
		return;
	*link = as->next;
	if (exec->ready_tail == &as->next)
		exec->ready_tail = link;
}

static void wake_faults(struct sim_exec *exec)
{
	pthread_mutex_lock(&exec->fault_lock);
	for (unsigned i = 0; i < exec->threads; i++)
		pthread_cond_broadcast(&exec->lanes[i].fault_cond);
	pthread_mutex_unlock(&exec->fault_lock);
}

static void cancel(struct sim_as *as, struct sim_batch *batch)
{
	struct dmo_completion done = { .status = -ECANCELED };
	struct sim_batch *next;

	for (; batch; batch = next) {
		next = batch->next;
		for (; batch->at < batch->count; batch->at++) {
			done.cookie = batch->commands[batch->at].cookie;
			done.op = batch->commands[batch->at].op;
			as->exec->host->complete(as->owner, &done);
		}
		free(batch);
	}
}

void sim_as_destroy(struct sim_as *as)
{
	struct sim_exec *exec = as->exec;
	struct sim_batch *queued;

	pthread_mutex_lock(&exec->lock);
	atomic_store(&as->dying, true);
	unready(as);
	queued = as->head;
	as->head = NULL;
	as->tail = &as->head;
	wake_faults(exec);
	while (as->running)
		pthread_cond_wait(&exec->idle, &exec->lock);
	pthread_mutex_unlock(&exec->lock);

	cancel(as, queued);
	atomic_fetch_add(&as->generation, 1);
	sim_mmu_reset(&as->mmu);
	free(as->run.scratch);
	as->run.scratch = NULL;
	as->run.scratch_size = 0;

	pthread_mutex_lock(&exec->lock);
	as->live = false;
	as->next = exec->free;
	exec->free = as;
	pthread_mutex_unlock(&exec->lock);
}

int sim_as_submit(struct sim_as *as, const struct dmo_command *commands, uint32_t count)
{
	struct sim_exec *exec = as->exec;
	struct sim_batch *batch;
	bool idle;

	if (!count)
		return 0;
	if (atomic_load(&exec->lost))
		return -ENODEV;
	batch = malloc(sizeof(*batch) + count * sizeof(*commands));
	if (!batch)
		return -ENOMEM;
	*batch = (struct sim_batch){ .count = count };
	memcpy(batch->commands, commands, count * sizeof(*commands));
	pthread_mutex_lock(&exec->lock);
	idle = !as->head && !as->running;
	*as->tail = batch;
	as->tail = &batch->next;
	if (idle) {
		make_ready(as);
		announce(exec, 1);
	}
	pthread_mutex_unlock(&exec->lock);
	return 0;
}

void sim_as_fault_done(struct sim_as *as, uint64_t id, int status)
{
	struct sim_exec *exec = as->exec;

	pthread_mutex_lock(&exec->fault_lock);
	for (unsigned i = 0; i < exec->threads; i++) {
		struct sim_lane *lane = &exec->lanes[i];

		if (lane->fault_as != as || lane->fault_id != id)
			continue;
		lane->fault_status = status;
		lane->fault_over = true;
		pthread_cond_signal(&lane->fault_cond);
	}
	pthread_mutex_unlock(&exec->fault_lock);
}

void sim_exec_lose(struct sim_exec *exec)
{
	atomic_store(&exec->lost, true);
	wake_faults(exec);
}

static void as_free_all(struct sim_exec *exec)
{
	struct sim_as *as;

	while ((as = exec->all)) {
		exec->all = as->all_next;
		sim_mmu_destroy(&as->mmu);
		free(as);
	}
}

void sim_exec_destroy(struct sim_exec *exec)
{
	for (struct sim_as *as = exec->all; as; as = as->all_next) {
		if (as->live)
			sim_as_destroy(as);
	}
	pthread_mutex_lock(&exec->lock);
	exec->stopping = true;
	atomic_fetch_add(&exec->work_seq, 1);
	pthread_cond_broadcast(&exec->work);
	pthread_mutex_unlock(&exec->lock);
	for (unsigned i = 0; i < exec->started; i++)
		pthread_join(exec->lanes[i].thread, NULL);
	as_free_all(exec);
	free_lanes(exec);
	destroy_locks(exec);
}
