/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * queue.c - when completions come to who waits for them: the low-water mark
 *
 * A context is kept busy by a command that never ends, so that how many completions there are is no matter of time.
 */
#include "kit.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>

#define ROOM 16

/* A context with that mark, where as many commands are over as told and one more never will be. */
static int busy(unsigned mark, unsigned over)
{
	struct dmo_command commands[ROOM];
	int ctx = ctx_open("npu0");

	ck_assert_uint_le(over, ROOM);
	for (unsigned i = 0; i < over; i++)
		dmo_cmd_nop(&commands[i]);
	ck_ok(dmo_lowat(ctx_handle(ctx), mark));
	ck_assert_int_eq(dmo_submit(ctx_handle(ctx), commands, over), over);
	ctx_submit_endless(ctx);
	return ctx;
}

static bool readable(int ctx, int timeout_ms)
{
	struct pollfd p = { .fd = ctx, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1 && p.revents & POLLIN;
}

/* How many completions a read(2) with that much room gives. */
static int take(int ctx, unsigned room)
{
	struct dmo_completion completions[ROOM];
	ssize_t n = read(ctx, completions, room * sizeof(completions[0]));

	return n < 0 ? -errno : (int)(n / (ssize_t)sizeof(completions[0]));
}

START_TEST(a_context_is_readable_from_the_mark_on)
{
	int ctx = busy(3, 2);

	ck_assert(!readable(ctx, 200));
	ck_ok(dmo_lowat(ctx_handle(ctx), 2));
	ck_assert(readable(ctx, PATIENCE_MS));
	ck_assert_int_eq(take(ctx, ROOM), 2);
	ctx_close(ctx);
}
END_TEST

static void *takes(void *arg)
{
	int *ctx = arg;

	*ctx = take(*ctx, ROOM);
	return NULL;
}

START_TEST(a_lower_mark_ends_a_read_that_waits)
{
	int ctx = busy(3, 2), got = ctx;
	pthread_t thread;

	ck_ok(pthread_create(&thread, NULL, takes, &got));
	sleep_ms(50);
	ck_ok(dmo_lowat(ctx_handle(ctx), 2));
	ck_ok(pthread_join(thread, NULL));
	ck_assert_int_eq(got, 2);
	ctx_close(ctx);
}
END_TEST

START_TEST(a_read_waits_for_no_more_than_fits)
{
	int ctx = busy(10, 3);

	ck_assert_int_eq(take(ctx, 2), 2);
	ck_assert_int_eq(take(ctx, 1), 1);
	ctx_close(ctx);
}
END_TEST

START_TEST(a_read_that_does_not_block_takes_what_is_there)
{
	int ctx = busy(10, 1), got = -EAGAIN;

	ck_ok(fcntl(ctx, F_SETFL, O_RDWR | O_NONBLOCK));
	for (int i = 0; got == -EAGAIN && i < PATIENCE_MS; i++) {
		sleep_ms(1);
		got = take(ctx, ROOM);
	}
	ck_assert_int_eq(got, 1);
	ctx_close(ctx);
}
END_TEST

START_TEST(a_wait_ends_when_no_command_is_left)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", ROOM * MiB), i;
	uint64_t va = ctx_map(ctx, fd, 0, ROOM * MiB, READ_WRITE);
	struct dmo_command commands[ROOM];

	for (i = 0; i < ROOM; i++)
		dmo_cmd_fill(&commands[i], va + i * MiB, MiB, i);
	ck_ok(dmo_lowat(ctx_handle(ctx), DMO_LOWAT_MAX));
	ck_assert_int_eq(dmo_submit(ctx_handle(ctx), commands, ROOM), ROOM);
	ck_assert(readable(ctx, PATIENCE_MS));
	ck_assert_int_eq(take(ctx, ROOM), ROOM);
}
END_TEST

START_TEST(one_command_is_waited_for_at_any_mark)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);

	ck_ok(dmo_lowat(ctx_handle(ctx), DMO_LOWAT_MAX));
	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, MiB, READ_WRITE), MiB, 1));
	obj_check_byte(fd, 0, MiB, 1);
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "queue");
	conf_case(&run, "low-water mark", one_device, 20);
	conf_test(&run, a_context_is_readable_from_the_mark_on);
	conf_test(&run, a_lower_mark_ends_a_read_that_waits);
	conf_test(&run, a_read_waits_for_no_more_than_fits);
	conf_test(&run, a_read_that_does_not_block_takes_what_is_there);
	conf_test(&run, a_wait_ends_when_no_command_is_left);
	conf_test(&run, one_command_is_waited_for_at_any_mark);
	return conf_end(&run);
}
