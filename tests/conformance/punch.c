/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * punch.c - punch, truncate, unlink and rename over while a device uses the range (invariant 7)
 *
 * In the races a device keeps filling a range with one byte while the file is cut under it. Whatever the order was,
 * a page holds that byte or zeros, never anything else and never what an earlier owner of the memory had.
 */
#include "kit.h"

#include <stdatomic.h>

static void punch(int fd, uint64_t offset, uint64_t length)
{
	ck_ok(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length));
}

/* ---- one after the other ------------------------------------------------------------------------- */

START_TEST(a_punched_range_is_zeros_for_everybody)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 8 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 8 * MiB, READ_WRITE);
	char *p = obj_mmap(fd, 0, 8 * MiB, PROT_READ, MAP_SHARED);

	ck_ok(ctx_fill(ctx, va, 8 * MiB, 5));
	mem_check_byte(p, 2 * MiB, 5);
	punch(fd, MiB, 4 * MiB);
	mem_check_byte(p + MiB, 4 * MiB, 0);
	ctx_check_byte(ctx, va + MiB, 4 * MiB, 0);
	obj_check_byte(fd, MiB, 4 * MiB, 0);
	obj_check_byte(fd, 0, MiB, 5);
	ctx_check_byte(ctx, va + 5 * MiB, 3 * MiB, 5);
}
END_TEST

START_TEST(a_punch_inside_pages_zeros_only_its_bytes)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * PAGE, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, 4 * PAGE, 5));
	punch(fd, 100, 2 * PAGE);
	ctx_check_byte(ctx, va, 100, 5);
	ctx_check_byte(ctx, va + 100, 2 * PAGE, 0);
	ctx_check_byte(ctx, va + 2 * PAGE + 100, 2 * PAGE - 100, 5);
	obj_check_byte(fd, 100, 2 * PAGE, 0);
	obj_check_byte(fd, 2 * PAGE + 100, 100, 5);
}
END_TEST

START_TEST(zeroing_a_range_zeros_it_for_the_device)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * PAGE, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, 4 * PAGE, 5));
	if (fallocate(fd, FALLOC_FL_ZERO_RANGE, PAGE, PAGE)) {
		ck_assert_int_eq(errno, EOPNOTSUPP);
		return;
	}
	ctx_check_byte(ctx, va + PAGE, PAGE, 0);
	ctx_check_byte(ctx, va + 2 * PAGE, 2 * PAGE, 5);
}
END_TEST

START_TEST(a_punched_range_frees_device_memory)
{
	int fd = obj_create("o", 8 * MiB);

	ck_ok(obj_migrate(fd, 0, 8 * MiB, 0));
	punch(fd, 0, 8 * MiB);
	ck_assert_uint_eq(control_value("npu0", "memory.current"), 0);
	ck_assert_uint_eq(obj_resident(fd), 0);
}
END_TEST

START_TEST(a_punched_range_stays_punched_after_a_remount)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);

	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE), 4 * MiB, 5));
	punch(fd, MiB, MiB);
	restart();
	fd = obj_open("o", O_RDONLY);
	obj_check_byte(fd, 0, MiB, 5);
	obj_check_byte(fd, MiB, MiB, 0);
	obj_check_byte(fd, 2 * MiB, 2 * MiB, 5);
}
END_TEST

START_TEST(a_truncated_range_faults_and_comes_back_as_zeros)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, 4 * MiB, 5));
	ck_ok(ftruncate(fd, MiB + 10));
	ck_errno(ctx_fill(ctx, va + 2 * MiB, PAGE, 6), EFAULT);
	ctx_check_byte(ctx, va, MiB + 10, 5);
	ck_ok(ftruncate(fd, 4 * MiB));
	ctx_check_byte(ctx, va + MiB + 10, 3 * MiB - 10, 0);
	obj_check_byte(fd, MiB + 10, 3 * MiB - 10, 0);
	obj_check_byte(fd, 0, MiB + 10, 5);
}
END_TEST

START_TEST(opening_with_truncation_drops_what_the_device_wrote)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);

	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, MiB, READ_WRITE), MiB, 5));
	fd = obj_create("o", MiB);
	obj_check_byte(fd, 0, MiB, 0);
}
END_TEST

START_TEST(a_renamed_over_object_lives_on_for_who_has_it)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB), other = obj_create("other", MiB);
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);
	char from[512];

	ck_ok(ctx_fill(ctx, va, MiB, 5));
	obj_write_pattern(other, 0, MiB, 1);
	snprintf(from, sizeof(from), "%s", conf_home->object_path("other"));
	ck_ok(rename(from, conf_home->object_path("o")));
	ctx_check_byte(ctx, va, MiB, 5);
	ck_ok(ctx_fill(ctx, va, MiB, 6));
	obj_check_byte(fd, 0, MiB, 6);
	obj_check_pattern(obj_open("o", O_RDONLY), 0, MiB, 1);
}
END_TEST

/* ---- races --------------------------------------------------------------------------------------- */

#define RANGE	(2 * MiB)

struct race {
	_Atomic bool over;
	_Atomic unsigned fills;
	int fd;
};

static void device_fills(void *arg)
{
	struct race *r = arg;
	int ctx = ctx_open("npu0"), err;
	uint64_t va = ctx_map(ctx, r->fd, 0, RANGE, READ_WRITE);

	while (!r->over) {
		err = ctx_fill(ctx, va, RANGE, 5);
		ck_assert_msg(err == 0 || err == -EFAULT, "fill: %d", err);
		r->fills++;
	}
}

static void check_fives_or_zeros(int fd)
{
	unsigned char page[4096];
	uint64_t at;

	for (at = 0; at < RANGE; at += PAGE) {
		obj_pread(fd, page, PAGE, at);
		ck_assert_msg(page[0] == 5 || page[0] == 0, "byte %#x at %llu", page[0], (unsigned long long)at);
		mem_check_byte(page, PAGE, page[0]);
	}
}

static void race(void (*cut)(int fd, unsigned round))
{
	struct race *r = shared(sizeof(*r));
	uint64_t end = now_ms() + rounds(1500);
	unsigned round;
	pid_t pid;

	r->fd = obj_create("o", RANGE);
	pid = spawn(device_fills, r);
	for (round = 0; now_ms() < end || !r->fills; round++)
		cut(r->fd, round);
	r->over = true;
	join(pid);
	ck_ok(ftruncate(r->fd, RANGE));
	check_fives_or_zeros(r->fd);
	punch(r->fd, 0, RANGE);
	obj_check_byte(r->fd, 0, RANGE, 0);
}

static void cut_by_punch(int fd, unsigned round)
{
	punch(fd, round % 7 * 64 * PAGE, (round % 5 + 1) * PAGE);
}

START_TEST(punch_races_with_device_writes)
{
	race(cut_by_punch);
}
END_TEST

static void cut_by_truncate(int fd, unsigned round)
{
	ck_ok(ftruncate(fd, round % 9 * 50 * PAGE));
	ck_ok(ftruncate(fd, RANGE));
}

START_TEST(truncate_races_with_device_writes)
{
	race(cut_by_truncate);
}
END_TEST

static void cut_by_discard(int fd, unsigned round)
{
	ck_ok(dmo_advise(fd, round % 7 * 64 * PAGE, (round % 5 + 1) * PAGE, DMO_ADV_DISCARD, DMO_DEVICE_ANY, 0));
}

START_TEST(discard_races_with_device_writes)
{
	race(cut_by_discard);
}
END_TEST

static void cut_and_move(int fd, unsigned round)
{
	int err = obj_migrate(fd, 0, RANGE, round % 3 ? 0 : DMO_DEVICE_HOST);

	ck_assert_msg(err == 0 || err == -EBUSY || err == -EAGAIN, "migrate: %d", err);
	ck_ok(ftruncate(fd, round % 9 * 50 * PAGE));
	punch(fd, 0, 10 * PAGE);
	ck_ok(ftruncate(fd, RANGE));
}

START_TEST(migrations_race_with_cuts_and_device_writes)
{
	race(cut_and_move);
}
END_TEST

static void migrates_for_ever(void *arg)
{
	struct race *r = arg;
	unsigned round;

	for (round = 0; !r->over; round++)
		obj_migrate(r->fd, 0, 0, round % 2 ? 0 : DMO_DEVICE_HOST);
}

START_TEST(truncate_races_with_migration)
{
	struct race *r = shared(sizeof(*r));
	uint64_t end = now_ms() + rounds(1500);
	unsigned round, pages;
	pid_t pid;

	r->fd = obj_create("o", RANGE);
	pid = spawn(migrates_for_ever, r);
	for (round = 0; now_ms() < end; round++) {
		pages = round % 9 * 50;
		obj_write_pattern(r->fd, 0, RANGE, round);
		ck_ok(ftruncate(r->fd, pages * PAGE));
		ck_ok(ftruncate(r->fd, RANGE));
		obj_check_pattern(r->fd, 0, pages * PAGE, round);
		obj_check_byte(r->fd, pages * PAGE, RANGE - pages * PAGE, 0);
	}
	r->over = true;
	join(pid);
}
END_TEST

START_TEST(unlink_races_with_device_writes)
{
	uint64_t end = now_ms() + rounds(1500), va;
	int ctx = ctx_open("npu0"), fd, i;

	for (i = 0; now_ms() < end; i++) {
		fd = obj_create("o", MiB);
		va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);
		obj_check_byte(fd, 0, MiB, 0);
		ck_ok(ctx_fill(ctx, va, MiB, 5));
		ck_ok(unlink(conf_home->object_path("o")));
		ck_ok(ctx_fill(ctx, va + PAGE, PAGE, 6));
		close(fd);
		ck_ok(ctx_fill(ctx, va + 2 * PAGE, PAGE, 7));
		ctx_check_byte(ctx, va + PAGE, PAGE, 6);
		ck_ok(ctx_unmap(ctx, va, MiB));
	}
}
END_TEST

START_TEST(rename_over_races_with_device_writes)
{
	uint64_t end = now_ms() + rounds(1500), va;
	int ctx = ctx_open("npu0"), fd, i;
	char from[512], to[512];

	snprintf(from, sizeof(from), "%s", conf_home->object_path("new"));
	snprintf(to, sizeof(to), "%s", conf_home->object_path("o"));
	for (i = 1; now_ms() < end; i++) {
		fd = obj_create("new", MiB);
		va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);
		ck_ok(ctx_fill(ctx, va, MiB, i % 250 + 1));
		ck_ok(rename(from, to));
		close(fd);
		fd = obj_open("o", O_RDONLY);
		obj_check_byte(fd, 0, MiB, i % 250 + 1);
		close(fd);
		if (i % 2)
			ck_ok(ctx_unmap(ctx, va, MiB));
	}
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "punch");
	conf_case(&run, "in turn", one_device, 20);
	conf_test(&run, a_punched_range_is_zeros_for_everybody);
	conf_test(&run, a_punch_inside_pages_zeros_only_its_bytes);
	conf_test(&run, zeroing_a_range_zeros_it_for_the_device);
	conf_test(&run, a_punched_range_frees_device_memory);
	conf_test(&run, a_punched_range_stays_punched_after_a_remount);
	conf_test(&run, a_truncated_range_faults_and_comes_back_as_zeros);
	conf_test(&run, opening_with_truncation_drops_what_the_device_wrote);
	conf_test(&run, a_renamed_over_object_lives_on_for_who_has_it);
	conf_case(&run, "races", one_device, 30);
	conf_test(&run, punch_races_with_device_writes);
	conf_test(&run, truncate_races_with_device_writes);
	conf_test(&run, discard_races_with_device_writes);
	conf_test(&run, migrations_race_with_cuts_and_device_writes);
	conf_test(&run, truncate_races_with_migration);
	conf_test(&run, unlink_races_with_device_writes);
	conf_test(&run, rename_over_races_with_device_writes);
	return conf_end(&run);
}
