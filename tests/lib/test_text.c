/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text that the library reads: counters, and lines of /proc/self/mountinfo.
 */
#include "lib/mount.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

START_TEST(counters_are_found_by_name)
{
	struct dmo_stat stat;
	uint64_t value;

	ck_assert_int_eq(dmo_stat_parse("faults 12\nevict_clean 0\nlast 18446744073709551615\n", &stat), 0);
	ck_assert_uint_eq(stat.count, 3);
	ck_assert_int_eq(dmo_stat_get(&stat, "faults", &value), 0);
	ck_assert_uint_eq(value, 12);
	ck_assert_int_eq(dmo_stat_get(&stat, "last", &value), 0);
	ck_assert_uint_eq(value, UINT64_MAX);
	ck_assert_int_eq(dmo_stat_get(&stat, "fault", &value), -ENOENT);
}
END_TEST

START_TEST(last_line_needs_no_newline)
{
	struct dmo_stat stat;

	ck_assert_int_eq(dmo_stat_parse("a 1\nb 2", &stat), 0);
	ck_assert_uint_eq(stat.count, 2);
	ck_assert_int_eq(dmo_stat_parse("", &stat), 0);
	ck_assert_uint_eq(stat.count, 0);
}
END_TEST

START_TEST(malformed_counters_are_refused)
{
	static const char *const bad[] = {
		"faults", "faults\n", " 1\n", "faults \n", "faults -1\n", "faults 1x\n",
		"faults 18446744073709551616\n",
		"faults  1\n", "\n", "a 1\n\nb 2\n", "a 1 2\n",
	};
	struct dmo_stat stat;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(dmo_stat_parse(bad[i], &stat) == -EBADMSG, "\"%s\" was taken", bad[i]);
}
END_TEST

START_TEST(more_counters_than_there_is_room_for_are_passed_over)
{
	struct dmo_stat stat;
	char text[DMO_STAT_MAX * 16];
	char *at = text;

	for (int i = 0; i < DMO_STAT_MAX + 3; i++)
		at += sprintf(at, "c%d %d\n", i, i);
	ck_assert_int_eq(dmo_stat_parse(text, &stat), 0);
	ck_assert_uint_eq(stat.count, DMO_STAT_MAX);
	ck_assert_int_eq(dmo_stat_parse("a_name_that_is_longer_than_31_bytes 1\nb 2\n", &stat), 0);
	ck_assert_uint_eq(stat.count, 1);
}
END_TEST

START_TEST(line_of_a_dmofs_mount_is_understood)
{
	char line[] = "52 29 0:47 / /mnt/a\\040b\\134c rw shared:3 master:1 - fuse.dmofs /srv/store rw,user_id=0\n";
	struct mount_line mount;

	ck_assert_int_eq(mount_parse_line(line, &mount), 0);
	ck_assert(mount.ours);
	ck_assert(mount.whole);
	ck_assert_uint_eq(mount.dev, makedev(0, 47));
	ck_assert_str_eq(mount.point, "/mnt/a b\\c");
}
END_TEST

START_TEST(line_of_a_bind_mount_below_the_root_is_told_apart)
{
	char line[] = "52 29 0:47 /sub /mnt rw - fuse.dmofs store rw\n";
	char foreign[] = "52 29 8:1 / /mnt rw - ext4 /dev/sda1 rw\n";
	struct mount_line mount;

	ck_assert_int_eq(mount_parse_line(line, &mount), 0);
	ck_assert(!mount.whole);
	ck_assert_int_eq(mount_parse_line(foreign, &mount), 0);
	ck_assert(!mount.ours);
}
END_TEST

START_TEST(malformed_mount_lines_are_refused)
{
	static const char *const bad[] = {
		"", "\n", "1", "1 2", "1 2 x", "1 2 0:1", "1 2 0:1 /", "1 2 0:1 / /mnt",
		"1 2 0:1 / /mnt rw", "1 2 0:1 / /mnt rw -",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct mount_line mount;
		char *line = strdup(bad[i]);

		ck_assert_msg(mount_parse_line(line, &mount) == -EBADMSG, "\"%s\" was taken", bad[i]);
		free(line);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("text");
	TCase *tc = tcase_create("text");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_test(tc, counters_are_found_by_name);
	tcase_add_test(tc, last_line_needs_no_newline);
	tcase_add_test(tc, malformed_counters_are_refused);
	tcase_add_test(tc, more_counters_than_there_is_room_for_are_passed_over);
	tcase_add_test(tc, line_of_a_dmofs_mount_is_understood);
	tcase_add_test(tc, line_of_a_bind_mount_below_the_root_is_told_apart);
	tcase_add_test(tc, malformed_mount_lines_are_refused);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
