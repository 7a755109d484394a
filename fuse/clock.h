/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clock.h - a moment from now, as pthread_cond_timedwait(3) takes it */
#ifndef FS_CLOCK_H
#define FS_CLOCK_H

#include <time.h>

static inline struct timespec fs_clock_after(clockid_t clock, long ns)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_sec += (t.tv_nsec + ns) / 1000000000;
	t.tv_nsec = (t.tv_nsec + ns) % 1000000000;
	return t;
}

#endif
