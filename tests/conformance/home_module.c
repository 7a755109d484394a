/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * home_module.c - the home without a mount: the kernel module over files of a directory
 *
 * An object is made over the file of its name at each open, with the rights that the file gives the caller; names are the
 * directory's own. There is no service that could crash: instead the devices die with what only they hold, and every
 * descriptor and mapping of the test with them. To go on is to load others.
 */
#include <config.h>

#include "devices.h"
#include "home.h"
#include "world.h"

#include <dmo/ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *missing(void)
{
	return geteuid() ? "loading modules needs root" : devices_missing();
}

static int setup(const char *const specs[], uint64_t store_bytes)
{
	int err = world_make(store_bytes, devices_remove);

	return err ? err : devices_load(specs);
}

/* ---- objects ------------------------------------------------------------------------------------- */

/* The module reads a file through what it is given: who asked to write only gets one more descriptor for that. */
static int open_backing(const char *name, int flags, mode_t mode)
{
	int fd = open(world_store_path(name), (flags & ~O_TRUNC) | O_CLOEXEC, mode);

	if (fd < 0 || (flags & O_ACCMODE) != O_WRONLY)
		return fd < 0 ? -errno : fd;
	close(fd);
	fd = open(world_store_path(name), O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int make_object(int backing)
{
	struct dmo_object_create create = { .backing = backing, .flags = DMO_CREATE_CLOEXEC };
	int control = open("/dev/dmo/control", O_RDWR | O_CLOEXEC), err;

	if (control < 0)
		return -errno;
	err = ioctl(control, DMO_IOC_OBJECT_CREATE, &create) ? -errno : 0;
	close(control);
	return err ? err : create.fd;
}

/* Opens the object once more, with flags that its making has no words for. */
static int open_again(int fd, int flags)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags & ~(O_CREAT | O_EXCL | O_TRUNC));
	if (again < 0)
		again = -errno;
	close(fd);
	return again;
}

static int open_object(const char *name, int flags, mode_t mode)
{
	int backing = open_backing(name, flags, mode), fd;

	if (backing < 0 || flags & O_DIRECTORY)
		return backing;
	fd = make_object(backing);
	close(backing);
	if (fd >= 0 && ((flags & O_ACCMODE) == O_WRONLY || flags & (O_DIRECT | O_SYNC | O_DSYNC | O_APPEND | O_NONBLOCK)))
		fd = open_again(fd, flags);
	if (fd < 0 || !(flags & O_TRUNC) || !ftruncate(fd, 0))
		return fd;
	close(fd);
	return -errno;
}

static int open_context(const char *device, int flags)
{
	int fd = open(devices_node(device), flags);

	return fd < 0 ? -errno : fd;
}

/* ---- the ends ------------------------------------------------------------------------------------ */

static int crash(void)
{
	int err = devices_lose();

	world_let_go();
	return err;
}

static int unload(void)
{
	world_let_go();
	return devices_unload();
}

static int load_others(const char *const specs[])
{
	int err = devices_unload();

	return err ? err : devices_load(specs);
}

static int teardown(void)
{
	int err = unload();

	if (!err)
		world_remove();
	return err;
}

static const struct conf_skip exempt[] = {
	DEVICES_EXEMPT,
	{ "whoever_may_write_the_limit_may_evict", "the module knows no mode of a device's files; the limit itself evicts" },
	{ NULL, NULL }
};

const struct conf_home conf_home_module = {
	.name = "module",
	.missing = missing,
	.setup = setup,
	.open_object = open_object,
	.open_context = open_context,
	.object_path = world_store_path,
	.store_path = world_store_path,
	.control_path = devices_file,
	.inject = devices_inject,
	.kill = crash,
	.unmount = unload,
	.remount = load_others,
	.teardown = teardown,
	.exempt = exempt,
};
