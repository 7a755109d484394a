/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu.c - one token at a time through the layers, by a team of threads
 *
 * Every member runs the same forward pass and computes its own slice of each vector; team_wait stands
 * wherever one member's slice is read by others. Norms are cheap and done by each member into memory of its
 * own, which saves a barrier. A product with a matrix that stands as [in, out] is cut by rows, so that each
 * member reads one stretch of memory: always into BLOCKS blocks, each with a partial sum of its own, which
 * are then added up in order. So the result doesn't depend on the number of threads; more than BLOCKS of them
 * gain nothing there. Owns the weights' copy, the key and value cache and the activations, which are shared
 * and written in disjoint slices.
 */
#include "cpu.h"
#include "kernels.h"
#include "team.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCKS 16

struct gpt2_cpu {
	const struct gpt2_model *model;
	struct team *team;
	unsigned char *weights;		/* the file's data */
	uint32_t capacity;
	float *cache;			/* [layers][capacity][3 width]: query, key, value of each position */
	float *x;			/* [width] the residual stream */
	float *mixed;			/* [width] what attention gives */
	float *fc;			/* [inner] */
	float *logits;			/* [vocab] */
	float *partial;			/* [BLOCKS][widest vector]: sums over a block's rows */
	float *own;			/* [members][own_size]: a norm's result, and a row of scores */
	size_t own_size;
	uint32_t token, position;	/* of the step under way */
	bool want;
};

struct slice {
	size_t first, last;
};

/* The part of n that is member's: contiguous, cut at multiples of grain. */
static struct slice slice_of(const struct gpt2_cpu *cpu, unsigned int member, size_t n, size_t grain)
{
	size_t grains = (n + grain - 1) / grain, members = team_size(cpu->team);
	struct slice s = { grains * member / members * grain, grains * (member + 1) / members * grain };

	s.last = s.last < n ? s.last : n;
	return s;
}

static const float *weight(const struct gpt2_cpu *cpu, uint64_t offset)
{
	return (const float *)(cpu->weights + offset);
}

static float *own_memory(const struct gpt2_cpu *cpu, unsigned int member)
{
	return cpu->own + member * cpu->own_size;
}

/* This member's blocks of rows of x W, into partial. */
static void project_blocks(const struct gpt2_cpu *cpu, unsigned int member, const float *x, const float *w,
			   size_t in, size_t out)
{
	struct slice s = slice_of(cpu, member, BLOCKS, 1);
	size_t block, first, last;

	for (block = s.first; block < s.last; block++) {
		first = in * block / BLOCKS;
		last = in * (block + 1) / BLOCKS;
		memset(cpu->partial + block * out, 0, out * sizeof(float));
		kernel_columns(cpu->partial + block * out, w + first * out, x + first, last - first, out);
	}
}

/* y[slice] = or += x W + bias; W is in x out. Returns the slice: others may still be under way. */
static struct slice project(const struct gpt2_cpu *cpu, unsigned int member, float *y, const float *x,
			    uint64_t w, uint64_t bias, size_t in, size_t out, bool accumulate)
{
	struct slice s = slice_of(cpu, member, out, KERNEL_GRAIN);
	size_t block, n = s.last > s.first ? s.last - s.first : 0;

	project_blocks(cpu, member, x, weight(cpu, w), in, out);
	team_wait(cpu->team);
	if (!accumulate)
		memset(y + s.first, 0, n * sizeof(*y));
	kernel_add(y + s.first, weight(cpu, bias) + s.first, n);
	for (block = 0; block < BLOCKS; block++)
		kernel_add(y + s.first, cpu->partial + block * out + s.first, n);
	return s;
}

static void embed(struct gpt2_cpu *cpu, unsigned int member)
{
	const struct gpt2_model *m = cpu->model;
	size_t width = m->shape.width, c;
	const float *token = weight(cpu, m->wte) + cpu->token * width;
	const float *place = weight(cpu, m->wpe) + cpu->position * width;
	struct slice s = slice_of(cpu, member, width, KERNEL_GRAIN);

	for (c = s.first; c < s.last; c++)
		cpu->x[c] = token[c] + place[c];
	team_wait(cpu->team);
}

/* x += attention(norm(x)) */
static void attend(struct gpt2_cpu *cpu, unsigned int member, uint32_t layer)
{
	const struct gpt2_shape *shape = &cpu->model->shape;
	const uint64_t *part = cpu->model->layer[layer];
	size_t width = shape->width, head = width / shape->heads, h;
	float *rows = cpu->cache + (size_t)layer * cpu->capacity * 3 * width;
	float *row = rows + cpu->position * 3 * width, *own = own_memory(cpu, member);
	struct slice s;

	kernel_layernorm(own, cpu->x, weight(cpu, part[GPT2_LN1_GAIN]), weight(cpu, part[GPT2_LN1_BIAS]),
			 width);
	project(cpu, member, row, own, part[GPT2_QKV_WEIGHT], part[GPT2_QKV_BIAS], width, 3 * width, false);
	team_wait(cpu->team);
	s = slice_of(cpu, member, shape->heads, 1);
	for (h = s.first; h < s.last; h++)
		kernel_attention(cpu->mixed + h * head, row + h * head, rows + width + h * head,
				 rows + 2 * width + h * head, own, head, cpu->position + 1, 3 * width);
	team_wait(cpu->team);
	project(cpu, member, cpu->x, cpu->mixed, part[GPT2_PROJ_WEIGHT], part[GPT2_PROJ_BIAS], width, width,
		true);
	team_wait(cpu->team);
}

/* x += feed-forward(norm(x)) */
static void feed_forward(struct gpt2_cpu *cpu, unsigned int member, uint32_t layer)
{
	const struct gpt2_shape *shape = &cpu->model->shape;
	const uint64_t *part = cpu->model->layer[layer];
	float *own = own_memory(cpu, member);
	struct slice s;

	kernel_layernorm(own, cpu->x, weight(cpu, part[GPT2_LN2_GAIN]), weight(cpu, part[GPT2_LN2_BIAS]),
			 shape->width);
	s = project(cpu, member, cpu->fc, own, part[GPT2_FC_WEIGHT], part[GPT2_FC_BIAS],
		    shape->width, shape->inner, false);
	kernel_gelu(cpu->fc + s.first, s.last - s.first);
	team_wait(cpu->team);
	project(cpu, member, cpu->x, cpu->fc, part[GPT2_OUT_WEIGHT], part[GPT2_OUT_BIAS],
		shape->inner, shape->width, true);
	team_wait(cpu->team);
}

static void make_logits(struct gpt2_cpu *cpu, unsigned int member)
{
	const struct gpt2_model *m = cpu->model;
	struct slice s = slice_of(cpu, member, m->shape.vocab, KERNEL_GRAIN);
	float *own = own_memory(cpu, member);

	kernel_layernorm(own, cpu->x, weight(cpu, m->lnf_gain), weight(cpu, m->lnf_bias), m->shape.width);
	kernel_rows(cpu->logits + s.first, weight(cpu, m->wte) + s.first * m->shape.width, own,
		    s.last - s.first, m->shape.width);
}

static void forward(void *context, unsigned int member)
{
	struct gpt2_cpu *cpu = context;
	uint32_t layer;

	embed(cpu, member);
	for (layer = 0; layer < cpu->model->shape.layers; layer++) {
		attend(cpu, member, layer);
		feed_forward(cpu, member, layer);
	}
	if (cpu->want)
		make_logits(cpu, member);
}

const float *gpt2_cpu_step(struct gpt2_cpu *cpu, uint32_t token, uint32_t position, bool want)
{
	cpu->token = token;
	cpu->position = position;
	cpu->want = want;
	team_run(cpu->team, forward, cpu);
	return want ? cpu->logits : NULL;
}

static int load_weights(struct gpt2_cpu *cpu, int fd)
{
	const struct gpt2_model *m = cpu->model;
	uint64_t done = 0;
	ssize_t n;

	if (posix_memalign((void **)&cpu->weights, 2u << 20, m->data_bytes + 64))
		return -ENOMEM;
	madvise(cpu->weights, m->data_bytes, MADV_HUGEPAGE);
	while (done < m->data_bytes) {
		n = pread(fd, cpu->weights + done, m->data_bytes - done, m->data_start + done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += n;
	}
	return 0;
}

/* Zeroed floats on a cache line of their own. */
static float *floats(size_t n)
{
	size_t bytes = (n * sizeof(float) + 63) & ~(size_t)63;
	float *memory = aligned_alloc(64, bytes);

	return memory ? memset(memory, 0, bytes) : NULL;
}

static int make_room(struct gpt2_cpu *cpu, unsigned int threads)
{
	const struct gpt2_shape *shape = &cpu->model->shape;
	size_t most = shape->width > cpu->capacity ? shape->width : cpu->capacity;
	size_t widest = 3ul * shape->width > shape->inner ? 3ul * shape->width : shape->inner;

	cpu->own_size = (most + 63) & ~(size_t)63;
	cpu->cache = floats(3ull * shape->layers * cpu->capacity * shape->width);
	cpu->x = floats(shape->width);
	cpu->mixed = floats(shape->width);
	cpu->fc = floats(shape->inner);
	cpu->logits = floats(shape->vocab);
	cpu->partial = floats(BLOCKS * widest);
	cpu->own = floats(threads * cpu->own_size);
	cpu->team = team_create(threads);
	return cpu->cache && cpu->x && cpu->mixed && cpu->fc && cpu->logits && cpu->partial && cpu->own &&
	       cpu->team ? 0 : -ENOMEM;
}

int gpt2_cpu_create(struct gpt2_cpu **out, const struct gpt2_model *model, int fd,
		    unsigned int threads, uint32_t capacity)
{
	struct gpt2_cpu *cpu = calloc(1, sizeof(*cpu));
	int err;

	if (!cpu)
		return -ENOMEM;
	cpu->model = model;
	cpu->capacity = capacity;
	err = make_room(cpu, threads);
	if (!err)
		err = load_weights(cpu, fd);
	if (err) {
		gpt2_cpu_free(cpu);
		return err;
	}
	*out = cpu;
	return 0;
}

void gpt2_cpu_free(struct gpt2_cpu *cpu)
{
	if (!cpu)
		return;
	team_free(cpu->team);
	free(cpu->weights);
	free(cpu->cache);
	free(cpu->x);
	free(cpu->mixed);
	free(cpu->fc);
	free(cpu->logits);
	free(cpu->partial);
	free(cpu->own);
	free(cpu);
}
