/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_ops.c - commands on bytes and words, and the table of all commands
 *
 * The parts of a command take its units in turn (part p: units p, p + parts, ...), so that they walk through the
 * operands side by side and a fault brings in what the other part needs next.
 */
#include "sim_ops.h"
#include "sim_crc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define UNIT		(1u << 20)
#define SPLIT_FROM	(512u << 10)	/* bytes from which a command is worth several lanes */
#define LOCAL_BYTES	(SIM_LOCAL * sizeof(float))
#define TILE		(64u << 10)	/* bytes that go through local memory at once */

void sim_cut(struct sim_run *run, uint64_t total, uint64_t unit, uint64_t from)
{
	run->unit = unit;
	run->units = total / unit + !!(total % unit);
	if (total >= from && run->units > 1)
		run->parts = (unsigned)sim_min(run->as->exec->threads, run->units);
}

static uint64_t unit_end(const struct sim_run *run, uint64_t u, uint64_t total)
{
	return sim_min((u + 1) * run->unit, total);
}

uint64_t sim_units_left(const struct sim_run *run, uint64_t u, uint64_t total)
{
	uint64_t count, last;

	if (u >= run->units)
		return 0;
	count = (run->units - 1 - u) / run->parts + 1;
	last = u + (count - 1) * run->parts;
	return count * run->unit - (last == run->units - 1 ? run->units * run->unit - total : 0);
}

/* Cuts a range of bytes; several ranges of that length must not leave the address space either. */
static int plan_bytes(struct sim_run *run, uint64_t bytes)
{
	if (bytes > SIM_VA_END)
		return -EINVAL;
	/* Halves of something small, so that each lane has one. */
	sim_cut(run, bytes, bytes < 2 * UNIT ? UNIT / 4 : UNIT, SPLIT_FROM);
	return 0;
}

/* ---- nop ------------------------------------------------------------------------------------------------ */

static int nop_plan(struct sim_run *run)
{
	return 0;
}

static const struct sim_op op_nop = { .plan = nop_plan };

/* ---- fill ----------------------------------------------------------------------------------------------- */

static int fill_plan(struct sim_run *run)
{
	return run->cmd.arg[2] > 255 ? -EINVAL : plan_bytes(run, run->cmd.arg[1]);
}

static int fill_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	uint64_t dst = run->cmd.arg[0], bytes = run->cmd.arg[1], got;
	void *ptr;
	int err;

	for (uint64_t u = part; u < run->units; u += run->parts) {
		for (uint64_t at = u * run->unit, end = unit_end(run, u, bytes); at < end; at += got) {
			err = sim_lease(lane, dst + at, end - at, bytes - at, SIM_LEASE_WRITE, &ptr, &got);
			if (err)
				return err;
			memset(ptr, (int)run->cmd.arg[2], got);
			sim_lease_end(lane, got);
		}
	}
	return 0;
}

static const struct sim_op op_fill = { fill_plan, fill_part, NULL };

/* ---- copy ----------------------------------------------------------------------------------------------- */

static bool overlap(uint64_t a, uint64_t b, uint64_t bytes)
{
	return a < b ? b - a < bytes : a - b < bytes;
}

static int copy_plan(struct sim_run *run)
{
	const __u64 *arg = run->cmd.arg;

	if (arg[2] && overlap(arg[0], arg[1], arg[2]))
		return -EINVAL;
	return plan_bytes(run, arg[2]);
}

static int copy_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	uint64_t dst = run->cmd.arg[0], src = run->cmd.arg[1], bytes = run->cmd.arg[2], n;
	int err;

	lane->stream_left = sim_units_left(run, part, bytes);
	for (uint64_t u = part; u < run->units; u += run->parts) {
		for (uint64_t at = u * run->unit, end = unit_end(run, u, bytes); at < end; at += n) {
			n = sim_min(end - at, TILE);
			err = sim_read_stream(lane, src + at, lane->local[0], n, bytes - at) ?:
			      sim_write(lane, dst + at, lane->local[0], n, bytes - at);
			if (err)
				return err;
		}
	}
	return 0;
}

static const struct sim_op op_copy = { copy_plan, copy_part, NULL };

/* ---- cksum ---------------------------------------------------------------------------------------------- */

static int cksum_plan(struct sim_run *run)
{
	const __u64 *arg = run->cmd.arg;

	if (arg[2] > UINT32_MAX || arg[4] > 1)
		return -EINVAL;
	return plan_bytes(run, arg[1]);
}

/* partial[part][0]: the sum of the part's units, each as it stands in the CRC of the whole. */
static int cksum_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	uint64_t src = run->cmd.arg[0], bytes = run->cmd.arg[1], got, end;
	uint32_t sum = 0, crc;
	void *ptr;
	int err;

	lane->stream_left = sim_units_left(run, part, bytes);
	for (uint64_t u = part; u < run->units; u += run->parts) {
		end = unit_end(run, u, bytes);
		crc = 0;
		for (uint64_t at = u * run->unit; at < end; at += got) {
			err = sim_lease(lane, src + at, end - at, bytes - at, SIM_LEASE_STREAM, &ptr, &got);
			if (err)
				return err;
			crc = sim_crc(crc, ptr, got);
			sim_lease_end(lane, got);
		}
		sum ^= sim_crc_zeros(crc, bytes - end);
	}
	run->partial[part][0] = sum;
	return 0;
}

static int cksum_finish(struct sim_lane *lane, struct sim_run *run)
{
	const __u64 *arg = run->cmd.arg;
	uint32_t crc = sim_crc_zeros((uint32_t)arg[2], arg[1]);

	for (unsigned i = 0; i < run->parts; i++)
		crc ^= (uint32_t)run->partial[i][0];
	run->result[0] = arg[4] ? sim_crc_finish(crc, arg[3] + arg[1]) : crc;
	return 0;
}

static const struct sim_op op_cksum = { cksum_plan, cksum_part, cksum_finish };

/* ---- compare -------------------------------------------------------------------------------------------- */

static int compare_plan(struct sim_run *run)
{
	atomic_store(&run->bound, run->cmd.arg[2]);
	return plan_bytes(run, run->cmd.arg[2]);
}

static uint64_t first_difference(const unsigned char *a, const unsigned char *b, uint64_t bytes)
{
	uint64_t i = 0;

	while (i < bytes && a[i] == b[i])
		i++;
	return i;
}

static void lower_bound(struct sim_run *run, uint64_t at)
{
	uint64_t bound = atomic_load(&run->bound);

	while (at < bound && !atomic_compare_exchange_weak(&run->bound, &bound, at))
		;
}

/* Compares one tile; *same says whether it is equal throughout. */
static int compare_tile(struct sim_lane *lane, struct sim_run *run, uint64_t at, uint64_t n, bool *same)
{
	uint64_t a = run->cmd.arg[0], b = run->cmd.arg[1], rest = run->cmd.arg[2] - at, got;
	unsigned char *local = (unsigned char *)lane->local[0];
	void *ptr;
	int err = sim_read(lane, a + at, local, n, rest);

	*same = true;
	for (uint64_t i = 0; i < n && *same && !err; i += got) {
		err = sim_lease(lane, b + at + i, n - i, rest - i, SIM_LEASE_STREAM, &ptr, &got);
		if (err)
			return err;
		*same = !memcmp(local + i, ptr, got);
		if (!*same)
			lower_bound(run, at + i + first_difference(local + i, ptr, got));
		sim_lease_end(lane, got);
	}
	return err;
}

static int compare_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	uint64_t bytes = run->cmd.arg[2], n;
	bool same = true;
	int err;

	for (uint64_t u = part; u < run->units && same; u += run->parts) {
		for (uint64_t at = u * run->unit, end = unit_end(run, u, bytes); at < end && same; at += n) {
			if (at >= atomic_load(&run->bound))
				return 0;
			n = sim_min(end - at, TILE);
			err = compare_tile(lane, run, at, n, &same);
			if (err)
				return err;
		}
	}
	return 0;
}

static int compare_finish(struct sim_lane *lane, struct sim_run *run)
{
	run->result[0] = atomic_load(&run->bound);
	return 0;
}

static const struct sim_op op_compare = { compare_plan, compare_part, compare_finish };

/* ---- chase ---------------------------------------------------------------------------------------------- */

static int chase_plan(struct sim_run *run)
{
	return sim_aligned(run->cmd.arg[0], 8);
}

static int chase_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	uint64_t at = run->cmd.arg[0], next;
	int err;

	for (uint64_t hop = 0; hop < run->cmd.arg[1]; hop++) {
		if (at & 7)
			return sim_fail(lane, at, -EINVAL);
		err = sim_read(lane, at, &next, sizeof(next), sizeof(next));
		if (err)
			return err;
		at = next;
	}
	run->result[0] = at;
	return 0;
}

static const struct sim_op op_chase = { chase_plan, chase_part, NULL };

/* ---- atomic add ------------------------------------------------------------------------------------------- */

static int atomic_plan(struct sim_run *run)
{
	return sim_aligned(run->cmd.arg[0], 8);
}

static int atomic_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	uint64_t got;
	void *ptr;
	int err = sim_lease(lane, run->cmd.arg[0], 8, 8, SIM_LEASE_WRITE, &ptr, &got);

	if (err)
		return err;
	run->result[0] = __atomic_fetch_add((uint64_t *)ptr, run->cmd.arg[1], __ATOMIC_SEQ_CST);
	sim_lease_end(lane, got);
	return 0;
}

static const struct sim_op op_atomic_add = { atomic_plan, atomic_part, NULL };

/* ---- all of them -------------------------------------------------------------------------------------------- */

const struct sim_op *sim_op_find(uint32_t op)
{
	static const struct sim_op *const ops[DMO_OP_COUNT] = {
		[DMO_OP_NOP] = &op_nop,
		[DMO_OP_FILL] = &op_fill,
		[DMO_OP_COPY] = &op_copy,
		[DMO_OP_CKSUM] = &op_cksum,
		[DMO_OP_COMPARE] = &op_compare,
		[DMO_OP_CHASE] = &op_chase,
		[DMO_OP_ATOMIC_ADD] = &op_atomic_add,
		[DMO_OP_AXPY] = &sim_op_axpy,
		[DMO_OP_GEMV] = &sim_op_gemv,
		[DMO_OP_GATHER] = &sim_op_gather,
		[DMO_OP_LAYERNORM] = &sim_op_layernorm,
		[DMO_OP_GELU] = &sim_op_gelu,
		[DMO_OP_ATTENTION] = &sim_op_attention,
		[DMO_OP_ARGMAX] = &sim_op_argmax,
	};

	return op < DMO_OP_COUNT ? ops[op] : NULL;
}
