// SPDX-License-Identifier: GPL-2.0-or-later
/* context.c - device contexts: what is mapped, commands and what they did, faults, keys and descriptors */
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

#define RW (DMO_PROT_READ | DMO_PROT_WRITE)

static void a_device_fill_shows_in_a_mapping(void)
{
	int fd = fresh(4 * BLOCK), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, 4 * BLOCK, RW);
	unsigned char *at = map(fd, 4 * BLOCK);

	eq(fill(ctx, va + 100, 2 * BLOCK, 0xab), 0);
	eq(at[99], 0);
	eq(at[100], 0xab);
	eq(at[BLOCK], 0xab);
	eq(at[2 * BLOCK + 99], 0xab);
	eq(at[2 * BLOCK + 100], 0);
}

static void a_store_of_the_cpu_shows_to_the_device(void)
{
	int fd = fresh(2 * BLOCK), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, 2 * BLOCK, RW);
	char *at = map(fd, 2 * BLOCK);
	struct dmo_completion c;

	for (int i = 1; i < 20; i++) {
		at[BLOCK + i] = i;
		c = command(ctx, DMO_OP_COPY, va, va + BLOCK, PAGE);
		eq(c.status, 0);
		eq(at[i], i);
	}
}

static void turns_on_one_word_lose_no_addition(void)
{
	int fd = fresh(PAGE), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, PAGE, RW);
	volatile uint64_t *at = map(fd, PAGE);

	for (int i = 0; i < 200; i++) {
		struct dmo_completion c = command(ctx, DMO_OP_ATOMIC_ADD, va + 8, 3, 0);

		eq(c.status, 0);
		eq(c.result[0], 4 * i);
		at[1]++;
	}
	eq(at[1], 800);
}

static void cksum_is_posix_cksum(void)
{
	int fd = fresh(PAGE), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, PAGE, DMO_PROT_READ);
	struct dmo_command cmd = { .op = DMO_OP_CKSUM, .arg = { va, 9, 0, 0, 1 } };
	struct dmo_completion c;

	eq(pwrite(fd, "123456789", 9, 0), 9);
	eq(write(ctx, &cmd, sizeof(cmd)), sizeof(cmd));
	eq(read(ctx, &c, sizeof(c)), sizeof(c));
	eq(c.status, 0);
	eq(c.result[0], 930766865);
}

static void compare_finds_the_first_difference(void)
{
	int a = fresh(BLOCK), b = fresh(BLOCK), ctx = context(sim());
	uint64_t x = ctx_map(ctx, a, BLOCK, DMO_PROT_READ), y = ctx_map(ctx, b, BLOCK, DMO_PROT_READ);
	char *at = map(b, BLOCK);

	eq(command(ctx, DMO_OP_COMPARE, x, y, BLOCK).result[0], BLOCK);
	at[5 * PAGE + 7] = 1;
	eq(command(ctx, DMO_OP_COMPARE, x, y, BLOCK).result[0], 5 * PAGE + 7);
	eq(command(ctx, DMO_OP_COMPARE, x + 3, y + 3, BLOCK - 3).result[0], 5 * PAGE + 4);
}

static void chase_follows_device_addresses(void)
{
	int fd = fresh(BLOCK), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, BLOCK, DMO_PROT_READ), *at = map(fd, BLOCK);
	struct dmo_completion c;

	at[0] = va + 100 * PAGE;
	at[100 * PAGE / 8] = va + 8;
	at[1] = 7;
	c = command(ctx, DMO_OP_CHASE, va, 3, 0);
	eq(c.status, 0);
	eq(c.result[0], 7);
	c = command(ctx, DMO_OP_CHASE, va, 4, 0);
	eq(c.status, -EINVAL);
	eq(c.va, 7);
}

static void bad_addresses_fail_their_command_alone(void)
{
	int fd = fresh(2 * PAGE), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, PAGE, DMO_PROT_READ);

	eq(fill(ctx, va, 1, 1), -EACCES);
	eq(command(ctx, DMO_OP_COMPARE, va, va + PAGE, 1).status, -EFAULT);
	eq(command(ctx, DMO_OP_COMPARE, 0, va, 1).status, -EFAULT);
	eq(command(ctx, DMO_OP_AXPY, va, va, 4).status, -EOPNOTSUPP);
	eq(command(ctx, DMO_OP_COUNT, 0, 0, 0).status, -EINVAL);
	eq(command(ctx, DMO_OP_NOP, 0, 0, 0).status, 0);
}

static void nothing_is_reached_past_the_end_of_an_object(void)
{
	int fd = fresh(PAGE), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, 2 * PAGE, RW);

	eq(fill(ctx, va, PAGE, 1), 0);
	eq(fill(ctx, va + PAGE, 1, 1), -EFAULT);
	sys(ftruncate(fd, 2 * PAGE));
	eq(fill(ctx, va + PAGE, 1, 1), 0);
}

static void what_is_unmapped_is_out_of_reach_at_once(void)
{
	int fd = fresh(BLOCK), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, BLOCK, RW);
	char *at = map(fd, BLOCK);

	eq(fill(ctx, va, BLOCK, 1), 0);
	eq(ctx_unmap(ctx, va + PAGE, PAGE), 0);
	eq(fill(ctx, va + PAGE, 1, 2), -EFAULT);
	eq(fill(ctx, va, PAGE, 3), 0);
	eq(fill(ctx, va + 2 * PAGE, PAGE, 4), 0);
	eq(at[0], 3);
	eq(at[PAGE], 1);
	eq(at[2 * PAGE], 4);
}

static void an_unmapped_write_is_not_lost(void)
{
	int back = memfd(BLOCK), fd = object_over(back), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, BLOCK, RW);
	char buf[4];

	eq(fill(ctx, va, BLOCK, 9), 0);
	eq(ctx_unmap(ctx, va, BLOCK), 0);
	eq(pread(fd, buf, 1, 77), 1);
	eq(buf[0], 9);
}

static void closing_everything_leaves_the_bytes_in_the_backing_file(void)
{
	int back = memfd(BLOCK), fd = object_over(back), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, BLOCK, RW);
	char buf[4];

	eq(fill(ctx, va, BLOCK, 9), 0);
	close(fd);
	close(ctx);
	for (int i = 0; i < 500; i++) {		/* the last use may be the context's, which does not wait */
		eq(pread(back, buf, 1, BLOCK - 1), 1);
		if (buf[0] == 9)
			break;
		usleep(10000);
	}
	eq(buf[0], 9);
}

static void maps_come_in_batches(void)
{
	struct { struct dmo_map head; struct dmo_map_op ops[256]; } m = { .head.count = 256 };
	struct { struct dmo_unmap head; struct dmo_unmap_op ops[256]; } u = { .head.count = 256 };
	int fd = fresh(256 * PAGE), ctx = context(sim());
	uint64_t key = key_of(fd), base = 1ull << 40;

	for (int i = 0; i < 256; i++) {
		m.ops[i] = (struct dmo_map_op){ .va = base + i * 2 * PAGE, .length = PAGE, .key = key,
						.offset = (255 - i) * PAGE, .prot = RW, .flags = DMO_MAP_FIXED };
		u.ops[i] = (struct dmo_unmap_op){ base + i * 2 * PAGE, PAGE };
	}
	sys(ioctl(ctx, DMO_IOC_MAP(256), &m));
	eq(m.head.done, 256);
	eq(fill(ctx, base + 10 * 2 * PAGE, PAGE, 10), 0);
	eq(fill(ctx, base + 10 * 2 * PAGE + PAGE, 1, 10), -EFAULT);
	eq(((char *)map(fd, 256 * PAGE))[245 * PAGE], 10);
	m.ops[3].va = base - PAGE;
	fails(ioctl(ctx, DMO_IOC_MAP(256), &m), EEXIST);
	eq(m.head.done, 0);
	sys(ioctl(ctx, DMO_IOC_UNMAP(256), &u));
	eq(u.head.done, 256);
	eq(fill(ctx, base, 1, 1), -EFAULT);
}

static void keys_die_with_their_open_file_and_mappings_do_not(void)
{
	int fd = fresh(BLOCK), ctx = context(sim());
	uint64_t key = key_of(fd), va = ctx_map(ctx, fd, BLOCK, RW);
	struct { struct dmo_map head; struct dmo_map_op op; } m = {
		.head.count = 1, .op = { .length = PAGE, .key = key, .prot = RW },
	};

	eq(key_of(fd), key);
	close(fd);
	fails(ioctl(ctx, DMO_IOC_MAP(1), &m), ESTALE);
	m.op.key = 0;
	fails(ioctl(ctx, DMO_IOC_MAP(1), &m), ESTALE);
	eq(fill(ctx, va, BLOCK, 1), 0);
}

static void a_descriptor_does_instead_of_a_key(void)
{
	int fd = fresh(BLOCK), ctx = context(sim()), ro = create(memfd(PAGE), 0, DMO_CREATE_READ);
	struct { struct dmo_map head; struct dmo_map_op op; } m = {
		.head.count = 1, .op = { .length = PAGE, .key = fd, .prot = RW, .flags = DMO_MAP_FD },
	};

	sys(ioctl(ctx, DMO_IOC_MAP(1), &m));
	eq(fill(ctx, m.op.va, PAGE, 4), 0);
	m.op.key = ro;
	fails(ioctl(ctx, DMO_IOC_MAP(1), &m), EACCES);
	m.op.key = 999;
	fails(ioctl(ctx, DMO_IOC_MAP(1), &m), EBADF);
	m.op.key = 1ull << 40;
	fails(ioctl(ctx, DMO_IOC_MAP(1), &m), EBADF);
	m.op.key = memfd(PAGE);
	fails(ioctl(ctx, DMO_IOC_MAP(1), &m), EINVAL);
}

static void fixed_addresses_are_checked(void)
{
	int fd = fresh(BLOCK), ctx = context(sim());
	struct { struct dmo_map head; struct dmo_map_op op; } m = {
		.head.count = 1,
		.op = { .length = PAGE, .key = key_of(fd), .prot = RW, .flags = DMO_MAP_FIXED },
	};

	fails(ioctl(ctx, DMO_IOC_MAP(1), &m), ERANGE);
	m.op.va = 1ull << 48;
	fails(ioctl(ctx, DMO_IOC_MAP(1), &m), ERANGE);
	m.op.va = 1;
	fails(ioctl(ctx, DMO_IOC_MAP(1), &m), EINVAL);
	m.op.flags = 8;
	fails(ioctl(ctx, DMO_IOC_MAP(1), &m), EINVAL);
	m.head.reserved = 1;
	fails(ioctl(ctx, DMO_IOC_MAP(1), &m), EINVAL);
}

static void a_fault_makes_a_range_accessible(void)
{
	int fd = fresh(BLOCK), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, BLOCK, RW);
	struct dmo_fault f = { .va = va, .length = BLOCK, .prot = DMO_PROT_READ };

	sys(ioctl(ctx, DMO_IOC_FAULT, &f));
	eq(resident(fd, sim()), BLOCK);
	yes(extent(fd, BLOCK - PAGE).flags & DMO_EXT_MAPPED);
	f.va = va + BLOCK;
	fails(ioctl(ctx, DMO_IOC_FAULT, &f), EFAULT);
}

static void many_contexts_of_one_process_share_an_object(void)
{
	int fd = fresh(PAGE), ctx[20];
	uint64_t va[20], *at = map(fd, PAGE);

	for (int i = 0; i < 20; i++) {
		ctx[i] = context(i % 2 ? device_of(DMO_MEM_PRIVATE) : sim());
		va[i] = ctx_map(ctx[i], fd, PAGE, RW);
	}
	for (int i = 0; i < 200; i++)
		eq(command(ctx[i % 20], DMO_OP_ATOMIC_ADD, va[i % 20], 1, 0).status, 0);
	eq(*at, 200);
}

static void two_devices_take_turns(void)
{
	int fd = fresh(2 * BLOCK), a, b;
	struct dmo_device_info info;
	uint64_t x, y, *at = map(fd, 2 * BLOCK);
	uint32_t first = sim(), second = first + 1;

	device_info(second, &info);
	if (info.memory_type != DMO_MEM_PRIVATE)
		skip("one private device");
	a = context(first);
	b = context(second);
	x = ctx_map(a, fd, 2 * BLOCK, RW);
	y = ctx_map(b, fd, 2 * BLOCK, RW);
	for (int i = 0; i < 50; i++) {
		eq(command(a, DMO_OP_ATOMIC_ADD, x + i * PAGE, 1, 0).result[0], 0);
		eq(command(b, DMO_OP_ATOMIC_ADD, y + i * PAGE, 1, 0).result[0], 1);
		eq(command(a, DMO_OP_ATOMIC_ADD, x + i * PAGE, 1, 0).result[0], 2);
	}
	eq(at[0], 3);
}

static void additions_race_with_faults_and_none_is_lost(void)
{
	enum { PAGES = 8, ROUNDS = 6000 };
	int fd = fresh(PAGES * PAGE), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, PAGES * PAGE, RW), sum = 0, *at = map(fd, PAGES * PAGE);
	pid_t pids[2] = { start_adding(at, PAGES, ROUNDS), start_adding(at, PAGES, ROUNDS) };
	int status;

	for (int i = 0; i < ROUNDS; i++)
		eq(command(ctx, DMO_OP_ATOMIC_ADD, va + rand() % PAGES * PAGE, 1, 0).status, 0);
	for (int i = 0; i < 2; i++) {
		waitpid(pids[i], &status, 0);
		eq(status, 0);
	}
	for (int i = 0; i < PAGES; i++)
		sum += at[i * PAGE / 8];
	eq(sum, 3 * ROUNDS);
}

static void completions_are_waited_for(void)
{
	int fd = fresh(BLOCK), ctx = context(sim());
	struct pollfd p = { .fd = ctx, .events = POLLIN | POLLOUT };
	struct dmo_completion c;

	sys(fcntl(ctx, F_SETFL, O_NONBLOCK));
	fails(read(ctx, &c, sizeof(c)), EAGAIN);
	fails(read(ctx, &c, sizeof(c) - 1), EINVAL);
	fails(write(ctx, &c, 7), EINVAL);
	eq(poll(&p, 1, 0), 1);
	eq(p.revents, POLLOUT);
	yes(fd >= 0);
	eq(write(ctx, &(struct dmo_command){ .cookie = 5 }, sizeof(struct dmo_command)),
	   sizeof(struct dmo_command));
	p.events = POLLIN;
	eq(poll(&p, 1, 10000), 1);
	eq(read(ctx, &c, sizeof(c)), sizeof(c));
	eq(c.cookie, 5);
}

static void closing_a_context_with_work_under_way_ends_it(void)
{
	for (int i = 0; i < 20; i++) {
		int fd = fresh(4 * BLOCK), ctx = context(sim());
		uint64_t va = ctx_map(ctx, fd, 4 * BLOCK, RW);
		struct dmo_command cmds[8];

		for (int j = 0; j < 8; j++)
			cmds[j] = (struct dmo_command){ .op = DMO_OP_FILL, .arg = { va, 4 * BLOCK, j } };
		eq(write(ctx, cmds, sizeof(cmds)), sizeof(cmds));
		usleep(i * 300);
		close(ctx);
		close(fd);
	}
}

int main(void)
{
	static const struct test tests[] = {
		T(a_device_fill_shows_in_a_mapping), T(a_store_of_the_cpu_shows_to_the_device),
		T(turns_on_one_word_lose_no_addition), T(cksum_is_posix_cksum),
		T(compare_finds_the_first_difference), T(chase_follows_device_addresses),
		T(bad_addresses_fail_their_command_alone), T(nothing_is_reached_past_the_end_of_an_object),
		T(what_is_unmapped_is_out_of_reach_at_once), T(an_unmapped_write_is_not_lost),
		T(closing_everything_leaves_the_bytes_in_the_backing_file), T(maps_come_in_batches),
		T(keys_die_with_their_open_file_and_mappings_do_not), T(a_descriptor_does_instead_of_a_key),
		T(fixed_addresses_are_checked), T(a_fault_makes_a_range_accessible),
		T(many_contexts_of_one_process_share_an_object), T(two_devices_take_turns),
		T(additions_race_with_faults_and_none_is_lost), T(completions_are_waited_for), T(closing_a_context_with_work_under_way_ends_it),
	};

	return RUN(tests);
}
