/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cred.c - creating in the caller's name
 *
 * The kernel has checked the caller's permission before a request arrives (default_permissions), by the modes
 * and ACLs of the store. What is left is that a new file gets the right owner, group (a set-group-id directory's
 * included) and umask or default ACL. The store does that by itself when the creating thread has the caller's
 * filesystem uid, gid and umask. Linux keeps all three per thread, given raw system calls and CLONE_FS
 * undone; SECBIT_NO_SETUID_FIXUP makes the thread keep its capabilities, so a uid may stay as the last creation
 * left it and changes only when another caller comes. A new thread has all of them from the worker that started it.
 *
 * Where the security bit is refused (a container without CAP_SETPCAP), files are created by the service and
 * given away after.
 */
#include "config.h"

#include "cred.h"

#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "worker.h"

void fs_cred_start(struct fs_worker *w)
{
	int bits = prctl(PR_GET_SECUREBITS);

	w->uid = geteuid();
	w->gid = getegid();
	w->mask = 0;
	if (unshare(CLONE_FS))
		fs_log(LOG_WARNING, "unshare: umasks of concurrent callers may mix");
	umask(0);
	if (w->fs->privileged && bits >= 0)
		w->keeps_caps = !prctl(PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP);
	if (!w->keeps_caps)
		return;
	syscall(SYS_setfsgid, w->gid);
	syscall(SYS_setfsuid, w->uid);
}

void fs_cred_enter(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct fs_worker *w = fs_worker();

	if (ctx->umask != w->mask) {
		umask(ctx->umask);
		w->mask = ctx->umask;
	}
	if (!w->keeps_caps)
		return;
	if (ctx->gid != w->gid) {
		syscall(SYS_setfsgid, ctx->gid);
		w->gid = ctx->gid;
	}
	if (ctx->uid != w->uid) {
		syscall(SYS_setfsuid, ctx->uid);
		w->uid = ctx->uid;
	}
}

bool fs_cred_owes(fuse_req_t req, uid_t *uid, gid_t *gid)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct fs_worker *w = fs_worker();

	if (w->keeps_caps || !w->fs->privileged || (ctx->uid == w->uid && ctx->gid == w->gid))
		return false;
	*uid = ctx->uid;
	*gid = ctx->gid;
	return true;
}

/* The rest of a line of numbers holds one of them. */
static bool listed(FILE *f, gid_t group)
{
	unsigned n;

	while (fscanf(f, "%u", &n) == 1)
		if (n == group)
			return true;
	return false;
}

bool fs_cred_in_group(const struct fuse_in_header *in, gid_t group)
{
	char line[256];
	bool found = false;
	FILE *f;

	if (in->gid == group)
		return true;
	snprintf(line, sizeof(line), "/proc/%u/status", in->pid);
	f = fopen(line, "re");
	if (!f)
		return false;
	while (fscanf(f, "%255s", line) == 1)
		if (!strcmp(line, "Groups:")) {
			found = listed(f, group);
			break;
		}
	fclose(f);
	return found;
}

struct eng_cred fs_cred_of(fuse_req_t req, bool owner)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct eng_cred){ .uid = ctx->uid, .gid = ctx->gid, .pid = ctx->pid, .owner = owner || !ctx->uid };
}
