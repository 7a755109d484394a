/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * advise.c - "dmoctl advise": says how a file, or a range of it, will be used
 */
#include "ctl.h"

#include <fcntl.h>
#include <getopt.h>
#include <unistd.h>

/* Advice that the service stores needs a writable fd or the owner; the rest does with reading. */
static int open_best(const char *file)
{
	int fd = open(file, O_RDWR | O_CLOEXEC);

	return fd >= 0 ? fd : target_open(file, O_RDONLY);
}

/* The range in whole pages. Length 0 (to the end, and what is added later) is kept. */
static void whole_pages(const struct options *options, uint64_t *offset, uint64_t *length)
{
	uint64_t page = DMO_PAGE_SIZE - 1, end = options->offset + options->length;

	*offset = options->offset & ~page;
	*length = options->length ? ((end + page) & ~page) - *offset : 0;
}

static int advise(const char *file, int fd, enum dmo_advice advice, const struct options *options)
{
	uint32_t device = DMO_DEVICE_ANY;
	uint64_t offset, length;
	int r = CTL_OK;

	if (options->device)
		r = target_device(file, fd, options->device, &device);
	if (r != CTL_OK)
		return r;
	whole_pages(options, &offset, &length);
	r = dmo_advise(fd, offset, length, advice, device, options->value);
	if (r == -EINVAL)
		return complain("%s: \"%s\" takes no such device or value (see \"dmoctl help advise\")", file,
				dmo_advice_name(advice));
	return r < 0 ? fail(file, r) : CTL_OK;
}

static void list_advice(void)
{
	fputs("dmoctl: advice is one of", stderr);
	for (unsigned i = 0; dmo_advice_name(i); i++)
		fprintf(stderr, " %s", dmo_advice_name(i));
	putc('\n', stderr);
}

static int run(int argc, char **argv)
{
	struct options options;
	enum dmo_advice advice;
	int fd, r = options_parse(argc, argv, &cmd_advise, "device range value", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	if (argc - optind != 2)
		return usage(&cmd_advise);
	if (dmo_advice_parse(argv[optind + 1], &advice) < 0) {
		complain("no advice \"%s\"", argv[optind + 1]);
		list_advice();
		return CTL_USAGE;
	}
	fd = open_best(argv[optind]);
	if (fd < 0)
		return CTL_FAILED;
	r = advise(argv[optind], fd, advice, &options);
	close(fd);
	return r;
}

const struct command cmd_advise = {
	.name = "advise",
	.args = "FILE ADVICE [--device NAME] [--range OFF:LEN] [--value N]",
	.summary = "say how a file, or a range of it, will be used",
	.options = "  -d, --device NAME     for willneed, preferred, accessed-by; \"host\" is the backing file\n"
		   "  -R, --range OFF:LEN   only these bytes, grown to whole pages; else all, and what is added later\n"
		   "  -v, --value N         for granularity (log2 of bytes, 12 to 21) and device-bits; 0 undoes\n"
		   "\n"
		   "Advice: normal sequential random willneed dontneed discard cold read-mostly no-read-mostly\n"
		   "preferred no-preferred accessed-by no-accessed-by no-migrate migrate granularity device-bits\n\n",
	.examples = "  dmoctl advise weights.bin read-mostly\n"
		    "  dmoctl advise weights.bin preferred --device npu0 --range 0:64M\n"
		    "  dmoctl advise scratch.bin discard           # the content is dead: reads give zeros\n",
	.run = run,
};
