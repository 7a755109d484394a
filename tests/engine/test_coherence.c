/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_coherence.c - CPUs, devices, an evictor, a truncater and fsync on one object, all at once
 *
 * Hot pages hold a counter each. truth[] says what was last written to it; whoever writes holds the page's lock, who
 * only reads does not: it must see at least what truth said before it began. Each miss is a stale read; none may be.
 */
#include "fakefs.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOT	24
#define BLOCKS	4
#define PAGES	(BLOCKS * 512)
#define RW	(DMO_PROT_READ | DMO_PROT_WRITE)

static const char *const two_devices[] = { "sim:a,memory=4M,threads=2,inject=yes", "sim:b,memory=2M,threads=2",
					   NULL };

struct hot {
	uint64_t offset;
	pthread_mutex_t lock;
	atomic_ullong truth;
};

struct world {
	struct ff *ff;
	struct ff_file *file;
	struct hot hot[HOT];
	atomic_bool stop;
	atomic_uint stale, ops;
	bool writers;		/* CPUs write */
};

struct actor {
	pthread_t thread;
	struct world *w;
	struct ff_open *open;
	struct ff_ctx *ctx;
	uint64_t va;
	unsigned which;
};

static void stale(struct world *w, const char *who, const struct hot *h, uint64_t got, uint64_t want)
{
	if (atomic_fetch_add(&w->stale, 1) < 5)
		fprintf(stderr, "%s saw %llu at %#llx, not %llu\n", who, (unsigned long long)got,
			(unsigned long long)h->offset, (unsigned long long)want);
}

/* ---- actors ------------------------------------------------------------------------------------------------ */

static uint64_t cpu_value(struct actor *a, const struct hot *h)
{
	uint64_t v = 0;
	int err = ff_load(a->open, h->offset, &v, sizeof(v));

	ck_assert_int_eq(err, 0);
	return v;
}

static uint64_t device_value(struct actor *a, const struct hot *h)
{
	struct dmo_completion c = ff_device_load(a->ctx, a->va + h->offset);

	ck_assert_msg(!c.status, "a device's load failed: %d", c.status);
	return c.result[0];
}

static void look(struct actor *a, struct hot *h)
{
	uint64_t before = atomic_load(&h->truth), got = a->ctx ? device_value(a, h) : cpu_value(a, h);

	if (got < before)
		stale(a->w, a->ctx ? "device" : "CPU", h, got, before);
}

static void write_cpu(struct actor *a, const struct hot *h, uint64_t v)
{
	if (ff_random() & 1)
		ff_store(a->open, h->offset, &v, sizeof(v));
	else
		ck_assert_int_eq(ff_write(a->open, h->offset, &v, sizeof(v)), sizeof(v));
}

static void change(struct actor *a, struct hot *h)
{
	uint64_t v, got;

	pthread_mutex_lock(&h->lock);
	v = atomic_load(&h->truth);
	got = a->ctx ? device_value(a, h) : cpu_value(a, h);
	if (got != v)
		stale(a->w, a->ctx ? "device (alone)" : "CPU (alone)", h, got, v);
	if (a->ctx) {
		struct dmo_completion c = ff_device_add(a->ctx, a->va + h->offset, 1);

		ck_assert_msg(!c.status, "a device's add failed: %d", c.status);
	} else {
		write_cpu(a, h, v + 1);
	}
	atomic_store(&h->truth, v + 1);
	pthread_mutex_unlock(&h->lock);
}

static void *act(void *arg)
{
	struct actor *a = arg;
	struct world *w = a->w;

	while (!atomic_load(&w->stop)) {
		struct hot *h = &w->hot[ff_random() % HOT];

		if (ff_random() % 2 || (!a->ctx && !w->writers))
			look(a, h);
		else
			change(a, h);
		atomic_fetch_add(&w->ops, 1);
	}
	return NULL;
}

/* Moves blocks about, drops what the CPU caches. */
static void *move(void *arg)
{
	struct actor *a = arg;

	while (!atomic_load(&a->w->stop)) {
		uint64_t block = ff_random() % BLOCKS;
		unsigned what = ff_random() % 4;

		if (what < 2)
			ff_migrate(a->open, block * FF_BLOCK, FF_BLOCK, DMO_DEVICE_HOST);
		else if (what == 2)
			ff_migrate(a->open, block * FF_BLOCK, FF_BLOCK, ff_random() % 2);
		else
			ff_shrink(a->w->file);
		usleep(ff_random() % 2000);
	}
	return NULL;
}

/* The last 1 MiB comes and goes, holes are punched before it; what is read there is the pattern's past or zero. */
static void *cut(void *arg)
{
	struct actor *a = arg;
	uint64_t end = (uint64_t)PAGES * FF_PAGE, at;

	while (!atomic_load(&a->w->stop)) {
		char buf[64];

		ck_assert_int_eq(ff_truncate(a->open, end - (1 << 20) - ff_random() % 5000), 0);
		ck_assert_int_eq(ff_truncate(a->open, end), 0);
		at = end - (1 << 19);
		ck_assert_int_eq(ff_load(a->open, at, buf, sizeof(buf)), 0);
		for (unsigned i = 0; i < sizeof(buf); i++)
			if (buf[i])
				atomic_fetch_add(&a->w->stale, 1);
		at = end - (1 << 20) - 300000 + ff_random() % 200000;
		ck_assert_int_eq(ff_punch(a->open, at, ff_random() % 50000 + 1), 0);
		usleep(ff_random() % 3000);
	}
	return NULL;
}

/* After fsync the backing file has at least what was written before it. */
static void *sync_(void *arg)
{
	struct actor *a = arg;

	while (!atomic_load(&a->w->stop)) {
		uint64_t before[HOT];

		for (unsigned i = 0; i < HOT; i++)
			before[i] = atomic_load(&a->w->hot[i].truth);
		ck_assert_int_eq(ff_fsync(a->open), 0);
		for (unsigned i = 0; i < HOT; i++) {
			uint64_t v;

			ff_backing(a->w->file, a->w->hot[i].offset, &v, sizeof(v));
			if (v < before[i])
				stale(a->w, "fsync", &a->w->hot[i], v, before[i]);
		}
		usleep(ff_random() % 5000);
	}
	return NULL;
}

/* ---- the worlds ------------------------------------------------------------------------------------------------ */

static struct world *make_world(unsigned delay_us, bool writers)
{
	struct world *w = calloc(1, sizeof(*w));
	uint64_t zero = 0;

	w->ff = ff_start(NULL, two_devices);
	w->writers = writers;
	w->file = ff_file(w->ff, "object", (uint64_t)PAGES * FF_PAGE, PAGES);
	w->ff->delay_us = delay_us;
	for (unsigned i = 0; i < HOT; i++) {
		/* clusters about the borders of blocks, before the part that is cut */
		unsigned page = i / 8 * 512 + 508 + i % 8;

		pthread_mutex_init(&w->hot[i].lock, NULL);
		w->hot[i].offset = (uint64_t)page * FF_PAGE + 8 * i;
		ck_assert_int_eq(pwrite(w->file->keep_fd, &zero, 8, w->hot[i].offset), 8);
	}
	return w;
}

static void begin(struct actor *a, struct world *w, void *(*run)(void *), int flags)
{
	a->w = w;
	if (!a->open)
		a->open = ff_open(w->file, flags);
	ck_assert_int_eq(pthread_create(&a->thread, NULL, run, a), 0);
}

static void device(struct actor *a, struct world *w, unsigned number)
{
	a->open = ff_open(w->file, O_RDWR);
	a->ctx = ff_ctx(w->ff, number);
	a->va = ff_map(a->ctx, a->open, 0, (uint64_t)PAGES * FF_PAGE, RW, NULL);
	begin(a, w, act, 0);
}

static void end(struct actor *a)
{
	pthread_join(a->thread, NULL);
	if (a->ctx)
		ff_ctx_close(a->ctx);
	ff_close(a->open);
}

static unsigned seconds(void)
{
	const char *s = getenv("DMO_TEST_SECONDS");

	return s ? atoi(s) : 4;
}

/* Runs the actors for a while and looks at everything once more at the end. */
static void run_world(struct world *w, bool cuts, bool closed)
{
	struct actor a[7] = { 0 };
	unsigned n = 4;

	device(&a[0], w, 0);
	device(&a[1], w, 1);
	if (closed)		/* nobody has it open for writing: CPUs and devices share */
		for (unsigned i = 0; i < 2; i++) {
			ff_close(a[i].open);
			a[i].open = ff_open(w->file, O_RDONLY);
		}
	for (unsigned i = 2; i < 4; i++)
		begin(&a[i], w, act, closed ? O_RDONLY : O_RDWR);
	begin(&a[n++], w, move, closed ? O_RDONLY : O_RDWR);
	if (!closed)
		begin(&a[n++], w, sync_, O_RDWR);
	if (cuts)
		begin(&a[n++], w, cut, O_RDWR);
	sleep(seconds());
	atomic_store(&w->stop, true);
	for (unsigned i = 0; i < n; i++)
		end(&a[i]);
	fprintf(stderr, "%u accesses, %llu revocations, %llu parked, %llu retries, %llu writes revoked again\n",
		atomic_load(&w->ops), ff_metric(w->ff, "revocations_total"), ff_metric(w->ff, "parked_requests_total"),
		ff_metric(w->ff, "move_retries_total"), ff_metric(w->ff, "write_rerevocations_total"));
	a[0].w = w;
	a[0].ctx = NULL;
	a[0].open = ff_open(w->file, O_RDONLY);
	for (unsigned i = 0; i < HOT; i++)
		look(&a[0], &w->hot[i]);
	ff_close(a[0].open);
	ck_assert_uint_eq(atomic_load(&w->stale), 0);
	ff_stop(w->ff);
	free(w);
}

START_TEST(nobody_reads_stale_bytes)
{
	run_world(make_world(0, true), false, false);
}
END_TEST

START_TEST(nobody_reads_stale_bytes_where_the_kernel_is_slow)
{
	run_world(make_world(400, true), false, false);
}
END_TEST

START_TEST(nobody_reads_stale_bytes_beside_truncate_and_punch)
{
	run_world(make_world(100, true), true, false);
}
END_TEST

START_TEST(readers_of_a_file_that_nobody_has_open_for_writing_see_what_devices_write)
{
	run_world(make_world(100, false), false, true);
}
END_TEST

/* A page that CPU and device share for reading is taken from the device when the first writer comes. */
START_TEST(the_first_writer_ends_sharing)
{
	struct ff *ff = ff_start(NULL, two_devices);
	struct ff_file *f = ff_file(ff, "object", FF_BLOCK, 512);
	struct ff_open *r = ff_open(f, O_RDONLY), *w;
	struct ff_ctx *c = ff_ctx(ff, 0);
	uint64_t va = ff_map(c, r, 0, FF_BLOCK, DMO_PROT_READ, NULL), v, want;

	ff_pattern(&want, 0, 8);
	for (unsigned i = 0; i < 50; i++) {
		ck_assert_int_eq(ff_load(r, 0, &v, 8), 0);
		ck_assert_uint_eq(ff_device_load(c, va).result[0], want);
		ck_assert_uint_eq(v, want);
		w = ff_open(f, O_RDWR);
		want++;
		ff_store(w, 0, &want, 8);		/* no READ comes: the CPU has the page */
		ck_assert_uint_eq(ff_device_load(c, va).result[0], want);
		ff_close(w);
	}
	ff_ctx_close(c);
	ff_close(r);
	ff_stop(ff);
}
END_TEST

/* One writer, of single pages and parts; one reader that revokes all the time. */
static void *keep_touching(void *arg)
{
	struct actor *a = arg;

	while (!atomic_load(&a->w->stop))
		for (unsigned i = 0; i < HOT; i++)
			device_value(a, &a->w->hot[i]);
	return NULL;
}

static void *keep_loading(void *arg)
{
	struct actor *a = arg;

	while (!atomic_load(&a->w->stop))
		for (unsigned i = 0; i < HOT; i++)
			look(a, &a->w->hot[i]);
	return NULL;
}

START_TEST(a_write_is_seen_when_it_returns_however_it_meets_a_revocation)
{
	struct world *w = make_world(300, true);
	struct actor a[3] = { 0 };
	struct ff_open *o = ff_open(w->file, O_RDWR);
	uint64_t until = ff_ms() + seconds() * 1000;

	a[0].open = ff_open(w->file, O_RDWR);
	a[0].ctx = ff_ctx(w->ff, 0);
	a[0].va = ff_map(a[0].ctx, a[0].open, 0, (uint64_t)PAGES * FF_PAGE, RW, NULL);
	begin(&a[0], w, keep_touching, 0);
	begin(&a[1], w, keep_loading, O_RDONLY);
	while (ff_ms() < until) {
		struct hot *h = &w->hot[ff_random() % HOT];
		uint64_t v = atomic_load(&h->truth) + 1, got;

		ck_assert_int_eq(ff_write(o, h->offset, &v, sizeof(v)), sizeof(v));
		atomic_store(&h->truth, v);
		ck_assert_int_eq(ff_load(o, h->offset, &got, sizeof(got)), 0);
		if (got != v)
			stale(w, "writer", h, got, v);
	}
	atomic_store(&w->stop, true);
	end(&a[0]);
	end(&a[1]);
	ff_close(o);
	fprintf(stderr, "%llu writes revoked again\n", ff_metric(w->ff, "write_rerevocations_total"));
	ck_assert_uint_eq(atomic_load(&w->stale), 0);
	ff_stop(w->ff);
	free(w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("engine coherence");
	TCase *t = tcase_create("races");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(t, 300);
	tcase_add_test(t, nobody_reads_stale_bytes);
	tcase_add_test(t, nobody_reads_stale_bytes_where_the_kernel_is_slow);
	tcase_add_test(t, nobody_reads_stale_bytes_beside_truncate_and_punch);
	tcase_add_test(t, readers_of_a_file_that_nobody_has_open_for_writing_see_what_devices_write);
	tcase_add_test(t, the_first_writer_ends_sharing);
	tcase_add_test(t, a_write_is_seen_when_it_returns_however_it_meets_a_revocation);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
