/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Peer mappings: the same address on both sides, advice by address, and nothing left over when a step fails. The
 * object is a memory file; the context is answered by fake.c.
 */
#include <config.h>

#include "fake.h"

#include <check.h>
#include <dirent.h>
#include <dmo/dmo.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE ((size_t)DMO_PAGE_SIZE)

static struct dmo_as *as;
static int file;

/* Allocations are counted by the wrappers; the one with this number fails. 0: none does. */
static unsigned allocations, failing;

void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
	return ++allocations == failing ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return ++allocations == failing ? NULL : __real_realloc(old, size);
}

static void set_up(void)
{
	fake_reset();
	fake.all = true;
	failing = 0;
	file = memfd_create("object", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(file, 16 * (off_t)PAGE), 0);
	ck_assert_int_eq(dmo_as_import(FAKE_FD, &as), 0);
}

static void tear_down(void)
{
	dmo_as_destroy(as);
	close(file);
}

static unsigned open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static unsigned mappings_of_object(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	while (fgets(line, sizeof(line), maps))
		n += strstr(line, "memfd:object") != NULL;
	fclose(maps);
	return n;
}

static void *map_pages(size_t pages, uint64_t offset)
{
	void *address;

	ck_assert_int_eq(dmo_peer_map(as, file, pages * PAGE, PROT_READ | PROT_WRITE, offset, &address), 0);
	return address;
}

START_TEST(both_sides_get_the_same_address)
{
	char *address = map_pages(4, PAGE);

	ck_assert_uint_eq(fake.mapped_va, (uintptr_t)address);
	address[0] = 'x';
	ck_assert_int_eq(pread(file, address + 1, 1, PAGE), 1);
	ck_assert_int_eq(address[1], 'x');
	ck_assert_int_eq(dmo_peer_unmap(address), 0);
	ck_assert_uint_eq(mappings_of_object(), 0);
	ck_assert_int_eq(dmo_peer_unmap(address), -ENOENT);
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
	void *address;

	ck_assert_int_eq(dmo_peer_map(as, file, 0, PROT_READ, 0, &address), -EINVAL);
	ck_assert_int_eq(dmo_peer_map(as, file, SIZE_MAX, PROT_READ, 0, &address), -EINVAL);
	ck_assert_int_eq(dmo_peer_map(as, file, PAGE, 0, 0, &address), -EINVAL);
	ck_assert_int_eq(dmo_peer_map(as, file, PAGE, PROT_EXEC | PROT_READ, 0, &address), -EINVAL);
	ck_assert_int_eq(dmo_peer_map(as, file, PAGE, PROT_READ, 5, &address), -EINVAL);
	ck_assert_int_eq(dmo_peer_map(as, -1, PAGE, PROT_READ, 0, &address), -EBADF);
	ck_assert_int_eq(dmo_peer_join(as, &address), -ENOENT);
	ck_assert_uint_eq(fake.calls, 0);
}
END_TEST

START_TEST(address_that_the_context_uses_is_passed_over)
{
	void *address;

	/* The first two requests are a key and a map that finds something there. */
	fake.fail_op = 0;
	fake.fail_error = -EEXIST;
	ck_assert_int_eq(dmo_peer_map(as, file, PAGE, PROT_READ, 0, &address), -ENOMEM);
	ck_assert_uint_eq(mappings_of_object(), 0);
	ck_assert_uint_gt(fake.calls, 8);
}
END_TEST

START_TEST(refusal_of_the_context_leaves_nothing)
{
	unsigned descriptors = open_descriptors();
	void *address;

	fake.fail_error = -EACCES;
	ck_assert_int_eq(dmo_peer_map(as, file, PAGE, PROT_READ, 0, &address), -EACCES);
	ck_assert_uint_eq(mappings_of_object(), 0);
	ck_assert_uint_eq(open_descriptors(), descriptors);
}
END_TEST

START_TEST(each_allocation_that_fails_leaves_nothing)
{
	unsigned descriptors = open_descriptors(), n;
	void *address;
	int r = -ENOMEM;

	for (n = 1; r == -ENOMEM && n < 20; n++) {
		allocations = 0;
		failing = n;
		r = dmo_peer_map(as, file, PAGE, PROT_READ, 0, &address);
		if (r == 0)
			break;
		ck_assert_int_eq(r, -ENOMEM);
		ck_assert_uint_eq(mappings_of_object(), 0);
		ck_assert_uint_eq(open_descriptors(), descriptors);
	}
	ck_assert_int_eq(r, 0);
	ck_assert_uint_gt(n, 2);
	allocations = 0;
	failing = 1;
	ck_assert_int_eq(dmo_peer_join(as, address), -ENOMEM);
	failing = 0;
	ck_assert_int_eq(dmo_peer_unmap(address), 0);
	ck_assert_uint_eq(open_descriptors(), descriptors);
}
END_TEST

START_TEST(each_allocation_of_a_context_that_fails_leaves_nothing)
{
	unsigned descriptors = open_descriptors();
	struct dmo_as *other;

	for (unsigned n = 1; n <= 2; n++) {
		allocations = 0;
		failing = n;
		ck_assert_int_eq(dmo_as_import(file, &other), -ENOMEM);
	}
	failing = 0;
	ck_assert_uint_eq(open_descriptors(), descriptors);
}
END_TEST

START_TEST(further_context_joins_at_the_same_address)
{
	char *address = map_pages(1, 0);
	struct dmo_as *other;

	ck_assert_int_eq(dmo_as_import(dup(file), &other), 0);
	fake.mapped_va = 0;
	ck_assert_int_eq(dmo_peer_join(other, address), 0);
	ck_assert_uint_eq(fake.mapped_va, (uintptr_t)address);
	dmo_as_destroy(other);
	ck_assert_int_eq(dmo_peer_unmap(address), 0);
}
END_TEST

START_TEST(advice_goes_to_the_part_of_the_file_that_is_mapped_there)
{
	char *address = map_pages(8, 4 * PAGE);

	ck_assert_int_eq(dmo_hmadvise(3, address + 2 * PAGE, 3 * PAGE, DMO_ADV_PREFERRED), 0);
	ck_assert_uint_eq(fake.advices, 1);
	ck_assert_uint_eq(fake.advised[0].offset, 6 * PAGE);
	ck_assert_uint_eq(fake.advised[0].length, 3 * PAGE);
	ck_assert_uint_eq(fake.advised[0].device, 3);
	ck_assert_uint_eq(fake.advised[0].advice, DMO_ADV_PREFERRED);
	ck_assert_int_eq(dmo_peer_unmap(address), 0);
}
END_TEST

START_TEST(advice_beyond_the_mappings_is_told)
{
	char *address = map_pages(2, 0);

	ck_assert_int_eq(dmo_hmadvise(0, address + PAGE, 2 * PAGE, DMO_ADV_COLD), -ENOMEM);
	ck_assert_uint_eq(fake.advices, 1);
	ck_assert_uint_eq(fake.advised[0].length, PAGE);
	ck_assert_int_eq(dmo_hmadvise(0, address, PAGE + 1, DMO_ADV_COLD), -EINVAL);
	ck_assert_int_eq(dmo_hmadvise(0, address, 0, DMO_ADV_COLD), -EINVAL);
	ck_assert_int_eq(dmo_hmadvise(0, address, PAGE, DMO_ADV_GRANULARITY), -EINVAL);
	ck_assert_int_eq(dmo_hmadvise(0, (void *)-PAGE, 2 * PAGE, DMO_ADV_COLD), -EINVAL);
	fake.advise_error = -EACCES;
	ck_assert_int_eq(dmo_hmadvise(0, address, PAGE, DMO_ADV_COLD), -EACCES);
	ck_assert_int_eq(dmo_peer_unmap(address), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("peer");
	TCase *tc = tcase_create("peer");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, both_sides_get_the_same_address);
	tcase_add_test(tc, bad_arguments_are_refused);
	tcase_add_test(tc, address_that_the_context_uses_is_passed_over);
	tcase_add_test(tc, refusal_of_the_context_leaves_nothing);
	tcase_add_test(tc, each_allocation_that_fails_leaves_nothing);
	tcase_add_test(tc, each_allocation_of_a_context_that_fails_leaves_nothing);
	tcase_add_test(tc, further_context_joins_at_the_same_address);
	tcase_add_test(tc, advice_goes_to_the_part_of_the_file_that_is_mapped_there);
	tcase_add_test(tc, advice_beyond_the_mappings_is_told);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
