/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * limits.c - memory.max, high and low, what they evict, what is counted, and oversubscription (invariant 6)
 */
#include "kit.h"

static uint64_t current(void)
{
	return control_value("npu0", "memory.current");
}

/* ---- reading and writing limits ------------------------------------------------------------------ */

START_TEST(a_limit_is_read_back_as_written)
{
	ck_ok(control_set("npu0", "memory.max", 4 * MiB));
	ck_ok(control_set("npu0", "memory.high", 2 * MiB));
	ck_ok(control_set("npu0", "memory.low", MiB));
	ck_assert_uint_eq(control_value("npu0", "memory.low"), MiB);
	ck_assert_uint_eq(control_value("npu0", "memory.high"), 2 * MiB);
	ck_assert_uint_eq(control_value("npu0", "memory.max"), 4 * MiB);
}
END_TEST

START_TEST(max_lifts_a_limit)
{
	int fd = obj_create("o", 16 * MiB);

	ck_ok(control_set("npu0", "memory.max", 4 * MiB));
	ck_ok(control_write("npu0", "memory.max", "max\n"));
	ck_assert_uint_ge(control_value("npu0", "memory.max"), 16 * MiB);
	ck_ok(obj_migrate(fd, 0, 12 * MiB, 0));
}
END_TEST

START_TEST(nonsense_is_refused_and_changes_nothing)
{
	static const char *const bad[] = { "\n", "x", "-1", "12x", "4M garbage", "99999999999999999999999", "0x" };
	uint64_t before = control_value("npu0", "memory.max");
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(control_write("npu0", "memory.max", bad[i]) == -EINVAL, "\"%s\" was taken", bad[i]);
	ck_assert_uint_eq(control_value("npu0", "memory.max"), before);
}
END_TEST

START_TEST(counters_are_not_writable)
{
	ck_errno(control_write("npu0", "memory.current", "0"), EACCES);
	ck_errno(control_write("npu0", "memory.stat", "0"), EACCES);
	ck_errno(control_write("npu0", "memory.events", "0"), EACCES);
	if (conf_home->control_path("npu0", "info"))
		ck_errno(control_write("npu0", "info", "0"), EACCES);
}
END_TEST

START_TEST(stat_and_events_are_lines_of_name_and_number)
{
	static const char *const files[] = { "memory.stat", "memory.events" };
	struct dmo_stat stat;
	char text[8192];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		ck_ok(control_read("npu0", files[i], text, sizeof(text)));
		ck_ok(dmo_stat_parse(text, &stat));
		ck_assert_uint_gt(stat.count, 0);
	}
}
END_TEST

/* ---- what is counted ----------------------------------------------------------------------------- */

START_TEST(current_follows_what_is_resident)
{
	int fd = obj_create("o", 8 * MiB);

	ck_assert_uint_eq(current(), 0);
	ck_ok(obj_migrate(fd, 0, 8 * MiB, 0));
	ck_assert_uint_eq(current(), 8 * MiB);
	ck_ok(obj_migrate(fd, 0, 4 * MiB, DMO_DEVICE_HOST));
	ck_assert_uint_eq(current(), 4 * MiB);
	ck_ok(ftruncate(fd, 0));
	ck_assert_uint_eq(current(), 0);
}
END_TEST

START_TEST(peak_is_the_most_that_ever_was)
{
	int fd = obj_create("o", 8 * MiB);

	ck_ok(obj_migrate(fd, 0, 8 * MiB, 0));
	ck_ok(obj_migrate(fd, 0, 0, DMO_DEVICE_HOST));
	ck_assert_uint_ge(control_value("npu0", "memory.peak"), 8 * MiB);
	ck_assert_uint_le(control_value("npu0", "memory.peak"), 16 * MiB);
}
END_TEST

START_TEST(an_unlinked_object_gives_its_memory_back)
{
	int fd = obj_create("o", 8 * MiB);

	ck_ok(obj_migrate(fd, 0, 8 * MiB, 0));
	ck_ok(unlink(conf_home->object_path("o")));
	close(fd);
	wait_until(current() == 0);
}
END_TEST

/* ---- lowering evicts ----------------------------------------------------------------------------- */

START_TEST(lowering_max_evicts_clean_pages)
{
	int fd = obj_create("o", 12 * MiB);

	obj_write_pattern(fd, 0, 12 * MiB, 1);
	ck_ok(obj_migrate(fd, 0, 12 * MiB, 0));
	ck_ok(control_set("npu0", "memory.max", 4 * MiB));
	ck_assert_uint_le(current(), 4 * MiB);
	obj_check_pattern(fd, 0, 12 * MiB, 1);
}
END_TEST

START_TEST(lowering_max_evicts_dirty_pages)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 12 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 12 * MiB, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, 12 * MiB, 7));
	ck_ok(control_set("npu0", "memory.max", MiB));
	ck_assert_uint_le(current(), MiB);
	obj_check_byte(fd, 0, 12 * MiB, 7);
	ctx_check_byte(ctx, va, 12 * MiB, 7);
	ck_assert_uint_le(current(), MiB);
}
END_TEST

START_TEST(lowering_max_below_pinned_memory_is_refused)
{
	int fd = obj_create("o", 8 * MiB);
	uint64_t id;

	ck_ok(dmo_pin(fd, 0, 8 * MiB, 0, &id));
	ck_errno(control_set("npu0", "memory.max", 4 * MiB), EBUSY);
	ck_assert_uint_eq(obj_resident(fd), 8 * MiB);
}
END_TEST

START_TEST(high_keeps_usage_near_it_in_the_background)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 16 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 16 * MiB, READ_WRITE);

	ck_ok(control_set("npu0", "memory.high", 4 * MiB));
	ck_ok(control_set("npu0", "memory.low", 2 * MiB));
	ck_ok(ctx_fill(ctx, va, 16 * MiB, 3));
	wait_until(current() <= 4 * MiB);
	obj_check_byte(fd, 0, 16 * MiB, 3);
}
END_TEST

START_TEST(usage_never_passes_max_under_load)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 16 * MiB), i;
	uint64_t va = ctx_map(ctx, fd, 0, 16 * MiB, READ_WRITE);

	ck_ok(control_set("npu0", "memory.max", 2 * MiB));
	for (i = 0; i < 8; i++) {
		ck_ok(ctx_fill(ctx, va + i * 2 * MiB, 2 * MiB, i + 1));
		ck_assert_uint_le(current(), 2 * MiB);
	}
	ck_assert_uint_le(control_value("npu0", "memory.peak"), 2 * MiB);
	for (i = 0; i < 8; i++)
		obj_check_byte(fd, i * 2 * MiB, 2 * MiB, i + 1);
}
END_TEST

START_TEST(less_memory_than_a_block_is_enough)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 8 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 8 * MiB, READ_WRITE);

	ck_ok(control_set("npu0", "memory.max", 64 * PAGE));
	ck_ok(ctx_fill(ctx, va, 8 * MiB, 3));
	ck_ok(ctx_copy(ctx, va + 4 * MiB, va, MiB));
	ctx_check_byte(ctx, va, 8 * MiB, 3);
	ck_assert_uint_le(control_value("npu0", "memory.peak"), 64 * PAGE);
	obj_check_byte(fd, 0, 8 * MiB, 3);
}
END_TEST

START_TEST(reaching_max_is_counted)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 8 * MiB);

	uint64_t before;

	ck_ok(control_set("npu0", "memory.max", 2 * MiB));
	before = control_key("npu0", "memory.events", "max");
	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, 8 * MiB, READ_WRITE), 8 * MiB, 3));
	ck_assert_uint_gt(control_key("npu0", "memory.events", "max"), before);
}
END_TEST

/* ---- sixteen times more than there is ------------------------------------------------------------ */

#define DEVICE	(4 * MiB)
#define WHOLE	(16 * DEVICE)

static void small_device(void)
{
	start("sim:npu0,memory=4M", NULL);
}

START_TEST(clean_pages_of_sixteen_times_the_device_are_read_right)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", WHOLE), round;
	uint64_t va = ctx_map(ctx, fd, 0, WHOLE, DMO_PROT_READ);

	obj_write_pattern(fd, 0, WHOLE, 1);
	for (round = 0; round < 2; round++)
		ctx_check_pattern(ctx, va, 0, WHOLE, 1);
	ck_assert_uint_le(control_value("npu0", "memory.peak"), DEVICE);
	obj_check_pattern(fd, 0, WHOLE, 1);
}
END_TEST

START_TEST(dirty_pages_of_sixteen_times_the_device_lose_no_byte)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", WHOLE);
	uint64_t va = ctx_map(ctx, fd, 0, WHOLE, READ_WRITE), at;

	for (at = 0; at < WHOLE; at += MiB)
		ck_ok(ctx_fill(ctx, va + at, MiB, at / MiB + 1));
	for (at = 0; at < WHOLE; at += MiB)
		ctx_check_byte(ctx, va + at, MiB, at / MiB + 1);
	for (at = 0; at < WHOLE; at += MiB)
		obj_check_byte(fd, at, MiB, at / MiB + 1);
	ck_assert_uint_le(control_value("npu0", "memory.peak"), DEVICE);
}
END_TEST

START_TEST(a_copy_of_sixteen_times_the_device_is_the_same)
{
	int ctx = ctx_open("npu0"), from = obj_create("from", WHOLE / 2), to = obj_create("to", WHOLE / 2);
	uint64_t src = ctx_map(ctx, from, 0, WHOLE / 2, DMO_PROT_READ);
	uint64_t dst = ctx_map(ctx, to, 0, WHOLE / 2, READ_WRITE);

	obj_write_pattern(from, 0, WHOLE / 2, 9);
	ck_ok(ctx_copy(ctx, dst, src, WHOLE / 2));
	obj_check_pattern(to, 0, WHOLE / 2, 9);
}
END_TEST

static void filler(void *arg)
{
	unsigned char *number = arg;
	char name[2] = { 'a' + *number, 0 };
	int ctx = ctx_open("npu0"), fd = obj_create(name, 2 * DEVICE), round;
	uint64_t va = ctx_map(ctx, fd, 0, 2 * DEVICE, READ_WRITE);

	for (round = 1; round <= 3; round++) {
		ck_ok(ctx_fill(ctx, va, 2 * DEVICE, *number * 16 + round));
		ctx_check_byte(ctx, va, 2 * DEVICE, *number * 16 + round);
		obj_check_byte(fd, 0, 2 * DEVICE, *number * 16 + round);
	}
}

START_TEST(four_processes_share_a_device_eight_times_too_small)
{
	static unsigned char numbers[] = { 1, 2, 3, 4 };
	pid_t pids[4];
	int i;

	for (i = 0; i < 4; i++)
		pids[i] = spawn(filler, &numbers[i]);
	for (i = 0; i < 4; i++)
		join(pids[i]);
	ck_assert_uint_le(control_value("npu0", "memory.peak"), DEVICE);
}
END_TEST

START_TEST(memory_of_one_object_never_shows_in_another)
{
	int ctx = ctx_open("npu0"), secret = obj_create("secret", DEVICE), fresh = obj_create("fresh", WHOLE / 4);
	uint64_t a = ctx_map(ctx, secret, 0, DEVICE, READ_WRITE), b = ctx_map(ctx, fresh, 0, WHOLE / 4, READ_WRITE);
	uint64_t at;

	ck_ok(ctx_fill(ctx, a, DEVICE, 0x5a));
	for (at = 0; at < WHOLE / 4; at += PAGE * 16)
		ck_ok(ctx_fill(ctx, b + at, 8, 0));
	ctx_check_byte(ctx, b, WHOLE / 4, 0);
	obj_check_byte(fresh, 0, WHOLE / 4, 0);
	obj_check_byte(secret, 0, DEVICE, 0x5a);
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "limits");
	conf_case(&run, "control files", one_device, 20);
	conf_test(&run, a_limit_is_read_back_as_written);
	conf_test(&run, max_lifts_a_limit);
	conf_test(&run, nonsense_is_refused_and_changes_nothing);
	conf_test(&run, counters_are_not_writable);
	conf_test(&run, stat_and_events_are_lines_of_name_and_number);
	conf_test(&run, current_follows_what_is_resident);
	conf_test(&run, peak_is_the_most_that_ever_was);
	conf_test(&run, an_unlinked_object_gives_its_memory_back);
	conf_case(&run, "lowering", one_device, 30);
	conf_test(&run, lowering_max_evicts_clean_pages);
	conf_test(&run, lowering_max_evicts_dirty_pages);
	conf_test(&run, lowering_max_below_pinned_memory_is_refused);
	conf_test(&run, high_keeps_usage_near_it_in_the_background);
	conf_test(&run, usage_never_passes_max_under_load);
	conf_test(&run, less_memory_than_a_block_is_enough);
	conf_test(&run, reaching_max_is_counted);
	conf_case(&run, "oversubscription", small_device, 60);
	conf_test(&run, clean_pages_of_sixteen_times_the_device_are_read_right);
	conf_test(&run, dirty_pages_of_sixteen_times_the_device_lose_no_byte);
	conf_test(&run, a_copy_of_sixteen_times_the_device_is_the_same);
	conf_test(&run, four_processes_share_a_device_eight_times_too_small);
	conf_test(&run, memory_of_one_object_never_shows_in_another);
	return conf_end(&run);
}
