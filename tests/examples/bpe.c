/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bpe.c - tests of the GPT-2 example's tokenizer, with a small vocabulary that the test makes: the 256 bytes
 * as ids 0 to 255, then one token for each merge
 */
#define _GNU_SOURCE

#include "bpe.h"
#include "json.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/dmo-bpe-XXXXXX";
static char reason[160];

/* Writes text to a file of the test's directory. */
static void put_file(const char *name, const char *text)
{
	char *path;
	FILE *out;

	ck_assert_int_gt(asprintf(&path, "%s/%s", directory, name), 0);
	out = fopen(path, "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_int_ge(fputs(text, out), 0);
	ck_assert_int_eq(fclose(out), 0);
	free(path);
}

/* The character that stands for a byte, in UTF-8, with " and \ escaped. */
static void print_byte(FILE *out, unsigned int byte)
{
	unsigned int code = byte, b;
	size_t length;
	char utf8[4];

	if (!((byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad)))
		for (code = 256, b = 0; b < byte; b++)
			code += !((b > 0x20 && b < 0x7f) || (b > 0xa0 && b != 0xad));
	if (byte == '"' || byte == '\\')
		fputc('\\', out);
	length = utf8_put(utf8, code);
	fwrite(utf8, 1, length, out);
}

/* All bytes, and then the given tokens. */
static char *vocabulary(const char *const *tokens)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	unsigned int id;

	for (id = 0; id < 256; id++) {
		fputs(id ? ", \"" : "{\"", out);
		print_byte(out, id);
		fprintf(out, "\": %u", id);
	}
	for (; *tokens; tokens++, id++)
		fprintf(out, ",\n\"%s\": %u", *tokens, id);
	fputs("}", out);
	fclose(out);
	return text;
}

/* U+0120 stands for a space. */
static const char *const tokens[] = { "he", "ll", "hell", "hello", "\xc4\xa0w", "or", "\xc4\xa0wor", "ld", NULL };
enum { HE = 256, LL, HELL, HELLO, SP_W, OR, SP_WOR, LD };
static const char merges[] =
	"#version: 0.2\nh e\nl l\nhe ll\nhell o\n\xc4\xa0 w\no r\n\xc4\xa0w or\nl d\n";

static struct bpe *load_small(void)
{
	char *vocab = vocabulary(tokens);
	struct bpe *bpe;
	int err;

	put_file("vocab.json", vocab);
	put_file("merges.txt", merges);
	err = bpe_load(&bpe, directory, reason, sizeof(reason));
	ck_assert_msg(err == 0, "%s", reason);
	free(vocab);
	return bpe;
}

START_TEST(lowest_rank_is_merged_first)
{
	static const uint32_t want[] = { HELLO, SP_WOR, LD, '!' };
	struct bpe *bpe = load_small();
	uint32_t ids[8];

	ck_assert_int_eq(bpe_encode(bpe, "hello world!", 12, ids, 8), 4);
	ck_assert_mem_eq(ids, want, sizeof(want));
	ck_assert_int_eq(bpe_encode(bpe, "llll", 4, ids, 8), 2);
	ck_assert_uint_eq(ids[0], LL);
	bpe_free(bpe);
}
END_TEST

START_TEST(merges_stay_within_a_piece)
{
	static const uint32_t want[] = { HE, '1', HE, '\'', 'l', 'o' };
	struct bpe *bpe = load_small();
	uint32_t ids[8];

	ck_assert_int_eq(bpe_encode(bpe, "he1he'lo", 8, ids, 8), 6);
	ck_assert_mem_eq(ids, want, sizeof(want));
	bpe_free(bpe);
}
END_TEST

START_TEST(more_ids_than_room_are_counted_not_stored)
{
	struct bpe *bpe = load_small();
	uint32_t ids[2] = { 7, 7 };

	ck_assert_int_eq(bpe_encode(bpe, "abc", 3, ids, 1), 3);
	ck_assert_uint_eq(ids[0], 'a');
	ck_assert_uint_eq(ids[1], 7);
	ck_assert_int_eq(bpe_encode(bpe, "", 0, ids, 1), 0);
	bpe_free(bpe);
}
END_TEST

/* Decodes ids one behind the other. */
static size_t decode(const struct bpe *bpe, const uint32_t *ids, long count, char *out)
{
	size_t used = 0, length;
	const char *bytes;
	long i;

	for (i = 0; i < count; i++) {
		bytes = bpe_decode(bpe, ids[i], &length);
		ck_assert_ptr_nonnull(bytes);
		memcpy(out + used, bytes, length);
		used += length;
	}
	return used;
}

START_TEST(any_bytes_come_back)
{
	struct bpe *bpe = load_small();
	uint32_t ids[400], state = 1;
	char text[400], back[400];
	size_t length, i;
	int round;

	for (round = 0; round < 2000; round++) {
		length = round % 400;
		for (i = 0; i < length; i++) {
			state = state * 1664525 + 1013904223;
			text[i] = round % 2 ? (char)(state >> 24) : "hello world 12  \n"[(state >> 24) % 17];
		}
		ck_assert_uint_eq(decode(bpe, ids, bpe_encode(bpe, text, length, ids, 400), back), length);
		ck_assert_mem_eq(text, back, length);
	}
	bpe_free(bpe);
}
END_TEST

START_TEST(unknown_id_decodes_to_nothing)
{
	struct bpe *bpe = load_small();
	size_t length;

	ck_assert_ptr_null(bpe_decode(bpe, 264, &length));
	ck_assert_ptr_null(bpe_decode(bpe, 0xffffffff, &length));
	bpe_free(bpe);
}
END_TEST

START_TEST(byte_without_a_token_is_refused)
{
	struct bpe *bpe;
	uint32_t ids[4];

	put_file("vocab.json", "{\"a\":0}");
	put_file("merges.txt", "");
	ck_assert_int_eq(bpe_load(&bpe, directory, reason, sizeof(reason)), 0);
	ck_assert_int_eq(bpe_encode(bpe, "aa", 2, ids, 4), 2);
	ck_assert_int_eq(bpe_encode(bpe, "ab", 2, ids, 4), -EILSEQ);
	bpe_free(bpe);
}
END_TEST

/* Pieces with | between them, as GPT-2's pattern cuts. */
static const char *const splits[] = {
	"Hello| world",
	"it|'s| they|'re| we|'ll| I|'d| I|'m| don|'t| I|'ve",
	"IT|'|S",
	"a|  | b",
	"a|   ",
	"a|\n|b",
	"a|\n|\n|b",
	"a|\n| b",
	"   | a",
	"3|.|14| 159|!?!| (|x|)",
	"na\xc3\xafve| \xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82| \xe4\xb8\x96\xe7\x95\x8c",
	"x|\xc2\xb2",
	"\xc2\xa0|word",
	"a|\xff\xfe|b",
	" |\t|tab",
	"\xe2\x82\xac|5",
};

START_TEST(text_is_cut_as_by_the_pattern)
{
	char text[128], *at = text, *piece, *rest;
	char *copy = strdup(splits[_i]);
	size_t length = 0;

	for (piece = copy; *piece; piece++)
		if (*piece != '|')
			text[length++] = *piece;
	for (piece = strtok_r(copy, "|", &rest); piece; piece = strtok_r(NULL, "|", &rest)) {
		size_t n = bpe_piece(at, length);

		ck_assert_msg(n == strlen(piece) && !memcmp(at, piece, n), "%s: %.*s", splits[_i], (int)n, at);
		at += n;
		length -= n;
	}
	ck_assert_uint_eq(length, 0);
	free(copy);
}
END_TEST

/* Files that are refused: vocabulary, merges. */
static const char *const bad[][2] = {
	{ "", "" },
	{ "[]", "" },
	{ "{}", "" },
	{ "{\"a\":0", "" },
	{ "{\"a\":0}x", "" },
	{ "{\"a\":-1}", "" },
	{ "{\"a\":4294967296}", "" },
	{ "{\"a\":0,\"b\":0}", "" },
	{ "{\"a\":0,\"a\":1}", "" },
	{ "{\"a\":0}", "a" },
	{ "{\"a\":0}", "a b" },
	{ "{\"a\":0}", "a a" },
	{ "{\"a\":0}", "#v\n\n\xff a" },
};

START_TEST(bad_file_is_refused_with_a_reason)
{
	struct bpe *bpe;

	put_file("vocab.json", bad[_i][0]);
	put_file("merges.txt", bad[_i][1]);
	reason[0] = '\0';
	ck_assert_int_eq(bpe_load(&bpe, directory, reason, sizeof(reason)), -EINVAL);
	ck_assert_msg(strstr(reason, bad[_i][1][0] ? "merges.txt" : "vocab.json") != NULL, "%s", reason);
}
END_TEST

START_TEST(missing_file_is_named)
{
	struct bpe *bpe;

	ck_assert_int_eq(bpe_load(&bpe, "/nonexistent", reason, sizeof(reason)), -ENOENT);
	ck_assert_msg(strstr(reason, "/nonexistent/vocab.json") != NULL, "%s", reason);
}
END_TEST

static int remove_directory(void)
{
	char *path;
	int i;

	for (i = 0; i < 2; i++) {
		if (asprintf(&path, "%s/%s", directory, i ? "merges.txt" : "vocab.json") < 0)
			return -1;
		unlink(path);
		free(path);
	}
	return rmdir(directory);
}

int main(void)
{
	Suite *suite = suite_create("bpe");
	TCase *tc = tcase_create("tokenizer");
	SRunner *runner;
	int failed;

	if (!mkdtemp(directory))
		return 99;
	tcase_add_test(tc, lowest_rank_is_merged_first);
	tcase_add_test(tc, merges_stay_within_a_piece);
	tcase_add_test(tc, more_ids_than_room_are_counted_not_stored);
	tcase_add_test(tc, any_bytes_come_back);
	tcase_add_test(tc, unknown_id_decodes_to_nothing);
	tcase_add_test(tc, byte_without_a_token_is_refused);
	tcase_add_loop_test(tc, text_is_cut_as_by_the_pattern, 0, sizeof(splits) / sizeof(splits[0]));
	tcase_add_loop_test(tc, bad_file_is_refused_with_a_reason, 0, sizeof(bad) / sizeof(bad[0]));
	tcase_add_test(tc, missing_file_is_named);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return remove_directory() || failed ? 1 : 0;
}
