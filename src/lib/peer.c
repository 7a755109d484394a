/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * peer.c - one address for the process and its devices
 *
 * A peer mapping is a shared mmap of an object and, in one context or several, a mapping of the same range at the same
 * device addresses. The process's peer mappings are the only global state of the library: a list, ordered by
 * nothing, protected by peers_lock. The lock is held over the mmaps and ioctls of these calls; none of them waits
 * for a command.
 *
 * Each entry owns a duplicate of the object's descriptor (advice needs it when the caller's is closed) and a reference
 * to each context it is mapped in.
 */
#include "lib.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct peer {
	char *address;
	size_t length;		/* whole pages */
	int fd;
	int prot;		/* mmap(2)'s */
	uint64_t offset;	/* in the object */
	unsigned contexts;
	struct dmo_as **as;
	struct peer *next;
};

static struct peer *peers;
static pthread_mutex_t peers_lock = PTHREAD_MUTEX_INITIALIZER;

/* Addresses that were free for the process but not for the context are tried this often. */
#define TRIES 16

static uint32_t device_prot(int prot)
{
	return (prot & PROT_READ ? DMO_PROT_READ : 0) | (prot & PROT_WRITE ? DMO_PROT_WRITE : 0);
}

static int enter(struct dmo_as *as, const struct peer *peer)
{
	uint64_t va = (uintptr_t)peer->address;

	return dmo_map(as, peer->fd, peer->offset, peer->length, device_prot(peer->prot), DMO_MAP_FIXED, 0, &va);
}

/* Maps the peer somewhere in the process that is free in the context too. Addresses tried in vain are held until the
   end, so that the next try gets another. */
static int map_both(struct dmo_as *as, struct peer *peer)
{
	void *tried[TRIES];
	int n, in_vain, r = -EEXIST;

	for (n = 0; n < TRIES && r == -EEXIST; n++) {
		tried[n] = mmap(NULL, peer->length, peer->prot, MAP_SHARED, peer->fd, (off_t)peer->offset);
		if (tried[n] == MAP_FAILED) {
			r = -errno;
			break;
		}
		peer->address = tried[n];
		r = enter(as, peer);
	}
	in_vain = r == 0 ? n - 1 : n;
	for (int i = 0; i < in_vain; i++)
		munmap(tried[i], peer->length);
	return r == -EEXIST ? -ENOMEM : r;
}

static int peer_create(int fd, size_t length, int prot, uint64_t offset, struct peer **peer)
{
	size_t whole = (length + DMO_PAGE_SIZE - 1) & ~(size_t)(DMO_PAGE_SIZE - 1);
	struct peer *p;

	if (length == 0 || whole == 0 || !device_prot(prot) || (prot & ~(PROT_READ | PROT_WRITE)) ||
	    offset % DMO_PAGE_SIZE)
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	*p = (struct peer){ .length = whole, .prot = prot, .offset = offset };
	p->as = calloc(1, sizeof(struct dmo_as *));
	p->fd = p->as ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	if (p->fd < 0) {
		int r = p->as ? -errno : -ENOMEM;

		free(p->as);
		free(p);
		return r;
	}
	*peer = p;
	return 0;
}

static void peer_free(struct peer *peer)
{
	for (unsigned i = 0; i < peer->contexts; i++)
		dmo_as_destroy(peer->as[i]);
	close(peer->fd);
	free(peer->as);
	free(peer);
}

PUBLIC int dmo_peer_map(struct dmo_as *as, int fd, size_t length, int prot, uint64_t offset, void **address)
{
	KEEP_ERRNO;
	struct peer *peer = NULL;
	int r = peer_create(fd, length, prot, offset, &peer);

	if (r < 0)
		return r;
	r = map_both(as, peer);
	if (r < 0) {
		peer_free(peer);
		return r;
	}
	peer->as[peer->contexts++] = dmo_as_ref(as);
	*address = peer->address;
	pthread_mutex_lock(&peers_lock);
	peer->next = peers;
	peers = peer;
	pthread_mutex_unlock(&peers_lock);
	return 0;
}

/* The link that leads to the peer mapping that begins at address, or to the list's end. peers_lock is held. */
static struct peer **find(const void *address)
{
	struct peer **link = &peers;

	while (*link && (*link)->address != address)
		link = &(*link)->next;
	return link;
}

/* peers_lock is held. */
static int join(struct peer *peer, struct dmo_as *as)
{
	struct dmo_as **grown = realloc(peer->as, (peer->contexts + 1) * sizeof(struct dmo_as *));
	int r;

	if (!grown)
		return -ENOMEM;
	peer->as = grown;
	r = enter(as, peer);
	if (r == 0)
		peer->as[peer->contexts++] = dmo_as_ref(as);
	return r;
}

PUBLIC int dmo_peer_join(struct dmo_as *as, void *address)
{
	KEEP_ERRNO;
	struct peer *peer;
	int r = -ENOENT;

	pthread_mutex_lock(&peers_lock);
	peer = *find(address);
	if (peer)
		r = join(peer, as);
	pthread_mutex_unlock(&peers_lock);
	return r;
}

PUBLIC int dmo_peer_unmap(void *address)
{
	KEEP_ERRNO;
	struct peer **link, *peer;

	pthread_mutex_lock(&peers_lock);
	link = find(address);
	peer = *link;
	if (peer)
		*link = peer->next;
	pthread_mutex_unlock(&peers_lock);
	if (!peer)
		return -ENOENT;
	for (unsigned i = 0; i < peer->contexts; i++)
		dmo_unmap(peer->as[i], (uintptr_t)peer->address, peer->length);
	munmap(peer->address, peer->length);
	peer_free(peer);
	return 0;
}

/* ---- advice by address ---- */

/* Advises on the part of a peer mapping that lies in [start, end). advised grows by its bytes. */
static int advise_part(const struct peer *peer, uintptr_t start, uintptr_t end, enum dmo_advice advice, uint32_t device,
		       size_t *advised)
{
	uintptr_t first = (uintptr_t)peer->address, last = first + peer->length;

	if (start > first)
		first = start;
	if (end < last)
		last = end;
	if (first >= last)
		return 0;
	*advised += last - first;
	return dmo_advise(peer->fd, peer->offset + (first - (uintptr_t)peer->address), last - first, advice, device, 0);
}

PUBLIC int dmo_hmadvise(uint32_t device, void *address, size_t length, enum dmo_advice advice)
{
	KEEP_ERRNO;
	uintptr_t start = (uintptr_t)address, end = start + length;
	size_t advised = 0;
	int r = 0;

	if (length == 0 || end < start || (start | end) % DMO_PAGE_SIZE || advice == DMO_ADV_GRANULARITY ||
	    advice == DMO_ADV_DEVICE_BITS)
		return -EINVAL;
	pthread_mutex_lock(&peers_lock);
	for (const struct peer *peer = peers; peer && r == 0; peer = peer->next)
		r = advise_part(peer, start, end, advice, device, &advised);
	pthread_mutex_unlock(&peers_lock);
	return r == 0 && advised < length ? -ENOMEM : r;
}
