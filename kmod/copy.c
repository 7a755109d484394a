// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * copy.c - bytes between device memory, host pages and backing files
 *
 * Where the CPU reaches the memory it copies; else the driver's engine does, and its fence is waited
 * for. Nothing here is called with obj->lock held: the block is MOVING, or has I/O under way.
 */
#include "internal.h"

#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/sched/mm.h>
#include <linux/bvec.h>
#include <linux/uio.h>

#define JOBS_MAX	32
#define RESCHED_PAGES	32	/* copied by the CPU in one go */

int kdm_alloc_pages(struct page **pages, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		pages[i] = alloc_page(GFP_KERNEL);
		if (!pages[i]) {
			kdm_free_pages(pages, i);
			return -ENOMEM;
		}
	}
	return 0;
}

void kdm_free_pages(struct page **pages, unsigned int n)
{
	while (n--) {
		if (pages[n])
			__free_page(pages[n]);
		pages[n] = NULL;
	}
}

/* The copy's frames from page on: the table of chunks may be moved by a mover that waits for our I/O. */
static unsigned int frames_of(struct dmo_copy *c, unsigned int page, unsigned int n, u32 *frame)
{
	struct kdm_obj *obj = kdm_obj_of(c->block->object);
	unsigned int run;

	mutex_lock(&obj->lock);
	run = dmo_copy_run(c, page, n, frame);
	mutex_unlock(&obj->lock);
	return run;
}

void *kdm_copy_address(struct dmo_copy *c, unsigned int page)
{
	struct dmo_dev *dev = kdm_dev_of(c->dev);
	u32 frame;

	return dmo_copy_run(c, page, 1, &frame) ? dmo_dev_frame_address(dev, frame) : NULL;
}

static void copy_host(const struct dmo_copy_job *job, u32 page, void *at)
{
	void *host = kmap_local_page(job->host[page]);

	if (job->dir == DMO_COPY_IN)
		copy_page(at, host);
	else
		copy_page(host, at);
	kunmap_local(host);
}

static void copy_by_cpu(struct dmo_dev *dev, const struct dmo_copy_job *job)
{
	char *at = dmo_dev_frame_address(dev, job->frame);

	for (u32 i = 0; i < job->pages; i++, at += PAGE_SIZE) {
		if (job->dir == DMO_COPY_LOCAL)
			copy_page(at, dmo_dev_frame_address(dev, job->src_frame + i));
		else
			copy_host(job, i, at);
		if (i % RESCHED_PAGES == RESCHED_PAGES - 1)
			cond_resched();
	}
}

/* Jobs for pages [page, page + pages) of the copy's block. */
static int run_jobs(struct dmo_copy *c, const struct dmo_copy_job *jobs, unsigned int n, unsigned int page,
		    unsigned int pages)
{
	struct dmo_dev *dev = kdm_dev_of(c->dev);
	u64 first = kdm_block_pgoff(c->block) + page;
	struct dma_fence *fence;
	long left;
	int err;

	if (!dev->ops->copy) {
		for (unsigned int i = 0; i < n; i++)
			copy_by_cpu(dev, &jobs[i]);
		return 0;
	}
	fence = dev->ops->copy(dev->priv, jobs, n);
	if (IS_ERR(fence))
		return PTR_ERR(fence);
	kdm_export_fence(kdm_obj_of(c->block->object), first, first + pages - 1, fence);
	left = dma_fence_wait(fence, false);
	err = left < 0 ? left : fence->error;
	dma_fence_put(fence);
	return err;
}

static void count_bytes(struct dmo_dev *dev, enum dmo_copy_dir dir, unsigned int pages)
{
	atomic64_t *sum = dir == DMO_COPY_IN ? &dev->stats.bytes_to_device :
			  dir == DMO_COPY_OUT ? &dev->stats.bytes_to_host : &dev->stats.bytes_device;

	atomic64_add((u64)pages << PAGE_SHIFT, sum);
}

int kdm_copy_pages(struct dmo_copy *c, enum dmo_copy_dir dir, unsigned int page, struct page **host,
		   unsigned int n)
{
	struct dmo_dev *dev = kdm_dev_of(c->dev);
	struct dmo_copy_job jobs[JOBS_MAX];
	unsigned int used = 0, done = 0, start = 0;
	int err = 0;

	while (done < n && !err) {
		struct dmo_copy_job *job = &jobs[used++];

		*job = (struct dmo_copy_job){ .dir = dir, .host = host + done };
		job->pages = frames_of(c, page + done, n - done, &job->frame);
		if (WARN_ON_ONCE(!job->pages))
			return -EIO;
		done += job->pages;
		if (used == JOBS_MAX || done == n) {
			err = run_jobs(c, jobs, used, page + start, done - start);
			used = 0;
			start = done;
		}
	}
	if (!err)
		count_bytes(dev, dir, n);
	return err;
}

bool kdm_copy_by_cpu(const struct dmo_copy *c)
{
	return kdm_coherent(c->dev) && !kdm_dev_of(c->dev)->ops->copy;
}

int kdm_copy_frames(struct dmo_copy *c, unsigned int page, struct page **frames, unsigned int n)
{
	struct dmo_dev *dev = kdm_dev_of(c->dev);
	unsigned int run;
	u32 frame;

	for (unsigned int i = 0; i < n; i += run) {
		run = frames_of(c, page + i, n - i, &frame);
		if (WARN_ON_ONCE(!run))
			return -EIO;
		for (unsigned int k = 0; k < run; k++)
			frames[i + k] = dev->page0 + frame + k;
	}
	count_bytes(dev, DMO_COPY_OUT, n);
	return 0;
}

/* Through host pages where the devices differ; a peer path is a driver's to offer, and none does yet. */
int kdm_copy_across(struct dmo_copy *to, struct dmo_copy *from, unsigned int page, unsigned int n)
{
	struct page **host = kvcalloc(n, sizeof(*host), GFP_KERNEL);
	int err = host ? kdm_alloc_pages(host, n) : -ENOMEM;

	if (!err) {
		err = kdm_copy_pages(from, DMO_COPY_OUT, page, host, n);
		if (!err)
			err = kdm_copy_pages(to, DMO_COPY_IN, page, host, n);
		kdm_free_pages(host, n);
	}
	kvfree(host);
	return err;
}

/* ---- the backing file ----------------------------------------------------- */

/*
 * What the backing file allocates here is charged to the memory cgroup of the object's owner: the mover
 * is an evictor, a driver's thread, or a caller who only needs the device's memory.
 */

#define VECS_MAX	32

static void fill_vecs(struct bio_vec *vecs, struct page **host, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		bvec_set_page(&vecs[i], host[i], PAGE_SIZE, 0);
}

static void zero_from(struct page **host, unsigned int n, size_t got)
{
	for (unsigned int i = got >> PAGE_SHIFT; i < n; i++) {
		size_t from = i == got >> PAGE_SHIFT ? offset_in_page(got) : 0;

		memzero_page(host[i], from, PAGE_SIZE - from);
	}
}

static int read_some(struct kdm_obj *obj, loff_t pos, struct page **host, unsigned int n)
{
	struct bio_vec vecs[VECS_MAX];
	size_t want = (size_t)n << PAGE_SHIFT, got = 0;
	struct iov_iter iter;
	ssize_t r = 1;

	fill_vecs(vecs, host, n);
	iov_iter_bvec(&iter, ITER_DEST, vecs, n, want);
	while (got < want && r > 0) {
		r = vfs_iter_read(obj->ro, &iter, &pos, 0);
		if (r > 0)
			got += r;
	}
	if (r < 0)
		return r;
	zero_from(host, n, got);
	return 0;
}

int kdm_backing_read(struct kdm_obj *obj, u64 page, struct page **host, unsigned int n)
{
	struct mem_cgroup *old = set_active_memcg(obj->memcg);
	int err = 0;

	for (unsigned int i = 0; i < n && !err; i += VECS_MAX)
		err = read_some(obj, (page + i) << PAGE_SHIFT, host + i,
				min_t(unsigned int, n - i, VECS_MAX));
	set_active_memcg(old);
	return err;
}

static int write_some(struct kdm_obj *obj, loff_t pos, struct page **host, unsigned int n)
{
	loff_t size = i_size_read(obj->backing_inode);
	size_t left = min_t(loff_t, (loff_t)n << PAGE_SHIFT, max_t(loff_t, size - pos, 0));
	struct bio_vec vecs[VECS_MAX];
	struct iov_iter iter;

	fill_vecs(vecs, host, n);
	iov_iter_bvec(&iter, ITER_SOURCE, vecs, n, left);
	while (left) {
		ssize_t r = vfs_iter_write(obj->rw, &iter, &pos, 0);

		if (r <= 0)
			return r ? r : -EIO;
		left -= r;
	}
	return 0;
}

int kdm_backing_write(struct kdm_obj *obj, u64 page, struct page **host, unsigned int n)
{
	struct mem_cgroup *old = set_active_memcg(obj->memcg);
	int err = obj->rw ? 0 : -EROFS;

	for (unsigned int i = 0; i < n && !err; i += VECS_MAX)
		err = write_some(obj, (page + i) << PAGE_SHIFT, host + i,
				 min_t(unsigned int, n - i, VECS_MAX));
	set_active_memcg(old);
	return err;
}
