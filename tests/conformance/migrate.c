/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * migrate.c - prefetch and evict, waited for or not, and what is said when not every page arrived
 */
#include "kit.h"

#include <poll.h>

static struct dmo_migrate migration(uint64_t offset, uint64_t length, uint32_t device, uint32_t flags)
{
	return (struct dmo_migrate){ .offset = offset, .length = length, .device = device, .flags = flags };
}

START_TEST(prefetch_makes_every_page_resident)
{
	int fd = obj_create("o", 8 * MiB);
	struct dmo_migrate m = migration(0, 8 * MiB, 0, 0);

	obj_write_pattern(fd, 0, 8 * MiB, 1);
	ck_ok(request(fd, DMO_IOC_MIGRATE, &m));
	ck_assert_uint_eq(m.done, 8 * MiB);
	ck_assert_int_eq(m.error, 0);
	ck_assert_uint_eq(obj_resident(fd), 8 * MiB);
	ck_assert_uint_ge(control_value("npu0", "memory.current"), 8 * MiB);
	obj_check_pattern(fd, 0, 8 * MiB, 1);
}
END_TEST

START_TEST(a_prefetched_range_is_read_without_a_fault)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * MiB, DMO_PROT_READ);
	struct dmo_fault fault = { .va = va, .length = 4 * MiB, .prot = DMO_PROT_READ };
	struct dmo_completion c;

	obj_write_pattern(fd, 0, 4 * MiB, 1);
	ck_ok(obj_migrate(fd, 0, 4 * MiB, 0));
	ck_ok(request(ctx, DMO_IOC_FAULT, &fault));
	ck_ok(ctx_cksum(ctx, va, 4 * MiB, &c));
	ck_assert_uint_eq(c.faults, 0);
}
END_TEST

START_TEST(evict_frees_the_device_and_keeps_the_content)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, 4 * MiB, 6));
	ck_ok(obj_migrate(fd, 0, 4 * MiB, DMO_DEVICE_HOST));
	ck_assert_uint_eq(obj_resident(fd), 0);
	ck_assert_uint_eq(control_value("npu0", "memory.current"), 0);
	obj_check_byte(fd, 0, 4 * MiB, 6);
	ctx_check_byte(ctx, va, 4 * MiB, 6);
}
END_TEST

START_TEST(a_part_of_a_block_migrates_alone)
{
	int fd = obj_create("o", 4 * MiB);

	obj_write_pattern(fd, 0, 4 * MiB, 2);
	ck_ok(obj_migrate(fd, 3 * PAGE, 5 * PAGE, 0));
	ck_assert(obj_extent(fd, 3 * PAGE).flags & DMO_EXT_RESIDENT);
	ck_assert(obj_extent(fd, 7 * PAGE).flags & DMO_EXT_RESIDENT);
	ck_assert(!(obj_extent(fd, 3 * MiB).flags & DMO_EXT_RESIDENT));
	ck_ok(obj_migrate(fd, 4 * PAGE, PAGE, DMO_DEVICE_HOST));
	ck_assert(!(obj_extent(fd, 4 * PAGE).flags & DMO_EXT_RESIDENT));
	ck_assert(obj_extent(fd, 3 * PAGE).flags & DMO_EXT_RESIDENT);
	obj_check_pattern(fd, 0, 4 * MiB, 2);
}
END_TEST

START_TEST(length_zero_means_to_the_end)
{
	int fd = obj_create("o", 3 * MiB);

	obj_write_pattern(fd, 0, 3 * MiB, 1);
	ck_ok(obj_migrate(fd, MiB, 0, 0));
	ck_assert_uint_ge(obj_resident(fd), 2 * MiB);
	ck_ok(obj_migrate(fd, 0, 0, DMO_DEVICE_HOST));
	ck_assert_uint_eq(obj_resident(fd), 0);
}
END_TEST

START_TEST(a_range_past_the_end_is_cut_off_there)
{
	int fd = obj_create("o", 3 * PAGE + 1);

	ck_ok(obj_migrate(fd, 0, 64 * PAGE, 0));
	ck_assert_uint_le(obj_resident(fd), 4 * PAGE);
	ck_ok(obj_migrate(fd, 0, 64 * PAGE, DMO_DEVICE_HOST));
	obj_check_byte(fd, 0, 3 * PAGE + 1, 0);
}
END_TEST

START_TEST(migrating_again_what_is_there_changes_nothing)
{
	int fd = obj_create("o", MiB);

	obj_write_pattern(fd, 0, MiB, 1);
	ck_ok(obj_migrate(fd, 0, MiB, 0));
	ck_ok(obj_migrate(fd, 0, MiB, 0));
	ck_assert_uint_eq(obj_resident(fd), MiB);
	ck_ok(obj_migrate(fd, 0, MiB, DMO_DEVICE_HOST));
	ck_ok(obj_migrate(fd, 0, MiB, DMO_DEVICE_HOST));
	ck_assert_uint_eq(obj_resident(fd), 0);
	obj_check_pattern(fd, 0, MiB, 1);
}
END_TEST

START_TEST(migrating_from_device_to_device_keeps_the_content)
{
	int a = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	uint64_t va = ctx_map(a, fd, 0, 4 * MiB, READ_WRITE);

	ck_ok(ctx_fill(a, va, 4 * MiB, 5));
	ck_ok(obj_migrate(fd, 0, 4 * MiB, 1));
	ck_assert_uint_eq(obj_extent(fd, 0).device, 1);
	ck_assert_uint_ge(control_value("npu1", "memory.current"), 4 * MiB);
	obj_check_byte(fd, 0, 4 * MiB, 5);
	ck_ok(obj_migrate(fd, 0, 4 * MiB, 0));
	ctx_check_byte(a, va, 4 * MiB, 5);
}
END_TEST

START_TEST(any_device_is_the_preferred_one)
{
	int fd = obj_create("o", MiB);

	ck_ok(dmo_advise(fd, 0, MiB, DMO_ADV_PREFERRED, 1, 0));
	ck_ok(obj_migrate(fd, 0, MiB, DMO_DEVICE_ANY));
	ck_assert_uint_eq(obj_extent(fd, 0).device, 1);
}
END_TEST

/* ---- not waited for ------------------------------------------------------------------------------ */

static struct dmo_wait wait_for(int fd, uint64_t cookie)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };
	struct dmo_wait w = { .cookie = cookie };

	ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
	ck_assert(p.revents & POLLPRI);
	ck_ok(request(fd, DMO_IOC_WAIT, &w));
	return w;
}

START_TEST(an_asynchronous_prefetch_is_polled_and_collected)
{
	int fd = obj_create("o", 8 * MiB);
	struct dmo_migrate m = migration(0, 8 * MiB, 0, DMO_MIGRATE_ASYNC);
	struct dmo_wait w;

	obj_write_pattern(fd, 0, 8 * MiB, 1);
	ck_ok(request(fd, DMO_IOC_MIGRATE, &m));
	ck_assert_uint_ne(m.cookie, 0);
	w = wait_for(fd, m.cookie);
	ck_assert_uint_eq(w.cookie, m.cookie);
	ck_assert_uint_eq(w.done, 8 * MiB);
	ck_assert_int_eq(w.error, 0);
	ck_assert_uint_eq(obj_resident(fd), 8 * MiB);
}
END_TEST

START_TEST(nothing_is_polled_before_a_migration_is_over_or_after_it_was_collected)
{
	int fd = obj_create("o", MiB);
	struct dmo_migrate m = migration(0, MiB, 0, DMO_MIGRATE_ASYNC);
	struct pollfd p = { .fd = fd, .events = POLLPRI };

	ck_assert_int_eq(poll(&p, 1, 0), 0);
	ck_ok(request(fd, DMO_IOC_MIGRATE, &m));
	wait_for(fd, 0);
	ck_assert_int_eq(poll(&p, 1, 0), 0);
}
END_TEST

START_TEST(several_migrations_are_collected_each_once)
{
	int fd = obj_create("o", 8 * MiB), i;
	uint64_t cookies[4], seen = 0;
	struct dmo_migrate m;
	struct dmo_wait w;

	for (i = 0; i < 4; i++) {
		m = migration(i * 2 * MiB, 2 * MiB, 0, DMO_MIGRATE_ASYNC);
		ck_ok(request(fd, DMO_IOC_MIGRATE, &m));
		cookies[i] = m.cookie;
	}
	while (seen != 15) {
		w = wait_for(fd, 0);
		for (i = 0; i < 4 && cookies[i] != w.cookie; i++)
			;
		ck_assert_int_lt(i, 4);
		ck_assert(!(seen & 1u << i));
		seen |= 1u << i;
	}
	ck_assert_uint_eq(obj_resident(fd), 8 * MiB);
}
END_TEST

START_TEST(waiting_for_a_cookie_nobody_has_is_refused)
{
	int fd = obj_create("o", MiB);
	struct dmo_wait w = { .cookie = 12345 };

	ck_errno(request(fd, DMO_IOC_WAIT, &w), ENOENT);
	w.cookie = 0;
	ck_errno(request(fd, DMO_IOC_WAIT, &w), ENOENT);
}
END_TEST

START_TEST(an_asynchronous_migration_outlives_the_descriptor)
{
	int fd = obj_create("o", 8 * MiB), i;
	struct dmo_migrate m = migration(0, 0, 0, DMO_MIGRATE_ASYNC);

	obj_write_pattern(fd, 0, 8 * MiB, 1);
	for (i = 0; i < 10; i++) {
		m.device = i % 2 ? DMO_DEVICE_HOST : 0;
		ck_ok(request(fd, DMO_IOC_MIGRATE, &m));
		close(fd);
		fd = obj_open("o", O_RDWR);
	}
	obj_check_pattern(fd, 0, 8 * MiB, 1);
}
END_TEST

/* ---- too much ------------------------------------------------------------------------------------ */

START_TEST(a_range_larger_than_the_device_tells_how_far_it_came)
{
	int fd = obj_create("o", 64 * MiB);
	struct dmo_migrate m = migration(0, 64 * MiB, 0, 0);

	obj_write_pattern(fd, 0, 64 * MiB, 1);
	ck_errno(request(fd, DMO_IOC_MIGRATE, &m), ENOSPC);
	ck_assert_int_eq(m.error, -ENOSPC);
	ck_assert_uint_lt(m.done, 64 * MiB);
	ck_assert_uint_le(control_value("npu0", "memory.current"), 16 * MiB);
	obj_check_pattern(fd, 0, 64 * MiB, 1);
}
END_TEST

START_TEST(an_asynchronous_migration_tells_its_error_when_collected)
{
	int fd = obj_create("o", 64 * MiB);
	struct dmo_migrate m = migration(0, 64 * MiB, 0, DMO_MIGRATE_ASYNC);
	struct dmo_wait w;

	ck_ok(request(fd, DMO_IOC_MIGRATE, &m));
	w = wait_for(fd, m.cookie);
	ck_assert_int_eq(w.error, -ENOSPC);
	ck_assert_uint_lt(w.done, 64 * MiB);
}
END_TEST

START_TEST(prefetch_makes_room_by_evicting_others)
{
	int ctx = ctx_open("npu0"), a = obj_create("a", 12 * MiB), b = obj_create("b", 12 * MiB);

	ck_ok(ctx_fill(ctx, ctx_map(ctx, a, 0, 12 * MiB, READ_WRITE), 12 * MiB, 1));
	obj_write_pattern(b, 0, 12 * MiB, 2);
	ck_ok(obj_migrate(b, 0, 12 * MiB, 0));
	ck_assert_uint_eq(obj_resident(b), 12 * MiB);
	obj_check_byte(a, 0, 12 * MiB, 1);
	obj_check_pattern(b, 0, 12 * MiB, 2);
}
END_TEST

/* ---- what query says of it ----------------------------------------------------------------------- */

START_TEST(query_walks_an_object_in_order_and_marks_the_end)
{
	int fd = obj_create("o", 64 * PAGE);
	struct dmo_extent e[64];
	uint64_t at = 0;
	int n, i;

	obj_write_pattern(fd, 0, 64 * PAGE, 1);
	for (i = 0; i < 64; i += 8)
		ck_ok(dmo_advise(fd, i * PAGE, 4 * PAGE, DMO_ADV_RANDOM, DMO_DEVICE_ANY, 0));
	n = dmo_query(fd, 0, 0, e, 64, NULL);
	ck_assert_int_gt(n, 1);
	for (i = 0; i < n; i++) {
		ck_assert_uint_eq(e[i].offset, at);
		at += e[i].length;
		ck_assert_int_eq(!!(e[i].flags & DMO_EXT_LAST), i == n - 1);
	}
	ck_assert_uint_ge(at, 64 * PAGE);
}
END_TEST

START_TEST(query_goes_on_where_it_ran_out_of_room)
{
	WITH_ROOM(struct dmo_query, extents, 2) q = { .head = { .count = 2 } };
	int fd = obj_create("o", 64 * PAGE), i;
	unsigned extents = 0;

	for (i = 0; i < 64; i += 8)
		ck_ok(dmo_advise(fd, i * PAGE, 4 * PAGE, DMO_ADV_RANDOM, DMO_DEVICE_ANY, 0));
	do {
		q.head.count = 2;
		ck_ok(request(fd, DMO_IOC_QUERY(2), &q));
		ck_assert_uint_ge(q.head.count, 1);
		extents += q.head.count;
		ck_assert_uint_lt(extents, 100);
	} while (!(q.head.extents[q.head.count - 1].flags & DMO_EXT_LAST));
	ck_assert_uint_ge(extents, 16);
}
END_TEST

START_TEST(query_tells_dirty_from_clean)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	struct dmo_extent e;
	uint64_t va;

	obj_write_pattern(fd, 0, 4 * MiB, 1);
	ck_ok(obj_migrate(fd, 0, 4 * MiB, 0));
	e = obj_extent(fd, 2 * MiB);
	ck_assert_uint_eq(e.device, 0);
	ck_assert(e.flags & DMO_EXT_RESIDENT);
	ck_assert(!(e.flags & DMO_EXT_DIRTY));
	va = ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE);
	ck_ok(ctx_fill(ctx, va + 2 * MiB, PAGE, 1));
	ck_assert(obj_extent(fd, 2 * MiB).flags & DMO_EXT_DIRTY);
	ck_ok(fsync(fd));
	ck_assert(!(obj_extent(fd, 2 * MiB).flags & DMO_EXT_DIRTY));
}
END_TEST

START_TEST(query_tells_holes)
{
	int fd = obj_create("o", 4 * MiB);

	obj_write_pattern(fd, 2 * MiB, MiB, 1);
	ck_ok(fsync(fd));
	ck_assert(obj_extent(fd, 0).flags & DMO_EXT_HOLE);
	ck_assert(!(obj_extent(fd, 2 * MiB).flags & DMO_EXT_HOLE));
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "migrate");
	conf_case(&run, "waited for", one_device, 20);
	conf_test(&run, prefetch_makes_every_page_resident);
	conf_test(&run, a_prefetched_range_is_read_without_a_fault);
	conf_test(&run, evict_frees_the_device_and_keeps_the_content);
	conf_test(&run, a_part_of_a_block_migrates_alone);
	conf_test(&run, length_zero_means_to_the_end);
	conf_test(&run, a_range_past_the_end_is_cut_off_there);
	conf_test(&run, migrating_again_what_is_there_changes_nothing);
	conf_case(&run, "two devices", two_devices, 20);
	conf_test(&run, migrating_from_device_to_device_keeps_the_content);
	conf_test(&run, any_device_is_the_preferred_one);
	conf_case(&run, "asynchronous", one_device, 20);
	conf_test(&run, an_asynchronous_prefetch_is_polled_and_collected);
	conf_test(&run, nothing_is_polled_before_a_migration_is_over_or_after_it_was_collected);
	conf_test(&run, several_migrations_are_collected_each_once);
	conf_test(&run, waiting_for_a_cookie_nobody_has_is_refused);
	conf_test(&run, an_asynchronous_migration_outlives_the_descriptor);
	conf_case(&run, "too much", one_device, 20);
	conf_test(&run, a_range_larger_than_the_device_tells_how_far_it_came);
	conf_test(&run, an_asynchronous_migration_tells_its_error_when_collected);
	conf_test(&run, prefetch_makes_room_by_evicting_others);
	conf_case(&run, "query", one_device, 20);
	conf_test(&run, query_walks_an_object_in_order_and_marks_the_end);
	conf_test(&run, query_goes_on_where_it_ran_out_of_room);
	conf_test(&run, query_tells_dirty_from_clean);
	conf_test(&run, query_tells_holes);
	return conf_end(&run);
}
