/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * text.c - sizes, ranges and JSON
 */
#include "ctl.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A size at the start of text; *end is what follows it. */
static int size_prefix(const char *text, uint64_t *bytes, const char **end)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *rest;
	int shift;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	*bytes = strtoull(text, &rest, 0);
	if (errno == ERANGE)
		return -ERANGE;
	*end = rest;
	unit = *rest ? strchr(units, toupper((unsigned char)*rest)) : NULL;
	if (!unit)
		return 0;
	shift = 10 * (int)(unit - units + 1);
	if (*bytes > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes <<= shift;
	rest++;
	if (rest[0] == 'i' && rest[1] == 'B')
		rest += 2;
	else if (rest[0] == 'B')
		rest++;
	*end = rest;
	return 0;
}

int size_parse(const char *text, uint64_t *bytes)
{
	const char *end;
	int r = size_prefix(text, bytes, &end);

	return r < 0 ? r : *end ? -EINVAL : 0;
}

int range_parse(const char *text, uint64_t *offset, uint64_t *length)
{
	const char *end;
	int r = size_prefix(text, offset, &end);

	*length = 0;
	if (r < 0 || *end == '\0')
		return r;
	if (*end != ':')
		return -EINVAL;
	return end[1] ? size_parse(end + 1, length) : 0;
}

const char *size_text(char buf[16], uint64_t bytes)
{
	static const char units[] = "KMGTPE";
	double n = (double)bytes;
	int unit = -1;

	if (bytes == UINT64_MAX)
		return "max";
	while (n >= 1024 && units[unit + 1]) {
		n /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(buf, 16, "%u", (unsigned)bytes % 1024);
	else
		snprintf(buf, 16, n < 10 && n != (double)(int)n ? "%.1f%c" : "%.0f%c", n, units[unit]);
	return buf;
}

void json_string(FILE *out, const char *text)
{
	putc('"', out);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20)
			fprintf(out, "\\u%04x", c);
		else
			putc(c, out);
	}
	putc('"', out);
}

void json_name(FILE *out, bool *first, const char *name)
{
	if (!*first)
		fputs(", ", out);
	*first = false;
	json_string(out, name);
	fputs(": ", out);
}

void json_u64(FILE *out, bool *first, const char *name, uint64_t value)
{
	json_name(out, first, name);
	fprintf(out, "%" PRIu64, value);
}

void json_text(FILE *out, bool *first, const char *name, const char *value)
{
	json_name(out, first, name);
	json_string(out, value);
}
