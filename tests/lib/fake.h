/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake.h - a service that answers ioctls inside the test program
 *
 * The tests link the library's parts statically, so the ioctl defined in fake.c is the one that they call. Requests
 * are logged; a test sets what is answered.
 */
#ifndef TESTS_LIB_FAKE_H
#define TESTS_LIB_FAKE_H

#include <dmo/ioctl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A descriptor that fake.c answers; any other goes to the kernel, unless fake.all is set. */
#define FAKE_FD 7777

struct fake {
	unsigned calls;			/* of ioctl on FAKE_FD */
	unsigned long request[64];	/* the first of them */
	uint64_t ops;			/* map and unmap ops, or extents, in all */
	uint64_t fail_op;		/* the op with this number fails ... */
	int fail_error;			/* ... with this; 0: none does */
	unsigned error_calls;		/* so many of the first calls fail with call_error (0: none) */
	int call_error;
	uint64_t extents;		/* what a query finds: so many pages, each an extent */
	unsigned devices;
	int async_error;		/* how an asynchronous migration ended */
	uint64_t key;
	bool all;			/* every descriptor is answered */
	struct dmo_advise advised[8];	/* the first pieces of advice ... */
	unsigned advices;		/* ... and how many there were */
	int advise_error;
	uint64_t mapped_va;		/* of the last map op */
};

extern struct fake fake;
/* Forgets everything; one device. */
void fake_reset(void);

#endif
