// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_copy.c - the copy engine: transfers run on threads of its own and end in a fence
 *
 * Bytes move at once; the fence signals when the link would have carried them. Transfers overlap and may
 * end in any order, so each fence has a timeline of its own.
 *
 * A copy that is made to fail moves half of its bytes, and those after it in the transfer nothing.
 */
#include "sim.h"

#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

struct transfer {
	struct dma_fence fence;
	spinlock_t fence_lock;		/* of the fence itself */
	struct work_struct work;
	struct sim *sim;
	u32 count;
	struct page **host;		/* of all jobs, one after the other */
	struct dmo_copy_job jobs[];
};

/* ---- the fence ------------------------------------------------------------ */

static const char *fence_name(struct dma_fence *fence)
{
	return "dmo-copy";
}

static void fence_release(struct dma_fence *fence)
{
	struct transfer *t = container_of(fence, struct transfer, fence);

	kvfree(t->host);
	kfree_rcu(t, fence.rcu);
}

static const struct dma_fence_ops fence_ops = {
	.get_driver_name = fence_name, .get_timeline_name = fence_name, .release = fence_release,
};

/* ---- moving bytes --------------------------------------------------------- */

static void copy_page_part(struct sim *sim, const struct dmo_copy_job *job, u32 page, u64 bytes)
{
	void *at = sim_frame(sim, job->frame + page);

	if (job->dir == DMO_COPY_IN)
		memcpy_from_page(at, job->host[page], 0, bytes);
	else if (job->dir == DMO_COPY_OUT)
		memcpy_to_page(job->host[page], 0, at, bytes);
	else
		memcpy(at, sim_frame(sim, job->src_frame + page), bytes);
}

static void copy_bytes(struct sim *sim, const struct dmo_copy_job *job, u64 bytes)
{
	for (u32 page = 0; bytes; page++) {
		u64 n = min_t(u64, bytes, SIM_PAGE);

		copy_page_part(sim, job, page, n);
		bytes -= n;
		cond_resched();
	}
}

static u64 job_bytes(const struct dmo_copy_job *job)
{
	return (u64)job->pages * SIM_PAGE;
}

static int run_job(struct sim *sim, const struct dmo_copy_job *job)
{
	if (READ_ONCE(sim->lost))
		return -ENODEV;
	if (atomic_dec_if_positive(&sim->copy_fail) == 0) {
		copy_bytes(sim, job, job_bytes(job) / 2);
		return -EIO;
	}
	copy_bytes(sim, job, job_bytes(job));
	return 0;
}

/* When the link has carried all of it. */
static u64 reserve_link(struct transfer *t)
{
	u64 due = 0;

	for (u32 i = 0; i < t->count; i++) {
		const struct dmo_copy_job *job = &t->jobs[i];
		enum sim_link_dir dir = job->dir == DMO_COPY_IN ? SIM_LINK_IN : SIM_LINK_OUT;

		if (job->dir != DMO_COPY_LOCAL)
			due = max(due, sim_link_reserve(&t->sim->link, dir, job_bytes(job)));
	}
	return due;
}

static void run_transfer(struct work_struct *work)
{
	struct transfer *t = container_of(work, struct transfer, work);
	u64 due = reserve_link(t);
	int err = 0;

	for (u32 i = 0; i < t->count && !err; i++)
		err = run_job(t->sim, &t->jobs[i]);
	if (!err)
		sim_link_wait(due);
	else
		dma_fence_set_error(&t->fence, err);
	dma_fence_signal(&t->fence);
	dma_fence_put(&t->fence);
}

/* ---- starting ------------------------------------------------------------- */

static u64 host_pages(const struct dmo_copy_job *jobs, u32 count)
{
	u64 n = 0;

	for (u32 i = 0; i < count; i++)
		n += jobs[i].dir == DMO_COPY_LOCAL ? 0 : jobs[i].pages;
	return n;
}

/* The jobs and their lists of pages, which are the caller's, are copied. */
static void keep_jobs(struct transfer *t, const struct dmo_copy_job *jobs)
{
	struct page **host = t->host;

	memcpy(t->jobs, jobs, t->count * sizeof(*jobs));
	for (u32 i = 0; i < t->count; i++) {
		if (jobs[i].dir == DMO_COPY_LOCAL)
			continue;
		memcpy(host, jobs[i].host, jobs[i].pages * sizeof(*host));
		t->jobs[i].host = host;
		host += jobs[i].pages;
	}
}

/* Writing back waits for this memory, so getting it must not wait for writing back. */
static struct transfer *alloc_transfer(const struct dmo_copy_job *jobs, u32 count)
{
	unsigned int nofs = memalloc_nofs_save();
	struct transfer *t = kzalloc(struct_size(t, jobs, count), GFP_KERNEL);

	if (t) {
		t->count = count;
		t->host = kvmalloc_array(host_pages(jobs, count) + 1, sizeof(*t->host), GFP_KERNEL);
	}
	memalloc_nofs_restore(nofs);
	if (t && !t->host) {
		kfree(t);
		return NULL;
	}
	return t;
}

struct dma_fence *sim_copy(void *priv, const struct dmo_copy_job *jobs, u32 count)
{
	struct transfer *t = alloc_transfer(jobs, count);
	struct sim *sim = priv;

	if (!t)
		return ERR_PTR(-ENOMEM);
	t->sim = sim;
	keep_jobs(t, jobs);
	spin_lock_init(&t->fence_lock);
	dma_fence_init(&t->fence, &fence_ops, &t->fence_lock, dma_fence_context_alloc(1), 1);
	INIT_WORK(&t->work, run_transfer);
	dma_fence_get(&t->fence);
	queue_work(sim->copies, &t->work);
	return &t->fence;
}
