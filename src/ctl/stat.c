/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stat.c - "dmoctl stat": a device's counters, once or live
 *
 * Live, each line shows the counter and how much it grew a second since the last look.
 */
#include "ctl.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What a look gives: limits first, then memory.stat and memory.events. */
struct look {
	double at;
	uint64_t current, max, peak;
	struct dmo_stat stat, events;
};

static int take_look(struct dmo_dev *dev, struct look *look)
{
	int r = dmo_dev_limit_get(dev, DMO_LIMIT_CURRENT, &look->current);

	look->at = now();
	if (r == 0)
		r = dmo_dev_limit_get(dev, DMO_LIMIT_MAX, &look->max);
	if (r == 0)
		r = dmo_dev_limit_get(dev, DMO_LIMIT_PEAK, &look->peak);
	if (r == 0)
		r = dmo_stat(dev, &look->stat);
	if (r == 0)
		r = dmo_events(dev, &look->events);
	return r < 0 ? fail(dmo_dev_name(dev), r) : CTL_OK;
}

static void print_line(const char *name, uint64_t value, const uint64_t *before, double seconds)
{
	char text[16];

	printf("%-24s %20" PRIu64 " %8s", name, value, size_text(text, value));
	if (before && value >= *before)
		printf(" %12.1f/s", (double)(value - *before) / seconds);
	puts(isatty(STDOUT_FILENO) ? "\033[K" : "");
}

/* prefix sets events apart from limits of the same name. */
static const char *full_name(char buf[48], const char *prefix, const char *name)
{
	snprintf(buf, 48, "%s%s", prefix, name);
	return buf;
}

static void print_entries(const char *prefix, const struct dmo_stat *stat, const struct dmo_stat *before,
			  double seconds)
{
	char name[48];

	for (unsigned i = 0; i < stat->count; i++) {
		const struct dmo_stat_entry *entry = &stat->entries[i];
		uint64_t old;
		bool known = before && dmo_stat_get(before, entry->name, &old) == 0;

		print_line(full_name(name, prefix, entry->name), entry->value, known ? &old : NULL, seconds);
	}
}

static void print_text(const char *name, const struct look *look, const struct look *before)
{
	double seconds = before ? look->at - before->at : 1;

	printf("device %s\n", name);
	print_line("current", look->current, NULL, seconds);
	print_line("max", look->max, NULL, seconds);
	print_line("peak", look->peak, NULL, seconds);
	print_entries("", &look->stat, before ? &before->stat : NULL, seconds);
	print_entries("event_", &look->events, before ? &before->events : NULL, seconds);
}

static void print_json(const char *name, const struct look *look)
{
	bool first = true;
	char event[48];

	putchar('{');
	json_text(stdout, &first, "device", name);
	json_u64(stdout, &first, "current", look->current);
	json_u64(stdout, &first, "max", look->max);
	json_u64(stdout, &first, "peak", look->peak);
	for (unsigned i = 0; i < look->stat.count; i++)
		json_u64(stdout, &first, look->stat.entries[i].name, look->stat.entries[i].value);
	for (unsigned i = 0; i < look->events.count; i++) {
		const struct dmo_stat_entry *entry = &look->events.entries[i];

		json_u64(stdout, &first, full_name(event, "event_", entry->name), entry->value);
	}
	puts("}");
}

static void nap(double seconds)
{
	struct timespec t = { .tv_sec = (time_t)seconds };

	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	nanosleep(&t, NULL);
}

static int watch(struct dmo_dev *dev, const struct options *options)
{
	struct look looks[2];
	int r;

	for (unsigned i = 0; !options->count || i < options->count; i++) {
		struct look *look = &looks[i % 2], *before = i ? &looks[(i + 1) % 2] : NULL;

		if (i)
			nap(options->watch);
		r = take_look(dev, look);
		if (r != CTL_OK)
			return r;
		if (!options->json && isatty(STDOUT_FILENO))
			fputs(i ? "\033[H" : "\033[H\033[2J", stdout);
		if (options->json)
			print_json(dmo_dev_name(dev), look);
		else
			print_text(dmo_dev_name(dev), look, before);
		fflush(stdout);
	}
	return CTL_OK;
}

static int run(int argc, char **argv)
{
	struct options options;
	struct dmo_dev *dev;
	char *path;
	int r = options_parse(argc, argv, &cmd_stat, "mount device json watch count", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	if (argc - optind > 1)
		return usage(&cmd_stat);
	if (optind < argc)
		options.device = argv[optind];
	if (options.watch == 0) {
		options.watch = 1;
		options.count = options.count ? options.count : 1;
	}
	r = target_mount(options.mount, &path);
	if (r != CTL_OK)
		return r;
	r = target_dev_open(path, options.device, &dev);
	free(path);
	if (r != CTL_OK)
		return r;
	r = watch(dev, &options);
	dmo_dev_close(dev);
	return r;
}

const struct command cmd_stat = {
	.name = "stat",
	.args = "[--watch[=SECONDS]] [--json] [DEVICE]",
	.summary = "show a device's memory and counters, once or live",
	.options = "  -d, --device NAME     the device; else the mount's first\n"
		   "  -m, --mount PATH      any path on the mount; else the current directory's, or the only one\n"
		   "  -w, --watch[=SECONDS] look again and again, 1 second apart, and show rates; end with Ctrl-C\n"
		   "  -n, --count N         look N times\n"
		   "      --json            an object a look, a line each\n",
	.examples = "  dmoctl stat npu0                # all counters, once\n"
		    "  dmoctl stat --watch npu0        # live, with what each grew a second\n",
	.run = run,
};
