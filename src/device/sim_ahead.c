/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_ahead.c - keeps the link busy across commands
 *
 * A device sees the commands that wait. When the last byte that a command streams has been asked for, the link is free for
 * the next one that streams, however short the commands in between. What is asked for is time on the link; the bytes
 * are read when the command runs, through a translation that holds then.
 */
#include "sim_exec.h"

#define LOOK_AT	8			/* commands that are looked at */

/* The range that a command streams; false where it streams none. */
static bool streams(const struct dmo_command *cmd, uint64_t *va, uint64_t *bytes)
{
	if (cmd->op == DMO_OP_GEMV) {
		*va = cmd->arg[1];
		return !__builtin_mul_overflow(cmd->arg[4], cmd->arg[5], bytes) &&
		       !__builtin_mul_overflow(*bytes, sizeof(float), bytes) && *bytes;
	}
	*va = cmd->arg[0];
	*bytes = cmd->arg[1];
	return cmd->op == DMO_OP_CKSUM && *bytes;
}

/* Finds the next command that streams; returns its seq, 0: none. */
static uint64_t find_next(struct sim_as *as, uint64_t *va, uint64_t *bytes)
{
	uint64_t seq = as->started;
	unsigned looked = 0;

	for (struct sim_batch *batch = as->head; batch; batch = batch->next) {
		for (uint32_t i = batch->at; i < batch->count; i++) {
			if (looked++ == LOOK_AT)
				return 0;
			seq++;
			if (streams(&batch->commands[i], va, bytes))
				return seq;
		}
	}
	return 0;
}

static bool is_remote(struct sim_as *as, uint64_t va)
{
	struct sim_run_of_pages run;

	return va < SIM_VA_END && sim_mmu_walk(&as->mmu, va, false, &run) && run.remote;
}

void sim_ahead_ask(struct sim_run *run)
{
	struct sim_as *as = run->as;
	struct sim_exec *exec = as->exec;
	struct sim_ahead ahead = { 0 };
	uint64_t va, bytes, piece;

	pthread_mutex_lock(&exec->lock);
	ahead.seq = find_next(as, &va, &bytes);
	pthread_mutex_unlock(&exec->lock);
	if (!ahead.seq || !is_remote(as, va))
		return;
	for (; bytes && ahead.count < SIM_STREAM; bytes -= piece) {
		piece = bytes < SIM_PIECE ? bytes : SIM_PIECE;
		ahead.arrivals[ahead.count].bytes = piece;
		ahead.arrivals[ahead.count++].at = sim_link_reserve(exec->link, SIM_LINK_IN, piece);
	}
	pthread_mutex_lock(&exec->lock);
	as->ahead = ahead;
	pthread_mutex_unlock(&exec->lock);
}

bool sim_ahead_take(struct sim_run *run, uint64_t *bytes, uint64_t *at)
{
	struct sim_as *as = run->as;
	struct sim_ahead *ahead = &as->ahead;
	struct sim_arrival *first;
	bool found;

	pthread_mutex_lock(&as->exec->lock);
	found = ahead->seq == run->seq && ahead->head < ahead->count;
	if (found) {
		first = &ahead->arrivals[ahead->head];
		*bytes = *bytes < first->bytes ? *bytes : first->bytes;
		*at = first->at;
		first->bytes -= *bytes;
		ahead->head += !first->bytes;
	}
	pthread_mutex_unlock(&as->exec->lock);
	return found;
}
