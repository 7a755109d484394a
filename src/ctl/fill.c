/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fill.c - "dmoctl fill": lets a device write a byte all over a file, or a range of it
 */
#include "ctl.h"

#include <fcntl.h>
#include <getopt.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (4ull << 20)

/* Fills [va, va + length) piece by piece. */
static int fill_mapped(struct dmo_as *as, uint64_t va, uint64_t length, unsigned byte, struct progress *bar)
{
	for (uint64_t at = 0; at < length;) {
		uint64_t piece = length - at < PIECE ? length - at : PIECE;
		struct dmo_command command;
		int r;

		dmo_cmd_fill(&command, va + at, piece, (uint8_t)byte);
		r = dmo_run(as, &command, NULL);
		if (r < 0)
			return r;
		progress_add(bar, piece);
		at += piece;
	}
	return 0;
}

/* Maps the pages that cover [start, start + length) and fills exactly those bytes. */
static int fill_range(const char *file, int fd, struct dmo_as *as, uint64_t start, uint64_t length,
		      const struct options *options)
{
	uint64_t page = DMO_PAGE_SIZE - 1, first = start & ~page, whole = ((start + length + page) & ~page) - first, va;
	struct progress bar;
	int r;

	r = dmo_map(as, fd, first, whole, DMO_PROT_READ | DMO_PROT_WRITE, 0, 0, &va);
	if (r < 0)
		return fail(file, r);
	progress_begin(&bar, file, length, options->progress);
	r = fill_mapped(as, va + (start - first), length, options->byte, &bar);
	progress_end(&bar);
	dmo_unmap(as, va, whole);
	if (r == 0)
		return CTL_OK;
	complain("%s: stopped after %llu of %llu bytes", file, (unsigned long long)bar.done,
		 (unsigned long long)length);
	return fail(file, r);
}

static int fill_open(const char *file, int fd, const struct options *options)
{
	uint64_t pages_start, pages, length;
	struct dmo_dev *dev;
	struct dmo_as *as;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return fail(file, -errno);
	r = target_pages(file, (uint64_t)st.st_size, options, &pages_start, &pages);
	if (r != CTL_OK)
		return r;
	length = options->length ? options->length : (uint64_t)st.st_size - options->offset;
	if (length == 0)
		return CTL_OK;
	r = target_dev_open(file, options->device, &dev);
	if (r != CTL_OK)
		return r;
	r = dmo_as_create(dev, &as);
	if (r == 0) {
		r = fill_range(file, fd, as, options->offset, length, options);
		dmo_as_destroy(as);
	} else {
		r = fail(dmo_dev_name(dev), r);
	}
	dmo_dev_close(dev);
	return r;
}

static int run(int argc, char **argv)
{
	struct options options;
	int fd, r = options_parse(argc, argv, &cmd_fill, "device byte range progress", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	if (argc - optind != 1 || !options.has_byte)
		return usage(&cmd_fill);
	fd = target_open(argv[optind], O_RDWR);
	if (fd < 0)
		return CTL_FAILED;
	r = fill_open(argv[optind], fd, &options);
	close(fd);
	return r;
}

const struct command cmd_fill = {
	.name = "fill",
	.args = "FILE --byte N [--device NAME] [--range OFF:LEN]",
	.summary = "let a device write a byte all over a file, or a range of it",
	.options = "  -b, --byte N          0 to 255\n"
		   "  -d, --device NAME     which device writes; else the mount's first\n"
		   "  -R, --range OFF:LEN   exactly these bytes; the file is not made larger\n"
		   "      --progress        a bar on stderr even where it is no terminal\n",
	.examples = "  dmoctl fill scratch.bin --device npu0 --byte 0xff\n"
		    "  dmoctl fill scratch.bin -b 0 --range 4K:100\n",
	.run = run,
};
