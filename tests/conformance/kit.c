/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kit.c - the conformance tests' runner, and its dealings with objects
 *
 * Every test runs in a process of its own, which mounts in its fixture and tears down in the other one. A test that
 * fails leaves both to the home's guard. The runner adopts what is left and waits for it, so that nothing outlives it.
 */
#include "kit.h"

#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#define SPECS_MAX 4

static const char *specs[SPECS_MAX + 1];
static bool running;

/* ---- the run ------------------------------------------------------------------------------------- */

bool conf_long(void)
{
	return getenv("CONF_LONG") != NULL;
}

unsigned rounds(unsigned normal)
{
	return conf_long() ? normal * 10 : getenv("CONF_BRIEF") ? normal / 4 + 1 : normal;
}

void conf_begin(struct conf_run *run, const char *subject)
{
	const char *missing;

	conf_choose_home();
	missing = conf_home->missing();
	if (missing) {
		printf("%s: skipped: %s\n", subject, missing);
		exit(77);
	}
	run->suite = suite_create(subject);
	run->tcase = NULL;
}

static void stop(void)
{
	if (running)
		ck_ok(conf_home->teardown());
	running = false;
}

void conf_case(struct conf_run *run, const char *name, void (*fixture)(void), int seconds)
{
	run->name = name;
	run->tcase = tcase_create(name);
	tcase_add_checked_fixture(run->tcase, fixture, stop);
	tcase_set_timeout(run->tcase, conf_long() ? seconds * 10 : seconds);
	suite_add_tcase(run->suite, run->tcase);
}

/* Why the test, or its whole case, is in the list; NULL. */
static const char *listed(const struct conf_skip *list, const struct conf_run *run, const TTest *test)
{
	for (; list->test; list++)
		if (!strcmp(list->test, test->name) || !strcmp(list->test, run->name))
			return list->why;
	return NULL;
}

void conf_test(struct conf_run *run, const TTest *test)
{
	const char *exempt = listed(conf_home->exempt, run, test);

	if (exempt)
		printf("skipped: %s: exempt in home %s: %s\n", test->name, conf_home->name, exempt);
	else
		tcase_add_test(run->tcase, test);
}

/* What tests left behind (guards, services) ends by itself, or it is told here. */
static int adopt(void)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0) {
		if (pid > 0)
			continue;
		if (now_ms() > end) {
			printf("processes of the home are left behind\n");
			return 1;
		}
		sleep_ms(10);
	}
	return 0;
}

int conf_end(struct conf_run *run)
{
	SRunner *runner = srunner_create(run->suite);
	int failed;

	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return adopt() || failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

void start(const char *spec, ...)
{
	va_list list;
	unsigned i = 0;

	va_start(list, spec);
	for (; spec && i < SPECS_MAX; spec = va_arg(list, const char *))
		specs[i++] = spec;
	va_end(list);
	specs[i] = NULL;
	ck_ok(conf_home->setup(specs, 0));
	running = true;
}

void start_small_store(uint64_t bytes, const char *spec)
{
	specs[0] = spec;
	specs[1] = NULL;
	ck_ok(conf_home->setup(specs, bytes));
	running = true;
}

void one_device(void)
{
	start("sim:npu0,memory=16M", NULL);
}

void two_devices(void)
{
	start("sim:npu0,memory=16M", "sim:npu1,memory=16M", NULL);
}

void stop_service(void)
{
	ck_ok(conf_home->unmount());
}

void go_on(void)
{
	ck_ok(conf_home->remount(specs));
}

void restart(void)
{
	stop_service();
	go_on();
}

void crash(void)
{
	ck_ok(conf_home->kill());
}

/* ---- processes and time -------------------------------------------------------------------------- */

pid_t spawn(void (*body)(void *arg), void *arg)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid)
		return pid;
	body(arg);
	_exit(0);
}

void join(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child ended with status %#x", status);
}

int join_within(pid_t pid, unsigned milliseconds)
{
	uint64_t end = now_ms() + milliseconds;

	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		sleep_ms(5);
	}
	return 0;
}

void *shared(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(memory, MAP_FAILED);
	return memory;
}

void become(uid_t uid, gid_t gid)
{
	ck_ok(setgroups(0, NULL));
	ck_ok(setresgid(gid, gid, gid));
	ck_ok(setresuid(uid, uid, uid));
}

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void sleep_ms(unsigned milliseconds)
{
	struct timespec t = { milliseconds / 1000, milliseconds % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

/* ---- control files ------------------------------------------------------------------------------- */

/* -ENOENT also where the home has no such file. */
static int control_open(const char *device, const char *file, int flags)
{
	const char *path = conf_home->control_path(device, file);
	int fd = path ? open(path, flags | O_CLOEXEC) : -1;

	return fd >= 0 ? fd : path ? -errno : -ENOENT;
}

int control_read(const char *device, const char *file, char *text, size_t size)
{
	int fd = control_open(device, file, O_RDONLY);
	ssize_t n;
	int err;

	if (fd < 0)
		return fd;
	n = read(fd, text, size - 1);
	err = n < 0 ? -errno : 0;
	text[n < 0 ? 0 : n] = 0;
	close(fd);
	return err;
}

int control_write(const char *device, const char *file, const char *text)
{
	int fd = control_open(device, file, O_WRONLY);
	int err;

	if (fd < 0)
		return fd;
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

uint64_t control_value(const char *device, const char *file)
{
	char text[64];

	ck_ok(control_read(device, file, text, sizeof(text)));
	return strncmp(text, "max", 3) == 0 ? UINT64_MAX : strtoull(text, NULL, 10);
}

int control_set(const char *device, const char *file, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)value);
	return control_write(device, file, text);
}

uint64_t control_key(const char *device, const char *file, const char *key)
{
	size_t length = strlen(key);
	char text[8192], *line, *rest = text;

	ck_ok(control_read(device, file, text, sizeof(text)));
	while ((line = strsep(&rest, "\n")))
		if (strncmp(line, key, length) == 0 && line[length] == ' ')
			return strtoull(line + length + 1, NULL, 10);
	ck_abort_msg("%s has no key %s", file, key);
	return 0;
}
