// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dmo_ram.c - the smallest driver: a device whose private memory is vmalloc's
 *
 * It has no page tables and runs no commands; files' pages can be migrated to it and come home when the CPU touches
 * them. The copy is made before the call returns, so its fence has already signalled.
 */
#include <dmo/driver.h>
#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>

static unsigned int megabytes = 16;
module_param(megabytes, uint, 0444);
MODULE_PARM_DESC(megabytes, "the device's memory");

static struct dmo_dev *ram;
static void *memory;

static void *frame_address(u32 frame)
{
	return memory + (size_t)frame * PAGE_SIZE;
}

static void run_job(const struct dmo_copy_job *job)
{
	for (u32 i = 0; i < job->pages; i++) {
		void *frame = frame_address(job->frame + i);

		if (job->dir == DMO_COPY_IN)
			memcpy_from_page(frame, job->host[i], 0, PAGE_SIZE);
		else if (job->dir == DMO_COPY_OUT)
			memcpy_to_page(job->host[i], 0, frame, PAGE_SIZE);
		else
			memcpy(frame, frame_address(job->src_frame + i), PAGE_SIZE);
	}
}

static struct dma_fence *ram_copy(void *priv, const struct dmo_copy_job *jobs, u32 count)
{
	for (u32 i = 0; i < count; i++)
		run_job(&jobs[i]);
	return dma_fence_get_stub();
}

static const struct dmo_dev_ops ops = {
	.owner = THIS_MODULE,
	.copy = ram_copy,
};

static int add_device(void)
{
	const struct dmo_dev_info info = { 0 };
	const struct dmo_physmem physmem = { .type = DMO_MEM_PRIVATE, .size = (u64)megabytes * SZ_1M };
	int err;

	ram = dmo_dev_create("ram0", &ops, NULL, NULL, &info);
	if (IS_ERR(ram))
		return PTR_ERR(ram);
	err = dmo_dev_register_physmem(ram, &physmem);
	if (err)
		dmo_dev_destroy(ram);
	return err;
}

static int __init ram_init(void)
{
	int err;

	memory = vzalloc((size_t)megabytes * SZ_1M);
	if (!memory)
		return -ENOMEM;
	err = add_device();
	if (err)
		vfree(memory);
	return err;
}

static void __exit ram_exit(void)
{
	dmo_dev_destroy(ram);
	vfree(memory);
}

module_init(ram_init);
module_exit(ram_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A sample device of dmo.ko: memory, and nothing else");
