// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_mmu.c - page tables and TLB of the simulated device
 *
 * Like real hardware it keeps using a cached translation until it is told to forget it, sets the dirty
 * bit in the table at the first write through a cached translation, and faults where that finds the
 * entry gone or read-only.
 */
#include "sim.h"

#include <linux/err.h>

#define PTE_WRITE	1ul
#define PTE_DIRTY	2ul
#define PTE_ACCESSED	4ul
#define PTE_SHIFT	3

static unsigned long pte_load(struct sim_pt *pt, unsigned long index)
{
	void *e = xa_load(&pt->table, index);

	return xa_is_value(e) ? xa_to_value(e) : 0;
}

/* An entry of 0 is none: frame numbers are kept plus one. */
static unsigned long pte_make(u32 frame, unsigned long bits)
{
	return ((unsigned long)frame + 1) << PTE_SHIFT | bits;
}

static u32 pte_frame(unsigned long pte)
{
	return (pte >> PTE_SHIFT) - 1;
}

/* Changes an entry that is there; false where it changed meanwhile. */
static bool pte_swap(struct sim_pt *pt, unsigned long index, unsigned long old, unsigned long new)
{
	void *was = xa_cmpxchg(&pt->table, index, xa_mk_value(old), new ? xa_mk_value(new) : NULL, GFP_NOFS);

	return was == xa_mk_value(old);
}

int sim_pt_enter(void *priv, const struct dmo_pte_run *run)
{
	struct sim_pt *pt = priv;
	unsigned long bits = run->prot & DMO_PROT_WRITE ? PTE_WRITE : 0, first = run->va / SIM_PAGE;

	for (u32 i = 0; i < run->pages; i++) {
		unsigned long pte = pte_make(run->frame + i, bits);
		void *old = xa_store(&pt->table, first + i, xa_mk_value(pte), GFP_NOFS);

		if (!xa_is_err(old))
			continue;
		while (i--)
			xa_erase(&pt->table, first + i);
		return xa_err(old);
	}
	return 0;
}

static void take(struct sim_pt *pt, u64 va, u32 pages, unsigned long *dirty, bool protect)
{
	unsigned long first = va / SIM_PAGE, pte, new;

	for (u32 i = 0; i < pages; i++) {
		do {
			pte = pte_load(pt, first + i);
			new = protect ? pte & ~(PTE_WRITE | PTE_DIRTY) : 0;
		} while (pte && !pte_swap(pt, first + i, pte, new));
		if (pte & PTE_DIRTY)
			__set_bit(i, dirty);
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
	unsigned long first = va / SIM_PAGE, index, pte;
	bool used = false;
	void *e;

	xa_for_each_range(&pt->table, index, e, first, first + pages - 1) {
		pte = xa_to_value(e);
		if (pte & PTE_ACCESSED && pte_swap(pt, index, pte, pte & ~PTE_ACCESSED))
			used = true;
	}
	return used;
}

void sim_tlb_invalidate(void *priv, u64 va, u64 pages)
{
	struct sim_pt *pt = priv;

	down_write(&pt->sem);
	for (unsigned int i = 0; i < SIM_TLB; i++)
		if (pt->tlb[i].valid && pt->tlb[i].va >= va && pt->tlb[i].va < va + pages * SIM_PAGE)
			pt->tlb[i].valid = false;
	up_write(&pt->sem);
}

/* Walks the table and caches what it finds. */
static struct sim_tlb_entry *walk(struct sim_pt *pt, u64 va, bool write)
{
	struct sim_tlb_entry *e = &pt->tlb[va / SIM_PAGE % SIM_TLB];
	unsigned long pte, bits = PTE_ACCESSED | (write ? PTE_DIRTY : 0);

	do {
		pte = pte_load(pt, va / SIM_PAGE);
		if (!pte || (write && !(pte & PTE_WRITE)))
			return NULL;
	} while ((pte & bits) != bits && !pte_swap(pt, va / SIM_PAGE, pte, pte | bits));
	*e = (struct sim_tlb_entry){ .va = va, .frame = pte_frame(pte), .valid = true, .write = write };
	return e;
}

static struct sim_tlb_entry *translate(struct sim_pt *pt, u64 va, bool write)
{
	struct sim_tlb_entry *e = &pt->tlb[va / SIM_PAGE % SIM_TLB];

	if (e->valid && e->va == va && (e->write || !write))
		return e;
	return walk(pt, va, write);
}

void *sim_touch(struct sim_pt *pt, u64 va, u64 more, bool write)
{
	u64 page = va & ~(u64)(SIM_PAGE - 1);
	struct sim_tlb_entry *e;
	int err;

	for (;;) {
		down_read(&pt->sem);
		e = translate(pt, page, write);
		if (e)
			return (char *)sim_frame(pt->sim, e->frame) + (va - page);
		up_read(&pt->sem);
		err = READ_ONCE(pt->dying) ? -ECANCELED : dmo_dev_fault(pt->as, va, more, write);
		if (err)
			return ERR_PTR(err);
	}
}
