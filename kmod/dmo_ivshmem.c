// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dmo_ivshmem.c - QEMU's ivshmem device (1af4:1110): BAR 2 is coherent device memory
 *
 * It computes nothing, so it has no page tables; it stands for memory that CPUs may cache on the far
 * side of a link.
 */
#include <dmo/driver.h>
#include <linux/module.h>
#include <linux/pci.h>

#define BAR_MEMORY	2

static const struct dmo_dev_ops ops = { .owner = THIS_MODULE };

static int probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct dmo_dev_info info = { 0 };
	struct dmo_physmem mem = { .type = DMO_MEM_COHERENT };
	struct dmo_dev *dev;
	char name[DMO_NAME_MAX];
	int err;

	err = pcim_enable_device(pci);
	if (err)
		return err;
	err = pci_request_region(pci, BAR_MEMORY, KBUILD_MODNAME);
	if (err)
		return err;
	mem.start = pci_resource_start(pci, BAR_MEMORY);
	mem.size = pci_resource_len(pci, BAR_MEMORY);
	mem.node = dev_to_node(&pci->dev);
	snprintf(name, sizeof(name), "ivshmem-%02x.%x", pci->bus->number, pci->devfn);
	dev = dmo_dev_create(name, &ops, pci, &pci->dev, &info);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	err = dmo_dev_register_physmem(dev, &mem);
	if (err) {
		dmo_dev_destroy(dev);
		return err;
	}
	pci_set_drvdata(pci, dev);
	return 0;
}

static void remove(struct pci_dev *pci)
{
	dmo_dev_destroy(pci_get_drvdata(pci));
}

static const struct pci_device_id ids[] = { { PCI_DEVICE(0x1af4, 0x1110) }, { } };
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver ivshmem_driver = {
	.name = KBUILD_MODNAME, .id_table = ids, .probe = probe, .remove = remove,
};
module_pci_driver(ivshmem_driver);
MODULE_DESCRIPTION("Device memory objects: QEMU ivshmem memory");
MODULE_LICENSE("GPL");
