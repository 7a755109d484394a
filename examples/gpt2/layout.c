/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layout.c - GPT-2's tensors as a table
 *
 * A dimension is a letter: V vocabulary, P positions, D width, Q three times the width, F the feed-forward
 * width.
 */
#include "layout.h"

#include <stdio.h>
#include <string.h>

struct row {
	const char *name;
	const char *dims;
};

static const struct row outer[OUTER_COUNT] = {
	[OUTER_WTE] = { "wte.weight", "VD" },
	[OUTER_WPE] = { "wpe.weight", "PD" },
	[OUTER_LNF_GAIN] = { "ln_f.weight", "D" },
	[OUTER_LNF_BIAS] = { "ln_f.bias", "D" },
};

static const struct row parts[GPT2_PARTS] = {
	[GPT2_LN1_GAIN] = { "ln_1.weight", "D" },
	[GPT2_LN1_BIAS] = { "ln_1.bias", "D" },
	[GPT2_QKV_WEIGHT] = { "attn.c_attn.weight", "DQ" },
	[GPT2_QKV_BIAS] = { "attn.c_attn.bias", "Q" },
	[GPT2_PROJ_WEIGHT] = { "attn.c_proj.weight", "DD" },
	[GPT2_PROJ_BIAS] = { "attn.c_proj.bias", "D" },
	[GPT2_LN2_GAIN] = { "ln_2.weight", "D" },
	[GPT2_LN2_BIAS] = { "ln_2.bias", "D" },
	[GPT2_FC_WEIGHT] = { "mlp.c_fc.weight", "DF" },
	[GPT2_FC_BIAS] = { "mlp.c_fc.bias", "F" },
	[GPT2_OUT_WEIGHT] = { "mlp.c_proj.weight", "FD" },
	[GPT2_OUT_BIAS] = { "mlp.c_proj.bias", "D" },
};

static uint64_t dimension(const struct gpt2_shape *shape, char letter)
{
	switch (letter) {
	case 'V': return shape->vocab;
	case 'P': return shape->positions;
	case 'Q': return 3ull * shape->width;
	case 'F': return shape->inner;
	default: return shape->width;
	}
}

static void fill(const struct gpt2_shape *shape, const char *dims, const char *name, struct st_tensor *tensor)
{
	unsigned int i;

	memset(tensor, 0, sizeof(*tensor));
	tensor->name = name;
	tensor->dtype = ST_F32;
	tensor->rank = strlen(dims);
	for (i = 0; i < tensor->rank; i++)
		tensor->shape[i] = dimension(shape, dims[i]);
}

void layout_outer(const struct gpt2_shape *shape, int which, char *name, struct st_tensor *tensor)
{
	snprintf(name, GPT2_NAME_MAX, "%s", outer[which].name);
	fill(shape, outer[which].dims, name, tensor);
}

void layout_part(const struct gpt2_shape *shape, uint32_t layer, enum gpt2_part part,
		 char *name, struct st_tensor *tensor)
{
	snprintf(name, GPT2_NAME_MAX, "h.%u.%s", layer, parts[part].name);
	fill(shape, parts[part].dims, name, tensor);
}
