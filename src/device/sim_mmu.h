/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_mmu.h - one address space's page table
 *
 * A radix tree of three levels of 512 over 48-bit addresses whose last level holds blocks of 2 MiB; a block is one
 * translation (linear: page i lies at base + i pages) with a bit for each page, or 512 of them. Entering an aligned
 * 2 MiB run of consecutive frames, or taking it away, touches a few words, not 512 entries.
 *
 * A translation is a host address: of the device's own memory, or of the remote page that stays on the host.
 *
 * Accessed and dirty bits are kept for each 4 KiB, in both kinds of block. They are set with atomic operations by
 * compute threads while they hold a lease (sim_exec.h), everything else is under the table's lock.
 */
#ifndef DMO_SIM_MMU_H
#define DMO_SIM_MMU_H

#include <dmo/backend.h>
#include <pthread.h>
#include <stdatomic.h>

#define SIM_VA_START	0x10000ull
#define SIM_VA_END	(1ull << 48)
#define SIM_BLOCK_PAGES	512u
#define SIM_BLOCK_WORDS	(SIM_BLOCK_PAGES / 64)

/* 2 MiB of addresses. */
struct sim_block {
	uintptr_t base;			/* linear: where page 0 is or would be; flag SIM_REMOTE in bit 0 */
	uintptr_t *pages;		/* not linear: where each page is, same flag; NULL: linear */
	uint64_t *bits;			/* each page's opaque device bits; NULL: all zero */
	uint64_t readable[SIM_BLOCK_WORDS];
	uint64_t writable[SIM_BLOCK_WORDS];
	_Atomic uint64_t accessed[SIM_BLOCK_WORDS];
	_Atomic uint64_t dirty[SIM_BLOCK_WORDS];
};

#define SIM_REMOTE ((uintptr_t)1)

struct sim_mmu {
	pthread_mutex_t lock;		/* protects the tree and the blocks but for accessed and dirty */
	void **root;			/* 512 -> 512 -> 512 -> struct sim_block */
};

/* Consecutive pages that lie at consecutive addresses, as a walk finds them. */
struct sim_run_of_pages {
	uint64_t va, end;		/* within one block */
	uintptr_t at;			/* where va is */
	bool writable, remote;
	struct sim_block *block;
};

int sim_mmu_init(struct sim_mmu *mmu);
/* Frees the tree; what was entered is forgotten. */
void sim_mmu_reset(struct sim_mmu *mmu);
void sim_mmu_destroy(struct sim_mmu *mmu);

/*
 * Enters a run whose translations are memory at target (remote: host memory). *replaced says whether something
 * else stood there. Dirty and accessed bits are kept where the same page is entered again, else cleared.
 * -ENOMEM: nothing was entered.
 */
int sim_mmu_enter(struct sim_mmu *mmu, const struct dmo_pte_run *run, uintptr_t target, bool *replaced);

/* Takes translations away, or with DMO_RELEASE_WPROTECT only the permission to write. */
void sim_mmu_clear(struct sim_mmu *mmu, uint64_t va, uint32_t pages, uint32_t flags);

/* Moves the dirty bits of pages into dirty (NULL: drops them). Accessed bits go too, unless flags say WPROTECT. */
void sim_mmu_harvest(struct sim_mmu *mmu, uint64_t va, uint32_t pages, uint32_t flags, uint64_t *dirty);

/* True when one of the pages was accessed; forgets it. */
bool sim_mmu_accessed(struct sim_mmu *mmu, uint64_t va, uint32_t pages);

/* Finds the run that va is in. False where nothing is entered that allows the access. */
bool sim_mmu_walk(struct sim_mmu *mmu, uint64_t va, bool write, struct sim_run_of_pages *run);

/* What was entered for a page: its protection (0: nothing) and its opaque device bits. */
uint32_t sim_mmu_look(struct sim_mmu *mmu, uint64_t va, uint64_t *bits);

/* Sets accessed (and dirty) for the pages of [va, va + bytes), which lie in block. */
void sim_block_mark(struct sim_block *block, uint64_t va, uint64_t bytes, bool write);

#endif
