// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_main.c - dmo_sim.ko: devices that need no hardware
 *
 * A device of the private kind: its memory is vmalloc'ed here, but nobody uses it except through its
 * copy engine and its commands. It takes faults and keeps dirty bits.
 */
#include "sim.h"

#include <linux/err.h>
#include <linux/dma-fence.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#define DEVICES_MAX	8

static unsigned long memory = 64;
module_param(memory, ulong, 0444);
MODULE_PARM_DESC(memory, "memory of each device in MiB (64)");
static unsigned int devices = 1;
module_param(devices, uint, 0444);
MODULE_PARM_DESC(devices, "number of devices, 1 to 8 (1)");
static char *name = "sim";
module_param(name, charp, 0444);
MODULE_PARM_DESC(name, "name, to which the number of the device is added (sim)");
module_param_named(copy_fail, sim_copy_fail, int, 0600);
MODULE_PARM_DESC(copy_fail, "for tests: the Nth copy from now fails (0: none)");

static struct sim *sims[DEVICES_MAX];

static int pt_create(void *priv, struct dmo_as *as, void **out)
{
	struct sim_pt *pt = kvzalloc(sizeof(*pt), GFP_KERNEL);

	if (!pt)
		return -ENOMEM;
	pt->sim = priv;
	pt->as = as;
	xa_init(&pt->table);
	init_rwsem(&pt->sem);
	spin_lock_init(&pt->queue_lock);
	INIT_LIST_HEAD(&pt->queue);
	INIT_WORK(&pt->work, sim_exec_work);
	*out = pt;
	return 0;
}

static void pt_destroy(void *priv)
{
	struct sim_pt *pt = priv;

	sim_exec_end(pt);
	xa_destroy(&pt->table);
	kvfree(pt);
}

static const struct dmo_dev_ops ops = {
	.owner = THIS_MODULE,
	.pt_create = pt_create,
	.pt_destroy = pt_destroy,
	.pt_enter = sim_pt_enter,
	.pt_release = sim_pt_release,
	.pt_protect = sim_pt_protect,
	.pt_accessed = sim_pt_accessed,
	.tlb_invalidate = sim_tlb_invalidate,
	.submit = sim_submit,
	.copy = sim_copy,
};

static void destroy(struct sim *sim)
{
	if (!IS_ERR_OR_NULL(sim->dev))
		dmo_dev_destroy(sim->dev);
	if (sim->commands)
		destroy_workqueue(sim->commands);
	if (sim->copies)
		destroy_workqueue(sim->copies);
	vfree(sim->memory);
	kfree(sim);
}

static int allocate(struct sim *sim)
{
	sim->memory = vzalloc(memory << 20);
	sim->copies = alloc_workqueue("dmo-sim-copy", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	sim->commands = alloc_workqueue("dmo-sim", WQ_UNBOUND, 0);
	return sim->memory && sim->copies && sim->commands ? 0 : -ENOMEM;
}

static int bring_up(struct sim *sim, unsigned int number)
{
	struct dmo_dev_info info = { .flags = DMO_DEVICE_FAULTS | DMO_DEVICE_DIRTY, .threads = 1,
				     .va_start = 1ull << 32, .va_end = 1ull << 46 };
	struct dmo_physmem mem = { .type = DMO_MEM_PRIVATE, .size = (u64)memory << 20 };
	char full[DMO_NAME_MAX];
	int err = allocate(sim);

	if (err)
		return err;
	sim->fence_context = dma_fence_context_alloc(1);
	spin_lock_init(&sim->fence_lock);
	snprintf(full, sizeof(full), "%s%u", name, number);
	sim->dev = dmo_dev_create(full, &ops, sim, NULL, &info);
	return IS_ERR(sim->dev) ? PTR_ERR(sim->dev) : dmo_dev_register_physmem(sim->dev, &mem);
}

static void sim_exit(void)
{
	for (unsigned int i = 0; i < DEVICES_MAX; i++)
		if (sims[i])
			destroy(sims[i]);
}

static int __init sim_init(void)
{
	if (!memory || memory > 1ul << 20 || !devices || devices > DEVICES_MAX)
		return -EINVAL;
	for (unsigned int i = 0; i < devices; i++) {
		struct sim *sim = kzalloc(sizeof(*sim), GFP_KERNEL);
		int err = sim ? bring_up(sim, i) : -ENOMEM;

		sims[i] = sim;
		if (!err)
			continue;
		sim_exit();
		return err;
	}
	return 0;
}

module_init(sim_init);
module_exit(sim_exit);
MODULE_DESCRIPTION("Device memory objects: simulated devices");
MODULE_LICENSE("GPL");
