/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The user-space environment of the core: what dmo_env.h declares. */
#include "dmo_env.h"

#include <stdio.h>
#include <stdlib.h>

void dmo_env_bug(const char *what, const char *file, int line)
{
	fprintf(stderr, "dmofs: BUG: %s at %s:%d\n", what, file, line);
	abort();
}
