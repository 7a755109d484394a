/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks, their rows, and what changes them without moving a byte; object.h has the rules. copy.c has the copies. */
#include "core/object.h"

#define ABSENT_ROWS (1u << DMO_CPU)	/* what a block says that is not there */

int dmo_device_init(struct dmo_device *d, const struct dmo_mem *mem, u32 number, u64 frames)
{
	memset(d, 0, sizeof(*d));
	d->number = number;
	d->limit = d->high = d->low = frames;
	dmo_list_init(&d->lru);
	return dmo_phys_init(&d->phys, mem, frames);
}

void dmo_device_fini(struct dmo_device *d)
{
	DMO_BUG_ON(!dmo_list_empty(&d->lru));
	dmo_phys_fini(&d->phys);
}

void dmo_object_init(struct dmo_object *o, const struct dmo_mem *mem, u64 size)
{
	memset(o, 0, sizeof(*o));
	o->mem = mem;
	o->size = size;
	dmo_it_init(&o->rmap);
	dmo_attrs_init(&o->attrs);
}

static void block_free(struct dmo_block *b)
{
	struct dmo_object *o = b->object;

	dmo_radix_remove(&o->blocks, o->mem, b->index);
	dmo_rows_fini(&b->rows, o->mem);
	dmo_free(o->mem, b, sizeof(*b));
}

bool dmo_object_idle(const struct dmo_object *o)
{
	struct dmo_block *b;

	for (u64 i = 0; (b = dmo_radix_next(&o->blocks, &i)); i++)
		if (b->users || b->io || b->state != DMO_BLOCK_IDLE)
			return false;
	return true;
}

void dmo_object_forget_blocks(struct dmo_object *o)
{
	struct dmo_block *b;
	u64 i = 0;

	DMO_BUG_ON(o->copies || o->rmap.count);
	while ((b = dmo_radix_next(&o->blocks, &i)))
		block_free(b);
	o->lost = 0;
	o->evicted = false;
}

void dmo_object_fini(struct dmo_object *o)
{
	dmo_object_forget_blocks(o);
	dmo_attrs_fini(&o->attrs, o->mem);
}

struct dmo_block *dmo_block_get(struct dmo_object *o, u64 index)
{
	struct dmo_block *b = dmo_block_find(o, index);

	if (!b) {
		b = dmo_alloc(o->mem, sizeof(*b));
		if (!b)
			return NULL;
		b->object = o;
		b->index = index;
		dmo_rows_init(&b->rows, DMO_BLOCK_ROWS, ABSENT_ROWS);
		if (dmo_radix_insert(&o->blocks, o->mem, index, b)) {
			dmo_free(o->mem, b, sizeof(*b));
			return NULL;
		}
	}
	b->users++;
	return b;
}

void dmo_block_put(struct dmo_block *b)
{
	const struct dmo_mem *mem = b->object->mem;

	DMO_BUG_ON(!b->users);
	if (--b->users)
		return;
	dmo_rows_close(&b->rows, mem);
	for (struct dmo_copy *c = b->copies; c; c = c->next)
		dmo_rows_close(&c->rows, mem);
	if (!b->copies && !b->rows.words && b->rows.ones == ABSENT_ROWS && !b->evicted && !b->revoked)
		block_free(b);
}

bool dmo_block_forget(struct dmo_block *b)
{
	if (b->users || b->io || b->state != DMO_BLOCK_IDLE || b->copies || b->revoked)
		return false;
	for (unsigned row = 0; row < DMO_BLOCK_ROWS; row++)
		if (row != DMO_CPU && dmo_bits_any(dmo_block_bits(b, row)))
			return false;
	block_free(b);
	return true;
}

int dmo_block_open_from(struct dmo_block *b, const struct dmo_mem *mem)
{
	int err = dmo_rows_open(&b->rows, mem);

	for (struct dmo_copy *c = b->copies; c && !err; c = c->next)
		err = dmo_rows_open(&c->rows, mem);
	return err;
}

int dmo_block_open(struct dmo_block *b)
{
	return dmo_block_open_from(b, b->object->mem);
}

struct dmo_copy *dmo_page_copy(const struct dmo_block *b, unsigned page)
{
	struct dmo_copy *valid = NULL;

	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		if (dmo_bits_test(dmo_copy_bits(c, DMO_DIRTY), page))
			return c;
		if (dmo_bits_test(dmo_copy_bits(c, DMO_VALID), page))
			valid = c;
	}
	return valid;
}

void dmo_block_dirty(const struct dmo_block *b, u64 *dirty)
{
	for (struct dmo_copy *c = b->copies; c; c = c->next)
		dmo_bits_or(dirty, dirty, dmo_copy_bits(c, DMO_DIRTY));
}

void dmo_block_valid(const struct dmo_block *b, u64 *valid)
{
	for (struct dmo_copy *c = b->copies; c; c = c->next)
		dmo_bits_or(valid, valid, dmo_copy_bits(c, DMO_VALID));
}

bool dmo_block_pinned(const struct dmo_block *b)
{
	for (struct dmo_copy *c = b->copies; c; c = c->next)
		if (c->pins)
			return true;
	return false;
}

unsigned dmo_block_pages(const struct dmo_block *b)
{
	u64 start = b->index << DMO_BLOCK_SHIFT, size = b->object->size;

	if (size <= start)
		return 0;
	if (size - start >= DMO_BLOCK_SIZE)
		return DMO_BLOCK_PAGES;
	return (size - start + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT;
}

/* Pages found dirty by their device belong to the one copy that was mapped for writing. */
static void harvest(struct dmo_block *b, unsigned first, unsigned count, const u64 *dirty)
{
	const u64 *wmapped = dmo_block_bits(b, DMO_WMAPPED);

	if (!dirty)
		return;
	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		const u64 *valid = dmo_copy_bits(c, DMO_VALID);
		u64 *row = dmo_rows_row(&c->rows, DMO_DIRTY);

		for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
			row[w] |= dirty[w] & wmapped[w] & valid[w] & dmo_bits_mask(w, first, count);
	}
}

void dmo_block_wprotected(struct dmo_block *b, unsigned first, unsigned count, const u64 *dirty)
{
	harvest(b, first, count, dirty);
	dmo_bits_clear(dmo_rows_row(&b->rows, DMO_WMAPPED), first, count);
}

void dmo_block_unmapped(struct dmo_block *b, unsigned first, unsigned count, const u64 *dirty)
{
	dmo_block_wprotected(b, first, count, dirty);
	dmo_bits_clear(dmo_rows_row(&b->rows, DMO_MAPPED), first, count);
	dmo_bits_clear(dmo_rows_row(&b->rows, DMO_REMOTE), first, count);
}

void dmo_block_mapped(struct dmo_block *b, unsigned first, unsigned count, bool write, bool remote)
{
	dmo_bits_set(dmo_rows_row(&b->rows, DMO_MAPPED), first, count);
	if (write)
		dmo_bits_set(dmo_rows_row(&b->rows, DMO_WMAPPED), first, count);
	if (remote)
		dmo_bits_set(dmo_rows_row(&b->rows, DMO_REMOTE), first, count);
}

void dmo_block_set_cpu(struct dmo_block *b, unsigned first, unsigned count, bool holds)
{
	u64 *cpu = dmo_rows_row(&b->rows, DMO_CPU);

	if (holds)
		dmo_bits_set(cpu, first, count);
	else
		dmo_bits_clear(cpu, first, count);
}

static void clear_lost(struct dmo_block *b, unsigned first, unsigned count)
{
	u64 *lost = dmo_rows_row(&b->rows, DMO_LOST);

	if (!dmo_bits_any(lost))
		return;
	dmo_bits_clear(lost, first, count);
	if (!dmo_bits_any(lost))
		b->object->lost--;
}

void dmo_block_drop(struct dmo_block *b, unsigned first, unsigned count)
{
	DMO_BUG_ON(dmo_bits_any_in(dmo_block_bits(b, DMO_MAPPED), first, count));
	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		dmo_bits_clear(dmo_rows_row(&c->rows, DMO_VALID), first, count);
		dmo_bits_clear(dmo_rows_row(&c->rows, DMO_DIRTY), first, count);
	}
	clear_lost(b, first, count);
}

/* What c has dirty and another copy valid lives on there: that one is now the page's only newest. */
static void bequeath(struct dmo_copy *c, u64 *dirty)
{
	for (struct dmo_copy *heir = c->block->copies; heir; heir = heir->next) {
		u64 *theirs = dmo_rows_row(&heir->rows, DMO_DIRTY);

		if (heir == c)
			continue;
		for (unsigned w = 0; w < DMO_BITS_WORDS; w++) {
			u64 saved = dirty[w] & dmo_copy_bits(heir, DMO_VALID)[w];

			theirs[w] |= saved;
			dirty[w] &= ~saved;
		}
	}
}

void dmo_copy_lost(struct dmo_copy *c)
{
	struct dmo_block *b = c->block;
	u64 *valid = dmo_rows_row(&c->rows, DMO_VALID), *dirty = dmo_rows_row(&c->rows, DMO_DIRTY);
	u64 *lost = dmo_rows_row(&b->rows, DMO_LOST);
	bool had = dmo_bits_any(lost);

	bequeath(c, dirty);
	dmo_bits_or(lost, lost, dirty);
	if (!had && dmo_bits_any(lost))
		b->object->lost++;
	dmo_bits_zero(valid);
	dmo_bits_zero(dirty);
}

/* ---- checking -------------------------------------------------------------------------------------- */

static const char *check_copy(const struct dmo_copy *c, u64 *valid_once, u64 *valid_twice, u64 *dirty_once)
{
	const u64 *valid = dmo_copy_bits(c, DMO_VALID), *dirty = dmo_copy_bits(c, DMO_DIRTY);
	u32 frames = 0, frame;

	for (unsigned w = 0; w < DMO_BITS_WORDS; w++) {
		if (dirty[w] & ~valid[w])
			return "a dirty page is not valid";
		if (dirty[w] & dirty_once[w])
			return "a page is dirty in two copies";
		dirty_once[w] |= dirty[w];
		valid_twice[w] |= valid_once[w] & valid[w];
		valid_once[w] |= valid[w];
	}
	for (unsigned p = 0; p < DMO_BLOCK_PAGES; p++)
		if (dmo_bits_test(valid, p) && !dmo_copy_run(c, p, 1, &frame))
			return "a valid page lies in no chunk";
	for (unsigned i = 0; i < c->nr_chunks; i++) {
		frames += 1u << c->chunks[i].order;
		if (i && c->chunks[i - 1].page + (1u << c->chunks[i - 1].order) > c->chunks[i].page)
			return "chunks overlap";
	}
	return frames == c->frames ? NULL : "a copy's frames are not the sum of its chunks";
}

const char *dmo_block_check(const struct dmo_block *b)
{
	const u64 *cpu = dmo_block_bits(b, DMO_CPU), *mapped = dmo_block_bits(b, DMO_MAPPED);
	const u64 *wmapped = dmo_block_bits(b, DMO_WMAPPED), *remote = dmo_block_bits(b, DMO_REMOTE);
	const u64 *lost = dmo_block_bits(b, DMO_LOST);
	u64 valid[DMO_BITS_WORDS] = { 0 }, twice[DMO_BITS_WORDS] = { 0 }, dirty[DMO_BITS_WORDS] = { 0 };

	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		const char *wrong = check_copy(c, valid, twice, dirty);

		if (wrong)
			return wrong;
	}
	for (unsigned w = 0; w < DMO_BITS_WORDS; w++) {
		if (wmapped[w] & (~mapped[w] | remote[w] | cpu[w]))
			return "a page mapped for writing is not mapped, remote, or held by the CPU";
		if (wmapped[w] & (~valid[w] | twice[w]))
			return "a page mapped for writing is not valid in exactly one copy";
		if (remote[w] & (~mapped[w] | dirty[w]))
			return "a remote page is not mapped, or dirty";
		if (mapped[w] & ~(valid[w] | remote[w]))
			return "a mapped page is neither valid nor remote";
		if (lost[w] & valid[w])
			return "a lost page is valid";
	}
	return NULL;
}

size_t dmo_object_metadata(const struct dmo_object *o)
{
	size_t sum = sizeof(*o);
	struct dmo_block *b;

	for (u64 i = 0; (b = dmo_radix_next(&o->blocks, &i)); i++) {
		sum += sizeof(*b) + sizeof(void *) + dmo_rows_bytes(&b->rows);
		for (struct dmo_copy *c = b->copies; c; c = c->next) {
			sum += sizeof(*c) + dmo_rows_bytes(&c->rows);
			if (c->chunks != &c->one)
				sum += c->room * sizeof(struct dmo_chunk);
		}
	}
	return sum;
}
