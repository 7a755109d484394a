/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernels.c - vectors of 16 floats, and what GPT-2 does with them
 *
 * Written with the compiler's vector type; on x86-64 each kernel is compiled for three levels of the
 * instruction set and the loader picks one. The two products of a matrix and a vector are bound by memory:
 * both read the matrix once, front to back. Anything else (half rows, eight rows at a time) was measured to
 * reach half the memory's speed.
 */
#include "kernels.h"

#include <math.h>
#include <string.h>

/* Not under sanitizers, whose runtime isn't up when the loader chooses, nor with clang 14: it misnames clones. */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__) && \
	!defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define CLONES
#endif

#define AHEAD 512	/* floats */

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * KERNEL_GRAIN)));

INLINE void load(vec *to, const float *from)
{
	memcpy(to, from, sizeof(*to));
}

INLINE float sum(const vec *v)
{
	float s = 0;
	int i;

	for (i = 0; i < KERNEL_GRAIN; i++)
		s += (*v)[i];
	return s;
}

INLINE void multiply_add(vec *acc, const float *a, const float *b)
{
	vec va, vb;

	load(&va, a);
	load(&vb, b);
	*acc += va * vb;
}

/* Four chains of additions over one stream. a comes from memory: it is asked for AHEAD of use. */
INLINE float dot(const float *a, const float *b, size_t n)
{
	vec acc[4] = { 0 };
	size_t i;
	float s;
	int k;

	for (i = 0; i + 4 * KERNEL_GRAIN <= n; i += 4 * KERNEL_GRAIN)
		for (k = 0; k < 4 * KERNEL_GRAIN; k += KERNEL_GRAIN) {
			__builtin_prefetch(a + i + k + AHEAD);
			multiply_add(&acc[k / KERNEL_GRAIN], a + i + k, b + i + k);
		}
	for (; i + KERNEL_GRAIN <= n; i += KERNEL_GRAIN)
		multiply_add(&acc[0], a + i, b + i);
	acc[0] = (acc[0] + acc[1]) + (acc[2] + acc[3]);
	s = sum(&acc[0]);
	for (; i < n; i++)
		s += a[i] * b[i];
	return s;
}

CLONES void kernel_rows(float *y, const float *w, const float *x, size_t rows, size_t columns)
{
	size_t r;

	for (r = 0; r < rows; r++)
		y[r] = dot(w + r * columns, x, columns);
}

/* y += x[0] first row of w + x[1] second row. */
INLINE void two_rows(float *y, const float *w, const float *x, size_t columns)
{
	vec acc, first, second;
	size_t c;

	for (c = 0; c + KERNEL_GRAIN <= columns; c += KERNEL_GRAIN) {
		load(&acc, y + c);
		load(&first, w + c);
		load(&second, w + columns + c);
		acc += first * x[0];
		acc += second * x[1];
		memcpy(y + c, &acc, sizeof(acc));
	}
	for (; c < columns; c++)
		y[c] += w[c] * x[0] + w[columns + c] * x[1];
}

CLONES void kernel_columns(float *y, const float *w, const float *x, size_t rows, size_t columns)
{
	size_t r, c;

	for (r = 0; r + 2 <= rows; r += 2)
		two_rows(y, w + r * columns, x + r, columns);
	for (; r < rows; r++)
		for (c = 0; c < columns; c++)
			y[c] += w[r * columns + c] * x[r];
}

/* y += a x */
INLINE void add_scaled(float *y, const float *x, float a, size_t n)
{
	vec vx, vy;
	size_t i;

	for (i = 0; i + KERNEL_GRAIN <= n; i += KERNEL_GRAIN) {
		load(&vx, x + i);
		load(&vy, y + i);
		vy += vx * a;
		memcpy(y + i, &vy, sizeof(vy));
	}
	for (; i < n; i++)
		y[i] += a * x[i];
}

CLONES void kernel_add(float *y, const float *x, size_t n)
{
	add_scaled(y, x, 1, n);
}

CLONES void kernel_layernorm(float *y, const float *x, const float *gain, const float *bias, size_t n)
{
	float mean = 0, variance = 0, scale;
	size_t i;

	for (i = 0; i < n; i++)
		mean += x[i];
	mean /= n;
	for (i = 0; i < n; i++)
		variance += (x[i] - mean) * (x[i] - mean);
	scale = 1 / sqrtf(variance / n + 1e-5f);
	for (i = 0; i < n; i++)
		y[i] = (x[i] - mean) * scale * gain[i] + bias[i];
}

void kernel_gelu(float *y, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		y[i] *= 0.5f * (1 + tanhf(0.79788456f * (y[i] + 0.044715f * y[i] * y[i] * y[i])));
}

/* Makes scores into shares that add up to 1. */
static void softmax(float *score, size_t n)
{
	float largest = score[0], all = 0;
	size_t i;

	for (i = 1; i < n; i++)
		largest = fmaxf(largest, score[i]);
	for (i = 0; i < n; i++) {
		score[i] = expf(score[i] - largest);
		all += score[i];
	}
	for (i = 0; i < n; i++)
		score[i] /= all;
}

CLONES void kernel_attention(float *out, const float *q, const float *k, const float *v, float *score,
			     size_t width, size_t positions, size_t stride)
{
	const float scale = 1 / sqrtf(width);
	size_t p;

	for (p = 0; p < positions; p++)
		score[p] = dot(k + p * stride, q, width) * scale;
	softmax(score, positions);
	memset(out, 0, width * sizeof(*out));
	for (p = 0; p < positions; p++)
		add_scaled(out, v + p * stride, score[p], width);
}

size_t kernel_argmax(const float *x, size_t n)
{
	size_t best = 0, i;

	for (i = 1; i < n; i++)
		if (x[i] > x[best])
			best = i;
	return best;
}
