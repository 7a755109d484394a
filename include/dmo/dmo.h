/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dmo/dmo.h - libdmo: device memory objects from a program
 *
 * Every file below a dmofs mount is an object: its bytes are in a backing file, and any page of it may at any moment
 * be in a device's memory instead. This library wraps the ioctls of <dmo/ioctl.h>, finds devices, opens device
 * address spaces ("contexts"), maps objects into them and runs commands there. Objects themselves are
 * opened, read, mapped, truncated and closed with the ordinary system calls.
 *
 * Results. 0 (or a count, where said) on success and a negative errno value on failure. Nothing comes through
 * errno, and errno is as it was before the call.
 *
 * Units. Offsets, lengths, device addresses and limits are bytes. "Page aligned" is a multiple of DMO_PAGE_SIZE.
 * A device is a number (0 to devices - 1), DMO_DEVICE_HOST for the backing file, or DMO_DEVICE_ANY.
 *
 * Threads. Every call may be made from any thread at any time, on the same handle too, except that a handle's last
 * reference is dropped when no other thread uses it. The only state of the process that the library keeps is the
 * table of peer mappings (dmo_peer_map), under a lock of its own. A fork()ed child has the parent's handles and may
 * use them; the completions of a context go to whoever reads them first.
 *
 * Errors that any call on an open file or context may give, and that are not repeated below:
 *   -EBADF      fd is not open
 *   -ENOTTY     fd is not on a dmofs mount, or of the wrong kind (an object's where a context's is wanted)
 *   -EINTR      a signal came while the call waited
 *   -ENOTCONN   the service is gone (the mount has ended)
 *   -ENOMEM     no memory, here or in the service
 *
 * Since 0.1 unless a call says otherwise.
 */
#ifndef DMO_DMO_H
#define DMO_DMO_H

#include <dmo/ioctl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An open device of a mount. */
struct dmo_dev;
/* A device address space: an open context. Counted references. */
struct dmo_as;

/* The library's version, as "0.1.0"; static. */
const char *dmo_version(void);

/* ---- objects: information ---------------------------------------------------------------------------- */

/*
 * What the object behind fd is, what its mount can do, and how many of its bytes are on devices.
 * fd: any open file of the mount. info: filled on success, untouched else.
 */
int dmo_info(int fd, struct dmo_info *info);

/*
 * A 64-bit key that names this open file to a context, with its access mode. It dies when the open file is released;
 * mappings made with it stay. Keep it secret: who has it may map the file.
 */
int dmo_key(int fd, uint64_t *key);

/*
 * The devices of the mount behind fd (an object or a context). Fills infos[0 .. room), in the order of their numbers;
 * returns how many devices there are, which may be more than room (room 0, infos NULL: just counts).
 */
int dmo_devices(int fd, struct dmo_device_info *infos, unsigned room);

/* One device, by number. -ENODEV: there is none of that number. */
int dmo_device_info(int fd, uint32_t device, struct dmo_device_info *info);

/* A device's number, by name; "host" and "any" give DMO_DEVICE_HOST and _ANY. -ENODEV: no such name. */
int dmo_device_find(int fd, const char *name, uint32_t *device);

/* ---- objects: advice --------------------------------------------------------------------------------- */

/*
 * Advises on a byte range of an object, for every process that uses it, until undone by the opposite advice.
 * offset, length: page aligned; length 0: to the end and whatever is added later. advice: enum dmo_advice.
 * device: for the advice that speaks of one (WILLNEED, PREFERRED, ACCESSED_BY); else DMO_DEVICE_ANY.
 * value: for GRANULARITY and DEVICE_BITS; else 0.
 *   -EINVAL     unaligned, unknown advice, a value or device that this advice has no use for
 *   -EOVERFLOW  offset + length passes 2^63 - 1
 *   -ENODEV     no such device
 *   -EACCES     stored advice by neither the owner nor an fd open for writing; DISCARD without writing;
 *               WILLNEED without reading
 *   -EPERM      DONTNEED by one who may not evict
 *   -EROFS      DISCARD on a read-only store
 *   -ENOSPC     the attributes of this object are too many to keep
 */
int dmo_advise(int fd, uint64_t offset, uint64_t length, enum dmo_advice advice, uint32_t device, uint64_t value);

/* "willneed" for DMO_ADV_WILLNEED and so on; NULL for what is no advice. Static. */
const char *dmo_advice_name(unsigned advice);
/* The reverse; '-' and '_' are the same. -EINVAL: no advice of that name. */
int dmo_advice_parse(const char *name, enum dmo_advice *advice);

/*
 * Residency and advice of a range. Fills extents[0 .. room) in ascending order, without gaps, and returns how many.
 * offset: page aligned; length: page aligned, 0: to the end of the object. next (may be NULL): where a further
 * query goes on, UINT64_MAX where nothing is left. A snapshot: the truth may have moved on when the call returns.
 *   -EINVAL  unaligned, room 0; -EOVERFLOW  as above; -EACCES  fd is not open for reading
 */
int dmo_query(int fd, uint64_t offset, uint64_t length, struct dmo_extent *extents, unsigned room, uint64_t *next);

/* Calls each for every extent of the range, in ascending order; what it returns other than 0 ends the walk and is
   returned. Errors as dmo_query. */
int dmo_query_each(int fd, uint64_t offset, uint64_t length, int (*each)(const struct dmo_extent *extent, void *arg),
		   void *arg);

/* ---- objects: migration ------------------------------------------------------------------------------ */

/*
 * Moves a range to device (DMO_DEVICE_HOST: to the backing file; DMO_DEVICE_ANY: where it is preferred). Waits, and
 * returns 0 only if every page arrived; else -errno. result (may be NULL): done tells how many bytes, from offset
 * on, are where they should be; error why it stopped. flags: DMO_MIGRATE_ASYNC returns at once, with result->cookie
 * for dmo_wait (result must not be NULL then).
 *   -EINVAL  unaligned, unknown flags; -EOVERFLOW  as above; -ENODEV  no such device, or it is lost
 *   -EACCES  fd is not open for reading; -EPERM  evicting others' pages
 *   -ENOSPC  the device's limit leaves no room; -EBUSY  pinned elsewhere, or open in passthrough
 *   -EIO     the range has pages that were lost or can't be read
 */
int dmo_migrate(int fd, uint64_t offset, uint64_t length, uint32_t device, uint32_t flags,
		struct dmo_migrate *result);

/* dmo_migrate to a device, waited for. */
int dmo_prefetch(int fd, uint64_t offset, uint64_t length, uint32_t device);
/* dmo_migrate to the backing file, waited for. */
int dmo_evict(int fd, uint64_t offset, uint64_t length);

/* Starts a migration and returns its cookie, which dmo_wait takes. poll(2) on fd gives POLLPRI when one is over. */
int dmo_migrate_async(int fd, uint64_t offset, uint64_t length, uint32_t device, uint64_t *cookie);

/*
 * Waits for an asynchronous migration begun on this open file. cookie: which; 0: the first that is over.
 * timeout_ms: < 0 for ever, 0 just looks. Returns the migration's own result: 0 or -errno as dmo_migrate; wait (may be
 * NULL) has which, how far, and why.
 *   -EAGAIN (timeout 0) or -ETIMEDOUT  not over yet; -ENOENT  no such migration is under way, or it was waited for
 */
int dmo_wait(int fd, uint64_t cookie, int timeout_ms, struct dmo_wait *wait);

/*
 * Keeps a range in a device's memory until dmo_unpin, or until the open file is released. The range is migrated
 * first, and the call waits for it. offset, length: page aligned, length not 0. id: names the lease.
 *   -EINVAL, -EOVERFLOW, -ENODEV, -EACCES, -EIO  as dmo_migrate
 *   -ENOSPC  the device has no room for it; -EDQUOT  the user's limit on pinned memory; -EBUSY  pinned elsewhere
 */
int dmo_pin(int fd, uint64_t offset, uint64_t length, uint32_t device, uint64_t *id);
/* -ENOENT: this open file holds no such lease. */
int dmo_unpin(int fd, uint64_t id);

/*
 * A dma-buf of a range, or -errno. -EOPNOTSUPP: this home has none (DMO_CAP_DMABUF tells). Through a mount it is fetched
 * from the service: -ENOENT the mount is out of sight, or that took too long; -EMFILE too many wait to be fetched.
 */
int dmo_export_dmabuf(int fd, uint64_t offset, uint64_t length, uint32_t device);

/* ---- mounts ------------------------------------------------------------------------------------------ */

/*
 * The control directory of the mount that fd is on: "MOUNT/.dmo", or what the mount's ctl= option says. Written
 * into path with its NUL. fd: any file or directory, O_PATH too. Reads /proc/self/mountinfo.
 *   -ENOTTY  not on a dmofs mount; -ENOENT  the mount's root is not reachable from here; -ERANGE  size is too small
 */
int dmo_mount_of(int fd, char *path, size_t size);
/* The same for a path; open(2)'s errors as well. */
int dmo_mount_of_path(const char *file, char *path, size_t size);

/* The names of the mount's devices, in the order of their numbers; returns how many there are. */
int dmo_mount_devices(const char *file, char (*names)[DMO_NAME_MAX], unsigned room);

/* ---- devices ----------------------------------------------------------------------------------------- */

/*
 * Opens a device by name; file: any path on the mount, its root for one. Needs no right on the device itself:
 * each use is checked by the modes of its control files. Closed with dmo_dev_close (NULL is allowed).
 *   -ENODEV  the mount has no device of that name; else as dmo_mount_of_path
 */
int dmo_dev_open(const char *file, const char *name, struct dmo_dev **dev);
/* The same, the mount given by an open file. */
int dmo_dev_open_at(int fd, const char *name, struct dmo_dev **dev);
void dmo_dev_close(struct dmo_dev *dev);

/* The name; lives as long as dev. */
const char *dmo_dev_name(const struct dmo_dev *dev);
/* The number that requests name it by; it never changes while the mount lasts. */
uint32_t dmo_dev_number(const struct dmo_dev *dev);

/* What DMO_IOC_DEVICE tells of a device, from its control files: no object needs to be open. */
int dmo_dev_info(struct dmo_dev *dev, struct dmo_device_info *info);

enum dmo_limit {
	DMO_LIMIT_MAX,		/* memory.max: never more */
	DMO_LIMIT_HIGH,		/* memory.high: background eviction starts here ... */
	DMO_LIMIT_LOW,		/* memory.low: ... and ends here */
	DMO_LIMIT_CURRENT,	/* memory.current: what is in use; can't be set */
	DMO_LIMIT_PEAK,		/* memory.peak: the most that ever was; can't be set */
};

/* Reads one, in bytes; "max" reads as UINT64_MAX. -EINVAL: no such limit. */
int dmo_dev_limit_get(struct dmo_dev *dev, enum dmo_limit limit, uint64_t *bytes);
/*
 * Writes one; UINT64_MAX is "max". Lowering it evicts first, and the call waits.
 *   -EACCES  the modes of the control file forbid it, or the limit can't be set; -EBUSY  pinned memory is in the way
 *   -EINVAL  no such limit. More than the device has is all it has; high is cut to max, low to high
 */
int dmo_dev_limit_set(struct dmo_dev *dev, enum dmo_limit limit, uint64_t bytes);

/* Named counters, as memory.stat has them. */
#define DMO_STAT_MAX 64
struct dmo_stat_entry {
	char name[32];
	uint64_t value;
};
struct dmo_stat {
	unsigned count;
	struct dmo_stat_entry entries[DMO_STAT_MAX];
};

/* The device's counters (memory.stat). */
int dmo_stat(struct dmo_dev *dev, struct dmo_stat *stat);
/* memory.events in the same shape. */
int dmo_events(struct dmo_dev *dev, struct dmo_stat *stat);
/*
 * Parses "name value" lines. Names longer than 31 bytes, and lines beyond DMO_STAT_MAX, are passed over.
 *   -EBADMSG  a line is not a name, one space and a decimal number below 2^64
 */
int dmo_stat_parse(const char *text, struct dmo_stat *stat);
/* The value of one counter. -ENOENT: there is none of that name. */
int dmo_stat_get(const struct dmo_stat *stat, const char *name, uint64_t *value);

/* ---- device address spaces --------------------------------------------------------------------------- */

/*
 * Opens a context on a device: an address space, empty, with its own queue of commands. The handle holds one
 * reference; the context is closed with the last one. It needs dev no longer.
 *   -EACCES  the device's owner, group and mode forbid it; -ENODEV  the device is lost; -EMFILE, -ENFILE
 */
int dmo_as_create(struct dmo_dev *dev, struct dmo_as **as);
/* A handle of a context that is open already (received over a socket); the fd becomes the handle's. */
int dmo_as_import(int fd, struct dmo_as **as);
/* The open context, for poll(2), for passing on, for the ioctls themselves. It stays the handle's. */
int dmo_as_fd(const struct dmo_as *as);
/* One reference more; returns as. */
struct dmo_as *dmo_as_ref(struct dmo_as *as);
/* One reference less; the last closes the context: mappings go, commands not yet done complete as ECANCELED and are
   read by nobody. NULL is allowed. */
void dmo_as_destroy(struct dmo_as *as);

/*
 * Maps part of an object. prot: DMO_PROT_*. flags: DMO_MAP_FIXED maps at *va, and not at all where something is
 * mapped there, unless DMO_MAP_REPLACE is set too. bits: opaque device bits of this mapping. *va: in with FIXED;
 * out where it came.
 *   -EINVAL  unaligned, length 0, no or unknown prot or flags; -EOVERFLOW  offset + length or va + length
 *   -EACCES  prot asks for more than fd was opened for; -EEXIST  FIXED and not free; -ENOSPC  no room for addresses
 *   -EBUSY   the file is open in passthrough; -ERANGE  va outside the device's addresses
 */
int dmo_map(struct dmo_as *as, int fd, uint64_t offset, uint64_t length, uint32_t prot, uint32_t flags,
	    uint64_t bits, uint64_t *va);
/* Maps a whole object, as large as it is now, anywhere. length (may be NULL): its size in whole pages. -ENODATA: it
   is empty. Else as dmo_map. */
int dmo_as_attach(struct dmo_as *as, int fd, uint32_t prot, uint64_t *va, uint64_t *length);
/* Unmaps what is mapped in a range; gaps are allowed. -EINVAL, -EOVERFLOW as above. */
int dmo_unmap(struct dmo_as *as, uint64_t va, uint64_t length);

/*
 * Any number of them, in order, as few requests as possible. Objects are named by dmo_key; each op's va is
 * filled in. done (may be NULL): how many were carried out; where an error is returned, it is of op number done.
 * -ESTALE: a key is dead or never was. Else as dmo_map.
 */
int dmo_map_batch(struct dmo_as *as, struct dmo_map_op *ops, size_t count, size_t *done);
int dmo_unmap_batch(struct dmo_as *as, const struct dmo_unmap_op *ops, size_t count, size_t *done);

/*
 * Mirrors a range of this process's address space at the same device addresses: what is mapped there now, and must
 * all be files of this mount, mapped shared (DMO_CAP_MIRROR_*). Later changes of the mappings are not followed.
 *   -EOPNOTSUPP  something there can't be mirrored; nothing is mapped then; -EFAULT  nothing is mapped there
 *   -EPERM, -ESRCH  the service may not see this process's mappings. Else as dmo_map
 */
int dmo_mirror(struct dmo_as *as, const void *address, size_t length, uint32_t prot, uint64_t bits);

/*
 * Makes a range of device addresses accessible now, as a device fault would. prot: the access wanted.
 *   -EFAULT  nothing is mapped there; -EACCES  the mapping forbids it; -ENOSPC, -EIO  as a command's status
 */
int dmo_dev_fault(struct dmo_as *as, uint64_t va, uint64_t length, uint32_t prot);

/* ---- commands ---------------------------------------------------------------------------------------- */

/* Cookies with the top bit set are the library's own. */
#define DMO_COOKIE_MAX ((uint64_t)INT64_MAX)

/*
 * Queues commands, in order. Returns how many: count, or fewer where an error came after the first (the next call
 * gives it). -EINVAL: a cookie beyond DMO_COOKIE_MAX (nothing is queued), or a malformed command. -ENODEV: the device
 * is lost.
 */
int dmo_submit(struct dmo_as *as, const struct dmo_command *commands, unsigned count);

/*
 * Takes completions, at least one, in the order they came. timeout_ms: < 0 waits for ever, 0 just looks. Returns how
 * many, 0 where none came in time. Those of dmo_run in other threads are left to them.
 */
int dmo_complete(struct dmo_as *as, struct dmo_completion *completions, unsigned room, int timeout_ms);

/*
 * Sets the low-water mark: how many completions (1 to DMO_LOWAT_MAX, 1 at first) a poll(2) for reading, dmo_complete and
 * dmo_run wait for; fewer do where no more fit, or no command is left to complete. Who queues many commands and needs the
 * last one's end is woken once. -EINVAL: another count.
 */
int dmo_lowat(struct dmo_as *as, unsigned count);

/*
 * Runs one command and waits for its end, whatever signals come. Returns the command's status, 0 or -errno;
 * completion (may be NULL) has the rest when the command ran (its cookie is the command's). Other completions
 * that arrive meanwhile are kept for dmo_complete. -EINVAL, -ENODEV as dmo_submit. -ENOMEM: no room to keep them;
 * the command was queued and runs.
 */
int dmo_run(struct dmo_as *as, const struct dmo_command *command, struct dmo_completion *completion);

/*
 * One constructor for each command: they fill *cmd whole, with cookie 0. Addresses are device addresses; what each
 * does is in <dmo/ioctl.h> and dmo_command(7).
 */
void dmo_cmd_nop(struct dmo_command *cmd);
void dmo_cmd_fill(struct dmo_command *cmd, uint64_t dst, uint64_t bytes, uint8_t byte);
void dmo_cmd_copy(struct dmo_command *cmd, uint64_t dst, uint64_t src, uint64_t bytes);
/* crc, before: the running CRC and how many bytes it covers, 0 at the start; finish: give POSIX cksum's number. */
void dmo_cmd_cksum(struct dmo_command *cmd, uint64_t src, uint64_t bytes, uint32_t crc, uint64_t before,
		   bool finish);
void dmo_cmd_compare(struct dmo_command *cmd, uint64_t a, uint64_t b, uint64_t bytes);
void dmo_cmd_chase(struct dmo_command *cmd, uint64_t first, uint64_t hops);
void dmo_cmd_atomic_add(struct dmo_command *cmd, uint64_t address, uint64_t addend);
void dmo_cmd_axpy(struct dmo_command *cmd, uint64_t y, uint64_t x, uint64_t n, float a);
/* bias: 0 for none; flags: DMO_CMD_TRANSPOSE, DMO_CMD_ACCUMULATE. */
void dmo_cmd_gemv(struct dmo_command *cmd, uint64_t y, uint64_t w, uint64_t x, uint64_t bias, uint64_t rows,
		  uint64_t cols, uint32_t flags);
void dmo_cmd_gather(struct dmo_command *cmd, uint64_t dst, uint64_t table, uint64_t indices, uint64_t n,
		    uint64_t row_bytes, uint64_t rows);
void dmo_cmd_layernorm(struct dmo_command *cmd, uint64_t y, uint64_t x, uint64_t gain, uint64_t bias, uint64_t n,
		       float epsilon);
void dmo_cmd_gelu(struct dmo_command *cmd, uint64_t y, uint64_t x, uint64_t n);
void dmo_cmd_attention(struct dmo_command *cmd, uint64_t out, uint64_t q, uint64_t k, uint64_t v, uint64_t heads,
		       uint64_t width, uint64_t positions, uint64_t stride);
void dmo_cmd_argmax(struct dmo_command *cmd, uint64_t x, uint64_t n);

/* ---- the same address on both sides ------------------------------------------------------------------ */

/*
 * Maps part of an object shared for this process and for a context, at the same address. prot: PROT_READ,
 * PROT_WRITE (mmap(2)'s). The mapping keeps a duplicate of fd and a reference to as until dmo_peer_unmap.
 *   mmap(2)'s errors; -ENOMEM: no address is free on both sides; else as dmo_map. On failure nothing is mapped.
 */
int dmo_peer_map(struct dmo_as *as, int fd, size_t length, int prot, uint64_t offset, void **address);
/* Maps an existing peer mapping into a further context, at its address. address: as dmo_peer_map gave it. -ENOENT:
   no peer mapping begins there; -EEXIST: not free in that context. */
int dmo_peer_join(struct dmo_as *as, void *address);
/* Takes a peer mapping out of the process and all its contexts. -ENOENT as above. */
int dmo_peer_unmap(void *address);

/*
 * Advises on peer mappings by address: dmo_advise on the objects behind [address, address + length).
 *   -ENOMEM  part of the range is no peer mapping (the rest was advised); -EINVAL  unaligned, length 0, advice that
 *   needs a value; else as dmo_advise
 */
int dmo_hmadvise(uint32_t device, void *address, size_t length, enum dmo_advice advice);

#ifdef __cplusplus
}
#endif
#endif
