/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim.h - the simulated device, whole
 */
#ifndef DMO_SIM_H
#define DMO_SIM_H

#include "sim_copy.h"
#include "sim_exec.h"

struct sim_dev {
	struct sim_spec spec;
	struct sim_link link;
	struct sim_copy copy;
	struct sim_exec exec;
	unsigned char *memory;		/* spec.memory bytes; pages appear when they are first touched */
	atomic_bool started;		/* threads run, or were tried */
	pthread_mutex_t start_lock;	/* protects starting */
};

#endif
