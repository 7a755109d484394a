// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * events.c - random events against a simple model, everything checked after each
 *
 * Tasks are what threads do in a home: a device's access, an eviction, a CPU request, a truncate, an fsync, a funeral. Each
 * event lets one of them, chosen at random, do one step between two places where a home would drop the object's
 * lock, or begins another. So requests race revocations, copies and each other in every order. Allocations and
 * steps fail at random; a failed task just lets go.
 *
 *	access   CLAIM -> ROUND <-> REVOKE     evict    CLAIM -> MOVE -> COPY -> end
 *	           ROUND -> COPY -> end        sync     FLUSH -> CLAIM -> MOVE <-> COPY -> end
 *	request  BEGIN -> COPY -> end          cut      BEGIN -> MOVE -> end      bury  CLAIM -> MOVE <-> CLAIM -> end
 *
 * usage: events [SEED [COUNT]]; CONF_EVENTS in the environment sets the count as well.
 */
#include "core/policy.h"
#include "home.h"

#include <stdio.h>
#include <time.h>

#define TASKS		10
#define PINS		6
#define ROUNDS		8
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define EVENTS		100000
#else
#define EVENTS		1000000
#endif

enum kind { NONE, ACCESS, EVICT, READ, WRITE, CUT, SYNC, BURY };
enum step { CLAIM, ROUND, REVOKE, BEGIN, FLUSH, MOVE, COPY };

struct task {
	enum kind kind;
	enum step step;
	struct dmo_block *block;	/* claimed, with a reference */
	u64 index;			/* its number */
	unsigned dev;
	struct dmo_plan plan;
	enum dmo_step_kind copying;
	unsigned at;			/* where the copies, or the revocation, have come to */
	unsigned round;
	/* access */
	int ctx;			/* -1: all of the device */
	bool whole, pin, remote;
	/* requests, cut */
	u64 page;
	unsigned count;
	u64 mask;
	bool io;
	/* sync */
	u64 before[DMO_BLOCK_PAGES];	/* latest when it began */
	bool failed;
	u64 size;			/* cut: the new one; 0: a hole */
};

static struct home home;
static struct task tasks[TASKS];
static struct {
	struct dmo_block *block;	/* with a reference; NULL: free */
	unsigned dev;
} pins[PINS];
static bool barrier;
static u64 kinds[BURY + 1], moves, shortages;

static struct home *const h = &home;

static u64 below(u64 n)
{
	return home_below(h, n);
}

static bool fails(void)
{
	return !below(20);
}

static struct dmo_copy *copy_of(const struct task *t)
{
	return dmo_block_copy(t->block, &h->dev[t->dev]);
}

/* ---- claims ------------------------------------------------------------------------------------------ */

/* False: somebody else has the block; with no memory the task ends. */
static bool claim(struct task *t)
{
	struct dmo_block *b = barrier ? NULL : dmo_block_get(&h->object, t->index);

	if (!b || !dmo_block_claim(b)) {
		if (b)
			dmo_block_put(b);
		return false;
	}
	if (dmo_block_open(b)) {
		dmo_block_release(b);
		dmo_block_put(b);
		return false;
	}
	t->block = b;
	return true;
}

static void let_go(struct task *t)
{
	if (t->block) {
		home_free_empty(t->block);
		dmo_block_release(t->block);
		dmo_block_put(t->block);
	}
	t->block = NULL;
	t->kind = NONE;
}

static bool move(struct task *t)
{
	return !barrier && dmo_block_move(t->block);
}

static void release_steps(struct task *t)
{
	u64 pages[DMO_BITS_WORDS];

	dmo_bits_copy(pages, t->plan.steps[DMO_STEP_RELEASE]);
	home_release(h, t->block, pages);
	dmo_bits_copy(pages, t->plan.steps[DMO_STEP_WPROTECT]);
	home_wprotect(h, t->block, pages);
	dmo_plan_copies(&t->plan);
	moves++;
}

/* One run of the plan's copies, or of part of a run. 1: there are more, 0: done, or an error. */
static int copy_some(struct task *t)
{
	struct dmo_step s;

	while (!dmo_plan_next(&t->plan, t->copying, &t->at, &s)) {
		if (t->copying == DMO_STEP_COPY_IN)
			return 0;
		t->copying++;
		t->at = 0;
	}
	if (fails() || h->lost[t->dev] || (s.from && h->lost[s.from->dev->number]))
		return -EIO;
	if (s.count > 64)
		t->at = s.first + (s.count = 64);
	home_copy_step(h, &t->plan, t->copying, &s);
	return 1;
}

static void start_copies(struct task *t)
{
	release_steps(t);
	t->copying = DMO_STEP_COPY_OUT;
	t->at = 0;
	t->step = COPY;
}

/* ---- a device's access ------------------------------------------------------------------------------------ */

static void set_window(struct task *t)
{
	struct dmo_attr attr = DMO_ATTR_NONE;
	struct dmo_window w = { t->plan.first, t->plan.count };

	if (!t->whole) {
		attr.granularity = below(3) ? 0 : DMO_PAGE_SHIFT + below(10);
		w = dmo_policy_window(t->block, &h->dev[t->dev], t->plan.page, below(40) * DMO_PAGE_SIZE, &attr);
	}
	if (t->round > 4 && !t->whole)
		w = (struct dmo_window){ t->plan.page, 1 };
	t->plan.block = t->block;
	t->plan.dev = &h->dev[t->dev];
	t->plan.first = w.first;
	t->plan.count = w.count;
}

static bool pinned_elsewhere(const struct task *t)
{
	for (struct dmo_copy *c = t->block->copies; c; c = c->next)
		if (c->pins && c->dev->number != t->dev)
			return true;
	return false;
}

/* A plan that was refused must have been refused for what is so. */
static void check_refusal(const struct task *t, int err)
{
	u64 page = t->index * DMO_BLOCK_PAGES + t->plan.page;

	if ((err == -EFAULT && page >= home_pages(h)) || (err == -EIO && h->gone[page]) ||
	    (err == -EBUSY && t->plan.write && pinned_elsewhere(t)))
		return;
	home_fail(h, "a plan was refused without a reason", page);
}

static void begin_evict(unsigned dev, u64 index, unsigned first, unsigned count);

/* Somebody cold has to go, if anybody can. */
static void make_room(unsigned d)
{
	struct dmo_link *l;

	shortages++;
	for (l = h->dev[d].lru.next; l != &h->dev[d].lru; l = l->next) {
		struct dmo_copy *c = (struct dmo_copy *)((char *)l - offsetof(struct dmo_copy, lru));

		if (c->pins || c->block->state != DMO_BLOCK_IDLE || c->block->io)
			continue;
		begin_evict(d, c->block->index, 0, DMO_BLOCK_PAGES);
		return;
	}
}

static int reserve(struct task *t)
{
	struct dmo_copy *c = dmo_block_add_copy(t->block, &h->dev[t->dev]);
	int err;

	if (!c)
		return -EAGAIN;
	err = dmo_copy_reserve(c, &h->tm.mem, t->plan.first, t->plan.count);
	if (!err && dmo_list_empty(&c->lru))
		dmo_list_append(&h->dev[t->dev].lru, &c->lru);
	return err;
}

static void begin_revoke(struct task *t)
{
	struct dmo_step s;

	for (unsigned at = 0; dmo_plan_next(&t->plan, DMO_STEP_REVOKE, &at, &s);)
		dmo_block_set_cpu(t->block, s.first, s.count, false);
	t->block->revoked = true;
	t->at = 0;
	t->step = REVOKE;
}

/* The kernel drops one page after the other; it writes what is dirty and waits for what is locked. */
static bool revoke_some(struct task *t)
{
	u64 *cpu = dmo_rows_row(&t->block->rows, DMO_CPU);

	if (fails()) {
		dmo_bits_or(cpu, cpu, t->plan.steps[DMO_STEP_REVOKE]);
		let_go(t);
		return true;
	}
	for (unsigned n = 0; n < 200; n++, t->at++) {
		u64 page;

		t->at = dmo_bits_next_set(t->plan.steps[DMO_STEP_REVOKE], t->at);
		page = t->index * DMO_BLOCK_PAGES + t->at;
		if (t->at == DMO_BITS) {
			t->step = ROUND;
			return true;
		}
		if (h->flags[page] & HOME_LOCKED)
			return n;
		if (h->flags[page] & HOME_CPU_DIRTY && home_write_back(h, page, fails()))
			return n;
		h->flags[page] &= ~HOME_PRESENT;
	}
	return true;
}

static void map_remote(struct task *t)
{
	struct dmo_step s;

	for (unsigned at = 0; dmo_plan_next(&t->plan, DMO_STEP_MAP_REMOTE, &at, &s);)
		home_enter(h, t->block, t->ctx, NULL, s.first, s.count, false);
	dmo_block_set_evicted(t->block, ++h->dev[t->dev].clock);
	let_go(t);
}

static bool round_over(struct task *t, int err)
{
	if (err == -ENOMEM && t->round < ROUNDS) {
		make_room(t->dev);
		return true;
	}
	if (err)
		let_go(t);
	return true;
}

static bool plan_round(struct task *t)
{
	int err;

	set_window(t);
	t->round++;
	err = t->remote ? dmo_plan_remote(&t->plan) : dmo_plan_access(&t->plan);
	if (err == -EAGAIN && t->remote) {
		t->remote = false;
		return true;
	}
	if (err) {
		check_refusal(t, err);
		return round_over(t, err);
	}
	if (dmo_plan_has(&t->plan, DMO_STEP_REVOKE)) {
		begin_revoke(t);
		return true;
	}
	err = h->lost[t->dev] ? -ENODEV : t->remote ? 0 : reserve(t);
	if (err)
		return round_over(t, err);
	if (!move(t))
		return false;
	if (t->remote)
		map_remote(t);
	else
		start_copies(t);
	return true;
}

static void enter(struct task *t, enum dmo_step_kind kind)
{
	struct dmo_step s;

	for (unsigned at = 0; dmo_plan_next(&t->plan, kind, &at, &s);)
		for (int ctx = 0; ctx < (int)HOME_CONTEXTS; ctx++)
			if (home_device_of(ctx) == t->dev && (t->ctx < 0 || t->ctx == ctx))
				home_enter(h, t->block, ctx, copy_of(t), s.first, s.count, kind == DMO_STEP_MAP_WRITE);
}

static void add_pin(struct task *t)
{
	for (unsigned i = 0; i < PINS; i++) {
		if (pins[i].block)
			continue;
		pins[i].block = t->block;
		pins[i].dev = t->dev;
		t->block->users++;
		copy_of(t)->pins++;
		return;
	}
}

static unsigned pinned_pages(const struct task *t)
{
	unsigned n = 0;

	for (struct dmo_copy *c = t->block->copies; c; c = c->next)
		if (c->pins && c->dev->number != t->dev)
			n += dmo_bits_count(dmo_copy_bits(c, DMO_VALID));
	return n;
}

static void commit_access(struct task *t)
{
	unsigned pinned = pinned_pages(t);

	dmo_plan_commit(&t->plan);
	if (pinned_pages(t) != pinned)
		home_fail(h, "a pinned page moved", t->plan.page);
	if (t->pin)
		add_pin(t);
	enter(t, DMO_STEP_MAP);
	enter(t, DMO_STEP_MAP_WRITE);
}

static bool step_access(struct task *t)
{
	int more;

	switch (t->step) {
	case CLAIM:
		t->step = ROUND;
		if (!claim(t))
			let_go(t);
		return true;
	case ROUND:
		return plan_round(t);
	case REVOKE:
		return revoke_some(t);
	default:
		more = copy_some(t);
	}
	if (more == 0 && !h->lost[t->dev])
		commit_access(t);
	if (more <= 0)
		let_go(t);
	return true;
}

/* ---- eviction, write-back ------------------------------------------------------------------------------------ */

static void end_evict(struct task *t)
{
	struct dmo_copy *c = copy_of(t);

	dmo_plan_commit(&t->plan);
	dmo_block_set_evicted(t->block, ++h->dev[t->dev].clock);
	dmo_copy_trim(c);
	let_go(t);
}

static bool step_evict(struct task *t)
{
	int more;

	if (t->step == CLAIM) {
		t->step = MOVE;
		if (!claim(t))
			let_go(t);
		return true;
	}
	if (t->step == MOVE) {
		if (!copy_of(t) || copy_of(t)->pins) {
			let_go(t);
			return true;
		}
		if (!move(t))
			return false;
		t->plan.block = t->block;
		t->plan.dev = &h->dev[t->dev];
		dmo_plan_evict(&t->plan);
		start_copies(t);
		return true;
	}
	more = copy_some(t);
	if (more == 0)
		end_evict(t);
	else if (more < 0)
		let_go(t);
	return true;
}

/* fsync, as far as one block goes: what the kernel has dirty first. False: must wait. */
static bool flush_some(struct task *t)
{
	struct dmo_block *b = dmo_block_find(&h->object, t->index);
	u64 base = t->index * DMO_BLOCK_PAGES;

	if (b && b->state == DMO_BLOCK_MOVING)
		return false;
	for (; t->at < DMO_BLOCK_PAGES && base + t->at < HOME_PAGES; t->at++) {
		bool refuse = fails();

		if (!(h->flags[base + t->at] & HOME_CPU_DIRTY))
			continue;
		if (h->flags[base + t->at] & HOME_LOCKED || home_write_back(h, base + t->at, refuse))
			return false;
	}
	t->step = CLAIM;
	return true;
}

static void check_synced(const struct task *t)
{
	for (unsigned i = 0; i < DMO_BLOCK_PAGES; i++) {
		u64 page = t->index * DMO_BLOCK_PAGES + i, was = t->before[i], is;

		if (page >= HOME_PAGES)
			return;
		is = h->backing[page];
		if (!h->gone[page] && ((is >> 32) < (was >> 32) || (u32)is < (u32)was))
			home_fail(h, "fsync left older content in the file", page);
	}
}

/* The next device's copy is written back; after the last one the content must be there. */
static bool clean_next(struct task *t)
{
	while (t->dev < HOME_DEVICES && !copy_of(t))
		t->dev++;
	if (t->dev == HOME_DEVICES) {
		if (!t->failed)
			check_synced(t);
		let_go(t);
		return true;
	}
	t->plan.block = t->block;
	t->plan.dev = &h->dev[t->dev];
	dmo_plan_clean(&t->plan);
	start_copies(t);
	return true;
}

static void end_clean(struct task *t, int err)
{
	if (err)
		t->failed = true;
	else
		dmo_plan_commit(&t->plan);
	if (!err && t->dev == HOME_STAGE)
		dmo_copy_free(copy_of(t));
	t->dev++;
	clean_next(t);
}

static bool step_sync(struct task *t)
{
	int more;

	switch (t->step) {
	case FLUSH:
		return flush_some(t);
	case CLAIM:
		if (!claim(t))
			return false;
		t->step = MOVE;
		return true;
	case MOVE:
		t->dev = 0;
		return move(t) && clean_next(t);
	default:
		more = copy_some(t);
	}
	if (more <= 0)
		end_clean(t, more);
	return true;
}

/* ---- the CPU ------------------------------------------------------------------------------------------------- */

static void unlock_pages(const struct task *t)
{
	for (u64 p = t->page; p < t->page + t->count; p++)
		h->flags[p] &= ~HOME_LOCKED;
}

static bool must_wait(const struct task *t)
{
	struct dmo_block *b = dmo_block_find(&h->object, t->index);

	return b && b->state == DMO_BLOCK_MOVING;
}

static void end_request(struct task *t)
{
	unlock_pages(t);
	t->kind = NONE;
}

static bool step_read(struct task *t)
{
	if (t->step == BEGIN) {
		if (must_wait(t))
			return false;
		t->step = COPY;
		if (home_read_begin(h, t->page, t->count, &t->io))
			end_request(t);
		return true;
	}
	home_read_end(h, t->page, t->count, t->io);
	end_request(t);
	return true;
}

static bool step_write(struct task *t)
{
	unsigned fail = fails() ? below(t->count) : ~0u;

	if (t->step == BEGIN) {
		if (must_wait(t))
			return false;
		t->step = COPY;
		if (home_write_begin(h, t->page, t->count, t->mask == ~0ull))
			end_request(t);
		return true;
	}
	home_write_end(h, t->page, t->count, home_stamp(h), t->mask, fail);
	end_request(t);
	return true;
}

/* Truncate and punch: a barrier keeps blocks from moving; the kernel has no request under way in the range. */
static bool quiet(const struct task *t)
{
	for (u64 p = t->page; p < t->page + t->count; p++) {
		struct dmo_block *b = dmo_block_find(&h->object, p / DMO_BLOCK_PAGES);

		if (h->flags[p] & HOME_LOCKED || (b && (b->state == DMO_BLOCK_MOVING || b->io)))
			return false;
	}
	return true;
}

static void forget_before(u64 page, u64 count)
{
	for (struct task *t = tasks; t < tasks + TASKS; t++)
		for (u64 p = page; p < page + count && t->kind == SYNC; p++)
			if (p / DMO_BLOCK_PAGES == t->index)
				t->before[p % DMO_BLOCK_PAGES] = 0;
}

static bool step_cut(struct task *t)
{
	if (t->step == BEGIN) {
		t->step = MOVE;
		if (barrier)
			t->kind = NONE;
		else
			barrier = true;
		return true;
	}
	if (!quiet(t))
		return false;
	forget_before(t->page, t->count);
	if (!fails() && !home_cut(h, t->page, t->count) && t->size)
		h->object.size = t->size << DMO_PAGE_SHIFT;
	barrier = false;
	t->kind = NONE;
	return true;
}

/* ---- a device dies, and another one comes in its place ---------------------------------------------------------- */

static void forget_pins(const struct dmo_block *b, unsigned dev)
{
	for (unsigned i = 0; i < PINS; i++)
		if (pins[i].block == b && pins[i].dev == dev) {
			dmo_block_put(pins[i].block);
			pins[i].block = NULL;
		}
}

static bool next_grave(struct task *t)
{
	struct dmo_block *b;

	for (t->index = 0; (b = dmo_radix_next(&h->object.blocks, &t->index)); t->index++)
		if (dmo_block_copy(b, &h->dev[HOME_MORTAL]))
			return true;
	return false;
}

static bool step_bury(struct task *t)
{
	if (t->step == CLAIM) {
		if (!next_grave(t)) {
			h->lost[HOME_MORTAL] = false;
			t->kind = NONE;
			return true;
		}
		if (!claim(t))
			return false;
		t->step = MOVE;
		return true;
	}
	if (!move(t))
		return false;
	if (copy_of(t)) {
		home_bury(h, t->block, &h->dev[HOME_MORTAL]);
		forget_pins(t->block, HOME_MORTAL);
	}
	let_go(t);
	t->kind = BURY;
	t->step = CLAIM;
	return true;
}

/* ---- beginnings --------------------------------------------------------------------------------------------------- */

static struct task *new_task(enum kind kind, enum step step)
{
	for (struct task *t = tasks; t < tasks + TASKS; t++) {
		if (t->kind != NONE)
			continue;
		memset(t, 0, offsetof(struct task, before));
		t->kind = kind;
		t->step = step;
		t->failed = false;
		t->size = 0;
		kinds[kind]++;
		return t;
	}
	return NULL;
}

/* A page of the object: mostly one of a few, so that things meet. */
static u64 any_page(void)
{
	u64 pages = home_pages(h), page = below(3) ? below(HOME_BLOCKS) * DMO_BLOCK_PAGES + below(6) : below(HOME_PAGES);

	return pages ? page % pages : 0;
}

static void begin_access(void)
{
	struct task *t = new_task(ACCESS, CLAIM);
	u64 page = any_page();

	if (!t || !home_pages(h))
		return (void)(t ? t->kind = NONE : 0);
	t->ctx = below(HOME_CONTEXTS);
	t->dev = home_device_of(t->ctx);
	t->index = page / DMO_BLOCK_PAGES;
	t->plan.page = page % DMO_BLOCK_PAGES;
	t->plan.write = t->ctx != 1 && below(2);
	t->plan.map_write = below(2);
	t->remote = !t->plan.write && !below(4);
	t->whole = !t->remote && !below(4);
	t->plan.first = t->plan.page - below(t->plan.page + 1);
	t->plan.count = t->plan.page - t->plan.first + 1 + below(DMO_BLOCK_PAGES - t->plan.page);
	t->pin = t->whole && !below(6);
	if (t->whole && below(2))
		t->ctx = -1;
}

static void begin_evict(unsigned dev, u64 index, unsigned first, unsigned count)
{
	struct task *t = new_task(EVICT, CLAIM);

	if (!t)
		return;
	t->dev = dev;
	t->index = index;
	t->plan.first = first;
	t->plan.count = count;
}

static void begin_any_evict(void)
{
	unsigned first = below(2) ? 0 : below(DMO_BLOCK_PAGES);

	begin_evict(below(HOME_DEVICES), below(HOME_BLOCKS), first,
		    first ? 1 + below(DMO_BLOCK_PAGES - first) : DMO_BLOCK_PAGES);
}

static void begin_request(bool write)
{
	u64 page = any_page(), end = (page / DMO_BLOCK_PAGES + 1) * DMO_BLOCK_PAGES, n = 1 + below(8);
	struct task *t;

	end = end < home_pages(h) ? end : home_pages(h);
	end = page + n < end ? page + n : end;
	for (n = 0; page + n < end; n++)
		if (h->flags[page + n] & HOME_LOCKED || (!write && h->flags[page + n] & HOME_PRESENT))
			break;
	t = n && (!write || h->object.writers) ? new_task(write ? WRITE : READ, BEGIN) : NULL;
	if (!t)
		return;
	t->index = page / DMO_BLOCK_PAGES;
	t->page = page;
	t->count = n;
	t->mask = (u64[]){ ~0ull, ~0u, ~0ull << 32 }[below(3)];
	for (u64 p = page; p < page + n; p++)
		h->flags[p] |= HOME_LOCKED;
}

static void begin_cut(void)
{
	struct task *t = below(4) ? NULL : new_task(CUT, BEGIN);

	if (!t)
		return;
	t->page = any_page();
	t->count = 1 + below(below(2) ? 16 : HOME_PAGES);
	if (below(2)) {
		u64 size = 1 + below(HOME_PAGES);

		t->size = size;
		t->page = size < home_pages(h) ? size : home_pages(h);
		t->count = HOME_PAGES;
	}
	if (t->page + t->count > HOME_PAGES)
		t->count = HOME_PAGES - t->page;
}

static void begin_sync(void)
{
	struct task *t = new_task(SYNC, FLUSH);

	if (!t)
		return;
	t->index = below(HOME_BLOCKS);
	for (unsigned i = 0; i < DMO_BLOCK_PAGES; i++) {
		u64 page = t->index * DMO_BLOCK_PAGES + i;

		t->before[i] = page < HOME_PAGES ? h->latest[page] : 0;
	}
}

static void begin_bury(void)
{
	struct task *t = h->lost[HOME_MORTAL] || below(100) ? NULL : new_task(BURY, CLAIM);

	if (!t)
		return;
	t->dev = HOME_MORTAL;
	h->lost[HOME_MORTAL] = true;
	for (unsigned f = 0; f < HOME_FRAMES; f++)
		h->mem[HOME_MORTAL][f] = ~0ull;
}

/* ---- events of one step ---------------------------------------------------------------------------------------------- */

static void cpu_store(void)
{
	u64 page = any_page();

	if (!h->object.writers || (h->flags[page] & (HOME_PRESENT | HOME_LOCKED)) != HOME_PRESENT)
		return;
	h->latest[page] = h->cache[page] = home_stamp(h);
	h->flags[page] |= HOME_CPU_DIRTY;
}

static bool may_write_back(u64 page)
{
	struct dmo_block *b = dmo_block_find(&h->object, page / DMO_BLOCK_PAGES);

	return (h->flags[page] & (HOME_CPU_DIRTY | HOME_LOCKED)) == HOME_CPU_DIRTY &&
	       !(b && b->state == DMO_BLOCK_MOVING);
}

static void kernel_page(void)
{
	u64 page = any_page();

	if (may_write_back(page))
		home_write_back(h, page, fails());
	else if ((h->flags[page] & (HOME_CPU_DIRTY | HOME_LOCKED)) == 0)
		h->flags[page] = 0;
}

static void open_or_close(void)
{
	if (below(2) && h->object.writers < 3) {
		home_open_writer(h);
		return;
	}
	for (struct task *t = tasks; t < tasks + TASKS; t++)
		if (t->kind == WRITE)
			return;
	for (u64 p = 0; p < HOME_PAGES && h->object.writers == 1; p++)
		if (h->flags[p] & HOME_CPU_DIRTY && (!may_write_back(p) || home_write_back(h, p, fails())))
			return;
	if (h->object.writers)
		h->object.writers--;
}

static void device_store(void)
{
	unsigned ctx = below(HOME_CONTEXTS), d = home_device_of(ctx);
	u64 page = any_page();
	struct home_pte *e = &h->pte[ctx][page];

	if (e->kind != HOME_PTE_WRITE || h->lost[d])
		return;
	e->dirty = true;
	h->latest[page] = h->mem[d][e->frame] = home_stamp(h);
}

static void unpin(void)
{
	unsigned i = below(PINS);
	struct dmo_block *b = pins[i].block;

	if (!b)
		return;
	dmo_block_copy(b, &h->dev[pins[i].dev])->pins--;
	if (b->state == DMO_BLOCK_IDLE && !b->io)
		home_free_empty(b);
	dmo_block_put(b);
	pins[i].block = NULL;
}

static void unmap(void)
{
	struct dmo_block *b = dmo_block_find(&h->object, below(HOME_BLOCKS));
	unsigned first = below(DMO_BLOCK_PAGES), count = 1 + below(DMO_BLOCK_PAGES - first);

	if (!b)
		return;
	if (b->index * DMO_BLOCK_PAGES + first + count > HOME_PAGES)
		return;
	b->users++;
	if (!dmo_block_open(b))
		home_unmap(h, b, below(HOME_CONTEXTS), first, count);
	dmo_block_put(b);
}

static void set_limit(void)
{
	struct dmo_device *d = &h->dev[below(2)];
	u64 limit = d->used + below(600);

	d->limit = limit < d->phys.pages ? limit : d->phys.pages;
	dmo_policy_watermarks(d);
}

/* ---- running them -------------------------------------------------------------------------------------------------------- */

static bool step(struct task *t)
{
	static const char *const names[] = { "none", "access", "evict", "read", "write", "cut", "sync", "bury" };

	h->event = names[t->kind];
	switch (t->kind) {
	case ACCESS:
		return step_access(t);
	case EVICT:
		return step_evict(t);
	case READ:
		return step_read(t);
	case WRITE:
		return step_write(t);
	case CUT:
		return step_cut(t);
	case SYNC:
		return step_sync(t);
	case BURY:
		return step_bury(t);
	default:
		return false;
	}
}

static const struct {
	const char *name;
	unsigned weight;
	void (*run)(void);
} quick[] = {
	{ "device access", 24, begin_access }, { "eviction", 3, begin_any_evict }, { "truncate", 2, begin_cut },
	{ "fsync", 1, begin_sync }, { "loss", 1, begin_bury }, { "CPU store", 12, cpu_store },
	{ "kernel page", 8, kernel_page }, { "open or close", 3, open_or_close }, { "device store", 24, device_store },
	{ "unpin", 1, unpin }, { "unmap", 1, unmap }, { "limit", 1, set_limit },
};

static void begin_something(void)
{
	unsigned sum = 20, at;

	for (unsigned i = 0; i < sizeof(quick) / sizeof(quick[0]); i++)
		sum += quick[i].weight;
	at = below(sum);
	for (unsigned i = 0; i < sizeof(quick) / sizeof(quick[0]); i++) {
		if (at < quick[i].weight) {
			h->event = quick[i].name;
			quick[i].run();
			return;
		}
		at -= quick[i].weight;
	}
	h->event = "request";
	begin_request(below(2));
}

static void one_event(void)
{
	struct task *t = &tasks[below(TASKS)];

	testmem_fail(&h->tm, below(8) ? 0 : 1 + below(6));
	if (t->kind == NONE)
		begin_something();
	else
		step(t);
	testmem_fail(&h->tm, 0);
}

/* Lets every task come to its end: whoever waits, waits for another one of them. */
static void settle(void)
{
	bool busy = true;

	h->event = "settle";
	for (unsigned i = 0; busy; i++) {
		busy = false;
		for (struct task *t = tasks; t < tasks + TASKS; t++) {
			busy = busy || t->kind != NONE;
			step(t);
		}
		if (i > 100000)
			home_fail(h, "tasks wait for each other", 0);
	}
}

static void finish(void)
{
	settle();
	for (unsigned i = 0; i < PINS; i++)
		if (pins[i].block) {
			dmo_block_copy(pins[i].block, &h->dev[pins[i].dev])->pins--;
			dmo_block_put(pins[i].block);
			pins[i].block = NULL;
		}
	if (home_cut(h, 0, HOME_PAGES))
		home_fail(h, "no memory", 0);
	home_check(h);
	home_fini(h);
}

int main(int argc, char **argv)
{
	const char *conf = getenv("CONF_EVENTS");
	u64 seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (u64)time(NULL);
	u64 count = argc > 2 ? strtoull(argv[2], NULL, 0) : conf ? strtoull(conf, NULL, 0) : EVENTS;

	printf("events: seed %llu, %llu events\n", (unsigned long long)seed, (unsigned long long)count);
	fflush(stdout);
	home_init(h, seed);
	for (h->number = 1; h->number <= count; h->number++) {
		one_event();
		home_check(h);
	}
	finish();
	printf("events: %llu moves, %llu shortages;", (unsigned long long)moves, (unsigned long long)shortages);
	printf(" tasks: %llu accesses, %llu evictions, %llu reads, %llu writes, %llu cuts, %llu syncs, %llu losses\n",
	       (unsigned long long)kinds[ACCESS], (unsigned long long)kinds[EVICT], (unsigned long long)kinds[READ],
	       (unsigned long long)kinds[WRITE], (unsigned long long)kinds[CUT], (unsigned long long)kinds[SYNC],
	       (unsigned long long)kinds[BURY]);
	return EXIT_SUCCESS;
}
