/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory.c - every allocation of the GPT-2 example's parts fails once, in turn
 *
 * The linker sends their calls of malloc and its like here (--wrap). The Nth returns NULL, for N = 1, 2, ... until the
 * operation succeeds; each failure must be reported as such and leave no memory and no open file behind.
 */
#include "bpe.h"
#include "cpu.h"
#include "safetensors.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIVE_MAX 256

static void *live[LIVE_MAX];		/* what the parts have allocated */
static unsigned int calls_left;		/* before one fails; 0: none fails */
static char directory[] = "/tmp/dmo-gpt2-memory-XXXXXX";
static char model_path[64], other_path[64];

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
int __real_posix_memalign(void **memory, size_t align, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
int __wrap_posix_memalign(void **memory, size_t align, size_t size);
void __wrap_free(void *memory);

static bool fails(void)
{
	return calls_left && --calls_left == 0;
}

static void *replace(void *old, void *memory)
{
	unsigned int i;

	for (i = 0; i < LIVE_MAX && live[i] != old; i++)
		;
	if (i < LIVE_MAX)
		live[i] = memory;
	return memory;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : replace(NULL, __real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : replace(NULL, __real_calloc(count, size));
}

void *__wrap_realloc(void *memory, size_t size)
{
	return fails() ? NULL : replace(memory, __real_realloc(memory, size));
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size)
{
	return fails() ? NULL : replace(memory, __real_reallocarray(memory, count, size));
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return fails() ? NULL : replace(NULL, __real_aligned_alloc(align, size));
}

int __wrap_posix_memalign(void **memory, size_t align, size_t size)
{
	if (fails())
		return ENOMEM;
	return replace(NULL, __real_posix_memalign(memory, align, size) ? NULL : *memory) ? 0 : ENOMEM;
}

/* Memory that the C library allocated passes through here too and is not ours to count. */
void __wrap_free(void *memory)
{
	if (memory)
		replace(memory, NULL);
	__real_free(memory);
}

static unsigned int count_live(void)
{
	unsigned int i, n = 0;

	for (i = 0; i < LIVE_MAX; i++)
		n += live[i] != NULL;
	return n;
}

static unsigned int count_files(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Runs op with its 1st, 2nd, ... allocation failing until it gives 0. It cleans up after a success itself. */
static void fail_each(int (*op)(void), unsigned int least)
{
	unsigned int call, fds = count_files("/proc/self/fd"), files = count_files(directory), memory = count_live();
	int err;

	for (call = 1; ; call++) {
		calls_left = call;
		err = op();
		calls_left = 0;
		ck_assert_uint_eq(count_live(), memory);
		ck_assert_uint_eq(count_files("/proc/self/fd"), fds);
		ck_assert_uint_eq(count_files(directory), files);
		if (!err)
			break;
		ck_assert_int_eq(err, -ENOMEM);
	}
	ck_assert_uint_gt(call, least);
}

static int parse_header(void)
{
	static const char text[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}";
	struct st_index index;
	enum st_status status = st_parse(&index, text, sizeof(text) - 1, 8 + sizeof(text) - 1 + 16);

	if (status == ST_OK)
		st_free(&index);
	return status == ST_OK ? 0 : status == ST_NO_MEMORY ? -ENOMEM : -EINVAL;
}

static int open_model(struct gpt2_model *model, int *fd)
{
	char reason[160];
	int err;

	*fd = open(model_path, O_RDONLY | O_CLOEXEC);
	err = gpt2_open(model, *fd, 0, reason, sizeof(reason));
	if (err)
		close(*fd);
	return err;
}

static int open_and_close_model(void)
{
	struct gpt2_model model;
	int fd, err = open_model(&model, &fd);

	if (err)
		return err;
	gpt2_close(&model);
	close(fd);
	return 0;
}

static int make_cpu(void)
{
	struct gpt2_model model;
	struct gpt2_cpu *cpu;
	int fd, err = open_model(&model, &fd);

	if (err)
		return err;
	err = gpt2_cpu_create(&cpu, &model, fd, 2, 4);
	if (!err) {
		err = gpt2_cpu_step(cpu, 1, 0, true) ? 0 : -EINVAL;
		gpt2_cpu_free(cpu);
	}
	gpt2_close(&model);
	close(fd);
	return err;
}

static const struct gpt2_shape shape = {
	.layers = 1, .width = 16, .heads = 2, .inner = 64, .vocab = 20, .positions = 4,
};

static int write_model(void)
{
	int err = gpt2_write_seeded(other_path, &shape, 1, NULL, NULL);

	if (!err)
		unlink(other_path);
	return err;
}

static int load_and_encode(void)
{
	char reason[160];
	struct bpe *bpe;
	uint32_t ids[4];
	long n;
	int err = bpe_load(&bpe, directory, reason, sizeof(reason));

	if (err)
		return err;
	n = bpe_encode(bpe, "ab", 2, ids, 4);
	bpe_free(bpe);
	return n < 0 ? (int)n : n == 1 ? 0 : -EINVAL;
}

START_TEST(header_survives_each_failed_allocation) { fail_each(parse_header, 2); } END_TEST
START_TEST(model_survives_each_failed_allocation) { fail_each(open_and_close_model, 3); } END_TEST
START_TEST(cpu_survives_each_failed_allocation) { fail_each(make_cpu, 12); } END_TEST
START_TEST(writer_survives_each_failed_allocation) { fail_each(write_model, 4); } END_TEST
START_TEST(tokenizer_survives_each_failed_allocation) { fail_each(load_and_encode, 7); } END_TEST

static bool put_file(const char *name, const char *text)
{
	char path[80];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	out = fopen(path, "w");
	return out && fputs(text, out) >= 0 && fclose(out) == 0;
}

static void remove_file(const char *name)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	unlink(path);
}

static bool make_files(void)
{
	if (!mkdtemp(directory))
		return false;
	snprintf(model_path, sizeof(model_path), "%s/model", directory);
	snprintf(other_path, sizeof(other_path), "%s/other", directory);
	return gpt2_write_seeded(model_path, &shape, 1, NULL, NULL) == 0 &&
	       put_file("vocab.json", "{\"a\":0,\"b\":1,\"ab\":2}") && put_file("merges.txt", "a b\n");
}

int main(void)
{
	Suite *suite = suite_create("gpt2 memory");
	TCase *tc = tcase_create("allocations");
	SRunner *runner;
	int failed;

	if (!make_files())
		return 99;
	tcase_add_test(tc, header_survives_each_failed_allocation);
	tcase_add_test(tc, model_survives_each_failed_allocation);
	tcase_add_test(tc, cpu_survives_each_failed_allocation);
	tcase_add_test(tc, writer_survives_each_failed_allocation);
	tcase_add_test(tc, tokenizer_survives_each_failed_allocation);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	remove_file("model");
	remove_file("vocab.json");
	remove_file("merges.txt");
	return rmdir(directory) || failed ? 1 : 0;
}
