/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * safetensors.c - tests of the reader of .safetensors headers: what is accepted, and the name of each refusal
 */
#include "safetensors.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Parses a header in front of data_bytes bytes of data. */
static enum st_status parse(const char *text, uint64_t data_bytes)
{
	struct st_index index;
	enum st_status status = st_parse(&index, text, strlen(text), 8 + strlen(text) + data_bytes);

	if (status == ST_OK)
		st_free(&index);
	return status;
}

/* Refusals: a header and what must come of it, with 16 bytes of data behind. */
static const struct refusal {
	const char *text;
	enum st_status status;
} refusals[] = {
	{ "", ST_HEADER_LENGTH },
	{ "[]", ST_SYNTAX },
	{ "{", ST_SYNTAX },
	{ "{\"a\"", ST_SYNTAX },
	{ "{\"a\":1}", ST_SYNTAX },
	{ "{} {", ST_SYNTAX },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},}", ST_SYNTAX },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4,],\"data_offsets\":[0,16]}}", ST_NUMBER },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16,16]}}", ST_SYNTAX },
	{ "{\"a\x01\":{}}", ST_STRING },
	{ "{\"a\xff\":{}}", ST_STRING },
	{ "{\"a\xc0\x80\":{}}", ST_STRING },
	{ "{\"a\xed\xa0\x80\":{}}", ST_STRING },
	{ "{\"a\\q\":{}}", ST_STRING },
	{ "{\"a\\u12\":{}}", ST_STRING },
	{ "{\"a\\ud800\":{}}", ST_STRING },
	{ "{\"a\\ud800\\u0041\":{}}", ST_STRING },
	{ "{\"a\\udc00\":{}}", ST_STRING },
	{ "{\"a\\u0000b\":{}}", ST_STRING },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[-4],\"data_offsets\":[0,16]}}", ST_NUMBER },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4.0],\"data_offsets\":[0,16]}}", ST_NUMBER },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4e0],\"data_offsets\":[0,16]}}", ST_NUMBER },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[04],\"data_offsets\":[0,16]}}", ST_NUMBER },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551616],\"data_offsets\":[0,16]}}", ST_NUMBER },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", ST_FIELD },
	{ "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", ST_FIELD },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16],\"x\":1}}", ST_FIELD },
	{ "{\"a\":{\"a name far longer than any field has\":1}}", ST_FIELD },
	{ "{\"__metadata__\":{},\"__metadata__\":{}}", ST_METADATA },
	{ "{\"a\":{\"dtype\":\"F33\",\"shape\":[4],\"data_offsets\":[0,16]}}", ST_DTYPE },
	{ "{\"a\":{\"dtype\":\"a type far longer than any\",\"shape\":[4],\"data_offsets\":[0,16]}}", ST_DTYPE },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,4],\"data_offsets\":[0,16]}}", ST_RANK },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", ST_OVERFLOW },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387905],\"data_offsets\":[0,4]}}", ST_OVERFLOW },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", ST_OFFSETS },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[0,20]}}", ST_OFFSETS },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,18446744073709551615]}}", ST_OFFSETS },
	{ "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,16]}}", ST_SIZE },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},"
	  "\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8,16]}}", ST_DUPLICATE },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},"
	  "\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8,16]}}", ST_DUPLICATE },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]},"
	  "\"b\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8,16]}}", ST_OVERLAP },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[7],\"data_offsets\":[0,7]},"
	  "\"b\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[8,16]}}", ST_HOLE },
	{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[15],\"data_offsets\":[0,15]}}", ST_HOLE },
	{ "{}", ST_HOLE },
};

START_TEST(bad_header_is_refused_by_name)
{
	enum st_status status = parse(refusals[_i].text, 16);

	ck_assert_msg(status == refusals[_i].status, "%s: got \"%s\", not \"%s\"", refusals[_i].text,
		      st_explain(status), st_explain(refusals[_i].status));
}
END_TEST

START_TEST(every_truncation_is_refused)
{
	static const char text[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}";
	struct st_index index;
	size_t length;

	for (length = 1; length < sizeof(text) - 1; length++)
		ck_assert_int_ne(st_parse(&index, text, length, 8 + length + 16), ST_OK);
	ck_assert_int_eq(parse(text, 16), ST_OK);
}
END_TEST

START_TEST(header_longer_than_file_is_refused)
{
	struct st_index index;

	ck_assert_int_eq(st_parse(&index, "{}", 2, 9), ST_SHORT);
	ck_assert_int_eq(st_parse(&index, "{}", 2, 0), ST_SHORT);
	ck_assert_int_eq(st_parse(&index, "{}", ST_HEADER_MAX + 1ull, ~0ull), ST_HEADER_LENGTH);
}
END_TEST

START_TEST(tensors_come_ordered_by_offset_with_their_shapes)
{
	static const char text[] =
		" { \"b\" : { \"shape\" : [ 2 , 1 ] , \"dtype\" : \"F32\" , \"data_offsets\" : [ 8 , 16 ] } ,\n"
		"\"a\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]},"
		"\"none\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[8,8]} } ";
	struct st_index index;
	const struct st_tensor *b;

	ck_assert_int_eq(st_parse(&index, text, strlen(text), 8 + strlen(text) + 16), ST_OK);
	ck_assert_uint_eq(index.count, 3);
	ck_assert_str_eq(index.tensors[0].name, "a");
	ck_assert_str_eq(index.tensors[1].name, "none");
	b = st_find(&index, "b");
	ck_assert_ptr_eq(b, &index.tensors[2]);
	ck_assert_uint_eq(b->rank, 2);
	ck_assert_uint_eq(b->shape[0], 2);
	ck_assert_uint_eq(b->offset, 8);
	ck_assert_uint_eq(b->bytes, 8);
	ck_assert_int_eq(b->dtype, ST_F32);
	ck_assert_ptr_null(st_find(&index, "c"));
	st_free(&index);
}
END_TEST

START_TEST(names_are_decoded)
{
	static const char text[] = "{\"\\u00e9\\ud83d\\ude00\\n\\\"\":{\"dtype\":\"U8\",\"shape\":[],"
				   "\"data_offsets\":[0,1]}}";
	struct st_index index;

	ck_assert_int_eq(st_parse(&index, text, strlen(text), 8 + strlen(text) + 1), ST_OK);
	ck_assert_str_eq(index.tensors[0].name, "\xc3\xa9\xf0\x9f\x98\x80\n\"");
	st_free(&index);
}
END_TEST

START_TEST(written_head_is_read_back_and_ends_on_a_page)
{
	struct st_tensor tensors[2] = {
		{ .name = "one", .dtype = ST_F32, .rank = 2, .shape = { 3, 5 } },
		{ .name = "two", .dtype = ST_F32, .rank = 1, .shape = { 7 } },
	};
	struct st_index index;
	size_t bytes;
	char *head;

	ck_assert_int_eq(st_make_head(tensors, 2, "12", &head, &bytes), ST_OK);
	ck_assert_uint_eq(bytes % ST_PAGE, 0);
	ck_assert_int_eq(st_parse(&index, head + 8, bytes - 8, bytes + 88), ST_OK);
	ck_assert_uint_eq(index.data_start, bytes);
	ck_assert_str_eq(index.heads, "12");
	ck_assert_uint_eq(st_find(&index, "two")->offset, 60);
	st_free(&index);
	free(head);
}
END_TEST

START_TEST(shape_that_overflows_is_not_written)
{
	struct st_tensor tensor = { .name = "t", .dtype = ST_F32, .rank = 2, .shape = { 1ull << 40, 1ull << 40 } };
	size_t bytes;
	char *head;

	ck_assert_int_eq(st_make_head(&tensor, 1, NULL, &head, &bytes), ST_OVERFLOW);
}
END_TEST

/* A temporary file with these bytes. */
static int file_with(const void *bytes, size_t length)
{
	FILE *file = tmpfile();
	int fd;

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, length, file), length);
	fflush(file);
	fd = dup(fileno(file));
	fclose(file);
	return fd;
}

START_TEST(file_that_ends_in_its_header_is_refused)
{
	static const char bytes[] = "\x20\0\0\0\0\0\0\0{\"a\"";
	struct st_index index;
	int fd;

	fd = file_with(bytes, 12);
	ck_assert_int_eq(st_read(&index, fd), ST_SHORT);
	close(fd);
	fd = file_with(bytes, 5);
	ck_assert_int_eq(st_read(&index, fd), ST_SHORT);
	close(fd);
	fd = file_with("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
	ck_assert_int_eq(st_read(&index, fd), ST_HEADER_LENGTH);
	close(fd);
	ck_assert_int_eq(st_read(&index, -1), ST_READ);
}
END_TEST

START_TEST(file_is_read_through_its_descriptor)
{
	static const char bytes[] = "\x3b\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}"
				    "          data";
	struct st_index index;
	int fd = file_with(bytes, 8 + 0x3b + 4);

	ck_assert_int_eq(st_read(&index, fd), ST_OK);
	ck_assert_uint_eq(index.data_start, 8 + 0x3b);
	st_free(&index);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("safetensors");
	TCase *tc = tcase_create("reader");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, bad_header_is_refused_by_name, 0, sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(tc, every_truncation_is_refused);
	tcase_add_test(tc, header_longer_than_file_is_refused);
	tcase_add_test(tc, tensors_come_ordered_by_offset_with_their_shapes);
	tcase_add_test(tc, names_are_decoded);
	tcase_add_test(tc, written_head_is_read_back_and_ends_on_a_page);
	tcase_add_test(tc, shape_that_overflows_is_not_written);
	tcase_add_test(tc, file_that_ends_in_its_header_is_refused);
	tcase_add_test(tc, file_is_read_through_its_descriptor);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
