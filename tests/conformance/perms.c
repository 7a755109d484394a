/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * perms.c - who may do what: the table of the design's section 6, a row and a refusal at a time
 *
 * Most tests run their body in a child that has become an ordinary user.
 */
#include "kit.h"

#define USER	12345
#define OTHER	12346

static void as_user(uid_t uid, void (*body)(void *), void *arg)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		become(uid, uid);
		body(arg);
		_exit(0);
	}
	join(pid);
}

/* An object of somebody's, with a mode. */
static void give(const char *name, uid_t uid, mode_t mode)
{
	int fd = obj_create(name, MiB);

	obj_write_pattern(fd, 0, MiB, 1);
	ck_ok(fchown(fd, uid, uid));
	ck_ok(fchmod(fd, mode));
	close(fd);
}

/* ---- device access through a descriptor ---------------------------------------------------------- */

START_TEST(a_read_only_descriptor_never_maps_for_device_writing)
{
	int ctx = ctx_open("npu0"), fd;

	give("o", 0, 0644);
	fd = obj_open("o", O_RDONLY);
	ck_errno(ctx_try_map(ctx, fd, 0, MiB, READ_WRITE), EACCES);
	ck_errno(ctx_try_map(ctx, fd, 0, MiB, DMO_PROT_WRITE), EACCES);
	ck_ok(ctx_try_map(ctx, fd, 0, MiB, DMO_PROT_READ));
}
END_TEST

START_TEST(a_device_never_writes_through_a_mapping_for_reading)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);
	uint64_t va = ctx_map(ctx, fd, 0, MiB, DMO_PROT_READ), value;
	struct dmo_completion c;

	obj_write_pattern(fd, 0, MiB, 1);
	ck_ok(ctx_load(ctx, va, &value));
	ck_errno(ctx_fill_completion(ctx, va + PAGE, PAGE, 1, &c), EACCES);
	ck_assert_uint_eq(c.va, va + PAGE);
	ck_errno(ctx_add(ctx, va, 1, &value), EACCES);
	obj_check_pattern(fd, 0, MiB, 1);
}
END_TEST

START_TEST(a_write_only_descriptor_does_not_map_for_device_reading)
{
	int ctx = ctx_open("npu0"), fd;

	give("o", 0, 0644);
	fd = obj_open("o", O_WRONLY);
	ck_errno(ctx_try_map(ctx, fd, 0, MiB, DMO_PROT_READ), EACCES);
}
END_TEST

START_TEST(a_read_only_descriptor_may_query_and_prefetch)
{
	struct dmo_extent e[4];
	int fd;

	give("o", 0, 0644);
	fd = obj_open("o", O_RDONLY);
	ck_assert_int_ge(dmo_query(fd, 0, 0, e, 4, NULL), 1);
	ck_ok(obj_migrate(fd, 0, MiB, 0));
	ck_ok(dmo_advise(fd, 0, MiB, DMO_ADV_WILLNEED, 0, 0));
}
END_TEST

START_TEST(a_write_only_descriptor_may_neither_query_nor_prefetch)
{
	struct dmo_extent e[4];
	int fd;

	give("o", 0, 0644);
	fd = obj_open("o", O_WRONLY);
	ck_errno(dmo_query(fd, 0, 0, e, 4, NULL), EACCES);
	ck_errno(obj_migrate(fd, 0, MiB, 0), EACCES);
}
END_TEST

START_TEST(discard_needs_a_writable_descriptor)
{
	int fd;

	give("o", 0, 0644);
	fd = obj_open("o", O_RDONLY);
	ck_errno(dmo_advise(fd, 0, MiB, DMO_ADV_DISCARD, DMO_DEVICE_ANY, 0), EACCES);
	obj_check_pattern(fd, 0, MiB, 1);
}
END_TEST

/* ---- names and modes ----------------------------------------------------------------------------- */

static void open_is_refused(void *arg)
{
	ck_errno(conf_home->open_object("o", O_RDWR, 0), EACCES);
}

START_TEST(the_mode_of_the_file_decides_who_opens_it)
{
	give("o", USER, 0600);
	as_user(OTHER, open_is_refused, NULL);
}
END_TEST

static void make_file(void *arg)
{
	struct stat st;
	int fd = obj_create("o", PAGE);

	ck_ok(fstat(fd, &st));
	ck_assert_uint_eq(st.st_uid, USER);
	ck_assert_uint_eq(st.st_gid, USER);
}

START_TEST(new_objects_belong_to_their_maker)
{
	as_user(USER, make_file, NULL);
}
END_TEST

/* ---- stored advice ------------------------------------------------------------------------------- */

static void advise_is_refused(void *arg)
{
	int fd = obj_open("o", O_RDONLY);

	ck_errno(dmo_advise(fd, 0, MiB, DMO_ADV_RANDOM, DMO_DEVICE_ANY, 0), EACCES);
	ck_errno(dmo_advise(fd, 0, MiB, DMO_ADV_PREFERRED, 0, 0), EACCES);
	ck_assert_uint_eq(obj_extent(fd, 0).attrs, 0);
}

START_TEST(stored_advice_is_not_for_readers_who_are_not_the_owner)
{
	give("o", USER, 0644);
	as_user(OTHER, advise_is_refused, NULL);
}
END_TEST

static void advise_works(void *arg)
{
	int fd = obj_open("o", *(int *)arg);

	ck_ok(dmo_advise(fd, 0, MiB, DMO_ADV_RANDOM, DMO_DEVICE_ANY, 0));
	ck_assert_uint_eq(obj_extent(fd, 0).attrs, DMO_ATTR_RANDOM);
}

START_TEST(the_owner_stores_advice_through_a_read_only_descriptor)
{
	int flags = O_RDONLY;

	give("o", USER, 0644);
	as_user(USER, advise_works, &flags);
}
END_TEST

START_TEST(whoever_may_write_stores_advice)
{
	int flags = O_RDWR;

	give("o", USER, 0666);
	as_user(OTHER, advise_works, &flags);
}
END_TEST

/* ---- devices ------------------------------------------------------------------------------------- */

static void context_is_refused(void *arg)
{
	ck_errno(conf_home->open_context("npu0", O_RDWR), EACCES);
}

static void context_works(void *arg)
{
	int ctx = ctx_open("npu0"), fd = obj_open("o", O_RDWR);

	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, PAGE, READ_WRITE), PAGE, 1));
}

START_TEST(owner_and_mode_of_the_device_decide_who_opens_contexts)
{
	start("sim:npu0,memory=4M,user=12345,group=12345,mode=0600", NULL);
	give("o", USER, 0666);
	as_user(USER, context_works, NULL);
	as_user(OTHER, context_is_refused, NULL);
}
END_TEST

static void in_group(void *arg)
{
	ck_ok(setresgid(777, 777, 777));
	ck_ok(setresuid(OTHER, OTHER, OTHER));
	context_works(NULL);
}

START_TEST(the_group_of_the_device_may_open_contexts)
{
	start("sim:npu0,memory=4M,user=12345,group=777,mode=0660", NULL);
	give("o", USER, 0666);
	join(spawn(in_group, NULL));
	as_user(OTHER, context_is_refused, NULL);
}
END_TEST

static void limit_is_refused(void *arg)
{
	ck_errno(control_set("npu0", "memory.max", MiB), EACCES);
}

static void limit_works(void *arg)
{
	ck_ok(control_set("npu0", "memory.max", MiB));
}

START_TEST(owner_and_mode_of_the_device_decide_who_writes_limits)
{
	start("sim:npu0,memory=4M,user=12345,group=12345,mode=0600", NULL);
	as_user(OTHER, limit_is_refused, NULL);
	ck_assert_uint_ne(control_value("npu0", "memory.max"), MiB);
	as_user(USER, limit_works, NULL);
	ck_assert_uint_eq(control_value("npu0", "memory.max"), MiB);
}
END_TEST

/* ---- evicting what others brought in ------------------------------------------------------------- */

static void evict_is_refused(void *arg)
{
	int fd = obj_open("o", O_RDONLY);

	ck_errno(obj_migrate(fd, 0, MiB, DMO_DEVICE_HOST), EPERM);
	ck_errno(dmo_advise(fd, 0, MiB, DMO_ADV_DONTNEED, DMO_DEVICE_ANY, 0), EPERM);
	ck_assert_uint_eq(obj_resident(fd), MiB);
}

static void evict_works(void *arg)
{
	int fd = obj_open("o", O_RDONLY);

	ck_ok(obj_migrate(fd, 0, MiB, DMO_DEVICE_HOST));
	ck_assert_uint_eq(obj_resident(fd), 0);
}

/* The object stays open, or its pages would go home. */
static void bring_in(void)
{
	int fd = obj_open("o", O_RDWR);

	ck_ok(obj_migrate(fd, 0, MiB, 0));
	ck_assert_uint_eq(obj_resident(fd), MiB);
}

START_TEST(evicting_others_pages_is_not_for_readers)
{
	start("sim:npu0,memory=4M,user=0,group=0,mode=0600", NULL);
	give("o", USER, 0644);
	bring_in();
	as_user(OTHER, evict_is_refused, NULL);
}
END_TEST

START_TEST(whoever_may_write_the_limit_may_evict)
{
	start("sim:npu0,memory=4M,user=12346,group=12346,mode=0600", NULL);
	give("o", USER, 0644);
	bring_in();
	as_user(OTHER, evict_works, NULL);
}
END_TEST

static void none(void)
{
}

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "perms");
	conf_case(&run, "descriptors", one_device, 20);
	conf_test(&run, a_read_only_descriptor_never_maps_for_device_writing);
	conf_test(&run, a_device_never_writes_through_a_mapping_for_reading);
	conf_test(&run, a_write_only_descriptor_does_not_map_for_device_reading);
	conf_test(&run, a_read_only_descriptor_may_query_and_prefetch);
	conf_test(&run, a_write_only_descriptor_may_neither_query_nor_prefetch);
	conf_test(&run, discard_needs_a_writable_descriptor);
	conf_case(&run, "names", one_device, 20);
	conf_test(&run, the_mode_of_the_file_decides_who_opens_it);
	conf_test(&run, new_objects_belong_to_their_maker);
	conf_case(&run, "advice", one_device, 20);
	conf_test(&run, stored_advice_is_not_for_readers_who_are_not_the_owner);
	conf_test(&run, the_owner_stores_advice_through_a_read_only_descriptor);
	conf_test(&run, whoever_may_write_stores_advice);
	conf_case(&run, "devices", none, 20);
	conf_test(&run, owner_and_mode_of_the_device_decide_who_opens_contexts);
	conf_test(&run, the_group_of_the_device_may_open_contexts);
	conf_test(&run, owner_and_mode_of_the_device_decide_who_writes_limits);
	conf_test(&run, evicting_others_pages_is_not_for_readers);
	conf_test(&run, whoever_may_write_the_limit_may_evict);
	return conf_end(&run);
}
