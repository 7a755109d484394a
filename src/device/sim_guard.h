/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_guard.h - touches host memory that may vanish, and lives
 *
 * A mapping of a backing file raises SIGBUS where the file was truncated or its disk fails. A thread that is about
 * to touch such memory arms a guard over that range; a SIGBUS inside it comes back as a jump, any other goes to
 * whoever handled SIGBUS before.
 *
 *	sim_guard_enter(&g);
 *	if (sigsetjmp(g.env, 0))
 *		... g.fault is the address ...
 *	sim_guard_arm(&g, start, bytes);  touch;  sim_guard_disarm(&g);
 *	sim_guard_leave(&g);
 */
#ifndef DMO_SIM_GUARD_H
#define DMO_SIM_GUARD_H

#include <setjmp.h>
#include <stdint.h>
#include <stddef.h>

struct sim_guard {
	sigjmp_buf env;
	volatile uintptr_t start, end;	/* armed over [start, end) */
	volatile uintptr_t fault;	/* where it struck */
};

/* Installs the handler, once for the process. 0 or -errno. Any thread. */
int sim_guard_install(void);

/* Makes guard the calling thread's. */
void sim_guard_enter(struct sim_guard *guard);
void sim_guard_leave(struct sim_guard *guard);

/*
 * For the start of a device's thread: names it, lets no signal but those of its own doing reach it (the program's are
 * for other threads), and asks for timers as exact as can be.
 */
void sim_thread_start(const char *name);

static inline void sim_guard_arm(struct sim_guard *guard, const void *start, size_t bytes)
{
	guard->start = (uintptr_t)start;
	guard->end = (uintptr_t)start + bytes;
	__asm__ volatile("" ::: "memory");
}

static inline void sim_guard_disarm(struct sim_guard *guard)
{
	__asm__ volatile("" ::: "memory");
	guard->end = 0;
	guard->start = 0;
}

#endif
