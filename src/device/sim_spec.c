/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_spec.c - reads the options of a simulated device
 *
 * One table says what options there are; each entry has a reader for its kind of value. Nothing is allocated, and
 * the text is never written to: a value is copied into a small buffer first, which bounds its length.
 */
#include "sim_spec.h"

#include <dmo/ioctl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_MAX (1ull << 43)		/* 8 TiB: frame numbers stay within 32 bits */

const char sim_spec_help[] =
	"memory=SIZE        device memory, in whole pages of 4 KiB (default 64M)\n"
	"link=SIZE          bytes a second that the link carries each way, 0 for no limit (default 0)\n"
	"latency=TIME       what each transfer over the link waits, in ns, us, ms or s (default 0)\n"
	"threads=N          compute threads, 1 to 64 (default 2, or as many as there are CPUs)\n"
	"faults=yes|no      whether the device resolves its own page faults (default yes)\n"
	"coherent=yes|no    whether the CPU may reach its memory (default no)\n";

struct suffix {
	const char *name;
	uint64_t factor;
};

static const struct suffix sizes[] = {
	{ "", 1 }, { "K", 1ull << 10 }, { "M", 1ull << 20 }, { "G", 1ull << 30 }, { "T", 1ull << 40 },
	{ "k", 1ull << 10 }, { "m", 1ull << 20 }, { "g", 1ull << 30 }, { "t", 1ull << 40 }, { NULL, 0 },
};

static const struct suffix times[] = {
	{ "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 }, { NULL, 0 },
};

/* Digits, then one of the suffixes. */
static int read_number(const char *value, const struct suffix *suffixes, uint64_t *out)
{
	unsigned long long number;
	char *end;

	if (*value < '0' || *value > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(value, &end, 10);
	if (errno)
		return -ERANGE;
	for (; suffixes->name; suffixes++) {
		if (!strcmp(end, suffixes->name))
			return __builtin_mul_overflow(number, suffixes->factor, out) ? -ERANGE : 0;
	}
	return -EINVAL;
}

static int read_bool(const char *value, bool *out)
{
	*out = !strcmp(value, "yes");
	return *out || !strcmp(value, "no") ? 0 : -EINVAL;
}

static int read_memory(struct sim_spec *spec, const char *value)
{
	if (read_number(value, sizes, &spec->memory) || !spec->memory || spec->memory > MEMORY_MAX)
		return -EINVAL;
	return spec->memory % DMO_PAGE_SIZE ? -EINVAL : 0;
}

static int read_link(struct sim_spec *spec, const char *value)
{
	return read_number(value, sizes, &spec->link);
}

static int read_latency(struct sim_spec *spec, const char *value)
{
	if (!strcmp(value, "0")) {
		spec->latency = 0;
		return 0;
	}
	return read_number(value, times, &spec->latency) || spec->latency > 10000000000ull ? -EINVAL : 0;
}

static int read_threads(struct sim_spec *spec, const char *value)
{
	uint64_t number;

	if (read_number(value, sizes, &number) || !number || number > SIM_THREADS_MAX)
		return -EINVAL;
	spec->threads = (unsigned)number;
	return 0;
}

static int read_faults(struct sim_spec *spec, const char *value)
{
	return read_bool(value, &spec->faults);
}

static int read_coherent(struct sim_spec *spec, const char *value)
{
	return read_bool(value, &spec->coherent);
}

static const struct option {
	const char *key;
	int (*read)(struct sim_spec *spec, const char *value);
	const char *wants;
} options[] = {
	{ "memory", read_memory, "a size in whole pages of 4 KiB, as in memory=32M, 8T at most" },
	{ "link", read_link, "bytes a second, as in link=4G, or 0 for no limit" },
	{ "latency", read_latency, "a time with its unit, as in latency=2us, 10s at most" },
	{ "threads", read_threads, "a number from 1 to 64, as in threads=2" },
	{ "faults", read_faults, "yes or no" },
	{ "coherent", read_coherent, "yes or no" },
};

static const struct option *find_option(const char *key, size_t length)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (strlen(options[i].key) == length && !memcmp(options[i].key, key, length))
			return &options[i];
	}
	return NULL;
}

/* One "key=value" of length bytes. */
static int read_one(struct sim_spec *spec, const char *text, size_t length, char *why, size_t why_size)
{
	const char *equals = memchr(text, '=', length);
	size_t key = equals ? (size_t)(equals - text) : length;
	const struct option *option = find_option(text, key);
	int shown = length > 64 ? 64 : (int)length;
	char value[32];

	if (!option) {
		snprintf(why, why_size, "unknown option '%.*s' of a simulated device: it takes memory=, link=, "
			 "latency=, threads=, faults= and coherent=", shown, text);
		return -EINVAL;
	}
	length = equals ? length - key - 1 : 0;
	if (equals && length < sizeof(value)) {
		memcpy(value, equals + 1, length);
		value[length] = 0;
		if (!option->read(spec, value))
			return 0;
	}
	snprintf(why, why_size, "bad value in '%.*s': %s= takes %s", shown, text, option->key, option->wants);
	return -EINVAL;
}

static unsigned default_threads(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1;
}

int sim_spec_parse(const char *text, struct sim_spec *spec, char *why, size_t why_size)
{
	size_t length;
	int err;

	*spec = (struct sim_spec){ .memory = 64ull << 20, .threads = default_threads(), .faults = true };
	while (text && *text) {
		length = strcspn(text, ",");
		err = read_one(spec, text, length, why, why_size);
		if (err)
			return err;
		text += length;
		text += *text == ',';
	}
	return 0;
}
