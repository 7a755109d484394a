// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_mmu.c - page tables and TLB
 *
 * A page table is a sparse array of blocks of 2 MiB. A block whose frames follow each other, as they do
 * where a whole chunk was entered, needs no list of them:
 *
 *	linear:	base ----> [ ...... 512 frames ...... ]		entered says which pages are there
 *	paged:	frames[i] -> anywhere, page by page		until the whole block is entered at once
 *
 * Only becoming paged and the first page of a block need memory, so taking translations away can't
 * fail. A block without pages is freed.
 *
 * A page of the host, which stays there, is in a list of its own and never writable.
 *
 * Like hardware the TLB goes on using what it cached until an invalidation, and the table is told at
 * the first write through a cached translation, not at each.
 */
#include "sim.h"

#include <linux/err.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>

/* The part of a range that lies in one block. */
struct piece {
	unsigned long index;		/* of the block */
	unsigned int first, n;		/* pages in it */
	u32 done;			/* pages of the range before it */
};

static bool next_piece(struct piece *p, u64 va, u32 pages)
{
	p->done += p->n;
	va += (u64)p->done * SIM_PAGE;
	p->index = va / DMO_BLOCK_SIZE;
	p->first = va / SIM_PAGE % SIM_BLOCK_PAGES;
	p->n = min(SIM_BLOCK_PAGES - p->first, pages - p->done);
	return p->n;
}

#define FOR_EACH_PIECE(p, va, pages) \
	for (struct piece p = { 0 }; next_piece(&p, va, pages);)

void sim_mmu_init(struct sim_pt *pt)
{
	mutex_init(&pt->enter_lock);
	init_rwsem(&pt->sem);
	spin_lock_init(&pt->lock);
	xa_init(&pt->table);
}

static void free_block(struct sim_block *b)
{
	kfree(b->host);
	kfree(b->frames);
	kfree(b);
}

void sim_mmu_destroy(struct sim_pt *pt)
{
	struct sim_block *b;
	unsigned long index;

	xa_for_each(&pt->table, index, b)
		free_block(b);
	xa_destroy(&pt->table);
}

static void drop_if_empty(struct sim_pt *pt, unsigned long index, struct sim_block *b)
{
	if (b->holds || !bitmap_empty(b->entered, SIM_BLOCK_PAGES))
		return;
	xa_erase(&pt->table, index);
	free_block(b);
}

/* ---- entering; pt->enter_lock held ---------------------------------------- */

static struct sim_block *hold_block(struct sim_pt *pt, unsigned long index)
{
	struct sim_block *b;

	spin_lock(&pt->lock);
	b = xa_load(&pt->table, index);
	if (b)
		b->holds++;
	spin_unlock(&pt->lock);
	if (b)
		return b;
	b = kzalloc(sizeof(*b), GFP_NOFS);
	if (!b)
		return NULL;
	b->holds = 1;
	if (!xa_is_err(xa_store(&pt->table, index, b, GFP_NOFS)))
		return b;
	kfree(b);
	return NULL;
}

static void let_go(struct sim_pt *pt, const struct piece *p)
{
	struct sim_block *b;

	spin_lock(&pt->lock);
	b = xa_load(&pt->table, p->index);
	b->holds--;
	drop_if_empty(pt, p->index, b);
	spin_unlock(&pt->lock);
}

/* Can the piece come into a linear block and leave it so? Pages that go meanwhile change no yes to a no. */
static bool stays_linear(const struct sim_block *b, const struct piece *p, u32 base)
{
	DECLARE_BITMAP(others, SIM_BLOCK_PAGES);

	bitmap_copy(others, b->entered, SIM_BLOCK_PAGES);
	bitmap_clear(others, p->first, p->n);
	return b->base == base || bitmap_empty(others, SIM_BLOCK_PAGES);
}

static int make_paged(struct sim_pt *pt, struct sim_block *b)
{
	u32 *frames = kmalloc_array(SIM_BLOCK_PAGES, sizeof(*frames), GFP_NOFS);

	if (!frames)
		return -ENOMEM;
	for (unsigned int i = 0; i < SIM_BLOCK_PAGES; i++)
		frames[i] = b->base + i;
	spin_lock(&pt->lock);
	b->frames = frames;
	spin_unlock(&pt->lock);
	return 0;
}

/* Where the frame of page 0 of the piece's block would be. */
static u32 base_of(const struct dmo_pte_run *run, const struct piece *p)
{
	return run->frame + p->done - p->first;
}

static int make_host(struct sim_pt *pt, struct sim_block *b)
{
	struct page **host = kcalloc(SIM_BLOCK_PAGES, sizeof(*host), GFP_NOFS);

	if (!host)
		return -ENOMEM;
	spin_lock(&pt->lock);
	b->host = host;
	spin_unlock(&pt->lock);
	return 0;
}

/* Gets the memory that entering the piece takes, and a hold on its block. */
static int prepare(struct sim_pt *pt, const struct piece *p, const struct dmo_pte_run *run)
{
	struct sim_block *b = hold_block(pt, p->index);
	int err;

	if (!b)
		return -ENOMEM;
	if (run->host)
		err = b->host ? 0 : make_host(pt, b);
	else
		err = b->frames || stays_linear(b, p, base_of(run, p)) ? 0 : make_paged(pt, b);
	if (err)
		let_go(pt, p);
	return err;
}

static u32 frame_of(const struct sim_block *b, unsigned int page)
{
	return b->frames ? b->frames[page] : b->base + page;
}

/* Does the run put the same page there that stands there? */
static bool same_page(const struct sim_block *b, const struct piece *p, const struct dmo_pte_run *run,
		      unsigned int page)
{
	if (!test_bit(page, b->entered) || test_bit(page, b->remote) != !!run->host)
		return false;
	if (run->host)
		return b->host[page] == run->host[p->done + page - p->first];
	return frame_of(b, page) == base_of(run, p) + page;
}

/* A page that another takes the place of was neither used nor written. */
static void forget_replaced(struct sim_block *b, const struct piece *p, const struct dmo_pte_run *run)
{
	for (unsigned int i = p->first; i < p->first + p->n; i++) {
		if (same_page(b, p, run, i))
			continue;
		__clear_bit(i, b->accessed);
		__clear_bit(i, b->dirty);
	}
}

static void set_frames(struct sim_block *b, const struct piece *p, u32 base)
{
	if (p->n == SIM_BLOCK_PAGES) {
		kfree(b->frames);
		b->frames = NULL;
	}
	if (!b->frames)
		b->base = base;
	for (unsigned int i = p->first; b->frames && i < p->first + p->n; i++)
		b->frames[i] = base + i;
}

static void set_pages(struct sim_block *b, const struct piece *p, const struct dmo_pte_run *run)
{
	if (!run->host) {
		set_frames(b, p, base_of(run, p));
		bitmap_clear(b->remote, p->first, p->n);
		return;
	}
	memcpy(b->host + p->first, run->host + p->done, p->n * sizeof(*b->host));
	bitmap_set(b->remote, p->first, p->n);
}

static void enter_piece(struct sim_block *b, const struct piece *p, const struct dmo_pte_run *run)
{
	if (!bitmap_empty(b->entered, SIM_BLOCK_PAGES))
		forget_replaced(b, p, run);
	set_pages(b, p, run);
	bitmap_set(b->entered, p->first, p->n);
	if (run->prot & DMO_PROT_WRITE && !run->host)
		bitmap_set(b->writable, p->first, p->n);
	else
		bitmap_clear(b->writable, p->first, p->n);
}

static int prepare_all(struct sim_pt *pt, const struct dmo_pte_run *run)
{
	FOR_EACH_PIECE(p, run->va, run->pages) {
		int err = prepare(pt, &p, run);

		if (!err)
			continue;
		FOR_EACH_PIECE(held, run->va, p.done)
			let_go(pt, &held);
		return err;
	}
	return 0;
}

int sim_pt_enter(void *priv, const struct dmo_pte_run *run)
{
	struct sim_pt *pt = priv;
	int err;

	mutex_lock(&pt->enter_lock);
	err = prepare_all(pt, run);
	FOR_EACH_PIECE(p, run->va, err ? 0 : run->pages) {
		spin_lock(&pt->lock);
		enter_piece(xa_load(&pt->table, p.index), &p, run);
		spin_unlock(&pt->lock);
		let_go(pt, &p);
	}
	mutex_unlock(&pt->enter_lock);
	return err;
}

/* ---- taking away ---------------------------------------------------------- */

/* Tells the dirty bits of the piece, once. */
static void take_dirty(struct sim_block *b, const struct piece *p, unsigned long *dirty)
{
	unsigned int i = p->first;

	for_each_set_bit_from(i, b->dirty, p->first + p->n)
		__set_bit(p->done + i - p->first, dirty);
	bitmap_clear(b->dirty, p->first, p->n);
}

static void take(struct sim_pt *pt, u64 va, u32 pages, unsigned long *dirty, bool protect)
{
	FOR_EACH_PIECE(p, va, pages) {
		struct sim_block *b;

		spin_lock(&pt->lock);
		b = xa_load(&pt->table, p.index);
		if (b) {
			take_dirty(b, &p, dirty);
			bitmap_clear(b->writable, p.first, p.n);
		}
		if (b && !protect) {
			bitmap_clear(b->accessed, p.first, p.n);
			bitmap_clear(b->entered, p.first, p.n);
			bitmap_clear(b->remote, p.first, p.n);
			drop_if_empty(pt, p.index, b);
		}
		spin_unlock(&pt->lock);
	}
}

void sim_pt_release(void *pt, u64 va, u32 pages, unsigned long *dirty)
{
	take(pt, va, pages, dirty, false);
}

void sim_pt_protect(void *pt, u64 va, u32 pages, unsigned long *dirty)
{
	take(pt, va, pages, dirty, true);
}

bool sim_pt_accessed(void *priv, u64 va, u32 pages)
{
	struct sim_pt *pt = priv;
	bool used = false;

	FOR_EACH_PIECE(p, va, pages) {
		struct sim_block *b;

		spin_lock(&pt->lock);
		b = xa_load(&pt->table, p.index);
		if (b) {
			used |= find_next_bit(b->accessed, p.first + p.n, p.first) < p.first + p.n;
			bitmap_clear(b->accessed, p.first, p.n);
		}
		spin_unlock(&pt->lock);
	}
	return used;
}

/* ---- the TLB -------------------------------------------------------------- */

static void forget(struct sim_pt *pt, u64 va, u64 pages)
{
	for (unsigned int i = 0; i < SIM_TLB; i++)
		if (pt->tlb[i].va >= va && pt->tlb[i].va < va + pages * SIM_PAGE)
			pt->tlb[i].valid = false;
}

void sim_tlb_invalidate_ranges(void *priv, const struct dmo_va_range *ranges, u32 count)
{
	struct sim_pt *pt = priv;

	down_write(&pt->sem);
	for (u32 i = 0; i < count; i++)
		forget(pt, ranges[i].va, ranges[i].pages);
	up_write(&pt->sem);
}

void sim_tlb_invalidate(void *pt, u64 va, u64 pages)
{
	struct dmo_va_range range = { va, pages };

	sim_tlb_invalidate_ranges(pt, &range, 1);
}

/* Looks in the table, which notes the use, and caches what is there. */
static bool walk(struct sim_pt *pt, struct sim_tlb_entry *e, u64 va, bool write)
{
	unsigned int page = va / SIM_PAGE % SIM_BLOCK_PAGES;
	struct sim_block *b;
	bool found;

	spin_lock(&pt->lock);
	b = xa_load(&pt->table, va / DMO_BLOCK_SIZE);
	found = b && test_bit(page, write ? b->writable : b->entered);
	if (found) {
		*e = (struct sim_tlb_entry){ .va = va, .valid = true, .write = write };
		if (test_bit(page, b->remote))
			e->host = b->host[page];
		else
			e->frame = frame_of(b, page);
		__set_bit(page, b->accessed);
		if (write)
			__set_bit(page, b->dirty);
	}
	spin_unlock(&pt->lock);
	return found;
}

/* The page's entry in the TLB; pt->sem held for reading, by the one thread that runs commands. */
static struct sim_tlb_entry *translate(struct sim_pt *pt, u64 va, bool write)
{
	struct sim_tlb_entry *e = &pt->tlb[va / SIM_PAGE % SIM_TLB];

	if (e->valid && e->va == va && (e->write || !write))
		return e;
	return walk(pt, e, va, write) ? e : NULL;
}

static int fault(struct sim_pt *pt, u64 va, u64 more, bool write)
{
	u64 start = ktime_get_ns();
	int err;

	if (!pt->sim->faults)
		return -EFAULT;
	pt->faults++;
	err = dmo_dev_fault(pt->as, va, more, write);
	pt->waited_ns += ktime_get_ns() - start;
	return err;
}

/* ---- pages of the host ---------------------------------------------------- */

void sim_touch_begin(struct sim_pt *pt)
{
	memset(pt->paid, 0, sizeof(pt->paid));
}

/* How many bytes from va on are of the host, in one block. */
static u64 remote_bytes(struct sim_pt *pt, u64 va)
{
	unsigned int page = va / SIM_PAGE % SIM_BLOCK_PAGES, end = page + 1;
	struct sim_block *b;

	spin_lock(&pt->lock);
	b = xa_load(&pt->table, va / DMO_BLOCK_SIZE);
	if (b)
		end = find_next_zero_bit(b->remote, SIM_BLOCK_PAGES, end);
	spin_unlock(&pt->lock);
	return (u64)(end - page) * SIM_PAGE - va % SIM_PAGE;
}

/* Waits until the link has carried what the command reads next: a piece of a stream, or a word. */
static void pay(struct sim_pt *pt, u64 va, u64 more)
{
	u64 bytes = min3(more, remote_bytes(pt, va), (u64)SIM_PIECE), start = ktime_get_ns();

	pt->last_paid = (pt->last_paid + 1) % SIM_OPERANDS;
	pt->paid[pt->last_paid] = (struct sim_paid){ va, va + bytes };
	sim_link_wait(sim_link_reserve(&pt->sim->link, SIM_LINK_IN, bytes));
	pt->waited_ns += ktime_get_ns() - start;
}

/* Uses up what was paid for at va, to the end of its page. False: nothing was. */
static bool use_paid(struct sim_pt *pt, u64 va)
{
	for (unsigned int i = 0; i < SIM_OPERANDS; i++) {
		struct sim_paid *p = &pt->paid[i];

		if (va < p->va || va >= p->end)
			continue;
		p->va = min(p->end, round_down(va, SIM_PAGE) + SIM_PAGE);
		return true;
	}
	return false;
}

static void *address_of(struct sim_pt *pt, const struct sim_tlb_entry *e)
{
	return e->host ? page_address(e->host) : sim_frame(pt->sim, e->frame);
}

/* ---- what commands call --------------------------------------------------- */

void *sim_touch(struct sim_pt *pt, u64 va, u64 more, bool write)
{
	u64 page = round_down(va, SIM_PAGE);
	struct sim_tlb_entry *e;
	int err = 0;

	while (!err && !READ_ONCE(pt->dying) && !READ_ONCE(pt->sim->lost)) {
		down_read(&pt->sem);
		e = translate(pt, page, write);
		if (e && (!e->host || use_paid(pt, va)))
			return (char *)address_of(pt, e) + (va - page);
		up_read(&pt->sem);
		if (e)
			pay(pt, va, more);
		else
			err = fault(pt, va, more, write);
	}
	if (READ_ONCE(pt->sim->lost))
		err = -EIO;
	return ERR_PTR(err ? err : -ECANCELED);
}
