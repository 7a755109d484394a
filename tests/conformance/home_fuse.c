/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * home_fuse.c - the homes with a mount: the service of the build tree, with devices of its own or over the module
 *
 * The service runs in the foreground as a child of the test and is told to die with it. Over the module it is told of no
 * device: it finds those that were loaded, which stay when it ends.
 */
#include <config.h>

#include "devices.h"
#include "home.h"
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX	16

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

static char program[512];	/* the service */
static pid_t service;		/* 0: not running */

/* ---- the service --------------------------------------------------------------------------------- */

static void exec_service(const char *const specs[])
{
	const char *args[ARGS_MAX] = { program, "-f" };
	char store[512], mnt[512], log[512];
	unsigned n = 2;
	int fd;

	for (; *specs && n < ARGS_MAX - 4; specs++) {
		args[n++] = "--device";
		args[n++] = *specs;
	}
	args[n++] = world_path(store, "store");
	args[n++] = world_path(mnt, "mnt");
	fd = open(world_path(log, "log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	setsid();
	execv(program, (char **)args);
	perror(program);
	_exit(127);
}

static bool is_mounted(void)
{
	char path[512];
	struct statfs fs;

	return statfs(world_path(path, "mnt"), &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
}

/* 0 when it ended, with its wait status. */
static int wait_service(int *status)
{
	uint64_t end = 0;

	while (waitpid(service, status, WNOHANG) == 0)
		if (!world_patient(&end))
			return -ETIMEDOUT;
	service = 0;
	return 0;
}

static int wait_ready(void)
{
	uint64_t end = 0;
	int status;

	while (!is_mounted()) {
		if (waitpid(service, &status, WNOHANG) == service) {
			service = 0;
			world_print_log();
			return -ECHILD;
		}
		if (!world_patient(&end))
			return -ETIMEDOUT;
	}
	return 0;
}

static int start_service(const char *const specs[])
{
	pid_t parent = getpid();

	service = fork();
	if (service < 0)
		return -errno;
	if (service == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			exec_service(specs);
		_exit(127);
	}
	return wait_ready();
}

/* ---- set-up -------------------------------------------------------------------------------------- */

static const char *missing(void)
{
	const char *build = getenv("top_builddir"), *named = getenv("DMOFS");
	static char why[640];

	if (named)
		snprintf(program, sizeof(program), "%s", named);
	else
		snprintf(program, sizeof(program), "%s/fuse/dmofs", build ? build : ".");
	if (access(program, X_OK)) {
		snprintf(why, sizeof(why), "no service at %s (set DMOFS or top_builddir)", program);
		return why;
	}
	if (geteuid() != 0)
		return "mounting and changing users needs root";
	if (access("/dev/fuse", R_OK | W_OK))
		return "/dev/fuse can't be opened";
	return NULL;
}

static int setup(const char *const specs[], uint64_t store_bytes)
{
	int err = world_make(store_bytes, NULL);

	return err ? err : start_service(specs);
}

/* ---- names --------------------------------------------------------------------------------------- */

static const char *object_path(const char *name)
{
	static char path[512];
	char file[300];

	snprintf(file, sizeof(file), "mnt/%s", name);
	return world_path(path, file);
}

static const char *control_path(const char *device, const char *file)
{
	static char path[512];
	char name[300];

	snprintf(name, sizeof(name), "mnt/.dmo/devices/%s/%s", device, file);
	return world_path(path, name);
}

static int open_object(const char *name, int flags, mode_t mode)
{
	int fd = open(object_path(name), flags, mode);

	return fd < 0 ? -errno : fd;
}

static int open_context(const char *device, int flags)
{
	int fd = open(control_path(device, "context"), flags);

	return fd < 0 ? -errno : fd;
}

/* ---- the ends ------------------------------------------------------------------------------------ */

static int unmount(void)
{
	uint64_t end = 0;
	char mnt[512];
	int status;

	world_let_go();
	while (umount2(world_path(mnt, "mnt"), 0) && errno == EBUSY)
		if (!world_patient(&end))
			return -EBUSY;
	if (wait_service(&status))
		return -ETIMEDOUT;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	fprintf(stderr, "the service ended with wait status %#x\n", status);
	return -EPROTO;
}

/* A lookup in the mount comes to an end, one way or another. */
static int mount_answers(void)
{
	uint64_t end = 0;
	char path[512];
	pid_t pid = fork();

	if (pid == 0)
		_exit(access(world_path(path, "mnt/no-such-name"), F_OK) ? 0 : 1);
	while (pid > 0 && waitpid(pid, NULL, WNOHANG) == 0)
		if (!world_patient(&end))
			return -ETIMEDOUT;
	return 0;
}

static int kill_service(void)
{
	char mnt[512];
	int err, status;

	kill(service, SIGKILL);
	err = wait_service(&status);
	if (!err)
		err = mount_answers();
	if (err)
		umount2(world_path(mnt, "mnt"), MNT_FORCE);
	while (umount2(world_path(mnt, "mnt"), MNT_DETACH) == 0)
		;
	return err;
}

static int remount(const char *const specs[])
{
	return start_service(specs);
}

static int teardown(void)
{
	int err = service ? unmount() : 0;

	if (!err)
		world_remove();
	return err;
}

static int inject(const char *device, const char *what)
{
	int fd = open(control_path(device, "inject"), O_WRONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = write(fd, what, strlen(what)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

const struct conf_home conf_home_fuse = {
	.name = "fuse",
	.missing = missing,
	.setup = setup,
	.open_object = open_object,
	.open_context = open_context,
	.object_path = object_path,
	.store_path = world_store_path,
	.control_path = control_path,
	.inject = inject,
	.kill = kill_service,
	.unmount = unmount,
	.remount = remount,
	.teardown = teardown,
	.exempt = CONF_NO_SKIPS,
};

/* ---- over the module ----------------------------------------------------------------------------- */

static const char *const no_specs[] = { NULL };

static const char *module_missing(void)
{
	const char *why = missing();

	return why ? why : devices_missing();
}

static int module_setup(const char *const specs[], uint64_t store_bytes)
{
	int err = world_make(store_bytes, devices_remove);

	if (!err)
		err = devices_load(specs);
	return err ? err : start_service(no_specs);
}

/* Devices outlive the service, except lost ones, which make room for others. */
static int module_remount(const char *const specs[])
{
	int err = 0;

	if (devices_lost()) {
		world_let_go();
		err = devices_unload();
		if (!err)
			err = devices_load(specs);
	}
	return err ? err : start_service(no_specs);
}

/* Contexts of the module outlive the service that they were found by. */
static int module_teardown(void)
{
	int err = service ? unmount() : 0;

	world_let_go();
	if (!err)
		err = devices_unload();
	if (!err)
		world_remove();
	return err;
}

static const struct conf_skip module_exempt[] = {
	DEVICES_EXEMPT,
	{ NULL, NULL }
};

const struct conf_home conf_home_fuse_module = {
	.name = "fuse-module",
	.missing = module_missing,
	.setup = module_setup,
	.open_object = open_object,
	.open_context = open_context,
	.object_path = object_path,
	.store_path = world_store_path,
	.control_path = control_path,
	.inject = devices_inject,
	.kill = kill_service,
	.unmount = unmount,
	.remount = module_remount,
	.teardown = module_teardown,
	.exempt = module_exempt,
};
