// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_copy.c - the simulated device's copy engine: transfers run on threads of its own and end in a fence
 *
 * sim_copy_fail (a module parameter): the Nth transfer from now fails with EIO, having copied nothing.
 */
#include "sim.h"

#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/slab.h>

int sim_copy_fail;

struct transfer {
	struct dma_fence fence;
	struct work_struct work;
	struct sim *sim;
	u32 count;
	struct page **host;		/* of all jobs, one after the other */
	struct dmo_copy_job jobs[];
};

static const char *driver_name(struct dma_fence *fence)
{
	return "dmo_sim";
}

static const char *timeline_name(struct dma_fence *fence)
{
	return "copy";
}

static void release(struct dma_fence *fence)
{
	struct transfer *t = container_of(fence, struct transfer, fence);

	kvfree(t->host);
	kfree_rcu(t, fence.rcu);
}

static const struct dma_fence_ops fence_ops = {
	.get_driver_name = driver_name, .get_timeline_name = timeline_name, .release = release,
};

static void run_job(struct sim *sim, const struct dmo_copy_job *job)
{
	for (u32 i = 0; i < job->pages; i++) {
		void *at = sim_frame(sim, job->frame + i);

		if (job->dir == DMO_COPY_IN)
			memcpy_from_page(at, job->host[i], 0, SIM_PAGE);
		else if (job->dir == DMO_COPY_OUT)
			memcpy_to_page(job->host[i], 0, at, SIM_PAGE);
		else
			memcpy(at, sim_frame(sim, job->src_frame + i), SIM_PAGE);
	}
}

static bool should_fail(void)
{
	int n = READ_ONCE(sim_copy_fail);

	if (n > 0)
		WRITE_ONCE(sim_copy_fail, n - 1);
	return n == 1;
}

static void run(struct work_struct *work)
{
	struct transfer *t = container_of(work, struct transfer, work);

	if (should_fail()) {
		dma_fence_set_error(&t->fence, -EIO);
	} else {
		for (u32 i = 0; i < t->count; i++)
			run_job(t->sim, &t->jobs[i]);
	}
	dma_fence_signal(&t->fence);
	dma_fence_put(&t->fence);
}

static u64 host_pages(const struct dmo_copy_job *jobs, u32 count)
{
	u64 n = 0;

	for (u32 i = 0; i < count; i++)
		n += jobs[i].dir == DMO_COPY_LOCAL ? 0 : jobs[i].pages;
	return n;
}

/* The jobs and their lists of pages, which are the caller's, are copied. */
static void keep(struct transfer *t, const struct dmo_copy_job *jobs)
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

struct dma_fence *sim_copy(void *priv, const struct dmo_copy_job *jobs, u32 count)
{
	struct transfer *t = kzalloc(struct_size(t, jobs, count), GFP_NOFS);
	struct sim *sim = priv;

	if (!t)
		return ERR_PTR(-ENOMEM);
	t->host = kvmalloc_array(host_pages(jobs, count) + 1, sizeof(*t->host), GFP_KERNEL);
	if (!t->host) {
		kfree(t);
		return ERR_PTR(-ENOMEM);
	}
	t->sim = sim;
	t->count = count;
	keep(t, jobs);
	dma_fence_init(&t->fence, &fence_ops, &sim->fence_lock, sim->fence_context,
		       atomic64_inc_return(&sim->fence_seq));
	INIT_WORK(&t->work, run);
	dma_fence_get(&t->fence);
	queue_work(sim->copies, &t->work);
	return &t->fence;
}
