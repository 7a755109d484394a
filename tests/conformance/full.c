/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * full.c - a store without room: pages stay where they are, fsync tells, nothing is lost (invariant 3)
 *
 * The store has 8 MiB. A file of ballast fills it; objects beside it are holes.
 */
#include "kit.h"

#define STORE	(8 * MiB)

static void full_store(void)
{
	start_small_store(STORE, "sim:npu0,memory=16M");
}

static void full_store_and_small_device(void)
{
	start_small_store(STORE, "sim:npu0,memory=2M");
}

static void load_ballast(void)
{
	int fd = obj_open("ballast", O_WRONLY | O_CREAT);
	static char chunk[65536];

	while (write(fd, chunk, sizeof(chunk)) > 0)
		;
	while (write(fd, chunk, PAGE) > 0)
		;
	ck_assert_int_eq(errno, ENOSPC);
	close(fd);
}

static void drop_ballast(void)
{
	ck_ok(truncate(conf_home->object_path("ballast"), 0));
	ck_ok(unlink(conf_home->object_path("ballast")));
}

static void check_fsync_until_room(int fd)
{
	ck_assert_int_eq(fsync(fd), -1);
	ck_assert_int_eq(errno, ENOSPC);
	drop_ballast();
	ck_ok(fsync(fd));
}

START_TEST(device_writes_to_a_hole_outlast_a_full_store)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE);

	load_ballast();
	ck_ok(ctx_fill(ctx, va, 4 * MiB, 5));
	check_fsync_until_room(fd);
	ctx_check_byte(ctx, va, 4 * MiB, 5);
	store_check_byte("o", 0, 4 * MiB, 5);
}
END_TEST

START_TEST(eviction_to_a_full_store_keeps_the_pages_on_the_device)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE);

	load_ballast();
	ck_ok(ctx_fill(ctx, va, 4 * MiB, 5));
	ck_errno(obj_migrate(fd, 0, 4 * MiB, DMO_DEVICE_HOST), ENOSPC);
	ctx_check_byte(ctx, va, 4 * MiB, 5);
	obj_check_byte(fd, 0, 4 * MiB, 5);
	check_fsync_until_room(fd);
	ck_ok(obj_migrate(fd, 0, 4 * MiB, DMO_DEVICE_HOST));
	obj_check_byte(fd, 0, 4 * MiB, 5);
	store_check_byte("o", 0, 4 * MiB, 5);
}
END_TEST

START_TEST(mapped_writes_to_a_hole_outlast_a_full_store_and_a_device)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 2 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 2 * MiB, READ_WRITE);
	char *p = obj_mmap(fd, 0, 2 * MiB, PROT_READ | PROT_WRITE, MAP_SHARED);

	load_ballast();
	mem_pattern(p, 0, 2 * MiB, 1);
	ctx_check_pattern(ctx, va, 0, 2 * MiB, 1);
	mem_check_pattern(p, 0, 2 * MiB, 1);
	check_fsync_until_room(fd);
	mem_check_pattern(p, 0, 2 * MiB, 1);
	store_check_pattern("o", 0, 2 * MiB, 1);
}
END_TEST

START_TEST(write_calls_to_a_full_store_are_refused_or_kept)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 2 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 2 * MiB, READ_WRITE);
	char page[4096];

	ck_ok(ctx_fill(ctx, va, 8, 0));
	load_ballast();
	memset(page, 3, PAGE);
	if (pwrite(fd, page, PAGE, MiB) < 0) {
		ck_assert_int_eq(errno, ENOSPC);
		obj_check_byte(fd, MiB, PAGE, 0);
	} else {
		obj_check_byte(fd, MiB, PAGE, 3);
	}
	drop_ballast();
}
END_TEST

START_TEST(a_device_that_can_not_evict_refuses_what_does_not_fit_and_keeps_the_rest)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 6 * MiB), err = 0;
	uint64_t va = ctx_map(ctx, fd, 0, 6 * MiB, READ_WRITE), at;

	load_ballast();
	for (at = 0; at < 6 * MiB && !err; at += 256 * 1024)
		err = ctx_fill(ctx, va + at, 256 * 1024, at / (256 * 1024) + 1);
	ck_errno(err, ENOSPC);
	drop_ballast();
	for (at -= 256 * 1024; at; at -= 256 * 1024)
		ctx_check_byte(ctx, va + at - 256 * 1024, 256 * 1024, at / (256 * 1024));
	ck_ok(ctx_fill(ctx, va, 6 * MiB, 9));
	if (fsync(fd))	/* tells of the evictions that failed, once */
		ck_assert_int_eq(errno, ENOSPC);
	ck_ok(fsync(fd));
	store_check_byte("o", 0, 6 * MiB, 9);
}
END_TEST

START_TEST(limits_that_can_not_be_kept_lose_nothing)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE);

	load_ballast();
	ck_ok(ctx_fill(ctx, va, 4 * MiB, 5));
	ck_assert_int_ne(control_set("npu0", "memory.max", MiB), -ETIMEDOUT);
	obj_check_byte(fd, 0, 4 * MiB, 5);
	drop_ballast();
	ck_ok(control_set("npu0", "memory.max", MiB));
	ck_assert_uint_le(control_value("npu0", "memory.current"), MiB);
	obj_check_byte(fd, 0, 4 * MiB, 5);
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "full");
	conf_case(&run, "full store", full_store, 30);
	conf_test(&run, device_writes_to_a_hole_outlast_a_full_store);
	conf_test(&run, eviction_to_a_full_store_keeps_the_pages_on_the_device);
	conf_test(&run, mapped_writes_to_a_hole_outlast_a_full_store_and_a_device);
	conf_test(&run, write_calls_to_a_full_store_are_refused_or_kept);
	conf_test(&run, limits_that_can_not_be_kept_lose_nothing);
	conf_case(&run, "full store and device", full_store_and_small_device, 30);
	conf_test(&run, a_device_that_can_not_evict_refuses_what_does_not_fit_and_keeps_the_rest);
	return conf_end(&run);
}
