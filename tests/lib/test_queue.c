/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands and completions. A socket pair stands for the context: the library has one end, a thread that plays the
 * device has the other and completes every command, with its first argument as the result.
 */
#include "lib/lib.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNANSWERED 0xdead	/* commands with this first argument get no completion */
#define REFUSED 0xbad		/* those with this one fail with EFAULT */

static struct dmo_as *as;
static int device_end;
static pthread_t device;

static bool read_command(struct dmo_command *command)
{
	return recv(device_end, command, sizeof(*command), MSG_WAITALL) == sizeof(*command);
}

static void *play_device(void *arg)
{
	struct dmo_command command;

	while (read_command(&command)) {
		struct dmo_completion completion = { .cookie = command.cookie, .op = command.op };

		completion.result[0] = command.arg[0];
		completion.status = command.arg[0] == REFUSED ? -EFAULT : 0;
		if (command.arg[0] != UNANSWERED)
			ck_assert_int_eq(send(device_end, &completion, sizeof(completion), MSG_NOSIGNAL),
					 sizeof(completion));
	}
	return arg;
}

static void set_up(void)
{
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	ck_assert_int_eq(dmo_as_import(ends[0], &as), 0);
	device_end = ends[1];
	ck_assert_int_eq(pthread_create(&device, NULL, play_device, NULL), 0);
}

static void tear_down(void)
{
	dmo_as_destroy(as);
	pthread_join(device, NULL);
	close(device_end);
}

static struct dmo_command command_with(uint64_t cookie, uint64_t arg)
{
	return (struct dmo_command){ .cookie = cookie, .op = DMO_OP_CHASE, .arg = { arg } };
}

START_TEST(submitted_commands_complete_in_order)
{
	struct dmo_command *commands = calloc(1000, sizeof(*commands));
	struct dmo_completion completions[50];
	uint64_t seen = 0;

	for (uint64_t i = 0; i < 1000; i++)
		commands[i] = command_with(i, i * 3);
	ck_assert_int_eq(dmo_submit(as, commands, 1000), 1000);
	while (seen < 1000) {
		int n = dmo_complete(as, completions, 50, -1);

		ck_assert_int_gt(n, 0);
		for (int i = 0; i < n; i++, seen++) {
			ck_assert_uint_eq(completions[i].cookie, seen);
			ck_assert_uint_eq(completions[i].result[0], seen * 3);
		}
	}
	free(commands);
}
END_TEST

START_TEST(cookies_of_the_library_are_refused)
{
	struct dmo_command commands[2] = { command_with(1, 1), command_with(DMO_COOKIE_MAX + 1, 1) };
	struct dmo_completion completion;

	ck_assert_int_eq(dmo_submit(as, commands, 2), -EINVAL);
	ck_assert_int_eq(dmo_complete(as, &completion, 1, 50), 0);
}
END_TEST

START_TEST(complete_returns_when_its_time_is_over)
{
	struct dmo_command command = command_with(1, UNANSWERED);
	struct dmo_completion completion;

	ck_assert_int_eq(dmo_complete(as, &completion, 1, 0), 0);
	ck_assert_int_eq(dmo_submit(as, &command, 1), 1);
	ck_assert_int_eq(dmo_complete(as, &completion, 1, 20), 0);
	ck_assert_int_eq(dmo_complete(as, &completion, 0, 20), -EINVAL);
}
END_TEST

START_TEST(run_gives_the_commands_own_completion)
{
	struct dmo_command command = command_with(~0ull, 99);
	struct dmo_completion completion;

	ck_assert_int_eq(dmo_run(as, &command, &completion), 0);
	ck_assert_uint_eq(completion.cookie, ~0ull);
	ck_assert_uint_eq(completion.result[0], 99);
	command = command_with(1, REFUSED);
	ck_assert_int_eq(dmo_run(as, &command, &completion), -EFAULT);
	ck_assert_int_eq(completion.status, -EFAULT);
	ck_assert_int_eq(dmo_run(as, &command, NULL), -EFAULT);
}
END_TEST

START_TEST(run_keeps_what_completes_before_it)
{
	struct dmo_command commands[300], last = command_with(0, 7);
	struct dmo_completion completions[300];
	int got = 0;

	for (uint64_t i = 0; i < 300; i++)
		commands[i] = command_with(i, i);
	ck_assert_int_eq(dmo_submit(as, commands, 300), 300);
	ck_assert_int_eq(dmo_run(as, &last, NULL), 0);
	while (got < 300) {
		int n = dmo_complete(as, completions + got, (unsigned)(300 - got), 0);

		ck_assert_int_gt(n, 0);
		got += n;
	}
	for (uint64_t i = 0; i < 300; i++)
		ck_assert_uint_eq(completions[i].cookie, i);
}
END_TEST

START_TEST(context_that_ends_gives_an_error)
{
	struct dmo_command command = command_with(1, UNANSWERED);
	struct dmo_completion completion;

	ck_assert_int_eq(dmo_submit(as, &command, 1), 1);
	signal(SIGPIPE, SIG_IGN);
	shutdown(device_end, SHUT_RDWR);
	ck_assert_int_lt(dmo_complete(as, &completion, 1, -1), 0);
	ck_assert_int_lt(dmo_run(as, &command, &completion), 0);
}
END_TEST

static void *run_many(void *arg)
{
	uint64_t base = (uintptr_t)arg;

	for (uint64_t i = 0; i < 500; i++) {
		struct dmo_command command = command_with(base, base + i);
		struct dmo_completion completion;

		if (dmo_run(as, &command, &completion) != 0 || completion.result[0] != base + i)
			return (void *)1;
	}
	return NULL;
}

static void *complete_many(void *arg)
{
	struct dmo_completion completions[16];
	uint64_t next = 0;

	while (next < 2000) {
		int n = dmo_complete(as, completions, 16, next % 3 ? -1 : 5);

		for (int i = 0; i < n; i++)
			if (completions[i].cookie != next++)
				return (void *)1;
		if (n < 0)
			return (void *)1;
	}
	return arg;
}

START_TEST(threads_that_run_and_one_that_completes_all_get_their_own)
{
	struct dmo_command command;
	pthread_t runners[4], completer;
	void *result;

	for (uintptr_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&runners[i], NULL, run_many, (void *)(i * 100000)), 0);
	ck_assert_int_eq(pthread_create(&completer, NULL, complete_many, NULL), 0);
	for (uint64_t i = 0; i < 2000; i++) {
		command = command_with(i, i);
		ck_assert_int_eq(dmo_submit(as, &command, 1), 1);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(runners[i], &result);
		ck_assert_ptr_null(result);
	}
	pthread_join(completer, &result);
	ck_assert_ptr_null(result);
}
END_TEST

START_TEST(constructors_fill_the_arguments_of_their_command)
{
	struct dmo_command cmd;

	dmo_cmd_cksum(&cmd, 1, 2, 3, 4, true);
	ck_assert_uint_eq(cmd.op, DMO_OP_CKSUM);
	for (uint64_t i = 0; i < 4; i++)
		ck_assert_uint_eq(cmd.arg[i], i + 1);
	ck_assert_uint_eq(cmd.arg[4], 1);
	dmo_cmd_axpy(&cmd, 1, 2, 3, 1.5f);
	ck_assert_uint_eq(cmd.arg[3], 0x3fc00000);
	dmo_cmd_gemv(&cmd, 1, 2, 3, 4, 5, 6, DMO_CMD_TRANSPOSE);
	ck_assert_uint_eq(cmd.flags, DMO_CMD_TRANSPOSE);
	ck_assert_uint_eq(cmd.arg[5], 6);
	dmo_cmd_nop(&cmd);
	ck_assert_uint_eq(cmd.cookie, 0);
	ck_assert_uint_eq(cmd.arg[5], 0);
}
END_TEST

START_TEST(references_keep_the_context_open)
{
	struct dmo_command command = command_with(1, 5);

	ck_assert_ptr_eq(dmo_as_ref(as), as);
	dmo_as_destroy(as);
	ck_assert_int_eq(dmo_run(as, &command, NULL), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("queue");
	TCase *tc = tcase_create("queue");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, submitted_commands_complete_in_order);
	tcase_add_test(tc, cookies_of_the_library_are_refused);
	tcase_add_test(tc, complete_returns_when_its_time_is_over);
	tcase_add_test(tc, run_gives_the_commands_own_completion);
	tcase_add_test(tc, run_keeps_what_completes_before_it);
	tcase_add_test(tc, context_that_ends_gives_an_error);
	tcase_add_test(tc, threads_that_run_and_one_that_completes_all_get_their_own);
	tcase_add_test(tc, constructors_fill_the_arguments_of_their_command);
	tcase_add_test(tc, references_keep_the_context_open);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
