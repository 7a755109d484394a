// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * remote.c - pages that stay in the backing file's page cache while devices read them there
 *
 * A page that is REMOTE (core/object.h) has a reference here, taken before its translation is entered and
 * given back when every translation of it has been released and the TLB invalidated. So a device never
 * reads memory that has become somebody else's, whatever happens to the page in the page cache. The
 * device only reads: a write faults and moves the page (move.c), and an access of the CPU takes the
 * translation away first (cpu.c, io.c). So the page is dirtied, written back and charged like any other.
 *
 *	not held --kdm_remote_enter--> held, REMOTE --kdm_remote_drop--> not held
 *
 * What takes it away: an access of the CPU, a write or a move by a device, a truncate or punch, the end
 * of a mapping (all by kdm_release_pages), and the shrinker below. Reclaim and compaction leave held pages
 * alone: the shrinker gives them back when memory is short, those that were entered first before
 * others. The device then faults again, which brings the page back.
 *
 * Locks: obj->lock for the record of a block (obj->remote, and what is in it); remotes_lock, a leaf, for the
 * list of records, and so that the shrinker finds the object of one alive.
 */
#include "internal.h"

#include <linux/fadvise.h>
#include <linux/gfp.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/shrinker.h>

#define LOOK_MAX	32	/* records looked at in one go of the shrinker */

struct kdm_remote {
	struct list_head link;		/* in remotes */
	struct kdm_obj *obj;
	u64 index;			/* of the block */
	unsigned int held;
	struct page **pages;		/* DMO_BLOCK_PAGES, on a page of their own */
};

static LIST_HEAD(remotes);
static DEFINE_SPINLOCK(remotes_lock);
static atomic_long_t held_pages;
static struct shrinker *shrinker;

/* ---- the record of a block; obj->lock held -------------------------------- */

static struct kdm_remote *new_record(struct kdm_obj *obj, u64 index)
{
	struct kdm_remote *r = kzalloc(sizeof(*r), GFP_NOFS);

	if (!r)
		return NULL;
	r->obj = obj;
	r->index = index;
	r->pages = (struct page **)get_zeroed_page(GFP_NOFS);
	if (!r->pages || xa_err(xa_store(&obj->remote, index, r, GFP_NOFS))) {
		free_page((unsigned long)r->pages);
		kfree(r);
		return NULL;
	}
	spin_lock(&remotes_lock);
	list_add_tail(&r->link, &remotes);
	spin_unlock(&remotes_lock);
	return r;
}

static void free_record(struct kdm_remote *r)
{
	spin_lock(&remotes_lock);
	list_del(&r->link);
	spin_unlock(&remotes_lock);
	xa_erase(&r->obj->remote, r->index);
	free_page((unsigned long)r->pages);
	kfree(r);
}

/* The references of host that the record lacks become its own. */
static void hold(struct kdm_remote *r, struct page **host)
{
	for (unsigned int i = 0; i < DMO_BLOCK_PAGES; i++) {
		if (!host[i] || r->pages[i])
			continue;
		swap(r->pages[i], host[i]);
		r->held++;
		atomic_long_inc(&held_pages);
	}
}

static void put_held(struct kdm_remote *r, unsigned int page)
{
	put_page(r->pages[page]);
	r->pages[page] = NULL;
	r->held--;
	atomic_long_dec(&held_pages);
}

/* What was not entered after all (its mapping is going, the driver has no memory) is not held. */
static void put_unused(struct kdm_remote *r, const struct dmo_block *b)
{
	for (unsigned int i = 0; i < DMO_BLOCK_PAGES; i++)
		if (r->pages[i] && !dmo_bits_test(dmo_block_bits(b, DMO_REMOTE), i))
			put_held(r, i);
	if (!r->held)
		free_record(r);
}

void kdm_remote_drop(struct dmo_block *b, unsigned int first, unsigned int count)
{
	struct kdm_remote *r = xa_load(&kdm_obj_of(b->object)->remote, b->index);

	for (unsigned int i = first; r && i < first + count; i++)
		if (r->pages[i])
			put_held(r, i);
	if (r && !r->held)
		free_record(r);
}

struct page **kdm_remote_pages(const struct dmo_block *b)
{
	struct kdm_remote *r = xa_load(&kdm_obj_of(b->object)->remote, b->index);

	return r->pages;
}

void kdm_remote_fini(struct kdm_obj *obj)
{
	struct kdm_remote *r;
	unsigned long index;

	xa_for_each(&obj->remote, index, r) {
		for (unsigned int i = 0; i < DMO_BLOCK_PAGES; i++)
			if (r->pages[i])
				put_held(r, i);
		free_record(r);
	}
	xa_destroy(&obj->remote);
}

/* ---- finding the pages; the block is MOVING, no lock held ----------------- */

struct page *kdm_host_page(struct kdm_obj *obj, pgoff_t index)
{
	struct address_space *mapping = obj->backing_inode->i_mapping;
	struct mem_cgroup *old = set_active_memcg(obj->memcg);
	struct page *page;

	if (shmem_mapping(mapping))
		page = shmem_read_mapping_page(mapping, index);
	else
		page = read_mapping_page(mapping, index, obj->ro);
	set_active_memcg(old);
	return page;
}

/* Of pages, those that are not in host yet; what can't be read, and is not owed, leaves pages. */
static int read_missing(struct kdm_obj *obj, const struct dmo_plan *plan, u64 *pages, struct page **host)
{
	pgoff_t base = kdm_block_pgoff(plan->block);

	for (unsigned int i = plan->first; i < plan->first + plan->count; i++) {
		struct page *page;

		if (!dmo_bits_test(pages, i) || host[i])
			continue;
		page = kdm_host_page(obj, base + i);
		if (!IS_ERR(page)) {
			mark_page_accessed(page);
			host[i] = page;
			continue;
		}
		if (i == plan->page)
			return PTR_ERR(page);
		dmo_bits_clear(pages, i, 1);
	}
	return 0;
}

/* One request for all that the disk has, instead of one for each page. */
static void read_ahead(struct kdm_obj *obj, const struct dmo_plan *plan)
{
	loff_t start = (u64)(kdm_block_pgoff(plan->block) + plan->first) << PAGE_SHIFT;

	if (plan->count > 1 && !shmem_mapping(obj->backing_inode->i_mapping))
		vfs_fadvise(obj->ro, start, (loff_t)plan->count << PAGE_SHIFT, POSIX_FADV_WILLNEED);
}

int kdm_remote_find(struct kdm_obj *obj, const struct dmo_plan *plan, u64 *pages, struct page **host)
{
	int err = kdm_revoke(obj, plan->block, pages, host);

	if (err)
		return err;
	read_ahead(obj, plan);
	return read_missing(obj, plan, pages, host);
}

int kdm_remote_enter(struct kdm_obj *obj, struct dmo_dev *dev, struct dmo_as *as, struct dmo_block *b,
		     const u64 *pages, struct page **host)
{
	struct kdm_remote *r = xa_load(&obj->remote, b->index);
	unsigned int first, n;
	int err = 0;

	if (!r)
		r = new_record(obj, b->index);
	if (!r)
		return -ENOMEM;
	hold(r, host);
	KDM_FOR_EACH_RUN(pages, first, n) {
		err = kdm_enter_pages(b, dev, as, NULL, first, n, DMO_PROT_READ);
		atomic64_add((u64)n << PAGE_SHIFT, &dev->stats.bytes_remote_mapped);
		if (err)
			break;
	}
	put_unused(r, b);
	atomic64_inc(&dev->stats.remote_maps);
	return err;
}

/* ---- memory is short ------------------------------------------------------ */

/* How many pages of block index were given back; obj->lock held. */
static unsigned long give_back(struct kdm_obj *obj, u64 index)
{
	struct dmo_block *b = dmo_block_find(&obj->core, index);
	unsigned long n = 0;

	if (!b || b->state != DMO_BLOCK_IDLE)
		return 0;
	b->users++;
	if (!dmo_block_open(b)) {
		n = dmo_bits_count(dmo_block_bits(b, DMO_REMOTE));
		kdm_release_remote(b, NULL);
	}
	dmo_block_put(b);
	return n;
}

/* The object of the record that was entered first, with a use and its lock; NULL: it is busy. */
static struct kdm_obj *oldest(u64 *index)
{
	struct kdm_remote *r;
	struct kdm_obj *obj = NULL;

	spin_lock(&remotes_lock);
	r = list_first_entry_or_null(&remotes, struct kdm_remote, link);
	if (r) {
		list_move_tail(&r->link, &remotes);
		*index = r->index;
		obj = mutex_trylock(&r->obj->lock) ? r->obj : NULL;
	}
	if (obj && !atomic_inc_not_zero(&obj->users)) {
		mutex_unlock(&obj->lock);
		obj = NULL;
	}
	spin_unlock(&remotes_lock);
	return obj;
}

static unsigned long count_held(struct shrinker *s, struct shrink_control *sc)
{
	return atomic_long_read(&held_pages);
}

static unsigned long give_some(struct shrinker *s, struct shrink_control *sc)
{
	unsigned int noreclaim = memalloc_noreclaim_save();
	unsigned long given = 0;

	for (unsigned int looked = 0; looked < LOOK_MAX && given < sc->nr_to_scan; looked++) {
		u64 index;
		struct kdm_obj *obj = oldest(&index);

		if (!obj)
			continue;
		given += give_back(obj, index);
		mutex_unlock(&obj->lock);
		kdm_obj_put_later(obj);
	}
	memalloc_noreclaim_restore(noreclaim);
	return given ? given : SHRINK_STOP;
}

int kdm_remote_init(void)
{
	shrinker = shrinker_alloc(0, "dmo-remote");
	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = count_held;
	shrinker->scan_objects = give_some;
	shrinker->batch = DMO_BLOCK_PAGES;
	shrinker_register(shrinker);
	return 0;
}

void kdm_remote_exit(void)
{
	shrinker_free(shrinker);
}
