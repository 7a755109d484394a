/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * same.c - whatever is true on the store is true on the mount
 *
 * Each test body runs twice, in a plain directory and in the mount over another directory of the same filesystem,
 * and writes down what it sees: results, errnos, attributes. The two accounts must be equal.
 */
#include "config.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "account.h"
#include "mounted.h"

static const struct {
	const char *name;
	void (*run)(void);
} bodies[] = {
	{ "attributes_of_all_namespaces", body_attributes_of_all_namespaces },
	{ "supplementary_groups", body_supplementary_groups },
	{ "whiteout", body_whiteout },
	{ "odd_names", body_odd_names },
	{ "locks_of_open_files", body_locks_of_open_files },
	{ "large_files", body_large_files },
	{ "create", body_create },
	{ "umask_and_modes", body_umask_and_modes },
	{ "directories", body_directories },
	{ "long_names", body_long_names },
	{ "links", body_links },
	{ "symlinks", body_symlinks },
	{ "rename", body_rename },
	{ "rename_over_an_open_file", body_rename_over_an_open_file },
	{ "unlinked_files_live_on", body_unlinked_files_live_on },
	{ "special_files", body_special_files },
	{ "reading_directories", body_reading_directories },
	{ "seeking_in_directories", body_seeking_in_directories },
	{ "owner_and_mode", body_owner_and_mode },
	{ "writing_drops_set_user_id", body_writing_drops_set_user_id },
	{ "new_files_belong_to_the_caller", body_new_files_belong_to_the_caller },
	{ "permissions", body_permissions },
	{ "times", body_times },
	{ "birth", body_birth },
	{ "extended_attributes", body_extended_attributes },
	{ "default_acl", body_default_acl },
	{ "acl_lets_a_user_in", body_acl_lets_a_user_in },
	{ "file_flags", body_file_flags },
	{ "offsets_and_append", body_offsets_and_append },
	{ "holes", body_holes },
	{ "fallocate", body_fallocate },
	{ "truncate", body_truncate },
	{ "copy_file_range", body_copy_file_range },
	{ "mappings", body_mappings },
	{ "direct_io", body_direct_io },
	{ "locks", body_locks },
	{ "sync", body_sync },
	{ "many_open_files", body_many_open_files },
};

static struct mounted mounted;
static char plain[80];

static void run_in(const char *top, const char *name, void (*body)(void), char *out)
{
	char dir[256];

	snprintf(dir, sizeof(dir), "%s/%s", top, name);
	ck_assert_int_eq(mkdir(dir, 0755), 0);
	ck_assert_int_eq(chdir(dir), 0);
	umask(022);
	account_reset();
	body();
	strcpy(out, account_text());
	ck_assert_int_eq(chdir("/"), 0);
}

/* Names the first line that differs; whole accounts are long. */
static void compare(const char *expected, const char *seen)
{
	while (*expected && *seen) {
		size_t a = strcspn(expected, "\n"), b = strcspn(seen, "\n");

		ck_assert_msg(a == b && !memcmp(expected, seen, a), "store: %.*s\nmount: %.*s", (int)a, expected,
			      (int)b, seen);
		expected += a + !!expected[a];
		seen += b + !!seen[b];
	}
	ck_assert_str_eq(expected, seen);
}

START_TEST(the_mount_does_as_the_store)
{
	static char expected[ACCOUNT_SIZE], seen[ACCOUNT_SIZE];

	run_in(plain, bodies[_i].name, bodies[_i].run, expected);
	run_in(mounted.mount, bodies[_i].name, bodies[_i].run, seen);
	ck_assert_msg(*expected, "%s saw nothing", bodies[_i].name);
	compare(expected, seen);
}
END_TEST

static void start(void)
{
	mounted_start(&mounted, NULL);
	sprintf(plain, "%s/plain", mounted.base);
	ck_assert_int_eq(mkdir(plain, 0755), 0);
}

static void stop(void)
{
	ck_assert_int_eq(mounted_stop(&mounted), 0);
	mounted_clean(&mounted);
}

int main(void)
{
	Suite *suite = suite_create("same");
	SRunner *runner = srunner_create(suite);
	int failed;

	mounted_need(true);
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
		TCase *tc = tcase_create(bodies[i].name);

		tcase_set_timeout(tc, 60);
		tcase_add_unchecked_fixture(tc, start, stop);
		tcase_add_loop_test(tc, the_mount_does_as_the_store, i, i + 1);
		suite_add_tcase(suite, tc);
	}
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
