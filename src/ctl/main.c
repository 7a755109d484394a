/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - dmoctl: finds the command and runs it
 */
#include "ctl.h"

#include <string.h>

static const struct command *const commands[] = {
	&cmd_devices, &cmd_info, &cmd_stat, &cmd_limit, &cmd_map, &cmd_query, &cmd_advise, &cmd_prefetch,
	&cmd_evict, &cmd_pin, &cmd_sum, &cmd_fill,
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static void overview(FILE *out)
{
	fprintf(out, "Usage: dmoctl COMMAND [OPTION]... [ARGUMENT]...\n"
		     "Looks at and steers device memory objects: the files of a dmofs mount.\n\n");
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
	fprintf(out, "  %-9s %s\n", "help", "explain a command, with examples");
	fprintf(out, "\nSizes take K, M, G, T. Exit status: 0 done, 1 something failed, 2 wrong usage.\n"
		     "See dmoctl(1), and \"dmoctl help COMMAND\".\n");
}

static int run_help(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2) {
		overview(stdout);
		return CTL_OK;
	}
	command = find(argv[1]);
	if (!command) {
		complain("no command \"%s\"; \"dmoctl help\" lists them", argv[1]);
		return CTL_USAGE;
	}
	help(command);
	return CTL_OK;
}

int main(int argc, char **argv)
{
	const struct command *command;
	int r;

	if (argc < 2) {
		overview(stderr);
		return CTL_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("dmoctl %s\n", dmo_version());
		return CTL_OK;
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return run_help(argc - 1, argv + 1);
	command = find(argv[1]);
	if (!command) {
		complain("no command \"%s\"; \"dmoctl help\" lists them", argv[1]);
		return CTL_USAGE;
	}
	r = command->run(argc - 1, argv + 1);
	if (fflush(stdout) != 0)
		return fail("standard output", -errno);
	return r;
}
