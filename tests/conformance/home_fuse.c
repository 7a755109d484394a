/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * home_fuse.c - the conformance suite's first home: the service of the build tree, through FUSE
 *
 * A test's world is one temporary directory: root/store, root/mnt, root/log. The service runs in the foreground as a
 * child of the test and is told to die with it. What a test that ends early leaves behind (mounts, files) is
 * removed by a guard, a process that waits for the end of a pipe whose other end only the test and its children hold;
 * it prints the service's log too.
 */
#include <config.h>

#include "home.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS		60000
#define ARGS_MAX	16

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

static char root[256];		/* the temporary directory; empty: no world */
static char program[512];	/* the service */
static pid_t service;		/* 0: not running */
static int first_fd;		/* descriptors from here on are the test's own */

static const char *in_root(char buf[512], const char *name)
{
	snprintf(buf, 512, "%s/%s", root, name);
	return buf;
}

static void nap(void)
{
	struct timespec t = { 0, 2000000 };

	nanosleep(&t, NULL);
}

static uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the guard ----------------------------------------------------------------------------------- */

static void print_log(void)
{
	char path[512], line[512];
	FILE *log = fopen(in_root(path, "log"), "re");

	while (log && fgets(line, sizeof(line), log))
		fprintf(stderr, "service: %s", line);
	if (log)
		fclose(log);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path) && errno != ENOENT ? -1 : 0;
}

static void remove_world(void)
{
	char path[512];

	umount2(in_root(path, "mnt"), MNT_FORCE);
	while (umount2(path, MNT_DETACH) == 0)
		;
	while (umount2(in_root(path, "store"), MNT_DETACH) == 0)
		;
	nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void guard(int lifeline)
{
	char byte;

	setsid();
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	while (read(lifeline, &byte, 1) < 0 && errno == EINTR)
		;
	if (access(root, F_OK))
		return;
	print_log();
	remove_world();
}

static int start_guard(void)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		close(ends[1]);
		guard(ends[0]);
		_exit(0);
	}
	close(ends[0]);
	first_fd = fcntl(ends[1], F_DUPFD_CLOEXEC, 0) + 1;	/* as low as can be: what is above is the test's */
	close(ends[1]);
	return 0;
}

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
	args[n++] = in_root(store, "store");
	args[n++] = in_root(mnt, "mnt");
	fd = open(in_root(log, "log"), O_WRONLY | O_CREAT | O_APPEND, 0600);
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

	return statfs(in_root(path, "mnt"), &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
}

/* 0 when it ended, with its wait status. */
static int wait_service(int *status)
{
	uint64_t end = clock_ms() + WAIT_MS;

	while (waitpid(service, status, WNOHANG) == 0) {
		if (clock_ms() > end)
			return -ETIMEDOUT;
		nap();
	}
	service = 0;
	return 0;
}

static int wait_ready(void)
{
	uint64_t end = clock_ms() + WAIT_MS;
	int status;

	while (!is_mounted()) {
		if (waitpid(service, &status, WNOHANG) == service) {
			service = 0;
			print_log();
			return -ECHILD;
		}
		if (clock_ms() > end)
			return -ETIMEDOUT;
		nap();
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

static int make_world(uint64_t store_bytes)
{
	const char *tmp = getenv("TMPDIR");
	char path[512], options[64];

	snprintf(root, sizeof(root), "%s/dmo-conf-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(root))
		return -errno;
	if (chmod(root, 0755) || mkdir(in_root(path, "mnt"), 0755) || mkdir(in_root(path, "store"), 0777))
		return -errno;
	if (chmod(path, 0777))
		return -errno;
	snprintf(options, sizeof(options), "mode=0777,size=%llu", (unsigned long long)store_bytes);
	if (store_bytes && mount("conformance", path, "tmpfs", 0, options))
		return -errno;
	return start_guard();
}

static int setup(const char *const specs[], uint64_t store_bytes)
{
	int err = make_world(store_bytes);

	return err ? err : start_service(specs);
}

/* ---- names --------------------------------------------------------------------------------------- */

static const char *object_path(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/mnt/%s", root, name);
	return path;
}

static const char *store_path(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/store/%s", root, name);
	return path;
}

static const char *control_path(const char *device, const char *file)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/mnt/.dmo/devices/%s/%s", root, device, file);
	return path;
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

/* Unmaps what this process still maps of the mount, which would keep it busy. */
static void drop_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char line[1024], mnt[512];

	in_root(mnt, "mnt/");
	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, mnt) && sscanf(line, "%lx-%lx", &from, &to) == 2)
			munmap((void *)from, to - from);
	if (maps)
		fclose(maps);
}

static int unmount(void)
{
	uint64_t end = clock_ms() + WAIT_MS;
	char mnt[512];
	int status;

	drop_mappings();
	close_range(first_fd, ~0u, 0);
	while (umount2(in_root(mnt, "mnt"), 0) && errno == EBUSY) {
		if (clock_ms() > end)
			return -EBUSY;
		nap();
	}
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
	uint64_t end = clock_ms() + WAIT_MS;
	char path[512];
	pid_t pid = fork();

	if (pid == 0)
		_exit(access(in_root(path, "mnt/no-such-name"), F_OK) ? 0 : 1);
	while (pid > 0 && waitpid(pid, NULL, WNOHANG) == 0) {
		if (clock_ms() > end)
			return -ETIMEDOUT;
		nap();
	}
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
		umount2(in_root(mnt, "mnt"), MNT_FORCE);
	while (umount2(in_root(mnt, "mnt"), MNT_DETACH) == 0)
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

	if (err)
		return err;
	remove_world();
	root[0] = 0;
	return 0;
}

static const char *const exempt[] = { NULL };

const struct conf_home conf_home = {
	.name = "fuse",
	.missing = missing,
	.setup = setup,
	.open_object = open_object,
	.open_context = open_context,
	.object_path = object_path,
	.store_path = store_path,
	.control_path = control_path,
	.kill = kill_service,
	.unmount = unmount,
	.remount = remount,
	.teardown = teardown,
	.exempt = exempt,
};
