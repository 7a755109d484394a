/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * generate.h - greedy decoding over anything that can take a step
 */
#ifndef GPT2_GENERATE_H
#define GPT2_GENERATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What one step asks for. */
struct step {
	uint32_t token;
	uint32_t position;
	bool want_next;		/* the head's product and its argmax; a prompt's inner tokens need neither */
	bool want_logits;
	uint32_t next;		/* out with want_next */
	const float *logits;	/* out with want_logits, valid until the next step */
};

/* Whoever runs the model: take gives 0 or -errno. */
struct stepper {
	int (*take)(void *context, struct step *step);
	void *context;
};

/* A run: tokens holds the prompt's prompt ids first and has room for prompt + count. */
struct run {
	uint32_t *tokens;
	uint32_t prompt;	/* > 0 */
	uint32_t count;		/* tokens to generate */
	uint32_t vocab;
	FILE *logits;		/* gets every step's logits, raw f32, where not NULL */
	bool quiet;
	double seconds;		/* out: of all steps but the first */
	double first_seconds;	/* out: of the first step */
};

/*
 * Feeds the prompt, then each token that comes out. 0, and tokens is filled; or -errno of a step or of
 * writing the logits. Allocates nothing.
 */
int generate(struct run *run, const struct stepper *stepper);

/* Steps that run took, and how many a second, the first left out (a device is cold then). */
uint32_t run_steps(const struct run *run);
double run_rate(const struct run *run);

#endif
