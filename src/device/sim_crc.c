/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_crc.c - POSIX cksum's CRC, sixteen bytes at a time, and its arithmetic
 *
 * A CRC is a polynomial over GF(2) modulo P; bit 31 is x^31. Appending a zero byte multiplies it by x^8. table[k][b]
 * is byte b followed by k + 3 zero bytes, modulo P.
 */
#include "sim_crc.h"

#include <pthread.h>

#define P	0x04c11db7u
#define SLICES	16

static uint32_t table[SLICES][256];
static uint32_t power[64];		/* x^(8 * 2^k) */
static pthread_once_t once = PTHREAD_ONCE_INIT;

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

static void make_tables(void)
{
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

uint32_t sim_crc(uint32_t crc, const void *data, size_t bytes)
{
	const unsigned char *p = data;

	pthread_once(&once, make_tables);
	for (; bytes >= 16; bytes -= 16, p += 16)
		crc = sixteen(crc, p);
	while (bytes--)
		crc = crc << 8 ^ table[0][crc >> 24 ^ *p++];
	return crc;
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
