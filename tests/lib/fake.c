/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake.c - answers to ioctls, as a service would give them
 */
#include <config.h>

#include "fake.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct fake fake;

void fake_reset(void)
{
	fake = (struct fake){ .devices = 1 };
}

static int give(int error)
{
	if (error == 0)
		return 0;
	errno = -error;
	return -1;
}

/* Counts ops up to the one that is to fail. */
static int count_ops(uint32_t count, __u32 *done)
{
	for (uint32_t i = 0; i < count; i++, fake.ops++) {
		if (fake.fail_error && fake.ops == fake.fail_op) {
			*done = i;
			return give(fake.fail_error);
		}
	}
	*done = count;
	return 0;
}

static int answer_map(struct dmo_map *map)
{
	for (uint32_t i = 0; i < map->count; i++) {
		if (!(map->ops[i].flags & DMO_MAP_FIXED))
			map->ops[i].va = 0x100000000ull + ((fake.ops + i) << DMO_PAGE_SHIFT);
		fake.mapped_va = map->ops[i].va;
	}
	return count_ops(map->count, &map->done);
}

static int answer_query(struct dmo_query *query)
{
	uint64_t page = query->offset >> DMO_PAGE_SHIFT, room = query->count;
	uint64_t end = query->length ? (query->offset + query->length) >> DMO_PAGE_SHIFT : fake.extents;

	query->count = 0;
	for (; query->count < room && page < end && page < fake.extents; page++) {
		struct dmo_extent *e = &query->extents[query->count++];

		*e = (struct dmo_extent){ .offset = page << DMO_PAGE_SHIFT, .length = DMO_PAGE_SIZE };
		if (page + 1 == fake.extents)
			e->flags = DMO_EXT_LAST;
	}
	query->offset = page << DMO_PAGE_SHIFT;
	fake.ops += query->count;
	return 0;
}

static int answer_device(struct dmo_device_info *info)
{
	uint32_t device = info->device;

	if (device >= fake.devices)
		return give(-ENODEV);
	*info = (struct dmo_device_info){ .device = device, .memory = 32u << 20 };
	snprintf(info->name, sizeof(info->name), "npu%u", device);
	return 0;
}

static int answer_advise(const struct dmo_advise *advise)
{
	if (fake.advices < 8)
		fake.advised[fake.advices] = *advise;
	fake.advices++;
	return give(fake.advise_error);
}

static int answer_migrate(struct dmo_migrate *migrate)
{
	migrate->cookie = 42;
	migrate->done = fake.fail_error ? DMO_PAGE_SIZE : migrate->length;
	migrate->error = fake.fail_error;
	return give(fake.fail_error);
}

static int answer_wait(struct dmo_wait *wait)
{
	wait->done = 8192;
	wait->error = fake.async_error;
	return 0;
}

static int answer(unsigned long request, void *arg)
{
	switch (_IOC_NR(request)) {
	case _IOC_NR(DMO_IOC_DEVICE):
		return answer_device(arg);
	case _IOC_NR(DMO_IOC_KEY):
		((struct dmo_key *)arg)->key = fake.key;
		return 0;
	case _IOC_NR(DMO_IOC_ADVISE):
		return answer_advise(arg);
	case _IOC_NR(DMO_IOC_QUERY(0)):
		return answer_query(arg);
	case _IOC_NR(DMO_IOC_MIGRATE):
		return answer_migrate(arg);
	case _IOC_NR(DMO_IOC_WAIT):
		return answer_wait(arg);
	case _IOC_NR(DMO_IOC_MAP(0)):
		return answer_map(arg);
	case _IOC_NR(DMO_IOC_UNMAP(0)):
		return count_ops(((struct dmo_unmap *)arg)->count, &((struct dmo_unmap *)arg)->done);
	default:
		return give(-ENOTTY);
	}
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (fd != FAKE_FD && !fake.all)
		return (int)syscall(SYS_ioctl, fd, request, arg);
	if (fake.calls < 64)
		fake.request[fake.calls] = request;
	if (fake.calls++ < fake.error_calls)
		return give(fake.call_error);
	return answer(request, arg);
}
