/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * info.c - "dmoctl info": what a file is as an object, and what its mount can do
 */
#include "ctl.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <unistd.h>

static const struct {
	uint64_t cap;
	const char *name;
} caps[] = {
	{ DMO_CAP_PASSTHROUGH, "passthrough" },
	{ DMO_CAP_MIRROR_FILES, "mirror-files" },
	{ DMO_CAP_MIRROR_ANON, "mirror-anonymous" },
	{ DMO_CAP_DMABUF, "dma-buf" },
	{ DMO_CAP_STORED_ADVICE, "stored-advice" },
};
#define CAPS (sizeof(caps) / sizeof(caps[0]))

static void print_json(const struct dmo_info *info, const char *control)
{
	bool first = true, first_cap = true;

	putchar('{');
	json_text(stdout, &first, "control", control);
	json_u64(stdout, &first, "abi", info->abi_version);
	json_text(stdout, &first, "home", info->home == DMO_HOME_KERNEL ? "kernel" : "user");
	json_u64(stdout, &first, "devices", info->devices);
	json_u64(stdout, &first, "block_size", info->block_size);
	json_u64(stdout, &first, "page_size", info->page_size);
	json_u64(stdout, &first, "size", info->size);
	json_u64(stdout, &first, "resident", info->resident);
	json_name(stdout, &first, "capabilities");
	putchar('[');
	for (size_t i = 0; i < CAPS; i++) {
		if (!(info->caps & caps[i].cap))
			continue;
		fputs(first_cap ? "" : ", ", stdout);
		json_string(stdout, caps[i].name);
		first_cap = false;
	}
	puts("]}");
}

static void print_text(const struct dmo_info *info, const char *control)
{
	char text[16];

	printf("size          %llu (%s)\n", (unsigned long long)info->size, size_text(text, info->size));
	printf("on devices    %llu (%s)\n", (unsigned long long)info->resident, size_text(text, info->resident));
	printf("control       %s\n", control);
	printf("home          %s\n", info->home == DMO_HOME_KERNEL ? "kernel module" : "user-space service");
	printf("ABI           %u\n", info->abi_version);
	printf("devices       %u\n", info->devices);
	printf("block         %s\n", size_text(text, info->block_size));
	printf("capabilities ");
	for (size_t i = 0; i < CAPS; i++)
		if (info->caps & caps[i].cap)
			printf(" %s", caps[i].name);
	putchar('\n');
}

static int show(const char *file, bool json)
{
	char control[PATH_MAX] = "-";
	struct dmo_info info;
	int fd = target_open(file, O_RDONLY);
	int r;

	if (fd < 0)
		return CTL_FAILED;
	r = dmo_info(fd, &info);
	if (r == 0)
		dmo_mount_of(fd, control, sizeof(control));
	close(fd);
	if (r < 0)
		return fail(file, r);
	if (json)
		print_json(&info, control);
	else
		print_text(&info, control);
	return CTL_OK;
}

static int run(int argc, char **argv)
{
	struct options options;
	int r = options_parse(argc, argv, &cmd_info, "json", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	if (argc - optind != 1)
		return usage(&cmd_info);
	return show(argv[optind], options.json);
}

const struct command cmd_info = {
	.name = "info",
	.args = "[--json] FILE",
	.summary = "tell what a file is as an object, and what its mount can do",
	.options = "      --json            an object, sizes in bytes\n",
	.examples = "  dmoctl info model.safetensors   # size, bytes on devices, capabilities\n",
	.run = run,
};
