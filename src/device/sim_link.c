/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_link.c - reserves time on the link and waits for it
 */
#include "sim_link.h"

#include <time.h>

#define NS_PER_S 1000000000ull
#define SPIN_NS 40000		/* a sleep overshoots by about as much */

uint64_t sim_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t transfer_ns(const struct sim_link *link, uint64_t bytes)
{
	if (!link->bandwidth)
		return 0;
	return (uint64_t)((unsigned __int128)bytes * NS_PER_S / link->bandwidth);
}

uint64_t sim_link_reserve(struct sim_link *link, enum sim_link_dir dir, uint64_t bytes)
{
	uint64_t now, arrival;

	if (sim_link_is_free(link))
		return 0;
	now = sim_now();
	pthread_mutex_lock(&link->lock);
	if (link->busy[dir] < now)
		link->busy[dir] = now;
	link->busy[dir] += transfer_ns(link, bytes);
	arrival = link->busy[dir] + link->latency;
	pthread_mutex_unlock(&link->lock);
	return arrival;
}

void sim_wait_until(uint64_t when)
{
	uint64_t now = sim_now();
	struct timespec at = { .tv_sec = (time_t)(when / NS_PER_S), .tv_nsec = (long)(when % NS_PER_S) };

	if (when > now + SPIN_NS) {
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL))
			;
		return;
	}
	while (sim_now() < when)
		sim_relax();
}
