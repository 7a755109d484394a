/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * json.c - a cursor that takes JSON tokens one by one
 *
 * Owns nothing. Invariant: at <= end, and once error is set no call moves or returns true again.
 */
#include "json.h"

#include <string.h>

void json_init(struct json *json, const void *text, size_t length)
{
	json->at = text;
	json->end = json->at + length;
	json->error = JSON_OK;
}

static bool fail(struct json *json, enum json_error error)
{
	if (json->error == JSON_OK)
		json->error = error;
	return false;
}

static void skip_space(struct json *json)
{
	while (json->at < json->end &&
	       (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r'))
		json->at++;
}

bool json_maybe(struct json *json, char c)
{
	if (json->error != JSON_OK)
		return false;
	skip_space(json);
	if (json->at == json->end || *json->at != (unsigned char)c)
		return false;
	json->at++;
	return true;
}

bool json_take(struct json *json, char c)
{
	return json_maybe(json, c) || fail(json, JSON_SYNTAX);
}

bool json_at_end(struct json *json)
{
	if (json->error != JSON_OK)
		return false;
	skip_space(json);
	return json->at == json->end;
}

bool json_natural(struct json *json, uint64_t *value)
{
	const unsigned char *first;
	uint64_t sum = 0;

	if (json->error != JSON_OK)
		return false;
	skip_space(json);
	first = json->at;
	for (; json->at < json->end && *json->at >= '0' && *json->at <= '9'; json->at++)
		if (__builtin_mul_overflow(sum, 10u, &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)(*json->at - '0'), &sum))
			return fail(json, JSON_NUMBER);
	if (json->at == first || (*first == '0' && json->at - first > 1))
		return fail(json, JSON_NUMBER);
	if (json->at < json->end && memchr(".eE+-", *json->at, 5))
		return fail(json, JSON_NUMBER);
	*value = sum;
	return true;
}

size_t utf8_put(char *out, uint32_t code)
{
	unsigned char *byte = (unsigned char *)out;

	if (code < 0x80) {
		byte[0] = code;
		return 1;
	}
	if (code < 0x800) {
		byte[0] = 0xc0 | code >> 6;
		byte[1] = 0x80 | (code & 0x3f);
		return 2;
	}
	if (code < 0x10000) {
		byte[0] = 0xe0 | code >> 12;
		byte[1] = 0x80 | (code >> 6 & 0x3f);
		byte[2] = 0x80 | (code & 0x3f);
		return 3;
	}
	byte[0] = 0xf0 | code >> 18;
	byte[1] = 0x80 | (code >> 12 & 0x3f);
	byte[2] = 0x80 | (code >> 6 & 0x3f);
	byte[3] = 0x80 | (code & 0x3f);
	return 4;
}

size_t utf8_take(const unsigned char *at, const unsigned char *end, uint32_t *code)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t bytes, i;
	uint32_t sum;

	if (at == end)
		return 0;
	bytes = *at < 0x80 ? 1 : (*at & 0xe0) == 0xc0 ? 2 :
		(*at & 0xf0) == 0xe0 ? 3 : (*at & 0xf8) == 0xf0 ? 4 : 0;
	if (bytes == 0 || (size_t)(end - at) < bytes)
		return 0;
	sum = bytes == 1 ? *at : *at & (0x7fu >> bytes);
	for (i = 1; i < bytes; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		sum = sum << 6 | (at[i] & 0x3f);
	}
	if (sum < least[bytes] || sum > 0x10ffff || (sum >= 0xd800 && sum <= 0xdfff))
		return 0;
	*code = sum;
	return bytes;
}

static bool take_hex4(struct json *json, uint32_t *value)
{
	uint32_t sum = 0;
	int i;

	if (json->end - json->at < 4)
		return fail(json, JSON_STRING);
	for (i = 0; i < 4; i++) {
		unsigned char c = *json->at++;

		if (c >= '0' && c <= '9')
			sum = sum << 4 | (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			sum = sum << 4 | ((c | 0x20) - 'a' + 10);
		else
			return fail(json, JSON_STRING);
	}
	*value = sum;
	return true;
}

/* What follows "\u": one unit, or two that make a surrogate pair. */
static bool take_unicode_escape(struct json *json, uint32_t *code)
{
	uint32_t low;

	if (!take_hex4(json, code))
		return false;
	if (*code < 0xd800 || *code > 0xdfff)
		return true;
	if (*code > 0xdbff || json->end - json->at < 2 || json->at[0] != '\\' || json->at[1] != 'u')
		return fail(json, JSON_STRING);
	json->at += 2;
	if (!take_hex4(json, &low))
		return false;
	if (low < 0xdc00 || low > 0xdfff)
		return fail(json, JSON_STRING);
	*code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
	return true;
}

static bool take_escape(struct json *json, uint32_t *code)
{
	static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
	const char *found;

	if (json->at == json->end)
		return fail(json, JSON_STRING);
	if (*json->at == 'u') {
		json->at++;
		return take_unicode_escape(json, code);
	}
	found = memchr(names, *json->at, sizeof(names) - 1);
	if (!found)
		return fail(json, JSON_STRING);
	json->at++;
	*code = means[found - names];
	return true;
}

static bool take_character(struct json *json, uint32_t *code)
{
	size_t bytes;

	if (*json->at == '\\') {
		json->at++;
		return take_escape(json, code);
	}
	bytes = *json->at < 0x20 ? 0 : utf8_take(json->at, json->end, code);
	if (bytes == 0)
		return fail(json, JSON_STRING);
	json->at += bytes;
	return true;
}

bool json_string(struct json *json, char *out, size_t room, size_t *length)
{
	size_t used = 0, bytes;
	char utf8[4];
	uint32_t code;

	if (!json_take(json, '"'))
		return false;
	while (json->at < json->end && *json->at != '"') {
		if (!take_character(json, &code))
			return false;
		bytes = utf8_put(utf8, code);
		if (room - used <= bytes)
			return fail(json, JSON_ROOM);
		memcpy(out + used, utf8, bytes);
		used += bytes;
	}
	if (json->at == json->end)
		return fail(json, JSON_SYNTAX);
	if (used >= room)
		return fail(json, JSON_ROOM);
	json->at++;
	out[used] = '\0';
	if (length)
		*length = used;
	return true;
}
