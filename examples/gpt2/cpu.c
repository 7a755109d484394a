/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu.c - one token at a time through the layers, with a team of threads
 *
 * The caller of gpt2_cpu_step goes from product to product; the team shares out each product's units. A
 * product with a matrix that stands as [in, out] is cut by rows, so that each unit reads one stretch of
 * memory: always into BLOCKS blocks, each with a partial sum of its own, which are then added up in order,
 * column strip by column strip. So the result depends neither on the number of threads nor on who did what.
 * Owns the weights' copy, the key and value cache and the activations; units write disjoint parts of them.
 */
#include "cpu.h"
#include "kernels.h"
#include "team.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCKS		16
#define STRIP		512	/* columns */
#define HEAD_UNITS	64	/* of the product that makes logits */

/* A product under way: y = or += x W + bias, W is in x out. */
struct projection {
	float *y;
	const float *x;
	const float *w;
	const float *bias;
	size_t in, out;
	bool accumulate;
	bool gelu;
};

struct gpt2_cpu {
	const struct gpt2_model *model;
	struct team *team;
	unsigned char *weights;		/* the file's data */
	uint32_t capacity;
	uint32_t position;		/* of the step under way */
	struct projection projection;
	float *cache;			/* [layers][capacity][3 width]: query, key, value of each position */
	float *rows;			/* in cache: the layer under way */
	float *x;			/* [width] the residual stream */
	float *norm;			/* [width] */
	float *mixed;			/* [width] what attention gives */
	float *fc;			/* [inner] */
	float *logits;			/* [vocab] */
	float *partial;			/* [BLOCKS][widest vector]: sums over a block's rows */
	float *scores;			/* [heads][capacity] */
};

static const float *weight(const struct gpt2_cpu *cpu, uint64_t offset)
{
	return (const float *)(cpu->weights + offset);
}

static void project_block(void *context, unsigned int block)
{
	const struct gpt2_cpu *cpu = context;
	const struct projection *p = &cpu->projection;
	size_t first = p->in * block / BLOCKS, last = p->in * (block + 1) / BLOCKS;
	float *sum = cpu->partial + block * p->out;

	memset(sum, 0, p->out * sizeof(*sum));
	kernel_columns(sum, p->w + first * p->out, p->x + first, last - first, p->out);
}

static void project_strip(void *context, unsigned int strip)
{
	const struct gpt2_cpu *cpu = context;
	const struct projection *p = &cpu->projection;
	size_t first = (size_t)strip * STRIP, n = p->out - first < STRIP ? p->out - first : STRIP;
	float *y = p->y + first;
	int block;

	if (!p->accumulate)
		memset(y, 0, n * sizeof(*y));
	kernel_add(y, p->bias + first, n);
	for (block = 0; block < BLOCKS; block++)
		kernel_add(y, cpu->partial + block * p->out + first, n);
	if (p->gelu)
		kernel_gelu(y, n);
}

static void project(struct gpt2_cpu *cpu, struct projection projection)
{
	cpu->projection = projection;
	team_run(cpu->team, BLOCKS, project_block, cpu);
	team_run(cpu->team, (projection.out + STRIP - 1) / STRIP, project_strip, cpu);
}

static void embed(struct gpt2_cpu *cpu, uint32_t token)
{
	const struct gpt2_model *m = cpu->model;
	size_t width = m->shape.width;

	memcpy(cpu->x, weight(cpu, m->wte) + token * width, width * sizeof(float));
	kernel_add(cpu->x, weight(cpu, m->wpe) + cpu->position * width, width);
}

static void attend_head(void *context, unsigned int head)
{
	const struct gpt2_cpu *cpu = context;
	size_t width = cpu->model->shape.width, head_width = width / cpu->model->shape.heads;
	float *rows = cpu->rows + head * head_width;

	kernel_attention(cpu->mixed + head * head_width, rows + cpu->position * 3 * width, rows + width,
			 rows + 2 * width, cpu->scores + (size_t)head * cpu->capacity, head_width,
			 cpu->position + 1, 3 * width);
}

/* x += attention(norm(x)) */
static void attend(struct gpt2_cpu *cpu, uint32_t layer)
{
	const struct gpt2_shape *shape = &cpu->model->shape;
	const uint64_t *part = cpu->model->layer[layer];
	size_t width = shape->width;

	cpu->rows = cpu->cache + (size_t)layer * cpu->capacity * 3 * width;
	kernel_layernorm(cpu->norm, cpu->x, weight(cpu, part[GPT2_LN1_GAIN]), weight(cpu, part[GPT2_LN1_BIAS]),
			 width);
	project(cpu, (struct projection){
		.y = cpu->rows + cpu->position * 3 * width, .x = cpu->norm,
		.w = weight(cpu, part[GPT2_QKV_WEIGHT]), .bias = weight(cpu, part[GPT2_QKV_BIAS]),
		.in = width, .out = 3 * width });
	team_run(cpu->team, shape->heads, attend_head, cpu);
	project(cpu, (struct projection){
		.y = cpu->x, .x = cpu->mixed, .w = weight(cpu, part[GPT2_PROJ_WEIGHT]),
		.bias = weight(cpu, part[GPT2_PROJ_BIAS]), .in = width, .out = width, .accumulate = true });
}

/* x += feed-forward(norm(x)) */
static void feed_forward(struct gpt2_cpu *cpu, uint32_t layer)
{
	const struct gpt2_shape *shape = &cpu->model->shape;
	const uint64_t *part = cpu->model->layer[layer];

	kernel_layernorm(cpu->norm, cpu->x, weight(cpu, part[GPT2_LN2_GAIN]), weight(cpu, part[GPT2_LN2_BIAS]),
			 shape->width);
	project(cpu, (struct projection){
		.y = cpu->fc, .x = cpu->norm, .w = weight(cpu, part[GPT2_FC_WEIGHT]),
		.bias = weight(cpu, part[GPT2_FC_BIAS]), .in = shape->width, .out = shape->inner, .gelu = true });
	project(cpu, (struct projection){
		.y = cpu->x, .x = cpu->fc, .w = weight(cpu, part[GPT2_OUT_WEIGHT]),
		.bias = weight(cpu, part[GPT2_OUT_BIAS]), .in = shape->inner, .out = shape->width,
		.accumulate = true });
}

static void head_unit(void *context, unsigned int unit)
{
	const struct gpt2_cpu *cpu = context;
	const struct gpt2_shape *shape = &cpu->model->shape;
	size_t first = (size_t)shape->vocab * unit / HEAD_UNITS;
	size_t last = (size_t)shape->vocab * (unit + 1) / HEAD_UNITS;

	kernel_rows(cpu->logits + first, weight(cpu, cpu->model->wte) + first * shape->width, cpu->norm,
		    last - first, shape->width);
}

const float *gpt2_cpu_step(struct gpt2_cpu *cpu, uint32_t token, uint32_t position, bool want)
{
	const struct gpt2_model *m = cpu->model;
	uint32_t layer;

	cpu->position = position;
	embed(cpu, token);
	for (layer = 0; layer < m->shape.layers; layer++) {
		attend(cpu, layer);
		feed_forward(cpu, layer);
	}
	if (!want)
		return NULL;
	kernel_layernorm(cpu->norm, cpu->x, weight(cpu, m->lnf_gain), weight(cpu, m->lnf_bias), m->shape.width);
	team_run(cpu->team, HEAD_UNITS, head_unit, cpu);
	return cpu->logits;
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
	size_t widest = 3ul * shape->width > shape->inner ? 3ul * shape->width : shape->inner;

	cpu->cache = floats(3ull * shape->layers * cpu->capacity * shape->width);
	cpu->x = floats(shape->width);
	cpu->norm = floats(shape->width);
	cpu->mixed = floats(shape->width);
	cpu->fc = floats(shape->inner);
	cpu->logits = floats(shape->vocab);
	cpu->partial = floats(BLOCKS * widest);
	cpu->scores = floats((size_t)shape->heads * cpu->capacity);
	cpu->team = team_create(threads);
	return cpu->cache && cpu->x && cpu->norm && cpu->mixed && cpu->fc && cpu->logits && cpu->partial &&
	       cpu->scores && cpu->team ? 0 : -ENOMEM;
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
	free(cpu->norm);
	free(cpu->mixed);
	free(cpu->fc);
	free(cpu->logits);
	free(cpu->partial);
	free(cpu->scores);
	free(cpu);
}
