// SPDX-License-Identifier: GPL-2.0-or-later
/* observe.c - what an administrator sees: tracepoints, fdinfo, memory cgroups */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRACING	"/sys/kernel/tracing"
#define CGROUP	"/tmp/cgroup"

/* ---- text files ----------------------------------------------------------- */

static char *slurp(const char *path)
{
	static char text[1 << 18];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n, at = 0;

	sys(fd);
	while ((n = read(fd, text + at, sizeof(text) - 1 - at)) > 0)
		at += n;
	text[at] = 0;
	close(fd);
	return text;
}

static void put(const char *path, const char *words)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	sys(fd);
	sys(write(fd, words, strlen(words)));
	close(fd);
}

/* The number after key in text; -1: there is none. */
static long long number(const char *text, const char *key)
{
	const char *at = text;

	while ((at = strstr(at, key))) {
		if (at == text || at[-1] == '\n')
			return strtoll(at + strlen(key), NULL, 10);
		at++;
	}
	return -1;
}

static void has(const char *text, const char *format, ...)
{
	char want[256];
	va_list args;

	va_start(args, format);
	vsnprintf(want, sizeof(want), format, args);
	va_end(args);
	if (!strstr(text, want))
		printf("\tno '%s' in:\n%s\n", want, text);
	yes(strstr(text, want));
}

/* ---- tracepoints ---------------------------------------------------------- */

static void trace_on(void)
{
	if (access(TRACING "/events", F_OK))
		skip("no tracefs");
	put(TRACING "/trace", "");
	put(TRACING "/events/dmo/enable", "1");
}

static char *traced(void)
{
	put(TRACING "/events/dmo/enable", "0");
	return slurp(TRACING "/trace");
}

static const char *name_of(uint32_t device)
{
	static struct dmo_device_info info;

	device_info(device, &info);
	return info.name;
}

static void each_step_of_a_page_s_life_has_a_tracepoint(void)
{
	uint32_t device = sim();
	int fd = fresh(BLOCK), ctx = context(device);
	struct dmo_pin pin = { .length = PAGE, .device = device };
	const char *name = name_of(device), *text;
	unsigned long long va;

	trace_on();
	va = ctx_map(ctx, fd, BLOCK, DMO_PROT_READ | DMO_PROT_WRITE);
	eq(fill(ctx, va, PAGE, 7), 0);
	sys(ioctl(fd, DMO_IOC_PIN, &pin));
	sys(ioctl(fd, DMO_IOC_UNPIN, &pin));
	eq(migrate(fd, 0, BLOCK, DMO_DEVICE_HOST), 0);
	eq(ctx_unmap(ctx, va, BLOCK), 0);
	text = traced();
	has(text, "dmo_map: device=%s dev=", name);
	has(text, " va=0x%llx length=0x200000 offset=0x0 prot=3 error=0", va);
	has(text, "dmo_fault: device=%s va=0x%llx write=1 error=0", name, va);
	has(text, "dmo_migrate: device=%s dev=", name);
	has(text, "dmo_pin: device=%s dev=", name);
	has(text, " page=0 pages=1 error=0");
	has(text, "dmo_unpin: device=%s dev=", name);
	has(text, "dmo_evict: device=%s dev=", name);
	has(text, "dmo_unmap: device=%s va=0x%llx length=0x200000 error=0", name, va);
}

static void a_trace_names_the_backing_file_and_its_pages(void)
{
	uint32_t device = sim();
	int back = memfd(2 * BLOCK), fd = object_over(back);
	char *at = map(fd, 2 * BLOCK), *text;
	struct stat st;

	sys(fstat(back, &st));
	memset(at, 1, 2 * BLOCK);
	trace_on();
	eq(migrate(fd, BLOCK, 3 * PAGE, device), 0);
	text = traced();
	has(text, "ino=%llu page=512 pages=3 copied=3 error=0", (unsigned long long)st.st_ino);
}

static void a_trace_tells_why_it_failed(void)
{
	uint32_t device = sim();
	int fd = fresh(BLOCK), ctx = context(device);
	struct dmo_pin pin = { .length = 2 * BLOCK, .device = device };
	char *text;

	trace_on();
	fails(ioctl(fd, DMO_IOC_PIN, &pin), EINVAL);
	eq(fill(ctx, ctx_map(ctx, fd, PAGE, DMO_PROT_READ), PAGE, 7), -EACCES);
	text = traced();
	has(text, "page=0 pages=1024 error=-22");
	has(text, "write=1 error=-13");
}

/* ---- fdinfo --------------------------------------------------------------- */

static char *fdinfo(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return slurp(path);
}

static long long fdinfo_of(int fd, const char *key, uint32_t device)
{
	char word[96];

	snprintf(word, sizeof(word), "%s%s:", key, device == NONE ? "" : name_of(device));
	return number(fdinfo(fd), word);
}

static void fdinfo_tells_what_an_object_has_where(void)
{
	uint32_t device = sim();
	int back = memfd(2 * BLOCK), fd = object_over(back), ctx;
	struct dmo_pin pin = { .length = PAGE, .device = device };
	uint64_t va;

	eq(fdinfo_of(fd, "dmo-size", NONE), 2 * BLOCK);
	eq(fdinfo_of(fd, "drm-resident-", device), -1);
	eq(migrate(fd, 0, 2 * BLOCK, device), 0);
	has(fdinfo(fd), "\ndrm-driver:\tdmo\n");
	eq(fdinfo_of(fd, "drm-resident-", device), 4096);
	eq(fdinfo_of(fd, "drm-total-", device), 4096);
	eq(fdinfo_of(fd, "drm-shared-", device), 0);
	eq(fdinfo_of(fd, "drm-purgeable-", device), 4096);
	eq(fdinfo_of(fd, "dmo-dirty-", device), 0);
	ctx = context(device);
	va = ctx_map(ctx, fd, BLOCK, DMO_PROT_READ | DMO_PROT_WRITE);
	eq(fill(ctx, va, PAGE, 1), 0);
	eq(ctx_unmap(ctx, va, BLOCK), 0);
	eq(fdinfo_of(fd, "dmo-dirty-", device), 4);
	eq(fdinfo_of(fd, "drm-purgeable-", device), 4092);
	eq(fdinfo_of(fd, "dmo-pinned", NONE), 0);
	sys(ioctl(fd, DMO_IOC_PIN, &pin));
	eq(fdinfo_of(fd, "dmo-pinned", NONE), 4);
	eq(fdinfo_of(fd, "drm-purgeable-", device), 2048);
}

static void fdinfo_tells_shared_objects_and_their_clients_apart(void)
{
	uint32_t device = sim();
	int back = memfd(BLOCK), fd = object_over(back), other;

	eq(migrate(fd, 0, BLOCK, device), 0);
	eq(fdinfo_of(fd, "drm-shared-", device), 0);
	other = object_over(back);
	eq(fdinfo_of(fd, "drm-shared-", device), 2048);
	yes(fdinfo_of(fd, "drm-client-id", NONE) != fdinfo_of(other, "drm-client-id", NONE));
	eq(fdinfo_of(fd, "drm-client-id", NONE), fdinfo_of(dup(fd), "drm-client-id", NONE));
}

static void fdinfo_tells_what_a_context_maps(void)
{
	uint32_t device = sim();
	int fd = fresh(2 * BLOCK), ctx = context(device);
	char want[64];

	eq(fdinfo_of(ctx, "drm-total-", device), 0);
	ctx_map(ctx, fd, 2 * BLOCK, DMO_PROT_READ);
	snprintf(want, sizeof(want), "\ndmo-device:\t%s\n", name_of(device));
	has(fdinfo(ctx), want);
	eq(fdinfo_of(ctx, "dmo-mappings", NONE), 1);
	eq(fdinfo_of(ctx, "drm-total-", device), 4096);
	eq(fdinfo_of(ctx, "drm-resident-", device), 0);
	eq(migrate(fd, BLOCK, BLOCK, device), 0);
	eq(fdinfo_of(ctx, "drm-resident-", device), 2048);
}

/* ---- memory cgroups ------------------------------------------------------- */

static void join(const char *group)
{
	char path[128];

	snprintf(path, sizeof(path), CGROUP "%s/cgroup.procs", group);
	put(path, "0");
}

static void make_group(void)
{
	mkdir(CGROUP, 0755);
	if (access(CGROUP "/cgroup.procs", F_OK) && mount("none", CGROUP, "cgroup2", 0, NULL))
		skip("no cgroup2");
	if (!strstr(slurp(CGROUP "/cgroup.controllers"), "memory"))
		skip("no memory controller");
	put(CGROUP "/cgroup.subtree_control", "+memory");
	yes(!mkdir(CGROUP "/owner", 0755) || errno == EEXIST);
}

static long long charged(const char *key)
{
	return number(slurp(CGROUP "/owner/memory.stat"), key);
}

/* Who makes the object has it charged, whoever moves its pages. */
static void what_eviction_writes_is_charged_to_the_owner(void)
{
	uint32_t device = sim();
	int fd, ctx = context(device);
	long long before;

	make_group();
	join("/owner");
	fd = fresh(8 * MIB);
	join("");
	before = charged("shmem ");
	eq(fill(ctx, ctx_map(ctx, fd, 8 * MIB, DMO_PROT_READ | DMO_PROT_WRITE), 8 * MIB, 3), 0);
	yes(charged("shmem ") - before < 1 * (long long)MIB);
	eq(migrate(fd, 0, 8 * MIB, DMO_DEVICE_HOST), 0);
	yes(charged("shmem ") - before >= 7 * (long long)MIB);
}

static void what_a_prefetch_reads_is_charged_to_the_owner(void)
{
	uint32_t device = sim();
	int back = disk_file(8 * MIB), fd;
	long long before;
	char *at;

	make_group();
	at = map(back, 8 * MIB);
	memset(at, 1, 8 * MIB);
	munmap(at, 8 * MIB);
	sys(fsync(back));
	sys(posix_fadvise(back, 0, 0, POSIX_FADV_DONTNEED));
	join("/owner");
	fd = object_over(back);
	join("");
	before = charged("file ");
	eq(migrate(fd, 0, 8 * MIB, device), 0);
	yes(charged("file ") - before >= 7 * (long long)MIB);
}

int main(void)
{
	static const struct test tests[] = {
		T(each_step_of_a_page_s_life_has_a_tracepoint),
		T(a_trace_names_the_backing_file_and_its_pages),
		T(a_trace_tells_why_it_failed),
		T(fdinfo_tells_what_an_object_has_where),
		T(fdinfo_tells_shared_objects_and_their_clients_apart),
		T(fdinfo_tells_what_a_context_maps),
		T(what_eviction_writes_is_charged_to_the_owner),
		T(what_a_prefetch_reads_is_charged_to_the_owner),
	};

	return RUN(tests);
}
