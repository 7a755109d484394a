/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_kinds.c - devices without faults, and with memory that the CPU reaches
 *
 * Without faults: what a command names is there before it starts, or it completes with ENOSPC and has changed nothing.
 * Coherent: CPU reads and writes of pages that are newer on the device go to its memory, not through its copy engine,
 * and leave them there.
 */
#include "engine/internal.h"
#include "fakefs.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define RW	(DMO_PROT_READ | DMO_PROT_WRITE)
#define MEMORY	(8u << 20)
#define SIZE	(3ull * MEMORY)

static const struct dmo_backend_ops *real;
static struct dmo_backend_ops spy;
static atomic_uint copies, addresses;

static void spy_copy(void *dev, struct dmo_copy_job *jobs)
{
	atomic_fetch_add(&copies, 1);
	real->copy(dev, jobs);
}

static void *spy_cpu_address(void *dev, uint32_t frame)
{
	void *at = real->cpu_address(dev, frame);

	atomic_fetch_add(&addresses, at != NULL);
	return at;
}

struct scene {
	struct ff *ff;
	struct ff_open *open;
	struct ff_ctx *ctx;
	uint64_t va;
};

static struct scene start(const char *spec)
{
	const char *const devices[] = { spec, NULL };
	struct scene s = { .ff = ff_start(NULL, devices) };
	struct eng_device *dev = eng_device(s.ff->eng, 0);

	real = dev->ops;
	spy = *real;
	spy.copy = spy_copy;
	spy.cpu_address = spy_cpu_address;
	dev->ops = &spy;
	s.open = ff_open(ff_file(s.ff, "object", SIZE, SIZE / FF_PAGE), O_RDWR);
	s.ctx = ff_ctx(s.ff, 0);
	s.va = ff_map(s.ctx, s.open, 0, SIZE, RW, NULL);
	return s;
}

static void stop(struct scene *s)
{
	ff_ctx_close(s->ctx);
	ff_close(s->open);
	eng_device(s->ff->eng, 0)->ops = real;
	ff_stop(s->ff);
}

static int fill(struct scene *s, uint64_t offset, uint64_t length, int byte)
{
	return FF_RUN(s->ctx, DMO_OP_FILL, s->va + offset, length, byte).status;
}

static void check_pattern(struct scene *s, uint64_t offset, uint64_t length)
{
	char *seen = malloc(length), *want = malloc(length);

	ff_pattern(want, offset, length);
	ck_assert_int_eq(ff_load(s->open, offset, seen, length), 0);
	ck_assert_mem_eq(seen, want, length);
	free(seen);
	free(want);
}

static void check_byte(struct scene *s, uint64_t offset, uint64_t length, int byte)
{
	char *seen = malloc(length), *want = malloc(length);

	memset(want, byte, length);
	ck_assert_int_eq(ff_load(s->open, offset, seen, length), 0);
	ck_assert_mem_eq(seen, want, length);
	free(seen);
	free(want);
}

/* ---- without faults ------------------------------------------------------------------------------------------ */

START_TEST(a_command_that_names_all_of_the_memory_runs)
{
	struct scene s = start("sim:npu0,memory=8M,faults=no");

	ck_assert_int_eq(fill(&s, MEMORY, MEMORY, 9), 0);
	check_pattern(&s, 0, MEMORY);
	check_byte(&s, MEMORY, MEMORY, 9);
	check_pattern(&s, 2 * MEMORY, MEMORY);
	stop(&s);
}
END_TEST

START_TEST(a_command_that_names_a_page_more_is_refused_before_it_starts)
{
	struct scene s = start("sim:npu0,memory=8M,faults=no");

	ck_assert_int_eq(fill(&s, 0, MEMORY + FF_PAGE, 9), -ENOSPC);
	check_pattern(&s, 0, SIZE);
	ck_assert_int_eq(ff_migrate(s.open, 0, SIZE, DMO_DEVICE_HOST), 0);	/* nothing stays pinned */
	ck_assert_uint_eq(ff_device_number(s.ff, 0, "memory.current", ""), 0);
	ck_assert_int_eq(fill(&s, FF_PAGE, MEMORY, 8), 0);
	check_byte(&s, FF_PAGE, MEMORY, 8);
	stop(&s);
}
END_TEST

/* Two operands of half the memory and a page each. */
START_TEST(a_command_whose_operands_do_not_fit_together_is_refused_before_it_starts)
{
	struct scene s = start("sim:npu0,memory=8M,faults=no");
	uint64_t half = MEMORY / 2;

	ck_assert_int_eq(FF_RUN(s.ctx, DMO_OP_COPY, s.va, s.va + MEMORY, half).status, 0);
	ck_assert_int_eq(FF_RUN(s.ctx, DMO_OP_COPY, s.va + 2 * MEMORY, s.va + MEMORY, half + FF_PAGE).status, -ENOSPC);
	check_pattern(&s, half, 2 * MEMORY + half);
	ck_assert_int_eq(FF_RUN(s.ctx, DMO_OP_COMPARE, s.va, s.va + MEMORY, half).status, 0);
	stop(&s);
}
END_TEST

START_TEST(a_refused_command_lets_the_next_ones_run_in_order)
{
	struct scene s = start("sim:npu0,memory=8M,faults=no");

	for (uint64_t i = 0; i < 6; i++)
		ff_submit(s.ctx, i, DMO_OP_FILL, (const uint64_t[]){ s.va, i % 2 ? SIZE : MEMORY, i + 1 }, 3);
	for (uint64_t i = 0; i < 6; i++) {
		struct dmo_completion c = ff_completion(s.ctx);

		ck_assert_uint_eq(c.cookie, i);
		ck_assert_int_eq(c.status, i % 2 ? -ENOSPC : 0);
	}
	check_byte(&s, 0, MEMORY, 5);
	check_pattern(&s, MEMORY, 2 * MEMORY);
	stop(&s);
}
END_TEST

/* ---- coherent memory ------------------------------------------------------------------------------------------- */

/* Two pages are newer on the device; the CPU reads them, and writes into the second. */
static void read_and_write_there(struct scene *s)
{
	char seen[16], text[] = "written by a CPU";

	ck_assert_int_eq(fill(s, 0, 2 * FF_PAGE, 6), 0);
	atomic_store(&copies, 0);
	atomic_store(&addresses, 0);
	check_byte(s, 0, 2 * FF_PAGE, 6);
	ck_assert_int_eq(ff_write(s->open, FF_PAGE + 100, text, sizeof(text)), sizeof(text));
	ck_assert_int_eq(ff_read_direct(s->open, FF_PAGE + 100, seen, sizeof(seen)), sizeof(seen));
	ck_assert_mem_eq(seen, text, sizeof(seen));
}

static void check_is_there(struct scene *s)
{
	uint32_t device, flags = ff_query(s->open, FF_PAGE, &device);
	char byte[8];

	ck_assert_uint_eq(flags & (DMO_EXT_RESIDENT | DMO_EXT_DIRTY), DMO_EXT_RESIDENT | DMO_EXT_DIRTY);
	ck_assert_uint_eq(device, 0);
	ff_backing(s->open->file, FF_PAGE + 100, byte, sizeof(byte));
	ck_assert(memcmp(byte, "written ", sizeof(byte)));
}

START_TEST(the_cpu_reads_and_writes_coherent_memory_where_it_is)
{
	struct scene s = start("sim:npu0,memory=8M,coherent=yes");

	read_and_write_there(&s);
	ck_assert_uint_eq(atomic_load(&copies), 0);
	ck_assert_uint_ge(atomic_load(&addresses), 3);
	check_is_there(&s);
	stop(&s);
}
END_TEST

START_TEST(the_copy_engine_carries_what_the_cpu_does_to_private_memory)
{
	struct scene s = start("sim:npu0,memory=8M");

	read_and_write_there(&s);
	ck_assert_uint_ge(atomic_load(&copies), 3);
	ck_assert_uint_eq(atomic_load(&addresses), 0);
	check_is_there(&s);
	stop(&s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kinds");
	TCase *faults = tcase_create("without faults"), *coherent = tcase_create("coherent");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(faults, 60);
	tcase_add_test(faults, a_command_that_names_all_of_the_memory_runs);
	tcase_add_test(faults, a_command_that_names_a_page_more_is_refused_before_it_starts);
	tcase_add_test(faults, a_command_whose_operands_do_not_fit_together_is_refused_before_it_starts);
	tcase_add_test(faults, a_refused_command_lets_the_next_ones_run_in_order);
	suite_add_tcase(suite, faults);
	tcase_set_timeout(coherent, 60);
	tcase_add_test(coherent, the_cpu_reads_and_writes_coherent_memory_where_it_is);
	tcase_add_test(coherent, the_copy_engine_carries_what_the_cpu_does_to_private_memory);
	suite_add_tcase(suite, coherent);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
