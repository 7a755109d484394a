/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lost.c - copies that fail, and a device that dies (invariants 3 and 9)
 *
 * A device fails on purpose only where it was made with inject=yes.
 */
#include "kit.h"

#include <setjmp.h>
#include <signal.h>

static void mortal_device(void)
{
	start("sim:npu0,memory=16M,inject=yes", NULL);
}

static void mortal_device_and_another(void)
{
	start("sim:npu0,memory=16M,inject=yes", "sim:npu1,memory=16M", NULL);
}

static void inject(const char *what)
{
	ck_ok(conf_home->inject("npu0", what));
}

static void fail_copy(unsigned nth)
{
	char text[32];

	snprintf(text, sizeof(text), "copy-fail %u", nth);
	inject(text);
}

/* ---- copies that fail ---------------------------------------------------------------------------- */

START_TEST(a_failed_copy_in_fails_the_command_and_loses_nothing)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);
	struct dmo_completion c;
	int err;

	obj_write_pattern(fd, 0, MiB, 1);
	fail_copy(1);
	err = ctx_cksum(ctx, va, MiB, &c);
	ck_assert_msg(err == 0 || err == -EIO, "cksum: %d", err);
	obj_check_pattern(fd, 0, MiB, 1);
	ctx_check_pattern(ctx, va, 0, MiB, 1);
}
END_TEST

START_TEST(a_failed_prefetch_tells_and_loses_nothing)
{
	int fd = obj_create("o", 8 * MiB);
	struct dmo_migrate m;

	obj_write_pattern(fd, 0, 8 * MiB, 1);
	fail_copy(2);
	ck_errno(dmo_migrate(fd, 0, 8 * MiB, 0, 0, &m), EIO);
	ck_assert_int_eq(m.error, -EIO);
	ck_assert_uint_lt(m.done, 8 * MiB);
	obj_check_pattern(fd, 0, 8 * MiB, 1);
	ck_ok(obj_migrate(fd, 0, 8 * MiB, 0));
	obj_check_pattern(fd, 0, 8 * MiB, 1);
}
END_TEST

START_TEST(a_failed_eviction_leaves_the_page_on_the_device)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, MiB, 5));
	fail_copy(1);
	ck_errno(obj_migrate(fd, 0, MiB, DMO_DEVICE_HOST), EIO);
	ctx_check_byte(ctx, va, MiB, 5);
	ck_ok(obj_migrate(fd, 0, MiB, DMO_DEVICE_HOST));
	obj_check_byte(fd, 0, MiB, 5);
}
END_TEST

START_TEST(a_failed_flush_is_told_by_fsync_and_the_next_one_succeeds)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);

	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, MiB, READ_WRITE), MiB, 5));
	fail_copy(1);
	ck_assert_int_eq(fsync(fd), -1);
	ck_assert_int_eq(errno, EIO);
	ck_ok(fsync(fd));
	store_check_byte("o", 0, MiB, 5);
}
END_TEST

START_TEST(every_copy_failed_in_turn_loses_no_byte)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE);
	struct dmo_completion c;
	unsigned nth;

	for (nth = 1; nth <= 12; nth++) {
		obj_write_pattern(fd, 0, 4 * MiB, nth);
		fail_copy(nth);
		ctx_cksum(ctx, va, 4 * MiB, &c);
		obj_migrate(fd, 0, 4 * MiB, DMO_DEVICE_HOST);
		obj_migrate(fd, 0, 4 * MiB, 0);
		fail_copy(1000000);
		ctx_check_pattern(ctx, va, 0, 4 * MiB, nth);
		ck_ok(ctx_fill(ctx, va, MiB, nth));
		fail_copy(nth % 4 + 1);
		obj_migrate(fd, 0, 4 * MiB, DMO_DEVICE_HOST);
		fsync(fd);
		fail_copy(1000000);
		obj_check_byte(fd, 0, MiB, nth);
		obj_check_pattern(fd, MiB, 3 * MiB, nth);
	}
}
END_TEST

/* ---- a lost device ------------------------------------------------------------------------------- */

/* 16 pages, of which 4 to 7 are dirty on npu0 when it dies; the others hold pattern 1. */
struct scene {
	int fd, ctx;
	uint64_t va;
};

#define PAGES	16
#define FIRST	4
#define COUNT	4

static struct scene lose(void)
{
	struct scene s = { .fd = obj_create("o", PAGES * PAGE), .ctx = ctx_open("npu0") };

	obj_write_pattern(s.fd, 0, PAGES * PAGE, 1);
	ck_ok(fsync(s.fd));
	s.va = ctx_map(s.ctx, s.fd, 0, PAGES * PAGE, READ_WRITE);
	ctx_check_pattern(s.ctx, s.va, 0, PAGES * PAGE, 1);
	ck_ok(ctx_fill(s.ctx, s.va + FIRST * PAGE, COUNT * PAGE, 5));
	inject("lost");
	return s;
}

static int read_page(int fd, unsigned page)
{
	char buf[4096];

	return pread(fd, buf, PAGE, page * PAGE) < 0 ? -errno : 0;
}

static void check_others(int fd)
{
	obj_check_pattern(fd, 0, FIRST * PAGE, 1);
	obj_check_pattern(fd, (FIRST + COUNT) * PAGE, (PAGES - FIRST - COUNT) * PAGE, 1);
}

START_TEST(only_pages_that_were_dirty_on_a_lost_device_read_as_eio)
{
	struct scene s = lose();
	unsigned page;

	for (page = FIRST; page < FIRST + COUNT; page++)
		ck_errno(read_page(s.fd, page), EIO);
	check_others(s.fd);
	ck_errno(read_page(s.fd, FIRST), EIO);
}
END_TEST

static sigjmp_buf back;

static void on_bus_error(int signal_number)
{
	siglongjmp(back, 1);
}

START_TEST(a_lost_page_is_sigbus_through_a_mapping)
{
	struct scene s = lose();
	volatile const char *p = obj_mmap(s.fd, 0, PAGES * PAGE, PROT_READ, MAP_SHARED);
	volatile bool caught = false;

	signal(SIGBUS, on_bus_error);
	if (sigsetjmp(back, 1) == 0)
		p[FIRST * PAGE];
	else
		caught = true;
	ck_assert(caught);
	mem_check_pattern((const char *)p, 0, FIRST * PAGE, 1);
}
END_TEST

START_TEST(query_marks_lost_pages)
{
	struct scene s = lose();

	wait_until(obj_extent(s.fd, FIRST * PAGE).flags & DMO_EXT_LOST);
	ck_assert(!(obj_extent(s.fd, 0).flags & DMO_EXT_LOST));
}
END_TEST

START_TEST(a_lost_page_that_is_wholly_overwritten_is_good_again)
{
	struct scene s = lose();
	char buf[4096];

	mem_pattern(buf, FIRST * PAGE, PAGE, 2);
	obj_pwrite(s.fd, buf, PAGE, FIRST * PAGE);
	obj_check_pattern(s.fd, FIRST * PAGE, PAGE, 2);
	ck_errno(read_page(s.fd, FIRST + 1), EIO);
	check_others(s.fd);
}
END_TEST

START_TEST(a_lost_page_that_is_partly_overwritten_stays_lost)
{
	struct scene s = lose();
	char buf[100] = { 0 };

	if (pwrite(s.fd, buf, sizeof(buf), FIRST * PAGE + 10) < 0)
		ck_assert_int_eq(errno, EIO);
	ck_errno(read_page(s.fd, FIRST), EIO);
}
END_TEST

START_TEST(a_punched_lost_page_reads_as_zeros)
{
	struct scene s = lose();

	ck_ok(fallocate(s.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FIRST * PAGE, PAGE));
	obj_check_byte(s.fd, FIRST * PAGE, PAGE, 0);
	ck_errno(read_page(s.fd, FIRST + 1), EIO);
}
END_TEST

START_TEST(truncated_lost_pages_come_back_as_zeros)
{
	struct scene s = lose();

	ck_ok(ftruncate(s.fd, FIRST * PAGE));
	ck_ok(ftruncate(s.fd, PAGES * PAGE));
	obj_check_pattern(s.fd, 0, FIRST * PAGE, 1);
	obj_check_byte(s.fd, FIRST * PAGE, (PAGES - FIRST) * PAGE, 0);
}
END_TEST

/* The same, and nobody has the file open any more. */
static void lose_and_close(void)
{
	struct scene s = lose();

	ctx_close(s.ctx);
	ck_ok(close(s.fd));
	sleep_ms(50);
}

START_TEST(a_lost_page_stays_lost_when_nobody_has_the_file_open)
{
	int fd;

	lose_and_close();
	fd = obj_open("o", O_RDWR);
	ck_errno(read_page(fd, FIRST), EIO);
	check_others(fd);
	obj_write_pattern(fd, 0, PAGES * PAGE, 2);
	obj_check_pattern(fd, 0, PAGES * PAGE, 2);
}
END_TEST

START_TEST(a_file_that_is_made_anew_has_no_lost_pages)
{
	int fd;

	lose_and_close();
	fd = obj_create("o", PAGES * PAGE);
	obj_check_byte(fd, 0, PAGES * PAGE, 0);
	fsync(fd);		/* may tell of the loss, if nobody was told before */
	ck_ok(fsync(fd));
}
END_TEST

START_TEST(fsync_tells_of_lost_pages)
{
	struct scene s = lose();

	ck_assert_int_eq(fsync(s.fd), -1);
	ck_assert_int_eq(errno, EIO);
}
END_TEST

START_TEST(the_loss_is_announced)
{
	struct scene s = lose();
	struct dmo_device_info info;

	wait_until(dmo_device_info(s.fd, 0, &info) || info.flags & DMO_DEVICE_LOST);
	ck_assert(info.flags & DMO_DEVICE_LOST);
	ck_errno(conf_home->open_context("npu0", O_RDWR), ENODEV);
	ck_errno(obj_migrate(s.fd, 0, PAGE, 0), ENODEV);
}
END_TEST

START_TEST(commands_of_a_lost_device_end_with_an_error)
{
	struct scene s = lose();
	struct dmo_completion completion;
	struct dmo_command command;
	int err;

	dmo_cmd_fill(&command, s.va, PAGE, 1);
	err = dmo_run(ctx_handle(s.ctx), &command, &completion);
	ck_assert_msg(err == -EIO || err == -ENODEV, "fill: %d", err);
	obj_check_pattern(s.fd, 0, PAGE, 1);
}
END_TEST

static void submits_until_lost(void *arg)
{
	struct dmo_completion completion;
	struct dmo_command command;
	int ctx = ctx_open("npu0"), fd = obj_open("o", O_RDWR), err;
	uint64_t va = ctx_map(ctx, fd, 0, 64 * MiB, READ_WRITE);

	do {
		dmo_cmd_fill(&command, va, 64 * MiB, 1);
		err = dmo_run(ctx_handle(ctx), &command, &completion);
	} while (!err);
	ck_assert_msg(err == -EIO || err == -ENODEV, "fill: %d", err);
}

START_TEST(a_device_lost_under_load_hangs_nobody)
{
	int fd = obj_create("o", 64 * MiB);
	pid_t pid = spawn(submits_until_lost, NULL);

	sleep_ms(200);
	inject("lost");
	ck_ok(join_within(pid, PATIENCE_MS));
	ck_ok(ftruncate(fd, 0));
	obj_write_pattern(fd, 0, MiB, 1);
	obj_check_pattern(fd, 0, MiB, 1);
}
END_TEST

START_TEST(the_other_device_goes_on)
{
	struct scene s = lose();
	int ctx = ctx_open("npu1"), other = obj_create("other", MiB);
	uint64_t va = ctx_map(ctx, other, 0, MiB, READ_WRITE), vo = ctx_map(ctx, s.fd, 0, PAGES * PAGE, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, MiB, 3));
	obj_check_byte(other, 0, MiB, 3);
	ctx_check_pattern(ctx, vo, 0, FIRST * PAGE, 1);
	ck_errno(ctx_fill(ctx, vo + FIRST * PAGE, 8, 3), EIO);
	ctx_check_pattern(ctx, vo + (FIRST + COUNT) * PAGE, (FIRST + COUNT) * PAGE, PAGE, 1);
}
END_TEST

START_TEST(a_pin_on_a_lost_device_can_be_released)
{
	int fd = obj_create("o", MiB);
	uint64_t id;

	ck_ok(dmo_pin(fd, 0, MiB, 0, &id));
	inject("lost");
	ck_ok(dmo_unpin(fd, id));
	ck_ok(ftruncate(fd, 0));
}
END_TEST

START_TEST(what_was_durable_before_the_loss_is_there_after_a_remount)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);

	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, MiB, READ_WRITE), MiB, 6));
	ck_ok(fsync(fd));
	inject("lost");
	crash();
	go_on();
	fd = obj_open("o", O_RDONLY);
	obj_check_byte(fd, 0, MiB, 6);
	ck_ok(obj_migrate(fd, 0, MiB, 0));
}
END_TEST

START_TEST(faults_are_injected_only_where_the_device_allows_it)
{
	ck_errno(conf_home->inject("npu1", "lost"), EACCES);
	ck_errno(conf_home->inject("npu0", "nonsense"), EINVAL);
	ck_errno(conf_home->inject("npu0", "copy-fail x"), EINVAL);
	ctx_close(ctx_open("npu0"));
	ctx_close(ctx_open("npu1"));
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "lost");
	conf_case(&run, "failed copies", mortal_device, 30);
	conf_test(&run, a_failed_copy_in_fails_the_command_and_loses_nothing);
	conf_test(&run, a_failed_prefetch_tells_and_loses_nothing);
	conf_test(&run, a_failed_eviction_leaves_the_page_on_the_device);
	conf_test(&run, a_failed_flush_is_told_by_fsync_and_the_next_one_succeeds);
	conf_test(&run, every_copy_failed_in_turn_loses_no_byte);
	conf_case(&run, "a lost device", mortal_device_and_another, 30);
	conf_test(&run, only_pages_that_were_dirty_on_a_lost_device_read_as_eio);
	conf_test(&run, a_lost_page_is_sigbus_through_a_mapping);
	conf_test(&run, query_marks_lost_pages);
	conf_test(&run, a_lost_page_that_is_wholly_overwritten_is_good_again);
	conf_test(&run, a_lost_page_that_is_partly_overwritten_stays_lost);
	conf_test(&run, a_punched_lost_page_reads_as_zeros);
	conf_test(&run, truncated_lost_pages_come_back_as_zeros);
	conf_test(&run, a_lost_page_stays_lost_when_nobody_has_the_file_open);
	conf_test(&run, a_file_that_is_made_anew_has_no_lost_pages);
	conf_test(&run, fsync_tells_of_lost_pages);
	conf_test(&run, the_loss_is_announced);
	conf_test(&run, commands_of_a_lost_device_end_with_an_error);
	conf_test(&run, a_device_lost_under_load_hangs_nobody);
	conf_test(&run, the_other_device_goes_on);
	conf_test(&run, a_pin_on_a_lost_device_can_be_released);
	conf_test(&run, what_was_durable_before_the_loss_is_there_after_a_remount);
	conf_test(&run, faults_are_injected_only_where_the_device_allows_it);
	return conf_end(&run);
}
