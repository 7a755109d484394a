/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log.h - lines for people: to stderr, the journal or syslog. Every call may come from any thread. */
#ifndef FS_LOG_H
#define FS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <syslog.h>

/* Lines above this level (LOG_ERR ... LOG_DEBUG) are dropped. */
void fs_log_level(int level);
/* A level by name (err, warning, notice, info, debug); -1: no such name. */
int fs_log_parse(const char *name);
/* stderr is a stream to the journal. */
bool fs_log_has_journal(void);
/* From now on to syslog, as a daemon whose stderr is gone. */
void fs_log_to_syslog(void);
void fs_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fs_log_line(int level, const char *line);

#endif
