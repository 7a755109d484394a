/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model.h - a GPT-2 in a .safetensors file: its shape, and where each tensor lies
 *
 * The shape is taken from the tensors, so that any size of GPT-2 works. Offsets count from the start of the
 * file's data: whoever runs the model adds the address at which the data begins, in memory or on a device.
 * A model is read-only once opened; any number of threads may use it.
 */
#ifndef GPT2_MODEL_H
#define GPT2_MODEL_H

#include <stdbool.h>
#include <stdint.h>

struct gpt2_shape {
	uint32_t layers;
	uint32_t width;
	uint32_t heads;
	uint32_t inner;		/* width of the feed-forward part */
	uint32_t vocab;
	uint32_t positions;
};

/* A layer's tensors. Matrices stand as [in, out] (the published layout): y = x W, row by row. */
enum gpt2_part {
	GPT2_LN1_GAIN, GPT2_LN1_BIAS,
	GPT2_QKV_WEIGHT, GPT2_QKV_BIAS,
	GPT2_PROJ_WEIGHT, GPT2_PROJ_BIAS,
	GPT2_LN2_GAIN, GPT2_LN2_BIAS,
	GPT2_FC_WEIGHT, GPT2_FC_BIAS,
	GPT2_OUT_WEIGHT, GPT2_OUT_BIAS,
	GPT2_PARTS
};

struct gpt2_model {
	struct gpt2_shape shape;
	uint64_t wte;			/* [vocab, width]: embedding, and the head that makes logits */
	uint64_t wpe;			/* [positions, width] */
	uint64_t lnf_gain, lnf_bias;
	uint64_t (*layer)[GPT2_PARTS];	/* [layers] */
	uint64_t data_start;		/* in the file */
	uint64_t data_bytes;
};

/*
 * Finds the model in the open file fd, which stays the caller's. heads: 0 takes them from the file's
 * metadata, else width / 64. Returns 0, and the caller ends *model with gpt2_close; or -errno with one line
 * in reason[room] that names what is wrong: -EINVAL no valid file or no GPT-2, -ENOMEM, or what reading gave.
 */
int gpt2_open(struct gpt2_model *model, int fd, uint32_t heads, char *reason, int room);

void gpt2_close(struct gpt2_model *model);

/* Whether every tensor begins on a multiple of 4 in the file, as a device that maps it needs. */
bool gpt2_aligned(const struct gpt2_model *model);

/* Bytes of the weights that make one token: all matrices once. */
uint64_t gpt2_bytes_per_token(const struct gpt2_shape *shape);

/* Called now and then while a file is written. */
typedef void gpt2_progress(void *context, uint64_t done, uint64_t all);

/*
 * Writes a model of that shape to path, its numbers made from seed alone: the same bytes on every machine.
 * The file appears whole or not at all. 0 or -errno; progress may be NULL.
 */
int gpt2_write_seeded(const char *path, const struct gpt2_shape *shape, uint32_t seed,
		      gpt2_progress *progress, void *context);

/* GPT-2 small. */
extern const struct gpt2_shape gpt2_small;

#endif
