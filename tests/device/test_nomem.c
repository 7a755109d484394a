/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_nomem.c - every allocation and every thread that can't be had, in turn
 *
 * The linker sends what the device asks of the C library here. Allocation number fail_at fails; each test raises that
 * number until nothing fails any more, and looks after each try that nothing is left allocated.
 */
#include <check.h>
#include <dmo/backend.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define VA 0x40000000ull

static _Atomic long fail_at, count, live;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *p);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
void *__real_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *p);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
void *__wrap_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset);

static bool fails(void)
{
	return ++count == fail_at;
}

static void *counted(void *p)
{
	live += !!p;
	return p;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return fails() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *p)
{
	live -= !!p;
	__real_free(p);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	return fails() ? EAGAIN : __real_pthread_create(thread, attr, fn, arg);
}

void *__wrap_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset)
{
	return fails() ? MAP_FAILED : __real_mmap(address, length, prot, flags, fd, offset);
}

static void start_failing(long at)
{
	count = 0;
	fail_at = at;
}

/* True when the allocation that should fail was reached. */
static bool stop_failing(void)
{
	bool reached = count >= fail_at;

	fail_at = 0;
	return reached;
}

/* ---- a host ------------------------------------------------------------------------------------------------- */

static _Atomic unsigned completed;
static struct dmo_completion last;

static void on_fault(void *host_ctx, const struct dmo_dev_fault *fault)
{
	abort();
}

static void on_complete(void *owner, const struct dmo_completion *completion)
{
	last = *completion;
	completed++;
}

static void on_lost(void *host_ctx)
{
}

static const struct dmo_backend_ops *ops = &dmo_sim_ops;

static int create(void **dev, char *why)
{
	static const struct dmo_host host = { on_fault, on_complete, on_lost };
	struct dmo_backend_info info;

	return ops->create(&host, NULL, "npu0", "memory=16M,threads=2", &info, dev, why, 256);
}

static int enter(void *as)
{
	struct dmo_pte_run run = { .va = VA, .pages = 4096, .prot = DMO_PROT_READ | DMO_PROT_WRITE };

	return ops->as_enter(as, &run);
}

static int run_command(void *as, struct dmo_command command)
{
	unsigned before = completed;
	int err = ops->submit(as, &command, 1);

	while (!err && completed == before)
		usleep(100);
	return err ? err : last.status;
}

/* ---- tests ---------------------------------------------------------------------------------------------------- */

START_TEST(a_device_that_can_not_be_made_says_why_and_leaves_nothing)
{
	bool reached = true;
	long before, after;
	char why[256];
	void *dev;
	int err;

	for (long n = 1; reached; n++) {
		strcpy(why, "");
		before = live;
		start_failing(n);
		err = create(&dev, why);
		reached = stop_failing();
		if (!err)
			ops->destroy(dev);
		after = live;
		ck_assert_int_eq(err, reached ? -ENOMEM : 0);
		ck_assert_int_eq(!*why, !reached);
		ck_assert_int_eq(after, before);
	}
}
END_TEST

START_TEST(an_address_space_that_can_not_be_made_leaves_a_device_that_works)
{
	bool reached = true;
	long before, after;
	char why[256];
	void *dev, *as;
	int err, again, ran;

	for (long n = 1; reached; n++) {
		before = live;
		again = create(&dev, why);
		start_failing(n);
		err = ops->as_create(dev, NULL, &as);
		reached = stop_failing();
		if (err)
			again |= ops->as_create(dev, NULL, &as);
		ran = enter(as) | run_command(as, (struct dmo_command){ .op = DMO_OP_FILL, .arg = { VA, 8u << 20, 1 } });
		ops->as_destroy(as);
		ops->destroy(dev);
		after = live;
		ck_assert(!err || err == -ENOMEM || err == -EAGAIN);
		ck_assert_int_eq(again, 0);
		ck_assert_int_eq(ran, 0);
		ck_assert_int_eq(after, before);
	}
}
END_TEST

START_TEST(a_run_that_can_not_be_entered_changes_nothing)
{
	bool reached = true;
	char why[256];
	void *dev, *as;
	int err;

	for (long n = 1; reached; n++) {
		/* Offset so that every block is split, across blocks of two upper nodes. */
		struct dmo_pte_run first = { .va = (1ull << 30) - (4u << 20), .pages = 1, .prot = DMO_PROT_READ };
		struct dmo_pte_run run = { .va = (1ull << 30) - (3u << 20), .pages = 1800, .prot = DMO_PROT_READ, .bits = 7,
					   .frame = 5 };

		ck_assert_int_eq(create(&dev, why), 0);
		ck_assert_int_eq(ops->as_create(dev, NULL, &as), 0);
		ck_assert_int_eq(ops->as_enter(as, &first), 0);
		first.va = (1ull << 30) + 4096;
		first.frame = 100;
		ck_assert_int_eq(ops->as_enter(as, &first), 0);
		*(uint64_t *)ops->window(dev, 100, 1) = 77;
		start_failing(n);
		err = ops->as_enter(as, &run);
		reached = stop_failing();
		ck_assert_int_eq(err, reached ? -ENOMEM : 0);
		/* The page that was there before is still there, with its own frame. */
		ck_assert_int_eq(run_command(as, (struct dmo_command){ .op = DMO_OP_CHASE, .arg = { first.va, 1 } }), 0);
		ck_assert_uint_eq(last.result[0], reached ? 77 : 0);
		ck_assert_int_eq(ops->as_enter(as, &run), 0);
		ops->as_destroy(as);
		ops->destroy(dev);
	}
}
END_TEST

START_TEST(a_command_without_memory_fails_alone)
{
	struct dmo_command gemv = { .op = DMO_OP_GEMV, .flags = DMO_CMD_TRANSPOSE,
				    .arg = { VA + (8u << 20), VA, VA + (9u << 20), 0, 512, 512 } };
	bool reached = true;
	char why[256];
	void *dev, *as;
	int err;

	for (long n = 1; reached; n++) {
		ck_assert_int_eq(create(&dev, why), 0);
		ck_assert_int_eq(ops->as_create(dev, NULL, &as), 0);
		ck_assert_int_eq(enter(as), 0);
		start_failing(n);
		err = run_command(as, gemv);
		reached = stop_failing();
		ck_assert_int_eq(err, reached ? -ENOMEM : 0);
		ck_assert_int_eq(run_command(as, gemv), 0);
		ops->as_destroy(as);
		ops->destroy(dev);
	}
}
END_TEST

static void on_copied(struct dmo_copy_job *job, int status)
{
	*(_Atomic int *)job->ctx = status;
}

START_TEST(transfers_are_made_without_threads_too)
{
	static char buffer[3 << 20];
	char why[256];
	void *dev;

	memset(buffer, 5, sizeof(buffer));
	for (long n = 1; n < 5; n++) {
		_Atomic int status[2] = { 1, 1 };
		struct dmo_copy_job jobs[2] = { { .dir = DMO_COPY_IN, .bytes = sizeof(buffer), .host = buffer,
						  .done = on_copied, .ctx = &status[0], .next = &jobs[1] },
						{ .dir = DMO_COPY_LOCAL, .bytes = 4096, .frame = 2000,
						  .done = on_copied, .ctx = &status[1] } };

		ck_assert_int_eq(create(&dev, why), 0);
		start_failing(n);
		ops->copy(dev, jobs);
		stop_failing();
		while (status[0] == 1 || status[1] == 1)
			usleep(100);
		ck_assert_int_eq(status[0], 0);
		ck_assert_int_eq(status[1], 0);
		ck_assert_uint_eq(*(unsigned char *)ops->window(dev, 2000, 1), 5);
		ops->destroy(dev);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("device without memory");
	TCase *t = tcase_create("nomem");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_device_that_can_not_be_made_says_why_and_leaves_nothing);
	tcase_add_test(t, an_address_space_that_can_not_be_made_leaves_a_device_that_works);
	tcase_add_test(t, a_run_that_can_not_be_entered_changes_nothing);
	tcase_add_test(t, a_command_without_memory_fails_alone);
	tcase_add_test(t, transfers_are_made_without_threads_too);
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
