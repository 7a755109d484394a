/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * progress.c - a bar on the terminal for work that takes long
 *
 * Nothing is drawn in the first half second, nor more than ten times a second.
 */
#include "ctl.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR 30

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void progress_begin(struct progress *progress, const char *what, uint64_t total, bool forced)
{
	*progress = (struct progress){ .what = what, .total = total, .began = now() };
	progress->shown = forced || isatty(STDERR_FILENO);
	progress->last = progress->began + (forced ? -1 : 0.4);
}

static void draw(const struct progress *p, double t)
{
	char done[16], total[16], rate[16], bar[BAR + 1];
	double part = p->total ? (double)p->done / (double)p->total : 0;
	int full = part > 1 ? BAR : (int)(part * BAR);

	memset(bar, ' ', BAR);
	memset(bar, '#', (size_t)full);
	bar[BAR] = '\0';
	fprintf(stderr, "\r%.40s [%s] %3.0f%% %s of %s, %s/s\033[K", p->what, bar, part * 100, size_text(done, p->done),
		size_text(total, p->total), size_text(rate, (uint64_t)((double)p->done / (t - p->began + 1e-9))));
	fflush(stderr);
}

void progress_add(struct progress *progress, uint64_t more)
{
	double t;

	progress->done += more;
	if (!progress->shown)
		return;
	t = now();
	if (t - progress->last < 0.1)
		return;
	progress->last = t;
	draw(progress, t);
}

void progress_end(struct progress *progress)
{
	if (!progress->shown)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	progress->shown = false;
}
