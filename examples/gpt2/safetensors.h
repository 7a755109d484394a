/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * safetensors.h - names, types, shapes and places of the tensors in a .safetensors file
 *
 * A file is: 8 bytes little endian, the header's length; the header, JSON; the data. The reader takes the
 * header alone and believes nothing: what it accepts has every tensor inside the file, on bytes of its own
 * that match its shape, and no byte of the data belongs to none. The writer pads the header with spaces, so
 * that the data starts on a page and a device can map it aligned.
 *
 * An index is built by one thread; after that any number may read it.
 */
#ifndef GPT2_SAFETENSORS_H
#define GPT2_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#define ST_RANK_MAX	8
#define ST_HEADER_MAX	(100u << 20)	/* the format's own limit is 100 MB */
#define ST_PAGE		4096u

enum st_status {
	ST_OK = 0,
	ST_NO_MEMORY,
	ST_READ,		/* open or read failed: errno says why */
	ST_SHORT,		/* the file ends before its header does */
	ST_HEADER_LENGTH,	/* the header's length is 0 or above ST_HEADER_MAX */
	ST_SYNTAX,		/* the header is not the JSON it should be */
	ST_STRING,		/* a string is malformed or holds a NUL */
	ST_NUMBER,		/* a number is not a natural number below 2^64 */
	ST_FIELD,		/* a tensor's field is unknown, twice there, or missing */
	ST_METADATA,		/* __metadata__ stands twice */
	ST_DTYPE,		/* a type that the format doesn't have */
	ST_RANK,		/* more than ST_RANK_MAX dimensions */
	ST_OVERFLOW,		/* the shape's bytes don't fit 64 bits */
	ST_OFFSETS,		/* the offsets run backwards or out of the file */
	ST_SIZE,		/* the offsets don't hold exactly what the shape needs */
	ST_DUPLICATE,		/* two tensors of one name */
	ST_OVERLAP,		/* two tensors share bytes */
	ST_HOLE,		/* bytes of the data that no tensor has */
	ST_STATUS_COUNT
};

enum st_dtype {
	ST_BOOL, ST_U8, ST_I8, ST_F8_E5M2, ST_F8_E4M3, ST_I16, ST_U16, ST_F16, ST_BF16,
	ST_I32, ST_U32, ST_F32, ST_I64, ST_U64, ST_F64, ST_DTYPE_COUNT
};

struct st_tensor {
	const char *name;		/* in the index's own memory */
	enum st_dtype dtype;
	unsigned int rank;
	uint64_t shape[ST_RANK_MAX];
	uint64_t offset;		/* bytes from the start of the data */
	uint64_t bytes;
};

struct st_index {
	struct st_tensor *tensors;	/* ordered by offset */
	size_t count;
	size_t room;
	uint64_t data_start;		/* bytes from the start of the file */
	uint64_t data_bytes;
	char *strings;
	const char *heads;		/* __metadata__'s "n_head", or NULL */
};

/* What status means, a sentence without a full stop; never NULL. */
const char *st_explain(enum st_status status);

/*
 * Reads the header that stands in text (length bytes, what follows the length field) of a file of file_bytes.
 * ST_OK: *index is filled and the caller ends it with st_free. Otherwise *index holds nothing.
 */
enum st_status st_parse(struct st_index *index, const char *text, uint64_t length, uint64_t file_bytes);

/* The same from the start of the open file fd, which stays the caller's; its position doesn't matter. */
enum st_status st_read(struct st_index *index, int fd);

void st_free(struct st_index *index);

/* The tensor of that name, or NULL. Looks at all of them: for start-up, not for a loop. */
const struct st_tensor *st_find(const struct st_index *index, const char *name);

/*
 * Gives the tensors (name, dtype, rank, shape set) their bytes and their offsets, one behind the other, and
 * makes a file's beginning: *head (malloc'ed, the caller's) of *head_bytes, a multiple of ST_PAGE, length
 * field and padding included. heads, where not NULL, goes into __metadata__ as "n_head". Names must need no
 * escape. ST_NO_MEMORY, ST_OVERFLOW, ST_HEADER_LENGTH.
 */
enum st_status st_make_head(struct st_tensor *tensors, size_t count, const char *heads,
			    char **head, size_t *head_bytes);

#endif
