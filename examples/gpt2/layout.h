/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layout.h - the published names and shapes of GPT-2's tensors, for model.c, which finds them, and seed.c,
 * which makes them
 */
#ifndef GPT2_LAYOUT_H
#define GPT2_LAYOUT_H

#include "model.h"
#include "safetensors.h"

#define GPT2_NAME_MAX 64

/* The tensors outside the layers, in the order of layout_outer. */
enum { OUTER_WTE, OUTER_WPE, OUTER_LNF_GAIN, OUTER_LNF_BIAS, OUTER_COUNT };

/* Fills name (GPT2_NAME_MAX bytes), rank and shape of one tensor; the name lacks any prefix. */
void layout_outer(const struct gpt2_shape *shape, int which, char *name, struct st_tensor *tensor);
void layout_part(const struct gpt2_shape *shape, uint32_t layer, enum gpt2_part part,
		 char *name, struct st_tensor *tensor);

#endif
