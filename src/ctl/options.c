/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.c - the options of all commands, parsed in one place
 *
 * An option means the same wherever it is taken. A command names those it takes; the others are unknown to it.
 */
#include "ctl.h"

#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const struct option all[] = {
	{ "device", required_argument, NULL, 'd' },
	{ "mount", required_argument, NULL, 'm' },
	{ "range", required_argument, NULL, 'R' },
	{ "value", required_argument, NULL, 'v' },
	{ "byte", required_argument, NULL, 'b' },
	{ "watch", optional_argument, NULL, 'w' },
	{ "count", required_argument, NULL, 'n' },
	{ "jobs", required_argument, NULL, 'j' },
	{ "json", no_argument, NULL, 'J' },
	{ "progress", no_argument, NULL, 'P' },
	{ "recursive", no_argument, NULL, 'r' },
	{ "no-color", no_argument, NULL, 'C' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};
#define ALL (sizeof(all) / sizeof(all[0]))

/* True where name is one of the words of list. */
static bool is_in(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (const char *at = list; (at = strstr(at, name)); at += n)
		if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
			return true;
	return false;
}

/* The allowed rows of the table, and their letters for getopt. */
static void choose(const char *allowed, struct option *some, char *letters)
{
	for (size_t i = 0; i + 1 < ALL; i++) {
		if (all[i].val != 'h' && !is_in(allowed, all[i].name))
			continue;
		*some++ = all[i];
		if (all[i].val >= 'A' && all[i].val <= 'Z')
			continue;
		*letters++ = (char)all[i].val;
		if (all[i].has_arg == required_argument)
			*letters++ = ':';
		if (all[i].has_arg == optional_argument) {
			*letters++ = ':';
			*letters++ = ':';
		}
	}
	*some = (struct option){ 0 };
	*letters = '\0';
}

static int number(const char *option, const char *text, uint64_t max, uint64_t *n)
{
	char *end;

	errno = 0;
	*n = strtoull(text, &end, 0);
	if (errno || end == text || *end || strchr(text, '-') || *n > max) {
		complain("--%s takes a number from 0 to %llu, not \"%s\"", option, (unsigned long long)max, text);
		return CTL_USAGE;
	}
	return CTL_OK;
}

static int watch_seconds(const char *text, double *seconds)
{
	char *end;

	*seconds = text ? strtod(text, &end) : 1;
	if (text && (end == text || *end || !(*seconds >= 0.01 && *seconds <= 86400))) {
		complain("--watch takes seconds, 0.01 to 86400, not \"%s\"", text);
		return CTL_USAGE;
	}
	return CTL_OK;
}

static int take_number(int letter, struct options *o)
{
	uint64_t n = 0;
	int r;

	switch (letter) {
	case 'v':
		r = number("value", optarg, UINT64_MAX, &o->value);
		o->has_value = true;
		return r;
	case 'b':
		r = number("byte", optarg, 255, &n);
		o->byte = (unsigned)n;
		o->has_byte = true;
		return r;
	case 'n':
		r = number("count", optarg, UINT32_MAX, &n);
		o->count = (unsigned)n;
		return r;
	default:
		r = number("jobs", optarg, 64, &n);
		o->jobs = (unsigned)n;
		return r;
	}
}

static int take(int letter, struct options *o)
{
	switch (letter) {
	case 'd':
		o->device = optarg;
		return CTL_OK;
	case 'm':
		o->mount = optarg;
		return CTL_OK;
	case 'R':
		o->has_range = true;
		if (range_parse(optarg, &o->offset, &o->length) == 0)
			return CTL_OK;
		complain("--range takes OFFSET:LENGTH, as in 4M:64K, not \"%s\"", optarg);
		return CTL_USAGE;
	case 'w':
		return watch_seconds(optarg, &o->watch);
	case 'J':
		o->json = true;
		return CTL_OK;
	case 'P':
		o->progress = true;
		return CTL_OK;
	case 'r':
		o->recursive = true;
		return CTL_OK;
	case 'C':
		o->no_color = true;
		return CTL_OK;
	default:
		return take_number(letter, o);
	}
}

int options_parse(int argc, char **argv, const struct command *command, const char *allowed, struct options *options)
{
	struct option some[ALL];
	char letters[3 * ALL], name[64];
	int letter, r;

	*options = (struct options){ 0 };
	choose(allowed, some, letters);
	snprintf(name, sizeof(name), "dmoctl %s", command->name);
	argv[0] = name;
	optind = 1;
	while ((letter = getopt_long(argc, argv, letters, some, NULL)) != -1) {
		if (letter == 'h') {
			help(command);
			return -1;
		}
		if (letter == '?')
			return usage(command);
		r = take(letter, options);
		if (r != CTL_OK)
			return r;
	}
	return CTL_OK;
}

int usage(const struct command *command)
{
	fprintf(stderr, "Usage: dmoctl %s %s\n\"dmoctl help %s\" says more.\n", command->name, command->args,
		command->name);
	return CTL_USAGE;
}

void help(const struct command *command)
{
	printf("Usage: dmoctl %s %s\n\n%c%s.\n\nOptions:\n%s  -h, --help            this text\n\nExamples:\n%s",
	       command->name, command->args, toupper((unsigned char)command->summary[0]), command->summary + 1,
	       command->options, command->examples);
}
