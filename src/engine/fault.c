/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault.c - what devices ask of the service: resolved faults, delivered completions, a funeral
 *
 * A fault is queued for the pool, so a device thread never waits here. Whatever comes of it, fault_done is called once.
 */
#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>

struct fault_job {
	struct eng_work work;
	struct eng_ctx *ctx;
	struct dmo_dev_fault fault;
};

struct ahead_job {
	struct eng_work work;
	struct eng_access access;
};

/* ---- read-ahead ------------------------------------------------------------------------------------------- */

static void run_ahead(struct eng_work *w)
{
	struct ahead_job *job = dmo_container_of(w, struct ahead_job, work);
	struct eng_object *obj = job->access.obj;
	struct eng_ctx *ctx = job->access.ctx;

	eng_access(&job->access);
	eng_object_unref(obj);
	eng_ctx_leave(ctx);
	free(job);
}

/* Is there something to be gained by bringing block index of obj before it is asked for? */
static bool worth_it(struct eng_object *obj, struct eng_device *dev, u64 index)
{
	bool worth;

	pthread_mutex_lock(&obj->lock);
	worth = dmo_policy_ahead(&obj->core, &dev->core, index);
	pthread_mutex_unlock(&obj->lock);
	return worth;
}

static void read_ahead(const struct eng_access *a, u64 index)
{
	struct ahead_job *job;

	if (!worth_it(a->obj, a->dev, index))
		return;
	job = calloc(1, sizeof(*job));
	if (!job)
		return;
	job->work.run = run_ahead;
	job->access = (struct eng_access){ .obj = a->obj, .dev = a->dev, .ctx = a->ctx,
					   .page = index * DMO_BLOCK_PAGES, .bytes = DMO_BLOCK_SIZE, .no_wait = true,
					   .cancel = &a->ctx->closing };
	eng_object_ref(a->obj);
	eng_ctx_enter(a->ctx);
	atomic_fetch_add(&a->dev->stats.readahead, 1);
	eng_pool_run(&a->obj->eng->pool, &job->work);
}

static void after_fault(const struct eng_access *a, u64 mapped_last)
{
	struct eng_object *obj = a->obj;
	struct dmo_attr attr;
	unsigned ahead;
	u64 index = a->page / DMO_BLOCK_PAGES;

	pthread_mutex_lock(&obj->lock);
	dmo_attrs_get(&obj->core.attrs, a->page, &attr, NULL);
	ahead = dmo_policy_readahead(&obj->core, a->page, (a->bytes + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT, &attr);
	pthread_mutex_unlock(&obj->lock);
	if (a->write)
		return;
	for (u64 i = index + 1; i <= index + (ahead + DMO_BLOCK_PAGES - 1) / DMO_BLOCK_PAGES; i++)
		if (i << DMO_BLOCK_SHIFT <= mapped_last)
			read_ahead(a, i);
}

/* ---- one fault --------------------------------------------------------------------------------------------------- */

/* Finds what is mapped at va and takes a reference on its object. */
static int resolve(struct eng_ctx *ctx, u64 va, bool write, struct eng_access *a, u64 *left, u64 *mapped_last)
{
	u32 want = write ? DMO_PROT_WRITE : DMO_PROT_READ;
	struct dmo_mapping *m;
	int err = 0;

	pthread_mutex_lock(&ctx->lock);
	m = dmo_space_find(&ctx->space, va);
	if (!m)
		err = -EFAULT;
	else if (!(m->prot & want))
		err = -EACCES;
	if (!err) {
		a->obj = m->object;
		a->page = dmo_mapping_offset_of(m, va) >> DMO_PAGE_SHIFT;
		*left = dmo_mapping_va(m) + dmo_mapping_length(m) - va;
		*mapped_last = dmo_mapping_offset(m) + dmo_mapping_length(m) - 1;
		eng_object_ref(a->obj);
	}
	pthread_mutex_unlock(&ctx->lock);
	return err;
}

static int fault_page(struct eng_ctx *ctx, u64 va, u64 bytes, bool write, const atomic_bool *cancel)
{
	struct eng_access a = { .dev = ctx->dev, .ctx = ctx, .write = write, .may_stay = true, .cancel = cancel };
	u64 left, mapped_last;
	int err = resolve(ctx, va, write, &a, &left, &mapped_last);

	if (err)
		return err;
	a.bytes = bytes < left ? bytes : left;
	err = eng_access(&a);
	if (!err)
		after_fault(&a, mapped_last);
	eng_object_unref(a.obj);
	return err;
}

int eng_ctx_fault(struct eng_ctx *ctx, u64 va, u64 bytes, bool write, const atomic_bool *cancel)
{
	u64 end = va + bytes;
	int err = 0;

	for (va &= ~(u64)(DMO_PAGE_SIZE - 1); va < end && !err;) {
		err = fault_page(ctx, va, end - va, write, cancel);
		va += DMO_PAGE_SIZE;
	}
	return err;
}

static void run_fault(struct eng_work *w)
{
	struct fault_job *job = dmo_container_of(w, struct fault_job, work);
	struct eng_ctx *ctx = job->ctx;
	int err = atomic_load(&ctx->closing) ? -ECANCELED :
		  fault_page(ctx, job->fault.va, job->fault.bytes, job->fault.write, &ctx->closing);

	if (err == -EINTR)
		err = -ECANCELED;
	if (err == -ENODEV)
		err = -EIO;
	if (err)
		atomic_fetch_add(&ctx->dev->stats.fault_errors, 1);
	ctx->dev->ops->fault_done(ctx->as, job->fault.id, err);
	eng_ctx_leave(ctx);
	free(job);
}

/* ---- the host's side of backend.h ----------------------------------------------------------------------------------- */

static void host_fault(void *host_ctx, const struct dmo_dev_fault *fault)
{
	struct eng_device *dev = host_ctx;
	struct fault_job *job = malloc(sizeof(*job));

	atomic_fetch_add(&dev->stats.faults, 1);
	if (!job) {
		struct eng_ctx *ctx = fault->owner;

		dev->ops->fault_done(ctx->as, fault->id, -ENOMEM);
		return;
	}
	job->work.run = run_fault;
	job->ctx = fault->owner;
	job->fault = *fault;
	eng_ctx_enter(job->ctx);
	eng_pool_run(&dev->eng->pool, &job->work);
}

static void host_complete(void *owner, const struct dmo_completion *c)
{
	struct eng_ctx *ctx = owner;

	if (ctx->dev->core.faults)
		eng_ctx_complete(ctx, c);
	else
		eng_command_done(ctx, c);
}

static void host_lost(void *host_ctx)
{
	struct eng_device *dev = host_ctx;

	if (!atomic_exchange(&dev->lost, true))
		eng_pool_run(&dev->eng->pool, &dev->lost_work);
}

const struct dmo_host eng_host = { host_fault, host_complete, host_lost };
