// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ivshmem_main.c - dmo_ivshmem.ko: QEMU's ivshmem device (1af4:1110), whose BAR 2 is coherent memory
 *
 * It stands for an accelerator whose memory CPUs may cache across a link. The hardware has memory and
 * nothing else; page tables, commands and the copy engine are those of ivshmem_sim.c. What a driver of
 * hardware does is here.
 */
#include "sim.h"

#include <linux/module.h>
#include <linux/pci.h>

#define BAR_MEMORY	2

static void stop(void *sim)
{
	sim_stop(sim);
}

/* devm: runs before the region and the device are given back, at unbind and after a failed probe alike. */
static int start(struct pci_dev *pci, struct sim *sim)
{
	struct dmo_physmem mem = {
		.type = DMO_MEM_COHERENT,
		.start = pci_resource_start(pci, BAR_MEMORY),
		.size = pci_resource_len(pci, BAR_MEMORY),
		.node = dev_to_node(&pci->dev),
	};
	char name[DMO_NAME_MAX];
	int err;

	err = devm_add_action_or_reset(&pci->dev, stop, sim);
	if (err)
		return err;
	snprintf(name, sizeof(name), "ivshmem-%02x.%x", pci->bus->number, pci->devfn);
	return sim_start(sim, name, &pci->dev, &mem);
}

static int probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct sim *sim = devm_kzalloc(&pci->dev, sizeof(*sim), GFP_KERNEL);
	int err;

	if (!sim)
		return -ENOMEM;
	sim->faults = true;
	err = pcim_enable_device(pci);
	if (err)
		return err;
	err = pci_request_region(pci, BAR_MEMORY, KBUILD_MODNAME);
	return err ? err : start(pci, sim);
}

static const struct pci_device_id ids[] = { { PCI_DEVICE(0x1af4, 0x1110) }, { } };
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver ivshmem_driver = { .name = KBUILD_MODNAME, .id_table = ids, .probe = probe };
module_pci_driver(ivshmem_driver);
MODULE_DESCRIPTION("Device memory objects: QEMU ivshmem memory");
MODULE_LICENSE("GPL");
