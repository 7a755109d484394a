/* SPDX-License-Identifier: GPL-2.0-or-later */
/* test_enter.c - what the engine tells a device's page table, seen between the two */
#include "engine/internal.h"
#include "fakefs.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>

#define PAGES		512u
#define ADVISED_FROM	100u	/* pages: neither end agrees with a window of the policy */
#define ADVISED_TO	203u
#define MAPPING_BITS	0x100u
#define ADVICE_BITS	0x5u

static const struct dmo_backend_ops *real;
static struct dmo_backend_ops spy;
static uint64_t base, seen[PAGES];
static bool entered[PAGES];

/* A test's commands run one at a time, so one run at a time comes here. */
static int spy_enter(void *as, const struct dmo_pte_run *run)
{
	for (unsigned i = 0; i < run->pages; i++) {
		uint64_t page = ((run->va - base) >> DMO_PAGE_SHIFT) + i;

		ck_assert_uint_lt(page, PAGES);
		seen[page] = run->bits;
		entered[page] = true;
	}
	return real->as_enter(as, run);
}

static void spy_on(struct ff *ff)
{
	struct eng_device *dev = eng_device(ff->eng, 0);

	real = dev->ops;
	spy = *real;
	spy.as_enter = spy_enter;
	dev->ops = &spy;
}

static void map_with_bits(struct ff_ctx *c, struct ff_open *o)
{
	struct {
		struct dmo_map map;
		struct dmo_map_op op;
	} m = { { .count = 1 }, { .length = PAGES * FF_PAGE, .prot = DMO_PROT_READ, .bits = MAPPING_BITS } };

	m.op.key = ff_key(o);
	ck_assert_int_eq(ff_ctx_ioctl(c, DMO_IOC_MAP(1), &m), 0);
	base = m.op.va;
}

START_TEST(translations_have_the_bits_of_their_mapping_and_of_the_advice)
{
	struct ff *ff = ff_start(NULL, (const char *const[]){ "sim:npu0,memory=32M", NULL });
	struct ff_file *f = ff_file(ff, "object", PAGES * FF_PAGE, PAGES);
	struct ff_open *o = ff_open(f, O_RDWR);
	struct dmo_advise advise = { .offset = ADVISED_FROM * FF_PAGE, .advice = DMO_ADV_DEVICE_BITS,
				     .length = (ADVISED_TO - ADVISED_FROM) * FF_PAGE, .value = ADVICE_BITS };
	struct ff_ctx *c = ff_ctx(ff, 0);
	int status;

	spy_on(ff);
	ck_assert_int_eq(ff_ioctl(o, DMO_IOC_ADVISE, &advise), 0);
	map_with_bits(c, o);
	ff_device_cksum(c, base, PAGES * FF_PAGE, &status);
	ck_assert_int_eq(status, 0);
	for (unsigned i = 0; i < PAGES; i++) {
		bool advised = i >= ADVISED_FROM && i < ADVISED_TO;

		ck_assert(entered[i]);
		ck_assert_uint_eq(seen[i], MAPPING_BITS | (advised ? ADVICE_BITS : 0));
	}
	ff_ctx_close(c);
	ff_close(o);
	eng_device(ff->eng, 0)->ops = real;
	ff_stop(ff);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("enter");
	TCase *tcase = tcase_create("bits");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, translations_have_the_bits_of_their_mapping_and_of_the_advice);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
