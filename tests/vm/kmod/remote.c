// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * remote.c - pages that devices read where they are in the backing file: each test for the private and the
 * coherent kind, over fresh memory and over ext4
 */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RW	(DMO_PROT_READ | DMO_PROT_WRITE)
#define SIZE	(2 * BLOCK)

static uint32_t (*device)(void);
static bool on_disk;

static uint32_t private_device(void) { return sim(); }
static uint32_t coherent_device(void) { return coherent(); }

/* What a test has: an object with a pattern, its backing file, the device and a context that maps it. */
static int back, fd, ctx;
static uint32_t dev;
static uint64_t va;
static char name[DMO_NAME_MAX];

static void begin(uint32_t advice, uint32_t for_device)
{
	struct dmo_device_info info;
	char *buf = malloc(SIZE);

	dev = device();
	device_info(dev, &info);
	strcpy(name, info.name);
	back = on_disk ? disk_file(SIZE) : memfd(SIZE);
	pattern(buf, 0, SIZE, 1);
	eq(pwrite(back, buf, SIZE, 0), SIZE);
	sys(fsync(back));
	free(buf);
	fd = object_over(back);
	ctx = context(dev);
	va = ctx_map(ctx, fd, SIZE, RW);
	if (advice != NONE)
		eq(advise(fd, 0, 0, advice, for_device, 0), 0);
}

/* ---- what a device sees --------------------------------------------------- */

static uint32_t crc_of(const uint8_t *at, size_t n)
{
	uint32_t crc = 0;

	while (n--) {
		crc ^= (uint32_t)*at++ << 24;
		for (int bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7 : 0);
	}
	return crc;
}

/* Does the device read those bytes there? */
static int reads(int by, uint64_t at, uint64_t offset, const void *want, size_t bytes)
{
	struct dmo_completion c = command(by, DMO_OP_CKSUM, at + offset, bytes, 0);

	eq(c.status, 0);
	return c.result[0] == crc_of(want, bytes);
}

static int reads_pattern(uint64_t offset, size_t bytes, uint32_t seed)
{
	char *want = malloc(bytes);
	int same;

	pattern(want, offset, bytes, seed);
	same = reads(ctx, va, offset, want, bytes);
	free(want);
	return same;
}

static int reads_byte(uint64_t offset, size_t bytes, int byte)
{
	char *want = malloc(bytes);
	int same;

	memset(want, byte, bytes);
	same = reads(ctx, va, offset, want, bytes);
	free(want);
	return same;
}

static bool is_remote(uint64_t offset)
{
	return extent(fd, offset).flags & DMO_EXT_REMOTE;
}

/* ---- reading in place ----------------------------------------------------- */

static void pages_that_may_not_migrate_are_read_where_they_are(void)
{
	uint64_t moved, maps;

	begin(DMO_ADV_NO_MIGRATE, NONE);
	moved = device_stat(name, "bytes_to_device");
	maps = device_stat(name, "remote_maps");
	yes(reads_pattern(BLOCK - 4 * PAGE, 8 * PAGE, 1));
	eq(resident(fd, NONE), 0);
	yes(is_remote(BLOCK));
	yes(is_remote(BLOCK - PAGE));
	eq(device_stat(name, "bytes_to_device"), moved);
	yes(device_stat(name, "remote_maps") > maps);
	yes(device_stat(name, "bytes_remote_mapped") >= 8 * PAGE);
}

static void only_the_device_that_accesses_reads_in_place(void)
{
	begin(DMO_ADV_ACCESSED_BY, dev = device());
	yes(reads_pattern(0, PAGE, 1));
	yes(is_remote(0));
	eq(advise(fd, BLOCK, BLOCK, DMO_ADV_NO_ACCESSED_BY, dev, 0), 0);
	eq(advise(fd, BLOCK, BLOCK, DMO_ADV_ACCESSED_BY, dev + 1, 0), 0);
	yes(reads_pattern(BLOCK, PAGE, 1));
	yes(!is_remote(BLOCK));
	yes(resident(fd, dev) >= PAGE);
}

static void advice_that_is_undone_lets_the_pages_move(void)
{
	begin(DMO_ADV_NO_MIGRATE, NONE);
	yes(reads_pattern(0, PAGE, 1));
	eq(advise(fd, 0, 0, DMO_ADV_MIGRATE, NONE, 0), 0);
	eq(migrate(fd, 0, SIZE, dev), 0);
	eq(resident(fd, dev), SIZE);
	yes(!is_remote(0));
	yes(reads_pattern(0, 4 * PAGE, 1));
}

static void a_hole_reads_as_zeros_in_place(void)
{
	begin(DMO_ADV_NO_MIGRATE, NONE);
	sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BLOCK));
	yes(reads_byte(8 * PAGE, 4 * PAGE, 0));
	yes(is_remote(8 * PAGE));
	yes(reads_pattern(BLOCK, PAGE, 1));
}

static void the_last_page_is_read_to_its_end(void)
{
	begin(DMO_ADV_NO_MIGRATE, NONE);
	sys(ftruncate(fd, BLOCK + 100));
	yes(reads_pattern(BLOCK - PAGE, PAGE + 96, 1));
	yes(is_remote(BLOCK));
	yes(reads_byte(BLOCK + 100, PAGE - 100, 0));
}

/* ---- both write ----------------------------------------------------------- */

static void each_sees_what_the_other_has_written(void)
{
	char *at;

	begin(DMO_ADV_NO_MIGRATE, NONE);
	at = map(fd, SIZE);
	for (int i = 1; i < 40; i++) {
		memset(at + 3 * PAGE, i, 2 * PAGE);
		yes(reads_byte(3 * PAGE, 2 * PAGE, i));
		eq(pwrite(fd, &i, 1, 3 * PAGE), 1);
		at[3 * PAGE + 1] = i;
		yes(reads_byte(3 * PAGE, 2 * PAGE, i));
		eq(fill(ctx, va + 3 * PAGE, PAGE, i + 100), 0);
		eq(at[3 * PAGE + 7], (char)(i + 100));
		yes(reads_byte(3 * PAGE, PAGE, i + 100));
	}
	eq(differs(at, 0, 3 * PAGE, 1), 3 * PAGE);
}

static void a_device_s_write_moves_the_page_and_is_durable(void)
{
	char buf[2 * PAGE];

	begin(DMO_ADV_NO_MIGRATE, NONE);
	yes(reads_pattern(0, 2 * PAGE, 1));
	eq(fill(ctx, va, PAGE, 9), 0);
	yes(!is_remote(0));
	sys(fsync(fd));
	drop_caches("3");
	eq(pread(back, buf, sizeof(buf), 0), sizeof(buf));
	for (unsigned i = 0; i < PAGE; i++)
		eq(buf[i], 9);
	eq(differs(buf + PAGE, PAGE, PAGE, 1), PAGE);
}

static void a_store_after_the_device_has_read_is_durable(void)
{
	char buf[PAGE], *at;

	begin(DMO_ADV_NO_MIGRATE, NONE);
	at = map(fd, SIZE);
	yes(reads_pattern(0, PAGE, 1));
	memset(at, 8, PAGE);
	sys(msync(at, PAGE, MS_SYNC));
	yes(reads_byte(0, PAGE, 8));
	drop_caches("3");
	eq(pread(back, buf, PAGE, 0), PAGE);
	eq(buf[77], 8);
	yes(reads_byte(0, PAGE, 8));
}

/* ---- taken away ----------------------------------------------------------- */

static void a_punched_page_is_read_no_more(void)
{
	begin(DMO_ADV_NO_MIGRATE, NONE);
	yes(reads_pattern(0, 8 * PAGE, 1));
	sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * PAGE, 2 * PAGE));
	yes(reads_byte(2 * PAGE, 2 * PAGE, 0));
	yes(reads_pattern(4 * PAGE, 4 * PAGE, 1));
}

static void a_truncated_page_is_read_no_more(void)
{
	begin(DMO_ADV_NO_MIGRATE, NONE);
	yes(reads_pattern(0, 8 * PAGE, 1));
	sys(ftruncate(fd, 4 * PAGE));
	eq(command(ctx, DMO_OP_CKSUM, va + 4 * PAGE, PAGE, 0).status, -EFAULT);
	sys(ftruncate(fd, SIZE));
	yes(reads_byte(4 * PAGE, PAGE, 0));
	yes(reads_pattern(0, 4 * PAGE, 1));
}

/* Over ext4, where a page without users leaves the page cache when asked. */
static void needs_a_disk(void)
{
	if (!on_disk)
		skip("pages of memory leave it for swap space only");
}

static void a_page_that_is_read_in_place_is_kept_and_given_back_when_memory_is_short(void)
{
	begin(DMO_ADV_NO_MIGRATE, NONE);
	yes(reads_pattern(0, 4 * PAGE, 1));
	drop_caches("1");
	if (on_disk)
		yes(is_cached(back, 0));
	yes(is_remote(0));
	drop_caches("2");
	yes(!is_remote(0));
	drop_caches("1");
	if (on_disk)
		yes(!is_cached(back, 0));
	yes(reads_pattern(0, 4 * PAGE, 1));
	yes(is_remote(0));
}

static void unmapping_gives_the_pages_back(void)
{
	needs_a_disk();
	begin(DMO_ADV_NO_MIGRATE, NONE);
	yes(reads_pattern(0, 4 * PAGE, 1));
	eq(ctx_unmap(ctx, va, SIZE), 0);
	yes(!is_remote(0));
	drop_caches("1");
	yes(!is_cached(back, 0));
}

static void a_killed_process_gives_the_pages_back(void)
{
	int status;
	pid_t pid;

	needs_a_disk();
	begin(DMO_ADV_NO_MIGRATE, NONE);
	sys(close(ctx));
	pid = fork();
	if (!pid) {
		ctx = context(dev);
		va = ctx_map(ctx, fd, SIZE, RW);
		yes(reads_pattern(0, 4 * PAGE, 1));
		yes(is_remote(0));
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, &status, 0);
	yes(WIFSIGNALED(status));
	yes(!is_remote(0));
	drop_caches("1");
	yes(!is_cached(back, 0));
}

/* One that goes takes the translation of the other along: it faults again. */
static void two_contexts_read_the_same_page(void)
{
	uint64_t other_va;
	int other;
	char want[PAGE];

	begin(DMO_ADV_NO_MIGRATE, NONE);
	other = context(dev);
	other_va = ctx_map(other, fd, SIZE, RW);
	pattern(want, 0, PAGE, 1);
	yes(reads_pattern(0, PAGE, 1));
	yes(reads(other, other_va, 0, want, PAGE));
	close(other);
	yes(reads_pattern(0, PAGE, 1));
	memset(want, 5, PAGE);
	eq(pwrite(fd, want, PAGE, 0), PAGE);
	yes(reads_byte(0, PAGE, 5));
}

/* ---- memory is full ------------------------------------------------------- */

static void set_max(const char *value)
{
	char path[128];
	int f;

	snprintf(path, sizeof(path), "/sys/class/misc/dmo-%s/memory/max", name);
	f = open(path, O_WRONLY);
	sys(f);
	eq(write(f, value, strlen(value)), strlen(value));
	close(f);
}

/* Read in a circle, what doesn't fit would push out what comes next: some of it is left where it is. */
static void a_cycle_larger_than_the_device_is_partly_read_in_place(void)
{
	uint64_t size = 8 * BLOCK, maps;
	int rounds = 6;

	begin(NONE, 0);
	sys(ftruncate(fd, size));
	eq(ctx_unmap(ctx, va, SIZE), 0);
	va = ctx_map(ctx, fd, size, DMO_PROT_READ);
	set_max("8M");
	maps = device_stat(name, "remote_maps");
	for (int i = 0; i < rounds; i++)
		for (uint64_t at = 0; at < size; at += BLOCK)
			eq(command(ctx, DMO_OP_CKSUM, va + at, BLOCK, 0).status, 0);
	set_max("max");
	yes(device_stat(name, "remote_maps") > maps);
	yes(resident(fd, dev) > 0);
	yes(reads_pattern(0, PAGE, 1));
}

/* ---- all at once ---------------------------------------------------------- */

static void disturb(void)
{
	for (unsigned i = 0;; i++) {
		switch (i % 4) {
		case 0:
			drop_caches("2");
			break;
		case 1:
			migrate(fd, 0, SIZE, dev);
			break;
		case 2:
			fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BLOCK, BLOCK);
			break;
		default:
			migrate(fd, 0, SIZE, DMO_DEVICE_HOST);
		}
	}
}

static void nothing_is_lost_while_pages_come_and_go(void)
{
	volatile uint64_t *at;
	pid_t pid;

	begin(DMO_ADV_NO_MIGRATE, NONE);
	at = map(fd, SIZE);
	at[0] = 0;
	pid = fork();
	if (!pid)
		disturb();
	for (uint64_t i = 0; i < 150; i++) {
		yes(at[0] == 2 * i);
		eq(command(ctx, DMO_OP_ATOMIC_ADD, va, 1, 0).result[0], 2 * i);
		yes(reads_pattern(16 * PAGE, PAGE, 1));
		yes(at[0] == 2 * i + 1);
		at[0]++;
		yes(command(ctx, DMO_OP_COMPARE, va, va, PAGE).result[0] == PAGE);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static const struct test tests[] = {
	T(pages_that_may_not_migrate_are_read_where_they_are), T(only_the_device_that_accesses_reads_in_place),
	T(advice_that_is_undone_lets_the_pages_move), T(a_hole_reads_as_zeros_in_place),
	T(the_last_page_is_read_to_its_end), T(each_sees_what_the_other_has_written),
	T(a_device_s_write_moves_the_page_and_is_durable), T(a_store_after_the_device_has_read_is_durable),
	T(a_punched_page_is_read_no_more), T(a_truncated_page_is_read_no_more),
	T(a_page_that_is_read_in_place_is_kept_and_given_back_when_memory_is_short),
	T(unmapping_gives_the_pages_back), T(a_killed_process_gives_the_pages_back),
	T(two_contexts_read_the_same_page), T(a_cycle_larger_than_the_device_is_partly_read_in_place),
	T(nothing_is_lost_while_pages_come_and_go),
};

int main(void)
{
	static uint32_t (*const devices[])(void) = { private_device, coherent_device };
	int failed = 0, skipped = 0;

	for (int i = 0; i < 4; i++) {
		int r;

		device = devices[i / 2];
		on_disk = i % 2;
		printf("# %s memory, over %s\n", i / 2 ? "coherent" : "private", on_disk ? "ext4" : "a memfd");
		r = RUN(tests);
		failed |= r == 1;
		skipped += r == 77;
	}
	return failed ? 1 : skipped == 4 ? 77 : 0;
}
