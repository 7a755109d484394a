/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ticket.c - descriptors that wait to be fetched
 *
 * A list: few wait at a time. All have the same time to live, so the last of the list is the next to end, and the
 * timer is set for it.
 */
#include "config.h"

#include "ticket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct fs_ticket {
	struct fs_ticket *next;
	uint64_t number;
	const void *file;
	uid_t uid;
	int fd;
	time_t end;		/* CLOCK_MONOTONIC */
};

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

int fs_tickets_start(struct fs_tickets *t)
{
	pthread_mutex_init(&t->lock, NULL);
	t->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return t->timer < 0 ? -errno : 0;
}

/* Lock held. */
static void set_timer(struct fs_tickets *t)
{
	struct itimerspec when = { 0 };

	for (const struct fs_ticket *k = t->first; k; k = k->next)
		when.it_value.tv_sec = k->end;
	timerfd_settime(t->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static bool too_many(const struct fs_tickets *t, uid_t uid)
{
	unsigned n = 0;

	for (const struct fs_ticket *k = t->first; k; k = k->next)
		n += k->uid == uid;
	return n >= FS_TICKETS_OF_USER;
}

/* Not 0, which says that there is none. */
static int draw(uint64_t *number)
{
	do {
		if (getrandom(number, sizeof(*number), 0) != sizeof(*number))
			return -EIO;
	} while (!*number);
	return 0;
}

int fs_ticket_make(struct fs_tickets *t, const void *file, uid_t uid, int fd, uint64_t *number)
{
	struct fs_ticket *k = malloc(sizeof(*k));
	int rc = k ? draw(number) : -ENOMEM;

	if (rc) {
		free(k);
		return rc;
	}
	*k = (struct fs_ticket){ NULL, *number, file, uid, fd, now() + FS_TICKET_SECONDS };
	pthread_mutex_lock(&t->lock);
	if (too_many(t, uid)) {
		rc = -EMFILE;
	} else {
		k->next = t->first;
		t->first = k;
		set_timer(t);
	}
	pthread_mutex_unlock(&t->lock);
	if (rc)
		free(k);
	return rc;
}

int fs_ticket_take(struct fs_tickets *t, uint64_t number, uid_t uid)
{
	struct fs_ticket **at, *k;
	int fd = -ENOENT;

	pthread_mutex_lock(&t->lock);
	for (at = &t->first; (k = *at) && (k->number != number || k->uid != uid);)
		at = &k->next;
	if (k) {
		fd = k->fd;
		*at = k->next;
		free(k);
		set_timer(t);
	}
	pthread_mutex_unlock(&t->lock);
	return fd;
}

/* Ends the tickets of file, or, without one, those whose time is over. */
static void end(struct fs_tickets *t, const void *file)
{
	struct fs_ticket **at = &t->first, *k;
	time_t at_most = now();
	bool any = false;

	pthread_mutex_lock(&t->lock);
	while ((k = *at)) {
		if (file ? k->file != file : k->end > at_most) {
			at = &k->next;
			continue;
		}
		*at = k->next;
		close(k->fd);
		free(k);
		any = true;
	}
	if (any)
		set_timer(t);
	pthread_mutex_unlock(&t->lock);
}

void fs_tickets_drop(struct fs_tickets *t, const void *file)
{
	end(t, file);
}

void fs_tickets_expire(struct fs_tickets *t)
{
	end(t, NULL);
}
