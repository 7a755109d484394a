// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * races.c - everything at once on one object: CPUs and devices use its pages while others migrate, evict, truncate,
 * punch, pin, write back, open and close
 *
 * Every user owns one word of each page, so that several meet in every page. Words of the first half of the file must
 * be what their owner wrote last, whichever way it looks; the second half is truncated and punched all the time, and a
 * word there is 0 or its owner's. RACES_SECONDS in the environment bounds the time of each test (10); 3600 is the
 * long run. RACES_SEED moves the sequences (1).
 */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCKS		12
#define SIZE		(BLOCKS * BLOCK)
#define KEPT		(SIZE / 2)
#define PAGES		(SIZE / PAGE)
#define KEPT_PAGES	(KEPT / PAGE)
#define TASKS_MAX	10

enum { CPU_1, CPU_2, DEVICE_1, DEVICE_2, USERS };

struct shared {
	uint64_t value[USERS][KEPT_PAGES];
	uint64_t steps[TASKS_MAX];
};

static struct shared *shared;
static int backing, object;
static uint64_t state;
static uint32_t devices[4];
static unsigned int device_count;

static uint64_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 8;
}

static uint64_t below(uint64_t n)
{
	return draw() % n;
}

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *set = getenv(name);

	return set && *set ? strtoul(set, NULL, 0) : otherwise;
}

/* ---- users ---------------------------------------------------------------- */

/* What its owner writes into a page of the second half. */
static uint64_t tagged(int who, uint64_t n)
{
	return (who + 1ull) << 56 | (n & 0xffffffff);
}

static void check_torn(int who, uint64_t got)
{
	if (got)
		eq(got >> 56, who + 1);
}

static sigjmp_buf past_end;

static void on_sigbus(int signal)
{
	siglongjmp(past_end, 1);
}

static void catch_sigbus(void)
{
	struct sigaction action = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };

	sys(sigaction(SIGBUS, &action, NULL));
}

static uint64_t offset_of(int who, uint64_t page)
{
	return page * PAGE + who * 8;
}

/* One look and one store by the mapping; false past the end of the file, which the kept half never is. */
static bool by_mapping(int who, volatile char *at, uint64_t page, uint64_t want, uint64_t next)
{
	volatile uint64_t *word = (volatile uint64_t *)(at + offset_of(who, page));
	uint64_t got;

	if (sigsetjmp(past_end, 0)) {
		yes(page >= KEPT_PAGES);
		return false;
	}
	got = *word;
	if (page < KEPT_PAGES)
		eq(got, want);
	else
		check_torn(who, got);
	*word = next;
	return true;
}

static void by_calls(int who, uint64_t page, uint64_t want, uint64_t next)
{
	uint64_t got = 0;
	ssize_t r = pread(object, &got, 8, offset_of(who, page));

	if (page < KEPT_PAGES) {
		eq(r, 8);
		eq(got, want);
	} else {
		yes(r == 8 || r == 0);
		check_torn(who, got);
		if (!r)
			return;		/* a write would make the file longer; that is the truncater's */
	}
	r = pwrite(object, &next, 8, offset_of(who, page));
	yes(r == 8 || (r < 0 && errno == ENOSPC && page >= KEPT_PAGES));
}

static void cpu_user(int who)
{
	uint64_t page = below(PAGES), *value = page < KEPT_PAGES ? &shared->value[who][page] : NULL;
	uint64_t next = value ? *value + 1 : tagged(who, draw());
	static char *at;

	if (at && below(200) == 0) {
		munmap(at, SIZE);
		at = NULL;
	}
	if (!at) {
		at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, object, 0);
		yes(at != MAP_FAILED);
	}
	if (below(4))
		by_mapping(who, at, page, value ? *value : 0, next);
	else
		by_calls(who, page, value ? *value : 0, next);
	if (value)
		*value = next;
	if (below(300) == 0)
		sys(msync(at, KEPT, MS_SYNC));
}

struct device_use {
	int ctx;
	uint64_t va;
};

static void open_device(struct device_use *d, uint32_t device)
{
	if (d->va)
		close(d->ctx);
	d->ctx = context(device);
	d->va = ctx_map(d->ctx, object, SIZE, DMO_PROT_READ | DMO_PROT_WRITE);
}

/* An addition; in the second half its word need not be a tag, so there the device only reads, or fills by hand. */
static void device_user(int who)
{
	static struct device_use use;
	uint64_t page = below(PAGES), va;
	struct dmo_completion c;

	if (!use.va || below(300) == 0)
		open_device(&use, devices[(who - DEVICE_1) % device_count]);
	va = use.va + offset_of(who, page);
	if (page < KEPT_PAGES) {
		c = command(use.ctx, DMO_OP_ATOMIC_ADD, va, 1, 0);
		eq(c.status, 0);
		eq(c.result[0], shared->value[who][page]);
		shared->value[who][page]++;
		return;
	}
	c = command(use.ctx, DMO_OP_FILL, va, 8, who + 1);
	yes(!c.status || c.status == -EFAULT);
	c = command(use.ctx, DMO_OP_CHASE, va, 1, 0);
	yes(!c.status || c.status == -EFAULT);
	if (!c.status)
		check_torn(who, c.result[0]);
}

/* ---- others --------------------------------------------------------------- */

static uint32_t somewhere(void)
{
	unsigned int i = below(device_count + 1);

	return i < device_count ? devices[i] : DMO_DEVICE_HOST;
}

static void mover(int unused)
{
	uint64_t first = below(PAGES), n = 1 + below(below(2) ? 8 : 1024);
	int err = migrate(object, first * PAGE, n * PAGE, somewhere());

	yes(!err || err == -ENOSPC || err == -EBUSY || err == -EFAULT);
	if (below(20) == 0)
		sys(fsync(object));
}

/* More than a device holds goes through each. */
static void hog(int unused)
{
	uint64_t size = 40 * BLOCK;
	static int fd;
	int err;

	if (!fd || below(100) == 0) {
		if (fd)
			close(fd);
		fd = fresh(size);
	}
	err = migrate(fd, below(size / BLOCK) * BLOCK, 4 * BLOCK, devices[below(device_count)]);
	yes(!err || err == -ENOSPC || err == -EBUSY);
	usleep(1000);
}

static void truncater(int unused)
{
	uint64_t at = KEPT + below(SIZE - KEPT);

	if (below(3)) {
		sys(ftruncate(object, at));
		sys(ftruncate(object, SIZE));
	} else {
		sys(fallocate(object, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 1 + below(SIZE - at)));
	}
	usleep(500);
}

/* The object again, from its backing file; the mapping outlives the descriptor. A private page stays its owner's. */
static void opener(int unused)
{
	int fd = object_over(backing);
	volatile char *at = mmap(NULL, KEPT, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	uint64_t page = below(KEPT_PAGES) * PAGE + 2000;
	struct dmo_pin pin = { .offset = below(BLOCKS / 2) * BLOCK, .length = 3 * PAGE, .device = devices[0] };

	yes(at != MAP_FAILED);
	at[page] = 77;
	if (below(2) && !ioctl(fd, DMO_IOC_PIN, &pin))
		usleep(300);
	close(fd);
	for (int i = 0; i < 4; i++)
		(void)at[below(KEPT_PAGES) * PAGE];
	eq(at[page], 77);
	munmap((void *)at, KEPT);
}

/* ---- all at once ---------------------------------------------------------- */

struct task {
	void (*step)(int who);
	int who;
};

static pid_t start_task(const struct task *t, int number, time_t end)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	alarm(0);
	catch_sigbus();
	state = (from_environment("RACES_SEED", 1) * 64 + number + 1) * 0x9e3779b97f4a7c15ull;
	while (time(NULL) < end) {
		t->step(t->who);
		shared->steps[number]++;
	}
	_exit(0);
}

static uint64_t used_of(uint32_t device)
{
	struct dmo_device_info info;

	device_info(device, &info);
	return info.used;
}

static void find_devices(void)
{
	struct dmo_device_info info = { 0 };

	devices[0] = sim();
	devices[1] = coherent();
	device_count = 2;
	for (info.device = devices[0] + 1; info.device < 8 && device_count < 3; info.device++) {
		struct dmo_device_info other = { .device = info.device };

		if (!ioctl(control(), DMO_IOC_DEVICE, &other) && other.memory_type == DMO_MEM_PRIVATE)
			devices[device_count++] = info.device;
	}
}

static void check_words(void)
{
	char *at = map(object, SIZE);

	for (uint64_t page = 0; page < KEPT_PAGES; page++)
		for (int who = 0; who < USERS; who++)
			eq(*(uint64_t *)(at + offset_of(who, page)), shared->value[who][page]);
	munmap(at, SIZE);
}

static void all_at_once(int over)
{
	static const struct task tasks[] = {
		{ cpu_user, CPU_1 }, { cpu_user, CPU_2 }, { device_user, DEVICE_1 }, { device_user, DEVICE_2 },
		{ mover, 0 }, { hog, 0 }, { truncater, 0 }, { opener, 0 },
	};
	enum { TASKS = sizeof(tasks) / sizeof(tasks[0]) };
	unsigned long seconds = from_environment("RACES_SECONDS", 10);
	time_t end = time(NULL) + seconds;
	bool failed = false;
	pid_t pids[TASKS];

	alarm(seconds + 110);
	backing = over;
	object = object_over(backing);
	find_devices();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	yes(shared != MAP_FAILED);
	for (int i = 0; i < TASKS; i++)
		pids[i] = start_task(&tasks[i], i, end);
	for (int i = 0; i < TASKS; i++) {
		int status;

		waitpid(pids[i], &status, 0);
		printf("\ttask %d: %llu steps, status %d\n", i, (unsigned long long)shared->steps[i], status);
		failed |= status;
	}
	eq(failed, false);
	check_words();
	eq(migrate(object, 0, 0, DMO_DEVICE_HOST), 0);
	check_words();
	close(object);
	for (unsigned int i = 0; i < device_count; i++) {
		for (int n = 0; n < 1000 && used_of(devices[i]); n++)
			usleep(10000);
		eq(used_of(devices[i]), 0);
	}
}

static void everything_at_once_over_memory(void)
{
	all_at_once(memfd(SIZE));
}

static void everything_at_once_over_a_disk(void)
{
	all_at_once(disk_file(SIZE));
}

/* ---- pages that are held -------------------------------------------------- */

/* A page of coherent memory that a pipe has a reference to; the pipe. */
static int hold_page(int fd)
{
	char *at = map(fd, BLOCK);
	struct iovec iov = { at, PAGE };
	int p[2];

	eq(migrate(fd, 0, BLOCK, coherent()), 0);
	*(uint64_t *)at = 41;
	sys(pipe(p));
	eq(vmsplice(p[1], &iov, 1, 0), PAGE);
	munmap(at, BLOCK);
	close(p[1]);
	return p[0];
}

static void a_device_waits_for_a_page_that_is_held_for_a_moment(void)
{
	int fd = fresh(BLOCK), pipe = hold_page(fd), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, BLOCK, DMO_PROT_READ | DMO_PROT_WRITE);
	struct dmo_completion c;

	if (!fork()) {
		usleep(200000);
		_exit(0);		/* with the last descriptor of the pipe */
	}
	close(pipe);
	c = command(ctx, DMO_OP_ATOMIC_ADD, va, 1, 0);
	eq(c.status, 0);
	eq(c.result[0], 41);
}

static void a_page_that_is_held_for_good_has_no_room_elsewhere(void)
{
	int fd = fresh(BLOCK), pipe = hold_page(fd), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, BLOCK, DMO_PROT_READ | DMO_PROT_WRITE);

	eq(command(ctx, DMO_OP_ATOMIC_ADD, va, 1, 0).status, -ENOSPC);
	close(pipe);
	eq(command(ctx, DMO_OP_ATOMIC_ADD, va, 1, 0).result[0], 41);
}

int main(void)
{
	static const struct test tests[] = {
		T(a_device_waits_for_a_page_that_is_held_for_a_moment),
		T(a_page_that_is_held_for_good_has_no_room_elsewhere),
		T(everything_at_once_over_memory), T(everything_at_once_over_a_disk),
	};

	return RUN(tests);
}
