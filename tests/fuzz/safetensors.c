/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * safetensors.c - feeds damaged headers to the safetensors reader
 *
 * What the reader accepts must keep its promises (header of safetensors.h); what it refuses must have a
 * reason. Stand-alone it mutates good headers with a fixed random sequence: --seconds N bounds the time (2),
 * --seed N moves the sequence. With -DLIBFUZZER it has no main and is libFuzzer's.
 */
#include "safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth, const char *what)
{
	if (!truth) {
		fprintf(stderr, "fuzz safetensors: %s\n", what);
		abort();
	}
}

/* Tensors lie one behind the other and fill the data. */
static void check_accepted(const struct st_index *index)
{
	uint64_t at = 0;
	size_t i;

	for (i = 0; i < index->count; i++) {
		const struct st_tensor *t = &index->tensors[i];

		require(t->name != NULL && t->rank <= ST_RANK_MAX && t->dtype < ST_DTYPE_COUNT, "fields in range");
		require(t->offset == at && t->bytes <= index->data_bytes - at, "tensors tile the data");
		require(st_find(index, t->name) == t, "each name is found");
		at += t->bytes;
	}
	require(at == index->data_bytes, "no byte is left over");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct st_index index;
	enum st_status status = st_parse(&index, (const char *)data, size, 8 + size + 4096);

	if (status == ST_OK) {
		check_accepted(&index);
		st_free(&index);
	} else {
		require(index.tensors == NULL && index.strings == NULL, "a refusal leaves nothing behind");
		require(strcmp(st_explain(status), "unknown status") != 0, "a refusal has a reason");
	}
	return 0;
}

#ifndef LIBFUZZER

static const char *const seeds[] = {
	"{\"a\":{\"dtype\":\"F32\",\"shape\":[1024],\"data_offsets\":[0,4096]}}",
	"{\"__metadata__\":{\"format\":\"pt\",\"n_head\":\"4\"},"
	"\"x.weight\":{\"dtype\":\"F16\",\"shape\":[2,4,64],\"data_offsets\":[0,1024]},"
	"\"y\":{\"shape\":[384],\"data_offsets\":[1024,4096],\"dtype\":\"I64\"}}   ",
	"{\"\\u00e9\\ud83d\\ude00\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},"
	"\"z\":{\"dtype\":\"U8\",\"shape\":[4095,1],\"data_offsets\":[1,4096]},"
	"\"none\":{\"dtype\":\"BOOL\",\"shape\":[0,18446744073709551615],\"data_offsets\":[1,1]}}",
};

static const char *const words[] = {
	"\"dtype\"", "\"shape\"", "\"data_offsets\"", "\"__metadata__\"", "18446744073709551615",
	"18446744073709551616", "4294967296", "-1", "1e9", "0", "00", "[", "]", "{", "}", ",", ":", "\"", "\\u0000",
	"\\ud800", "\xff", "\xc0\x80", "[0,4096]", "[4096,0]", "\"F32\"", "\"F99\"", "[1,1,1,1,1,1,1,1,1]",
};

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 32) % n;
}

struct buffer {
	char text[4096];
	size_t length;
};

/* Replaces cut bytes at at by n bytes of with, where there is room. */
static void splice(struct buffer *b, size_t at, size_t cut, const char *with, size_t n)
{
	if (b->length - cut + n > sizeof(b->text))
		return;
	memmove(b->text + at + n, b->text + at + cut, b->length - at - cut);
	memmove(b->text + at, with, n);
	b->length += n - cut;
}

static void mutate(struct buffer *b)
{
	size_t at = random_below(b->length + 1), rest = b->length - at;
	size_t some = rest ? random_below(rest < 24 ? rest : 24) : 0;
	char copy[24], byte = random_below(256);
	const char *word = words[random_below(sizeof(words) / sizeof(words[0]))];

	memcpy(copy, b->text + at, some);
	switch (random_below(6)) {
	case 0: splice(b, at, rest > 0, &byte, 1); break;
	case 1: splice(b, at, 0, word, strlen(word)); break;
	case 2: splice(b, at, some, word, strlen(word)); break;
	case 3: splice(b, at, some, "", 0); break;
	case 4: splice(b, random_below(b->length + 1), 0, copy, some); break;
	case 5: byte = '0' + random_below(10); splice(b, at, rest > 0, &byte, 1); break;
	}
}

static void one_round(void)
{
	const char *seed = seeds[random_below(sizeof(seeds) / sizeof(seeds[0]))];
	struct buffer b = { .length = strlen(seed) };
	uint32_t times = random_below(6);
	char *exact;

	memcpy(b.text, seed, b.length);
	while (times--)
		mutate(&b);
	exact = malloc(b.length + 1);	/* of just that size, so that a sanitizer sees reads past it */
	require(exact != NULL, "memory");
	exact = realloc(memcpy(exact, b.text, b.length), b.length ? b.length : 1);
	LLVMFuzzerTestOneInput((const uint8_t *)exact, b.length);
	free(exact);
}

static unsigned long option(int argc, char **argv, const char *name, unsigned long otherwise)
{
	int i;

	for (i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], name))
			return strtoul(argv[i + 1], NULL, 10);
	return otherwise;
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + option(argc, argv, "--seconds", 2);
	unsigned long rounds = 0;
	int i;

	random_state = 0x9e3779b97f4a7c15u ^ option(argc, argv, "--seed", 1);
	do {
		for (i = 0; i < 1000; i++)
			one_round();
		rounds += 1000;
	} while (time(NULL) < end);
	printf("%lu damaged headers\n", rounds);
	return 0;
}

#endif
