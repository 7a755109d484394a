/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * testmem.h - what the core's test programs share: memory that counts and fails, random numbers, the runner
 *
 * To fail every allocation of an operation once, in turn:
 *
 *	for (u64 n = 1; ; n++) {
 *		testmem_fail(&tm, n);			// the nth allocation from now on gives NULL
 *		err = operation();
 *		if (!testmem_failed(&tm))
 *			break;				// it needed fewer than n
 *		ck_assert_int_eq(err, -ENOMEM);		// and nothing has changed
 *	}
 */
#ifndef TESTS_CORE_TESTMEM_H
#define TESTS_CORE_TESTMEM_H

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

struct testmem {
	struct dmo_mem mem;	/* hand this out */
	u64 blocks;		/* allocated and not freed: 0 when nothing leaked */
	u64 bytes;
	u64 fail_in;		/* the allocation to fail, counted from 1; 0: none */
	bool failed;
};

static inline void *testmem_alloc(void *ctx, size_t size)
{
	struct testmem *tm = ctx;
	size_t *p;

	if (tm->fail_in && !--tm->fail_in) {
		tm->failed = true;
		return NULL;
	}
	p = calloc(1, size + 16);
	if (!p)
		abort();
	p[0] = size;
	tm->blocks++;
	tm->bytes += size;
	return p + 2;
}

static inline void testmem_free(void *ctx, void *p, size_t size)
{
	struct testmem *tm = ctx;
	size_t *block = (size_t *)p - 2;

	if (block[0] != size)
		abort();	/* freed with another size than it was allocated with */
	tm->blocks--;
	tm->bytes -= size;
	memset(block, 0xdd, size + 16);
	free(block);
}

static inline void testmem_init(struct testmem *tm)
{
	memset(tm, 0, sizeof(*tm));
	tm->mem.alloc = testmem_alloc;
	tm->mem.free = testmem_free;
	tm->mem.ctx = tm;
}

static inline void testmem_fail(struct testmem *tm, u64 nth)
{
	tm->fail_in = nth;
	tm->failed = false;
}

/* True when the allocation that was to fail has been asked for. Lets all later ones succeed. */
static inline bool testmem_failed(struct testmem *tm)
{
	tm->fail_in = 0;
	return tm->failed;
}

/* Random numbers that are the same in every run. */
static inline u64 test_random(u64 *state)
{
	u64 x = *state += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static inline u64 test_below(u64 *state, u64 n)
{
	return test_random(state) % n;
}

static inline int test_run(Suite *s)
{
	SRunner *r = srunner_create(s);
	int failed;

	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
