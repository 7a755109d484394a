// SPDX-License-Identifier: GPL-2.0-or-later
/* home.c - a home for tests: places, page tables, the CPU's requests, and the check of all rules */
#include "home.h"

#include <stdio.h>

#define GARBAGE 0xdeaddeaddeaddeadull

void home_fail(const struct home *h, const char *what, u64 page)
{
	fprintf(stderr, "event %llu (%s), page %llu: %s\n", (unsigned long long)h->number, h->event,
		(unsigned long long)page, what);
	exit(EXIT_FAILURE);
}

static void need(const struct home *h, bool holds, const char *what, u64 page)
{
	if (!holds)
		home_fail(h, what, page);
}

u64 home_stamp(struct home *h)
{
	h->stamp++;
	return (u64)h->stamp << 32 | h->stamp;
}

static void spoil(struct home *h, unsigned d)
{
	for (unsigned f = 0; f < HOME_FRAMES; f++)
		h->mem[d][f] = GARBAGE;
}

void home_init(struct home *h, u64 seed)
{
	static const unsigned frames[HOME_DEVICES] = { 700, 900, HOME_FRAMES };

	memset(h, 0, sizeof(*h));
	testmem_init(&h->tm);
	h->seed = seed;
	h->event = "start";
	dmo_object_init(&h->object, &h->tm.mem, (u64)HOME_PAGES << DMO_PAGE_SHIFT);
	for (unsigned d = 0; d < HOME_DEVICES; d++) {
		if (dmo_device_init(&h->dev[d], &h->tm.mem, d, frames[d]))
			home_fail(h, "no memory", 0);
		h->dev[d].dirty_bits = d == 0;
		spoil(h, d);
	}
}

void home_fini(struct home *h)
{
	dmo_object_fini(&h->object);
	for (unsigned d = 0; d < HOME_DEVICES; d++) {
		need(h, !h->dev[d].used, "a device's memory leaked", d);
		dmo_device_fini(&h->dev[d]);
	}
	need(h, !h->tm.blocks, "the core's memory leaked", h->tm.blocks);
}

static u64 base_of(const struct dmo_block *b)
{
	return b->index * DMO_BLOCK_PAGES;
}

static u64 *frame_of(struct home *h, const struct dmo_copy *c, unsigned page)
{
	u32 frame = 0;

	need(h, dmo_copy_run(c, page, 1, &frame) == 1, "a page lies in no chunk", page);
	return &h->mem[c->dev->number][frame];
}

/* Where page's newest content is: a copy that has it dirty, or the backing file (NULL). */
static struct dmo_copy *dirty_copy(const struct dmo_block *b, unsigned page)
{
	struct dmo_copy *c = b ? dmo_page_copy(b, page) : NULL;

	return c && dmo_bits_test(dmo_copy_bits(c, DMO_DIRTY), page) ? c : NULL;
}

/* ---- translations --------------------------------------------------------------------------------------- */

/* Without dirty bits a device reports what it has mapped for writing. */
static bool reports(const struct home *h, unsigned ctx, const struct home_pte *e)
{
	return h->dev[home_device_of(ctx)].dirty_bits ? e->dirty : e->kind == HOME_PTE_WRITE;
}

static void harvest_one(struct home *h, u64 base, unsigned page, bool wprotect, u64 *found)
{
	for (unsigned ctx = 0; ctx < HOME_CONTEXTS; ctx++) {
		struct home_pte *e = &h->pte[ctx][base + page];

		if (reports(h, ctx, e))
			dmo_bits_set(found, page, 1);
		e->dirty = false;
		if (!wprotect)
			e->kind = HOME_PTE_NONE;
		else if (e->kind == HOME_PTE_WRITE)
			e->kind = HOME_PTE_READ;
	}
}

static void take_away(struct home *h, struct dmo_block *b, const u64 *pages, bool wprotect)
{
	unsigned first, n;

	for (unsigned i = 0; (n = dmo_bits_run(pages, i, DMO_BITS, true, &first)); i = first + n) {
		u64 found[DMO_BITS_WORDS] = { 0 };

		for (unsigned p = first; p < first + n; p++)
			harvest_one(h, base_of(b), p, wprotect, found);
		if (wprotect)
			dmo_block_wprotected(b, first, n, found);
		else
			dmo_block_unmapped(b, first, n, found);
	}
}

void home_release(struct home *h, struct dmo_block *b, const u64 *pages)
{
	take_away(h, b, pages, false);
}

void home_wprotect(struct home *h, struct dmo_block *b, const u64 *pages)
{
	take_away(h, b, pages, true);
}

/* A device with dirty bits keeps that of a translation that is entered again for the same frame. */
static void enter_one(struct home *h, unsigned ctx, u64 page, enum home_pte_kind kind, u32 frame)
{
	struct home_pte *e = &h->pte[ctx][page];
	bool same = e->kind != HOME_PTE_NONE && e->kind != HOME_PTE_REMOTE && kind != HOME_PTE_REMOTE &&
		    e->frame == frame;

	*e = (struct home_pte){ .kind = kind, .frame = frame, .dirty = same && e->dirty };
}

void home_enter(struct home *h, struct dmo_block *b, unsigned ctx, struct dmo_copy *copy, unsigned first,
		unsigned count, bool write)
{
	write = write && ctx != 1;
	for (unsigned p = first; p < first + count; p++) {
		u32 frame = copy ? frame_of(h, copy, p) - h->mem[copy->dev->number] : 0;

		enter_one(h, ctx, base_of(b) + p,
			  !copy ? HOME_PTE_REMOTE : write ? HOME_PTE_WRITE : HOME_PTE_READ, frame);
	}
	dmo_block_mapped(b, first, count, write, !copy);
}

void home_unmap(struct home *h, struct dmo_block *b, unsigned ctx, unsigned first, unsigned count)
{
	struct dmo_copy *c = dmo_block_copy(b, &h->dev[home_device_of(ctx)]);

	for (unsigned p = first; p < first + count; p++) {
		struct home_pte *e = &h->pte[ctx][base_of(b) + p];

		if (reports(h, ctx, e))
			dmo_bits_set(dmo_rows_row(&c->rows, DMO_DIRTY), p, 1);
		*e = (struct home_pte){ 0 };
	}
}

/* ---- reading ---------------------------------------------------------------------------------------------- */

static int prepare_read(struct home *h, struct dmo_block *b, unsigned first, unsigned count, bool *io)
{
	u64 release[DMO_BITS_WORDS] = { 0 }, wprotect[DMO_BITS_WORDS] = { 0 }, newer[DMO_BITS_WORDS] = { 0 };
	int err = dmo_cpu_read_prepare(b, first, count, release, wprotect);

	if (!err)
		err = dmo_block_open(b);
	if (err)
		return err;
	home_release(h, b, release);
	home_wprotect(h, b, wprotect);
	dmo_block_set_cpu(b, first, count, true);
	if (b->revoked)
		dmo_bits_set(dmo_rows_row(&b->rows, DMO_READ), first, count);
	dmo_block_dirty(b, newer);
	*io = dmo_bits_any_in(newer, first, count);
	return 0;
}

int home_read_begin(struct home *h, u64 page, unsigned count, bool *io)
{
	struct dmo_block *b = dmo_block_find(&h->object, page / DMO_BLOCK_PAGES);
	int err;

	*io = false;
	if (!b)
		return 0;
	b->users++;
	err = prepare_read(h, b, page % DMO_BLOCK_PAGES, count, io);
	if (*io)
		b->io++;
	else
		dmo_block_put(b);
	return err;
}

static void end_io(struct dmo_block *b)
{
	b->io--;
	dmo_block_put(b);
}

int home_read_end(struct home *h, u64 page, unsigned count, bool io)
{
	struct dmo_block *b = dmo_block_find(&h->object, page / DMO_BLOCK_PAGES);
	int err = 0;

	for (u64 p = page; p < page + count; p++) {
		struct dmo_copy *c = dirty_copy(b, p % DMO_BLOCK_PAGES);

		if (c && h->lost[c->dev->number]) {
			err = -EIO;
			continue;
		}
		h->cache[p] = c ? *frame_of(h, c, p % DMO_BLOCK_PAGES) : h->backing[p];
		h->flags[p] |= HOME_PRESENT;
		need(h, h->cache[p] == h->latest[p], "a read gave old content", p);
	}
	if (io)
		end_io(b);
	return err;
}

/* ---- writing ---------------------------------------------------------------------------------------------- */

/* Clean copies end, but for a pinned one that is the only one: it takes the write. */
static void drop_clean(struct dmo_block *b, unsigned first, unsigned count)
{
	u64 newer[DMO_BITS_WORDS] = { 0 };

	dmo_block_dirty(b, newer);
	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		u64 *valid = dmo_rows_row(&c->rows, DMO_VALID), *dirty = dmo_rows_row(&c->rows, DMO_DIRTY);

		for (unsigned p = first; p < first + count; p++) {
			if (!dmo_bits_test(valid, p) || dmo_bits_test(dirty, p))
				continue;
			if (c->pins && !dmo_bits_test(newer, p)) {
				dmo_bits_set(dirty, p, 1);
				dmo_bits_set(newer, p, 1);
			} else {
				dmo_bits_clear(valid, p, 1);
			}
		}
	}
}

/* The page was overwritten in whole: what was lost of it is no longer missed. */
static void forgive(struct home *h, struct dmo_block *b, unsigned page)
{
	u64 *lost = dmo_rows_row(&b->rows, DMO_LOST);
	bool had = dmo_bits_any(lost);

	dmo_bits_clear(lost, page, 1);
	if (had && !dmo_bits_any(lost))
		h->object.lost--;
	h->gone[base_of(b) + page] = false;
}

int home_write_begin(struct home *h, u64 page, unsigned count, bool whole)
{
	struct dmo_block *b = dmo_block_get(&h->object, page / DMO_BLOCK_PAGES);
	unsigned first = page % DMO_BLOCK_PAGES;
	u64 release[DMO_BITS_WORDS] = { 0 };
	int err = b ? dmo_block_open(b) : -ENOMEM;

	if (!err)
		err = dmo_cpu_write_prepare(b, first, count, whole, release);
	if (err) {
		if (b)
			dmo_block_put(b);
		return err;
	}
	home_release(h, b, release);
	drop_clean(b, first, count);
	dmo_block_set_cpu(b, first, count, true);
	b->io++;
	return 0;
}

/* Writes one page where its newest content is. */
static int write_page(struct home *h, struct dmo_block *b, u64 page, u64 content, u64 mask)
{
	struct dmo_copy *c = dirty_copy(b, page % DMO_BLOCK_PAGES);
	u64 *at = c ? frame_of(h, c, page % DMO_BLOCK_PAGES) : &h->backing[page];

	if (c && h->lost[c->dev->number])
		return -EIO;
	*at = (*at & ~mask) | (content & mask);
	return 0;
}

/* The page was written; the kernel keeps it where it has all of it. */
static void note_write(struct home *h, struct dmo_block *b, u64 page, u64 content, u64 mask)
{
	h->latest[page] = (h->latest[page] & ~mask) | (content & mask);
	if (h->flags[page] & HOME_PRESENT)
		h->cache[page] = (h->cache[page] & ~mask) | (content & mask);
	if (mask == ~0ull) {
		h->flags[page] |= HOME_PRESENT;
		h->cache[page] = content;
	}
	forgive(h, b, page % DMO_BLOCK_PAGES);
}

void home_write_end(struct home *h, u64 page, unsigned count, u64 content, u64 mask, unsigned fail)
{
	struct dmo_block *b = dmo_block_find(&h->object, page / DMO_BLOCK_PAGES);

	for (unsigned i = 0; i < count && i != fail; i++) {
		if (write_page(h, b, page + i, content, mask))
			break;
		note_write(h, b, page + i, content, mask);
	}
	end_io(b);
}

static void supersede(struct dmo_block *b, const struct dmo_copy *by, unsigned page)
{
	for (struct dmo_copy *c = b->copies; c; c = c->next)
		if (c != by) {
			dmo_bits_clear(dmo_rows_row(&c->rows, DMO_VALID), page, 1);
			dmo_bits_clear(dmo_rows_row(&c->rows, DMO_DIRTY), page, 1);
		}
}

/* The staging device takes a page that could not be written. */
static int stage(struct home *h, struct dmo_block *b, unsigned page)
{
	struct dmo_device *d = &h->dev[HOME_STAGE];
	struct dmo_copy *c = dmo_block_add_copy(b, d);

	if (!c || dmo_copy_reserve(c, &h->tm.mem, page, 1))
		return -ENOMEM;
	if (dmo_list_empty(&c->lru))
		dmo_list_append(&d->lru, &c->lru);
	supersede(b, c, page);
	dmo_bits_set(dmo_rows_row(&c->rows, DMO_VALID), page, 1);
	dmo_bits_set(dmo_rows_row(&c->rows, DMO_DIRTY), page, 1);
	*frame_of(h, c, page) = h->cache[base_of(b) + page];
	return 0;
}

int home_write_back(struct home *h, u64 page, bool refuse)
{
	struct dmo_block *b;
	int err = home_write_begin(h, page, 1, true);

	if (err)
		return err;
	b = dmo_block_find(&h->object, page / DMO_BLOCK_PAGES);
	if (refuse || write_page(h, b, page, h->cache[page], ~0ull)) {
		testmem_fail(&h->tm, 0);
		err = stage(h, b, page % DMO_BLOCK_PAGES);
		if (err)
			home_fail(h, "no memory for what the file refused", page);
	}
	h->flags[page] &= ~HOME_CPU_DIRTY;
	forgive(h, b, page % DMO_BLOCK_PAGES);
	end_io(b);
	return 0;
}

static int share_no_more(struct home *h, struct dmo_block *b)
{
	u64 shared[DMO_BITS_WORDS];
	int err;

	dmo_bits_copy(shared, dmo_block_bits(b, DMO_MAPPED));
	if (b->state == DMO_BLOCK_IDLE)		/* while a revocation runs, a clear CPU bit says nothing */
		dmo_bits_and(shared, shared, dmo_block_bits(b, DMO_CPU));
	b->users++;
	err = dmo_block_open(b);
	if (!err)
		home_release(h, b, shared);
	dmo_block_put(b);
	return err;
}

int home_open_writer(struct home *h)
{
	struct dmo_block *b;
	int err = 0;

	for (u64 i = 0; !err && !h->object.writers && (b = dmo_radix_next(&h->object.blocks, &i)); i++)
		err = share_no_more(h, b);
	if (!err)
		h->object.writers++;
	return err;
}

/* ---- moving, cutting, dying -------------------------------------------------------------------------------- */

void home_free_empty(struct dmo_block *b)
{
	struct dmo_copy *c, *next;

	for (c = b->copies; c; c = next) {
		next = c->next;
		if (!c->pins && !dmo_bits_any(dmo_copy_bits(c, DMO_VALID)))
			dmo_copy_free(c);
	}
}

void home_copy_step(struct home *h, const struct dmo_plan *plan, enum dmo_step_kind kind, const struct dmo_step *s)
{
	struct dmo_copy *mine = dmo_block_copy(plan->block, plan->dev);
	u64 base = base_of(plan->block);

	for (unsigned p = s->first; p < s->first + s->count; p++) {
		if (kind == DMO_STEP_COPY_OUT)
			h->backing[base + p] = *frame_of(h, s->from, p);
		else if (kind == DMO_STEP_COPY_DEVICE)
			*frame_of(h, mine, p) = *frame_of(h, s->from, p);
		else
			*frame_of(h, mine, p) = h->backing[base + p];
	}
}

static int cut_block(struct home *h, struct dmo_block *b, unsigned first, unsigned count)
{
	u64 pages[DMO_BITS_WORDS] = { 0 };
	int err;

	b->users++;
	err = dmo_block_open(b);
	if (!err) {
		dmo_bits_set(pages, first, count);
		dmo_bits_and(pages, pages, dmo_block_bits(b, DMO_MAPPED));
		home_release(h, b, pages);
		dmo_block_drop(b, first, count);
		home_free_empty(b);
	}
	dmo_block_put(b);
	return err;
}

int home_cut(struct home *h, u64 page, u64 count)
{
	u64 end = page + count, next;

	for (u64 p = page; p < end; p = next) {
		u64 index = p / DMO_BLOCK_PAGES;
		struct dmo_block *b = dmo_block_find(&h->object, index);

		next = (index + 1) * DMO_BLOCK_PAGES < end ? (index + 1) * DMO_BLOCK_PAGES : end;
		if (b && cut_block(h, b, p % DMO_BLOCK_PAGES, next - p))
			return -ENOMEM;
		for (u64 q = p; q < next; q++) {
			h->backing[q] = h->latest[q] = 0;
			h->flags[q] = 0;
			h->gone[q] = false;
		}
	}
	return 0;
}

/* Is the page's content nowhere any more? */
static bool died(struct home *h, struct dmo_block *b, unsigned page)
{
	u64 latest = h->latest[base_of(b) + page];

	if (h->backing[base_of(b) + page] == latest)
		return false;
	for (struct dmo_copy *c = b->copies; c; c = c->next)
		if (dmo_bits_test(dmo_copy_bits(c, DMO_VALID), page) && *frame_of(h, c, page) == latest)
			return false;
	return !(h->flags[base_of(b) + page] & HOME_CPU_DIRTY);
}

void home_bury(struct home *h, struct dmo_block *b, struct dmo_device *d)
{
	struct dmo_copy *c = dmo_block_copy(b, d);
	u64 pages[DMO_BITS_WORDS], was_lost[DMO_BITS_WORDS];
	u64 dirty[DMO_BITS_WORDS];

	dmo_bits_copy(pages, dmo_block_bits(b, DMO_MAPPED));
	home_release(h, b, pages);
	dmo_bits_copy(was_lost, dmo_block_bits(b, DMO_LOST));
	dmo_bits_copy(dirty, dmo_copy_bits(c, DMO_DIRTY));
	dmo_copy_lost(c);
	c->pins = 0;
	dmo_copy_free(c);
	for (unsigned p = 0; p < DMO_BLOCK_PAGES && base_of(b) + p < HOME_PAGES; p++) {
		bool is_lost = dmo_bits_test(dmo_block_bits(b, DMO_LOST), p);

		if (!dmo_bits_test(was_lost, p)) {
			need(h, is_lost || !died(h, b, p), "a page died and is not lost", base_of(b) + p);
			need(h, !is_lost || dmo_bits_test(dirty, p), "a page is lost that was not dirty", base_of(b) + p);
		}
		h->gone[base_of(b) + p] = is_lost;
	}
}

/* ---- the check ------------------------------------------------------------------------------------------------ */

/* Whether a copy of the page may differ from the latest content just now. */
static bool in_flux(const struct home *h, u64 page)
{
	return h->flags[page] & (HOME_CPU_DIRTY | HOME_LOCKED) || h->gone[page];
}

static void check_copy(struct home *h, const struct dmo_block *b, const struct dmo_copy *c)
{
	const u64 *valid = dmo_copy_bits(c, DMO_VALID), *mem = h->mem[c->dev->number];

	for (unsigned i = 0; i < c->nr_chunks; i++) {
		const struct dmo_chunk *k = &c->chunks[i];

		for (unsigned n = 0; n < 1u << k->order; n++) {
			u64 page = base_of(b) + k->page + n;

			if (!dmo_bits_test(valid, k->page + n) || mem[k->frame + n] == h->latest[page])
				continue;
			need(h, in_flux(h, page) || h->lost[c->dev->number], "a valid copy is old", page);
		}
	}
}

static void check_pte(struct home *h, const struct dmo_block *b, unsigned ctx, unsigned page)
{
	const struct home_pte *e = &h->pte[ctx][base_of(b) + page];
	u64 p = base_of(b) + page, seen = e->kind == HOME_PTE_REMOTE ? h->backing[p] : h->mem[home_device_of(ctx)][e->frame];
	bool write = e->kind == HOME_PTE_WRITE;

	if (e->kind == HOME_PTE_NONE || h->lost[home_device_of(ctx)])
		return;
	need(h, seen == h->latest[p], "a device sees old content", p);
	need(h, p < home_pages(h), "a device has a page past the end", p);
	need(h, dmo_bits_test(dmo_block_bits(b, DMO_MAPPED), page), "a translation is not booked", p);
	need(h, !write || dmo_bits_test(dmo_block_bits(b, DMO_WMAPPED), page), "one for writing is not booked", p);
	need(h, !(h->flags[p] & HOME_CPU_DIRTY), "a device sees a page that the CPU has written", p);
	need(h, !write || (h->flags[p] & (HOME_PRESENT | HOME_LOCKED)) != HOME_PRESENT,
	     "a device may write what the CPU can read", p);
}

/* Somebody has the latest content, and what the kernel shows is it. */
static void check_page(struct home *h, const struct dmo_block *b, unsigned page)
{
	u64 p = base_of(b) + page;
	u8 flags = h->flags[p];

	if (flags & HOME_LOCKED)
		return;
	need(h, !(flags & HOME_PRESENT) || h->cache[p] == h->latest[p], "the CPU sees old content", p);
	need(h, !(flags & HOME_PRESENT) || b->state != DMO_BLOCK_IDLE ||
	     dmo_bits_test(dmo_block_bits(b, DMO_CPU), page), "the CPU holds a page that is not booked", p);
	need(h, h->gone[p] == dmo_bits_test(dmo_block_bits(b, DMO_LOST), page), "lost pages are not those", p);
	if (h->backing[p] == h->latest[p] || flags & HOME_CPU_DIRTY || h->gone[p])
		return;
	need(h, dirty_copy(b, page) || dmo_bits_test(dmo_block_bits(b, DMO_WMAPPED), page), "content is nowhere", p);
}

static void check_absent(struct home *h, u64 first, u64 end)
{
	for (u64 p = first; p < end; p++) {
		need(h, in_flux(h, p) || h->backing[p] == h->latest[p], "content of an absent block is nowhere", p);
		need(h, in_flux(h, p) || !(h->flags[p] & HOME_PRESENT) || h->cache[p] == h->latest[p],
		     "the CPU sees old content", p);
	}
}

static void check_block(struct home *h, struct dmo_block *b, u64 *used)
{
	const char *wrong = dmo_block_check(b);
	unsigned pages = HOME_PAGES - base_of(b) < DMO_BLOCK_PAGES ? HOME_PAGES - base_of(b) : DMO_BLOCK_PAGES;

	if (wrong)
		home_fail(h, wrong, base_of(b));
	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		used[c->dev->number] += c->frames;
		check_copy(h, b, c);
	}
	for (unsigned p = 0; p < pages; p++) {
		check_page(h, b, p);
		for (unsigned ctx = 0; ctx < HOME_CONTEXTS; ctx++)
			check_pte(h, b, ctx, p);
	}
}

void home_check(struct home *h)
{
	u64 used[HOME_DEVICES] = { 0 };

	for (u64 i = 0; i < HOME_BLOCKS; i++) {
		struct dmo_block *b = dmo_block_find(&h->object, i);
		u64 end = (i + 1) * DMO_BLOCK_PAGES;

		if (b)
			check_block(h, b, used);
		else
			check_absent(h, i * DMO_BLOCK_PAGES, end < HOME_PAGES ? end : HOME_PAGES);
	}
	for (unsigned d = 0; d < HOME_DEVICES; d++) {
		const struct dmo_device *dev = &h->dev[d];

		need(h, dev->used == used[d], "a device's use is not the sum of its chunks", d);
		need(h, dev->used == dev->phys.pages - dmo_phys_free_pages(&dev->phys), "frames leaked", d);
		need(h, dev->used <= dev->limit, "a device is over its limit", d);
	}
}
