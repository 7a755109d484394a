/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_ops_f32.c - commands on vectors of f32, a tile in local memory at a time
 */
#include "sim_ops.h"
#include "sim_vec.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define TILE		16384u		/* floats */
#define SPLIT_FROM	65536u		/* floats from which a command is worth several lanes */

static int plan_vector(struct sim_run *run, uint64_t addresses, uint64_t n)
{
	if (n > SIM_COUNT_MAX)
		return -EINVAL;
	sim_cut(run, n, TILE, SPLIT_FROM);
	return sim_aligned(addresses, sizeof(float));
}

static uint64_t tile_length(uint64_t u, uint64_t n)
{
	return sim_min(n - u * TILE, TILE);
}

/* Tile u of a vector of n at va, into local memory. */
static int read_tile(struct sim_lane *lane, uint64_t va, uint64_t u, uint64_t n, float *local)
{
	return sim_read(lane, va + u * TILE * sizeof(float), local, tile_length(u, n) * sizeof(float),
			(n - u * TILE) * sizeof(float));
}

static int write_tile(struct sim_lane *lane, uint64_t va, uint64_t u, uint64_t n, const float *local)
{
	return sim_write(lane, va + u * TILE * sizeof(float), local, tile_length(u, n) * sizeof(float),
			 (n - u * TILE) * sizeof(float));
}

/* ---- axpy ------------------------------------------------------------------------------------------------ */

static int axpy_plan(struct sim_run *run)
{
	return plan_vector(run, run->cmd.arg[0] | run->cmd.arg[1], run->cmd.arg[2]);
}

static int axpy_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	uint64_t y = run->cmd.arg[0], x = run->cmd.arg[1], n = run->cmd.arg[2];
	float a = sim_arg_f32(run->cmd.arg[3]), *ly = lane->local[0], *lx = lane->local[1];
	int err;

	for (uint64_t u = part; u < run->units; u += run->parts) {
		err = read_tile(lane, x, u, n, lx) ?: read_tile(lane, y, u, n, ly);
		if (err)
			return err;
		sim_axpy(ly, lx, a, tile_length(u, n));
		err = write_tile(lane, y, u, n, ly);
		if (err)
			return err;
	}
	return 0;
}

const struct sim_op sim_op_axpy = { axpy_plan, axpy_part, NULL };

/* ---- gelu ------------------------------------------------------------------------------------------------ */

static int gelu_plan(struct sim_run *run)
{
	return plan_vector(run, run->cmd.arg[0] | run->cmd.arg[1], run->cmd.arg[2]);
}

static int gelu_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	uint64_t y = run->cmd.arg[0], x = run->cmd.arg[1], n = run->cmd.arg[2];
	int err;

	for (uint64_t u = part; u < run->units; u += run->parts) {
		err = read_tile(lane, x, u, n, lane->local[0]);
		if (err)
			return err;
		sim_gelu(lane->local[0], tile_length(u, n));
		err = write_tile(lane, y, u, n, lane->local[0]);
		if (err)
			return err;
	}
	return 0;
}

const struct sim_op sim_op_gelu = { gelu_plan, gelu_part, NULL };

/* ---- layernorm ------------------------------------------------------------------------------------------- */

static int layernorm_plan(struct sim_run *run)
{
	const __u64 *arg = run->cmd.arg;

	if (!arg[4])
		return -EINVAL;
	return plan_vector(run, arg[0] | arg[1] | arg[2] | arg[3], arg[4]) ?: (run->parts = 1, 0);
}

/* Sum over x (squares false), or over the squares of x - mean. Leaves x's last tile in local[0]. */
static int sum_vector(struct sim_lane *lane, struct sim_run *run, bool squares, double mean, double *sum)
{
	uint64_t x = run->cmd.arg[1], n = run->cmd.arg[4], length;
	float *local = lane->local[0];
	int err;

	*sum = 0;
	for (uint64_t u = 0; u < run->units; u++) {
		length = tile_length(u, n);
		err = read_tile(lane, x, u, n, local);
		if (err)
			return err;
		*sum += squares ? sim_sum_squares(local, (float)mean, length) : sim_sum(local, length);
	}
	return 0;
}

static int layernorm_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	const __u64 *arg = run->cmd.arg;
	uint64_t n = arg[4];
	double mean, variance;
	float scale;
	int err = sum_vector(lane, run, false, 0, &mean);

	mean /= (double)n;
	if (!err)
		err = sum_vector(lane, run, true, mean, &variance);
	if (err)
		return err;
	scale = (float)(1 / sqrt(variance / (double)n + sim_arg_f32(arg[5])));
	for (uint64_t u = 0; u < run->units && !err; u++) {
		err = read_tile(lane, arg[1], u, n, lane->local[0]) ?: read_tile(lane, arg[2], u, n, lane->local[1]) ?:
		      read_tile(lane, arg[3], u, n, lane->local[2]);
		if (err)
			return err;
		sim_normalize(lane->local[0], lane->local[1], lane->local[2], (float)mean, scale, tile_length(u, n));
		err = write_tile(lane, arg[0], u, n, lane->local[0]);
	}
	return err;
}

const struct sim_op sim_op_layernorm = { layernorm_plan, layernorm_part, NULL };

/* ---- argmax ---------------------------------------------------------------------------------------------- */

#define NOWHERE UINT64_MAX

static int argmax_plan(struct sim_run *run)
{
	return run->cmd.arg[1] ? plan_vector(run, run->cmd.arg[0], run->cmd.arg[1]) : -EINVAL;
}

static uint32_t bits_of(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/* Where value first stands among n floats; n: nowhere. */
static uint64_t find_value(const float *x, float value, uint64_t n)
{
	uint64_t i = 0;

	while (i < n && x[i] != value)
		i++;
	return i;
}

/* partial[part]: the index (NOWHERE: no number seen) and the bits of the part's largest. */
static int argmax_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	uint64_t x = run->cmd.arg[0], n = run->cmd.arg[1], length, at, best_at = NOWHERE;
	float best = -INFINITY, max;
	int err;

	for (uint64_t u = part; u < run->units; u += run->parts) {
		length = tile_length(u, n);
		err = read_tile(lane, x, u, n, lane->local[0]);
		if (err)
			return err;
		max = sim_max(lane->local[0], length);
		if (best_at != NOWHERE && max <= best)
			continue;
		at = find_value(lane->local[0], max, length);
		if (at == length)
			continue;
		best = max;
		best_at = u * TILE + at;
	}
	run->partial[part][0] = best_at;
	run->partial[part][1] = bits_of(best);
	return 0;
}

static int argmax_finish(struct sim_lane *lane, struct sim_run *run)
{
	uint64_t best_at = NOWHERE, at;
	float best = -INFINITY, value;

	for (unsigned i = 0; i < run->parts; i++) {
		at = run->partial[i][0];
		value = sim_arg_f32(run->partial[i][1]);
		if (at == NOWHERE || value < best || (value == best && at > best_at))
			continue;
		best = value;
		best_at = at;
	}
	run->result[0] = best_at == NOWHERE ? 0 : best_at;
	run->result[1] = best_at == NOWHERE ? bits_of(NAN) : bits_of(best);
	return 0;
}

const struct sim_op sim_op_argmax = { argmax_plan, argmax_part, argmax_finish };

/* ---- gather ------------------------------------------------------------------------------------------------ */

#define GATHER_BYTES	(SIM_LOCAL * sizeof(float))
#define GATHER_ROWS	4096u		/* indices in local memory at once */

struct gather {
	uint64_t dst, table, indices, n, row, rows;
};

static struct gather get_gather(const struct sim_run *run)
{
	const __u64 *arg = run->cmd.arg;

	return (struct gather){ arg[0], arg[1], arg[2], arg[3], arg[4], arg[5] };
}

static int gather_plan(struct sim_run *run)
{
	struct gather g = get_gather(run);
	uint64_t bytes, unit;

	if (__builtin_mul_overflow(g.n, g.row, &bytes) || bytes > SIM_VA_END || g.n > SIM_COUNT_MAX)
		return -EINVAL;
	if (__builtin_mul_overflow(g.rows, g.row, &bytes) || bytes > SIM_VA_END)
		return -EINVAL;
	unit = g.row ? GATHER_BYTES / g.row : GATHER_ROWS;
	sim_cut(run, g.n, sim_min(unit ? unit : 1, GATHER_ROWS), g.n * g.row >= 512u << 10 ? 0 : UINT64_MAX);
	return sim_aligned(g.indices, sizeof(uint32_t));
}

/* A row longer than local memory. */
static int gather_long(struct sim_lane *lane, const struct gather *g, uint64_t to, uint64_t index)
{
	uint64_t from = g->table + index * g->row, n;
	int err = 0;

	for (uint64_t at = 0; at < g->row && !err; at += n) {
		n = sim_min(g->row - at, GATHER_BYTES);
		err = sim_read(lane, from + at, lane->local[0], n, g->row - at) ?:
		      sim_write(lane, g->dst + to * g->row + at, lane->local[0], n, g->row - at);
	}
	return err;
}

/* The unit's rows, put together in local memory; its indices are in local[1]. */
static int gather_rows(struct sim_lane *lane, const struct gather *g, uint64_t first, uint64_t count)
{
	const uint32_t *indices = (const uint32_t *)lane->local[1];
	char *rows = (char *)lane->local[0];
	int err = 0;

	for (uint64_t i = 0; i < count; i++) {
		if (indices[i] >= g->rows)
			return sim_fail(lane, g->indices + (first + i) * sizeof(uint32_t), -EINVAL);
		if (g->row > GATHER_BYTES)
			err = gather_long(lane, g, first + i, indices[i]);
		else
			err = sim_read(lane, g->table + indices[i] * g->row, rows + i * g->row, g->row, g->row);
		if (err)
			return err;
	}
	if (g->row > GATHER_BYTES)
		return 0;
	return sim_write(lane, g->dst + first * g->row, rows, count * g->row, (g->n - first) * g->row);
}

static int gather_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	struct gather g = get_gather(run);
	uint64_t first, count;
	int err;

	for (uint64_t u = part; u < run->units; u += run->parts) {
		first = u * run->unit;
		count = sim_min(run->unit, g.n - first);
		err = sim_read(lane, g.indices + first * sizeof(uint32_t), lane->local[1], count * sizeof(uint32_t),
			       (g.n - first) * sizeof(uint32_t));
		if (!err)
			err = gather_rows(lane, &g, first, count);
		if (err)
			return err;
	}
	return 0;
}

const struct sim_op sim_op_gather = { gather_plan, gather_part, NULL };
