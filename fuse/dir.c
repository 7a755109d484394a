/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dir.c - directories, entry by entry
 *
 * The store's own offsets are handed out, so a position stays good for as long as the store's does. The kernel
 * keeps what it read until it changes the directory itself.
 */
#include "config.h"

#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control.h"
#include "names.h"
#include "open.h"
#include "worker.h"

struct entry {			/* what getdents64(2) gives */
	uint64_t ino;
	int64_t next;
	uint16_t size;
	uint8_t type;
	char name[];
};

static void free_dir(struct fs_loose *loose)
{
	struct fs_dir *dir = (struct fs_dir *)loose;

	close(dir->fd);
	pthread_mutex_destroy(&dir->lock);
	free(dir);
}

void fs_dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs_dir *dir;

	fi->cache_readdir = fi->keep_cache = 1;
	if (fs_is_control(ino)) {
		fi->fh = 0;
		fuse_reply_open(req, fi);
		return;
	}
	dir = malloc(sizeof(*dir));
	if (!dir) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	dir->offset = dir->used = dir->at = 0;
	dir->fd = fs_inode_reopen(fs_inode(fs_of(req), ino), O_RDONLY | O_DIRECTORY);
	if (dir->fd < 0) {
		fuse_reply_err(req, -dir->fd);
		free(dir);
		return;
	}
	pthread_mutex_init(&dir->lock, NULL);
	fs_loose_begin(&dir->loose, FS_OPEN_DIR, free_dir);
	fi->fh = (uintptr_t)dir;
	if (fuse_reply_open(req, fi))
		fs_loose_end(&dir->loose);
}

/* The next entry, NULL at the end, *error set on failure. Lock held. */
static struct entry *peek(struct fs_dir *dir, int *error)
{
	long n;

	if (dir->at < dir->used)
		return (struct entry *)(dir->buf + dir->at);
	n = syscall(SYS_getdents64, dir->fd, dir->buf, sizeof(dir->buf));
	if (n <= 0) {
		*error = n ? errno : 0;
		return NULL;
	}
	dir->at = 0;
	dir->used = n;
	return (struct entry *)dir->buf;
}

static void seek_to(struct fs_dir *dir, off_t offset)
{
	if (offset == dir->offset)
		return;
	lseek(dir->fd, offset, SEEK_SET);
	dir->offset = offset;
	dir->used = dir->at = 0;
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Adds an entry to the answer: the bytes it takes, more than size where it does not fit. */
static size_t add(fuse_req_t req, struct fs_inode *parent, const struct entry *en, char *to, size_t size, bool plus)
{
	struct fs *fs = fs_of(req);
	struct fuse_entry_param e = {
		.attr = { .st_ino = fs_inode_number(fs, parent->dev, en->ino), .st_mode = (mode_t)en->type << 12 },
	};
	size_t used;

	if (!plus)
		return fuse_add_direntry(req, to, size, en->name, &e.attr, en->next);
	if (!is_dot(en->name) && fuse_add_direntry_plus(req, NULL, 0, en->name, NULL, 0) <= size &&
	    fs_names_find(fs, parent, en->name, &e))
		e.ino = 0;
	used = fuse_add_direntry_plus(req, to, size, en->name, &e, en->next);
	if (used > size && e.ino)
		fs_inode_forget(fs, fs_inode(fs, e.ino), 1);
	return used;
}

static void read_dir(fuse_req_t req, struct fs_inode *inode, size_t size, off_t offset, struct fs_dir *dir, bool plus)
{
	char *out = fs_worker()->block + FS_BLOCK_DATA;
	size_t used = 0;
	struct entry *en;
	int error = 0;

	if (size > fs_of(req)->max_write)
		size = fs_of(req)->max_write;
	pthread_mutex_lock(&dir->lock);
	seek_to(dir, offset);
	while ((en = peek(dir, &error))) {
		size_t n = add(req, inode, en, out + used, size - used, plus);

		if (n > size - used)
			break;
		used += n;
		dir->at += en->size;
		dir->offset = en->next;
	}
	pthread_mutex_unlock(&dir->lock);
	if (error && !used)
		fuse_reply_err(req, error);
	else
		fuse_reply_buf(req, out, used);
}

void fs_dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	if (fs_is_control(ino))
		fs_control_readdir(req, ino, size, offset, false);
	else
		read_dir(req, fs_inode(fs_of(req), ino), size, offset, (struct fs_dir *)fs_handle(fi), false);
}

void fs_dir_read_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	if (fs_is_control(ino))
		fs_control_readdir(req, ino, size, offset, true);
	else
		read_dir(req, fs_inode(fs_of(req), ino), size, offset, (struct fs_dir *)fs_handle(fi), true);
}

void fs_dir_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs_dir *dir = (struct fs_dir *)fs_handle(fi);

	if (dir)
		fs_loose_end(&dir->loose);
	fuse_reply_err(req, 0);
}

void fs_dir_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fs_dir *dir = (struct fs_dir *)fs_handle(fi);

	fuse_reply_err(req, dir && (datasync ? fdatasync(dir->fd) : fsync(dir->fd)) ? errno : 0);
}
