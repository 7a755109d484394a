/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.c - gpt2's command line
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
	"usage: gpt2 --mount MOUNT [--device NAME] [--weights FILE] [options]\n"
	"       gpt2 --cpu [--weights FILE] [options]\n"
	"       gpt2 --write FILE [--shape LAYERS,WIDTH,HEADS,VOCAB,POSITIONS] [--seed N]\n"
	"\n"
	"Generates tokens with GPT-2, greedily.\n"
	"\n"
	"  --mount MOUNT    run on a device of this dmofs mount; the weights are a file on it\n"
	"  --device NAME    the device (npu0)\n"
	"  --prefetch       bring the weights into device memory first\n"
	"  --cpu            run on the CPU, from plain memory\n"
	"  --compare        with --mount: run on the CPU as well; fail unless the tokens are the same\n"
	"  --weights FILE   a .safetensors file with the published names of GPT-2's tensors;\n"
	"                   without it gpt2-seeded.safetensors on the mount or here, written from a seed if it\n"
	"                   isn't there\n"
	"  --tokens N       tokens to generate (32)\n"
	"  --ids A,B,...    the prompt as token ids (the end-of-text token)\n"
	"  --prompt TEXT    the prompt as text; needs --vocab\n"
	"  --vocab DIR      where vocab.json and merges.txt are; the output becomes text\n"
	"  --threads N      compute threads of the CPU (as many as the device has, or as CPUs)\n"
	"  --heads N        attention heads, where the file doesn't say (width / 64)\n"
	"  --logits FILE    write each step's logits there, raw f32\n"
	"  --write FILE     write a seeded model there and stop\n"
	"  --shape ...      its shape (12,768,12,50257,1024: GPT-2 small)\n"
	"  --seed N         its seed (1)\n"
	"  --json           print the result as JSON\n"
	"  --quiet          no progress\n"
	"  --help\n";

enum option_id {
	OPT_CPU = 256, OPT_MOUNT, OPT_DEVICE, OPT_PREFETCH, OPT_COMPARE, OPT_WEIGHTS, OPT_TOKENS, OPT_IDS,
	OPT_PROMPT, OPT_VOCAB, OPT_THREADS, OPT_HEADS, OPT_LOGITS, OPT_WRITE, OPT_SHAPE,
	OPT_SEED, OPT_JSON, OPT_QUIET, OPT_HELP
};

static const struct option table[] = {
	{ "mount", required_argument, NULL, OPT_MOUNT },
	{ "device", required_argument, NULL, OPT_DEVICE },
	{ "prefetch", no_argument, NULL, OPT_PREFETCH },
	{ "compare", no_argument, NULL, OPT_COMPARE },
	{ "cpu", no_argument, NULL, OPT_CPU },
	{ "weights", required_argument, NULL, OPT_WEIGHTS },
	{ "tokens", required_argument, NULL, OPT_TOKENS },
	{ "ids", required_argument, NULL, OPT_IDS },
	{ "prompt", required_argument, NULL, OPT_PROMPT },
	{ "vocab", required_argument, NULL, OPT_VOCAB },
	{ "threads", required_argument, NULL, OPT_THREADS },
	{ "heads", required_argument, NULL, OPT_HEADS },
	{ "logits", required_argument, NULL, OPT_LOGITS },
	{ "write", required_argument, NULL, OPT_WRITE },
	{ "shape", required_argument, NULL, OPT_SHAPE },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 }
};

static bool complain(const char *what, const char *value)
{
	fprintf(stderr, "gpt2: %s%s%s\n", what, value ? ": " : "", value ? value : "");
	return false;
}

/* A number from least to most that ends at one of ends (a NUL included). */
static bool number(const char **text, const char *ends, uint32_t least, uint32_t most, uint32_t *value)
{
	unsigned long long v;
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	errno = 0;
	v = strtoull(*text, &end, 10);
	if (errno || v < least || v > most || (*end && !strchr(ends, *end)))
		return false;
	*value = v;
	*text = *end ? end + 1 : end;
	return true;
}

static bool read_number(const char *text, uint32_t least, uint32_t most, uint32_t *value, const char *name)
{
	return number(&text, "", least, most, value) || complain(name, text);
}

static bool read_shape(const char *text, struct gpt2_shape *shape)
{
	uint32_t *const to[] = { &shape->layers, &shape->width, &shape->heads, &shape->vocab,
				 &shape->positions };
	const char *at = text;
	int i;

	for (i = 0; i < 5; i++)
		if (!number(&at, ",", 1, i < 3 ? 16384 : 1u << 20, to[i]))
			return complain("--shape wants LAYERS,WIDTH,HEADS,VOCAB,POSITIONS", text);
	if (*at || shape->width % shape->heads)
		return complain("--shape: the heads must divide the width", text);
	shape->inner = 4 * shape->width;
	return true;
}

/* Options that are numbers. */
static bool take_number(struct options *o, int id, const char *value)
{
	switch (id) {
	case OPT_TOKENS: return read_number(value, 1, 1u << 20, &o->tokens, "--tokens wants a number above 0");
	case OPT_THREADS: return read_number(value, 1, 1024, &o->threads, "--threads wants 1 to 1024");
	case OPT_HEADS: return read_number(value, 1, 65536, &o->heads, "--heads wants a number above 0");
	case OPT_SEED: return read_number(value, 0, ~0u, &o->seed, "--seed wants a number below 2^32");
	case OPT_SHAPE: return read_shape(value, &o->shape);
	default: return false;
	}
}

static bool take(struct options *o, int id, const char *value)
{
	switch (id) {
	case OPT_CPU: o->cpu = true; return true;
	case OPT_COMPARE: o->compare = true; return true;
	case OPT_PREFETCH: o->prefetch = true; return true;
	case OPT_MOUNT: o->mount = value; return true;
	case OPT_DEVICE: o->device = value; return true;
	case OPT_JSON: o->json = true; return true;
	case OPT_QUIET: o->quiet = true; return true;
	case OPT_WEIGHTS: o->weights = value; return true;
	case OPT_IDS: o->ids = value; return true;
	case OPT_PROMPT: o->prompt = value; return true;
	case OPT_VOCAB: o->vocab = value; return true;
	case OPT_LOGITS: o->logits = value; return true;
	case OPT_WRITE: o->write = value; return true;
	default: return take_number(o, id, value);
	}
}

static bool check(const struct options *o)
{
	if (o->prompt && !o->vocab)
		return complain("--prompt needs --vocab DIR; without a vocabulary give --ids", NULL);
	if (o->prompt && o->ids)
		return complain("--prompt and --ids exclude each other", NULL);
	if (!o->cpu && !o->mount && !o->write)
		return complain("nothing to do: give --mount, --cpu or --write (see --help)", NULL);
	if (o->cpu && o->mount)
		return complain("--cpu and --mount exclude each other; --compare does both", NULL);
	if (!o->mount && (o->compare || o->prefetch))
		return complain("--compare and --prefetch need --mount", NULL);
	return true;
}

bool options_read(struct options *o, int argc, char **argv, int *status)
{
	int id;

	*o = (struct options){ .device = "npu0", .tokens = 32, .seed = 1, .shape = gpt2_small };
	*status = 2;
	while ((id = getopt_long(argc, argv, "", table, NULL)) != -1) {
		if (id == OPT_HELP) {
			fputs(help, stdout);
			*status = 0;
			return false;
		}
		if (id == '?' || !take(o, id, optarg))
			return false;
	}
	if (optind < argc)
		return complain("unexpected argument", argv[optind]);
	o->weights_given = o->weights != NULL;
	return check(o);
}
