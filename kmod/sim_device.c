// SPDX-License-Identifier: GPL-2.0-or-later
/* sim_device.c - the device as dmo.ko sees it: its table of operations, its beginning and end */
#include "sim.h"

#include <linux/err.h>
#include <linux/module.h>
#include <linux/slab.h>

static int pt_create(void *priv, struct dmo_as *as, void **out)
{
	struct sim_pt *pt = kvzalloc(sizeof(*pt), GFP_KERNEL);

	if (!pt)
		return -ENOMEM;
	pt->sim = priv;
	pt->as = as;
	sim_mmu_init(pt);
	sim_exec_init(pt);
	*out = pt;
	return 0;
}

static void pt_destroy(void *priv)
{
	struct sim_pt *pt = priv;

	sim_exec_end(pt);
	sim_mmu_destroy(pt);
	kvfree(pt);
}

const struct dmo_dev_ops sim_ops = {
	.owner = THIS_MODULE,
	.pt_create = pt_create,
	.pt_destroy = pt_destroy,
	.pt_enter = sim_pt_enter,
	.pt_release = sim_pt_release,
	.pt_protect = sim_pt_protect,
	.pt_accessed = sim_pt_accessed,
	.tlb_invalidate = sim_tlb_invalidate,
	.tlb_invalidate_ranges = sim_tlb_invalidate_ranges,
	.submit = sim_submit,
	.copy = sim_copy,
};

static int start_queues(struct sim *sim)
{
	sim->copies = alloc_workqueue("dmo-copy", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	sim->commands = alloc_workqueue("dmo-commands", WQ_UNBOUND, 0);
	return sim->copies && sim->commands ? 0 : -ENOMEM;
}

int sim_start(struct sim *sim, const char *name, struct device *parent, const struct dmo_physmem *mem)
{
	struct dmo_dev_info info = {
		.flags = DMO_DEVICE_DIRTY | (sim->faults ? DMO_DEVICE_FAULTS : 0),
		.threads = 1,
		.link = sim->link.bandwidth,
		.va_start = 1ull << 32,
		.va_end = 1ull << 48,
		.reads_host = true,
	};
	int err = start_queues(sim);

	if (err)
		return err;
	spin_lock_init(&sim->link.lock);
	sim->dev = dmo_dev_create(name, sim->ops ? sim->ops : &sim_ops, sim, parent, &info);
	if (IS_ERR(sim->dev)) {
		err = PTR_ERR(sim->dev);
		sim->dev = NULL;
		return err;
	}
	return dmo_dev_register_physmem(sim->dev, mem);
}

void sim_stop(struct sim *sim)
{
	if (sim->dev)
		dmo_dev_destroy(sim->dev);
	if (sim->commands)
		destroy_workqueue(sim->commands);
	if (sim->copies)
		destroy_workqueue(sim->copies);
	sim->dev = NULL;
	sim->commands = NULL;
	sim->copies = NULL;
}
