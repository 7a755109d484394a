/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lib.h - what the parts of libdmo share
 *
 * Layers, each using those before it: sys (system calls as -errno), mount, socket, object, migrate, device, stat, space
 * (contexts and their mappings), command (queues), peer (mappings at one address on both sides).
 *
 * Every public function that makes a system call begins with KEEP_ERRNO.
 */
#ifndef LIB_LIB_H
#define LIB_LIB_H

#include <config.h>

#include <dmo/dmo.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define PUBLIC __attribute__((visibility("default")))

static inline void lib_restore_errno(const int *saved)
{
	errno = *saved;
}

/* Puts errno back when the function is left. */
#define KEEP_ERRNO int saved_errno_ __attribute__((cleanup(lib_restore_errno), unused)) = errno

/* ---- sys.c ---- */

/* ioctl(2); the result or -errno. */
int sys_ioctl(int fd, unsigned long request, void *arg);
/* Opens, close-on-exec. */
int sys_openat(int dir, const char *path, int flags);
/* A small file's text into buf, NUL at its end; its length, -EMSGSIZE where it is not smaller than size. */
int sys_read_text(int dir, const char *path, char *buf, size_t size);
int sys_write_text(int dir, const char *path, const char *text);

/* A point in time; never for a negative timeout. */
struct deadline {
	bool never;
	struct timespec at;	/* CLOCK_MONOTONIC */
};
void deadline_set(struct deadline *deadline, int timeout_ms);
/* Milliseconds left for poll(2), rounded up: -1 never ends, 0 is over. */
int deadline_left(const struct deadline *deadline);
/* poll(2) on one fd for events. 1: there are some, 0: time is over, -errno. */
int sys_poll(int fd, short events, int timeout_ms);

/* ---- socket.c ---- */

/* Fetches what a request on fd, a file of a mount, gave a ticket for: a descriptor, or -errno. */
int socket_fetch(int fd, uint64_t ticket);

/* ---- space.c ---- */

/* One dmo_run under way, on its caller's stack. */
struct run {
	uint64_t cookie;
	struct dmo_completion completion;
	bool over;
	struct run *next;
};

/*
 * A context. Completions are read from the fd by one thread at a time (reading); what it reads for others goes to
 * their struct run or to stash. lock protects everything below it; nobody sleeps holding it except in arrived.
 */
struct dmo_as {
	int fd;
	atomic_uint refs;
	pthread_mutex_t lock;
	pthread_cond_t arrived;		/* a completion was handed over, or reading became false */
	bool reading;
	uint64_t next_run;		/* cookie of the next dmo_run, top bit set */
	struct run *runs;
	struct dmo_completion *stash;	/* kept for dmo_complete, oldest first */
	size_t stashed, stash_room;
};

#define RUN_COOKIE (1ull << 63)
/* Completions read at once; the stash always has room for so many when a read begins. */
#define READ_BATCH 64u

#endif
