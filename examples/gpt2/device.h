/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.h - GPT-2 on a device, its weights mapped from a file of the mount
 */
#ifndef GPT2_DEVICE_H
#define GPT2_DEVICE_H

#include "generate.h"
#include "model.h"

#include <dmo/dmo.h>

struct gpt2_device;

/* What to run where. */
struct gpt2_device_setup {
	const struct gpt2_model *model;	/* must outlive the device */
	int weights;			/* its file, open for reading, on the mount; the caller's */
	const char *mount;
	const char *device;		/* a name, as in MOUNT/.dmo/devices */
	uint32_t capacity;		/* positions to have room for */
	bool prefetch;			/* bring all weights into device memory first */
};

/* What a run cost, counted since gpt2_device_create. */
struct gpt2_device_cost {
	uint32_t threads;		/* the device's compute threads */
	uint64_t memory;		/* its memory.max */
	uint64_t faults;		/* that the commands took */
	uint64_t waited_ns;		/* summed over compute threads */
	uint64_t ran_ns;		/* summed over commands */
	struct dmo_stat stat;		/* the growth of the device's own counters */
};

/*
 * Opens a context on the device, maps the weights into it for reading, and a scratch file (created in the
 * mount and unlinked at once) for activations, keys and values. Weights that don't lie on multiples of 4 in
 * their file are copied to a second such file first. 0 and *device, which the caller ends with
 * gpt2_device_free; or -errno, with a word for what was tried in *what (static).
 */
int gpt2_device_create(struct gpt2_device **device, const struct gpt2_device_setup *setup, const char **what);

/*
 * A struct stepper's take; context is the struct gpt2_device. Writes all commands of the token at once and
 * waits for their completions. -errno: the first command's that failed; later ones have run on garbage. The
 * logits are read through a mapping of the scratch file. Allocates nothing.
 */
int gpt2_device_take(void *context, struct step *step);

/* 0 or -errno of reading the counters. */
int gpt2_device_cost(struct gpt2_device *device, struct gpt2_device_cost *cost);

void gpt2_device_free(struct gpt2_device *device);

#endif
