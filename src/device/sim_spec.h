/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_spec.h - the options of a simulated device, "key=value,..."
 */
#ifndef DMO_SIM_SPEC_H
#define DMO_SIM_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_THREADS_MAX 64

struct sim_spec {
	uint64_t memory;	/* bytes of device memory, whole frames */
	uint64_t link;		/* bytes a second each way; 0: unlimited */
	uint64_t latency;	/* ns for each transfer */
	unsigned threads;	/* compute threads */
	bool faults;		/* it resolves its own faults */
	bool coherent;		/* the CPU reaches its memory */
};

/* A line for each option, for a program's help. */
extern const char sim_spec_help[];

/*
 * Fills spec from text (NULL or "": all defaults). -EINVAL with a line in why that names the option, what is wrong
 * with it, and what would be right.
 */
int sim_spec_parse(const char *text, struct sim_spec *spec, char *why, size_t why_size);

#endif
