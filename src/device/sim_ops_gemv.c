/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_ops_gemv.c - matrix times vector, the matrix read once, in the order in which it lies
 *
 * W is streamed through leases, whole rows at a time; a row that lies in two translations goes through local memory. The
 * vectors stand in local memory. A sum's terms are added in an order that depends on the shape and on the number of
 * compute threads alone, so results are the same to the last bit wherever the pages are.
 *
 *	y = W x:   a unit is some rows; their sums stand in local[1].
 *	y = W' x:  a unit is some rows too; each part adds into a row of sums of its own (run->scratch), and finish adds
 *		   those. Where y is too long for that, a unit is a strip of columns, summed in local[1].
 *
 * y must overlap none of the operands.
 */
#include "sim_ops.h"
#include "sim_vec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define UNIT		(1u << 20)	/* bytes of W; shorter ones make memory slower */
#define SPLIT_FROM	(256u << 10)
#define STRIP		(SIM_LOCAL / 4)	/* columns, where y does not fit local memory */

struct gemv {
	uint64_t y, w, x, bias, rows, cols;
	bool accumulate;
};

static struct gemv get(const struct sim_run *run)
{
	const __u64 *arg = run->cmd.arg;

	return (struct gemv){ arg[0], arg[1], arg[2], arg[3], arg[4], arg[5], run->cmd.flags & DMO_CMD_ACCUMULATE };
}

/* Works on count pieces of rows, one after the other in memory, row being the first one's number. */
typedef void use_rows(void *ctx, const float *w, uint64_t row, uint64_t count);

/* One row's piece that no lease gives whole. */
static int use_split(struct sim_lane *lane, const struct gemv *g, uint64_t e, uint64_t width, use_rows *use, void *ctx)
{
	uint64_t bytes = width * sizeof(float), rest = (g->rows * g->cols - e) * sizeof(float);
	int err = sim_read_stream(lane, g->w + e * sizeof(float), lane->local[2], bytes, rest);

	if (!err)
		use(ctx, lane->local[2], e / g->cols, 1);
	return err;
}

/* Goes through elements [e, end) of W: rows, or one piece of a row; width elements each. */
static int stream(struct sim_lane *lane, const struct gemv *g, uint64_t e, uint64_t end, uint64_t width,
		  use_rows *use, void *ctx)
{
	uint64_t all = g->rows * g->cols, got, count;
	void *ptr;
	int err = 0;

	for (; e < end && !err; e += count * width) {
		err = sim_lease(lane, g->w + e * sizeof(float), (end - e) * sizeof(float), (all - e) * sizeof(float),
				SIM_LEASE_STREAM, &ptr, &got);
		if (err)
			return err;
		count = got / sizeof(float) / width;
		if (count)
			use(ctx, ptr, e / g->cols, count);
		sim_lease_end(lane, count * width * sizeof(float));
		if (count)
			continue;
		count = 1;
		err = use_split(lane, g, e, width, use, ctx);
	}
	return err;
}

/* y[first ...] = sums + bias, or += that. */
static int store(struct sim_lane *lane, const struct gemv *g, uint64_t first, uint64_t count, float *sums)
{
	uint64_t at = first * sizeof(float), bytes = count * sizeof(float);
	float *local = lane->local[2];
	int err;

	if (g->bias) {
		err = sim_read(lane, g->bias + at, local, bytes, bytes);
		if (err)
			return err;
		sim_add(sums, local, count);
	}
	if (g->accumulate) {
		err = sim_read(lane, g->y + at, local, bytes, bytes);
		if (err)
			return err;
		sim_add(sums, local, count);
	}
	return sim_write(lane, g->y + at, sums, bytes, bytes);
}

static int read_x(struct sim_lane *lane, const struct gemv *g, uint64_t first, uint64_t count)
{
	return sim_read(lane, g->x + first * sizeof(float), lane->local[0], count * sizeof(float),
			count * sizeof(float));
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
	return a / b + !!(a % b);
}

/* Units of whole rows, as many for each part, of UNIT bytes or less where rows are not longer. */
static void cut_rows(struct sim_run *run, const struct gemv *g)
{
	uint64_t bytes = g->rows * g->cols * sizeof(float), units, rows;
	unsigned parts = bytes >= SPLIT_FROM ? run->as->exec->threads : 1;

	units = divide_up(divide_up(bytes, parts), UNIT) * parts;
	rows = sim_min(divide_up(g->rows, units ? units : 1), SIM_LOCAL);
	sim_cut(run, g->rows, rows ? rows : 1, parts > 1 ? 0 : UINT64_MAX);
}

static int check(const struct gemv *g)
{
	uint64_t all;

	if (__builtin_mul_overflow(g->rows, g->cols, &all) || all > SIM_COUNT_MAX || g->rows > SIM_COUNT_MAX ||
	    g->cols > SIM_COUNT_MAX)
		return -EINVAL;
	return sim_aligned(g->y | g->w | g->x | g->bias, sizeof(float));
}

/* ---- y = W x ------------------------------------------------------------------------------------------------ */

struct rows {
	float *sums;			/* of row first on */
	const float *x;			/* the columns at hand */
	uint64_t first, width;
};

static void dot_rows(void *ctx, const float *w, uint64_t row, uint64_t count)
{
	const struct rows *r = ctx;

	sim_dot_rows(r->sums + (row - r->first), w, count, r->x, r->width);
}

/* The unit's rows, for columns [column, column + count), whose x is in local memory. */
static int tile_rows(struct sim_lane *lane, const struct gemv *g, uint64_t first, uint64_t end, uint64_t column,
		     uint64_t count)
{
	struct rows r = { lane->local[1], lane->local[0], first, count };
	uint64_t e;
	int err = 0;

	if (count == g->cols)
		return stream(lane, g, first * g->cols, end * g->cols, count, dot_rows, &r);
	for (uint64_t row = first; row < end && !err; row++) {
		e = row * g->cols + column;
		err = stream(lane, g, e, e + count, count, dot_rows, &r);
	}
	return err;
}

static int rows_plan(struct sim_run *run)
{
	struct gemv g = get(run);
	int err = check(&g);

	if (err)
		return err;
	if (run->cmd.flags & DMO_CMD_TRANSPOSE) {
		run->op = &sim_op_gemv_transpose;
		return run->op->plan(run);
	}
	cut_rows(run, &g);
	if (g.cols > SIM_LOCAL)
		sim_cut(run, g.rows, 64, 0);
	return 0;
}

static int rows_unit(struct sim_lane *lane, const struct gemv *g, uint64_t first, uint64_t end)
{
	uint64_t count;
	int err = 0;

	memset(lane->local[1], 0, (end - first) * sizeof(float));
	for (uint64_t column = 0; column < g->cols && !err; column += count) {
		count = sim_min(g->cols - column, SIM_LOCAL);
		if (g->cols > SIM_LOCAL)
			err = read_x(lane, g, column, count);
		if (!err)
			err = tile_rows(lane, g, first, end, column, count);
	}
	return err ? err : store(lane, g, first, end - first, lane->local[1]);
}

static int rows_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	struct gemv g = get(run);
	int err = g.cols <= SIM_LOCAL ? read_x(lane, &g, 0, g.cols) : 0;

	lane->stream_left = sim_units_left(run, part, g.rows) * g.cols * sizeof(float);
	for (uint64_t u = part; u < run->units && !err; u += run->parts)
		err = rows_unit(lane, &g, u * run->unit, sim_min((u + 1) * run->unit, g.rows));
	return err;
}

const struct sim_op sim_op_gemv = { rows_plan, rows_part, NULL };

/* ---- y = W' x ----------------------------------------------------------------------------------------------- */

struct sums {
	float *sums;			/* of the columns at hand */
	const float *x;			/* from row first on */
	uint64_t first, width;
};

static void add_rows(void *ctx, const float *w, uint64_t row, uint64_t count)
{
	const struct sums *s = ctx;

	sim_axpy_rows(s->sums, w, count, s->x + (row - s->first), s->width);
}

/* Floats between the sums of two parts, which share no cache line. */
static uint64_t scratch_stride(uint64_t cols)
{
	return (cols + 15) & ~15ull;
}

static int get_scratch(struct sim_run *run, uint64_t cols)
{
	size_t size = run->parts * scratch_stride(cols) * sizeof(float);

	if (run->scratch_size >= size)
		return 0;
	free(run->scratch);
	run->scratch = aligned_alloc(64, size);
	run->scratch_size = run->scratch ? size : 0;
	return run->scratch ? 0 : -ENOMEM;
}

static int sums_plan(struct sim_run *run)
{
	struct gemv g = get(run);

	if (g.cols > SIM_LOCAL) {
		sim_cut(run, g.cols, STRIP, 0);
		return 0;
	}
	cut_rows(run, &g);
	return get_scratch(run, g.cols ? g.cols : 1);
}

static int sums_rows(struct sim_lane *lane, struct sim_run *run, const struct gemv *g, unsigned part)
{
	struct sums s = { run->scratch + part * scratch_stride(g->cols), lane->local[0], 0, g->cols };
	uint64_t end;
	int err = 0;

	memset(s.sums, 0, g->cols * sizeof(float));
	lane->stream_left = sim_units_left(run, part, g->rows) * g->cols * sizeof(float);
	for (uint64_t u = part; u < run->units && !err; u += run->parts) {
		s.first = u * run->unit;
		end = sim_min(s.first + run->unit, g->rows);
		err = read_x(lane, g, s.first, end - s.first);
		if (!err)
			err = stream(lane, g, s.first * g->cols, end * g->cols, g->cols, add_rows, &s);
	}
	return err;
}

/* A strip of columns, whose x is read anew for each SIM_LOCAL rows. */
static int sums_strip(struct sim_lane *lane, const struct gemv *g, uint64_t column, uint64_t count)
{
	struct sums s = { lane->local[1], lane->local[0], 0, count };
	uint64_t e;
	int err = 0;

	memset(s.sums, 0, count * sizeof(float));
	for (uint64_t row = 0; row < g->rows && !err; row++) {
		if (row % SIM_LOCAL == 0) {
			s.first = row;
			err = read_x(lane, g, row, sim_min(g->rows - row, SIM_LOCAL));
		}
		e = row * g->cols + column;
		if (!err)
			err = stream(lane, g, e, e + count, count, add_rows, &s);
	}
	return err ? err : store(lane, g, column, count, s.sums);
}

static int sums_part(struct sim_lane *lane, struct sim_run *run, unsigned part)
{
	struct gemv g = get(run);
	int err = 0;

	if (g.cols <= SIM_LOCAL)
		return sums_rows(lane, run, &g, part);
	lane->stream_left = sim_units_left(run, part, g.cols) * g.rows * sizeof(float);
	for (uint64_t u = part; u < run->units && !err; u += run->parts)
		err = sums_strip(lane, &g, u * run->unit, sim_min(run->unit, g.cols - u * run->unit));
	return err;
}

static int sums_finish(struct sim_lane *lane, struct sim_run *run)
{
	struct gemv g = get(run);

	if (g.cols > SIM_LOCAL)
		return 0;
	for (unsigned i = 1; i < run->parts; i++)
		sim_add(run->scratch, run->scratch + i * scratch_stride(g.cols), g.cols);
	return store(lane, &g, 0, g.cols, run->scratch);
}

const struct sim_op sim_op_gemv_transpose = { sums_plan, sums_part, sums_finish };
