/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * internal.h - what the module's files share
 *
 * Locks, in the order in which they are taken (a holder of a later one never takes an earlier one):
 *
 *   mmap_lock or a VMA's lock	the kernel's, over a CPU fault
 *   dma-buf's reservation	dma_resv_lock, by the kernel over map, unmap, vmap and vunmap of an export
 *   inode lock of the object	writers, truncate, fallocate
 *   as->lock			an address space
 *   obj->lock			an object: residency, attributes, reverse map
 *   dev->lock			a device: memory, LRU list
 *   leaves			kdm_objects_lock, kdm_devices_lock, as->out_lock, file->lock, kdm_keys_lock,
 *				remotes_lock (under which objects' locks are tried)
 *
 * None of ours but the inode lock is held over I/O, a copy, a revocation or a call into a filesystem. What
 * keeps others off a block meanwhile is its state: whoever has it MOVING may wait for folio locks, for
 * the backing file's inode lock and for the journal. So nobody may wait for a block (kdm_obj_wait)
 * who holds one of these: a CPU fault gives its folio back first, and read(2) and write(2) of tracked
 * objects pass through pages of the module, because a filesystem copies to and from the caller's memory
 * under its own locks.
 *
 * A page becomes the CPU's in two ways, each with a look at the block's state that a mover can't miss:
 *   host page	under its folio lock, which the mover takes when the block is MOVING, and unmaps (revoke.c)
 *   device page	under obj->lock, under which the block becomes MOVING
 */
#ifndef KDM_INTERNAL_H
#define KDM_INTERNAL_H

#include "core/abi.h"
#include "core/object.h"
#include "core/plan.h"
#include "core/policy.h"
#include "core/space.h"
#include "compat.h"

#include <dmo/driver.h>
#include <linux/errseq.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/memcontrol.h>
#include <linux/memremap.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#define KDM_DEVICES_MAX	63

extern struct workqueue_struct *kdm_wq;
/* For what never waits for a block: it lets blocks go that kdm_wq's work may wait for. */
extern struct workqueue_struct *kdm_end_wq;

/* ---- devices -------------------------------------------------------------- */

struct kdm_stats {
	atomic64_t faults, fault_errors, bytes_to_device, bytes_to_host, bytes_device, bytes_remote_mapped;
	atomic64_t evict_clean, evict_dirty, evict_failed, migrations, remote_maps, readahead;
	atomic64_t commands, command_errors;
	atomic64_t event_low, event_high, event_max, event_oom;
};

struct dmo_dev {
	struct kref ref;
	const struct dmo_dev_ops *ops;
	void *priv;
	struct device *parent;
	struct dmo_dev_info info;
	char name[DMO_NAME_MAX];
	char node[DMO_NAME_MAX + 4], title[DMO_NAME_MAX + 4];
	u32 memory_type;
	u64 frames;
	bool online;			/* its node is there */
	bool gone;			/* lost, or dmo_dev_destroy began; written under dev->lock */
	struct mutex lock;		/* memory, list and contexts */
	wait_queue_head_t wait;		/* memory was freed; the evictor has something to do */
	struct dmo_device core;
	struct kdm_stats stats;
	struct task_struct *evictor;
	bool evict_now;
	struct list_head spaces;	/* open contexts, under dev->lock */
	unsigned int staged, alone;	/* commands that have, and that want, the memory; under dev->lock */
	struct dev_pagemap pgmap;	/* coherent memory */
	struct page *page0;
	struct miscdevice misc;
};

static inline struct dmo_dev *kdm_dev_of(struct dmo_device *core)
{
	return container_of(core, struct dmo_dev, core);
}

/* True where the CPU reaches the device's memory by itself. */
static inline bool kdm_coherent(const struct dmo_device *core)
{
	return container_of(core, struct dmo_dev, core)->page0;
}

/* The device of that number with a reference, or NULL. */
struct dmo_dev *kdm_dev_get(u32 number);
void kdm_dev_put(struct dmo_dev *dev);
/* One more than the highest number in use. */
u32 kdm_dev_count(void);
/* Numbers and names for stored advice: negative, or false, where there is none. name: DMO_NAME_MAX bytes. */
int kdm_dev_number(const char *name);
bool kdm_dev_name(u32 number, char *name);
void kdm_dev_describe(struct dmo_dev *dev, struct dmo_device_info *info);
void kdm_devices_fini(void);

/* node.c: /dev/dmo/NAME and its files in sysfs */
int kdm_node_add(struct dmo_dev *dev);
void kdm_node_remove(struct dmo_dev *dev);

/* ---- memory.c: the core's memory ------------------------------------------ */

extern const struct dmo_mem kdm_mem;
/*
 * The same, and it waits until there is some: small pieces for what can't be refused any more. What came from
 * the one may be freed by the other.
 */
extern const struct dmo_mem kdm_mem_sure;
/* Bytes that the core has of it. */
u64 kdm_mem_held(void);

/* ---- objects -------------------------------------------------------------- */

struct kdm_obj {
	struct inode *inode;		/* on the module's own filesystem; i_private points back */
	struct inode *backing_inode;
	struct file *ro, *rw;		/* the backing file; rw NULL: nobody brought a writable one */
	const struct file_operations *backing_fops;
	const struct vm_operations_struct *backing_vm_ops;	/* set by the first mmap */
	bool fresh;			/* nobody else has the backing file: content dies with the object */
	bool tracked;			/* a device has (had) to do with it */
	bool barrier;			/* a truncate or punch is under way: no block moves */
	atomic_t direct;		/* reads and writes that went past residency */
	atomic_t users;			/* open files, mappings of both kinds */
	struct mutex lock;		/* core: residency, attributes, reverse map; barrier; dma-bufs */
	wait_queue_head_t wait;		/* a block was released, I/O ended, the barrier fell */
	struct dmo_object core;
	u64 shrunk;			/* the block at which the shrinker goes on */
	struct xarray remote;		/* pages that devices read in place, by block (remote.c) */
	u32 mappings;			/* of devices */
	struct list_head exports;	/* dma-bufs of it */
	struct list_head holds;		/* host pages that importers of them use */
	errseq_t wb_err;
	struct mem_cgroup *memcg;	/* of who made the object: pays for backing pages */
	struct hlist_node hash;
	struct delayed_work retry;	/* of an end that could not be written back */
	struct timespec64 left;		/* the backing file's mtime at the last use; 0: in use */
	struct rcu_head rcu;
};

struct kdm_file {
	struct kdm_obj *obj;
	bool reads, writes;
	errseq_t wb_seen;
	u64 client;			/* in fdinfo: one of each open file */
	u64 key;			/* 0: none yet */
	struct hlist_node key_node;
	struct mutex lock;		/* pins, migrations */
	struct list_head pins;
	struct list_head moves;		/* asynchronous migrations */
	u64 last_cookie;
	wait_queue_head_t wait;
	refcount_t refs;
};

extern const struct file_operations kdm_object_fops;
extern const struct inode_operations kdm_object_iops;

static inline struct kdm_obj *kdm_obj_of(struct dmo_object *core)
{
	return container_of(core, struct kdm_obj, core);
}

/* The kdm_file of an open object, NULL where file is none. */
struct kdm_file *kdm_file_of(struct file *file);
void kdm_file_put(struct kdm_file *f);

struct vfsmount *kdm_mount(void);
int kdm_fs_init(void);
void kdm_fs_fini(void);
/*
 * The object over backing, made where there is none, as a new open file with flags. fresh: the backing
 * file is the caller's alone and becomes the object's.
 */
struct file *kdm_object_open(struct file *backing, bool fresh, int flags);
/* The live object over a backing inode, without a reference: the caller's open file keeps it. */
struct kdm_obj *kdm_obj_lookup(struct inode *backing);
void kdm_obj_get(struct kdm_obj *obj);
/*
 * Drops a use. The last one writes back what devices hold and ends the object, now or (may not sleep
 * long) later.
 */
void kdm_obj_put(struct kdm_obj *obj);
void kdm_obj_put_later(struct kdm_obj *obj);
/* A device gets to do with the object; no lock held. */
void kdm_obj_track(struct kdm_obj *obj);
/* Calls visit for each object, with a use each and no lock held. */
void kdm_visit_objects(void (*visit)(struct kdm_obj *obj, void *arg), void *arg);
/* The same for those in a bucket of the table, one of 2^KDM_BUCKET_BITS. */
#define KDM_BUCKET_BITS	10
void kdm_visit_bucket(unsigned int bucket, void (*visit)(struct kdm_obj *obj, void *arg), void *arg);
/* Reads the backing file's size anew; obj->lock. */
void kdm_obj_refresh(struct kdm_obj *obj);
/* create.c: reserves a descriptor, req->fd, for *file; the caller installs it or gives both back. */
int kdm_create(struct dmo_object_create *req, struct file **file);

/* ---- blocks --------------------------------------------------------------- */

/* Sleeps until cond, which is looked at under obj->lock; drops the lock meanwhile. -EINTR: killed. */
#define kdm_obj_wait(obj, cond) ({ \
	int err_ = 0; \
	DEFINE_WAIT(wait_); \
	for (;;) { \
		prepare_to_wait(&(obj)->wait, &wait_, TASK_KILLABLE); \
		if (cond) \
			break; \
		if (fatal_signal_pending(current)) { \
			err_ = -EINTR; \
			break; \
		} \
		mutex_unlock(&(obj)->lock); \
		schedule(); \
		mutex_lock(&(obj)->lock); \
	} \
	finish_wait(&(obj)->wait, &wait_); \
	err_; })

/* The same for those who must come to an end. */
#define kdm_obj_wait_sure(obj, cond) do { \
	DEFINE_WAIT(wait_); \
	for (;;) { \
		prepare_to_wait(&(obj)->wait, &wait_, TASK_UNINTERRUPTIBLE); \
		if (cond) \
			break; \
		mutex_unlock(&(obj)->lock); \
		schedule(); \
		mutex_lock(&(obj)->lock); \
	} \
	finish_wait(&(obj)->wait, &wait_); \
} while (0)

static inline u64 kdm_block_of(u64 offset)
{
	return offset >> DMO_BLOCK_SHIFT;
}

static inline pgoff_t kdm_block_pgoff(const struct dmo_block *b)
{
	return b->index * DMO_BLOCK_PAGES;
}

/* What of pages [first, last] of an object lies in block index. */
static inline void kdm_cut(u64 index, u64 first, u64 last, unsigned int *from, unsigned int *count)
{
	u64 base = index * DMO_BLOCK_PAGES, end = base + DMO_BLOCK_PAGES - 1;

	*from = first > base ? first - base : 0;
	*count = (last < end ? last : end) - base - *from + 1;
}

/* Walks bits: runs (first, n) of set ones. */
#define KDM_FOR_EACH_RUN(bits, first, n) \
	for (unsigned int at_ = 0; \
	     ((n) = dmo_bits_run(bits, at_, DMO_BITS, true, &(first))); at_ = (first) + (n))

/* ---- move.c --------------------------------------------------------------- */

struct kdm_access {
	struct kdm_obj *obj;
	struct dmo_dev *dev;
	struct dmo_as *as;		/* only its page table is filled; NULL: every one of dev */
	u64 page;			/* of the object */
	u64 bytes;			/* how far the command goes on; a hint */
	bool write;
	bool whole;			/* prefetch, pin: all of [first, first + count) is owed */
	bool pin;			/* adds a pin to the copy */
	bool hold;			/* whole: the block stays MOVING, in held, and the copy pinned */
	bool holds;			/* the caller holds other blocks: it may not wait for a barrier */
	struct dmo_block *held;
	bool may_stay;			/* the device can read pages where they are */
	bool remote;			/* private: and is to */
	bool exposed;			/* ... whose pages others write unseen; with pin and write */
	unsigned int first, count;	/* whole: pages of the block */
	unsigned int waited;		/* private: for copies in use */
};

/*
 * Makes the page (or range) accessible. 0, or -EFAULT, -EIO, -EBUSY, -ENOMEM, -ENOSPC, -ENODEV, -EINTR,
 * ...; with holds -EAGAIN, too: let everything go before you ask again.
 */
int kdm_access(struct kdm_access *a);
/* Gives back what kdm_access left held on dev. */
void kdm_let_go(struct dmo_block *b, struct dmo_dev *dev);
/* Claims block index, waiting for whoever has it; obj->lock held. -EINTR, -ENOMEM. */
int kdm_claim(struct kdm_obj *obj, u64 index, struct dmo_block **block);
/* The same, then MOVING. */
int kdm_claim_moving(struct kdm_obj *obj, u64 index, struct dmo_block **block);
/* Opens a block whose change can't be refused any more; obj->lock and a user reference held. */
void kdm_open_sure(struct dmo_block *b);
/* Ends the claim (or move) and wakes who waits; obj->lock held. */
void kdm_unclaim(struct dmo_block *b);
/* Frees a copy without valid pages that nobody pinned; obj->lock held. */
void kdm_drop_empty(struct dmo_block *b, struct dmo_dev *dev);

/* ---- revoke.c ------------------------------------------------------------- */

/*
 * Takes pages of a MOVING block back from the CPU. host: an array of DMO_BLOCK_PAGES that receives a
 * reference to each host page that is in the page cache, NULL where none is. -EBUSY: a page is pinned
 * by direct I/O or the like.
 */
int kdm_revoke(struct kdm_obj *obj, struct dmo_block *b, const u64 *pages, struct page **host);
/*
 * Puts into host, with a reference each, those of n pages of the backing file from first on that are in
 * the page cache and that nobody has mapped, pinned or locked: nearly all, as a rule. False: others are
 * there, too.
 */
bool kdm_keep_settled(struct kdm_obj *obj, pgoff_t first, unsigned int n, struct page **host);
void kdm_put_pages(struct page **host, unsigned int n);
/* Unmaps a MOVING block from the CPU. -EBUSY: pages of the (coherent) copy stay in use. */
int kdm_unmap_copy(struct kdm_obj *obj, struct dmo_copy *c, unsigned int first, unsigned int count);

/* ---- shrink.c ------------------------------------------------------------- */

int kdm_shrink_init(void);
void kdm_shrink_exit(void);

/* ---- remote.c ------------------------------------------------------------- */

int kdm_remote_init(void);
void kdm_remote_exit(void);
/* The backing file's page, read in where need be, charged to the object's owner; a reference, or an error. */
struct page *kdm_host_page(struct kdm_obj *obj, pgoff_t index);
/*
 * Takes pages of the plan's window back from the CPU and finds them in the page cache, which reads them in
 * where need be; the block is MOVING, no lock held. host: as for kdm_revoke. Pages that can't be had leave
 * pages; an error where that is the one demanded. -EBUSY: as kdm_revoke.
 */
int kdm_remote_find(struct kdm_obj *obj, const struct dmo_plan *plan, u64 *pages, struct page **host);
/*
 * Enters translations of pages, which are REMOTE already or in host: what is needed of host's references is
 * taken from it. 0, -ENOMEM, errors of the driver; obj->lock held.
 */
int kdm_remote_enter(struct kdm_obj *obj, struct dmo_dev *dev, struct dmo_as *as, struct dmo_block *b,
		     const u64 *pages, struct page **host);
/* The translations of the pages are gone: gives references back. obj->lock held. */
void kdm_remote_drop(struct dmo_block *b, unsigned int first, unsigned int count);
/* The block's host pages by their place in it; obj->lock held, one of them is there. */
struct page **kdm_remote_pages(const struct dmo_block *b);
/* Nobody maps the object any more. */
void kdm_remote_fini(struct kdm_obj *obj);

/* ---- copy.c --------------------------------------------------------------- */

/* Between the copy's pages [page, page + n) and host pages. Waits. No lock held. */
int kdm_copy_pages(struct dmo_copy *c, enum dmo_copy_dir dir, unsigned int page, struct page **host,
		   unsigned int n);
/* Does the CPU copy from and to c, for want of an engine? */
bool kdm_copy_by_cpu(const struct dmo_copy *c);
/* Where that is so: the pages of c's memory themselves, about to be read by a filesystem. No references. */
int kdm_copy_frames(struct dmo_copy *c, unsigned int page, struct page **frames, unsigned int n);
/* From another device's copy of the same block. */
int kdm_copy_across(struct dmo_copy *to, struct dmo_copy *from, unsigned int page, unsigned int n);
/* Bytes within one page of a coherent copy; the run is looked up under obj->lock by the caller. */
void *kdm_copy_address(struct dmo_copy *c, unsigned int page);
int kdm_alloc_pages(struct page **pages, unsigned int n);
void kdm_free_pages(struct page **pages, unsigned int n);
/* Whole pages between the backing file and host pages; reads past the end give zeros, writes end there. */
int kdm_backing_read(struct kdm_obj *obj, u64 page, struct page **host, unsigned int n);
int kdm_backing_write(struct kdm_obj *obj, u64 page, struct page **host, unsigned int n);

/* ---- copy_out.c ----------------------------------------------------------- */

/* Pages [first, first + n) of c to the backing file. Waits. No lock held. -EROFS, -EPERM, -ENOSPC, ... */
int kdm_copy_out(struct kdm_obj *obj, struct dmo_copy *c, unsigned int first, unsigned int n);

/* ---- evict.c -------------------------------------------------------------- */

int kdm_make_room(struct dmo_dev *dev, u64 frames);
/* When the copy that would go next was used, in the device's time. False: none can go. */
bool kdm_coldest(struct dmo_dev *dev, u64 *accessed);
/*
 * Evicts pages of block index from dev (every device where NULL). 0 also where nothing was; -EBUSY:
 * pinned.
 */
int kdm_evict_pages(struct kdm_obj *obj, struct dmo_dev *dev, u64 index, unsigned int first,
		    unsigned int count);
/* Evicts all of it from dev, or from every device: the first error, the rest tried all the same. */
int kdm_evict_all(struct kdm_obj *obj, struct dmo_dev *dev);
/* Writes back what is dirty in [offset, last]. */
int kdm_clean_range(struct kdm_obj *obj, u64 offset, u64 last);
void kdm_copy_touch(struct dmo_copy *c);
void kdm_copy_freed(struct dmo_copy *c);	/* frees it; obj->lock */
int kdm_evictor_start(struct dmo_dev *dev);
void kdm_evictor_stop(struct dmo_dev *dev);
void kdm_evictor_wake(struct dmo_dev *dev);

/* ---- release.c ------------------------------------------------------------ */

/* All under obj->lock; as the engine's functions of these names. */
void kdm_release_pages(struct dmo_block *b, const u64 *bits);
void kdm_wprotect_pages(struct dmo_block *b, const u64 *bits);
void kdm_release_mapping(struct dmo_block *b, struct dmo_mapping *m, unsigned int first, unsigned int count);
/* The translations of bits that are REMOTE, or of the whole block where bits is NULL. */
void kdm_release_remote(struct dmo_block *b, const u64 *bits);
bool kdm_block_accessed(struct dmo_block *b, struct dmo_dev *dev);
/* copy NULL: of the host pages that remote.c holds */
int kdm_enter_pages(struct dmo_block *b, struct dmo_dev *dev, struct dmo_as *as, struct dmo_copy *copy,
		    unsigned int first, unsigned int count, u32 prot);

/* ---- sync.c --------------------------------------------------------------- */

int kdm_fsync(struct file *file, loff_t start, loff_t end, int datasync);
long kdm_fallocate(struct kdm_obj *obj, int mode, loff_t offset, loff_t len);
int kdm_truncate(struct kdm_obj *obj, loff_t size);
/* Makes the backing file longer; nothing that a device holds changes. */
int kdm_extend(struct kdm_obj *obj, loff_t size);
loff_t kdm_llseek(struct file *file, loff_t offset, int whence);
/* Drops every copy, unwritten; the content is dead. */
void kdm_discard(struct kdm_obj *obj);
/* Of an object without copies: the content was changed by others. */
void kdm_forget_lost(struct kdm_obj *obj);

/* ---- io.c, mmap.c, cpu.c -------------------------------------------------- */

ssize_t kdm_read_iter(struct kiocb *iocb, struct iov_iter *to);
ssize_t kdm_write_iter(struct kiocb *iocb, struct iov_iter *from);
int kdm_mmap(struct file *file, struct vm_area_struct *vma);
/* The object that is mapped there, which the VMA keeps; NULL: none. */
struct kdm_obj *kdm_vma_obj(const struct vm_area_struct *vma);
/* The same for a file that is another: its mode and credentials, and pages from vma->vm_pgoff on. */
int kdm_mmap_object(struct kdm_obj *obj, struct file *file, struct vm_area_struct *vma);
vm_fault_t kdm_cpu_fault(struct vm_fault *vmf);
vm_fault_t kdm_cpu_mkwrite(struct vm_fault *vmf);
vm_fault_t kdm_cpu_map_pages(struct vm_fault *vmf, pgoff_t start, pgoff_t end);

/* ---- contexts ------------------------------------------------------------- */

struct dmo_as {
	struct dmo_dev *dev;
	struct list_head link;		/* in dev->spaces, under dev->lock */
	void *pt;			/* the driver's; NULL once the device is gone */
	struct mutex lock;		/* the address space and pt */
	struct dmo_space space;
	/* addresses being unmapped; first > last: none. Written under as->lock, read under obj->lock */
	u64 dying_first, dying_last;
	bool keeps_va;			/* addresses that are unmapped stay the mapping's; under as->lock */
	spinlock_t out_lock;		/* completions */
	wait_queue_head_t wait;
	struct list_head out;		/* completions */
	u64 client;			/* in fdinfo */
	/* under out_lock */
	unsigned int ready;		/* completions in out */
	unsigned int outstanding;	/* commands whose completions have not been read */
	unsigned int lowat;		/* ready ones that who waits wants: dmo_completions_ready */
	unsigned int readers;		/* that wait */
	unsigned int room;		/* for completions, of the reader that has the least */
	bool closing;
	refcount_t refs;
	/* command.c: of a device that takes no faults; all under out_lock */
	struct list_head queue;
	struct kdm_staged *running;
	unsigned int paused;		/* none is started */
	struct work_struct start, end;
};

int kdm_as_open(struct inode *inode, struct file *file);
int kdm_as_release(struct inode *inode, struct file *file);
ssize_t kdm_as_read(struct file *file, char __user *buf, size_t length, loff_t *pos);
ssize_t kdm_as_write(struct file *file, const char __user *buf, size_t length, loff_t *pos);
__poll_t kdm_as_poll(struct file *file, poll_table *wait);
/* The device is going: ends what runs in the context. */
void kdm_as_end(struct dmo_as *as);
/* One of its contexts that has not ended, with the right to end it and a reference; NULL. */
struct dmo_as *kdm_as_first(struct dmo_dev *dev);
void kdm_as_put(struct dmo_as *as);
/* Puts a completion where read(2) finds it. */
void kdm_as_complete(struct dmo_as *as, const struct dmo_completion *c);
void kdm_as_lowat(struct dmo_as *as, unsigned int count);	/* DMO_IOC_LOWAT */

/* command.c: for devices that take no faults */
void kdm_commands_init(struct dmo_as *as);
/* Takes commands; each gives one kdm_as_complete. 0 or -ENOMEM: none was taken. */
int kdm_commands_queue(struct dmo_as *as, const struct dmo_command *cmds, unsigned int n);
/* The driver says that the running one is over. */
void kdm_command_done(struct dmo_as *as, const struct dmo_completion *c);
/* None runs, and none starts until the resume. -EINTR: killed, nothing to resume. */
int kdm_commands_pause(struct dmo_as *as);
void kdm_commands_resume(struct dmo_as *as);
/* as->closing is set: what waits completes ECANCELED, what runs is waited for. Afterwards no work is left. */
void kdm_commands_end(struct dmo_as *as);

extern const struct dmo_space_ops kdm_space_ops;
int kdm_as_map(struct dmo_as *as, struct dmo_map *req);
int kdm_as_unmap(struct dmo_as *as, struct dmo_unmap *req);
/* One checked operation of each; va: where it came. */
int kdm_as_map_object(struct dmo_as *as, struct kdm_obj *obj, const struct dmo_map_op *op, u64 *va);
int kdm_as_unmap_range(struct dmo_as *as, u64 va, u64 length);
/* mirror.c: from the address space of the calling task */
int kdm_as_mirror(struct dmo_as *as, const struct dmo_mirror *req);
/* Unmaps everything for good, and returns the page table, which is the context's no more. */
void *kdm_as_unmap_all(struct dmo_as *as);
int kdm_as_fault(struct dmo_as *as, u64 va, u64 bytes, bool write);

/* ---- requests ------------------------------------------------------------- */

long kdm_object_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long kdm_as_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long kdm_control_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
int kdm_key_make(struct kdm_file *f, u64 *key);
void kdm_key_drop(struct kdm_file *f);
/* The object of a key (or, with DMO_MAP_FD, of a file descriptor), with a use; NULL. */
struct kdm_obj *kdm_key_find(u64 key, bool *reads, bool *writes);
struct kdm_obj *kdm_fd_find(u64 fd, bool *reads, bool *writes);
int kdm_advise(struct kdm_file *f, const struct dmo_advise *adv);
int kdm_fadvise(struct file *file, loff_t offset, loff_t len, int advice);
/* Reads stored advice; once, when the object begins, before anybody sees it. 0 or -ENOMEM. */
int kdm_advice_load(struct kdm_obj *obj);
/* Does advice outlive the object? */
bool kdm_stores_advice(const struct kdm_obj *obj);
int kdm_migrate(struct kdm_file *f, struct dmo_migrate *m);
int kdm_migrate_async(struct kdm_file *f, struct dmo_migrate *m);
int kdm_migrate_wait(struct kdm_file *f, struct dmo_wait *w);
void kdm_migrate_forget(struct kdm_file *f);
bool kdm_migrate_over(struct kdm_file *f);
int kdm_query(struct kdm_file *f, struct dmo_query *q);
int kdm_pin(struct kdm_file *f, struct dmo_pin *pin);
int kdm_unpin(struct kdm_file *f, u64 id);
void kdm_unpin_all(struct kdm_file *f);
/* Pages that leases of the open file cover. */
u64 kdm_pinned(struct kdm_file *f);

/* ---- fdinfo.c ------------------------------------------------------------- */

u64 kdm_client_new(void);
void kdm_object_show(struct seq_file *m, struct file *file);
void kdm_as_show(struct seq_file *m, struct file *file);

/* ---- pin.c: what pins are made of ----------------------------------------- */

/* Pages of an object, last included. held: who holds them writes without a page table of ours. */
struct kdm_range {
	u64 first, last;
	bool held;
};

static inline struct kdm_range kdm_range_of(u64 offset, u64 length)
{
	u64 end = (offset + length) >> DMO_PAGE_SHIFT;

	return (struct kdm_range){ offset >> DMO_PAGE_SHIFT, end - 1, false };
}

static inline u64 kdm_range_pages(const struct kdm_range *r)
{
	return r->last - r->first + 1;
}

/* To whom pages are charged, with a reference, and how many he may have pinned. */
struct kdm_payer {
	struct user_struct *user;
	u64 limit;
};

/*
 * The caller, or who flags and charge of the request name: -EPERM the caller may not, -ESRCH there is no such
 * process of that user.
 */
int kdm_payer_find(struct kdm_payer *payer, u32 flags, u64 charge);
void kdm_payer_put(struct kdm_payer *payer);
/* -EDQUOT: it would be more than the limit. */
int kdm_charge(const struct kdm_payer *payer, u64 pages);
void kdm_uncharge(const struct kdm_payer *payer, u64 pages);
/* The device with a reference on it and on its driver, or NULL. */
struct dmo_dev *kdm_get_pinnable(u32 number);
void kdm_put_pinnable(struct dmo_dev *dev);
/* -EINVAL: not all of it lies in the object; -ENOSPC: more than dev (may be NULL) may hold. */
int kdm_pin_check(struct kdm_obj *obj, struct dmo_dev *dev, const struct kdm_range *r);
/* Makes the range resident and counts a pin in each copy; the object is tracked. 0, or as kdm_access. */
int kdm_pin_pages(struct kdm_obj *obj, struct dmo_dev *dev, const struct kdm_range *r);
void kdm_unpin_pages(struct kdm_obj *obj, struct dmo_dev *dev, const struct kdm_range *r);

/* ---- dma-bufs ------------------------------------------------------------- */

struct dma_buf;

/*
 * dmabuf_export.c: reserves a descriptor, req->fd, for *file; the caller installs it or gives both
 * back.
 */
int kdm_export(struct kdm_file *f, struct dmo_export *req, struct file **file);
/* A copy of pages [first, last] is under way: it goes into the reservations of their dma-bufs. */
void kdm_export_fence(struct kdm_obj *obj, u64 first, u64 last, struct dma_fence *fence);
/*
 * dmabuf_import.c: a backing file that is the dma-buf, as a new open file of its mode. -EACCES: it can't be
 * read; -ELOOP: it is an export of ours; -EOPNOTSUPP: the CPU has no way to it.
 */
struct file *kdm_import(struct dma_buf *dmabuf);
/* The inode ends. */
void kdm_import_evict(struct inode *inode);
/* On whose behalf (main.c). */
struct device *kdm_control_device(void);
/* dmabuf_hold.c: does an importer hold host pages of those of the block? obj->lock. */
bool kdm_host_held(struct kdm_obj *obj, const struct dmo_block *b, const u64 *pages);

#endif
