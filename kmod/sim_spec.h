/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim_spec.h - the parameters of dmo_sim.ko */
#ifndef SIM_SPEC_H
#define SIM_SPEC_H

#include <linux/types.h>

#define SIM_DEVICES_MAX	8

struct sim_spec {
	u64 memory;		/* bytes of each device, whole pages */
	u64 link;		/* bytes a second each way; 0: unlimited */
	u64 latency;		/* ns */
	u64 coherent;		/* physical address where it begins; 0: private memory */
	u64 devices;
	bool faults;
	bool optional;
	const char *name;
};

/* Reads the module's parameters. -EINVAL: the log says which is wrong, and what it takes. */
int sim_spec_read(struct sim_spec *spec);

#endif
