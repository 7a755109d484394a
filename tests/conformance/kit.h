/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kit.h - the vocabulary of the conformance tests: objects, contexts, control files, patterns, processes
 *
 * Two kinds of call. Those that return int give the result as it came, 0 or -errno, for a test to judge. Those
 * that return void, an fd or a value fail the test themselves when anything goes wrong.
 */
#ifndef CONF_KIT_H
#define CONF_KIT_H

#include <config.h>

#include "home.h"

#include <check.h>
#include <dmo/dmo.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE		((uint64_t)DMO_PAGE_SIZE)
#define BLOCK		((uint64_t)DMO_BLOCK_SIZE)
#define MiB		(1ull << 20)
#define GiB		(1ull << 30)
#define READ_WRITE	(DMO_PROT_READ | DMO_PROT_WRITE)
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* A request with an inline array of count entries, as a union "head" and the room it takes. */
#define WITH_ROOM(type, array, count) \
	union { \
		type head; \
		char room[sizeof(type) + (count) * sizeof(((type *)0)->array[0])]; \
	}

#define ck_ok(call)	ck_assert_int_eq((call), 0)
#define ck_errno(call, err) ck_assert_int_eq((call), -(err))

/* ---- the run: suites, and the home of a test ----------------------------------------------------- */

struct conf_run {
	Suite *suite;
	TCase *tcase;
	const char *name;	/* of the case */
};

/* Sets conf_home; exits where CONF_HOME names none. */
void conf_choose_home(void);
/* Exits 77 where the home can't run here. */
void conf_begin(struct conf_run *run, const char *subject);
/* The tests added from here on: fixture mounts, seconds is what each takes at most on an idle machine. */
void conf_case(struct conf_run *run, const char *name, void (*fixture)(void), int seconds);
void conf_test(struct conf_run *run, const TTest *test);
/* Runs all; main's result. */
int conf_end(struct conf_run *run);

/* Mounts a fresh store with these devices. At most four, NULL ends. */
void start(const char *spec, ...) __attribute__((sentinel));
void start_small_store(uint64_t bytes, const char *spec);
/* Fixtures: npu0 alone with 16 MiB; npu0 and npu1 with 16 MiB each. */
void one_device(void);
void two_devices(void);
/* The service ends in order or as in a crash, and goes on with the same devices. */
void restart(void);
void crash(void);
void go_on(void);
void stop_service(void);

/* True with CONF_LONG in the environment; rounds() multiplies by ten then, and divides by four with CONF_BRIEF. */
bool conf_long(void);
unsigned rounds(unsigned normal);

/* ---- objects ------------------------------------------------------------------------------------- */

int obj_open(const char *name, int flags);
/* Opened O_RDWR with size bytes, a hole. */
int obj_create(const char *name, uint64_t size);
void *obj_mmap(int fd, uint64_t offset, uint64_t length, int prot, int flags);
void obj_pwrite(int fd, const void *buf, uint64_t length, uint64_t offset);
void obj_pread(int fd, void *buf, uint64_t length, uint64_t offset);
/* Every byte of a pattern depends on its offset and the seed. */
void obj_write_pattern(int fd, uint64_t offset, uint64_t length, unsigned seed);
void obj_check_pattern(int fd, uint64_t offset, uint64_t length, unsigned seed);
void obj_check_byte(int fd, uint64_t offset, uint64_t length, int byte);
void mem_pattern(void *buf, uint64_t offset, uint64_t length, unsigned seed);
void mem_check_pattern(const void *buf, uint64_t offset, uint64_t length, unsigned seed);
void mem_check_byte(const void *buf, uint64_t length, int byte);
/* The backing file's bytes, looked at from behind. */
void store_check_byte(const char *name, uint64_t offset, uint64_t length, int byte);
void store_check_pattern(const char *name, uint64_t offset, uint64_t length, unsigned seed);

/* An ioctl: its result, or -errno. */
int request(int fd, unsigned long cmd, void *arg);
uint64_t obj_key(int fd);
uint64_t obj_resident(int fd);
struct dmo_info obj_info(int fd);
int obj_migrate(int fd, uint64_t offset, uint64_t length, uint32_t device);
/* The extent that holds one page. */
struct dmo_extent obj_extent(int fd, uint64_t offset);

/* ---- contexts ------------------------------------------------------------------------------------ */

int ctx_open(const char *device);
/* Closes it, and the library's handle. */
void ctx_close(int ctx);
/* The library's handle of a context that ctx_open opened. */
struct dmo_as *ctx_handle(int ctx);
/* Where the range came, mapped through a key of fd. */
uint64_t ctx_map(int ctx, int fd, uint64_t offset, uint64_t length, uint32_t prot);
int ctx_map_op(int ctx, struct dmo_map_op *op);
int ctx_try_map(int ctx, int fd, uint64_t offset, uint64_t length, uint32_t prot);
int ctx_unmap(int ctx, uint64_t va, uint64_t length);
/* Runs one command: the status of its completion, which must come. */
int ctx_run(int ctx, const struct dmo_command *command, struct dmo_completion *completion);
/* The same for one kind. */
/* Queues a command that ends when the context is closed. */
void ctx_submit_endless(int ctx);
int ctx_fill_completion(int ctx, uint64_t va, uint64_t length, int byte, struct dmo_completion *completion);
int ctx_fill(int ctx, uint64_t va, uint64_t length, int byte);
int ctx_copy(int ctx, uint64_t dst, uint64_t src, uint64_t length);
int ctx_cksum(int ctx, uint64_t va, uint64_t length, struct dmo_completion *completion);
int ctx_add(int ctx, uint64_t va, uint64_t addend, uint64_t *old);
int ctx_load(int ctx, uint64_t va, uint64_t *value);
/* cksum(1)'s number. */
uint32_t posix_cksum(const void *buf, uint64_t length);
/* The checksum that the device finds on [va, va + length) is the pattern's, or that of one byte. */
void ctx_check_pattern(int ctx, uint64_t va, uint64_t offset, uint64_t length, unsigned seed);
void ctx_check_byte(int ctx, uint64_t va, uint64_t length, int byte);

/* ---- control files ------------------------------------------------------------------------------- */

int control_read(const char *device, const char *file, char *text, size_t size);
int control_write(const char *device, const char *file, const char *text);
/* A file of one number; "max" is UINT64_MAX. */
uint64_t control_value(const char *device, const char *file);
int control_set(const char *device, const char *file, uint64_t value);
/* A file of "key number" lines. */
uint64_t control_key(const char *device, const char *file, const char *key);

/* ---- processes and time -------------------------------------------------------------------------- */

/* A child that runs body and exits 0; a failed assertion in it fails the test. */
pid_t spawn(void (*body)(void *arg), void *arg);
/* Waits; fails unless the child exited 0. */
void join(pid_t pid);
/* Waits that long at most. -ETIMEDOUT: still there. */
int join_within(pid_t pid, unsigned milliseconds);
/* Zeroed memory that children share. */
void *shared(size_t bytes);
/* Becomes another user for good; for use in a child. */
void become(uid_t uid, gid_t gid);
uint64_t now_ms(void);
void sleep_ms(unsigned milliseconds);
/* How long anything may take that has to come: no machine is so loaded, no sanitizer so slow. */
#define PATIENCE_MS	60000
/* Waits for what comes on its own time. */
#define wait_until(condition) \
	do { \
		uint64_t end_ = now_ms() + PATIENCE_MS; \
\
		while (!(condition)) { \
			ck_assert_msg(now_ms() < end_, "still not so: %s", #condition); \
			sleep_ms(2); \
		} \
	} while (0)

#endif
