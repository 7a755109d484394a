// SPDX-License-Identifier: GPL-2.0-or-later
/* store.c - what lies below an object: filesystems, swap, memory pressure; and what the core kernel asks of a mapping */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CGROUP	"/tmp/cgroup"

static void put(const char *path, const char *words)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	sys(fd);
	sys(write(fd, words, strlen(words)));
	close(fd);
}

/* ---- filesystems ---------------------------------------------------------- */

static void an_xfs_file_is_an_object(void)
{
	uint32_t device = sim();
	int back, fd, ctx = context(device);
	uint64_t size = 4 * BLOCK, va;
	char *buf = malloc(size), *at;

	if (access("/mnt/vdb", W_OK))
		skip("no second disk");
	back = open("/mnt/vdb", O_TMPFILE | O_RDWR, 0600);
	sys(back);
	sys(ftruncate(back, size));
	fd = object_over(back);
	at = map(fd, size);
	pattern(at, 0, size, 1);
	eq(migrate(fd, 0, size, device), 0);
	va = ctx_map(ctx, fd, size, DMO_PROT_READ | DMO_PROT_WRITE);
	eq(fill(ctx, va + BLOCK, BLOCK, 9), 0);
	sys(fsync(fd));
	sys(posix_fadvise(back, 0, 0, POSIX_FADV_DONTNEED));
	eq(pread(back, buf, size, 0), size);
	eq(differs(buf, 0, BLOCK, 1), BLOCK);
	eq(buf[BLOCK], 9);
	eq(buf[2 * BLOCK - 1], 9);
	eq(differs(buf + 2 * BLOCK, 2 * BLOCK, 2 * BLOCK, 1), 2 * BLOCK);
	eq(fill(ctx, va + BLOCK, BLOCK, 8), 0);
	eq(migrate(fd, 0, size, DMO_DEVICE_HOST), 0);
	eq(at[BLOCK], 8);
	eq(differs(at + 2 * BLOCK, 2 * BLOCK, 2 * BLOCK, 1), 2 * BLOCK);
}

static void a_file_on_overlayfs_is_refused(void)
{
	int fd;

	mkdir("/tmp/over", 0755);
	sys(mount("none", "/tmp/over", "tmpfs", 0, NULL));
	sys(mkdir("/tmp/over/lower", 0755));
	sys(mkdir("/tmp/over/upper", 0755));
	sys(mkdir("/tmp/over/work", 0755));
	sys(mkdir("/tmp/over/all", 0755));
	if (mount("overlay", "/tmp/over/all", "overlay", 0,
		  "lowerdir=/tmp/over/lower,upperdir=/tmp/over/upper,workdir=/tmp/over/work"))
		skip("no overlayfs");
	fd = open("/tmp/over/all/file", O_CREAT | O_RDWR, 0600);
	sys(fd);
	sys(ftruncate(fd, BLOCK));
	eq(create(fd, 0, 0), -EOPNOTSUPP);
	eq(create(fd, 0, DMO_CREATE_READ), -EOPNOTSUPP);
	close(fd);
	sys(umount("/tmp/over/all"));
	sys(umount("/tmp/over"));
}

/* ---- memory --------------------------------------------------------------- */

static uint64_t swap_free(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	yes(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "SwapFree: %llu", &kib) == 1)
			break;
	fclose(f);
	return kib << 10;
}

static void host_pages_that_were_swapped_out_come_to_the_device(void)
{
	uint32_t device = sim();
	uint64_t size = 8 * BLOCK, before;
	int fd = fresh(size);
	char *at = map(fd, size);

	if (!swap_free())
		skip("no swap");
	pattern(at, 0, size, 1);
	before = swap_free();
	sys(madvise(at, size, MADV_PAGEOUT));
	yes(before - swap_free() >= size / 2);
	eq(migrate(fd, 0, size / 2, device), 0);
	eq(resident(fd, device), size / 2);
	eq(differs(at, 0, size, 1), size);
}

/* Twice as much as the cgroup may have, and more than the device: what is evicted must go on to the disk. */
static void eviction_goes_on_under_memory_pressure(void)
{
	uint32_t device = sim();
	uint64_t size = 96 * MIB, va;
	int back = disk_file(size), fd, ctx;
	char *buf = malloc(BLOCK);

	mkdir(CGROUP, 0755);
	if (access(CGROUP "/cgroup.procs", F_OK) && mount("none", CGROUP, "cgroup2", 0, NULL))
		skip("no cgroup2");
	put(CGROUP "/cgroup.subtree_control", "+memory");
	yes(!mkdir(CGROUP "/small", 0755) || errno == EEXIST);
	put(CGROUP "/small/memory.max", "48M");
	put(CGROUP "/small/cgroup.procs", "0");
	fd = object_over(back);
	ctx = context(device);
	va = ctx_map(ctx, fd, size, DMO_PROT_READ | DMO_PROT_WRITE);
	for (uint64_t i = 0; i < size; i += BLOCK)
		eq(fill(ctx, va + i, BLOCK, 1 + i / BLOCK), 0);
	eq(migrate(fd, 0, 0, DMO_DEVICE_HOST), 0);
	for (uint64_t i = 0; i < size; i += BLOCK) {
		eq(pread(fd, buf, BLOCK, i), BLOCK);
		for (uint64_t j = 0; j < BLOCK; j += PAGE / 2)
			eq(buf[j], 1 + i / BLOCK);
	}
}

/* ---- what the core kernel asks of a mapping ------------------------------- */

static void madv_remove_frees_the_range_everywhere(void)
{
	uint32_t device = sim();
	int back = memfd(4 * BLOCK), fd = object_over(back), ctx = context(device);
	char *at = map(fd, 4 * BLOCK), *buf = malloc(BLOCK);
	uint64_t va;

	pattern(at, 0, 4 * BLOCK, 1);
	eq(migrate(fd, 0, 4 * BLOCK, device), 0);
	va = ctx_map(ctx, fd, 4 * BLOCK, DMO_PROT_READ | DMO_PROT_WRITE);
	eq(fill(ctx, va, 4 * BLOCK, 7), 0);
	sys(madvise(at + BLOCK, BLOCK, MADV_REMOVE));
	eq(resident(fd, device), 3 * BLOCK);
	eq(lseek(back, BLOCK, SEEK_DATA), 2 * BLOCK);
	eq(command(ctx, DMO_OP_COMPARE, va, va + BLOCK, PAGE).result[0], 0);
	eq(at[BLOCK], 0);
	eq(at[2 * BLOCK - 1], 0);
	eq(at[BLOCK - 1], 7);
	eq(at[2 * BLOCK], 7);
	eq(pread(fd, buf, BLOCK, BLOCK), BLOCK);
	eq(buf[123], 0);
}

static void userfaultfd_is_refused(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register r = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = fresh(BLOCK), uffd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (uffd < 0)
		skip("no userfaultfd");
	sys(ioctl(uffd, UFFDIO_API, &api));
	r.range.start = (uintptr_t)map(fd, BLOCK);
	r.range.len = BLOCK;
	fails(ioctl(uffd, UFFDIO_REGISTER, &r), EINVAL);
	r.range.start = (uintptr_t)map(memfd(BLOCK), BLOCK);	/* what it would take */
	sys(ioctl(uffd, UFFDIO_REGISTER, &r));
}

int main(void)
{
	static const struct test tests[] = {
		T(an_xfs_file_is_an_object), T(a_file_on_overlayfs_is_refused),
		T(host_pages_that_were_swapped_out_come_to_the_device), T(eviction_goes_on_under_memory_pressure),
		T(madv_remove_frees_the_range_everywhere), T(userfaultfd_is_refused),
	};

	return RUN(tests);
}
