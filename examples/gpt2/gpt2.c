/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gpt2.c - generates text with GPT-2 from a .safetensors file
 *
 * The parts: options (command line), bpe (text to tokens and back), model and safetensors (the file), seed
 * (makes one), cpu (the arithmetic from plain memory), device (the same as device commands), generate (the
 * loop), report (what is printed). This file puts them together. Exit status: 0, 1 for anything that failed,
 * 2 for a bad command line.
 */
#define _GNU_SOURCE

#include "bpe.h"
#include "cpu.h"
#include "kernels.h"
#include "options.h"
#include "report.h"

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
	struct bpe *bpe;		/* NULL without --vocab */
	uint32_t *prompt;		/* ids */
	uint32_t prompt_count;
};

static int fail(const char *what, int err)
{
	fprintf(stderr, "gpt2: %s: %s\n", what, err == -ENOTTY ? "not on a dmofs mount" : strerror(-err));
	return err;
}

static void show_progress(void *context, uint64_t done, uint64_t all)
{
	static unsigned int shown = ~0u;
	unsigned int percent = all ? 100 * done / all : 100;
	bool tty = isatty(STDERR_FILENO);

	if (percent == shown || (!tty && percent % 25))
		return;
	shown = percent;
	fprintf(stderr, "%swriting seeded weights: %3u %% of %" PRIu64 " MB%s", tty ? "\r" : "", percent,
		all / 1000000, tty && percent < 100 ? "" : "\n");
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

	if (asprintf(&p->weights_path, "%s%s%s", o->weights_given || !o->mount ? "" : o->mount,
		     o->weights_given || !o->mount ? "" : "/",
		     o->weights_given ? o->weights : "gpt2-seeded.safetensors") < 0) {
		p->weights_path = NULL;
		return fail("weights", -ENOMEM);
	}
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

static int take_ids(struct program *p, const char *text)
{
	uint32_t vocab = p->model.shape.vocab;
	int err;

	err = parse_ids(text, vocab, NULL, &p->prompt_count);
	if (err)
		return err;
	p->prompt = calloc(p->prompt_count, sizeof(*p->prompt));
	if (!p->prompt)
		return fail("prompt", -ENOMEM);
	return parse_ids(text, vocab, p->prompt, &p->prompt_count);
}

static int take_text(struct program *p, const char *text)
{
	size_t length = strlen(text);
	long n, i;

	p->prompt = calloc(length + 1, sizeof(*p->prompt));	/* no token is shorter than a byte */
	if (!p->prompt)
		return fail("prompt", -ENOMEM);
	n = bpe_encode(p->bpe, text, length, p->prompt, length);
	if (n < 0)
		return fail("prompt", n);
	if (n == 0)
		return complain("the prompt is empty");
	for (i = 0; i < n; i++)
		if (p->prompt[i] >= p->model.shape.vocab)
			return complain("the vocabulary doesn't belong to these weights: an id is too large");
	p->prompt_count = n;
	return 0;
}

/* The last token, which is the end of a text in GPT-2's vocabulary, stands for no prompt at all. */
static int take_prompt(struct program *p)
{
	const struct options *o = &p->options;
	char last[16];

	if (o->prompt)
		return take_text(p, o->prompt);
	snprintf(last, sizeof(last), "%u", p->model.shape.vocab - 1);
	return take_ids(p, o->ids ? o->ids : last);
}

static int open_vocabulary(struct program *p)
{
	char reason[160];
	int err;

	if (!p->options.vocab)
		return 0;
	err = bpe_load(&p->bpe, p->options.vocab, reason, sizeof(reason));
	if (err)
		fprintf(stderr, "gpt2: %s\n", reason);
	return err;
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

static void print_text(const struct program *p, const struct run *run)
{
	const char *bytes;
	size_t length;
	uint32_t i;

	for (i = 0; i < run->prompt + run->count; i++) {
		bytes = bpe_decode(p->bpe, run->tokens[i], &length);
		if (bytes)
			fwrite(bytes, 1, length, stdout);
	}
}

static void print_run(const struct program *p, struct report *report)
{
	report->bytes_per_token = gpt2_bytes_per_token(&p->model.shape);
	if (p->options.json) {
		report_json(report);
		return;
	}
	if (p->bpe)
		print_text(p, report->run);
	else
		report_ids(report->run, " ");
	printf("\n");
	report_text(report);
}

/* ---- the CPU --------------------------------------------------------------------------------------- */

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
	struct report report = { .run = &run, .threads = threads };
	int err;

	err = start_run(p, &run);
	if (err)
		return err;
	err = generate_on_cpu(p, &run, threads);
	if (!err)
		print_run(p, &report);
	free(run.tokens);
	return err;
}

/* ---- a device -------------------------------------------------------------------------------------- */

static int generate_on_device(struct program *p, struct run *run, struct gpt2_device_cost *cost)
{
	const struct options *o = &p->options;
	const struct gpt2_device_setup setup = {
		.model = &p->model, .weights = p->weights, .mount = o->mount, .device = o->device,
		.capacity = run_steps(run), .prefetch = o->prefetch,
	};
	struct stepper stepper = { .take = gpt2_device_take };
	struct gpt2_device *device;
	const char *what;
	int err;

	if (!gpt2_aligned(&p->model) && !o->quiet)
		fprintf(stderr, "gpt2: the weights lie askew in their file: using a copy\n");
	err = gpt2_device_create(&device, &setup, &what);
	if (err)
		return fail(what, err);
	stepper.context = device;
	err = generate(run, &stepper);
	if (!err)
		err = gpt2_device_cost(device, cost);
	gpt2_device_free(device);
	return err ? fail(o->device, err) : 0;
}

/* The same run on the CPU, with as many threads as the device; -EINVAL where the tokens differ. */
static int compare_with_cpu(struct program *p, const struct run *run, uint32_t threads)
{
	uint32_t cpu_threads = p->options.threads ? p->options.threads : threads, i;
	struct run cpu;
	struct report report = { .run = &cpu, .threads = cpu_threads };
	int err;

	err = start_run(p, &cpu);
	if (err)
		return err;
	cpu.logits = NULL;
	err = generate_on_cpu(p, &cpu, cpu_threads);
	if (!err) {
		print_run(p, &report);
		for (i = 0; i < cpu.prompt + cpu.count && cpu.tokens[i] == run->tokens[i]; i++)
			;
		if (i < cpu.prompt + cpu.count)
			err = complain("device and CPU don't give the same tokens");
	}
	free(cpu.tokens);
	return err;
}

static int run_device(struct program *p)
{
	struct gpt2_device_cost cost = { 0 };
	struct run run;
	struct report report = { .run = &run, .device = p->options.device, .cost = &cost };
	int err;

	err = start_run(p, &run);
	if (err)
		return err;
	err = generate_on_device(p, &run, &cost);
	if (!err) {
		report.threads = cost.threads;
		print_run(p, &report);
	}
	if (!err && p->options.compare)
		err = compare_with_cpu(p, &run, cost.threads);
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
		err = open_vocabulary(p);
	if (!err)
		err = take_prompt(p);
	return err ? err : open_logits(p);
}

static void close_all(struct program *p)
{
	bpe_free(p->bpe);
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
		err = p.options.mount ? run_device(&p) : run_cpu(&p);
	close_all(&p);
	return err ? 1 : 0;
}
