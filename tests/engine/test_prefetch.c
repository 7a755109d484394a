/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_prefetch.c - what fits arrives, whoever else wants the memory
 *
 * Each device has 8 blocks. What a prefetch has brought so far must outlast the background's eviction and other
 * prefetches until its end.
 */
#include "engine/internal.h"
#include "fakefs.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define BLOCKS	6
#define SIZE	((uint64_t)BLOCKS * FF_BLOCK)
#define RW	(DMO_PROT_READ | DMO_PROT_WRITE)

static const char *const one_device[] = { "sim:npu0,memory=16M,link=1G", NULL };

static struct ff *ff;

static void setup(void)
{
	ff = ff_start(NULL, one_device);
}

static void teardown(void)
{
	ff_stop(ff);
}

static struct ff_open *object(const char *name)
{
	return ff_open(ff_file(ff, name, SIZE, SIZE / FF_PAGE), O_RDWR);
}

static void check_content(struct ff_open *o)
{
	char *seen = malloc(SIZE), *want = malloc(SIZE);

	ff_pattern(want, 0, SIZE);
	ck_assert_int_eq(ff_load(o, 0, seen, SIZE), 0);
	ck_assert_mem_eq(seen, want, SIZE);
	free(seen);
	free(want);
}

/* The evictor runs as soon as a quarter is used, and would leave nothing. */
START_TEST(a_prefetch_arrives_above_the_watermarks)
{
	struct ff_open *o = object("o");

	ck_assert_int_eq(ff_control(ff, 0, "memory.high", "4M"), 2);
	ck_assert_int_eq(ff_control(ff, 0, "memory.low", "0"), 1);
	for (unsigned round = 0; round < 20; round++) {
		ck_assert_int_eq(ff_migrate(o, 0, SIZE, 0), 0);
		ck_assert_int_eq(ff_migrate(o, 0, SIZE, DMO_DEVICE_HOST), 0);
	}
	check_content(o);
	ff_close(o);
}
END_TEST

struct mover {
	pthread_t thread;
	struct ff_open *open;
	int64_t result;
	atomic_bool stop;
};

static void *move_again_and_again(void *arg)
{
	struct mover *m = arg;

	for (unsigned round = 0; round < 50 && !m->result; round++)
		m->result = ff_migrate(m->open, 0, SIZE, 0);
	return NULL;
}

START_TEST(prefetches_that_fit_one_at_a_time_all_arrive)
{
	static const char *const names[] = { "a", "b", "c" };
	struct mover movers[3] = { 0 };

	for (unsigned i = 0; i < 3; i++) {
		movers[i].open = object(names[i]);
		ck_assert_int_eq(pthread_create(&movers[i].thread, NULL, move_again_and_again, &movers[i]), 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(movers[i].thread, NULL);
		ck_assert_msg(!movers[i].result, "%s: %d", names[i], (int)movers[i].result);
		check_content(movers[i].open);
		ff_close(movers[i].open);
	}
	ck_assert_uint_le(ff_device_number(ff, 0, "memory.peak", ""), 16u << 20);
}
END_TEST

static void *prefetch_for_ever(void *arg)
{
	struct mover *m = arg;

	while (!atomic_load(&m->stop))
		m->result = ff_migrate(m->open, 0, SIZE, 0);
	return NULL;
}

START_TEST(faults_come_through_beside_prefetches)
{
	struct mover m = { .open = object("a") };
	struct ff_open *o = object("b");
	struct ff_ctx *c = ff_ctx(ff, 0);
	uint64_t va = ff_map(c, o, 0, SIZE, RW, NULL);

	ck_assert_int_eq(pthread_create(&m.thread, NULL, prefetch_for_ever, &m), 0);
	for (unsigned round = 1; round <= 10; round++)
		ck_assert_int_eq(FF_RUN(c, DMO_OP_FILL, va, SIZE, round).status, 0);
	atomic_store(&m.stop, true);
	pthread_join(m.thread, NULL);
	check_content(m.open);
	ff_ctx_close(c);
	ff_close(o);
	ff_close(m.open);
}
END_TEST

/* Pins keep five blocks: three are left for six. */
START_TEST(a_prefetch_that_pins_leave_no_room_for_says_so)
{
	struct ff_open *pinned = object("a"), *o = object("b");
	struct dmo_pin pin = { .length = 5 * FF_BLOCK, .device = 0 };
	struct dmo_migrate m = { .length = SIZE, .device = 0 };

	ck_assert_int_eq(ff_ioctl(pinned, DMO_IOC_PIN, &pin), 0);
	ck_assert_int_eq(ff_ioctl(o, DMO_IOC_MIGRATE, &m), -ENOSPC);
	ck_assert_int_eq(m.error, -ENOSPC);
	ck_assert_uint_ge(m.done, 2 * FF_BLOCK);	/* of the two that come at a time the second may be faster */
	ck_assert_uint_le(m.done, 3 * FF_BLOCK);
	check_content(o);
	ff_close(o);
	ff_close(pinned);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("prefetch");
	TCase *tcase = tcase_create("room");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, a_prefetch_arrives_above_the_watermarks);
	tcase_add_test(tcase, prefetches_that_fit_one_at_a_time_all_arrive);
	tcase_add_test(tcase, faults_come_through_beside_prefetches);
	tcase_add_test(tcase, a_prefetch_that_pins_leave_no_room_for_says_so);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
