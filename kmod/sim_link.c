// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_link.c - reserves time on the link and waits for it
 *
 * Reservations of a direction follow each other without gaps. The latency is added to each arrival and
 * delays no other transfer.
 */
#include "sim.h"

#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/sched.h>

static u64 transfer_ns(const struct sim_link *link, u64 bytes)
{
	return link->bandwidth ? div64_u64(bytes * NSEC_PER_SEC, link->bandwidth) : 0;
}

u64 sim_link_reserve(struct sim_link *link, enum sim_link_dir dir, u64 bytes)
{
	u64 arrival;

	if (!link->bandwidth && !link->latency)
		return 0;
	spin_lock(&link->lock);
	link->busy[dir] = max(link->busy[dir], ktime_get_ns()) + transfer_ns(link, bytes);
	arrival = link->busy[dir] + link->latency;
	spin_unlock(&link->lock);
	return arrival;
}

void sim_link_wait(u64 when)
{
	ktime_t at = ns_to_ktime(when);

	while (ktime_get_ns() < when) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		schedule_hrtimeout(&at, HRTIMER_MODE_ABS);
	}
}
