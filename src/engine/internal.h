/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * internal.h - what the engine's files share
 *
 * Locks, in the order in which they are taken (a holder of a later one never takes an earlier one):
 *
 *   ctx->lock      a context's address space and command queue
 *   obj->lock      an object: residency, attributes, reverse map, parked requests, pins
 *   dev->lock      a device: memory, LRU list, counters
 *   leaves         eng->lock (lists, keys), pool->lock, file->lock (finished migrations), ctx->out_lock (completions)
 *
 * None is held over I/O, a copy, a revocation, or a call into the filesystem. A device's as_* calls are made under
 * obj->lock: they never wait for a fault.
 *
 * Threads. Filesystem workers call the functions of engine.h. They may wait for copies (a block that is MOVING never
 * depends on the filesystem) but never for a revocation; where they would wait for a block they park the request,
 * and the thread that ends the move runs it. Pool threads (eng_pool_run) do everything that revokes. The evictor, one
 * for each device, keeps device memory between the watermarks; it never revokes: a CPU's copy of a page stays right
 * when the page moves to the backing file.
 */
#ifndef ENG_INTERNAL_H
#define ENG_INTERNAL_H

#include "core/abi.h"
#include "core/object.h"
#include "core/plan.h"
#include "core/policy.h"
#include "core/query.h"
#include "core/space.h"
#include "engine/engine.h"

#include <dmo/backend.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define ENG_DEVICES_MAX DMO_DEVICES_MAX	/* one more is the staging device */

/* ---- pool.c: threads for work that may wait ------------------------------------------------------------ */

struct eng_work {
	void (*run)(struct eng_work *work);
	struct eng_work *next;
};

struct eng_pool {
	pthread_mutex_t lock;
	pthread_cond_t wake, idle;
	struct eng_work *head, **tail;
	unsigned threads, waiting, queued;
	bool stop;
};

void eng_pool_init(struct eng_pool *pool);
/* Queues work; a thread is started when none waits. Never fails: at worst it runs later. */
void eng_pool_run(struct eng_pool *pool, struct eng_work *work);
/* Runs what is queued, then ends the threads. */
void eng_pool_fini(struct eng_pool *pool);

/* ---- the engine ------------------------------------------------------------------------------------------ */

struct engine {
	struct eng_config config;
	const struct eng_fs_ops *fs;
	struct eng_pool pool;
	struct eng_device *devices[ENG_DEVICES_MAX];
	unsigned nr_devices;
	struct eng_device *stage;	/* host memory for what the store refuses; stage.c */
	pthread_mutex_t lock;
	struct dmo_link objects;	/* tracked ones */
	struct eng_key *keys[256];
	struct eng_pinned *pinned;	/* bytes pinned, by user */
	u64 last_pin;
	atomic_ullong last_promise;
	pthread_mutex_t advice_lock;	/* one writer of stored advice; before obj->lock */
	bool started;
	atomic_bool no_uring;
	atomic_ullong revocations, revoke_retries, parked, rerevocations;
	atomic_ullong tier_submits, tier_entries, tier_bytes_in, tier_bytes_out, tier_direct;
};

extern const struct dmo_mem eng_mem;

/* Visits every object that devices have to do with, each with a reference; the first error. No lock held. */
int eng_for_each_object(struct engine *eng, int (*visit)(struct eng_object *obj, void *arg), void *arg);


void eng_log(struct engine *eng, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- devices ------------------------------------------------------------------------------------------------ */

struct eng_stats {
	atomic_ullong faults, fault_errors, bytes_to_device, bytes_to_host, bytes_device, bytes_remote_mapped;
	atomic_ullong evict_clean, evict_dirty, evict_failed, migrations, remote_maps, readahead;
	atomic_ullong commands, command_errors;
	atomic_ullong event_low, event_high, event_max, event_oom;
};

struct eng_device {
	struct engine *eng;
	const struct dmo_backend_ops *ops;
	void *dev;			/* the backend's */
	struct dmo_backend_info info;
	char name[DMO_NAME_MAX];
	uid_t uid;
	gid_t gid;
	mode_t mode;
	bool inject;			/* takes fault injection */
	pthread_mutex_t lock;
	pthread_cond_t cond;		/* memory was freed; the evictor has something to do */
	struct dmo_device core;
	struct eng_stats stats;
	pthread_t evictor;
	bool evictor_on, stop, evict_now;
	atomic_bool lost;
	struct eng_work lost_work;
};

void eng_device_free(struct eng_device *dev);
void eng_device_describe(struct eng_device *dev, struct dmo_device_info *info);
/* memory.max, .high or .low from "16M" or "max"; wakes the evictor, does not wait. 0 or -EINVAL. */
int eng_device_set_limit(struct eng_device *dev, const char *file, const char *text);
int eng_evictor_start(struct eng_device *dev);
void eng_evictor_stop(struct eng_device *dev);
void eng_evictor_wake(struct eng_device *dev);

/* ---- objects -------------------------------------------------------------------------------------------------- */

struct eng_object {
	struct engine *eng;
	void *inode;
	pthread_mutex_t lock;
	pthread_cond_t cond;		/* a block was released, I/O ended, the barrier fell */
	struct dmo_object core;
	struct dmo_link link;		/* in eng->objects */
	atomic_bool tracked;		/* a device has (had) to do with it */
	atomic_bool ready;		/* ... and nothing of the time before is under way */
	atomic_uint direct_writes;	/* writes under way on the caller's own fd */
	atomic_uint refs;		/* mappings, copies, work: the inode is kept while not 0 */
	bool copies_ref;		/* one of refs is for core.copies */
	bool barrier;			/* a truncate or punch is under way: no block moves */
	bool forgotten, unlinked;
	bool advice_loaded;
	int fd;				/* backing file, -1 until needed */
	bool fd_writes;
	int direct_fd;			/* the same with O_DIRECT; -1: not opened, -2: can't be had */
	void *map;			/* backing file mapped for remote access */
	size_t map_length;
	unsigned bypass;		/* passthrough opens */
	unsigned mappings;
	int wb_error;			/* last write-back error ... */
	u32 wb_seq;			/* ... and how many there were */
	struct eng_req *parked, **parked_tail;
	struct eng_underway *underway;	/* writes whose pages may have been revoked under them */
	struct eng_promise *promises;	/* migrations under way */
};

struct eng_done {			/* a finished asynchronous migration */
	struct eng_done *next;
	struct dmo_wait result;
	bool over;
};

struct eng_file {
	struct eng_object *obj;
	atomic_uint refs;		/* the open itself, requests, and asynchronous migrations */
	int fd;
	bool reads, writes;
	struct eng_cred cred;
	u32 wb_seen;
	u64 key;			/* 0: none yet */
	u64 last_cookie;
	pthread_mutex_t lock;
	struct eng_done *migrations;
	void *poll_handle;
	struct eng_pin *pins;
};

/* A reference that keeps the object; the put may free it when it returns. */
void eng_object_ref(struct eng_object *obj);
void eng_object_unref(struct eng_object *obj);
/* The last put frees the file; eng_release does the first. */
void eng_file_put(struct eng_file *file);
/* Makes a device's interest known: opens the backing file and begins to track. On a pool thread, no lock held. */
int eng_object_track(struct eng_object *obj);
/* Opens obj->fd (for writing where the store can), if it isn't; no lock held. */
int eng_object_backing(struct eng_object *obj);

static inline u64 eng_block_of(u64 offset)
{
	return offset >> DMO_BLOCK_SHIFT;
}

/* ---- ranges: what of [offset, offset + length) lies in each block ---------------------------------------------------- */

struct eng_part {
	u64 index;
	u64 start, end;		/* bytes of the object */
	unsigned first, count;	/* pages of the block, the ragged ones too */
};

static inline bool eng_next_part(struct eng_part *p, u64 offset, u64 length, bool begin)
{
	u64 end = offset + length, base;

	if (begin)
		*p = (struct eng_part){ .index = eng_block_of(offset) };
	else
		p->index++;
	base = p->index << DMO_BLOCK_SHIFT;
	if (base >= end)
		return false;
	p->start = base > offset ? base : offset;
	p->end = end < base + DMO_BLOCK_SIZE ? end : base + DMO_BLOCK_SIZE;
	p->first = (p->start - base) >> DMO_PAGE_SHIFT;
	p->count = ((p->end - base + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT) - p->first;
	return true;
}

#define FOR_EACH_PART(p, offset, length) \
	for (bool go_ = eng_next_part(&(p), offset, length, true); go_; \
	     go_ = eng_next_part(&(p), offset, length, false))

/* ---- io.c: CPU reads and writes ------------------------------------------------------------------------------------ */

/* Runs parked requests; no lock held. Call after anything that released a block or the barrier. */
void eng_unpark(struct eng_object *obj);
/* Copies between host memory and pages that a copy holds: offset and bytes within the block. Waits. */
int eng_copy_bytes(struct dmo_copy *copy, enum dmo_copy_dir dir, u64 offset, u64 bytes, void *host);

/* Reads length bytes from where each page is at its newest; the blocks have I/O under way. length or -errno. */
int64_t eng_read_bytes(struct eng_file *f, char *buf, u64 offset, u64 length);

/* ---- race.c: write(2) against revocation ----------------------------------------------------------------------------- */

typedef int64_t (*eng_write_fn)(struct eng_file *f, const char *buf, u64 offset, u64 length, u32 flags);

enum eng_hold { ENG_HOLD_NOT, ENG_HOLD_REVOKE, ENG_HOLD_WAIT };

/* A write begins, its blocks prepared and no page of them being written back; obj->lock held. NULL: no memory. */
struct eng_underway *eng_underway_begin(struct eng_object *obj, u64 offset, u64 length);
/* Takes the bytes that are there, and the new ones; before any of these is in place. No lock held. */
void eng_underway_fill(struct eng_underway *u, struct eng_file *f, const char *buf);
/* The new bytes are in place: may the CPU have the old ones in its cache? No lock held. */
enum eng_hold eng_underway_look(struct eng_underway *u);
/* One of these ends u. The second answers req with result when the CPU has the old bytes no longer. */
void eng_underway_end(struct eng_underway *u);
void eng_underway_hold(struct eng_underway *u, struct eng_req *req, int64_t result, enum eng_hold hold);
/* Writes a page that the kernel writes back, with the bytes of writes under way kept. As write. */
int64_t eng_underway_patch(struct eng_file *f, const char *buf, u64 offset, u64 length, eng_write_fn write);

/* ---- release.c: translations -------------------------------------------------------------------------------------- */

/* Takes the translations of the block's pages in bits away everywhere and books what was harvested. obj->lock. */
void eng_release_pages(struct dmo_block *b, const u64 *bits);
void eng_wprotect_pages(struct dmo_block *b, const u64 *bits);
/* The same for one mapping's translations of pages; those of other mappings stay. */
void eng_release_mapping(struct dmo_block *b, struct dmo_mapping *m, unsigned first, unsigned count);
/* Asks (and resets) whether any device used the block's pages. */
bool eng_block_accessed(struct dmo_block *b, struct eng_device *dev);

/* ---- move.c: the one way in which pages come to a device -------------------------------------------------------------- */

struct eng_access {
	struct eng_object *obj;
	struct eng_device *dev;
	struct eng_ctx *ctx;		/* whose fault it is: only its page table is filled; NULL: every one of dev */
	u64 page;			/* of the object */
	u64 bytes;			/* how far the command goes on; a hint */
	bool write;
	bool whole;			/* prefetch, pin: all pages of [first, first + count) of the block are owed */
	u64 age;			/* of the promise that it helps to keep; 0: of none */
	bool may_stay;			/* remote mapping is an answer */
	bool pin;			/* adds a pin to the copy */
	bool no_wait;			/* gives up with -EBUSY where the CPU does not let go or memory is not free */
	unsigned first, count;		/* whole: pages of the block */
	const atomic_bool *cancel;	/* -EINTR when it becomes true; may be NULL */
};

/* Makes the page (or range) accessible. 0, or -EFAULT, -EIO, -EBUSY, -ENOMEM, -ENOSPC, -ENODEV, -EINTR, errors of I/O. */
int eng_access(struct eng_access *a);
/*
 * For devices without faults: enters the translations of pages that are there and pinned, and leaves the block MOVING.
 * 0; -EAGAIN: something would have to be revoked or brought first; or as eng_access. eng_let_go ends it.
 */
int eng_hold(struct eng_access *a);
void eng_let_go(struct eng_object *obj, u64 index);
/* Claims block index of obj, waiting for whoever has it; obj->lock held. */
int eng_claim(struct eng_object *obj, u64 index, const atomic_bool *cancel, struct dmo_block **block);
/* Undoes the claim (or move), wakes those who wait; obj->lock held. Call eng_unpark after dropping it. */
void eng_unclaim(struct dmo_block *b);

/* ---- evict.c ------------------------------------------------------------------------------------------------------------- */

/*
 * A migration under way: what it has brought to dev so far is to be there at its end. So the background spares it, and
 * who needs memory takes it last; of two migrations the older one takes from the younger, which waits for it.
 */
struct eng_promise {
	struct eng_promise *next;	/* of the object's, under obj->lock */
	struct eng_device *dev;
	u64 first, last;		/* pages; last included */
	u64 age;			/* the lower the older, never 0 */
};

#define ENG_SPARE_ALL	(~0ull - 1)	/* above every age */

/*
 * Frees at least frames of device memory, for a migration with the age of its promise. 0; -ENOSPC: all of it is pinned,
 * or the migration's own; -EBUSY: all busy; or why eviction failed.
 */
int eng_make_room(struct eng_device *dev, u64 frames, u64 age, const atomic_bool *cancel);
/*
 * The copy that would go next: its object (with a reference, or NULL), block index and last use. None that is promised
 * by a migration of age spare or older.
 */
struct eng_object *eng_victim(struct eng_device *dev, u64 spare, u64 *index, u64 *accessed);
/* Evicts block index from dev (or every device where NULL). 0 also where nothing was; -EBUSY: pinned; or an error. */
int eng_evict_block(struct eng_object *obj, struct eng_device *dev, u64 index);
/* The same for some pages of the block, on every device. */
int eng_evict_pages(struct eng_object *obj, u64 index, unsigned first, unsigned count);
/* Writes back (CLEAN) what is dirty in [offset, last]; the first error, the rest tried all the same. No lock held. */
int eng_clean_range(struct eng_object *obj, u64 offset, u64 last);
void eng_copy_touch(struct dmo_copy *copy);	/* obj->lock: to the hot end of the list */

/* ---- tier.c: io_uring between backing files and device memory ---------------------------------------------------------- */

/* Pages [first, first + count) of the copy's block, all in chunks. Waits. 0 or -errno. */
int eng_tier_in(struct dmo_copy *copy, unsigned first, unsigned count);
int eng_tier_out(struct dmo_copy *copy, unsigned first, unsigned count);
/* Carries out all steps of a kind: COPY_IN, COPY_OUT, COPY_DEVICE. */
int eng_tier_steps(const struct dmo_plan *plan, enum dmo_step_kind kind);
void eng_tier_thread_exit(void);

/* ---- stage.c -------------------------------------------------------------------------------------------------------------- */

/* A device made of host memory that takes what the store refuses; it is always there and never evicts by itself. */
int eng_stage_create(struct engine *eng);
void eng_stage_destroy(struct engine *eng);
/* Takes bytes of a mapped page that could not be written. Waits. 0 or -ENOMEM. */
int eng_stage_write(struct eng_object *obj, const void *buf, u64 offset, u64 length);

/* ---- sync.c ----------------------------------------------------------------------------------------------------------------- */

/* Drops every copy of a file that nobody can read any more. */
void eng_object_discard(struct eng_object *obj);
void eng_writeback_error(struct eng_object *obj, int err);	/* obj->lock */
/* Punches a hole; waits, but never for a revocation. */
int eng_punch(struct eng_file *file, u64 offset, u64 length);
int eng_writeback_result(struct eng_file *file);		/* no lock */

/* ---- context.c, fault.c, command.c, map.c ------------------------------------------------------------------------------------- */

struct eng_out {
	struct eng_out *next;
	struct dmo_completion completion;
};

struct eng_ctx {
	struct eng_device *dev;
	struct eng_cred cred;
	void *as;			/* the backend's */
	pthread_mutex_t lock;
	struct dmo_space space;
	pthread_mutex_t out_lock;
	pthread_cond_t out_cond;
	struct eng_out *out, **out_tail;
	struct eng_out *spare;		/* for the completions of commands under way */
	unsigned ready;			/* completions in out */
	unsigned outstanding;		/* commands written whose completions have not been read */
	unsigned lowat;			/* ready ones that a waiting reader wants: dmo_completions_ready */
	struct eng_req *readers;	/* waiting for completions */
	void *poll_handle;
	unsigned users;			/* work that uses the context, under out_lock */
	atomic_ullong dying_first, dying_last;	/* addresses being unmapped; first > last: none */
	atomic_bool closing;
	struct eng_staged *queue, **queue_tail;	/* faults=no: commands not started yet */
	bool queue_running;
	struct eng_staged *running;
};

extern const struct dmo_host eng_host;
extern const struct dmo_space_ops eng_space_ops;

void eng_ctx_cancel(struct eng_ctx *ctx, struct eng_req *req);
void eng_ctx_complete(struct eng_ctx *ctx, const struct dmo_completion *c);
void eng_ctx_lowat(struct eng_ctx *ctx, unsigned count);	/* DMO_IOC_LOWAT */
void eng_ctx_enter(struct eng_ctx *ctx);		/* work begins that uses the context; eng_ctx_release waits */
void eng_ctx_leave(struct eng_ctx *ctx);
void eng_ctx_unmap_all(struct eng_ctx *ctx);
int eng_ctx_map(struct eng_ctx *ctx, struct dmo_map *req);
int eng_ctx_unmap(struct eng_ctx *ctx, struct dmo_unmap *req);
int eng_ctx_mirror(struct eng_ctx *ctx, const struct dmo_mirror *req, const struct eng_cred *cred);
int eng_ctx_fault(struct eng_ctx *ctx, u64 va, u64 bytes, bool write, const atomic_bool *cancel);
/* The page table entries of the step's pages, in ctx (or every address space of dev where NULL). obj->lock. */
int eng_enter_pages(struct dmo_block *b, struct eng_device *dev, struct eng_ctx *ctx, struct dmo_copy *copy,
		    unsigned first, unsigned count, u32 prot);
int eng_command_queue(struct eng_ctx *ctx, const struct dmo_command *cmds, unsigned n);
void eng_command_done(struct eng_ctx *ctx, const struct dmo_completion *c);
void eng_command_flush(struct eng_ctx *ctx);

/* ---- key.c, advice.c, pin.c, query.c, migrate.c ---------------------------------------------------------------------------- */

int eng_key_make(struct eng_file *file, u64 *key);
void eng_key_drop(struct eng_file *file);
/* The object of a key, with a reference, and what its open file may do; NULL: dead. */
struct eng_object *eng_key_find(struct engine *eng, u64 key, bool *reads, bool *writes);

int eng_advise(struct eng_file *file, const struct dmo_advise *adv, const struct eng_cred *cred,
	       const atomic_bool *cancel);
void eng_advice_load(struct eng_object *obj);	/* no lock held */
int eng_query(struct eng_file *file, struct dmo_query *q);
int eng_migrate(struct eng_file *file, struct dmo_migrate *m, const struct eng_cred *cred, const atomic_bool *cancel);
int eng_migrate_async(struct eng_file *file, struct dmo_migrate *m, const struct eng_cred *cred);
/* 0; -ENOENT: no such migration; -EAGAIN: not over yet. */
int eng_migrate_wait(struct eng_file *file, struct dmo_wait *w);
int eng_pin(struct eng_file *file, struct dmo_pin *pin, const struct eng_cred *cred, const atomic_bool *cancel);
int eng_unpin(struct eng_file *file, u64 id);
void eng_unpin_all(struct eng_file *file);
void eng_pin_accounts_free(struct engine *eng);

/* ---- lost.c -------------------------------------------------------------------------------------------------------------------- */

void eng_device_lost(struct eng_device *dev);

#endif
