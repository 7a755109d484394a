/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmo_trace.h - tracepoints of what happens to pages: faults, moves, evictions, mappings, pins
 *
 * They are the system "dmo" of tracefs: dmo:dmo_fault and so on. An object is named by the device and
 * inode number of its backing file, pages are counted from its beginning, an error is 0 or a negative
 * errno. dmo(4) has the fields.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dmo

#if !defined(KDM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KDM_TRACE_H

#include "internal.h"

#include <linux/kdev_t.h>
#include <linux/tracepoint.h>

/* A device's access that found no translation has been resolved, or refused. */
TRACE_EVENT(dmo_fault,
	    TP_PROTO(const struct dmo_dev *dev, u64 va, bool write, int error),
	    TP_ARGS(dev, va, write, error),
	    TP_STRUCT__entry(__array(char, device, DMO_NAME_MAX)
			     __field(u64, va)
			     __field(u32, write)
			     __field(int, error)),
	    TP_fast_assign(strscpy(__entry->device, dev->name, DMO_NAME_MAX);
			   __entry->va = va;
			   __entry->write = write;
			   __entry->error = error;),
	    TP_printk("device=%s va=0x%llx write=%u error=%d", __entry->device, __entry->va, __entry->write,
		      __entry->error)
);

DECLARE_EVENT_CLASS(dmo_pages,
		    TP_PROTO(const struct dmo_dev *dev, const struct kdm_obj *obj, u64 page, u32 pages,
			     u32 copied, int error),
		    TP_ARGS(dev, obj, page, pages, copied, error),
		    TP_STRUCT__entry(__array(char, device, DMO_NAME_MAX)
				     __field(u32, dev)
				     __field(u64, ino)
				     __field(u64, page)
				     __field(u32, pages)
				     __field(u32, copied)
				     __field(int, error)),
		    TP_fast_assign(strscpy(__entry->device, dev->name, DMO_NAME_MAX);
				   __entry->dev = obj->backing_inode->i_sb->s_dev;
				   __entry->ino = obj->backing_inode->i_ino;
				   __entry->page = page;
				   __entry->pages = pages;
				   __entry->copied = copied;
				   __entry->error = error;),
		    TP_printk("device=%s dev=%u:%u ino=%llu page=%llu pages=%u copied=%u error=%d",
			      __entry->device, MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino,
			      __entry->page, __entry->pages, __entry->copied, __entry->error)
);

/* Pages came to a device; copied: how many of them had to be. */
DEFINE_EVENT(dmo_pages, dmo_migrate,
	     TP_PROTO(const struct dmo_dev *dev, const struct kdm_obj *obj, u64 page, u32 pages, u32 copied,
		      int error),
	     TP_ARGS(dev, obj, page, pages, copied, error)
);

/* Pages left a device; copied: how many of them were written to the backing file. */
DEFINE_EVENT(dmo_pages, dmo_evict,
	     TP_PROTO(const struct dmo_dev *dev, const struct kdm_obj *obj, u64 page, u32 pages, u32 copied,
		      int error),
	     TP_ARGS(dev, obj, page, pages, copied, error)
);

/* A context maps a range of an object. va is 0 after an error. */
TRACE_EVENT(dmo_map,
	    TP_PROTO(const struct dmo_dev *dev, const struct kdm_obj *obj, u64 va, u64 length, u64 offset,
		     u32 prot, int error),
	    TP_ARGS(dev, obj, va, length, offset, prot, error),
	    TP_STRUCT__entry(__array(char, device, DMO_NAME_MAX)
			     __field(u32, dev)
			     __field(u64, ino)
			     __field(u64, va)
			     __field(u64, length)
			     __field(u64, offset)
			     __field(u32, prot)
			     __field(int, error)),
	    TP_fast_assign(strscpy(__entry->device, dev->name, DMO_NAME_MAX);
			   __entry->dev = obj->backing_inode->i_sb->s_dev;
			   __entry->ino = obj->backing_inode->i_ino;
			   __entry->va = va;
			   __entry->length = length;
			   __entry->offset = offset;
			   __entry->prot = prot;
			   __entry->error = error;),
	    TP_printk("device=%s dev=%u:%u ino=%llu va=0x%llx length=0x%llx offset=0x%llx prot=%u error=%d",
		      __entry->device, MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino, __entry->va,
		      __entry->length, __entry->offset, __entry->prot, __entry->error)
);

/* A context unmaps a range of its addresses. */
TRACE_EVENT(dmo_unmap,
	    TP_PROTO(const struct dmo_dev *dev, u64 va, u64 length, int error),
	    TP_ARGS(dev, va, length, error),
	    TP_STRUCT__entry(__array(char, device, DMO_NAME_MAX)
			     __field(u64, va)
			     __field(u64, length)
			     __field(int, error)),
	    TP_fast_assign(strscpy(__entry->device, dev->name, DMO_NAME_MAX);
			   __entry->va = va;
			   __entry->length = length;
			   __entry->error = error;),
	    TP_printk("device=%s va=0x%llx length=0x%llx error=%d", __entry->device, __entry->va,
		      __entry->length, __entry->error)
);

DECLARE_EVENT_CLASS(dmo_lease,
		    TP_PROTO(const struct dmo_dev *dev, const struct kdm_obj *obj, u64 page, u64 pages,
			     int error),
		    TP_ARGS(dev, obj, page, pages, error),
		    TP_STRUCT__entry(__array(char, device, DMO_NAME_MAX)
				     __field(u32, dev)
				     __field(u64, ino)
				     __field(u64, page)
				     __field(u64, pages)
				     __field(int, error)),
		    TP_fast_assign(strscpy(__entry->device, dev->name, DMO_NAME_MAX);
				   __entry->dev = obj->backing_inode->i_sb->s_dev;
				   __entry->ino = obj->backing_inode->i_ino;
				   __entry->page = page;
				   __entry->pages = pages;
				   __entry->error = error;),
		    TP_printk("device=%s dev=%u:%u ino=%llu page=%llu pages=%llu error=%d", __entry->device,
			      MAJOR(__entry->dev), MINOR(__entry->dev), __entry->ino, __entry->page,
			      __entry->pages, __entry->error)
);

DEFINE_EVENT(dmo_lease, dmo_pin,
	     TP_PROTO(const struct dmo_dev *dev, const struct kdm_obj *obj, u64 page, u64 pages, int error),
	     TP_ARGS(dev, obj, page, pages, error)
);

DEFINE_EVENT(dmo_lease, dmo_unpin,
	     TP_PROTO(const struct dmo_dev *dev, const struct kdm_obj *obj, u64 page, u64 pages, int error),
	     TP_ARGS(dev, obj, page, pages, error)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE dmo_trace
#include <trace/define_trace.h>
