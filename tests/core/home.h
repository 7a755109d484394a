/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * home.h - a home of the core for tests: one object, everything that a page can be in, and all of it checked
 *
 * A page's content is one u64: two halves, each the number of the write that made it. So equal content means the
 * same writes, and a larger half a later one. A page lies in the backing file, in the kernel's page cache, in frames
 * of devices; `latest` says what a reader must see. Nothing is hidden and nothing waits: what would wait in a real
 * home is a task of events.c that is asked again later.
 *
 *	backing		the file
 *	cache, flags	the kernel's page: PRESENT, written through a mapping (CPU_DIRTY), LOCKED by a request under way
 *	mem		the frames of each device
 *	pte		a page table for each context
 *
 * Devices 0 and 1 compute; 0 has dirty bits, 1 has none and can die; 2 only keeps what the backing file refused.
 * Context 0 and 1 are of device 0, of which 1 maps for reading only, context 2 is of device 1.
 */
#ifndef TESTS_CORE_HOME_H
#define TESTS_CORE_HOME_H

#include "core/plan.h"

#include "testmem.h"

#define HOME_BLOCKS	3u
#define HOME_PAGES	(2 * DMO_BLOCK_PAGES + 96)	/* at most; the object's size changes */
#define HOME_DEVICES	3u
#define HOME_STAGE	2u
#define HOME_MORTAL	1u
#define HOME_CONTEXTS	3u
#define HOME_FRAMES	2000u

enum { HOME_PRESENT = 1, HOME_CPU_DIRTY = 2, HOME_LOCKED = 4 };
enum home_pte_kind { HOME_PTE_NONE, HOME_PTE_READ, HOME_PTE_WRITE, HOME_PTE_REMOTE };

struct home_pte {
	u8 kind;
	bool dirty;
	u32 frame;
};

struct home {
	struct testmem tm;
	struct dmo_object object;
	struct dmo_device dev[HOME_DEVICES];
	bool lost[HOME_DEVICES];	/* dead, not all of its copies buried yet */
	u64 mem[HOME_DEVICES][HOME_FRAMES];
	u64 backing[HOME_PAGES];
	u64 cache[HOME_PAGES];
	u8 flags[HOME_PAGES];
	struct home_pte pte[HOME_CONTEXTS][HOME_PAGES];
	u64 latest[HOME_PAGES];
	bool gone[HOME_PAGES];		/* the latest content died with a device */
	u32 stamp;
	u64 seed;
	u64 number;			/* of the event, for messages */
	const char *event;
};

void home_init(struct home *h, u64 seed);
/* Everything must be settled: no claim, no I/O, no pin. Checks that nothing leaks. */
void home_fini(struct home *h);

/* Ends the program and says why. */
void home_fail(const struct home *h, const char *what, u64 page) __attribute__((noreturn));

u64 home_stamp(struct home *h);			/* new content for a whole page */
static inline u64 home_below(struct home *h, u64 n)
{
	return test_below(&h->seed, n);
}

static inline u64 home_pages(const struct home *h)
{
	return h->object.size >> DMO_PAGE_SHIFT;
}

static inline unsigned home_device_of(unsigned ctx)
{
	return ctx == 2 ? 1 : 0;
}

/* ---- translations ----------------------------------------------------------------------------------- */

/* Takes translations of the block's pages away (or the permission to write), in every context. The block is open. */
void home_release(struct home *h, struct dmo_block *b, const u64 *pages);
void home_wprotect(struct home *h, struct dmo_block *b, const u64 *pages);
/* Enters pages [first, first + count) in context ctx; copy NULL: remote. */
void home_enter(struct home *h, struct dmo_block *b, unsigned ctx, struct dmo_copy *copy, unsigned first,
		unsigned count, bool write);
/* One context lets go of pages, the others keep theirs. The block is open. */
void home_unmap(struct home *h, struct dmo_block *b, unsigned ctx, unsigned first, unsigned count);

/* ---- what the CPU asks for: pages [page, page + count) of the object, in one block that is not MOVING ------------- */

/* *io: the block keeps a count until home_read_end, which gives 0 or -EIO and fills the kernel's pages. */
int home_read_begin(struct home *h, u64 page, unsigned count, bool *io);
int home_read_end(struct home *h, u64 page, unsigned count, bool io);
/* The same for a write of the bits of mask in each page; content: their new value; it breaks after fail pages. */
int home_write_begin(struct home *h, u64 page, unsigned count, bool whole);
void home_write_end(struct home *h, u64 page, unsigned count, u64 content, u64 mask, unsigned fail);
/* The kernel writes a page of a mapping back; what is refused (refuse) goes to the staging device. 0 or -ENOMEM. */
int home_write_back(struct home *h, u64 page, bool refuse);
/* Somebody opens for writing. 0 or -ENOMEM. */
int home_open_writer(struct home *h);

/* ---- the rest ---------------------------------------------------------------------------------------------- */

/* Copies without a valid page go, pinned ones excepted. */
void home_free_empty(struct dmo_block *b);
/* A step of a plan moves its bytes. */
void home_copy_step(struct home *h, const struct dmo_plan *plan, enum dmo_step_kind kind, const struct dmo_step *s);
/* The pages' content is dead: no copy, no translation, and zeros in the backing file. Blocks quiet. -ENOMEM: nothing. */
int home_cut(struct home *h, u64 page, u64 count);
/* The copy on a dead device ends; the block is MOVING and open. */
void home_bury(struct home *h, struct dmo_block *b, struct dmo_device *d);

/* Everything that must hold between two steps. */
void home_check(struct home *h);

#endif
