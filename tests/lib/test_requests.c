/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests: how the library splits arrays, what it makes of answers, and that errno is left alone.
 */
#include "fake.h"

#include <check.h>
#include <dmo/dmo.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct dmo_as *fake_as(void)
{
	struct dmo_as *as;

	ck_assert_int_eq(dmo_as_import(FAKE_FD, &as), 0);
	return as;
}

START_TEST(map_batch_is_split_at_the_most_a_request_may_hold)
{
	struct dmo_map_op *ops = calloc(1000, sizeof(*ops));
	struct dmo_as *as = fake_as();
	size_t done;

	ck_assert_int_eq(dmo_map_batch(as, ops, 1000, &done), 0);
	ck_assert_uint_eq(done, 1000);
	ck_assert_uint_eq(fake.calls, 4);
	ck_assert_uint_eq(fake.request[0], DMO_IOC_MAP(DMO_MAP_MAX));
	ck_assert_uint_eq(fake.request[3], DMO_IOC_MAP(1000 - 3 * DMO_MAP_MAX));
	for (uint64_t i = 0; i < 1000; i++)
		ck_assert_uint_eq(ops[i].va, 0x100000000ull + i * DMO_PAGE_SIZE);
	dmo_as_destroy(as);
	free(ops);
}
END_TEST

START_TEST(map_batch_tells_which_op_failed)
{
	struct dmo_map_op *ops = calloc(1000, sizeof(*ops));
	struct dmo_as *as = fake_as();
	size_t done;

	fake.fail_op = 300;
	fake.fail_error = -EEXIST;
	ck_assert_int_eq(dmo_map_batch(as, ops, 1000, &done), -EEXIST);
	ck_assert_uint_eq(done, 300);
	ck_assert_uint_ne(ops[299].va, 0);
	ck_assert_uint_eq(ops[300].va, 0);
	ck_assert_uint_eq(fake.calls, 2);
	dmo_as_destroy(as);
	free(ops);
}
END_TEST

START_TEST(unmap_batch_is_split_and_tells_which_op_failed)
{
	struct dmo_unmap_op *ops = calloc(1500, sizeof(*ops));
	struct dmo_as *as = fake_as();
	size_t done;

	fake.fail_op = 1200;
	fake.fail_error = -EINVAL;
	ck_assert_int_eq(dmo_unmap_batch(as, ops, 1500, &done), -EINVAL);
	ck_assert_uint_eq(done, 1200);
	ck_assert_uint_eq(fake.calls, 3);
	dmo_as_destroy(as);
	free(ops);
}
END_TEST

START_TEST(empty_batch_makes_no_request)
{
	struct dmo_as *as = fake_as();
	size_t done = 5;

	ck_assert_int_eq(dmo_map_batch(as, NULL, 0, &done), 0);
	ck_assert_uint_eq(done, 0);
	ck_assert_uint_eq(fake.calls, 0);
	dmo_as_destroy(as);
}
END_TEST

START_TEST(requests_stay_below_fuses_limit)
{
	ck_assert_uint_le(_IOC_SIZE(DMO_IOC_MAP(DMO_MAP_MAX)), 16383);
	ck_assert_uint_le(_IOC_SIZE(DMO_IOC_UNMAP(DMO_UNMAP_MAX)), 16383);
	ck_assert_uint_le(_IOC_SIZE(DMO_IOC_QUERY(DMO_QUERY_MAX)), 16383);
}
END_TEST

START_TEST(query_goes_on_until_the_room_is_full)
{
	struct dmo_extent *extents = calloc(700, sizeof(*extents));
	uint64_t next;

	fake.extents = 1000;
	ck_assert_int_eq(dmo_query(FAKE_FD, 0, 0, extents, 700, &next), 700);
	ck_assert_uint_eq(fake.calls, 3);
	ck_assert_uint_eq(next, 700 * DMO_PAGE_SIZE);
	ck_assert_uint_eq(extents[699].offset, 699 * DMO_PAGE_SIZE);
	free(extents);
}
END_TEST

START_TEST(query_says_when_nothing_is_left)
{
	struct dmo_extent extents[8];
	uint64_t next;

	fake.extents = 5;
	ck_assert_int_eq(dmo_query(FAKE_FD, 0, 0, extents, 8, &next), 5);
	ck_assert_uint_eq(next, UINT64_MAX);
	fake.extents = 100;
	ck_assert_int_eq(dmo_query(FAKE_FD, 4096, 3 * 4096, extents, 8, &next), 3);
	ck_assert_uint_eq(next, UINT64_MAX);
}
END_TEST

START_TEST(query_refuses_no_room_and_overflow)
{
	struct dmo_extent extent;

	ck_assert_int_eq(dmo_query(FAKE_FD, 0, 0, &extent, 0, NULL), -EINVAL);
	ck_assert_int_eq(dmo_query(FAKE_FD, 4096, ~0ull, &extent, 1, NULL), -EOVERFLOW);
	ck_assert_uint_eq(fake.calls, 0);
}
END_TEST

static int count_extents(const struct dmo_extent *extent, void *arg)
{
	unsigned *n = arg;

	ck_assert_uint_eq(extent->offset, (uint64_t)*n << DMO_PAGE_SHIFT);
	return ++*n == 77 ? 7 : 0;
}

START_TEST(query_each_ends_where_its_caller_says)
{
	unsigned n = 0;

	fake.extents = 1000;
	ck_assert_int_eq(dmo_query_each(FAKE_FD, 0, 0, count_extents, &n), 7);
	ck_assert_uint_eq(n, 77);
	n = 100;
	fake.extents = 0;
	ck_assert_int_eq(dmo_query_each(FAKE_FD, 0, 0, count_extents, &n), 0);
	ck_assert_uint_eq(n, 100);
}
END_TEST

START_TEST(devices_are_counted_beyond_the_room)
{
	struct dmo_device_info infos[2];

	fake.devices = 3;
	ck_assert_int_eq(dmo_devices(FAKE_FD, infos, 2), 3);
	ck_assert_str_eq(infos[1].name, "npu1");
	ck_assert_int_eq(dmo_devices(FAKE_FD, NULL, 0), 3);
}
END_TEST

START_TEST(device_is_found_by_name)
{
	uint32_t device = 9;

	fake.devices = 3;
	ck_assert_int_eq(dmo_device_find(FAKE_FD, "npu2", &device), 0);
	ck_assert_uint_eq(device, 2);
	ck_assert_int_eq(dmo_device_find(FAKE_FD, "npu3", &device), -ENODEV);
	ck_assert_int_eq(dmo_device_find(FAKE_FD, "host", &device), 0);
	ck_assert_uint_eq(device, DMO_DEVICE_HOST);
	ck_assert_int_eq(dmo_device_find(FAKE_FD, "any", &device), 0);
	ck_assert_uint_eq(device, DMO_DEVICE_ANY);
}
END_TEST

START_TEST(migrate_tells_how_far_it_came)
{
	struct dmo_migrate result;

	fake.fail_error = -ENOSPC;
	ck_assert_int_eq(dmo_migrate(FAKE_FD, 0, 8192, 0, 0, &result), -ENOSPC);
	ck_assert_uint_eq(result.done, 4096);
	ck_assert_int_eq(result.error, -ENOSPC);
	ck_assert_int_eq(dmo_prefetch(FAKE_FD, 0, 8192, 0), -ENOSPC);
}
END_TEST

START_TEST(asynchronous_migrate_needs_a_place_for_its_cookie)
{
	uint64_t cookie;

	ck_assert_int_eq(dmo_migrate(FAKE_FD, 0, 0, 0, DMO_MIGRATE_ASYNC, NULL), -EINVAL);
	ck_assert_int_eq(dmo_migrate_async(FAKE_FD, 0, 0, 0, &cookie), 0);
	ck_assert_uint_eq(cookie, 42);
}
END_TEST

START_TEST(wait_gives_the_migrations_own_error)
{
	struct dmo_wait wait;

	fake.async_error = -EIO;
	ck_assert_int_eq(dmo_wait(FAKE_FD, 42, -1, &wait), -EIO);
	ck_assert_uint_eq(wait.done, 8192);
	ck_assert_uint_eq(wait.cookie, 42);
}
END_TEST

START_TEST(wait_with_no_timeout_only_looks)
{
	fake.error_calls = 1;
	fake.call_error = -EAGAIN;
	ck_assert_int_eq(dmo_wait(FAKE_FD, 42, 0, NULL), -EAGAIN);
	ck_assert_uint_eq(fake.calls, 1);
}
END_TEST

START_TEST(errno_is_left_alone)
{
	struct dmo_info info;

	errno = 1234;
	ck_assert_int_eq(dmo_info(-1, &info), -EBADF);
	ck_assert_int_eq(errno, 1234);
	ck_assert_int_eq(dmo_mount_of_path("/nonexistent/file", NULL, 0), -ENOENT);
	ck_assert_int_eq(errno, 1234);
}
END_TEST

static int try_object_calls(int fd, int expected)
{
	struct dmo_info info;
	struct dmo_device_info device;
	struct dmo_extent extent;
	uint64_t n;

	ck_assert_int_eq(dmo_info(fd, &info), expected);
	ck_assert_int_eq(dmo_key(fd, &n), expected);
	ck_assert_int_eq(dmo_device_info(fd, 0, &device), expected);
	ck_assert_int_eq(dmo_devices(fd, &device, 1), expected);
	ck_assert_int_eq(dmo_advise(fd, 0, 0, DMO_ADV_COLD, DMO_DEVICE_ANY, 0), expected);
	ck_assert_int_eq(dmo_query(fd, 0, 0, &extent, 1, NULL), expected);
	ck_assert_int_eq(dmo_prefetch(fd, 0, 0, 0), expected);
	ck_assert_int_eq(dmo_evict(fd, 0, 0), expected);
	ck_assert_int_eq(dmo_wait(fd, 1, -1, NULL), expected);
	ck_assert_int_eq(dmo_pin(fd, 0, 4096, 0, &n), expected);
	ck_assert_int_eq(dmo_unpin(fd, 1), expected);
	ck_assert_int_eq(dmo_export_dmabuf(fd, 0, 4096, 0), expected);
	return 0;
}

START_TEST(foreign_file_gives_enotty)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char path[16];

	try_object_calls(fd, -ENOTTY);
	ck_assert_int_eq(dmo_mount_of(fd, path, sizeof(path)), -ENOTTY);
	close(fd);
}
END_TEST

START_TEST(closed_file_gives_ebadf)
{
	char path[16];

	try_object_calls(-1, -EBADF);
	ck_assert_int_eq(dmo_mount_of(-1, path, sizeof(path)), -EBADF);
}
END_TEST

START_TEST(foreign_context_gives_enotty)
{
	struct dmo_map_op op = { .length = 4096 };
	struct dmo_as *as;
	uint64_t va;

	ck_assert_int_eq(dmo_as_import(open("/dev/null", O_RDWR | O_CLOEXEC), &as), 0);
	ck_assert_int_eq(dmo_map_batch(as, &op, 1, NULL), -ENOTTY);
	ck_assert_int_eq(dmo_unmap(as, 0, 4096), -ENOTTY);
	ck_assert_int_eq(dmo_mirror(as, &op, 4096, DMO_PROT_READ, 0), -ENOTTY);
	ck_assert_int_eq(dmo_dev_fault(as, 0, 4096, DMO_PROT_READ), -ENOTTY);
	ck_assert_int_eq(dmo_lowat(as, 1), -ENOTTY);
	ck_assert_int_eq(dmo_map(as, dmo_as_fd(as), 0, 4096, DMO_PROT_READ, 0, 0, &va), -ENOTTY);
	ck_assert_int_eq(dmo_as_attach(as, dmo_as_fd(as), DMO_PROT_READ, &va, NULL), -ENODATA);
	dmo_as_destroy(as);
	dmo_as_destroy(NULL);
	ck_assert_int_eq(dmo_as_import(-1, &as), -EBADF);
}
END_TEST

START_TEST(advice_has_names_both_ways)
{
	enum dmo_advice advice;

	for (unsigned i = 0; i < DMO_ADV_COUNT; i++) {
		ck_assert_ptr_nonnull(dmo_advice_name(i));
		ck_assert_int_eq(dmo_advice_parse(dmo_advice_name(i), &advice), 0);
		ck_assert_uint_eq(advice, i);
	}
	ck_assert_ptr_null(dmo_advice_name(DMO_ADV_COUNT));
	ck_assert_int_eq(dmo_advice_parse("read_mostly", &advice), 0);
	ck_assert_int_eq(dmo_advice_parse("read", &advice), -EINVAL);
	ck_assert_int_eq(dmo_advice_parse("", &advice), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("requests");
	TCase *tc = tcase_create("requests");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, fake_reset, NULL);
	tcase_add_test(tc, map_batch_is_split_at_the_most_a_request_may_hold);
	tcase_add_test(tc, map_batch_tells_which_op_failed);
	tcase_add_test(tc, unmap_batch_is_split_and_tells_which_op_failed);
	tcase_add_test(tc, empty_batch_makes_no_request);
	tcase_add_test(tc, requests_stay_below_fuses_limit);
	tcase_add_test(tc, query_goes_on_until_the_room_is_full);
	tcase_add_test(tc, query_says_when_nothing_is_left);
	tcase_add_test(tc, query_refuses_no_room_and_overflow);
	tcase_add_test(tc, query_each_ends_where_its_caller_says);
	tcase_add_test(tc, devices_are_counted_beyond_the_room);
	tcase_add_test(tc, device_is_found_by_name);
	tcase_add_test(tc, migrate_tells_how_far_it_came);
	tcase_add_test(tc, asynchronous_migrate_needs_a_place_for_its_cookie);
	tcase_add_test(tc, wait_gives_the_migrations_own_error);
	tcase_add_test(tc, wait_with_no_timeout_only_looks);
	tcase_add_test(tc, errno_is_left_alone);
	tcase_add_test(tc, foreign_file_gives_enotty);
	tcase_add_test(tc, closed_file_gives_ebadf);
	tcase_add_test(tc, foreign_context_gives_enotty);
	tcase_add_test(tc, advice_has_names_both_ways);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
