// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * shrink.c - what only helps is given back when memory is short
 *
 * That is blocks that say nothing but what the CPU may hold and when they were evicted, and pages of the
 * backing file that a device has as well: clean, so that they are read again if the CPU asks. Device memory
 * itself is never evicted here: that would take memory of the host. (Pages of tmpfs leave for swap space
 * only; they are left to the kernel.) Pages that devices read in place: remote.c.
 *
 * Each call goes on in the table of objects where the last one ended. An object that somebody is busy with is
 * left out, and of a large one so many blocks are looked at.
 *
 * Locks: obj->lock, tried; none over the page cache.
 */
#include "internal.h"

#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/shrinker.h>

#define BUCKETS		((unsigned int)BIT(KDM_BUCKET_BITS))
#define OBJECTS_MAX	64	/* looked at in one go */
#define BLOCKS_MAX	256	/* of one object */
#define COPIED_MAX	16	/* of them, whose pages are dropped */

struct pass {
	unsigned long given;	/* blocks and pages */
	unsigned int looked;	/* objects */
	bool fs;		/* filesystems may be called */
};

static struct shrinker *shrinker;
static atomic_t cursor;

/* Forgets blocks; those of which devices have pages go into copied. Their number; obj->lock held. */
static unsigned int forget_blocks(struct kdm_obj *obj, struct pass *p, u64 *copied)
{
	struct dmo_block *b = NULL;
	unsigned int looked, n = 0;
	u64 i = obj->shrunk;

	for (looked = 0; looked < BLOCKS_MAX && n < COPIED_MAX; looked++, i++) {
		b = dmo_radix_next(&obj->core.blocks, &i);
		if (!b)
			break;
		if (b->copies)
			copied[n++] = b->index;
		else
			p->given += dmo_block_forget(b);
	}
	obj->shrunk = b ? i : 0;
	return n;
}

static void visit(struct kdm_obj *obj, void *arg)
{
	struct address_space *mapping = obj->backing_inode->i_mapping;
	u64 copied[COPIED_MAX];
	struct pass *p = arg;
	unsigned int n;

	p->looked++;
	if (!mutex_trylock(&obj->lock))
		return;
	n = forget_blocks(obj, p, copied);
	mutex_unlock(&obj->lock);
	for (unsigned int i = 0; i < n && p->fs && !shmem_mapping(mapping); i++)
		p->given += invalidate_mapping_pages(mapping, copied[i] * DMO_BLOCK_PAGES,
						     (copied[i] + 1) * DMO_BLOCK_PAGES - 1);
}

/* What is held beside the objects counts, too: a guess is all that is wanted. */
static unsigned long count(struct shrinker *s, struct shrink_control *sc)
{
	return kdm_mem_held() / sizeof(struct dmo_block);
}

static unsigned long scan(struct shrinker *s, struct shrink_control *sc)
{
	struct pass p = { .fs = sc->gfp_mask & __GFP_FS };

	for (unsigned int i = 0; i < BUCKETS && p.looked < OBJECTS_MAX && p.given < sc->nr_to_scan; i++)
		kdm_visit_bucket((unsigned int)atomic_inc_return(&cursor) % BUCKETS, visit, &p);
	return p.given ? p.given : SHRINK_STOP;
}

int kdm_shrink_init(void)
{
	shrinker = shrinker_alloc(0, "dmo-blocks");
	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = count;
	shrinker->scan_objects = scan;
	shrinker_register(shrinker);
	return 0;
}

void kdm_shrink_exit(void)
{
	shrinker_free(shrinker);
}
