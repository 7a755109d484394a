/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sum_work.c - checksums of many files, computed by a device
 *
 * A worker has a context and takes BATCH files at a time: opens them and asks for their keys, maps all small ones with
 * one request, writes all their commands at once, takes the completions, unmaps with one request. While it
 * waits for the device the other workers open files. A large file follows by itself, mapped as a whole and summed
 * piece by piece with the CRC handed on, so that it never needs more device memory than a piece.
 */
#include "sum.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH 64u
/* A file above this is summed in pieces; pieces get smaller, down to a page, where the device has no room. */
#define PIECE (4ull << 20)

/* POSIX's checksum of no bytes at all. */
#define EMPTY_CRC 0xffffffffu

struct batch {
	struct sum_file *files;
	unsigned count;
	int fd[BATCH];
	struct dmo_map_op op[BATCH];		/* of file of[i] */
	struct dmo_unmap_op unmap[BATCH];
	struct dmo_command command[BATCH];
	unsigned char of[BATCH];
	unsigned mapped;
};

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + DMO_PAGE_SIZE - 1) & ~(uint64_t)(DMO_PAGE_SIZE - 1);
}

/* ---- a batch, step by step ---- */

static int open_file(struct sum_file *file)
{
	struct stat st;
	int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int r;

	if (fd < 0)
		return -errno;
	r = fstat(fd, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? -EISDIR : S_ISREG(st.st_mode) ? 0 : -EINVAL;
	if (r < 0) {
		close(fd);
		return r;
	}
	file->size = (uint64_t)st.st_size;
	file->crc = EMPTY_CRC;
	return fd;
}

/* Opens all; those small enough to go together get an op. */
static void open_all(struct batch *b)
{
	b->mapped = 0;
	for (unsigned i = 0; i < b->count; i++) {
		struct sum_file *file = &b->files[i];
		uint64_t key;

		b->fd[i] = open_file(file);
		if (b->fd[i] < 0)
			file->error = b->fd[i];
		if (b->fd[i] < 0 || file->size == 0 || file->size > PIECE)
			continue;
		file->error = dmo_key(b->fd[i], &key);
		if (file->error)
			continue;
		b->op[b->mapped] = (struct dmo_map_op){
			.length = whole_pages(file->size),
			.key = key,
			.prot = DMO_PROT_READ,
		};
		b->of[b->mapped++] = (unsigned char)i;
	}
}

/* Maps what has an op. An op that fails costs its own file only. */
static void map_all(struct batch *b, struct dmo_as *as)
{
	size_t at = 0, done;

	while (at < b->mapped) {
		int r = dmo_map_batch(as, b->op + at, b->mapped - at, &done);

		at += done;
		if (r == 0)
			return;
		b->files[b->of[at]].error = r;
		b->mapped--;
		memmove(b->op + at, b->op + at + 1, (b->mapped - at) * sizeof(b->op[0]));
		memmove(b->of + at, b->of + at + 1, (b->mapped - at) * sizeof(b->of[0]));
	}
}

static int submit_all(struct batch *b, struct dmo_as *as)
{
	unsigned done = 0;

	for (unsigned i = 0; i < b->mapped; i++) {
		dmo_cmd_cksum(&b->command[i], b->op[i].va, b->files[b->of[i]].size, 0, 0, true);
		b->command[i].cookie = i;
	}
	while (done < b->mapped) {
		int n = dmo_submit(as, b->command + done, b->mapped - done);

		if (n < 0) {
			for (unsigned i = done; i < b->mapped; i++)
				b->files[b->of[i]].error = n;
			return (int)done;
		}
		done += (unsigned)n;
	}
	return (int)done;
}

static void take(struct batch *b, const struct dmo_completion *completion)
{
	struct sum_file *file;

	if (completion->cookie >= b->mapped)
		return;
	file = &b->files[b->of[completion->cookie]];
	file->error = completion->status;
	file->crc = (uint32_t)completion->result[0];
}

static void complete_all(struct batch *b, struct dmo_as *as, int submitted)
{
	struct dmo_completion completions[BATCH];

	while (submitted > 0) {
		int n = dmo_complete(as, completions, BATCH, -1);

		if (n < 0 && n != -EINTR) {
			for (unsigned i = 0; i < b->mapped; i++)
				b->files[b->of[i]].error = n;
			return;
		}
		for (int i = 0; i < n; i++)
			take(b, &completions[i]);
		submitted -= n > 0 ? n : 0;
	}
}

static void unmap_all(struct batch *b, struct dmo_as *as)
{
	for (unsigned i = 0; i < b->mapped; i++)
		b->unmap[i] = (struct dmo_unmap_op){ .va = b->op[i].va, .length = b->op[i].length };
	if (b->mapped)
		dmo_unmap_batch(as, b->unmap, b->mapped, NULL);
}

/* ---- one file in pieces ---- */

static int sum_mapped(struct dmo_as *as, struct sum_file *file, uint64_t va)
{
	uint64_t piece = PIECE, at = 0;
	uint32_t crc = 0;

	while (at < file->size) {
		uint64_t bytes = file->size - at < piece ? file->size - at : piece;
		struct dmo_completion completion;
		struct dmo_command command;
		int r;

		dmo_cmd_cksum(&command, va + at, bytes, crc, at, at + bytes == file->size);
		r = dmo_run(as, &command, &completion);
		if (r == -ENOSPC && piece > DMO_PAGE_SIZE) {
			piece /= 2;
			continue;
		}
		if (r < 0)
			return r;
		crc = (uint32_t)completion.result[0];
		at += bytes;
	}
	file->crc = crc;
	return 0;
}

static int sum_in_pieces(struct dmo_as *as, struct sum_file *file, int fd)
{
	uint64_t va, length = whole_pages(file->size);
	int r = dmo_map(as, fd, 0, length, DMO_PROT_READ, 0, 0, &va);

	if (r < 0)
		return r;
	r = sum_mapped(as, file, va);
	dmo_unmap(as, va, length);
	return r;
}

/* Those too large for a batch, and those for which the device had no room beside the others. */
static void sum_rest(struct batch *b, struct dmo_as *as)
{
	for (unsigned i = 0; i < b->count; i++) {
		struct sum_file *file = &b->files[i];

		if (b->fd[i] < 0)
			continue;
		if ((file->size > PIECE && file->error == 0) || file->error == -ENOSPC)
			file->error = sum_in_pieces(as, file, b->fd[i]);
		close(b->fd[i]);
	}
}

/* ---- workers ---- */

/* Takes the next files; false when there are no more. */
static bool claim(struct sum_work *work, struct batch *b)
{
	size_t left;

	pthread_mutex_lock(&work->lock);
	left = work->stop ? 0 : work->list->count - work->next;
	b->files = work->list->files + work->next;
	b->count = left < BATCH ? (unsigned)left : BATCH;
	work->next += b->count;
	pthread_mutex_unlock(&work->lock);
	return b->count > 0;
}

static void deliver(struct sum_work *work, struct batch *b)
{
	pthread_mutex_lock(&work->lock);
	for (unsigned i = 0; i < b->count; i++)
		b->files[i].done = true;
	pthread_cond_broadcast(&work->changed);
	pthread_mutex_unlock(&work->lock);
}

static void *worker(void *arg)
{
	struct sum_work *work = arg;
	struct batch b;
	struct dmo_as *as;
	int r = dmo_as_create(work->dev, &as);

	if (r == 0)
		dmo_lowat(as, BATCH);		/* it only saves wake-ups */
	while (claim(work, &b)) {
		if (r == 0) {
			open_all(&b);
			map_all(&b, as);
			complete_all(&b, as, submit_all(&b, as));
			unmap_all(&b, as);
			sum_rest(&b, as);
		}
		for (unsigned i = 0; i < b.count && r < 0; i++)
			b.files[i].error = r;
		deliver(work, &b);
	}
	if (r == 0)
		dmo_as_destroy(as);
	return NULL;
}

int sum_work_begin(struct sum_work *work, struct sum_list *list, struct dmo_dev *dev, unsigned threads)
{
	*work = (struct sum_work){
		.list = list,
		.dev = dev,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	for (; work->threads < threads; work->threads++) {
		int r = pthread_create(&work->thread[work->threads], NULL, worker, work);

		if (r && work->threads == 0)
			return -r;
		if (r)
			break;
	}
	return 0;
}

void sum_work_wait(struct sum_work *work, size_t file)
{
	pthread_mutex_lock(&work->lock);
	while (!work->list->files[file].done)
		pthread_cond_wait(&work->changed, &work->lock);
	pthread_mutex_unlock(&work->lock);
}

void sum_work_end(struct sum_work *work)
{
	pthread_mutex_lock(&work->lock);
	work->stop = true;
	pthread_mutex_unlock(&work->lock);
	for (unsigned i = 0; i < work->threads; i++)
		pthread_join(work->thread[i], NULL);
	pthread_cond_destroy(&work->changed);
	pthread_mutex_destroy(&work->lock);
}
