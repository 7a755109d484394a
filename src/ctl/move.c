/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * move.c - "dmoctl prefetch" and "dmoctl evict": brings files into a device's memory, and takes them out of it
 *
 * A file is moved piece by piece, so that the bar moves, and Ctrl-C stops between pieces with nothing lost.
 */
#include "ctl.h"

#include <fcntl.h>
#include <getopt.h>
#include <unistd.h>

#define PIECE (16ull << 20)

struct move {
	const struct options *options;
	bool evict;
	uint64_t moved;
	bool first;	/* of the JSON array */
};

static int move_pages(int fd, uint64_t offset, uint64_t length, uint32_t device, struct progress *bar)
{
	uint64_t end = offset + length;

	while (offset < end) {
		uint64_t piece = end - offset < PIECE ? end - offset : PIECE;
		struct dmo_migrate result;
		int r = dmo_migrate(fd, offset, piece, device, 0, &result);

		progress_add(bar, r < 0 ? result.done : piece);
		if (r < 0)
			return r;
		offset += piece;
	}
	return 0;
}

static void report(struct move *move, const char *file, uint64_t done, uint64_t total, int error)
{
	bool first = true;

	if (!move->options->json)
		return;
	fputs(move->first ? "\n  {" : ",\n  {", stdout);
	move->first = false;
	json_text(stdout, &first, "file", file);
	json_u64(stdout, &first, "bytes", total);
	json_u64(stdout, &first, "done", done);
	json_u64(stdout, &first, "errno", (uint64_t)-error);
	putchar('}');
}

static int move_open(struct move *move, const char *file, int fd)
{
	uint64_t offset, length;
	uint32_t device = DMO_DEVICE_HOST;
	struct progress bar;
	struct dmo_info info;
	int r = dmo_info(fd, &info);

	if (r < 0)
		return fail(file, r);
	if (!move->evict)
		r = target_device(file, fd, move->options->device, &device);
	if (r == CTL_OK)
		r = target_pages(file, info.size, move->options, &offset, &length);
	if (r != CTL_OK)
		return r;
	progress_begin(&bar, file, length, move->options->progress);
	r = move_pages(fd, offset, length, device, &bar);
	progress_end(&bar);
	report(move, file, bar.done, length, r);
	if (r == 0)
		return CTL_OK;
	complain("%s: stopped after %llu of %llu bytes", file, (unsigned long long)bar.done,
		 (unsigned long long)length);
	return fail(file, r);
}

static int move_file(struct move *move, const char *file)
{
	int fd = target_open(file, O_RDONLY);
	int r;

	if (fd < 0)
		return CTL_FAILED;
	r = move_open(move, file, fd);
	close(fd);
	return r;
}

static int move_files(struct move *move, char **files)
{
	int worst = CTL_OK;

	fputs(move->options->json ? "[" : "", stdout);
	for (; *files; files++) {
		int r = move_file(move, *files);

		if (r > worst)
			worst = r;
	}
	fputs(move->options->json ? "\n]\n" : "", stdout);
	return worst;
}

static int run_prefetch(int argc, char **argv)
{
	struct options options;
	struct move move = { .options = &options, .first = true };
	int r = options_parse(argc, argv, &cmd_prefetch, "device range json progress", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	if (optind >= argc || !options.device)
		return usage(&cmd_prefetch);
	return move_files(&move, argv + optind);
}

static int run_evict(int argc, char **argv)
{
	struct options options;
	struct move move = { .options = &options, .evict = true, .first = true };
	int r = options_parse(argc, argv, &cmd_evict, "range json progress", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	if (optind >= argc)
		return usage(&cmd_evict);
	return move_files(&move, argv + optind);
}

const struct command cmd_prefetch = {
	.name = "prefetch",
	.args = "--device NAME [--range OFF:LEN] FILE...",
	.summary = "bring files into a device's memory and wait until they are there",
	.options = "  -d, --device NAME     where to; \"host\" brings them back\n"
		   "  -R, --range OFF:LEN   only these bytes of each, grown to whole pages\n"
		   "      --progress        a bar on stderr even where it is no terminal\n"
		   "      --json            an array: what came of each file\n",
	.examples = "  dmoctl prefetch --device npu0 model.safetensors\n"
		    "  dmoctl prefetch -d npu0 --range 0:16M *.bin\n",
	.run = run_prefetch,
};

const struct command cmd_evict = {
	.name = "evict",
	.args = "[--range OFF:LEN] FILE...",
	.summary = "write files back and give their device memory free",
	.options = "  -R, --range OFF:LEN   only these bytes of each, grown to whole pages\n"
		   "      --progress        a bar on stderr even where it is no terminal\n"
		   "      --json            an array: what came of each file\n",
	.examples = "  dmoctl evict model.safetensors  # nothing of it is on any device afterwards\n",
	.run = run_evict,
};
