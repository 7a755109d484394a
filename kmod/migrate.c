// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * migrate.c - prefetch and evict on request
 *
 * A range is moved block by block; `done` is how far the unbroken beginning of the range came.
 * Asynchronous migrations hang on their open file until collected; the last reference to the file is
 * theirs if it is closed meanwhile.
 */
#include "internal.h"

#define ROUNDS	8	/* of a migration whose pages are evicted again */

struct move_range {
	struct kdm_obj *obj;
	struct dmo_dev *dev;		/* NULL: to the host */
	u64 first, last;		/* pages; last included */
	u64 failed;			/* the first block that failed */
	int error;
};

static int move_block(struct move_range *r, u64 index)
{
	struct kdm_access a = { .obj = r->obj, .dev = r->dev, .whole = true };

	kdm_cut(index, r->first, r->last, &a.first, &a.count);
	a.page = index * DMO_BLOCK_PAGES + a.first;
	if (signal_pending(current))
		return -EINTR;
	if (!r->dev)
		return kdm_evict_pages(r->obj, NULL, index, a.first, a.count);
	return kdm_access(&a);
}

/* The next block from i on that there is to move: for the host, one that the object has; ~0: none. */
static u64 next_block(struct move_range *r, u64 i)
{
	if (r->dev)
		return i;
	mutex_lock(&r->obj->lock);
	if (!dmo_radix_next(&r->obj->core.blocks, &i))
		i = ~0ull;
	mutex_unlock(&r->obj->lock);
	return i;
}

static void move_blocks(struct move_range *r, u64 from)
{
	u64 last = r->last / DMO_BLOCK_PAGES;

	for (u64 i = next_block(r, from); i <= last; i = next_block(r, i + 1)) {
		r->error = move_block(r, i);
		r->failed = i;
		if (r->error)
			return;
		cond_resched();
	}
}

/*
 * The first block of the range of which the device does not hold every page; one past the last where it
 * does.
 */
static u64 first_missing(struct move_range *r)
{
	u64 index = r->first / DMO_BLOCK_PAGES, pages;

	mutex_lock(&r->obj->lock);
	pages = (r->obj->core.size + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT;
	if (r->last >= pages)		/* cut off meanwhile */
		r->last = pages > r->first ? pages - 1 : r->first;
	for (; index <= r->last / DMO_BLOCK_PAGES && index * DMO_BLOCK_PAGES < pages; index++) {
		struct dmo_block *b = dmo_block_find(&r->obj->core, index);
		struct dmo_copy *c = b ? dmo_block_copy(b, &r->dev->core) : NULL;
		unsigned int first, count;

		kdm_cut(index, r->first, r->last, &first, &count);
		if (!c || !dmo_bits_all(dmo_copy_bits(c, DMO_VALID), first, count))
			break;
	}
	if (index * DMO_BLOCK_PAGES >= pages)
		index = r->last / DMO_BLOCK_PAGES + 1;
	mutex_unlock(&r->obj->lock);
	return index;
}

/* Moves the range, again where the beginning was evicted while the end came. */
static void move_until_there(struct move_range *r)
{
	u64 from = r->first / DMO_BLOCK_PAGES;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		move_blocks(r, from);
		if (r->error || !r->dev)
			return;
		from = first_missing(r);
		if (from > r->last / DMO_BLOCK_PAGES)
			return;
		r->failed = from;
	}
	r->error = -ENOSPC;
}

/* More than the device may hold would push its own beginning out again: it is cut. False: so it was. */
static bool cut_to_limit(struct move_range *r)
{
	u64 limit;

	mutex_lock(&r->dev->lock);
	limit = r->dev->core.limit;
	mutex_unlock(&r->dev->lock);
	if (r->last - r->first < limit)
		return true;
	r->last = r->first + (limit ? limit - 1 : 0);
	return false;
}

static int target(struct kdm_obj *obj, const struct dmo_migrate *m, struct dmo_dev **dev)
{
	u32 number = m->device;

	if (number == DMO_DEVICE_ANY) {
		struct dmo_attr attr;

		mutex_lock(&obj->lock);
		dmo_attrs_get(&obj->core.attrs, m->offset >> DMO_PAGE_SHIFT, &attr, NULL);
		mutex_unlock(&obj->lock);
		number = attr.flags & DMO_ATTR_PREFERRED ? attr.preferred : 0;
	}
	*dev = NULL;
	if (number == DMO_DEVICE_HOST)
		return 0;
	*dev = kdm_dev_get(number);
	return *dev ? 0 : -ENODEV;
}

/* How far the beginning came, in bytes from offset. */
static u64 came(const struct move_range *r, u64 offset, u64 end)
{
	if (!r->error)
		return min(end, (r->last + 1) << DMO_PAGE_SHIFT) - offset;
	return (r->failed << DMO_BLOCK_SHIFT) > offset ? (r->failed << DMO_BLOCK_SHIFT) - offset : 0;
}

static int run(struct move_range *r, struct dmo_migrate *m, u64 end)
{
	bool fits;

	r->last = (end - 1) >> DMO_PAGE_SHIFT;
	fits = r->dev ? cut_to_limit(r) : true;
	kdm_obj_track(r->obj);
	mutex_lock(&r->obj->lock);
	kdm_obj_refresh(r->obj);
	mutex_unlock(&r->obj->lock);
	move_until_there(r);
	m->done = came(r, m->offset, end);
	m->error = r->error || fits ? r->error : -ENOSPC;
	return m->error;
}

/* Taking pages from devices is for who may write the file, and for root. */
static bool may_evict(struct kdm_file *f)
{
	return f->writes || capable(CAP_SYS_ADMIN);
}

int kdm_migrate(struct kdm_file *f, struct dmo_migrate *m)
{
	struct move_range r = { .obj = f->obj, .first = m->offset >> DMO_PAGE_SHIFT };
	u64 size = i_size_read(f->obj->backing_inode), end;
	int err = f->reads ? target(f->obj, m, &r.dev) : -EACCES;

	m->done = 0;
	if (!err && !r.dev && !may_evict(f))
		err = -EPERM;
	end = m->length ? min(m->offset + m->length, size) : size;
	if (!err && end > m->offset)
		err = run(&r, m, end);
	if (r.dev)
		kdm_dev_put(r.dev);
	m->error = err;
	return err;
}

/* ---- asynchronous --------------------------------------------------------- */

struct moving {
	struct list_head link;		/* in file->moves, under file->lock */
	struct work_struct work;
	struct kdm_file *file;
	struct dmo_migrate migrate;
	bool over;
};

static void run_async(struct work_struct *work)
{
	struct moving *m = container_of(work, struct moving, work);
	struct kdm_file *f = m->file;

	kdm_migrate(f, &m->migrate);
	mutex_lock(&f->lock);
	m->over = true;
	mutex_unlock(&f->lock);
	wake_up_all(&f->wait);
	kdm_file_put(f);
}

int kdm_migrate_async(struct kdm_file *f, struct dmo_migrate *req)
{
	struct moving *m;

	if (!f->reads)
		return -EACCES;
	if (req->device == DMO_DEVICE_HOST && !may_evict(f))
		return -EPERM;
	m = kzalloc(sizeof(*m), GFP_KERNEL);
	if (!m)
		return -ENOMEM;
	INIT_WORK(&m->work, run_async);
	m->file = f;
	refcount_inc(&f->refs);
	mutex_lock(&f->lock);
	req->cookie = ++f->last_cookie;
	m->migrate = *req;
	list_add(&m->link, &f->moves);
	mutex_unlock(&f->lock);
	queue_work(kdm_wq, &m->work);
	return 0;
}

int kdm_migrate_wait(struct kdm_file *f, struct dmo_wait *w)
{
	struct moving *m, *found = NULL;
	int err = -ENOENT;

	mutex_lock(&f->lock);
	list_for_each_entry(m, &f->moves, link) {
		if (w->cookie && m->migrate.cookie != w->cookie)
			continue;
		err = -EAGAIN;
		if (!m->over)
			continue;
		found = m;
		break;
	}
	if (found)
		list_del(&found->link);
	mutex_unlock(&f->lock);
	if (!found)
		return err;
	*w = (struct dmo_wait){ .cookie = found->migrate.cookie, .done = found->migrate.done,
				.error = found->migrate.error };
	kfree(found);
	return 0;
}

bool kdm_migrate_over(struct kdm_file *f)
{
	struct moving *m;
	bool over = false;

	mutex_lock(&f->lock);
	list_for_each_entry(m, &f->moves, link)
		over |= m->over;
	mutex_unlock(&f->lock);
	return over;
}

/* The last reference is gone: nothing of it runs any more. */
void kdm_migrate_forget(struct kdm_file *f)
{
	struct moving *m, *next;

	list_for_each_entry_safe(m, next, &f->moves, link)
		kfree(m);
}
