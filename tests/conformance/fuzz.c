/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz.c - random requests and commands for a bounded time; a bystander's object stays what it was
 *
 * Numbers are drawn from what may matter (0, 1, page multiples, the ends of the ranges) more often than from
 * everywhere. DMO_SEED in the environment repeats a run; the seed is in the message of a failure.
 */
#include "kit.h"

#include <poll.h>

static uint64_t state;
static unsigned seed;

static uint64_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t below(uint64_t n)
{
	return draw() % n;
}

static void begin(void)
{
	const char *given = getenv("DMO_SEED");

	seed = given ? strtoul(given, NULL, 0) : conf_long() ? (unsigned)now_ms() : 1;
	state = seed * 0x9e3779b97f4a7c15ull | 1;
	printf("DMO_SEED=%u\n", seed);
	fflush(stdout);
}

static uint64_t interesting(const uint64_t *known, unsigned count)
{
	switch (below(8)) {
	case 0:
		return below(4);
	case 1:
		return below(64) * PAGE;
	case 2:
		return ~0ull - below(3) * PAGE;
	case 3:
		return draw();
	case 4:
		return below(64) * 8;
	default:
		return known[below(count)] + (below(4) ? 0 : below(32) * PAGE);
	}
}

struct fuzzed {
	int fd, ctx;
	uint64_t known[6];	/* numbers that mean something: addresses, a key, lengths */
};

static const unsigned long requests[] = {
	DMO_IOC_INFO, DMO_IOC_DEVICE, DMO_IOC_KEY, DMO_IOC_ADVISE, DMO_IOC_QUERY(3), DMO_IOC_MIGRATE, DMO_IOC_WAIT,
	DMO_IOC_PIN, DMO_IOC_UNPIN, DMO_IOC_EXPORT, DMO_IOC_MAP(3), DMO_IOC_UNMAP(3), DMO_IOC_MIRROR, DMO_IOC_FAULT,
	DMO_IOC_LOWAT,
};

static void random_request(const struct fuzzed *f)
{
	unsigned long cmd = requests[below(ARRAY_SIZE(requests))];
	uint64_t arg[2048];
	unsigned i;

	if (below(50) == 0)
		cmd = _IOC(below(4), DMO_IOC_MAGIC, below(24), below(16384));
	for (i = 0; i < _IOC_SIZE(cmd) / 8 + 1; i++) {
		arg[i] = below(3) ? 0 : interesting(f->known, ARRAY_SIZE(f->known));
		if (below(4) == 0)
			arg[i] = below(20) | below(3) << 32;
	}
	if (_IOC_NR(cmd) == 5 || _IOC_NR(cmd) == 16 || _IOC_NR(cmd) == 17)
		memcpy((char *)arg + (_IOC_NR(cmd) == 5 ? offsetof(struct dmo_query, count) : 0), &(uint32_t){ 3 }, 4);
	request(below(8) ? (_IOC_NR(cmd) < 16 ? f->fd : f->ctx) : (below(2) ? f->fd : f->ctx), cmd, arg);
}

/* Counts are kept small: a device that follows 2^60 pointers is another test's. */
static void random_command(const struct fuzzed *f)
{
	struct dmo_command c = { .cookie = 1, .op = below(DMO_OP_COUNT + 1), .flags = below(5) ? 0 : below(8) };
	struct dmo_completion completions[16];
	struct pollfd p = { .fd = f->ctx, .events = POLLIN };
	unsigned i;

	for (i = 0; i < 8; i++)
		c.arg[i] = below(3) ? f->known[below(2)] + below(64) * 64 : below(300);
	if (c.op == DMO_OP_CHASE || c.op == DMO_OP_GEMV || c.op == DMO_OP_ATTENTION)
		c.arg[c.op == DMO_OP_CHASE ? 1 : 5] = below(100);
	if (write(f->ctx, &c, sizeof(c)) == sizeof(c) && poll(&p, 1, below(5) ? 0 : 20) == 1)
		ck_assert_int_gt(read(f->ctx, completions, sizeof(completions)), 0);
}

static void random_file_operation(const struct fuzzed *f)
{
	static char buf[256];

	switch (below(4)) {
	case 0:
		ck_ok(ftruncate(f->fd, below(4 * MiB)));
		break;
	case 1:
		fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, below(4 * MiB), below(MiB) + 1);
		break;
	case 2:
		ck_assert_int_gt(pwrite(f->fd, buf, sizeof(buf), below(4 * MiB)), 0);
		break;
	default:
		ck_assert_int_ge(pread(f->fd, buf, sizeof(buf), below(4 * MiB)), 0);
	}
}

static struct fuzzed set_up(void)
{
	struct fuzzed f = { .fd = obj_create("o", 4 * MiB), .ctx = ctx_open("npu0") };

	f.known[0] = ctx_map(f.ctx, f.fd, 0, 4 * MiB, READ_WRITE);
	f.known[1] = ctx_map(f.ctx, f.fd, MiB, MiB, DMO_PROT_READ);
	f.known[2] = obj_key(f.fd);
	f.known[3] = MiB;
	f.known[4] = PAGE;
	f.known[5] = 16 * MiB;
	return f;
}

/* What the fuzzer pinned is free when its open file has been released. */
static void wait_for_room(int ctx, uint64_t va)
{
	struct dmo_completion completion;

	wait_until(ctx_cksum(ctx, va, MiB, &completion) != -ENOSPC);
}

START_TEST(random_requests_and_commands_hurt_nobody_else)
{
	int bystander = obj_create("bystander", MiB), ctx = ctx_open("npu0");
	uint64_t va = ctx_map(ctx, bystander, 0, MiB, READ_WRITE), end = now_ms() + rounds(4000);
	struct fuzzed f = set_up();
	unsigned n;

	begin();
	obj_write_pattern(bystander, 0, MiB, 1);
	for (n = 0; now_ms() < end; n++) {
		if (below(3))
			random_request(&f);
		else if (below(2))
			random_command(&f);
		else
			random_file_operation(&f);
		if (n % 2000 == 0)
			obj_check_pattern(bystander, 0, MiB, 1);
	}
	close(f.ctx);
	close(f.fd);
	wait_for_room(ctx, va);
	ctx_check_pattern(ctx, va, 0, MiB, 1);
	ck_ok(ctx_fill(ctx, va, MiB, 2));
	obj_check_byte(bystander, 0, MiB, 2);
	ck_ok(fsync(bystander));
}
END_TEST

static void fuzzes(void *arg)
{
	struct fuzzed f = { .fd = obj_open("o", O_RDWR), .ctx = ctx_open("npu0") };
	uint64_t end = now_ms() + rounds(3000);

	f.known[0] = ctx_map(f.ctx, f.fd, 0, 4 * MiB, READ_WRITE);
	f.known[1] = f.known[0] + MiB;
	f.known[2] = obj_key(f.fd);
	state ^= (uint64_t)getpid() << 32;
	while (now_ms() < end) {
		if (below(2))
			random_request(&f);
		else if (below(2))
			random_command(&f);
		else
			random_file_operation(&f);
	}
}

START_TEST(random_requests_of_four_processes_on_one_object_end)
{
	pid_t pids[4];
	int i, fd = obj_create("o", 4 * MiB);

	begin();
	for (i = 0; i < 4; i++)
		pids[i] = spawn(fuzzes, NULL);
	for (i = 0; i < 4; i++)
		join(pids[i]);
	ck_ok(ftruncate(fd, 0));
	obj_write_pattern(fd, 0, MiB, 3);
	obj_check_pattern(fd, 0, MiB, 3);
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "fuzz");
	conf_case(&run, "fuzz", one_device, 40);
	conf_test(&run, random_requests_and_commands_hurt_nobody_else);
	conf_test(&run, random_requests_of_four_processes_on_one_object_end);
	return conf_end(&run);
}
