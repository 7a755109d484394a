// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * core.c - how fast the core's data structures are, as one JSON object
 *
 * Figures are million operations a second, the best of a few rounds, on one thread, in states that a busy service
 * would be in: a device three quarters full, an object with a thousand ranges of advice, a space with many scattered
 * pages. No locks and no copies: what the core itself costs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/attr.h"
#include "core/phys.h"
#include "core/plan.h"
#include "core/space.h"

#define PAGE		((u64)DMO_PAGE_SIZE)
#define ROUNDS		3			/* at least */
#define SECONDS		0.3			/* for each figure, at least */
#define N		100000u			/* operations in a round */
#define CHUNKS		12288u			/* of 2 MiB: three quarters of 32 GiB */
#define DEVICE_PAGES	(32ull << 30 >> DMO_PAGE_SHIFT)
#define RANGES		1000u			/* of advice */
#define SPREAD		(64ull << 30 >> DMO_PAGE_SHIFT)	/* pages over which mappings are scattered */
#define VA_START	(1ull << 32)

static u64 mem_bytes;			/* what the core holds */

static void *mem_alloc(void *ctx, size_t size)
{
	mem_bytes += size;
	return calloc(1, size);
}

static void mem_free(void *ctx, void *p, size_t size)
{
	mem_bytes -= size;
	free(p);
}

static const struct dmo_mem mem = { mem_alloc, mem_free, NULL };
static u64 seed = 1;
static u64 sink;			/* keeps results alive */

static u64 random_below(u64 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u64)((unsigned __int128)seed * n >> 64);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(int err)
{
	if (!err)
		return;
	fprintf(stderr, "bench/core: unexpected error %d\n", err);
	exit(1);
}

/* Runs a round, which returns how many operations it did, a few times: the best, in millions a second. */
static double best(u64 (*round)(void))
{
	double most = 0, begin = seconds();

	for (int i = 0; i < ROUNDS || seconds() - begin < SECONDS; i++) {
		double start = seconds();
		double rate = (double)round() / (seconds() - start) / 1e6;

		most = rate > most ? rate : most;
	}
	return most;
}

/* ---- device memory ---------------------------------------------------------------------------------- */

static struct dmo_phys phys;
static u32 frames[CHUNKS];

static u64 phys_steady(void)
{
	for (u64 i = 0; i < N; i++) {
		u32 *f = &frames[random_below(CHUNKS)];

		dmo_phys_free(&phys, *f, DMO_PHYS_ORDER_BLOCK);
		must(dmo_phys_alloc(&phys, DMO_PHYS_ORDER_BLOCK, f));
	}
	return N;
}

static u64 phys_fill_and_empty(void)
{
	for (u32 i = 0; i < CHUNKS; i++)
		must(dmo_phys_alloc(&phys, DMO_PHYS_ORDER_BLOCK, &frames[i]));
	for (u32 i = 0; i < CHUNKS; i++)
		dmo_phys_free(&phys, frames[i], DMO_PHYS_ORDER_BLOCK);
	return CHUNKS;
}

/* One chunk in an empty device: each splits a gigabyte down and joins it up again. */
static u64 phys_worst(void)
{
	u32 f;

	for (u64 i = 0; i < N; i++) {
		must(dmo_phys_alloc(&phys, DMO_PHYS_ORDER_BLOCK, &f));
		dmo_phys_free(&phys, f, DMO_PHYS_ORDER_BLOCK);
	}
	return N;
}

static double phys_each;		/* bytes of the allocator for each page of device memory */

static void bench_phys(void)
{
	must(dmo_phys_init(&phys, &mem, DEVICE_PAGES));
	printf("  \"buddy_2m_fill_and_empty_mops\": %.1f,\n", best(phys_fill_and_empty));
	printf("  \"buddy_2m_alloc_free_worst_mops\": %.1f,\n", best(phys_worst));
	for (u32 i = 0; i < CHUNKS; i++)
		must(dmo_phys_alloc(&phys, DMO_PHYS_ORDER_BLOCK, &frames[i]));
	printf("  \"buddy_2m_alloc_free_mops\": %.1f,\n", best(phys_steady));
	phys_each = (double)dmo_phys_metadata(&phys) / (double)DEVICE_PAGES;
	dmo_phys_fini(&phys);
}

/* ---- attributes ------------------------------------------------------------------------------------- */

static struct dmo_attrs attrs;

/*
 * Advice on a random page, one of twenty kinds of ranges, or its opposite: splits, merges and changes in
 * place.
 */
static u64 attr_set(void)
{
	struct dmo_advise cold = { .advice = DMO_ADV_COLD }, normal = { .advice = DMO_ADV_NORMAL };

	for (u64 i = 0; i < N; i++) {
		u64 page = random_below(RANGES) * 8 + 3;

		must(dmo_attrs_advise(&attrs, &mem, page, page, random_below(2) ? &cold : &normal));
	}
	return N;
}

static u64 attr_get(void)
{
	struct dmo_attr v;

	for (u64 i = 0; i < N; i++) {
		dmo_attrs_get(&attrs, random_below(RANGES * 8), &v, NULL);
		sink += v.flags;
	}
	return N;
}

static void bench_attrs(void)
{
	struct dmo_advise advice = { .advice = DMO_ADV_PREFERRED };

	dmo_attrs_init(&attrs);
	for (u64 i = 0; i < RANGES; i++)
		must(dmo_attrs_advise(&attrs, &mem, i * 8, i * 8 + 5, &advice));
	printf("  \"attribute_set_mops\": %.2f,\n", best(attr_set));
	printf("  \"attribute_get_mops\": %.1f,\n", best(attr_get));
	dmo_attrs_fini(&attrs, &mem);
}

/* ---- residency -------------------------------------------------------------------------------------- */

static struct dmo_device device;
static struct dmo_object object;

/* Takes the pages [first, first + count) of a block to the device, by a plan, as a home does. */
static void make_resident(u64 index, unsigned first, unsigned count, bool write)
{
	struct dmo_block *b = dmo_block_get(&object, index);
	struct dmo_plan plan = { .block = b, .dev = &device, .write = write, .first = first, .count = count,
				 .page = first };
	struct dmo_copy *c;

	must(b ? dmo_block_open(b) : -1);
	c = dmo_block_add_copy(b, &device);
	must(c ? dmo_copy_reserve(c, object.mem, first, count) : -1);
	must(!dmo_block_claim(b));
	dmo_block_set_cpu(b, first, count, false);
	must(dmo_plan_access(&plan));
	must(!dmo_block_move(b));
	dmo_plan_copies(&plan);
	dmo_plan_commit(&plan);
	dmo_block_mapped(b, first, count, write, false);
	dmo_block_release(b);
	dmo_block_put(b);
}

static void device_start(void)
{
	mem_bytes = 0;
	must(dmo_device_init(&device, &mem, 0, DEVICE_PAGES));
	dmo_object_init(&object, &mem, 1ull << 50);
}

/*
 * Frees all copies and blocks. Returns bytes of metadata for each page of device memory in use, the
 * allocator's apart.
 */
static double device_stop(void)
{
	double each = (double)(mem_bytes - device.phys.nwords * sizeof(u64)) / (double)device.used;
	struct dmo_block *b;

	for (u64 i = 0; (b = dmo_radix_next(&object.blocks, &i)); i++) {
		b = dmo_block_get(&object, i);
		must(dmo_block_open(b));
		dmo_block_unmapped(b, 0, DMO_BLOCK_PAGES, NULL);
		dmo_block_drop(b, 0, DMO_BLOCK_PAGES);
		while (b->copies)
			dmo_copy_free(b->copies);
		dmo_block_set_cpu(b, 0, DMO_BLOCK_PAGES, true);
		dmo_block_put(b);
	}
	dmo_object_fini(&object);
	dmo_device_fini(&device);
	must(mem_bytes != 0);
	return each;
}

/* From a page of an object to the frame that holds it. */
static u64 residency_lookup(void)
{
	for (u64 i = 0; i < N; i++) {
		u64 page = random_below(DEVICE_PAGES);
		struct dmo_block *b = dmo_block_find(&object, page / DMO_BLOCK_PAGES);
		struct dmo_copy *c = dmo_page_copy(b, page % DMO_BLOCK_PAGES);
		u32 frame = 0;

		dmo_copy_run(c, page % DMO_BLOCK_PAGES, 1, &frame);
		sink += frame;
	}
	return N;
}

/*
 * The device full of whole blocks; and the worst case, a page that is alone in its block, in a chunk of
 * 4 KiB, written to. Bytes of metadata are for each page in device memory, the allocator's among them.
 */
static void bench_residency(void)
{
	device_start();
	for (u64 i = 0; i < DEVICE_PAGES / DMO_BLOCK_PAGES; i++)
		make_resident(i, 0, DMO_BLOCK_PAGES, i & 1);
	printf("  \"residency_lookup_mops\": %.1f,\n", best(residency_lookup));
	printf("  \"metadata_bytes_per_page\": %.4f,\n", phys_each + device_stop());
	device_start();
	for (u64 i = 0; i < N; i++)
		make_resident(i, random_below(DMO_BLOCK_PAGES), 1, true);
	printf("  \"metadata_worst_bytes_per_page\": %.1f,\n", phys_each + device_stop());
}

/* ---- spaces ----------------------------------------------------------------------------------------- */

static struct dmo_itree rmap;
static struct dmo_space space;
static u64 *slots;			/* addresses mapped; 0: none */
static u64 live;

static struct dmo_itree *rmap_of(void *o)
{
	return o;
}

static const struct dmo_space_ops ops = { .rmap = rmap_of };

static struct dmo_space_request page_request(u64 va, u64 offset)
{
	return (struct dmo_space_request){
		.object = &rmap, .va = va, .length = PAGE, .offset = offset, .prot = DMO_PROT_READ,
		.flags = DMO_MAP_FIXED | DMO_MAP_REPLACE,
	};
}

static u64 map_sequential(void)
{
	u64 va;

	for (u64 i = 0; i < N; i++) {
		struct dmo_space_request r = page_request(VA_START + i * PAGE, i * PAGE);

		must(dmo_space_map(&space, &r, &va));
	}
	must(dmo_space_unmap(&space, VA_START, N * PAGE));
	return N;
}

/* Unmaps one of the pages that are mapped and maps another one, anywhere in the spread. */
static u64 remap_scattered(void)
{
	for (u64 i = 0; i < N; i++) {
		u64 *slot = &slots[random_below(live)];
		struct dmo_space_request r = page_request(VA_START + random_below(SPREAD) * PAGE,
							  random_below(SPREAD) * PAGE);

		must(dmo_space_unmap(&space, *slot, PAGE));
		must(dmo_space_map(&space, &r, slot));
	}
	return N;
}

static u64 find_address(void)
{
	for (u64 i = 0; i < N; i++)
		sink += dmo_space_find(&space, slots[random_below(live)]) != NULL;
	return N;
}

static u64 find_reverse(void)
{
	for (u64 i = 0; i < N; i++) {
		u64 at = random_below(SPREAD) * PAGE;

		sink += dmo_rmap_first(&rmap, at, at + PAGE - 1) != NULL;
	}
	return N;
}

static void bench_space(u64 pages)
{
	live = pages;
	slots = calloc(pages, sizeof(*slots));
	dmo_space_init(&space, &mem, &ops, VA_START, VA_START + SPREAD * PAGE);
	for (u64 i = 0; i < pages; i++) {
		struct dmo_space_request r = page_request(VA_START + random_below(SPREAD) * PAGE,
							  random_below(SPREAD) * PAGE);

		must(dmo_space_map(&space, &r, &slots[i]));
	}
	printf("  \"scattered_%llu_map_unmap_mops\": %.2f,\n", (unsigned long long)pages, best(remap_scattered));
	printf("  \"scattered_%llu_find_mops\": %.2f,\n", (unsigned long long)pages, best(find_address));
	printf("  \"scattered_%llu_rmap_find_mops\": %.2f,\n", (unsigned long long)pages, best(find_reverse));
	dmo_space_fini(&space);
	free(slots);
}

int main(void)
{
	printf("{\n");
	bench_phys();
	bench_attrs();
	bench_residency();
	dmo_space_init(&space, &mem, &ops, VA_START, VA_START + SPREAD * PAGE);
	printf("  \"sequential_map_mops\": %.1f,\n", best(map_sequential));
	dmo_space_fini(&space);
	bench_space(1000);
	bench_space(65536);
	bench_space(1000000);
	printf("  \"mapping_bytes\": %zu\n}\n", sizeof(struct dmo_mapping));
	return sink == 42;
}
