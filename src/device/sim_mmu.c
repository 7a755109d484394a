/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_mmu.c - the page table
 *
 * Blocks are never freed before the address space goes, so that a compute thread may keep a pointer to one in its
 * TLB. A block starts linear. An entry that does not continue its base turns it into 512 translations, for good
 * unless the whole block is entered anew; only that needs memory, so taking translations away can't fail.
 *
 *	linear:  base ----> [ ........ 2 MiB ........ ]    readable/writable say which pages are there
 *	pages:   pages[i] -> anywhere, page by page
 */
#include "sim_mmu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NODE_BITS	9
#define NODE_SIZE	(1u << NODE_BITS)
#define LEVELS		3

/* The part of a request that falls into one block. */
struct piece {
	uint64_t va;		/* of its first page */
	unsigned first, count;	/* pages of the block */
	uint32_t done;		/* pages of the request that lie before it */
};

static bool next_piece(uint64_t va, uint32_t pages, struct piece *piece)
{
	uint32_t done = piece->done + piece->count;

	if (done >= pages)
		return false;
	piece->done = done;
	piece->va = va + (uint64_t)done * DMO_PAGE_SIZE;
	piece->first = (piece->va >> DMO_PAGE_SHIFT) % SIM_BLOCK_PAGES;
	piece->count = SIM_BLOCK_PAGES - piece->first;
	if (piece->count > pages - done)
		piece->count = pages - done;
	return true;
}

#define for_each_piece(piece, va, pages) \
	for (struct piece piece = { 0 }; next_piece(va, pages, &piece);)

/* Which of the 64 pages that word w of a block stands for lie in [first, first + count). */
static uint64_t word_mask(unsigned w, unsigned first, unsigned count)
{
	unsigned low = w * 64, from, to;

	from = first > low ? first - low : 0;
	to = first + count < low + 64 ? first + count - low : 64;
	return (~0ull >> (64 - (to - from))) << from;
}

#define for_each_word(w, first, count) \
	for (unsigned w = (first) / 64; w <= ((first) + (count) - 1) / 64; w++)

static unsigned node_index(uint64_t va, int level)
{
	return (va >> (DMO_BLOCK_SHIFT + (LEVELS - 1 - level) * NODE_BITS)) % NODE_SIZE;
}

static struct sim_block *find_block(struct sim_mmu *mmu, uint64_t va)
{
	void **node = mmu->root;

	for (int level = 0; node && level < LEVELS; level++)
		node = node[node_index(va, level)];
	return (struct sim_block *)node;
}

static struct sim_block *make_block(struct sim_mmu *mmu, uint64_t va)
{
	void **slot = (void **)&mmu->root;

	for (int level = 0; level <= LEVELS; level++) {
		if (!*slot)
			*slot = level < LEVELS ? calloc(NODE_SIZE, sizeof(void *)) : calloc(1, sizeof(struct sim_block));
		if (!*slot)
			return NULL;
		if (level < LEVELS)
			slot = &((void **)*slot)[node_index(va, level)];
	}
	return *slot;
}

static void free_node(void **node, int level)
{
	if (!node)
		return;
	if (level == LEVELS) {
		free(((struct sim_block *)node)->pages);
		free(((struct sim_block *)node)->bits);
	} else {
		for (unsigned i = 0; i < NODE_SIZE; i++)
			free_node(node[i], level + 1);
	}
	free(node);
}

int sim_mmu_init(struct sim_mmu *mmu)
{
	mmu->root = NULL;
	return -pthread_mutex_init(&mmu->lock, NULL);
}

void sim_mmu_reset(struct sim_mmu *mmu)
{
	pthread_mutex_lock(&mmu->lock);
	free_node(mmu->root, 0);
	mmu->root = NULL;
	pthread_mutex_unlock(&mmu->lock);
}

void sim_mmu_destroy(struct sim_mmu *mmu)
{
	sim_mmu_reset(mmu);
	pthread_mutex_destroy(&mmu->lock);
}

static bool has(const uint64_t *set, unsigned page)
{
	return set[page / 64] >> (page % 64) & 1;
}

static bool any(const uint64_t *set, unsigned first, unsigned count)
{
	for_each_word(w, first, count) {
		if (set[w] & word_mask(w, first, count))
			return true;
	}
	return false;
}

static void assign(uint64_t *set, unsigned first, unsigned count, bool value)
{
	for_each_word(w, first, count) {
		if (value)
			set[w] |= word_mask(w, first, count);
		else
			set[w] &= ~word_mask(w, first, count);
	}
}

/* Translation of a page that is entered. */
static uintptr_t page_at(const struct sim_block *block, unsigned page)
{
	return block->pages ? block->pages[page] : block->base + (uintptr_t)page * DMO_PAGE_SIZE;
}

static bool entered(const struct sim_block *block, unsigned page)
{
	return has(block->readable, page) || has(block->writable, page);
}

static bool empty_but(const struct sim_block *block, unsigned first, unsigned count)
{
	for (unsigned w = 0; w < SIM_BLOCK_WORDS; w++) {
		uint64_t rest = block->readable[w] | block->writable[w];

		if (w >= first / 64 && w <= (first + count - 1) / 64)
			rest &= ~word_mask(w, first, count);
		if (rest)
			return false;
	}
	return true;
}

/* Gives the block 512 translations. */
static int make_pages(struct sim_block *block)
{
	uintptr_t *pages;

	if (block->pages)
		return 0;
	pages = malloc(SIM_BLOCK_PAGES * sizeof(*pages));
	if (!pages)
		return -ENOMEM;
	for (unsigned i = 0; i < SIM_BLOCK_PAGES; i++)
		pages[i] = block->base + (uintptr_t)i * DMO_PAGE_SIZE;
	block->pages = pages;
	return 0;
}

/* Gets everything that entering the piece needs, and changes no translation. */
static int prepare(struct sim_mmu *mmu, const struct piece *piece, uintptr_t base, uint64_t bits)
{
	struct sim_block *block = make_block(mmu, piece->va);

	if (!block)
		return -ENOMEM;
	if (bits && !block->bits)
		block->bits = calloc(SIM_BLOCK_PAGES, sizeof(*block->bits));
	if (bits && !block->bits)
		return -ENOMEM;
	if (!block->pages && (block->base == base || empty_but(block, piece->first, piece->count)))
		return 0;
	if (block->pages && piece->count == SIM_BLOCK_PAGES)
		return 0;
	return make_pages(block);
}

/* Forgets accessed and dirty where a page that differs stands in the way. */
static bool clear_replaced(struct sim_block *block, const struct piece *piece, uintptr_t base)
{
	bool replaced = false;

	if (!any(block->readable, piece->first, piece->count) && !any(block->writable, piece->first, piece->count))
		return false;
	if (!block->pages && block->base == base)
		return false;
	for (unsigned i = piece->first; i < piece->first + piece->count; i++) {
		if (!entered(block, i) || page_at(block, i) == base + (uintptr_t)i * DMO_PAGE_SIZE)
			continue;
		replaced = true;
		atomic_fetch_and(&block->accessed[i / 64], ~(1ull << (i % 64)));
		atomic_fetch_and(&block->dirty[i / 64], ~(1ull << (i % 64)));
	}
	return replaced;
}

static void set_translation(struct sim_block *block, const struct piece *piece, uintptr_t base)
{
	if (piece->count == SIM_BLOCK_PAGES) {
		free(block->pages);
		block->pages = NULL;
	}
	if (!block->pages) {
		block->base = base;
		return;
	}
	for (unsigned i = piece->first; i < piece->first + piece->count; i++)
		block->pages[i] = base + (uintptr_t)i * DMO_PAGE_SIZE;
}

static void set_bits(struct sim_block *block, const struct piece *piece, uint64_t bits)
{
	for (unsigned i = piece->first; block->bits && i < piece->first + piece->count; i++)
		block->bits[i] = bits;
}

/* Where page 0 of the piece's block would be. */
static uintptr_t base_of(const struct piece *piece, uintptr_t target)
{
	return target + (uintptr_t)piece->done * DMO_PAGE_SIZE - (uintptr_t)piece->first * DMO_PAGE_SIZE;
}

static bool enter_piece(struct sim_mmu *mmu, const struct piece *piece, const struct dmo_pte_run *run, uintptr_t base)
{
	struct sim_block *block = find_block(mmu, piece->va);
	bool lowered = any(block->writable, piece->first, piece->count) && !(run->prot & DMO_PROT_WRITE);
	bool replaced = clear_replaced(block, piece, base);

	set_translation(block, piece, base);
	set_bits(block, piece, run->bits);
	assign(block->readable, piece->first, piece->count, run->prot & DMO_PROT_READ);
	assign(block->writable, piece->first, piece->count, (run->prot & DMO_PROT_WRITE) && !run->host);
	return replaced || lowered;
}

int sim_mmu_enter(struct sim_mmu *mmu, const struct dmo_pte_run *run, uintptr_t target, bool *replaced)
{
	int err = 0;

	*replaced = false;
	if (run->host)
		target |= SIM_REMOTE;
	pthread_mutex_lock(&mmu->lock);
	for_each_piece(piece, run->va, run->pages) {
		err = prepare(mmu, &piece, base_of(&piece, target), run->bits);
		if (err)
			goto out;
	}
	for_each_piece(piece, run->va, run->pages)
		*replaced |= enter_piece(mmu, &piece, run, base_of(&piece, target));
out:
	pthread_mutex_unlock(&mmu->lock);
	return err;
}

void sim_mmu_clear(struct sim_mmu *mmu, uint64_t va, uint32_t pages, uint32_t flags)
{
	struct sim_block *block;

	pthread_mutex_lock(&mmu->lock);
	for_each_piece(piece, va, pages) {
		block = find_block(mmu, piece.va);
		if (!block)
			continue;
		assign(block->writable, piece.first, piece.count, false);
		if (!(flags & DMO_RELEASE_WPROTECT))
			assign(block->readable, piece.first, piece.count, false);
	}
	pthread_mutex_unlock(&mmu->lock);
}

/* Sets count bits of out, from bit at on, to the bits of set from first on, and clears those in set. */
static void take_bits(_Atomic uint64_t *set, unsigned first, unsigned count, uint64_t *out, uint32_t at)
{
	uint64_t mask, word;

	for_each_word(w, first, count) {
		mask = word_mask(w, first, count);
		word = atomic_fetch_and(&set[w], ~mask) & mask;
		while (out && word) {
			uint32_t bit = at + w * 64 + (unsigned)__builtin_ctzll(word) - first;

			out[bit / 64] |= 1ull << (bit % 64);
			word &= word - 1;
		}
	}
}

void sim_mmu_harvest(struct sim_mmu *mmu, uint64_t va, uint32_t pages, uint32_t flags, uint64_t *dirty)
{
	struct sim_block *block;

	if (dirty)
		memset(dirty, 0, (pages + 63) / 64 * sizeof(*dirty));
	pthread_mutex_lock(&mmu->lock);
	for_each_piece(piece, va, pages) {
		block = find_block(mmu, piece.va);
		if (!block)
			continue;
		if (dirty || !(flags & DMO_RELEASE_WPROTECT))
			take_bits(block->dirty, piece.first, piece.count, dirty, piece.done);
		if (!(flags & DMO_RELEASE_WPROTECT))
			take_bits(block->accessed, piece.first, piece.count, NULL, 0);
	}
	pthread_mutex_unlock(&mmu->lock);
}

bool sim_mmu_accessed(struct sim_mmu *mmu, uint64_t va, uint32_t pages)
{
	struct sim_block *block;
	uint64_t found = 0, mask;

	pthread_mutex_lock(&mmu->lock);
	for_each_piece(piece, va, pages) {
		block = find_block(mmu, piece.va);
		for_each_word(w, piece.first, piece.count) {
			if (!block)
				break;
			mask = word_mask(w, piece.first, piece.count);
			found |= atomic_fetch_and(&block->accessed[w], ~mask) & mask;
		}
	}
	pthread_mutex_unlock(&mmu->lock);
	return found;
}

/* The first page from page on that is not in set; SIM_BLOCK_PAGES: none. */
static unsigned first_missing(const uint64_t *set, unsigned page)
{
	unsigned w = page / 64;
	uint64_t missing = ~set[w] & (~0ull << (page % 64));

	while (!missing) {
		if (++w == SIM_BLOCK_WORDS)
			return SIM_BLOCK_PAGES;
		missing = ~set[w];
	}
	return w * 64 + (unsigned)__builtin_ctzll(missing);
}

static unsigned run_end(const struct sim_block *block, unsigned page, bool write)
{
	unsigned end = first_missing(write ? block->writable : block->readable, page);
	unsigned i = page + 1;

	if (!block->pages)
		return end;
	while (i < end && block->pages[i] == block->pages[i - 1] + DMO_PAGE_SIZE)
		i++;
	return i;
}

static bool walk_block(struct sim_block *block, uint64_t va, bool write, struct sim_run_of_pages *run)
{
	unsigned page = (va >> DMO_PAGE_SHIFT) % SIM_BLOCK_PAGES;
	uintptr_t at;

	if (!block || !has(write ? block->writable : block->readable, page))
		return false;
	at = page_at(block, page);
	run->va = va & ~(uint64_t)(DMO_PAGE_SIZE - 1);
	run->end = run->va + (uint64_t)(run_end(block, page, write) - page) * DMO_PAGE_SIZE;
	run->at = at & ~SIM_REMOTE;
	run->writable = write;
	run->remote = at & SIM_REMOTE;
	run->block = block;
	return true;
}

bool sim_mmu_walk(struct sim_mmu *mmu, uint64_t va, bool write, struct sim_run_of_pages *run)
{
	bool found;

	pthread_mutex_lock(&mmu->lock);
	found = walk_block(find_block(mmu, va), va, write, run);
	pthread_mutex_unlock(&mmu->lock);
	return found;
}

uint32_t sim_mmu_look(struct sim_mmu *mmu, uint64_t va, uint64_t *bits)
{
	unsigned page = (va >> DMO_PAGE_SHIFT) % SIM_BLOCK_PAGES;
	struct sim_block *block;
	uint32_t prot = 0;

	pthread_mutex_lock(&mmu->lock);
	block = find_block(mmu, va);
	*bits = block && block->bits ? block->bits[page] : 0;
	if (block && has(block->readable, page))
		prot |= DMO_PROT_READ;
	if (block && has(block->writable, page))
		prot |= DMO_PROT_WRITE;
	pthread_mutex_unlock(&mmu->lock);
	return prot;
}

void sim_block_mark(struct sim_block *block, uint64_t va, uint64_t bytes, bool write)
{
	unsigned first = (va >> DMO_PAGE_SHIFT) % SIM_BLOCK_PAGES;
	unsigned last = ((va + bytes - 1) >> DMO_PAGE_SHIFT) % SIM_BLOCK_PAGES;
	uint64_t mask;

	for_each_word(w, first, last - first + 1) {
		mask = word_mask(w, first, last - first + 1);
		if ((atomic_load_explicit(&block->accessed[w], memory_order_relaxed) & mask) != mask)
			atomic_fetch_or_explicit(&block->accessed[w], mask, memory_order_relaxed);
		if (write && (atomic_load_explicit(&block->dirty[w], memory_order_relaxed) & mask) != mask)
			atomic_fetch_or_explicit(&block->dirty[w], mask, memory_order_relaxed);
	}
}
