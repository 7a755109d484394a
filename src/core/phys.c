// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * phys.c - the buddy allocator's bitmaps
 *
 * Each order below the top has two bits for each pair of buddies, and they say all there is to know:
 *
 *	00	the pair's parent is split; neither buddy is free
 *	01 10	the parent is split; one buddy (bit 0: the left) is free, the other is not
 *	11	the parent is not split: it is free, or allocated whole, or lies in a larger chunk that is
 *
 * Two free buddies always join, so 11 is never needed for "both free" and can mean the third thing. At the
 * top order there are no pairs: a bit is set when that chunk is free. A chunk (index i, order o) is therefore
 *
 *	free		its own bit is set and its pair is not 11 (top: its bit is set)
 *	split		the pair below it, pair i of order o - 1, is not 11
 *	allocated	its pair is not 11, its own bit is clear, and it is not split
 *
 * which makes every wrong free visible at once, in 2 bits a page: 0.25 bytes. Chunks that reach past the end
 * of the memory are split for ever; those wholly beyond it look allocated, and nobody can name them.
 *
 * Over each order's bitmap stand summaries, a bit for each word below that holds a free chunk, up to a single
 * word: the lowest word with a free chunk is found in one step a level. One word of each order, the hot one, is
 * looked at first and is left out of that: what goes on in it, such as a chunk that is allocated and freed again
 * and again, never climbs the summaries. It changes only while it has no free chunk.
 *
 * Invariants: order[o].free counts the free chunks of order o; avail has bit o set when that is not 0;
 * free_pages is the sum over all orders.
 */
#include "core/phys.h"

#define LEFT_BITS	0x5555555555555555ull

static u64 words_for(u64 bits)
{
	return (bits + 63) / 64;
}

/* Chunks of order o, whole pairs of them below the top. */
static u64 bits_of_order(u64 pages, unsigned o, unsigned top)
{
	u64 n = (pages + (1ull << o) - 1) >> o;

	return o < top ? (n + 1) & ~1ull : n;
}

/* A mask over word w with a bit set for each pair (at the top: chunk) that has a free chunk. */
static u64 word_free(u64 w, bool top)
{
	return top ? w : (w ^ (w >> 1)) & LEFT_BITS;
}

static unsigned pair_state(const struct dmo_phys_order *r, u64 pair)
{
	return r->map[pair / 32] >> (pair % 32 * 2) & 3;
}

static bool is_split(const struct dmo_phys *p, u64 i, unsigned o)
{
	return o && pair_state(&p->order[o - 1], i) != 3;
}

/* Makes the summaries say that word number w of the bitmap has, or has not, a free chunk. */
static void summarize(struct dmo_phys_order *r, u64 w, bool has)
{
	for (unsigned l = 1; l < r->levels; l++) {
		u64 *s = r->map + r->level[l] + w / 64, was = *s;

		*s = has ? was | 1ull << (w % 64) : was & ~(1ull << (w % 64));
		if (*s == was || (has ? was != 0 : *s != 0))
			return;
		w /= 64;
	}
}

/* The word at w of that order had no free chunk and has one now, or the other way round. */
static void note(struct dmo_phys_order *r, bool top, u64 w, bool has)
{
	if (w == r->hot)
		return;
	if (has && !word_free(r->map[r->hot], top)) {
		summarize(r, r->hot, false);
		r->hot = (u32)w;
		return;
	}
	summarize(r, w, has);
}

/*
 * Flips the bits of mask in the word that holds chunk i, and counts the change in free chunks (+1 or -1, or
 * 0).
 */
static void flip(struct dmo_phys *p, unsigned o, u64 i, u64 mask, int change)
{
	struct dmo_phys_order *r = &p->order[o];
	u64 *w = r->map + i / 64;
	bool top = o == p->top, had = word_free(*w, top), has;

	*w ^= mask;
	has = word_free(*w, top);
	if (had != has)
		note(r, top, i / 64, has);
	r->free += change;
	p->avail = (p->avail & ~(1u << o)) | (u32)!!r->free << o;
}

static u64 chunk_bit(u64 i)
{
	return 1ull << (i % 64);
}

/* The lowest word that has a free chunk, the hot word apart: one is known to have. */
static u64 lowest_word(struct dmo_phys_order *r)
{
	u64 w = 0;

	summarize(r, r->hot, false);
	for (unsigned l = r->levels; l-- > 1;)
		w = w * 64 + (unsigned)__builtin_ctzll(r->map[r->level[l] + w]);
	return w;
}

/* A free chunk of an order that has one: the lowest of the hot word, or of the lowest word. */
static u64 any_free(struct dmo_phys *p, unsigned o)
{
	struct dmo_phys_order *r = &p->order[o];
	bool top = o == p->top;
	u64 bits;

	if (!word_free(r->map[r->hot], top))
		r->hot = (u32)lowest_word(r);
	bits = r->map[r->hot];
	if (!top)
		bits &= word_free(bits, false) * 3;
	return (u64)r->hot * 64 + (unsigned)__builtin_ctzll(bits);
}

/* Chunk i of order o, which is whole and not free, falls into two; the right half is free or not. */
static u64 split_chunk(struct dmo_phys *p, u64 i, unsigned o, bool right_free)
{
	i *= 2;
	if (right_free)
		flip(p, o - 1, i, chunk_bit(i), 1);
	else
		flip(p, o - 1, i, chunk_bit(i) * 3, 0);
	return i;
}

int dmo_phys_alloc(struct dmo_phys *p, unsigned order, u32 *frame)
{
	unsigned o;
	u64 i;

	if (order > DMO_PHYS_ORDER_MAX)
		return -EINVAL;
	if (!(p->avail >> order))
		return -ENOMEM;
	o = order + (unsigned)__builtin_ctz(p->avail >> order);
	i = any_free(p, o);
	flip(p, o, i, chunk_bit(i), -1);
	for (; o > order; o--)
		i = split_chunk(p, i, o, true);
	p->free_pages -= 1ull << order;
	*frame = (u32)(i << order);
	return 0;
}

bool dmo_phys_is_allocated(const struct dmo_phys *p, u32 frame, unsigned order)
{
	u64 i;

	if (order > p->top || frame & ((1u << order) - 1) || frame + (1ull << order) > p->pages)
		return false;
	i = frame >> order;
	if (order < p->top && pair_state(&p->order[order], i / 2) == 3)
		return false;
	return !(p->order[order].map[i / 64] & chunk_bit(i)) && !is_split(p, i, order);
}

void dmo_phys_free(struct dmo_phys *p, u32 frame, unsigned order)
{
	unsigned o = order;
	u64 i;

	DMO_BUG_ON(!dmo_phys_is_allocated(p, frame, order));
	i = frame >> order;
	for (; o < p->top && p->order[o].map[i / 64] & chunk_bit(i ^ 1); o++) {
		flip(p, o, i, chunk_bit(i), -1);	/* one of two was free; 11 makes the parent whole */
		i /= 2;
	}
	flip(p, o, i, chunk_bit(i), 1);
	p->free_pages += 1ull << order;
}

void dmo_phys_split(struct dmo_phys *p, u32 frame, unsigned from, unsigned to)
{
	DMO_BUG_ON(to > from || !dmo_phys_is_allocated(p, frame, from));
	for (unsigned o = from; o > to; o--)
		for (u64 i = frame >> o; i < ((u64)frame + (1ull << from)) >> o; i++)
			split_chunk(p, i, o, false);
}

/*
 * Lays the orders' bitmaps out one after the other, from base on (NULL: only counts). Returns the words
 * needed.
 */
static u64 lay_out(struct dmo_phys *p, u64 *base)
{
	u64 at = 0;

	for (unsigned o = 0; o <= p->top; o++) {
		struct dmo_phys_order *r = &p->order[o];
		u64 words = words_for(bits_of_order(p->pages, o, p->top)), off = 0;

		r->map = base ? base + at : NULL;
		for (r->levels = 0;; words = words_for(words)) {
			r->level[r->levels++] = (u32)off;
			off += words;
			if (words == 1)
				break;
		}
		at += off;
	}
	return at;
}

/* Every pair below the top starts as 11: no parent is split. */
static void fill_whole(struct dmo_phys *p)
{
	for (unsigned o = 0; o < p->top; o++)
		memset(p->order[o].map, 0xff, words_for(bits_of_order(p->pages, o, p->top)) * sizeof(u64));
}

/* Frees the memory, chunk by largest chunk; a chunk that reaches past the end is split. */
static void free_all(struct dmo_phys *p)
{
	u64 whole = p->pages >> p->top, i = whole;

	for (u64 c = 0; c < whole; c++)
		flip(p, p->top, c, chunk_bit(c), 1);
	for (unsigned o = p->top; o && (i << o) < p->pages; o--) {
		i *= 2;
		if ((i + 1) << (o - 1) <= p->pages) {
			flip(p, o - 1, i, chunk_bit(i + 1), 1);
			i++;
		} else {
			flip(p, o - 1, i, chunk_bit(i) * 3, 0);
		}
	}
	p->free_pages = p->pages;
}

static unsigned order_below(u64 pages)
{
	unsigned o = 63 - (unsigned)__builtin_clzll(pages);

	return o < DMO_PHYS_ORDER_MAX ? o : DMO_PHYS_ORDER_MAX;
}

int dmo_phys_init(struct dmo_phys *p, const struct dmo_mem *mem, u64 pages)
{
	memset(p, 0, sizeof(*p));
	if (!pages || pages > 0xffffffffull)
		return -EINVAL;
	p->pages = pages;
	p->top = order_below(pages);
	p->mem = *mem;
	p->nwords = lay_out(p, NULL);
	p->words = dmo_alloc(mem, p->nwords * sizeof(u64));
	if (!p->words)
		return -ENOMEM;
	lay_out(p, p->words);
	fill_whole(p);
	free_all(p);
	return 0;
}

void dmo_phys_fini(struct dmo_phys *p)
{
	dmo_free(&p->mem, p->words, p->nwords * sizeof(u64));
	p->words = NULL;
}

size_t dmo_phys_metadata(const struct dmo_phys *p)
{
	return sizeof(*p) + p->nwords * sizeof(u64);
}
