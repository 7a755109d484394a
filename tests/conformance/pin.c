/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pin.c - leases on residency (invariants 7 and 8)
 */
#include "kit.h"

#include <sched.h>
#include <sys/resource.h>

#define USER 12345

START_TEST(a_pinned_range_is_resident_and_marked)
{
	int fd = obj_create("o", 4 * MiB);
	uint64_t id;

	obj_write_pattern(fd, 0, 4 * MiB, 1);
	ck_ok(dmo_pin(fd, MiB, MiB, 0, &id));
	ck_assert(obj_extent(fd, MiB).flags & DMO_EXT_PINNED);
	ck_assert(obj_extent(fd, MiB).flags & DMO_EXT_RESIDENT);
	ck_assert(!(obj_extent(fd, 0).flags & DMO_EXT_PINNED));
	ck_ok(dmo_unpin(fd, id));
	ck_assert(!(obj_extent(fd, MiB).flags & DMO_EXT_PINNED));
	obj_check_pattern(fd, 0, 4 * MiB, 1);
}
END_TEST

START_TEST(a_pinned_page_stays_where_it_is)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB), other = obj_create("other", 64 * MiB);
	uint64_t id;

	ck_ok(dmo_pin(fd, 0, 4 * MiB, 0, &id));
	ck_errno(obj_migrate(fd, 0, 4 * MiB, DMO_DEVICE_HOST), EBUSY);
	ck_ok(ctx_fill(ctx, ctx_map(ctx, other, 0, 64 * MiB, READ_WRITE), 64 * MiB, 1));
	ck_assert_uint_eq(obj_resident(fd), 4 * MiB);
	obj_check_byte(other, 0, 64 * MiB, 1);
}
END_TEST

START_TEST(pinned_pages_stay_coherent)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB), i;
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE), id;

	ck_ok(dmo_pin(fd, 0, MiB, 0, &id));
	for (i = 1; i < 20; i++) {
		obj_write_pattern(fd, 0, MiB, i);
		ctx_check_pattern(ctx, va, 0, MiB, i);
		ck_ok(ctx_fill(ctx, va, MiB, i));
		obj_check_byte(fd, 0, MiB, i);
	}
	ck_assert_uint_eq(obj_resident(fd), MiB);
}
END_TEST

START_TEST(pins_nest)
{
	int fd = obj_create("o", MiB);
	uint64_t a, b;

	ck_ok(dmo_pin(fd, 0, MiB, 0, &a));
	ck_ok(dmo_pin(fd, 0, MiB, 0, &b));
	ck_assert_uint_ne(a, b);
	ck_ok(dmo_unpin(fd, a));
	ck_errno(obj_migrate(fd, 0, MiB, DMO_DEVICE_HOST), EBUSY);
	ck_ok(dmo_unpin(fd, b));
	ck_ok(obj_migrate(fd, 0, MiB, DMO_DEVICE_HOST));
}
END_TEST

/* The release that ends a pin comes on its own time. */
static int evict_released(int fd)
{
	int err;

	wait_until((err = obj_migrate(fd, 0, MiB, DMO_DEVICE_HOST)) != -EBUSY);
	return err;
}

START_TEST(a_pin_ends_with_its_open_file)
{
	int fd = obj_create("o", MiB), other = obj_open("o", O_RDWR);
	uint64_t id;

	ck_ok(dmo_pin(fd, 0, MiB, 0, &id));
	close(fd);
	ck_ok(evict_released(other));
	ck_assert_uint_eq(obj_resident(other), 0);
}
END_TEST

static void pin_and_die(void *arg)
{
	uint64_t id;

	ck_ok(dmo_pin(obj_open("o", O_RDWR), 0, MiB, 0, &id));
}

START_TEST(a_pin_ends_with_its_process)
{
	int fd = obj_create("o", MiB);

	join(spawn(pin_and_die, NULL));
	ck_ok(evict_released(fd));
}
END_TEST

START_TEST(a_lease_belongs_to_one_open_file)
{
	int fd = obj_create("o", MiB), other = obj_open("o", O_RDWR);
	uint64_t id;

	ck_ok(dmo_pin(fd, 0, MiB, 0, &id));
	ck_errno(dmo_unpin(other, id), ENOENT);
	ck_ok(dmo_unpin(fd, id));
	ck_errno(dmo_unpin(fd, id), ENOENT);
	ck_errno(dmo_unpin(fd, 0), ENOENT);
}
END_TEST

START_TEST(a_pin_larger_than_the_device_is_refused_and_leaves_nothing_pinned)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 64 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 64 * MiB, READ_WRITE), id;

	ck_errno(dmo_pin(fd, 0, 64 * MiB, 0, &id), ENOSPC);
	ck_assert(!(obj_extent(fd, 0).flags & DMO_EXT_PINNED));
	ck_ok(ctx_fill(ctx, va, 64 * MiB, 3));
	obj_check_byte(fd, 0, 64 * MiB, 3);
}
END_TEST

START_TEST(pins_that_leave_no_room_are_refused_one_by_one)
{
	int fd = obj_create("o", 64 * MiB);
	uint64_t id, at;
	int err = 0;

	for (at = 0; at < 64 * MiB && !err; at += 2 * MiB)
		err = dmo_pin(fd, at, 2 * MiB, 0, &id);
	ck_errno(err, ENOSPC);
	ck_assert_uint_le(control_value("npu0", "memory.current"), 16 * MiB);
}
END_TEST

START_TEST(a_page_pinned_on_one_device_is_refused_to_another)
{
	int fd = obj_create("o", MiB);
	uint64_t id, other;

	ck_ok(dmo_pin(fd, 0, MiB, 0, &id));
	ck_errno(dmo_pin(fd, 0, MiB, 1, &other), EBUSY);
	ck_errno(obj_migrate(fd, 0, MiB, 1), EBUSY);
}
END_TEST

START_TEST(truncate_wins_over_a_pin)
{
	int fd = obj_create("o", 4 * MiB);
	uint64_t id;

	ck_ok(dmo_pin(fd, 0, 4 * MiB, 0, &id));
	ck_ok(ftruncate(fd, 0));
	ck_assert_uint_eq(control_value("npu0", "memory.current"), 4 * MiB);
	ck_ok(ftruncate(fd, 4 * MiB));
	obj_check_byte(fd, 0, 4 * MiB, 0);
	ck_ok(dmo_unpin(fd, id));
	ck_ok(obj_migrate(fd, 0, 0, DMO_DEVICE_HOST));
	ck_assert_uint_eq(control_value("npu0", "memory.current"), 0);
}
END_TEST

START_TEST(punch_wins_over_a_pin)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE), id;

	ck_ok(ctx_fill(ctx, va, 4 * MiB, 5));
	ck_ok(dmo_pin(fd, 0, 4 * MiB, 0, &id));
	ck_ok(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MiB, MiB));
	obj_check_byte(fd, MiB, MiB, 0);
	ctx_check_byte(ctx, va + MiB, MiB, 0);
	obj_check_byte(fd, 2 * MiB, 2 * MiB, 5);
	ck_ok(dmo_unpin(fd, id));
}
END_TEST

static void pin_as_user(void *arg)
{
	struct rlimit limit = { *(rlim_t *)arg, *(rlim_t *)arg };
	int fd = obj_open("o", O_RDWR);
	uint64_t id;

	ck_ok(setrlimit(RLIMIT_MEMLOCK, &limit));
	become(USER, USER);
	ck_errno(dmo_pin(fd, 0, limit.rlim_cur + PAGE, 0, &id), EDQUOT);
	ck_ok(dmo_pin(fd, 0, limit.rlim_cur, 0, &id));
	ck_errno(dmo_pin(fd, MiB, PAGE, 0, &id), EDQUOT);
}

START_TEST(a_user_pins_no_more_than_the_limit_on_locked_memory)
{
	rlim_t limit = MiB;

	obj_create("o", 4 * MiB);
	join(spawn(pin_as_user, &limit));
}
END_TEST

static void pin_as_king(void *arg)
{
	struct rlimit limit = { MiB, MiB };
	int fd = obj_open("o", O_RDWR);
	uint64_t id;

	ck_ok(setrlimit(RLIMIT_MEMLOCK, &limit));
	become(USER, USER);
	if (unshare(CLONE_NEWUSER)) {
		printf("skipped: a user namespace of one's own: %s\n", strerror(errno));
		return;
	}
	ck_errno(dmo_pin(fd, 0, 2 * MiB, 0, &id), EDQUOT);
}

START_TEST(a_user_namespace_of_ones_own_raises_no_limit)
{
	obj_create("o", 4 * MiB);
	join(spawn(pin_as_king, NULL));
}
END_TEST

START_TEST(a_pin_without_reading_is_refused)
{
	uint64_t id;

	close(obj_create("o", MiB));
	ck_errno(dmo_pin(obj_open("o", O_WRONLY), 0, MiB, 0, &id), EACCES);
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "pin");
	conf_case(&run, "pins", one_device, 30);
	conf_test(&run, a_pinned_range_is_resident_and_marked);
	conf_test(&run, a_pinned_page_stays_where_it_is);
	conf_test(&run, pinned_pages_stay_coherent);
	conf_test(&run, pins_nest);
	conf_test(&run, a_pin_ends_with_its_open_file);
	conf_test(&run, a_pin_ends_with_its_process);
	conf_test(&run, a_lease_belongs_to_one_open_file);
	conf_test(&run, a_pin_larger_than_the_device_is_refused_and_leaves_nothing_pinned);
	conf_test(&run, pins_that_leave_no_room_are_refused_one_by_one);
	conf_test(&run, truncate_wins_over_a_pin);
	conf_test(&run, punch_wins_over_a_pin);
	conf_test(&run, a_user_pins_no_more_than_the_limit_on_locked_memory);
	conf_test(&run, a_user_namespace_of_ones_own_raises_no_limit);
	conf_test(&run, a_pin_without_reading_is_refused);
	conf_case(&run, "two devices", two_devices, 30);
	conf_test(&run, a_page_pinned_on_one_device_is_refused_to_another);
	return conf_end(&run);
}
