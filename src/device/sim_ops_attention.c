/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_ops_attention.c - one query over a cache of keys and values
 *
 *	out[h] = sum over p of softmax_p(q[h] K[p, h] / sqrt(width)) V[p, h]
 *
 * A part takes some heads and walks the positions in batches that fit local memory. The softmax is kept as a running
 * maximum, a running sum, and an unnormalised output, which are rescaled when the maximum rises.
 *
 * Local memory: local[0] holds q, the output, the maxima and the sums; local[1] the batch's scores; local[2] a row that
 * lies in two translations.
 */
#include "sim_ops.h"
#include "sim_vec.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define SPLIT_FROM	65536u		/* floats of K from which a command is worth several lanes */
#define WIDTH_MAX	(SIM_LOCAL / 4)	/* floats in all heads */

struct attention {
	uint64_t out, q, k, v, heads, width, positions, stride;
	uint64_t first;			/* this part's first head */
	uint64_t count;			/* its heads */
	uint64_t row;			/* floats of a position that it uses */
	uint64_t batch;			/* positions at a time */
	float *lq, *lout, *max, *sum, *scores;
};

/* Works on one position's row of K or V; p counts within the batch. */
typedef void use_row(const struct attention *a, const float *row, uint64_t p);

static struct attention get(const struct sim_run *run)
{
	const __u64 *arg = run->cmd.arg;

	return (struct attention){ .out = arg[0], .q = arg[1], .k = arg[2], .v = arg[3], .heads = arg[4],
				   .width = arg[5], .positions = arg[6], .stride = arg[7] };
}

static int attention_plan(struct sim_run *run)
{
	struct attention a = get(run);
	uint64_t all;

	if (!a.heads || !a.width || !a.positions || a.heads > WIDTH_MAX || a.width > WIDTH_MAX ||
	    a.heads * a.width > WIDTH_MAX)
		return -EINVAL;
	if (__builtin_mul_overflow(a.positions, a.stride, &all) || all > SIM_COUNT_MAX || a.positions > SIM_COUNT_MAX)
		return -EINVAL;
	sim_cut(run, a.heads, 1, a.positions * a.heads * a.width >= SPLIT_FROM ? 0 : UINT64_MAX);
	return sim_aligned(a.out | a.q | a.k | a.v, sizeof(float));
}

static void take_heads(struct sim_lane *lane, struct sim_run *run, struct attention *a, unsigned part)
{
	uint64_t end = a->heads * (part + 1) / run->parts;

	a->first = a->heads * part / run->parts;
	a->count = end - a->first;
	a->row = a->count * a->width;
	a->batch = sim_min(a->positions, SIM_LOCAL / a->count);
	a->lq = lane->local[0];
	a->lout = a->lq + WIDTH_MAX;
	a->max = a->lout + WIDTH_MAX;
	a->sum = a->max + WIDTH_MAX;
	a->scores = lane->local[1];
}

static void score_row(const struct attention *a, const float *row, uint64_t p)
{
	for (uint64_t h = 0; h < a->count; h++)
		a->scores[h * a->batch + p] = sim_dot(a->lq + h * a->width, row + h * a->width, a->width);
}

static void add_row(const struct attention *a, const float *row, uint64_t p)
{
	for (uint64_t h = 0; h < a->count; h++)
		sim_axpy(a->lout + h * a->width, row + h * a->width, a->scores[h * a->batch + p], a->width);
}

/* Uses as many of the rows at va as one lease gives, at least one. */
static int use_some(struct sim_lane *lane, const struct attention *a, uint64_t va, uint64_t rest_rows, use_row *use,
		    uint64_t p, uint64_t *used)
{
	uint64_t row = a->row * sizeof(float), step = a->stride * sizeof(float), got;
	uint64_t want = step <= 4 * row ? (rest_rows - 1) * step + row : row;
	void *ptr;
	int err = sim_lease(lane, va, want, want, 0, &ptr, &got);

	if (err)
		return err;
	if (got < row) {
		sim_lease_end(lane, 0);
		*used = 1;
		err = sim_read(lane, va, lane->local[2], row, want);
		if (!err)
			use(a, lane->local[2], p);
		return err;
	}
	*used = step <= 4 * row ? (step ? (got - row) / step + 1 : rest_rows) : 1;
	for (uint64_t i = 0; i < *used; i++)
		use(a, (const float *)((const char *)ptr + i * step), p + i);
	sim_lease_end(lane, (*used - 1) * step + row);
	return 0;
}

/* The batch's rows of K or V at base. */
static int use_rows(struct sim_lane *lane, const struct attention *a, uint64_t base, uint64_t start, uint64_t count,
		    use_row *use)
{
	uint64_t used;
	int err = 0;

	base += (start * a->stride + a->first * a->width) * sizeof(float);
	for (uint64_t p = 0; p < count && !err; p += used)
		err = use_some(lane, a, base + p * a->stride * sizeof(float), count - p, use, p, &used);
	return err;
}

/* Turns the batch's scores into weights, and rescales what earlier batches gave. */
static void weigh(const struct attention *a, uint64_t count)
{
	float scale = 1 / sqrtf((float)a->width), max, keep, *scores;

	for (uint64_t h = 0; h < a->count; h++) {
		scores = a->scores + h * a->batch;
		sim_scale(scores, scale, count);
		max = fmaxf(a->max[h], sim_max(scores, count));
		keep = expf(a->max[h] - max);
		sim_scale(a->lout + h * a->width, keep, a->width);
		a->sum[h] = a->sum[h] * keep + sim_exp_sum(scores, max, count);
		a->max[h] = max;
	}
}

static int attention_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	struct attention a = get(run);
	uint64_t at, count, bytes;
	int err;

	take_heads(lane, run, &a, part);
	at = a.first * a.width * sizeof(float);
	bytes = a.row * sizeof(float);
	memset(a.lout, 0, bytes);
	for (uint64_t h = 0; h < a.count; h++) {
		a.max[h] = -INFINITY;
		a.sum[h] = 0;
	}
	err = sim_read(lane, a.q + at, a.lq, bytes, bytes);
	for (uint64_t p = 0; p < a.positions && !err; p += count) {
		count = sim_min(a.positions - p, a.batch);
		err = use_rows(lane, &a, a.k, p, count, score_row);
		if (err)
			break;
		weigh(&a, count);
		err = use_rows(lane, &a, a.v, p, count, add_row);
	}
	if (err)
		return err;
	for (uint64_t h = 0; h < a.count; h++)
		sim_scale(a.lout + h * a.width, 1 / a.sum[h], a.width);
	return sim_write(lane, a.out + at, a.lout, bytes, bytes);
}

const struct sim_op sim_op_attention = { attention_plan, attention_part, NULL };
