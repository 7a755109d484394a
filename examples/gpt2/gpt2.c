/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gpt2.c - generates text with GPT-2 from a .safetensors file
 *
 * The parts: options (command line), model and safetensors (the file), seed (makes one), cpu (the arithmetic from
 * plain memory), generate (the loop). This file puts them together and prints.
 * Exit status: 0, 1 for anything that failed, 2 for a bad command line.
 */
#include "cpu.h"
#include "generate.h"
#include "kernels.h"
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Everything that main opens, and that close_all ends. */
struct program {
	struct options options;
	struct gpt2_model model;
	int weights;			/* open file */
	char *weights_path;
	FILE *logits;
	uint32_t *prompt;		/* ids */
	uint32_t prompt_count;
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "gpt2: %s: %s\n", what, strerror(-err));
	return err;
}

static void show_progress(void *context, uint64_t done, uint64_t all)
{
	static unsigned int shown = ~0u;
	unsigned int percent = all ? 100 * done / all : 100;

	if (percent == shown || (!isatty(STDERR_FILENO) && percent % 25))
		return;
	shown = percent;
	fprintf(stderr, "%swriting seeded weights: %3u %% of %" PRIu64 " MB%s", isatty(STDERR_FILENO) ? "\r" : "",
		percent, all / 1000000, isatty(STDERR_FILENO) && percent < 100 ? "" : "\n");
}

static int write_seeded(const struct options *o, const char *path, const struct gpt2_shape *shape)
{
	int err = gpt2_write_seeded(path, shape, o->seed, o->quiet ? NULL : show_progress, NULL);

	return err ? fail(path, err) : 0;
}

/* The file that --weights names; else the seeded one, made if it isn't there. */
static int find_weights(struct program *p)
{
	const struct options *o = &p->options;

	p->weights_path = strdup(o->weights_given ? o->weights : "gpt2-seeded.safetensors");
	if (!p->weights_path)
		return fail("weights", -ENOMEM);
	if (o->weights_given || access(p->weights_path, F_OK) == 0)
		return 0;
	return write_seeded(o, p->weights_path, &gpt2_small);
}

static int open_model(struct program *p)
{
	char reason[160];
	int err;

	p->weights = open(p->weights_path, O_RDONLY | O_CLOEXEC);
	if (p->weights < 0)
		return fail(p->weights_path, -errno);
	err = gpt2_open(&p->model, p->weights, p->options.heads, reason, sizeof(reason));
	if (err)
		fprintf(stderr, "gpt2: %s: %s\n", p->weights_path, reason);
	return err;
}

static int complain(const char *text)
{
	fprintf(stderr, "gpt2: %s\n", text);
	return -EINVAL;
}

/* Counts and, where to is not NULL, stores the ids in a list "1,2,3". */
static int parse_ids(const char *text, uint32_t vocab, uint32_t *to, uint32_t *count)
{
	unsigned long id;
	char *end;

	for (*count = 0; ; text = end + 1) {
		if (*text < '0' || *text > '9')
			return complain("--ids wants numbers with commas between them");
		id = strtoul(text, &end, 10);
		if (id >= vocab)
			return complain("--ids: an id is not in the vocabulary");
		if (to)
			to[*count] = id;
		++*count;
		if (!*end)
			return 0;
		if (*end != ',')
			return complain("--ids wants numbers with commas between them");
	}
}

static int take_prompt(struct program *p)
{
	const char *text = p->options.ids;
	uint32_t vocab = p->model.shape.vocab;
	char last[16];
	int err;

	if (!text) {
		snprintf(last, sizeof(last), "%u", vocab - 1);
		text = last;
	}
	err = parse_ids(text, vocab, NULL, &p->prompt_count);
	if (err)
		return err;
	p->prompt = calloc(p->prompt_count, sizeof(*p->prompt));
	if (!p->prompt)
		return fail("prompt", -ENOMEM);
	return parse_ids(text, vocab, p->prompt, &p->prompt_count);
}

static int open_logits(struct program *p)
{
	if (!p->options.logits)
		return 0;
	p->logits = fopen(p->options.logits, "we");
	return p->logits ? 0 : fail(p->options.logits, -errno);
}

static int start_run(const struct program *p, struct run *run)
{
	*run = (struct run){
		.prompt = p->prompt_count, .count = p->options.tokens, .vocab = p->model.shape.vocab,
		.logits = p->logits, .quiet = p->options.quiet,
	};
	if (run_steps(run) > p->model.shape.positions)
		return complain("the prompt and --tokens pass the model's positions");
	run->tokens = calloc(run->prompt + run->count, sizeof(*run->tokens));
	if (!run->tokens)
		return fail("tokens", -ENOMEM);
	memcpy(run->tokens, p->prompt, run->prompt * sizeof(*run->tokens));
	return 0;
}

static uint32_t thread_count(const struct options *o)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return o->threads ? o->threads : cpus > 0 ? cpus : 1;
}

static void print_ids(const struct run *run, const char *between)
{
	uint32_t i;

	for (i = run->prompt; i < run->prompt + run->count; i++)
		printf("%s%u", i > run->prompt ? between : "", run->tokens[i]);
}

static void print_run(const struct program *p, const struct run *run, uint32_t threads)
{
	if (p->options.json) {
		printf("{\"mode\":\"cpu\",\"threads\":%u,\"tokens_per_second\":%.3f,\"first_seconds\":%.6f,\"tokens\":[",
		       threads, run_rate(run), run->first_seconds);
		print_ids(run, ",");
		printf("]}\n");
		return;
	}
	print_ids(run, " ");
	printf("\n");
	fprintf(stderr, "cpu, %u threads: %.2f tokens/s, %.2f GB/s of weights\n", threads, run_rate(run),
		run_rate(run) * gpt2_bytes_per_token(&p->model.shape) / 1e9);
}

/* ---- the CPU alone --------------------------------------------------------------------------------- */

struct cpu_stepper {
	struct gpt2_cpu *cpu;
	uint32_t vocab;
};

static int cpu_take(void *context, struct step *step)
{
	const struct cpu_stepper *cpu = context;
	bool want = step->want_next || step->want_logits;

	step->logits = gpt2_cpu_step(cpu->cpu, step->token, step->position, want);
	if (step->want_next)
		step->next = kernel_argmax(step->logits, cpu->vocab);
	return 0;
}

static int generate_on_cpu(struct program *p, struct run *run, uint32_t threads)
{
	struct cpu_stepper cpu = { .vocab = run->vocab };
	const struct stepper stepper = { cpu_take, &cpu };
	int err;

	err = gpt2_cpu_create(&cpu.cpu, &p->model, p->weights, threads, run_steps(run));
	if (err)
		return fail("loading the weights", err);
	err = generate(run, &stepper);
	gpt2_cpu_free(cpu.cpu);
	return err ? fail("generating", err) : 0;
}

static int run_cpu(struct program *p)
{
	uint32_t threads = thread_count(&p->options);
	struct run run;
	int err;

	err = start_run(p, &run);
	if (err)
		return err;
	err = generate_on_cpu(p, &run, threads);
	if (!err)
		print_run(p, &run, threads);
	free(run.tokens);
	return err;
}

/* ---- all together ---------------------------------------------------------------------------------- */

static int prepare(struct program *p)
{
	int err = find_weights(p);

	if (!err)
		err = open_model(p);
	if (!err)
		err = take_prompt(p);
	return err ? err : open_logits(p);
}

static void close_all(struct program *p)
{
	gpt2_close(&p->model);
	if (p->weights >= 0)
		close(p->weights);
	if (p->logits)
		fclose(p->logits);
	free(p->weights_path);
	free(p->prompt);
}

int main(int argc, char **argv)
{
	struct program p = { .weights = -1 };
	int status, err;

	if (!options_read(&p.options, argc, argv, &status))
		return status;
	if (p.options.write)
		return write_seeded(&p.options, p.options.write, &p.options.shape) ? 1 : 0;
	err = prepare(&p);
	if (!err)
		err = run_cpu(&p);
	close_all(&p);
	return err ? 1 : 0;
}
