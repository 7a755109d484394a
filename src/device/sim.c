/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim.c - the simulated device behind the ops table
 *
 * An accelerator made of ordinary memory and threads. Its memory is reached by its copy engine (sim_copy.c) and, through
 * its page tables (sim_mmu.c), by its compute lanes (sim_exec.c, sim_lease.c, sim_ops*.c); both pay for what crosses the
 * link (sim_link.c). sim_spec.c reads its options, sim_guard.c survives host pages that vanish.
 *
 * Threads start with the first address space or transfer, not with the device: a service makes its devices first and
 * turns into a daemon then, and threads don't follow a fork.
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- life ------------------------------------------------------------------------------------------------ */

static void *map_memory(uint64_t bytes)
{
	void *memory = mmap(NULL, bytes + DMO_BLOCK_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t start, aligned;

	if (memory == MAP_FAILED)
		return NULL;
	start = (uintptr_t)memory;
	aligned = (start + DMO_BLOCK_SIZE - 1) & ~(uintptr_t)(DMO_BLOCK_SIZE - 1);
	if (aligned > start)
		munmap(memory, aligned - start);
	munmap((void *)(aligned + bytes), start + DMO_BLOCK_SIZE - aligned);
	madvise((void *)aligned, bytes, MADV_HUGEPAGE);
	madvise((void *)aligned, bytes, MADV_DONTDUMP);
	return (void *)aligned;
}

static void describe(const struct sim_dev *dev, struct dmo_backend_info *info)
{
	*info = (struct dmo_backend_info){
		.frames = dev->spec.memory / DMO_PAGE_SIZE,
		.memory_type = dev->spec.coherent ? DMO_MEM_COHERENT : DMO_MEM_PRIVATE,
		.flags = DMO_DEVICE_DIRTY | (dev->spec.faults ? DMO_DEVICE_FAULTS : 0),
		.threads = dev->spec.threads,
		.link = dev->spec.link,
		.va_start = SIM_VA_START,
		.va_end = SIM_VA_END,
	};
}

static int init_parts(struct sim_dev *dev, const struct dmo_host *host, void *host_ctx)
{
	int err;

	dev->link = (struct sim_link){ .bandwidth = dev->spec.link, .latency = dev->spec.latency };
	err = pthread_mutex_init(&dev->link.lock, NULL) ?: pthread_mutex_init(&dev->start_lock, NULL);
	if (err)
		return -err;
	err = sim_guard_install() ?: sim_copy_init(&dev->copy, dev->memory, dev->spec.memory, &dev->link);
	if (err)
		return err;
	err = sim_exec_init(&dev->exec, &dev->spec, &dev->link, host, host_ctx);
	if (err)
		sim_copy_destroy(&dev->copy);
	return err;
}

static int sim_create(const struct dmo_host *host, void *host_ctx, const char *name, const char *spec,
		      struct dmo_backend_info *info, void **out, char *why, size_t why_size)
{
	struct sim_dev *dev = calloc(1, sizeof(*dev));
	int err = -ENOMEM;

	if (!dev)
		goto no_memory;
	err = sim_spec_parse(spec, &dev->spec, why, why_size);
	if (err)
		goto free_dev;
	err = -ENOMEM;
	dev->memory = map_memory(dev->spec.memory);
	if (!dev->memory)
		goto free_dev_no_memory;
	err = init_parts(dev, host, host_ctx);
	if (err)
		goto unmap;
	describe(dev, info);
	*out = dev;
	return 0;
unmap:
	munmap(dev->memory, dev->spec.memory);
free_dev_no_memory:
	free(dev);
no_memory:
	snprintf(why, why_size, "device '%s' can't be made: %s; give it less with memory=SIZE or threads=N", name,
		 strerror(-err));
	return err;
free_dev:
	free(dev);
	return err;
}

static void sim_destroy(void *handle)
{
	struct sim_dev *dev = handle;

	sim_exec_destroy(&dev->exec);
	sim_copy_destroy(&dev->copy);
	pthread_mutex_destroy(&dev->link.lock);
	pthread_mutex_destroy(&dev->start_lock);
	munmap(dev->memory, dev->spec.memory);
	free(dev);
}

/* Starts the threads once. The memory needs no place in RAM that a service's own mlockall would hold. */
static int start(struct sim_dev *dev)
{
	int err = 0;

	if (atomic_load_explicit(&dev->started, memory_order_acquire))
		return 0;
	pthread_mutex_lock(&dev->start_lock);
	if (!atomic_load(&dev->started)) {
		munlock(dev->memory, dev->spec.memory);
		sim_copy_start(&dev->copy);
		err = sim_exec_start(&dev->exec);
		if (!err)
			atomic_store_explicit(&dev->started, true, memory_order_release);
	}
	pthread_mutex_unlock(&dev->start_lock);
	return err;
}

static bool is_lost(struct sim_dev *dev)
{
	return atomic_load(&dev->exec.lost);
}

/* ---- address spaces --------------------------------------------------------------------------------------- */

static int sim_op_as_create(void *handle, void *owner, void **as)
{
	struct sim_dev *dev = handle;
	int err = is_lost(dev) ? -ENODEV : start(dev);

	return err ? err : sim_as_create(&dev->exec, owner, (struct sim_as **)as);
}

static void sim_op_as_destroy(void *as)
{
	sim_as_destroy(as);
}

static struct sim_dev *dev_of(struct sim_as *as)
{
	return (struct sim_dev *)((char *)as->exec - offsetof(struct sim_dev, exec));
}

static bool valid_range(uint64_t va, uint64_t pages)
{
	return va % DMO_PAGE_SIZE == 0 && va >= SIM_VA_START && va < SIM_VA_END && pages &&
	       pages <= (SIM_VA_END - va) / DMO_PAGE_SIZE;
}

static int sim_op_as_enter(void *handle, const struct dmo_pte_run *run)
{
	struct sim_as *as = handle;
	struct sim_dev *dev = dev_of(as);
	uint64_t frames = dev->spec.memory / DMO_PAGE_SIZE;
	uintptr_t target = (uintptr_t)run->host;
	bool replaced;
	int err;

	if (is_lost(dev))
		return -ENODEV;
	if (!valid_range(run->va, run->pages) || target % DMO_PAGE_SIZE)
		return -EINVAL;
	if (!run->host) {
		if (run->frame >= frames || run->pages > frames - run->frame)
			return -EINVAL;
		target = (uintptr_t)dev->memory + (uintptr_t)run->frame * DMO_PAGE_SIZE;
	}
	err = sim_mmu_enter(&as->mmu, run, target, &replaced);
	if (!err && replaced)
		sim_as_sync(as, run->va, run->va + (uint64_t)run->pages * DMO_PAGE_SIZE);
	return err;
}

static void sim_op_as_release(void *handle, uint64_t va, uint32_t pages, uint32_t flags, uint64_t *dirty)
{
	struct sim_as *as = handle;

	if (dirty)
		memset(dirty, 0, ((uint64_t)pages + 63) / 64 * sizeof(*dirty));
	if (!valid_range(va, pages))
		return;
	sim_mmu_clear(&as->mmu, va, pages, flags);
	sim_as_sync(as, va, va + (uint64_t)pages * DMO_PAGE_SIZE);
	sim_mmu_harvest(&as->mmu, va, pages, flags, dirty);
}

static bool sim_op_as_accessed(void *handle, uint64_t va, uint32_t pages)
{
	struct sim_as *as = handle;

	return valid_range(va, pages) && sim_mmu_accessed(&as->mmu, va, pages);
}

static void sim_op_fault_done(void *as, uint64_t id, int status)
{
	sim_as_fault_done(as, id, status);
}

static int sim_op_submit(void *as, const struct dmo_command *commands, uint32_t count)
{
	return sim_as_submit(as, commands, count);
}

/* ---- memory ------------------------------------------------------------------------------------------------ */

static void sim_op_copy(void *handle, struct dmo_copy_job *jobs)
{
	struct sim_dev *dev = handle;

	start(dev);
	sim_copy_jobs(&dev->copy, jobs);
}

static void *frame_address(struct sim_dev *dev, uint64_t frame, uint64_t pages)
{
	uint64_t frames = dev->spec.memory / DMO_PAGE_SIZE;

	if (is_lost(dev) || frame >= frames || pages > frames - frame)
		return NULL;
	return dev->memory + frame * DMO_PAGE_SIZE;
}

static void *sim_op_window(void *handle, uint32_t frame, uint32_t pages)
{
	return frame_address(handle, frame, pages);
}

static int sim_op_link_pass(void *handle, uint64_t bytes, enum dmo_copy_dir dir)
{
	struct sim_dev *dev = handle;
	uint64_t at = 0;
	int err = sim_copy_pass(&dev->copy);

	if (dir == DMO_COPY_IN || dir == DMO_COPY_OUT)
		at = sim_link_reserve(&dev->link, dir == DMO_COPY_IN ? SIM_LINK_IN : SIM_LINK_OUT, bytes);
	if (at)
		sim_wait_until(at);
	return err;
}

static void *sim_op_cpu_address(void *handle, uint32_t frame)
{
	struct sim_dev *dev = handle;

	return dev->spec.coherent ? frame_address(dev, frame, 1) : NULL;
}

/* ---- faults on purpose --------------------------------------------------------------------------------------- */

static void lose(struct sim_dev *dev)
{
	if (atomic_exchange(&dev->exec.lost, true))
		return;
	sim_copy_lose(&dev->copy);
	sim_exec_lose(&dev->exec);
	munlock(dev->memory, dev->spec.memory);
	madvise(dev->memory, dev->spec.memory, MADV_DONTNEED);
	dev->exec.host->lost(dev->exec.host_ctx);
}

static int sim_op_inject(void *handle, const char *what)
{
	struct sim_dev *dev = handle;
	unsigned long long nth;
	char end;

	if (!strcmp(what, "lost")) {
		lose(dev);
		return 0;
	}
	if (sscanf(what, "copy-fail %llu%c", &nth, &end) != 1 || !nth)
		return -EINVAL;
	sim_copy_fail(&dev->copy, nth);
	return 0;
}

const struct dmo_backend_ops dmo_sim_ops = {
	.type = "sim",
	.help = sim_spec_help,
	.create = sim_create,
	.destroy = sim_destroy,
	.as_create = sim_op_as_create,
	.as_destroy = sim_op_as_destroy,
	.as_enter = sim_op_as_enter,
	.as_release = sim_op_as_release,
	.as_accessed = sim_op_as_accessed,
	.fault_done = sim_op_fault_done,
	.submit = sim_op_submit,
	.copy = sim_op_copy,
	.window = sim_op_window,
	.link_pass = sim_op_link_pass,
	.cpu_address = sim_op_cpu_address,
	.inject = sim_op_inject,
};
