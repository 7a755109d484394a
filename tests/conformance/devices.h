/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * devices.h - the module's devices for a test: dmo_sim.ko, loaded with what the specs say
 *
 * A spec is dmofs's: sim:NAME,memory=SIZE,key=value ... The module gives all of its devices the same parameters and
 * numbers their names itself, so specs that belong together say the same and are called npu0, npu1 ...; user, group
 * and mode are the node's and its limits'. Failures may always be injected.
 *
 * DMO_SIM in the environment is where the module is, DMO_COHERENT the address of memory that the kernel was told to
 * leave alone, for coherent=yes.
 */
#ifndef CONF_DEVICES_H
#define CONF_DEVICES_H

#include "home.h"

#include <stdbool.h>

/* What homes over the module leave out, entries of lists. */
#define DEVICES_EXEMPT \
	{ "faults_are_injected_only_where_the_device_allows_it", "dmo_sim's inject is for all of its devices" }, \
	{ "mapped_writes_to_a_hole_outlast_a_full_store_and_a_device", \
	  "a mapping shows the store's own pages: without room for one, a store into it is SIGBUS as there" }

/* Why there can be no devices, or NULL. */
const char *devices_missing(void);
/* -EINVAL: specs that the module can't serve. */
int devices_load(const char *const specs[]);
/* Waits for contexts and mappings to go. 0 also where no devices are loaded. */
int devices_unload(void);
/* The same for a guard. */
void devices_remove(void);
/* Where contexts are opened; of a control file, NULL where there is none. Valid until the next call. */
const char *devices_node(const char *device);
const char *devices_file(const char *device, const char *file);
int devices_inject(const char *device, const char *what);
/* All of them die. */
int devices_lose(void);
/* Does one that was lost wait to be replaced? */
bool devices_lost(void);

#endif
