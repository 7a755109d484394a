/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loose.h - opens that no inode keeps in a list: directories and control files
 *
 * The kernel's RELEASE comes on its own time, and not at all once the mount has ended; what is still open then is
 * found here.
 */
#ifndef FS_LOOSE_H
#define FS_LOOSE_H

#include "fs.h"

/* The beginning of such an open. */
struct fs_loose {
	struct fs_open open;
	struct fs_loose *next, **link;	/* of all, under a lock of loose.c */
	void (*free)(struct fs_loose *loose);
};

/* It is open from now on. free: what its end takes besides. */
void fs_loose_begin(struct fs_loose *loose, enum fs_open_kind kind, void (*free)(struct fs_loose *loose));
/* It is no longer: freed. */
void fs_loose_end(struct fs_loose *loose);
/* The end of those that are left; no requests come any more. */
void fs_loose_end_all(void);

#endif
