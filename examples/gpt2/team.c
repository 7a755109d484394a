/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * team.c - a barrier, and threads that go from barrier to barrier
 *
 * arrived counts members at the barrier; the last one resets it and raises phase, which the others watch:
 * SPINS looks and then a futex. work, context and stop are written by member 0 before the barrier that starts
 * the others and read after it. No lock.
 */
#include "team.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINS 4000

struct team {
	atomic_uint size;
	unsigned int started;		/* threads that exist */
	atomic_uint arrived;
	atomic_uint phase;
	atomic_uint sleepers;
	bool stop;
	void (*work)(void *context, unsigned int member);
	void *context;
	struct member {
		struct team *team;
		unsigned int number;
		pthread_t thread;
	} members[];
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

static void wait_for_phase(struct team *team, unsigned int old)
{
	int i;

	for (i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(&team->phase, memory_order_acquire) != old)
			return;
		relax();
	}
	atomic_fetch_add(&team->sleepers, 1);
	while (atomic_load(&team->phase) == old)
		syscall(SYS_futex, &team->phase, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
	atomic_fetch_sub(&team->sleepers, 1);
}

void team_wait(struct team *team)
{
	unsigned int old = atomic_load(&team->phase);

	if (atomic_fetch_add(&team->arrived, 1) + 1 < team->size) {
		wait_for_phase(team, old);
		return;
	}
	atomic_store(&team->arrived, 0);
	atomic_fetch_add(&team->phase, 1);
	if (atomic_load(&team->sleepers))
		syscall(SYS_futex, &team->phase, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void *member_main(void *argument)
{
	struct member *member = argument;
	struct team *team = member->team;

	for (;;) {
		team_wait(team);
		if (team->stop)
			return NULL;
		team->work(team->context, member->number);
		team_wait(team);
	}
}

void team_run(struct team *team, void (*work)(void *context, unsigned int member), void *context)
{
	team->work = work;
	team->context = context;
	team_wait(team);
	work(context, 0);
	team_wait(team);
}

unsigned int team_size(const struct team *team)
{
	return team->size;
}

/* Lets those that were started go: with fewer than size members the barrier counts those there are. */
void team_free(struct team *team)
{
	unsigned int i;

	if (!team)
		return;
	team->size = team->started + 1;
	team->stop = true;
	team_wait(team);
	for (i = 1; i <= team->started; i++)
		pthread_join(team->members[i].thread, NULL);
	free(team);
}

struct team *team_create(unsigned int n)
{
	struct team *team = calloc(1, sizeof(*team) + n * sizeof(team->members[0]));
	unsigned int i;
	int err;

	if (!team)
		return NULL;
	team->size = n;
	for (i = 1; i < n; i++) {
		team->members[i].team = team;
		team->members[i].number = i;
		err = pthread_create(&team->members[i].thread, NULL, member_main, &team->members[i]);
		if (err) {
			team_free(team);
			errno = err;
			return NULL;
		}
		team->started++;
	}
	return team;
}
