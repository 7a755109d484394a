/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernels.h - the arithmetic of the plain CPU path
 *
 * Each output element is summed in an order that depends on the matrix alone, never on how the work is cut,
 * so any number of threads gives the same bits. All pointers are 4-byte aligned; sizes count floats. Pure
 * functions: any thread may call them on its own output.
 */
#ifndef GPT2_KERNELS_H
#define GPT2_KERNELS_H

#include <stddef.h>

/* Slices that several threads share out should begin on a multiple of this many floats. */
#define KERNEL_GRAIN 16

/* y[r] = row r of w times x, for rows rows of columns columns. */
void kernel_rows(float *y, const float *w, const float *x, size_t rows, size_t columns);

/* y[c] += sum over r of x[r] w[r][c], for all columns of w, which is rows x columns. */
void kernel_columns(float *y, const float *w, const float *x, size_t rows, size_t columns);

/* y += x */
void kernel_add(float *y, const float *x, size_t n);

/* y = (x - mean) / sqrt(variance + 1e-5) * gain + bias. */
void kernel_layernorm(float *y, const float *x, const float *gain, const float *bias, size_t n);

/* y = gelu(y), the tanh form. */
void kernel_gelu(float *y, size_t n);

/*
 * One head's attention: out[width] = sum over p of softmax(q k[p] / sqrt(width)) v[p]. k and v step by stride
 * floats from position to position; score has room for positions floats.
 */
void kernel_attention(float *out, const float *q, const float *k, const float *v, float *score,
		      size_t width, size_t positions, size_t stride);

/* The first index of the largest. n > 0. */
size_t kernel_argmax(const float *x, size_t n);

#endif
