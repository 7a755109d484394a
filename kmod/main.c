// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * main.c - dmo.ko: device memory objects as files, in the kernel
 *
 * /dev/dmo/control makes objects and tells about devices; /dev/dmo/NAME opens a context on a device.
 */
#include "internal.h"

#include <linux/dma-mapping.h>
#include <linux/module.h>

struct workqueue_struct *kdm_wq, *kdm_end_wq;

static const struct file_operations control_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = kdm_control_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static ssize_t metadata_show(struct device *d, struct device_attribute *a, char *buf)
{
	return sysfs_emit(buf, "%llu\n", kdm_mem_held());
}
static DEVICE_ATTR_RO(metadata);

static struct attribute *control_attrs[] = { &dev_attr_metadata.attr, NULL };
ATTRIBUTE_GROUPS(control);

static struct miscdevice control = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dmo-control",
	.nodename = "dmo/control",
	.mode = 0666,
	.fops = &control_fops,
	.groups = control_groups,
};

struct device *kdm_control_device(void)
{
	return control.this_device;
}

static int __init dmo_init(void)
{
	int err;

	kdm_wq = alloc_workqueue("dmo", WQ_UNBOUND, 0);
	if (!kdm_wq)
		return -ENOMEM;
	kdm_end_wq = alloc_workqueue("dmo-end", WQ_UNBOUND, 0);
	err = kdm_end_wq ? kdm_fs_init() : -ENOMEM;
	if (err)
		goto out_wq;
	err = kdm_remote_init();
	if (err)
		goto out_fs;
	err = kdm_shrink_init();
	if (err)
		goto out_remote;
	err = misc_register(&control);
	if (err)
		goto out_shrink;
	dma_coerce_mask_and_coherent(control.this_device, DMA_BIT_MASK(64));	/* it imports dma-bufs */
	return 0;

out_shrink:
	kdm_shrink_exit();
out_remote:
	kdm_remote_exit();
out_fs:
	kdm_fs_fini();
out_wq:
	if (kdm_end_wq)
		destroy_workqueue(kdm_end_wq);
	destroy_workqueue(kdm_wq);
	return err;
}

static void __exit dmo_exit(void)
{
	misc_deregister(&control);
	kdm_shrink_exit();
	kdm_remote_exit();
	kdm_fs_fini();
	destroy_workqueue(kdm_end_wq);
	destroy_workqueue(kdm_wq);
}

module_init(dmo_init);
module_exit(dmo_exit);
MODULE_DESCRIPTION("Device memory objects as files");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(DMA_BUF);
