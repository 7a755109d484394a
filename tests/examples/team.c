/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * team.c - tests of the GPT-2 example's threads: each unit of each job once, whoever comes late
 */
#include "team.h"

#include <check.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNITS 64

static atomic_uint counts[UNITS];
static unsigned int plain[UNITS];	/* written without atomics: team_run's return must make it visible */

static void count(void *context, unsigned int unit)
{
	unsigned int *round = context;

	atomic_fetch_add(&counts[unit], 1);
	plain[unit] = *round;
	if (unit % 16 == *round % 16)
		sched_yield();
}

START_TEST(each_unit_runs_once_in_each_job)
{
	struct team *team = team_create(_i);
	unsigned int round, unit, units;

	ck_assert_ptr_nonnull(team);
	for (round = 1; round <= 3000; round++) {
		units = round % UNITS + 1;
		memset(counts, 0, sizeof(counts));
		team_run(team, units, count, &round);
		for (unit = 0; unit < UNITS; unit++) {
			ck_assert_uint_eq(counts[unit], unit < units);
			ck_assert(unit >= units || plain[unit] == round);
		}
		if (round % 1000 == 0)
			usleep(2000);	/* long enough for all to fall asleep */
	}
	team_free(team);
}
END_TEST

START_TEST(job_without_units_returns)
{
	struct team *team = team_create(3);

	ck_assert_ptr_nonnull(team);
	team_run(team, 0, NULL, NULL);
	team_free(team);
}
END_TEST

START_TEST(team_that_never_worked_ends)
{
	int i;

	for (i = 0; i < 50; i++)
		team_free(team_create(4));
	team_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gpt2 team");
	TCase *tc = tcase_create("threads");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, each_unit_runs_once_in_each_job, 1, 6);
	tcase_add_test(tc, job_without_units_returns);
	tcase_add_test(tc, team_that_never_worked_ends);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
