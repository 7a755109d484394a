/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stat.c - counters as text, one "name value" a line
 *
 * The reader knows no names, so a newer service may count what this library has never heard of.
 */
#include "lib.h"

#include <string.h>

/* A decimal number up to the end of the line; past it, or NULL. */
static const char *parse_value(const char *text, uint64_t *value)
{
	const char *start = text;
	uint64_t n = 0;

	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
			return NULL;
	}
	if (text == start || (*text != '\n' && *text != '\0'))
		return NULL;
	*value = n;
	return *text ? text + 1 : text;
}

PUBLIC int dmo_stat_parse(const char *text, struct dmo_stat *stat)
{
	stat->count = 0;
	while (*text) {
		size_t length = strcspn(text, " \n");
		struct dmo_stat_entry *entry;
		const char *next;
		uint64_t value;

		if (length == 0 || text[length] != ' ')
			return -EBADMSG;
		next = parse_value(text + length + 1, &value);
		if (!next)
			return -EBADMSG;
		if (length < sizeof(entry->name) && stat->count < DMO_STAT_MAX) {
			entry = &stat->entries[stat->count++];
			memset(entry, 0, sizeof(*entry));
			memcpy(entry->name, text, length);
			entry->value = value;
		}
		text = next;
	}
	return 0;
}

PUBLIC int dmo_stat_get(const struct dmo_stat *stat, const char *name, uint64_t *value)
{
	for (unsigned i = 0; i < stat->count; i++) {
		if (strcmp(stat->entries[i].name, name) == 0) {
			*value = stat->entries[i].value;
			return 0;
		}
	}
	return -ENOENT;
}
