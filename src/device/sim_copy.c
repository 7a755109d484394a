/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_copy.c - the copy engine's queue, its threads and what they do
 *
 * States of a transfer, and who moves it (all under the lock):
 *
 *	FREE --open_next--> COPYING --finish_piece (last one)--> COPIED --complete_due--> FREE
 *
 * done is called without the lock.
 */
#include "sim_copy.h"
#include "sim_guard.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE		(1u << 20)
#define INLINE_MAX	(64u << 10)	/* done on the caller's thread where nothing else waits */

/* Bytes [offset, offset + bytes) of an open job. */
struct slice {
	struct sim_transfer *transfer;
	struct dmo_copy_job *job;
	uint64_t offset, bytes;
};

/* ---- moving bytes ------------------------------------------------------------------------------------ */

/* Where in device memory a job begins. */
static uint64_t target(const struct dmo_copy_job *job)
{
	return (uint64_t)job->frame * DMO_PAGE_SIZE + job->offset;
}

static bool in_memory(const struct sim_copy *copy, uint64_t start, uint64_t bytes)
{
	return start <= copy->size && bytes <= copy->size - start;
}

static bool valid(const struct sim_copy *copy, const struct dmo_copy_job *job)
{
	if (!in_memory(copy, target(job), job->bytes))
		return false;
	return job->dir != DMO_COPY_LOCAL || in_memory(copy, (uint64_t)job->src_frame * DMO_PAGE_SIZE, job->bytes);
}

static void move(const struct sim_copy *copy, const struct slice *s)
{
	const struct dmo_copy_job *job = s->job;
	unsigned char *device = copy->memory + target(job) + s->offset;

	switch (job->dir) {
	case DMO_COPY_IN:
		memcpy(device, (char *)job->host + s->offset, s->bytes);
		break;
	case DMO_COPY_OUT:
		memcpy((char *)job->host + s->offset, device, s->bytes);
		break;
	case DMO_COPY_ZERO:
		memset(device, 0, s->bytes);
		break;
	case DMO_COPY_LOCAL:
		memmove(device, copy->memory + (uint64_t)job->src_frame * DMO_PAGE_SIZE + s->offset, s->bytes);
		break;
	}
}

/* Moves a slice; a host page that can't be had gives -EIO. */
static int move_guarded(const struct sim_copy *copy, const struct slice *s, struct sim_guard *guard)
{
	if (s->job->dir == DMO_COPY_ZERO || s->job->dir == DMO_COPY_LOCAL) {
		move(copy, s);
		return 0;
	}
	sim_guard_enter(guard);
	if (sigsetjmp(guard->env, 0)) {
		sim_guard_leave(guard);
		return -EIO;
	}
	sim_guard_arm(guard, (char *)s->job->host + s->offset, s->bytes);
	move(copy, s);
	sim_guard_leave(guard);
	return 0;
}

static uint64_t reserve(struct sim_copy *copy, const struct dmo_copy_job *job)
{
	if (job->dir == DMO_COPY_IN)
		return sim_link_reserve(copy->link, SIM_LINK_IN, job->bytes);
	if (job->dir == DMO_COPY_OUT)
		return sim_link_reserve(copy->link, SIM_LINK_OUT, job->bytes);
	return 0;
}

/* ---- transfers, all under the lock -------------------------------------------------------------------- */

/* What is wrong with a job before it starts; counts it for sim_copy_fail. */
static int admit(struct sim_copy *copy, const struct dmo_copy_job *job)
{
	if (copy->lost)
		return -ENODEV;
	if (!valid(copy, job))
		return -EINVAL;
	if (copy->fail_in && !--copy->fail_in)
		return -EIO;
	return 0;
}

/* Bytes of a job that are moved: half of them where it is made to fail. */
static uint64_t wanted(const struct sim_transfer *transfer)
{
	if (!transfer->status)
		return transfer->job->bytes;
	return transfer->status == -EIO ? transfer->job->bytes / 2 : 0;
}

static void copied_if_all(struct sim_transfer *transfer)
{
	if (transfer->copied == transfer->taken && transfer->taken >= wanted(transfer))
		transfer->state = SIM_TRANSFER_COPIED;
}

static struct sim_transfer *find_state(struct sim_copy *copy, enum sim_transfer_state state)
{
	for (unsigned i = 0; i < SIM_TRANSFERS; i++) {
		if (copy->transfers[i].state == state)
			return &copy->transfers[i];
	}
	return NULL;
}

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a < b + b_bytes && b < a + a_bytes;
}

/* Both use the same device memory, and so must be moved in order. */
static bool collide(const struct dmo_copy_job *a, const struct dmo_copy_job *b)
{
	uint64_t a_source = (uint64_t)a->src_frame * DMO_PAGE_SIZE, b_source = (uint64_t)b->src_frame * DMO_PAGE_SIZE;

	return overlap(target(a), a->bytes, target(b), b->bytes) ||
	       (a->dir == DMO_COPY_LOCAL && overlap(a_source, a->bytes, target(b), b->bytes)) ||
	       (b->dir == DMO_COPY_LOCAL && overlap(b_source, b->bytes, target(a), a->bytes));
}

static bool must_wait(const struct sim_copy *copy, const struct dmo_copy_job *job)
{
	for (unsigned i = 0; i < SIM_TRANSFERS; i++) {
		if (copy->transfers[i].state == SIM_TRANSFER_COPYING && collide(copy->transfers[i].job, job))
			return true;
	}
	return false;
}

static bool open_next(struct sim_copy *copy)
{
	struct sim_transfer *transfer;
	struct dmo_copy_job *job = copy->head;

	if (!job || copy->open == SIM_TRANSFERS || must_wait(copy, job))
		return false;
	copy->head = job->next;
	if (!copy->head)
		copy->tail = &copy->head;
	transfer = find_state(copy, SIM_TRANSFER_FREE);
	*transfer = (struct sim_transfer){ .state = SIM_TRANSFER_COPYING, .job = job, .status = admit(copy, job) };
	if (!transfer->status)
		transfer->due = reserve(copy, job);
	copied_if_all(transfer);
	copy->open++;
	return true;
}

static bool take_slice(struct sim_copy *copy, struct slice *s)
{
	struct sim_transfer *transfer;
	uint64_t left;

	for (unsigned i = 0; i < SIM_TRANSFERS; i++) {
		transfer = &copy->transfers[i];
		if (transfer->state != SIM_TRANSFER_COPYING || transfer->taken >= wanted(transfer))
			continue;
		left = wanted(transfer) - transfer->taken;
		*s = (struct slice){ transfer, transfer->job, transfer->taken, left < PIECE ? left : PIECE };
		transfer->taken += s->bytes;
		return true;
	}
	return false;
}

static void finish_slice(struct slice *s, int err)
{
	s->transfer->copied += s->bytes;
	if (err)
		s->transfer->status = err;
	copied_if_all(s->transfer);
}

/* The transfer that is copied and due first. */
static struct sim_transfer *first_due(struct sim_copy *copy)
{
	struct sim_transfer *best = NULL;

	for (unsigned i = 0; i < SIM_TRANSFERS && copy->open; i++) {
		struct sim_transfer *transfer = &copy->transfers[i];

		if (transfer->state == SIM_TRANSFER_COPIED && (!best || transfer->due < best->due))
			best = transfer;
	}
	return best;
}

/* ---- threads ------------------------------------------------------------------------------------------ */

static bool complete_due(struct sim_copy *copy)
{
	struct sim_transfer *transfer = first_due(copy);
	struct dmo_copy_job *job;
	int status;

	if (!transfer || (transfer->due && !copy->lost && transfer->due > sim_now()))
		return false;
	job = transfer->job;
	status = copy->lost ? -ENODEV : transfer->status;
	transfer->state = SIM_TRANSFER_FREE;
	copy->open--;
	pthread_mutex_unlock(&copy->lock);
	job->done(job, status);
	pthread_mutex_lock(&copy->lock);
	return true;
}

static bool copy_slice(struct sim_copy *copy, struct sim_guard *guard)
{
	struct slice s;
	int err;

	if (!take_slice(copy, &s))
		return false;
	pthread_mutex_unlock(&copy->lock);
	err = move_guarded(copy, &s, guard);
	pthread_mutex_lock(&copy->lock);
	finish_slice(&s, err);
	if (s.transfer->state == SIM_TRANSFER_COPIED && (s.transfer->due || copy->head))
		pthread_cond_signal(&copy->wake);
	return true;
}

/* Sleeps until something is queued or the first transfer is due. */
static void wait_for_work(struct sim_copy *copy)
{
	struct sim_transfer *transfer = first_due(copy);
	struct timespec at;

	if (!transfer) {
		pthread_cond_wait(&copy->wake, &copy->lock);
		return;
	}
	at.tv_sec = (time_t)(transfer->due / 1000000000u);
	at.tv_nsec = (long)(transfer->due % 1000000000u);
	if (transfer->due > sim_now() + 50000) {
		pthread_cond_timedwait(&copy->wake, &copy->lock, &at);
		return;
	}
	pthread_mutex_unlock(&copy->lock);
	sim_relax();
	pthread_mutex_lock(&copy->lock);
}

static void *copy_main(void *arg)
{
	struct sim_copy *copy = arg;
	struct sim_guard guard;

	sim_thread_start("dmo-copy");
	pthread_mutex_lock(&copy->lock);
	for (;;) {
		if (complete_due(copy) || copy_slice(copy, &guard) || open_next(copy))
			continue;
		if (copy->stopping && !copy->open && !copy->head)
			break;
		wait_for_work(copy);
	}
	pthread_cond_broadcast(&copy->wake);
	pthread_mutex_unlock(&copy->lock);
	return NULL;
}

/* Works off the queue on this thread: there is no other. */
static void work_inline(struct sim_copy *copy)
{
	struct sim_guard guard;

	while (complete_due(copy) || copy_slice(copy, &guard) || open_next(copy) || copy->open) {
		if (copy->open && first_due(copy))
			wait_for_work(copy);
	}
}

/* ---- what others call ------------------------------------------------------------------------------------ */

int sim_copy_init(struct sim_copy *copy, unsigned char *memory, uint64_t size, struct sim_link *link)
{
	pthread_condattr_t attr;
	int err;

	*copy = (struct sim_copy){ .memory = memory, .size = size, .link = link };
	copy->tail = &copy->head;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	err = pthread_cond_init(&copy->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (err)
		return -err;
	err = pthread_mutex_init(&copy->lock, NULL);
	if (err)
		pthread_cond_destroy(&copy->wake);
	return -err;
}

void sim_copy_start(struct sim_copy *copy)
{
	unsigned want = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? SIM_COPY_THREADS : 1;

	pthread_mutex_lock(&copy->lock);
	while (copy->threads < want) {
		if (pthread_create(&copy->thread[copy->threads], NULL, copy_main, copy))
			break;
		copy->threads++;
	}
	pthread_mutex_unlock(&copy->lock);
}

void sim_copy_destroy(struct sim_copy *copy)
{
	pthread_mutex_lock(&copy->lock);
	copy->stopping = true;
	pthread_cond_broadcast(&copy->wake);
	pthread_mutex_unlock(&copy->lock);
	for (unsigned i = 0; i < copy->threads; i++)
		pthread_join(copy->thread[i], NULL);
	pthread_cond_destroy(&copy->wake);
	pthread_mutex_destroy(&copy->lock);
}

/* A single small job that nothing stands before, over a link that costs nothing. */
static bool try_inline(struct sim_copy *copy, struct dmo_copy_job *job)
{
	struct slice s = { .job = job, .bytes = job->bytes };
	struct sim_guard guard;
	bool ok;

	if (job->next || job->bytes > INLINE_MAX || !sim_link_is_free(copy->link))
		return false;
	pthread_mutex_lock(&copy->lock);
	ok = !copy->open && !copy->head && !copy->fail_in && !admit(copy, job);
	pthread_mutex_unlock(&copy->lock);
	if (!ok)
		return false;
	job->done(job, move_guarded(copy, &s, &guard));
	return true;
}

void sim_copy_jobs(struct sim_copy *copy, struct dmo_copy_job *jobs)
{
	struct dmo_copy_job *last = jobs;

	if (!jobs || try_inline(copy, jobs))
		return;
	while (last->next)
		last = last->next;
	pthread_mutex_lock(&copy->lock);
	*copy->tail = jobs;
	copy->tail = &last->next;
	if (!copy->threads)
		work_inline(copy);
	pthread_cond_broadcast(&copy->wake);
	pthread_mutex_unlock(&copy->lock);
}

int sim_copy_pass(struct sim_copy *copy)
{
	int err = 0;

	pthread_mutex_lock(&copy->lock);
	if (copy->lost)
		err = -ENODEV;
	else if (copy->fail_in && !--copy->fail_in)
		err = -EIO;
	pthread_mutex_unlock(&copy->lock);
	return err;
}

void sim_copy_fail(struct sim_copy *copy, uint64_t nth)
{
	pthread_mutex_lock(&copy->lock);
	copy->fail_in = nth;
	pthread_mutex_unlock(&copy->lock);
}

void sim_copy_lose(struct sim_copy *copy)
{
	pthread_mutex_lock(&copy->lock);
	copy->lost = true;
	pthread_cond_broadcast(&copy->wake);
	pthread_mutex_unlock(&copy->lock);
}
