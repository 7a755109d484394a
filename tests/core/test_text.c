/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_text.c - sizes as people write them, and limits that follow each other */
#include "core/policy.h"
#include "core/text.h"

#include "testmem.h"

static const struct {
	const char *text;
	u64 bytes;
} good[] = {
	{ "0", 0 }, { "4096", 4096 }, { "00012", 12 }, { "1K", 1024 }, { "3k", 3072 }, { "16M", 16ull << 20 },
	{ "7g", 7ull << 30 }, { "2T", 2ull << 40 }, { "5p", 5ull << 50 }, { "15E", 15ull << 60 },
	{ "18446744073709551615", ~0ull }, { "17179869183G", ~0ull << 30 },
};

static const char *const bad[] = {
	"", "x", "K", "-1", "+1", " 1", "1 ", "12x", "4M garbage", "1KK", "0x10", "1.5M", "16E", "18446744073709551616",
	"99999999999999999999999", "17179869184G",
};

START_TEST(sizes_are_digits_and_a_unit)
{
	u64 bytes;

	ck_assert_int_eq(dmo_text_size(good[_i].text, &bytes), 0);
	ck_assert_uint_eq(bytes, good[_i].bytes);
}
END_TEST

START_TEST(anything_else_is_refused_and_changes_nothing)
{
	u64 bytes = 77;

	ck_assert_int_eq(dmo_text_size(bad[_i], &bytes), -EINVAL);
	ck_assert_uint_eq(bytes, 77);
}
END_TEST

START_TEST(a_lower_limit_takes_the_watermarks_along)
{
	struct dmo_device d = { .limit = 4096 };

	dmo_policy_set_max(&d, 320);
	ck_assert_uint_eq(d.limit, 320);
	ck_assert_uint_eq(d.high, 310);
	ck_assert_uint_eq(d.low, 300);
}
END_TEST

START_TEST(low_is_never_above_high_nor_high_above_max)
{
	struct dmo_device d = { 0 };

	dmo_policy_set_max(&d, 100);
	dmo_policy_set_high(&d, 1000);
	ck_assert_uint_eq(d.high, 100);
	dmo_policy_set_low(&d, 90);
	dmo_policy_set_high(&d, 50);
	ck_assert_uint_eq(d.high, 50);
	ck_assert_uint_eq(d.low, 50);
	dmo_policy_set_low(&d, 70);
	ck_assert_uint_eq(d.low, 50);
	dmo_policy_set_low(&d, 20);
	ck_assert_uint_eq(d.low, 20);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("text");
	TCase *t = tcase_create("text");

	tcase_add_loop_test(t, sizes_are_digits_and_a_unit, 0, sizeof(good) / sizeof(good[0]));
	tcase_add_loop_test(t, anything_else_is_refused_and_changes_nothing, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(t, a_lower_limit_takes_the_watermarks_along);
	tcase_add_test(t, low_is_never_above_high_nor_high_above_max);
	suite_add_tcase(s, t);
	return test_run(s);
}
