/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model.c - finds GPT-2's tensors in a file and checks each against the shape
 *
 * The shape comes from three tensors (wte, wpe, the first layer's c_fc) and from how many layers there are;
 * then every tensor must be there, F32 and of just that shape. Others, such as the causal masks
 * (h.N.attn.bias) of the published file, are passed over. All names may carry the prefix "transformer.".
 */
#include "model.h"
#include "layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAYERS_MAX	1024u
#define DIMENSION_MAX	(1u << 22)
#define HEADS_MAX	4096u

const struct gpt2_shape gpt2_small = {
	.layers = 12, .width = 768, .heads = 12, .inner = 3072, .vocab = 50257, .positions = 1024,
};

/* One search through a file's table. */
struct finder {
	struct st_index index;
	const char *prefix;
	char *reason;
	int room;
};

static const struct st_tensor *find(const struct finder *f, const char *name)
{
	char full[GPT2_NAME_MAX + 16];

	snprintf(full, sizeof(full), "%s%s", f->prefix, name);
	return st_find(&f->index, full);
}

static int refuse(const struct finder *f, const char *name, const char *why)
{
	snprintf(f->reason, f->room, "tensor %s%s %s", f->prefix, name, why);
	return -EINVAL;
}

/* The offset of the tensor that wanted describes. */
static int bind(const struct finder *f, const struct st_tensor *wanted, uint64_t *offset)
{
	const struct st_tensor *found = find(f, wanted->name);

	if (!found)
		return refuse(f, wanted->name, "is missing");
	if (found->dtype != ST_F32)
		return refuse(f, wanted->name, "is not F32");
	if (found->rank != wanted->rank || memcmp(found->shape, wanted->shape, sizeof(found->shape)))
		return refuse(f, wanted->name, "has a shape that doesn't fit the others");
	if (found->offset % 4)
		return refuse(f, wanted->name, "doesn't lie on a multiple of 4 in the data");
	*offset = found->offset;
	return 0;
}

static int bind_outer(const struct finder *f, struct gpt2_model *model)
{
	uint64_t *const to[OUTER_COUNT] = {
		[OUTER_WTE] = &model->wte, [OUTER_WPE] = &model->wpe,
		[OUTER_LNF_GAIN] = &model->lnf_gain, [OUTER_LNF_BIAS] = &model->lnf_bias,
	};
	struct st_tensor wanted;
	char name[GPT2_NAME_MAX];
	int i, err;

	for (i = 0; i < OUTER_COUNT; i++) {
		layout_outer(&model->shape, i, name, &wanted);
		err = bind(f, &wanted, to[i]);
		if (err)
			return err;
	}
	return 0;
}

static int bind_layers(const struct finder *f, struct gpt2_model *model)
{
	struct st_tensor wanted;
	char name[GPT2_NAME_MAX];
	uint32_t layer;
	int part, err;

	for (layer = 0; layer < model->shape.layers; layer++)
		for (part = 0; part < GPT2_PARTS; part++) {
			layout_part(&model->shape, layer, part, name, &wanted);
			err = bind(f, &wanted, &model->layer[layer][part]);
			if (err)
				return err;
		}
	return 0;
}

static uint32_t count_layers(const struct finder *f)
{
	char name[GPT2_NAME_MAX];
	uint32_t layers = 0;

	do
		snprintf(name, sizeof(name), "h.%u.ln_1.weight", layers);
	while (find(f, name) && ++layers < LAYERS_MAX);
	return layers;
}

/* Both dimensions of a matrix, each from 1 to DIMENSION_MAX. */
static int matrix(const struct finder *f, const char *name, uint32_t *rows, uint32_t *columns)
{
	const struct st_tensor *found = find(f, name);

	if (!found)
		return refuse(f, name, "is missing: no GPT-2");
	if (found->rank != 2)
		return refuse(f, name, "is no matrix");
	if (found->bytes == 0 || found->shape[0] > DIMENSION_MAX || found->shape[1] > DIMENSION_MAX)
		return refuse(f, name, "is empty or too large");
	*rows = found->shape[0];
	*columns = found->shape[1];
	return 0;
}

static int take_heads(const struct finder *f, struct gpt2_shape *shape, uint32_t heads)
{
	if (!heads && f->index.heads)
		heads = strtoul(f->index.heads, NULL, 10);
	if (!heads)
		heads = shape->width < 64 ? 1 : shape->width / 64;
	if (heads > HEADS_MAX || heads > shape->width || shape->width % heads) {
		snprintf(f->reason, f->room, "%u heads are too many or don't divide the width %u", heads,
			 shape->width);
		return -EINVAL;
	}
	shape->heads = heads;
	return 0;
}

static int take_shape(const struct finder *f, struct gpt2_shape *shape, uint32_t heads)
{
	uint32_t width;
	int err;

	err = matrix(f, "wte.weight", &shape->vocab, &shape->width);
	if (!err)
		err = matrix(f, "wpe.weight", &shape->positions, &width);
	if (!err)
		err = matrix(f, "h.0.mlp.c_fc.weight", &width, &shape->inner);
	if (!err)
		err = take_heads(f, shape, heads);
	shape->layers = count_layers(f);
	return err;
}

static int bind_all(struct finder *f, struct gpt2_model *model, uint32_t heads)
{
	int err;

	f->prefix = st_find(&f->index, "transformer.wte.weight") ? "transformer." : "";
	err = take_shape(f, &model->shape, heads);
	if (err)
		return err;
	model->layer = calloc(model->shape.layers, sizeof(*model->layer));
	if (!model->layer) {
		snprintf(f->reason, f->room, "out of memory");
		return -ENOMEM;
	}
	model->data_start = f->index.data_start;
	model->data_bytes = f->index.data_bytes;
	err = bind_outer(f, model);
	if (!err)
		err = bind_layers(f, model);
	if (err)
		gpt2_close(model);
	return err;
}

int gpt2_open(struct gpt2_model *model, int fd, uint32_t heads, char *reason, int room)
{
	struct finder f = { .reason = reason, .room = room };
	enum st_status status;
	int err;

	memset(model, 0, sizeof(*model));
	errno = 0;
	status = st_read(&f.index, fd);
	if (status != ST_OK) {
		err = status == ST_NO_MEMORY ? ENOMEM : status == ST_READ && errno ? errno : EINVAL;
		snprintf(reason, room, "%s%s%s", st_explain(status), status == ST_READ ? ": " : "",
			 status == ST_READ ? strerror(err) : "");
		return -err;
	}
	err = bind_all(&f, model, heads);
	st_free(&f.index);
	return err;
}

void gpt2_close(struct gpt2_model *model)
{
	free(model->layer);
	memset(model, 0, sizeof(*model));
}

bool gpt2_aligned(const struct gpt2_model *model)
{
	return model->data_start % 4 == 0;
}

uint64_t gpt2_bytes_per_token(const struct gpt2_shape *shape)
{
	uint64_t width = shape->width;

	return 4 * (shape->layers * (4 * width * width + 2 * width * shape->inner) + shape->vocab * width);
}
