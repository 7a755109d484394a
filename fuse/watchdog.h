/* SPDX-License-Identifier: GPL-2.0-or-later */
/* watchdog.h - a process that ends the mount when the service dies */
#ifndef FS_WATCHDOG_H
#define FS_WATCHDOG_H

#include "mount.h"

/* Forks it. Before threads, from the thread that lives longest. 0 or -errno. */
int fs_watchdog_start(void);
/* Tells it what to guard. */
void fs_watchdog_guard(const char *mountpoint, const struct fs_mount_id *id);
/* The mount ended in order: the watchdog goes home. */
void fs_watchdog_dismiss(void);

#endif
