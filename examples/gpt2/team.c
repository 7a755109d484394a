/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * team.c - a ticket counter, and threads that draw from it
 *
 * A job is one word: number, units, next unit. Drawing a ticket is one addition to that word, which tells at
 * once whether the unit exists and to which job it belongs; so a thread that comes late draws from the job
 * that is there, never from one that is over. work and context are written before the job is and read only by
 * who drew a unit, and no job is made before the last one's units are done. No lock.
 *
 * Who waits looks SPINS times and then sleeps on a futex: threads on number, the caller on done.
 */
#include "team.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINS 2000

struct team {
	_Atomic uint64_t job;		/* number << 32 | units << 16 | next unit */
	atomic_uint number;		/* of the job */
	atomic_uint sleepers;		/* threads that sleep on number */
	atomic_uint done;		/* units */
	atomic_uint caller_sleeps;
	atomic_bool stop;
	void (*work)(void *context, unsigned int unit);
	void *context;
	unsigned int started;
	pthread_t threads[];
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* Sleeps unless *word is no longer value; wakes for no reason too. */
static void sleep_on(atomic_uint *word, unsigned int value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

/* Waits until another job than that of number seen is there. number follows job, so it may lag but not lead. */
static void wait_job(struct team *team, unsigned int seen)
{
	int i;

	for (i = 0; i < SPINS; i++) {
		if (atomic_load(&team->job) >> 32 != seen)
			return;
		relax();
	}
	atomic_fetch_add(&team->sleepers, 1);
	while (atomic_load(&team->job) >> 32 == seen)
		sleep_on(&team->number, seen);
	atomic_fetch_sub(&team->sleepers, 1);
}

/* Waits until units are done. Only the last one wakes. */
static void wait_done(struct team *team, unsigned int units)
{
	unsigned int done;
	int i;

	for (i = 0; i < SPINS; i++) {
		if (atomic_load(&team->done) == units)
			return;
		relax();
	}
	atomic_store(&team->caller_sleeps, 1);
	while ((done = atomic_load(&team->done)) < units)
		sleep_on(&team->done, done);
	atomic_store(&team->caller_sleeps, 0);
}

static void wake(atomic_uint *word, atomic_uint *sleepers)
{
	if (atomic_load(sleepers))
		syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Works until no unit is left; returns the job's number. */
static unsigned int draw(struct team *team)
{
	unsigned int unit, units;
	uint64_t job;

	for (;;) {
		job = atomic_fetch_add(&team->job, 1);
		unit = job & 0xffff;
		units = job >> 16 & 0xffff;
		if (unit >= units)
			return job >> 32;
		team->work(team->context, unit);
		if (atomic_fetch_add(&team->done, 1) + 1 == units)
			wake(&team->done, &team->caller_sleeps);
	}
}

static void *thread_main(void *argument)
{
	struct team *team = argument;
	unsigned int seen = 0;

	while (!atomic_load(&team->stop)) {
		wait_job(team, seen);
		seen = draw(team);
	}
	return NULL;
}

static void publish(struct team *team, unsigned int units)
{
	unsigned int number = atomic_load(&team->number) + 1;

	atomic_store(&team->done, 0);
	atomic_store(&team->job, (uint64_t)number << 32 | units << 16);
	atomic_store(&team->number, number);
	wake(&team->number, &team->sleepers);
}

void team_run(struct team *team, unsigned int units, void (*work)(void *context, unsigned int unit), void *context)
{
	team->work = work;
	team->context = context;
	publish(team, units);
	draw(team);
	wait_done(team, units);
}

void team_free(struct team *team)
{
	unsigned int i;

	if (!team)
		return;
	atomic_store(&team->stop, true);
	publish(team, 0);
	for (i = 0; i < team->started; i++)
		pthread_join(team->threads[i], NULL);
	free(team);
}

struct team *team_create(unsigned int n)
{
	struct team *team = calloc(1, sizeof(*team) + n * sizeof(team->threads[0]));
	int err;

	if (!team)
		return NULL;
	while (team->started + 1 < n) {
		err = pthread_create(&team->threads[team->started], NULL, thread_main, team);
		if (err) {
			team_free(team);
			errno = err;
			return NULL;
		}
		team->started++;
	}
	return team;
}
