/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io.c - what the CPU reads and writes through the filesystem
 *
 * A read makes the CPU a holder of the pages; a write changes them. Before either is let through, the translations
 * that invariant 2 forbids are taken away. Bytes then come from, or go to, where the page's authoritative copy is:
 *
 *              page dirty on a device      otherwise
 *   read       the device's copy           the backing file
 *   write      the device's copy           the backing file; clean copies are dropped (pinned ones written too)
 *
 * A block that is MOVING parks the request; CLAIMED does not: the kernel may hold the very page lock that the
 * revocation waits for.
 *
 * What happens when a revocation meets a write(2) that is on its way: race.c.
 */
#include "engine/internal.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

enum { REQ_READ, REQ_WRITE };

/* ---- device memory ------------------------------------------------------------------------------------- */

struct waited_job {
	struct dmo_copy_job job;
	sem_t over;
	int status;
};

static void job_over(struct dmo_copy_job *job, int status)
{
	struct waited_job *w = job->ctx;

	w->status = status;
	sem_post(&w->over);
}

static int copy_and_wait(struct eng_device *dev, struct waited_job *w)
{
	if (dev->ops->cpu_address && w->job.dir != DMO_COPY_ZERO) {
		char *at = dev->ops->cpu_address(dev->dev, w->job.frame);

		if (at && w->job.dir == DMO_COPY_IN)
			memcpy(at + w->job.offset, w->job.host, w->job.bytes);
		else if (at)
			memcpy(w->job.host, at + w->job.offset, w->job.bytes);
		if (at)
			return 0;
	}
	sem_init(&w->over, 0, 0);
	w->job.done = job_over;
	w->job.ctx = w;
	dev->ops->copy(dev->dev, &w->job);
	while (sem_wait(&w->over))
		;
	sem_destroy(&w->over);
	return w->status;
}

/* The chunks of the copy's other pages may be allocated meanwhile, which moves the table: look under the lock. */
static unsigned run_of(struct dmo_copy *copy, unsigned page, u32 *frame)
{
	struct eng_object *obj = dmo_container_of(copy->block->object, struct eng_object, core);
	unsigned run;

	pthread_mutex_lock(&obj->lock);
	run = dmo_copy_run(copy, page, DMO_BLOCK_PAGES - page, frame);
	pthread_mutex_unlock(&obj->lock);
	return run;
}

int eng_copy_bytes(struct dmo_copy *copy, enum dmo_copy_dir dir, u64 offset, u64 bytes, void *host)
{
	struct eng_device *dev = dmo_container_of(copy->dev, struct eng_device, core);
	char *at = host;

	while (bytes) {
		unsigned page = offset >> DMO_PAGE_SHIFT, within = offset & (DMO_PAGE_SIZE - 1);
		struct waited_job w = { .job = { .dir = dir, .offset = within, .host = at } };
		unsigned run = run_of(copy, page, &w.job.frame);
		u64 n = ((u64)run << DMO_PAGE_SHIFT) - within;
		int err;

		w.job.bytes = n < bytes ? n : bytes;
		err = copy_and_wait(dev, &w);
		if (err)
			return err;
		atomic_fetch_add(dir == DMO_COPY_OUT ? &dev->stats.bytes_to_host : &dev->stats.bytes_to_device,
				 w.job.bytes);
		at += w.job.bytes;
		offset += w.job.bytes;
		bytes -= w.job.bytes;
	}
	return 0;
}

/* ---- parking ---------------------------------------------------------------------------------------------- */

static void park(struct eng_object *obj, struct eng_req *r)
{
	r->next = NULL;
	*obj->parked_tail = r;
	obj->parked_tail = &r->next;
	atomic_fetch_add(&obj->eng->parked, 1);
}

static void run_again(struct eng_req *r);

void eng_unpark(struct eng_object *obj)
{
	struct eng_req *list, *next;

	pthread_mutex_lock(&obj->lock);
	list = obj->parked;
	obj->parked = NULL;
	obj->parked_tail = &obj->parked;
	pthread_mutex_unlock(&obj->lock);
	for (; list; list = next) {
		next = list->next;
		run_again(list);
	}
}

/* ---- ranges -------------------------------------------------------------------------------------------------- */

static bool must_wait(struct eng_object *obj, u64 offset, u64 length)
{
	struct eng_part p;

	FOR_EACH_PART(p, offset, length) {
		struct dmo_block *b = dmo_block_find(&obj->core, p.index);

		if (b && b->state == DMO_BLOCK_MOVING)
			return true;
	}
	return false;
}

static void end_io(struct eng_object *obj, u64 offset, u64 length, u32 flags)
{
	struct eng_part p;

	pthread_mutex_lock(&obj->lock);
	FOR_EACH_PART(p, offset, length) {
		struct dmo_block *b = dmo_block_find(&obj->core, p.index);

		if (!b || !b->io)
			continue;
		b->io--;
		b->writepages -= !!(flags & ENG_IO_WRITEPAGE);
		dmo_block_put(b);
	}
	pthread_cond_broadcast(&obj->cond);
	pthread_mutex_unlock(&obj->lock);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* Prepares one block for a read; *dirty: some page is newer on a device. */
static int begin_read(struct dmo_block *b, const struct eng_part *p, u32 flags, bool *dirty)
{
	u64 release[DMO_BITS_WORDS] = { 0 }, wprotect[DMO_BITS_WORDS] = { 0 }, newer[DMO_BITS_WORDS] = { 0 };
	int err = dmo_cpu_read_prepare(b, p->first, p->count, release, wprotect);

	if (!err)
		err = dmo_block_open(b);
	if (err)
		return err;
	eng_release_pages(b, release);
	eng_wprotect_pages(b, wprotect);
	if (!(flags & ENG_IO_NOCACHE))
		dmo_block_set_cpu(b, p->first, p->count, true);
	if (b->revoked && !(flags & ENG_IO_NOCACHE))
		dmo_bits_set(dmo_rows_row(&b->rows, DMO_READ), p->first, p->count);
	dmo_block_dirty(b, newer);
	if (dmo_bits_any_in(newer, p->first, p->count))
		*dirty = true;
	return 0;
}

/*
 * Prepares every block that is there. *dirty tells whether a device has to be read; then each keeps a count of I/O,
 * else none does. obj->lock held.
 */
static int begin_reads(struct eng_object *obj, u64 offset, u64 length, u32 flags, bool *dirty)
{
	struct eng_part p;
	int err = 0;

	*dirty = false;
	FOR_EACH_PART(p, offset, length) {
		struct dmo_block *b = dmo_block_find(&obj->core, p.index);

		if (!b)
			continue;
		b->users++;
		err = begin_read(b, &p, flags, dirty);
		dmo_block_put(b);
		if (err)
			return err;
	}
	if (!*dirty)
		return 0;
	FOR_EACH_PART(p, offset, length) {
		struct dmo_block *b = dmo_block_find(&obj->core, p.index);

		if (!b)
			continue;
		b->users++;
		b->io++;
	}
	return 0;
}

/* Reads the bytes of [start, end) that are at their newest in the backing file; past its end: zeros. */
static int read_backing(struct eng_file *f, char *buf, u64 start, u64 end)
{
	int fd = f->fd >= 0 ? f->fd : f->obj->fd;

	while (start < end) {
		ssize_t n = pread(fd, buf, end - start, start);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			memset(buf, 0, end - start);
			return 0;
		}
		buf += n;
		start += n;
	}
	return 0;
}

/* Pages from page on that have the same source: *copy where a device is newer, NULL for the backing file. */
static unsigned same_source(struct dmo_block *b, unsigned page, unsigned end, struct dmo_copy **copy)
{
	unsigned n = 1;

	*copy = NULL;
	for (struct dmo_copy *c = b->copies; c; c = c->next)
		if (dmo_bits_test(dmo_copy_bits(c, DMO_DIRTY), page))
			*copy = c;
	while (page + n < end) {
		struct dmo_copy *other = NULL;

		for (struct dmo_copy *c = b->copies; c; c = c->next)
			if (dmo_bits_test(dmo_copy_bits(c, DMO_DIRTY), page + n))
				other = c;
		if (other != *copy)
			break;
		n++;
	}
	return n;
}

/* One block's share of a read; the block can't move, so its rows are stable but for other reads' and writes'. */
static int read_part(struct eng_file *f, const struct eng_part *p, char *buf)
{
	struct eng_object *obj = f->obj;
	u64 base = p->index << DMO_BLOCK_SHIFT, at = p->start;

	while (at < p->end) {
		unsigned page = (at - base) >> DMO_PAGE_SHIFT, n = p->first + p->count - page;
		struct dmo_copy *copy = NULL;
		struct dmo_block *b;
		u64 end;
		int err;

		pthread_mutex_lock(&obj->lock);
		b = dmo_block_find(&obj->core, p->index);
		if (b)
			n = same_source(b, page, p->first + p->count, &copy);
		pthread_mutex_unlock(&obj->lock);
		end = base + ((u64)(page + n) << DMO_PAGE_SHIFT);
		if (end > p->end)
			end = p->end;
		if (copy)
			err = eng_copy_bytes(copy, DMO_COPY_OUT, at - base, end - at, buf);
		else
			err = read_backing(f, buf, at, end);
		if (err)
			return err == -ENODEV ? -EIO : err;	/* only pages that are dirty there are read there */
		buf += end - at;
		at = end;
	}
	return 0;
}

int64_t eng_read_bytes(struct eng_file *f, char *buf, u64 offset, u64 length)
{
	struct eng_part p;
	int err;

	FOR_EACH_PART(p, offset, length) {
		err = read_part(f, &p, buf + (p.start - offset));
		if (err)
			return err;
	}
	return length;
}

static void finish(struct eng_req *r, int64_t result)
{
	r->result = result;
	r->done(r);
}

/* What lies before the end of the object. */
static u64 clip(struct eng_object *obj, u64 offset, u64 length)
{
	u64 size = obj->core.size;

	if (offset >= size)
		return 0;
	return length < size - offset ? length : size - offset;
}

int eng_read(struct eng_file *f, struct eng_req *r, void *buf, uint64_t offset, uint64_t length, uint32_t flags)
{
	struct eng_object *obj = f->obj;
	bool dirty, parked;
	int err = 0;

	if (!atomic_load(&obj->tracked))
		return 1;
	pthread_mutex_lock(&obj->lock);
	length = clip(obj, offset, length);
	parked = must_wait(obj, offset, length);
	if (parked) {
		*r = (struct eng_req){ .done = r->done, .user = r->user, .buf = buf, .offset = offset,
				       .length = length, .op = REQ_READ, .flags = flags, .file = f };
		park(obj, r);
	} else {
		err = begin_reads(obj, offset, length, flags, &dirty);
	}
	pthread_mutex_unlock(&obj->lock);
	if (parked)
		return 0;
	if (!err && !dirty)
		return 1;
	if (!err) {
		int64_t got = eng_read_bytes(f, buf, offset, length);

		end_io(obj, offset, length, 0);
		eng_unpark(obj);
		finish(r, got);
		return 0;
	}
	finish(r, err);
	return 0;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

int eng_write_begin(struct eng_file *f)
{
	struct eng_object *obj = f->obj;

	atomic_fetch_add(&obj->direct_writes, 1);
	if (!atomic_load(&obj->tracked))
		return 1;
	atomic_fetch_sub(&obj->direct_writes, 1);
	return 0;
}

void eng_write_end(struct eng_file *f, uint64_t offset, uint64_t length)
{
	atomic_fetch_sub(&f->obj->direct_writes, 1);
}

/* Clean copies of the pages end here, but for a pinned one that is the only copy: it takes the write. */
static void drop_clean(struct dmo_block *b, const struct eng_part *p)
{
	u64 newer[DMO_BITS_WORDS] = { 0 };

	dmo_block_dirty(b, newer);
	for (struct dmo_copy *c = b->copies; c; c = c->next) {
		u64 *valid = dmo_rows_row(&c->rows, DMO_VALID), *dirty = dmo_rows_row(&c->rows, DMO_DIRTY);

		for (unsigned w = 0; w < DMO_BITS_WORDS; w++) {
			u64 clean = valid[w] & ~dirty[w] & dmo_bits_mask(w, p->first, p->count);
			u64 takes = c->pins ? clean & ~newer[w] : 0;

			dirty[w] |= takes;
			newer[w] |= takes;
			valid[w] &= ~(clean & ~takes);
		}
	}
}

static void forgive_lost(struct dmo_block *b, const struct eng_part *p)
{
	u64 *lost = dmo_rows_row(&b->rows, DMO_LOST);

	if (!dmo_bits_any_in(lost, p->first, p->count))
		return;
	dmo_bits_clear(lost, p->first, p->count);
	if (!dmo_bits_any(lost))
		b->object->lost--;
}

static bool page_aligned(struct eng_object *obj, const struct eng_part *p)
{
	return !(p->start & (DMO_PAGE_SIZE - 1)) && (!(p->end & (DMO_PAGE_SIZE - 1)) || p->end >= obj->core.size);
}

/* Prepares one block; it keeps a count of I/O. */
static int begin_write(struct eng_object *obj, const struct eng_part *p, u32 flags)
{
	u64 release[DMO_BITS_WORDS] = { 0 };
	struct dmo_block *b = dmo_block_get(&obj->core, p->index);
	int err = b ? dmo_block_open(b) : -ENOMEM;

	if (!err)
		err = dmo_cpu_write_prepare(b, p->first, p->count, page_aligned(obj, p), release);
	if (err) {
		if (b)
			dmo_block_put(b);
		return err;
	}
	eng_release_pages(b, release);
	drop_clean(b, p);
	forgive_lost(b, p);
	if (!(flags & ENG_IO_NOCACHE))
		dmo_block_set_cpu(b, p->first, p->count, true);
	b->io++;
	b->writepages += !!(flags & ENG_IO_WRITEPAGE);
	return 0;
}

/* Takes back what begin_write did to the blocks before index. */
static void undo_writes(struct eng_object *obj, u64 offset, u64 index, u32 flags)
{
	for (u64 i = eng_block_of(offset); i < index; i++) {
		struct dmo_block *b = dmo_block_find(&obj->core, i);

		b->io--;
		b->writepages -= !!(flags & ENG_IO_WRITEPAGE);
		dmo_block_put(b);
	}
}

static int begin_writes(struct eng_object *obj, u64 offset, u64 length, u32 flags)
{
	struct eng_part p;

	FOR_EACH_PART(p, offset, length) {
		int err = begin_write(obj, &p, flags);

		if (err) {
			undo_writes(obj, offset, p.index, flags);
			return err;
		}
	}
	return 0;
}

static int write_backing(struct eng_file *f, const char *buf, u64 start, u64 end)
{
	int fd = f->writes && f->fd >= 0 ? f->fd : f->obj->fd;

	while (start < end) {
		ssize_t n = pwrite(fd, buf, end - start, start);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		start += n;
	}
	return 0;
}

#define WRITE_BACKING 1

/*
 * The device died with the newest bytes of the part's pages, and lost.c has not come here yet. Pages that are wholly
 * overwritten need them no longer: the copy loses them. WRITE_BACKING or -EIO.
 */
static int leave_lost(struct eng_object *obj, struct dmo_copy *copy, const struct eng_part *p)
{
	if (!page_aligned(obj, p))
		return -EIO;
	pthread_mutex_lock(&obj->lock);
	dmo_bits_clear(dmo_rows_row(&copy->rows, DMO_VALID), p->first, p->count);
	dmo_bits_clear(dmo_rows_row(&copy->rows, DMO_DIRTY), p->first, p->count);
	pthread_mutex_unlock(&obj->lock);
	return WRITE_BACKING;
}

/* One block's share of a write. *stop: how far it came. */
static int write_part(struct eng_file *f, const struct eng_part *p, const char *buf, u64 *stop)
{
	struct eng_object *obj = f->obj;
	u64 base = p->index << DMO_BLOCK_SHIFT, at = p->start;
	int err = 0;

	while (at < p->end && !err) {
		unsigned page = (at - base) >> DMO_PAGE_SHIFT, n;
		struct dmo_copy *copy;
		u64 end;

		pthread_mutex_lock(&obj->lock);
		n = same_source(dmo_block_find(&obj->core, p->index), page, p->first + p->count, &copy);
		pthread_mutex_unlock(&obj->lock);
		end = base + ((u64)(page + n) << DMO_PAGE_SHIFT);
		if (end > p->end)
			end = p->end;
		if (copy)
			err = eng_copy_bytes(copy, DMO_COPY_IN, at - base, end - at, (void *)buf);
		if (copy && err == -ENODEV)
			err = leave_lost(obj, copy, &(struct eng_part){ p->index, at, end, page, n });
		if (!copy || err == WRITE_BACKING)
			err = write_backing(f, buf, at, end);
		if (!err) {
			buf += end - at;
			at = end;
		}
	}
	*stop = at;
	return err;
}

/* The file grows to end where it was shorter: in the backing file as well, which device-dirty bytes don't reach. */
static void grow(struct eng_file *f, u64 end)
{
	struct eng_object *obj = f->obj;
	int fd = f->writes && f->fd >= 0 ? f->fd : obj->fd;
	struct stat st;
	bool longer;

	pthread_mutex_lock(&obj->lock);
	longer = end > obj->core.size;
	if (longer)
		obj->core.size = end;
	pthread_mutex_unlock(&obj->lock);
	if (longer && !fstat(fd, &st) && (u64)st.st_size < end && ftruncate(fd, end))
		eng_log(obj->eng, LOG_ERR, "can't extend a file to %llu bytes: %s", (unsigned long long)end,
			strerror(errno));
}

static int64_t write_parts(struct eng_file *f, const char *buf, u64 offset, u64 length, u32 flags)
{
	u64 stop = offset;
	struct eng_part p;
	int err = 0;

	FOR_EACH_PART(p, offset, length) {
		err = write_part(f, &p, buf + (p.start - offset), &stop);
		if (err && (flags & ENG_IO_WRITEPAGE)) {
			pthread_mutex_lock(&f->obj->lock);
			eng_writeback_error(f->obj, err);
			pthread_mutex_unlock(&f->obj->lock);
			err = eng_stage_write(f->obj, buf + (stop - offset), stop, p.end - stop);
			stop = p.end;
		}
		if (err)
			break;
	}
	if (stop > offset)
		grow(f, stop);
	return stop > offset ? (int64_t)(stop - offset) : err;
}

/* Was a block of the range ever revoked? *written: a page of it is being written back. Lock held. */
static bool was_revoked(struct eng_object *obj, u64 offset, u64 length, bool *written)
{
	bool revoked = false;
	struct eng_part p;

	*written = false;
	FOR_EACH_PART(p, offset, length) {
		struct dmo_block *b = dmo_block_find(&obj->core, p.index);

		revoked |= b->revoked;
		*written |= b->revoked && b->writepages;
	}
	return revoked;
}

/* Begins a write(2) whose blocks are prepared: *u where one of them was revoked before (race.c). Lock held. */
static int begin_underway(struct eng_object *obj, u64 offset, u64 length, struct eng_underway **u)
{
	bool written;

	while (was_revoked(obj, offset, length, &written)) {
		if (!written) {
			*u = eng_underway_begin(obj, offset, length);
			return *u ? 0 : -ENOMEM;
		}
		pthread_cond_wait(&obj->cond, &obj->lock);
	}
	return 0;
}

/* The bytes of a write whose blocks have been prepared. */
static int64_t write_bytes(struct eng_file *f, const char *buf, u64 offset, u64 length, u32 flags,
			   struct eng_underway *u)
{
	if (flags & ENG_IO_WRITEPAGE)
		return eng_underway_patch(f, buf, offset, length, write_parts);
	if (u)
		eng_underway_fill(u, f, buf);
	return write_parts(f, buf, offset, length, flags);
}

/* Answers, when no CPU can read the old bytes any more. */
static void answer(struct eng_req *r, int64_t result, u32 flags, struct eng_underway *u)
{
	enum eng_hold hold = u && !(flags & ENG_IO_NOCACHE) ? eng_underway_look(u) : ENG_HOLD_NOT;

	if (hold != ENG_HOLD_NOT) {
		eng_underway_hold(u, r, result, hold);
		return;
	}
	if (u)
		eng_underway_end(u);
	finish(r, result);
}

void eng_write(struct eng_file *f, struct eng_req *r, const void *buf, uint64_t offset, uint64_t length,
	       uint32_t flags)
{
	struct eng_object *obj = f->obj;
	struct eng_underway *u = NULL;
	bool parked, begun = false;
	int64_t result;
	int err = 0;

	pthread_mutex_lock(&obj->lock);
	parked = must_wait(obj, offset, length);
	if (parked) {
		*r = (struct eng_req){ .done = r->done, .user = r->user, .buf = (void *)buf, .offset = offset,
				       .length = length, .op = REQ_WRITE, .flags = flags, .file = f };
		park(obj, r);
	} else {
		err = begin_writes(obj, offset, length, flags);
		begun = !err;
		if (begun && !(flags & ENG_IO_WRITEPAGE))
			err = begin_underway(obj, offset, length, &u);
	}
	pthread_mutex_unlock(&obj->lock);
	if (parked)
		return;
	result = err ? err : write_bytes(f, buf, offset, length, flags, u);
	if (begun) {
		end_io(obj, offset, length, flags);
		eng_unpark(obj);
	}
	answer(r, result, flags, u);
}

/* ---- parked requests run on ---------------------------------------------------------------------------------------------- */

static void run_again(struct eng_req *r)
{
	if (r->cancelled) {
		finish(r, -EINTR);
	} else if (r->op == REQ_WRITE) {
		eng_write(r->file, r, r->buf, r->offset, r->length, r->flags);
	} else if (eng_read(r->file, r, r->buf, r->offset, r->length, r->flags)) {
		int err = read_backing(r->file, r->buf, r->offset, r->offset + r->length);

		finish(r, err ? err : (int64_t)r->length);
	}
}
