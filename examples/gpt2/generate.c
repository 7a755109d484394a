/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * generate.c - the loop around the model: a token in, the likeliest next token out
 */
#include "generate.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

uint32_t run_steps(const struct run *run)
{
	return run->prompt + run->count - (run->count > 0);
}

double run_rate(const struct run *run)
{
	uint32_t steps = run_steps(run);

	if (steps < 2)
		return run->first_seconds > 0 ? steps / run->first_seconds : 0;
	return run->seconds > 0 ? (steps - 1) / run->seconds : 0;
}

static int take_step(struct run *run, const struct stepper *stepper, uint32_t position)
{
	struct step step = {
		.token = run->tokens[position],
		.position = position,
		.want_next = position + 1 >= run->prompt && position + 1 < run->prompt + run->count,
		.want_logits = run->logits != NULL,
	};
	int err = stepper->take(stepper->context, &step);

	if (err)
		return err;
	if (step.want_logits && fwrite(step.logits, sizeof(float), run->vocab, run->logits) != run->vocab)
		return -EIO;
	if (step.want_next)
		run->tokens[position + 1] = step.next;
	return 0;
}

int generate(struct run *run, const struct stepper *stepper)
{
	uint32_t steps = run_steps(run), position;
	double start = now(), first = start;
	bool show = !run->quiet && isatty(STDERR_FILENO);
	int err;

	for (position = 0; position < steps; position++) {
		err = take_step(run, stepper, position);
		if (err)
			return err;
		if (position == 0)
			first = now();
		if (show)
			fprintf(stderr, "\r%u of %u ", position + 1, steps);
	}
	run->first_seconds = first - start;
	run->seconds = now() - first;
	if (show)
		fprintf(stderr, "\r%20s\r", "");
	return run->logits && fflush(run->logits) ? -errno : 0;
}
