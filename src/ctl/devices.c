/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * devices.c - "dmoctl devices": what devices a mount has
 */
#include "ctl.h"

#include <getopt.h>
#include <stdlib.h>

#define MANY 256

static void print_row(const struct dmo_device_info *info)
{
	char memory[16], used[16], limit[16], link[16];

	printf("%-12s %6u %8s %8s %8s %10s %-8s %s%s\n", info->name, info->device, size_text(memory, info->memory),
	       size_text(used, info->used), size_text(limit, info->limit),
	       info->link ? size_text(link, info->link) : "unlimited",
	       info->memory_type == DMO_MEM_COHERENT ? "coherent" : "private",
	       info->flags & DMO_DEVICE_FAULTS ? "faults" : "no faults", info->flags & DMO_DEVICE_LOST ? ", lost" : "");
}

static void print_json(const struct dmo_device_info *info, bool first_row)
{
	bool first = true;

	fputs(first_row ? "\n  {" : ",\n  {", stdout);
	json_text(stdout, &first, "name", info->name);
	json_u64(stdout, &first, "number", info->device);
	json_u64(stdout, &first, "memory", info->memory);
	json_u64(stdout, &first, "used", info->used);
	json_u64(stdout, &first, "limit", info->limit);
	json_u64(stdout, &first, "link", info->link);
	json_u64(stdout, &first, "threads", info->threads);
	json_u64(stdout, &first, "va_start", info->va_start);
	json_u64(stdout, &first, "va_end", info->va_end);
	json_text(stdout, &first, "memory_type", info->memory_type == DMO_MEM_COHERENT ? "coherent" : "private");
	json_name(stdout, &first, "faults");
	fputs(info->flags & DMO_DEVICE_FAULTS ? "true" : "false", stdout);
	json_name(stdout, &first, "lost");
	fputs(info->flags & DMO_DEVICE_LOST ? "true}" : "false}", stdout);
}

static int show(const char *path, const char *name, bool json, bool first_row)
{
	struct dmo_device_info info;
	struct dmo_dev *dev;
	int r = target_dev_open(path, name, &dev);

	if (r != CTL_OK)
		return r;
	r = dmo_dev_info(dev, &info);
	dmo_dev_close(dev);
	if (r < 0)
		return fail(name, r);
	if (json)
		print_json(&info, first_row);
	else
		print_row(&info);
	return CTL_OK;
}

static int show_all(const char *path, bool json)
{
	char names[MANY][DMO_NAME_MAX];
	int n = dmo_mount_devices(path, names, MANY);
	int r = CTL_OK;

	if (n < 0)
		return fail(path, n);
	if (json)
		putchar('[');
	else
		printf("%-12s %6s %8s %8s %8s %10s %-8s %s\n", "NAME", "NUMBER", "MEMORY", "USED", "LIMIT", "LINK",
		       "KIND", "");
	for (int i = 0; i < n && i < MANY && r == CTL_OK; i++)
		r = show(path, names[i], json, i == 0);
	if (json)
		puts("\n]");
	return r;
}

static int run(int argc, char **argv)
{
	struct options options;
	char *path;
	int r = options_parse(argc, argv, &cmd_devices, "mount json", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	if (argc - optind > 1)
		return usage(&cmd_devices);
	r = target_mount(optind < argc ? argv[optind] : options.mount, &path);
	if (r != CTL_OK)
		return r;
	r = show_all(path, options.json);
	free(path);
	return r;
}

const struct command cmd_devices = {
	.name = "devices",
	.args = "[--json] [PATH]",
	.summary = "list a mount's devices, their memory and limits",
	.options = "  -m, --mount PATH      any path on the mount; else the current directory's, or the only one\n"
		   "      --json            an array of objects, sizes in bytes\n",
	.examples = "  dmoctl devices /mnt/models      # a line for each device of that mount\n"
		    "  dmoctl devices --json | jq '.[].used'\n",
	.run = run,
};
