// SPDX-License-Identifier: GPL-2.0-or-later
/* kit.c - see kit.h */
#define _GNU_SOURCE
#include "kit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 77

/* ---- running -------------------------------------------------------------- */

void fail_at(const char *file, int line, const char *what, long long got, long long want)
{
	printf("\t%s:%d: %s is %lld, not %lld\n", file, line, what, got, want);
	fflush(stdout);
	_exit(1);
}

void skip(const char *why)
{
	printf("\tskipped: %s\n", why);
	fflush(stdout);
	_exit(SKIPPED);
}

static int run_one(const struct test *t)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(120);
		t->run();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("\tkilled by signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int run_tests(const struct test *tests, int n)
{
	int failed = 0, skipped = 0;

	for (int i = 0; i < n; i++) {
		int r = run_one(&tests[i]);

		printf("%s %s\n", !r ? "ok" : r == SKIPPED ? "skip" : "FAIL", tests[i].name);
		failed += r && r != SKIPPED;
		skipped += r == SKIPPED;
	}
	return failed ? 1 : skipped == n ? SKIPPED : 0;
}

/* ---- objects -------------------------------------------------------------- */

int control(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/dmo/control", O_RDWR | O_CLOEXEC);
	sys(fd);
	return fd;
}

int create(int backing, uint64_t size, uint32_t flags)
{
	struct dmo_object_create c = { .backing = backing, .size = size, .flags = flags };

	return ioctl(control(), DMO_IOC_OBJECT_CREATE, &c) ? -errno : c.fd;
}

int fresh(uint64_t size)
{
	int fd = create(-1, size, 0);

	yes(fd >= 0);
	return fd;
}

int object_over(int backing)
{
	int fd = create(backing, 0, 0);

	yes(fd >= 0);
	return fd;
}

int memfd(uint64_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	sys(fd);
	sys(ftruncate(fd, size));
	return fd;
}

int disk_file(uint64_t size)
{
	char name[] = "/mnt/vda/test-XXXXXX";
	int fd;

	if (access("/mnt/vda", W_OK))
		skip("no disk");
	fd = mkstemp(name);
	sys(fd);
	unlink(name);
	sys(ftruncate(fd, size));
	return fd;
}

void *map(int fd, uint64_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	yes(at != MAP_FAILED);
	return at;
}

/* ---- devices -------------------------------------------------------------- */

void device_info(uint32_t number, struct dmo_device_info *info)
{
	memset(info, 0, sizeof(*info));
	info->device = number;
	sys(ioctl(control(), DMO_IOC_DEVICE, info));
}

uint32_t device_of(uint32_t type)
{
	for (uint32_t i = 0; i < 63; i++) {
		struct dmo_device_info info = { .device = i };

		if (!ioctl(control(), DMO_IOC_DEVICE, &info) && info.memory_type == type)
			return i;
	}
	skip(type == DMO_MEM_COHERENT ? "no coherent device" : "no private device");
}

int context(uint32_t device)
{
	struct dmo_device_info info;
	char path[64];
	int fd;

	device_info(device, &info);
	snprintf(path, sizeof(path), "/dev/dmo/%s", info.name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	sys(fd);
	return fd;
}

uint32_t named(const char *name)
{
	for (uint32_t i = 0; i < 63; i++) {
		struct dmo_device_info info = { .device = i };

		if (!ioctl(control(), DMO_IOC_DEVICE, &info) && !strcmp(info.name, name))
			return i;
	}
	return NONE;
}

int load_sim(const char *parameters)
{
	int fd = open("/lib/modules/dmo_sim.ko", O_RDONLY | O_CLOEXEC), r;

	sys(fd);
	if (syscall(SYS_delete_module, "dmo_sim", O_NONBLOCK))
		eq(errno, ENOENT);
	r = syscall(SYS_finit_module, fd, parameters, 0) ? -errno : 0;
	close(fd);
	return r;
}

int inject(const char *format, ...)
{
	int fd = open("/sys/module/dmo_sim/parameters/inject", O_WRONLY), r, e;
	va_list args;

	sys(fd);
	va_start(args, format);
	r = vdprintf(fd, format, args);
	va_end(args);
	e = errno;
	close(fd);
	errno = e;
	return r < 0 ? -1 : 0;
}

/* ---- residency ------------------------------------------------------------ */

int advise(int fd, uint64_t offset, uint64_t length, uint32_t advice, uint32_t device, uint64_t value)
{
	struct dmo_advise a = { .offset = offset, .length = length, .advice = advice, .device = device,
				.value = value };

	return ioctl(fd, DMO_IOC_ADVISE, &a) ? -errno : 0;
}

int migrate(int fd, uint64_t offset, uint64_t length, uint32_t device)
{
	struct dmo_migrate m = { .offset = offset, .length = length, .device = device };

	return ioctl(fd, DMO_IOC_MIGRATE, &m) ? -errno : 0;
}

struct dmo_extent extent(int fd, uint64_t offset)
{
	struct { struct dmo_query head; struct dmo_extent extents[1]; } q = {
		.head = { .offset = offset, .length = PAGE, .count = 1 },
	};

	sys(ioctl(fd, DMO_IOC_QUERY(1), &q));
	eq(q.head.count, 1);
	return q.extents[0];
}

uint64_t resident(int fd, uint32_t device)
{
	struct { struct dmo_query head; struct dmo_extent extents[64]; } q = { .head.count = 64 };
	uint64_t sum = 0;

	do {
		q.head.count = 64;
		sys(ioctl(fd, DMO_IOC_QUERY(64), &q));
		for (uint32_t i = 0; i < q.head.count; i++)
			if (q.extents[i].flags & DMO_EXT_RESIDENT &&
			    (device == NONE || q.extents[i].device == device))
				sum += q.extents[i].length;
	} while (q.head.count && !(q.extents[q.head.count - 1].flags & DMO_EXT_LAST));
	return sum;
}

uint64_t device_stat(const char *device, const char *key)
{
	char path[128], line[128], name[64];
	unsigned long long value, found = ~0ull;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/misc/dmo-%s/memory/stat", device);
	f = fopen(path, "r");
	yes(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %llu", name, &value) == 2 && !strcmp(name, key))
			found = value;
	fclose(f);
	return found;
}

/* ---- contexts ------------------------------------------------------------- */

uint64_t key_of(int fd)
{
	struct dmo_key key = { 0 };

	sys(ioctl(fd, DMO_IOC_KEY, &key));
	return key.key;
}

uint64_t ctx_map(int ctx, int fd, uint64_t length, uint32_t prot)
{
	struct { struct dmo_map head; struct dmo_map_op op; } m = {
		.head.count = 1, .op = { .length = length, .key = key_of(fd), .prot = prot },
	};

	sys(ioctl(ctx, DMO_IOC_MAP(1), &m));
	return m.op.va;
}

int ctx_unmap(int ctx, uint64_t va, uint64_t length)
{
	struct { struct dmo_unmap head; struct dmo_unmap_op op; } m = {
		.head.count = 1, .op = { .va = va, .length = length },
	};

	return ioctl(ctx, DMO_IOC_UNMAP(1), &m) ? -errno : 0;
}

struct dmo_completion command(int ctx, uint32_t op, uint64_t a, uint64_t b, uint64_t c)
{
	struct dmo_command cmd = { .cookie = 42, .op = op, .arg = { a, b, c } };
	struct dmo_completion over;

	eq(write(ctx, &cmd, sizeof(cmd)), sizeof(cmd));
	eq(read(ctx, &over, sizeof(over)), sizeof(over));
	eq(over.cookie, 42);
	return over;
}

int fill(int ctx, uint64_t va, uint64_t bytes, uint8_t value)
{
	return command(ctx, DMO_OP_FILL, va, bytes, value).status;
}

/* ---- the PCI device ------------------------------------------------------- */

int pci_driver(const char *file, const char *address)
{
	char path[128];
	int fd, r;

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/dmo_ivshmem/%s", file);
	fd = open(path, O_WRONLY);
	sys(fd);
	r = write(fd, address, strlen(address)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

/* Is that the PCI address of the device with that name (ivshmem_main.c makes the one of the other)? */
static int has_name(const char *address, const char *name)
{
	unsigned int bus_number, slot, function;
	char made[64];

	if (sscanf(address, "%*x:%x:%x.%x", &bus_number, &slot, &function) != 3)
		return 0;
	snprintf(made, sizeof(made), "ivshmem-%02x.%x", bus_number, slot << 3 | function);
	return !strcmp(made, name);
}

void coherent_address(char *address, size_t size)
{
	DIR *d = opendir("/sys/bus/pci/drivers/dmo_ivshmem");
	struct dmo_device_info info;
	struct dirent *e;

	address[0] = 0;
	if (!d)
		skip("no coherent device");
	device_info(coherent(), &info);
	while ((e = readdir(d)))
		if (has_name(e->d_name, info.name))
			snprintf(address, size, "%s", e->d_name);
	closedir(d);
	if (!address[0])
		skip("no coherent device");
}

/* ---- the page cache -------------------------------------------------------- */

bool is_cached(int backing, uint64_t offset)
{
	char *at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, backing, offset);
	unsigned char seen;

	yes(at != MAP_FAILED);
	sys(mincore(at, PAGE, &seen));
	munmap(at, PAGE);
	return seen & 1;
}

void drop_caches(const char *what)
{
	int f = open("/proc/sys/vm/drop_caches", O_WRONLY);

	sys(f);
	eq(write(f, what, 1), 1);
	close(f);
}

/* ---- races ---------------------------------------------------------------- */

pid_t start_adding(uint64_t *at, uint64_t pages, int rounds)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	srand(getpid());
	for (int i = 0; i < rounds; i++) {
		uint64_t page = rand() % pages;

		sys(madvise((char *)at + page * PAGE, PAGE, MADV_DONTNEED));
		__atomic_fetch_add(&at[page * PAGE / 8], 1, __ATOMIC_SEQ_CST);
	}
	_exit(0);
}

/* ---- content -------------------------------------------------------------- */

static uint64_t word(uint64_t offset, uint32_t seed)
{
	uint64_t x = (offset / 8 + 1) * 0x9e3779b97f4a7c15ull + seed * 0xff51afd7ed558ccdull;

	return x ^ x >> 29;
}

void pattern(void *at, uint64_t offset, size_t bytes, uint32_t seed)
{
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t w = word(offset + i, seed);

		memcpy((char *)at + i, &w, 8);
	}
}

size_t differs(const void *at, uint64_t offset, size_t bytes, uint32_t seed)
{
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t w = word(offset + i, seed);

		if (memcmp((const char *)at + i, &w, 8))
			return i;
	}
	return bytes;
}
