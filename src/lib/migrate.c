/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * migrate.c - moving ranges between the backing file and devices, and keeping them there
 *
 * An asynchronous migration belongs to the open file it was begun on; the service remembers it until its result was
 * asked for. Here is no state.
 */
#include "lib.h"

#include <poll.h>

PUBLIC int dmo_migrate(int fd, uint64_t offset, uint64_t length, uint32_t device, uint32_t flags,
		       struct dmo_migrate *result)
{
	KEEP_ERRNO;
	struct dmo_migrate request = { .offset = offset, .length = length, .device = device, .flags = flags };
	int r;

	if ((flags & DMO_MIGRATE_ASYNC) && !result)
		return -EINVAL;
	r = sys_ioctl(fd, DMO_IOC_MIGRATE, &request);
	if (result)
		*result = request;
	return r;
}

PUBLIC int dmo_prefetch(int fd, uint64_t offset, uint64_t length, uint32_t device)
{
	return dmo_migrate(fd, offset, length, device, 0, NULL);
}

PUBLIC int dmo_evict(int fd, uint64_t offset, uint64_t length)
{
	return dmo_migrate(fd, offset, length, DMO_DEVICE_HOST, 0, NULL);
}

PUBLIC int dmo_migrate_async(int fd, uint64_t offset, uint64_t length, uint32_t device, uint64_t *cookie)
{
	struct dmo_migrate result;
	int r = dmo_migrate(fd, offset, length, device, DMO_MIGRATE_ASYNC, &result);

	if (r == 0)
		*cookie = result.cookie;
	return r;
}

/* The result of a migration that is over, -EAGAIN where it is not. */
static int look(int fd, struct dmo_wait *request, uint64_t cookie)
{
	int r;

	*request = (struct dmo_wait){ .cookie = cookie };
	r = sys_ioctl(fd, DMO_IOC_WAIT, request);
	return r < 0 ? r : request->error;
}

/*
 * Readiness belongs to the open file, not to one migration: another that is over keeps POLLPRI up, so a wait for a
 * certain one also sleeps a little between looks.
 */
static int sleep_until_ready(int fd, uint64_t cookie, const struct deadline *deadline)
{
	struct timespec nap = { .tv_nsec = 1000000 };
	int r = sys_poll(fd, POLLPRI, deadline_left(deadline));

	if (r == 0)
		return -ETIMEDOUT;
	if (r > 0 && cookie && nanosleep(&nap, NULL) < 0)
		return -errno;
	return r < 0 ? r : 0;
}

PUBLIC int dmo_wait(int fd, uint64_t cookie, int timeout_ms, struct dmo_wait *wait)
{
	KEEP_ERRNO;
	struct dmo_wait request;
	struct deadline deadline;
	int r;

	deadline_set(&deadline, timeout_ms);
	while ((r = look(fd, &request, cookie)) == -EAGAIN && timeout_ms != 0) {
		r = sleep_until_ready(fd, cookie, &deadline);
		if (r < 0)
			return r;
	}
	if (r != -EAGAIN && wait)
		*wait = request;
	return r;
}

PUBLIC int dmo_pin(int fd, uint64_t offset, uint64_t length, uint32_t device, uint64_t *id)
{
	KEEP_ERRNO;
	struct dmo_pin request = { .offset = offset, .length = length, .device = device };
	int r = sys_ioctl(fd, DMO_IOC_PIN, &request);

	if (r == 0)
		*id = request.id;
	return r;
}

PUBLIC int dmo_unpin(int fd, uint64_t id)
{
	KEEP_ERRNO;
	struct dmo_pin request = { .id = id };

	return sys_ioctl(fd, DMO_IOC_UNPIN, &request);
}
