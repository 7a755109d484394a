/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sum.c - "dmoctl sum": what cksum prints, computed by a device
 */
#include "sum.h"

#include <getopt.h>
#include <inttypes.h>
#include <sys/stat.h>

#define JOBS 4

static int collect(struct sum_list *list, char **operands, bool recursive)
{
	int worst = CTL_OK;

	for (; *operands; operands++) {
		struct stat st;
		bool tree = recursive && stat(*operands, &st) == 0 && S_ISDIR(st.st_mode);
		int r = tree ? sum_list_add_tree(list, *operands) : sum_list_add(list, *operands);

		if (r > worst)
			worst = r;
	}
	return worst;
}

static void print_json(const struct sum_file *file, bool first_row)
{
	bool first = true;

	fputs(first_row ? "\n  {" : ",\n  {", stdout);
	json_u64(stdout, &first, "crc", file->crc);
	json_u64(stdout, &first, "bytes", file->size);
	json_text(stdout, &first, "file", file->path);
	putchar('}');
}

static int print_one(struct sum_work *work, size_t i, const struct options *options, struct progress *bar, bool *first)
{
	const struct sum_file *file = &work->list->files[i];

	sum_work_wait(work, i);
	progress_add(bar, 1);
	if (file->error)
		return fail(file->path, file->error);
	if (options->json)
		print_json(file, *first);
	else
		printf("%" PRIu32 " %" PRIu64 " %s\n", file->crc, file->size, file->path);
	*first = false;
	return CTL_OK;
}

static int sum_files(struct sum_list *list, struct dmo_dev *dev, const struct options *options)
{
	unsigned threads = options->jobs ? options->jobs : JOBS;
	int worst = CTL_OK, r;
	struct progress bar;
	struct sum_work work;
	bool first = true;

	r = sum_work_begin(&work, list, dev, threads);
	if (r < 0)
		return fail("threads", r);
	progress_begin(&bar, "sum, files", list->count, options->progress);
	fputs(options->json ? "[" : "", stdout);
	for (size_t i = 0; i < list->count; i++) {
		r = print_one(&work, i, options, &bar, &first);
		if (r > worst)
			worst = r;
	}
	progress_end(&bar);
	fputs(options->json ? "\n]\n" : "", stdout);
	sum_work_end(&work);
	return worst;
}

static int run(int argc, char **argv)
{
	struct sum_list list = { 0 };
	struct options options;
	struct dmo_dev *dev;
	int listed, r = options_parse(argc, argv, &cmd_sum, "device recursive jobs json progress", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	if (optind >= argc)
		return usage(&cmd_sum);
	r = target_dev_open(argv[optind], options.device, &dev);
	if (r != CTL_OK)
		return r;
	listed = collect(&list, argv + optind, options.recursive);
	r = sum_files(&list, dev, &options);
	sum_list_free(&list);
	dmo_dev_close(dev);
	return r > listed ? r : listed;
}

const struct command cmd_sum = {
	.name = "sum",
	.args = "[-r] [--device NAME] [--json] FILE...",
	.summary = "print what cksum prints, computed by a device",
	.options = "  -r, --recursive       all regular files below the directories named, sorted by their bytes\n"
		   "  -d, --device NAME     which device computes; else the mount's first\n"
		   "  -j, --jobs N          how many contexts work side by side, 1 to 64; else 4\n"
		   "      --progress        a bar on stderr even where it is no terminal\n"
		   "      --json            an array of objects\n",
	.examples = "  dmoctl sum model.safetensors\n"
		    "  dmoctl sum -r . >sums           # as: find . -type f | LC_ALL=C sort | xargs -d '\\n' cksum\n",
	.run = run,
};
