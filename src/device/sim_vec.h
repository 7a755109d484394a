/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_vec.h - arithmetic on arrays of f32, in the widest vectors that the CPU has
 *
 * Pointers need the alignment of a float only. The same input gives the same result each time on one machine.
 */
#ifndef DMO_SIM_VEC_H
#define DMO_SIM_VEC_H

#include <stddef.h>

/* Sum of a[i] b[i]. */
float sim_dot(const float *a, const float *b, size_t n);
/* out[i] += sum of rows[i * n + j] x[j]; to the last bit as one row after the other. */
void sim_dot_rows(float *out, const float *rows, size_t count, const float *x, size_t n);
/* y += a x */
void sim_axpy(float *y, const float *x, float a, size_t n);
/* y += sum of a[i] rows[i * n ...]; to the last bit as sim_axpy for one row after the other. */
void sim_axpy_rows(float *y, const float *rows, size_t count, const float *a, size_t n);
/* y += x */
void sim_add(float *y, const float *x, size_t n);
/* y *= a */
void sim_scale(float *y, float a, size_t n);
/* The largest that is a number; -INFINITY where there is none. */
float sim_max(const float *x, size_t n);
/* Sum of x[i]; sum of (x[i] - mean) squared. */
float sim_sum(const float *x, size_t n);
float sim_sum_squares(const float *x, float mean, size_t n);
/* y = (x - mean) scale gain + bias */
void sim_normalize(float *x, const float *gain, const float *bias, float mean, float scale, size_t n);
/* x = exp(x - shift); returns their sum. */
float sim_exp_sum(float *x, float shift, size_t n);
/* x = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
void sim_gelu(float *x, size_t n);

#endif
