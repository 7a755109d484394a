/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spec.c - feeds damaged device specifications to the simulated device, and damaged lists to dmofs -o
 *
 * A specification that is accepted lies within the bounds that its help names, and comes back from its own
 * words; one that is refused says why. A list that is accepted leaves options in bounds; one that is refused
 * prints a line. A device written into a list as the manual says comes out of it as it went in.
 */
#include "fuzz.h"

#include "../../fuse/options.h"
#include "device/sim_spec.h"

#include <errno.h>
#include <unistd.h>

/* ---- the device's options ---------------------------------------- */

static void check_bounds(const struct sim_spec *s)
{
	require(s->memory >= 4096 && s->memory % 4096 == 0 && s->memory <= 1ull << 43, "memory is in bounds");
	require(s->threads >= 1 && s->threads <= SIM_THREADS_MAX, "threads are in bounds");
	require(s->latency <= 10000000000ull, "latency is in bounds");
}

static void check_same(const struct sim_spec *s)
{
	struct sim_spec t;
	char text[256], why[128];

	snprintf(text, sizeof(text), "coherent=%s,threads=%u,faults=%s,latency=%lluns,link=%llu,memory=%llu",
		 s->coherent ? "yes" : "no", s->threads, s->faults ? "yes" : "no", (unsigned long long)s->latency,
		 (unsigned long long)s->link, (unsigned long long)s->memory);
	require(sim_spec_parse(text, &t, why, sizeof(why)) == 0, "an accepted specification can be written down");
	require(t.memory == s->memory && t.link == s->link && t.latency == s->latency && t.threads == s->threads &&
		t.faults == s->faults && t.coherent == s->coherent, "what is written down means the same");
}

static void check_spec(const char *text)
{
	struct sim_spec s;
	char why[160];
	int err;

	memset(why, 0, sizeof(why));
	err = sim_spec_parse(text, &s, why, sizeof(why) - 8);
	require(!memcmp(why + sizeof(why) - 8, "\0\0\0\0\0\0\0", 8), "no more is written than there is room for");
	require(err == 0 || (err == -EINVAL && *why), "a refused specification says why");
	if (!err) {
		check_bounds(&s);
		check_same(&s);
	}
}

/* ---- dmofs -o ------------------------------------------------------------------------------------------------ */

static char printed[4096];

static int parse_list(const char *list, struct fs_options *opt)
{
	char *argv[] = { "dmofs", "-o", (char *)list, "-d", "sim:last", "STORE", "MOUNT", NULL };
	int rc;

	memset(printed, 0, sizeof(printed));
	rewind(stderr);
	optind = 0;
	rc = fs_options_parse(opt, 7, argv);
	fflush(stderr);
	return rc;
}

static void check_device_word(const char *spec)
{
	const char *colon = strchr(spec, ':');

	require(!colon || !strchr(colon + 1, ':'), "a listed device has commas where colons stood");
}

static void check_list(const char *list)
{
	struct fs_options opt;
	int rc = parse_list(list, &opt);

	require(rc == FS_EXIT_OK || rc == FS_EXIT_USAGE, "a list is accepted or a wrong usage");
	require(rc == FS_EXIT_OK || strchr(printed, '\n'), "a refused list prints a line");
	require(rc != FS_EXIT_OK || !*printed, "an accepted list prints nothing");
	require(opt.device_count <= FS_DEVICES_MAX, "devices are not too many");
	require(strnlen(opt.kernel, sizeof(opt.kernel)) < sizeof(opt.kernel), "mount options have an end");
	require(opt.threads >= 2 && opt.threads <= 1024, "threads are in bounds");
	require(opt.readahead_kb >= 4 && opt.readahead_kb <= 1 << 20, "read-ahead is in bounds");
	for (unsigned i = 0; i + 1 < opt.device_count; i++)
		check_device_word(opt.devices[i]);
	fs_options_free(&opt);
}

/* text as a device in a list: its commas and backslashes escaped; from the second colon on, colons are commas. */
static void check_listed(const char *text)
{
	size_t length = strlen(text);
	char *list = malloc(2 * length + 32), *want = malloc(length + 1), *p;
	struct fs_options opt;

	require(list && want, "there is memory");
	p = list + sprintf(list, "ro,device=");
	for (size_t i = 0; i < length; i++) {
		if (text[i] == ',' || text[i] == '\\')
			*p++ = '\\';
		*p++ = text[i];
	}
	strcpy(p, ",noatime");
	strcpy(want, text);
	p = strchr(want, ':');
	while (p && (p = strchr(p + 1, ':')))
		*p = ',';
	require(parse_list(list, &opt) == FS_EXIT_OK && opt.read_only && opt.device_count == 2,
		"one device is listed");
	require(!strcmp(opt.devices[0], want), "a device comes out of a list as it was written into it");
	require(!strcmp(opt.devices[1], "sim:last") && !strcmp(opt.kernel, ",noatime"),
		"what stands behind it holds too");
	fs_options_free(&opt);
	free(list);
	free(want);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!fuzz_complain) {
		fuzz_complain = stderr;
		stderr = fmemopen(printed, sizeof(printed), "w");
	}
	require(text && stderr, "there is memory");
	memcpy(text, data, size);
	text[size] = 0;
	check_spec(text);
	check_list(text);
	check_listed(text);
	free(text);
	return 0;
}

#ifndef LIBFUZZER

static const char *const seeds[] = {
	"memory=32M,link=4G,latency=2us,threads=2,faults=no,coherent=yes", "memory=8T,link=0,latency=10s", "memory=4096",
	"sim:npu0,memory=32M,user=root,group=0,mode=0600", "device=sim:npu0:memory=32M:link=4G,ro,ctl=.other",
	"device=sim:a\\,memory=1M\\,threads=1,device=sim:b,readahead=1M,threads=16,nosuid,x-a=b,io=direct",
	"suid,nosuid,dev,nodev,exec,noexec,atime,noatime,relatime,norelatime,strictatime,diratime,nodiratime,sync",
};

static const char *const words[] = {
	",", ":", "=", "\\", "\\,", "memory=", "link=", "latency=", "threads=", "faults=", "coherent=", "yes", "no", "0",
	"18446744073709551615", "18446744073709551616", "9007199254740993", "-1", "+1", " 1", "0x10", "K", "M", "G", "T",
	"P", "ns", "us", "ms", "s", "4096", "1", "64", "65", "sim:", "device=", "readahead=", "threads=1024", "fsname=a",
	"ctl=..", "dirsync,dirsync,dirsync,dirsync,dirsync,dirsync,dirsync,dirsync,dirsync,dirsync", "\n", "%s%n",
};

static void make_text(struct buffer *b)
{
	const char *seed = seeds[random_below(sizeof(seeds) / sizeof(seeds[0]))];

	splice(b, 0, 0, seed, strlen(seed));
}

int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, "device specifications and lists", make_text,
			 &(struct words){ words, sizeof(words) / sizeof(words[0]) });
}

#endif
