// SPDX-License-Identifier: GPL-2.0-or-later
/* advice.c - advice that is kept in the backing file, as the service keeps it, and what it makes of faults */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define XATTR	"user.dmo.advice"

/* What store_all leaves; tests/core/test_advice_codec.c has the same bytes. */
static const uint8_t form[] = {
	0x44, 0x4d, 0x4f, 0x41, 0x01, 0x00, 0x02, 0x00, 0x05, 0x00, 0x00, 0x00, 0x5a, 0x56, 0x86, 0x14,
	0x04, 0x73, 0x69, 0x6d, 0x30, 0x04, 0x73, 0x69, 0x6d, 0x31, 0x01, 0x03, 0x01, 0x02, 0x04, 0x01,
	0x02, 0x00, 0x00, 0x01, 0x04, 0x02, 0x02, 0x01, 0x10, 0x10, 0x9f, 0x02, 0x00, 0x20, 0xac, 0x02,
};

static uint32_t number(const char *name)
{
	for (uint32_t i = 0; i < 63; i++) {
		struct dmo_device_info info = { .device = i };

		if (!ioctl(control(), DMO_IOC_DEVICE, &info) && !strcmp(info.name, name))
			return i;
	}
	skip("a device is missing");
}

static uint64_t caps(int fd)
{
	struct dmo_info info;

	sys(ioctl(fd, DMO_IOC_INFO, &info));
	return info.caps;
}

static int stored(int back, void *buf, size_t size)
{
	return fgetxattr(back, XATTR, buf, size);
}

static void store_all(int fd)
{
	eq(advise(fd, 1 * PAGE, 3 * PAGE, DMO_ADV_RANDOM, NONE, 0), 0);
	eq(advise(fd, 8 * PAGE, PAGE, DMO_ADV_PREFERRED, number("sim0"), 0), 0);
	eq(advise(fd, 9 * PAGE, PAGE, DMO_ADV_ACCESSED_BY, number("sim1"), 0), 0);
	eq(advise(fd, 12 * PAGE, PAGE, DMO_ADV_GRANULARITY, NONE, 16), 0);
	eq(advise(fd, 300 * PAGE, 0, DMO_ADV_DEVICE_BITS, NONE, 300), 0);
}

static void check_all(int fd)
{
	eq(extent(fd, 0).attrs, 0);
	eq(extent(fd, 3 * PAGE).attrs, DMO_ATTR_RANDOM);
	eq(extent(fd, 4 * PAGE).attrs, 0);
	eq(extent(fd, 8 * PAGE).attrs, DMO_ATTR_PREFERRED);
	eq(extent(fd, 8 * PAGE).preferred, number("sim0"));
	eq(extent(fd, 9 * PAGE).accessed_by, 1ull << number("sim1"));
	eq(extent(fd, 12 * PAGE).granularity, 16);
	eq(extent(fd, 400 * PAGE).device_bits, 300);
}

static void the_file_holds_the_bytes_that_the_service_writes(void)
{
	int back = disk_file(BLOCK);
	uint8_t buf[4096];

	store_all(object_over(back));
	eq(stored(back, buf, sizeof(buf)), sizeof(form));
	eq(memcmp(buf, form, sizeof(form)), 0);
}

static void what_the_service_wrote_is_in_force_when_the_object_begins(void)
{
	int back = disk_file(BLOCK);

	sys(fsetxattr(back, XATTR, form, sizeof(form), 0));
	check_all(object_over(back));
}

static void advice_outlives_the_object(void)
{
	int backs[] = { disk_file(BLOCK), memfd(BLOCK) };

	for (int i = 0; i < 2; i++) {
		int fd = object_over(backs[i]);

		if (i && !(caps(fd) & DMO_CAP_STORED_ADVICE) && fsetxattr(backs[i], "user.dmo", "", 0, 0)) {
			eq(errno, EOPNOTSUPP);	/* tmpfs has such attributes since 6.6 */
			close(fd);
			continue;
		}
		yes(caps(fd) & DMO_CAP_STORED_ADVICE);
		store_all(fd);
		close(fd);
		usleep(100000);		/* an object may end later than its last descriptor */
		fd = object_over(backs[i]);
		check_all(fd);
		close(fd);
	}
}

static void advice_undone_leaves_no_attribute(void)
{
	int back = disk_file(BLOCK), fd = object_over(back);
	char buf[64];

	eq(advise(fd, 0, PAGE, DMO_ADV_NORMAL, NONE, 0), 0);
	fails(stored(back, buf, sizeof(buf)), ENODATA);
	eq(advise(fd, 0, PAGE, DMO_ADV_COLD, NONE, 0), 0);
	yes(stored(back, buf, sizeof(buf)) > 0);
	eq(advise(fd, 0, PAGE, DMO_ADV_NORMAL, NONE, 0), 0);
	fails(stored(back, buf, sizeof(buf)), ENODATA);
}

static void an_attribute_that_does_not_decode_is_ignored(void)
{
	uint8_t buf[sizeof(form)];

	for (size_t i = 0; i < sizeof(form); i += 7) {
		int back = disk_file(BLOCK), fd;

		memcpy(buf, form, sizeof(form));
		buf[i] ^= 0x40;
		sys(fsetxattr(back, XATTR, buf, sizeof(buf), 0));
		fd = object_over(back);
		eq(extent(fd, 3 * PAGE).attrs, 0);
		close(fd);
		close(back);
	}
}

static void fresh_memory_stores_nothing(void)
{
	int fd = fresh(BLOCK);

	eq(caps(fd) & DMO_CAP_STORED_ADVICE, 0);
	eq(advise(fd, 0, PAGE, DMO_ADV_COLD, NONE, 0), 0);
	eq(extent(fd, 0).attrs, DMO_ATTR_COLD);
}

static void advice_that_can_t_be_stored_changes_nothing(void)
{
	int back = disk_file(32768 * PAGE), fd = object_over(back), err = 0;
	uint64_t i;

	for (i = 0; i < 32768 && !err; i += 2)
		err = advise(fd, i * PAGE, PAGE, DMO_ADV_RANDOM, NONE, 0);
	eq(err, -ENOSPC);
	eq(extent(fd, (i - 2) * PAGE).attrs, 0);
	eq(extent(fd, (i - 4) * PAGE).attrs, DMO_ATTR_RANDOM);
}

/* Not even the first: back to no advice at all. */
static void a_file_whose_mode_has_changed_keeps_no_advice(void)
{
	int back = disk_file(BLOCK), status;
	char path[64];
	pid_t pid;

	sys(fchown(back, 1000, 1000));
	sys(fchmod(back, 0600));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", back);
	pid = fork();
	if (!pid) {
		int fd;

		sys(control());
		sys(setresuid(1000, 1000, 1000));
		fd = object_over(open(path, O_RDWR));
		sys(fchmod(back, 0400));
		eq(advise(fd, 0, PAGE, DMO_ADV_COLD, NONE, 0), -EACCES);
		eq(extent(fd, 0).attrs, 0);
		sys(fchmod(back, 0600));
		eq(advise(fd, 0, PAGE, DMO_ADV_COLD, NONE, 0), 0);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	eq(status, 0);
}

static void an_object_without_a_writable_file_keeps_advice_to_itself(void)
{
	int back = disk_file(BLOCK), fd = create(back, 0, DMO_CREATE_READ);
	char buf[64];

	yes(fd >= 0);
	eq(advise(fd, 0, PAGE, DMO_ADV_COLD, NONE, 0), 0);
	eq(extent(fd, 0).attrs, DMO_ATTR_COLD);
	fails(stored(back, buf, sizeof(buf)), ENODATA);
}

static void posix_fadvise_ends_with_the_object(void)
{
	int back = disk_file(BLOCK), fd = object_over(back);
	char buf[64];

	eq(posix_fadvise(fd, 0, PAGE, POSIX_FADV_SEQUENTIAL), 0);
	eq(extent(fd, 0).attrs, DMO_ATTR_SEQUENTIAL);
	fails(stored(back, buf, sizeof(buf)), ENODATA);
}

/* ---- what it does --------------------------------------------------------- */

/* How much a fault on one page in the middle of an object brings. */
static uint64_t brought_by_a_fault(uint32_t advice, uint64_t value)
{
	int fd = fresh(2 * BLOCK), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, 2 * BLOCK, DMO_PROT_READ), n;

	eq(advise(fd, 0, 0, advice, NONE, value), 0);
	eq(command(ctx, DMO_OP_CKSUM, va + BLOCK + 100 * PAGE, 8, 0).status, 0);
	n = resident(fd, sim());
	close(ctx);
	close(fd);
	return n;
}

static void granularity_says_what_a_fault_brings(void)
{
	eq(brought_by_a_fault(DMO_ADV_GRANULARITY, 12), PAGE);
	eq(brought_by_a_fault(DMO_ADV_GRANULARITY, 18), 256 << 10);
	eq(brought_by_a_fault(DMO_ADV_GRANULARITY, 21), BLOCK);
	eq(brought_by_a_fault(DMO_ADV_RANDOM, 0), PAGE);
	eq(brought_by_a_fault(DMO_ADV_SEQUENTIAL, 0), BLOCK);
}

static void what_follows_a_sequential_read_comes_before_it_is_asked_for(void)
{
	int fd = fresh(8 * BLOCK), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, 8 * BLOCK, DMO_PROT_READ), ahead = device_stat("sim0", "readahead");

	eq(advise(fd, 0, 0, DMO_ADV_SEQUENTIAL, NONE, 0), 0);
	eq(advise(fd, 2 * BLOCK, BLOCK, DMO_ADV_NO_MIGRATE, NONE, 0), 0);
	eq(command(ctx, DMO_OP_CKSUM, va, PAGE, 0).status, 0);
	for (int i = 0; i < 500 && resident(fd, sim()) < 2 * BLOCK; i++)
		usleep(10000);
	usleep(50000);
	eq(resident(fd, sim()), 2 * BLOCK);	/* block 2 is not to move */
	eq(device_stat("sim0", "readahead"), ahead + 1);
}

static void a_prefetch_to_any_device_goes_to_the_preferred_one(void)
{
	int fd = fresh(BLOCK);

	eq(advise(fd, 0, 0, DMO_ADV_PREFERRED, number("sim1"), 0), 0);
	eq(advise(fd, 0, BLOCK, DMO_ADV_WILLNEED, NONE, 0), 0);
	eq(resident(fd, number("sim1")), BLOCK);
}

/* Bytes that four prefetches bring, to two devices in turn. */
static uint64_t brought_in_turns(int fd)
{
	uint64_t before = device_stat("sim0", "bytes_to_device") + device_stat("sim1", "bytes_to_device");

	for (int i = 0; i < 4; i++)
		eq(migrate(fd, 0, BLOCK, number(i % 2 ? "sim1" : "sim0")), 0);
	return device_stat("sim0", "bytes_to_device") + device_stat("sim1", "bytes_to_device") - before;
}

static void read_mostly_pages_stay_on_every_device_that_reads_them(void)
{
	int fd = object_over(memfd(BLOCK));
	char *at = map(fd, BLOCK);

	pattern(at, 0, BLOCK, 1);
	eq(advise(fd, 0, 0, DMO_ADV_READ_MOSTLY, NONE, 0), 0);
	eq(brought_in_turns(fd), 2 * BLOCK);
	eq(migrate(fd, 0, BLOCK, DMO_DEVICE_HOST), 0);
	eq(advise(fd, 0, 0, DMO_ADV_NO_READ_MOSTLY, NONE, 0), 0);
	eq(brought_in_turns(fd), 4 * BLOCK);
	eq(differs(at, 0, BLOCK, 1), BLOCK);
}

static const struct test tests[] = {
	T(the_file_holds_the_bytes_that_the_service_writes),
	T(what_the_service_wrote_is_in_force_when_the_object_begins),
	T(advice_outlives_the_object),
	T(advice_undone_leaves_no_attribute),
	T(an_attribute_that_does_not_decode_is_ignored),
	T(fresh_memory_stores_nothing),
	T(advice_that_can_t_be_stored_changes_nothing),
	T(a_file_whose_mode_has_changed_keeps_no_advice),
	T(an_object_without_a_writable_file_keeps_advice_to_itself),
	T(posix_fadvise_ends_with_the_object),
	T(granularity_says_what_a_fault_brings),
	T(what_follows_a_sequential_read_comes_before_it_is_asked_for),
	T(a_prefetch_to_any_device_goes_to_the_preferred_one),
	T(read_mostly_pages_stay_on_every_device_that_reads_them),
};

int main(void)
{
	return RUN(tests);
}
