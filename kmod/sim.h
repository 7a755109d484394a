/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim.h - what the files of dmo_sim.ko share
 *
 * Locks: pt->sem is held for reading over each access to memory through a translation, for writing by
 * an invalidation of the TLB, which so waits for accesses under way. pt->queue_lock: the commands.
 */
#ifndef SIM_H
#define SIM_H

#include <dmo/driver.h>
#include <linux/list.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#define SIM_PAGE	4096u
#define SIM_TLB		64u

struct sim {
	struct dmo_dev *dev;
	char *memory;			/* the CPU reaches it in truth, and nobody but this driver does */
	u64 frames;
	struct workqueue_struct *copies, *commands;
	u64 fence_context;
	spinlock_t fence_lock;		/* of the fences themselves */
	atomic64_t fence_seq;
};

struct sim_tlb_entry {
	u64 va;
	u32 frame;
	bool valid, write;		/* write: the page table says dirty already */
};

struct sim_pt {
	struct sim *sim;
	struct dmo_as *as;
	struct xarray table;		/* page of the address to frame and bits (sim_mmu.c) */
	struct rw_semaphore sem;
	struct sim_tlb_entry tlb[SIM_TLB];
	spinlock_t queue_lock;		/* the queue */
	struct list_head queue;
	struct work_struct work;	/* runs the queue; one at a time */
	bool dying;
	char buffer[SIM_PAGE];		/* of the one command that runs */
};

static inline void *sim_frame(struct sim *sim, u32 frame)
{
	return sim->memory + (u64)frame * SIM_PAGE;
}

/* sim_mmu.c */
int sim_pt_enter(void *pt, const struct dmo_pte_run *run);
void sim_pt_release(void *pt, u64 va, u32 pages, unsigned long *dirty);
void sim_pt_protect(void *pt, u64 va, u32 pages, unsigned long *dirty);
bool sim_pt_accessed(void *pt, u64 va, u32 pages);
void sim_tlb_invalidate(void *pt, u64 va, u64 pages);
/*
 * The memory behind va, with pt->sem held for reading (up_read when done). Faults as often as need be;
 * more: how many bytes from va on the command will want. An ERR_PTR: no memory, pt->sem not held.
 */
void *sim_touch(struct sim_pt *pt, u64 va, u64 more, bool write);

/* sim_exec.c */
int sim_submit(void *pt, const struct dmo_command *commands, u32 count);
void sim_exec_work(struct work_struct *work);
/* Completes what is queued with ECANCELED, and waits for what runs. */
void sim_exec_end(struct sim_pt *pt);

/* sim_copy.c */
struct dma_fence *sim_copy(void *priv, const struct dmo_copy_job *jobs, u32 count);
extern int sim_copy_fail;

#endif
