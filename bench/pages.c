/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pages.c - times what the kernel module does with pages: device faults, mappings a page at a time, and a file many
 * times the size of the device under random use
 */
#include "bench.h"
#include "ctx.h"

#include <dmo/ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, BATCH = 256, COPIES = 16 };

static void need(int truth, const char *what)
{
	if (truth)
		return;
	fprintf(stderr, "not so: %s\n", what);
	exit(1);
}

static struct dmo_completion command(int ctx, uint32_t op, uint64_t a, uint64_t b, uint64_t c)
{
	struct dmo_command cmd = { .op = op, .arg = { a, b, c } };
	struct dmo_completion over;

	if (write(ctx, &cmd, sizeof(cmd)) != sizeof(cmd) || read(ctx, &over, sizeof(over)) != sizeof(over))
		bench_die("command");
	errno = -over.status;
	if (over.status)
		bench_die("command");
	return over;
}

/* ---- a device fault ------------------------------------------------------- */

/* As the kernel copies pages: with other instructions --count would compare the two ways of counting. */
static void copy_block(void *to, const void *from)
{
#ifdef __x86_64__
	size_t words = DMO_BLOCK_SIZE / 8;

	__asm__ volatile("rep movsq" : "+D" (to), "+S" (from), "+c" (words) : : "memory");
#else
	memcpy(to, from, DMO_BLOCK_SIZE);
#endif
}

static double time_copy(const void *from)
{
	char *to = mmap(NULL, DMO_BLOCK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	double start;

	if (to == MAP_FAILED)
		bench_die("mmap");
	copy_block(to, from);
	start = bench_now();
	for (int i = 0; i < COPIES; i++)
		copy_block(to, from);
	return (bench_now() - start) / COPIES;
}

/* From the last block to the first, so that nobody takes it for a sequence. */
static void run_fault(char **args)
{
	struct bench_ctx ctx;
	double waited = 0, copy;
	unsigned long faults = 0, blocks;
	size_t size;
	int fd;
	char *map = bench_map(args[0], O_RDWR, PROT_READ | PROT_WRITE, &fd, &size);

	blocks = size / DMO_BLOCK_SIZE;
	need(!madvise(map, size, MADV_POPULATE_READ), "the file can be read");
	copy = time_copy(map);
	munmap(map, size);
	bench_ctx_open(&ctx, args[1], fd, size);
	for (unsigned long i = blocks; i--;) {
		struct dmo_completion c = command(ctx.fd, DMO_OP_FILL, ctx.va + i * DMO_BLOCK_SIZE, DMO_BLOCK_SIZE, 1);

		waited += (double)c.waited_ns * 1e-9;
		faults += c.faults;
	}
	printf("%.9f %.9f %.3f\n", waited / (double)blocks, copy, (double)faults / (double)blocks);
}

/* ---- mappings ------------------------------------------------------------- */

static struct dmo_map *map_request;
static struct dmo_unmap *unmap_request;

/* Page i of the batch lies at the i-th second page of the addresses: no two mappings meet. */
static void fill_requests(uint64_t key, uint64_t va)
{
	for (uint64_t i = 0; i < BATCH; i++) {
		map_request->ops[i] = (struct dmo_map_op){ .va = va + 2 * i * PAGE, .length = PAGE, .key = key,
			.offset = i * PAGE, .prot = DMO_PROT_READ, .flags = DMO_MAP_FIXED };
		unmap_request->ops[i] = (struct dmo_unmap_op){ .va = va + 2 * i * PAGE, .length = PAGE };
	}
	map_request->count = unmap_request->count = BATCH;
}

static void run_map(char **args)
{
	unsigned long batches = strtoul(args[2], NULL, 0);
	int file = open(args[0], O_RDWR | O_CLOEXEC), ctx = open(args[1], O_RDWR | O_CLOEXEC);
	struct dmo_device_info info = { 0 };
	struct dmo_key key;
	double start;

	map_request = calloc(1, sizeof(*map_request) + BATCH * sizeof(map_request->ops[0]));
	unmap_request = calloc(1, sizeof(*unmap_request) + BATCH * sizeof(unmap_request->ops[0]));
	if (file < 0 || ctx < 0 || ioctl(file, DMO_IOC_KEY, &key) || ioctl(ctx, DMO_IOC_DEVICE, &info))
		bench_die(args[0]);
	fill_requests(key.key, info.va_start);
	start = bench_now();
	for (unsigned long i = 0; i < batches; i++)
		if (ioctl(ctx, DMO_IOC_MAP(BATCH), map_request) || ioctl(ctx, DMO_IOC_UNMAP(BATCH), unmap_request))
			bench_die("DMO_IOC_MAP");
	printf("%.6f\n", (double)(batches * BATCH) / (bench_now() - start) / 1e6);
}

/* ---- many times oversubscribed -------------------------------------------- */

/* What a page should hold in its first word, and who has seen that; whoever uses the page holds its lock. */
struct page_state {
	int locked;
	uint64_t value;
	char cpu_has, device_has;
};

struct shared {
	uint64_t wrong, due;		/* bytes */
	struct page_state pages[];
};

struct user {
	struct shared *shared;
	volatile uint64_t *map;
	struct bench_ctx ctx;
	int file;
	uint32_t device;
	uint64_t random;
};

static uint64_t draw(struct user *u, uint64_t below)
{
	u->random ^= u->random << 13;
	u->random ^= u->random >> 7;
	u->random ^= u->random << 17;
	return (u->random >> 16) % below;
}

static int is_resident(struct user *u, uint64_t page)
{
	union {
		struct dmo_query head;
		char room[sizeof(struct dmo_query) + sizeof(struct dmo_extent)];
	} q = { .head = { .offset = page * PAGE, .length = PAGE, .count = 1 } };

	if (ioctl(u->file, DMO_IOC_QUERY(1), &q))
		bench_die("DMO_IOC_QUERY");
	return q.head.count == 1 && q.head.extents[0].flags & DMO_EXT_RESIDENT && q.head.extents[0].device == u->device;
}

static void check(struct user *u, uint64_t got, uint64_t want)
{
	if (got != want)
		__atomic_fetch_add(&u->shared->wrong, sizeof(got), __ATOMIC_RELAXED);
}

/* A page is due to whoever uses it without having its current content. */
static void use_by_cpu(struct user *u, struct page_state *p, uint64_t page)
{
	volatile uint64_t *word = u->map + page * (PAGE / 8);

	if (!p->cpu_has)
		__atomic_fetch_add(&u->shared->due, PAGE, __ATOMIC_RELAXED);
	check(u, *word, p->value);
	p->cpu_has = 1;
	if (draw(u, 2)) {
		*word = ++p->value;
		p->device_has = 0;
	}
}

static void use_by_device(struct user *u, struct page_state *p, uint64_t page)
{
	uint64_t va = u->ctx.va + page * PAGE;

	if (!p->device_has || !is_resident(u, page))
		__atomic_fetch_add(&u->shared->due, PAGE, __ATOMIC_RELAXED);
	p->device_has = 1;
	if (draw(u, 2)) {
		check(u, command(u->ctx.fd, DMO_OP_ATOMIC_ADD, va, 1, 0).result[0], p->value++);
		p->cpu_has = 0;
	} else {
		/* one hop: the word itself */
		check(u, command(u->ctx.fd, DMO_OP_CHASE, va, 1, 0).result[0], p->value);
	}
}

static void use_pages(struct user *u, uint64_t pages, unsigned long times)
{
	for (unsigned long i = 0; i < times; i++) {
		uint64_t page = draw(u, pages);
		struct page_state *p = &u->shared->pages[page];

		while (__atomic_exchange_n(&p->locked, 1, __ATOMIC_ACQUIRE))
			sched_yield();
		if (draw(u, 2))
			use_by_cpu(u, p, page);
		else
			use_by_device(u, p, page);
		__atomic_store_n(&p->locked, 0, __ATOMIC_RELEASE);
	}
}

static uint64_t moved(const char *stat)
{
	FILE *f = fopen(stat, "r");
	unsigned long long number, sum = 0;
	char name[64];

	if (!f)
		bench_die(stat);
	while (fscanf(f, "%63s %llu", name, &number) == 2)
		if (!strcmp(name, "bytes_to_device") || !strcmp(name, "bytes_to_host"))
			sum += number;
	fclose(f);
	return sum;
}

static void run_random(char **args)
{
	unsigned long times = strtoul(args[4], NULL, 0);
	struct dmo_advise advise = { .advice = (uint32_t)strtoul(args[5], NULL, 0), .device = DMO_DEVICE_ANY };
	struct user u = { .device = (uint32_t)strtoul(args[2], NULL, 0) };
	size_t size;
	uint64_t before;
	pid_t pids[2];

	u.map = bench_map(args[0], O_RDWR, PROT_READ | PROT_WRITE, &u.file, &size);
	u.shared = mmap(NULL, sizeof(*u.shared) + size / PAGE * sizeof(u.shared->pages[0]), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (u.shared == MAP_FAILED)
		bench_die("mmap");
	for (size_t i = 0; i < size / PAGE; i++) {
		u.shared->pages[i].value = u.map[i * (PAGE / 8)];
		u.shared->pages[i].cpu_has = 1;
	}
	if (ioctl(u.file, DMO_IOC_ADVISE, &advise))
		bench_die("DMO_IOC_ADVISE");
	before = moved(args[3]);
	for (int p = 0; p < 2; p++) {
		pids[p] = fork();
		if (pids[p])
			continue;
		bench_ctx_open(&u.ctx, args[1], u.file, size);
		u.random = (uint64_t)p * 77 + 88172645463325252ull;
		use_pages(&u, size / PAGE, times);
		_exit(0);
	}
	for (int p = 0; p < 2; p++) {
		int status;

		waitpid(pids[p], &status, 0);
		need(!status, "both processes came to their end");
	}
	printf("%llu %llu %llu\n", (unsigned long long)u.shared->wrong, (unsigned long long)(moved(args[3]) - before),
	       (unsigned long long)u.shared->due);
}

int main(int argc, char **argv)
{
	static const struct bench_mode modes[] = {
		{ "fault", 2, "FILE CONTEXT: device faults of 2 MiB each; seconds of one, of a copy, faults a block", run_fault },
		{ "map", 3, "FILE CONTEXT N: N times 256 pages are mapped and unmapped; millions a second", run_map },
		{ "random", 6, "FILE CONTEXT DEVICE STAT N ADVICE: wrong bytes, bytes moved, bytes due", run_random },
		{ NULL, 0, NULL, NULL },
	};

	return bench_main(argc, argv, modes);
}
