/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * query.c - "dmoctl query": where a file's pages are and what was advised, extent by extent
 */
#include "ctl.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

struct printer {
	const struct names *names;
	bool json, first;
};

struct flag {
	uint32_t bit;
	const char *name;
};

static const struct flag states[] = {
	{ DMO_EXT_RESIDENT, "resident" }, { DMO_EXT_DIRTY, "dirty" }, { DMO_EXT_CPU, "cpu" },
	{ DMO_EXT_MAPPED, "mapped" },	  { DMO_EXT_REMOTE, "remote" }, { DMO_EXT_PINNED, "pinned" },
	{ DMO_EXT_LOST, "lost" },	  { DMO_EXT_HOLE, "hole" },	{ DMO_EXT_REPLICA, "replica" },
	{ 0, NULL },
};

static const struct flag attrs[] = {
	{ DMO_ATTR_SEQUENTIAL, "sequential" }, { DMO_ATTR_RANDOM, "random" },
	{ DMO_ATTR_COLD, "cold" },	       { DMO_ATTR_READ_MOSTLY, "read-mostly" },
	{ DMO_ATTR_NO_MIGRATE, "no-migrate" }, { 0, NULL },
};

static void print_flags(const struct flag *flags, uint32_t bits, const char *before, const char *between, bool quoted)
{
	bool first = true;

	for (; flags->name; flags++) {
		if (!(bits & flags->bit))
			continue;
		fputs(first ? before : between, stdout);
		if (quoted)
			json_string(stdout, flags->name);
		else
			fputs(flags->name, stdout);
		first = false;
	}
}

static void print_json(struct printer *printer, const struct dmo_extent *e)
{
	bool first = true;

	fputs(printer->first ? "\n  {" : ",\n  {", stdout);
	json_u64(stdout, &first, "offset", e->offset);
	json_u64(stdout, &first, "length", e->length);
	json_text(stdout, &first, "device", names_get(printer->names, e->device));
	json_name(stdout, &first, "flags");
	putchar('[');
	print_flags(states, e->flags, "", ", ", true);
	putchar(']');
	json_name(stdout, &first, "advice");
	putchar('[');
	print_flags(attrs, e->attrs, "", ", ", true);
	putchar(']');
	if (e->attrs & DMO_ATTR_PREFERRED)
		json_text(stdout, &first, "preferred", names_get(printer->names, e->preferred));
	json_u64(stdout, &first, "accessed_by", e->accessed_by);
	json_u64(stdout, &first, "granularity", e->granularity);
	json_u64(stdout, &first, "device_bits", e->device_bits);
	putchar('}');
}

static void print_text(const struct printer *printer, const struct dmo_extent *e)
{
	printf("%14" PRIu64 " %14" PRIu64 "  %-10s", (uint64_t)e->offset, (uint64_t)e->length,
	       names_get(printer->names, e->device));
	print_flags(states, e->flags, " ", ",", false);
	print_flags(attrs, e->attrs, "  advice: ", ",", false);
	if (e->attrs & DMO_ATTR_PREFERRED)
		printf("  preferred: %s", names_get(printer->names, e->preferred));
	for (unsigned i = 0; i < 64; i++)
		if (e->accessed_by >> i & 1)
			printf("  accessed-by: %s", names_get(printer->names, i));
	if (e->granularity)
		printf("  granularity: %" PRIu64, (uint64_t)1 << (e->granularity & 63));
	if (e->device_bits)
		printf("  device-bits: %#" PRIx64, (uint64_t)e->device_bits);
	putchar('\n');
}

static int print_extent(const struct dmo_extent *extent, void *arg)
{
	struct printer *printer = arg;

	if (printer->json)
		print_json(printer, extent);
	else
		print_text(printer, extent);
	printer->first = false;
	return 0;
}

static int print_all(const char *file, int fd, const struct options *options)
{
	struct names names;
	struct printer printer = { .names = &names, .json = options->json, .first = true };
	uint64_t offset = 0, length = 0;
	struct stat st;
	int r = fstat(fd, &st) < 0 ? -errno : names_load(fd, &names);

	if (r < 0)
		return fail(file, r);
	if (options->has_range)
		r = target_pages(file, (uint64_t)st.st_size, options, &offset, &length);
	if (r == CTL_OK) {
		if (options->json)
			putchar('[');
		else
			printf("%14s %14s  %-10s %s\n", "OFFSET", "LENGTH", "WHERE", "STATE");
		r = st.st_size ? dmo_query_each(fd, offset, length, print_extent, &printer) : 0;
		fputs(options->json ? "\n]\n" : "", stdout);
		r = r < 0 ? fail(file, r) : CTL_OK;
	}
	names_free(&names);
	return r;
}

static int run(int argc, char **argv)
{
	struct options options;
	int fd, r = options_parse(argc, argv, &cmd_query, "range json", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	if (argc - optind != 1)
		return usage(&cmd_query);
	fd = target_open(argv[optind], O_RDONLY);
	if (fd < 0)
		return CTL_FAILED;
	r = print_all(argv[optind], fd, &options);
	close(fd);
	return r;
}

const struct command cmd_query = {
	.name = "query",
	.args = "[--range OFF:LEN] [--json] FILE",
	.summary = "list where a file's pages are and what was advised",
	.options = "  -R, --range OFF:LEN   only these bytes\n"
		   "      --json            an array of objects, sizes in bytes\n",
	.examples = "  dmoctl query model.safetensors  # a line for each extent\n"
		    "  dmoctl query --range 64M:2M model.safetensors\n",
	.run = run,
};
