/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_spec.c - options of a simulated device: what they mean, and what a wrong one is told
 */
#include "device/sim_spec.h"

#include <check.h>
#include <dmo/backend.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct sim_spec spec;
static char why[256];

static int parse(const char *text)
{
	strcpy(why, "");
	return sim_spec_parse(text, &spec, why, sizeof(why));
}

START_TEST(nothing_given_means_defaults)
{
	ck_assert_int_eq(parse(""), 0);
	ck_assert_int_eq(parse(NULL), 0);
	ck_assert_uint_eq(spec.memory, 64u << 20);
	ck_assert_uint_eq(spec.link, 0);
	ck_assert_uint_eq(spec.latency, 0);
	ck_assert(spec.threads == 1 || spec.threads == 2);
	ck_assert(spec.faults && !spec.coherent);
}
END_TEST

START_TEST(every_option_is_read)
{
	ck_assert_int_eq(parse("memory=32M,link=4G,latency=2us,threads=7,faults=no,coherent=yes"), 0);
	ck_assert_uint_eq(spec.memory, 32u << 20);
	ck_assert_uint_eq(spec.link, 4ull << 30);
	ck_assert_uint_eq(spec.latency, 2000);
	ck_assert_uint_eq(spec.threads, 7);
	ck_assert(!spec.faults && spec.coherent);
}
END_TEST

START_TEST(units_are_read)
{
	ck_assert_int_eq(parse("memory=8192"), 0);
	ck_assert_uint_eq(spec.memory, 8192);
	ck_assert_int_eq(parse("memory=8k,link=3T,latency=5ns"), 0);
	ck_assert_uint_eq(spec.link, 3ull << 40);
	ck_assert_uint_eq(spec.latency, 5);
	ck_assert_int_eq(parse("latency=3ms,link=0"), 0);
	ck_assert_uint_eq(spec.latency, 3000000);
	ck_assert_int_eq(parse("latency=0,memory=8T"), 0);
}
END_TEST

static const struct {
	const char *text, *named, *way_out;
} wrong[] = {
	{ "memroy=32M", "'memroy=32M'", "memory=" },
	{ "memory", "'memory'", "memory=32M" },
	{ "memory=", "'memory='", "memory=32M" },
	{ "memory=0", "'memory=0'", "4 KiB" },
	{ "memory=-1", "'memory=-1'", "4 KiB" },
	{ "memory=5000", "'memory=5000'", "whole pages" },
	{ "memory=32Q", "'memory=32Q'", "memory=32M" },
	{ "memory=99999999999999999999999", "memory=9999", "8T" },
	{ "memory=9T", "'memory=9T'", "8T" },
	{ "memory=18446744073709551615G", "memory=1844", "8T" },
	{ "link=fast", "'link=fast'", "link=4G" },
	{ "link=4G,latency=2", "'latency=2'", "latency=2us" },
	{ "latency=11s", "'latency=11s'", "10s" },
	{ "threads=0", "'threads=0'", "1 to 64" },
	{ "threads=65", "'threads=65'", "1 to 64" },
	{ "faults=maybe", "'faults=maybe'", "yes or no" },
	{ "coherent=1", "'coherent=1'", "yes or no" },
	{ "=3", "'=3'", "memory=" },
	{ ",", "''", "memory=" },
	{ "memory=00000000000000000000000000000000000000000000000001M", "memory=0000", "memory=32M" },
};
#define WRONG (int)(sizeof(wrong) / sizeof(wrong[0]))

START_TEST(a_wrong_option_is_named_with_a_way_out)
{
	ck_assert_int_eq(parse(wrong[_i].text), -EINVAL);
	ck_assert_msg(strstr(why, wrong[_i].named) != NULL, "%s: %s", wrong[_i].text, why);
	ck_assert_msg(strstr(why, wrong[_i].way_out) != NULL, "%s: %s", wrong[_i].text, why);
	ck_assert_ptr_null(strchr(why, '\n'));
}
END_TEST

START_TEST(every_option_has_a_line_of_help)
{
	static const char *const keys[] = { "memory=", "link=", "latency=", "threads=", "faults=", "coherent=" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		ck_assert_ptr_nonnull(strstr(dmo_sim_ops.help, keys[i]));
}
END_TEST

static void no_fault(void *host_ctx, const struct dmo_dev_fault *fault)
{
}

static void no_complete(void *owner, const struct dmo_completion *completion)
{
}

static void no_lost(void *host_ctx)
{
}

static const struct dmo_host host = { no_fault, no_complete, no_lost };

START_TEST(create_passes_the_reason_on)
{
	struct dmo_backend_info info;
	void *dev;

	ck_assert_int_eq(dmo_sim_ops.create(&host, NULL, "npu0", "link=x", &info, &dev, why, sizeof(why)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "'link=x'"));
}
END_TEST

START_TEST(a_device_tells_what_it_was_asked_for)
{
	struct dmo_backend_info info;
	void *dev;

	ck_assert_int_eq(dmo_sim_ops.create(&host, NULL, "npu0", "memory=1M,link=5G,threads=3,coherent=yes,faults=no",
					    &info, &dev, why, sizeof(why)), 0);
	ck_assert_uint_eq(info.frames, 256);
	ck_assert_uint_eq(info.memory_type, DMO_MEM_COHERENT);
	ck_assert_uint_eq(info.flags, DMO_DEVICE_DIRTY);
	ck_assert_uint_eq(info.threads, 3);
	ck_assert_uint_eq(info.link, 5ull << 30);
	ck_assert_uint_lt(info.va_start, info.va_end);
	ck_assert_ptr_nonnull(dmo_sim_ops.cpu_address(dev, 255));
	ck_assert_ptr_null(dmo_sim_ops.cpu_address(dev, 256));
	ck_assert_ptr_null(dmo_sim_ops.window(dev, 255, 2));
	dmo_sim_ops.destroy(dev);
	ck_assert_int_eq(dmo_sim_ops.create(&host, NULL, "npu0", "memory=1M", &info, &dev, why, sizeof(why)), 0);
	ck_assert_uint_eq(info.memory_type, DMO_MEM_PRIVATE);
	ck_assert_uint_eq(info.flags, DMO_DEVICE_DIRTY | DMO_DEVICE_FAULTS);
	ck_assert_ptr_null(dmo_sim_ops.cpu_address(dev, 0));
	dmo_sim_ops.destroy(dev);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("device spec");
	TCase *t = tcase_create("spec");

	tcase_add_test(t, nothing_given_means_defaults);
	tcase_add_test(t, every_option_is_read);
	tcase_add_test(t, units_are_read);
	tcase_add_loop_test(t, a_wrong_option_is_named_with_a_way_out, 0, WRONG);
	tcase_add_test(t, every_option_has_a_line_of_help);
	tcase_add_test(t, create_passes_the_reason_on);
	tcase_add_test(t, a_device_tells_what_it_was_asked_for);
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
