/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * object.c - what an object is, where its pages are, and what was advised about them
 *
 * Each call is one ioctl on the caller's fd, except queries and lists of devices, which take as many as the answer
 * needs. Nothing is kept between calls.
 */
#include "lib.h"

#include <string.h>

PUBLIC const char *dmo_version(void)
{
	return PACKAGE_VERSION;
}

PUBLIC int dmo_info(int fd, struct dmo_info *info)
{
	KEEP_ERRNO;
	struct dmo_info got = { 0 };
	int r = sys_ioctl(fd, DMO_IOC_INFO, &got);

	if (r == 0)
		*info = got;
	return r;
}

PUBLIC int dmo_key(int fd, uint64_t *key)
{
	KEEP_ERRNO;
	struct dmo_key got = { 0 };
	int r = sys_ioctl(fd, DMO_IOC_KEY, &got);

	if (r == 0)
		*key = got.key;
	return r;
}

PUBLIC int dmo_device_info(int fd, uint32_t device, struct dmo_device_info *info)
{
	KEEP_ERRNO;
	struct dmo_device_info got = { .device = device };
	int r = sys_ioctl(fd, DMO_IOC_DEVICE, &got);

	if (r < 0)
		return r;
	got.name[DMO_NAME_MAX - 1] = '\0';
	*info = got;
	return 0;
}

PUBLIC int dmo_devices(int fd, struct dmo_device_info *infos, unsigned room)
{
	struct dmo_device_info spare;

	for (unsigned i = 0; i < DMO_DEVICE_HOST; i++) {
		int r = dmo_device_info(fd, i, i < room ? &infos[i] : &spare);

		if (r == -ENODEV)
			return (int)i;
		if (r < 0)
			return r;
	}
	return -EOVERFLOW;
}

PUBLIC int dmo_device_find(int fd, const char *name, uint32_t *device)
{
	struct dmo_device_info info;

	if (strcmp(name, "host") == 0 || strcmp(name, "any") == 0) {
		*device = name[0] == 'h' ? DMO_DEVICE_HOST : DMO_DEVICE_ANY;
		return 0;
	}
	for (uint32_t i = 0; i < DMO_DEVICE_HOST; i++) {
		int r = dmo_device_info(fd, i, &info);

		if (r < 0)
			return r;
		if (strcmp(info.name, name) == 0) {
			*device = i;
			return 0;
		}
	}
	return -ENODEV;
}

/* ---- advice ---- */

static const char *const advice_names[DMO_ADV_COUNT] = {
	[DMO_ADV_NORMAL] = "normal",
	[DMO_ADV_SEQUENTIAL] = "sequential",
	[DMO_ADV_RANDOM] = "random",
	[DMO_ADV_WILLNEED] = "willneed",
	[DMO_ADV_DONTNEED] = "dontneed",
	[DMO_ADV_DISCARD] = "discard",
	[DMO_ADV_COLD] = "cold",
	[DMO_ADV_READ_MOSTLY] = "read-mostly",
	[DMO_ADV_NO_READ_MOSTLY] = "no-read-mostly",
	[DMO_ADV_PREFERRED] = "preferred",
	[DMO_ADV_NO_PREFERRED] = "no-preferred",
	[DMO_ADV_ACCESSED_BY] = "accessed-by",
	[DMO_ADV_NO_ACCESSED_BY] = "no-accessed-by",
	[DMO_ADV_NO_MIGRATE] = "no-migrate",
	[DMO_ADV_MIGRATE] = "migrate",
	[DMO_ADV_GRANULARITY] = "granularity",
	[DMO_ADV_DEVICE_BITS] = "device-bits",
};

PUBLIC const char *dmo_advice_name(unsigned advice)
{
	return advice < DMO_ADV_COUNT ? advice_names[advice] : NULL;
}

static bool same_name(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !(*a == '-' && *b == '_'))
			return false;
	return *a == *b;
}

PUBLIC int dmo_advice_parse(const char *name, enum dmo_advice *advice)
{
	for (unsigned i = 0; i < DMO_ADV_COUNT; i++) {
		if (same_name(advice_names[i], name)) {
			*advice = (enum dmo_advice)i;
			return 0;
		}
	}
	return -EINVAL;
}

PUBLIC int dmo_advise(int fd, uint64_t offset, uint64_t length, enum dmo_advice advice, uint32_t device, uint64_t value)
{
	KEEP_ERRNO;
	struct dmo_advise request = {
		.offset = offset,
		.length = length,
		.advice = advice,
		.device = device,
		.value = value,
	};

	return sys_ioctl(fd, DMO_IOC_ADVISE, &request);
}

/* ---- query ---- */

/* One request of the largest size; on the stack of whoever asks. */
struct query_request {
	union {
		struct dmo_query query;
		char room[sizeof(struct dmo_query) + DMO_QUERY_MAX * sizeof(struct dmo_extent)];
	};
};

/* Sets *next to UINT64_MAX where the range ends with what was answered. */
static int query_once(int fd, uint64_t offset, uint64_t end, struct dmo_extent *extents, unsigned room, uint64_t *next)
{
	struct query_request request = { .query.offset = offset, .query.length = end ? end - offset : 0 };
	struct dmo_query *query = &request.query;
	const struct dmo_extent *last;
	int r;

	if (room > DMO_QUERY_MAX)
		room = DMO_QUERY_MAX;
	query->count = room;
	r = sys_ioctl(fd, DMO_IOC_QUERY(room), query);
	if (r < 0)
		return r;
	if (query->count > room)
		return -EPROTO;
	memcpy(extents, query->extents, query->count * sizeof(*extents));
	last = query->count ? &query->extents[query->count - 1] : NULL;
	if (!last || (last->flags & DMO_EXT_LAST) || query->offset <= offset || (end && query->offset >= end))
		*next = UINT64_MAX;
	else
		*next = query->offset;
	return (int)query->count;
}

PUBLIC int dmo_query(int fd, uint64_t offset, uint64_t length, struct dmo_extent *extents, unsigned room,
		     uint64_t *next)
{
	KEEP_ERRNO;
	uint64_t end = length ? offset + length : 0, at = offset;
	unsigned got = 0;

	if (room == 0)
		return -EINVAL;
	if (length && end < offset)
		return -EOVERFLOW;
	if (room > INT32_MAX)
		room = INT32_MAX;
	do {
		int r = query_once(fd, at, end, extents + got, room - got, &at);

		if (r < 0)
			return r;
		got += (unsigned)r;
	} while (at != UINT64_MAX && got < room);
	if (next)
		*next = at;
	return (int)got;
}

PUBLIC int dmo_query_each(int fd, uint64_t offset, uint64_t length,
			  int (*each)(const struct dmo_extent *extent, void *arg), void *arg)
{
	struct dmo_extent extents[32];
	uint64_t end = length ? offset + length : 0;

	if (length && end < offset)
		return -EOVERFLOW;
	while (offset != UINT64_MAX) {
		int n = dmo_query(fd, offset, end ? end - offset : 0, extents, 32, &offset);

		if (n < 0)
			return n;
		for (int i = 0; i < n; i++) {
			int r = each(&extents[i], arg);

			if (r)
				return r;
		}
	}
	return 0;
}

PUBLIC int dmo_export_dmabuf(int fd, uint64_t offset, uint64_t length, uint32_t device)
{
	KEEP_ERRNO;
	struct dmo_export request = { .offset = offset, .length = length, .device = device, .fd = -1 };
	int r = sys_ioctl(fd, DMO_IOC_EXPORT, &request);

	if (r < 0)
		return r;
	return request.ticket ? socket_fetch(fd, request.ticket) : request.fd;
}
