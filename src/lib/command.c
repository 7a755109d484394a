/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * command.c - a context's queue: commands in, completions out, and the wait for one in particular
 *
 * The descriptor gives completions in the order they came, to whoever reads. So that dmo_run in one thread and
 * dmo_complete in another don't take each other's, one thread reads at a time and sorts what it got:
 *
 *	cookie with the top bit set:	the struct run of that cookie is filled in and its thread woken
 *	any other:			the reader's own array (dmo_complete), or the stash (dmo_run)
 *
 *	idle --become_reader--> reading --stop_reading--> idle, everybody woken
 *
 * A thread that finds somebody reading sleeps on arrived until there is something for it or nobody reads.
 */
#include "lib.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Commands are written in pieces that FUSE passes on whole: a larger write(2) may be cut where the buffer's pages end,
 * in the middle of a command.
 */
#define WRITE_BATCH 128u

static int write_some(int fd, const struct dmo_command *commands, unsigned count)
{
	if (count > WRITE_BATCH)
		count = WRITE_BATCH;
	for (;;) {
		ssize_t n = write(fd, commands, count * sizeof(*commands));
		int r = n < 0 ? -errno : 0;

		if (n > 0 && (size_t)n >= sizeof(*commands))
			return (int)((size_t)n / sizeof(*commands));
		if (r == 0)
			return -EIO;
		if (r != -EAGAIN)
			return r;
		r = sys_poll(fd, POLLOUT, -1);
		if (r < 0)
			return r;
	}
}

static int write_all(int fd, const struct dmo_command *commands, unsigned count)
{
	unsigned done = 0;

	while (done < count) {
		int n = write_some(fd, commands + done, count - done);

		if (n < 0)
			return done ? (int)done : n;
		done += (unsigned)n;
	}
	return (int)done;
}

PUBLIC int dmo_submit(struct dmo_as *as, const struct dmo_command *commands, unsigned count)
{
	KEEP_ERRNO;

	if (count > INT32_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++)
		if (commands[i].cookie > DMO_COOKIE_MAX)
			return -EINVAL;
	return write_all(as->fd, commands, count);
}

PUBLIC int dmo_lowat(struct dmo_as *as, unsigned count)
{
	KEEP_ERRNO;
	struct dmo_lowat request = { .count = count };

	return sys_ioctl(as->fd, DMO_IOC_LOWAT, &request);
}

/* ---- sorting completions; lock held ---- */

/* Gives a completion to the dmo_run that waits for it. One that nobody waits for is dropped: its thread is gone. */
static void hand_to_run(struct dmo_as *as, const struct dmo_completion *completion)
{
	for (struct run *run = as->runs; run; run = run->next) {
		if (run->cookie == completion->cookie) {
			run->completion = *completion;
			run->over = true;
			return;
		}
	}
}

/* Hands over what belongs to a dmo_run; the rest moves to the front. Returns how many are left. */
static unsigned sort_out(struct dmo_as *as, struct dmo_completion *completions, unsigned count)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++) {
		if (completions[i].cookie & RUN_COOKIE)
			hand_to_run(as, &completions[i]);
		else
			completions[kept++] = completions[i];
	}
	return kept;
}

static unsigned take_stashed(struct dmo_as *as, struct dmo_completion *completions, unsigned room)
{
	unsigned n = as->stashed < room ? (unsigned)as->stashed : room;

	memcpy(completions, as->stash, n * sizeof(*completions));
	as->stashed -= n;
	memmove(as->stash, as->stash + n, as->stashed * sizeof(*completions));
	return n;
}

/* Makes room for a whole batch more. */
static int reserve_stash(struct dmo_as *as)
{
	size_t room = as->stash_room * 2;
	struct dmo_completion *stash;

	if (as->stash_room - as->stashed >= READ_BATCH)
		return 0;
	stash = realloc(as->stash, room * sizeof(*stash));
	if (!stash)
		return -ENOMEM;
	as->stash = stash;
	as->stash_room = room;
	return 0;
}

static void stash(struct dmo_as *as, const struct dmo_completion *completions, unsigned count)
{
	memcpy(as->stash + as->stashed, completions, count * sizeof(*completions));
	as->stashed += count;
}

/* ---- reading ---- */

/* Reads whole completions; how many, 0 where none came in time. No lock is held. */
static int read_some(int fd, struct dmo_completion *completions, unsigned room, const struct deadline *deadline)
{
	ssize_t n;
	int r;

	for (;;) {
		if (!deadline->never) {
			r = sys_poll(fd, POLLIN, deadline_left(deadline));
			if (r <= 0)
				return r;
		}
		n = read(fd, completions, room * sizeof(*completions));
		if (n > 0)
			return (int)((size_t)n / sizeof(*completions));
		if (n == 0)
			return -ENODEV;
		if (errno != EAGAIN)
			return -errno;
		r = sys_poll(fd, POLLIN, deadline_left(deadline));
		if (r <= 0)
			return r;
	}
}

/*
 * Reads as the only reader, into completions, and sorts them. lock is held at the start and the end, not in between.
 * Returns how many are for the caller of dmo_complete, -ETIMEDOUT where none came at all.
 */
static int read_and_sort(struct dmo_as *as, struct dmo_completion *completions, unsigned room,
			 const struct deadline *deadline)
{
	int n;

	as->reading = true;
	pthread_mutex_unlock(&as->lock);
	n = read_some(as->fd, completions, room < READ_BATCH ? room : READ_BATCH, deadline);
	pthread_mutex_lock(&as->lock);
	as->reading = false;
	pthread_cond_broadcast(&as->arrived);
	if (n == 0)
		return -ETIMEDOUT;
	return n < 0 ? n : (int)sort_out(as, completions, (unsigned)n);
}

/* Sleeps until the reader has news, lock held before and after. -ETIMEDOUT. */
static int await_reader(struct dmo_as *as, const struct deadline *deadline)
{
	if (deadline->never)
		return -pthread_cond_wait(&as->arrived, &as->lock);
	return -pthread_cond_timedwait(&as->arrived, &as->lock, &deadline->at);
}

static int complete_locked(struct dmo_as *as, struct dmo_completion *completions, unsigned room,
			   const struct deadline *deadline)
{
	for (;;) {
		int r;

		if (as->stashed)
			return (int)take_stashed(as, completions, room);
		r = as->reading ? await_reader(as, deadline) : read_and_sort(as, completions, room, deadline);
		if (r != 0)
			return r;
	}
}

PUBLIC int dmo_complete(struct dmo_as *as, struct dmo_completion *completions, unsigned room, int timeout_ms)
{
	KEEP_ERRNO;
	struct deadline deadline;
	int r;

	if (room == 0)
		return -EINVAL;
	deadline_set(&deadline, timeout_ms);
	pthread_mutex_lock(&as->lock);
	r = complete_locked(as, completions, room, &deadline);
	pthread_mutex_unlock(&as->lock);
	return r == -ETIMEDOUT ? 0 : r;
}

/* ---- one command, waited for ---- */

static int read_for_run(struct dmo_as *as)
{
	static const struct deadline never = { .never = true };
	struct dmo_completion batch[READ_BATCH];
	int r = reserve_stash(as);

	if (r == 0)
		r = read_and_sort(as, batch, READ_BATCH, &never);
	if (r > 0)
		stash(as, batch, (unsigned)r);
	return r == -EINTR || r > 0 ? 0 : r;
}

static int await_run(struct dmo_as *as, struct run *run)
{
	static const struct deadline never = { .never = true };
	int r = 0;

	while (r == 0 && !run->over)
		r = as->reading ? await_reader(as, &never) : read_for_run(as);
	return r;
}

static void enlist(struct dmo_as *as, struct run *run)
{
	run->cookie = as->next_run++ | RUN_COOKIE;
	run->next = as->runs;
	as->runs = run;
}

static void delist(struct dmo_as *as, const struct run *run)
{
	struct run **link = &as->runs;

	while (*link != run)
		link = &(*link)->next;
	*link = run->next;
}

PUBLIC int dmo_run(struct dmo_as *as, const struct dmo_command *command, struct dmo_completion *completion)
{
	KEEP_ERRNO;
	struct dmo_command mine = *command;
	struct run run = { .over = false };
	int r;

	pthread_mutex_lock(&as->lock);
	enlist(as, &run);
	pthread_mutex_unlock(&as->lock);
	mine.cookie = run.cookie;
	do
		r = write_all(as->fd, &mine, 1);
	while (r == -EINTR);
	pthread_mutex_lock(&as->lock);
	if (r > 0)
		r = await_run(as, &run);
	delist(as, &run);
	pthread_mutex_unlock(&as->lock);
	if (r < 0)
		return r;
	run.completion.cookie = command->cookie;
	if (completion)
		*completion = run.completion;
	return run.completion.status;
}
