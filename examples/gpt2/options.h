/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.h - what gpt2 was asked to do
 */
#ifndef GPT2_OPTIONS_H
#define GPT2_OPTIONS_H

#include "model.h"

#include <stdbool.h>
#include <stdint.h>

struct options {
	const char *weights;	/* --weights, or the default, which is written where it doesn't exist */
	bool weights_given;
	const char *write;	/* --write: make a seeded file and stop */
	const char *ids;
	const char *prompt;
	const char *vocab;
	const char *logits;
	const char *mount;	/* --mount: run on a device of it */
	const char *device;
	bool cpu;
	bool compare;		/* both, and hold one against the other */
	bool prefetch;
	bool json;
	bool quiet;
	uint32_t tokens;
	uint32_t heads;
	uint32_t seed;
	uint32_t threads;	/* 0: as many as there are CPUs, or as the device has */
	struct gpt2_shape shape;	/* of what --write makes */
};

/*
 * Reads the command line. Returns true to go on; false to stop with exit status *status, everything having
 * been said (help on stdout, complaints on stderr). Strings stay argv's.
 */
bool options_read(struct options *o, int argc, char **argv, int *status);

#endif
