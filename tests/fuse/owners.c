/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * owners.c - what several users make at the same time belongs to each
 *
 * The service's threads take the callers' identities, and start other threads meanwhile. A crowd makes all of them
 * busy, so that new ones are started; whoever they serve first must find nobody else's identity in them.
 */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mounted.h"

#define CALLERS	12
#define FILES	60

static const struct {
	uid_t uid;
	gid_t gid;
	mode_t mask;
} users[] = { { 0, 0, 022 }, { 1000, 1001, 077 }, { 2000, 2001, 002 } };

#define USERS (sizeof(users) / sizeof(*users))

static struct mounted m;

/* Is name the user's, and of its umask? Says what it is where not. */
static bool belongs(const char *name, unsigned user, mode_t mode)
{
	struct stat st;

	if (lstat(name, &st))
		return false;
	if (st.st_uid == users[user].uid && st.st_gid == users[user].gid &&
	    (st.st_mode & 0777) == (mode & ~users[user].mask))
		return true;
	printf("%s of %u:%u is %o of %u:%u\n", name, users[user].uid, users[user].gid, st.st_mode & 0777, st.st_uid,
	       st.st_gid);
	return false;
}

static bool make_one(const char *dir, unsigned number, unsigned user)
{
	char file[64], sub[64];
	int fd;

	snprintf(file, sizeof(file), "%s/f%u", dir, number);
	snprintf(sub, sizeof(sub), "%s/d%u", dir, number);
	fd = open(file, O_CREAT | O_EXCL | O_WRONLY, 0666);
	if (fd < 0 || write(fd, "x", 1) != 1 || close(fd) || mkdir(sub, 0777))
		return false;
	return belongs(file, user, 0666) && belongs(sub, user, 0777);
}

static bool make_all(unsigned caller, unsigned user)
{
	char dir[32];

	if (setgroups(0, NULL) || setresgid(users[user].gid, users[user].gid, users[user].gid) ||
	    setresuid(users[user].uid, users[user].uid, users[user].uid))
		return false;
	umask(users[user].mask);
	snprintf(dir, sizeof(dir), "caller%u", caller);
	if (mkdir(dir, 0777) || !belongs(dir, user, 0777))
		return false;
	for (unsigned i = 0; i < FILES; i++)
		if (!make_one(dir, i, user))
			return false;
	return true;
}

START_TEST(each_of_a_crowd_of_users_owns_what_it_makes)
{
	pid_t pids[CALLERS];

	mounted_start(&m, NULL);
	ck_assert_int_eq(chmod(m.mount, 0777), 0);
	ck_assert_int_eq(chdir(m.mount), 0);
	for (unsigned i = 0; i < CALLERS; i++) {
		fflush(stdout);
		pids[i] = fork();
		ck_assert_int_ge(pids[i], 0);
		if (!pids[i]) {
			bool right = make_all(i, i % USERS);

			fflush(stdout);
			_exit(!right);
		}
	}
	for (unsigned i = 0; i < CALLERS; i++) {
		int status;

		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_msg(status == 0, "caller %u of user %u did not get its own", i, users[i % USERS].uid);
	}
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("owners");
	TCase *tc = tcase_create("owners");
	SRunner *runner = srunner_create(suite);
	int failed;

	mounted_need(true);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, each_of_a_crowd_of_users_owns_what_it_makes, 0, 3);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
