/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dmo/backend.h - what a user-space device supplies, and all that it supplies
 *
 * A device is memory counted in 4 KiB frames, an MMU for any number of address spaces, a copy engine, and compute
 * that takes commands. It never decides where a page lives: the service does, and tells the device by filling
 * page tables and by copying. The device reports faults and completions through struct dmo_host.
 *
 * Threads: every call may come from any thread, several at once; calls on one address space's page table
 * (as_enter, as_release, as_accessed) come under the lock of the object whose pages they concern, so never twice at
 * once for the same page. A device calls its host with none of its own locks held.
 *
 * All results are 0 or -errno. After -ENODEV the device counts as lost; it must go on answering calls (with
 * -ENODEV) until destroy.
 */
#ifndef DMO_BACKEND_H
#define DMO_BACKEND_H

#include <dmo/ioctl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what the service offers a device ------------------------------------------------------------- */

struct dmo_dev_fault {
	void *owner;		/* as_create's */
	uint64_t id;		/* the device's own; comes back in fault_done */
	uint64_t va;		/* the page that missed, page aligned */
	uint64_t bytes;		/* how far on the command will go on reading or writing; a hint, at least one page */
	bool write;
};

struct dmo_host {
	/* A translation missed or forbade the access. Queues it and returns; fault_done answers, from any thread. */
	void (*fault)(void *host_ctx, const struct dmo_dev_fault *fault);
	/* A command is over. Copied before this returns. */
	void (*complete)(void *owner, const struct dmo_completion *completion);
	/* The device is gone for good; said once. */
	void (*lost)(void *host_ctx);
};

/* ---- what a device says of itself ------------------------------------------------------------------ */

struct dmo_backend_info {
	uint64_t frames;	/* memory in 4 KiB frames */
	uint32_t memory_type;	/* DMO_MEM_* */
	uint32_t flags;		/* DMO_DEVICE_FAULTS, DMO_DEVICE_DIRTY */
	uint32_t threads;
	uint64_t link;		/* bytes a second each way; 0: unlimited */
	uint64_t va_start, va_end;
};

/* A run of page-table entries: pages translations from va on, to consecutive frames or to consecutive host pages. */
struct dmo_pte_run {
	uint64_t va;
	uint32_t pages;
	uint32_t prot;		/* DMO_PROT_* */
	uint32_t frame;		/* first frame, where host is NULL */
	const void *host;	/* remote: host memory that stays where it is; mapped for reading only */
	uint64_t bits;		/* the mapping's opaque device bits */
};

#define DMO_RELEASE_WPROTECT (1u << 0)	/* take away only the permission to write */

/* One transfer of the copy engine. The service keeps it, and the memory at host, until done is called. */
enum dmo_copy_dir { DMO_COPY_IN, DMO_COPY_OUT, DMO_COPY_ZERO, DMO_COPY_LOCAL };

struct dmo_copy_job {
	enum dmo_copy_dir dir;
	uint32_t frame;		/* device side: frame ... */
	uint32_t offset;	/* ... and first byte in it, which may exceed a frame */
	uint64_t bytes;
	void *host;		/* host side of IN and OUT */
	uint32_t src_frame;	/* LOCAL: from here, offset 0 */
	void (*done)(struct dmo_copy_job *job, int status);	/* once, from any thread, perhaps before copy returns */
	void *ctx;		/* the service's */
	struct dmo_copy_job *next;	/* the device's, while it holds the job */
};

struct dmo_backend_ops {
	const char *type;	/* as in --device TYPE:NAME,... */
	const char *help;	/* a line for each option it knows */

	/*
	 * Makes a device. spec: the options after the name, "key=value,..."; unknown ones are refused.
	 * On failure -errno, and why holds a line that names cause and way out.
	 */
	int (*create)(const struct dmo_host *host, void *host_ctx, const char *name, const char *spec,
		      struct dmo_backend_info *info, void **dev, char *why, size_t why_size);
	void (*destroy)(void *dev);

	/* An address space, empty. destroy waits until nothing of it runs; what was queued completes ECANCELED. */
	int (*as_create)(void *dev, void *owner, void **as);
	void (*as_destroy)(void *as);

	/* Enters translations, replacing what stood there. -ENOMEM: none of them. */
	int (*as_enter)(void *as, const struct dmo_pte_run *run);
	/*
	 * Takes translations away (or write permission), invalidates the TLB and returns when no access through them
	 * is under way. Sets in dirty (a bit for each page from va on, NULL: not wanted) those written since they were
	 * entered. Never waits for a fault. A device without DMO_DEVICE_DIRTY reports every writable page.
	 */
	void (*as_release)(void *as, uint64_t va, uint32_t pages, uint32_t flags, uint64_t *dirty);
	/* True when any of the pages was accessed since the last call, and forgets it. NULL without DMO_DEVICE_DIRTY. */
	bool (*as_accessed)(void *as, uint64_t va, uint32_t pages);

	/* Answers a fault: 0, the translation is there, try again; -errno, the command fails with it. */
	void (*fault_done)(void *as, uint64_t id, int status);

	/* Queues commands that have been checked; they run in order. Each gives one host->complete. */
	int (*submit)(void *as, const struct dmo_command *commands, uint32_t count);

	/* Starts transfers (a list by next). Jobs on frames that don't overlap may run in any order, at once. */
	void (*copy)(void *dev, struct dmo_copy_job *jobs);

	/*
	 * Optional: a peer window. An address that the I/O tier may read files into and write them from, for pages
	 * frames from frame on, while they are being migrated; NULL where there is none. Bytes that pass through it
	 * are announced by link_pass, which returns when the link would have carried them: 0, or -errno where that
	 * transfer failed, and what arrived must not be believed.
	 */
	void *(*window)(void *dev, uint32_t frame, uint32_t pages);
	int (*link_pass)(void *dev, uint64_t bytes, enum dmo_copy_dir dir);

	/* Optional: DMO_MEM_COHERENT only: where the CPU reads and writes a frame. */
	void *(*cpu_address)(void *dev, uint32_t frame);

	/* Optional, for tests: "copy-fail N" (the Nth copy from now fails with EIO), "lost". -EINVAL: not known. */
	int (*inject)(void *dev, const char *what);
};

extern const struct dmo_backend_ops dmo_sim_ops;

#ifdef __cplusplus
}
#endif
#endif
