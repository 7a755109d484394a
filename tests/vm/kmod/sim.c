// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sim.c - dmo_sim.ko's parameters, and failures on purpose
 *
 * Each test loads the module anew. The machine is booted with 32 MiB of RAM left alone at SIM_RESERVED.
 */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RW		(DMO_PROT_READ | DMO_PROT_WRITE)
#define COHERENT	"coherent=" SIM_RESERVED " memory=16M"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static int kmsg = -1;

static void since_now(void)
{
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	sys(kmsg);
	sys(lseek(kmsg, 0, SEEK_END));
}

/* Is the text in what the kernel said since_now()? */
static int said(const char *text)
{
	char record[4096];
	ssize_t n;

	while ((n = read(kmsg, record, sizeof(record) - 1)) > 0) {
		record[n] = 0;
		if (strstr(record, text))
			return 1;
	}
	return 0;
}

/* ---- parameters ----------------------------------------------------------- */

static void a_bad_parameter_is_refused_with_its_name(void)
{
	static const char *const bad[][2] = {
		{ "memory=0", "'memory=0'" }, { "memory=4097", "'memory=4097'" }, { "memory=", "'memory='" },
		{ "memory=12Q", "'memory=12Q'" }, { "memory=2T", "1T at most" }, { "memory=-4K", "'memory=-4K'" },
		{ "memory=99999999999999999999", "whole pages" }, { "memory=18014398509481984K", "whole pages" },
		{ "link=fast", "'link=fast'" }, { "latency=5", "a time with its unit" },
		{ "latency=11s", "10s at most" }, { "devices=0", "from 1 to 8" }, { "devices=9", "from 1 to 8" },
		{ "faults=maybe", "yes or no" }, { "inject=1", "yes or no" }, { "coherent=yes", "physical address" },
		{ "coherent=0x1000", "2 MiB" }, { "coherent=0x40000000 memory=4K", "whole 2 MiB" },
		{ "name=", "'name='" }, { "name=a/b", "a/b0: no device: -22" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		since_now();
		eq(load_sim(bad[i][0]), -EINVAL);
		if (!said(bad[i][1]))
			fail_at(__FILE__, __LINE__, bad[i][1], 0, 1);
		close(kmsg);
	}
}

static void sizes_names_and_numbers_of_devices_are_as_told(void)
{
	struct dmo_device_info info;

	eq(load_sim("memory=2052K devices=3 name=npu- link=3G"), 0);
	for (int i = 0; i < 3; i++) {
		char name[16];

		snprintf(name, sizeof(name), "npu-%d", i);
		yes(named(name) != NONE);
		device_info(named(name), &info);
		eq(info.memory, 2052 << 10);
		eq(info.memory_type, DMO_MEM_PRIVATE);
		eq(info.flags, DMO_DEVICE_FAULTS | DMO_DEVICE_DIRTY);
		eq(info.link, 3ull << 30);
		eq(info.threads, 1);
	}
	eq(named("npu-3"), NONE);
	eq(load_sim(""), 0);
	device_info(named("sim0"), &info);
	eq(info.memory, 64 * MIB);
	eq(info.link, 0);
}

static void more_memory_than_there_is_gives_enomem(void)
{
	since_now();
	eq(load_sim("memory=64G"), -ENOMEM);
	yes(said("sim0: can't have 67108864 KiB"));
}

static void a_name_that_is_taken_gives_eexist(void)
{
	if (named("ivshmem-00.10") == NONE)
		skip("no device ivshmem-00.10");
	since_now();
	eq(load_sim("name=ivshmem-00.1"), -EEXIST);
	yes(said("ivshmem-00.10: no device: -17, the name is taken"));
}

/* ---- the link ------------------------------------------------------------- */

static void a_link_takes_its_time_each_way(void)
{
	uint64_t va;
	double start;
	int fd, ctx;
	char *at;

	eq(load_sim("link=16M"), 0);
	fd = fresh(4 * BLOCK);
	ctx = context(named("sim0"));
	va = ctx_map(ctx, fd, 4 * BLOCK, RW);
	at = map(fd, 4 * BLOCK);
	pattern(at, 0, 4 * BLOCK, 1);
	start = now();
	eq(migrate(fd, 0, 4 * BLOCK, named("sim0")), 0);
	yes(now() - start >= 0.5);
	eq(fill(ctx, va, 4 * BLOCK, 3), 0);
	start = now();
	eq(migrate(fd, 0, 4 * BLOCK, DMO_DEVICE_HOST), 0);
	yes(now() - start >= 0.5);
	eq(at[4 * BLOCK - 1], 3);
}

static void the_latency_is_waited_for_by_each_copy(void)
{
	double start;
	int fd;

	eq(load_sim("latency=100ms"), 0);
	fd = fresh(PAGE);
	eq(pwrite(fd, "x", 1, 0), 1);
	start = now();
	eq(migrate(fd, 0, PAGE, named("sim0")), 0);
	yes(now() - start >= 0.1);
}

/* Zeroing and copies on the device cross no link, and neither do commands on what is there. */
static void resident_bytes_do_not_cross_the_link(void)
{
	uint64_t va;
	double start;
	int fd, ctx;

	eq(load_sim("link=4M"), 0);
	fd = fresh(BLOCK);
	ctx = context(named("sim0"));
	va = ctx_map(ctx, fd, BLOCK, RW);
	eq(fill(ctx, va, BLOCK, 1), 0);
	start = now();
	for (int i = 0; i < 10; i++)
		eq(fill(ctx, va, BLOCK, i), 0);
	yes(now() - start < 5);		/* 5 s is what the link would take for the ten of them */
}

/* An object that sim0 reads in place, mapped in a context. */
static int in_place(uint64_t size, int *ctx, uint64_t *va)
{
	int fd = fresh(size);

	pattern(map(fd, size), 0, size, 1);
	eq(advise(fd, 0, 0, DMO_ADV_NO_MIGRATE, NONE, 0), 0);
	*ctx = context(named("sim0"));
	*va = ctx_map(*ctx, fd, size, RW);
	return fd;
}

static void what_is_read_in_place_crosses_the_link(void)
{
	struct dmo_completion c;
	double start;
	int fd, ctx;
	uint64_t va;

	eq(load_sim("link=16M"), 0);
	fd = in_place(2 * BLOCK, &ctx, &va);
	for (int i = 0; i < 2; i++) {	/* nothing of it is kept */
		start = now();
		c = command(ctx, DMO_OP_CKSUM, va, 2 * BLOCK, 0);
		eq(c.status, 0);
		yes(now() - start >= 0.25);
		yes(c.waited_ns >= 200000000);
	}
	eq(resident(fd, NONE), 0);
}

/* Two operands side by side cost their own bytes, not each other's. */
static void two_streams_in_place_pay_once(void)
{
	double start;
	int ctx;
	uint64_t va;

	eq(load_sim("link=8M"), 0);
	in_place(2 * BLOCK, &ctx, &va);
	start = now();
	eq(command(ctx, DMO_OP_COMPARE, va, va + BLOCK, BLOCK - PAGE).status, 0);
	eq(command(ctx, DMO_OP_COMPARE, va, va, BLOCK).result[0], BLOCK);
	yes(now() - start >= 0.25);
	yes(now() - start < 4);
}

static void each_word_in_place_waits_for_the_latency(void)
{
	uint64_t va, *at;
	double start;
	int fd, ctx;

	eq(load_sim("latency=20ms"), 0);
	fd = in_place(BLOCK, &ctx, &va);
	at = map(fd, BLOCK);
	at[0] = va;
	start = now();
	eq(command(ctx, DMO_OP_CHASE, va, 10, 0).result[0], va);
	yes(now() - start >= 0.2);
}

/* ---- coherent memory ------------------------------------------------------ */

static int load_coherent(const char *more)
{
	char parameters[128];
	int r;

	snprintf(parameters, sizeof(parameters), COHERENT " %s", more);
	r = load_sim(parameters);
	if (r == -EBUSY)
		skip("no memory was left alone at " SIM_RESERVED " when the kernel was booted");
	return r;
}

static void cpu_and_device_take_turns_on_coherent_memory_in_place(void)
{
	struct dmo_device_info info;
	uint32_t dev;
	int fd, ctx;
	uint64_t va, *at, moved;

	eq(load_coherent(""), 0);
	dev = named("sim0");
	device_info(dev, &info);
	eq(info.memory_type, DMO_MEM_COHERENT);
	fd = fresh(BLOCK);
	ctx = context(dev);
	va = ctx_map(ctx, fd, BLOCK, RW);
	at = map(fd, BLOCK);
	eq(migrate(fd, 0, BLOCK, dev), 0);
	moved = device_stat("sim0", "bytes_to_host");
	for (int i = 0; i < 200; i++) {
		eq(command(ctx, DMO_OP_ATOMIC_ADD, va + 8, 1, 0).result[0], 2 * i);
		at[1]++;
	}
	eq(at[1], 400);
	eq(resident(fd, dev), BLOCK);
	eq(device_stat("sim0", "bytes_to_host"), moved);
}

static void coherent_devices_lie_one_after_the_other(void)
{
	int a, b;

	eq(load_coherent("devices=2"), 0);
	a = fresh(4 * BLOCK);
	b = fresh(4 * BLOCK);
	pattern(map(a, 4 * BLOCK), 0, 4 * BLOCK, 1);
	pattern(map(b, 4 * BLOCK), 0, 4 * BLOCK, 2);
	eq(migrate(a, 0, 4 * BLOCK, named("sim0")), 0);
	eq(migrate(b, 0, 4 * BLOCK, named("sim1")), 0);
	eq(resident(a, named("sim0")), 4 * BLOCK);
	eq(differs(map(a, 4 * BLOCK), 0, 4 * BLOCK, 1), 4 * BLOCK);
	eq(differs(map(b, 4 * BLOCK), 0, 4 * BLOCK, 2), 4 * BLOCK);
}

static void memory_that_the_kernel_uses_is_not_taken(void)
{
	eq(load_sim("coherent=0x10000000 memory=16M"), -EBUSY);
}

static void coherent_memory_can_not_be_lost(void)
{
	eq(load_coherent("inject=yes"), 0);
	fails(inject("sim0 lost"), EOPNOTSUPP);
}

/* ---- failures on purpose -------------------------------------------------- */

static void nothing_is_injected_unless_allowed(void)
{
	eq(load_sim(""), 0);
	fails(inject("sim0 lost"), EPERM);
	fails(inject("yes"), EPERM);
	yes(named("sim0") != NONE);
}

static void nonsense_is_not_injected(void)
{
	eq(load_sim("inject=yes"), 0);
	fails(inject("sim1 lost"), ENOENT);
	fails(inject("sim0"), EINVAL);
	fails(inject("sim0 "), EINVAL);
	fails(inject("sim0 copy-fail"), EINVAL);
	fails(inject("sim0 copy-fail -1"), EINVAL);
	fails(inject("sim0 copy-fail 1x"), EINVAL);
	fails(inject("sim0 lost again"), EINVAL);
	yes(named("sim0") != NONE);
}

static void the_nth_copy_fails_and_no_other(void)
{
	uint32_t dev;
	int fd;
	char *at;

	eq(load_sim("inject=yes"), 0);
	dev = named("sim0");
	fd = fresh(BLOCK);
	at = map(fd, BLOCK);
	pattern(at, 0, BLOCK, 1);
	for (int n = 1; n < 5; n++) {
		sys(inject("sim0 copy-fail %d\n", n));
		for (int i = 1; i < n + 2; i++) {
			eq(migrate(fd, 0, PAGE, dev), i == n ? -EIO : 0);
			eq(migrate(fd, 0, PAGE, DMO_DEVICE_HOST), 0);	/* it is clean: no copy */
		}
	}
	sys(inject("sim0 copy-fail 1"));
	sys(inject("sim0 copy-fail 0"));
	eq(migrate(fd, 0, BLOCK, dev), 0);
	eq(differs(at, 0, BLOCK, 1), BLOCK);
}

static void bus_error(int signal)
{
	_exit(signal == SIGBUS ? 7 : 1);
}

static int touch_status(const char *at)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		signal(SIGBUS, bus_error);
		(void)*(volatile const char *)at;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

/* Invariant 9. */
static void a_lost_device_costs_what_was_dirty_on_it_and_no_more(void)
{
	struct dmo_device_info info;
	int fd, ctx;
	uint64_t va;
	char *at, c;

	eq(load_sim("inject=yes"), 0);
	fd = fresh(2 * BLOCK);
	ctx = context(named("sim0"));
	va = ctx_map(ctx, fd, 2 * BLOCK, RW);
	at = map(fd, 2 * BLOCK);
	pattern(at, 0, 2 * BLOCK, 5);
	eq(fill(ctx, va + BLOCK, PAGE, 9), 0);
	sys(fsync(fd));
	eq(fill(ctx, va + BLOCK + PAGE, PAGE, 9), 0);
	sys(inject("sim0 lost"));
	device_info(named("sim0"), &info);
	yes(info.flags & DMO_DEVICE_LOST);
	eq(info.used, 0);
	eq(resident(fd, NONE), 0);
	eq(differs(at, 0, BLOCK, 5), BLOCK);
	eq(at[BLOCK], 9);
	eq(touch_status(at + BLOCK + PAGE), 7);
	fails(pread(fd, &c, 1, BLOCK + PAGE), EIO);
	eq(differs(at + BLOCK + 2 * PAGE, BLOCK + 2 * PAGE, BLOCK - 2 * PAGE, 5), BLOCK - 2 * PAGE);
	eq(fill(ctx, va, PAGE, 9), -EIO);
	fails(open("/dev/dmo/sim0", O_RDWR), ENODEV);
	sys(inject("sim0 lost"));		/* once more is no error */
}

static void what_runs_on_a_lost_device_ends_with_eio(void)
{
	struct dmo_command cmds[40];
	struct dmo_completion c;
	int fd, ctx, ended = 0;
	uint64_t va;

	eq(load_sim("inject=yes"), 0);
	fd = fresh(8 * BLOCK);
	ctx = context(named("sim0"));
	va = ctx_map(ctx, fd, 8 * BLOCK, RW);
	eq(fill(ctx, va, 8 * BLOCK, 1), 0);
	for (int i = 0; i < 40; i++)
		cmds[i] = (struct dmo_command){ .op = DMO_OP_CKSUM, .arg = { va, 8 * BLOCK, 0, 0, 1 } };
	eq(write(ctx, cmds, sizeof(cmds)), sizeof(cmds));
	sys(inject("sim0 lost"));
	for (int i = 0; i < 40; i++) {
		eq(read(ctx, &c, sizeof(c)), sizeof(c));
		yes(c.status == -EIO || (!c.status && !ended));
		ended |= c.status;
	}
	eq(ended, -EIO);
}

int main(void)
{
	static const struct test tests[] = {
		T(a_bad_parameter_is_refused_with_its_name), T(sizes_names_and_numbers_of_devices_are_as_told),
		T(more_memory_than_there_is_gives_enomem), T(a_name_that_is_taken_gives_eexist),
		T(a_link_takes_its_time_each_way), T(the_latency_is_waited_for_by_each_copy),
		T(resident_bytes_do_not_cross_the_link), T(what_is_read_in_place_crosses_the_link),
		T(two_streams_in_place_pay_once), T(each_word_in_place_waits_for_the_latency),
		T(cpu_and_device_take_turns_on_coherent_memory_in_place),
		T(coherent_devices_lie_one_after_the_other), T(memory_that_the_kernel_uses_is_not_taken),
		T(coherent_memory_can_not_be_lost), T(nothing_is_injected_unless_allowed),
		T(nonsense_is_not_injected), T(the_nth_copy_fails_and_no_other),
		T(a_lost_device_costs_what_was_dirty_on_it_and_no_more), T(what_runs_on_a_lost_device_ends_with_eio),
	};
	int r = RUN(tests);

	eq(load_sim(SIM_AS_BEFORE), 0);
	return r;
}
