/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * team.h - threads that share out the units of a job
 *
 * A team of n has n - 1 threads of its own; who calls team_run works too. Units go to whoever is free, so a
 * thread that the system has put aside holds up one unit at most. Jobs are short (microseconds), so waiting
 * spins first and sleeps after.
 */
#ifndef GPT2_TEAM_H
#define GPT2_TEAM_H

struct team;

#define TEAM_THREADS_MAX	1024
#define TEAM_UNITS_MAX		32768

/* A team of n, 1 to TEAM_THREADS_MAX; NULL and errno where it can't be had. The caller ends it with team_free. */
struct team *team_create(unsigned int n);
void team_free(struct team *team);

/*
 * Calls work(context, unit) for each unit from 0 to below units (at most TEAM_UNITS_MAX), in any order and
 * several at once, and returns when all are over. One caller at a time.
 */
void team_run(struct team *team, unsigned int units, void (*work)(void *context, unsigned int unit), void *context);

#endif
