/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * unicode.h - three kinds of code points, as GPT-2's tokenizer tells them apart
 */
#ifndef GPT2_UNICODE_H
#define GPT2_UNICODE_H

#include <stdint.h>

enum unicode_kind {
	UNICODE_OTHER,
	UNICODE_LETTER,		/* general categories L* */
	UNICODE_NUMBER,		/* general categories N* */
	UNICODE_SPACE,		/* property White_Space */
};

/* Any value is allowed; what is no assigned code point is UNICODE_OTHER. */
enum unicode_kind unicode_kind(uint32_t code);

#endif
