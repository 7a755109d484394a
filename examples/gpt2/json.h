/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * json.h - the little JSON that safetensors headers and BPE vocabularies need
 *
 * A cursor over bytes in memory; each call takes one token and moves on, or leaves an error behind and
 * returns false for ever after. The input is hostile: nothing is read past end, nothing recurses, nothing
 * allocates. One cursor belongs to one thread.
 */
#ifndef GPT2_JSON_H
#define GPT2_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_error {
	JSON_OK = 0,
	JSON_SYNTAX,		/* another byte was due, or the input ended */
	JSON_STRING,		/* control byte, bad escape, lone surrogate, or not UTF-8 */
	JSON_NUMBER,		/* not a plain natural number below 2^64 */
	JSON_ROOM,		/* the decoded string is longer than the caller's buffer */
};

struct json {
	const unsigned char *at;
	const unsigned char *end;
	enum json_error error;
};

/* Starts at text, which must outlive the cursor. */
void json_init(struct json *json, const void *text, size_t length);

/* Takes byte c after white space; false and JSON_SYNTAX where something else stands there. */
bool json_take(struct json *json, char c);

/* Takes byte c after white space if it stands there; no error otherwise. */
bool json_maybe(struct json *json, char c);

/* Takes a string and writes it decoded and NUL-terminated to out (room bytes, NUL included); *length, where not
 * NULL, gets its bytes. A decoded string is never longer than what stands between the quotes. */
bool json_string(struct json *json, char *out, size_t room, size_t *length);

/* Takes a natural number: no sign, fraction, exponent or leading zero. */
bool json_natural(struct json *json, uint64_t *value);

/* True where only white space is left. */
bool json_at_end(struct json *json);

/* Takes one code point from UTF-8 at [at, end): its bytes, or 0 where it is not well formed. */
size_t utf8_take(const unsigned char *at, const unsigned char *end, uint32_t *code);

/* Writes one code point as UTF-8 to out (4 bytes of room); returns how many bytes. */
size_t utf8_put(char *out, uint32_t code);

#endif
