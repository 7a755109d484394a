/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount.h - the mount itself: made, tuned, taken away */
#ifndef FS_MOUNT_H
#define FS_MOUNT_H

#include "fs.h"

/* What mountinfo tells of a mount. */
struct fs_mount_id {
	unsigned major, minor;		/* of its device; minor names the FUSE connection */
};

/* Looks at the mount point before anything is made: prints a line and gives an exit status where it won't do. */
int fs_mount_check(const struct fs_options *opt);
/* Makes the session and mounts. FS_EXIT_OK, or another with a line printed. */
int fs_mount_start(struct fs *fs);
/* Finds a mounted filesystem by its mount point (absolute, no symbolic links). 0 or -ENOENT. */
int fs_mount_find(const char *mountpoint, struct fs_mount_id *id);
/* Waits until the mount answers, then raises its read-ahead, where root. Workers run already. */
void fs_mount_readahead(struct fs *fs);
/* Unmounts, detaching what is busy. True: the connection ends by itself; false: busy, or already gone. */
bool fs_mount_stop(struct fs *fs);
/* umount2(2) or fusermount3 -u, lazily if wanted. 0 or -errno. For the watchdog too: allocates nothing. */
int fs_mount_remove(const char *mountpoint, bool lazy);

#endif
