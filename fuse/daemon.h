/* SPDX-License-Identifier: GPL-2.0-or-later */
/* daemon.h - into the background, and telling those who wait */
#ifndef FS_DAEMON_H
#define FS_DAEMON_H

/*
 * Forks; the caller goes on as the daemon. The parent waits for fs_daemon_ready or the daemon's end, and exits with
 * the status it is told. Before any thread.
 */
void fs_daemon_start(void);
/* Releases the parent with status 0, lets go of the terminal. Nothing where fs_daemon_start was not called. */
void fs_daemon_ready(void);
/* sd_notify(3): sends text ("READY=1") where systemd listens. */
void fs_daemon_notify(const char *text);

#endif
