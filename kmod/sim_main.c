// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim_main.c - dmo_sim.ko: devices that need no hardware
 *
 * Private memory is vmalloc'ed here, and nobody uses it except through the device. Coherent memory is a
 * range of RAM that the kernel was told to leave alone when it booted: it needs struct pages of its own
 * (dmo.ko makes them), which RAM in use has already.
 *
 * With inject=yes the parameter, a file in sysfs then, takes failures on purpose: "NAME copy-fail N" and
 * "NAME lost"; with optional=yes "NAME CALL-fail N", too. sims_lock orders them with the module's beginning
 * and end.
 */
#include "sim.h"
#include "sim_spec.h"

#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/numa.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

struct sim_ram {
	struct sim sim;
	char name[DMO_NAME_MAX];
	u64 size;
	bool optional;
	u64 start;			/* coherent: its physical address */
	struct resource *claimed;
};

static struct sim_ram *rams[SIM_DEVICES_MAX];
static DEFINE_MUTEX(sims_lock);
static bool inject_allowed, loaded;

/* ---- a device ------------------------------------------------------------- */

static int get_memory(struct sim_ram *ram)
{
	if (ram->start) {
		ram->claimed = request_mem_region(ram->start, ram->size, ram->name);
		return ram->claimed ? 0 : -EBUSY;
	}
	ram->sim.memory = __vmalloc(ram->size, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN);
	return ram->sim.memory ? 0 : -ENOMEM;
}

static void destroy(struct sim_ram *ram)
{
	sim_stop(&ram->sim);
	if (ram->claimed)
		release_mem_region(ram->start, ram->size);
	vfree(ram->sim.memory);
	sim_optional_fini(&ram->sim);
	kfree(ram);
}

static int bring_up(struct sim_ram *ram)
{
	struct dmo_physmem mem = { .type = ram->start ? DMO_MEM_COHERENT : DMO_MEM_PRIVATE,
				   .start = ram->start, .size = ram->size, .node = NUMA_NO_NODE };
	int err = get_memory(ram);

	if (err) {
		pr_err("dmo_sim: %s: can't have %llu KiB of memory%s\n", ram->name, ram->size >> 10,
		       ram->start ? " there: boot with memmap=SIZE$START" : "");
		return err;
	}
	err = ram->optional ? sim_optional_init(&ram->sim, ram->size) : 0;
	if (!err)
		err = sim_start(&ram->sim, ram->name, NULL, &mem);
	if (err)
		pr_err("dmo_sim: %s: no device: %d%s\n", ram->name, err,
		       err == -EEXIST ? ", the name is taken" : "");
	return err;
}

static struct sim_ram *new_ram(const struct sim_spec *spec, unsigned int number)
{
	struct sim_ram *ram = kzalloc(sizeof(*ram), GFP_KERNEL);

	if (!ram)
		return NULL;
	snprintf(ram->name, sizeof(ram->name), "%s%u", spec->name, number);
	ram->size = spec->memory;
	ram->start = spec->coherent ? spec->coherent + number * spec->memory : 0;
	ram->optional = spec->optional;
	ram->sim.faults = spec->faults;
	ram->sim.link.bandwidth = spec->link;
	ram->sim.link.latency = spec->latency;
	return ram;
}

/* ---- failures on purpose -------------------------------------------------- */

/* The CPU can't lose what it reaches itself. */
static int lose(struct sim_ram *ram)
{
	if (ram->start)
		return -EOPNOTSUPP;
	if (!ram->sim.dev)
		return 0;
	WRITE_ONCE(ram->sim.lost, true);
	flush_workqueue(ram->sim.copies);
	memset(ram->sim.memory, 0, ram->size);
	dmo_dev_lost(ram->sim.dev);
	return 0;
}

static int do_to(struct sim_ram *ram, char *what)
{
	char *fail = strstr(what, "-fail "), end;
	int nth;

	if (!strcmp(what, "lost"))
		return lose(ram);
	if (!fail || sscanf(fail, "-fail %d%c", &nth, &end) != 1 || nth < 0)
		return -EINVAL;
	*fail = 0;
	if (strcmp(what, "copy"))
		return sim_optional_fail(&ram->sim, what, nth);
	atomic_set(&ram->sim.copy_fail, nth);
	return 0;
}

static struct sim_ram *find(const char *name)
{
	for (unsigned int i = 0; i < SIM_DEVICES_MAX; i++)
		if (rams[i] && !strcmp(rams[i]->name, name))
			return rams[i];
	return NULL;
}

static int do_inject(char *text)
{
	char *what = strim(text), *device = strsep(&what, " ");
	struct sim_ram *ram = find(device);

	if (!inject_allowed)
		return -EPERM;
	if (!ram)
		return -ENOENT;
	return what ? do_to(ram, what) : -EINVAL;
}

static int allow_inject(const char *text)
{
	inject_allowed = !strcmp(text, "yes");
	if (inject_allowed || !strcmp(text, "no"))
		return 0;
	pr_err("dmo_sim: bad value in 'inject=%.32s': inject= takes yes or no\n", text);
	return -EINVAL;
}

static int inject_set(const char *text, const struct kernel_param *kp)
{
	char copy[64];
	int err;

	if (strscpy(copy, text, sizeof(copy)) < 0)
		return -EINVAL;
	mutex_lock(&sims_lock);
	err = loaded ? do_inject(copy) : allow_inject(copy);
	mutex_unlock(&sims_lock);
	return err;
}

static int inject_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", inject_allowed ? "yes" : "no");
}

static const struct kernel_param_ops inject_ops = { .set = inject_set, .get = inject_get };
module_param_cb(inject, &inject_ops, NULL, 0600);
MODULE_PARM_DESC(inject, "whether failures may be made by writing NAME copy-fail N or NAME lost here (no)");

static int calls_get(char *buffer, const struct kernel_param *kp)
{
	int at = 0;

	mutex_lock(&sims_lock);
	for (unsigned int i = 0; i < SIM_DEVICES_MAX; i++)
		if (rams[i])
			at = sim_optional_show(&rams[i]->sim, rams[i]->name, buffer, at);
	mutex_unlock(&sims_lock);
	return at;
}

static const struct kernel_param_ops calls_ops = { .get = calls_get };
module_param_cb(calls, &calls_ops, NULL, 0400);
MODULE_PARM_DESC(calls, "with optional=yes: how often each operation was called");

/* ---- the module ----------------------------------------------------------- */

static void destroy_all(void)
{
	mutex_lock(&sims_lock);
	for (unsigned int i = 0; i < SIM_DEVICES_MAX; i++) {
		if (rams[i])
			destroy(rams[i]);
		rams[i] = NULL;
	}
	mutex_unlock(&sims_lock);
}

static int create_all(const struct sim_spec *spec)
{
	int err = 0;

	mutex_lock(&sims_lock);
	for (unsigned int i = 0; i < spec->devices && !err; i++) {
		rams[i] = new_ram(spec, i);
		err = rams[i] ? bring_up(rams[i]) : -ENOMEM;
	}
	loaded = true;
	mutex_unlock(&sims_lock);
	return err;
}

static int __init sim_init(void)
{
	struct sim_spec spec = { 0 };
	int err = sim_spec_read(&spec);

	if (err)
		return err;
	err = create_all(&spec);
	if (err)
		destroy_all();
	return err;
}

static void __exit sim_exit(void)
{
	destroy_all();
}

module_init(sim_init);
module_exit(sim_exit);
MODULE_DESCRIPTION("Device memory objects: simulated devices");
MODULE_LICENSE("GPL");
