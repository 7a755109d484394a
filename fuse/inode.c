/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * inode.c - the table of inodes
 *
 * An inode lives from the kernel's first lookup to its last forget, and on while the engine holds it (pages of it
 * are on a device, a context maps it); a lookup may find it again in that time. It holds one descriptor of the file for that
 * time, so renames, unlinks and hard links need no names here, and (device, number) stays a valid key: a file
 * that is held open does not give up its number.
 *
 * A second descriptor, for I/O, is opened by the first open that needs one and then shared: requests carry their
 * offsets, so one descriptor serves any number of opens, and opening a file again costs nothing. It stays with the
 * inode while fewer than data_fds_max are kept; beyond that the last release closes it (open.c).
 *
 *	(none) --lookup--> known --last forget, not held--> freed
 *			    |  ^--lookup--.
 *			    `--last forget, held--> kept --last put--> freed
 *
 * Locks: a bucket's lock, then nothing; an inode's lock, then nothing. Neither is held over a call of the engine's
 * that may wait; fs_inode_object and eng_open are called under the inode's lock and do not.
 */
#include "config.h"

#include "inode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs.h"
#include "prune.h"

#define BUCKETS (1u << 16)

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	return x;
}

static size_t bucket_of(const struct fs_inodes *t, dev_t dev, ino_t ino)
{
	return mix(ino + 0x9e3779b97f4a7c15ULL * dev) & t->mask;
}

static pthread_mutex_t *lock_of(struct fs_inodes *t, size_t bucket)
{
	return &t->locks[bucket % FS_HASH_LOCKS];
}

static void inode_init(struct fs *fs, struct fs_inode *inode, int fd, const struct stat *st)
{
	*inode = (struct fs_inode){
		.node.kind = FS_NODE_STORE, .type = st->st_mode & S_IFMT, .fd = fd, .fs = fs, .dev = st->st_dev,
		.ino = st->st_ino, .lookups = 1, .backing_id = -1,
	};
	atomic_init(&inode->data_fd, -1);
	inode->object_fd = -1;
	pthread_mutex_init(&inode->lock, NULL);
}

int fs_inodes_start(struct fs *fs, const char *store)
{
	struct fs_inodes *t = &fs->inodes;
	struct rlimit limit;
	struct stat st;
	int fd;

	fd = open(store, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		goto fail;
	t->buckets = calloc(BUCKETS, sizeof(*t->buckets));
	if (!t->buckets)
		goto fail;
	t->mask = BUCKETS - 1;
	for (int i = 0; i < FS_HASH_LOCKS; i++)
		pthread_mutex_init(&t->locks[i], NULL);
	t->data_fds_max = getrlimit(RLIMIT_NOFILE, &limit) ? 256 : limit.rlim_cur / 4;
	inode_init(fs, &t->root, fd, &st);
	return 0;
fail:
	fd = (close(fd), -errno);
	return fd ? fd : -ENOMEM;
}

bool fs_is_control(uint64_t node)
{
	return node != FUSE_ROOT_ID && ((struct fs_node *)(uintptr_t)node)->kind == FS_NODE_CONTROL;
}

struct fs_inode *fs_inode(struct fs *fs, uint64_t node)
{
	return node == FUSE_ROOT_ID ? &fs->inodes.root : (struct fs_inode *)(uintptr_t)node;
}

uint64_t fs_node_id(struct fs *fs, const struct fs_inode *inode)
{
	return inode == &fs->inodes.root ? FUSE_ROOT_ID : (uintptr_t)inode;
}

ino_t fs_inode_number(struct fs *fs, dev_t dev, ino_t ino)
{
	if (dev == fs->inodes.root.dev)
		return ino;
	return ino ^ (mix(dev) << 40);
}

static struct fs_inode *find(struct fs_inodes *t, size_t bucket, dev_t dev, ino_t ino)
{
	struct fs_inode *inode = t->buckets[bucket];

	while (inode && (inode->ino != ino || inode->dev != dev))
		inode = inode->hash_next;
	return inode;
}

static struct fs_inode *find_and_hold(struct fs_inodes *t, size_t bucket, const struct stat *st)
{
	struct fs_inode *inode;

	pthread_mutex_lock(lock_of(t, bucket));
	inode = find(t, bucket, st->st_dev, st->st_ino);
	if (inode)
		inode->lookups++;
	pthread_mutex_unlock(lock_of(t, bucket));
	return inode;
}

/* Puts made into the table, unless another thread was faster: then that one is returned. */
static struct fs_inode *insert(struct fs_inodes *t, size_t bucket, struct fs_inode *made)
{
	struct fs_inode *inode;

	pthread_mutex_lock(lock_of(t, bucket));
	inode = find(t, bucket, made->dev, made->ino);
	if (inode) {
		inode->lookups++;
	} else {
		made->hash_next = t->buckets[bucket];
		t->buckets[bucket] = inode = made;
	}
	pthread_mutex_unlock(lock_of(t, bucket));
	if (inode == made) {
		atomic_fetch_add(&t->count, 1);
		fs_prune_consider(made->fs);
	}
	return inode;
}

struct fs_inode *fs_inode_adopt(struct fs *fs, int fd, const struct stat *st, bool data, bool writable)
{
	struct fs_inodes *t = &fs->inodes;
	size_t bucket = bucket_of(t, st->st_dev, st->st_ino);
	struct fs_inode *inode = find_and_hold(t, bucket, st), *made;

	if (inode) {
		close(fd);
		return inode;
	}
	made = malloc(sizeof(*made));
	if (!made) {
		close(fd);
		return NULL;
	}
	inode_init(fs, made, fd, st);
	if (data) {
		atomic_init(&made->data_fd, fd);
		made->data_writable = writable;
		made->hint = FS_HINT_NONE;
	}
	inode = insert(t, bucket, made);
	if (inode != made) {
		close(fd);
		free(made);
	}
	return inode;
}

static bool is_unlinked(struct fs_inode *inode)
{
	struct stat st;

	return !fstat(inode->fd, &st) && !st.st_nlink;
}

static void inode_free(struct fs_inode *inode)
{
	int data_fd = atomic_load(&inode->data_fd);

	if (inode->object_fd >= 0) {
		close(inode->object_fd);
		atomic_fetch_sub(&inode->fs->inodes.data_fds, 1);
	}
	if (data_fd >= 0 && data_fd != inode->fd) {
		close(data_fd);
		atomic_fetch_sub(&inode->fs->inodes.data_fds, 1);
	}
	close(inode->fd);
	pthread_mutex_destroy(&inode->lock);
	if (inode == &inode->fs->inodes.root)
		return;
	atomic_fetch_sub(&inode->fs->inodes.count, 1);
	free(inode);
}

/*
 * Drops count lookups and some of the engine's holds. Without either the inode leaves the table and is freed.
 * Without lookups, but held, it stays: *forgotten is set when that begins, with a hold for the caller to drop.
 */
static void drop(struct fs_inode *inode, uint64_t lookups, unsigned holds, bool *forgotten)
{
	struct fs_inodes *t = &inode->fs->inodes;
	size_t bucket = bucket_of(t, inode->dev, inode->ino);
	struct fs_inode **link;
	bool last;

	pthread_mutex_lock(lock_of(t, bucket));
	*forgotten = lookups && inode->lookups <= lookups && inode->holds > holds;
	inode->lookups -= lookups < inode->lookups ? lookups : inode->lookups;
	inode->holds -= holds;
	inode->holds += *forgotten;
	last = !inode->lookups && !inode->holds && inode != &t->root;
	if (last) {
		for (link = &t->buckets[bucket]; *link != inode; link = &(*link)->hash_next)
			;
		*link = inode->hash_next;
	}
	pthread_mutex_unlock(lock_of(t, bucket));
	if (!last)
		return;
	if (inode->obj)
		eng_object_destroy(inode->obj);
	inode_free(inode);
}

void fs_inode_forget(struct fs *fs, struct fs_inode *inode, uint64_t count)
{
	bool forgotten;

	if (inode == &fs->inodes.root || !count)
		return;
	drop(inode, count, 0, &forgotten);
	if (!forgotten)
		return;
	eng_object_forgotten(inode->obj, is_unlinked(inode));
	fs_inode_put(inode);
}

void fs_inode_get(void *arg)
{
	struct fs_inode *inode = arg;
	struct fs_inodes *t = &inode->fs->inodes;
	size_t bucket = bucket_of(t, inode->dev, inode->ino);

	pthread_mutex_lock(lock_of(t, bucket));
	inode->holds++;
	pthread_mutex_unlock(lock_of(t, bucket));
}

void fs_inode_put(void *arg)
{
	bool forgotten;

	drop(arg, 0, 1, &forgotten);
}

/* The bucket's inode after that one (NULL: the first), held as by fs_inode_get; NULL: none. That one is held too. */
static struct fs_inode *hold_next(struct fs_inodes *t, size_t bucket, struct fs_inode *after)
{
	struct fs_inode *inode;

	pthread_mutex_lock(lock_of(t, bucket));
	inode = after ? after->hash_next : t->buckets[bucket];
	if (inode)
		inode->holds++;
	pthread_mutex_unlock(lock_of(t, bucket));
	return inode;
}

void fs_inodes_each(struct fs *fs, void (*fn)(struct fs_inode *inode, void *arg), void *arg)
{
	struct fs_inodes *t = &fs->inodes;

	for (size_t b = 0; b <= t->mask; b++) {
		struct fs_inode *inode = hold_next(t, b, NULL), *next;

		for (; inode; inode = next) {
			fn(inode, arg);
			next = hold_next(t, b, inode);
			fs_inode_put(inode);
		}
	}
}

struct wanted {
	ino_t number;
	struct fs_inode *found;
};

static void match_number(struct fs_inode *inode, void *arg)
{
	struct wanted *wanted = arg;
	bool has_object;

	if (wanted->found || fs_inode_number(inode->fs, inode->dev, inode->ino) != wanted->number)
		return;
	pthread_mutex_lock(&inode->lock);
	has_object = inode->obj;
	pthread_mutex_unlock(&inode->lock);
	if (!has_object)
		return;
	fs_inode_get(inode);
	wanted->found = inode;
}

struct eng_object *fs_inode_find_object(struct fs *fs, ino_t number)
{
	struct wanted wanted = { .number = number };

	fs_inodes_each(fs, match_number, &wanted);
	return wanted.found ? wanted.found->obj : NULL;
}

/* The first inode from bucket *b on that the kernel still refers to. */
static struct fs_inode *next_known(struct fs_inodes *t, size_t *b)
{
	struct fs_inode *inode = NULL;

	for (; *b <= t->mask; ++*b) {
		pthread_mutex_lock(lock_of(t, *b));
		for (inode = t->buckets[*b]; inode && !inode->lookups; inode = inode->hash_next)
			;
		pthread_mutex_unlock(lock_of(t, *b));
		if (inode)
			break;
	}
	return inode;
}

void fs_inodes_forget_all(struct fs *fs)
{
	struct fs_inode *inode;
	size_t b = 0;

	while ((inode = next_known(&fs->inodes, &b)))
		fs_inode_forget(fs, inode, inode->lookups);
}

void fs_inodes_stop(struct fs *fs)
{
	struct fs_inodes *t = &fs->inodes;
	struct fs_inode *inode;

	for (size_t b = 0; b <= t->mask; b++)
		while ((inode = t->buckets[b])) {
			t->buckets[b] = inode->hash_next;
			inode_free(inode);
		}
	inode_free(&t->root);
	free(t->buckets);
}

const char *fs_inode_path(const struct fs_inode *inode, char *text)
{
	sprintf(text, "/proc/self/fd/%d", inode->fd);
	return text;
}

int fs_inode_reopen(struct fs_inode *inode, int flags)
{
	char name[16];
	int fd;

	sprintf(name, "%d", inode->fd);
	fd = fs_prune_openat(inode->fs, inode->fs->proc_fd, name, (flags & ~O_NOFOLLOW) | O_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/*
 * Lock held. Writable where the store lets us, so that one descriptor serves every open and the engine. An overlay
 * would copy the whole file for that: there it is opened so when somebody writes.
 */
static int open_data_fd(struct fs_inode *inode, bool writable)
{
	bool later = inode->fs->stacked && !writable;
	int fd = inode->fs->read_only || later ? -EROFS : fs_inode_reopen(inode, O_RDWR);

	inode->data_writable = fd >= 0;
	if (fd < 0 && !writable)
		fd = fs_inode_reopen(inode, O_RDONLY);
	if (fd < 0)
		return fd;
	atomic_store(&inode->data_fd, fd);
	atomic_fetch_add(&inode->fs->inodes.data_fds, 1);
	return fd;
}

/* Lock held. All who share the descriptor can write from now on, or as before nobody. */
static int make_writable(struct fs_inode *inode, int fd)
{
	int made = fs_inode_reopen(inode, O_RDWR);

	if (made < 0)
		return made;
	inode->data_writable = dup3(made, fd, O_CLOEXEC) == fd;
	close(made);
	return inode->data_writable ? fd : -EACCES;
}

int fs_inode_data_fd_locked(struct fs_inode *inode, bool writable)
{
	int fd = atomic_load(&inode->data_fd);

	if (fd < 0)
		return open_data_fd(inode, writable);
	if (!writable || inode->data_writable)
		return fd;
	if (inode->fs->read_only)
		return -EROFS;
	return inode->fs->stacked ? make_writable(inode, fd) : -EACCES;
}

int fs_inode_object(struct fs_inode *inode)
{
	if (inode->obj)
		return 0;
	return eng_object_create(inode->fs->eng, inode, &inode->obj);
}
