// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_advice_codec.c - stored advice there and back, and everything that somebody may have put in its place
 */
#include "core/advice_codec.h"

#include <stdio.h>

#include "testmem.h"

static struct testmem tm;
static struct dmo_attrs attrs, back;
static u8 buf[DMO_ADVICE_BYTES_MAX + 100];
static s64 size;

/* Devices by number; NULL: there is none. A remount may give another table. */
static const char *const mount_a[64] = { "npu0", "npu1", NULL, "gpu", [63] = "last" };
static const char *const mount_b[64] = { [1] = "gpu", [2] = "npu0", [40] = "last" };	/* npu1 is gone */
static const char *const no_devices[64];

static const char *name_of(void *ctx, u32 device)
{
	return ((const char *const *)ctx)[device];
}

static int number_of(void *ctx, const char *name)
{
	const char *const *names = ctx;

	for (int i = 0; i < 64; i++)
		if (names[i] && !strcmp(names[i], name))
			return i;
	return -1;
}

static struct dmo_device_names names_of(const char *const *table)
{
	return (struct dmo_device_names){ name_of, number_of, (void *)table };
}

static struct dmo_device_names names_a, names_b, names_none;

static void setup(void)
{
	testmem_init(&tm);
	dmo_attrs_init(&attrs);
	dmo_attrs_init(&back);
	names_a = names_of(mount_a);
	names_b = names_of(mount_b);
	names_none = names_of(no_devices);
	memset(buf, 0xaa, sizeof(buf));
}

static void teardown(void)
{
	dmo_attrs_fini(&attrs, &tm.mem);
	dmo_attrs_fini(&back, &tm.mem);
	ck_assert_uint_eq(tm.blocks, 0);
}

static void advise(u64 first, u64 last, u32 advice, u32 device, u64 value)
{
	struct dmo_advise a = { .advice = advice, .device = device, .value = value };

	ck_assert_int_eq(dmo_attrs_advise(&attrs, &tm.mem, first, last, &a), 0);
}

static int decode(const struct dmo_device_names *names)
{
	return dmo_advice_decode(&back, &tm.mem, names, buf, (size_t)size);
}

static void check_equal(const struct dmo_attrs *a, const struct dmo_attrs *b)
{
	struct dmo_attr_range *x = dmo_attrs_first(a), *y = dmo_attrs_first(b);

	for (; x && y; x = dmo_attrs_next(x), y = dmo_attrs_next(y)) {
		ck_assert_uint_eq(x->node.start, y->node.start);
		ck_assert_uint_eq(x->node.last, y->node.last);
		ck_assert(dmo_attr_equal(&x->value, &y->value));
	}
	ck_assert(!x && !y);
}

/* Some of everything: 5 ranges, 4 devices. */
static void fill_sample(void)
{
	advise(0, 0, DMO_ADV_SEQUENTIAL, 0, 0);
	advise(5, 300, DMO_ADV_PREFERRED, 3, 0);
	advise(100, 200, DMO_ADV_ACCESSED_BY, 1, 0);
	advise(100, 200, DMO_ADV_ACCESSED_BY, 63, 0);
	advise(1000, DMO_PAGE_MAX - 1, DMO_ADV_DEVICE_BITS, 0, ~0ull);
	advise(1ull << 40, DMO_PAGE_OPEN, DMO_ADV_GRANULARITY, 0, 16);
	advise(1ull << 40, DMO_PAGE_OPEN, DMO_ADV_PREFERRED, DMO_DEVICE_HOST, 0);
	advise(1ull << 41, DMO_PAGE_OPEN, DMO_ADV_ACCESSED_BY, DMO_DEVICE_ANY, 0);
	advise(1ull << 41, 1ull << 42, DMO_ADV_ACCESSED_BY, 0, 0);
}

static void encode_sample(void)
{
	fill_sample();
	size = dmo_advice_encode(&attrs, &names_a, buf, sizeof(buf));
	ck_assert_int_gt(size, 0);
}

START_TEST(what_is_stored_comes_back)
{
	encode_sample();
	ck_assert_int_eq(decode(&names_a), 0);
	check_equal(&attrs, &back);
}
END_TEST

START_TEST(the_form_is_these_bytes)
{
	/* tests/vm/kmod/advice.c has the same: stores move between the homes */
	static const u8 form[] = {
		0x44, 0x4d, 0x4f, 0x41, 0x01, 0x00, 0x02, 0x00, 0x05, 0x00, 0x00, 0x00, 0x5a, 0x56, 0x86, 0x14,
		0x04, 0x73, 0x69, 0x6d, 0x30, 0x04, 0x73, 0x69, 0x6d, 0x31, 0x01, 0x03, 0x01, 0x02, 0x04, 0x01,
		0x02, 0x00, 0x00, 0x01, 0x04, 0x02, 0x02, 0x01, 0x10, 0x10, 0x9f, 0x02, 0x00, 0x20, 0xac, 0x02,
	};
	static const char *const sims[64] = { "sim0", "sim1" };
	struct dmo_device_names n = names_of(sims);

	advise(1, 3, DMO_ADV_RANDOM, DMO_DEVICE_ANY, 0);
	advise(8, 8, DMO_ADV_PREFERRED, 0, 0);
	advise(9, 9, DMO_ADV_ACCESSED_BY, 1, 0);
	advise(12, 12, DMO_ADV_GRANULARITY, DMO_DEVICE_ANY, 16);
	advise(300, DMO_PAGE_OPEN, DMO_ADV_DEVICE_BITS, DMO_DEVICE_ANY, 300);
	ck_assert_int_eq(dmo_advice_encode(&attrs, &n, buf, sizeof(buf)), sizeof(form));
	ck_assert_mem_eq(buf, form, sizeof(form));
}
END_TEST

START_TEST(what_was_in_force_is_restored_also_where_it_was_nothing)
{
	u64 gen;

	size = dmo_advice_encode(&attrs, &names_a, buf, sizeof(buf));
	ck_assert_int_eq(size, 0);
	advise(0, 3, DMO_ADV_RANDOM, 0, 0);
	gen = attrs.gen;
	ck_assert_int_eq(dmo_advice_restore(&attrs, &tm.mem, &names_a, buf, (size_t)size), 0);
	ck_assert_uint_eq(dmo_attrs_count(&attrs), 0);
	ck_assert_uint_ne(attrs.gen, gen);
	encode_sample();
	advise(0, 3, DMO_ADV_RANDOM, 0, 0);
	ck_assert_int_eq(dmo_advice_restore(&attrs, &tm.mem, &names_a, buf, (size_t)size), 0);
	ck_assert_int_eq(decode(&names_a), 0);
	check_equal(&attrs, &back);
}
END_TEST

START_TEST(random_attributes_come_back)
{
	u64 seed = 5;

	for (int round = 0; round < 300; round++) {
		for (int i = 0; i < 20; i++) {
			u64 first = test_below(&seed, 1000);
			u32 advice = test_below(&seed, DMO_ADV_COUNT), device = test_below(&seed, 2) * 3;

			if (dmo_advice_is_stored(advice))
				advise(first, first + test_below(&seed, 50), advice, device, 0);
			advise(first, first + 3, DMO_ADV_DEVICE_BITS, 0, test_random(&seed) >> test_below(&seed, 64));
		}
		size = dmo_advice_encode(&attrs, &names_a, buf, sizeof(buf));
		ck_assert_int_gt(size, 0);
		ck_assert_int_eq(decode(&names_a), 0);
		check_equal(&attrs, &back);
		ck_assert_int_eq(dmo_attrs_clear(&attrs, &tm.mem, 0, DMO_PAGE_OPEN), 0);
	}
}
END_TEST

START_TEST(devices_are_found_again_by_name)
{
	struct dmo_attr v;

	advise(0, 9, DMO_ADV_PREFERRED, 3, 0);
	advise(0, 9, DMO_ADV_ACCESSED_BY, 0, 0);
	advise(0, 9, DMO_ADV_ACCESSED_BY, 63, 0);
	size = dmo_advice_encode(&attrs, &names_a, buf, sizeof(buf));
	ck_assert_int_eq(decode(&names_b), 0);
	dmo_attrs_get(&back, 9, &v, NULL);
	ck_assert_uint_eq(v.preferred, 1);
	ck_assert_uint_eq(v.accessed_by, 1ull << 2 | 1ull << 40);
}
END_TEST

START_TEST(devices_that_are_gone_are_left_out)
{
	advise(0, 9, DMO_ADV_PREFERRED, 1, 0);
	advise(10, 19, DMO_ADV_ACCESSED_BY, 1, 0);
	advise(20, 29, DMO_ADV_COLD, 0, 0);
	advise(30, 39, DMO_ADV_COLD, 0, 0);
	advise(30, 39, DMO_ADV_PREFERRED, 1, 0);
	size = dmo_advice_encode(&attrs, &names_a, buf, sizeof(buf));
	ck_assert_int_eq(decode(&names_b), 0);
	ck_assert_uint_eq(dmo_attrs_count(&back), 1);
	ck_assert_uint_eq(dmo_attrs_first(&back)->node.start, 20);
	ck_assert_uint_eq(dmo_attrs_first(&back)->node.last, 39);
}
END_TEST

START_TEST(devices_without_a_name_are_not_stored)
{
	advise(0, 9, DMO_ADV_PREFERRED, 2, 0);
	advise(0, 9, DMO_ADV_ACCESSED_BY, 50, 0);
	advise(20, 29, DMO_ADV_PREFERRED, 64, 0);
	advise(30, 39, DMO_ADV_PREFERRED, 0x7fffffff, 0);
	ck_assert_int_eq(dmo_advice_encode(&attrs, &names_a, buf, sizeof(buf)), 0);
}
END_TEST

START_TEST(no_advice_takes_no_bytes)
{
	ck_assert_int_eq(dmo_advice_encode(&attrs, &names_a, buf, 0), 0);
	ck_assert_uint_eq(buf[0], 0xaa);
}
END_TEST

START_TEST(a_buffer_that_is_too_small_is_not_overrun)
{
	encode_sample();
	for (s64 room = 0; room < size; room++) {
		memset(buf, 0xaa, sizeof(buf));
		ck_assert_int_eq(dmo_advice_encode(&attrs, &names_a, buf, (size_t)room), -E2BIG);
		for (size_t i = (size_t)room; i < sizeof(buf); i++)
			ck_assert_uint_eq(buf[i], 0xaa);
	}
	ck_assert_int_eq(dmo_advice_encode(&attrs, &names_a, buf, (size_t)size), size);
}
END_TEST

START_TEST(more_than_an_attribute_holds_is_refused)
{
	u64 i;

	for (i = 0; i < 2000; i++) {
		advise(i * 2, i * 2, DMO_ADV_COLD, 0, 0);
		size = dmo_advice_encode(&attrs, &names_a, buf, sizeof(buf));
		if (size < 0)
			break;
	}
	ck_assert_int_eq(size, -E2BIG);
	ck_assert_uint_gt(i, 900);
}
END_TEST

START_TEST(every_byte_changed_is_noticed)
{
	encode_sample();
	for (s64 i = 0; i < size; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			buf[i] ^= 1u << bit;
			ck_assert_int_ne(decode(&names_a), 0);
			buf[i] ^= 1u << bit;
		}
	ck_assert_uint_eq(dmo_attrs_count(&back), 0);
	ck_assert_int_eq(decode(&names_a), 0);
}
END_TEST

START_TEST(every_shorter_length_is_refused)
{
	s64 whole;

	encode_sample();
	whole = size;
	for (size = 0; size < whole; size++)
		ck_assert_int_eq(decode(&names_a), -EINVAL);
	size = whole + 1;
	ck_assert_int_eq(decode(&names_a), -EINVAL);
}
END_TEST

START_TEST(every_allocation_failed_leaves_what_was_there)
{
	u64 n;

	encode_sample();
	ck_assert_int_eq(decode(&names_a), 0);
	for (n = 1; ; n++) {
		int err;

		testmem_fail(&tm, n);
		err = decode(&names_a);
		if (!testmem_failed(&tm))
			break;
		ck_assert_int_eq(err, -ENOMEM);
		check_equal(&attrs, &back);
	}
	ck_assert_uint_gt(n, 5);
}
END_TEST

/* The checksum, a bit at a time: another way to the same number than the codec's. */
static u32 crc32_of(const u8 *p, size_t n)
{
	u32 crc = ~0u;

	for (size_t i = 0; i < n; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
	}
	return ~crc;
}

/* Writes a form with that table and those ranges, its checksum right. */
static void forge(u16 version, u16 devices, u32 ranges, const u8 *body, size_t length)
{
	u8 head[16] = { 'D', 'M', 'O', 'A', version & 255, version >> 8, devices & 255, devices >> 8, ranges & 255,
			ranges >> 8 & 255, ranges >> 16 & 255, ranges >> 24 };
	u32 crc;

	memcpy(buf, head, 16);
	memcpy(buf + 16, body, length);
	size = 16 + (s64)length;
	crc = crc32_of(buf, (size_t)size);
	for (int i = 0; i < 4; i++)
		buf[12 + i] = crc >> (8 * i) & 255;
}

static const struct {
	u16 version, devices;
	u32 ranges;
	int err;
	u8 length;
	u8 body[40];
} forged[] = {
	/* right: page 0, one page, COLD */
	{ 1, 0, 1, 0, 4, { 0, 1, 1, 4 } },
	/* right: a device that nobody asks for */
	{ 1, 1, 1, 0, 9, { 4, 'n', 'p', 'u', '9', 0, 1, 1, 4 } },
	/* version 0, a later version */
	{ 0, 0, 1, -EINVAL, 4, { 0, 1, 1, 4 } },
	{ 2, 0, 1, -EPROTONOSUPPORT, 4, { 0, 1, 1, 4 } },
	/* no ranges; fewer and more than there are; very many */
	{ 1, 0, 0, -EINVAL, 0, { 0 } },
	{ 1, 0, 0, -EINVAL, 4, { 0, 1, 1, 4 } },
	{ 1, 0, 2, -EINVAL, 4, { 0, 1, 1, 4 } },
	{ 1, 0, 1, -EINVAL, 8, { 0, 1, 1, 4, 5, 1, 1, 4 } },
	{ 1, 0, ~0u, -EINVAL, 4, { 0, 1, 1, 4 } },
	/* fields: none, unknown, both kinds of accessed-by */
	{ 1, 0, 1, -EINVAL, 3, { 0, 1, 0 } },
	{ 1, 0, 1, -EINVAL, 4, { 0, 1, 0x41, 4 } },
	{ 1, 1, 1, -EINVAL, 9, { 4, 'n', 'p', 'u', '0', 0, 1, 0x0c, 1 } },
	/* flags: none, unknown, PREFERRED, sequential and random */
	{ 1, 0, 1, -EINVAL, 4, { 0, 1, 1, 0 } },
	{ 1, 0, 1, -EINVAL, 4, { 0, 1, 1, 0x84 } },
	{ 1, 0, 1, -EINVAL, 4, { 0, 1, 1, 0x20 } },
	{ 1, 0, 1, -EINVAL, 4, { 0, 1, 1, 3 } },
	/* preferred: outside the table */
	{ 1, 0, 1, -EINVAL, 4, { 0, 1, 2, 0 } },
	{ 1, 1, 1, -EINVAL, 9, { 4, 'n', 'p', 'u', '0', 0, 1, 2, 1 } },
	{ 1, 0, 1, -EINVAL, 4, { 0, 1, 2, 254 } },
	/* accessed-by: nobody, outside the table */
	{ 1, 1, 1, -EINVAL, 9, { 4, 'n', 'p', 'u', '0', 0, 1, 4, 0 } },
	{ 1, 1, 1, -EINVAL, 9, { 4, 'n', 'p', 'u', '0', 0, 1, 4, 2 } },
	/* granularity below, above, zero; device bits zero */
	{ 1, 0, 1, -EINVAL, 4, { 0, 1, 0x10, 11 } },
	{ 1, 0, 1, 0, 4, { 0, 1, 0x10, 12 } },
	{ 1, 0, 1, 0, 4, { 0, 1, 0x10, 21 } },
	{ 1, 0, 1, -EINVAL, 4, { 0, 1, 0x10, 22 } },
	{ 1, 0, 1, -EINVAL, 4, { 0, 1, 0x10, 0 } },
	{ 1, 0, 1, -EINVAL, 4, { 0, 1, 0x20, 0 } },
	/* numbers: longer than needed, without an end, over 64 bits */
	{ 1, 0, 1, -EINVAL, 5, { 0x80, 0, 1, 1, 4 } },
	{ 1, 0, 1, -EINVAL, 2, { 0x80, 0x80 } },
	{ 1, 0, 1, -EINVAL, 13, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 1, 1, 4 } },
	{ 1, 0, 1, -EINVAL, 14, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0, 1, 1, 4 } },
	{ 1, 0, 1, -EINVAL, 13, { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x81, 1, 1, 4 } },
	/* the first page past the largest file, the length past it */
	{ 1, 0, 1, -EINVAL, 11, { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 4, 1, 1, 4 } },
	{ 1, 0, 1, -EINVAL, 13, { 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 4 } },
	{ 1, 0, 1, -EINVAL, 11, { 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 4, 1, 4 } },
	{ 1, 0, 1, 0, 11, { 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 4, 1, 4 } },
	/* a range after an open-ended one */
	{ 1, 0, 2, -EINVAL, 8, { 0, 0, 1, 4, 0, 1, 1, 4 } },
	/* names: empty, too long, with a NUL, twice, more devices than 64, none where one is promised */
	{ 1, 1, 1, -EINVAL, 5, { 0, 0, 1, 1, 4 } },
	{ 1, 1, 1, -EINVAL, 37, { 32, 'a', 'b', 'c' } },
	{ 1, 1, 1, -EINVAL, 9, { 4, 'n', 0, 'u', '0', 0, 1, 1, 4 } },
	{ 1, 2, 1, -EINVAL, 14, { 4, 'n', 'p', 'u', '0', 4, 'n', 'p', 'u', '0', 0, 1, 1, 4 } },
	{ 1, 65, 1, -EINVAL, 4, { 0, 1, 1, 4 } },
	{ 1, 1, 1, -EINVAL, 0, { 0 } },
};

START_TEST(a_forged_form_is_refused)
{
	forge(forged[_i].version, forged[_i].devices, forged[_i].ranges, forged[_i].body, forged[_i].length);
	ck_assert_int_eq(decode(&names_a), forged[_i].err);
	if (forged[_i].err)
		ck_assert_uint_eq(dmo_attrs_count(&back), 0);
}
END_TEST

START_TEST(a_form_larger_than_the_bound_is_refused)
{
	static u8 body[DMO_ADVICE_BYTES_MAX];
	u32 ranges = 0;

	for (size_t at = 0; at + 4 <= sizeof(body); at += 4, ranges++)
		memcpy(body + at, "\1\1\1\4", 4);
	forge(1, 0, ranges, body, ranges * 4);
	ck_assert_int_eq(decode(&names_a), -EINVAL);
	forge(1, 0, ranges - 4, body, (ranges - 4) * 4);
	ck_assert_int_eq(decode(&names_a), 0);
	ck_assert_uint_eq(dmo_attrs_count(&back), ranges - 4);
}
END_TEST

START_TEST(random_bytes_with_a_right_checksum_do_no_harm)
{
	u64 seed = 99, taken = 0;

	for (int round = 0; round < 200000; round++) {
		u8 body[40];
		size_t length = test_below(&seed, test_below(&seed, 2) ? 8 : sizeof(body));

		for (size_t i = 0; i < length; i++)
			body[i] = test_below(&seed, test_below(&seed, 3) ? 8 : 256);
		forge(1, test_below(&seed, 8) ? 0 : 1, 1 + test_below(&seed, 2), body, length);
		if (decode(&names_a))
			continue;
		taken++;
		size = dmo_advice_encode(&back, &names_a, buf, sizeof(buf));
		ck_assert_int_ge(size, 0);
	}
	ck_assert_uint_gt(taken, 100);
}
END_TEST

START_TEST(decoding_without_devices_keeps_the_rest)
{
	encode_sample();
	ck_assert_int_eq(decode(&names_none), 0);
	ck_assert_uint_eq(dmo_attrs_first(&back)->node.start, 0);
	for (struct dmo_attr_range *r = dmo_attrs_first(&back); r; r = dmo_attrs_next(r))
		ck_assert(r->value.preferred >= DMO_DEVICE_HOST);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("advice_codec");
	TCase *tc = tcase_create("advice_codec");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_stored_comes_back);
	tcase_add_test(tc, the_form_is_these_bytes);
	tcase_add_test(tc, what_was_in_force_is_restored_also_where_it_was_nothing);
	tcase_add_test(tc, random_attributes_come_back);
	tcase_add_test(tc, devices_are_found_again_by_name);
	tcase_add_test(tc, devices_that_are_gone_are_left_out);
	tcase_add_test(tc, devices_without_a_name_are_not_stored);
	tcase_add_test(tc, no_advice_takes_no_bytes);
	tcase_add_test(tc, a_buffer_that_is_too_small_is_not_overrun);
	tcase_add_test(tc, more_than_an_attribute_holds_is_refused);
	tcase_add_test(tc, every_byte_changed_is_noticed);
	tcase_add_test(tc, every_shorter_length_is_refused);
	tcase_add_test(tc, every_allocation_failed_leaves_what_was_there);
	tcase_add_loop_test(tc, a_forged_form_is_refused, 0, sizeof(forged) / sizeof(forged[0]));
	tcase_add_test(tc, a_form_larger_than_the_bound_is_refused);
	tcase_add_test(tc, random_bytes_with_a_right_checksum_do_no_harm);
	tcase_add_test(tc, decoding_without_devices_keeps_the_rest);
	suite_add_tcase(s, tc);
	return test_run(s);
}
