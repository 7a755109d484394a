/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_life.c - commands in order, several address spaces, destroying them at work, losing the device
 */
#include "fake.h"

#include <check.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	4096u
#define VA(page) (FAKE_VA + (uint64_t)(page) * PAGE)

static struct fake *f;

static void setup(void)
{
	f = fake_open("memory=32M,threads=3");
}

static void teardown(void)
{
	fake_close(f);
}

static void destroy_first(void)
{
	f->ops->as_destroy(f->as);
	f->as = NULL;
}

START_TEST(commands_complete_in_the_order_written)
{
	enum { COUNT = 500 };
	struct dmo_command commands[COUNT];
	struct fake_done *done;

	for (unsigned i = 0; i < COUNT; i++) {
		commands[i] = i % 5 ? COMMAND(DMO_OP_ATOMIC_ADD, VA(0), 1) : COMMAND(DMO_OP_FILL, VA(8), 1u << 20, i % 256);
		commands[i].cookie = i;
	}
	ck_assert_int_eq(f->ops->submit(f->as, commands, COUNT), 0);
	fake_submit(f, f->as, COMMAND(DMO_OP_CHASE, VA(0), 0), COUNT);
	fake_wait(f, COUNT);
	done = f->done;
	for (unsigned i = 0; i < COUNT; i++, done = done->next) {
		ck_assert_uint_eq(done->completion.cookie, i);
		ck_assert_int_eq(done->completion.status, 0);
	}
	ck_assert_uint_eq(*(uint64_t *)f->memory, COUNT - COUNT / 5);
}
END_TEST

START_TEST(a_failed_command_does_not_stop_those_behind_it)
{
	fake_protect(f, 5, 1, 0);
	fake_submit(f, f->as, COMMAND(DMO_OP_FILL, VA(5), 8, 1), 1);
	fake_submit(f, f->as, COMMAND(DMO_OP_FILL, VA(6), 8, 1), 2);
	ck_assert_int_eq(fake_wait(f, 1).status, -EFAULT);
	ck_assert_int_eq(fake_wait(f, 2).status, 0);
}
END_TEST

START_TEST(a_bad_command_hurts_no_other_address_space)
{
	void *other = NULL;

	ck_assert_int_eq(f->ops->as_create(f->dev, &other, &other), 0);
	fake_protect(f, 5, 1, 0);
	for (uint64_t i = 0; i < 200; i++) {
		fake_submit(f, other, COMMAND(DMO_OP_FILL, VA(5), 1u << 20, 1), 2 * i);
		fake_submit(f, f->as, COMMAND(DMO_OP_FILL, VA(1000), 1u << 20, i), 2 * i + 1);
	}
	for (uint64_t i = 0; i < 200; i++) {
		ck_assert_int_eq(fake_wait(f, 2 * i).status, -EFAULT);
		ck_assert_int_eq(fake_wait(f, 2 * i + 1).status, 0);
	}
	f->ops->as_destroy(other);
}
END_TEST

START_TEST(atomic_adds_of_many_address_spaces_all_count)
{
	enum { SPACES = 20, EACH = 200 };
	void *as[SPACES] = { 0 };
	struct dmo_command commands[EACH];

	for (int i = 0; i < EACH; i++) {
		commands[i] = COMMAND(DMO_OP_ATOMIC_ADD, VA(3), 1);
		commands[i].cookie = i == EACH - 1;
	}
	for (int i = 0; i < SPACES; i++)
		ck_assert_int_eq(f->ops->as_create(f->dev, &as[i], &as[i]), 0);
	for (int i = 0; i < SPACES; i++)
		ck_assert_int_eq(f->ops->submit(as[i], commands, EACH), 0);
	for (int i = 0; i < SPACES; i++)
		ck_assert_int_eq(fake_wait(f, 1).status, 0);
	ck_assert_uint_eq(*(uint64_t *)(f->memory + 3 * PAGE), SPACES * EACH);
	for (int i = 0; i < SPACES; i++)
		f->ops->as_destroy(as[i]);
}
END_TEST

START_TEST(address_spaces_take_turns)
{
	void *other = NULL;

	ck_assert_int_eq(f->ops->as_create(f->dev, &other, &other), 0);
	for (uint64_t i = 0; i < 300; i++)
		fake_submit(f, f->as, COMMAND(DMO_OP_FILL, VA(0), 4u << 20, i % 256), i);
	fake_submit(f, other, COMMAND(DMO_OP_FILL, VA(4000), 8, 1), 1000);
	ck_assert_int_eq(fake_wait(f, 1000).status, 0);
	pthread_mutex_lock(&f->lock);
	ck_assert_msg(f->done == NULL || f->done->completion.cookie < 299, "the other one came last");
	pthread_mutex_unlock(&f->lock);
	fake_wait(f, 299);
	f->ops->as_destroy(other);
}
END_TEST

START_TEST(destroying_stops_what_runs_and_cancels_what_waits)
{
	*(uint64_t *)f->memory = VA(0);
	for (uint64_t i = 0; i < 10; i++)
		fake_submit(f, f->as, COMMAND(DMO_OP_CHASE, VA(0), ~0ull), i);
	fake_wait_faults(f, 1);
	destroy_first();
	for (uint64_t i = 0; i < 10; i++)
		ck_assert_int_eq(fake_wait(f, i).status, -ECANCELED);
}
END_TEST

START_TEST(destroying_does_not_wait_for_a_fault)
{
	fake_hold(f, true);
	fake_submit(f, f->as, COMMAND(DMO_OP_FILL, VA(0), 32u << 20, 1), 1);
	fake_wait_faults(f, 3);
	destroy_first();
	ck_assert_int_eq(fake_wait(f, 1).status, -ECANCELED);
}
END_TEST

START_TEST(address_spaces_come_and_go_while_others_work)
{
	void *as = NULL;

	for (uint64_t i = 0; i < 300; i++) {
		fake_submit(f, f->as, COMMAND(DMO_OP_FILL, VA(0), 1u << 20, i % 256), i);
		ck_assert_int_eq(f->ops->as_create(f->dev, &as, &as), 0);
		for (uint64_t k = 0; k < i % 4; k++)
			fake_submit(f, as, COMMAND(DMO_OP_NOP, 0), 1000);
		f->ops->as_destroy(as);
	}
	for (uint64_t i = 0; i < 300; i++)
		ck_assert_int_eq(fake_wait(f, i).status, 0);
}
END_TEST

START_TEST(a_device_destroyed_at_work_stops_it)
{
	for (uint64_t i = 0; i < 100; i++)
		fake_submit(f, f->as, COMMAND(DMO_OP_FILL, VA(0), 8u << 20, i), i);
	f->keep_as = true;
}
END_TEST

/* ---- lost ------------------------------------------------------------------------------------------------------- */

static void lose(void)
{
	ck_assert_int_eq(f->ops->inject(f->dev, "lost"), 0);
}

START_TEST(a_lost_device_says_so_once)
{
	lose();
	lose();
	ck_assert_uint_eq(f->lost, 1);
}
END_TEST

START_TEST(a_lost_device_fails_what_runs_and_what_waits)
{
	fake_hold(f, true);
	for (uint64_t i = 0; i < 5; i++)
		fake_submit(f, f->as, COMMAND(DMO_OP_FILL, VA(0), 1u << 20, 1), i);
	fake_wait_faults(f, 1);
	lose();
	for (uint64_t i = 0; i < 5; i++)
		ck_assert_int_eq(fake_wait(f, i).status, -EIO);
}
END_TEST

START_TEST(a_lost_device_refuses_what_is_new)
{
	struct dmo_command nop = { .op = DMO_OP_NOP };
	char buffer[64];
	void *as;

	lose();
	ck_assert_int_eq(f->ops->submit(f->as, &nop, 1), -ENODEV);
	ck_assert_int_eq(f->ops->as_create(f->dev, &as, &as), -ENODEV);
	ck_assert_int_eq(fake_enter(f, 0, 1, FAKE_RW), -ENODEV);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_OUT, 0, 64, buffer, 0), -ENODEV);
	ck_assert_ptr_null(f->ops->window(f->dev, 0, 1));
}
END_TEST

START_TEST(a_lost_device_still_tells_what_was_dirty)
{
	uint64_t dirty[1];

	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_FILL, VA(2), 2 * PAGE, 1)).status, 0);
	lose();
	f->ops->as_release(f->as, VA(0), 8, 0, dirty);
	ck_assert_uint_eq(dirty[0], 0xc);
}
END_TEST

static void note_status(struct dmo_copy_job *job, int status)
{
	*(_Atomic int *)job->ctx = status;
}

START_TEST(a_lost_device_fails_transfers_on_their_way)
{
	static char buffer[1 << 20];
	_Atomic int status[4] = { 1, 1, 1, 1 };
	struct dmo_copy_job jobs[4];
	uint64_t start = fake_ms();

	teardown();
	f = fake_open("memory=32M,link=64K");	/* for 64 s */
	for (int i = 0; i < 4; i++)
		jobs[i] = (struct dmo_copy_job){ .dir = DMO_COPY_IN, .frame = (uint32_t)i * 256, .bytes = sizeof(buffer), .host = buffer,
						 .done = note_status, .ctx = &status[i],
						 .next = i < 3 ? &jobs[i + 1] : NULL };
	f->ops->copy(f->dev, jobs);
	lose();
	for (int i = 0; i < 4; i++) {
		while (status[i] == 1)
			usleep(1000);
		ck_assert_int_eq(status[i], -ENODEV);
	}
	ck_assert_uint_lt(fake_ms() - start, 30000);
}
END_TEST

/* ---- fork ---------------------------------------------------------------------------------------------------------- */

static void no_fault(void *host_ctx, const struct dmo_dev_fault *fault)
{
}

static void count_complete(void *owner, const struct dmo_completion *completion)
{
	atomic_fetch_add((_Atomic int *)owner, 1);
}

static void no_lost(void *host_ctx)
{
}

static int use_device(void *dev)
{
	struct dmo_command nop = { .op = DMO_OP_NOP };
	_Atomic int completed = 0;
	void *as;

	if (dmo_sim_ops.as_create(dev, (void *)&completed, &as) || dmo_sim_ops.submit(as, &nop, 1))
		return 1;
	while (!completed)
		usleep(1000);
	dmo_sim_ops.as_destroy(as);
	dmo_sim_ops.destroy(dev);
	return 0;
}

START_TEST(a_device_made_before_a_fork_works_after_it)
{
	static const struct dmo_host host = { no_fault, count_complete, no_lost };
	struct dmo_backend_info info;
	int status;
	char why[99];
	void *dev;
	pid_t pid;

	ck_assert_int_eq(dmo_sim_ops.create(&host, NULL, "npu0", "memory=1M", &info, &dev, why, sizeof(why)), 0);
	pid = fork();
	if (!pid)
		_exit(use_device(dev));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	dmo_sim_ops.destroy(dev);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("device life");
	TCase *t = tcase_create("life"), *forked = tcase_create("fork");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, commands_complete_in_the_order_written);
	tcase_add_test(t, a_failed_command_does_not_stop_those_behind_it);
	tcase_add_test(t, a_bad_command_hurts_no_other_address_space);
	tcase_add_test(t, atomic_adds_of_many_address_spaces_all_count);
	tcase_add_test(t, address_spaces_take_turns);
	tcase_add_test(t, destroying_stops_what_runs_and_cancels_what_waits);
	tcase_add_test(t, destroying_does_not_wait_for_a_fault);
	tcase_add_test(t, address_spaces_come_and_go_while_others_work);
	tcase_add_test(t, a_device_destroyed_at_work_stops_it);
	tcase_add_test(t, a_lost_device_says_so_once);
	tcase_add_test(t, a_lost_device_fails_what_runs_and_what_waits);
	tcase_add_test(t, a_lost_device_refuses_what_is_new);
	tcase_add_test(t, a_lost_device_still_tells_what_was_dirty);
	tcase_add_test(t, a_lost_device_fails_transfers_on_their_way);
	suite_add_tcase(s, t);
	tcase_add_test(forked, a_device_made_before_a_fork_works_after_it);
	suite_add_tcase(s, forked);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
