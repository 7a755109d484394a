/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * space.c - device address spaces: their handles, and what is mapped in them
 *
 * The address space itself is the service's; a handle owns the descriptor of the open context and what command.c
 * needs to hand completions to their readers. Mapping calls keep no state and take no lock.
 */
#include "lib.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- handles ---- */

static int init_locks(struct dmo_as *as)
{
	pthread_condattr_t attr;
	int r = pthread_condattr_init(&attr);

	if (r)
		return -r;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	r = pthread_cond_init(&as->arrived, &attr);
	pthread_condattr_destroy(&attr);
	if (r)
		return -r;
	r = pthread_mutex_init(&as->lock, NULL);
	if (r)
		pthread_cond_destroy(&as->arrived);
	return -r;
}

PUBLIC int dmo_as_import(int fd, struct dmo_as **as)
{
	KEEP_ERRNO;
	struct dmo_as *a;
	int r = -ENOMEM;

	if (fd < 0)
		return -EBADF;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->stash_room = READ_BATCH;
	a->stash = calloc(a->stash_room, sizeof(*a->stash));
	if (!a->stash)
		goto no_stash;
	r = init_locks(a);
	if (r < 0)
		goto no_locks;
	a->fd = fd;
	a->next_run = RUN_COOKIE;
	atomic_init(&a->refs, 1);
	*as = a;
	return 0;

no_locks:
	free(a->stash);
no_stash:
	free(a);
	return r;
}

PUBLIC int dmo_as_fd(const struct dmo_as *as)
{
	return as->fd;
}

PUBLIC struct dmo_as *dmo_as_ref(struct dmo_as *as)
{
	atomic_fetch_add(&as->refs, 1);
	return as;
}

PUBLIC void dmo_as_destroy(struct dmo_as *as)
{
	KEEP_ERRNO;

	if (!as || atomic_fetch_sub(&as->refs, 1) != 1)
		return;
	close(as->fd);
	pthread_cond_destroy(&as->arrived);
	pthread_mutex_destroy(&as->lock);
	free(as->stash);
	free(as);
}

/* ---- mappings ---- */

/* One request with up to DMO_MAP_MAX ops; carried gets how many the service did. */
static int map_some(struct dmo_as *as, struct dmo_map_op *ops, unsigned count, unsigned *carried)
{
	union {
		struct dmo_map map;
		char room[sizeof(struct dmo_map) + DMO_MAP_MAX * sizeof(struct dmo_map_op)];
	} request;
	size_t bytes = count * sizeof(*ops);
	int r;

	memset(&request.map, 0, sizeof(request.map));
	request.map.count = count;
	memcpy(request.map.ops, ops, bytes);
	r = sys_ioctl(as->fd, DMO_IOC_MAP(count), &request);
	*carried = r == 0 ? count : request.map.done < count ? request.map.done : 0;
	memcpy(ops, request.map.ops, *carried * sizeof(*ops));
	return r;
}

PUBLIC int dmo_map_batch(struct dmo_as *as, struct dmo_map_op *ops, size_t count, size_t *done)
{
	KEEP_ERRNO;
	size_t at = 0;
	int r = 0;

	while (r == 0 && at < count) {
		unsigned some = count - at < DMO_MAP_MAX ? (unsigned)(count - at) : DMO_MAP_MAX, carried;

		r = map_some(as, ops + at, some, &carried);
		at += carried;
	}
	if (done)
		*done = at;
	return r;
}

static int unmap_some(struct dmo_as *as, const struct dmo_unmap_op *ops, unsigned count, unsigned *carried)
{
	union {
		struct dmo_unmap unmap;
		char room[sizeof(struct dmo_unmap) + DMO_UNMAP_MAX * sizeof(struct dmo_unmap_op)];
	} request;
	int r;

	memset(&request.unmap, 0, sizeof(request.unmap));
	request.unmap.count = count;
	memcpy(request.unmap.ops, ops, count * sizeof(*ops));
	r = sys_ioctl(as->fd, DMO_IOC_UNMAP(count), &request);
	*carried = r == 0 ? count : request.unmap.done < count ? request.unmap.done : 0;
	return r;
}

PUBLIC int dmo_unmap_batch(struct dmo_as *as, const struct dmo_unmap_op *ops, size_t count, size_t *done)
{
	KEEP_ERRNO;
	size_t at = 0;
	int r = 0;

	while (r == 0 && at < count) {
		unsigned some = count - at < DMO_UNMAP_MAX ? (unsigned)(count - at) : DMO_UNMAP_MAX, carried;

		r = unmap_some(as, ops + at, some, &carried);
		at += carried;
	}
	if (done)
		*done = at;
	return r;
}

PUBLIC int dmo_map(struct dmo_as *as, int fd, uint64_t offset, uint64_t length, uint32_t prot, uint32_t flags,
		   uint64_t bits, uint64_t *va)
{
	struct dmo_map_op op = {
		.va = flags & DMO_MAP_FIXED ? *va : 0,
		.length = length,
		.offset = offset,
		.prot = prot,
		.flags = flags,
		.bits = bits,
	};
	uint64_t key;
	int r = dmo_key(fd, &key);

	if (r < 0)
		return r;
	op.key = key;
	r = dmo_map_batch(as, &op, 1, NULL);
	if (r == 0)
		*va = op.va;
	return r;
}

PUBLIC int dmo_as_attach(struct dmo_as *as, int fd, uint32_t prot, uint64_t *va, uint64_t *length)
{
	KEEP_ERRNO;
	struct stat st;
	uint64_t whole;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size == 0)
		return -ENODATA;
	whole = ((uint64_t)st.st_size + DMO_PAGE_SIZE - 1) & ~(uint64_t)(DMO_PAGE_SIZE - 1);
	r = dmo_map(as, fd, 0, whole, prot, 0, 0, va);
	if (r == 0 && length)
		*length = whole;
	return r;
}

PUBLIC int dmo_unmap(struct dmo_as *as, uint64_t va, uint64_t length)
{
	struct dmo_unmap_op op = { .va = va, .length = length };

	return dmo_unmap_batch(as, &op, 1, NULL);
}

PUBLIC int dmo_mirror(struct dmo_as *as, const void *address, size_t length, uint32_t prot, uint64_t bits)
{
	KEEP_ERRNO;
	struct dmo_mirror request = {
		.address = (uintptr_t)address,
		.length = length,
		.prot = prot,
		.bits = bits,
	};

	return sys_ioctl(as->fd, DMO_IOC_MIRROR, &request);
}

PUBLIC int dmo_dev_fault(struct dmo_as *as, uint64_t va, uint64_t length, uint32_t prot)
{
	KEEP_ERRNO;
	struct dmo_fault request = { .va = va, .length = length, .prot = prot };

	return sys_ioctl(as->fd, DMO_IOC_FAULT, &request);
}
