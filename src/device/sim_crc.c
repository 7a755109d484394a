/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_crc.c - POSIX cksum's CRC, and its arithmetic
 *
 * A CRC is a polynomial over GF(2) modulo P; bit 31 is x^31. Appending a zero byte multiplies it by x^8. table[k][b]
 * is byte b followed by k + 3 zero bytes, modulo P.
 *
 * Where the CPU multiplies such polynomials, long input is folded: 128 bits A = H x^64 + L are moved D bits on by adding
 * H (x^(D + 64) mod P) + L (x^D mod P) to what stands there, which is the same modulo P. Four such values run side by
 * side, 512 bits apart; at the end they are folded into one, whose 16 bytes go through the tables.
 */
#include "sim_crc.h"

#include <pthread.h>
#include <stdbool.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define P	0x04c11db7u
#define SLICES	16

static uint32_t table[SLICES][256];
static uint32_t power[64];		/* x^(8 * 2^k) */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool can_fold;
static uint64_t far[2], near[2];	/* x^D and x^(D + 64), for D = 512 and 128 */

static uint32_t times_x(uint32_t a)
{
	return a << 1 ^ (a >> 31 ? P : 0);
}

static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t r = 0;

	for (int i = 31; i >= 0; i--) {
		r = times_x(r);
		if (b >> i & 1)
			r ^= a;
	}
	return r;
}

static uint32_t power_of_x(unsigned n)
{
	uint32_t a = 1;

	while (n--)
		a = times_x(a);
	return a;
}

static void make_constants(void)
{
	for (unsigned i = 0; i < 2; i++) {
		far[i] = power_of_x(512 + 64 * i);
		near[i] = power_of_x(128 + 64 * i);
	}
#if defined(__x86_64__)
	can_fold = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
#endif
}

static void make_tables(void)
{
	make_constants();
	for (unsigned b = 0; b < 256; b++) {
		table[0][b] = b << 24;
		for (int i = 0; i < 8; i++)
			table[0][b] = times_x(table[0][b]);
	}
	for (int k = 1; k < SLICES; k++) {
		for (unsigned b = 0; b < 256; b++)
			table[k][b] = table[k - 1][b] << 8 ^ table[0][table[k - 1][b] >> 24];
	}
	power[0] = 1u << 8;
	for (int k = 1; k < 64; k++)
		power[k] = multiply(power[k - 1], power[k - 1]);
}

static uint32_t sixteen(uint32_t crc, const unsigned char *p)
{
	uint32_t next = 0;

	next ^= table[15][p[0] ^ (crc >> 24)] ^ table[14][p[1] ^ (crc >> 16 & 255)];
	next ^= table[13][p[2] ^ (crc >> 8 & 255)] ^ table[12][p[3] ^ (crc & 255)];
	for (int i = 4; i < 16; i++)
		next ^= table[15 - i][p[i]];
	return next;
}

static uint32_t by_table(uint32_t crc, const unsigned char *p, size_t bytes)
{
	for (; bytes >= 16; bytes -= 16, p += 16)
		crc = sixteen(crc, p);
	while (bytes--)
		crc = crc << 8 ^ table[0][crc >> 24 ^ *p++];
	return crc;
}

#if defined(__x86_64__)
#define FOLDING __attribute__((target("pclmul,sse4.1")))

FOLDING static inline __m128i reverse(__m128i bytes)
{
	return _mm_shuffle_epi8(bytes, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/* 16 bytes, the first the most significant. */
FOLDING static inline __m128i load(const unsigned char *p)
{
	return reverse(_mm_loadu_si128((const __m128i *)p));
}

FOLDING static inline __m128i fold(__m128i a, __m128i by, __m128i onto)
{
	return _mm_xor_si128(onto, _mm_xor_si128(_mm_clmulepi64_si128(a, by, 0x11), _mm_clmulepi64_si128(a, by, 0x00)));
}

/* bytes: a multiple of 64, not 0. */
FOLDING static uint32_t by_folding(uint32_t crc, const unsigned char *p, size_t bytes)
{
	const __m128i by_far = _mm_set_epi64x((long long)far[1], (long long)far[0]);
	const __m128i by_near = _mm_set_epi64x((long long)near[1], (long long)near[0]);
	__m128i a[4];
	unsigned char last[16];

	for (int i = 0; i < 4; i++)
		a[i] = load(p + 16 * i);
	a[0] = _mm_xor_si128(a[0], _mm_set_epi32((int)crc, 0, 0, 0));
	for (p += 64, bytes -= 64; bytes; p += 64, bytes -= 64) {
		a[0] = fold(a[0], by_far, load(p));
		a[1] = fold(a[1], by_far, load(p + 16));
		a[2] = fold(a[2], by_far, load(p + 32));
		a[3] = fold(a[3], by_far, load(p + 48));
	}
	for (int i = 1; i < 4; i++)
		a[i] = fold(a[i - 1], by_near, a[i]);
	_mm_storeu_si128((__m128i *)last, reverse(a[3]));
	return by_table(0, last, sizeof(last));
}
#else
static uint32_t by_folding(uint32_t crc, const unsigned char *p, size_t bytes)
{
	return by_table(crc, p, bytes);
}
#endif

uint32_t sim_crc(uint32_t crc, const void *data, size_t bytes)
{
	const unsigned char *p = data;
	size_t folded = bytes & ~(size_t)63;

	pthread_once(&once, make_tables);
	if (!can_fold || !folded)
		return by_table(crc, p, bytes);
	crc = by_folding(crc, p, folded);
	return by_table(crc, p + folded, bytes - folded);
}

uint32_t sim_crc_zeros(uint32_t crc, uint64_t bytes)
{
	pthread_once(&once, make_tables);
	for (int k = 0; bytes; k++, bytes >>= 1) {
		if (bytes & 1)
			crc = multiply(crc, power[k]);
	}
	return crc;
}

uint32_t sim_crc_finish(uint32_t crc, uint64_t bytes)
{
	unsigned char low;

	for (; bytes; bytes >>= 8) {
		low = (unsigned char)bytes;
		crc = sim_crc(crc, &low, 1);
	}
	return ~crc;
}
