/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sync.c - fsync, and what changes a file's size or punches holes into it
 *
 * truncate and fallocate come from a worker under the kernel's inode lock, and the kernel may hold back the WRITE that a
 * revocation waits for until they are answered: so they never wait for a revocation. They raise the object's
 * barrier: blocks that are MOVING come to their end, no other moves; one that is being revoked goes on with that and
 * then waits. Under the barrier: translations of the range go; the page at a ragged edge is written back; the
 * backing file is changed; then every copy in the range is dropped. If the backing file can't be changed nothing has been.
 *
 * fsync, lseek and copies between files do wait (for a clean state of blocks), so they run on the pool.
 */
#include "engine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- write-back errors: each open file is told once ---------------------------------------------------- */

void eng_writeback_error(struct eng_object *obj, int err)
{
	obj->wb_error = err;
	obj->wb_seq++;
}

int eng_writeback_result(struct eng_file *f)
{
	struct eng_object *obj = f->obj;
	int err = 0;

	pthread_mutex_lock(&obj->lock);
	if (f->wb_seen != obj->wb_seq) {
		f->wb_seen = obj->wb_seq;
		err = obj->wb_error;
	}
	pthread_mutex_unlock(&obj->lock);
	return err;
}

/* ---- the barrier ------------------------------------------------------------------------------------------ */

/* Waits until no block from first to last is MOVING or has I/O under way; lock held. */
static void wait_quiet(struct eng_object *obj, u64 first, u64 last)
{
	struct dmo_block *b;
	u64 i = first;

	while ((b = dmo_radix_next(&obj->core.blocks, &i)) && i <= last) {
		if (b->state == DMO_BLOCK_MOVING || b->io) {
			pthread_cond_wait(&obj->cond, &obj->lock);
			i = first;
		} else {
			i++;
		}
	}
}

static void raise_barrier(struct eng_object *obj, u64 first, u64 last)
{
	while (obj->barrier)
		pthread_cond_wait(&obj->cond, &obj->lock);
	obj->barrier = true;
	wait_quiet(obj, first, last);
}

static void drop_barrier(struct eng_object *obj)
{
	obj->barrier = false;
	pthread_cond_broadcast(&obj->cond);
	pthread_mutex_unlock(&obj->lock);
	eng_unpark(obj);
}

/* The pages of block index within [first, last] (pages of the object). */
static void cut(u64 index, u64 first, u64 last, unsigned *from, unsigned *count)
{
	u64 base = index * DMO_BLOCK_PAGES;
	u64 lo = first > base ? first : base, hi = last < base + DMO_BLOCK_PAGES - 1 ? last : base + DMO_BLOCK_PAGES - 1;

	*from = lo - base;
	*count = hi - lo + 1;
}

static void release_range(struct eng_object *obj, u64 first, u64 last)
{
	struct dmo_block *b;

	for (u64 i = first / DMO_BLOCK_PAGES; (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		u64 pages[DMO_BITS_WORDS];
		unsigned from, count;

		if (i > last / DMO_BLOCK_PAGES)
			return;
		cut(i, first, last, &from, &count);
		dmo_bits_zero(pages);
		dmo_bits_set(pages, from, count);
		dmo_bits_and(pages, pages, dmo_block_bits(b, DMO_MAPPED));
		if (!dmo_bits_any(pages))
			continue;
		b->users++;
		if (!dmo_block_open(b))
			eng_release_pages(b, pages);
		dmo_block_put(b);
	}
}

/* Copies that have nothing valid left go; pinned ones keep their memory, orphaned (invariant 7). */
static void free_empty(struct dmo_block *b)
{
	struct dmo_copy *c, *next;

	for (c = b->copies; c; c = next) {
		struct eng_device *dev = dmo_container_of(c->dev, struct eng_device, core);

		next = c->next;
		if (c->pins || dmo_bits_any(dmo_copy_bits(c, DMO_VALID)))
			continue;
		pthread_mutex_lock(&dev->lock);
		dmo_copy_free(c);
		pthread_cond_broadcast(&dev->cond);
		pthread_mutex_unlock(&dev->lock);
	}
}

static void drop_range(struct eng_object *obj, u64 first, u64 last)
{
	struct dmo_block *b;

	for (u64 i = first / DMO_BLOCK_PAGES; (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		unsigned from, count;

		if (i > last / DMO_BLOCK_PAGES)
			return;
		cut(i, first, last, &from, &count);
		b->users++;
		if (!dmo_block_open(b)) {
			u64 pages[DMO_BITS_WORDS];

			dmo_bits_copy(pages, dmo_block_bits(b, DMO_MAPPED));
			eng_release_pages(b, pages);
			dmo_block_drop(b, from, count);
			free_empty(b);
		}
		dmo_block_put(b);
	}
}

/* Writes the page that holds byte at back where a device has it newer: its other half stays. No translation is left. */
static int write_edge(struct eng_object *obj, u64 at)
{
	u64 start = at & ~(u64)(DMO_PAGE_SIZE - 1), size = obj->core.size;
	unsigned page = (start >> DMO_PAGE_SHIFT) & (DMO_BLOCK_PAGES - 1);
	struct dmo_copy *c = NULL;
	struct dmo_block *b;
	char buf[DMO_PAGE_SIZE];
	size_t bytes;
	int err;

	pthread_mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, eng_block_of(at));
	if (b)
		c = dmo_page_copy(b, page);
	if (c && !dmo_bits_test(dmo_copy_bits(c, DMO_DIRTY), page))
		c = NULL;
	if (c)
		b->io++, b->users++;
	pthread_mutex_unlock(&obj->lock);
	if (!c || start >= size)
		bytes = 0;
	else
		bytes = size - start < DMO_PAGE_SIZE ? size - start : DMO_PAGE_SIZE;
	err = bytes ? eng_copy_bytes(c, DMO_COPY_OUT, start & (DMO_BLOCK_SIZE - 1), bytes, buf) : 0;
	if (!err && bytes && pwrite(obj->fd, buf, bytes, start) != (ssize_t)bytes)
		err = errno ? -errno : -EIO;
	if (c) {
		pthread_mutex_lock(&obj->lock);
		b->io--;
		dmo_block_put(b);
		pthread_cond_broadcast(&obj->cond);
		pthread_mutex_unlock(&obj->lock);
	}
	return err;
}

/*
 * Changes the backing file by change(fd, arg) with the copies of [offset, end) gone afterwards; end ~0: the rest of the
 * file. Bytes outside of the range in its first and last page are kept.
 */
static int change_range(struct eng_object *obj, u64 offset, u64 end, int (*change)(int fd, void *arg), int fd, void *arg)
{
	u64 first = offset >> DMO_PAGE_SHIFT, last = end == ~0ull ? ~0ull >> DMO_PAGE_SHIFT : (end - 1) >> DMO_PAGE_SHIFT;
	struct stat st;
	int err = 0;

	pthread_mutex_lock(&obj->lock);
	raise_barrier(obj, first / DMO_BLOCK_PAGES, last / DMO_BLOCK_PAGES);
	release_range(obj, first, last);
	pthread_mutex_unlock(&obj->lock);
	if (offset & (DMO_PAGE_SIZE - 1))
		err = write_edge(obj, offset);
	if (!err && end != ~0ull && (end & (DMO_PAGE_SIZE - 1)))
		err = write_edge(obj, end);
	if (!err)
		err = change(fd >= 0 ? fd : obj->fd, arg);
	pthread_mutex_lock(&obj->lock);
	if (!err) {
		wait_quiet(obj, first / DMO_BLOCK_PAGES, last / DMO_BLOCK_PAGES);
		drop_range(obj, first, last);
		if (!fstat(obj->fd, &st))
			obj->core.size = st.st_size;
	}
	drop_barrier(obj);
	return err;
}

/* As eng_write_begin: true where no device has to do with the object; direct_writes is to be dropped afterwards. */
static bool begin_direct(struct eng_object *obj)
{
	atomic_fetch_add(&obj->direct_writes, 1);
	if (!atomic_load(&obj->tracked))
		return true;
	atomic_fetch_sub(&obj->direct_writes, 1);
	return false;
}

static void end_direct(struct eng_object *obj)
{
	atomic_fetch_sub(&obj->direct_writes, 1);
}

/* ---- truncate, fallocate ---------------------------------------------------------------------------------------- */

static int change_size(int fd, void *arg)
{
	return ftruncate(fd, *(u64 *)arg) ? -errno : 0;
}

static int change_nothing(int fd, void *arg)
{
	return 0;
}

void eng_object_discard(struct eng_object *obj)
{
	change_range(obj, 0, ~0ull, change_nothing, -1, NULL);
}

int eng_truncate(struct eng_object *obj, int fd, uint64_t size)
{
	u64 from = size;
	int err;

	if (begin_direct(obj)) {
		err = fd >= 0 ? 0 : eng_object_backing(obj);
		if (!err)
			err = change_size(fd >= 0 ? fd : obj->fd, &size);
		end_direct(obj);
		return err;
	}
	eng_object_ref(obj);
	err = eng_object_track(obj);
	pthread_mutex_lock(&obj->lock);
	if (obj->core.size < from)		/* longer: what a device wrote past the old end goes */
		from = obj->core.size;
	pthread_mutex_unlock(&obj->lock);
	if (!err)
		err = change_range(obj, from, ~0ull, change_size, fd, &size);
	eng_object_unref(obj);
	return err;
}

struct falloc {
	int mode;
	u64 offset, length;
};

static int change_falloc(int fd, void *arg)
{
	struct falloc *a = arg;

	return fallocate(fd, a->mode, a->offset, a->length) ? -errno : 0;
}

void eng_fallocate(struct eng_file *f, struct eng_req *r, int mode, uint64_t offset, uint64_t length)
{
	struct eng_object *obj = f->obj;
	struct falloc a = { mode, offset, length };
	u64 end = offset + length, from = offset;

	if (begin_direct(obj)) {
		r->result = change_falloc(f->fd, &a);
		end_direct(obj);
	} else {
		bool removes = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);

		if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) {
			r->result = -EOPNOTSUPP;	/* the kernel does not forward these either */
			r->done(r);
			return;
		}
		if (!removes) {				/* only what lies past the end changes its content */
			pthread_mutex_lock(&obj->lock);
			from = obj->core.size;
			pthread_mutex_unlock(&obj->lock);
			end = ~0ull;
		}
		eng_object_ref(obj);
		r->result = eng_object_track(obj);
		if (!r->result)
			r->result = change_range(obj, from, end, change_falloc, f->fd, &a);
		eng_object_unref(obj);
	}
	r->done(r);
}

int eng_punch(struct eng_file *f, u64 offset, u64 length)
{
	struct falloc a = { FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length };
	struct eng_object *obj = f->obj;
	int err = change_range(obj, offset, offset + length, change_falloc, obj->fd, &a);

	if (!err)
		err = obj->eng->fs->revoke(obj->inode, offset, length);
	return err == -ENOENT ? 0 : err;
}

/* ---- on the pool --------------------------------------------------------------------------------------------------- */

struct sync_job {
	struct eng_work work;
	struct eng_req *req;
	struct eng_file *file, *out;
	u64 offset, out_offset, length;
	int how;
	unsigned flags;
	int64_t (*run)(struct sync_job *job);
};

static void run_job(struct eng_work *w)
{
	struct sync_job *job = dmo_container_of(w, struct sync_job, work);
	struct eng_object *obj = job->file->obj, *out = job->out ? job->out->obj : NULL;

	job->req->result = job->run(job);
	job->req->done(job->req);
	if (out)
		eng_object_unref(out);
	eng_object_unref(obj);
	free(job);
}

/* Runs job on the pool, or at once where no device has to do with the files. */
static void start_job(struct sync_job job)
{
	struct sync_job *copy;

	if (!atomic_load(&job.file->obj->tracked) && !(job.out && atomic_load(&job.out->obj->tracked))) {
		job.req->result = job.run(&job);
		job.req->done(job.req);
		return;
	}
	copy = malloc(sizeof(*copy));
	if (!copy) {
		job.req->result = -ENOMEM;
		job.req->done(job.req);
		return;
	}
	*copy = job;
	copy->work.run = run_job;
	eng_object_ref(job.file->obj);
	if (job.out)
		eng_object_ref(job.out->obj);
	eng_pool_run(&job.file->obj->eng->pool, &copy->work);
}

static int64_t run_fsync(struct sync_job *job)
{
	struct eng_object *obj = job->file->obj;
	int fd = job->file->fd, err = 0, seen;

	if (atomic_load(&obj->tracked))
		eng_clean_range(obj, 0, ~0ull);		/* its error is among the write-back errors */
	if (job->how ? fdatasync(fd) : fsync(fd))
		err = -errno;
	seen = eng_writeback_result(job->file);
	return seen ? seen : err;
}

void eng_fsync(struct eng_file *f, struct eng_req *r, bool datasync)
{
	start_job((struct sync_job){ .req = r, .file = f, .how = datasync, .run = run_fsync });
}

static int64_t run_lseek(struct sync_job *job)
{
	struct eng_object *obj = job->file->obj;
	off_t at;
	int err = 0;

	if (atomic_load(&obj->tracked))
		err = eng_clean_range(obj, job->offset, ~0ull);
	at = lseek(job->file->fd, job->offset, job->how);
	if (at < 0)
		return -errno;
	return err ? err : at;
}

void eng_lseek(struct eng_file *f, struct eng_req *r, uint64_t offset, int whence)
{
	start_job((struct sync_job){ .req = r, .file = f, .offset = offset, .how = whence, .run = run_lseek });
}

struct copy_range {
	struct sync_job *job;
	int64_t result;
};

static int change_copy(int fd, void *arg)
{
	struct copy_range *c = arg;
	loff_t in = c->job->offset, out = c->job->out_offset;

	c->result = copy_file_range(c->job->file->fd, &in, c->job->out->fd, &out, c->job->length, c->job->flags);
	return c->result < 0 ? -errno : 0;
}

static int64_t run_copy(struct sync_job *job)
{
	struct eng_object *in = job->file->obj, *out = job->out->obj;
	struct copy_range c = { job, 0 };
	int err = 0;

	if (job->length == 0)
		return 0;
	if (atomic_load(&in->tracked))
		err = eng_clean_range(in, job->offset, job->offset + job->length - 1);
	if (err)
		return err;
	if (begin_direct(out)) {
		err = change_copy(-1, &c);
		end_direct(out);
	} else {
		err = change_range(out, job->out_offset, job->out_offset + job->length, change_copy, -1, &c);
	}
	return err ? err : c.result;
}

void eng_copy_range(struct eng_file *in, uint64_t in_offset, struct eng_file *out, uint64_t out_offset,
		    uint64_t length, unsigned flags, struct eng_req *r)
{
	start_job((struct sync_job){ .req = r, .file = in, .out = out, .offset = in_offset,
				     .out_offset = out_offset, .length = length, .flags = flags, .run = run_copy });
}
