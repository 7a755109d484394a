/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kernel.c - the kernel module under the mount
 *
 * Each open has an object's descriptor of its own (fs_file->fd), so that keys, pins and asynchronous migrations die with
 * the open. The module checks what a request says; who asks is known only here, since to the module it is always the
 * service, so rights are checked before a request is handed on, and the module is told whom to charge for what is
 * pinned. A dma-buf's descriptor waits for the caller at the socket (ticket.h).
 *
 *	request --may--> charge --> (at once) ioctl, settle, reply
 *			      `---> (may take long) thread: ioctl, settle, reply
 *
 * Control files of devices are files of sysfs under other names: memory.max is memory/max.
 *
 * Lock: lock protects running; taken after no other.
 */
#include "config.h"

#include "kernel.h"

#include <dmo/ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call.h"
#include "core/abi.h"
#include "cred.h"
#include "ioctl.h"
#include "log.h"
#include "reply.h"

struct fs_kernel {
	int control;
	unsigned count;			/* one more than the highest number in use */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned running;		/* threads that carry out requests */
	struct fs_kernel_device devices[FS_DEVICES_MAX];
};

/* ---- work that may take long ---------------------------------------------------------------------------------------- */

static void ended(struct fs_kernel *k)
{
	pthread_mutex_lock(&k->lock);
	if (!--k->running)
		pthread_cond_broadcast(&k->idle);
	pthread_mutex_unlock(&k->lock);
}

/* Runs it on a thread of its own, or here where none can be had; it calls ended at its end. */
static void run_apart(struct fs_kernel *k, void *(*run)(void *arg), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_mutex_lock(&k->lock);
	k->running++;
	pthread_mutex_unlock(&k->lock);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	if (rc)
		run(arg);
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

const char *fs_kernel_node(const struct fs *fs, unsigned number, char *path, size_t size)
{
	snprintf(path, size, "/dev/dmo/%s", fs->kernel->devices[number].name);
	return path;
}

static int describe(const struct fs_kernel *k, unsigned number, struct dmo_device_info *info)
{
	*info = (struct dmo_device_info){ .device = number };
	return ioctl(k->control, DMO_IOC_DEVICE, info) ? -errno : 0;
}

/* The device of that number, where there is one: numbers may leave gaps. */
static void find_device(struct fs *fs, unsigned number)
{
	struct fs_kernel *k = fs->kernel;
	struct fs_kernel_device *d = &k->devices[number];
	struct dmo_device_info info;
	struct stat st;
	char path[64];

	if (describe(k, number, &info))
		return;
	k->count = number + 1;
	snprintf(d->name, sizeof(d->name), "%s", info.name);
	if (stat(fs_kernel_node(fs, number, path, sizeof(path)), &st))
		return;
	d->mode = st.st_mode & 0777;
	d->uid = st.st_uid;
	d->gid = st.st_gid;
}

int fs_kernel_start(struct fs *fs)
{
	struct fs_kernel *k = calloc(1, sizeof(*k));
	int rc;

	if (!k)
		return -ENOMEM;
	k->control = open(FS_KERNEL_CONTROL, O_RDWR | O_CLOEXEC);
	if (k->control < 0) {
		rc = -errno;
		free(k);
		return rc;
	}
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->idle, NULL);
	fs->kernel = k;
	for (unsigned i = 0; i < FS_DEVICES_MAX; i++)
		find_device(fs, i);
	return 0;
}

void fs_kernel_stop(struct fs *fs)
{
	struct fs_kernel *k = fs->kernel;

	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	while (k->running)
		pthread_cond_wait(&k->idle, &k->lock);
	pthread_mutex_unlock(&k->lock);
	close(k->control);
	pthread_cond_destroy(&k->idle);
	pthread_mutex_destroy(&k->lock);
	free(k);
	fs->kernel = NULL;
}

unsigned fs_kernel_device_count(const struct fs *fs)
{
	return fs->kernel ? fs->kernel->count : 0;
}

const struct fs_kernel_device *fs_kernel_device(const struct fs *fs, unsigned number)
{
	return &fs->kernel->devices[number];
}

/* ---- control files -------------------------------------------------------------------------------------------------- */

static ssize_t show_info(const struct fs *fs, unsigned number, char *buf, size_t size)
{
	struct dmo_device_info i;
	int rc = describe(fs->kernel, number, &i);

	if (rc)
		return rc;
	return snprintf(buf, size, "name %s\nnumber %u\ntype kernel\nmemory %llu\nmemory_type %s\nfaults %s\n"
			"dirty_bits %s\nthreads %u\nlink %llu\nva_start 0x%llx\nva_end 0x%llx\nstate %s\n", i.name, number,
			(unsigned long long)i.memory, i.memory_type == DMO_MEM_COHERENT ? "coherent" : "private",
			i.flags & DMO_DEVICE_FAULTS ? "yes" : "no", i.flags & DMO_DEVICE_DIRTY ? "yes" : "no", i.threads,
			(unsigned long long)i.link, (unsigned long long)i.va_start, (unsigned long long)i.va_end,
			i.flags & DMO_DEVICE_LOST ? "lost" : "online");
}

static int open_text(const struct fs *fs, unsigned number, const char *file, int flags)
{
	char path[128];
	int fd;

	if (strncmp(file, "memory.", 7))
		return -ENOENT;
	snprintf(path, sizeof(path), "/sys/class/misc/dmo-%s/memory/%s", fs->kernel->devices[number].name, file + 7);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

ssize_t fs_kernel_show(const struct fs *fs, unsigned number, const char *file, char *buf, size_t size)
{
	ssize_t n;
	int fd;

	if (!strcmp(file, "info"))
		return show_info(fs, number, buf, size);
	fd = open_text(fs, number, file, O_RDONLY);
	if (fd < 0)
		return fd;
	n = read(fd, buf, size - 1);
	if (n < 0)
		n = -errno;
	else
		buf[n] = 0;
	close(fd);
	return n;
}

struct store {
	struct fs *fs;
	struct eng_req *req;
	const char *text;
	size_t length;
	int fd;
};

static void *run_store(void *arg)
{
	struct store *s = arg;
	struct fs_kernel *k = s->fs->kernel;

	s->req->result = write(s->fd, s->text, s->length) < 0 ? -errno : 0;
	close(s->fd);
	s->req->done(s->req);
	free(s);
	ended(k);
	return NULL;
}

static void fail(struct eng_req *req, int rc)
{
	req->result = rc;
	req->done(req);
}

void fs_kernel_store(struct fs *fs, unsigned number, const char *file, struct eng_req *req, const char *text,
		     size_t length)
{
	int fd = open_text(fs, number, file, O_WRONLY);
	struct store *s = fd < 0 ? NULL : malloc(sizeof(*s));

	if (fd < 0) {
		fail(req, fd);
		return;
	}
	if (!s) {
		close(fd);
		fail(req, -ENOMEM);
		return;
	}
	*s = (struct store){ fs, req, text, length, fd };
	run_apart(fs->kernel, run_store, s);
}

/* ---- objects ----------------------------------------------------------------------------------------------------------- */

int fs_kernel_object(struct fs *fs, int fd, bool read)
{
	struct dmo_object_create create = { .backing = fd, .flags = DMO_CREATE_CLOEXEC | (read ? DMO_CREATE_READ : 0) };

	return ioctl(fs->kernel->control, DMO_IOC_OBJECT_CREATE, &create) ? -errno : create.fd;
}

/* ---- requests by number ---------------------------------------------------------------------------------------------------- */

static bool opened_for_writing(const struct fs_file *file)
{
	return (file->flags & O_ACCMODE) != O_RDONLY;
}

/* Has the caller the right to write limits of some device, and so to evict? */
static bool rules_a_device(const struct fs *fs, const struct eng_cred *cred)
{
	for (unsigned i = 0; i < fs->kernel->count; i++) {
		const struct fs_kernel_device *d = &fs->kernel->devices[i];

		if ((cred->uid == d->uid && d->mode & 0200) || (cred->gid == d->gid && d->mode & 0020) ||
		    d->mode & 0002)
			return true;
	}
	return false;
}

static int may_evict(const struct fs_file *file, const struct eng_cred *cred)
{
	return opened_for_writing(file) || cred->owner || rules_a_device(file->inode->fs, cred) ? 0 : -EPERM;
}

static int may_advise(const struct fs_file *file, const struct dmo_advise *a, const struct eng_cred *cred)
{
	switch (a->advice) {
	case DMO_ADV_WILLNEED:
	case DMO_ADV_DISCARD:
		return 0;		/* the descriptor's mode decides */
	case DMO_ADV_DONTNEED:
		return may_evict(file, cred);
	}
	return opened_for_writing(file) || cred->owner ? 0 : -EACCES;
}

/*
 * What is pinned is charged to who asks, and he can't name another. Of a caller beyond the service's process ids no limit
 * is known.
 */
static int may_charge(unsigned cmd, const void *in, size_t in_size, const struct eng_cred *cred)
{
	const struct dmo_export *export = in;
	const struct dmo_pin *pin = in;
	int err = dmo_abi_check(cmd, in, in_size, DMO_ABI_OBJECT, FS_DEVICES_MAX);

	if (err)
		return err;
	if ((cmd == DMO_IOC_PIN ? pin->flags : export->flags) & DMO_CHARGE_OTHER)
		return -EOPNOTSUPP;
	return cred->pid ? 0 : -EDQUOT;
}

/* What the module would let the service do, and may not let this caller. A request that is no whole one is its to refuse. */
static int may(const struct fs_file *file, unsigned cmd, const void *in, size_t in_size, const struct eng_cred *cred)
{
	const struct dmo_migrate *m = in;

	if (cmd == DMO_IOC_EXPORT && !file->inode->fs->socket[0])
		return -EOPNOTSUPP;
	if (cmd == DMO_IOC_PIN || cmd == DMO_IOC_EXPORT)
		return may_charge(cmd, in, in_size, cred);
	if (in_size < _IOC_SIZE(cmd))
		return 0;
	if (cmd == DMO_IOC_ADVISE)
		return may_advise(file, in, cred);
	if (cmd == DMO_IOC_MIGRATE && m->device == DMO_DEVICE_HOST)
		return may_evict(file, cred);
	return 0;
}

struct job {
	struct fs *fs;
	struct fs_call *call;
	int fd;			/* the object: a copy, which outlives the open */
	unsigned cmd;
	const struct fs_file *file;	/* the open; it may be gone where the request takes long */
	uid_t uid;			/* who asks */
	uint64_t arg[];
};

static bool takes_long(unsigned cmd)
{
	switch (_IOC_NR(cmd)) {
	case _IOC_NR(DMO_IOC_ADVISE):
	case _IOC_NR(DMO_IOC_MIGRATE):
	case _IOC_NR(DMO_IOC_PIN):
	case _IOC_NR(DMO_IOC_UNPIN):
	case _IOC_NR(DMO_IOC_QUERY(0)):
		return true;
	}
	return false;
}

static void charge(struct job *job, const struct eng_cred *cred)
{
	struct dmo_pin *pin = (struct dmo_pin *)job->arg;
	struct dmo_export *export = (struct dmo_export *)job->arg;

	if (job->cmd == DMO_IOC_PIN) {
		pin->flags = DMO_CHARGE_OTHER;
		pin->charge = DMO_CHARGE(cred->pid, cred->uid);
	} else if (job->cmd == DMO_IOC_EXPORT) {
		export->flags = DMO_CHARGE_OTHER;
		export->charge = DMO_CHARGE(cred->pid, cred->uid);
	}
}

static int settle_export(struct job *job, struct dmo_export *export, int rc)
{
	int fd = export->fd;
	uint64_t ticket = 0;

	export->flags = export->charge = 0;
	if (rc)
		return rc;
	export->fd = -1;
	rc = fs_ticket_make(&job->fs->tickets, job->file, job->uid, fd, &ticket);
	export->ticket = ticket;
	if (rc)
		close(fd);
	return rc;
}

/* Makes the module's answer the caller's. The result, which may become another. */
static int settle(struct job *job, int rc)
{
	struct dmo_info *info = (struct dmo_info *)job->arg;
	struct dmo_pin *pin = (struct dmo_pin *)job->arg;

	switch (job->cmd) {
	case DMO_IOC_INFO:
		if (!job->fs->socket[0])
			info->caps &= ~DMO_CAP_DMABUF;
		break;
	case DMO_IOC_PIN:
		pin->flags = pin->charge = 0;
		break;
	case DMO_IOC_EXPORT:
		return settle_export(job, (struct dmo_export *)job->arg, rc);
	}
	return rc;
}

/* The answer's buffer is the job's: it is freed when the answer has been sent. */
static void carry_out(struct job *job)
{
	struct eng_req *req = &job->call->req;
	int rc = ioctl(job->fd, job->cmd, job->arg) ? -errno : 0;

	close(job->fd);
	req->buf = job->arg;
	req->arg[0] = (uintptr_t)job;
	req->result = settle(job, rc);
	req->done(req);
}

static void *run_job(void *arg)
{
	struct job *job = arg;
	struct fs_kernel *k = job->fs->kernel;

	carry_out(job);
	ended(k);
	return NULL;
}

static struct job *job_create(struct fs_file *file, unsigned cmd, const void *in, size_t in_size)
{
	struct job *job = calloc(1, sizeof(*job) + _IOC_SIZE(cmd));

	if (!job)
		return NULL;
	job->fs = file->inode->fs;
	job->cmd = cmd;
	job->file = file;
	job->fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
	if (job->fd < 0) {
		free(job);
		return NULL;
	}
	memcpy(job->arg, in, in_size < _IOC_SIZE(cmd) ? in_size : _IOC_SIZE(cmd));
	return job;
}

void fs_kernel_ioctl(fuse_req_t req, struct fs_file *file, unsigned cmd, const void *in, size_t in_size,
		     size_t out_size)
{
	struct eng_cred cred = fs_cred_of(req, fs_ioctl_owns(req, file->inode));
	int rc = may(file, cmd, in, in_size, &cred);
	struct job *job = rc ? NULL : job_create(file, cmd, in, in_size);

	if (!job) {
		fuse_reply_err(req, rc ? -rc : ENOMEM);
		return;
	}
	job->uid = cred.uid;
	charge(job, &cred);
	job->call = fs_ioctl_call(req, out_size);
	if (!job->call) {
		close(job->fd);
		free(job);
	} else if (takes_long(cmd)) {
		run_apart(job->fs->kernel, run_job, job);
	} else {
		carry_out(job);
	}
}
