/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_link.h - the link between host and device, as a clock
 *
 * Nothing is carried here: a transfer reserves its time on the link and is told when its last byte has arrived.
 * Each direction has its own time; reservations follow each other without gaps, and the latency is added to each
 * arrival but delays no other transfer.
 */
#ifndef DMO_SIM_LINK_H
#define DMO_SIM_LINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum sim_link_dir { SIM_LINK_IN, SIM_LINK_OUT };

struct sim_link {
	uint64_t bandwidth;	/* bytes a second; 0: unlimited */
	uint64_t latency;	/* ns */
	pthread_mutex_t lock;	/* protects busy */
	uint64_t busy[2];	/* when each direction is free again, in ns */
};

/* True where every transfer arrives at once. */
static inline bool sim_link_is_free(const struct sim_link *link)
{
	return !link->bandwidth && !link->latency;
}

/* For the inside of a loop that spins. */
static inline void sim_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("" ::: "memory");
#endif
}

/* Now, in ns on the clock that arrivals are told in. */
uint64_t sim_now(void);

/* Reserves bytes in a direction. Returns when they have arrived; 0: at once. Any thread. */
uint64_t sim_link_reserve(struct sim_link *link, enum sim_link_dir dir, uint64_t bytes);

/* Waits until the clock shows when: sleeps where that is far, spins where it is near. */
void sim_wait_until(uint64_t when);

#endif
