/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guard.c - memory-pressure deadlock
 *
 * When memory is short the kernel writes dirty pages of mapped files, through this service, and waits. If the
 * service itself then waits for memory, nothing moves. So its memory is locked as it is touched
 * (MCL_ONFAULT: mounting stays fast), its threads may use the reserves (PR_SET_IO_FLUSHER), and the OOM killer
 * looks elsewhere. A limit that forbids one of these costs a warning, once.
 */
#include "config.h"

#include "guard.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

static bool locking;

void fs_guard_files(void)
{
	struct rlimit limit;
	rlim_t most = 1u << 20;
	FILE *f = fopen("/proc/sys/fs/nr_open", "re");
	unsigned long long n;

	if (f) {
		if (fscanf(f, "%llu", &n) == 1)
			most = n;
		fclose(f);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	if (limit.rlim_max < most) {
		struct rlimit raised = { most, most };

		if (!setrlimit(RLIMIT_NOFILE, &raised))
			return;
	}
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void adjust_oom(void)
{
	FILE *f = fopen("/proc/self/oom_score_adj", "we");

	if (!f)
		return;
	fputs("-1000\n", f);
	fclose(f);
}

void fs_guard_process(void)
{
	if (geteuid())
		return;
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		fs_log(LOG_WARNING, "no memory reserves (%s): short memory may stop the mount", strerror(errno));
	adjust_oom();
}

/* Root in a container may lack CAP_IPC_LOCK. */
static bool limits_apply(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];

	return syscall(SYS_capget, &head, caps) || !(caps[0].effective & (1u << CAP_IPC_LOCK));
}

void fs_guard_lock(void)
{
	struct rlimit limit;

	/* A limit would make later allocations fail: better unlocked. */
	if (limits_apply() && (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur != RLIM_INFINITY)) {
		fs_log(LOG_WARNING, "memory is not locked: %s, and ulimit -l is no 'unlimited'",
		       geteuid() ? "not root" : "no CAP_IPC_LOCK");
		return;
	}
	locking = !mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	if (!locking)
		fs_log(LOG_WARNING, "memory is not locked: %s", strerror(errno));
}

void fs_guard_lock_pause(void)
{
	if (locking)
		mlockall(MCL_CURRENT | MCL_ONFAULT);
}

void fs_guard_lock_resume(void)
{
	if (locking)
		mlockall(MCL_FUTURE | MCL_ONFAULT);
}
