/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * dmo/ioctl.h - the one ABI of device memory objects, the same in both homes
 *
 * Rules, kept by every struct here and enforced by one decoder (src/core/abi.c):
 *  - fixed-width types, no holes, no pointers; arrays stand inline behind a count;
 *  - a request is found by type and number; its size (in the command word) says how many array entries
 *    follow, and must be header + count * entry exactly; 16383 bytes at most, which is FUSE's limit;
 *  - unknown flags and nonzero reserved fields give EINVAL;
 *  - offset + length must not overflow: EOVERFLOW where the sum passes 2^63 - 1, EINVAL where it is merely
 *    unaligned (DMO_PAGE_SIZE) in a request that wants whole pages.
 *
 * Object requests go to an open file of the mount, or to what DMO_IOC_OBJECT_CREATE gave. Context requests go to an open
 * context, MOUNT/.dmo/devices/NAME/context or /dev/dmo/NAME. Control requests go to /dev/dmo/control, which the
 * kernel home alone has.
 */
#ifndef DMO_IOCTL_H
#define DMO_IOCTL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define DMO_ABI_VERSION		1
#define DMO_PAGE_SIZE		4096u
#define DMO_PAGE_SHIFT		12
#define DMO_BLOCK_SIZE		(2u << 20)	/* the unit of placement */
#define DMO_BLOCK_SHIFT		21
#define DMO_NAME_MAX		32		/* a device's name, with its NUL */

#define DMO_IOC_MAGIC		0xDA

/* A device in a request: its number (DMO_IOC_DEVICE lists them), or one of these. */
#define DMO_DEVICE_HOST		0xfffffffeu	/* the backing file */
#define DMO_DEVICE_ANY		0xffffffffu	/* every device (advice, query), the preferred one (migrate) */

/* ---- object: information ------------------------------------------------------------------------ */

enum dmo_home { DMO_HOME_USER = 1, DMO_HOME_KERNEL = 2 };

#define DMO_CAP_PASSTHROUGH	(1ull << 0)	/* FUSE passthrough can be had */
#define DMO_CAP_MIRROR_FILES	(1ull << 1)	/* DMO_IOC_MIRROR takes mappings of this mount's files */
#define DMO_CAP_MIRROR_ANON	(1ull << 2)	/* ... and anonymous memory */
#define DMO_CAP_DMABUF		(1ull << 3)	/* DMO_IOC_EXPORT works */
#define DMO_CAP_STORED_ADVICE	(1ull << 4)	/* advice outlives the service (the store takes xattrs) */

#define DMO_MEM_PRIVATE		0		/* the CPU can't reach it */
#define DMO_MEM_COHERENT	1		/* the CPU may hold and cache it */

#define DMO_DEVICE_FAULTS	(1u << 0)	/* resolves its own faults; else a command is made resident first */
#define DMO_DEVICE_DIRTY	(1u << 1)	/* its MMU keeps accessed and dirty bits */
#define DMO_DEVICE_LOST		(1u << 2)	/* gone; its dirty pages read EIO */

struct dmo_info {
	__u32 abi_version;
	__u32 home;		/* enum dmo_home */
	__u64 caps;		/* DMO_CAP_* */
	__u32 devices;		/* how many devices there are: numbers 0 to devices - 1 */
	__u32 block_size;
	__u32 page_size;
	__u32 reserved0;
	__u64 size;		/* the object's bytes */
	__u64 resident;		/* of them, on any device */
	__u64 reserved[2];
};

struct dmo_device_info {
	__u32 device;		/* in: the number */
	__u32 memory_type;	/* DMO_MEM_* */
	__u32 flags;		/* DMO_DEVICE_* */
	__u32 threads;		/* compute threads */
	__u64 memory;		/* bytes of device memory */
	__u64 used;
	__u64 limit;		/* memory.max */
	__u64 link;		/* bytes a second each way; 0: unlimited */
	__u64 va_start;		/* device addresses run from here ... */
	__u64 va_end;		/* ... to before here */
	char  name[DMO_NAME_MAX];
	__u64 reserved[4];
};

/* ---- object: key --------------------------------------------------------------------------------- */

/* 64 random bits that name one open file and carry its access mode; dead when that file is released. */
struct dmo_key {
	__u64 key;
	__u64 reserved;
};

/* ---- object: advice ------------------------------------------------------------------------------ */

enum dmo_advice {
	DMO_ADV_NORMAL		= 0,	/* undoes SEQUENTIAL and RANDOM */
	DMO_ADV_SEQUENTIAL	= 1,
	DMO_ADV_RANDOM		= 2,
	DMO_ADV_WILLNEED	= 3,	/* prefetch to device (or DMO_DEVICE_HOST); not stored */
	DMO_ADV_DONTNEED	= 4,	/* give the device memory back, keep the content; not stored */
	DMO_ADV_DISCARD		= 5,	/* the content is dead: reads give zeros; not stored */
	DMO_ADV_COLD		= 6,	/* first to be evicted; undone by NORMAL */
	DMO_ADV_READ_MOSTLY	= 7,	/* replicate on every device that reads */
	DMO_ADV_NO_READ_MOSTLY	= 8,
	DMO_ADV_PREFERRED	= 9,	/* device: where it should stay */
	DMO_ADV_NO_PREFERRED	= 10,
	DMO_ADV_ACCESSED_BY	= 11,	/* device: keep it mapped there, don't move it */
	DMO_ADV_NO_ACCESSED_BY	= 12,
	DMO_ADV_NO_MIGRATE	= 13,	/* stays where it is; devices map it remotely */
	DMO_ADV_MIGRATE		= 14,
	DMO_ADV_GRANULARITY	= 15,	/* value: log2 of bytes, 12 to 21; 0 undoes */
	DMO_ADV_DEVICE_BITS	= 16,	/* value: opaque bits handed to the device's page table; 0 undoes */
	DMO_ADV_COUNT
};

struct dmo_advise {
	__u64 offset;		/* bytes, page aligned */
	__u64 length;		/* bytes, page aligned; 0: to the end of the file, and whatever is added later */
	__u32 advice;		/* enum dmo_advice */
	__u32 device;
	__u64 value;
	__u32 flags;		/* 0 */
	__u32 reserved[3];
};

/* The attributes in force on a range, as DMO_IOC_QUERY gives them. */
#define DMO_ATTR_SEQUENTIAL	(1u << 0)
#define DMO_ATTR_RANDOM		(1u << 1)
#define DMO_ATTR_COLD		(1u << 2)
#define DMO_ATTR_READ_MOSTLY	(1u << 3)
#define DMO_ATTR_NO_MIGRATE	(1u << 4)
#define DMO_ATTR_PREFERRED	(1u << 5)	/* extent.preferred holds the device */
#define DMO_ATTR_ALL		0x3fu

/* ---- object: query, fiemap style ----------------------------------------------------------------- */

#define DMO_EXT_RESIDENT	(1u << 0)	/* extent.device holds a copy */
#define DMO_EXT_DIRTY		(1u << 1)	/* ... newer than the backing file */
#define DMO_EXT_CPU		(1u << 2)	/* the CPU may hold pages of it */
#define DMO_EXT_MAPPED		(1u << 3)	/* in some device's page table */
#define DMO_EXT_REMOTE		(1u << 4)	/* mapped where it is, across the link */
#define DMO_EXT_PINNED		(1u << 5)
#define DMO_EXT_LOST		(1u << 6)	/* was dirty on a lost device: EIO */
#define DMO_EXT_HOLE		(1u << 7)	/* neither on a device nor in the backing file */
#define DMO_EXT_REPLICA		(1u << 8)	/* further devices hold equal copies */
#define DMO_EXT_LAST		(1u << 31)	/* nothing beyond */

struct dmo_extent {
	__u64 offset;
	__u64 length;
	__u32 flags;		/* DMO_EXT_* */
	__u32 device;		/* DMO_DEVICE_HOST where no device holds it */
	__u32 attrs;		/* DMO_ATTR_* */
	__u32 preferred;	/* device; DMO_DEVICE_ANY: none */
	__u64 accessed_by;	/* a bit for each device 0 to 63 */
	__u32 granularity;	/* log2 of bytes; 0: not set */
	__u32 reserved;
	__u64 device_bits;
};

struct dmo_query {
	__u64 offset;		/* in: page aligned; out: where the next query goes on */
	__u64 length;		/* in: 0: to the end */
	__u32 count;		/* in: room in extents; out: how many were filled */
	__u32 flags;		/* 0 */
	__u64 reserved;
	struct dmo_extent extents[];
};
#define DMO_QUERY_MAX		256u

/* ---- object: migrate ------------------------------------------------------------------------------ */

#define DMO_MIGRATE_ASYNC	(1u << 0)	/* return at once; poll gives POLLPRI, DMO_IOC_WAIT the result */

/* 0 only if every page arrived; else -errno, with how far it came and why in done and error. */
struct dmo_migrate {
	__u64 offset;		/* page aligned */
	__u64 length;		/* page aligned; 0: to the end */
	__u32 device;		/* target; DMO_DEVICE_HOST evicts */
	__u32 flags;
	__u64 done;		/* out: bytes, from offset on, that are where they should be */
	__u64 cookie;		/* out: names an asynchronous migration */
	__s32 error;		/* out: why it stopped, 0 or -errno */
	__u32 reserved0;
	__u64 reserved;
};

struct dmo_wait {
	__u64 cookie;		/* in: which; 0: any that is over; out: which */
	__u64 done;		/* out */
	__s32 error;		/* out */
	__u32 flags;		/* 0 */
	__u64 reserved;
};

/* ---- object: pin ---------------------------------------------------------------------------------- */

/*
 * PIN, EXPORT: charge says whose limit on locked memory counts instead of the caller's. For a service that acts for
 * others on the kernel home's own descriptors: needs CAP_SYS_RESOURCE.
 */
#define DMO_CHARGE_OTHER	(1u << 0)
#define DMO_CHARGE(pid, uid)	((__u64)(__u32)(uid) << 32 | (__u32)(pid))	/* that process or thread of that user */

/* A lease on residency, held by the open file and gone with it. */
struct dmo_pin {
	__u64 offset;		/* page aligned */
	__u64 length;		/* page aligned, not 0 */
	__u32 device;		/* a device, not HOST */
	__u32 flags;		/* PIN: DMO_CHARGE_OTHER */
	__u64 id;		/* out for PIN, in for UNPIN */
	__u64 charge;		/* with DMO_CHARGE_OTHER: DMO_CHARGE(); else 0 */
};

/* ---- object: export -------------------------------------------------------------------------------- */

/*
 * Through the mount no descriptor can come back: fd is -1 and ticket is not 0. Who connects to the service's socket
 * (.dmo/info names it) and sends the ticket's 8 bytes gets an __s32: 0 and the descriptor (SCM_RIGHTS), or -errno. A
 * ticket serves once, the user that got it, for some seconds, while the file stays open. dmo_export_dmabuf does it all.
 */
struct dmo_export {
	__u64 offset;
	__u64 length;
	__u32 device;
	__u32 flags;		/* DMO_CHARGE_OTHER */
	__s32 fd;		/* out */
	__u32 reserved;
	__u64 charge;		/* with DMO_CHARGE_OTHER: DMO_CHARGE(); else 0 */
	__u64 ticket;		/* out */
};

/* ---- context: mappings ----------------------------------------------------------------------------- */

#define DMO_PROT_READ		(1u << 0)
#define DMO_PROT_WRITE		(1u << 1)

#define DMO_MAP_FIXED		(1u << 0)	/* at va, EEXIST where something is mapped there */
#define DMO_MAP_REPLACE		(1u << 1)	/* with FIXED: what is mapped there goes */
#define DMO_MAP_FD		(1u << 2)	/* key is a file descriptor of the object; the kernel home alone */

struct dmo_map_op {
	__u64 va;		/* in with FIXED, page aligned; out: where it came */
	__u64 length;		/* page aligned, not 0 */
	__u64 key;		/* the object, and what may be done to it */
	__u64 offset;		/* in the object, page aligned */
	__u32 prot;		/* DMO_PROT_* */
	__u32 flags;		/* DMO_MAP_* */
	__u64 bits;		/* opaque device bits of this mapping */
};

struct dmo_unmap_op {
	__u64 va;		/* page aligned */
	__u64 length;		/* page aligned, not 0; what is not mapped in between is passed over */
};

/* Both: ops before done are carried out when an error comes back; the error is of op number done. */
struct dmo_map {
	__u32 count;
	__u32 done;		/* out */
	__u64 reserved;
	struct dmo_map_op ops[];
};

struct dmo_unmap {
	__u32 count;
	__u32 done;		/* out */
	__u64 reserved;
	struct dmo_unmap_op ops[];
};
#define DMO_MAP_MAX		256u
#define DMO_UNMAP_MAX		512u

/*
 * Mirrors a range of the caller's address space into the context at the same addresses. What lies there must be
 * something the home can mirror (DMO_CAP_MIRROR_*), else EOPNOTSUPP and nothing is mapped. A snapshot of the
 * mappings as they are: a later mmap or munmap is not followed.
 */
struct dmo_mirror {
	__u64 address;		/* page aligned */
	__u64 length;		/* page aligned, not 0 */
	__u32 prot;
	__u32 flags;		/* 0 */
	__u64 bits;
	__u64 reserved;
};

/* Makes a range of device addresses accessible now, as a device fault would. */
struct dmo_fault {
	__u64 va;
	__u64 length;
	__u32 prot;		/* the access wanted */
	__u32 flags;		/* 0 */
	__u64 reserved;
};

/*
 * The low-water mark: how many completions a poll(2) for reading waits for, and a read(2) that waits, which is content
 * with as many as fit; with as few as there are where no command is left to complete. 1 at first. As SO_RCVLOWAT.
 */
#define DMO_LOWAT_MAX	65536

struct dmo_lowat {
	__u32 count;		/* 1 to DMO_LOWAT_MAX */
	__u32 flags;		/* 0 */
	__u64 reserved;
};

/* ---- context: work ---------------------------------------------------------------------------------- */

/*
 * write(2) takes whole commands, read(2) gives whole completions, poll(2) says when (DMO_IOC_LOWAT). A context runs its
 * commands in the order written. Numbers in the third column are arg[]; addresses are device addresses;
 * f32 is IEEE 754 single precision, little endian, 4-byte aligned; n counts elements. A float in an argument
 * stands as the bits of an f32 in the low half.
 */
enum dmo_op {
	DMO_OP_NOP		= 0,	/* completes when all before it have */
	DMO_OP_FILL		= 1,	/* 0 dst, 1 bytes, 2 byte value */
	DMO_OP_COPY		= 2,	/* 0 dst, 1 src, 2 bytes; the ranges must not overlap */
	DMO_OP_CKSUM		= 3,	/* 0 src, 1 bytes, 2 CRC so far, 3 bytes so far, 4 1: finish with the length;
					   result 0: POSIX cksum's number (finished) or the running CRC */
	DMO_OP_COMPARE		= 4,	/* 0 a, 1 b, 2 bytes; result 0: where they first differ, or bytes */
	DMO_OP_CHASE		= 5,	/* 0 first, 1 hops: follows u64 device addresses; result 0: the last */
	DMO_OP_ATOMIC_ADD	= 6,	/* 0 address of an aligned u64, 1 addend; result 0: the old value */
	DMO_OP_AXPY		= 7,	/* 0 y, 1 x, 2 n, 3 a: y += a x */
	DMO_OP_GEMV		= 8,	/* 0 y, 1 W (rows x cols, row major), 2 x, 3 bias or 0, 4 rows, 5 cols:
					   y[rows] = W x + bias, or with TRANSPOSE y[cols] = W' x + bias */
	DMO_OP_GATHER		= 9,	/* 0 dst, 1 table, 2 indices (u32), 3 n, 4 bytes a row, 5 rows in table */
	DMO_OP_LAYERNORM	= 10,	/* 0 y, 1 x, 2 gain, 3 bias, 4 n, 5 epsilon */
	DMO_OP_GELU		= 11,	/* 0 y, 1 x, 2 n: the tanh form */
	DMO_OP_ATTENTION	= 12,	/* 0 out, 1 q, 2 K, 3 V, 4 heads, 5 width of a head, 6 positions, 7 floats
					   between positions in K and V: one query over a cache */
	DMO_OP_ARGMAX		= 13,	/* 0 x, 1 n; result 0: the first index of the largest, 1: its bits */
	DMO_OP_COUNT
};

#define DMO_CMD_TRANSPOSE	(1u << 0)	/* GEMV */
#define DMO_CMD_ACCUMULATE	(1u << 1)	/* GEMV: y += */

struct dmo_command {
	__u64 cookie;		/* comes back in the completion */
	__u32 op;		/* enum dmo_op */
	__u32 flags;		/* DMO_CMD_* */
	__u64 arg[14];		/* unused ones 0 */
};

struct dmo_completion {
	__u64 cookie;
	__s32 status;		/* 0 or -errno: EFAULT nothing mapped, EACCES protection, EIO lost or unreadable,
				   ENOSPC can't be made resident, EINVAL bad command, EOPNOTSUPP not on this device,
				   ECANCELED context closed */
	__u32 op;
	__u64 result[2];
	__u64 va;		/* the address that failed */
	__u64 faults;		/* device faults taken */
	__u64 waited_ns;	/* for faults and for the link, summed over compute threads */
	__u64 ran_ns;		/* from start to end */
};

/* ---- control: objects without a mount ------------------------------------------------------------------- */

#define DMO_CREATE_CLOEXEC	(1u << 0)
#define DMO_CREATE_READ		(1u << 1)	/* the object's fd may only read, whatever the backing fd may */

struct dmo_object_create {
	__s32 backing;		/* in: an fd of the backing file, or -1: fresh memory of size bytes */
	__u32 flags;		/* DMO_CREATE_* */
	__u64 size;		/* in: with -1: bytes; else 0. out: the object's bytes */
	__s32 fd;		/* out: the object */
	__u32 reserved0;
	__u64 reserved;
};

/* ---- numbers ------------------------------------------------------------------------------------------ */

#define DMO_IOC_INFO		_IOR(DMO_IOC_MAGIC, 1, struct dmo_info)
#define DMO_IOC_DEVICE		_IOWR(DMO_IOC_MAGIC, 2, struct dmo_device_info)	/* contexts take it too */
#define DMO_IOC_KEY		_IOR(DMO_IOC_MAGIC, 3, struct dmo_key)
#define DMO_IOC_ADVISE		_IOW(DMO_IOC_MAGIC, 4, struct dmo_advise)
#define DMO_IOC_MIGRATE		_IOWR(DMO_IOC_MAGIC, 6, struct dmo_migrate)
#define DMO_IOC_WAIT		_IOWR(DMO_IOC_MAGIC, 7, struct dmo_wait)
#define DMO_IOC_PIN		_IOWR(DMO_IOC_MAGIC, 8, struct dmo_pin)
#define DMO_IOC_UNPIN		_IOW(DMO_IOC_MAGIC, 9, struct dmo_pin)
#define DMO_IOC_EXPORT		_IOWR(DMO_IOC_MAGIC, 10, struct dmo_export)
#define DMO_IOC_OBJECT_CREATE	_IOWR(DMO_IOC_MAGIC, 32, struct dmo_object_create)	/* control */
#define DMO_IOC_MIRROR		_IOW(DMO_IOC_MAGIC, 18, struct dmo_mirror)
#define DMO_IOC_FAULT		_IOW(DMO_IOC_MAGIC, 19, struct dmo_fault)
#define DMO_IOC_LOWAT		_IOW(DMO_IOC_MAGIC, 20, struct dmo_lowat)

/* With an array of n entries. */
#define DMO_IOC_SIZED(nr, bytes) _IOC(_IOC_READ | _IOC_WRITE, DMO_IOC_MAGIC, nr, bytes)
#define DMO_IOC_QUERY(n)  DMO_IOC_SIZED(5, sizeof(struct dmo_query) + (n) * sizeof(struct dmo_extent))
#define DMO_IOC_MAP(n)    DMO_IOC_SIZED(16, sizeof(struct dmo_map) + (n) * sizeof(struct dmo_map_op))
#define DMO_IOC_UNMAP(n)  DMO_IOC_SIZED(17, sizeof(struct dmo_unmap) + (n) * sizeof(struct dmo_unmap_op))

#endif
