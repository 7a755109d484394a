/* SPDX-License-Identifier: GPL-2.0-or-later */
/* text.c - see text.h */
#include "core/text.h"

/* Adds a digit; false where it does not fit. */
static bool append(u64 *number, char digit)
{
	unsigned value = digit - '0';

	if (*number > (~0ull - value) / 10)
		return false;
	*number = *number * 10 + value;
	return true;
}

/* log2 of what the letter stands for, 0 where it is none. */
static unsigned shift_of(char letter)
{
	static const char units[] = "KkMmGgTtPpEe";
	unsigned i;

	for (i = 0; units[i] && units[i] != letter; i++)
		;
	return units[i] ? 10 * (i / 2 + 1) : 0;
}

int dmo_text_size(const char *text, u64 *bytes)
{
	const char *at = text;
	u64 number = 0;
	unsigned shift;

	for (; *at >= '0' && *at <= '9'; at++)
		if (!append(&number, *at))
			return -EINVAL;
	shift = shift_of(*at);
	if (at == text || number > ~0ull >> shift || at[shift ? 1 : 0])
		return -EINVAL;
	*bytes = number << shift;
	return 0;
}
