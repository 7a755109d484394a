/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * faults.c - devices of other kinds: without faults, with memory that the CPU reaches, on a slow link
 *
 * Contents must not depend on the kind of device. For a device without faults, what a command names is made
 * resident before it starts; what can't be made so is refused before it starts.
 */
#include "kit.h"

static void no_faults(void)
{
	start("sim:npu0,memory=8M,faults=no", NULL);
}

static void coherent(void)
{
	start("sim:npu0,memory=8M,coherent=yes", NULL);
}

static void slow_link(void)
{
	start("sim:npu0,memory=8M,link=256M,latency=20us", NULL);
}

static struct dmo_device_info npu0(int fd)
{
	struct dmo_device_info info;

	ck_ok(dmo_device_info(fd, 0, &info));
	return info;
}

/* ---- for every kind ------------------------------------------------------------------------------ */

START_TEST(cpu_and_device_take_turns)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB), i;
	uint64_t va = ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE);
	char *p = obj_mmap(fd, 0, 4 * MiB, PROT_READ | PROT_WRITE, MAP_SHARED);

	for (i = 1; i <= 10; i++) {
		mem_pattern(p, 0, 4 * MiB, i);
		ctx_check_pattern(ctx, va, 0, 4 * MiB, i);
		ck_ok(ctx_fill(ctx, va + PAGE, MiB, i));
		mem_check_byte(p + PAGE, MiB, i);
		mem_check_pattern(p + PAGE + MiB, PAGE + MiB, 2 * MiB, i);
	}
}
END_TEST

START_TEST(eight_times_the_device_is_filled_and_read_right)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 64 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 64 * MiB, READ_WRITE), at;

	for (at = 0; at < 64 * MiB; at += MiB)
		ck_ok(ctx_fill(ctx, va + at, MiB, at / MiB + 1));
	for (at = 0; at < 64 * MiB; at += MiB)
		ctx_check_byte(ctx, va + at, MiB, at / MiB + 1);
	for (at = 0; at < 64 * MiB; at += MiB)
		obj_check_byte(fd, at, MiB, at / MiB + 1);
	ck_assert_uint_le(control_value("npu0", "memory.peak"), 8 * MiB);
}
END_TEST

START_TEST(a_range_that_is_not_mapped_is_refused)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, PAGE, READ_WRITE);

	ck_errno(ctx_fill(ctx, va + PAGE, PAGE, 1), EFAULT);
	ck_errno(ctx_fill(ctx, va, 2 * PAGE, 1), EFAULT);
	ck_ok(ctx_fill(ctx, va, PAGE, 2));
	obj_check_byte(fd, 0, PAGE, 2);
}
END_TEST

START_TEST(a_range_mapped_for_reading_is_not_written)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, PAGE, DMO_PROT_READ);

	obj_write_pattern(fd, 0, PAGE, 1);
	ck_errno(ctx_fill(ctx, va, PAGE, 1), EACCES);
	obj_check_pattern(fd, 0, PAGE, 1);
}
END_TEST

START_TEST(fsync_makes_it_durable)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);

	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE), 4 * MiB, 7));
	ck_ok(fsync(fd));
	store_check_byte("o", 0, 4 * MiB, 7);
}
END_TEST

static void for_every_kind(struct conf_run *run)
{
	conf_test(run, cpu_and_device_take_turns);
	conf_test(run, eight_times_the_device_is_filled_and_read_right);
	conf_test(run, a_range_that_is_not_mapped_is_refused);
	conf_test(run, a_range_mapped_for_reading_is_not_written);
	conf_test(run, fsync_makes_it_durable);
}

/* ---- without faults ------------------------------------------------------------------------------ */

START_TEST(commands_are_made_resident_before_they_start)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * MiB, DMO_PROT_READ);
	struct dmo_completion c;

	ck_assert(!(npu0(fd).flags & DMO_DEVICE_FAULTS));
	obj_write_pattern(fd, 0, 4 * MiB, 1);
	ck_ok(ctx_cksum(ctx, va, 4 * MiB, &c));
	ck_assert_uint_eq(c.faults, 0);
	ctx_check_pattern(ctx, va, 0, 4 * MiB, 1);
}
END_TEST

START_TEST(a_command_larger_than_the_device_is_split_or_refused_before_it_starts)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 32 * MiB), err;
	uint64_t va = ctx_map(ctx, fd, 0, 32 * MiB, READ_WRITE);

	obj_write_pattern(fd, 0, 32 * MiB, 1);
	err = ctx_fill(ctx, va, 32 * MiB, 9);
	ck_assert_msg(err == 0 || err == -ENOSPC, "fill: %d", err);
	if (err)
		obj_check_pattern(fd, 0, 32 * MiB, 1);
	else
		obj_check_byte(fd, 0, 32 * MiB, 9);
	ck_ok(obj_migrate(fd, 0, 32 * MiB, DMO_DEVICE_HOST));
	ck_assert_uint_eq(control_value("npu0", "memory.current"), 0);
}
END_TEST

START_TEST(a_command_that_can_not_be_split_is_refused_before_it_starts)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 32 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 32 * MiB, READ_WRITE);
	struct dmo_completion completion;
	struct dmo_command command;
	int err;

	dmo_cmd_gelu(&command, va, va + 16 * MiB, 4 * MiB);
	err = ctx_run(ctx, &command, &completion);
	ck_assert_msg(err == 0 || err == -ENOSPC, "gelu: %d", err);
	obj_check_byte(fd, 0, 32 * MiB, 0);
}
END_TEST

START_TEST(commands_wait_for_each_others_memory)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 32 * MiB), i;
	uint64_t va = ctx_map(ctx, fd, 0, 32 * MiB, READ_WRITE);
	struct dmo_completion completions[16];
	struct dmo_command commands[16];

	for (i = 0; i < 16; i++) {
		dmo_cmd_fill(&commands[i], va + i * 2 * MiB, 2 * MiB, i + 1);
		commands[i].cookie = i;
	}
	ck_assert_int_eq(dmo_submit(ctx_handle(ctx), commands, 16), 16);
	for (i = 0; i < 16; i++) {
		ck_assert_int_eq(dmo_complete(ctx_handle(ctx), &completions[i], 1, PATIENCE_MS), 1);
		ck_ok(completions[i].status);
		ck_assert_uint_eq(completions[i].cookie, i);
	}
	for (i = 0; i < 16; i++)
		obj_check_byte(fd, i * 2 * MiB, 2 * MiB, i + 1);
}
END_TEST

START_TEST(nothing_stays_pinned_after_a_command)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);

	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE), 4 * MiB, 1));
	ck_ok(obj_migrate(fd, 0, 4 * MiB, DMO_DEVICE_HOST));
	ck_assert_uint_eq(control_value("npu0", "memory.current"), 0);
}
END_TEST

/* ---- coherent memory ----------------------------------------------------------------------------- */

START_TEST(coherent_memory_is_announced)
{
	ck_assert_uint_eq(npu0(obj_create("o", PAGE)).memory_type, DMO_MEM_COHERENT);
}
END_TEST

START_TEST(private_memory_is_announced)
{
	ck_assert_uint_eq(npu0(obj_create("o", PAGE)).memory_type, DMO_MEM_PRIVATE);
}
END_TEST

START_TEST(a_link_is_announced)
{
	ck_assert_uint_eq(npu0(obj_create("o", PAGE)).link, 256 * MiB);
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "faults");
	conf_case(&run, "without faults", no_faults, 30);
	for_every_kind(&run);
	conf_test(&run, commands_are_made_resident_before_they_start);
	conf_test(&run, a_command_larger_than_the_device_is_split_or_refused_before_it_starts);
	conf_test(&run, a_command_that_can_not_be_split_is_refused_before_it_starts);
	conf_test(&run, commands_wait_for_each_others_memory);
	conf_test(&run, nothing_stays_pinned_after_a_command);
	conf_case(&run, "coherent", coherent, 30);
	for_every_kind(&run);
	conf_test(&run, coherent_memory_is_announced);
	conf_case(&run, "slow link", slow_link, 30);
	for_every_kind(&run);
	conf_test(&run, private_memory_is_announced);
	conf_test(&run, a_link_is_announced);
	return conf_end(&run);
}
