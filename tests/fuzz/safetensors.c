/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * safetensors.c - feeds damaged headers to the safetensors reader
 *
 * What the reader accepts must keep its promises (header of safetensors.h); what it refuses must have a
 * reason.
 */
#include "fuzz.h"

#include "safetensors.h"

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

static void make_header(struct buffer *b)
{
	const char *seed = seeds[random_below(sizeof(seeds) / sizeof(seeds[0]))];

	splice(b, 0, 0, seed, strlen(seed));
}

int main(int argc, char **argv)
{
	struct words all = { words, sizeof(words) / sizeof(words[0]) };

	return fuzz_main(argc, argv, "safetensors headers", make_header, &all);
}

#endif
