/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reference.h - what the commands should give, written as plainly as can be
 */
#ifndef TESTS_DEVICE_REFERENCE_H
#define TESTS_DEVICE_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

/* POSIX cksum's CRC, bit by bit; without the length. */
uint32_t ref_crc(uint32_t crc, const unsigned char *p, size_t n);
uint32_t ref_cksum(const unsigned char *p, size_t n);
/* y = W x (+ bias) in double; transpose: y = W' x. */
void ref_gemv(double *y, const float *w, const float *x, const float *bias, size_t rows, size_t cols, int transpose);
void ref_layernorm(double *y, const float *x, const float *gain, const float *bias, size_t n, double epsilon);
double ref_gelu(double x);
void ref_attention(double *out, const float *q, const float *k, const float *v, size_t heads, size_t width,
		   size_t positions, size_t stride);
/* Floats in [-1, 1). */
void ref_floats(float *to, size_t n, uint32_t seed);

#endif
