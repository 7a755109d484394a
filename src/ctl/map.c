/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * map.c - "dmoctl map": a file's residency as a picture, a character for each block of 2 MiB
 *
 * A block gets the mark of the first state in this order that any page of it has: lost, dirty on a device, on a
 * device, in the backing file with the CPU holding it, in the backing file, hole. A device's letter is the
 * one of its number: a for 0, b for 1; capital where the block is dirty.
 */
#include "ctl.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum state { HOLE, BACKING, CPU, CLEAN, DIRTY, LOST, STATES };

struct picture {
	uint64_t first, blocks;		/* block numbers */
	unsigned char *state;		/* a value of enum state for each */
	unsigned char *device;		/* its number, from 0 to 25 */
	uint64_t bytes[STATES];
	uint64_t on[26];		/* bytes on each device */
};

static enum state state_of(const struct dmo_extent *e)
{
	if (e->flags & DMO_EXT_LOST)
		return LOST;
	if (e->flags & DMO_EXT_RESIDENT)
		return e->flags & DMO_EXT_DIRTY ? DIRTY : CLEAN;
	if (e->flags & DMO_EXT_HOLE)
		return HOLE;
	return e->flags & DMO_EXT_CPU ? CPU : BACKING;
}

static int paint(const struct dmo_extent *e, void *arg)
{
	struct picture *p = arg;
	enum state state = state_of(e);
	unsigned char device = (unsigned char)(e->device < 26 ? e->device : 25);
	uint64_t first = e->offset >> DMO_BLOCK_SHIFT;
	uint64_t last = (e->offset + e->length - 1) >> DMO_BLOCK_SHIFT;

	p->bytes[state] += e->length;
	if (state == CLEAN || state == DIRTY)
		p->on[device] += e->length;
	for (uint64_t b = first; b <= last && b < p->first + p->blocks; b++) {
		if (b < p->first || p->state[b - p->first] > state)
			continue;
		p->state[b - p->first] = (unsigned char)state;
		p->device[b - p->first] = device;
	}
	return 0;
}

/* ---- drawing ---- */

static char mark(enum state state, unsigned device)
{
	static const char marks[STATES] = { [HOLE] = '.', [BACKING] = '-', [CPU] = 'o', [LOST] = '!' };

	if (state == CLEAN)
		return (char)('a' + device);
	if (state == DIRTY)
		return (char)('A' + device);
	return marks[state];
}

static const char *color(enum state state, unsigned device)
{
	static const char *const devices[] = { "\033[32m", "\033[36m", "\033[35m", "\033[34m" };

	if (state == CLEAN)
		return devices[device % 4];
	if (state == DIRTY)
		return "\033[1;33m";
	if (state == LOST)
		return "\033[1;31m";
	return state == CPU ? "\033[37m" : "\033[2m";
}

static void put_mark(enum state state, unsigned device, bool colored)
{
	if (colored)
		printf("%s%c\033[0m", color(state, device), mark(state, device));
	else
		putchar(mark(state, device));
}

static unsigned line_width(void)
{
	struct winsize size;
	unsigned columns = 80;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 24)
		columns = size.ws_col;
	return (columns - 10) / 8 * 8;
}

static void draw_blocks(const struct picture *p, bool colored)
{
	unsigned width = line_width();
	char text[16];

	for (uint64_t i = 0; i < p->blocks; i++) {
		if (i % width == 0)
			printf("%s%8s  ", i ? "\n" : "", size_text(text, (p->first + i) << DMO_BLOCK_SHIFT));
		put_mark((enum state)p->state[i], p->device[i], colored);
	}
	putchar('\n');
}

static void draw_legend(const struct picture *p, const struct names *names, bool colored)
{
	static const char *const words[STATES] = {
		[HOLE] = "hole", [BACKING] = "in the backing file", [CPU] = "in the backing file, the CPU may hold it",
		[LOST] = "lost",
	};
	char text[16];

	for (unsigned i = 0; i < 26; i++) {
		if (!p->on[i])
			continue;
		put_mark(CLEAN, i, colored);
		putchar(' ');
		put_mark(DIRTY, i, colored);
		printf(" on %s, clean or dirty: %s\n", names_get(names, i), size_text(text, p->on[i]));
	}
	for (int s = HOLE; s < STATES; s++) {
		if (!p->bytes[s] || !words[s])
			continue;
		put_mark((enum state)s, 0, colored);
		printf("   %s: %s\n", words[s], size_text(text, p->bytes[s]));
	}
}

static void draw_json(const struct picture *p, const char *file)
{
	static const char *const words[STATES] = { "hole", "backing", "cpu", "clean", "dirty", "lost" };
	bool first = true;

	putchar('{');
	json_text(stdout, &first, "file", file);
	json_u64(stdout, &first, "block_size", DMO_BLOCK_SIZE);
	json_u64(stdout, &first, "first_block", p->first);
	for (int s = HOLE; s < STATES; s++)
		json_u64(stdout, &first, words[s], p->bytes[s]);
	json_name(stdout, &first, "blocks");
	putchar('"');
	for (uint64_t i = 0; i < p->blocks; i++)
		putchar(mark((enum state)p->state[i], p->device[i]));
	puts("\"}");
}

/* ---- the command ---- */

static int draw(const char *file, const struct picture *p, int fd, const struct options *options)
{
	bool colored = isatty(STDOUT_FILENO) && !options->no_color && !getenv("NO_COLOR");
	struct names names;
	int r;

	if (options->json) {
		draw_json(p, file);
		return CTL_OK;
	}
	r = names_load(fd, &names);
	if (r < 0)
		return fail(file, r);
	draw_blocks(p, colored);
	draw_legend(p, &names, colored);
	names_free(&names);
	return CTL_OK;
}

static int show_range(const char *file, int fd, uint64_t offset, uint64_t length, const struct options *options)
{
	struct picture p = { .first = offset >> DMO_BLOCK_SHIFT };
	int r = 0;

	p.blocks = length ? ((offset + length - 1) >> DMO_BLOCK_SHIFT) - p.first + 1 : 0;
	p.state = calloc(p.blocks ? p.blocks : 1, 2);
	if (!p.state)
		return fail(file, -ENOMEM);
	p.device = p.state + p.blocks;
	if (length)
		r = dmo_query_each(fd, offset, length, paint, &p);
	r = r < 0 ? fail(file, r) : draw(file, &p, fd, options);
	free(p.state);
	return r;
}

static int show(const char *file, int fd, const struct options *options)
{
	uint64_t offset, length;
	struct dmo_info info;
	int r = dmo_info(fd, &info);

	if (r < 0)
		return fail(file, r);
	r = target_pages(file, info.size, options, &offset, &length);
	return r == CTL_OK ? show_range(file, fd, offset, length, options) : r;
}

static int run(int argc, char **argv)
{
	struct options options;
	int fd, r = options_parse(argc, argv, &cmd_map, "range json no-color", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	if (argc - optind != 1)
		return usage(&cmd_map);
	fd = target_open(argv[optind], O_RDONLY);
	if (fd < 0)
		return CTL_FAILED;
	r = show(argv[optind], fd, &options);
	close(fd);
	return r;
}

const struct command cmd_map = {
	.name = "map",
	.args = "[--range OFF:LEN] [--json] FILE",
	.summary = "draw where a file's blocks of 2 MiB are, a character each",
	.options = "  -R, --range OFF:LEN   only these bytes\n"
		   "      --no-color        no colours on a terminal (NO_COLOR in the environment does the same)\n"
		   "      --json            an object with bytes in each state, and the picture as a string\n",
	.examples = "  dmoctl map model.safetensors    # . hole, - backing file, o CPU, a/A on device 0, ! lost\n",
	.run = run,
};
