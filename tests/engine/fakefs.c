/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fakefs.c - files and their pages: what the kernel does between a program and the engine; fakefs.h has the idea */
#include "fakefs.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static _Thread_local unsigned seed;

unsigned ff_random(void)
{
	if (!seed)
		seed = (unsigned)time(NULL) ^ (unsigned)(uintptr_t)&seed;
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

uint64_t ff_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

static void delay(struct ff *ff)
{
	if (ff->delay_us)
		usleep(ff_random() % ff->delay_us);
}

/* ---- calls ------------------------------------------------------------------------------------------------ */

static void call_done(struct eng_req *req)
{
	struct ff_call *call = req->user;

	sem_post(&call->over);
}

void ff_call_init(struct ff_call *call)
{
	memset(call, 0, sizeof(*call));
	sem_init(&call->over, 0, 0);
	call->req.done = call_done;
	call->req.user = call;
}

bool ff_call_over(struct ff_call *call, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000l;
	until.tv_nsec %= 1000000000l;
	while (sem_timedwait(&call->over, &until)) {
		if (errno == ETIMEDOUT)
			return false;
	}
	sem_post(&call->over);
	return true;
}

int64_t ff_call_wait(struct ff_call *call)
{
	if (!ff_call_over(call, FF_PATIENCE * 1000)) {
		fprintf(stderr, "a request of the engine was not answered within %d s\n", FF_PATIENCE);
		abort();
	}
	sem_destroy(&call->over);
	return call->req.result;
}

/* ---- the engine's side --------------------------------------------------------------------------------------- */

/* A WRITE with the writepage flag, clipped to the size; the page lock is held. */
static void write_page(struct ff_file *f, unsigned n, const char *data)
{
	uint64_t offset = (uint64_t)n * FF_PAGE, size, length;
	struct ff_open *o;
	struct ff_call call;

	pthread_mutex_lock(&f->lock);
	while (f->nowrite)
		pthread_cond_wait(&f->cond, &f->lock);
	size = atomic_load(&f->size);
	o = f->writers[0];
	f->writes++;
	pthread_mutex_unlock(&f->lock);
	length = offset < size ? size - offset : 0;
	if (length > FF_PAGE)
		length = FF_PAGE;
	if (length) {
		bool done = false;

		ck_assert_ptr_nonnull(o);
		atomic_fetch_add(&f->ff->wrote_pages, 1);
		if (eng_write_begin(o->eng)) {
			done = pwrite(o->fd, data, length, offset) == (ssize_t)length;
			eng_write_end(o->eng, offset, done ? length : 0);
		}
		if (!done) {
			ff_call_init(&call);
			eng_write(o->eng, &call.req, data, offset, length, ENG_IO_WRITEPAGE);
			ck_assert_int_eq(ff_call_wait(&call), length);
		}
	}
	pthread_mutex_lock(&f->lock);
	f->writes--;
	pthread_cond_broadcast(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

static void clean_page(struct ff_file *f, unsigned n)
{
	struct ff_page *p = &f->page[n];

	if (!p->dirty)
		return;
	p->dirty = false;
	write_page(f, n, p->data);
}

static void drop_page(struct ff_page *p)
{
	free(p->data);
	p->data = NULL;
	p->uptodate = p->dirty = false;
}

static int fs_revoke(void *inode, uint64_t offset, uint64_t length)
{
	struct ff_file *f = inode;
	uint64_t first = offset / FF_PAGE, end = length ? (offset + length + FF_PAGE - 1) / FF_PAGE : f->pages;
	int err = atomic_load(&f->ff->revoke_error);

	atomic_fetch_add(&f->ff->revoke_gate, 1);
	pthread_mutex_lock(&f->ff->hold_revoke);
	pthread_mutex_unlock(&f->ff->hold_revoke);
	if (err)
		return err;
	atomic_fetch_add(&f->ff->revokes, 1);
	for (uint64_t n = first; n < end && n < f->pages; n++) {
		struct ff_page *p = &f->page[n];

		pthread_mutex_lock(&p->lock);
		if (p->data) {
			delay(f->ff);
			clean_page(f, n);
			drop_page(p);
		}
		pthread_mutex_unlock(&p->lock);
	}
	delay(f->ff);
	return 0;
}

static int fs_open_backing(void *inode, int flags)
{
	struct ff_file *f = inode;
	int fd = open(f->path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static void fs_inode_get(void *inode)
{
	struct ff_file *f = inode;

	atomic_fetch_add(&f->gets, 1);
}

static void fs_inode_put(void *inode)
{
	struct ff_file *f = inode;
	bool last;

	pthread_mutex_lock(&f->lock);
	last = atomic_fetch_sub(&f->gets, 1) == 1 && f->forgotten && !atomic_exchange(&f->destroyed, 1);
	pthread_mutex_unlock(&f->lock);
	if (last)
		eng_object_destroy(f->obj);
}

static void fs_poll_notify(void *handle)
{
	sem_post(handle);
}

static void fs_poll_forget(void *handle)
{
}

static void fs_log(int level, const char *line)
{
}

static const struct eng_fs_ops ops = {
	.revoke = fs_revoke, .open_backing = fs_open_backing, .poll_notify = fs_poll_notify,
	.poll_forget = fs_poll_forget, .inode_get = fs_inode_get, .inode_put = fs_inode_put, .log = fs_log,
};

/* ---- beginning and end -------------------------------------------------------------------------------------------- */

static struct ff *start(struct ff *ff, const struct eng_config *config, const char *const *devices)
{
	char why[256];

	if (config)
		ff->config = *config;
	else
		ff->config.store_advice = true;
	ff->config.fs = &ops;
	pthread_mutex_init(&ff->hold_revoke, NULL);
	ck_assert_int_eq(eng_create(&ff->config, &ff->eng), 0);
	for (; *devices; devices++)
		ck_assert_msg(!eng_device_add(ff->eng, *devices, why, sizeof(why)), "%s", why);
	ck_assert_int_eq(eng_start(ff->eng), 0);
	return ff;
}

static struct ff *new_store(void)
{
	struct ff *ff = calloc(1, sizeof(*ff));
	const char *tmp = getenv("TMPDIR");

	snprintf(ff->dir, sizeof(ff->dir), "%s/dmo-engine-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(ff->dir));
	return ff;
}

struct ff *ff_start(const struct eng_config *config, const char *const *devices)
{
	return start(new_store(), config, devices);
}

struct ff *ff_start_small(unsigned long bytes, const char *const *devices)
{
	struct ff *ff = new_store();
	char options[64];

	snprintf(options, sizeof(options), "size=%lu", bytes);
	if (mount("dmo-engine-test", ff->dir, "tmpfs", 0, options)) {
		rmdir(ff->dir);
		free(ff);
		return NULL;
	}
	ff->mounted = true;
	return start(ff, NULL, devices);
}

static void free_file(struct ff_file *f)
{
	for (unsigned n = 0; n < f->pages; n++) {
		drop_page(&f->page[n]);
		pthread_mutex_destroy(&f->page[n].lock);
	}
	unlink(f->path);
	pthread_mutex_destroy(&f->inode);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->cond);
	free(f->page);
	free(f);
}

void ff_stop(struct ff *ff)
{
	for (unsigned i = 0; i < ff->nr_files; i++)
		if (ff->files[i]->keep)
			ff_forget(ff->files[i], false);
	eng_destroy(ff->eng);
	for (unsigned i = 0; i < ff->nr_files; i++)
		free_file(ff->files[i]);
	if (ff->mounted)
		umount2(ff->dir, MNT_DETACH);
	rmdir(ff->dir);
	pthread_mutex_destroy(&ff->hold_revoke);
	free(ff);
}

unsigned char ff_byte(uint64_t offset)
{
	return offset * 7 + offset / 4096 * 13 + offset / 2097152;
}

void ff_pattern(void *to, uint64_t offset, uint64_t length)
{
	unsigned char *b = to;

	for (uint64_t i = 0; i < length; i++)
		b[i] = ff_byte(offset + i);
}

static void fill(struct ff_file *f, uint64_t size)
{
	char *buf = malloc(FF_BLOCK);

	for (uint64_t at = 0; at < size; at += FF_BLOCK) {
		uint64_t n = size - at < FF_BLOCK ? size - at : FF_BLOCK;

		ff_pattern(buf, at, n);
		ck_assert_int_eq(pwrite(f->keep_fd, buf, n, at), (ssize_t)n);
	}
	free(buf);
}

struct ff_file *ff_file(struct ff *ff, const char *name, uint64_t size, unsigned pages)
{
	struct ff_file *f = calloc(1, sizeof(*f));
	const struct eng_cred cred = { 0, 0, getpid(), true };

	f->ff = ff;
	snprintf(f->path, sizeof(f->path), "%s/%s", ff->dir, name);
	f->keep_fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(f->keep_fd, 0);
	fill(f, size);
	f->pages = pages;
	f->readahead = 32;
	f->page = calloc(pages, sizeof(*f->page));
	for (unsigned n = 0; n < pages; n++)
		pthread_mutex_init(&f->page[n].lock, NULL);
	pthread_mutex_init(&f->inode, NULL);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->cond, NULL);
	atomic_store(&f->size, size);
	ck_assert_int_eq(eng_object_create(ff->eng, f, &f->obj), 0);
	ck_assert_int_eq(eng_open(f->obj, f->keep_fd, O_RDONLY, &cred, &f->keep), 0);
	ff->files[ff->nr_files++] = f;
	return f;
}

struct ff_open *ff_open(struct ff_file *f, int flags)
{
	const struct eng_cred cred = { 0, 0, getpid(), true };
	struct ff_open *o = calloc(1, sizeof(*o));

	o->file = f;
	o->fd = open(f->path, flags | O_CLOEXEC);
	ck_assert_int_ge(o->fd, 0);
	ck_assert_int_eq(eng_open(f->obj, o->fd, flags, &cred, &o->eng), 0);
	if ((flags & O_ACCMODE) != O_RDONLY) {
		pthread_mutex_lock(&f->lock);
		for (unsigned i = 0, put = 0; !put; i++) {
			put = !f->writers[i];
			f->writers[i] = put ? o : f->writers[i];
		}
		pthread_mutex_unlock(&f->lock);
	}
	return o;
}

/* A writer leaves when what it made dirty is written; the others move up. */
static void leave_writers(struct ff_file *f, struct ff_open *o)
{
	unsigned kept = 0;

	pthread_mutex_lock(&f->lock);
	while (f->writes)
		pthread_cond_wait(&f->cond, &f->lock);
	for (unsigned i = 0; i < 8; i++) {
		struct ff_open *w = f->writers[i];

		f->writers[i] = NULL;
		if (w && w != o)
			f->writers[kept++] = w;
	}
	pthread_mutex_unlock(&f->lock);
}

void ff_close(struct ff_open *o)
{
	ff_flush(o);
	leave_writers(o->file, o);
	eng_release(o->eng);
	close(o->fd);
	free(o);
}

void ff_forget(struct ff_file *f, bool unlinked)
{
	bool gone;

	eng_release(f->keep);
	f->keep = NULL;
	close(f->keep_fd);
	if (atomic_load(&f->gets))
		eng_object_forgotten(f->obj, unlinked);
	pthread_mutex_lock(&f->lock);
	f->forgotten = true;
	gone = !atomic_load(&f->gets) && !atomic_exchange(&f->destroyed, 1);
	pthread_mutex_unlock(&f->lock);
	if (gone)
		eng_object_destroy(f->obj);
}

/* ---- through the page cache ------------------------------------------------------------------------------------------ */

static int64_t read_engine(struct ff_open *o, void *buf, uint64_t offset, uint64_t length, uint32_t flags)
{
	struct ff_call call;

	ff_call_init(&call);
	if (eng_read(o->eng, &call.req, buf, offset, length, flags)) {
		ssize_t n;

		delay(o->file->ff);
		n = pread(o->fd, buf, length, offset);
		return n < 0 ? -errno : n;
	}
	return ff_call_wait(&call);
}

/* Locks page n, which is not up to date, and the free ones after it, up to the read-ahead. */
static unsigned lock_ahead(struct ff_file *f, unsigned n)
{
	unsigned count = 1;

	while (count < f->readahead && n + count < f->pages &&
	       (uint64_t)(n + count) * FF_PAGE < atomic_load(&f->size)) {
		struct ff_page *p = &f->page[n + count];

		if (pthread_mutex_trylock(&p->lock))
			break;
		if (p->data) {
			pthread_mutex_unlock(&p->lock);
			break;
		}
		count++;
	}
	return count;
}

/* Fills pages [n, n + count), all locked; those after the first are unlocked. */
static int fill_pages(struct ff_open *o, unsigned n, unsigned count)
{
	struct ff_file *f = o->file;
	char *buf = calloc(count, FF_PAGE);
	int64_t got = read_engine(o, buf, (uint64_t)n * FF_PAGE, (uint64_t)count * FF_PAGE, 0);

	delay(f->ff);
	for (unsigned i = 0; i < count; i++) {
		struct ff_page *p = &f->page[n + i];

		if (got >= 0) {
			if (!p->data)
				p->data = malloc(FF_PAGE);
			memcpy(p->data, buf + i * FF_PAGE, FF_PAGE);
			p->uptodate = true;
		}
		if (i)
			pthread_mutex_unlock(&p->lock);
	}
	free(buf);
	return got < 0 ? (int)got : 0;
}

/* Page n, up to date and locked. */
static int get_page(struct ff_open *o, unsigned n)
{
	struct ff_page *p = &o->file->page[n];
	int err;

	pthread_mutex_lock(&p->lock);
	if (p->uptodate)
		return 0;
	err = fill_pages(o, n, lock_ahead(o->file, n));
	if (err)
		pthread_mutex_unlock(&p->lock);
	return err;
}

int ff_load(struct ff_open *o, uint64_t offset, void *buf, uint64_t length)
{
	char *to = buf;

	while (length) {
		unsigned n = offset / FF_PAGE, at = offset % FF_PAGE;
		uint64_t part = FF_PAGE - at < length ? FF_PAGE - at : length;
		int err = get_page(o, n);

		if (err)
			return err;
		memcpy(to, o->file->page[n].data + at, part);
		pthread_mutex_unlock(&o->file->page[n].lock);
		to += part;
		offset += part;
		length -= part;
	}
	return 0;
}

void ff_store(struct ff_open *o, uint64_t offset, const void *buf, uint64_t length)
{
	unsigned n = offset / FF_PAGE;

	ck_assert_uint_le(offset % FF_PAGE + length, FF_PAGE);
	ck_assert_int_eq(get_page(o, n), 0);
	memcpy(o->file->page[n].data + offset % FF_PAGE, buf, length);
	o->file->page[n].dirty = true;
	pthread_mutex_unlock(&o->file->page[n].lock);
}

int64_t ff_read_direct(struct ff_open *o, uint64_t offset, void *buf, uint64_t length)
{
	struct ff_file *f = o->file;

	for (uint64_t n = offset / FF_PAGE; n * FF_PAGE < offset + length; n++) {
		pthread_mutex_lock(&f->page[n].lock);
		clean_page(f, n);
		pthread_mutex_unlock(&f->page[n].lock);
	}
	return read_engine(o, buf, offset, length, ENG_IO_NOCACHE);
}

static int64_t write_engine(struct ff_open *o, const void *buf, uint64_t offset, uint64_t length)
{
	struct ff_call call;

	if (eng_write_begin(o->eng)) {
		ssize_t n = pwrite(o->fd, buf, length, offset);

		n = n < 0 ? -errno : n;
		eng_write_end(o->eng, offset, n > 0 ? n : 0);
		return n;
	}
	ff_call_init(&call);
	eng_write(o->eng, &call.req, buf, offset, length, 0);
	return ff_call_wait(&call);
}

/* The part of a write(2) that lies in one page. */
static int64_t write_one(struct ff_open *o, uint64_t offset, const void *buf, uint64_t length)
{
	struct ff_file *f = o->file;
	struct ff_page *p = &f->page[offset / FF_PAGE];
	bool locked;
	int64_t n;

	pthread_mutex_lock(&p->lock);
	if (!p->data)
		p->data = calloc(1, FF_PAGE);
	memcpy(p->data + offset % FF_PAGE, buf, length);
	p->uptodate |= length == FF_PAGE;
	locked = !p->uptodate;
	if (!locked)
		pthread_mutex_unlock(&p->lock);
	delay(f->ff);
	n = write_engine(o, buf, offset, length);
	if (n > 0 && offset + n > atomic_load(&f->size))
		atomic_store(&f->size, offset + n);
	if (locked)
		pthread_mutex_unlock(&p->lock);
	return n;
}

int64_t ff_write(struct ff_open *o, uint64_t offset, const void *buf, uint64_t length)
{
	const char *from = buf;
	int64_t done = 0, n = 1;

	pthread_mutex_lock(&o->file->inode);
	while (length && n > 0) {
		uint64_t part = FF_PAGE - offset % FF_PAGE;

		if (part > length)
			part = length;
		n = write_one(o, offset, from, part);
		if (n > 0) {
			from += n;
			offset += n;
			length -= n;
			done += n;
		}
	}
	pthread_mutex_unlock(&o->file->inode);
	return done ? done : n;
}

static void flush_range(struct ff_file *f, uint64_t first, uint64_t end)
{
	for (uint64_t n = first; n < end && n < f->pages; n++) {
		pthread_mutex_lock(&f->page[n].lock);
		clean_page(f, n);
		pthread_mutex_unlock(&f->page[n].lock);
	}
}

int ff_flush(struct ff_open *o)
{
	flush_range(o->file, 0, o->file->pages);
	return 0;
}

int ff_fsync(struct ff_open *o)
{
	struct ff_call call;
	int err;

	pthread_mutex_lock(&o->file->inode);
	ff_flush(o);
	ff_call_init(&call);
	eng_fsync(o->eng, &call.req, false);
	err = ff_call_wait(&call);
	pthread_mutex_unlock(&o->file->inode);
	return err;
}

static void hold_writes(struct ff_file *f, bool hold)
{
	pthread_mutex_lock(&f->lock);
	f->nowrite = hold;
	while (hold && f->writes)
		pthread_cond_wait(&f->cond, &f->lock);
	pthread_cond_broadcast(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

/* Drops [offset, end) from the cache; pages at its edges keep the rest. */
static void forget_range(struct ff_file *f, uint64_t offset, uint64_t end)
{
	for (uint64_t n = offset / FF_PAGE; n * FF_PAGE < end && n < f->pages; n++) {
		uint64_t base = n * FF_PAGE, lo = offset > base ? offset : base;
		uint64_t hi = end < base + FF_PAGE ? end : base + FF_PAGE;
		struct ff_page *p = &f->page[n];

		pthread_mutex_lock(&p->lock);
		if (p->data && hi - lo == FF_PAGE)
			drop_page(p);
		else if (p->data)
			memset(p->data + (lo - base), 0, hi - lo);
		pthread_mutex_unlock(&p->lock);
	}
}

int ff_truncate(struct ff_open *o, uint64_t size)
{
	struct ff_file *f = o->file;
	int err;

	pthread_mutex_lock(&f->inode);
	hold_writes(f, true);
	delay(f->ff);
	err = eng_truncate(f->obj, o->fd, size);
	if (!err) {
		uint64_t old = atomic_exchange(&f->size, size);

		hold_writes(f, false);
		if (size < old)
			forget_range(f, size, (uint64_t)f->pages * FF_PAGE);
	} else {
		hold_writes(f, false);
	}
	pthread_mutex_unlock(&f->inode);
	return err;
}

int ff_punch(struct ff_open *o, uint64_t offset, uint64_t length)
{
	struct ff_file *f = o->file;
	struct ff_call call;
	int err;

	pthread_mutex_lock(&f->inode);
	flush_range(f, offset / FF_PAGE, (offset + length + FF_PAGE - 1) / FF_PAGE);
	ff_call_init(&call);
	eng_fallocate(o->eng, &call.req, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
	err = ff_call_wait(&call);
	if (!err)
		forget_range(f, offset, offset + length);
	pthread_mutex_unlock(&f->inode);
	return err;
}

int64_t ff_copy_range(struct ff_open *in, uint64_t from, struct ff_open *out, uint64_t to, uint64_t length)
{
	struct ff_call call;
	int64_t n;

	ff_flush(in);
	pthread_mutex_lock(&out->file->inode);
	flush_range(out->file, to / FF_PAGE, (to + length + FF_PAGE - 1) / FF_PAGE);
	ff_call_init(&call);
	eng_copy_range(in->eng, from, out->eng, to, length, 0, &call.req);
	n = ff_call_wait(&call);
	if (n > 0) {
		for (uint64_t p = to / FF_PAGE; p * FF_PAGE < to + n; p++) {
			pthread_mutex_lock(&out->file->page[p].lock);
			drop_page(&out->file->page[p]);
			pthread_mutex_unlock(&out->file->page[p].lock);
		}
		if (to + n > atomic_load(&out->file->size))
			atomic_store(&out->file->size, to + n);
	}
	pthread_mutex_unlock(&out->file->inode);
	return n;
}

void ff_shrink(struct ff_file *f)
{
	for (unsigned n = 0; n < f->pages; n++) {
		if (pthread_mutex_trylock(&f->page[n].lock))
			continue;
		if (f->page[n].data && f->page[n].uptodate && !f->page[n].dirty)
			drop_page(&f->page[n]);
		pthread_mutex_unlock(&f->page[n].lock);
	}
}

void ff_backing(struct ff_file *f, uint64_t offset, void *buf, uint64_t length)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	ssize_t n = pread(fd, buf, length, offset);

	ck_assert_int_ge(n, 0);
	memset((char *)buf + n, 0, length - n);
	close(fd);
}
