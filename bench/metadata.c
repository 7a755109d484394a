/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * metadata.c - bytes of the core's memory for each 4 KiB of device memory, as one JSON object
 *
 * A 1 GiB device filled by objects: in chunks of 2 MiB, all pages alike; and, the worst case, in chunks of 4 KiB whose
 * pages are every second one of two objects, so that no bitmap is uniform and no chunks join.
 */
#include "core/object.h"
#include "core/plan.h"

#include <stdio.h>
#include <stdlib.h>

#define FRAMES	(1ull << 18)
#define BLOCKS	(FRAMES / DMO_BLOCK_PAGES)

static void *mem_alloc(void *ctx, size_t size)
{
	return calloc(1, size);
}

static void mem_free(void *ctx, void *p, size_t size)
{
	free(p);
}

static const struct dmo_mem mem = { mem_alloc, mem_free, NULL };

static void must(int err)
{
	if (!err)
		return;
	fprintf(stderr, "bench/metadata: unexpected error %d\n", err);
	exit(1);
}

/* Puts pages first, first + step ... of a block on the device, each run of pages in chunks as they come. */
static void fill(struct dmo_object *o, struct dmo_device *d, u64 index, unsigned first, unsigned step, unsigned pages)
{
	struct dmo_block *b = dmo_block_get(o, index);
	struct dmo_copy *c;
	u64 *valid;

	must(!b || dmo_block_open(b));
	c = dmo_block_copy(b, d);
	if (!c)
		c = dmo_block_add_copy(b, d);
	must(!c);
	for (unsigned page = first; page < DMO_BLOCK_PAGES; page += step) {
		must(dmo_copy_reserve(c, &mem, page, pages));
		valid = dmo_rows_row(&c->rows, DMO_VALID);
		for (unsigned i = page; i < page + pages; i++)
			valid[i / 64] |= 1ull << (i % 64);
	}
	dmo_block_put(b);
}

static double a_page(const struct dmo_device *d, const struct dmo_object *one, const struct dmo_object *two)
{
	size_t bytes = dmo_phys_metadata(&d->phys) + dmo_object_metadata(one) + dmo_object_metadata(two);

	return (double)bytes / (double)d->used;
}

static double measure(bool worst)
{
	struct dmo_object one, two;
	struct dmo_device dev;

	must(dmo_device_init(&dev, &mem, 0, FRAMES));
	dmo_object_init(&one, &mem, 2 * FRAMES * DMO_PAGE_SIZE);
	dmo_object_init(&two, &mem, 2 * FRAMES * DMO_PAGE_SIZE);
	for (u64 index = 0; index < BLOCKS; index++) {
		fill(&one, &dev, index, 0, worst ? 2 : DMO_BLOCK_PAGES, worst ? 1 : DMO_BLOCK_PAGES);
		if (worst)
			fill(&two, &dev, index, 1, 2, 1);
	}
	return a_page(&dev, &one, &two);
}

int main(void)
{
	printf("{\n  \"bytes_per_page\": %.4f,\n", measure(false));
	printf("  \"worst_bytes_per_page\": %.2f\n}\n", measure(true));
	return 0;
}
