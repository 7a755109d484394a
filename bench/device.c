/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.c - the simulated device by itself: copies, matrix times vector, checksums, round trips
 *
 * Each figure stands beside its peer, measured in the same run in turns with it. Prints one JSON object.
 */
#include <dmo/backend.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE	4096u
#define VA	0x40000000ull
#define ROUNDS	5

static const struct dmo_backend_ops *ops = &dmo_sim_ops;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *what)
{
	fprintf(stderr, "bench/device: %s\n", what);
	exit(1);
}

/* ---- a host that never faults ------------------------------------------------------------------------------ */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static unsigned completed;
static struct dmo_completion last;

static void on_fault(void *host_ctx, const struct dmo_dev_fault *fault)
{
	fail("unexpected fault");
}

static void on_complete(void *owner, const struct dmo_completion *completion)
{
	pthread_mutex_lock(&lock);
	completed++;
	last = *completion;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

static void on_lost(void *host_ctx)
{
}

static void wait_completed(unsigned count)
{
	pthread_mutex_lock(&lock);
	while (completed < count)
		pthread_cond_wait(&wake, &lock);
	pthread_mutex_unlock(&lock);
	if (last.status)
		fail(strerror(-last.status));
}

static void *open_device(const char *spec, void **as)
{
	static const struct dmo_host host = { on_fault, on_complete, on_lost };
	struct dmo_backend_info info;
	struct dmo_pte_run run = { .va = VA, .prot = DMO_PROT_READ | DMO_PROT_WRITE };
	char why[256] = "";
	void *dev;

	if (ops->create(&host, NULL, "npu0", spec, &info, &dev, why, sizeof(why)))
		fail(why);
	if (ops->as_create(dev, NULL, as))
		fail("no address space");
	run.pages = (uint32_t)info.frames;
	if (ops->as_enter(*as, &run))
		fail("no page table");
	return dev;
}

static double run(void *as, const struct dmo_command *commands, unsigned count)
{
	unsigned before = completed;
	double start = now();

	if (ops->submit(as, commands, count))
		fail("submit");
	wait_completed(before + count);
	return now() - start;
}

static void *big(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("memory");
	madvise(p, bytes, MADV_HUGEPAGE);
	memset(p, 1, bytes);
	return p;
}

static double best(double a, double b)
{
	return a && a < b ? a : b;
}

/* ---- copies ------------------------------------------------------------------------------------------------- */

static void on_copied(struct dmo_copy_job *job, int status)
{
	if (status)
		fail("copy");
	pthread_mutex_lock(&lock);
	completed++;
	pthread_cond_signal(&wake);
	pthread_mutex_unlock(&lock);
}

static double copy(void *dev, enum dmo_copy_dir dir, char *host, size_t bytes)
{
	unsigned count = (unsigned)(bytes >> 21), before = completed;
	struct dmo_copy_job *jobs = calloc(count, sizeof(*jobs));
	double start = now();

	for (unsigned i = 0; i < count; i++)
		jobs[i] = (struct dmo_copy_job){ .dir = dir, .frame = i * 512, .bytes = 2u << 20,
						 .host = host + ((size_t)i << 21), .done = on_copied,
						 .next = i + 1 < count ? &jobs[i + 1] : NULL };
	ops->copy(dev, jobs);
	wait_completed(before + count);
	start = now() - start;
	free(jobs);
	return start;
}

static void bench_copies(void)
{
	size_t bytes = 512u << 20;
	char *a = big(bytes), *b = big(bytes);
	double plain = 0, in = 0, out = 0, zero = 0, first, start;
	void *as, *dev = open_device("memory=512M", &as);

	last.status = 0;
	first = copy(dev, DMO_COPY_IN, a, bytes);
	for (int i = 0; i < ROUNDS; i++) {
		start = now();
		memcpy(b, a, bytes);
		plain = best(plain, now() - start);
		in = best(in, copy(dev, DMO_COPY_IN, a, bytes));
		out = best(out, copy(dev, DMO_COPY_OUT, a, bytes));
		zero = best(zero, copy(dev, DMO_COPY_ZERO, NULL, bytes));
	}
	printf("  \"memcpy_GBps\": %.2f,\n  \"copy_in_GBps\": %.2f,\n  \"copy_in_first_touch_GBps\": %.2f,\n"
	       "  \"copy_out_GBps\": %.2f,\n  \"zero_GBps\": %.2f,\n", (double)bytes / plain * 1e-9,
	       (double)bytes / in * 1e-9, (double)bytes / first * 1e-9, (double)bytes / out * 1e-9,
	       (double)bytes / zero * 1e-9);
	ops->as_destroy(as);
	ops->destroy(dev);
	munmap(a, bytes);
	munmap(b, bytes);
}

/* ---- matrix times vector ---------------------------------------------------------------------------------------- */

struct plain {
	const float *w, *x;
	float *y;
	size_t rows, cols, first, end;
	bool transpose;
};

#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BEST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), \
			    optimize("O3", "fast-math")))
#else
#define BEST
#endif

/* What a compiler makes of the obvious loop. */
BEST
static void plain_rows(const float *w, const float *x, float *y, size_t first, size_t end, size_t cols)
{
	for (size_t r = first; r < end; r++) {
		float sum = 0;

		for (size_t c = 0; c < cols; c++)
			sum += w[r * cols + c] * x[c];
		y[r] = sum;
	}
}

BEST
static void plain_sums(const float *w, const float *x, float *y, size_t first, size_t end, size_t cols)
{
	memset(y, 0, cols * sizeof(*y));
	for (size_t r = first; r < end; r++) {
		for (size_t c = 0; c < cols; c++)
			y[c] += w[r * cols + c] * x[r];
	}
}

static void *plain_thread(void *arg)
{
	struct plain *p = arg;

	if (p->transpose)
		plain_sums(p->w, p->x, p->y, p->first, p->end, p->cols);
	else
		plain_rows(p->w, p->x, p->y, p->first, p->end, p->cols);
	return NULL;
}

/* Two threads, half the rows each. */
static double plain_gemv(const float *w, const float *x, float *y, size_t rows, size_t cols, bool transpose)
{
	struct plain half[2];
	double start = now();
	pthread_t other;

	for (size_t i = 0; i < 2; i++)
		half[i] = (struct plain){ w, x, y + (transpose ? i * cols : 0), rows, cols, rows / 2 * i,
					  i ? rows : rows / 2, transpose };
	pthread_create(&other, NULL, plain_thread, &half[1]);
	plain_thread(&half[0]);
	pthread_join(other, NULL);
	return now() - start;
}

static void bench_gemv(const char *name, size_t rows, size_t cols, bool transpose)
{
	size_t bytes = rows * cols * sizeof(float), n = rows > cols ? rows : cols;
	uint64_t y = VA + ((bytes + (4u << 20)) & ~4095ull), x = y + (4u << 20);
	void *as, *dev = open_device("memory=512M,threads=2", &as);
	float *w = big(bytes), *px = big(n * sizeof(float)), *py = big(2 * n * sizeof(float));
	struct dmo_command command = { .op = DMO_OP_GEMV, .flags = transpose ? DMO_CMD_TRANSPOSE : 0,
				       .arg = { y, VA, x, 0, rows, cols } };
	double device = 0, plain = 0;

	memset(ops->window(dev, 0, 131072), 1, 512u << 20);
	for (int i = 0; i < 2 * ROUNDS; i++) {
		plain = best(plain, plain_gemv(w, px, py, rows, cols, transpose));
		device = best(device, run(as, &command, 1));
	}
	printf("  \"%s_GBps\": %.2f,\n  \"%s_plain_GBps\": %.2f,\n", name, (double)bytes / device * 1e-9, name,
	       (double)bytes / plain * 1e-9);
	ops->as_destroy(as);
	ops->destroy(dev);
	munmap(w, bytes);
	munmap(px, n * sizeof(float));
	munmap(py, 2 * n * sizeof(float));
}

/* ---- a transformer's layers, whose weights stay on the host ---------------------------------------------------------- */

#define WIDTH	768u
#define LAYERS	12u
#define REMOTE	(1ull << 40)

struct list {
	struct dmo_command commands[LAYERS * 10];
	unsigned count;
	uint64_t weights;		/* bytes used so far, from REMOTE on */
};

static void add(struct list *l, struct dmo_command command)
{
	l->commands[l->count++] = command;
}

static void add_gemv(struct list *l, uint64_t y, uint64_t x, uint64_t rows, uint64_t cols)
{
	add(l, (struct dmo_command){ .op = DMO_OP_GEMV, .flags = DMO_CMD_TRANSPOSE | DMO_CMD_ACCUMULATE,
				     .arg = { y, REMOTE + l->weights, x, 0, rows, cols } });
	l->weights += rows * cols * sizeof(float);
}

static void add_layer(struct list *l)
{
	uint64_t a = VA, b = VA + (1u << 16), gain = VA + (2u << 16), cache = VA + (4u << 20);
	struct dmo_command norm = { .op = DMO_OP_LAYERNORM, .arg = { b, a, gain, gain, WIDTH, 0x3727c5ac } };

	add(l, norm);
	add_gemv(l, a, b, WIDTH, 3 * WIDTH);
	add(l, (struct dmo_command){ .op = DMO_OP_ATTENTION,
				     .arg = { b, a, cache, cache + (2u << 20), 12, 64, 100, WIDTH } });
	add_gemv(l, a, b, WIDTH, WIDTH);
	add(l, norm);
	add_gemv(l, a, b, WIDTH, 4 * WIDTH);
	add(l, (struct dmo_command){ .op = DMO_OP_GELU, .arg = { b, a, 4 * WIDTH } });
	add_gemv(l, a, b, 4 * WIDTH, WIDTH);
}

/* How much of the link's speed comes through. */
static void bench_remote(void)
{
	static struct list l;
	void *as, *dev = open_device("memory=64M,link=4G,threads=2", &as);
	struct dmo_pte_run entry = { .va = REMOTE, .prot = DMO_PROT_READ };
	double seconds = 0;
	char *w;

	memset(ops->window(dev, 0, 16384), 0, 64u << 20);
	for (unsigned i = 0; i < LAYERS; i++)
		add_layer(&l);
	w = big(l.weights);
	entry.pages = (uint32_t)(l.weights / PAGE);
	entry.host = w;
	ops->as_enter(as, &entry);
	for (int i = 0; i < ROUNDS; i++)
		seconds = best(seconds, run(as, l.commands, l.count));
	printf("  \"remote_layers_share_of_link\": %.3f,\n", (double)l.weights / (4.0 * (1u << 30)) / seconds);
	ops->as_destroy(as);
	ops->destroy(dev);
	munmap(w, l.weights);
}

/* ---- the rest ------------------------------------------------------------------------------------------------------- */

static void bench_bytes(void)
{
	size_t bytes = 256u << 20;
	void *as, *dev = open_device("memory=512M,threads=2", &as);
	struct dmo_command cksum = { .op = DMO_OP_CKSUM, .arg = { VA, bytes, 0, 0, 1 } };
	struct dmo_command fill = { .op = DMO_OP_FILL, .arg = { VA, bytes, 3 } };
	struct dmo_command move = { .op = DMO_OP_COPY, .arg = { VA + bytes, VA, bytes } };
	double sum = 0, set = 0, moved = 0;

	for (int i = 0; i < ROUNDS; i++) {
		set = best(set, run(as, &fill, 1));
		moved = best(moved, run(as, &move, 1));
		sum = best(sum, run(as, &cksum, 1));
	}
	printf("  \"fill_GBps\": %.2f,\n  \"copy_command_GBps\": %.2f,\n  \"cksum_GBps\": %.2f,\n",
	       (double)bytes / set * 1e-9, (double)bytes / moved * 1e-9, (double)bytes / sum * 1e-9);
	ops->as_destroy(as);
	ops->destroy(dev);
}

static void bench_round_trip(void)
{
	enum { COUNT = 20000 };
	void *as, *dev = open_device("memory=4M,threads=2", &as);
	static struct dmo_command adds[COUNT];
	double one, many;

	for (int i = 0; i < COUNT; i++)
		adds[i] = (struct dmo_command){ .op = DMO_OP_ATOMIC_ADD, .arg = { VA, 1 } };
	one = now();
	for (int i = 0; i < COUNT; i++)
		run(as, adds, 1);
	one = now() - one;
	many = run(as, adds, COUNT);
	printf("  \"command_round_trip_us\": %.2f,\n  \"command_queued_us\": %.2f,\n", one / COUNT * 1e6,
	       many / COUNT * 1e6);
	ops->as_destroy(as);
	ops->destroy(dev);
}

static void bench_page_table(void)
{
	enum { COUNT = 100000 };
	void *as, *dev = open_device("memory=4M", &as);
	struct dmo_pte_run page = { .pages = 1, .prot = DMO_PROT_READ | DMO_PROT_WRITE };
	struct dmo_pte_run block = { .pages = 512, .prot = DMO_PROT_READ | DMO_PROT_WRITE };
	uint64_t dirty[8];
	double pages = now(), blocks;

	for (unsigned i = 0; i < COUNT; i++) {
		page.va = (1ull << 40) + (uint64_t)i * 7919 % 65536 * PAGE;
		page.frame = i % 1000;
		ops->as_enter(as, &page);
	}
	pages = now() - pages;
	blocks = now();
	for (unsigned i = 0; i < COUNT; i++) {
		block.va = (1ull << 41) + (uint64_t)i % 64 * DMO_BLOCK_SIZE;
		ops->as_enter(as, &block);
		ops->as_release(as, block.va, 512, 0, dirty);
	}
	blocks = now() - blocks;
	printf("  \"enter_page_ns\": %.0f,\n  \"enter_and_release_2M_ns\": %.0f,\n", pages / COUNT * 1e9,
	       blocks / COUNT * 1e9);
	ops->as_destroy(as);
	ops->destroy(dev);
}

static void bench_matrices(void)
{
	bench_gemv("gemv_768x3072_transpose", 768, 3072, true);
	bench_gemv("gemv_3072x768_transpose", 3072, 768, true);
	bench_gemv("gemv_768x768_transpose", 768, 768, true);
	bench_gemv("gemv_50257x768", 50257, 768, false);
	bench_gemv("gemv_768x768", 768, 768, false);
}

static const struct {
	const char *name;
	void (*run)(void);
} parts[] = {
	{ "copies", bench_copies }, { "matrices", bench_matrices }, { "remote", bench_remote }, { "bytes", bench_bytes },
	{ "commands", bench_round_trip }, { "tables", bench_page_table },
};

/* With arguments, the parts named. */
int main(int argc, char **argv)
{
	printf("{\n");
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		bool wanted = argc == 1;

		for (int k = 1; k < argc; k++)
			wanted |= !strcmp(argv[k], parts[i].name);
		if (wanted)
			parts[i].run();
	}
	printf("  \"threads\": 2\n}\n");
	return 0;
}
