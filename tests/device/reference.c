/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reference.c - what the commands should give, written as plainly as can be
 */
#include "reference.h"

#include <math.h>
#include <stdlib.h>

uint32_t ref_crc(uint32_t crc, const unsigned char *p, size_t n)
{
	while (n--) {
		crc ^= (uint32_t)*p++ << 24;
		for (int i = 0; i < 8; i++)
			crc = crc >> 31 ? crc << 1 ^ 0x04c11db7u : crc << 1;
	}
	return crc;
}

uint32_t ref_cksum(const unsigned char *p, size_t n)
{
	uint32_t crc = ref_crc(0, p, n);
	unsigned char low;

	for (; n; n >>= 8) {
		low = (unsigned char)n;
		crc = ref_crc(crc, &low, 1);
	}
	return ~crc;
}

void ref_gemv(double *y, const float *w, const float *x, const float *bias, size_t rows, size_t cols, int transpose)
{
	size_t n = transpose ? cols : rows;

	for (size_t i = 0; i < n; i++)
		y[i] = bias ? bias[i] : 0;
	for (size_t r = 0; r < rows; r++) {
		for (size_t c = 0; c < cols; c++)
			y[transpose ? c : r] += (double)w[r * cols + c] * x[transpose ? r : c];
	}
}

void ref_layernorm(double *y, const float *x, const float *gain, const float *bias, size_t n, double epsilon)
{
	double mean = 0, variance = 0;

	for (size_t i = 0; i < n; i++)
		mean += x[i];
	mean /= (double)n;
	for (size_t i = 0; i < n; i++)
		variance += (x[i] - mean) * (x[i] - mean);
	variance /= (double)n;
	for (size_t i = 0; i < n; i++)
		y[i] = (x[i] - mean) / sqrt(variance + epsilon) * gain[i] + bias[i];
}

double ref_gelu(double x)
{
	return x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x))) / 2;
}

static void one_head(double *out, const float *q, const float *k, const float *v, size_t width, size_t positions,
		     size_t stride)
{
	double *weight = calloc(positions, sizeof(*weight)), sum = 0, max = -INFINITY;

	for (size_t p = 0; p < positions; p++) {
		for (size_t i = 0; i < width; i++)
			weight[p] += (double)q[i] * k[p * stride + i];
		weight[p] /= sqrt((double)width);
		max = fmax(max, weight[p]);
	}
	for (size_t p = 0; p < positions; p++)
		sum += weight[p] = exp(weight[p] - max);
	for (size_t i = 0; i < width; i++) {
		out[i] = 0;
		for (size_t p = 0; p < positions; p++)
			out[i] += weight[p] / sum * v[p * stride + i];
	}
	free(weight);
}

void ref_attention(double *out, const float *q, const float *k, const float *v, size_t heads, size_t width,
		   size_t positions, size_t stride)
{
	for (size_t h = 0; h < heads; h++)
		one_head(out + h * width, q + h * width, k + h * width, v + h * width, width, positions, stride);
}

void ref_floats(float *to, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		to[i] = (float)(int32_t)seed / 2147483648.0f;
	}
}
