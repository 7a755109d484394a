/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * team.h - threads that run one function together, in step
 *
 * A team of n has n - 1 threads of its own; the caller of team_run is member 0. Steps are short
 * (microseconds), so waiting spins first and sleeps after.
 */
#ifndef GPT2_TEAM_H
#define GPT2_TEAM_H

struct team;

/* A team of n >= 1; NULL and errno where it can't be had. The caller ends it with team_free. */
struct team *team_create(unsigned int n);
void team_free(struct team *team);

unsigned int team_size(const struct team *team);

/* Runs work(context, member) on all members, 0 to n - 1, and returns when all have. One caller at a time. */
void team_run(struct team *team, void (*work)(void *context, unsigned int member), void *context);

/* Called by every member inside work: returns when all have called it. */
void team_wait(struct team *team);

#endif
