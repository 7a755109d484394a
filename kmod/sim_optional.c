// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_optional.c - dmo_sim.ko's device with every optional operation (optional=yes)
 *
 * It manages its own memory, of which it keeps the first part for itself, has a say in its addresses,
 * prepares frames, and enters and takes away translations in one call. It counts calls, fails the Nth on
 * purpose, and counts what no caller may do: frames used that were not given or not prepared, addresses that
 * were not reserved.
 */
#include "sim.h"

#include <linux/bitmap.h>
#include <linux/err.h>
#include <linux/maple_tree.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/version.h>

enum call {
	PT_ENTER, PT_RELEASE, TLB, TLB_RANGES, MAP, UNMAP, VA_ALLOC, VA_FREE, PREPARE, PAGE_ALLOC, PAGE_FREE,
	CALLS
};

static const char *const names[CALLS] = {
	"pt_enter", "pt_release", "tlb_invalidate", "tlb_invalidate_ranges", "map", "unmap", "va_alloc",
	"va_free", "page_prepare", "page_alloc", "page_free",
};

struct sim_optional {
	atomic_t calls[CALLS], fail[CALLS];	/* fail: the Nth from now; 0: none */
	atomic_t bad;
	u32 frames;
	unsigned long *taken, *prepared;	/* bits of frames */
};

static struct dmo_dev_ops optional_ops;

/* Counts a call: is it the one that is to fail? */
static bool enter(struct sim *sim, enum call call)
{
	struct sim_optional *o = sim->optional;

	atomic_inc(&o->calls[call]);
	return atomic_dec_if_positive(&o->fail[call]) == 0;
}

static void expect(struct sim *sim, bool good)
{
	if (!good)
		atomic_inc(&sim->optional->bad);
}

static bool all_set(const unsigned long *bits, u32 first, u32 n)
{
	return find_next_zero_bit(bits, first + n, first) >= first + n;
}

static bool none_set(const unsigned long *bits, u32 first, u32 n)
{
	return find_next_bit(bits, first + n, first) >= first + n;
}

/* ---- translations --------------------------------------------------------- */

static int enter_run(struct sim_pt *pt, const struct dmo_pte_run *run)
{
	expect(pt->sim, run->host || all_set(pt->sim->optional->prepared, run->frame, run->pages));
	expect(pt->sim, mtree_load(&pt->addresses, run->va / SIM_PAGE));
	expect(pt->sim, mtree_load(&pt->addresses, run->va / SIM_PAGE + run->pages - 1));
	return sim_pt_enter(pt, run);
}

static int pt_enter(void *priv, const struct dmo_pte_run *run)
{
	struct sim_pt *pt = priv;

	return enter(pt->sim, PT_ENTER) ? -ENOMEM : enter_run(pt, run);
}

static void pt_release(void *priv, u64 va, u32 pages, unsigned long *dirty)
{
	struct sim_pt *pt = priv;

	enter(pt->sim, PT_RELEASE);
	sim_pt_release(pt, va, pages, dirty);
}

static void tlb_invalidate(void *priv, u64 va, u64 pages)
{
	struct sim_pt *pt = priv;

	enter(pt->sim, TLB);
	sim_tlb_invalidate(pt, va, pages);
}

static void tlb_invalidate_ranges(void *priv, const struct dmo_va_range *ranges, u32 count)
{
	struct sim_pt *pt = priv;

	enter(pt->sim, TLB_RANGES);
	expect(pt->sim, count > 1);
	sim_tlb_invalidate_ranges(pt, ranges, count);
}

static int map(void *priv, const struct dmo_pte_run *runs, u32 count)
{
	unsigned long dirty[SIM_BLOCK_PAGES / BITS_PER_LONG];
	struct sim_pt *pt = priv;
	int err = enter(pt->sim, MAP) ? -ENOMEM : 0;

	for (u32 i = 0; i < count && !err; i++) {
		err = enter_run(pt, &runs[i]);
		while (err && i--)
			sim_pt_release(pt, runs[i].va, runs[i].pages, dirty);
	}
	return err;
}

static void unmap(void *priv, u64 va, u32 pages, unsigned long *dirty)
{
	struct sim_pt *pt = priv;

	enter(pt->sim, UNMAP);
	sim_pt_release(pt, va, pages, dirty);
	sim_tlb_invalidate(pt, va, pages);
}

/* ---- addresses ------------------------------------------------------------ */

#define OWN_START	BIT_ULL(40)	/* where the device likes mappings to be */
#define OWN_END		BIT_ULL(41)

static int va_alloc(void *priv, u64 *va, u64 length, u64 align, bool fixed)
{
	struct sim_pt *pt = priv;
	unsigned long first = *va / SIM_PAGE, pages = length / SIM_PAGE;
	int err;

	if (enter(pt->sim, VA_ALLOC))
		return -ENOSPC;
	if (fixed)
		return mtree_insert_range(&pt->addresses, first, first + pages - 1, xa_mk_value(1),
					  GFP_KERNEL);
	/* room for one block more than is wanted, so that the aligned part is free */
	err = mtree_alloc_range(&pt->addresses, &first, xa_mk_value(1), pages + align / SIM_PAGE - 1,
				OWN_START / SIM_PAGE, OWN_END / SIM_PAGE - 1, GFP_KERNEL);
	if (err)
		return err == -EBUSY ? -ENOSPC : err;
	mtree_erase(&pt->addresses, first);
	*va = round_up((u64)first * SIM_PAGE, align);
	first = *va / SIM_PAGE;
	return mtree_insert_range(&pt->addresses, first, first + pages - 1, xa_mk_value(1), GFP_KERNEL);
}

static void va_free(void *priv, u64 va, u64 length)
{
	unsigned long first = va / SIM_PAGE, last = (va + length) / SIM_PAGE - 1;
	struct sim_pt *pt = priv;

	enter(pt->sim, VA_FREE);
	expect(pt->sim, mtree_load(&pt->addresses, first) && mtree_load(&pt->addresses, last));
	mtree_store_range(&pt->addresses, first, last, NULL, GFP_KERNEL | __GFP_NOFAIL);
}

static int pt_create(void *priv, struct dmo_as *as, void **out)
{
	int err = sim_ops.pt_create(priv, as, out);

	if (!err)
		mt_init_flags(&((struct sim_pt *)*out)->addresses, MT_FLAGS_ALLOC_RANGE);
	return err;
}

static void pt_destroy(void *priv)
{
	struct sim_pt *pt = priv;

	expect(pt->sim, mtree_empty(&pt->addresses));
	mtree_destroy(&pt->addresses);
	sim_ops.pt_destroy(pt);
}

/* ---- frames --------------------------------------------------------------- */

static int page_prepare(void *priv, u32 frame, u32 pages)
{
	struct sim *sim = priv;
	struct sim_optional *o = sim->optional;

	if (enter(sim, PREPARE))
		return -EIO;
	expect(sim, all_set(o->taken, frame, pages) && none_set(o->prepared, frame, pages));
	for (u32 i = 0; i < pages; i++)
		set_bit(frame + i, o->prepared);
	return 0;
}

static int page_alloc(void *priv, u32 order, u32 *frame)
{
	struct sim *sim = priv;
	struct sim_optional *o = sim->optional;
	unsigned long at;

	if (enter(sim, PAGE_ALLOC))
		return -ENOMEM;
	at = bitmap_find_next_zero_area(o->taken, o->frames, 0, 1u << order, (1u << order) - 1);
	if (at >= o->frames)
		return -ENOMEM;
	bitmap_set(o->taken, at, 1u << order);
	*frame = at;
	return 0;
}

static void page_free(void *priv, u32 frame, u32 order)
{
	struct sim *sim = priv;
	struct sim_optional *o = sim->optional;

	enter(sim, PAGE_FREE);
	expect(sim, all_set(o->taken, frame, 1u << order));
	for (u32 i = 0; i < 1u << order; i++)
		clear_bit(frame + i, o->prepared);
	bitmap_clear(o->taken, frame, 1u << order);
}

static struct dma_fence *copy(void *priv, const struct dmo_copy_job *jobs, u32 count)
{
	struct sim *sim = priv;

	for (u32 i = 0; i < count; i++)
		expect(sim, all_set(sim->optional->prepared, jobs[i].frame, jobs[i].pages));
	return sim_copy(sim, jobs, count);
}

/* ---- the device ----------------------------------------------------------- */

int sim_optional_init(struct sim *sim, u64 size)
{
	struct sim_optional *o;

	if (LINUX_VERSION_CODE < KERNEL_VERSION(6, 6, 0))	/* 6.1 oopses in mtree_alloc_range */
		return -EOPNOTSUPP;
	o = kzalloc(sizeof(*o), GFP_KERNEL);
	if (!o)
		return -ENOMEM;
	sim->optional = o;
	o->frames = size / SIM_PAGE;
	o->taken = kvcalloc(BITS_TO_LONGS(o->frames), sizeof(long), GFP_KERNEL);
	o->prepared = kvcalloc(BITS_TO_LONGS(o->frames), sizeof(long), GFP_KERNEL);
	if (!o->taken || !o->prepared)
		return -ENOMEM;
	bitmap_set(o->taken, 0, min_t(u32, o->frames / 2, SIM_BLOCK_PAGES));
	optional_ops = sim_ops;
	optional_ops.pt_create = pt_create;
	optional_ops.pt_destroy = pt_destroy;
	optional_ops.pt_enter = pt_enter;
	optional_ops.pt_release = pt_release;
	optional_ops.tlb_invalidate = tlb_invalidate;
	optional_ops.tlb_invalidate_ranges = tlb_invalidate_ranges;
	optional_ops.map = map;
	optional_ops.unmap = unmap;
	optional_ops.va_alloc = va_alloc;
	optional_ops.va_free = va_free;
	optional_ops.page_prepare = page_prepare;
	optional_ops.page_alloc = page_alloc;
	optional_ops.page_free = page_free;
	optional_ops.copy = copy;
	sim->ops = &optional_ops;
	return 0;
}

void sim_optional_fini(struct sim *sim)
{
	struct sim_optional *o = sim->optional;

	if (!o)
		return;
	kvfree(o->prepared);
	kvfree(o->taken);
	kfree(o);
	sim->optional = NULL;
}

int sim_optional_fail(struct sim *sim, const char *call, int nth)
{
	int i = sim->optional ? match_string(names, CALLS, call) : -EINVAL;

	if (i < 0)
		return -EINVAL;
	atomic_set(&sim->optional->fail[i], nth);
	return 0;
}

/* A line for each call: device, operation, how often; then what no caller may do. */
int sim_optional_show(struct sim *sim, const char *name, char *buffer, int at)
{
	struct sim_optional *o = sim->optional;

	if (!o)
		return at;
	for (int i = 0; i < CALLS; i++)
		at += sysfs_emit_at(buffer, at, "%s %s %d\n", name, names[i], atomic_read(&o->calls[i]));
	return at + sysfs_emit_at(buffer, at, "%s bad %d\n", name, atomic_read(&o->bad));
}
