/* SPDX-License-Identifier: GPL-2.0-or-later */
/* text.h - numbers as people write them into control files and options */
#ifndef DMO_CORE_TEXT_H
#define DMO_CORE_TEXT_H

#include "dmo_env.h"

/* Digits and, for powers of 1024, one of K M G T P E in either case; nothing else. 0, -EINVAL. */
int dmo_text_size(const char *text, u64 *bytes);

#endif
