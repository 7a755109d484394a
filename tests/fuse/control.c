/* SPDX-License-Identifier: GPL-2.0-or-later */
/* control.c - the control directory: text that programs read, limits that people write, and who may */
#include "config.h"

#include <check.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mounted.h"

static struct mounted m;

static void start(void)
{
	mounted_start(&m, "--device", "sim:npu0,memory=4M,user=1000,group=1001,mode=0620", "--device",
		      "sim:npu1,memory=8M", NULL);
	ck_assert_int_eq(chdir(m.mount), 0);
}

static void stop(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}

static const char *text_of(const char *path)
{
	static char text[65536];
	int fd = open(path, O_RDONLY);
	ssize_t n;

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	n = read(fd, text, sizeof(text) - 1);
	ck_assert_int_ge(n, 0);
	text[n] = 0;
	close(fd);
	return text;
}

static int store(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC), rc;

	if (fd < 0)
		return -errno;
	rc = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
	close(fd);
	return rc;
}

/* ---- metrics: the text format of Prometheus ------------------------------------------------------------------- */

#define SERIES_MAX 512

struct seen {
	char text[SERIES_MAX][160];
	unsigned count;
};

static bool knows(const struct seen *seen, const char *text)
{
	for (unsigned i = 0; i < seen->count; i++)
		if (!strcmp(seen->text[i], text))
			return true;
	return false;
}

static void remember(struct seen *seen, const char *text)
{
	ck_assert_msg(!knows(seen, text), "%s comes twice", text);
	ck_assert_uint_lt(seen->count, SERIES_MAX);
	snprintf(seen->text[seen->count++], sizeof(seen->text[0]), "%s", text);
}

static size_t name_length(const char *text)
{
	size_t n = 0;

	while (isalnum((unsigned char)text[n]) || text[n] == '_' || text[n] == ':')
		n++;
	return n && !isdigit((unsigned char)*text) ? n : 0;
}

static struct seen helps, types, series;

static void check_comment(const char *line)
{
	char name[128], kind[16];
	int length = 0;

	if (sscanf(line, "# HELP %127s %n", name, &length) == 1 && length && line[length]) {
		remember(&helps, name);
		return;
	}
	ck_assert_msg(sscanf(line, "# TYPE %127s %15s", name, kind) == 2, "no HELP, no TYPE: %s", line);
	ck_assert_msg(!strcmp(kind, "gauge") || !strcmp(kind, "counter"), "%s", line);
	ck_assert_msg(strcmp(kind, "counter") || !strcmp(name + strlen(name) - 6, "_total"), "%s", line);
	remember(&types, name);
}

static void check_sample(const char *line)
{
	const char *at = line + name_length(line);
	char name[128], key[160], *end;

	ck_assert_msg(at > line, "no name: %s", line);
	snprintf(name, sizeof(name), "%.*s", (int)(at - line), line);
	ck_assert_msg(knows(&helps, name) && knows(&types, name), "%s has no HELP or no TYPE before it", name);
	if (*at == '{') {
		at = strchr(at, '}');
		ck_assert_msg(at && strstr(line, "device=\"npu"), "labels: %s", line);
		at++;
	}
	snprintf(key, sizeof(key), "%.*s", (int)(at - line), line);
	remember(&series, key);
	ck_assert_msg(*at == ' ' && isdigit((unsigned char)at[1]), "no value: %s", line);
	strtod(at + 1, &end);
	ck_assert_msg(!*end, "behind the value: %s", line);
}

START_TEST(metrics_are_text_for_prometheus)
{
	char *copy, *line;

	start();
	copy = strdup(text_of(".dmo/metrics"));
	ck_assert_msg(copy[0] && copy[strlen(copy) - 1] == '\n', "the last line does not end");
	for (line = strtok(copy, "\n"); line; line = strtok(NULL, "\n"))
		if (*line == '#')
			check_comment(line);
		else
			check_sample(line);
	ck_assert(knows(&series, "dmofs_memory_limit_bytes{device=\"npu1\"}"));
	ck_assert_uint_eq(helps.count, types.count);
	free(copy);
	stop();
}
END_TEST

/* ---- limits ------------------------------------------------------------------------------------------------------ */

#define MAX ".dmo/devices/npu1/memory.max"
#define HIGH ".dmo/devices/npu1/memory.high"

START_TEST(limits_are_written_as_cgroup_limits_are)
{
	static const struct {
		const char *written, *read;
	} good[] = {
		{ "1M", "1048576\n" }, { "512K\n", "524288\n" }, { "2m\n", "2097152\n" }, { "4096", "4096\n" },
		{ "5000", "4096\n" }, { "1G", "max\n" }, { "max", "max\n" }, { "0", "0\n" }, { "max\n", "max\n" },
	};
	static const char *const bad[] = { "", "\n", "M", "-1", "1M1", "1 M", "maximum", "0x10", "99999999999999999999" };
	unsigned events[4];

	start();
	ck_assert_str_eq(text_of(MAX), "max\n");
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		ck_assert_msg(store(MAX, good[i].written) == 0, "'%s'", good[i].written);
		ck_assert_str_eq(text_of(MAX), good[i].read);
	}
	for (size_t i = 1; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_msg(store(MAX, bad[i]) == -EINVAL, "'%s'", bad[i]);
		ck_assert_str_eq(text_of(MAX), "max\n");
	}
	ck_assert_int_eq(store(HIGH, "2M"), 0);
	ck_assert_str_eq(text_of(HIGH), "2097152\n");
	ck_assert_int_eq(sscanf(text_of(".dmo/devices/npu1/memory.events"), "low %u\nhigh %u\nmax %u\noom %u\n", &events[0],
				&events[1], &events[2], &events[3]), 4);
	stop();
}
END_TEST

static int as_user(uid_t uid, gid_t gid, const char *path, int flags)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
			_exit(255);
		_exit(open(path, flags) < 0 ? errno : 0);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

START_TEST(owner_group_and_mode_decide_who_opens_and_writes)
{
	static const char *const context = ".dmo/devices/npu0/context", *const limit = ".dmo/devices/npu0/memory.max";

	start();
	ck_assert_int_eq(as_user(1000, 1000, context, O_RDWR), 0);
	ck_assert_int_eq(as_user(1000, 1000, limit, O_WRONLY), 0);
	ck_assert_int_eq(as_user(1002, 1001, context, O_RDWR), EACCES);
	ck_assert_int_eq(as_user(1002, 1001, context, O_WRONLY), 0);
	ck_assert_int_eq(as_user(1002, 1001, limit, O_WRONLY), 0);
	ck_assert_int_eq(as_user(1003, 1003, context, O_RDONLY), EACCES);
	ck_assert_int_eq(as_user(1003, 1003, limit, O_WRONLY | O_TRUNC), EACCES);
	ck_assert_int_eq(as_user(1003, 1003, limit, O_RDONLY), 0);
	ck_assert_int_eq(as_user(1003, 1003, ".dmo/metrics", O_RDONLY), 0);
	ck_assert_int_eq(as_user(1000, 1000, ".dmo/devices/npu1/memory.max", O_WRONLY), EACCES);
	stop();
}
END_TEST

/* ---- the directory ------------------------------------------------------------------------------------------------- */

static bool listed(const char *dir, const char *name)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	bool found = false;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)))
		found |= !strcmp(e->d_name, name);
	closedir(d);
	return found;
}

#define EXPECT(call, error) \
	do { \
		errno = 0; \
		ck_assert_msg((call) == -1 && errno == (error), "%s: %s", #call, strerror(errno)); \
	} while (0)

START_TEST(the_control_directory_is_reachable_not_listed_and_stays_as_it_is)
{
	start();
	ck_assert(!listed(".", ".dmo"));
	ck_assert(listed(".dmo", "info"));
	ck_assert(listed(".dmo/devices", "npu1"));
	ck_assert(listed(".dmo/devices/npu1", "memory.stat"));
	ck_assert_int_eq(strncmp(text_of(".dmo/info"), "version ", 8), 0);
	EXPECT(mkdir(".dmo", 0755), EEXIST);
	EXPECT(mkdir(".dmo/d", 0755), EPERM);
	EXPECT(open(".dmo/f", O_CREAT | O_RDWR, 0644), EPERM);
	EXPECT(unlink(".dmo/info"), EPERM);
	EXPECT(rmdir(".dmo"), EPERM);
	EXPECT(rename(".dmo", "other"), EPERM);
	EXPECT(link(".dmo/info", "l"), EPERM);
	EXPECT(symlink("x", ".dmo/s"), EPERM);
	EXPECT(chmod(".dmo/info", 0600), EPERM);
	EXPECT(chown(".dmo/info", 1, 1), EPERM);
	ck_assert_int_eq(mkdir("d", 0755), 0);
	EXPECT(rename("d", ".dmo"), EPERM);
	stop();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("control");
	TCase *tc = tcase_create("control");
	SRunner *runner = srunner_create(suite);
	int failed;

	mounted_need(true);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, metrics_are_text_for_prometheus);
	tcase_add_test(tc, limits_are_written_as_cgroup_limits_are);
	tcase_add_test(tc, owner_group_and_mode_decide_who_opens_and_writes);
	tcase_add_test(tc, the_control_directory_is_reachable_not_listed_and_stays_as_it_is);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
