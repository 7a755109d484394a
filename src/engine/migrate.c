/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * migrate.c - prefetch and evict on request
 *
 * A range is moved block by block, by up to LANES threads that take the next block each; `done` is how far the
 * unbroken beginning of the range came. What a prefetch has brought is promised until it ends. Asynchronous migrations
 * hang on their open file until collected; the last reference to the file is theirs if it is closed meanwhile.
 *
 * Locks: file->lock for the list of migrations and the poll handle.
 */
#include "engine/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define LANES_MAX 8
#define ROUNDS	8	/* of a migration whose pages are evicted again */

struct range {
	struct eng_file *file;
	struct eng_device *dev;		/* NULL: to the host */
	const atomic_bool *cancel;
	struct eng_promise promise;
	u64 first, last;		/* pages; last included */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	u64 next;			/* block to take next */
	u64 failed;			/* lowest block that failed */
	int error;
	unsigned lanes;			/* helpers that still run */
};

struct lane {
	struct eng_work work;
	struct range *range;
};

/* The range's pages of a block. */
static void cut(const struct range *r, u64 index, unsigned *first, unsigned *count)
{
	u64 base = index * DMO_BLOCK_PAGES, end = base + DMO_BLOCK_PAGES - 1;

	*first = r->first > base ? r->first - base : 0;
	*count = (r->last < end ? r->last : end) - base - *first + 1;
}

static int move_block(struct range *r, u64 index)
{
	struct eng_access a = { .obj = r->file->obj, .dev = r->dev, .whole = true, .no_wait = true, .cancel = r->cancel,
				.age = r->promise.age };

	cut(r, index, &a.first, &a.count);
	a.page = index * DMO_BLOCK_PAGES + a.first;
	if (r->cancel && atomic_load(r->cancel))
		return -EINTR;
	if (!r->dev)
		return eng_evict_pages(r->file->obj, index, a.first, a.count);
	return eng_access(&a);
}

static bool take(struct range *r, u64 *index)
{
	bool got;

	pthread_mutex_lock(&r->lock);
	got = !r->error && r->next <= r->last / DMO_BLOCK_PAGES;
	if (got)
		*index = r->next++;
	pthread_mutex_unlock(&r->lock);
	return got;
}

static void move_blocks(struct range *r)
{
	u64 index;

	while (take(r, &index)) {
		int err = move_block(r, index);

		if (!err)
			continue;
		pthread_mutex_lock(&r->lock);
		if (!r->error || index < r->failed) {
			r->error = err;
			r->failed = index;
		}
		pthread_mutex_unlock(&r->lock);
	}
}

static void run_lane(struct eng_work *w)
{
	struct range *r = dmo_container_of(w, struct lane, work)->range;

	move_blocks(r);
	pthread_mutex_lock(&r->lock);
	r->lanes--;
	pthread_cond_signal(&r->cond);
	pthread_mutex_unlock(&r->lock);
}

/* Moves with helpers from the pool, one for each block at most; returns when all have ended. */
static void move_range(struct range *r)
{
	struct engine *eng = r->file->obj->eng;
	struct lane lanes[LANES_MAX];
	u64 blocks = r->last / DMO_BLOCK_PAGES - r->next + 1;
	unsigned n = eng->config.migrate_threads ? eng->config.migrate_threads : 2;

	if (n > LANES_MAX)
		n = LANES_MAX;
	if (n > blocks)
		n = blocks;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->cond, NULL);
	r->lanes = n - 1;
	for (unsigned i = 0; i + 1 < n; i++) {
		lanes[i] = (struct lane){ .work.run = run_lane, .range = r };
		eng_pool_run(&eng->pool, &lanes[i].work);
	}
	move_blocks(r);
	pthread_mutex_lock(&r->lock);
	while (r->lanes)
		pthread_cond_wait(&r->cond, &r->lock);
	pthread_mutex_unlock(&r->lock);
	pthread_cond_destroy(&r->cond);
	pthread_mutex_destroy(&r->lock);
}

/* May this caller take pages of the file from devices? Who may write the file or a device's limit, and root. */
static bool may_evict(struct eng_file *f, const struct eng_cred *cred)
{
	struct engine *eng = f->obj->eng;

	if (f->writes || cred->owner || cred->uid == 0)
		return true;
	for (unsigned i = 0; i < eng->nr_devices; i++) {
		struct eng_device *dev = eng->devices[i];

		if ((cred->uid == dev->uid && (dev->mode & 0200)) || (cred->gid == dev->gid && (dev->mode & 0020)) ||
		    (dev->mode & 0002))
			return true;
	}
	return false;
}

static int target(struct eng_file *f, const struct dmo_migrate *m, struct eng_device **dev)
{
	struct engine *eng = f->obj->eng;
	u32 number = m->device;

	*dev = NULL;
	if (number == DMO_DEVICE_ANY) {
		struct dmo_attr attr;

		pthread_mutex_lock(&f->obj->lock);
		dmo_attrs_get(&f->obj->core.attrs, m->offset >> DMO_PAGE_SHIFT, &attr, NULL);
		pthread_mutex_unlock(&f->obj->lock);
		number = attr.flags & DMO_ATTR_PREFERRED ? attr.preferred : 0;
	}
	if (number == DMO_DEVICE_HOST)
		return 0;
	*dev = eng_device(eng, number);
	return *dev ? 0 : -ENODEV;
}

/* The first block of the range of which the device does not hold every page; one past the last where it does. */
static u64 first_missing(struct range *r)
{
	struct eng_object *obj = r->file->obj;
	u64 index = r->first / DMO_BLOCK_PAGES, pages;

	pthread_mutex_lock(&obj->lock);
	pages = (obj->core.size + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT;
	if (r->last >= pages)		/* cut off meanwhile */
		r->last = pages > r->first ? pages - 1 : r->first;
	for (; index <= r->last / DMO_BLOCK_PAGES && index * DMO_BLOCK_PAGES < pages; index++) {
		struct dmo_block *b = dmo_block_find(&obj->core, index);
		struct dmo_copy *c = b ? dmo_block_copy(b, &r->dev->core) : NULL;
		unsigned first, count;

		cut(r, index, &first, &count);
		if (!c || !dmo_bits_all(dmo_copy_bits(c, DMO_VALID), first, count))
			break;
	}
	if (index * DMO_BLOCK_PAGES >= pages)
		index = r->last / DMO_BLOCK_PAGES + 1;
	pthread_mutex_unlock(&obj->lock);
	return index;
}

static void begin_promise(struct range *r)
{
	struct eng_object *obj = r->file->obj;

	r->promise = (struct eng_promise){ .dev = r->dev, .first = r->first, .last = r->last,
					   .age = atomic_fetch_add(&obj->eng->last_promise, 1) + 1 };
	pthread_mutex_lock(&obj->lock);
	r->promise.next = obj->promises;
	obj->promises = &r->promise;
	pthread_mutex_unlock(&obj->lock);
}

/* It is kept, or can't be: what is there is like any other from now on. */
static void end_promise(struct range *r)
{
	struct eng_object *obj = r->file->obj;
	struct eng_promise **at;

	pthread_mutex_lock(&obj->lock);
	for (at = &obj->promises; *at != &r->promise; at = &(*at)->next)
		;
	*at = r->promise.next;
	pthread_mutex_unlock(&obj->lock);
	pthread_mutex_lock(&r->dev->lock);
	pthread_cond_broadcast(&r->dev->cond);
	pthread_mutex_unlock(&r->dev->lock);
}

/* Moves the range, again where faults took the beginning while the end came. */
static void move_until_there(struct range *r)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		u64 missing;

		move_range(r);
		if (r->error || !r->dev)
			return;
		missing = first_missing(r);
		if (missing > r->last / DMO_BLOCK_PAGES)
			return;
		r->next = r->failed = missing;
	}
	r->error = -ENOSPC;
}

/* More than the device may hold would push its own beginning out again: it is cut. False: so it was. */
static bool cut_to_limit(struct range *r)
{
	u64 limit;

	pthread_mutex_lock(&r->dev->lock);
	limit = r->dev->core.limit;
	pthread_mutex_unlock(&r->dev->lock);
	if (r->last - r->first < limit)
		return true;
	r->last = r->first + (limit ? limit - 1 : 0);
	r->error = limit ? 0 : -ENOSPC;
	r->failed = r->first / DMO_BLOCK_PAGES;
	return false;
}

int eng_migrate(struct eng_file *f, struct dmo_migrate *m, const struct eng_cred *cred, const atomic_bool *cancel)
{
	struct eng_object *obj = f->obj;
	struct range r = { .file = f, .cancel = cancel, .first = m->offset >> DMO_PAGE_SHIFT };
	u64 end, size;
	bool fits;
	int err = f->reads ? eng_object_track(obj) : -EACCES;

	m->done = 0;
	if (!err)
		err = target(f, m, &r.dev);
	if (!err && !r.dev && !may_evict(f, cred))
		err = -EPERM;
	if (!err && r.dev && atomic_load(&r.dev->lost))
		err = -ENODEV;
	m->error = err;
	if (err)
		return err;
	pthread_mutex_lock(&obj->lock);
	size = obj->core.size;
	pthread_mutex_unlock(&obj->lock);
	end = m->length && m->offset + m->length < size ? m->offset + m->length : size;
	if (end <= m->offset)
		return 0;
	r.last = (end - 1) >> DMO_PAGE_SHIFT;
	r.next = r.first / DMO_BLOCK_PAGES;
	fits = r.dev ? cut_to_limit(&r) : true;
	if (r.dev)
		begin_promise(&r);
	move_until_there(&r);
	if (r.dev)
		end_promise(&r);
	if (!fits && end > (r.last + 1) << DMO_PAGE_SHIFT)
		end = (r.last + 1) << DMO_PAGE_SHIFT;
	m->done = end - m->offset;
	if (r.error && (r.failed << DMO_BLOCK_SHIFT) > m->offset)
		m->done = (r.failed << DMO_BLOCK_SHIFT) - m->offset;
	else if (r.error)
		m->done = 0;
	m->error = r.error || fits ? r.error : -ENOSPC;
	return m->error;
}

/* ---- asynchronous ------------------------------------------------------------------------------------------------ */

struct async {
	struct eng_work work;
	struct eng_file *file;
	struct eng_done *done;
	struct dmo_migrate migrate;
	struct eng_cred cred;
};

static void run_async(struct eng_work *w)
{
	struct async *a = dmo_container_of(w, struct async, work);
	struct eng_file *f = a->file;
	struct eng_object *obj = f->obj;
	void *handle;

	eng_migrate(f, &a->migrate, &a->cred, NULL);
	pthread_mutex_lock(&f->lock);
	a->done->result.done = a->migrate.done;
	a->done->result.error = a->migrate.error;
	a->done->over = true;
	handle = f->poll_handle;
	f->poll_handle = NULL;
	pthread_mutex_unlock(&f->lock);
	if (handle) {
		obj->eng->fs->poll_notify(handle);
		obj->eng->fs->poll_forget(handle);
	}
	eng_file_put(f);
	eng_object_unref(obj);
	free(a);
}

int eng_migrate_async(struct eng_file *f, struct dmo_migrate *m, const struct eng_cred *cred)
{
	struct async *a = calloc(1, sizeof(*a));
	struct eng_done *d = calloc(1, sizeof(*d));

	if (!a || !d || !f->reads) {
		free(a);
		free(d);
		return f->reads ? -ENOMEM : -EACCES;
	}
	pthread_mutex_lock(&f->lock);
	d->result.cookie = m->cookie = ++f->last_cookie;
	d->next = f->migrations;
	f->migrations = d;
	pthread_mutex_unlock(&f->lock);
	a->work.run = run_async;
	a->file = f;
	a->done = d;
	a->migrate = *m;
	a->cred = *cred;
	atomic_fetch_add(&f->refs, 1);
	eng_object_ref(f->obj);
	eng_pool_run(&f->obj->eng->pool, &a->work);
	return 0;
}

int eng_migrate_wait(struct eng_file *f, struct dmo_wait *w)
{
	struct eng_done **at, *d = NULL;
	int err = -ENOENT;

	pthread_mutex_lock(&f->lock);
	for (at = &f->migrations; *at; at = &(*at)->next) {
		if (w->cookie && (*at)->result.cookie != w->cookie)
			continue;
		err = -EAGAIN;
		if (!(*at)->over)
			continue;
		d = *at;
		*at = d->next;
		err = 0;
		break;
	}
	if (d)
		*w = (struct dmo_wait){ .cookie = d->result.cookie, .done = d->result.done, .error = d->result.error };
	pthread_mutex_unlock(&f->lock);
	free(d);
	return err;
}

unsigned eng_poll(struct eng_file *f, void *handle)
{
	unsigned events = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
	void *old = NULL;

	pthread_mutex_lock(&f->lock);
	for (struct eng_done *d = f->migrations; d; d = d->next)
		if (d->over)
			events |= POLLPRI;
	if (handle) {
		old = f->poll_handle;
		f->poll_handle = handle;
	}
	pthread_mutex_unlock(&f->lock);
	if (old)
		f->obj->eng->fs->poll_forget(old);
	return events;
}
