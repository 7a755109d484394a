/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.c - one line an event
 *
 * Where stderr is a stream to the journal lines go there with the level as "<N>" in front, which the journal
 * understands. JOURNAL_STREAM names that stream; terminals and pipes of a session inherit the variable, so it is
 * compared with what stderr really is. A daemon without that writes to syslog. In the foreground lines go to
 * stderr behind "dmofs: ". Both settings are made before there are threads.
 */
#include "config.h"

#include "log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int max_level = LOG_NOTICE;
static bool use_syslog;

static const char *const names[] = { "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug" };

void fs_log_level(int level)
{
	max_level = level;
}

int fs_log_parse(const char *name)
{
	for (int i = LOG_ERR; i <= LOG_DEBUG; i++)
		if (!strcmp(name, names[i]))
			return i;
	return -1;
}

bool fs_log_has_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) &&
	       st.st_dev == dev && st.st_ino == ino;
}

void fs_log_to_syslog(void)
{
	if (fs_log_has_journal())
		return;
	openlog("dmofs", LOG_PID, LOG_DAEMON);
	use_syslog = true;
}

void fs_log_line(int level, const char *line)
{
	if (level > max_level)
		return;
	if (use_syslog)
		syslog(level, "%s", line);
	else if (fs_log_has_journal())
		fprintf(stderr, "<%d>%s\n", level, line);
	else
		fprintf(stderr, "dmofs: %s\n", line);
}

void fs_log(int level, const char *format, ...)
{
	char line[1024];
	va_list args;

	if (level > max_level)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fs_log_line(level, line);
}
