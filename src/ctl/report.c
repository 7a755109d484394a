/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.c - messages that name the cause and a way out
 */
#include "ctl.h"

#include <stdarg.h>
#include <string.h>

static const struct {
	int error;
	const char *cause;	/* NULL: strerror's */
	const char *way_out;
} hints[] = {
	{ ENOTTY, "not on a dmofs mount",
	  "mount its directory with \"dmofs STORE MOUNT --device sim:npu0,memory=32M\" and name the file below MOUNT" },
	{ ENOTCONN, "the dmofs service of this mount has ended", "umount it and mount it again" },
	{ EACCES, NULL, "the file's modes, or the device's owner, group and mode decide" },
	{ EPERM, NULL, "only root, or who may write the device's limits, may do this" },
	{ ENOSPC, "the device has no room for it",
	  "raise its limit (dmoctl limit set), evict or unpin something, or name a smaller range" },
	{ EDQUOT, "the limit on pinned memory is reached", "raise RLIMIT_MEMLOCK (ulimit -l), or unpin something" },
	{ EBUSY, NULL, "pinned there, or open in passthrough mode: unpin or close it first" },
	{ EROFS, NULL, "the store is read-only: mount a writable one" },
	{ ENODEV, "the device is gone, or was never there", "\"dmoctl devices\" lists them" },
	{ EIO, "bytes can't be read, or were lost with a device",
	  "write them anew, punch or truncate them away; the log of dmofs says more" },
	{ EOPNOTSUPP, "this mount can't do that", "\"dmoctl info\" lists what it can" },
};

int complain(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("dmoctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	putc('\n', stderr);
	return CTL_FAILED;
}

int fail(const char *what, int error)
{
	const char *cause = strerror(-error);

	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
		if (hints[i].error == -error)
			return complain("%s: %s (%s)", what, hints[i].cause ? hints[i].cause : cause, hints[i].way_out);
	}
	return complain("%s: %s", what, cause);
}

int fail_device(const char *mount, const char *device, int error)
{
	char names[16][DMO_NAME_MAX], list[16 * (DMO_NAME_MAX + 2)] = "";
	int n = error == -ENODEV ? dmo_mount_devices(mount, names, 16) : 0;

	if (n <= 0)
		return fail(device, error);
	for (int i = 0; i < n && i < 16; i++) {
		strcat(list, i ? ", " : "");
		strcat(list, names[i]);
	}
	return complain("no device \"%s\" (this mount has: %s)", device, list);
}
