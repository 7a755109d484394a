// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * migrate.c - pages that live on devices and what the CPU sees of them: every test for the private and
 * the coherent kind, over fresh memory and over ext4
 */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE	(6 * BLOCK)

static uint32_t (*device)(void);
static int (*object)(uint64_t size);

static uint32_t private_device(void) { return sim(); }
static uint32_t coherent_device(void) { return coherent(); }
static int over_memory(uint64_t size) { return object_over(memfd(size)); }
static int over_ext4(uint64_t size) { return object_over(disk_file(size)); }

/* An object of SIZE with a pattern, all of it on the device. */
static int on_device(uint32_t dev)
{
	int fd = object(SIZE);
	char *at = map(fd, SIZE);

	pattern(at, 0, SIZE, 1);
	eq(migrate(fd, 0, SIZE, dev), 0);
	eq(resident(fd, dev), SIZE);
	sys(munmap(at, SIZE));
	return fd;
}

static void content_survives_the_way_there_and_back(void)
{
	int fd = on_device(device());
	char *at;

	eq(migrate(fd, 0, SIZE, DMO_DEVICE_HOST), 0);
	eq(resident(fd, NONE), 0);
	at = map(fd, SIZE);
	eq(differs(at, 0, SIZE, 1), SIZE);
}

static void a_mapping_made_before_the_move_sees_it_through(void)
{
	uint32_t dev = device();
	int fd = object(SIZE);
	char *at = map(fd, SIZE);

	pattern(at, 0, SIZE, 2);
	for (int i = 0; i < 4; i++) {
		eq(migrate(fd, 0, SIZE, i % 2 ? DMO_DEVICE_HOST : dev), 0);
		eq(differs(at, 0, SIZE, 2 + i), SIZE);
		pattern(at, 0, SIZE, 3 + i);
		eq(differs(at, 0, SIZE, 3 + i), SIZE);
	}
}

static void a_store_after_the_move_is_noticed(void)
{
	uint32_t dev = device();
	int fd = object(SIZE);
	char *at = map(fd, SIZE);

	pattern(at, 0, SIZE, 2);
	eq(migrate(fd, 0, SIZE, dev), 0);
	at[BLOCK] ^= 1;
	if (device == coherent_device)
		yes(extent(fd, BLOCK).flags & DMO_EXT_DIRTY);
	else
		eq(extent(fd, BLOCK).device, DMO_DEVICE_HOST);
}

static void reads_and_writes_reach_the_newest_bytes(void)
{
	int fd = on_device(device());
	char *buf = malloc(SIZE);

	eq(pread(fd, buf, SIZE, 0), SIZE);
	eq(differs(buf, 0, SIZE, 1), SIZE);
	pattern(buf, 0, SIZE, 7);
	eq(pwrite(fd, buf, 3 * PAGE + 8, BLOCK - PAGE + 16), 3 * PAGE + 8);
	eq(migrate(fd, 0, SIZE, DMO_DEVICE_HOST), 0);
	eq(pread(fd, buf + BLOCK, 4 * PAGE, BLOCK - PAGE), 4 * PAGE);
	eq(differs(buf + BLOCK + 16, 0, 3 * PAGE + 8, 7), 3 * PAGE + 8);
	eq(differs(buf + BLOCK, BLOCK - PAGE, 16, 1), 16);
}

static void odd_offsets_and_lengths_are_written_exactly(void)
{
	int fd = on_device(device());
	char *model = malloc(SIZE), *at;

	pattern(model, 0, SIZE, 1);
	srand(1);
	for (int i = 0; i < 300; i++) {
		size_t from = rand() % (SIZE - 20000), n = 1 + rand() % 20000;

		memset(model + from, i, n);
		eq(pwrite(fd, model + from, n, from), n);
		if (i % 50 == 49)
			eq(migrate(fd, 0, SIZE, i % 100 == 99 ? device() : DMO_DEVICE_HOST), 0);
	}
	at = map(fd, SIZE);
	eq(memcmp(at, model, SIZE), 0);
}

static void msync_puts_the_bytes_into_the_backing_file(void)
{
	int back = object == over_ext4 ? disk_file(SIZE) : memfd(SIZE), fd = object_over(back);
	char *at = map(fd, SIZE), *buf = malloc(SIZE);

	eq(migrate(fd, 0, SIZE, device()), 0);
	pattern(at, 0, SIZE, 5);
	if (device == private_device)
		eq(migrate(fd, 0, SIZE, device()), 0);
	sys(msync(at, SIZE, MS_SYNC));
	eq(pread(back, buf, SIZE, 0), SIZE);
	eq(differs(buf, 0, SIZE, 5), SIZE);
	at[9] ^= 1;			/* what was clean is noticed again */
	sys(fsync(fd));
	eq(pread(back, buf, 16, 0), 16);
	eq(buf[9], at[9]);
}

static void a_private_copy_stays_its_owner_s(void)
{
	int fd = on_device(device());
	char *own = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), *at = map(fd, SIZE);

	yes(own != MAP_FAILED);
	pattern(own, 0, BLOCK, 9);
	eq(differs(at, 0, SIZE, 1), SIZE);
	eq(migrate(fd, 0, SIZE, DMO_DEVICE_HOST), 0);
	eq(differs(own, 0, BLOCK, 9), BLOCK);
	eq(migrate(fd, 0, SIZE, device()), 0);
	eq(differs(own, 0, BLOCK, 9), BLOCK);
	eq(differs(own + BLOCK, BLOCK, BLOCK, 1), BLOCK);
}

static void a_punched_range_reads_as_zeros_everywhere(void)
{
	int fd = on_device(device());
	char *at = map(fd, SIZE), zero[PAGE] = { 0 };

	at[BLOCK] ^= 0;
	sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BLOCK + 100, 2 * PAGE));
	eq(differs(at, 0, BLOCK + 96, 1), BLOCK + 96);
	eq(memcmp(at + BLOCK + 100, zero, PAGE), 0);
	eq(memcmp(at + BLOCK + 100 + PAGE, zero, PAGE), 0);
	eq(differs(at + BLOCK + 2 * PAGE + 104, BLOCK + 2 * PAGE + 104, BLOCK, 1), BLOCK);
	sys(madvise(at + 3 * BLOCK, PAGE, MADV_REMOVE));
	eq(memcmp(at + 3 * BLOCK, zero, PAGE), 0);
}

static void a_truncated_tail_is_gone_for_good(void)
{
	int fd = on_device(device());
	char *at = map(fd, SIZE), zero[100] = { 0 };

	sys(ftruncate(fd, BLOCK + 100));
	eq(resident(fd, NONE) <= BLOCK + PAGE, 1);
	sys(ftruncate(fd, SIZE));
	eq(differs(at, 0, BLOCK + 96, 1), BLOCK + 96);
	eq(memcmp(at + BLOCK + 100, zero, 100), 0);
	eq(memcmp(at + 2 * BLOCK, zero, 100), 0);
}

static void direct_io_goes_into_pages_of_the_device(void)
{
	int fd = on_device(device()), disk = disk_file(BLOCK), direct;
	char *at = map(fd, SIZE), path[64];
	char *buf = malloc(BLOCK);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
	direct = open(path, O_RDWR | O_DIRECT);
	sys(direct);
	eq(pwrite(direct, at, BLOCK, 0), BLOCK);
	eq(pread(disk, buf, BLOCK, 0), BLOCK);
	eq(differs(buf, 0, BLOCK, 1), BLOCK);
	eq(pread(direct, at + 2 * BLOCK, BLOCK, 0), BLOCK);
	eq(differs(at + 2 * BLOCK, 0, BLOCK, 1), BLOCK);
	eq(migrate(fd, 0, SIZE, DMO_DEVICE_HOST), 0);
	eq(differs(at + 2 * BLOCK, 0, BLOCK, 1), BLOCK);
}

static void a_child_shares_what_its_parent_mapped(void)
{
	int fd = on_device(device()), status;
	char *at = map(fd, SIZE);
	pid_t pid;

	eq(differs(at, 0, SIZE, 1), SIZE);
	pid = fork();
	if (!pid) {
		eq(migrate(fd, 0, SIZE, DMO_DEVICE_HOST), 0);
		pattern(at, 0, SIZE, 2);
		eq(migrate(fd, 0, SIZE, device()), 0);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	eq(status, 0);
	eq(differs(at, 0, SIZE, 2), SIZE);
}

static void mremap_takes_the_pages_along(void)
{
	int fd = on_device(device());
	char *at = map(fd, SIZE), *other;

	eq(differs(at, 0, BLOCK, 1), BLOCK);
	other = mremap(at, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, (char *)0x700000000000);
	yes(other != MAP_FAILED);
	eq(differs(other, 0, SIZE, 1), SIZE);
	eq(migrate(fd, 0, SIZE, DMO_DEVICE_HOST), 0);
	eq(differs(other, 0, SIZE, 1), SIZE);
}

static void a_mapping_outlives_its_descriptor(void)
{
	int fd = on_device(device());
	char *at = map(fd, SIZE);

	close(fd);
	eq(differs(at, 0, SIZE, 1), SIZE);
	pattern(at, 0, SIZE, 2);
	sys(munmap(at, BLOCK));
	eq(differs(at + BLOCK, BLOCK, SIZE - BLOCK, 2), SIZE - BLOCK);
}

static void the_last_close_writes_back(void)
{
	int back = memfd(SIZE), fd = object_over(back);
	char *at = map(fd, SIZE), *buf = malloc(SIZE);

	eq(migrate(fd, 0, SIZE, device()), 0);
	pattern(at, 0, SIZE, 3);
	eq(migrate(fd, 0, SIZE, device()), 0);
	sys(munmap(at, SIZE));
	close(fd);
	eq(pread(back, buf, SIZE, 0), SIZE);
	eq(differs(buf, 0, SIZE, 3), SIZE);
}

static void an_asynchronous_migration_is_polled_for(void)
{
	int fd = object(SIZE);
	struct dmo_migrate m = { .length = SIZE, .device = device(), .flags = DMO_MIGRATE_ASYNC };
	struct pollfd p = { .fd = fd, .events = POLLPRI };
	struct dmo_wait w = { 0 };

	fails(ioctl(fd, DMO_IOC_WAIT, &w), ENOENT);
	sys(ioctl(fd, DMO_IOC_MIGRATE, &m));
	eq(poll(&p, 1, 60000), 1);
	w.cookie = m.cookie;
	sys(ioctl(fd, DMO_IOC_WAIT, &w));
	eq(w.error, 0);
	eq(w.done, SIZE);
	eq(resident(fd, device()), SIZE);
}

static void a_lease_keeps_the_pages_there(void)
{
	uint32_t dev = device();
	int fd = object(SIZE);
	struct dmo_pin pin = { .offset = BLOCK, .length = BLOCK, .device = dev };

	sys(ioctl(fd, DMO_IOC_PIN, &pin));
	yes(extent(fd, BLOCK).flags & DMO_EXT_PINNED);
	eq(migrate(fd, 0, SIZE, DMO_DEVICE_HOST), -EBUSY);
	eq(resident(fd, dev), BLOCK);
	sys(ioctl(fd, DMO_IOC_UNPIN, &pin));
	fails(ioctl(fd, DMO_IOC_UNPIN, &pin), ENOENT);
	eq(migrate(fd, 0, SIZE, DMO_DEVICE_HOST), 0);
	eq(resident(fd, NONE), 0);
	pin.length = 2 * SIZE;
	fails(ioctl(fd, DMO_IOC_PIN, &pin), EINVAL);
	pin.device = DMO_DEVICE_HOST;
	fails(ioctl(fd, DMO_IOC_PIN, &pin), EINVAL);
	pin.device = 62;
	fails(ioctl(fd, DMO_IOC_PIN, &pin), ENODEV);
}

static void a_lease_ends_with_its_descriptor(void)
{
	int back = memfd(SIZE), fd = object_over(back), other = object_over(back);
	struct dmo_pin pin = { .length = SIZE, .device = device() };

	sys(ioctl(fd, DMO_IOC_PIN, &pin));
	eq(migrate(other, 0, SIZE, DMO_DEVICE_HOST), -EBUSY);
	close(fd);
	eq(migrate(other, 0, SIZE, DMO_DEVICE_HOST), 0);
}

static void a_killed_process_leaves_nothing(void)
{
	uint32_t dev = device();
	struct dmo_device_info info;
	uint64_t used;

	device_info(dev, &info);
	used = info.used;
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (!pid) {
			int fd = fresh(SIZE);
			char *at = map(fd, SIZE);

			for (;;) {
				memset(at, 1, SIZE);
				migrate(fd, 0, SIZE, dev);
			}
		}
		usleep(3000 * (i + 1));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	for (int i = 0; i < 200; i++) {
		device_info(dev, &info);
		if (info.used == used)
			return;
		usleep(20000);
	}
	eq(info.used, used);
}

static void moves_race_with_stores_and_no_store_is_lost(void)
{
	uint32_t dev = device();
	int fd = object(2 * BLOCK);
	uint64_t *at = map(fd, 2 * BLOCK);
	pid_t pid = fork();

	if (!pid)
		for (;;) {
			migrate(fd, 0, 2 * BLOCK, dev);
			migrate(fd, 0, 2 * BLOCK, DMO_DEVICE_HOST);
		}
	for (uint64_t round = 1; round <= 60; round++)
		for (unsigned page = 0; page < 2 * BLOCK / PAGE; page += 7) {
			volatile uint64_t *w = &at[page * PAGE / 8 + page % 500];

			eq(*w, round - 1);
			*w = round;
			eq(*w, round);
		}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static const struct test tests[] = {
	T(content_survives_the_way_there_and_back), T(a_mapping_made_before_the_move_sees_it_through),
	T(a_store_after_the_move_is_noticed), T(reads_and_writes_reach_the_newest_bytes), T(odd_offsets_and_lengths_are_written_exactly),
	T(msync_puts_the_bytes_into_the_backing_file), T(a_private_copy_stays_its_owner_s),
	T(a_punched_range_reads_as_zeros_everywhere), T(a_truncated_tail_is_gone_for_good),
	T(direct_io_goes_into_pages_of_the_device), T(a_child_shares_what_its_parent_mapped),
	T(mremap_takes_the_pages_along), T(a_mapping_outlives_its_descriptor), T(the_last_close_writes_back),
	T(an_asynchronous_migration_is_polled_for), T(a_lease_keeps_the_pages_there),
	T(a_lease_ends_with_its_descriptor), T(a_killed_process_leaves_nothing),
	T(moves_race_with_stores_and_no_store_is_lost),
};

int main(void)
{
	static uint32_t (*const devices[])(void) = { private_device, coherent_device };
	static int (*const objects[])(uint64_t size) = { over_memory, over_ext4 };
	int failed = 0, skipped = 0;

	for (int i = 0; i < 4; i++) {
		int r;

		device = devices[i / 2];
		object = objects[i % 2];
		printf("# %s memory, over %s\n", i / 2 ? "coherent" : "private", i % 2 ? "ext4" : "a memfd");
		r = RUN(tests);
		failed |= r == 1;
		skipped += r == 77;
	}
	return failed ? 1 : skipped == 4 ? 77 : 0;
}
