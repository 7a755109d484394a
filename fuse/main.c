/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main.c - the life of the service, from the command line to the last dirty page
 *
 *	options -> daemon -> watchdog -> store, devices -> mount -> workers -> ready
 *	ready -> (umount, or a signal) -> workers stop -> opens released -> write-back -> end
 *
 * The main thread lives to the end: the watchdog takes its death for the service's. It waits for signals; the end
 * of the connection comes to it as one too.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "call.h"
#include "context.h"
#include "control.h"
#include "daemon.h"
#include "fs.h"
#include "guard.h"
#include "kernel.h"
#include "log.h"
#include "loose.h"
#include "mount.h"
#include "notify.h"
#include "open.h"
#include "prune.h"
#include "socket.h"
#include "watchdog.h"
#include "worker.h"

#define MAX_WRITE_PAGES 256

static int store_fails(const char *store, int error)
{
	switch (error) {
	case ENOENT:
		fs_log(LOG_ERR, "%s: no such directory: create the store, or name another", store);
		break;
	case ENOTDIR:
		fs_log(LOG_ERR, "%s: not a directory: the store is a directory of files", store);
		break;
	default:
		fs_log(LOG_ERR, "%s: %s", store, strerror(error));
	}
	return FS_EXIT_STORE;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* Paths for later, when the working directory is another. */
static int resolve(struct fs_options *opt)
{
	char *path = realpath(opt->store, NULL);

	if (!path)
		return store_fails(opt->store, errno);
	opt->store = path;
	if (is_directory(path) && access(path, R_OK | X_OK)) {
		fs_log(LOG_ERR, "%s: %s: who mounts must be able to read and search the store", path, strerror(errno));
		return FS_EXIT_STORE;
	}
	path = realpath(opt->mountpoint, NULL);
	if (path)
		opt->mountpoint = path;
	return fs_mount_check(opt);
}

static int open_store(struct fs *fs)
{
	const struct fs_options *opt = fs->opt;
	struct statvfs st;
	int rc = fs_inodes_start(fs, opt->store);

	if (rc)
		return store_fails(opt->store, -rc);
	if (!faccessat(fs->inodes.root.fd, opt->ctl, F_OK, AT_SYMLINK_NOFOLLOW)) {
		fs_log(LOG_ERR, "%s/%s: the store has a file of the control directory's name: add -o ctl=NAME",
		       opt->store, opt->ctl);
		return FS_EXIT_STORE;
	}
	fs->read_only = opt->read_only || (!fstatvfs(fs->inodes.root.fd, &st) && st.f_flag & ST_RDONLY);
	fs->proc_fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fs->proc_fd >= 0)
		return FS_EXIT_OK;
	fs_log(LOG_ERR, "/proc/self/fd: %s: mount /proc first", strerror(errno));
	return FS_EXIT_SYSTEM;
}

static int add_devices(struct fs *fs)
{
	char why[512] = "";

	fs_guard_lock_pause();
	for (unsigned i = 0; i < fs->opt->device_count; i++) {
		int rc = eng_device_add(fs->eng, fs->opt->devices[i], why, sizeof(why));

		if (!rc)
			continue;
		fs_log(LOG_ERR, "--device %s: %s", fs->opt->devices[i], *why ? why : strerror(-rc));
		return FS_EXIT_DEVICE;
	}
	fs_guard_lock_resume();
	return FS_EXIT_OK;
}

static int use_kernel(struct fs *fs)
{
	int rc = fs->privileged ? fs_kernel_start(fs) : -EPERM;

	switch (rc) {
	case 0:
		return FS_EXIT_OK;
	case -ENOENT:
		fs_log(LOG_ERR, "--device kernel: there is no %s: load the module (modprobe dmo)", FS_KERNEL_CONTROL);
		break;
	case -EPERM:
		fs_log(LOG_ERR, "--device kernel: needs root; an own simulated device does not: --device sim:npu0,memory=32M");
		break;
	default:
		fs_log(LOG_ERR, "--device kernel: %s: %s", FS_KERNEL_CONTROL, strerror(-rc));
	}
	return FS_EXIT_DEVICE;
}

static int start_engine(struct fs *fs)
{
	struct eng_config config = {
		.fs = &fs_notify_ops, .read_only = fs->read_only, .passthrough = fs->privileged, .store_advice = true,
		.io = fs->opt->io,
	};
	int rc = eng_create(&config, &fs->eng);

	if (rc) {
		fs_log(LOG_ERR, "the engine does not start: %s", strerror(-rc));
		return FS_EXIT_SYSTEM;
	}
	rc = fs->opt->module ? use_kernel(fs) : add_devices(fs);
	if (rc)
		return rc;
	rc = eng_start(fs->eng);
	if (!rc)
		rc = fs_calls_start(fs);
	if (!rc)
		rc = fs_control_start(fs);
	if (!rc)
		return FS_EXIT_OK;
	fs_log(LOG_ERR, "the engine does not start: %s", strerror(-rc));
	return FS_EXIT_SYSTEM;
}

static void on_connection_end(void *arg)
{
	pthread_kill(*(pthread_t *)arg, SIGUSR2);
}

static int start_serving(struct fs *fs, pthread_t *main_thread)
{
	struct fs_mount_id id;
	int rc = fs_mount_start(fs);

	if (rc)
		return rc;
	if (!fs_mount_find(fs->opt->mountpoint, &id)) {
		fs->dev = makedev(id.major, id.minor);
		fs_watchdog_guard(fs->opt->mountpoint, &id);
	}
	fs_notify_start(fs);
	rc = fs_workers_start(fs, on_connection_end, main_thread);
	if (rc) {
		fs_log(LOG_ERR, "no threads: %s", strerror(-rc));
		fs_mount_remove(fs->opt->mountpoint, true);
		return FS_EXIT_SYSTEM;
	}
	fs_mount_readahead(fs);
	return FS_EXIT_OK;
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

/* Says that it still works, every few seconds, until told to stop by end of file. */
static void *say_progress(void *arg)
{
	int fd = *(int *)arg, seconds = 0;
	struct timeval wait;
	fd_set set;

	for (;;) {
		FD_ZERO(&set);
		FD_SET(fd, &set);
		wait = (struct timeval){ .tv_sec = 3 };
		if (select(fd + 1, &set, NULL, NULL, &wait))
			return NULL;
		seconds += 3;
		fs_log(LOG_NOTICE, "still writing back what devices hold (%d s)", seconds);
	}
}

static int write_back(struct fs *fs)
{
	pthread_t thread;
	int fds[2], rc;
	bool told;

	if (pipe2(fds, O_CLOEXEC))
		return eng_sync(fs->eng);
	told = fds[0] < FD_SETSIZE && !pthread_create(&thread, NULL, say_progress, &fds[0]);
	rc = eng_sync(fs->eng);
	close(fds[1]);
	if (told)
		pthread_join(thread, NULL);
	close(fds[0]);
	return rc;
}

static int finish(struct fs *fs)
{
	int rc;

	fs_daemon_notify("STOPPING=1");
	fs_prune_stop(fs);
	fs_workers_stop(fs);
	fs_inodes_each(fs, fs_open_release_all, NULL);
	fs_context_release_all();
	fs_kernel_stop(fs);
	fs_loose_end_all();
	rc = write_back(fs);
	if (rc)
		fs_log(LOG_ERR, "not all could be written back to %s: %s", fs->opt->store, strerror(-rc));
	fs_inodes_forget_all(fs);
	eng_destroy(fs->eng);
	fs_inodes_stop(fs);
	fs_calls_stop(fs);
	fs_control_stop(fs);
	fs_workers_free(fs);
	fuse_session_destroy(fs->se);
	close(fs->proc_fd);
	return rc ? FS_EXIT_FLUSH : FS_EXIT_OK;
}

static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Until the connection is over, by umount or by a signal to us. */
static void wait_for_end(struct fs *fs, const sigset_t *set)
{
	int sig = 0;

	while (sigwait(set, &sig))
		;
	if (sig == SIGUSR2) {
		fs_log(LOG_INFO, "%s: unmounted", fs->opt->mountpoint);
		return;
	}
	fs_log(LOG_NOTICE, "%s: %s: unmounting", fs->opt->mountpoint, strsignal(sig));
	if (fs_mount_stop(fs))
		while (sigwait(set, &sig) || sig != SIGUSR2)
			;
}

static int serve(struct fs *fs)
{
	pthread_t main_thread = pthread_self();
	sigset_t set;
	int rc;

	if (fs->opt->passthrough && !fs->privileged)
		fs_log(LOG_WARNING, "-o passthrough needs root: all files go through the service");
	fs_guard_files();
	fs_guard_process();
	fs_guard_lock();
	block_signals(&set);
	rc = open_store(fs);
	if (!rc)
		rc = start_engine(fs);
	if (!rc)
		fs_socket_start(fs);
	if (!rc)
		rc = start_serving(fs, &main_thread);
	if (rc)
		return rc;
	fs_prune_start(fs);
	fs_daemon_notify("READY=1");
	fs_daemon_ready();
	fs_log(LOG_INFO, "%s is mounted on %s", fs->opt->store, fs->opt->mountpoint);
	wait_for_end(fs, &set);
	return finish(fs);
}

static int live(struct fs_options *opt)
{
	static struct fs fs = { .proc_fd = -1 };
	int rc;

	fs.opt = opt;
	fs.privileged = !geteuid();
	fs.max_write = MAX_WRITE_PAGES * sysconf(_SC_PAGESIZE);
	fs_log_level(opt->log_level);
	if (!opt->foreground)
		fs_daemon_start();
	umask(0);
	if (fs_watchdog_start())
		fs_log(LOG_WARNING, "no watchdog: if the service is killed, umount -l %s", opt->mountpoint);
	rc = serve(&fs);
	fs_watchdog_dismiss();
	return rc;
}

int main(int argc, char **argv)
{
	static struct fs_options opt;
	int rc = fs_options_parse(&opt, argc, argv);

	if (!rc)
		rc = resolve(&opt);
	if (!rc)
		rc = live(&opt);
	fs_options_free(&opt);
	return rc;
}
