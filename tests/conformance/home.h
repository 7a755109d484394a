/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * home.h - what the conformance suite needs from the home under test
 *
 * Test bodies know objects, devices, contexts and control files; how these come to be is the business of one
 * struct conf_home. A home makes a store and serves it with the devices that the specs name (in dmofs's own --device
 * notation), opens things by name, dies on request, and goes on from the same store. CONF_HOME in the environment says
 * which home the suite runs on:
 *
 *	fuse		the service, with devices of its own (the default)
 *	fuse-module	the service over the kernel module
 *	module		the module alone: objects are made over files of a directory
 *
 * One home serves one test at a time, in the process of that test. Whatever setup made is gone after teardown, and
 * soon after the test's process ends where it never came to teardown (a failed assertion, a time limit).
 *
 * Results are 0, an fd or -errno.
 */
#ifndef CONF_HOME_H
#define CONF_HOME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A test that a home leaves out, and why. */
struct conf_skip {
	const char *test, *why;
};

#define CONF_NO_SKIPS ((const struct conf_skip[]){ { NULL, NULL } })

struct conf_home {
	const char *name;
	/* Why the suite can't run here, or NULL. */
	const char *(*missing)(void);
	/* A fresh store of store_bytes (0: as large as there is room), served with these devices (NULL ends specs). */
	int (*setup)(const char *const specs[], uint64_t store_bytes);
	/* Opens an object of the store by name, as open(2) does. */
	int (*open_object)(const char *name, int flags, mode_t mode);
	/* Opens a context of a device. flags: O_RDWR, O_NONBLOCK, O_CLOEXEC. */
	int (*open_context)(const char *device, int flags);
	/* Paths, valid until the next call: of an object, of its backing file, of a device's control file. */
	const char *(*object_path)(const char *name);
	const char *(*store_path)(const char *name);
	/* NULL: this home has no such file. */
	const char *(*control_path)(const char *device, const char *file);
	/* Makes a device fail on purpose, in the words of backend.h's inject. */
	int (*inject)(const char *device, const char *what);
	/*
	 * A crash: what has not reached the store is gone, descriptors of the test may be closed. -ETIMEDOUT: something
	 * hung and had to be torn away.
	 */
	int (*kill)(void);
	/* Ends the service in order; everything is flushed. The store stays. */
	int (*unmount)(void);
	/* Serves the same store again, after kill or unmount. */
	int (*remount)(const char *const specs[]);
	/* The end: unmounts and removes the store. -errno: the service did not end, or not in order. */
	int (*teardown)(void);
	/* Tests that this home can't pass, a NULL name at the end; five at most. */
	const struct conf_skip *exempt;
};

extern const struct conf_home conf_home_fuse, conf_home_fuse_module, conf_home_module;

/* The one that CONF_HOME names; set by conf_begin. */
extern const struct conf_home *conf_home;

#endif
