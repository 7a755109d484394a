// SPDX-License-Identifier: GPL-2.0-or-later
/* mirror.c - DMO_IOC_MIRROR: what the process has mapped, in a context at the same addresses */
#define _GNU_SOURCE
#include "kit.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RW	(DMO_PROT_READ | DMO_PROT_WRITE)
#define MAP_RW	(PROT_READ | PROT_WRITE)

static int mirror(int ctx, const void *address, uint64_t length, uint32_t prot)
{
	struct dmo_mirror m = { .address = (uintptr_t)address, .length = length, .prot = prot };

	return ioctl(ctx, DMO_IOC_MIRROR, &m) ? -errno : 0;
}

/* Three blocks of addresses that nothing else has; what is put there with MAP_FIXED stays alone. */
static char *room(void)
{
	char *at = mmap(NULL, 4 * BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	yes(at != MAP_FAILED);
	at = (char *)(((uintptr_t)at + BLOCK - 1) & ~(BLOCK - 1));
	sys(munmap(at, 3 * BLOCK));
	return at;
}

static void put(char *at, uint64_t length, int prot, int flags, int fd, uint64_t offset)
{
	yes(mmap(at, length, prot, flags | MAP_FIXED_NOREPLACE, fd, offset) == at);
}

static int device_reads(int ctx, const char *at)
{
	return command(ctx, DMO_OP_COMPARE, (uintptr_t)at, (uintptr_t)at, 1).status;
}

static void the_object_says_that_it_can_be_mirrored(void)
{
	struct dmo_info info;

	sys(ioctl(fresh(PAGE), DMO_IOC_INFO, &info));
	yes(info.caps & DMO_CAP_MIRROR_FILES);
	yes(!(info.caps & DMO_CAP_MIRROR_ANON));
}

static void both_sides_write_and_read_at_one_address(void)
{
	int fd = fresh(2 * BLOCK), ctx = context(sim());
	char *at = map(fd, 2 * BLOCK);

	eq(mirror(ctx, at, 2 * BLOCK, RW), 0);
	for (int i = 1; i < 20; i++) {
		at[PAGE + i] = i;
		eq(command(ctx, DMO_OP_COPY, (uintptr_t)at + BLOCK, (uintptr_t)at + PAGE, PAGE).status, 0);
		eq(at[BLOCK + i], i);
	}
}

static void several_mappings_are_mirrored_by_one_call(void)
{
	int a = fresh(BLOCK), b = fresh(2 * BLOCK), ctx = context(sim());
	char *at = room();

	put(at, BLOCK, MAP_RW, MAP_SHARED, a, 0);
	put(at + BLOCK, BLOCK, MAP_RW, MAP_SHARED, b, BLOCK);
	eq(mirror(ctx, at + PAGE, 2 * BLOCK - 2 * PAGE, RW), 0);
	eq(fill(ctx, (uintptr_t)at + PAGE, 2 * BLOCK - 2 * PAGE, 5), 0);
	eq(fill(ctx, (uintptr_t)at, 1, 6), -EFAULT);
	eq(fill(ctx, (uintptr_t)at + 2 * BLOCK - PAGE, 1, 6), -EFAULT);
	eq(at[PAGE - 1], 0);
	eq(at[PAGE], 5);
	eq(((char *)map(b, 2 * BLOCK))[2 * BLOCK - PAGE - 1], 5);
	eq(((char *)map(b, 2 * BLOCK))[BLOCK - 1], 0);
	eq(at[2 * BLOCK - PAGE], 0);
}

static void a_gap_gives_efault_and_nothing_is_mirrored(void)
{
	int fd = fresh(3 * BLOCK), ctx = context(sim());
	char *at = room();

	put(at, BLOCK, MAP_RW, MAP_SHARED, fd, 0);
	put(at + BLOCK + PAGE, BLOCK, MAP_RW, MAP_SHARED, fd, 0);
	eq(mirror(ctx, at, 2 * BLOCK, RW), -EFAULT);
	eq(device_reads(ctx, at), -EFAULT);
	eq(mirror(ctx, at + BLOCK, BLOCK, RW), -EFAULT);
	eq(mirror(ctx, at, BLOCK, RW), 0);
}

static void other_memory_is_refused_and_nothing_is_mirrored(void)
{
	int fd = fresh(BLOCK), plain = memfd(BLOCK), ctx = context(sim());
	char *at = room();

	put(at, BLOCK, MAP_RW, MAP_SHARED, fd, 0);
	put(at + BLOCK, PAGE, MAP_RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	put(at + 2 * BLOCK, BLOCK, MAP_RW, MAP_SHARED, plain, 0);
	eq(mirror(ctx, at, BLOCK + PAGE, RW), -EOPNOTSUPP);
	eq(device_reads(ctx, at), -EFAULT);
	eq(mirror(ctx, at + BLOCK, PAGE, RW), -EOPNOTSUPP);
	eq(mirror(ctx, at + 2 * BLOCK, BLOCK, RW), -EOPNOTSUPP);
}

static void a_private_mapping_is_mirrored_for_reading_alone(void)
{
	int fd = fresh(BLOCK), ctx = context(sim());
	char *at = mmap(NULL, BLOCK, MAP_RW, MAP_PRIVATE, fd, 0);

	yes(at != MAP_FAILED);
	eq(mirror(ctx, at, BLOCK, RW), -EOPNOTSUPP);
	eq(mirror(ctx, at, BLOCK, DMO_PROT_READ), 0);
	eq(device_reads(ctx, at), 0);
	eq(fill(ctx, (uintptr_t)at, 1, 1), -EACCES);
}

static void a_device_may_no_more_than_the_mapping(void)
{
	int back = memfd(BLOCK), fd = create(back, 0, DMO_CREATE_READ), ctx = context(sim());
	char *at = mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, fd, 0), *none = room();

	yes(at != MAP_FAILED);
	eq(mirror(ctx, at, BLOCK, RW), -EACCES);
	eq(mirror(ctx, at, BLOCK, DMO_PROT_WRITE), -EACCES);
	eq(mirror(ctx, at, BLOCK, DMO_PROT_READ), 0);
	eq(device_reads(ctx, at), 0);
	eq(fill(ctx, (uintptr_t)at, 1, 1), -EACCES);
	put(none, BLOCK, PROT_NONE, MAP_SHARED, fresh(BLOCK), 0);
	eq(mirror(ctx, none, BLOCK, DMO_PROT_READ), -EACCES);
}

static void what_is_mapped_in_the_context_stays(void)
{
	int fd = fresh(3 * BLOCK), other = fresh(PAGE), ctx = context(sim());
	char *at = room();
	struct { struct dmo_map head; struct dmo_map_op op; } m = {
		.head.count = 1, .op = { .va = (uintptr_t)at + 2 * BLOCK, .length = PAGE, .key = key_of(other),
					 .prot = RW, .flags = DMO_MAP_FIXED },
	};

	put(at, 2 * BLOCK, MAP_RW, MAP_SHARED, fd, 0);
	put(at + 2 * BLOCK, BLOCK, MAP_RW, MAP_SHARED, other, 0);
	sys(ioctl(ctx, DMO_IOC_MAP(1), &m));
	eq(mirror(ctx, at, 3 * BLOCK, RW), -EEXIST);
	eq(device_reads(ctx, at), -EFAULT);
	eq(fill(ctx, m.op.va, PAGE, 8), 0);
	eq(*(char *)map(other, PAGE), 8);
}

static void addresses_that_the_device_has_not_give_erange(void)
{
	int fd = fresh(PAGE), ctx = context(sim());
	char *low = (char *)0x10000000;

	put(low, PAGE, MAP_RW, MAP_SHARED, fd, 0);
	eq(mirror(ctx, low, PAGE, RW), -ERANGE);
}

static void a_request_is_checked(void)
{
	int fd = fresh(BLOCK), ctx = context(sim());
	char *at = map(fd, BLOCK);
	struct dmo_mirror m = { .address = (uintptr_t)at, .length = BLOCK, .prot = RW, .flags = 1 };

	eq(mirror(ctx, at + 1, PAGE, RW), -EINVAL);
	eq(mirror(ctx, at, 0, RW), -EINVAL);
	eq(mirror(ctx, at, 1, RW), -EINVAL);
	eq(mirror(ctx, at, PAGE, 0), -EINVAL);
	eq(mirror(ctx, at, PAGE, 4), -EINVAL);
	eq(mirror(ctx, at, ~0ull << 12, RW), -EOVERFLOW);
	fails(ioctl(ctx, DMO_IOC_MIRROR, &m), EINVAL);
	m.flags = 0;
	m.reserved = 1;
	fails(ioctl(ctx, DMO_IOC_MIRROR, &m), EINVAL);
	fails(ioctl(fd, DMO_IOC_MIRROR, &m), ENOTTY);
}

/* It is a snapshot: the object stays mapped in the context, whatever becomes of the process's mapping. */
static void a_later_munmap_is_not_followed(void)
{
	int fd = fresh(BLOCK), ctx = context(sim());
	char *at = map(fd, BLOCK), got;

	eq(mirror(ctx, at, BLOCK, RW), 0);
	sys(munmap(at, BLOCK));
	eq(fill(ctx, (uintptr_t)at, BLOCK, 3), 0);
	eq(pread(fd, &got, 1, BLOCK - 1), 1);
	eq(got, 3);
}

static void a_child_mirrors_its_own_mappings(void)
{
	int fd = fresh(BLOCK), ctx = context(sim()), status;
	char *at = map(fd, BLOCK);
	pid_t pid = fork();

	if (!pid) {
		sys(munmap(at, PAGE));
		eq(mirror(ctx, at, BLOCK, RW), -EFAULT);
		eq(mirror(ctx, at + PAGE, BLOCK - PAGE, RW), 0);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	eq(status, 0);
	eq(mirror(ctx, at, PAGE, RW), 0);
	eq(fill(ctx, (uintptr_t)at, BLOCK, 3), 0);
	eq(at[BLOCK - 1], 3);
}

int main(void)
{
	static const struct test tests[] = {
		T(the_object_says_that_it_can_be_mirrored), T(both_sides_write_and_read_at_one_address),
		T(several_mappings_are_mirrored_by_one_call), T(a_gap_gives_efault_and_nothing_is_mirrored),
		T(other_memory_is_refused_and_nothing_is_mirrored),
		T(a_private_mapping_is_mirrored_for_reading_alone), T(a_device_may_no_more_than_the_mapping),
		T(what_is_mapped_in_the_context_stays), T(addresses_that_the_device_has_not_give_erange),
		T(a_request_is_checked), T(a_later_munmap_is_not_followed), T(a_child_mirrors_its_own_mappings),
	};

	return RUN(tests);
}
