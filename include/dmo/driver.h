/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmo/driver.h - what a kernel driver supplies to bring its device's memory under dmo.ko, and what it
 * may call
 *
 * A device is memory counted in 4 KiB frames and, where it has them, an MMU with any number of page
 * tables, a copy engine and a queue for commands. It never decides where a page lives: dmo.ko does, and
 * tells the driver by filling page tables and by copying.
 *
 *	dmo_dev_create		the device has a name and a number
 *	dmo_dev_register_physmem	it has memory; contexts can be opened from here on (/dev/dmo/NAME)
 *	dmo_dev_fault		an access missed: resolves it, sleeping, and returns what to tell the command
 *	dmo_dev_complete	a command is over
 *	dmo_dev_lost		the memory's content is gone
 *	dmo_dev_destroy		brings every page home and forgets the device
 *
 * Calls of the ops table may come from any task, several at once, and may sleep. Those on one page
 * table's same pages come one at a time. They never wait for a fault. A driver calls dmo_dev_fault with
 * none of its own locks held that one of its ops takes.
 *
 * All results are 0 or a negative errno.
 */
#ifndef DMO_DRIVER_H
#define DMO_DRIVER_H

#include <dmo/ioctl.h>
#include <linux/types.h>

struct device;
struct dma_fence;
struct dmo_as;
struct dmo_dev;
struct module;
struct page;

/* What a device says of itself. */
struct dmo_dev_info {
	u32 flags;		/* DMO_DEVICE_FAULTS, DMO_DEVICE_DIRTY */
	u32 threads;		/* that run commands */
	u64 link;		/* bytes a second to the host, each way; 0: unlimited, or not known */
	u64 va_start, va_end;	/* device addresses, page aligned; both 0: it has no page tables */
	bool reads_host;	/* its page tables take pages of the host (dmo_pte_run.host) */
};

/* Its memory: private (the CPU can't reach it) or coherent (a range of physical addresses, cacheable). */
struct dmo_physmem {
	u32 type;		/* DMO_MEM_* */
	u64 size;		/* bytes, whole pages */
	u64 start;		/* coherent: physical address, aligned to 2 MiB */
	int node;		/* coherent: the nearest NUMA node */
};

/*
 * A run of page-table entries: pages translations from va on, to consecutive frames; or, for a device with
 * reads_host only, to pages of the host that stay where they are. The device reads those across its
 * link and never writes them: a write is a fault, which moves the page. They belong to the page cache and
 * are kept for the device until tlb_invalidate has returned for an address that pt_release took them
 * from; a driver that maps them for DMA ends that before.
 */
struct dmo_pte_run {
	u64 va;
	u32 pages;
	u32 prot;		/* DMO_PROT_*; never WRITE with host */
	u32 frame;		/* the first, where host is NULL */
	struct page **host;	/* one for each translation; the array is the caller's */
	u64 bits;		/* the mapping's opaque device bits */
};

struct dmo_va_range {
	u64 va;
	u64 pages;
};

enum dmo_copy_dir { DMO_COPY_IN, DMO_COPY_OUT, DMO_COPY_LOCAL };

/* One transfer of whole pages: between host pages and consecutive frames, or within the device's memory. */
struct dmo_copy_job {
	enum dmo_copy_dir dir;
	u32 frame;
	u32 pages;
	u32 src_frame;		/* LOCAL */
	struct page **host;	/* IN and OUT: one for each frame */
};

struct dmo_dev_ops {
	struct module *owner;

	/* ---- page tables; all of them or none ---- */
	int (*pt_create)(void *priv, struct dmo_as *as, void **pt);
	/* Waits until nothing runs in it; what was queued completes ECANCELED. */
	void (*pt_destroy)(void *pt);
	/* Enters translations, replacing what stood there. -ENOMEM: none of them. */
	int (*pt_enter)(void *pt, const struct dmo_pte_run *run);
	/*
	 * Takes translations away, or (protect) the permission to write. Adds to dirty a bit for each
	 * page from va on that was written since it was entered; a device without DMO_DEVICE_DIRTY adds
	 * every writable page. The TLB is not their business: tlb_invalidate follows. All three are
	 * called where memory is short, too: they wait for none, nor for a lock that is held while
	 * memory is waited for (GFP_NOFS memory: the page table's own).
	 */
	void (*pt_release)(void *pt, u64 va, u32 pages, unsigned long *dirty);
	void (*pt_protect)(void *pt, u64 va, u32 pages, unsigned long *dirty);
	/* Was any of the pages used since the last call? Optional. */
	bool (*pt_accessed)(void *pt, u64 va, u32 pages);
	/* Returns when no access through old translations of the range is under way any more. */
	void (*tlb_invalidate)(void *pt, u64 va, u64 pages);
	/* The same for several ranges in one round trip. Optional. */
	void (*tlb_invalidate_ranges)(void *pt, const struct dmo_va_range *ranges, u32 count);
	/*
	 * In one round trip, for devices across a slow link; optional. map: pt_enter of several runs, all
	 * of them or none. unmap: pt_release of a range, then tlb_invalidate.
	 */
	int (*map)(void *pt, const struct dmo_pte_run *runs, u32 count);
	void (*unmap)(void *pt, u64 va, u32 pages, unsigned long *dirty);
	/*
	 * Both or neither, for devices that insist on a say in their addresses. va_alloc reserves length
	 * bytes before they are mapped: at *va (fixed), or where it likes, aligned to align, and tells in
	 * *va. -EEXIST, -ENOSPC, -ENOMEM: the mapping is refused with it. va_free gives them back, a part
	 * at a time where a part is unmapped, after the translations are gone. Both come one at a time for
	 * a page table.
	 */
	int (*va_alloc)(void *pt, u64 *va, u64 length, u64 align, bool fixed);
	void (*va_free)(void *pt, u64 va, u64 length);

	/*
	 * Queues checked commands of a page table; they run in order, and each gives one dmo_dev_complete.
	 * Without DMO_DEVICE_FAULTS one at a time, and what it names is mapped until it completes.
	 */
	int (*submit)(void *pt, const struct dmo_command *commands, u32 count);

	/*
	 * Starts transfers; the arrays belong to the caller again when the call returns, the pages when
	 * the fence has signalled. A fence, or an ERR_PTR: nothing was started. NULL in the table:
	 * memory is coherent, the CPU copies.
	 */
	struct dma_fence *(*copy)(void *priv, const struct dmo_copy_job *jobs, u32 count);

	/*
	 * Frames are about to be used for the first time since they were free; nobody sees them before it
	 * returns 0. After an error, which the access ends with, they are free again. Optional.
	 */
	int (*page_prepare)(void *priv, u32 frame, u32 pages);
	/*
	 * Both or neither, for devices that manage their own memory: frames below the size that was
	 * registered. page_alloc: 1 << order consecutive ones; -ENOMEM: not so many, fewer or an eviction
	 * will be tried. page_free: they come back in powers of two, the halves of what was given perhaps
	 * apart. Called one at a time; they call nothing of dmo.ko.
	 */
	int (*page_alloc)(void *priv, u32 order, u32 *frame);
	void (*page_free)(void *priv, u32 frame, u32 order);
};

/*
 * A device of that name (letters, digits, '_', '-', '.'), of the table ops. parent may be NULL. An
 * ERR_PTR: -EINVAL for the name or an incomplete table, -EEXIST, -ENOSPC: 63 devices are there,
 * -ENOMEM.
 */
struct dmo_dev *dmo_dev_create(const char *name, const struct dmo_dev_ops *ops, void *priv,
			       struct device *parent, const struct dmo_dev_info *info);
/* Its memory, once. 0; -EINVAL: not whole pages, or none; -EBUSY: it has some; errors of memremap_pages. */
int dmo_dev_register_physmem(struct dmo_dev *dev, const struct dmo_physmem *mem);
/*
 * The device is dead, and what its private memory held can't be read any more: pages that were newer there
 * read EIO until they are overwritten, punched or truncated away, leases end, no page comes again and no
 * context can be opened. Ops are still called: copies may fail, commands complete with EIO. The device
 * stays, with DMO_DEVICE_LOST, until dmo_dev_destroy. May be called again. Sleeps.
 */
void dmo_dev_lost(struct dmo_dev *dev);
/*
 * Ends the device: open contexts answer ENODEV, every page goes home. Pages that are pinned by the CPU
 * (direct I/O under way) are waited for; leases are ended. No op is called after it returned.
 */
void dmo_dev_destroy(struct dmo_dev *dev);

/*
 * The page at va missed, or forbade the access; the command will go on for bytes (a hint). Resolves it,
 * and sleeps for that. 0: the translation is there, try again. -EFAULT nothing mapped, -EACCES, -EIO,
 * -ENOSPC, -ENODEV, -ECANCELED.
 */
int dmo_dev_fault(struct dmo_as *as, u64 va, u64 bytes, bool write);
/* A command is over; the struct is copied. */
void dmo_dev_complete(struct dmo_as *as, const struct dmo_completion *completion);

/* ---- where the pages of a coherent device are ---- */
void *dmo_dev_frame_address(struct dmo_dev *dev, u32 frame);

#endif
