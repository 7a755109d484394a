/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bits.h - bitmaps over the 512 pages of a block
 *
 * A map is u64[DMO_BITS_WORDS], bit i of the block's page i. Ranges are (first, count) with first + count <=
 * DMO_BITS; a count of 0 is allowed and does nothing. Nothing here locks or allocates: whoever owns the map
 * says which lock guards it.
 */
#ifndef DMO_CORE_BITS_H
#define DMO_CORE_BITS_H

#include "dmo_env.h"

#define DMO_BITS	512u
#define DMO_BITS_WORDS	8u

/* The bits of word number word that lie in [first, first + count). */
static inline u64 dmo_bits_mask(unsigned word, unsigned first, unsigned count)
{
	unsigned lo = word * 64, end = first + count;
	u64 mask = ~0ull;

	if (end <= lo || first >= lo + 64)
		return 0;
	if (first > lo)
		mask &= ~0ull << (first - lo);
	if (end < lo + 64)
		mask &= ~0ull >> (lo + 64 - end);
	return mask;
}

/* The number of set bits in a word; written out because compilers call a library for the builtin. */
static inline unsigned dmo_bits_weight64(u64 x)
{
	x -= (x >> 1) & 0x5555555555555555ull;
	x = (x & 0x3333333333333333ull) + ((x >> 2) & 0x3333333333333333ull);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (x * 0x0101010101010101ull) >> 56;
}

static inline bool dmo_bits_test(const u64 *b, unsigned i)
{
	return b[i / 64] >> (i % 64) & 1;
}

static inline void dmo_bits_set(u64 *b, unsigned first, unsigned count)
{
	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		b[w] |= dmo_bits_mask(w, first, count);
}

static inline void dmo_bits_clear(u64 *b, unsigned first, unsigned count)
{
	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		b[w] &= ~dmo_bits_mask(w, first, count);
}

/* True when every bit of the range is set; true for an empty range. */
static inline bool dmo_bits_all(const u64 *b, unsigned first, unsigned count)
{
	u64 missing = 0;

	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		missing |= ~b[w] & dmo_bits_mask(w, first, count);
	return !missing;
}

/* True when some bit of the range is set. */
static inline bool dmo_bits_any_in(const u64 *b, unsigned first, unsigned count)
{
	u64 found = 0;

	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		found |= b[w] & dmo_bits_mask(w, first, count);
	return found;
}

static inline bool dmo_bits_any(const u64 *b)
{
	u64 found = 0;

	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		found |= b[w];
	return found;
}

/* How many bits are set: in the map, and in a range. */
static inline unsigned dmo_bits_count(const u64 *b)
{
	unsigned n = 0;

	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		n += dmo_bits_weight64(b[w]);
	return n;
}

static inline unsigned dmo_bits_count_in(const u64 *b, unsigned first, unsigned count)
{
	unsigned n = 0;

	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		n += dmo_bits_weight64(b[w] & dmo_bits_mask(w, first, count));
	return n;
}

/* The first bit at or after from that equals value; DMO_BITS when there is none. from may be DMO_BITS. */
static inline unsigned dmo_bits_next(const u64 *b, unsigned from, bool value)
{
	u64 flip = value ? 0 : ~0ull;

	for (unsigned w = from / 64; w < DMO_BITS_WORDS; w++) {
		u64 x = b[w] ^ flip;

		if (w == from / 64)
			x &= ~0ull << (from % 64);
		if (x)
			return w * 64 + (unsigned)__builtin_ctzll(x);
	}
	return DMO_BITS;
}

static inline unsigned dmo_bits_next_set(const u64 *b, unsigned from)
{
	return dmo_bits_next(b, from, true);
}

static inline unsigned dmo_bits_next_zero(const u64 *b, unsigned from)
{
	return dmo_bits_next(b, from, false);
}

/*
 * The next run of bits equal to value within [from, end): its first bit in *first, its length returned; 0
 * when there is none. To walk all runs: for (i = 0; (n = dmo_bits_run(b, i, 512, true, &i)); i += n).
 */
static inline unsigned dmo_bits_run(const u64 *b, unsigned from, unsigned end, bool value, unsigned *first)
{
	unsigned lo = dmo_bits_next(b, from, value), hi;

	if (lo >= end)
		return 0;
	hi = dmo_bits_next(b, lo, !value);
	*first = lo;
	return (hi < end ? hi : end) - lo;
}

static inline void dmo_bits_zero(u64 *b)
{
	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		b[w] = 0;
}

static inline void dmo_bits_copy(u64 *dst, const u64 *src)
{
	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		dst[w] = src[w];
}

/* dst = a op b; dst may be either of them. */
static inline void dmo_bits_or(u64 *dst, const u64 *a, const u64 *b)
{
	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		dst[w] = a[w] | b[w];
}

static inline void dmo_bits_and(u64 *dst, const u64 *a, const u64 *b)
{
	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		dst[w] = a[w] & b[w];
}

static inline void dmo_bits_andnot(u64 *dst, const u64 *a, const u64 *b)
{
	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		dst[w] = a[w] & ~b[w];
}

static inline bool dmo_bits_equal(const u64 *a, const u64 *b)
{
	return !memcmp(a, b, DMO_BITS_WORDS * sizeof(u64));
}

#endif
