/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mount.h - the parser of /proc/self/mountinfo
 */
#ifndef LIB_MOUNT_H
#define LIB_MOUNT_H

#include "lib.h"

#include <sys/types.h>

struct mount_line {
	dev_t dev;
	bool whole;		/* its root is the filesystem's */
	bool ours;		/* a dmofs */
	const char *point;	/* where it is mounted; in the line that was parsed */
};

/* Takes a line apart, which is changed. -EBADMSG: not a line of mountinfo. */
int mount_parse_line(char *line, struct mount_line *mount);

#endif
