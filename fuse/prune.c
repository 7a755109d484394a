/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * prune.c - asks the kernel to forget files that nobody uses, before descriptors run out
 *
 * Each file that the kernel knows costs a descriptor, and the kernel keeps what it has seen for as long as it has
 * memory: going through a tree with more files than descriptors would end in EMFILE. So past half of the limit a
 * thread of its own asks for names back; what the kernel drops comes as FORGET, which closes descriptors. Files that
 * are open, and directories that somebody is in, stay. FORGETs may be slow to come: past 15/16 of the limit a request
 * that opens another file waits for them, for WAIT_MS at most. Where descriptors run out all the same (a listing opens
 * many at once, others than files need some), the open itself waits.
 *
 * Linux 6.18 takes a list of nodes. Before, reconfiguring the mount, with nothing changed, has the same effect, for
 * root. Where neither works it is told once.
 *
 * Lock: prune_lock protects wanted and stop; taken after no other.
 */
#include "config.h"

#include "prune.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "log.h"
#include "mount.h"

#define BATCH 512
#define NOTIFY_PRUNE 9		/* FUSE_NOTIFY_PRUNE of protocol 7.45 */
#define WAIT_MS 5000
#define TRIES 200		/* to get a descriptor ... */
#define TRY_US 10000		/* ... and the time between them */

struct prune_out {		/* struct fuse_notify_prune_out */
	uint32_t count, padding;
	uint64_t spare;
};

static pthread_mutex_t prune_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t prune_cond = PTHREAD_COND_INITIALIZER;
static bool wanted, stop;
static atomic_bool running;			/* the thread is there */
static pthread_t thread;
static atomic_size_t next_at = SIZE_MAX;	/* descriptors in use that wake the thread */
static atomic_size_t most = SIZE_MAX;		/* descriptors in use past which requests wait */
static size_t half;				/* of the limit */

static size_t in_use(struct fs *fs)
{
	return atomic_load(&fs->inodes.count) + atomic_load(&fs->inodes.data_fds);
}

static void want(void)
{
	pthread_mutex_lock(&prune_lock);
	wanted = true;
	pthread_cond_signal(&prune_cond);
	pthread_mutex_unlock(&prune_lock);
}

void fs_prune_consider(struct fs *fs)
{
	if (in_use(fs) >= atomic_load(&next_at))
		want();
}

void fs_prune_wait(struct fs *fs)
{
	for (int ms = 0; in_use(fs) >= atomic_load(&most) && ms < WAIT_MS; ms++) {
		want();
		usleep(1000);
	}
}

int fs_prune_openat(struct fs *fs, int dir, const char *name, int flags, mode_t mode)
{
	int fd = openat(dir, name, flags, mode);

	for (unsigned i = 0; fd < 0 && errno == EMFILE && atomic_load(&running) && i < TRIES; i++) {
		want();
		usleep(TRY_US);
		fd = openat(dir, name, flags, mode);
	}
	return fd;
}

struct nodes {
	uint64_t *ids;
	size_t count, room;
};

static void collect(struct fs_inode *inode, void *arg)
{
	struct nodes *nodes = arg;

	if (nodes->count < nodes->room)
		nodes->ids[nodes->count++] = (uintptr_t)inode;
}

static int send_batch(struct fs *fs, const uint64_t *ids, size_t count)
{
	struct prune_out body = { .count = (uint32_t)count };
	struct fuse_out_header head = { .error = NOTIFY_PRUNE };
	struct iovec iov[3] = { { &head, sizeof(head) }, { &body, sizeof(body) },
				{ (void *)ids, count * sizeof(*ids) } };

	head.len = sizeof(head) + sizeof(body) + count * sizeof(*ids);
	return writev(fuse_session_fd(fs->se), iov, 3) < 0 ? -errno : 0;
}

static int prune_nodes(struct fs *fs)
{
	struct nodes nodes = { .room = atomic_load(&fs->inodes.count) };
	int rc = 0;

	nodes.ids = calloc(nodes.room + 1, sizeof(*nodes.ids));
	if (!nodes.ids)
		return -ENOMEM;
	fs_inodes_each(fs, collect, &nodes);
	for (size_t at = 0; !rc && at < nodes.count; at += BATCH)
		rc = send_batch(fs, nodes.ids + at, nodes.count - at < BATCH ? nodes.count - at : BATCH);
	free(nodes.ids);
	return rc;
}

static int reconfigure(struct fs *fs)
{
	struct fs_mount_id id;
	int fd, rc;

	if (fs_mount_find(fs->opt->mountpoint, &id) || makedev(id.major, id.minor) != fs->dev)
		return 0;
	fd = fspick(AT_FDCWD, fs->opt->mountpoint, FSPICK_CLOEXEC | FSPICK_NO_AUTOMOUNT);
	if (fd < 0)
		return -errno;
	rc = fsconfig(fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) ? -errno : 0;
	close(fd);
	return rc;
}

static void prune(struct fs *fs)
{
	static bool told;
	int rc = prune_nodes(fs);
	size_t now;

	if (rc)
		rc = reconfigure(fs);
	if (rc && !told) {
		fs_log(LOG_WARNING, "the kernel can't be asked to forget files (%s): ulimit -n bounds how many are known",
		       strerror(-rc));
		told = true;
		atomic_store(&most, SIZE_MAX);
	}
	usleep(20000);			/* FORGETs are on their way */
	now = in_use(fs) + half / 8;
	atomic_store(&next_at, now > half ? now : half);
}

static void *prune_thread(void *arg)
{
	struct fs *fs = arg;

	pthread_mutex_lock(&prune_lock);
	while (!stop) {
		if (!wanted) {
			pthread_cond_wait(&prune_cond, &prune_lock);
			continue;
		}
		pthread_mutex_unlock(&prune_lock);
		prune(fs);
		pthread_mutex_lock(&prune_lock);
		wanted = false;
	}
	pthread_mutex_unlock(&prune_lock);
	return NULL;
}

void fs_prune_start(struct fs *fs)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	half = limit.rlim_cur / 2;
	if (pthread_create(&thread, NULL, prune_thread, fs))
		return;
	pthread_setname_np(thread, "dmofs-prune");
	atomic_store(&next_at, half);
	atomic_store(&most, limit.rlim_cur - limit.rlim_cur / 16);
	atomic_store(&running, true);
}

void fs_prune_stop(struct fs *fs)
{
	if (!atomic_exchange(&running, false))
		return;
	atomic_store(&next_at, SIZE_MAX);
	atomic_store(&most, SIZE_MAX);
	pthread_mutex_lock(&prune_lock);
	stop = true;
	pthread_cond_signal(&prune_cond);
	pthread_mutex_unlock(&prune_lock);
	pthread_join(thread, NULL);
}
