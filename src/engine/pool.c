/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pool.c - threads for work that may wait: faults, migrations, ioctls, fsync
 *
 * The pool grows while work is queued and nobody is free, because work may wait for a revocation, which may wait for a
 * write that other work lets through. Nothing that runs here waits for work that is only queued, so the ceiling is a
 * matter of memory, not of progress.
 */
#include "engine/internal.h"

#include <errno.h>
#include <time.h>

#define THREADS_MAX	128
#define IDLE_SECONDS	5

void eng_pool_init(struct eng_pool *p)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_cond_init(&p->idle, NULL);
	pthread_condattr_destroy(&attr);
	p->head = NULL;
	p->tail = &p->head;
}

/* Waits for work; false: long idle, or time to stop. p->lock held. */
static bool wait_for_work(struct eng_pool *p)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	p->waiting++;
	while (!p->head && !p->stop && !err)
		err = pthread_cond_timedwait(&p->wake, &p->lock, &until);
	p->waiting--;
	return p->head;
}

static void *pool_thread(void *arg)
{
	struct eng_pool *p = arg;

	pthread_mutex_lock(&p->lock);
	while (wait_for_work(p)) {
		struct eng_work *w = p->head;

		p->head = w->next;
		if (!p->head)
			p->tail = &p->head;
		p->queued--;
		pthread_mutex_unlock(&p->lock);
		w->run(w);
		pthread_mutex_lock(&p->lock);
	}
	p->threads--;
	pthread_cond_broadcast(&p->idle);
	pthread_mutex_unlock(&p->lock);
	eng_tier_thread_exit();
	return NULL;
}

static void start_thread(struct eng_pool *p)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 << 10);
	if (!pthread_create(&thread, &attr, pool_thread, p))
		p->threads++;
	pthread_attr_destroy(&attr);
}

void eng_pool_run(struct eng_pool *p, struct eng_work *w)
{
	pthread_mutex_lock(&p->lock);
	w->next = NULL;
	*p->tail = w;
	p->tail = &w->next;
	p->queued++;
	if (p->queued > p->waiting && p->threads < THREADS_MAX)
		start_thread(p);
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

void eng_pool_fini(struct eng_pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->wake);
	while (p->threads)
		pthread_cond_wait(&p->idle, &p->lock);
	pthread_mutex_unlock(&p->lock);
}
