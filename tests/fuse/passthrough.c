/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * passthrough.c - files that the kernel takes straight to the store, and devices that want them
 *
 * Whether an open is in passthrough mode is seen from a device's side: it is refused the file with EBUSY.
 */
#include "config.h"

#include <check.h>
#include <dmo/ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mounted.h"

#define ATTRIBUTE "user.dmo.passthrough"
#define SIZE 8192

static struct mounted m;

static int open_file(const char *name, int flags)
{
	int fd = open(name, flags | O_CLOEXEC, 0644);

	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
	return fd;
}

static void make(const char *name)
{
	int fd = open_file(name, O_CREAT | O_RDWR);

	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	close(fd);
}

static int migrate(int fd)
{
	struct dmo_migrate request = { .length = SIZE, .device = 0 };

	return ioctl(fd, DMO_IOC_MIGRATE, &request) ? -errno : 0;
}

static int pin(int fd)
{
	struct dmo_pin request = { .length = SIZE, .device = 0 };

	return ioctl(fd, DMO_IOC_PIN, &request) ? -errno : 0;
}

static int map(int ctx, int fd)
{
	struct dmo_key key;
	union {
		struct dmo_map head;
		char room[sizeof(struct dmo_map) + sizeof(struct dmo_map_op)];
	} request = { .head.count = 1 };

	ck_assert_int_eq(ioctl(fd, DMO_IOC_KEY, &key), 0);
	request.head.ops[0] = (struct dmo_map_op){ .length = SIZE, .key = key.key, .prot = DMO_PROT_READ };
	return ioctl(ctx, DMO_IOC_MAP(1), &request) ? -errno : 0;
}

/* What a device is told that wants the file while it is open. */
static int device_gets(const char *name)
{
	int fd = open_file(name, O_RDWR), rc = migrate(fd);

	close(fd);
	return rc;
}

static void start(const char *option, const char *value)
{
	mounted_start(&m, "--device", "sim:npu0,memory=4M", option, value, NULL);
	ck_assert_int_eq(chdir(m.mount), 0);
}

static void stop(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}

static void mark(const char *name, const char *value)
{
	ck_assert_int_eq(setxattr(name, ATTRIBUTE, value, 1, 0), 0);
}

START_TEST(a_device_is_refused_an_open_passthrough_file)
{
	int fd, ctx;

	start("-o", "passthrough");
	make("f");
	fd = open_file("f", O_RDWR);
	ctx = open_file(".dmo/devices/npu0/context", O_RDWR);
	ck_assert_int_eq(migrate(fd), -EBUSY);
	ck_assert_int_eq(pin(fd), -EBUSY);
	ck_assert_int_eq(map(ctx, fd), -EBUSY);
	ck_assert_int_eq(device_gets("f"), -EBUSY);
	ck_assert_int_eq(pwrite(fd, "still here", 10, 0), 10);
	close(fd);
	close(ctx);
	stop();
}
END_TEST

START_TEST(passthrough_reads_writes_and_maps_the_store)
{
	char path[128], text[16] = "";
	int fd, behind;
	char *bytes;

	start("-o", "passthrough");
	make("f");
	fd = open_file("f", O_RDWR);
	bytes = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(bytes, MAP_FAILED);
	strcpy(bytes, "mapped");
	snprintf(path, sizeof(path), "%s/f", m.store);
	behind = open_file(path, O_RDWR);
	ck_assert_int_eq(pread(behind, text, 7, 0), 7);
	ck_assert_str_eq(text, "mapped");
	ck_assert_int_eq(pwrite(behind, "behind", 6, 0), 6);
	ck_assert_str_eq(bytes, "behind");
	close(behind);
	munmap(bytes, SIZE);
	close(fd);
	stop();
}
END_TEST

START_TEST(the_attribute_on_a_file_asks_for_it_and_0_for_the_opposite)
{
	start(NULL, NULL);
	make("f");
	ck_assert_int_eq(device_gets("f"), 0);
	mark("f", "1");
	close(open_file("f", O_RDONLY));
	ck_assert_int_eq(truncate("f", 0), 0);	/* no device holds it any more */
	ck_assert_int_eq(truncate("f", SIZE), 0);
	ck_assert_int_eq(device_gets("f"), -EBUSY);
	ck_assert_int_eq(removexattr("f", ATTRIBUTE), 0);
	ck_assert_int_eq(device_gets("f"), 0);
	stop();
	start("-o", "passthrough");
	make("f");
	mark("f", "0");
	ck_assert_int_eq(device_gets("f"), 0);
	stop();
}
END_TEST

START_TEST(the_attribute_on_a_directory_is_for_the_files_in_it)
{
	start(NULL, NULL);
	ck_assert_int_eq(mkdir("d", 0755), 0);
	ck_assert_int_eq(mkdir("e", 0755), 0);
	make("d/before");
	mark("d", "1");
	make("d/after");
	make("e/f");
	mark("d/after", "0");
	ck_assert_int_eq(device_gets("d/before"), -EBUSY);
	ck_assert_int_eq(device_gets("d/after"), 0);
	ck_assert_int_eq(device_gets("e/f"), 0);
	ck_assert_int_eq(rename("d/before", "e/before"), 0);
	ck_assert_int_eq(device_gets("e/before"), 0);
	ck_assert_int_eq(removexattr("d", ATTRIBUTE), 0);
	make("d/later");
	ck_assert_int_eq(device_gets("d/later"), 0);
	stop();
}
END_TEST

START_TEST(a_file_that_a_context_maps_is_opened_coherent)
{
	int fd, ctx;

	start(NULL, NULL);
	make("f");
	fd = open_file("f", O_RDWR);
	ctx = open_file(".dmo/devices/npu0/context", O_RDWR);
	ck_assert_int_eq(map(ctx, fd), 0);
	close(fd);
	mark("f", "1");
	ck_assert_int_eq(device_gets("f"), 0);
	close(ctx);
	stop();
}
END_TEST

static void need_kernel(void)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	uname(&name);
	sscanf(name.release, "%u.%u", &major, &minor);
	if (major > 6 || (major == 6 && minor >= 9))
		return;
	printf("skipped: passthrough takes Linux 6.9 or later, this is %s\n", name.release);
	exit(77);
}

int main(void)
{
	Suite *suite = suite_create("passthrough");
	TCase *tc = tcase_create("passthrough");
	SRunner *runner = srunner_create(suite);
	int failed;

	mounted_need(true);
	need_kernel();
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_device_is_refused_an_open_passthrough_file);
	tcase_add_test(tc, passthrough_reads_writes_and_maps_the_store);
	tcase_add_test(tc, the_attribute_on_a_file_asks_for_it_and_0_for_the_opposite);
	tcase_add_test(tc, the_attribute_on_a_directory_is_for_the_files_in_it);
	tcase_add_test(tc, a_file_that_a_context_maps_is_opened_coherent);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
