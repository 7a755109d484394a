// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nofaults.c - devices that take no faults: what a command names is made resident before it starts
 *
 * Each test loads dmo_sim.ko anew, whose device ends a command with EFAULT at a missing translation: a
 * command that succeeds found all of them.
 */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RW	(DMO_PROT_READ | DMO_PROT_WRITE)
#define MEMORY	(8 * MIB)
#define SIZE	(4 * MEMORY)

static const char *parameters;		/* in turn: private memory, coherent memory */

struct scene {
	uint32_t dev;
	int fd, ctx;
	uint64_t va;
	char *at;
};

static struct scene begin(void)
{
	struct scene s;
	int r = load_sim(parameters);

	if (r == -EBUSY)
		skip("no memory was left alone when the kernel was booted");
	eq(r, 0);
	s.dev = named("sim0");
	s.fd = fresh(SIZE);
	s.ctx = context(s.dev);
	s.va = ctx_map(s.ctx, s.fd, SIZE, RW);
	s.at = map(s.fd, SIZE);
	return s;
}

static int all(const char *at, size_t n, char value)
{
	return at[0] == value && !memcmp(at, at + 1, n - 1);
}

static void submit(int ctx, uint64_t cookie, uint32_t op, uint64_t a, uint64_t b, uint64_t c)
{
	struct dmo_command cmd = { .cookie = cookie, .op = op, .arg = { a, b, c } };

	eq(write(ctx, &cmd, sizeof(cmd)), sizeof(cmd));
}

static struct dmo_completion completion(int ctx)
{
	struct dmo_completion c;

	eq(read(ctx, &c, sizeof(c)), sizeof(c));
	return c;
}

static uint64_t used(uint32_t dev)
{
	struct dmo_device_info info;

	device_info(dev, &info);
	return info.used;
}

/* ---- what runs ------------------------------------------------------------ */

static void a_command_meets_no_fault(void)
{
	struct scene s = begin();
	struct dmo_device_info info;
	struct dmo_completion c;

	device_info(s.dev, &info);
	eq(info.flags, DMO_DEVICE_DIRTY);
	pattern(s.at, 0, SIZE, 1);
	c = command(s.ctx, DMO_OP_COPY, s.va, s.va + MEMORY, MEMORY / 2);
	eq(c.status, 0);
	eq(c.faults, 0);
	eq(device_stat("sim0", "faults"), 0);
	eq(differs(s.at + MEMORY, MEMORY, MEMORY, 1), MEMORY);
	eq(memcmp(s.at, s.at + MEMORY, MEMORY / 2), 0);
	eq(differs(s.at + MEMORY / 2, MEMORY / 2, MEMORY / 2, 1), MEMORY / 2);
}

static void cpu_and_device_take_turns(void)
{
	struct scene s = begin();
	uint64_t *word = (uint64_t *)s.at + 1;

	for (int i = 0; i < 100; i++) {
		eq(command(s.ctx, DMO_OP_ATOMIC_ADD, s.va + 8, 1, 0).result[0], 2 * i);
		++*(volatile uint64_t *)word;
	}
	eq(*word, 200);
}

static void a_command_that_names_all_of_the_memory_runs(void)
{
	struct scene s = begin();

	pattern(s.at, 0, SIZE, 1);
	eq(fill(s.ctx, s.va + MEMORY, MEMORY, 9), 0);
	eq(differs(s.at, 0, MEMORY, 1), MEMORY);
	yes(all(s.at + MEMORY, MEMORY, 9));
	eq(differs(s.at + 2 * MEMORY, 2 * MEMORY, MEMORY, 1), MEMORY);
}

static void four_times_the_memory_is_filled_and_read_right(void)
{
	struct scene s = begin();

	for (uint64_t at = 0; at < SIZE; at += MIB)
		eq(fill(s.ctx, s.va + at, MIB, at / MIB + 1), 0);
	for (uint64_t at = 0; at < SIZE; at += MIB)
		yes(all(s.at + at, MIB, at / MIB + 1));
}

static void commands_of_many_contexts_wait_for_each_others_memory(void)
{
	enum { N = 4, ROUNDS = 5 };
	struct scene s = begin();
	uint64_t va[N];
	int ctx[N];

	for (int i = 0; i < N; i++) {
		ctx[i] = context(s.dev);
		va[i] = ctx_map(ctx[i], s.fd, SIZE, RW);
	}
	for (int round = 1; round <= ROUNDS; round++)
		for (int i = 0; i < N; i++)
			submit(ctx[i], round, DMO_OP_FILL, va[i] + i * MEMORY, MEMORY, 10 * round + i);
	for (int round = 1; round <= ROUNDS; round++)
		for (int i = 0; i < N; i++)
			eq(completion(ctx[i]).status, 0);
	for (int i = 0; i < N; i++)
		yes(all(s.at + i * MEMORY, MEMORY, 10 * ROUNDS + i));
}

/* Each names both objects, in opposite order. */
static void commands_that_name_the_same_blocks_do_not_wait_in_a_circle(void)
{
	struct scene s = begin();
	int other = fresh(BLOCK), ctx = context(s.dev);
	uint64_t x[2] = { ctx_map(s.ctx, other, BLOCK, RW), ctx_map(ctx, other, BLOCK, RW) };
	uint64_t y = ctx_map(ctx, s.fd, BLOCK, RW);

	for (int i = 0; i < 50; i++) {
		submit(s.ctx, i, DMO_OP_COPY, s.va, x[0], PAGE);
		submit(ctx, i, DMO_OP_COPY, x[1] + PAGE, y + PAGE, PAGE);
	}
	for (int i = 0; i < 50; i++) {
		eq(completion(s.ctx).status, 0);
		eq(completion(ctx).status, 0);
	}
}

/* ---- what is refused ------------------------------------------------------ */

static void a_command_that_names_a_page_more_is_refused_before_it_starts(void)
{
	struct scene s = begin();

	pattern(s.at, 0, SIZE, 1);
	eq(fill(s.ctx, s.va, MEMORY + PAGE, 9), -ENOSPC);
	eq(differs(s.at, 0, SIZE, 1), SIZE);
	eq(used(s.dev), 0);
	eq(fill(s.ctx, s.va + PAGE, MEMORY, 8), 0);
	yes(all(s.at + PAGE, MEMORY, 8));
	eq(differs(s.at, 0, PAGE, 1), PAGE);
}

static void operands_that_do_not_fit_together_are_refused_before_they_start(void)
{
	struct scene s = begin();
	uint64_t half = MEMORY / 2;

	pattern(s.at, 0, SIZE, 1);
	eq(command(s.ctx, DMO_OP_COPY, s.va, s.va + MEMORY, half).status, 0);
	eq(command(s.ctx, DMO_OP_COPY, s.va + 2 * MEMORY, s.va + MEMORY, half + PAGE).status, -ENOSPC);
	eq(differs(s.at + half, half, SIZE - half, 1), SIZE - half);
}

static void a_refused_command_lets_the_next_ones_run_in_order(void)
{
	struct scene s = begin();

	for (uint64_t i = 0; i < 6; i++)
		submit(s.ctx, i, DMO_OP_FILL, s.va, i % 2 ? SIZE : MEMORY, i + 1);
	for (uint64_t i = 0; i < 6; i++) {
		struct dmo_completion c = completion(s.ctx);

		eq(c.cookie, i);
		eq(c.status, i % 2 ? -ENOSPC : 0);
	}
	yes(all(s.at, MEMORY, 5));
	yes(all(s.at + MEMORY, MEMORY, 0));
}

static void what_others_have_pinned_is_not_there_for_a_command(void)
{
	struct scene s = begin();
	struct dmo_pin pin = { .offset = MEMORY, .length = BLOCK, .device = s.dev };

	sys(ioctl(s.fd, DMO_IOC_PIN, &pin));
	eq(fill(s.ctx, s.va, MEMORY, 9), -ENOSPC);
	eq(s.at[0], 0);
	eq(fill(s.ctx, s.va, MEMORY - BLOCK, 9), 0);
	sys(ioctl(s.fd, DMO_IOC_UNPIN, &pin));
	eq(fill(s.ctx, s.va, MEMORY, 7), 0);
	yes(all(s.at, MEMORY, 7));
}

static void nothing_stays_pinned_after_a_command(void)
{
	struct scene s = begin();

	eq(fill(s.ctx, s.va, MEMORY, 9), 0);
	eq(migrate(s.fd, 0, 0, DMO_DEVICE_HOST), 0);
	eq(used(s.dev), 0);
}

static void a_command_that_names_what_is_not_there_writes_nothing(void)
{
	struct scene s = begin();
	int small = fresh(PAGE);
	uint64_t ro, end;

	eq(fill(s.ctx, s.va + SIZE - PAGE, 2 * PAGE, 9), -EFAULT);
	ro = ctx_map(s.ctx, s.fd, BLOCK, DMO_PROT_READ);
	end = ctx_map(s.ctx, small, 2 * PAGE, RW);
	eq(fill(s.ctx, ro, 1, 9), -EACCES);
	eq(fill(s.ctx, end, 2 * PAGE, 9), -EFAULT);
	eq(command(s.ctx, DMO_OP_CHASE, s.va, 1, 0).status, -EOPNOTSUPP);
	eq(s.at[SIZE - PAGE], 0);
	eq(*(char *)map(small, PAGE), 0);
	sys(ftruncate(small, 2 * PAGE));
	eq(fill(s.ctx, end, 2 * PAGE, 9), 0);
}

static void a_copy_that_fails_fails_the_command_before_it_starts(void)
{
	struct scene s = begin();

	if (!strstr(parameters, "inject"))
		skip("the CPU copies");
	pattern(s.at, 0, SIZE, 1);
	for (int nth = 1; nth <= 2; nth++) {
		sys(inject("sim0 copy-fail %d", nth));
		eq(fill(s.ctx, s.va, MEMORY, 9), -EIO);
		eq(differs(s.at, 0, SIZE, 1), SIZE);
	}
	eq(fill(s.ctx, s.va, MEMORY, 9), 0);
	yes(all(s.at, MEMORY, 9));
}

/* ---- what happens meanwhile ----------------------------------------------- */

/* The device would meet a missing translation and end the command with EFAULT. */
static void an_unmap_waits_for_the_command_that_runs(void)
{
	struct scene s = begin();

	for (int i = 1; i <= 30; i++) {
		uint64_t va = ctx_map(s.ctx, s.fd, MEMORY, RW);

		submit(s.ctx, i, DMO_OP_FILL, va, MEMORY, i);
		usleep(i * 100);
		eq(ctx_unmap(s.ctx, va, MEMORY), 0);
		yes(completion(s.ctx).status != -EIO);
		eq(fill(s.ctx, va, 1, 1), -EFAULT);
		yes(s.at[0] == s.at[MEMORY - 1]);	/* all of it ran, or nothing did */
	}
}

static void additions_race_with_commands_and_none_is_lost(void)
{
	enum { PAGES = 8, ROUNDS = 1500 };
	struct scene s = begin();
	uint64_t sum = 0, *at = (uint64_t *)s.at;
	pid_t pid = start_adding(at, PAGES, ROUNDS);
	int status;

	for (int i = 0; i < ROUNDS; i++)
		eq(command(s.ctx, DMO_OP_ATOMIC_ADD, s.va + rand() % PAGES * PAGE, 1, 0).status, 0);
	waitpid(pid, &status, 0);
	eq(status, 0);
	for (int i = 0; i < PAGES; i++)
		sum += at[i * PAGE / 8];
	eq(sum, 2 * ROUNDS);
}

/* Blocks held in order meet a barrier over all of them: nobody waits for ever. */
static void truncation_races_with_commands(void)
{
	struct scene s = begin();
	pid_t pid = fork();
	int status;

	if (!pid) {
		for (int i = 0; i < 60; i++) {
			sys(ftruncate(s.fd, i % 2 ? SIZE : BLOCK + PAGE));
			sys(fallocate(s.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BLOCK + PAGE));
		}
		_exit(0);
	}
	for (int i = 0; i < 60; i++) {
		int r = fill(s.ctx, s.va + PAGE, MEMORY - PAGE, i);

		yes(!r || r == -EFAULT);
	}
	waitpid(pid, &status, 0);
	eq(status, 0);
}

static void fsync_after_a_command_finds_its_bytes(void)
{
	struct scene s = begin();
	int back = memfd(BLOCK), fd = object_over(back);
	uint64_t va = ctx_map(s.ctx, fd, BLOCK, RW);
	char got;

	for (int i = 1; i < 30; i++) {
		eq(fill(s.ctx, va, BLOCK, i), 0);
		sys(fsync(fd));
		eq(pread(back, &got, 1, BLOCK - i), 1);
		eq(got, i);
	}
}

static void closing_a_context_with_commands_under_way_ends_them(void)
{
	struct scene s = begin();

	for (int i = 0; i < 20; i++) {
		int ctx = context(s.dev);
		uint64_t va = ctx_map(ctx, s.fd, SIZE, RW);

		for (int j = 0; j < 8; j++)
			submit(ctx, j, DMO_OP_FILL, va + j % 4 * MEMORY, MEMORY, j);
		usleep(i * 300);
		close(ctx);
	}
	eq(fill(s.ctx, s.va, MEMORY, 77), 0);
	yes(all(s.at, MEMORY, 77));
}

static void commands_on_a_lost_device_end(void)
{
	struct scene s = begin();
	int ended = 0;

	if (!strstr(parameters, "inject"))
		skip("the CPU can't lose what it reaches");
	for (int i = 0; i < 20; i++)
		submit(s.ctx, i, DMO_OP_FILL, s.va + i % 4 * MEMORY, MEMORY, i);
	usleep(3000);
	sys(inject("sim0 lost"));
	for (int i = 0; i < 20; i++) {
		struct dmo_completion c = completion(s.ctx);

		eq(c.cookie, i);
		yes(c.status == -EIO || c.status == -ECANCELED || (!c.status && !ended));
		ended |= c.status;
	}
	eq(fill(s.ctx, s.va, PAGE, 1), -EIO);
}

int main(void)
{
	static const struct test tests[] = {
		T(a_command_meets_no_fault), T(cpu_and_device_take_turns),
		T(a_command_that_names_all_of_the_memory_runs), T(four_times_the_memory_is_filled_and_read_right),
		T(commands_of_many_contexts_wait_for_each_others_memory),
		T(commands_that_name_the_same_blocks_do_not_wait_in_a_circle),
		T(a_command_that_names_a_page_more_is_refused_before_it_starts),
		T(operands_that_do_not_fit_together_are_refused_before_they_start),
		T(a_refused_command_lets_the_next_ones_run_in_order),
		T(what_others_have_pinned_is_not_there_for_a_command), T(nothing_stays_pinned_after_a_command),
		T(a_command_that_names_what_is_not_there_writes_nothing),
		T(a_copy_that_fails_fails_the_command_before_it_starts),
		T(an_unmap_waits_for_the_command_that_runs), T(additions_race_with_commands_and_none_is_lost),
		T(truncation_races_with_commands), T(fsync_after_a_command_finds_its_bytes),
		T(closing_a_context_with_commands_under_way_ends_them), T(commands_on_a_lost_device_end),
	};
	int first, second;

	parameters = "memory=8M faults=no inject=yes";
	puts("# private memory");
	first = RUN(tests);
	parameters = "memory=8M faults=no coherent=" SIM_RESERVED;
	puts("# coherent memory");
	second = RUN(tests);
	eq(load_sim(SIM_AS_BEFORE), 0);
	return first == 1 || second == 1 ? 1 : first;
}
