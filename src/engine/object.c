/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * object.c - objects and opens: what is tracked, who keeps whom
 *
 * Most files never meet a device. Until one does, an object is not tracked: reads and writes go straight to the
 * caller's own fd, nothing is recorded. Tracking begins under the lock, then waits for direct writes under way; from
 * then on every block that is absent from the table says "the CPU may hold all of it", which is the truth.
 *
 * A tracked object keeps its inode (inode_get) while mappings, copies on devices or work need it.
 */
#include "engine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int eng_object_create(struct engine *eng, void *inode, struct eng_object **out)
{
	struct eng_object *obj = calloc(1, sizeof(*obj));

	if (!obj)
		return -ENOMEM;
	obj->eng = eng;
	obj->inode = inode;
	obj->fd = obj->direct_fd = -1;
	obj->parked_tail = &obj->parked;
	pthread_mutex_init(&obj->lock, NULL);
	pthread_cond_init(&obj->cond, NULL);
	dmo_list_init(&obj->link);
	dmo_object_init(&obj->core, &eng_mem, 0);
	*out = obj;
	return 0;
}

void eng_object_destroy(struct eng_object *obj)
{
	struct engine *eng = obj->eng;

	pthread_mutex_lock(&eng->lock);
	dmo_list_remove(&obj->link);
	pthread_mutex_unlock(&eng->lock);
	dmo_object_fini(&obj->core);
	if (obj->map)
		munmap(obj->map, obj->map_length);
	if (obj->fd >= 0)
		close(obj->fd);
	if (obj->direct_fd >= 0)
		close(obj->direct_fd);
	pthread_cond_destroy(&obj->cond);
	pthread_mutex_destroy(&obj->lock);
	free(obj);
}

void eng_object_ref(struct eng_object *obj)
{
	if (atomic_fetch_add(&obj->refs, 1) == 0 && obj->eng->fs->inode_get)
		obj->eng->fs->inode_get(obj->inode);
}

/*
 * Nobody works with the object and no context maps it: its fds are given back, so that a store of any size can be gone
 * through. Where no device holds a page of it either it is as if no device ever had. obj->lock held.
 */
static void rest(struct eng_object *obj)
{
	if (obj->map)
		munmap(obj->map, obj->map_length);
	if (obj->fd >= 0)
		close(obj->fd);
	if (obj->direct_fd >= 0)
		close(obj->direct_fd);
	obj->map = NULL;
	obj->fd = obj->direct_fd = -1;
	if (obj->core.copies || obj->core.lost || !dmo_object_idle(&obj->core))
		return;
	dmo_object_forget_blocks(&obj->core);
	obj->core.size = 0;
	atomic_store(&obj->tracked, false);
	atomic_store(&obj->ready, false);
}

/* Copies on devices keep the object by one reference for all of them. Returns how many references to drop besides. */
static unsigned settle_copies(struct eng_object *obj)
{
	unsigned drop = 0;

	pthread_mutex_lock(&obj->lock);
	if (obj->core.copies && !obj->copies_ref) {
		obj->copies_ref = true;
		atomic_fetch_add(&obj->refs, 1);
	} else if (!obj->core.copies && obj->copies_ref) {
		obj->copies_ref = false;
		drop = 1;
	}
	if (atomic_load(&obj->refs) == 1 + drop + obj->copies_ref && !obj->mappings && !obj->barrier)
		rest(obj);
	pthread_mutex_unlock(&obj->lock);
	return drop;
}

/* A file that is gone for good needs no pages: drops them unless a mapping still shows them. */
static void drop_unlinked(struct eng_object *obj)
{
	bool useless;

	pthread_mutex_lock(&obj->lock);
	useless = obj->forgotten && obj->unlinked && !obj->mappings && obj->core.copies;
	pthread_mutex_unlock(&obj->lock);
	if (useless)
		eng_object_discard(obj);
}

void eng_object_unref(struct eng_object *obj)
{
	const struct eng_fs_ops *fs = obj->eng->fs;
	void *inode = obj->inode;
	unsigned drop;

	drop_unlinked(obj);
	drop = settle_copies(obj) + 1;
	if (atomic_fetch_sub(&obj->refs, drop) == drop && fs->inode_put)
		fs->inode_put(inode);
}

void eng_object_forgotten(struct eng_object *obj, bool unlinked)
{
	pthread_mutex_lock(&obj->lock);
	obj->forgotten = true;
	obj->unlinked = unlinked;
	pthread_mutex_unlock(&obj->lock);
	if (unlinked) {
		eng_object_ref(obj);
		eng_object_unref(obj);
	}
}

int eng_object_backing(struct eng_object *obj)
{
	bool writes = !obj->eng->config.read_only;
	int fd = -EROFS;

	pthread_mutex_lock(&obj->lock);
	if (obj->fd >= 0) {
		pthread_mutex_unlock(&obj->lock);
		return 0;
	}
	pthread_mutex_unlock(&obj->lock);
	if (writes)
		fd = obj->eng->fs->open_backing(obj->inode, O_RDWR);
	if (fd < 0) {
		writes = false;
		fd = obj->eng->fs->open_backing(obj->inode, O_RDONLY);
	}
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&obj->lock);
	if (obj->fd < 0) {
		obj->fd = fd;
		obj->fd_writes = writes;
		fd = -1;
	}
	pthread_mutex_unlock(&obj->lock);
	if (fd >= 0)
		close(fd);
	return 0;
}

static void wait_direct_writes(struct eng_object *obj)
{
	while (atomic_load(&obj->direct_writes))
		usleep(20);
}

/* Under the lock: rest() may be about to change it for the last user. */
static bool is_ready(struct eng_object *obj)
{
	bool ready;

	pthread_mutex_lock(&obj->lock);
	ready = atomic_load(&obj->ready);
	pthread_mutex_unlock(&obj->lock);
	return ready;
}

int eng_object_track(struct eng_object *obj)
{
	struct engine *eng = obj->eng;
	struct stat st;
	int err;

	err = eng_object_backing(obj);
	if (err || is_ready(obj))
		return err;
	atomic_store(&obj->tracked, true);
	wait_direct_writes(obj);
	if (fstat(obj->fd, &st))
		return -errno;
	pthread_mutex_lock(&obj->lock);
	if (!atomic_load(&obj->ready) && obj->core.size < (u64)st.st_size)
		obj->core.size = st.st_size;
	atomic_store(&obj->ready, true);
	pthread_mutex_unlock(&obj->lock);
	eng_advice_load(obj);
	pthread_mutex_lock(&eng->lock);
	if (dmo_list_empty(&obj->link))
		dmo_list_append(&eng->objects, &obj->link);
	pthread_mutex_unlock(&eng->lock);
	return 0;
}

/* Somebody opens for writing: pages that CPU and devices shared for reading may now change under the devices. */
static int first_writer(struct eng_object *obj)
{
	struct dmo_block *b;
	int err = 0;

	for (u64 i = 0; !err && (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		u64 shared[DMO_BITS_WORDS];

		dmo_bits_copy(shared, dmo_block_bits(b, DMO_MAPPED));
		if (b->state == DMO_BLOCK_IDLE)		/* while a revocation runs, a clear CPU bit says nothing */
			dmo_bits_and(shared, shared, dmo_block_bits(b, DMO_CPU));
		if (!dmo_bits_any(shared))
			continue;
		b->users++;
		err = dmo_block_open(b);
		if (!err)
			eng_release_pages(b, shared);
		dmo_block_put(b);
	}
	return err;
}

static int count_open(struct eng_object *obj, bool writes)
{
	int err = 0;

	pthread_mutex_lock(&obj->lock);
	obj->forgotten = false;
	if (writes && obj->core.writers++ == 0 && atomic_load(&obj->tracked))
		err = first_writer(obj);
	if (err)
		obj->core.writers--;
	pthread_mutex_unlock(&obj->lock);
	return err;
}

int eng_open(struct eng_object *obj, int fd, int flags, const struct eng_cred *cred, struct eng_file **out)
{
	struct eng_file *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	f->obj = obj;
	f->fd = fd;
	f->reads = (flags & O_ACCMODE) != O_WRONLY;
	f->writes = (flags & O_ACCMODE) != O_RDONLY;
	f->cred = *cred;
	f->wb_seen = obj->wb_seq;
	atomic_store(&f->refs, 1);
	pthread_mutex_init(&f->lock, NULL);
	err = count_open(obj, f->writes);
	if (err) {
		pthread_mutex_destroy(&f->lock);
		free(f);
		return err;
	}
	*out = f;
	return 0;
}

static void free_migrations(struct eng_file *f)
{
	while (f->migrations) {
		struct eng_done *d = f->migrations;

		f->migrations = d->next;
		free(d);
	}
}

void eng_file_put(struct eng_file *f)
{
	if (atomic_fetch_sub(&f->refs, 1) != 1)
		return;
	free_migrations(f);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

void eng_release(struct eng_file *f)
{
	struct eng_object *obj = f->obj;
	void *poll_handle;

	eng_key_drop(f);
	eng_unpin_all(f);
	pthread_mutex_lock(&f->lock);
	poll_handle = f->poll_handle;
	f->poll_handle = NULL;
	pthread_mutex_unlock(&f->lock);
	if (poll_handle)
		obj->eng->fs->poll_forget(poll_handle);
	if (f->writes) {
		pthread_mutex_lock(&obj->lock);
		obj->core.writers--;
		pthread_mutex_unlock(&obj->lock);
	}
	eng_file_put(f);
}

bool eng_object_busy(struct eng_object *obj)
{
	bool busy;

	pthread_mutex_lock(&obj->lock);
	busy = obj->mappings || obj->core.copies;
	pthread_mutex_unlock(&obj->lock);
	return busy;
}

int eng_object_bypass(struct eng_object *obj, int delta)
{
	int err = 0;

	pthread_mutex_lock(&obj->lock);
	if (delta > 0 && (obj->mappings || obj->core.copies))
		err = -EBUSY;
	else
		obj->bypass += delta;
	pthread_mutex_unlock(&obj->lock);
	return err;
}
