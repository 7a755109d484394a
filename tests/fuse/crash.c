/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * crash.c - kill -9 at any moment ends the mount
 *
 * What must not happen was seen to: a service killed while it invalidated stayed in the kernel, and whoever
 * looked at the mount waited for ever. So a storm of migrations to and from a device runs against readers
 * and writers of mappings, and the service is killed in it.
 */
#include "config.h"

#include <check.h>
#include <dirent.h>
#include <dmo/ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mounted.h"

#define SIZE (8u << 20)
#define STORMERS 6

static struct mounted m;

static int open_file(void)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/f", m.mount);
	fd = open(path, O_CREAT | O_RDWR, 0644);
	if (fd >= 0 && ftruncate(fd, SIZE))
		return -1;
	return fd;
}

static void migrate_for_ever(int fd)
{
	for (unsigned i = 0;; i++) {
		struct dmo_migrate request = { .length = SIZE, .device = i % 2 ? 0 : DMO_DEVICE_HOST };

		if (ioctl(fd, DMO_IOC_MIGRATE, &request) && (errno == ENOTCONN || errno == ECONNABORTED))
			_exit(0);
	}
}

static void touch_for_ever(int fd, unsigned seed)
{
	volatile char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		_exit(0);
	for (;;) {
		seed = seed * 1103515245 + 12345;
		map[seed % SIZE] = (char)seed;
	}
}

static void start_storm(pid_t *pids)
{
	for (int i = 0; i < STORMERS; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		int fd = open_file();

		if (fd < 0)
			_exit(0);
		if (i % 2)
			migrate_for_ever(fd);
		touch_for_ever(fd, i);
	}
}

/* Every one of them ends: by an error, by SIGBUS, or by our signal, which works only outside the kernel. */
static void end_storm(const pid_t *pids)
{
	int left = STORMERS;

	for (int i = 0; i < STORMERS; i++)
		kill(pids[i], SIGKILL);
	for (int t = 0; t < PATIENCE * 100 && left; t++) {
		left -= waitpid(-1, NULL, WNOHANG) > 0;
		usleep(10000);
	}
	ck_assert_msg(left == 0, "%d processes hang in the dead mount", left);
}

/* True when path is no mount point any more: it lies on its parent's device. In a child, as stat may hang. */
static bool unmounted(void)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		struct stat a, b;

		_exit(stat(m.mount, &a) || stat(m.base, &b) || a.st_dev != b.st_dev);
	}
	for (int i = 0; i < PATIENCE * 100; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return !status;
		usleep(10000);
	}
	kill(pid, SIGKILL);
	ck_abort_msg("stat of the dead mount hangs");
}

static void wait_unmounted(void)
{
	for (int i = 0; i < PATIENCE * 20; i++) {
		if (unmounted())
			return;
		usleep(50000);
	}
	ck_abort_msg("the mount is still there");
}

static void kill_service(void)
{
	kill(m.pid, SIGKILL);
	wait_unmounted();
	ck_assert_int_eq(mounted_wait(&m), 128 + SIGKILL);
}

START_TEST(a_killed_service_leaves_no_mount)
{
	mounted_start(&m, NULL);
	kill_service();
	mounted_restart(&m, NULL);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}
END_TEST

/* Is that process the service's watchdog? */
static bool is_watchdog(pid_t pid)
{
	char path[64], name[32] = "";
	int parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fscanf(f, "%*d (%31[^)]) %*c %d", name, &parent) != 2)
		parent = 0;
	fclose(f);
	return parent == m.pid && !strcmp(name, "dmofs-watchdog");
}

static pid_t look_for_watchdog(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	pid_t found = 0;

	ck_assert_ptr_nonnull(proc);
	while (!found && (entry = readdir(proc)))
		if (is_watchdog(atoi(entry->d_name)))
			found = atoi(entry->d_name);
	closedir(proc);
	return found;
}

/* It takes its name some time after the service is ready, and looks at the mount after that. */
static pid_t find_watchdog(void)
{
	pid_t found = 0;

	for (int i = 0; i < PATIENCE * 100 && !found; i++) {
		usleep(10000);
		found = look_for_watchdog();
	}
	ck_assert_int_ne(found, 0);
	usleep(300000);
	return found;
}

/* The new mount has the old one's place and, as a rule, its device number. */
START_TEST(a_watchdog_that_comes_late_spares_the_next_mount)
{
	pid_t watchdog;
	int fd;

	mounted_start(&m, NULL);
	watchdog = find_watchdog();
	kill(watchdog, SIGSTOP);
	kill(m.pid, SIGKILL);
	ck_assert_int_eq(mounted_wait(&m), 128 + SIGKILL);
	ck_assert_int_eq(umount2(m.mount, MNT_DETACH), 0);
	mounted_restart(&m, NULL);
	kill(watchdog, SIGCONT);
	for (int i = 0; i < PATIENCE * 100 && !kill(watchdog, 0); i++)
		usleep(10000);
	fd = open_file();
	ck_assert_msg(fd >= 0, "the next mount: %s", strerror(errno));
	close(fd);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}
END_TEST

START_TEST(kill_during_an_invalidation_storm_hangs_nobody)
{
	pid_t pids[STORMERS];

	mounted_start(&m, NULL);
	start_storm(pids);
	usleep(200000 + 130000 * _i);
	kill_service();
	end_storm(pids);
	mounted_restart(&m, NULL);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}
END_TEST

START_TEST(what_was_synced_is_in_the_store)
{
	static char block[4096];
	char path[128];
	int fd;

	mounted_start(&m, NULL);
	fd = open_file();
	memset(block, 's', sizeof(block));
	for (unsigned at = 0; at < SIZE; at += 4096)
		ck_assert_int_eq(pwrite(fd, block, 4096, at), 4096);
	ck_assert_int_eq(fsync(fd), 0);
	kill_service();
	close(fd);
	snprintf(path, sizeof(path), "%s/f", m.store);
	fd = open(path, O_RDONLY);
	for (unsigned at = 0; at < SIZE; at += 4096) {
		ck_assert_int_eq(pread(fd, block, 4096, at), 4096);
		ck_assert(block[0] == 's' && block[4095] == 's');
	}
	close(fd);
	mounted_clean(&m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("crash");
	TCase *tc = tcase_create("crash");
	SRunner *runner = srunner_create(suite);
	int failed;

	mounted_need(true);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, a_killed_service_leaves_no_mount);
	tcase_add_test(tc, a_watchdog_that_comes_late_spares_the_next_mount);
	tcase_add_loop_test(tc, kill_during_an_invalidation_storm_hangs_nobody, 0, 4);
	tcase_add_test(tc, what_was_synced_is_in_the_store);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
