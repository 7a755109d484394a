/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * idle.c - one reader for a lone caller, many for a crowd
 *
 * The kernel hands requests to waiting readers in turn. A program that makes one request after the other would so wake
 * another thread, on another CPU with another cache, for each of them. So there are two ways to wait:
 *
 *	ALONE	one thread reads, serves and reads again; the others are parked. Nobody reads while it serves.
 *	CROWD	as many threads read as want to, up to READERS_MAX, and the last one to take a request sees to it that
 *		somebody reads.
 *
 * A watch looks at what happened in each tick and decides:
 *
 *	ALONE -> CROWD	the reader is in one request for the whole tick (a slow store, or one that waits for another
 *			request); or most requests were there before the reader looked: several callers.
 *	CROWD -> ALONE	in a whole tick never more than one request was being carried out.
 *
 * It sleeps while there are no requests. A request behind one that hangs waits for two ticks at most.
 *
 * Locks: idle->lock, for everything here. Nothing but ops->wake is called under it.
 */
#include "config.h"

#include "idle.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"

#define READERS_MAX	16	/* also of those that are parked */
#define TICK_ALONE_US	1000
#define TICK_CROWD_US	10000

struct fs_idle {
	struct fs_idle_ops ops;
	pthread_mutex_t lock;
	pthread_cond_t parked_wake;	/* the parked wait for it */
	pthread_cond_t watch_wake;	/* the watch, on CLOCK_MONOTONIC */
	pthread_t watch;
	struct fs_idler *all;
	unsigned readers, parked, busy;
	bool alone;
	bool stopped, ended;		/* ended: the watch's end */
	bool dozing;			/* the watch waits for a request */
	/* Of the tick at hand. */
	unsigned taken;			/* requests */
	unsigned at_once;		/* of them, those that nobody had to wait for */
	unsigned busy_most;
};

/* ---- threads --------------------------------------------------------------------------------------------- */

void fs_idle_join(struct fs_idle *idle, struct fs_idler *idler)
{
	idler->thread = pthread_self();
	idler->reading = idler->alone = false;
	pthread_mutex_lock(&idle->lock);
	idler->next = idle->all;
	idle->all = idler;
	pthread_mutex_unlock(&idle->lock);
}

void fs_idle_quit(struct fs_idle *idle, struct fs_idler *idler)
{
	struct fs_idler **at;

	pthread_mutex_lock(&idle->lock);
	for (at = &idle->all; *at != idler; at = &(*at)->next)
		;
	*at = idler->next;
	pthread_mutex_unlock(&idle->lock);
}

/* Does another one read alone, or serve and then read? Lock held. */
static bool occupied(const struct fs_idle *idle)
{
	return idle->alone && (idle->readers || idle->busy);
}

/* Waits until it may read. False: it may not. Lock held. */
static bool park(struct fs_idle *idle)
{
	if (idle->parked == READERS_MAX)
		return false;
	idle->parked++;
	while (!idle->stopped && occupied(idle))
		pthread_cond_wait(&idle->parked_wake, &idle->lock);
	idle->parked--;
	return !idle->stopped;
}

bool fs_idle_enter(struct fs_idle *idle, struct fs_idler *idler)
{
	bool may;

	pthread_mutex_lock(&idle->lock);
	may = !idle->stopped && idle->readers < READERS_MAX;
	if (may && occupied(idle))
		may = park(idle);
	if (may) {
		idle->readers++;
		idler->reading = true;
		idler->alone = idle->alone;
	}
	pthread_mutex_unlock(&idle->lock);
	return may;
}

/* Somebody must read. Lock held, dropped and taken. */
static void call_reader(struct fs_idle *idle)
{
	if (idle->parked) {
		pthread_cond_signal(&idle->parked_wake);
		return;
	}
	pthread_mutex_unlock(&idle->lock);
	idle->ops.start(idle->ops.arg);
	pthread_mutex_lock(&idle->lock);
}

void fs_idle_taken(struct fs_idle *idle, struct fs_idler *idler, bool at_once)
{
	pthread_mutex_lock(&idle->lock);
	idler->reading = false;
	idle->readers--;
	idle->taken++;
	idle->at_once += at_once;
	if (++idle->busy > idle->busy_most)
		idle->busy_most = idle->busy;
	if (idle->dozing)
		pthread_cond_signal(&idle->watch_wake);
	if (!idle->alone && !idle->readers && !idle->stopped)
		call_reader(idle);
	pthread_mutex_unlock(&idle->lock);
}

void fs_idle_done(struct fs_idle *idle)
{
	pthread_mutex_lock(&idle->lock);
	idle->busy--;
	pthread_mutex_unlock(&idle->lock);
}

void fs_idle_left(struct fs_idle *idle, struct fs_idler *idler)
{
	pthread_mutex_lock(&idle->lock);
	idler->reading = false;
	idle->readers--;
	pthread_mutex_unlock(&idle->lock);
}

bool fs_idle_changed(struct fs_idle *idle, const struct fs_idler *idler)
{
	bool changed;

	pthread_mutex_lock(&idle->lock);
	changed = idle->stopped || idle->alone != idler->alone;
	pthread_mutex_unlock(&idle->lock);
	return changed;
}

/* ---- the watch --------------------------------------------------------------------------------------------- */

/* All but one of the readers look again, and find that one is enough. Lock held. */
static void recall(struct fs_idle *idle)
{
	struct fs_idler *keep = NULL;

	for (struct fs_idler *i = idle->all; i; i = i->next)
		if (i->reading && (!keep || i->alone))
			keep = i;
	for (struct fs_idler *i = idle->all; i; i = i->next)
		if (i->reading && i != keep)
			idle->ops.wake(i);
}

/* What the tick tells. Lock held, perhaps dropped and taken. */
static void judge(struct fs_idle *idle)
{
	bool hangs = idle->busy && !idle->taken;
	bool several = idle->taken >= 4 && idle->at_once > idle->taken / 2;

	if (!idle->alone) {
		idle->alone = idle->taken && idle->busy_most <= 1;
	} else if (hangs || several) {
		idle->alone = false;
		if (!idle->readers && !idle->stopped)
			call_reader(idle);
	}
	if (idle->alone && idle->readers > 1)
		recall(idle);
}

/* Waits for the end of a tick; where nothing goes on, for the next request first. Lock held. */
static void tick(struct fs_idle *idle)
{
	struct timespec until;
	bool quiet = !idle->taken;

	idle->taken = idle->at_once = 0;
	if (quiet) {
		idle->dozing = true;
		while (!idle->taken && !idle->ended)
			pthread_cond_wait(&idle->watch_wake, &idle->lock);
		idle->dozing = false;
	}
	idle->busy_most = idle->busy;
	until = fs_clock_after(CLOCK_MONOTONIC, (idle->alone ? TICK_ALONE_US : TICK_CROWD_US) * 1000L);
	while (!idle->ended && pthread_cond_timedwait(&idle->watch_wake, &idle->lock, &until) != ETIMEDOUT)
		;
}

static void *watch(void *arg)
{
	struct fs_idle *idle = arg;

	pthread_mutex_lock(&idle->lock);
	while (!idle->ended) {
		tick(idle);
		judge(idle);
	}
	pthread_mutex_unlock(&idle->lock);
	return NULL;
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static void init_conds(struct fs_idle *idle)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&idle->watch_wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&idle->parked_wake, NULL);
}

static void free_idle(struct fs_idle *idle)
{
	pthread_cond_destroy(&idle->parked_wake);
	pthread_cond_destroy(&idle->watch_wake);
	pthread_mutex_destroy(&idle->lock);
	free(idle);
}

struct fs_idle *fs_idle_create(const struct fs_idle_ops *ops)
{
	struct fs_idle *idle = calloc(1, sizeof(*idle));

	if (!idle)
		return NULL;
	idle->ops = *ops;
	idle->alone = true;
	pthread_mutex_init(&idle->lock, NULL);
	init_conds(idle);
	if (!pthread_create(&idle->watch, NULL, watch, idle))
		return idle;
	free_idle(idle);
	return NULL;
}

void fs_idle_stop(struct fs_idle *idle)
{
	pthread_mutex_lock(&idle->lock);
	idle->stopped = true;
	pthread_cond_broadcast(&idle->parked_wake);
	for (struct fs_idler *i = idle->all; i; i = i->next)
		idle->ops.wake(i);
	pthread_mutex_unlock(&idle->lock);
}

void fs_idle_destroy(struct fs_idle *idle)
{
	if (!idle)
		return;
	pthread_mutex_lock(&idle->lock);
	idle->ended = true;
	pthread_cond_signal(&idle->watch_wake);
	pthread_mutex_unlock(&idle->lock);
	pthread_join(idle->watch, NULL);
	free_idle(idle);
}
