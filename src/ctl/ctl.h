/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ctl.h - what the commands of dmoctl share
 *
 * A command is a row of the table in main.c: a function that gets its own argument vector (argv[0] is its name) and
 * returns the exit status: CTL_OK, CTL_FAILED (something asked for was not done, and stderr says what), CTL_USAGE.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <config.h>

#include <dmo/dmo.h>
#include <errno.h>
#include <stdio.h>

enum { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

struct command {
	const char *name;
	const char *args;	/* what follows the name in the usage line */
	const char *summary;	/* a few words */
	const char *options;	/* a line each */
	const char *examples;	/* a line each, what it does behind a # */
	int (*run)(int argc, char **argv);
};

extern const struct command cmd_devices, cmd_info, cmd_stat, cmd_limit, cmd_map, cmd_query, cmd_advise, cmd_prefetch,
	cmd_evict, cmd_pin, cmd_sum, cmd_fill;

/* ---- options.c: one set of options, of which each command takes some ---- */

struct options {
	const char *device;	/* NULL: not given */
	const char *mount;
	uint64_t offset, length;	/* --range; length 0: to the end */
	bool has_range;
	uint64_t value;
	bool has_value;
	unsigned byte;
	bool has_byte;
	bool json, progress, recursive, no_color;
	double watch;		/* seconds; 0: not asked for */
	unsigned count;		/* 0: for ever */
	unsigned jobs;
};

/*
 * Parses the options whose names are in allowed ("device range json"); --help is always known. Returns CTL_OK with
 * optind at the first operand, else the exit status after a message (-1: help was shown).
 */
int options_parse(int argc, char **argv, const struct command *command, const char *allowed, struct options *options);
/* Prints how command is used; to stderr with CTL_USAGE as its result. */
int usage(const struct command *command);
void help(const struct command *command);

/* ---- text.c ---- */

/* A size with K, M, G, T (powers of 1024, B or iB may follow). -EINVAL: not one; -ERANGE: too large. */
int size_parse(const char *text, uint64_t *bytes);
/* OFF:LEN, both sizes; LEN empty or missing: to the end. */
int range_parse(const char *text, uint64_t *offset, uint64_t *length);
/* "1.5M", in buf or constant. */
const char *size_text(char buf[16], uint64_t bytes);
/* A JSON string with its quotes. */
void json_string(FILE *out, const char *text);
/* "name": with a comma before it unless it is the first. */
void json_name(FILE *out, bool *first, const char *name);
void json_u64(FILE *out, bool *first, const char *name, uint64_t value);
void json_text(FILE *out, bool *first, const char *name, const char *value);

/* ---- report.c: what went wrong, and what to do about it ---- */

/* "dmoctl: WHAT: cause (way out)" on stderr; gives CTL_FAILED. error: -errno. */
int fail(const char *what, int error);
/* The same for a device that can't be opened: lists those there are. mount: any path on the mount. */
int fail_device(const char *mount, const char *device, int error);
/* A message with no errno. */
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- progress.c ---- */

struct progress {
	const char *what;
	uint64_t total, done;
	bool shown;
	double began, last;
};
/* Draws on stderr where that is a terminal, or forced. total 0: not known. */
void progress_begin(struct progress *progress, const char *what, uint64_t total, bool forced);
void progress_add(struct progress *progress, uint64_t more);
/* Wipes the line. */
void progress_end(struct progress *progress);
/* Seconds of CLOCK_MONOTONIC. */
double now(void);

/* ---- target.c: mounts, devices and files that commands work on ---- */

/*
 * A path on the mount to work with: given (may be NULL), else the current directory where it is on one, else the only
 * dmofs mount there is. 0 and *path (malloc'd), or CTL_FAILED after a message.
 */
int target_mount(const char *given, char **path);
/* Opens a file with open(2)'s flags. The fd, or -1 after a message. */
int target_open(const char *file, int flags);
/* The device by name on the mount of an open file. 0 or CTL_FAILED. name NULL: the first one. */
int target_device(const char *file, int fd, const char *name, uint32_t *device);
/* The same as a handle; name NULL: the first one. path: on the mount. */
int target_dev_open(const char *path, const char *name, struct dmo_dev **dev);
/* [offset, offset + length) grown to whole pages. length 0: to size. CTL_FAILED where it passes the end of the file. */
int target_pages(const char *file, uint64_t size, const struct options *options, uint64_t *offset, uint64_t *length);
/* Device numbers to names, for printing: a copy of the mount's table. */
struct names {
	unsigned count;
	char (*name)[DMO_NAME_MAX];
};
int names_load(int fd, struct names *names);
const char *names_get(const struct names *names, uint32_t device);
void names_free(struct names *names);

#endif
