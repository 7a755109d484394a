/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_commands.c - each command against a plain reference, at sizes around every edge, whole and in parts
 *
 * Every page faults once: each test also crosses the fault path. Frames lie in order, so that what the device wrote is
 * read through its window.
 */
#include "fake.h"
#include "reference.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define A	FAKE_VA
#define B	(FAKE_VA + (8u << 20))
#define C	(FAKE_VA + (16u << 20))
#define D	(FAKE_VA + (24u << 20))

static struct fake *f;

static void setup(void)
{
	f = fake_open("memory=32M,threads=3");
	f->pages_a_fault = 7;
}

static void teardown(void)
{
	fake_close(f);
}

static float *floats(uint64_t va)
{
	return (float *)fake_at(f, va);
}

static uint64_t bits(float value)
{
	uint32_t b;

	memcpy(&b, &value, sizeof(b));
	return b;
}

static void expect_near(const float *got, const double *want, size_t n, double tolerance)
{
	for (size_t i = 0; i < n; i++)
		ck_assert_msg(fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i])), "element %zu: %.9g, not %.9g", i,
			      (double)got[i], want[i]);
}

static struct dmo_completion run_ok(struct dmo_command command)
{
	struct dmo_completion done = fake_run(f, command);

	ck_assert_msg(done.status == 0, "op %u: %s at %llx", command.op, strerror(-done.status),
		      (unsigned long long)done.va);
	return done;
}

static const uint64_t sizes[] = { 0, 1, 2, 7, 4095, 4096, 4097, 65536, 65537, 600000, (1u << 20) - 1, (1u << 20) + 1,
				  (2u << 20) + 17, (5u << 20) + 3 };
#define SIZES (int)(sizeof(sizes) / sizeof(sizes[0]))

START_TEST(nop_completes)
{
	struct dmo_completion done = run_ok(fake_command(DMO_OP_NOP, 0, NULL, 0));

	ck_assert_uint_eq(done.op, DMO_OP_NOP);
	ck_assert_uint_eq(done.faults, 0);
}
END_TEST

START_TEST(fill_writes_its_bytes_and_no_other)
{
	uint64_t n = sizes[_i], at = A + 4096 + 5;
	unsigned char *p = fake_at(f, at);

	run_ok(COMMAND(DMO_OP_FILL, at, n, 0xa5));
	for (uint64_t i = 0; i < n; i++)
		ck_assert_uint_eq(p[i], 0xa5);
	ck_assert_uint_eq(p[-1], 0);
	ck_assert_uint_eq(p[n], 0);
}
END_TEST

START_TEST(copy_copies)
{
	uint64_t n = sizes[_i];

	fake_noise(fake_at(f, A + 3), n, 1);
	run_ok(COMMAND(DMO_OP_COPY, B + 11, A + 3, n));
	ck_assert_int_eq(memcmp(fake_at(f, B + 11), fake_at(f, A + 3), n), 0);
	ck_assert_uint_eq(*fake_at(f, B + 11 + n), 0);
}
END_TEST

START_TEST(copy_of_overlapping_ranges_is_refused)
{
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_COPY, A, A + 4095, 4096)).status, -EINVAL);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_COPY, A + 1, A, 4096)).status, -EINVAL);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_COPY, A, A, 1)).status, -EINVAL);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_COPY, A, A + 4096, 4096)).status, 0);
}
END_TEST

START_TEST(cksum_is_what_cksum_prints)
{
	uint64_t n = sizes[_i];

	fake_noise(fake_at(f, A + 1), n, 2);
	ck_assert_uint_eq(run_ok(COMMAND(DMO_OP_CKSUM, A + 1, n, 0, 0, 1)).result[0],
			  ref_cksum(fake_at(f, A + 1), n));
}
END_TEST

START_TEST(cksum_goes_on_from_an_earlier_one)
{
	uint64_t n = sizes[_i], first = n / 3, crc;

	fake_noise(fake_at(f, A), n, 3);
	crc = run_ok(COMMAND(DMO_OP_CKSUM, A, first, 0, 0, 0)).result[0];
	ck_assert_uint_eq(crc, ref_crc(0, fake_at(f, A), first));
	ck_assert_uint_eq(run_ok(COMMAND(DMO_OP_CKSUM, A + first, n - first, crc, first, 1)).result[0],
			  ref_cksum(fake_at(f, A), n));
}
END_TEST

START_TEST(compare_finds_the_first_difference)
{
	uint64_t n = sizes[_i], at[] = { 0, n / 2, n - 1 };

	fake_noise(fake_at(f, A), n, 4);
	memcpy(fake_at(f, B + 1), fake_at(f, A), n);
	ck_assert_uint_eq(run_ok(COMMAND(DMO_OP_COMPARE, A, B + 1, n)).result[0], n);
	for (int i = 2; n && i >= 0; i--) {
		fake_at(f, B + 1)[at[i]] = fake_at(f, A)[at[i]] ^ 1;
		ck_assert_uint_eq(run_ok(COMMAND(DMO_OP_COMPARE, A, B + 1, n)).result[0], at[i]);
	}
}
END_TEST

START_TEST(chase_follows_addresses)
{
	uint64_t *slot, va = A + 8;

	for (int i = 0; i < 1000; i++) {
		slot = (uint64_t *)fake_at(f, va);
		va = A + (uint64_t)((i * 7919 + 13) % 4096) * 4096 + 8 * (uint64_t)(i % 512);
		*slot = va;
		if (i == 499)
			ck_assert_uint_eq(run_ok(COMMAND(DMO_OP_CHASE, A + 8, 500)).result[0], va);
	}
	ck_assert_uint_eq(run_ok(COMMAND(DMO_OP_CHASE, A + 8, 0)).result[0], A + 8);
}
END_TEST

START_TEST(chase_of_a_wild_address_fails_there)
{
	struct dmo_completion done;

	*(uint64_t *)fake_at(f, A) = A + 9;
	done = fake_run(f, COMMAND(DMO_OP_CHASE, A, 2));
	ck_assert_int_eq(done.status, -EINVAL);
	ck_assert_uint_eq(done.va, A + 9);
	*(uint64_t *)fake_at(f, A) = ~7ull;
	done = fake_run(f, COMMAND(DMO_OP_CHASE, A, ~0ull));
	ck_assert_int_eq(done.status, -EFAULT);
	ck_assert_uint_eq(done.va, ~7ull);
}
END_TEST

START_TEST(atomic_add_gives_the_old_value)
{
	*(uint64_t *)fake_at(f, A + 16) = 40;
	ck_assert_uint_eq(run_ok(COMMAND(DMO_OP_ATOMIC_ADD, A + 16, 2)).result[0], 40);
	ck_assert_uint_eq(run_ok(COMMAND(DMO_OP_ATOMIC_ADD, A + 16, ~0ull)).result[0], 42);
	ck_assert_uint_eq(*(uint64_t *)fake_at(f, A + 16), 41);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_ATOMIC_ADD, A + 4, 2)).status, -EINVAL);
}
END_TEST

START_TEST(axpy_adds)
{
	static const uint64_t counts[] = { 0, 1, 15, 16, 17, 16384, 16385, 100000 };
	uint64_t n = counts[_i];
	double *want = calloc(n + 1, sizeof(*want));

	ref_floats(floats(A + 4), n, 5);
	ref_floats(floats(B), n + 1, 6);
	for (uint64_t i = 0; i <= n; i++)
		want[i] = floats(B)[i] + (i < n ? -1.5 * floats(A + 4)[i] : 0);
	run_ok(COMMAND(DMO_OP_AXPY, B, A + 4, n, bits(-1.5f)));
	expect_near(floats(B), want, n + 1, 1e-6);
	free(want);
}
END_TEST

static const struct {
	uint64_t rows, cols;
} shapes[] = { { 1, 1 }, { 3, 5 }, { 4, 16 }, { 17, 33 }, { 700, 768 }, { 768, 1111 }, { 1, 40000 }, { 40000, 1 },
	       { 3, 70001 }, { 40001, 9 }, { 0, 4 }, { 4, 0 }, { 500, 2048 } };
#define SHAPES (int)(sizeof(shapes) / sizeof(shapes[0]))

static void check_gemv(uint64_t rows, uint64_t cols, uint32_t flags, int with_bias)
{
	int transpose = !!(flags & DMO_CMD_TRANSPOSE);
	uint64_t n = transpose ? cols : rows, m = transpose ? rows : cols;
	uint64_t x = C, y = C + (1u << 20), bias = with_bias ? C + (2u << 20) : 0;
	double *want = calloc(n + 1, sizeof(*want));

	ref_floats(floats(A + 4), rows * cols, 7);
	ref_floats(floats(x), m, 8);
	ref_floats(floats(C + (2u << 20)), n, 9);
	ref_floats(floats(y), n + 1, 10);
	ref_gemv(want, floats(A + 4), floats(x), with_bias ? floats(bias) : NULL, rows, cols, transpose);
	want[n] = floats(y)[n];
	for (uint64_t i = 0; i < n && flags & DMO_CMD_ACCUMULATE; i++)
		want[i] += floats(y)[i];
	run_ok(fake_command(DMO_OP_GEMV, flags, (const uint64_t[]){ y, A + 4, x, bias, rows, cols }, 6));
	expect_near(floats(y), want, n + 1, 2e-4);
	free(want);
}

START_TEST(gemv_multiplies)
{
	check_gemv(shapes[_i].rows, shapes[_i].cols, 0, 0);
	check_gemv(shapes[_i].rows, shapes[_i].cols, DMO_CMD_ACCUMULATE, 1);
}
END_TEST

START_TEST(gemv_of_the_transpose_multiplies)
{
	check_gemv(shapes[_i].rows, shapes[_i].cols, DMO_CMD_TRANSPOSE, 1);
	check_gemv(shapes[_i].rows, shapes[_i].cols, DMO_CMD_TRANSPOSE | DMO_CMD_ACCUMULATE, 0);
}
END_TEST

START_TEST(gemv_gives_the_same_bits_each_time)
{
	float *first = malloc(1111 * sizeof(float));

	check_gemv(768, 1111, DMO_CMD_TRANSPOSE, 1);
	memcpy(first, floats(C + (1u << 20)), 1111 * sizeof(float));
	for (int i = 0; i < 10; i++) {
		check_gemv(768, 1111, DMO_CMD_TRANSPOSE, 1);
		ck_assert_int_eq(memcmp(first, floats(C + (1u << 20)), 1111 * sizeof(float)), 0);
	}
	free(first);
}
END_TEST

START_TEST(gemv_refuses_absurd_shapes)
{
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_GEMV, A, B, C, 0, 1ull << 40, 1ull << 40)).status, -EINVAL);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_GEMV, A, B, C, 0, ~0ull, 0)).status, -EINVAL);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_GEMV, A + 2, B, C, 0, 2, 2)).status, -EINVAL);
}
END_TEST

static void check_gather(uint64_t n, uint64_t row, uint64_t rows)
{
	uint32_t *indices = (uint32_t *)fake_at(f, C);

	fake_noise(fake_at(f, A + 1), row * rows, 11);
	for (uint64_t i = 0; i < n; i++)
		indices[i] = (uint32_t)(i * 7919 % rows);
	run_ok(COMMAND(DMO_OP_GATHER, B, A + 1, C, n, row, rows));
	for (uint64_t i = 0; i < n; i++)
		ck_assert_int_eq(memcmp(fake_at(f, B + i * row), fake_at(f, A + 1 + indices[i] * row), row), 0);
}

START_TEST(gather_picks_rows)
{
	check_gather(0, 16, 4);
	check_gather(1, 1, 1);
	check_gather(10000, 12, 333);
	check_gather(700, 3072, 500);
	check_gather(5, 300001, 9);
	check_gather(5, 0, 9);
}
END_TEST

START_TEST(gather_of_an_index_beyond_the_table_fails_there)
{
	struct dmo_completion done;

	((uint32_t *)fake_at(f, C))[3] = 9;
	done = fake_run(f, COMMAND(DMO_OP_GATHER, B, A, C, 4, 8, 9));
	ck_assert_int_eq(done.status, -EINVAL);
	ck_assert_uint_eq(done.va, C + 12);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_GATHER, B, A, C, 1ull << 62, 8, 9)).status, -EINVAL);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_GATHER, B, A, C + 2, 1, 8, 9)).status, -EINVAL);
}
END_TEST

START_TEST(layernorm_normalizes)
{
	static const uint64_t counts[] = { 1, 5, 768, 16384, 16385, 100000 };
	uint64_t n = counts[_i];
	double *want = calloc(n, sizeof(*want));

	ref_floats(floats(A), n, 12);
	ref_floats(floats(B), n, 13);
	ref_floats(floats(C), n, 14);
	ref_layernorm(want, floats(A), floats(B), floats(C), n, 1e-5);
	run_ok(COMMAND(DMO_OP_LAYERNORM, D, A, B, C, n, bits(1e-5f)));
	expect_near(floats(D), want, n, 1e-5);
	free(want);
}
END_TEST

START_TEST(gelu_bends)
{
	static const uint64_t counts[] = { 1, 16, 17, 3072, 16385, 100000 };
	uint64_t n = counts[_i];
	double *want = calloc(n, sizeof(*want));

	ref_floats(floats(A), n, 15);
	for (uint64_t i = 0; i < n; i++) {
		floats(A)[i] *= i % 3 ? 5 : 60;
		want[i] = ref_gelu(floats(A)[i]);
	}
	run_ok(COMMAND(DMO_OP_GELU, A, A, n));
	expect_near(floats(A), want, n, 1e-6);
	free(want);
}
END_TEST

static const struct {
	uint64_t heads, width, positions, stride;
} caches[] = { { 1, 1, 1, 1 }, { 12, 64, 1, 768 }, { 12, 64, 300, 768 }, { 3, 20, 77, 61 }, { 2, 8, 40000, 16 },
	       { 1, 64, 50, 3000 }, { 7, 33, 100, 231 }, { 4, 2048, 9, 8192 } };

START_TEST(attention_attends)
{
	uint64_t heads = caches[_i].heads, width = caches[_i].width, positions = caches[_i].positions;
	uint64_t stride = caches[_i].stride, n = heads * width;
	double *want = calloc(n, sizeof(*want));

	ref_floats(floats(A), n, 16);
	ref_floats(floats(B + 4), positions * stride + n, 17);
	ref_floats(floats(C), positions * stride + n, 18);
	for (uint64_t i = 0; i < n; i++)
		floats(A)[i] *= 4;
	ref_attention(want, floats(A), floats(B + 4), floats(C), heads, width, positions, stride);
	run_ok(COMMAND(DMO_OP_ATTENTION, D, A, B + 4, C, heads, width, positions, stride));
	expect_near(floats(D), want, n, 2e-5);
	free(want);
}
END_TEST

START_TEST(attention_refuses_what_no_lane_can_hold)
{
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_ATTENTION, D, A, B, C, 0, 1, 1, 1)).status, -EINVAL);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_ATTENTION, D, A, B, C, 128, 128, 1, 1)).status, -EINVAL);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_ATTENTION, D, A, B, C, 1, 1, ~0ull, ~0ull)).status, -EINVAL);
}
END_TEST

START_TEST(argmax_gives_the_first_of_the_largest)
{
	static const uint64_t counts[] = { 1, 17, 50257, 200000 };
	uint64_t n = counts[_i], at = n * 2 / 3;
	struct dmo_completion done;

	ref_floats(floats(A), n, 19);
	floats(A)[n - 1] = floats(A)[at] = 3;
	floats(A)[0] = at ? NAN : 3;
	done = run_ok(COMMAND(DMO_OP_ARGMAX, A, n));
	ck_assert_uint_eq(done.result[0], at);
	ck_assert_uint_eq(done.result[1], bits(3));
}
END_TEST

START_TEST(argmax_of_nothing_is_refused)
{
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_ARGMAX, A, 0)).status, -EINVAL);
}
END_TEST

START_TEST(argmax_of_the_lowest_values_still_finds_one)
{
	floats(A)[0] = NAN;
	floats(A)[1] = floats(A)[2] = -INFINITY;
	ck_assert_uint_eq(run_ok(COMMAND(DMO_OP_ARGMAX, A, 3)).result[0], 1);
}
END_TEST

START_TEST(an_unknown_command_is_refused)
{
	ck_assert_int_eq(fake_run(f, fake_command(DMO_OP_COUNT, 0, NULL, 0)).status, -EINVAL);
	ck_assert_int_eq(fake_run(f, fake_command(~0u, 0, NULL, 0)).status, -EINVAL);
}
END_TEST

START_TEST(a_range_beyond_all_addresses_fails)
{
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_FILL, A, ~0ull, 1)).status, -EINVAL);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_FILL, ~0ull - 5, 100, 1)).status, -EFAULT);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_FILL, 0, 1, 1)).status, -EFAULT);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("device commands");
	TCase *t = tcase_create("commands");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, nop_completes);
	tcase_add_loop_test(t, fill_writes_its_bytes_and_no_other, 0, SIZES);
	tcase_add_loop_test(t, copy_copies, 0, SIZES);
	tcase_add_test(t, copy_of_overlapping_ranges_is_refused);
	tcase_add_loop_test(t, cksum_is_what_cksum_prints, 0, SIZES);
	tcase_add_loop_test(t, cksum_goes_on_from_an_earlier_one, 0, SIZES);
	tcase_add_loop_test(t, compare_finds_the_first_difference, 0, SIZES);
	tcase_add_test(t, chase_follows_addresses);
	tcase_add_test(t, chase_of_a_wild_address_fails_there);
	tcase_add_test(t, atomic_add_gives_the_old_value);
	tcase_add_loop_test(t, axpy_adds, 0, 8);
	tcase_add_loop_test(t, gemv_multiplies, 0, SHAPES);
	tcase_add_loop_test(t, gemv_of_the_transpose_multiplies, 0, SHAPES);
	tcase_add_test(t, gemv_gives_the_same_bits_each_time);
	tcase_add_test(t, gemv_refuses_absurd_shapes);
	tcase_add_test(t, gather_picks_rows);
	tcase_add_test(t, gather_of_an_index_beyond_the_table_fails_there);
	tcase_add_loop_test(t, layernorm_normalizes, 0, 6);
	tcase_add_loop_test(t, gelu_bends, 0, 6);
	tcase_add_loop_test(t, attention_attends, 0, 8);
	tcase_add_test(t, attention_refuses_what_no_lane_can_hold);
	tcase_add_loop_test(t, argmax_gives_the_first_of_the_largest, 0, 4);
	tcase_add_test(t, argmax_of_nothing_is_refused);
	tcase_add_test(t, argmax_of_the_lowest_values_still_finds_one);
	tcase_add_test(t, an_unknown_command_is_refused);
	tcase_add_test(t, a_range_beyond_all_addresses_fails);
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
