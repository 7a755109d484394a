// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_spec.c - reads the parameters of dmo_sim.ko
 *
 * They are kept as text and read once. A table says which there are and what each takes; sizes and times
 * are written as for the simulated device in user space (dmo-sim(7)).
 */
#include "sim_spec.h"

#include <dmo/ioctl.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/string.h>
#include <linux/time64.h>

#define MEMORY_MAX	(1024ull << 30)
#define LATENCY_MAX	(10ull * NSEC_PER_SEC)

static char *memory = "64M", *link = "0", *latency = "0", *coherent = "no", *devices = "1", *faults = "yes";
static char *name = "sim", *optional = "no";
module_param(memory, charp, 0444);
MODULE_PARM_DESC(memory, "memory of each device, in whole pages of 4 KiB (64M)");
module_param(link, charp, 0444);
MODULE_PARM_DESC(link, "bytes a second that copies pass each way, 0: no limit (0)");
module_param(latency, charp, 0444);
MODULE_PARM_DESC(latency, "what each copy waits in addition, with its unit: ns, us, ms or s (0)");
module_param(coherent, charp, 0444);
MODULE_PARM_DESC(coherent, "physical address of memory that the kernel was told to leave alone, or no (no)");
module_param(devices, charp, 0444);
MODULE_PARM_DESC(devices, "number of devices, 1 to 8 (1)");
module_param(faults, charp, 0444);
MODULE_PARM_DESC(faults, "whether a device resolves its own faults, yes or no (yes)");
module_param(optional, charp, 0444);
MODULE_PARM_DESC(optional, "whether a device has every optional operation, yes or no (no)");
module_param(name, charp, 0444);
MODULE_PARM_DESC(name, "name, to which the number of the device is added (sim)");

struct suffix {
	const char *name;
	u64 factor;
};

static const struct suffix sizes[] = {
	{ "", 1 }, { "K", 1ull << 10 }, { "M", 1ull << 20 }, { "G", 1ull << 30 }, { "T", 1ull << 40 },
	{ "k", 1ull << 10 }, { "m", 1ull << 20 }, { "g", 1ull << 30 }, { "t", 1ull << 40 }, { },
};

static const struct suffix times[] = {
	{ "ns", 1 }, { "us", NSEC_PER_USEC }, { "ms", NSEC_PER_MSEC }, { "s", NSEC_PER_SEC }, { },
};

/* Digits of that set, then one of the suffixes. */
static int read_number(const char *text, const char *set, int base, const struct suffix *s, u64 *out)
{
	size_t n = strspn(text, set);
	char digits[24];
	u64 number;

	if (!n || n >= sizeof(digits))
		return -EINVAL;
	strscpy(digits, text, n + 1);
	if (kstrtou64(digits, base, &number))
		return -EINVAL;
	for (; s->name; s++)
		if (!strcmp(text + n, s->name))
			return check_mul_overflow(number, s->factor, out) ? -EINVAL : 0;
	return -EINVAL;
}

static int read_size(const char *text, u64 *out)
{
	return read_number(text, "0123456789", 10, sizes, out);
}

static int read_memory(struct sim_spec *spec, const char *text)
{
	if (read_size(text, &spec->memory) || !spec->memory || spec->memory > MEMORY_MAX)
		return -EINVAL;
	return spec->memory % DMO_PAGE_SIZE ? -EINVAL : 0;
}

static int read_link(struct sim_spec *spec, const char *text)
{
	return read_size(text, &spec->link);
}

static int read_latency(struct sim_spec *spec, const char *text)
{
	if (!strcmp(text, "0"))
		return 0;
	if (read_number(text, "0123456789", 10, times, &spec->latency))
		return -EINVAL;
	return spec->latency > LATENCY_MAX ? -EINVAL : 0;
}

static int read_coherent(struct sim_spec *spec, const char *text)
{
	if (!strcmp(text, "no"))
		return 0;
	if (!strncasecmp(text, "0x", 2)) {
		if (read_number(text + 2, "0123456789abcdefABCDEF", 16, sizes, &spec->coherent))
			return -EINVAL;
	} else if (read_size(text, &spec->coherent)) {
		return -EINVAL;
	}
	return !spec->coherent || spec->coherent % DMO_BLOCK_SIZE ? -EINVAL : 0;
}

static int read_devices(struct sim_spec *spec, const char *text)
{
	if (read_size(text, &spec->devices) || !spec->devices)
		return -EINVAL;
	return spec->devices > SIM_DEVICES_MAX ? -EINVAL : 0;
}

static int read_yes(bool *yes, const char *text)
{
	*yes = !strcmp(text, "yes");
	return *yes || !strcmp(text, "no") ? 0 : -EINVAL;
}

static int read_faults(struct sim_spec *spec, const char *text)
{
	return read_yes(&spec->faults, text);
}

static int read_optional(struct sim_spec *spec, const char *text)
{
	return read_yes(&spec->optional, text);
}

static int read_name(struct sim_spec *spec, const char *text)
{
	spec->name = text;
	return *text && strlen(text) < DMO_NAME_MAX - 1 ? 0 : -EINVAL;
}

static const struct option {
	const char *key;
	char **text;
	int (*read)(struct sim_spec *spec, const char *text);
	const char *wants;
} options[] = {
	{ "memory", &memory, read_memory, "a size in whole pages of 4 KiB, as in memory=32M, 1T at most" },
	{ "link", &link, read_link, "bytes a second, as in link=4G, or 0 for no limit" },
	{ "latency", &latency, read_latency, "a time with its unit, as in latency=2us, 10s at most" },
	{ "coherent", &coherent, read_coherent, "a physical address on 2 MiB, as in 0x30000000, or no" },
	{ "devices", &devices, read_devices, "a number from 1 to 8" },
	{ "faults", &faults, read_faults, "yes or no" },
	{ "optional", &optional, read_optional, "yes or no" },
	{ "name", &name, read_name, "a name of at most 30 letters" },
};

int sim_spec_read(struct sim_spec *spec)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];
		int err = o->read(spec, *o->text);

		if (!err)
			continue;
		pr_err("dmo_sim: bad value in '%s=%.32s': %s= takes %s\n", o->key, *o->text, o->key,
		       o->wants);
		return err;
	}
	if (!spec->coherent || !(spec->memory % DMO_BLOCK_SIZE))
		return 0;
	pr_err("dmo_sim: coherent memory comes in whole 2 MiB\n");
	return -EINVAL;
}
