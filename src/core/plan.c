/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/plan.h"

static void clear_steps(struct dmo_plan *p)
{
	memset(p->steps, 0, sizeof(p->steps));
}

static bool has_dirty(const struct dmo_copy *c, unsigned page)
{
	return dmo_bits_test(dmo_copy_bits(c, DMO_DIRTY), page);
}

/* True when c's pages must not be the plan's: pinned on another device; held there, not even copies of them. */
static bool keeps(const struct dmo_plan *p, const struct dmo_copy *c)
{
	return c->dev != p->dev && c->pins && (p->write || c->held);
}

/* True when a page is kept from the plan. Pins are kept block-wise. */
static bool pinned_elsewhere(const struct dmo_plan *p, unsigned page)
{
	for (struct dmo_copy *c = p->block->copies; c; c = c->next)
		if (keeps(p, c) && dmo_bits_test(dmo_copy_bits(c, DMO_VALID), page))
			return true;
	return false;
}

/* Checks the demanded page and cuts the window: to the object, and round lost or immovable pages. */
static int window_cut(struct dmo_plan *p, u64 *window)
{
	struct dmo_block *b = p->block;
	unsigned pages = dmo_block_pages(b);

	if (p->page >= pages)
		return -EFAULT;
	if (dmo_bits_test(dmo_block_bits(b, DMO_LOST), p->page))
		return -EIO;
	if (pinned_elsewhere(p, p->page))
		return -EBUSY;
	if (p->first + p->count > pages)
		p->count = pages - p->first;
	dmo_bits_zero(window);
	dmo_bits_set(window, p->first, p->count);
	dmo_bits_andnot(window, window, dmo_block_bits(b, DMO_LOST));
	for (struct dmo_copy *c = b->copies; c; c = c->next)
		if (keeps(p, c))
			dmo_bits_andnot(window, window, dmo_copy_bits(c, DMO_VALID));
	return 0;
}

/* The CPU's pages that a device access forbids: all for a write; for a read those that may have been written. */
static void plan_revoke(struct dmo_plan *p, const u64 *window)
{
	if (p->write || p->block->object->writers)
		dmo_bits_and(p->steps[DMO_STEP_REVOKE], window, dmo_block_bits(p->block, DMO_CPU));
}

/* Pages of the window that the copy on p->dev (there or not) does not have. */
static void missing(const struct dmo_plan *p, const u64 *window, u64 *out)
{
	struct dmo_copy *c = dmo_block_copy(p->block, p->dev);

	if (c)
		dmo_bits_andnot(out, window, dmo_copy_bits(c, DMO_VALID));
	else
		dmo_bits_copy(out, window);
}

int dmo_plan_access(struct dmo_plan *p)
{
	struct dmo_block *b = p->block;
	u64 window[DMO_BITS_WORDS], absent[DMO_BITS_WORDS];
	int err;

	p->kind = DMO_PLAN_ACCESS;
	clear_steps(p);
	err = window_cut(p, window);
	if (err)
		return err;
	plan_revoke(p, window);
	missing(p, window, absent);
	if (p->write)
		dmo_bits_and(p->steps[DMO_STEP_RELEASE], window, dmo_block_bits(b, DMO_MAPPED));
	else
		dmo_bits_and(p->steps[DMO_STEP_WPROTECT], absent, dmo_block_bits(b, DMO_WMAPPED));
	dmo_bits_copy(p->steps[DMO_STEP_MAP], window);
	return 0;
}

int dmo_plan_remote(struct dmo_plan *p)
{
	struct dmo_block *b = p->block;
	u64 window[DMO_BITS_WORDS], newer[DMO_BITS_WORDS] = { 0 };
	int err;

	p->kind = DMO_PLAN_REMOTE;
	clear_steps(p);
	err = window_cut(p, window);
	if (err)
		return err;
	dmo_block_dirty(b, newer);
	dmo_bits_or(newer, newer, dmo_block_bits(b, DMO_WMAPPED));
	if (dmo_bits_test(newer, p->page))
		return -EAGAIN;
	dmo_bits_andnot(window, window, newer);
	plan_revoke(p, window);
	dmo_bits_copy(p->steps[DMO_STEP_MAP_REMOTE], window);
	return 0;
}

void dmo_plan_evict(struct dmo_plan *p)
{
	struct dmo_copy *c = dmo_block_copy(p->block, p->dev);

	p->kind = DMO_PLAN_EVICT;
	clear_steps(p);
	dmo_bits_set(p->steps[DMO_STEP_RELEASE], p->first, p->count);
	dmo_bits_and(p->steps[DMO_STEP_RELEASE], p->steps[DMO_STEP_RELEASE], dmo_copy_bits(c, DMO_VALID));
	dmo_bits_and(p->steps[DMO_STEP_RELEASE], p->steps[DMO_STEP_RELEASE], dmo_block_bits(p->block, DMO_MAPPED));
}

void dmo_plan_clean(struct dmo_plan *p)
{
	struct dmo_copy *c = dmo_block_copy(p->block, p->dev);

	p->kind = DMO_PLAN_CLEAN;
	clear_steps(p);
	dmo_bits_and(p->steps[DMO_STEP_WPROTECT], dmo_copy_bits(c, DMO_VALID), dmo_block_bits(p->block, DMO_WMAPPED));
}

void dmo_plan_copies(struct dmo_plan *p)
{
	u64 absent[DMO_BITS_WORDS], newer[DMO_BITS_WORDS] = { 0 };

	if (p->kind == DMO_PLAN_REMOTE)
		return;
	if (p->kind != DMO_PLAN_ACCESS) {
		u64 *out = p->steps[DMO_STEP_COPY_OUT];

		if (p->kind == DMO_PLAN_EVICT)
			dmo_bits_set(out, p->first, p->count);
		else
			dmo_bits_set(out, 0, DMO_BLOCK_PAGES);
		dmo_bits_and(out, out, dmo_copy_bits(dmo_block_copy(p->block, p->dev), DMO_DIRTY));
		return;
	}
	missing(p, p->steps[DMO_STEP_MAP], absent);
	dmo_block_dirty(p->block, newer);
	dmo_bits_and(p->steps[DMO_STEP_COPY_DEVICE], absent, newer);
	dmo_bits_andnot(p->steps[DMO_STEP_COPY_IN], absent, newer);
}

/* Takes out of pages what somebody besides p->dev holds. */
static void only_mine(const struct dmo_plan *p, u64 *pages)
{
	dmo_bits_andnot(pages, pages, dmo_block_bits(p->block, DMO_CPU));
	dmo_bits_andnot(pages, pages, dmo_block_bits(p->block, DMO_REMOTE));
	for (struct dmo_copy *c = p->block->copies; c; c = c->next)
		if (c->dev != p->dev)
			dmo_bits_andnot(pages, pages, dmo_copy_bits(c, DMO_VALID));
}

/*
 * Which pages may be mapped for writing now: for a write all; else those that nobody else holds. What is mapped for
 * writing already must stay so: one that is entered anew for reading would come back unharvested.
 */
static void plan_map_write(struct dmo_plan *p)
{
	u64 *map = p->steps[DMO_STEP_MAP], *map_write = p->steps[DMO_STEP_MAP_WRITE];

	if (p->write || (p->map_write && p->dev->dirty_bits))
		dmo_bits_copy(map_write, map);
	else
		dmo_bits_and(map_write, map, dmo_block_bits(p->block, DMO_WMAPPED));
	if (!p->write)
		only_mine(p, map_write);
	dmo_bits_andnot(map, map, map_write);
}

/* A device is about to write the pages of the window: it takes over what is dirty, no other copy stays valid. */
static void take_over(struct dmo_plan *p, struct dmo_copy *mine, const u64 *window)
{
	u64 *dirty = dmo_rows_row(&mine->rows, DMO_DIRTY);

	for (struct dmo_copy *c = p->block->copies; c; c = c->next) {
		u64 *theirs = dmo_rows_row(&c->rows, DMO_DIRTY), *valid = dmo_rows_row(&c->rows, DMO_VALID);

		if (c == mine)
			continue;
		for (unsigned w = 0; w < DMO_BITS_WORDS; w++) {
			dirty[w] |= theirs[w] & window[w];
			theirs[w] &= ~window[w];
			valid[w] &= ~window[w];
		}
	}
}

static void commit_access(struct dmo_plan *p)
{
	struct dmo_copy *mine = dmo_block_copy(p->block, p->dev);
	u64 *valid = dmo_rows_row(&mine->rows, DMO_VALID);

	dmo_bits_or(valid, valid, p->steps[DMO_STEP_COPY_IN]);
	dmo_bits_or(valid, valid, p->steps[DMO_STEP_COPY_DEVICE]);
	if (p->write)
		take_over(p, mine, p->steps[DMO_STEP_MAP]);
	if (p->block->object->writers)		/* one may have come since the plan was made */
		dmo_bits_andnot(p->steps[DMO_STEP_MAP], p->steps[DMO_STEP_MAP], dmo_block_bits(p->block, DMO_CPU));
	plan_map_write(p);
}

void dmo_plan_commit(struct dmo_plan *p)
{
	struct dmo_copy *c;

	if (p->kind == DMO_PLAN_REMOTE)
		return;
	if (p->kind == DMO_PLAN_ACCESS) {
		commit_access(p);
		return;
	}
	c = dmo_block_copy(p->block, p->dev);
	if (p->kind == DMO_PLAN_CLEAN) {
		dmo_bits_zero(dmo_rows_row(&c->rows, DMO_DIRTY));
		return;
	}
	dmo_bits_clear(dmo_rows_row(&c->rows, DMO_DIRTY), p->first, p->count);
	dmo_bits_clear(dmo_rows_row(&c->rows, DMO_VALID), p->first, p->count);
}

/* Cuts a run of COPY_DEVICE to pages that are dirty in one and the same copy. */
static void one_source(const struct dmo_plan *p, struct dmo_step *s)
{
	struct dmo_copy *c = dmo_page_copy(p->block, s->first);
	unsigned n = 1;

	while (n < s->count && has_dirty(c, s->first + n))
		n++;
	s->count = n;
	s->from = c;
}

bool dmo_plan_next(const struct dmo_plan *p, enum dmo_step_kind kind, unsigned *at, struct dmo_step *s)
{
	s->count = dmo_bits_run(p->steps[kind], *at, DMO_BLOCK_PAGES, true, &s->first);
	if (!s->count)
		return false;
	s->from = kind == DMO_STEP_COPY_OUT ? dmo_block_copy(p->block, p->dev) : NULL;
	if (kind == DMO_STEP_COPY_DEVICE)
		one_source(p, s);
	*at = s->first + s->count;
	return true;
}

/* ---- CPU accesses ---------------------------------------------------------------------------------------- */

static void add_in(u64 *to, const u64 *row, unsigned first, unsigned count)
{
	for (unsigned w = 0; w < DMO_BITS_WORDS; w++)
		to[w] |= row[w] & dmo_bits_mask(w, first, count);
}

int dmo_cpu_read_prepare(const struct dmo_block *b, unsigned first, unsigned count, u64 *release, u64 *wprotect)
{
	if (dmo_bits_any_in(dmo_block_bits(b, DMO_LOST), first, count))
		return -EIO;
	if (b->object->writers)
		add_in(release, dmo_block_bits(b, DMO_MAPPED), first, count);
	else
		add_in(wprotect, dmo_block_bits(b, DMO_WMAPPED), first, count);
	return 0;
}

int dmo_cpu_write_prepare(const struct dmo_block *b, unsigned first, unsigned count, bool whole, u64 *release)
{
	if (!whole && dmo_bits_any_in(dmo_block_bits(b, DMO_LOST), first, count))
		return -EIO;
	add_in(release, dmo_block_bits(b, DMO_MAPPED), first, count);
	return 0;
}
