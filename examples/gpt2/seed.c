/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * seed.c - writes a GPT-2 whose numbers come from a seed
 *
 * Element i of tensor t is a hash of (seed, t, i): the sum of the hash's four bytes, centred, is normal
 * enough, and a loop without carried state is one that compilers vectorise. Matrices get the spread that
 * keeps activations near 1 at any width; the attention's projection gets more, so that the heads look at few
 * positions and not evenly at all. wte comes last in the file: a token reads the file front to back, and the
 * head's rows last.
 */
#define _GNU_SOURCE

#include "model.h"
#include "layout.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK (1u << 20)	/* floats made and written at a time */

/* How a tensor's numbers are spread. */
struct spread {
	float mean;
	float deviation;
};

struct plan {
	struct st_tensor *tensors;
	struct spread *spreads;
	char (*names)[GPT2_NAME_MAX];
	size_t count;
	char *head;
	size_t head_bytes;
	uint64_t bytes;		/* of data */
};

static struct spread outer_spread(const struct gpt2_shape *shape, int which)
{
	float matrix = 0.02f * sqrtf(768.0f / shape->width);

	switch (which) {
	case OUTER_LNF_GAIN: return (struct spread){ 1.0f, 0.1f };
	case OUTER_LNF_BIAS: return (struct spread){ 0.0f, 0.1f };
	case OUTER_WPE: return (struct spread){ 0.0f, 4 * matrix };
	default: return (struct spread){ 0.0f, matrix };
	}
}

static struct spread part_spread(const struct gpt2_shape *shape, enum gpt2_part part)
{
	float matrix = 0.02f * sqrtf(768.0f / shape->width);

	switch (part) {
	case GPT2_LN1_GAIN:
	case GPT2_LN2_GAIN: return (struct spread){ 1.0f, 0.1f };
	case GPT2_LN1_BIAS:
	case GPT2_LN2_BIAS: return (struct spread){ 0.0f, 0.1f };
	case GPT2_QKV_WEIGHT: return (struct spread){ 0.0f, 2.5f * matrix };
	case GPT2_OUT_WEIGHT: return (struct spread){ 0.0f, matrix * sqrtf((float)shape->width / shape->inner) };
	default: return (struct spread){ 0.0f, matrix };
	}
}

static void plan_tensors(struct plan *plan, const struct gpt2_shape *shape)
{
	static const int last[] = { OUTER_LNF_GAIN, OUTER_LNF_BIAS, OUTER_WTE };
	size_t n = 0, i;
	uint32_t layer;
	int part;

	layout_outer(shape, OUTER_WPE, plan->names[n], &plan->tensors[n]);
	plan->spreads[n++] = outer_spread(shape, OUTER_WPE);
	for (layer = 0; layer < shape->layers; layer++)
		for (part = 0; part < GPT2_PARTS; part++) {
			layout_part(shape, layer, part, plan->names[n], &plan->tensors[n]);
			plan->spreads[n++] = part_spread(shape, part);
		}
	for (i = 0; i < 3; i++) {
		layout_outer(shape, last[i], plan->names[n], &plan->tensors[n]);
		plan->spreads[n++] = outer_spread(shape, last[i]);
	}
}

static void plan_free(struct plan *plan)
{
	free(plan->tensors);
	free(plan->spreads);
	free(plan->names);
	free(plan->head);
}

static int plan_make(struct plan *plan, const struct gpt2_shape *shape)
{
	enum st_status status;
	char heads[16];
	size_t i;

	plan->count = OUTER_COUNT + (size_t)shape->layers * GPT2_PARTS;
	plan->tensors = calloc(plan->count, sizeof(*plan->tensors));
	plan->spreads = calloc(plan->count, sizeof(*plan->spreads));
	plan->names = calloc(plan->count, sizeof(*plan->names));
	if (!plan->tensors || !plan->spreads || !plan->names)
		return -ENOMEM;
	plan_tensors(plan, shape);
	snprintf(heads, sizeof(heads), "%u", shape->heads);
	status = st_make_head(plan->tensors, plan->count, heads, &plan->head, &plan->head_bytes);
	for (i = 0; i < plan->count; i++)
		plan->bytes += plan->tensors[i].bytes;
	return status == ST_OK ? 0 : status == ST_NO_MEMORY ? -ENOMEM : -EOVERFLOW;
}

/* Numbers first to first + n of the sequence that stream names. */
static void make_numbers(float *out, size_t n, uint32_t stream, uint32_t first, struct spread spread)
{
	/* Four bytes of 0 to 255: mean 510, deviation sqrt(4 * 65535 / 12). */
	const float scale = spread.deviation / 147.8f, shift = spread.mean - 510.0f * scale;
	uint32_t h;
	size_t i;

	for (i = 0; i < n; i++) {
		h = ((uint32_t)i + first) * 0x9e3779b1u ^ stream;
		h = (h ^ h >> 16) * 0x85ebca6bu;
		h = (h ^ h >> 13) * 0xc2b2ae35u;
		h ^= h >> 16;
		h = (h & 0xff00ff) + (h >> 8 & 0xff00ff);
		out[i] = (float)(int)((h & 0xffff) + (h >> 16)) * scale + shift;
	}
}

static int write_all(int fd, const void *from, size_t bytes)
{
	size_t done = 0;
	ssize_t n;

	while (done < bytes) {
		n = write(fd, (const char *)from + done, bytes - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += n;
	}
	return 0;
}

static int write_plan(const struct plan *plan, int fd, uint32_t seed, gpt2_progress *progress, void *context)
{
	uint64_t written = 0, left;
	float *chunk = malloc(CHUNK * sizeof(*chunk));
	size_t i, n;
	int err;

	if (!chunk)
		return -ENOMEM;
	err = write_all(fd, plan->head, plan->head_bytes);
	for (i = 0; i < plan->count && !err; i++)
		for (left = plan->tensors[i].bytes / sizeof(*chunk); left && !err; left -= n) {
			n = left < CHUNK ? left : CHUNK;
			make_numbers(chunk, n, (seed + (uint32_t)i) * 0xa511e9b3u,
				     (uint32_t)(plan->tensors[i].bytes / sizeof(*chunk) - left), plan->spreads[i]);
			err = write_all(fd, chunk, n * sizeof(*chunk));
			written += n * sizeof(*chunk);
			if (progress && !err)
				progress(context, written, plan->bytes);
		}
	free(chunk);
	return err;
}

static int write_file(const struct plan *plan, const char *path, uint32_t seed,
		      gpt2_progress *progress, void *context)
{
	char *partial;
	int fd, err;

	if (asprintf(&partial, "%s.partial", path) < 0)
		return -ENOMEM;
	fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		err = -errno;
		goto free_name;
	}
	err = write_plan(plan, fd, seed, progress, context);
	if (close(fd) < 0 && !err)
		err = -errno;
	if (!err && rename(partial, path) < 0)
		err = -errno;
	if (err)
		unlink(partial);
free_name:
	free(partial);
	return err;
}

int gpt2_write_seeded(const char *path, const struct gpt2_shape *shape, uint32_t seed,
		      gpt2_progress *progress, void *context)
{
	struct plan plan = { 0 };
	int err = plan_make(&plan, shape);

	if (!err)
		err = write_file(&plan, path, seed, progress, context);
	plan_free(&plan);
	return err;
}
