/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * safetensors.c - a strict reader of .safetensors headers, and the writer's side
 *
 * The reader goes through the header once, left to right. Names are decoded into one block as long as the
 * header (no decoded string is longer than its source), so memory is bounded by the header's length. After
 * the last tensor the table is sorted twice: by name to find duplicates, by offset to find overlaps and
 * holes.
 */
#include "safetensors.h"
#include "json.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct { const char *name; unsigned int bytes; } dtypes[ST_DTYPE_COUNT] = {
	[ST_BOOL] = { "BOOL", 1 }, [ST_U8] = { "U8", 1 }, [ST_I8] = { "I8", 1 },
	[ST_F8_E5M2] = { "F8_E5M2", 1 }, [ST_F8_E4M3] = { "F8_E4M3", 1 },
	[ST_I16] = { "I16", 2 }, [ST_U16] = { "U16", 2 }, [ST_F16] = { "F16", 2 }, [ST_BF16] = { "BF16", 2 },
	[ST_I32] = { "I32", 4 }, [ST_U32] = { "U32", 4 }, [ST_F32] = { "F32", 4 },
	[ST_I64] = { "I64", 8 }, [ST_U64] = { "U64", 8 }, [ST_F64] = { "F64", 8 },
};

const char *st_explain(enum st_status status)
{
	static const char *const text[ST_STATUS_COUNT] = {
		[ST_OK] = "no error",
		[ST_NO_MEMORY] = "out of memory",
		[ST_READ] = "can't be read",
		[ST_SHORT] = "the file ends before its header does",
		[ST_HEADER_LENGTH] = "the header's length is zero or too large",
		[ST_SYNTAX] = "the header is not the JSON it should be",
		[ST_STRING] = "a string in the header is malformed",
		[ST_NUMBER] = "a number in the header is not a natural number",
		[ST_FIELD] = "a tensor's field is unknown, twice there, or missing",
		[ST_METADATA] = "__metadata__ stands in the header twice",
		[ST_DTYPE] = "a tensor's type is unknown",
		[ST_RANK] = "a tensor has too many dimensions",
		[ST_OVERFLOW] = "a tensor's shape overflows",
		[ST_OFFSETS] = "a tensor's offsets run backwards or out of the file",
		[ST_SIZE] = "a tensor's offsets don't match its shape",
		[ST_DUPLICATE] = "two tensors have one name",
		[ST_OVERLAP] = "two tensors share bytes",
		[ST_HOLE] = "some bytes belong to no tensor",
	};

	return (unsigned int)status < ST_STATUS_COUNT ? text[status] : "unknown status";
}

/* ---- reading ------------------------------------------------------------------------------------- */

/* One pass over a header. left is what remains of the block for names. */
struct reader {
	struct json json;
	struct st_index *index;
	char *names;
	size_t left;
	bool metadata;
};

static enum st_status json_status(const struct reader *r)
{
	switch (r->json.error) {
	case JSON_STRING: return ST_STRING;
	case JSON_NUMBER: return ST_NUMBER;
	default: return ST_SYNTAX;
	}
}

/* Decodes a string into the names' block, where it stays. */
static enum st_status keep_string(struct reader *r, char **out)
{
	size_t length;

	if (!json_string(&r->json, r->names, r->left, &length))
		return json_status(r);
	if (memchr(r->names, '\0', length))
		return ST_STRING;
	*out = r->names;
	r->names += length + 1;
	r->left -= length + 1;
	return ST_OK;
}

static enum st_status read_metadata(struct reader *r)
{
	enum st_status status;
	char *key, *value;

	if (r->metadata)
		return ST_METADATA;
	r->metadata = true;
	if (!json_take(&r->json, '{'))
		return ST_SYNTAX;
	if (json_maybe(&r->json, '}'))
		return ST_OK;
	do {
		status = keep_string(r, &key);
		if (status != ST_OK)
			return status;
		if (!json_take(&r->json, ':'))
			return ST_SYNTAX;
		status = keep_string(r, &value);
		if (status != ST_OK)
			return status;
		if (!strcmp(key, "n_head"))
			r->index->heads = value;
	} while (json_maybe(&r->json, ','));
	return json_take(&r->json, '}') ? ST_OK : ST_SYNTAX;
}

static enum st_status read_dtype(struct reader *r, struct st_tensor *tensor)
{
	char name[16];
	int i;

	if (!json_string(&r->json, name, sizeof(name), NULL))
		return r->json.error == JSON_ROOM ? ST_DTYPE : json_status(r);
	for (i = 0; i < ST_DTYPE_COUNT; i++)
		if (!strcmp(name, dtypes[i].name)) {
			tensor->dtype = i;
			return ST_OK;
		}
	return ST_DTYPE;
}

static enum st_status read_shape(struct reader *r, struct st_tensor *tensor)
{
	if (!json_take(&r->json, '['))
		return ST_SYNTAX;
	if (json_maybe(&r->json, ']'))
		return ST_OK;
	do {
		if (tensor->rank == ST_RANK_MAX)
			return ST_RANK;
		if (!json_natural(&r->json, &tensor->shape[tensor->rank++]))
			return json_status(r);
	} while (json_maybe(&r->json, ','));
	return json_take(&r->json, ']') ? ST_OK : ST_SYNTAX;
}

static enum st_status read_offsets(struct reader *r, struct st_tensor *tensor)
{
	uint64_t end;

	if (!json_take(&r->json, '[') || !json_natural(&r->json, &tensor->offset) ||
	    !json_take(&r->json, ',') || !json_natural(&r->json, &end) || !json_take(&r->json, ']'))
		return json_status(r);
	if (end < tensor->offset || end > r->index->data_bytes)
		return ST_OFFSETS;
	tensor->bytes = end - tensor->offset;
	return ST_OK;
}

/* Bytes that dtype and shape need. */
static enum st_status shape_bytes(const struct st_tensor *tensor, uint64_t *bytes)
{
	uint64_t product = dtypes[tensor->dtype].bytes;
	unsigned int i;

	for (i = 0; i < tensor->rank; i++)
		if (__builtin_mul_overflow(product, tensor->shape[i], &product))
			return ST_OVERFLOW;
	*bytes = product;
	return ST_OK;
}

static enum st_status read_field(struct reader *r, struct st_tensor *tensor, unsigned int *seen)
{
	static const struct {
		const char *name;
		enum st_status (*read)(struct reader *r, struct st_tensor *tensor);
	} fields[] = { { "dtype", read_dtype }, { "shape", read_shape }, { "data_offsets", read_offsets } };
	char name[16];
	unsigned int i;

	if (!json_string(&r->json, name, sizeof(name), NULL))
		return r->json.error == JSON_ROOM ? ST_FIELD : json_status(r);
	for (i = 0; i < 3 && strcmp(name, fields[i].name); i++)
		;
	if (i == 3 || (*seen & 1u << i))
		return ST_FIELD;
	*seen |= 1u << i;
	return json_take(&r->json, ':') ? fields[i].read(r, tensor) : ST_SYNTAX;
}

static enum st_status read_tensor(struct reader *r, struct st_tensor *tensor)
{
	unsigned int seen = 0;
	enum st_status status;
	uint64_t bytes = 0;

	if (!json_take(&r->json, '{'))
		return ST_SYNTAX;
	do {
		status = read_field(r, tensor, &seen);
		if (status != ST_OK)
			return status;
	} while (json_maybe(&r->json, ','));
	if (!json_take(&r->json, '}'))
		return ST_SYNTAX;
	if (seen != 7)
		return ST_FIELD;
	status = shape_bytes(tensor, &bytes);
	if (status != ST_OK)
		return status;
	return bytes == tensor->bytes ? ST_OK : ST_SIZE;
}

static struct st_tensor *new_tensor(struct st_index *index)
{
	size_t room = index->room ? 2 * index->room : 64;
	struct st_tensor *more;

	if (index->count == index->room) {
		more = reallocarray(index->tensors, room, sizeof(*more));
		if (!more)
			return NULL;
		index->tensors = more;
		index->room = room;
	}
	memset(&index->tensors[index->count], 0, sizeof(*more));
	return &index->tensors[index->count++];
}

static enum st_status read_entry(struct reader *r)
{
	struct st_tensor *tensor;
	enum st_status status;
	char *name;

	status = keep_string(r, &name);
	if (status != ST_OK)
		return status;
	if (!json_take(&r->json, ':'))
		return ST_SYNTAX;
	if (!strcmp(name, "__metadata__"))
		return read_metadata(r);
	tensor = new_tensor(r->index);
	if (!tensor)
		return ST_NO_MEMORY;
	tensor->name = name;
	return read_tensor(r, tensor);
}

static enum st_status read_header(struct reader *r)
{
	enum st_status status;

	if (!json_take(&r->json, '{'))
		return json_status(r);
	if (!json_maybe(&r->json, '}')) {
		do {
			status = read_entry(r);
			if (status != ST_OK)
				return status;
		} while (json_maybe(&r->json, ','));
		if (!json_take(&r->json, '}'))
			return ST_SYNTAX;
	}
	return json_at_end(&r->json) ? ST_OK : ST_SYNTAX;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct st_tensor *)a)->name, ((const struct st_tensor *)b)->name);
}

/* By offset; of two at one offset the empty one first, so that it counts as lying before the other. */
static int by_offset(const void *a, const void *b)
{
	const struct st_tensor *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static enum st_status check_table(struct st_index *index)
{
	uint64_t reached = 0;
	size_t i;

	if (index->count)
		qsort(index->tensors, index->count, sizeof(*index->tensors), by_name);
	for (i = 1; i < index->count; i++)
		if (!by_name(&index->tensors[i - 1], &index->tensors[i]))
			return ST_DUPLICATE;
	if (index->count)
		qsort(index->tensors, index->count, sizeof(*index->tensors), by_offset);
	for (i = 0; i < index->count; i++) {
		if (index->tensors[i].offset != reached)
			return index->tensors[i].offset < reached ? ST_OVERLAP : ST_HOLE;
		reached += index->tensors[i].bytes;
	}
	return reached == index->data_bytes ? ST_OK : ST_HOLE;
}

enum st_status st_parse(struct st_index *index, const char *text, uint64_t length, uint64_t file_bytes)
{
	struct reader r = { .index = index };
	enum st_status status;

	memset(index, 0, sizeof(*index));
	if (length == 0 || length > ST_HEADER_MAX)
		return ST_HEADER_LENGTH;
	if (file_bytes < 8 || length > file_bytes - 8)
		return ST_SHORT;
	index->data_start = 8 + length;
	index->data_bytes = file_bytes - index->data_start;
	index->strings = malloc(length + 1);
	if (!index->strings)
		return ST_NO_MEMORY;
	r.names = index->strings;
	r.left = length + 1;
	json_init(&r.json, text, length);
	status = read_header(&r);
	if (status == ST_OK)
		status = check_table(index);
	if (status != ST_OK)
		st_free(index);
	return status;
}

/* All of bytes from offset, or a status that says what is missing. */
static enum st_status read_all(int fd, void *to, size_t bytes, off_t offset)
{
	size_t done = 0;
	ssize_t n;

	while (done < bytes) {
		n = pread(fd, (char *)to + done, bytes - done, offset + done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? ST_READ : ST_SHORT;
		done += n;
	}
	return ST_OK;
}

enum st_status st_read(struct st_index *index, int fd)
{
	enum st_status status;
	uint64_t length;
	struct stat st;
	char *text;

	memset(index, 0, sizeof(*index));
	if (fstat(fd, &st) < 0)
		return ST_READ;
	status = read_all(fd, &length, sizeof(length), 0);
	if (status != ST_OK)
		return status;
	length = le64toh(length);
	if (length == 0 || length > ST_HEADER_MAX)
		return ST_HEADER_LENGTH;
	if (length > (uint64_t)st.st_size - 8)
		return ST_SHORT;
	text = malloc(length);
	if (!text)
		return ST_NO_MEMORY;
	status = read_all(fd, text, length, 8);
	if (status == ST_OK)
		status = st_parse(index, text, length, st.st_size);
	free(text);
	return status;
}

void st_free(struct st_index *index)
{
	free(index->tensors);
	free(index->strings);
	memset(index, 0, sizeof(*index));
}

const struct st_tensor *st_find(const struct st_index *index, const char *name)
{
	size_t i;

	for (i = 0; i < index->count; i++)
		if (!strcmp(index->tensors[i].name, name))
			return &index->tensors[i];
	return NULL;
}

/* ---- writing ------------------------------------------------------------------------------------- */

static void print_tensor(FILE *out, const struct st_tensor *tensor)
{
	unsigned int i;

	fprintf(out, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensor->name, dtypes[tensor->dtype].name);
	for (i = 0; i < tensor->rank; i++)
		fprintf(out, "%s%" PRIu64, i ? "," : "", tensor->shape[i]);
	fprintf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
		tensor->offset, tensor->offset + tensor->bytes);
}

static enum st_status place(struct st_tensor *tensors, size_t count)
{
	enum st_status status;
	uint64_t at = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		status = shape_bytes(&tensors[i], &tensors[i].bytes);
		if (status != ST_OK)
			return status;
		tensors[i].offset = at;
		if (__builtin_add_overflow(at, tensors[i].bytes, &at))
			return ST_OVERFLOW;
	}
	return ST_OK;
}

enum st_status st_make_head(struct st_tensor *tensors, size_t count, const char *heads,
			    char **head, size_t *head_bytes)
{
	enum st_status status = place(tensors, count);
	uint64_t length = 0;
	char *text = NULL;
	size_t bytes, i;
	FILE *out;

	if (status != ST_OK)
		return status;
	out = open_memstream(&text, &bytes);
	if (!out)
		return ST_NO_MEMORY;
	fwrite(&length, sizeof(length), 1, out);
	fprintf(out, "{\"__metadata__\":{\"format\":\"pt\"%s%s%s}", heads ? ",\"n_head\":\"" : "",
		heads ? heads : "", heads ? "\"" : "");
	for (i = 0; i < count; i++)
		print_tensor(out, &tensors[i]);
	fputc('}', out);
	if (fflush(out) == 0)
		fprintf(out, "%*s", (int)(-bytes & (ST_PAGE - 1)), "");
	if (fclose(out) != 0 || bytes > ST_HEADER_MAX) {
		free(text);
		return bytes > ST_HEADER_MAX ? ST_HEADER_LENGTH : ST_NO_MEMORY;
	}
	length = htole64(bytes - sizeof(length));
	memcpy(text, &length, sizeof(length));
	*head = text;
	*head_bytes = bytes;
	return ST_OK;
}
