// SPDX-License-Identifier: GPL-2.0-or-later
/* shrink.c - what the module gives back when memory is short: what is only remembered, and what a device has as well */
#include "kit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCKS	64

static uint64_t metadata(void)
{
	char text[32] = "";
	FILE *f = fopen("/sys/class/misc/dmo-control/metadata", "r");

	yes(f);
	yes(fgets(text, sizeof(text), f));
	fclose(f);
	return strtoull(text, NULL, 10);
}

static void what_is_remembered_of_evicted_blocks_is_given_back(void)
{
	uint32_t dev = sim();
	int fd = fresh(BLOCKS * BLOCK);
	uint64_t before = metadata(), after;

	for (unsigned int i = 0; i < BLOCKS; i++)
		eq(migrate(fd, i * BLOCK, PAGE, dev), 0);
	eq(migrate(fd, 0, 0, DMO_DEVICE_HOST), 0);
	after = metadata();
	yes(after > before + BLOCKS * 64);
	drop_caches("2");
	yes(metadata() <= before + 1024);
	eq(migrate(fd, 0, PAGE, dev), 0);
	eq(resident(fd, dev), PAGE);
}

static void what_is_known_of_resident_blocks_is_kept(void)
{
	uint32_t dev = sim();
	int fd = fresh(4 * BLOCK);
	char *at = map(fd, 4 * BLOCK), *buf = malloc(4 * BLOCK);

	pattern(at, 0, 4 * BLOCK, 1);
	eq(migrate(fd, 0, 4 * BLOCK, dev), 0);
	drop_caches("2");
	eq(resident(fd, dev), 4 * BLOCK);
	eq(pread(fd, buf, 4 * BLOCK, 0), 4 * BLOCK);
	eq(differs(buf, 0, 4 * BLOCK, 1), 4 * BLOCK);
}

static void pages_that_a_device_has_as_well_leave_the_page_cache(void)
{
	uint32_t dev = sim();
	int back = disk_file(2 * BLOCK), fd;
	char *buf = malloc(2 * BLOCK);

	pattern(buf, 0, 2 * BLOCK, 1);
	eq(pwrite(back, buf, 2 * BLOCK, 0), 2 * BLOCK);
	sys(fsync(back));
	fd = object_over(back);
	eq(migrate(fd, 0, BLOCK, dev), 0);
	yes(is_cached(back, 0));
	yes(is_cached(back, BLOCK));
	drop_caches("2");
	yes(!is_cached(back, 0));
	yes(is_cached(back, BLOCK));
	eq(resident(fd, dev), BLOCK);
	eq(pread(fd, buf, 2 * BLOCK, 0), 2 * BLOCK);
	eq(differs(buf, 0, 2 * BLOCK, 1), 2 * BLOCK);
}

static void pages_that_are_newer_in_the_page_cache_stay_there(void)
{
	uint32_t dev = sim();
	int back = disk_file(BLOCK), fd = object_over(back);
	char *at = map(fd, BLOCK), *buf = malloc(BLOCK);

	eq(migrate(fd, 0, BLOCK, dev), 0);
	pattern(at, 0, BLOCK, 2);
	drop_caches("2");
	eq(pread(fd, buf, BLOCK, 0), BLOCK);
	eq(differs(buf, 0, BLOCK, 2), BLOCK);
}

int main(void)
{
	static const struct test tests[] = {
		T(what_is_remembered_of_evicted_blocks_is_given_back), T(what_is_known_of_resident_blocks_is_kept),
		T(pages_that_a_device_has_as_well_leave_the_page_cache),
		T(pages_that_are_newer_in_the_page_cache_stay_there),
	};

	return RUN(tests);
}
