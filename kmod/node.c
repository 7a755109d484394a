// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * node.c - /dev/dmo/NAME, where contexts are opened, and its limits and statistics in sysfs
 *
 * /sys/class/misc/dmo-NAME/memory/ has the files of the dmem controller: bytes, "max" for no limit, one
 * number or "key value" lines. max is hard: lowering it evicts before the write returns. Above high
 * pages are evicted in the background until low is reached.
 */
#include "internal.h"

#include "core/text.h"

#include <linux/device.h>
#include <linux/module.h>

static struct dmo_dev *to_dev(struct device *d)
{
	struct miscdevice *misc = dev_get_drvdata(d);

	return container_of(misc, struct dmo_dev, misc);
}

/* ---- limits --------------------------------------------------------------- */

static ssize_t show_limit(struct dmo_dev *dev, u64 frames, char *buf)
{
	if (frames >= dev->frames)
		return sysfs_emit(buf, "max\n");
	return sysfs_emit(buf, "%llu\n", frames << DMO_PAGE_SHIFT);
}

static int parse_limit(struct dmo_dev *dev, const char *buf, u64 *frames)
{
	char text[32];
	u64 bytes;

	if (strscpy(text, buf, sizeof(text)) < 0)
		return -EINVAL;
	if (!strcmp(strim(text), "max")) {
		*frames = dev->frames;
		return 0;
	}
	if (dmo_text_size(strim(text), &bytes))
		return -EINVAL;
	*frames = min(bytes >> DMO_PAGE_SHIFT, dev->frames);
	return 0;
}

/* A lower max evicts at once; -EBUSY: what is pinned stays above it. */
static int keep_limit(struct dmo_dev *dev)
{
	int err = kdm_make_room(dev, 0);

	return err == -ENOSPC ? -EBUSY : err;
}

static ssize_t store_limit(struct dmo_dev *dev, void (*set)(struct dmo_device *d, u64 frames),
			   const char *buf, size_t count)
{
	u64 frames;
	int err = parse_limit(dev, buf, &frames);

	if (err)
		return err;
	mutex_lock(&dev->lock);
	set(&dev->core, frames);
	mutex_unlock(&dev->lock);
	kdm_evictor_wake(dev);
	err = keep_limit(dev);
	return err ? err : count;
}

#define LIMIT(name, field) \
static ssize_t name##_show(struct device *d, struct device_attribute *a, char *buf) \
{ \
	return show_limit(to_dev(d), READ_ONCE(to_dev(d)->core.field), buf); \
} \
static ssize_t name##_store(struct device *d, struct device_attribute *a, const char *buf, size_t count) \
{ \
	return store_limit(to_dev(d), dmo_policy_set_##name, buf, count); \
} \
static DEVICE_ATTR_RW(name)

LIMIT(max, limit);
LIMIT(high, high);
LIMIT(low, low);

/* ---- statistics ----------------------------------------------------------- */

static ssize_t used_show(struct device *d, struct device_attribute *a, char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(to_dev(d)->core.used) << DMO_PAGE_SHIFT);
}

static ssize_t peak_show(struct device *d, struct device_attribute *a, char *buf)
{
	return sysfs_emit(buf, "%llu\n", READ_ONCE(to_dev(d)->core.peak) << DMO_PAGE_SHIFT);
}

static const struct {
	const char *key;
	size_t offset;
} stats[] = {
#define STAT(name) { #name, offsetof(struct kdm_stats, name) }
	STAT(faults), STAT(fault_errors), STAT(bytes_to_device), STAT(bytes_to_host), STAT(bytes_device),
	STAT(bytes_remote_mapped), STAT(evict_clean), STAT(evict_dirty), STAT(evict_failed), STAT(migrations),
	STAT(remote_maps), STAT(readahead), STAT(commands), STAT(command_errors),
#undef STAT
};

static ssize_t stat_show(struct device *d, struct device_attribute *a, char *buf)
{
	ssize_t at = 0;

	for (size_t i = 0; i < ARRAY_SIZE(stats); i++) {
		atomic64_t *v = (void *)&to_dev(d)->stats + stats[i].offset;

		at += sysfs_emit_at(buf, at, "%s %lld\n", stats[i].key, atomic64_read(v));
	}
	return at;
}

static ssize_t events_show(struct device *d, struct device_attribute *a, char *buf)
{
	struct kdm_stats *s = &to_dev(d)->stats;

	return sysfs_emit(buf, "low %lld\nhigh %lld\nmax %lld\noom %lld\n", atomic64_read(&s->event_low),
			  atomic64_read(&s->event_high), atomic64_read(&s->event_max),
			  atomic64_read(&s->event_oom));
}

static struct device_attribute dev_attr_used = {	/* "current" is a macro of the kernel's */
	.attr = { .name = "current", .mode = 0444 }, .show = used_show,
};
static DEVICE_ATTR_RO(peak);
static DEVICE_ATTR_RO(stat);
static DEVICE_ATTR_RO(events);

static struct attribute *memory_attrs[] = {
	&dev_attr_max.attr, &dev_attr_high.attr, &dev_attr_low.attr, &dev_attr_used.attr,
	&dev_attr_peak.attr, &dev_attr_stat.attr, &dev_attr_events.attr, NULL
};

static const struct attribute_group memory_group = { .name = "memory", .attrs = memory_attrs };
static const struct attribute_group *groups[] = { &memory_group, NULL };

/* ---- the node ------------------------------------------------------------- */

static const struct file_operations context_fops = {
	.owner = THIS_MODULE,
	.open = kdm_as_open,
	.release = kdm_as_release,
	.read = kdm_as_read,
	.write = kdm_as_write,
	.poll = kdm_as_poll,
	.show_fdinfo = kdm_as_show,
	.unlocked_ioctl = kdm_as_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

int kdm_node_add(struct dmo_dev *dev)
{
	snprintf(dev->node, sizeof(dev->node), "dmo/%s", dev->name);
	snprintf(dev->title, sizeof(dev->title), "dmo-%s", dev->name);
	dev->misc = (struct miscdevice){
		.minor = MISC_DYNAMIC_MINOR, .name = dev->title, .nodename = dev->node, .mode = 0600,
		.fops = &context_fops, .parent = dev->parent, .groups = groups,
	};
	return misc_register(&dev->misc);
}

void kdm_node_remove(struct dmo_dev *dev)
{
	misc_deregister(&dev->misc);
}
