/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abi.h - the one decoder of include/dmo/ioctl.h; both homes call it before they look at a request
 *
 * It sees the request alone, not the object: whether a key lives, a range is mapped or a right is held is the
 * home's to find out. After a 0 the home may use every field as it stands.
 *
 * The checks, in this order; the first that fails gives the error:
 *
 *	-ENOTTY		another type than DMO_IOC_MAGIC, or a number that this side (object, context, control) has not
 *	-EINVAL		the direction or the size of the request is not the number's; an array's count does not
 *			agree with the size, is 0 or above its maximum; the caller's buffer is shorter
 *	-EINVAL		unknown flags, reserved fields that are not 0
 *	-ENODEV		a device number that is neither below ndevices nor HOST nor ANY
 *	-EOVERFLOW	offset + length (address + length) passes 2^63 - 1
 *	-EINVAL		what else the request asks for:
 *
 *	request		offset, length			besides
 *	DEVICE						-ENODEV for HOST and ANY too
 *	ADVISE		pages, length may be 0		advice known; value 0 where the advice takes none,
 *						log2 of bytes 12 to 21 or 0 for GRANULARITY; device: PREFERRED
 *						not ANY, DONTNEED not HOST, ACCESSED_BY and its opposite not
 *						HOST and below 64; advice that takes no device: 0 will do
 *	QUERY		offset a page, any length
 *	MIGRATE		pages, length may be 0
 *	PIN		pages, not 0			device not HOST, not ANY; charge names a process with
 *						DMO_CHARGE_OTHER, and is 0 without
 *	UNPIN		not looked at			nor is the device: it may come back as PIN filled it
 *	EXPORT		pages, not 0			charge as for PIN
 *	MIRROR		pages, not 0			prot as for a map operation
 *	FAULT		any, not 0			prot as for a map operation
 *	LOWAT						count 1 to DMO_LOWAT_MAX
 *	MAP, UNMAP	see dmo_abi_check_map_op: the operations are checked one by one as they are carried
 *			out, because those before a bad one are to take effect
 *	OBJECT_CREATE	not looked at			size 0 with a backing fd, 1 to 2^63 - 1 with -1; -EBADF for any
 *						other fd below 0
 *	INFO, KEY, WAIT	nothing more
 *
 * Locks: none; the calls read their arguments only. Requests are aligned to 8 bytes.
 */
#ifndef DMO_CORE_ABI_H
#define DMO_CORE_ABI_H

#include "dmo_env.h"

#include <dmo/ioctl.h>

enum dmo_abi_side { DMO_ABI_OBJECT = 1, DMO_ABI_CONTEXT = 2, DMO_ABI_CONTROL = 4 };

/*
 * Checks request cmd, whose size bytes the home copied in at arg: for a request that only gives something
 * back (INFO, KEY) arg is not looked at and size may be 0. ndevices: how many devices there are. 0, or -errno
 * as above.
 */
int dmo_abi_check(u32 cmd, const void *arg, size_t size, enum dmo_abi_side side, u32 ndevices);

/*
 * Checks one operation of a MAP or UNMAP. -EOVERFLOW where va (with FIXED) or offset, plus length, passes
 * 2^63 - 1; else -EINVAL for a length of 0, anything unaligned, a prot that is 0 or unknown, unknown flags,
 * REPLACE without FIXED. va is not looked at without FIXED.
 */
int dmo_abi_check_map_op(const struct dmo_map_op *op);
int dmo_abi_check_unmap_op(const struct dmo_unmap_op *op);

/*
 * Checks a command: 0; -EINVAL for an unknown op, flags that the op doesn't have, an unused arg that is not
 * 0, a range that overflows or is not aligned as its elements want (f32 and indices 4, atomics and chased
 * addresses 8), and: FILL's value above 255; CKSUM's CRC above 32 bits or its last arg above 1; COPY's ranges
 * overlapping; a float with high bits; a dimension of 0 for GEMV, LAYERNORM, ATTENTION, ARGMAX; ATTENTION
 * positions that overlap. A byte count or n of 0 is fine elsewhere.
 */
int dmo_abi_check_command(const struct dmo_command *c);

#define DMO_CMD_RANGES_MAX	8

/* Commands of a context whose completions have not been read: a low-water mark above that would never be reached. */
#define DMO_OUTSTANDING_MAX	DMO_LOWAT_MAX

/*
 * Whether who waits for wanted completions is to have what is there (ioctl_dmo_lowat(2)): ready ones, of outstanding
 * commands whose completions have not been read.
 */
static inline bool dmo_completions_ready(u32 ready, u32 outstanding, u32 wanted)
{
	return ready && (ready >= wanted || ready == outstanding);
}

/* Device addresses that a command touches; never empty. */
struct dmo_cmd_range {
	u64 va;
	u64 len;		/* bytes */
	bool read;
	bool write;		/* without read: every byte is overwritten */
};

/*
 * What command c touches, for devices that take no faults: the number of ranges put into out (at most max,
 * which is DMO_CMD_RANGES_MAX or more to be sure of all). -EINVAL as dmo_abi_check_command or for a max that
 * is too small; -EOPNOTSUPP for CHASE, whose addresses only the device finds out.
 */
int dmo_command_ranges(const struct dmo_command *c, struct dmo_cmd_range *out, int max);

#endif
