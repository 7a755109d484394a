/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.c - a token as a list of device commands
 *
 * Two objects are mapped into one context: the weights, read-only, as the file has them; and a scratch file
 * with the activations and, for each layer, a row of query, key and value for each position. The projection
 * that makes the three writes its row straight into that cache, so nothing is copied.
 *
 * A token is 2 commands, 8 for each layer, and 3 for the head. A context runs its commands in order, so they
 * are written in one go; the answer to the last, argmax, is the next token. Nothing else comes back to the
 * CPU, unless logits are asked for: those are read through a shared mapping of the scratch file, coherent by
 * the mount's rules.
 *
 * Owns the context, both mappings, the scratch file and the command list. One thread.
 */
#define _GNU_SOURCE

#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COMPLETIONS 128

/* Where things are in the scratch file: bytes from its start, later device addresses. */
struct places {
	uint64_t x;		/* [width] the residual stream */
	uint64_t norm;		/* [width] */
	uint64_t mixed;		/* [width] what attention gives */
	uint64_t fc;		/* [inner] */
	uint64_t cache;		/* [layers][capacity][3 width] */
	uint64_t logits;	/* [vocab], on a page of its own */
	uint64_t end;
};

struct gpt2_device {
	const struct gpt2_model *model;
	struct dmo_dev *dev;
	struct dmo_as *as;
	int scratch;			/* open file */
	int aligned;			/* a copy of the weights' file, or -1 */
	uint64_t data;			/* device address at which the weights' data begins */
	struct places at;		/* device addresses */
	uint64_t row_bytes;		/* of a position in the cache */
	uint64_t layer_bytes;		/* of a layer's cache */
	float *logits;			/* the CPU's mapping of at.logits */
	size_t logits_bytes;
	struct dmo_command *commands;
	uint32_t count;			/* commands built */
	struct dmo_completion completions[COMPLETIONS];
	struct dmo_stat before;
	uint64_t faults, waited_ns, ran_ns;
};

/* ---- building -------------------------------------------------------------------------------------- */

static struct dmo_command *next_command(struct gpt2_device *d)
{
	return &d->commands[d->count++];
}

static void add_norm(struct gpt2_device *d, uint64_t gain, uint64_t bias)
{
	dmo_cmd_layernorm(next_command(d), d->at.norm, d->at.x, d->data + gain, d->data + bias,
			  d->model->shape.width, 1e-5f);
}

/* y = or += x W + bias; W stands as in x out. */
static void add_project(struct gpt2_device *d, uint64_t y, uint64_t x, uint64_t w, uint64_t bias,
			uint64_t in, uint64_t out, uint32_t accumulate)
{
	dmo_cmd_gemv(next_command(d), y, d->data + w, x, d->data + bias, in, out,
		     DMO_CMD_TRANSPOSE | accumulate);
}

static void add_embedding(struct gpt2_device *d, const struct step *step)
{
	uint64_t width = d->model->shape.width, row = width * sizeof(float);

	dmo_cmd_copy(next_command(d), d->at.x, d->data + d->model->wte + step->token * row, row);
	dmo_cmd_axpy(next_command(d), d->at.x, d->data + d->model->wpe + step->position * row, width, 1.0f);
}

static void add_attention(struct gpt2_device *d, uint32_t layer, uint32_t position)
{
	const struct gpt2_shape *shape = &d->model->shape;
	const uint64_t *part = d->model->layer[layer];
	uint64_t cache = d->at.cache + layer * d->layer_bytes, row = cache + position * d->row_bytes;
	uint64_t width = shape->width, bytes = width * sizeof(float);

	add_norm(d, part[GPT2_LN1_GAIN], part[GPT2_LN1_BIAS]);
	add_project(d, row, d->at.norm, part[GPT2_QKV_WEIGHT], part[GPT2_QKV_BIAS], width, 3 * width, 0);
	dmo_cmd_attention(next_command(d), d->at.mixed, row, cache + bytes, cache + 2 * bytes, shape->heads,
			  width / shape->heads, position + 1, 3 * width);
	add_project(d, d->at.x, d->at.mixed, part[GPT2_PROJ_WEIGHT], part[GPT2_PROJ_BIAS], width, width,
		    DMO_CMD_ACCUMULATE);
}

static void add_feed_forward(struct gpt2_device *d, uint32_t layer)
{
	const struct gpt2_shape *shape = &d->model->shape;
	const uint64_t *part = d->model->layer[layer];

	add_norm(d, part[GPT2_LN2_GAIN], part[GPT2_LN2_BIAS]);
	add_project(d, d->at.fc, d->at.norm, part[GPT2_FC_WEIGHT], part[GPT2_FC_BIAS], shape->width,
		    shape->inner, 0);
	dmo_cmd_gelu(next_command(d), d->at.fc, d->at.fc, shape->inner);
	add_project(d, d->at.x, d->at.fc, part[GPT2_OUT_WEIGHT], part[GPT2_OUT_BIAS], shape->inner,
		    shape->width, DMO_CMD_ACCUMULATE);
}

static void add_head(struct gpt2_device *d)
{
	const struct gpt2_model *m = d->model;

	add_norm(d, m->lnf_gain, m->lnf_bias);
	dmo_cmd_gemv(next_command(d), d->at.logits, d->data + m->wte, d->at.norm, 0, m->shape.vocab,
		     m->shape.width, 0);
	dmo_cmd_argmax(next_command(d), d->at.logits, m->shape.vocab);
}

static void build(struct gpt2_device *d, const struct step *step)
{
	uint32_t layer, i;

	d->count = 0;
	add_embedding(d, step);
	for (layer = 0; layer < d->model->shape.layers; layer++) {
		add_attention(d, layer, step->position);
		add_feed_forward(d, layer);
	}
	if (step->want_next || step->want_logits)
		add_head(d);
	for (i = 0; i < d->count; i++)
		d->commands[i].cookie = i;
}

/* ---- running --------------------------------------------------------------------------------------- */

/* Takes in n completions; the first failure stays in *status. */
static void account(struct gpt2_device *d, int n, int *status, uint64_t *answer)
{
	const struct dmo_completion *c;
	int i;

	for (i = 0; i < n; i++) {
		c = &d->completions[i];
		d->faults += c->faults;
		d->waited_ns += c->waited_ns;
		d->ran_ns += c->ran_ns;
		if (c->status && !*status)
			*status = c->status;
		if (c->op == DMO_OP_ARGMAX)
			*answer = c->result[0];
	}
}

/* Writes what is left of the list; returns how many commands went, 0 while the queue is full, or -errno. */
static int submit(struct gpt2_device *d, uint32_t sent)
{
	int n = sent < d->count ? dmo_submit(d->as, d->commands + sent, d->count - sent) : 0;

	return n == -EAGAIN && sent > 0 ? 0 : n;
}

/* Runs the list to its end. After a failure what was sent is still waited for. */
static int run_commands(struct gpt2_device *d, uint64_t *answer)
{
	uint32_t sent = 0, done = 0;
	int status = 0, n;

	while (done < d->count) {
		n = status ? 0 : submit(d, sent);
		if (n < 0)
			status = n;
		else
			sent += n;
		if (status && done == sent)
			break;
		n = dmo_complete(d->as, d->completions, COMPLETIONS, -1);
		if (n == -EINTR)
			continue;
		if (n < 0)
			return n;
		account(d, n, &status, answer);
		done += n;
	}
	return status;
}

int gpt2_device_take(void *context, struct step *step)
{
	struct gpt2_device *d = context;
	uint64_t answer = 0;
	int err;

	build(d, step);
	err = run_commands(d, &answer);
	if (err)
		return err;
	step->next = answer;
	step->logits = step->want_logits ? d->logits : NULL;
	return 0;
}

int gpt2_device_cost(struct gpt2_device *d, struct gpt2_device_cost *cost)
{
	struct dmo_device_info info;
	uint64_t old;
	unsigned int i;
	int err;

	err = dmo_device_info(dmo_as_fd(d->as), dmo_dev_number(d->dev), &info);
	if (!err)
		err = dmo_stat(d->dev, &cost->stat);
	if (err)
		return err;
	for (i = 0; i < cost->stat.count; i++)
		if (dmo_stat_get(&d->before, cost->stat.entries[i].name, &old) == 0)
			cost->stat.entries[i].value -= old;
	cost->threads = info.threads;
	cost->memory = info.limit;
	cost->faults = d->faults;
	cost->waited_ns = d->waited_ns;
	cost->ran_ns = d->ran_ns;
	return 0;
}

/* ---- opening --------------------------------------------------------------------------------------- */

/* A file in the mount that nobody else can open; its fd or -errno. */
static int nameless_file(const char *mount)
{
	char *path;
	int fd, err;

	if (asprintf(&path, "%s/.gpt2-scratch-XXXXXX", mount) < 0)
		return -ENOMEM;
	fd = mkostemp(path, O_CLOEXEC);
	err = fd < 0 ? -errno : unlink(path) < 0 ? -errno : 0;
	if (err && fd >= 0)
		close(fd);
	free(path);
	return err ? err : fd;
}

static int copy_bytes(int from, off_t at, int to, uint64_t bytes)
{
	const size_t room = 1 << 20;
	char *buffer = malloc(room);
	uint64_t done = 0;
	ssize_t n = 0;

	if (!buffer)
		return -ENOMEM;
	while (done < bytes) {
		n = pread(from, buffer, bytes - done < room ? bytes - done : room, at + done);
		if (n > 0)
			n = pwrite(to, buffer, n, done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += n;
	}
	free(buffer);
	return done == bytes ? 0 : n < 0 ? -errno : -EIO;
}

/* Maps the weights; sets data. */
static int map_weights(struct gpt2_device *d, const struct gpt2_device_setup *setup)
{
	const struct gpt2_model *m = setup->model;
	uint64_t start = m->data_start;
	int file = setup->weights, err;

	if (!gpt2_aligned(m)) {
		d->aligned = nameless_file(setup->mount);
		if (d->aligned < 0)
			return d->aligned;
		err = copy_bytes(setup->weights, m->data_start, d->aligned, m->data_bytes);
		if (err)
			return err;
		file = d->aligned;
		start = 0;
	}
	err = dmo_as_attach(d->as, file, DMO_PROT_READ, &d->data, NULL);
	if (err)
		return err;
	d->data += start;
	return setup->prefetch ? dmo_prefetch(file, 0, 0, dmo_dev_number(d->dev)) : 0;
}

/* Sets aside bytes at *end, on a multiple of align. */
static uint64_t place(uint64_t *end, uint64_t align, uint64_t bytes)
{
	uint64_t at = (*end + align - 1) & ~(align - 1);

	*end = at + bytes;
	return at;
}

static void lay_out(struct gpt2_device *d, uint32_t capacity)
{
	const struct gpt2_shape *shape = &d->model->shape;
	uint64_t row = shape->width * sizeof(float);
	struct places *at = &d->at;

	d->row_bytes = 3 * row;
	d->layer_bytes = capacity * d->row_bytes;
	at->x = place(&at->end, 64, row);
	at->norm = place(&at->end, 64, row);
	at->mixed = place(&at->end, 64, row);
	at->fc = place(&at->end, 64, shape->inner * sizeof(float));
	at->cache = place(&at->end, DMO_PAGE_SIZE, shape->layers * d->layer_bytes);
	d->logits_bytes = shape->vocab * sizeof(float);
	at->logits = place(&at->end, DMO_PAGE_SIZE, d->logits_bytes);
	at->end = (at->end + DMO_PAGE_SIZE - 1) & ~(uint64_t)(DMO_PAGE_SIZE - 1);
}

static int map_scratch(struct gpt2_device *d, const struct gpt2_device_setup *setup)
{
	struct places *at = &d->at;
	uint64_t va;
	void *cpu;
	int err;

	lay_out(d, setup->capacity);
	d->scratch = nameless_file(setup->mount);
	if (d->scratch < 0)
		return d->scratch;
	if (ftruncate(d->scratch, at->end) < 0)
		return -errno;
	cpu = mmap(NULL, d->logits_bytes, PROT_READ, MAP_SHARED, d->scratch, at->logits);
	if (cpu == MAP_FAILED)
		return -errno;
	d->logits = cpu;
	err = dmo_as_attach(d->as, d->scratch, DMO_PROT_READ | DMO_PROT_WRITE, &va, NULL);
	if (err)
		return err;
	at->x += va;
	at->norm += va;
	at->mixed += va;
	at->fc += va;
	at->cache += va;
	at->logits += va;
	return 0;
}

static int open_all(struct gpt2_device *d, const struct gpt2_device_setup *setup, const char **what)
{
	int err;

	*what = "opening the device";
	err = dmo_dev_open(setup->mount, setup->device, &d->dev);
	if (err)
		return err;
	*what = "opening a context";
	err = dmo_as_create(d->dev, &d->as);
	if (!err)
		err = dmo_lowat(d->as, COMPLETIONS);	/* a token's commands are waited for together */
	if (err)
		return err;
	*what = "reading memory.stat";
	err = dmo_stat(d->dev, &d->before);
	if (err)
		return err;
	*what = "mapping a scratch file into the device";
	err = map_scratch(d, setup);
	if (err)
		return err;
	*what = "mapping the weights into the device (are they on this mount?)";
	return map_weights(d, setup);
}

int gpt2_device_create(struct gpt2_device **out, const struct gpt2_device_setup *setup, const char **what)
{
	struct gpt2_device *d = calloc(1, sizeof(*d));
	int err;

	*what = "allocating";
	if (!d)
		return -ENOMEM;
	d->model = setup->model;
	d->scratch = -1;
	d->aligned = -1;
	d->commands = calloc(5 + 8ul * setup->model->shape.layers, sizeof(*d->commands));
	err = d->commands ? open_all(d, setup, what) : -ENOMEM;
	if (err) {
		gpt2_device_free(d);
		return err;
	}
	*out = d;
	return 0;
}

void gpt2_device_free(struct gpt2_device *d)
{
	if (!d)
		return;
	dmo_as_destroy(d->as);
	dmo_dev_close(d->dev);
	if (d->logits)
		munmap(d->logits, d->logits_bytes);
	if (d->scratch >= 0)
		close(d->scratch);
	if (d->aligned >= 0)
		close(d->aligned);
	free(d->commands);
	free(d);
}
