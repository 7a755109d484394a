/* SPDX-License-Identifier: GPL-2.0-or-later */
/* world.c - see world.h */
#include <config.h>

#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS	60000

static char root[256];		/* empty: no world */
static int first_fd;		/* descriptors from here on are the test's own */

const char *world_path(char buf[512], const char *name)
{
	snprintf(buf, 512, "%s/%s", root, name);
	return buf;
}

const char *world_store_path(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/store/%s", root, name);
	return path;
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

bool world_patient(uint64_t *end)
{
	if (!*end)
		*end = clock_ms() + WAIT_MS;
	nap();
	return clock_ms() < *end;
}

/* ---- the guard ----------------------------------------------------------------------------------- */

void world_print_log(void)
{
	char path[512], line[512];
	FILE *log = fopen(world_path(path, "log"), "re");

	while (log && fgets(line, sizeof(line), log))
		fprintf(stderr, "service: %s", line);
	if (log)
		fclose(log);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path) && errno != ENOENT ? -1 : 0;
}

static void remove_files(void)
{
	char path[512];

	umount2(world_path(path, "mnt"), MNT_FORCE);
	while (umount2(path, MNT_DETACH) == 0)
		;
	while (umount2(world_path(path, "store"), MNT_DETACH) == 0)
		;
	nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void world_remove(void)
{
	remove_files();
	root[0] = 0;
}

static void guard(int lifeline, void (*remove_more)(void))
{
	char byte;

	setsid();
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	while (read(lifeline, &byte, 1) < 0 && errno == EINTR)
		;
	if (access(root, F_OK))
		return;
	world_print_log();
	remove_files();
	if (remove_more)
		remove_more();
}

static int start_guard(void (*remove_more)(void))
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
		guard(ends[0], remove_more);
		_exit(0);
	}
	close(ends[0]);
	first_fd = fcntl(ends[1], F_DUPFD_CLOEXEC, 0) + 1;	/* as low as can be: what is above is the test's */
	close(ends[1]);
	return 0;
}

/* ---- a world ------------------------------------------------------------------------------------- */

int world_make(uint64_t store_bytes, void (*remove_more)(void))
{
	const char *tmp = getenv("TMPDIR");
	char path[512], options[64];

	snprintf(root, sizeof(root), "%s/dmo-conf-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(root))
		return -errno;
	if (chmod(root, 0755) || mkdir(world_path(path, "mnt"), 0755) || mkdir(world_path(path, "store"), 0777))
		return -errno;
	if (chmod(path, 0777))
		return -errno;
	snprintf(options, sizeof(options), "mode=0777,size=%llu", (unsigned long long)store_bytes);
	if (store_bytes && mount("conformance", path, "tmpfs", 0, options))
		return -errno;
	return start_guard(remove_more);
}

/* Of the mount or, where the module maps its objects, of the store. */
static void drop_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char line[1024], path[512];

	world_path(path, "");
	while (maps && fgets(line, sizeof(line), maps))
		if (strstr(line, path) && sscanf(line, "%lx-%lx", &from, &to) == 2)
			munmap((void *)from, to - from);
	if (maps)
		fclose(maps);
}

void world_let_go(void)
{
	drop_mappings();
	close_range(first_fd, ~0u, 0);
}
