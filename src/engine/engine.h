/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * engine.h - the user-space home, as the filesystem in front of it sees it
 *
 * The engine owns objects (residency of a file's pages), devices, contexts, the I/O tier and the threads that revoke,
 * migrate, evict and answer device faults. It knows nothing of FUSE: the filesystem hands it requests and is asked
 * to revoke what the kernel's page cache holds.
 *
 * Threads. Filesystem workers call in; they are never made to wait for a revocation. A call that may have to
 * wait takes a struct eng_req and answers through done: at once on the caller's thread, or later on an engine
 * thread. revoke() is called on engine threads only, with no engine lock held.
 *
 * Errors: 0 or -errno everywhere.
 */
#ifndef ENG_ENGINE_H
#define ENG_ENGINE_H

#include <dmo/ioctl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct engine;
struct eng_object;	/* a regular file's pages */
struct eng_file;	/* an open of it */
struct eng_device;
struct eng_ctx;		/* an open device context */

struct eng_cred {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	bool owner;		/* of the file at hand, or capable: may store advice without a writable fd */
};

/* ---- what the filesystem supplies ------------------------------------------------------------------- */

struct eng_fs_ops {
	/* Takes the pages of [offset, offset + length) back from the kernel (length 0: to the end). -ENOENT: the
	   kernel does not know the inode, so holds nothing. */
	int (*revoke)(void *inode, uint64_t offset, uint64_t length);
	/* Devices wrote to the file: its times have changed. Optional. */
	void (*attr_changed)(void *inode);
	/* Opens the backing file; flags O_RDONLY or O_RDWR. Returns an fd that the engine closes, or -errno. */
	int (*open_backing)(void *inode, int flags);
	/* Something can be read or polled: (a context's or file's) poll handle is to be notified, then forgotten. */
	void (*poll_notify)(void *poll_handle);
	void (*poll_forget)(void *poll_handle);
	/* The engine keeps the inode's object alive (pages on a device, mappings, work under way): while gets exceed
	   puts, the filesystem keeps the inode in its table, also when the kernel forgets it, and does not call
	   eng_object_destroy. The last put, after the kernel forgot, may call it from inside inode_put. Called with
	   no engine lock held. */
	void (*inode_get)(void *inode);
	void (*inode_put)(void *inode);
	/* Optional: the object of the regular file that a process has mapped, by the mount's st_dev and st_ino as
	   /proc/PID/maps shows them, with an inode_get; NULL: not a file of this mount. */
	struct eng_object *(*find_mapped)(dev_t dev, ino_t ino);
	/* A line for the log. level as in syslog(3). */
	void (*log)(int level, const char *line);
};

enum eng_io_mode { ENG_IO_AUTO, ENG_IO_BUFFERED, ENG_IO_DIRECT };

struct eng_config {
	const struct eng_fs_ops *fs;
	bool read_only;		/* the store is */
	bool passthrough;	/* FUSE passthrough can be had; told by DMO_IOC_INFO */
	bool store_advice;	/* keep advice in an extended attribute of the backing file */
	enum eng_io_mode io;
	unsigned migrate_threads;	/* 0: a sane number */
};

int eng_create(const struct eng_config *config, struct engine **eng);
/* Adds a device from "TYPE:NAME,memory=32M,..."; why gets a line that names cause and way out. */
int eng_device_add(struct engine *eng, const char *spec, char *why, size_t why_size);
/* Starts the threads; after fork, before the first request. */
int eng_start(struct engine *eng);
/* Writes back everything dirty on devices. The first error, with the rest tried all the same. */
int eng_sync(struct engine *eng);
/* Stops and frees all; every file and context must have been released. Dirty pages are written back first. */
void eng_destroy(struct engine *eng);

/* ---- objects and opens -------------------------------------------------------------------------------- */

/* An object for a regular file; cheap (no fd is opened until a device wants it). inode: given back to fs ops. */
int eng_object_create(struct engine *eng, void *inode, struct eng_object **obj);
/* The kernel forgot the inode while the engine keeps it. Unlinked for good: its pages need no longer be kept. */
void eng_object_forgotten(struct eng_object *obj, bool unlinked);
/* Frees an object that the engine does not keep (gets equal puts) and that nobody has open. Never waits. */
void eng_object_destroy(struct eng_object *obj);

/* flags: open(2)'s. fd: the caller's backing fd for this open, readable (and writable where flags say so); the caller closes
   it after eng_release. */
int eng_open(struct eng_object *obj, int fd, int flags, const struct eng_cred *cred, struct eng_file **file);
void eng_release(struct eng_file *file);

/* True when a context maps the object or a device holds pages of it: passthrough must not be used. */
bool eng_object_busy(struct eng_object *obj);
/* Marks an open that bypasses the engine (passthrough): devices that want the object get EBUSY. count +1 / -1 */
int eng_object_bypass(struct eng_object *obj, int delta);	/* -EBUSY when a context maps it */

/* ---- requests ------------------------------------------------------------------------------------------- */

struct eng_req {
	void (*done)(struct eng_req *req);	/* result is set; req is the caller's again */
	int64_t result;		/* bytes or 0, or -errno */
	void *user;		/* the caller's */
	/* engine's from here on */
	void *buf;
	uint64_t offset, length;
	uint32_t op, flags;
	struct eng_file *file;
	struct eng_ctx *ctx;
	struct eng_req *next;
	_Atomic bool cancelled;
	uint64_t arg[4];
};

#define ENG_IO_WRITEPAGE (1u << 0)	/* write-back of a mapped page: never refused, errors wait for fsync */
#define ENG_IO_NOCACHE	 (1u << 1)	/* O_DIRECT: the kernel keeps no page of it */

/*
 * Read. Returns 1 where no device has to do with the file: the caller reads from its own fd (and may splice).
 * Else 0, and done comes with result bytes in buf (the caller's, length bytes).
 */
int eng_read(struct eng_file *file, struct eng_req *req, void *buf, uint64_t offset, uint64_t length, uint32_t flags);
/*
 * Write, in two steps: eng_write_begin returns 1: the caller writes to its own fd (and may splice), then calls
 * eng_write_end; it must not wait for anything between. 0: the caller brings the data into a buffer and calls
 * eng_write. If a WRITEPAGE write to its own fd fails, the caller gives the data to eng_write with that flag.
 */
int eng_write_begin(struct eng_file *file);
void eng_write_end(struct eng_file *file, uint64_t offset, uint64_t length);
void eng_write(struct eng_file *file, struct eng_req *req, const void *buf, uint64_t offset, uint64_t length,
	       uint32_t flags);

/* Everything written before it, by CPU or device, is in the backing file and durable. done later. */
void eng_fsync(struct eng_file *file, struct eng_req *req, bool datasync);
/* Sets the size through fd (or the engine's own fd where -1): never waits for a revocation. */
int eng_truncate(struct eng_object *obj, int fd, uint64_t size);
/* fallocate(2) on the file's fd, with device copies of what it removes dropped. */
void eng_fallocate(struct eng_file *file, struct eng_req *req, int mode, uint64_t offset, uint64_t length);
/* SEEK_DATA and SEEK_HOLE, device-dirty pages counted as data; result: the offset. */
void eng_lseek(struct eng_file *file, struct eng_req *req, uint64_t offset, int whence);
void eng_copy_range(struct eng_file *in, uint64_t in_offset, struct eng_file *out, uint64_t out_offset,
		    uint64_t length, unsigned flags, struct eng_req *req);

/*
 * An ioctl on a file or a context. in: the request's bytes (copied before this returns). done: result 0 or
 * -errno; the answer's bytes are at req->buf, _IOC_SIZE(cmd) of them, also where result is negative and the
 * request has results to tell (migrate's done, map's done); free with eng_ioctl_free.
 */
void eng_ioctl(struct eng_file *file, struct eng_req *req, uint32_t cmd, const void *in, size_t in_size,
	       const struct eng_cred *cred);
void eng_ctx_ioctl(struct eng_ctx *ctx, struct eng_req *req, uint32_t cmd, const void *in, size_t in_size,
		   const struct eng_cred *cred);
void eng_ioctl_free(struct eng_req *req);

/* The caller of req was interrupted: it is answered soon, with -EINTR where it had not come to an end. */
void eng_cancel(struct engine *eng, struct eng_req *req);

/* ---- polling ----------------------------------------------------------------------------------------------- */

/* Events (poll(2)'s) that are there now; handle (may be NULL) is notified once when more come. */
unsigned eng_poll(struct eng_file *file, void *handle);
unsigned eng_ctx_poll(struct eng_ctx *ctx, void *handle);

/* ---- devices and contexts ------------------------------------------------------------------------------------ */

unsigned eng_device_count(struct engine *eng);
struct eng_device *eng_device(struct engine *eng, unsigned number);	/* NULL past the last */
const char *eng_device_name(const struct eng_device *dev);
/* Who may open contexts and write limits, from the spec's user=, group=, mode=. */
void eng_device_owner(const struct eng_device *dev, uid_t *uid, gid_t *gid, mode_t *mode);
/* The control files: names[] ends with NULL. */
extern const char *const eng_device_files[];	/* "info", "memory.max", ... */
/* Text of a control file into buf (NUL at its end); its length or -ENOENT. */
ssize_t eng_device_show(struct eng_device *dev, const char *file, char *buf, size_t size);
/* -EINVAL: not understood, -EACCES: not writable, -EBUSY: pinned memory is in the way, -EINTR. May evict: done later. */
void eng_device_store(struct eng_device *dev, const char *file, const char *text, size_t length, struct eng_req *req);
bool eng_device_file_writable(const char *file);
ssize_t eng_metrics(struct engine *eng, char *buf, size_t size);	/* Prometheus text */

int eng_ctx_open(struct eng_device *dev, const struct eng_cred *cred, struct eng_ctx **ctx);
void eng_ctx_release(struct eng_ctx *ctx);	/* may wait for running commands: not on a filesystem worker */
/* Whole commands; result: bytes taken. -EINVAL: not a whole number of commands, or none. */
void eng_ctx_write(struct eng_ctx *ctx, struct eng_req *req, const void *buf, size_t length);
/* Whole completions into buf; waits for the first unless nonblock (-EAGAIN). */
void eng_ctx_read(struct eng_ctx *ctx, struct eng_req *req, void *buf, size_t length, bool nonblock);

#endif
