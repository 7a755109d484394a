/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy.c - a block's copies and the chunks of device memory under them
 *
 * A copy has chunks for the pages that were wanted, each a power of two of frames, aligned in the block to its size:
 * mostly the one chunk of 2 MiB, or one of 4 KiB for a small file. `one` holds a single chunk without an allocation.
 *
 * Locks: object.h's.
 */
#include "core/object.h"

static int frames_get(struct dmo_device *d, unsigned order, u32 *frame)
{
	return d->frames ? d->frames->alloc(d->frames_ctx, order, frame) : dmo_phys_alloc(&d->phys, order, frame);
}

static void frames_put(struct dmo_device *d, u32 frame, unsigned order)
{
	if (d->frames)
		d->frames->free(d->frames_ctx, frame, order);
	else
		dmo_phys_free(&d->phys, frame, order);
}

/* Frees the halves of a chunk apart from now on. */
static void frames_split(struct dmo_device *d, u32 frame, unsigned order)
{
	if (!d->frames)
		dmo_phys_split(&d->phys, frame, order, order - 1);
}

struct dmo_copy *dmo_block_copy(const struct dmo_block *b, const struct dmo_device *d)
{
	struct dmo_copy *c = b->copies;

	while (c && c->dev != d)
		c = c->next;
	return c;
}

struct dmo_copy *dmo_block_add_copy(struct dmo_block *b, struct dmo_device *d)
{
	const struct dmo_mem *mem = b->object->mem;
	struct dmo_copy *c = dmo_block_copy(b, d);

	if (c)
		return c;
	c = dmo_alloc(mem, sizeof(*c));
	if (!c)
		return NULL;
	dmo_rows_init(&c->rows, DMO_COPY_ROWS, 0);
	if (dmo_rows_open(&c->rows, mem)) {
		dmo_free(mem, c, sizeof(*c));
		return NULL;
	}
	c->block = b;
	c->dev = d;
	c->chunks = &c->one;
	c->room = 1;
	dmo_list_init(&c->lru);
	c->next = b->copies;
	b->copies = c;
	b->object->copies++;
	return c;
}

void dmo_copy_free(struct dmo_copy *c)
{
	const struct dmo_mem *mem = c->block->object->mem;
	struct dmo_copy **at = &c->block->copies;

	DMO_BUG_ON(c->pins);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->block->object->copies--;
	dmo_list_remove(&c->lru);
	for (unsigned i = 0; i < c->nr_chunks; i++)
		frames_put(c->dev, c->chunks[i].frame, c->chunks[i].order);
	c->dev->used -= c->frames;
	if (c->chunks != &c->one)
		dmo_free(mem, c->chunks, c->room * sizeof(*c->chunks));
	dmo_rows_fini(&c->rows, mem);
	dmo_free(mem, c, sizeof(*c));
}

/* The chunk that holds page, or where one that begins at page would stand: the first whose end is past page. */
static unsigned chunk_at(const struct dmo_copy *c, unsigned page)
{
	unsigned lo = 0, hi = c->nr_chunks;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (c->chunks[mid].page + (1u << c->chunks[mid].order) <= page)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

unsigned dmo_copy_run(const struct dmo_copy *c, unsigned page, unsigned count, u32 *frame)
{
	unsigned i = chunk_at(c, page), got;

	if (i == c->nr_chunks || c->chunks[i].page > page)
		return 0;
	*frame = c->chunks[i].frame + (page - c->chunks[i].page);
	got = c->chunks[i].page + (1u << c->chunks[i].order) - page;
	while (got < count && ++i < c->nr_chunks && c->chunks[i].page == page + got &&
	       c->chunks[i].frame == *frame + got)
		got += 1u << c->chunks[i].order;
	return got < count ? got : count;
}

static int make_room(struct dmo_copy *c, const struct dmo_mem *mem)
{
	unsigned room = c->room * 2;
	struct dmo_chunk *chunks;

	if (c->nr_chunks < c->room)
		return 0;
	chunks = dmo_alloc(mem, room * sizeof(*chunks));
	if (!chunks)
		return -EAGAIN;
	memcpy(chunks, c->chunks, c->nr_chunks * sizeof(*chunks));
	if (c->chunks != &c->one)
		dmo_free(mem, c->chunks, c->room * sizeof(*chunks));
	c->chunks = chunks;
	c->room = room;
	return 0;
}

static int add_chunk(struct dmo_copy *c, const struct dmo_mem *mem, unsigned page, unsigned order)
{
	struct dmo_device *d = c->dev;
	unsigned i = chunk_at(c, page);
	u32 frame;
	int err;

	err = make_room(c, mem);
	if (!err)
		err = frames_get(d, order, &frame);
	if (err)
		return err;
	memmove(c->chunks + i + 1, c->chunks + i, (c->nr_chunks - i) * sizeof(*c->chunks));
	c->chunks[i] = (struct dmo_chunk){ .frame = frame, .page = page, .order = order };
	c->nr_chunks++;
	c->frames += 1u << order;
	d->used += 1u << order;
	if (d->used > d->peak)
		d->peak = d->used;
	return 0;
}

/* The largest order of a chunk at page that is aligned to it and does not pass page + count. */
static unsigned order_at(unsigned page, unsigned count)
{
	unsigned order = 0;

	while (order < DMO_PHYS_ORDER_BLOCK && !(page & ((2u << order) - 1)) && 2u << order <= count)
		order++;
	return order;
}

/* Pages from page on, at most count, that lie in no chunk. */
static unsigned uncovered(const struct dmo_copy *c, unsigned page, unsigned count)
{
	unsigned i = chunk_at(c, page);

	if (i == c->nr_chunks || c->chunks[i].page >= page + count)
		return count;
	return c->chunks[i].page > page ? c->chunks[i].page - page : 0;
}

/* The first page past the chunk that holds page. */
static unsigned chunk_end(const struct dmo_copy *c, unsigned page)
{
	const struct dmo_chunk *k = &c->chunks[chunk_at(c, page)];

	return k->page + (1u << k->order);
}

unsigned dmo_copy_missing(const struct dmo_copy *c, unsigned first, unsigned count)
{
	unsigned page = first, end = first + count, missing = 0;

	while (page < end) {
		unsigned gap = uncovered(c, page, end - page);

		missing += gap;
		page = gap ? page + gap : chunk_end(c, page);
	}
	return missing;
}

/* The largest order that there is memory for, as far as is known before it is asked for. */
static unsigned order_possible(const struct dmo_device *d, unsigned order)
{
	int largest = d->frames ? (int)order : dmo_phys_largest(&d->phys);

	return largest >= 0 && order > (unsigned)largest ? (unsigned)largest : order;
}

/* A chunk at page for up to count pages; in fragmented memory a smaller one than would fit. */
static int cover(struct dmo_copy *c, const struct dmo_mem *mem, unsigned page, unsigned count, unsigned *got)
{
	unsigned order = order_possible(c->dev, order_at(page, count));
	int err;

	while ((err = add_chunk(c, mem, page, order)) == -ENOMEM && order)
		order--;
	*got = 1u << order;
	return err;
}

/* Chunks for the pages, which lie in none. */
static int cover_all(struct dmo_copy *c, const struct dmo_mem *mem, const u64 *pages)
{
	unsigned at = 0, first, n, got;

	while ((n = dmo_bits_run(pages, at, DMO_BLOCK_PAGES, true, &first))) {
		int err = cover(c, mem, first, n, &got);

		if (err)
			return err;
		at = first + got;
	}
	return 0;
}

void dmo_copy_holes(const struct dmo_copy *c, unsigned first, unsigned count, u64 *pages)
{
	unsigned page = first, end = first + count;

	while (page < end) {
		unsigned gap = uncovered(c, page, end - page);

		if (gap)
			dmo_bits_set(pages, page, gap);
		page = gap ? page + gap : chunk_end(c, page);
	}
}

int dmo_copy_reserve(struct dmo_copy *c, const struct dmo_mem *mem, unsigned first, unsigned count)
{
	u64 holes[DMO_BITS_WORDS] = { 0 };
	struct dmo_device *d = c->dev;
	unsigned missing;
	int err;

	dmo_copy_holes(c, first, count, holes);
	missing = dmo_bits_count(holes);
	if (missing && (d->used + missing > d->limit || (!d->frames && missing > dmo_phys_free_pages(&d->phys))))
		return -ENOMEM;
	err = cover_all(c, mem, holes);
	if (err)
		dmo_copy_unreserve(c, holes);
	return err;
}

static void give_back(struct dmo_copy *c, u32 frame, unsigned order)
{
	frames_put(c->dev, frame, order);
	c->dev->used -= 1u << order;
	c->frames -= 1u << order;
}

void dmo_copy_unreserve(struct dmo_copy *c, const u64 *pages)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < c->nr_chunks; i++) {
		struct dmo_chunk k = c->chunks[i];

		if (dmo_bits_test(pages, k.page))
			give_back(c, k.frame, k.order);
		else
			c->chunks[kept++] = k;
	}
	c->nr_chunks = kept;
}

/* Halves a chunk, which has a valid page, while one half has none. */
static void shrink(struct dmo_copy *c, struct dmo_chunk *k)
{
	const u64 *valid = dmo_copy_bits(c, DMO_VALID);

	while (k->order) {
		unsigned half = 1u << (k->order - 1);
		bool left = dmo_bits_any_in(valid, k->page, half), right = dmo_bits_any_in(valid, k->page + half, half);

		if (left && right)
			return;
		frames_split(c->dev, k->frame, k->order);
		k->order--;
		give_back(c, left ? k->frame + half : k->frame, k->order);
		if (right) {
			k->frame += half;
			k->page += half;
		}
	}
}

void dmo_copy_trim(struct dmo_copy *c)
{
	const u64 *valid = dmo_copy_bits(c, DMO_VALID);
	unsigned kept = 0;

	if (c->pins)
		return;
	for (unsigned i = 0; i < c->nr_chunks; i++) {
		struct dmo_chunk k = c->chunks[i];

		if (dmo_bits_any_in(valid, k.page, 1u << k.order)) {
			shrink(c, &k);
			c->chunks[kept++] = k;
		} else {
			give_back(c, k.frame, k.order);
		}
	}
	c->nr_chunks = kept;
}
