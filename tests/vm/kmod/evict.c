// SPDX-License-Identifier: GPL-2.0-or-later
/* evict.c - more than a device holds: limits, watermarks, what is kept and what goes */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t memory_of(uint32_t dev)
{
	struct dmo_device_info info;

	device_info(dev, &info);
	return info.memory;
}

static void attribute(char *path, size_t size, uint32_t dev, const char *name)
{
	struct dmo_device_info info;

	device_info(dev, &info);
	snprintf(path, size, "/sys/class/misc/dmo-%s/memory/%s", info.name, name);
}

/* 0 or -errno */
static int set(uint32_t dev, const char *name, const char *value)
{
	char path[128];
	int fd, r;

	attribute(path, sizeof(path), dev, name);
	fd = open(path, O_WRONLY);
	sys(fd);
	r = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static uint64_t get(uint32_t dev, const char *name)
{
	char path[128], text[64] = "";
	int fd;

	attribute(path, sizeof(path), dev, name);
	fd = open(path, O_RDONLY);
	sys(fd);
	yes(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return strncmp(text, "max", 3) ? strtoull(text, NULL, 10) : ~0ull;
}

static uint64_t stat_of(uint32_t dev, const char *key)
{
	struct dmo_device_info info;

	device_info(dev, &info);
	return device_stat(info.name, key);
}

/* ---- private memory, by commands ------------------------------------------ */

static void a_device_goes_through_four_times_its_memory(void)
{
	uint32_t dev = sim();
	uint64_t size = 4 * memory_of(dev), va;
	int fd = fresh(size), ctx = context(dev);
	char *at = map(fd, size);

	va = ctx_map(ctx, fd, size, DMO_PROT_READ | DMO_PROT_WRITE);
	for (uint64_t i = 0; i < size; i += BLOCK)
		eq(fill(ctx, va + i, BLOCK, 1 + i / BLOCK % 250), 0);
	yes(resident(fd, dev) <= memory_of(dev));
	yes(stat_of(dev, "evict_dirty") > 0);
	for (uint64_t i = 0; i < size; i += PAGE)
		eq((unsigned char)at[i + i / PAGE % PAGE], 1 + i / BLOCK % 250);
}

static void clean_pages_are_dropped_uncopied(void)
{
	uint32_t dev = sim();
	uint64_t size = 3 * memory_of(dev), va, out;
	int fd = fresh(size), ctx = context(dev);

	va = ctx_map(ctx, fd, size, DMO_PROT_READ | DMO_PROT_WRITE);
	out = stat_of(dev, "bytes_to_host");
	for (uint64_t i = 0; i < size; i += BLOCK)
		eq(command(ctx, DMO_OP_CKSUM, va + i, BLOCK, 0).status, 0);
	eq(stat_of(dev, "bytes_to_host"), out);
	yes(stat_of(dev, "evict_clean") > 0);
}

static void two_processes_and_a_device_at_random(void)
{
	uint32_t dev = sim();
	uint64_t words = 3 * memory_of(dev) / PAGE, va, sum = 0;
	int fd = fresh(words * PAGE), ctx = context(dev);
	uint64_t *at = map(fd, words * PAGE);
	pid_t pids[2];

	va = ctx_map(ctx, fd, words * PAGE, DMO_PROT_READ | DMO_PROT_WRITE);
	for (int p = 0; p < 2; p++) {
		pids[p] = fork();
		if (pids[p])
			continue;
		srand(p);
		for (int i = 0; i < 3000; i++)
			__atomic_fetch_add(&at[rand() % words * PAGE / 8], 1, __ATOMIC_SEQ_CST);
		_exit(0);
	}
	srand(9);
	for (int i = 0; i < 3000; i++)
		eq(command(ctx, DMO_OP_ATOMIC_ADD, va + rand() % words * PAGE, 1, 0).status, 0);
	for (int p = 0; p < 2; p++) {
		int status;

		waitpid(pids[p], &status, 0);
		eq(status, 0);
	}
	for (uint64_t i = 0; i < words; i++)
		sum += at[i * PAGE / 8];
	eq(sum, 9000);
}

/* ---- limits --------------------------------------------------------------- */

static void lowering_the_limit_evicts_before_it_returns(void)
{
	uint32_t dev = sim();
	uint64_t size = memory_of(dev) / 2;
	char half[32];
	int fd = fresh(size);
	char *at = map(fd, size);

	pattern(at, 0, size, 4);
	eq(migrate(fd, 0, size, dev), 0);
	snprintf(half, sizeof(half), "%llu\n", (unsigned long long)size / 2);
	eq(set(dev, "max", half), 0);
	yes(get(dev, "current") <= size / 2);
	eq(get(dev, "max"), size / 2);
	eq(migrate(fd, 0, size, dev), -ENOSPC);
	yes(get(dev, "current") <= size / 2);
	yes(get(dev, "peak") >= size);
	eq(set(dev, "max", "max"), 0);
	eq(get(dev, "max"), ~0ull);
	eq(differs(at, 0, size, 4), size);
}

static void a_limit_is_a_number_or_max(void)
{
	uint32_t dev = sim();

	eq(set(dev, "max", "-1"), -EINVAL);
	eq(set(dev, "max", "lots"), -EINVAL);
	eq(set(dev, "max", "1Q"), -EINVAL);
	eq(set(dev, "high", ""), 0);
	eq(set(dev, "high", "4M"), 0);
	eq(get(dev, "high"), 4 * MIB);
	eq(set(dev, "max", "max"), 0);
}

static void the_evictor_runs_from_high_to_low(void)
{
	uint32_t dev = sim();
	uint64_t size = memory_of(dev) / 2;
	int fd = fresh(size);

	eq(set(dev, "low", "2M"), 0);
	eq(set(dev, "high", "4M"), 0);
	migrate(fd, 0, size, dev);
	for (int i = 0; i < 500 && get(dev, "current") > 4 * MIB; i++)
		usleep(10000);
	yes(get(dev, "current") <= 4 * MIB);
	eq(set(dev, "max", "max"), 0);
}

static void what_is_pinned_is_not_evicted(void)
{
	uint32_t dev = sim();
	uint64_t memory = memory_of(dev), va;
	int fd = fresh(2 * memory), ctx = context(dev);
	struct dmo_pin pin = { .length = memory / 2, .device = dev };

	sys(ioctl(fd, DMO_IOC_PIN, &pin));
	va = ctx_map(ctx, fd, 2 * memory, DMO_PROT_READ | DMO_PROT_WRITE);
	eq(fill(ctx, va, 2 * memory, 3), 0);
	for (uint64_t i = 0; i < memory / 2; i += BLOCK)
		eq(extent(fd, i).device, dev);
	pin.offset = memory;
	pin.length = memory;
	fails(ioctl(fd, DMO_IOC_PIN, &pin), ENOSPC);
}

static void pins_are_bounded_by_rlimit_memlock(void)
{
	struct rlimit limit = { BLOCK, BLOCK };
	int fd = fresh(4 * BLOCK);
	struct dmo_pin pin = { .length = 2 * BLOCK, .device = sim() };

	sys(setrlimit(RLIMIT_MEMLOCK, &limit));
	sys(setuid(65534));
	fails(ioctl(fd, DMO_IOC_PIN, &pin), EDQUOT);
	pin.length = BLOCK;
	sys(ioctl(fd, DMO_IOC_PIN, &pin));
	pin.offset = BLOCK;
	fails(ioctl(fd, DMO_IOC_PIN, &pin), EDQUOT);
}

#define NOBODY	65534

/* A process of NOBODY's that waits, with that limit. */
static pid_t start_nobody(rlim_t locked)
{
	struct rlimit limit = { locked, locked };
	int ready[2];
	pid_t pid;
	char c;

	sys(pipe(ready));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sys(setrlimit(RLIMIT_MEMLOCK, &limit));
		sys(setresuid(NOBODY, NOBODY, NOBODY));
		prctl(PR_SET_PDEATHSIG, SIGKILL);	/* setresuid undid it */
		eq(write(ready[1], "", 1), 1);
		pause();
		_exit(0);
	}
	eq(read(ready[0], &c, 1), 1);
	return pid;
}

static void end_nobody(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int pin_for(int fd, uint64_t length, uint64_t charge)
{
	struct dmo_pin pin = { .length = length, .device = sim(), .flags = DMO_CHARGE_OTHER, .charge = charge };

	return ioctl(fd, DMO_IOC_PIN, &pin) ? -errno : 0;
}

static void a_pin_for_another_counts_against_his_limit(void)
{
	int fd = fresh(4 * BLOCK), other = fresh(BLOCK), status;
	pid_t pid = start_nobody(2 * BLOCK), second = start_nobody(2 * BLOCK), self;

	eq(pin_for(fd, 3 * BLOCK, DMO_CHARGE(pid, NOBODY)), -EDQUOT);
	eq(pin_for(fd, BLOCK, DMO_CHARGE(pid, NOBODY)), 0);
	eq(pin_for(fd, 2 * BLOCK, DMO_CHARGE(second, NOBODY)), -EDQUOT);	/* a user has one account */
	eq(pin_for(fd, BLOCK, DMO_CHARGE(second, NOBODY)), 0);
	self = fork();
	if (!self) {
		struct rlimit limit = { 2 * BLOCK, 2 * BLOCK };
		struct dmo_pin pin = { .length = BLOCK, .device = sim() };

		sys(setrlimit(RLIMIT_MEMLOCK, &limit));
		sys(setresuid(NOBODY, NOBODY, NOBODY));
		fails(ioctl(other, DMO_IOC_PIN, &pin), EDQUOT);			/* ... with what he pins himself */
		_exit(0);
	}
	eq(waitpid(self, &status, 0), self);
	eq(status, 0);
	close(fd);
	end_nobody(pid);
	end_nobody(second);
	pid = start_nobody(2 * BLOCK);
	eq(pin_for(other, BLOCK, DMO_CHARGE(pid, NOBODY)), 0);			/* the leases gave it back */
}

static void only_who_may_raise_limits_pins_for_another(void)
{
	int fd = fresh(BLOCK);
	pid_t pid = start_nobody(BLOCK);

	eq(pin_for(fd, BLOCK, DMO_CHARGE(pid, 0)), -ESRCH);	/* that process is another user's */
	end_nobody(pid);
	eq(pin_for(fd, BLOCK, DMO_CHARGE(pid, NOBODY)), -ESRCH);
	sys(setresuid(NOBODY, NOBODY, NOBODY));
	eq(pin_for(fd, BLOCK, DMO_CHARGE(getpid(), NOBODY)), -EPERM);
}

static void a_failed_copy_loses_nothing(void)
{
	uint32_t dev = sim();
	int fd = fresh(4 * BLOCK);
	char *at = map(fd, 4 * BLOCK);

	pattern(at, 0, 4 * BLOCK, 6);
	for (int n = 1; n < 12; n++) {
		eq(migrate(fd, 0, 4 * BLOCK, DMO_DEVICE_HOST), 0);
		sys(inject("sim0 copy-fail %d", n));
		if (!migrate(fd, 0, 4 * BLOCK, dev) && !migrate(fd, 0, 4 * BLOCK, DMO_DEVICE_HOST))
			sys(fsync(fd));
		sys(inject("sim0 copy-fail %d", 0));
		eq(differs(at, 0, 4 * BLOCK, 6), 4 * BLOCK);
	}
}

/* ---- coherent memory ------------------------------------------------------ */

static void the_cpu_uses_coherent_memory_in_place(void)
{
	uint32_t dev = coherent();
	int fd = fresh(4 * BLOCK);
	char *at = map(fd, 4 * BLOCK);

	pattern(at, 0, 4 * BLOCK, 1);
	eq(migrate(fd, 0, 4 * BLOCK, dev), 0);
	eq(differs(at, 0, 4 * BLOCK, 1), 4 * BLOCK);
	pattern(at, 0, 4 * BLOCK, 2);
	eq(resident(fd, dev), 4 * BLOCK);
	yes(extent(fd, BLOCK).flags & DMO_EXT_DIRTY);
}

static void the_cpu_takes_private_memory_home(void)
{
	uint32_t dev = sim();
	int fd = fresh(4 * BLOCK), ctx = context(dev);
	uint64_t va = ctx_map(ctx, fd, 4 * BLOCK, DMO_PROT_READ | DMO_PROT_WRITE);
	volatile char *at = map(fd, 4 * BLOCK);

	eq(fill(ctx, va, 4 * BLOCK, 1), 0);
	eq(resident(fd, dev), 4 * BLOCK);
	eq(at[BLOCK], 1);
	yes(extent(fd, BLOCK).device == DMO_DEVICE_HOST);
	eq(extent(fd, 0).device, dev);
}

static void a_block_costs_one_fault(void)
{
	int fd = fresh(4 * BLOCK);
	struct rusage before, after;
	volatile char *at;

	eq(migrate(fd, 0, 4 * BLOCK, coherent()), 0);
	at = map(fd, 4 * BLOCK);
	getrusage(RUSAGE_SELF, &before);
	for (uint64_t i = 0; i < 4 * BLOCK; i += PAGE)
		(void)at[i];
	getrusage(RUSAGE_SELF, &after);
	yes(after.ru_minflt - before.ru_minflt <= 8);
}

static void many_objects_share_a_small_coherent_device(void)
{
	uint32_t dev = coherent();
	uint64_t memory = memory_of(dev), size = memory / 8;
	char *at[24];
	int fd[24];

	for (int i = 0; i < 24; i++) {
		fd[i] = fresh(size);
		at[i] = map(fd[i], size);
		pattern(at[i], 0, size, i);
		eq(migrate(fd[i], 0, size, dev), 0);
	}
	for (int i = 0; i < 24; i++)
		eq(differs(at[i], 0, size, i), size);
	yes(get(dev, "current") <= memory);
}

/* A pipe holds references to the pages of a mapping that were spliced into it. */
static void a_page_that_a_pipe_holds_stays_in_place(void)
{
	uint32_t dev = coherent();
	int fd = fresh(BLOCK), p[2];
	char *at = map(fd, BLOCK), buf[PAGE];
	struct iovec iov = { at, PAGE };

	pattern(at, 0, BLOCK, 1);
	eq(migrate(fd, 0, BLOCK, dev), 0);
	sys(pipe(p));
	eq(vmsplice(p[1], &iov, 1, 0), PAGE);
	eq(migrate(fd, 0, BLOCK, DMO_DEVICE_HOST), -EBUSY);
	eq(differs(at, 0, BLOCK, 1), BLOCK);
	eq(read(p[0], buf, PAGE), PAGE);
	eq(differs(buf, 0, PAGE, 1), PAGE);
	eq(migrate(fd, 0, BLOCK, DMO_DEVICE_HOST), 0);
	eq(differs(at, 0, BLOCK, 1), BLOCK);
}

/* ---- the store ------------------------------------------------------------ */

static void a_full_disk_keeps_the_bytes_on_the_device(void)
{
	int back = disk_file(64 * BLOCK), hog = disk_file(0), fd = object_over(back);
	uint32_t dev = sim();
	int ctx = context(dev);
	uint64_t va = ctx_map(ctx, fd, 4 * BLOCK, DMO_PROT_READ | DMO_PROT_WRITE);
	char *buf = malloc(BLOCK);

	eq(fill(ctx, va, 4 * BLOCK, 5), 0);
	memset(buf, 1, BLOCK);
	while (write(hog, buf, BLOCK) > 0)
		;
	while (write(hog, buf, PAGE) > 0)
		;
	eq(migrate(fd, 0, 4 * BLOCK, DMO_DEVICE_HOST), -ENOSPC);
	fails(fsync(fd), ENOSPC);
	eq(pread(fd, buf, BLOCK, 3 * BLOCK), BLOCK);
	eq(buf[BLOCK - 1], 5);
	sys(ftruncate(hog, 0));
	sys(fsync(fd));			/* each failure is told once */
	eq(migrate(fd, 0, 4 * BLOCK, DMO_DEVICE_HOST), 0);
	eq(pread(back, buf, BLOCK, 2 * BLOCK), BLOCK);
	eq(buf[17], 5);
}

/* ---- what eviction writes is written like any other --------------------------- */

#define END	(PAGE + 100)

static uint32_t memory_types[] = { DMO_MEM_PRIVATE, DMO_MEM_COHERENT };

static void past_the_end(uint32_t dev)
{
	int back = memfd(END), fd = object_over(back), ctx = context(dev);
	uint64_t va = ctx_map(ctx, fd, 2 * PAGE, DMO_PROT_READ | DMO_PROT_WRITE);
	unsigned char buf[PAGE], zero[PAGE] = { 0 };

	eq(fill(ctx, va, 2 * PAGE, 7), 0);
	eq(migrate(fd, 0, 0, DMO_DEVICE_HOST), 0);
	sys(ftruncate(back, 2 * PAGE));
	eq(pread(back, buf, PAGE, PAGE), PAGE);
	eq(buf[0], 7);
	eq(buf[END - PAGE - 1], 7);
	eq(memcmp(buf + END - PAGE, zero, 2 * PAGE - END), 0);
	close(ctx);
	close(fd);
	close(back);
}

static void what_a_device_writes_past_the_end_never_comes_to_the_file(void)
{
	for (int i = 0; i < 2; i++)
		past_the_end(device_of(memory_types[i]));
}

static void a_sealed_file_keeps_the_bytes_on_the_device(void)
{
	int back = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING), fd, ctx = context(sim());
	unsigned char buf[PAGE];
	uint64_t va;

	sys(ftruncate(back, PAGE));
	fd = object_over(back);
	va = ctx_map(ctx, fd, PAGE, DMO_PROT_READ | DMO_PROT_WRITE);
	eq(fill(ctx, va, PAGE, 9), 0);
	sys(fcntl(back, F_ADD_SEALS, F_SEAL_WRITE));
	eq(migrate(fd, 0, PAGE, DMO_DEVICE_HOST), -EPERM);
	eq(resident(fd, sim()), PAGE);
	eq(pread(fd, buf, PAGE, 0), PAGE);
	eq(buf[PAGE - 1], 9);
	eq(pread(back, buf, PAGE, 0), PAGE);
	eq(buf[PAGE - 1], 0);
	sys(ftruncate(fd, 0));		/* else the object would wait for ever for its end */
}

static void an_eviction_changes_the_files_times(void)
{
	int back = memfd(PAGE), fd = object_over(back), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, PAGE, DMO_PROT_READ | DMO_PROT_WRITE);
	struct stat before, after;

	eq(fill(ctx, va, PAGE, 9), 0);
	sys(fstat(back, &before));
	usleep(50000);
	eq(migrate(fd, 0, PAGE, DMO_DEVICE_HOST), 0);
	sys(fstat(back, &after));
	yes(after.st_mtim.tv_sec != before.st_mtim.tv_sec || after.st_mtim.tv_nsec != before.st_mtim.tv_nsec);
}

int main(void)
{
	static const struct test tests[] = {
		T(a_device_goes_through_four_times_its_memory), T(clean_pages_are_dropped_uncopied),
		T(two_processes_and_a_device_at_random), T(lowering_the_limit_evicts_before_it_returns),
		T(a_limit_is_a_number_or_max), T(the_evictor_runs_from_high_to_low),
		T(what_is_pinned_is_not_evicted), T(pins_are_bounded_by_rlimit_memlock),
		T(a_pin_for_another_counts_against_his_limit), T(only_who_may_raise_limits_pins_for_another),
		T(a_failed_copy_loses_nothing), T(the_cpu_uses_coherent_memory_in_place),
		T(the_cpu_takes_private_memory_home), T(a_block_costs_one_fault),
		T(many_objects_share_a_small_coherent_device), T(a_page_that_a_pipe_holds_stays_in_place),
		T(a_full_disk_keeps_the_bytes_on_the_device),
		T(what_a_device_writes_past_the_end_never_comes_to_the_file),
		T(a_sealed_file_keeps_the_bytes_on_the_device), T(an_eviction_changes_the_files_times),
	};

	return RUN(tests);
}
