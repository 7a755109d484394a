// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fault.c - accesses of devices that found no translation
 *
 * Called by a driver's own thread, which sleeps here until the page is there. A run of faults in order
 * has the blocks after it brought ahead, by work of ours.
 */
#include "internal.h"
#include "dmo_trace.h"

#include <linux/delay.h>
#include <linux/export.h>
#include <linux/sched/signal.h>

#define BUSY_MS	2000	/* that a page may be held by the CPU */
#define LOOK_US	1000	/* between two looks */

/* Finds what is mapped at va, with a use of its object. */
static int resolve(struct dmo_as *as, u64 va, u64 bytes, struct kdm_access *a)
{
	u32 want = a->write ? DMO_PROT_WRITE : DMO_PROT_READ;
	struct dmo_mapping *m;
	int err = 0;

	mutex_lock(&as->lock);
	m = as->pt ? dmo_space_find(&as->space, va) : NULL;
	if (!as->pt)
		err = -ENODEV;
	else if (!m)
		err = -EFAULT;
	else if (!(m->prot & want))
		err = -EACCES;
	if (!err) {
		a->obj = m->object;
		a->page = dmo_mapping_offset_of(m, va) >> DMO_PAGE_SHIFT;
		a->bytes = min(bytes, dmo_mapping_va(m) + dmo_mapping_length(m) - va);
		kdm_obj_get(a->obj);
	}
	mutex_unlock(&as->lock);
	return err;
}

static int fault_page(struct dmo_as *as, u64 va, u64 bytes, bool write)
{
	struct kdm_access a = { .dev = as->dev, .as = as, .write = write };
	int err = resolve(as, va, bytes, &a);

	if (err)
		return err;
	err = kdm_access(&a);
	kdm_obj_put(a.obj);
	return err;
}

/*
 * What the CPU holds for a moment (direct I/O, a copy for a private mapping) is waited for; what it holds
 * on to can't be made resident.
 */
static int fault_patiently(struct dmo_as *as, u64 va, u64 bytes, bool write)
{
	unsigned long end = jiffies + msecs_to_jiffies(BUSY_MS);
	int err = fault_page(as, va, bytes, write);

	while (err == -EBUSY && time_before(jiffies, end)) {
		if (signal_pending(current) || READ_ONCE(as->closing))
			return -EINTR;
		usleep_range(LOOK_US, 2 * LOOK_US);
		err = fault_page(as, va, bytes, write);
	}
	return err == -EBUSY ? -ENOSPC : err;
}

int kdm_as_fault(struct dmo_as *as, u64 va, u64 bytes, bool write)
{
	u64 end = va + bytes;
	int err = 0;

	for (va = round_down(va, DMO_PAGE_SIZE); va < end && !err; va += DMO_PAGE_SIZE) {
		err = signal_pending(current) ? -EINTR : fault_patiently(as, va, end - va, write);
		cond_resched();
	}
	return err;
}

int dmo_dev_fault(struct dmo_as *as, u64 va, u64 bytes, bool write)
{
	struct kdm_stats *stats = &as->dev->stats;
	int err;

	atomic64_inc(&stats->faults);
	err = READ_ONCE(as->closing) ? -ECANCELED :
	      fault_patiently(as, round_down(va, DMO_PAGE_SIZE), bytes, write);
	if (err == -ENODEV)
		err = READ_ONCE(as->closing) ? -ECANCELED : -EIO;
	if (err == -EINTR)
		err = -ECANCELED;
	if (err)
		atomic64_inc(&stats->fault_errors);
	trace_dmo_fault(as->dev, va, write, err);
	return err;
}
EXPORT_SYMBOL_GPL(dmo_dev_fault);
