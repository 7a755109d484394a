/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_crc.c - the checksum's arithmetic against a loop over bits, at every length and offset that could matter
 */
#include "device/sim_crc.h"
#include "fake.h"
#include "reference.h"

#include <check.h>
#include <stdlib.h>

static unsigned char data[5000];

START_TEST(every_length_and_start_agrees_with_the_plain_loop)
{
	fake_noise(data, sizeof(data), 1);
	for (size_t start = 0; start < 20; start += 3) {
		for (size_t n = 0; n < 300; n++)
			ck_assert_uint_eq(sim_crc(0x12345678, data + start, n), ref_crc(0x12345678, data + start, n));
	}
	for (size_t n = 4000; n < 4200; n++)
		ck_assert_uint_eq(sim_crc((uint32_t)n, data, n), ref_crc((uint32_t)n, data, n));
}
END_TEST

START_TEST(zeros_can_be_skipped)
{
	static const unsigned char zeros[1000];

	for (size_t n = 0; n < 1000; n += 7)
		ck_assert_uint_eq(sim_crc_zeros(0xdeadbeef, n), ref_crc(0xdeadbeef, zeros, n));
	ck_assert_uint_eq(sim_crc_zeros(sim_crc_zeros(5, 1ull << 40), 12345), sim_crc_zeros(5, (1ull << 40) + 12345));
}
END_TEST

START_TEST(parts_make_the_whole)
{
	fake_noise(data, sizeof(data), 2);
	for (size_t cut = 0; cut < sizeof(data); cut += 331) {
		uint32_t first = sim_crc(0, data, cut), second = sim_crc(0, data + cut, sizeof(data) - cut);

		ck_assert_uint_eq(sim_crc_zeros(first, sizeof(data) - cut) ^ second, ref_crc(0, data, sizeof(data)));
	}
}
END_TEST

START_TEST(known_sums_come_out)
{
	ck_assert_uint_eq(sim_crc_finish(0, 0), 4294967295u);
	ck_assert_uint_eq(sim_crc_finish(sim_crc(0, "123456789", 9), 9), 930766865u);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("device checksum");
	TCase *t = tcase_create("crc");

	tcase_add_test(t, every_length_and_start_agrees_with_the_plain_loop);
	tcase_add_test(t, zeros_can_be_skipped);
	tcase_add_test(t, parts_make_the_whole);
	tcase_add_test(t, known_sums_come_out);
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
