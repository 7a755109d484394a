/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * idle.c - who waits for the next request (fuse/idle.c), with a queue in the place of the kernel
 *
 * A request is a number of milliseconds that serving it takes, or HANG, which lasts until the test lets go. Workers go
 * round as those of fuse/worker.c do.
 */
#include "config.h"

#include <check.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../../fuse/idle.h"

#define WORKERS 40
#define HANG	-1
#define PATIENCE 60000	/* ms until a test gives up */

struct worker {
	struct fs_idler idler;
	unsigned served;
};

static struct {
	struct fs_idle *idle;
	pthread_mutex_t lock;
	pthread_cond_t wake;		/* a request, a recall, or the end of HANG */
	int queue[1024];
	unsigned head, tail;
	unsigned served, reading, quit, started, recalls;
	bool let_go, stopped;
	struct worker workers[WORKERS];
} t;

static void nap(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

static void wake(struct fs_idler *idler)
{
	pthread_mutex_lock(&t.lock);
	t.recalls++;
	pthread_cond_broadcast(&t.wake);
	pthread_mutex_unlock(&t.lock);
}

/* ---- a worker -------------------------------------------------------------------------------------------------- */

/* False: it is to look again whether it should read. */
static bool take(struct worker *w, int *request, bool *at_once)
{
	bool got;

	pthread_mutex_lock(&t.lock);
	t.reading++;
	*at_once = t.head != t.tail;
	while (t.head == t.tail) {
		pthread_mutex_unlock(&t.lock);
		got = fs_idle_changed(t.idle, &w->idler);
		pthread_mutex_lock(&t.lock);
		if (got)
			break;
		if (t.head == t.tail) {
			struct timespec until;

			clock_gettime(CLOCK_REALTIME, &until);
			until.tv_sec++;
			pthread_cond_timedwait(&t.wake, &t.lock, &until);
		}
	}
	got = t.head != t.tail;
	if (got)
		*request = t.queue[t.head++ % 1024];
	t.reading--;
	pthread_mutex_unlock(&t.lock);
	return got;
}

static void carry_out(struct worker *w, int request)
{
	if (request > 0)
		nap(request);
	pthread_mutex_lock(&t.lock);
	while (request == HANG && !t.let_go)
		pthread_cond_wait(&t.wake, &t.lock);
	t.served++;
	w->served++;
	pthread_mutex_unlock(&t.lock);
}

static void *worker(void *arg)
{
	struct worker *w = arg;
	bool at_once;
	int request;

	fs_idle_join(t.idle, &w->idler);
	while (fs_idle_enter(t.idle, &w->idler)) {
		if (!take(w, &request, &at_once)) {
			fs_idle_left(t.idle, &w->idler);
			continue;
		}
		fs_idle_taken(t.idle, &w->idler, at_once);
		carry_out(w, request);
		fs_idle_done(t.idle);
	}
	fs_idle_quit(t.idle, &w->idler);
	pthread_mutex_lock(&t.lock);
	t.quit++;
	pthread_mutex_unlock(&t.lock);
	return NULL;
}

static void start(void *arg)
{
	pthread_t thread;

	pthread_mutex_lock(&t.lock);
	if (t.started < WORKERS && !pthread_create(&thread, NULL, worker, &t.workers[t.started])) {
		pthread_detach(thread);
		t.started++;
	}
	pthread_mutex_unlock(&t.lock);
}

/* ---- the test's side --------------------------------------------------------------------------------------------- */

static void setup(void)
{
	struct fs_idle_ops ops = { .start = start, .wake = wake };

	pthread_mutex_init(&t.lock, NULL);
	pthread_cond_init(&t.wake, NULL);
	t.idle = fs_idle_create(&ops);
	ck_assert_ptr_nonnull(t.idle);
}

static unsigned get(const unsigned *number)
{
	unsigned n;

	pthread_mutex_lock(&t.lock);
	n = *number;
	pthread_mutex_unlock(&t.lock);
	return n;
}

static void wait_until(const unsigned *number, unsigned n)
{
	for (unsigned i = 0; get(number) != n; i++) {
		ck_assert_msg(i < PATIENCE, "%u, not %u", get(number), n);
		nap(1);
	}
}

static void wait_at_least(const unsigned *number, unsigned n)
{
	for (unsigned i = 0; get(number) < n; i++) {
		ck_assert_msg(i < PATIENCE, "%u, not %u", get(number), n);
		nap(1);
	}
}

static void request(int what)
{
	pthread_mutex_lock(&t.lock);
	t.queue[t.tail++ % 1024] = what;
	pthread_cond_signal(&t.wake);
	pthread_mutex_unlock(&t.lock);
}

static void let_go(void)
{
	pthread_mutex_lock(&t.lock);
	t.let_go = true;
	pthread_cond_broadcast(&t.wake);
	pthread_mutex_unlock(&t.lock);
}

static void teardown(void)
{
	let_go();
	for (unsigned i = 0; get(&t.quit) != get(&t.started); i++) {
		ck_assert_msg(i < PATIENCE, "a worker does not quit");
		fs_idle_stop(t.idle);
		nap(1);
	}
	fs_idle_destroy(t.idle);
}

/* How many threads served since the last question. */
static unsigned who_served(void)
{
	unsigned n = 0;

	pthread_mutex_lock(&t.lock);
	for (unsigned i = 0; i < WORKERS; i++) {
		n += t.workers[i].served > 0;
		t.workers[i].served = 0;
	}
	pthread_mutex_unlock(&t.lock);
	return n;
}

/* Requests one after the other until one reader is left, as a lone caller makes them. */
static void call_until_alone(void)
{
	for (unsigned i = 0; get(&t.reading) != 1; i++) {
		unsigned served = get(&t.served);

		ck_assert_msg(i < PATIENCE, "%u still read", get(&t.reading));
		request(0);
		wait_until(&t.served, served + 1);
		nap(1);
	}
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

/* A machine under load may let a request last longer than a tick, which looks as if it hung: more than one try. */
START_TEST(a_lone_caller_has_one_thread)
{
	unsigned tries = 0;

	start(NULL);
	start(NULL);
	do {
		ck_assert_msg(++tries < 200, "different threads serve one caller");
		for (unsigned i = 1; i <= 50; i++) {
			request(0);
			wait_until(&t.served, (tries - 1) * 50 + i);
		}
	} while (who_served() != 1 || get(&t.reading) != 1);
}
END_TEST

/* One request hangs; the next is served all the same. */
static void hang_and_go_on(void)
{
	wait_until(&t.reading, 1);
	request(HANG);
	request(0);
	wait_until(&t.served, 1);
	ck_assert_uint_ge(get(&t.started), 2);
}

START_TEST(a_parked_thread_comes_when_the_reader_hangs)
{
	start(NULL);
	start(NULL);
	hang_and_go_on();
}
END_TEST

START_TEST(a_thread_is_started_when_none_is_parked_and_the_reader_hangs)
{
	start(NULL);
	hang_and_go_on();
}
END_TEST

START_TEST(every_hanging_request_leaves_a_reader)
{
	start(NULL);
	for (unsigned i = 0; i < 10; i++)
		request(HANG);
	request(0);
	wait_until(&t.served, 1);
	wait_at_least(&t.reading, 1);
}
END_TEST

START_TEST(several_callers_get_several_threads)
{
	start(NULL);
	start(NULL);
	for (unsigned i = 1; i == 1 || who_served() < 2; i++) {
		ck_assert_msg(i < PATIENCE, "one thread serves all");
		for (unsigned n = 0; n < 20; n++)
			request(1);
		wait_until(&t.served, 20 * i);
	}
}
END_TEST

START_TEST(surplus_readers_are_called_back_when_one_caller_is_left)
{
	start(NULL);
	for (unsigned i = 0; i < 6; i++)
		request(HANG);
	request(0);
	wait_until(&t.served, 1);
	let_go();
	wait_until(&t.served, 7);
	wait_at_least(&t.reading, 2);
	call_until_alone();
	ck_assert_uint_ge(get(&t.recalls), 1);
}
END_TEST

START_TEST(a_crowd_that_comes_again_is_served_again)
{
	start(NULL);
	for (unsigned round = 0; round < 3; round++) {
		unsigned served = get(&t.served);

		pthread_mutex_lock(&t.lock);
		t.let_go = false;
		pthread_mutex_unlock(&t.lock);
		for (unsigned i = 0; i < 4; i++)
			request(HANG);
		request(0);
		wait_until(&t.served, served + 1);
		let_go();
		wait_until(&t.served, served + 5);
		call_until_alone();
	}
}
END_TEST

START_TEST(too_many_waiting_threads_quit)
{
	for (unsigned i = 0; i < WORKERS; i++)
		start(NULL);
	wait_until(&t.reading, 1);
	wait_at_least(&t.quit, WORKERS - 17);
	request(0);
	wait_until(&t.served, 1);
	ck_assert_uint_eq(get(&t.quit), WORKERS - 17);
}
END_TEST

START_TEST(stop_ends_readers_and_parked_ones)
{
	start(NULL);
	start(NULL);
	wait_until(&t.reading, 1);
	fs_idle_stop(t.idle);
	wait_until(&t.quit, 2);
	ck_assert_uint_eq(get(&t.reading), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("idle");
	TCase *c = tcase_create("idle");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, a_lone_caller_has_one_thread);
	tcase_add_test(c, a_parked_thread_comes_when_the_reader_hangs);
	tcase_add_test(c, a_thread_is_started_when_none_is_parked_and_the_reader_hangs);
	tcase_add_test(c, every_hanging_request_leaves_a_reader);
	tcase_add_test(c, several_callers_get_several_threads);
	tcase_add_test(c, surplus_readers_are_called_back_when_one_caller_is_left);
	tcase_add_test(c, a_crowd_that_comes_again_is_served_again);
	tcase_add_test(c, too_many_waiting_threads_quit);
	tcase_add_test(c, stop_ends_readers_and_parked_ones);
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
