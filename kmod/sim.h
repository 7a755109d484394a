/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim.h - a device's compute half in software: page tables, TLB, commands, copy engine
 *
 * dmo_sim.ko is made of it and of ordinary memory; dmo_ivshmem.ko takes it in for a PCI device that has
 * memory and nothing else. It obeys the rules of a real device: it reaches memory through its page
 * tables and its copy engine alone, and goes on using a translation that it cached until it is told to
 * forget it.
 *
 * Locks, in their order:
 *	pt->enter_lock	one pt_enter at a time
 *	pt->sem		read: an access to memory through a translation; write: an invalidation of the
 *			TLB, which so waits for accesses under way
 *	pt->lock	the page table
 *	pt->queue_lock	the commands
 *	link->lock	the link
 * None is held while a fault is waited for.
 */
#ifndef SIM_H
#define SIM_H

#include <dmo/driver.h>
#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/list.h>
#include <linux/maple_tree.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#define SIM_PAGE	DMO_PAGE_SIZE
#define SIM_BLOCK_PAGES	(DMO_BLOCK_SIZE / DMO_PAGE_SIZE)
#define SIM_TLB		64u

enum sim_link_dir { SIM_LINK_IN, SIM_LINK_OUT };

/* The link between host and device, as a clock: a transfer reserves its time, nothing is carried. */
struct sim_link {
	u64 bandwidth;			/* bytes a second each way; 0: unlimited */
	u64 latency;			/* ns, added to each arrival */
	spinlock_t lock;		/* busy */
	u64 busy[2];			/* when each direction is free again, ns */
};

struct sim {
	/* set before sim_start */
	char *memory;			/* NULL: coherent memory, which dmo.ko maps */
	bool faults;			/* resolves its own; else a miss ends the command */
	struct sim_link link;		/* bandwidth and latency */
	const struct dmo_dev_ops *ops;	/* NULL: sim_ops */
	struct sim_optional *optional;	/* NULL: none of sim_optional.c */
	/* ---- */
	struct dmo_dev *dev;
	struct workqueue_struct *copies, *commands;
	atomic_t copy_fail;		/* the Nth copy from now fails; 0: none */
	bool lost;			/* commands end with EIO, copies with ENODEV */
};

/* 2 MiB of device addresses. Linear until a page comes whose frame does not continue the others'. */
struct sim_block {
	u32 base;			/* linear: page i is frame base + i */
	u32 *frames;			/* else: page by page */
	struct page **host;		/* of those that are remote; NULL: there were none yet */
	unsigned int holds;		/* pt_enter needs it to stay */
	DECLARE_BITMAP(entered, SIM_BLOCK_PAGES);
	DECLARE_BITMAP(remote, SIM_BLOCK_PAGES);	/* entered, and a page of the host */
	DECLARE_BITMAP(writable, SIM_BLOCK_PAGES);
	DECLARE_BITMAP(accessed, SIM_BLOCK_PAGES);
	DECLARE_BITMAP(dirty, SIM_BLOCK_PAGES);
};

struct sim_tlb_entry {
	u64 va;
	u32 frame;
	struct page *host;		/* remote; NULL: frame */
	bool valid, write;		/* write: the page table says dirty already */
};

/* Remote bytes that have come over the link and were not used yet. */
struct sim_paid {
	u64 va, end;
};

#define SIM_OPERANDS	2		/* that a command reads side by side */
#define SIM_PIECE	(64u << 10)	/* asked from the link at a time */

struct sim_pt {
	struct sim *sim;
	struct dmo_as *as;
	struct mutex enter_lock;	/* pt_enter */
	struct rw_semaphore sem;	/* accesses and tlb */
	spinlock_t lock;		/* table and its blocks */
	struct maple_tree addresses;	/* sim_optional.c: reserved pages; has a lock of its own */
	struct xarray table;		/* number of the block of addresses to struct sim_block */
	struct sim_tlb_entry tlb[SIM_TLB];
	spinlock_t queue_lock;		/* queue */
	struct list_head queue;
	struct work_struct work;	/* runs the queue; one at a time */
	bool dying;
	/* of the one command that runs */
	u64 faults, waited_ns;
	struct sim_paid paid[SIM_OPERANDS];
	unsigned int last_paid;
	u8 buffer[SIM_PAGE];
};

/* ---- sim_device.c ---- */
extern const struct dmo_dev_ops sim_ops;
/* Makes the device and gives it its memory. After an error sim_stop is still owed. */
int sim_start(struct sim *sim, const char *name, struct device *parent, const struct dmo_physmem *mem);
/* Ends it; what sim_start made is gone. Once more does nothing. */
void sim_stop(struct sim *sim);

/* ---- sim_mmu.c ---- */
void sim_mmu_init(struct sim_pt *pt);
void sim_mmu_destroy(struct sim_pt *pt);
int sim_pt_enter(void *pt, const struct dmo_pte_run *run);
void sim_pt_release(void *pt, u64 va, u32 pages, unsigned long *dirty);
void sim_pt_protect(void *pt, u64 va, u32 pages, unsigned long *dirty);
bool sim_pt_accessed(void *pt, u64 va, u32 pages);
void sim_tlb_invalidate(void *pt, u64 va, u64 pages);
void sim_tlb_invalidate_ranges(void *pt, const struct dmo_va_range *ranges, u32 count);
/* A command begins: it has paid for nothing. */
void sim_touch_begin(struct sim_pt *pt);
/*
 * The memory behind va, to the end of its page, with pt->sem held for reading (up_read when done).
 * Faults as often as need be; more: how many bytes from va on the command will want. An ERR_PTR: no
 * memory, pt->sem not held.
 */
void *sim_touch(struct sim_pt *pt, u64 va, u64 more, bool write);

/* ---- sim_exec.c ---- */
int sim_submit(void *pt, const struct dmo_command *commands, u32 count);
void sim_exec_init(struct sim_pt *pt);
/* Completes what is queued with ECANCELED, and waits for what runs. */
void sim_exec_end(struct sim_pt *pt);

/* ---- sim_ops.c ---- */
/* Runs a checked command: 0 with its results, or -errno with the address that failed. */
int sim_op(struct sim_pt *pt, const struct dmo_command *cmd, struct dmo_completion *c);

/* ---- sim_copy.c ---- */
struct dma_fence *sim_copy(void *sim, const struct dmo_copy_job *jobs, u32 count);

/* ---- sim_optional.c, in dmo_sim.ko alone ---- */
/* Before sim_start. After an error sim_optional_fini is still owed, which comes after sim_stop. */
int sim_optional_init(struct sim *sim, u64 size);
void sim_optional_fini(struct sim *sim);
/* The Nth call from now fails. -EINVAL: no such call. */
int sim_optional_fail(struct sim *sim, const char *call, int nth);
int sim_optional_show(struct sim *sim, const char *name, char *buffer, int at);

/* ---- sim_link.c ---- */
/* Reserves bytes in a direction: when they have arrived, in ns of ktime_get_ns; 0: at once. */
u64 sim_link_reserve(struct sim_link *link, enum sim_link_dir dir, u64 bytes);
/* Sleeps until then. */
void sim_link_wait(u64 when);

static inline void *sim_frame(struct sim *sim, u32 frame)
{
	return sim->memory ? sim->memory + (u64)frame * SIM_PAGE : dmo_dev_frame_address(sim->dev, frame);
}

#endif
