/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sum.h - the parts of "dmoctl sum": which files (sum_list.c), their checksums (sum_work.c), the command (sum.c)
 */
#ifndef CTL_SUM_H
#define CTL_SUM_H

#include "ctl.h"

#include <pthread.h>
#include <stddef.h>

struct sum_file {
	char *path;
	uint64_t size;
	uint32_t crc;
	int error;	/* -errno, once done */
	bool done;
};

/* ---- sum_list.c ---- */

struct sum_list {
	struct sum_file *files;
	size_t count, room;
};

/* Adds one path. */
int sum_list_add(struct sum_list *list, const char *path);
/* Adds the regular files below a directory, sorted by their bytes (as LC_ALL=C sort does). CTL_FAILED after messages
   where some directory can't be read; the rest is added all the same. */
int sum_list_add_tree(struct sum_list *list, const char *directory);
void sum_list_free(struct sum_list *list);

/* ---- sum_work.c ---- */

/*
 * Threads that take files in order, many at a time, and compute their sums on a device, each through a context of its
 * own. lock protects next, stop, and of each file everything from size on until done is set.
 */
struct sum_work {
	struct sum_list *list;
	struct dmo_dev *dev;
	pthread_mutex_t lock;
	pthread_cond_t changed;		/* some file is done */
	size_t next;
	bool stop;
	unsigned threads;
	pthread_t thread[64];
};

/* Starts them. 0 or -errno. list and dev stay the caller's, and must live until sum_work_end. */
int sum_work_begin(struct sum_work *work, struct sum_list *list, struct dmo_dev *dev, unsigned threads);
/* Waits for a file's sum. */
void sum_work_wait(struct sum_work *work, size_t file);
void sum_work_end(struct sum_work *work);

#endif
