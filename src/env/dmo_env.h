/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmo_env.h, user-space home - all that the core asks of the place where it runs
 *
 * The kernel home has a file of the same name; the core finds one or the other by include path. Nothing here locks
 * or blocks. Memory comes through struct dmo_mem, so that tests can fail any one allocation.
 */
#ifndef DMO_ENV_H
#define DMO_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

/* Error numbers: the platform's own. errno.h of the C library and of the kernel define the same names. */
#include <asm/errno.h>

/* Freestanding compilers still emit calls to these four; the homes have them. */
void *memset(void *, int, size_t);
void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
int memcmp(const void *, const void *, size_t);

/* A broken invariant: never returns. */
void dmo_env_bug(const char *what, const char *file, int line) __attribute__((noreturn, cold));
#define DMO_BUG_ON(x) \
	do { \
		if (__builtin_expect(!!(x), 0)) \
			dmo_env_bug(#x, __FILE__, __LINE__); \
	} while (0)

#endif
