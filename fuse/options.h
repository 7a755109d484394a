/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options.h - the command line, taken apart */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include <engine/engine.h>
#include <stdbool.h>

/* What the process exits with; in dmofs(8) under EXIT STATUS. */
enum fs_exit {
	FS_EXIT_OK = 0,
	FS_EXIT_USAGE = 1,	/* the command line */
	FS_EXIT_STORE = 2,	/* the store: missing, no directory, holds the control name */
	FS_EXIT_MOUNT = 3,	/* the mount point or the mount */
	FS_EXIT_DEVICE = 4,	/* a device specification */
	FS_EXIT_SYSTEM = 5,	/* memory, threads, descriptors */
	FS_EXIT_FLUSH = 6,	/* something dirty could not be written back at the end */
};

#define FS_DEVICES_MAX 64

struct fs_words;	/* a list behind -o, cut into words */

struct fs_options {
	const char *store;
	const char *mountpoint;
	char *devices[FS_DEVICES_MAX];	/* specifications, commas between fields */
	unsigned device_count;
	bool module;			/* the devices are the kernel module's */
	bool foreground;
	bool read_only;
	bool passthrough;
	bool private_mount;		/* allow_other is not wanted */
	const char *ctl;		/* name of the control directory */
	const char *fsname;		/* NULL: the store */
	char kernel[512];		/* mount options handed on, each behind a comma */
	unsigned readahead_kb;		/* of the mount; 0: leave it */
	unsigned threads;		/* at most */
	enum eng_io_mode io;
	int log_level;
	struct fs_words *words;		/* what the strings point into that don't stand in argv */
};

/*
 * Fills opt. FS_EXIT_OK: go on; else the exit status, with a line already printed. --help and --version print and
 * exit. The strings belong to argv or to opt.
 */
int fs_options_parse(struct fs_options *opt, int argc, char **argv);
/* The strings go that came from -o; after whatever fs_options_parse returned. */
void fs_options_free(struct fs_options *opt);

#endif
