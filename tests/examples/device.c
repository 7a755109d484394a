/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * device.c - tests of the GPT-2 example's device path against its CPU path, without a device
 *
 * Here libdmo's calls are a fake: attaching maps the file into this process and gives its address as the
 * device's, and submitted commands are carried out at once by loops as plain as the ABI's words for them. The
 * fake can take few commands at a time, fail one of them, and fail any call of the set-up.
 */
#include "device.h"
#include "cpu.h"
#include "kernels.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEPS 12

static char directory[] = "/tmp/dmo-gpt2-XXXXXX";
static char model_path[64], askew_path[64];

/* ---- the fake -------------------------------------------------------------------------------------- */

static struct {
	unsigned int calls_left;	/* of the set-up before one fails; 0: none fails */
	unsigned int queue;		/* how many commands fit */
	uint64_t fail_cookie;		/* this command fails with -EIO */
	struct dmo_completion done[256];
	unsigned int first, last;	/* of done */
	unsigned int prefetched;
	struct { void *at; size_t bytes; } maps[4];
	unsigned int map_count;
} fake;

static int fake_call(void)
{
	return fake.calls_left && --fake.calls_left == 0 ? -EDOM : 0;
}

int dmo_dev_open(const char *file, const char *name, struct dmo_dev **dev)
{
	*dev = (struct dmo_dev *)&fake;
	return fake_call();
}

int dmo_as_create(struct dmo_dev *dev, struct dmo_as **as)
{
	*as = (struct dmo_as *)&fake;
	return fake_call();
}

int dmo_lowat(struct dmo_as *as, unsigned count)
{
	return fake_call();
}

int dmo_as_attach(struct dmo_as *as, int fd, uint32_t prot, uint64_t *va, uint64_t *length)
{
	int cpu_prot = PROT_READ | (prot & DMO_PROT_WRITE ? PROT_WRITE : 0);
	struct stat st;
	void *at;

	if (fake_call())
		return -EDOM;
	ck_assert_int_eq(fstat(fd, &st), 0);
	at = mmap(NULL, st.st_size, cpu_prot, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(at, MAP_FAILED);
	fake.maps[fake.map_count].at = at;
	fake.maps[fake.map_count++].bytes = st.st_size;
	*va = (uintptr_t)at;
	return 0;
}

void dmo_as_destroy(struct dmo_as *as)
{
	while (fake.map_count) {
		fake.map_count--;
		munmap(fake.maps[fake.map_count].at, fake.maps[fake.map_count].bytes);
	}
}

void dmo_dev_close(struct dmo_dev *dev)
{
}

int dmo_as_fd(const struct dmo_as *as)
{
	return -1;
}

uint32_t dmo_dev_number(const struct dmo_dev *dev)
{
	return 0;
}

int dmo_device_info(int fd, uint32_t device, struct dmo_device_info *info)
{
	*info = (struct dmo_device_info){ .threads = 3, .limit = 1 << 20 };
	return 0;
}

int dmo_stat(struct dmo_dev *dev, struct dmo_stat *stat)
{
	static uint64_t n;

	*stat = (struct dmo_stat){ .count = 1, .entries = { { "faults", n += 5 } } };
	return fake_call();
}

int dmo_stat_get(const struct dmo_stat *stat, const char *name, uint64_t *value)
{
	*value = stat->entries[0].value;
	return strcmp(stat->entries[0].name, name) ? -ENOENT : 0;
}

int dmo_prefetch(int fd, uint64_t offset, uint64_t length, uint32_t device)
{
	fake.prefetched++;
	return fake_call();
}

static float *floats(uint64_t va)
{
	ck_assert_uint_eq(va % 4, 0);
	return (float *)(uintptr_t)va;
}

static float number(uint64_t bits)
{
	uint32_t low = bits;
	float f;

	memcpy(&f, &low, sizeof(f));
	return f;
}

static void do_gemv(const struct dmo_command *c)
{
	float *y = floats(c->arg[0]), *w = floats(c->arg[1]), *x = floats(c->arg[2]);
	float *bias = c->arg[3] ? floats(c->arg[3]) : NULL;
	uint64_t rows = c->arg[4], columns = c->arg[5], i, j;
	bool transpose = c->flags & DMO_CMD_TRANSPOSE;
	double s;

	for (i = 0; i < (transpose ? columns : rows); i++) {
		s = c->flags & DMO_CMD_ACCUMULATE ? y[i] : 0;
		s += bias ? bias[i] : 0;
		for (j = 0; j < (transpose ? rows : columns); j++)
			s += transpose ? w[j * columns + i] * x[j] : w[i * columns + j] * x[j];
		y[i] = s;
	}
}

static void do_attention(const struct dmo_command *c)
{
	float score[STEPS];
	uint64_t head, width = c->arg[5];

	ck_assert_uint_le(c->arg[6], STEPS);
	for (head = 0; head < c->arg[4]; head++)
		kernel_attention(floats(c->arg[0]) + head * width, floats(c->arg[1]) + head * width,
				 floats(c->arg[2]) + head * width, floats(c->arg[3]) + head * width, score,
				 width, c->arg[6], c->arg[7]);
}

static void do_layernorm(const struct dmo_command *c)
{
	ck_assert_float_eq(number(c->arg[5]), 1e-5f);
	kernel_layernorm(floats(c->arg[0]), floats(c->arg[1]), floats(c->arg[2]), floats(c->arg[3]),
			 c->arg[4]);
}

static void do_axpy(const struct dmo_command *c)
{
	uint64_t i;

	for (i = 0; i < c->arg[2]; i++)
		floats(c->arg[0])[i] += number(c->arg[3]) * floats(c->arg[1])[i];
}

static void carry_out(const struct dmo_command *c, struct dmo_completion *done)
{
	*done = (struct dmo_completion){
		.cookie = c->cookie, .op = c->op, .faults = 1, .waited_ns = 2, .ran_ns = 4,
	};
	if (c->cookie == fake.fail_cookie) {
		done->status = -EIO;
		return;
	}
	switch (c->op) {
	case DMO_OP_COPY:
		memcpy(floats(c->arg[0]), floats(c->arg[1]), c->arg[2]);
		break;
	case DMO_OP_AXPY: do_axpy(c); break;
	case DMO_OP_GEMV: do_gemv(c); break;
	case DMO_OP_LAYERNORM: do_layernorm(c); break;
	case DMO_OP_GELU:
		memmove(floats(c->arg[0]), floats(c->arg[1]), c->arg[2] * 4);
		kernel_gelu(floats(c->arg[0]), c->arg[2]);
		break;
	case DMO_OP_ATTENTION: do_attention(c); break;
	case DMO_OP_ARGMAX: done->result[0] = kernel_argmax(floats(c->arg[0]), c->arg[1]); break;
	default: ck_abort_msg("command %u was not expected", c->op);
	}
}

int dmo_submit(struct dmo_as *as, const struct dmo_command *commands, unsigned count)
{
	unsigned int i;

	if (fake.first == fake.last)
		fake.first = fake.last = 0;
	for (i = 0; i < count && fake.last - fake.first < fake.queue; i++)
		carry_out(&commands[i], &fake.done[fake.last++]);
	return i ? (int)i : -EAGAIN;
}

/* At most three at a time, so that a token's completions come in several reads. */
int dmo_complete(struct dmo_as *as, struct dmo_completion *completions, unsigned room, int timeout_ms)
{
	unsigned int n = 0;

	ck_assert_msg(fake.first < fake.last, "waits for a completion that will never come");
	while (n < room && n < 3 && fake.first < fake.last)
		completions[n++] = fake.done[fake.first++];
	return n;
}

/* ---- the tests ------------------------------------------------------------------------------------- */

struct both {
	struct gpt2_model model;
	struct gpt2_cpu *cpu;
	struct gpt2_device *device;
	int fd;
};

static void open_model(struct both *b, const char *path)
{
	char reason[160];

	b->fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(b->fd, 0);
	ck_assert_msg(gpt2_open(&b->model, b->fd, 0, reason, sizeof(reason)) == 0, "%s", reason);
}

static int create(struct both *b, bool prefetch)
{
	const struct gpt2_device_setup setup = {
		.model = &b->model, .weights = b->fd, .mount = directory, .device = "npu0", .capacity = STEPS,
		.prefetch = prefetch,
	};
	const char *what;

	return gpt2_device_create(&b->device, &setup, &what);
}

static void open_both(struct both *b, const char *path)
{
	open_model(b, path);
	ck_assert_int_eq(gpt2_cpu_create(&b->cpu, &b->model, b->fd, 1, STEPS), 0);
	ck_assert_int_eq(create(b, false), 0);
}

static void close_both(struct both *b)
{
	gpt2_device_free(b->device);
	gpt2_cpu_free(b->cpu);
	gpt2_close(&b->model);
	close(b->fd);
}

static void compare(struct both *b)
{
	struct step step = { .token = 3, .want_next = true, .want_logits = true };
	uint32_t vocab = b->model.shape.vocab, i;
	const float *cpu;

	for (step.position = 0; step.position < STEPS; step.position++, step.token = step.next) {
		cpu = gpt2_cpu_step(b->cpu, step.token, step.position, true);
		ck_assert_int_eq(gpt2_device_take(b->device, &step), 0);
		for (i = 0; i < vocab; i++)
			ck_assert_float_eq_tol(step.logits[i], cpu[i], 1e-4);
		ck_assert_uint_eq(step.next, kernel_argmax(cpu, vocab));
	}
}

START_TEST(device_gives_the_logits_and_tokens_of_the_cpu)
{
	struct both b = { 0 };

	open_both(&b, model_path);
	compare(&b);
	close_both(&b);
}
END_TEST

START_TEST(short_queue_is_filled_again_and_again)
{
	struct both b = { 0 };

	fake.queue = 2;
	open_both(&b, model_path);
	compare(&b);
	close_both(&b);
}
END_TEST

START_TEST(weights_that_lie_askew_are_copied)
{
	struct both b = { 0 };

	open_both(&b, askew_path);
	ck_assert(!gpt2_aligned(&b.model));
	compare(&b);
	close_both(&b);
}
END_TEST

START_TEST(failed_command_ends_the_step_with_its_errno)
{
	struct both b = { 0 };
	struct step step = { .token = 1, .want_next = true };

	open_both(&b, model_path);
	fake.fail_cookie = 7;
	ck_assert_int_eq(gpt2_device_take(b.device, &step), -EIO);
	ck_assert_uint_eq(fake.first, fake.last);
	fake.fail_cookie = ~0ull;
	compare(&b);
	close_both(&b);
}
END_TEST

START_TEST(cost_is_the_sum_of_the_completions)
{
	struct both b = { 0 };
	struct step step = { .token = 1 };
	struct gpt2_device_cost cost;
	uint64_t commands;

	open_both(&b, model_path);
	commands = 2 + 8 * b.model.shape.layers;
	ck_assert_int_eq(gpt2_device_take(b.device, &step), 0);
	ck_assert_int_eq(gpt2_device_cost(b.device, &cost), 0);
	ck_assert_uint_eq(cost.faults, commands);
	ck_assert_uint_eq(cost.waited_ns, 2 * commands);
	ck_assert_uint_eq(cost.ran_ns, 4 * commands);
	ck_assert_uint_eq(cost.threads, 3);
	ck_assert_uint_eq(cost.stat.entries[0].value, 5);
	close_both(&b);
}
END_TEST

static unsigned int entries_of(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

START_TEST(each_failed_call_of_the_set_up_leaves_nothing)
{
	struct both b = { 0 };
	unsigned int call, before, files;

	open_model(&b, model_path);
	before = entries_of("/proc/self/fd");
	files = entries_of(directory);
	for (call = 1; ; call++) {
		fake.calls_left = call;
		if (create(&b, true) == 0)
			break;
		ck_assert_uint_eq(entries_of("/proc/self/fd"), before);
		ck_assert_uint_eq(entries_of(directory), files);
		ck_assert_uint_eq(fake.map_count, 0);
	}
	ck_assert_uint_eq(call, 8);
	ck_assert_uint_eq(fake.prefetched, 2);
	fake.calls_left = 0;
	close_both(&b);
}
END_TEST

/* The model with a header of odd length: one space more, and the data moved. */
static bool write_askew(void)
{
	int from = open(model_path, O_RDONLY), to = open(askew_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	off_t size = lseek(from, 0, SEEK_END);
	char *bytes = malloc(size + 1);
	uint64_t length = 0;
	bool good;

	good = bytes && pread(from, bytes, size, 0) == size;
	memcpy(&length, bytes, sizeof(length));
	memmove(bytes + 8 + length + 1, bytes + 8 + length, size - 8 - length);
	bytes[8 + length++] = ' ';
	memcpy(bytes, &length, sizeof(length));
	good = good && write(to, bytes, size + 1) == size + 1;
	free(bytes);
	close(from);
	close(to);
	return good;
}

static void reset_fake(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.queue = 256;
	fake.fail_cookie = ~0ull;
}

int main(void)
{
	const struct gpt2_shape shape = {
		.layers = 2, .width = 48, .heads = 4, .inner = 192, .vocab = 97, .positions = STEPS,
	};
	Suite *suite = suite_create("gpt2 device");
	TCase *tc = tcase_create("commands");
	SRunner *runner;
	int failed;

	if (!mkdtemp(directory))
		return 99;
	snprintf(model_path, sizeof(model_path), "%s/model", directory);
	snprintf(askew_path, sizeof(askew_path), "%s/askew", directory);
	if (gpt2_write_seeded(model_path, &shape, 1, NULL, NULL) || !write_askew())
		return 99;
	tcase_add_checked_fixture(tc, reset_fake, NULL);
	tcase_add_test(tc, device_gives_the_logits_and_tokens_of_the_cpu);
	tcase_add_test(tc, short_queue_is_filled_again_and_again);
	tcase_add_test(tc, weights_that_lie_askew_are_copied);
	tcase_add_test(tc, failed_command_ends_the_step_with_its_errno);
	tcase_add_test(tc, cost_is_the_sum_of_the_completions);
	tcase_add_test(tc, each_failed_call_of_the_set_up_leaves_nothing);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	unlink(model_path);
	unlink(askew_path);
	return rmdir(directory) || failed ? 1 : 0;
}
