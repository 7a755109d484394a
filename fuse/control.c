/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.c - MOUNT/.dmo: what can be seen and set by reading and writing text
 *
 *	.dmo/info  .dmo/metrics  .dmo/devices/NAME/{context, and the engine's control files}
 *
 * Where the kernel module serves, the devices are its own: context is a link to the device's node, and the other files
 * stand for those in sysfs.
 *
 * The tree is an array, made once and never changed; an entry names its parent. It is reachable by name, not
 * listed in the root. A text is made when the file is opened and read from there, so that a reader sees one
 * moment. The kernel checks modes: contexts have the device's, writable files its write bits.
 */
#include "config.h"

#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "context.h"
#include "kernel.h"
#include "loose.h"
#include "reply.h"

#define TEXT_MAX (1u << 20)
#define FIRST_NUMBER 0x0d30000000000000ULL	/* inode numbers that no store uses */
#define CONTEXT_SIZE (1u << 24)		/* more than any write: the kernel serialises writes beyond the end */

enum what { DIRECTORY, INFO, METRICS, CONTEXT, DEVICE_TEXT, KERNEL_NODE, KERNEL_TEXT };

struct entry {
	struct fs_node node;		/* FS_NODE_CONTROL */
	enum what what;
	const char *name;
	const struct entry *parent;
	struct eng_device *dev;
	unsigned number;		/* of the module's device */
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

struct fs_control {
	struct timespec born;
	unsigned count;
	struct entry entries[];		/* the first is the directory itself */
};

struct text {
	struct fs_loose loose;		/* FS_OPEN_TEXT */
	const struct entry *entry;
	size_t length;
	char *bytes;
	atomic_uint readers;	/* replies under way read bytes until they return, the release may come before */
};

/* ---- the tree ---------------------------------------------------------------------------------------------- */

static struct entry *add(struct fs_control *c, struct entry *parent, const char *name, enum what what, mode_t mode)
{
	struct entry *e = &c->entries[c->count++];

	*e = (struct entry){ .node.kind = FS_NODE_CONTROL, .what = what, .name = name, .parent = parent, .mode = mode,
			     .uid = geteuid(), .gid = getegid() };
	return e;
}

static void add_device(struct fs_control *c, struct entry *devices, struct eng_device *dev)
{
	struct entry *dir = add(c, devices, eng_device_name(dev), DIRECTORY, S_IFDIR | 0555), *e;
	mode_t mode;
	uid_t uid;
	gid_t gid;

	eng_device_owner(dev, &uid, &gid, &mode);
	for (unsigned i = 0; i == 0 || eng_device_files[i - 1]; i++) {
		const char *name = i ? eng_device_files[i - 1] : "context";

		if (!i)
			e = add(c, dir, name, CONTEXT, S_IFREG | (mode & 0777));
		else
			e = add(c, dir, name, DEVICE_TEXT,
				S_IFREG | 0444 | (eng_device_file_writable(name) ? mode & 0222 : 0));
		e->dev = dev;
		e->uid = uid;
		e->gid = gid;
	}
}

static void add_kernel_device(struct fs *fs, struct fs_control *c, struct entry *devices, unsigned number)
{
	const struct fs_kernel_device *d = fs_kernel_device(fs, number);
	struct entry *dir, *e;

	if (!*d->name)		/* it went, and left a gap */
		return;
	dir = add(c, devices, d->name, DIRECTORY, S_IFDIR | 0555);
	add(c, dir, "context", KERNEL_NODE, S_IFLNK | 0777)->number = number;
	for (unsigned i = 0; eng_device_files[i]; i++) {
		bool writable = eng_device_file_writable(eng_device_files[i]);

		if (!strcmp(eng_device_files[i], "inject"))
			continue;
		e = add(c, dir, eng_device_files[i], KERNEL_TEXT, S_IFREG | 0444 | (writable ? d->mode & 0222 : 0));
		e->number = number;
		e->uid = d->uid;
		e->gid = d->gid;
	}
}

int fs_control_start(struct fs *fs)
{
	unsigned files = 0, devices = eng_device_count(fs->eng), of_kernel = fs_kernel_device_count(fs);
	struct entry *top, *list;
	struct fs_control *c;

	while (eng_device_files[files])
		files++;
	c = calloc(1, sizeof(*c) + (4 + (devices + of_kernel) * (2 + files)) * sizeof(struct entry));
	if (!c)
		return -ENOMEM;
	clock_gettime(CLOCK_REALTIME, &c->born);
	top = add(c, NULL, fs->opt->ctl, DIRECTORY, S_IFDIR | 0555);
	add(c, top, "info", INFO, S_IFREG | 0444);
	add(c, top, "metrics", METRICS, S_IFREG | 0444);
	list = add(c, top, "devices", DIRECTORY, S_IFDIR | 0555);
	for (unsigned i = 0; i < devices; i++)
		add_device(c, list, eng_device(fs->eng, i));
	for (unsigned i = 0; i < of_kernel; i++)
		add_kernel_device(fs, c, list, i);
	fs->control = c;
	return 0;
}

void fs_control_stop(struct fs *fs)
{
	free(fs->control);
}

static const struct entry *entry_of(fuse_ino_t ino)
{
	return (const struct entry *)(uintptr_t)ino;
}

static void fill(const struct fs_control *c, const struct entry *e, struct stat *st)
{
	*st = (struct stat){
		.st_ino = FIRST_NUMBER + (e - c->entries), .st_mode = e->mode, .st_uid = e->uid, .st_gid = e->gid,
		.st_nlink = S_ISDIR(e->mode) ? 2 : 1, .st_blksize = 4096, .st_atim = c->born, .st_mtim = c->born,
		.st_ctim = c->born, .st_size = e->what == CONTEXT ? CONTEXT_SIZE : 0,
	};
}

static const struct entry *find(const struct fs_control *c, const struct entry *parent, const char *name)
{
	for (unsigned i = 0; i < c->count; i++)
		if (c->entries[i].parent == parent && !strcmp(c->entries[i].name, name))
			return &c->entries[i];
	return NULL;
}

int fs_control_find(struct fs *fs, fuse_ino_t parent, const char *name, struct fuse_entry_param *e)
{
	const struct entry *found = find(fs->control, parent == FUSE_ROOT_ID ? NULL : entry_of(parent), name);

	if (!found)
		return -ENOENT;
	*e = (struct fuse_entry_param){ .ino = (uintptr_t)found, .generation = 1, .attr_timeout = FS_TIMEOUT,
					.entry_timeout = FS_TIMEOUT };
	fill(fs->control, found, &e->attr);
	return 0;
}

void fs_control_stat(struct fs *fs, fuse_ino_t ino, struct stat *st)
{
	fill(fs->control, entry_of(ino), st);
}

void fs_control_getattr(fuse_req_t req, fuse_ino_t ino)
{
	struct stat st;

	fs_control_stat(fs_of(req), ino, &st);
	fuse_reply_attr(req, &st, FS_TIMEOUT);
}

void fs_control_setattr(fuse_req_t req, fuse_ino_t ino, int valid)
{
	if (valid & ~(FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_CTIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		fuse_reply_err(req, EPERM);
	else
		fs_control_getattr(req, ino);
}

static size_t add_listed(fuse_req_t req, const struct entry *e, char *to, size_t size, off_t next, bool plus)
{
	struct fuse_entry_param param = { .ino = (uintptr_t)e, .generation = 1, .attr_timeout = FS_TIMEOUT,
					  .entry_timeout = FS_TIMEOUT };

	fill(fs_of(req)->control, e, &param.attr);
	if (plus)
		return fuse_add_direntry_plus(req, to, size, e->name, &param, next);
	return fuse_add_direntry(req, to, size, e->name, &param.attr, next);
}

void fs_control_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	const struct fs_control *c = fs_of(req)->control;
	char *out = fs_worker()->block + FS_BLOCK_DATA;
	size_t used = 0, n;

	if (size > fs_of(req)->max_write)
		size = fs_of(req)->max_write;
	for (unsigned i = (unsigned)offset; i < c->count; i++) {
		if (c->entries[i].parent != entry_of(ino))
			continue;
		n = add_listed(req, &c->entries[i], out + used, size - used, i + 1, plus);
		if (n > size - used)
			break;
		used += n;
	}
	fuse_reply_buf(req, out, used);
}

/* ---- texts --------------------------------------------------------------------------------------------------- */

static ssize_t show_info(struct fs *fs, char *buf, size_t size)
{
	return snprintf(buf, size, "version %s\nabi %d\npid %d\nstore %s\nsocket %s\n", VERSION, DMO_ABI_VERSION,
			(int)getpid(), fs->opt->store, fs->socket);
}

static ssize_t show(struct fs *fs, const struct entry *e, char *buf, size_t size)
{
	switch (e->what) {
	case INFO:
		return show_info(fs, buf, size);
	case METRICS:
		return eng_metrics(fs->eng, buf, size);
	case KERNEL_TEXT:
		return fs_kernel_show(fs, e->number, e->name, buf, size);
	default:
		return eng_device_show(e->dev, e->name, buf, size);
	}
}

static void text_free(struct fs_loose *loose)
{
	struct text *text = (struct text *)loose;

	while (atomic_load(&text->readers))
		sched_yield();
	free(text->bytes);
	free(text);
}

static int text_open(struct fs *fs, const struct entry *e, struct text **out)
{
	struct text *text = calloc(1, sizeof(*text));
	ssize_t n;

	if (!text)
		return -ENOMEM;
	text->entry = e;
	text->bytes = malloc(TEXT_MAX);
	n = text->bytes ? show(fs, e, text->bytes, TEXT_MAX) : -ENOMEM;
	if (n < 0) {
		free(text->bytes);
		free(text);
		return (int)n;
	}
	text->length = n < TEXT_MAX ? (size_t)n : TEXT_MAX - 1;
	fs_loose_begin(&text->loose, FS_OPEN_TEXT, text_free);
	*out = text;
	return 0;
}

void fs_control_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct entry *e = entry_of(ino);
	struct text *text = NULL;
	int rc;

	if (e->what == CONTEXT) {
		fs_context_open(req, e->dev, fi);
		return;
	}
	rc = text_open(fs_of(req), e, &text);
	if (rc) {
		fuse_reply_err(req, -rc);
		return;
	}
	fi->fh = (uintptr_t)text;
	if (fs_reply_open(req, fi, FOPEN_DIRECT_IO | FOPEN_NOFLUSH, 0))
		fs_loose_end(&text->loose);
}

void fs_control_release(struct fs *fs, struct fs_open *open)
{
	if (open->kind == FS_OPEN_CONTEXT)
		fs_context_release(fs, open);
	else if (open->kind == FS_OPEN_TEXT)
		fs_loose_end((struct fs_loose *)open);
}

void fs_control_read(struct fs_worker *w, struct fs_open *open, const struct fuse_read_in *arg)
{
	struct text *text = (struct text *)open;
	size_t n = 0;

	if (arg->offset < text->length)
		n = text->length - arg->offset;
	if (n > arg->size)
		n = arg->size;
	atomic_fetch_add(&text->readers, 1);
	fs_reply(w->fd, w->in->unique, 0, text->bytes + (n ? arg->offset : 0), n);
	atomic_fetch_sub(&text->readers, 1);
}

void fs_control_readlink(fuse_req_t req, fuse_ino_t ino)
{
	const struct entry *e = entry_of(ino);
	char path[64];

	if (e->what == KERNEL_NODE)
		fuse_reply_readlink(req, fs_kernel_node(fs_of(req), e->number, path, sizeof(path)));
	else
		fuse_reply_err(req, EINVAL);
}

static void answer_store(struct fs_call *call)
{
	if (!call->req.result)
		call->req.result = call->size;
	fs_call_answer_count(call);
}

void fs_control_write(struct fs_worker *w, struct fs_open *open, const struct fuse_write_in *arg)
{
	struct text *text = (struct text *)open;
	const struct entry *e = text->entry;
	struct fs_call *call;

	if ((e->what != DEVICE_TEXT && e->what != KERNEL_TEXT) || !eng_device_file_writable(e->name)) {
		fs_reply(w->fd, w->in->unique, -EACCES, NULL, 0);
		return;
	}
	call = fs_call_get(w);
	if (!call) {
		fs_reply(w->fd, w->in->unique, -ENOMEM, NULL, 0);
		return;
	}
	call->size = arg->size;
	fs_call_take_block(w, call);
	fs_call_begin(call, answer_store);
	if (e->what == KERNEL_TEXT) {
		fs_kernel_store(w->fs, e->number, e->name, &call->req, call->block + FS_BLOCK_DATA, call->size);
		return;
	}
	eng_device_store(e->dev, e->name, call->block + FS_BLOCK_DATA, call->size, &call->req);
}
