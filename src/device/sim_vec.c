/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_vec.c - vectors of 16 floats, which the compiler cuts to what the CPU has
 *
 * Each function is compiled for several kinds of CPU and chosen when the program starts. Sanitizers and older clangs don't
 * get along with that, so their builds have one version. What does not fill a vector goes through a padded copy of 16, by
 * the same arithmetic.
 */
#include "sim_vec.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SIM_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SIM_SANITIZED 1
#endif
#endif

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(SIM_SANITIZED) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

#define W 16

typedef float vec __attribute__((vector_size(64)));
typedef int32_t ivec __attribute__((vector_size(64)));
typedef float vec_any __attribute__((vector_size(64), aligned(4), may_alias));
typedef float half __attribute__((vector_size(32)));
typedef float quarter __attribute__((vector_size(16)));

#define LOAD(p) ((vec)*(const vec_any *)(p))
#define STORE(p, v) (*(vec_any *)(p) = (v))
#define ALL(a) ((vec){} + (a))
/* mask ? a : b, in each lane */
#define SELECT(mask, a, b) ((vec)(((ivec)(a) & (mask)) | ((ivec)(b) & ~(mask))))
#define INLINE static inline __attribute__((always_inline))

/* The first n floats of p, then zeros. */
INLINE void load_some(vec *v, const float *p, size_t n)
{
	float padded[W] = { 0 };

	for (size_t i = 0; i < n; i++)
		padded[i] = p[i];
	*v = LOAD(padded);
}

INLINE void store_some(float *p, const vec *v, size_t n)
{
	float padded[W];

	STORE(padded, *v);
	for (size_t i = 0; i < n; i++)
		p[i] = padded[i];
}

INLINE float sum_lanes(const vec *v)
{
	half h[2];
	quarter q[2];

	memcpy(h, v, sizeof(h));
	h[0] += h[1];
	memcpy(q, h, sizeof(q));
	q[0] += q[1];
	return (q[0][0] + q[0][2]) + (q[0][1] + q[0][3]);
}

INLINE float dot(const float *a, const float *b, size_t n)
{
	vec s0 = { 0 }, s1 = { 0 }, s2 = { 0 }, s3 = { 0 }, x, y;

	for (; n >= 4 * W; n -= 4 * W, a += 4 * W, b += 4 * W) {
		s0 += LOAD(a) * LOAD(b);
		s1 += LOAD(a + W) * LOAD(b + W);
		s2 += LOAD(a + 2 * W) * LOAD(b + 2 * W);
		s3 += LOAD(a + 3 * W) * LOAD(b + 3 * W);
	}
	for (; n >= W; n -= W, a += W, b += W)
		s0 += LOAD(a) * LOAD(b);
	if (n) {
		load_some(&x, a, n);
		load_some(&y, b, n);
		s1 += x * y;
	}
	s0 = (s0 + s1) + (s2 + s3);
	return sum_lanes(&s0);
}

CLONES float sim_dot(const float *a, const float *b, size_t n)
{
	return dot(a, b, n);
}

/* Row by row, strictly forwards: memory is faster that way than with several rows at a time. */
CLONES void sim_dot_rows(float *out, const float *rows, size_t count, const float *x, size_t n)
{
	for (; count; count--, out++, rows += n)
		*out += dot(rows, x, n);
}

INLINE void axpy_one(float *y, const float *x, float a, size_t n)
{
	for (; n >= W; n -= W, y += W, x += W)
		STORE(y, LOAD(y) + LOAD(x) * a);
	for (size_t i = 0; i < n; i++)
		y[i] += x[i] * a;
}

CLONES void sim_axpy(float *y, const float *x, float a, size_t n)
{
	axpy_one(y, x, a, n);
}

CLONES void sim_axpy_rows(float *y, const float *rows, size_t count, const float *a, size_t n)
{
	for (; count; count--, a++, rows += n)
		axpy_one(y, rows, *a, n);
}

CLONES void sim_add(float *y, const float *x, size_t n)
{
	for (; n >= W; n -= W, y += W, x += W)
		STORE(y, LOAD(y) + LOAD(x));
	for (size_t i = 0; i < n; i++)
		y[i] += x[i];
}

CLONES void sim_scale(float *y, float a, size_t n)
{
	for (; n >= W; n -= W, y += W)
		STORE(y, LOAD(y) * a);
	for (size_t i = 0; i < n; i++)
		y[i] *= a;
}

CLONES float sim_max(const float *x, size_t n)
{
	vec best = ALL(-INFINITY), v;
	float max = -INFINITY;

	for (; n >= W; n -= W, x += W) {
		v = LOAD(x);
		best = SELECT(v > best, v, best);
	}
	for (size_t i = 0; i < n; i++)
		max = x[i] > max ? x[i] : max;
	for (int i = 0; i < W; i++)
		max = best[i] > max ? best[i] : max;
	return max;
}

CLONES float sim_sum(const float *x, size_t n)
{
	vec s0 = { 0 }, s1 = { 0 }, v;

	for (; n >= 2 * W; n -= 2 * W, x += 2 * W) {
		s0 += LOAD(x);
		s1 += LOAD(x + W);
	}
	for (; n; n -= n < W ? n : W, x += W) {
		load_some(&v, x, n < W ? n : W);
		s0 += v;
	}
	s0 += s1;
	return sum_lanes(&s0);
}

CLONES float sim_sum_squares(const float *x, float mean, size_t n)
{
	vec s = { 0 }, v;
	float sum = 0;

	for (; n >= W; n -= W, x += W) {
		v = LOAD(x) - mean;
		s += v * v;
	}
	for (size_t i = 0; i < n; i++)
		sum += (x[i] - mean) * (x[i] - mean);
	return sum_lanes(&s) + sum;
}

CLONES void sim_normalize(float *x, const float *gain, const float *bias, float mean, float scale, size_t n)
{
	size_t i = 0;

	for (; i + W <= n; i += W)
		STORE(x + i, (LOAD(x + i) - mean) * scale * LOAD(gain + i) + LOAD(bias + i));
	for (; i < n; i++)
		x[i] = (x[i] - mean) * scale * gain[i] + bias[i];
}

/*
 * e^x = 2^k e^r with k whole and |r| <= ln(2) / 2; e^r by its Taylor series to the seventh power, which is off by less than
 * 1e-8. Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits. x is kept within what has a
 * normal result.
 */
INLINE void exp_vec(vec *v)
{
	const float magic = 12582912.0f;
	vec x = *v, t, k, r, e;
	ivec bits;

	x = SELECT(x < ALL(-87.0f), ALL(-87.0f), x);
	x = SELECT(x > ALL(88.0f), ALL(88.0f), x);
	t = x * 1.44269504f + magic;
	k = t - magic;
	r = x - k * 0.693359375f;
	r = r + k * 2.12194440e-4f;
	e = r * (1.0f / 5040) + 1.0f / 720;
	e = e * r + 1.0f / 120;
	e = e * r + 1.0f / 24;
	e = e * r + 1.0f / 6;
	e = e * r + 0.5f;
	e = e * r + 1.0f;
	e = e * r + 1.0f;
	memcpy(&bits, &t, sizeof(bits));
	bits = (bits - 0x4b400000 + 127) << 23;
	memcpy(&k, &bits, sizeof(k));
	*v = e * k;
}

CLONES float sim_exp_sum(float *x, float shift, size_t n)
{
	vec sum = { 0 }, v, kept;

	for (; n >= W; n -= W, x += W) {
		v = LOAD(x) - shift;
		exp_vec(&v);
		STORE(x, v);
		sum += v;
	}
	if (n) {
		load_some(&v, x, n);
		v -= shift;
		exp_vec(&v);
		store_some(x, &v, n);
		load_some(&kept, x, n);
		sum += kept;
	}
	return sum_lanes(&sum);
}

/* (1 + tanh(u)) / 2 = 1 / (1 + e^-2u) */
INLINE void gelu_vec(vec *v)
{
	vec x = *v, u;

	u = (x + x * x * x * 0.044715f) * (-2 * 0.797884561f);
	exp_vec(&u);
	*v = x / (u + 1.0f);
}

CLONES void sim_gelu(float *x, size_t n)
{
	vec v;

	for (; n >= W; n -= W, x += W) {
		v = LOAD(x);
		gelu_vec(&v);
		STORE(x, v);
	}
	if (n) {
		load_some(&v, x, n);
		gelu_vec(&v);
		store_some(x, &v, n);
	}
}
