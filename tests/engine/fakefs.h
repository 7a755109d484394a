/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fakefs.h - a filesystem in front of the engine that behaves as the kernel's page cache does over FUSE
 *
 * A file has pages, each with a lock. What the kernel does is done here in the same order:
 *   load, store    (a CPU through a mapping) a page that is not up to date is filled by a READ under its lock, together
 *                  with the free pages after it (read-ahead); a store makes it dirty
 *   write          write(2), under the inode lock: the bytes go into the page first, then a WRITE is sent; a page that
 *                  is neither up to date nor written in full stays locked until the answer
 *   revoke         page by page: waits for the lock, writes the page where it is dirty (WRITEPAGE), drops it
 *   truncate       holds page writes back until the answer; punch writes the pages first; both under the inode lock
 *   fsync          writes the dirty pages, then asks the engine, under the inode lock
 * A delay of random length can be put at each of the points where the kernel may be slow, so that races happen.
 *
 * Whatever does not end within FF_PATIENCE seconds aborts the test: nothing here may wait for ever.
 */
#ifndef TESTS_ENGINE_FAKEFS_H
#define TESTS_ENGINE_FAKEFS_H

#include "engine/engine.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FF_PATIENCE	60
#define FF_PAGE		4096u
#define FF_BLOCK	(2u << 20)
#define FF_DEVICES	4

struct ff_page {
	pthread_mutex_t lock;
	char *data;		/* NULL: not present */
	bool uptodate, dirty;
};

struct ff;

struct ff_file {
	struct ff *ff;
	char path[300];
	struct eng_object *obj;
	struct eng_file *keep;	/* a read-only open that lasts as long as the file */
	int keep_fd;
	pthread_mutex_t inode;	/* the kernel's inode lock */
	pthread_mutex_t lock;	/* protects what follows */
	pthread_cond_t cond;
	atomic_ullong size;
	struct ff_open *writers[8];	/* open for writing: page writes go through the first */
	unsigned writes;	/* page writes under way */
	bool nowrite;		/* ... are held back */
	atomic_int gets;	/* inode_get less inode_put */
	atomic_int destroyed;
	bool forgotten;
	unsigned pages;
	struct ff_page *page;
	unsigned readahead;	/* pages that a READ asks for at most */
};

struct ff_open {
	struct ff_file *file;
	struct eng_file *eng;
	int fd;
};

struct ff_ctx {
	struct eng_ctx *eng;
	pthread_mutex_t lock;	/* one command at a time */
};

struct ff {
	struct engine *eng;
	char dir[256];
	bool mounted;
	struct ff_file *files[8];
	unsigned nr_files;
	unsigned delay_us;	/* how long delays are at most; 0: none */
	atomic_int revoke_error;	/* what the next revocations fail with */
	atomic_uint revokes, wrote_pages, notified;
	atomic_uint revoke_gate;	/* revocations begun; test code may wait for it */
	pthread_mutex_t hold_revoke;	/* a test that holds it stops revocations */
	struct eng_config config;
};

/* One call into the engine, waited for. */
struct ff_call {
	struct eng_req req;
	sem_t over;
};

void ff_call_init(struct ff_call *call);
/* Its result, when it is there; aborts where it does not come. */
int64_t ff_call_wait(struct ff_call *call);
bool ff_call_over(struct ff_call *call, unsigned ms);

/* An engine with devices (specs end with NULL) in a fresh folder, started. config may be NULL. */
struct ff *ff_start(const struct eng_config *config, const char *const *devices);
/* The same with the store on a tmpfs of bytes; NULL where it can't be mounted. */
struct ff *ff_start_small(unsigned long bytes, const char *const *devices);
/* Ends all: open files and contexts must be closed. */
void ff_stop(struct ff *ff);

/* A file of so many pages at most, size bytes of it there, with ff_byte at each. */
struct ff_file *ff_file(struct ff *ff, const char *name, uint64_t size, unsigned pages);
unsigned char ff_byte(uint64_t offset);
/* The content that ff_file gives, in memory. */
void ff_pattern(void *to, uint64_t offset, uint64_t length);

struct ff_open *ff_open(struct ff_file *file, int flags);
void ff_close(struct ff_open *o);
/* The kernel forgets the inode; it is gone if the engine does not keep it. */
void ff_forget(struct ff_file *file, bool unlinked);

int ff_load(struct ff_open *o, uint64_t offset, void *buf, uint64_t length);
void ff_store(struct ff_open *o, uint64_t offset, const void *buf, uint64_t length);
int64_t ff_write(struct ff_open *o, uint64_t offset, const void *buf, uint64_t length);
/* O_DIRECT: past the cache. */
int64_t ff_read_direct(struct ff_open *o, uint64_t offset, void *buf, uint64_t length);
int ff_flush(struct ff_open *o);
int ff_fsync(struct ff_open *o);
int ff_truncate(struct ff_open *o, uint64_t size);
int ff_punch(struct ff_open *o, uint64_t offset, uint64_t length);
int64_t ff_copy_range(struct ff_open *in, uint64_t from, struct ff_open *out, uint64_t to, uint64_t length);
/* Drops clean pages, as memory pressure does. */
void ff_shrink(struct ff_file *f);
/* What the backing file holds. */
void ff_backing(struct ff_file *f, uint64_t offset, void *buf, uint64_t length);

/* A request on an open file or a context; arg in and out, size from cmd. */
int64_t ff_ioctl(struct ff_open *o, uint32_t cmd, void *arg);
int64_t ff_ctx_ioctl(struct ff_ctx *c, uint32_t cmd, void *arg);
int64_t ff_ioctl_as(struct ff_open *o, uint32_t cmd, void *arg, const struct eng_cred *cred);
uint64_t ff_key(struct ff_open *o);
int64_t ff_migrate(struct ff_open *o, uint64_t offset, uint64_t length, uint32_t device);
int64_t ff_advise(struct ff_open *o, uint64_t offset, uint64_t length, uint32_t advice, uint32_t device);
/* The flags of the extent at offset, and its device. */
uint32_t ff_query(struct ff_open *o, uint64_t offset, uint32_t *device);

struct ff_ctx *ff_ctx(struct ff *ff, unsigned device);
void ff_ctx_close(struct ff_ctx *c);
/* Maps all of [offset, offset + length) of the open file; the address, 0 where refused (*err why). */
uint64_t ff_map(struct ff_ctx *c, struct ff_open *o, uint64_t offset, uint64_t length, uint32_t prot, int64_t *err);
int64_t ff_unmap(struct ff_ctx *c, uint64_t va, uint64_t length);
/* Runs one command. */
struct dmo_completion ff_run(struct ff_ctx *c, uint32_t op, const uint64_t *args, unsigned n);
#define FF_RUN(c, op, ...) \
	ff_run(c, op, (const uint64_t[]){ __VA_ARGS__ }, sizeof((uint64_t[]){ __VA_ARGS__ }) / 8)
void ff_submit(struct ff_ctx *c, uint64_t cookie, uint32_t op, const uint64_t *args, unsigned n);
struct dmo_completion ff_completion(struct ff_ctx *c);
/* The device's 8-byte load and add. */
struct dmo_completion ff_device_load(struct ff_ctx *c, uint64_t va);
struct dmo_completion ff_device_add(struct ff_ctx *c, uint64_t va, uint64_t n);
/* POSIX cksum by the device; the status in *status. */
uint64_t ff_device_cksum(struct ff_ctx *c, uint64_t va, uint64_t length, int *status);
uint64_t ff_cksum(const void *data, uint64_t length);

/* Writes a device's control file; the result. */
int64_t ff_control(struct ff *ff, unsigned device, const char *file, const char *text);
/* The number behind key in a device's file of "key number" lines ("" : the first number), and in the metrics. */
unsigned long long ff_device_number(struct ff *ff, unsigned device, const char *file, const char *key);
unsigned long long ff_metric(struct ff *ff, const char *name);

uint64_t ff_ms(void);
unsigned ff_random(void);

#endif
