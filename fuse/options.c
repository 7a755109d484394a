/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options.c - the command line of dmofs
 *
 * Options come as words (--device SPEC) from people and scripts, and as one -o list from mount(8) and fstab. In
 * a list a device's own commas are written as ':' or as '\,': device=sim:npu0:memory=32M.
 *
 * mount(8) starts us by the name mount.fuse.dmofs, with short options of its own: see helper_options.
 */
#include "config.h"

#include "options.h"
#include "kernel.h"
#include "log.h"
#include "passthrough.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage_text[] =
	"Usage: dmofs [options] STORE MOUNT --device SPEC [--device SPEC ...]\n"
	"Mounts the directory STORE at MOUNT so that every file in it is a device memory object.\n"
	"\n"
	"  -d, --device SPEC     a device: TYPE:NAME,memory=SIZE[,key=value ...]; or kernel: those of the\n"
	"                        module dmo, which is also what is taken where none is named\n"
	"  -f, --foreground      stay in the foreground, log to stderr\n"
	"  -o OPT[,OPT ...]      as mount(8) hands them over:\n"
	"      ro, rw            read-only, or not\n"
	"      device=SPEC       as --device; write ':' or '\\,' for its commas\n"
	"      ctl=NAME          name of the control directory (.dmo)\n"
	"      io=auto|buffered|direct   how devices reach the backing files\n"
	"      passthrough       files go straight to the store while no device wants them (root);\n"
	"                        for single files or directories: setfattr -n user.dmo.passthrough -v 1\n"
	"      private           only the user who mounts may enter\n"
	"      readahead=SIZE    the mount's read-ahead (root)\n"
	"      threads=N         workers at most\n"
	"      fsname=NAME       what stands in front in /proc/mounts (STORE)\n"
	"      suid, dev, exec, atime ... and their opposites as in mount(8)\n"
	"      --log-level LEVEL err, warning, notice, info or debug (notice)\n"
	"  -h, --help            this text\n"
	"  -V, --version         the version\n"
	"\n"
	"Exit status: 0 all is well, 1 usage, 2 the store, 3 the mount point, 4 a device, 5 the system,\n"
	"6 something could not be written back at the end.\n"
	"\n"
	"Examples:\n"
	"  dmofs /srv/models /mnt/models --device sim:npu0,memory=32M\n"
	"  dmofs -f -o ro /usr/share /mnt/share -d sim:npu0,memory=32M,link=4G\n"
	"  mount -t fuse.dmofs /srv/models /mnt/models -o device=sim:npu0:memory=32M\n"
	"  umount /mnt/models        (or: fusermount3 -u /mnt/models)\n";

static int bad(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int bad(const char *format, ...)
{
	va_list args;

	fputs("dmofs: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs(" (dmofs --help shows the usage)\n", stderr);
	return FS_EXIT_USAGE;
}

static int add_device(struct fs_options *opt, char *spec)
{
	if (!strcmp(spec, "kernel")) {
		opt->module = true;
		return FS_EXIT_OK;
	}
	if (opt->device_count == FS_DEVICES_MAX)
		return bad("more than %d devices", FS_DEVICES_MAX);
	opt->devices[opt->device_count++] = spec;
	return 0;
}

/* "sim:npu0:memory=32M": from the second colon on, colons stand for commas. */
static int add_listed_device(struct fs_options *opt, char *spec)
{
	char *p = strchr(spec, ':');

	while (p && (p = strchr(p + 1, ':')))
		*p = ',';
	return add_device(opt, spec);
}

static int set_io(struct fs_options *opt, const char *value)
{
	static const char *const modes[] = { "auto", "buffered", "direct" };

	for (unsigned i = 0; i < 3; i++)
		if (!strcmp(value, modes[i])) {
			opt->io = (enum eng_io_mode)i;
			return 0;
		}
	return bad("io=%s: write auto, buffered or direct", value);
}

static int set_ctl(struct fs_options *opt, const char *value)
{
	if (!*value || strchr(value, '/') || !strcmp(value, ".") || !strcmp(value, "..") || strlen(value) > 255)
		return bad("ctl=%s: a file name is wanted", value);
	opt->ctl = value;
	return 0;
}

static int set_fsname(struct fs_options *opt, const char *value)
{
	opt->fsname = value;
	return 0;
}

/* A number with K, M or G behind it. */
static int parse_size(const char *text, unsigned long long *size)
{
	char *end;
	unsigned shift = 0;

	*size = strtoull(text, &end, 10);
	if (end == text || *text == '-')
		return -1;
	switch (*end) {
	case 'G': case 'g': shift += 10; /* fall through */
	case 'M': case 'm': shift += 10; /* fall through */
	case 'K': case 'k': shift += 10; end++;
	}
	if (*end || *size > (~0ULL >> shift))
		return -1;
	*size <<= shift;
	return 0;
}

static int set_readahead(struct fs_options *opt, const char *value)
{
	unsigned long long size;

	if (parse_size(value, &size) || size < 4096 || size > (1ULL << 30))
		return bad("readahead=%s: a size from 4K to 1G is wanted", value);
	opt->readahead_kb = (unsigned)(size >> 10);
	return 0;
}

static int set_threads(struct fs_options *opt, const char *value)
{
	unsigned long long n;

	if (parse_size(value, &n) || n < 2 || n > 1024)
		return bad("threads=%s: a number from 2 to 1024 is wanted", value);
	opt->threads = (unsigned)n;
	return 0;
}

static const struct {
	const char *name;
	int (*set)(struct fs_options *opt, const char *value);
} valued[] = {
	{ "io", set_io },
	{ "ctl", set_ctl },
	{ "fsname", set_fsname },
	{ "readahead", set_readahead },
	{ "threads", set_threads },
};

/* Mount flags that go to the kernel as they are. */
static const char *const kernel_flags[] = {
	"suid", "nosuid", "dev", "nodev", "exec", "noexec", "atime", "noatime", "relatime", "norelatime",
	"strictatime", "diratime", "nodiratime", "sync", "dirsync",
};

/* Words of fstab that are meant for others, or that say what holds anyway. */
static const char *const ignored[] = {
	"rw", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev",
	"allow_other", "default_permissions", "async",
};

static bool listed(const char *const *list, size_t count, const char *word)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i], word))
			return true;
	return false;
}
#define LISTED(list, word) listed(list, sizeof(list) / sizeof(*(list)), word)

static int set_word(struct fs_options *opt, const char *word)
{
	size_t used = strlen(opt->kernel);

	if (!strcmp(word, "ro")) {
		opt->read_only = true;
	} else if (!strcmp(word, "passthrough")) {
		opt->passthrough = true;
	} else if (!strcmp(word, "private")) {
		opt->private_mount = true;
	} else if (LISTED(kernel_flags, word)) {
		if (used + strlen(word) + 2 > sizeof(opt->kernel))
			return bad("-o: too many options");
		sprintf(opt->kernel + used, ",%s", word);
	} else if (*word && !LISTED(ignored, word) && strncmp(word, "x-", 2)) {
		return bad("-o %s: no such option", word);
	}
	return 0;
}

static int set_option(struct fs_options *opt, char *word)
{
	char *value = strchr(word, '=');

	if (!value || !strncmp(word, "x-", 2))
		return set_word(opt, word);
	*value++ = 0;
	if (!strcmp(word, "device"))
		return add_listed_device(opt, value);
	for (size_t i = 0; i < sizeof(valued) / sizeof(*valued); i++)
		if (!strcmp(word, valued[i].name))
			return valued[i].set(opt, value);
	if (!strcmp(word, "subtype") || !strcmp(word, "user"))	/* user=: whom mount(8) let mount */
		return 0;
	return bad("-o %s=: no such option", word);
}

/* Cuts the next word off a list, undoing '\,' and '\\'. NULL at the end. */
static char *next_word(char **list)
{
	char *word = *list, *to = word, *from = word;

	if (!word)
		return NULL;
	while (*from && *from != ',') {
		if (*from == '\\' && from[1])
			from++;
		*to++ = *from++;
	}
	*list = *from ? from + 1 : NULL;
	*to = 0;
	return word;
}

struct fs_words {
	struct fs_words *next;
	char text[];
};

static int set_list(struct fs_options *opt, const char *text)
{
	struct fs_words *words = malloc(sizeof(*words) + strlen(text) + 1);
	char *list, *word;

	if (!words)
		return FS_EXIT_SYSTEM;
	words->next = opt->words;
	opt->words = words;
	list = strcpy(words->text, text);
	while ((word = next_word(&list))) {
		int rc = set_option(opt, word);

		if (rc)
			return rc;
	}
	return 0;
}

void fs_options_free(struct fs_options *opt)
{
	struct fs_words *words;

	while ((words = opt->words)) {
		opt->words = words->next;
		free(words);
	}
}

static int set_level(struct fs_options *opt, const char *name)
{
	opt->log_level = fs_log_parse(name);
	if (opt->log_level < 0)
		return bad("--log-level %s: write err, warning, notice, info or debug", name);
	return 0;
}

static int show(const char *text)
{
	fputs(text, stdout);
	exit(fflush(stdout) ? FS_EXIT_SYSTEM : FS_EXIT_OK);
}

static const char *last_word;	/* what getopt took */

/* getopt's '?' and ':', in our words. */
static int bad_word(int c)
{
	const char *why = c == ':' ? "its value is missing" : "no such option";

	if (optopt)
		return bad("-%c: %s", optopt, why);
	return bad("%s: %s", last_word, why);
}

static int set_one(struct fs_options *opt, int c)
{
	switch (c) {
	case 'd':
		return add_device(opt, optarg);
	case 'f':
		opt->foreground = true;
		return 0;
	case 'o':
		return set_list(opt, optarg);
	case 'l':
		return set_level(opt, optarg);
	case 'h':
		return show(usage_text);
	case 'V':
		return show("dmofs " VERSION "\n");
	default:
		return bad_word(c);
	}
}

/*
 * As mount.fuse.dmofs: -f is a mount that is only tried, -t tells the type once more, -n, -s, -v and -N (a mount
 * namespace, entered already) concern mount(8) alone.
 */
static const char helper_options[] = ":fnsvN:t:o:hV";

static bool is_helper(const char *name)
{
	const char *slash = strrchr(name, '/');

	return !strncmp(slash ? slash + 1 : name, "mount.", 6);
}

static int set_helper_one(struct fs_options *opt, int c, bool *dry)
{
	if (c == 'f')
		*dry = true;
	else if (c == ':' || !strchr("nsvNt", c))
		return set_one(opt, c);
	return 0;
}

/* The module's devices are taken by themselves where files can be mapped through it. */
static bool module_serves(void)
{
	return !access(FS_KERNEL_CONTROL, F_OK) && !fs_passthrough_absent();
}

static int no_device(void)
{
	if (!access(FS_KERNEL_CONTROL, F_OK))
		return bad("no device: add --device sim:npu0,memory=32M or the like; this kernel has no FUSE passthrough "
			   "(Linux 6.9), so the module serves programs that open /dev/dmo, and no mount");
	return bad("no device: add --device sim:npu0,memory=32M or the like, or load the kernel module (dmo)");
}

static int check_words(struct fs_options *opt, int argc, char **argv)
{
	if (argc - optind < 2)
		return bad("%s is missing", argc == optind ? "STORE" : "MOUNT");
	if (argc - optind > 2)
		return bad("'%s': one STORE and one MOUNT are wanted", argv[optind + 2]);
	opt->store = argv[optind];
	opt->mountpoint = argv[optind + 1];
	if (!opt->device_count && !opt->module)
		opt->module = module_serves();
	if (opt->device_count && opt->module)
		return bad("--device kernel takes the module's devices: no others beside them");
	if (!opt->device_count && !opt->module)
		return no_device();
	return FS_EXIT_OK;
}

int fs_options_parse(struct fs_options *opt, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "foreground", no_argument, NULL, 'f' },
		{ "log-level", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	bool helper = argc && is_helper(argv[0]), dry = false;
	int c, rc;

	*opt = (struct fs_options){ .ctl = ".dmo", .readahead_kb = 2048, .threads = 64, .log_level = LOG_NOTICE };
	opterr = 0;
	while ((c = getopt_long(argc, argv, helper ? helper_options : ":d:fo:hV", longs, NULL)) != -1) {
		last_word = argv[optind - 1];
		rc = helper ? set_helper_one(opt, c, &dry) : set_one(opt, c);
		if (rc)
			return rc;
	}
	rc = check_words(opt, argc, argv);
	if (!rc && dry)
		exit(FS_EXIT_OK);
	return rc;
}
