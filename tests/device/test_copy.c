/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_copy.c - the copy engine: contents, lists, pacing, failures on purpose
 */
#include "fake.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB (1u << 20)

static struct fake *f;

static void open_with(const char *spec)
{
	f = fake_open(spec);
}

static void setup(void)
{
	open_with("memory=32M");
}

static void teardown(void)
{
	fake_close(f);
}

static const uint64_t sizes[] = { 1, 4096, 65536, 65537, MIB, MIB + 1, 5 * MIB + 77 };
#define SIZES (int)(sizeof(sizes) / sizeof(sizes[0]))

START_TEST(what_goes_in_comes_out)
{
	uint64_t n = sizes[_i];
	unsigned char *a = malloc(n), *b = malloc(n);

	fake_noise(a, n, 1);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_IN, 3, n, a, 0), 0);
	ck_assert_int_eq(memcmp(f->memory + 3 * 4096, a, n), 0);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_LOCAL, 4000, n, NULL, 3), 0);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_OUT, 4000, n, b, 0), 0);
	ck_assert_int_eq(memcmp(a, b, n), 0);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_ZERO, 3, n, NULL, 0), 0);
	for (uint64_t i = 0; i < n; i++)
		ck_assert_uint_eq(f->memory[3 * 4096 + i], 0);
	free(a);
	free(b);
}
END_TEST

START_TEST(jobs_outside_device_memory_are_refused)
{
	static char buffer[8192];

	ck_assert_int_eq(fake_copy(f, DMO_COPY_IN, 8192, 1, buffer, 0), -EINVAL);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_OUT, 8191, 4097, buffer, 0), -EINVAL);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_ZERO, 0, ~0ull, NULL, 0), -EINVAL);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_LOCAL, 0, 4097, NULL, 8191), -EINVAL);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_IN, 8191, 4096, buffer, 0), 0);
}
END_TEST

struct batch {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	unsigned left;
	int first_error;
};

static void batch_done(struct dmo_copy_job *job, int status)
{
	struct batch *b = job->ctx;

	pthread_mutex_lock(&b->lock);
	b->left--;
	if (status && !b->first_error)
		b->first_error = status;
	pthread_cond_signal(&b->wake);
	pthread_mutex_unlock(&b->lock);
}

static void batch_wait(struct batch *b)
{
	pthread_mutex_lock(&b->lock);
	while (b->left)
		pthread_cond_wait(&b->wake, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

/* A list of count jobs of bytes each, to or from consecutive frames. */
static struct dmo_copy_job *make_list(struct batch *b, unsigned count, uint64_t bytes, enum dmo_copy_dir dir, char *host)
{
	struct dmo_copy_job *jobs = calloc(count, sizeof(*jobs));

	*b = (struct batch){ PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, count, 0 };
	for (unsigned i = 0; i < count; i++) {
		jobs[i] = (struct dmo_copy_job){ .dir = dir, .offset = (uint32_t)(i * bytes), .bytes = bytes,
						 .host = host + i * bytes, .done = batch_done, .ctx = b };
		jobs[i].next = i + 1 < count ? &jobs[i + 1] : NULL;
	}
	return jobs;
}

START_TEST(a_list_is_carried_out_whole)
{
	enum { COUNT = 3000, BYTES = 5000 };
	char *host = malloc(COUNT * BYTES);
	struct dmo_copy_job *jobs;
	struct batch b;

	fake_noise(host, COUNT * BYTES, 2);
	jobs = make_list(&b, COUNT, BYTES, DMO_COPY_IN, host);
	f->ops->copy(f->dev, jobs);
	batch_wait(&b);
	ck_assert_int_eq(b.first_error, 0);
	ck_assert_int_eq(memcmp(f->memory, host, COUNT * BYTES), 0);
	free(jobs);
	free(host);
}
END_TEST

START_TEST(jobs_on_the_same_frames_keep_their_order)
{
	enum { COUNT = 64 };
	char *host = malloc(COUNT * MIB);
	struct dmo_copy_job *jobs;
	struct batch b;

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < COUNT; i++)
			memset(host + (size_t)i * MIB, round + i, MIB);
		jobs = make_list(&b, COUNT, MIB, DMO_COPY_IN, host);
		for (int i = 0; i < COUNT; i++) {
			jobs[i].offset = (uint32_t)(i % 3 * 4096);
			jobs[i].dir = i % 2 ? DMO_COPY_IN : DMO_COPY_ZERO;
		}
		f->ops->copy(f->dev, jobs);
		batch_wait(&b);
		for (size_t i = 0; i < MIB; i += 100)
			ck_assert_uint_eq(f->memory[(COUNT - 1) % 3 * 4096 + i], (unsigned char)(round + COUNT - 1));
		free(jobs);
	}
	free(host);
}
END_TEST

START_TEST(an_empty_list_is_nothing)
{
	f->ops->copy(f->dev, NULL);
}
END_TEST

static uint64_t time_list(unsigned count, uint64_t bytes, enum dmo_copy_dir dir)
{
	char *host = calloc(count, bytes);
	struct batch b;
	struct dmo_copy_job *jobs = make_list(&b, count, bytes, dir, host);
	uint64_t start = fake_ms();

	f->ops->copy(f->dev, jobs);
	batch_wait(&b);
	start = fake_ms() - start;
	free(jobs);
	free(host);
	return start;
}

START_TEST(the_link_carries_so_many_bytes_a_second)
{
	uint64_t ms;

	teardown();
	open_with("memory=32M,link=64M");
	ms = FAKE_LEAST(time_list(1, 8 * MIB, DMO_COPY_IN), 600);
	ck_assert_uint_ge(ms, 124);
	ck_assert_uint_lt(ms, 600);
	ms = FAKE_LEAST(time_list(16, MIB / 2, DMO_COPY_OUT), 600);
	ck_assert_uint_ge(ms, 124);
	ck_assert_uint_lt(ms, 600);
}
END_TEST

START_TEST(what_stays_in_the_device_does_not_use_the_link)
{
	teardown();
	open_with("memory=32M,link=64K");	/* 128 s and 64 s */
	ck_assert_uint_lt(time_list(1, 8 * MIB, DMO_COPY_ZERO), 30000);
	ck_assert_uint_lt(time_list(1, 4 * MIB, DMO_COPY_LOCAL), 30000);
	teardown();
	open_with("memory=32M,latency=1s");
	ck_assert_uint_lt(FAKE_LEAST(time_list(1, 4096, DMO_COPY_ZERO), 900), 900);
	ck_assert_uint_lt(FAKE_LEAST(time_list(1, 4096, DMO_COPY_LOCAL), 900), 900);
}
END_TEST

START_TEST(transfers_in_flight_share_the_latency)
{
	uint64_t ms;

	teardown();
	open_with("memory=32M,latency=50ms");
	ms = FAKE_LEAST(time_list(20, 4096, DMO_COPY_IN), 500);
	ck_assert_uint_ge(ms, 50);
	ck_assert_uint_lt(ms, 500);
}
END_TEST

static uint64_t time_both_directions(void)
{
	char *host = calloc(2, 4 * MIB);
	struct dmo_copy_job *in, *out;
	struct batch a, b;
	uint64_t start;

	in = make_list(&a, 1, 4 * MIB, DMO_COPY_IN, host);
	out = make_list(&b, 1, 4 * MIB, DMO_COPY_OUT, host + 4 * MIB);
	out->frame = 4096;
	start = fake_ms();
	f->ops->copy(f->dev, in);
	f->ops->copy(f->dev, out);
	batch_wait(&a);
	batch_wait(&b);
	start = fake_ms() - start;
	free(in);
	free(out);
	free(host);
	return start;
}

START_TEST(the_two_directions_do_not_slow_each_other)
{
	uint64_t ms;

	teardown();
	open_with("memory=32M,link=16M");
	ms = FAKE_LEAST(time_both_directions(), 480);
	ck_assert_uint_ge(ms, 249);
	ck_assert_uint_lt(ms, 480);
}
END_TEST

static uint64_t time_passes(void)
{
	uint64_t start = fake_ms();

	f->ops->link_pass(f->dev, 4 * MIB, DMO_COPY_IN);
	f->ops->link_pass(f->dev, 4 * MIB, DMO_COPY_IN);
	return fake_ms() - start;
}

START_TEST(bytes_through_the_window_are_paced)
{
	uint64_t ms;

	teardown();
	open_with("memory=32M,link=64M");
	ms = FAKE_LEAST(time_passes(), 600);
	ck_assert_uint_ge(ms, 124);
	ck_assert_uint_lt(ms, 600);
	f->ops->link_pass(f->dev, 1ull << 40, DMO_COPY_LOCAL);
}
END_TEST

START_TEST(the_nth_copy_fails_half_done)
{
	char *host = malloc(2 * MIB), *sink = calloc(1, 2 * MIB);

	memset(host, 1, 2 * MIB);
	ck_assert_int_eq(f->ops->inject(f->dev, "copy-fail 2"), 0);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_IN, 0, 2 * MIB, host, 0), 0);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_OUT, 0, 2 * MIB, sink, 0), -EIO);
	ck_assert_int_eq(sink[0], 1);
	ck_assert_int_eq(sink[2 * MIB - 1], 0);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_OUT, 0, 2 * MIB, sink, 0), 0);
	ck_assert_int_eq(sink[2 * MIB - 1], 1);
	ck_assert_int_eq(f->ops->inject(f->dev, "copy-fail 1"), 0);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_ZERO, 0, 64, NULL, 0), -EIO);
	ck_assert_int_eq(f->memory[0], 0);
	ck_assert_int_eq(f->memory[63], 1);
	free(host);
	free(sink);
}
END_TEST

START_TEST(an_injection_nobody_knows_is_refused)
{
	static const char *const wrong[] = { "", "copy-fail", "copy-fail 0", "copy-fail x", "copy-fail 3 4", "lose" };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert_int_eq(f->ops->inject(f->dev, wrong[i]), -EINVAL);
}
END_TEST

START_TEST(host_memory_that_vanishes_is_an_io_error)
{
	char name[] = "/tmp/dmo-test-XXXXXX", *map;
	int fd = mkstemp(name);

	unlink(name);
	ck_assert_int_eq(ftruncate(fd, 2 * MIB), 0);
	map = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_int_eq(ftruncate(fd, MIB), 0);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_IN, 0, 2 * MIB, map, 0), -EIO);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_OUT, 0, 4096, map + MIB, 0), -EIO);
	ck_assert_int_eq(fake_copy(f, DMO_COPY_IN, 0, MIB, map, 0), 0);
	munmap(map, 2 * MIB);
	close(fd);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("device copy engine");
	TCase *t = tcase_create("copy");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, what_goes_in_comes_out, 0, SIZES);
	tcase_add_test(t, jobs_outside_device_memory_are_refused);
	tcase_add_test(t, a_list_is_carried_out_whole);
	tcase_add_test(t, jobs_on_the_same_frames_keep_their_order);
	tcase_add_test(t, an_empty_list_is_nothing);
	tcase_add_test(t, the_link_carries_so_many_bytes_a_second);
	tcase_add_test(t, what_stays_in_the_device_does_not_use_the_link);
	tcase_add_test(t, transfers_in_flight_share_the_latency);
	tcase_add_test(t, the_two_directions_do_not_slow_each_other);
	tcase_add_test(t, bytes_through_the_window_are_paced);
	tcase_add_test(t, the_nth_copy_fails_half_done);
	tcase_add_test(t, an_injection_nobody_knows_is_refused);
	tcase_add_test(t, host_memory_that_vanishes_is_an_io_error);
	suite_add_tcase(s, t);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
