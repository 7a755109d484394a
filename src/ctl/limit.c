/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * limit.c - "dmoctl limit": how much of a device's memory may be used
 */
#include "ctl.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const limits[] = {
	[DMO_LIMIT_MAX] = "max",
	[DMO_LIMIT_HIGH] = "high",
	[DMO_LIMIT_LOW] = "low",
	[DMO_LIMIT_CURRENT] = "current",
	[DMO_LIMIT_PEAK] = "peak",
};
#define LIMITS ((int)(sizeof(limits) / sizeof(limits[0])))

/* The limit whose name is the first n bytes of text, -1 for none. */
static int find(const char *text, size_t n)
{
	for (int i = 0; i < LIMITS; i++)
		if (strlen(limits[i]) == n && memcmp(limits[i], text, n) == 0)
			return i;
	return -1;
}

static void print_value(uint64_t bytes, bool json)
{
	if (bytes == UINT64_MAX)
		fputs(json ? "\"max\"" : "max", stdout);
	else
		printf("%" PRIu64, bytes);
}

/* only: NULL for all of them. */
static int get(struct dmo_dev *dev, const char *only, bool json)
{
	int first = 0, last = LIMITS - 1;
	bool first_field = true;

	if (only) {
		first = last = find(only, strlen(only));
		if (first < 0) {
			complain("no limit \"%s\" (there are max, high, low, current, peak)", only);
			return CTL_USAGE;
		}
	}
	fputs(json ? "{" : "", stdout);
	for (int i = first; i <= last; i++) {
		uint64_t bytes;
		int r = dmo_dev_limit_get(dev, (enum dmo_limit)i, &bytes);

		if (r < 0)
			return fail(limits[i], r);
		if (json)
			json_name(stdout, &first_field, limits[i]);
		else if (!only)
			printf("%-8s ", limits[i]);
		print_value(bytes, json);
		fputs(json ? "" : "\n", stdout);
	}
	fputs(json ? "}\n" : "", stdout);
	return CTL_OK;
}

/* setting: NAME=SIZE. */
static int set(struct dmo_dev *dev, const char *setting)
{
	const char *equals = strchr(setting, '=');
	int limit = equals ? find(setting, (size_t)(equals - setting)) : -1;
	uint64_t bytes = UINT64_MAX;
	int r;

	if (limit < 0 || limit > DMO_LIMIT_LOW ||
	    (strcmp(equals + 1, "max") != 0 && size_parse(equals + 1, &bytes) < 0)) {
		complain("\"%s\" is not max=SIZE, high=SIZE or low=SIZE", setting);
		return CTL_USAGE;
	}
	r = dmo_dev_limit_set(dev, (enum dmo_limit)limit, bytes);
	if (r == -EINVAL)
		return complain("%s: refused; it must be at most the device's memory, and low <= high <= max", setting);
	return r < 0 ? fail(setting, r) : CTL_OK;
}

static int act(struct dmo_dev *dev, int argc, char **argv, bool json)
{
	int r = CTL_OK;

	if (strcmp(argv[0], "get") == 0)
		return get(dev, argc > 2 ? argv[2] : NULL, json);
	for (int i = 2; i < argc && r == CTL_OK; i++)
		r = set(dev, argv[i]);
	return r;
}

static int run(int argc, char **argv)
{
	struct options options;
	struct dmo_dev *dev;
	char *path;
	int r = options_parse(argc, argv, &cmd_limit, "mount json", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	argc -= optind;
	argv += optind;
	if (argc < 2 || !((strcmp(argv[0], "get") == 0 && argc <= 3) || (strcmp(argv[0], "set") == 0 && argc >= 3)))
		return usage(&cmd_limit);
	r = target_mount(options.mount, &path);
	if (r != CTL_OK)
		return r;
	r = target_dev_open(path, argv[1], &dev);
	free(path);
	if (r != CTL_OK)
		return r;
	r = act(dev, argc, argv, options.json);
	dmo_dev_close(dev);
	return r;
}

const struct command cmd_limit = {
	.name = "limit",
	.args = "get DEVICE [max|high|low|current|peak] | set DEVICE NAME=SIZE...",
	.summary = "read or write a device's memory limits",
	.options = "  -m, --mount PATH      any path on the mount; else the current directory's, or the only one\n"
		   "      --json            for get: an object, sizes in bytes\n",
	.examples = "  dmoctl limit get npu0           # all of them\n"
		    "  dmoctl limit set npu0 max=16M   # evicts first, if need be\n"
		    "  dmoctl limit set npu0 low=8M high=12M\n",
	.run = run,
};
