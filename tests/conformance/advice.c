/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * advice.c - each advice is stored, seen by everybody, undone by its opposite, and kept over a remount
 */
#include "kit.h"

#include <sys/xattr.h>

#define ANY DMO_DEVICE_ANY

/* Room for any attribute an inode may carry. */
static char value[65536];

static struct dmo_extent advised(int fd, uint64_t offset, uint32_t advice, uint32_t device, uint64_t what)
{
	ck_ok(dmo_advise(fd, offset, PAGE, advice, device, what));
	return obj_extent(fd, offset);
}

static void check_none(struct dmo_extent e)
{
	ck_assert_uint_eq(e.attrs, 0);
	ck_assert_uint_eq(e.preferred, ANY);
	ck_assert_uint_eq(e.accessed_by, 0);
	ck_assert_uint_eq(e.granularity, 0);
	ck_assert_uint_eq(e.device_bits, 0);
}

/* ---- set, seen, undone --------------------------------------------------------------------------- */

START_TEST(a_fresh_object_has_no_advice)
{
	check_none(obj_extent(obj_create("o", PAGE), 0));
}
END_TEST

static const struct {
	enum dmo_advice set, undo;
	uint32_t attr;
} flags[] = {
	{ DMO_ADV_SEQUENTIAL, DMO_ADV_NORMAL, DMO_ATTR_SEQUENTIAL },
	{ DMO_ADV_RANDOM, DMO_ADV_NORMAL, DMO_ATTR_RANDOM },
	{ DMO_ADV_COLD, DMO_ADV_NORMAL, DMO_ATTR_COLD },
	{ DMO_ADV_READ_MOSTLY, DMO_ADV_NO_READ_MOSTLY, DMO_ATTR_READ_MOSTLY },
	{ DMO_ADV_NO_MIGRATE, DMO_ADV_MIGRATE, DMO_ATTR_NO_MIGRATE },
};

START_TEST(each_flag_is_set_and_undone_by_its_opposite)
{
	int fd = obj_create("o", 2 * PAGE);
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		ck_assert_uint_eq(advised(fd, 0, flags[i].set, ANY, 0).attrs, flags[i].attr);
		ck_assert_uint_eq(obj_extent(fd, PAGE).attrs, 0);
		check_none(advised(fd, 0, flags[i].undo, ANY, 0));
	}
}
END_TEST

START_TEST(sequential_and_random_exclude_each_other)
{
	int fd = obj_create("o", PAGE);

	advised(fd, 0, DMO_ADV_SEQUENTIAL, ANY, 0);
	ck_assert_uint_eq(advised(fd, 0, DMO_ADV_RANDOM, ANY, 0).attrs, DMO_ATTR_RANDOM);
	ck_assert_uint_eq(advised(fd, 0, DMO_ADV_SEQUENTIAL, ANY, 0).attrs, DMO_ATTR_SEQUENTIAL);
}
END_TEST

START_TEST(normal_leaves_what_it_does_not_undo)
{
	int fd = obj_create("o", PAGE);

	advised(fd, 0, DMO_ADV_READ_MOSTLY, ANY, 0);
	advised(fd, 0, DMO_ADV_RANDOM, ANY, 0);
	ck_assert_uint_eq(advised(fd, 0, DMO_ADV_NORMAL, ANY, 0).attrs, DMO_ATTR_READ_MOSTLY);
}
END_TEST

START_TEST(a_preferred_device_is_set_replaced_and_undone)
{
	int fd = obj_create("o", PAGE);
	struct dmo_extent e = advised(fd, 0, DMO_ADV_PREFERRED, 1, 0);

	ck_assert_uint_eq(e.attrs, DMO_ATTR_PREFERRED);
	ck_assert_uint_eq(e.preferred, 1);
	ck_assert_uint_eq(advised(fd, 0, DMO_ADV_PREFERRED, 0, 0).preferred, 0);
	ck_assert_uint_eq(advised(fd, 0, DMO_ADV_PREFERRED, DMO_DEVICE_HOST, 0).preferred, DMO_DEVICE_HOST);
	check_none(advised(fd, 0, DMO_ADV_NO_PREFERRED, ANY, 0));
}
END_TEST

START_TEST(accessed_by_keeps_a_bit_for_each_device)
{
	int fd = obj_create("o", PAGE);

	ck_assert_uint_eq(advised(fd, 0, DMO_ADV_ACCESSED_BY, 0, 0).accessed_by, 1);
	ck_assert_uint_eq(advised(fd, 0, DMO_ADV_ACCESSED_BY, 1, 0).accessed_by, 3);
	ck_assert_uint_eq(advised(fd, 0, DMO_ADV_NO_ACCESSED_BY, 0, 0).accessed_by, 2);
	check_none(advised(fd, 0, DMO_ADV_NO_ACCESSED_BY, 1, 0));
}
END_TEST

START_TEST(granularity_is_set_and_undone_by_zero)
{
	int fd = obj_create("o", PAGE);

	ck_assert_uint_eq(advised(fd, 0, DMO_ADV_GRANULARITY, ANY, 16).granularity, 16);
	ck_assert_uint_eq(advised(fd, 0, DMO_ADV_GRANULARITY, ANY, 21).granularity, 21);
	check_none(advised(fd, 0, DMO_ADV_GRANULARITY, ANY, 0));
}
END_TEST

START_TEST(device_bits_are_set_and_undone_by_zero)
{
	int fd = obj_create("o", PAGE);

	ck_assert_uint_eq(advised(fd, 0, DMO_ADV_DEVICE_BITS, ANY, ~0ull).device_bits, ~0ull);
	check_none(advised(fd, 0, DMO_ADV_DEVICE_BITS, ANY, 0));
}
END_TEST

START_TEST(every_process_and_every_open_sees_the_advice)
{
	int fd = obj_create("o", PAGE), other;

	advised(fd, 0, DMO_ADV_RANDOM, ANY, 0);
	other = obj_open("o", O_RDONLY);
	ck_assert_uint_eq(obj_extent(other, 0).attrs, DMO_ATTR_RANDOM);
	close(fd);
	ck_assert_uint_eq(obj_extent(other, 0).attrs, DMO_ATTR_RANDOM);
}
END_TEST

/* ---- ranges -------------------------------------------------------------------------------------- */

static void check_pages(int fd, const char *picture)
{
	unsigned page;

	for (page = 0; picture[page]; page++)
		ck_assert_msg(obj_extent(fd, page * PAGE).attrs == (picture[page] == 'R' ? DMO_ATTR_RANDOM : 0),
			      "page %u of %s", page, picture);
}

START_TEST(advice_inside_a_range_splits_it)
{
	int fd = obj_create("o", 8 * PAGE);

	ck_ok(dmo_advise(fd, 0, 8 * PAGE, DMO_ADV_RANDOM, ANY, 0));
	ck_ok(dmo_advise(fd, 2 * PAGE, 3 * PAGE, DMO_ADV_NORMAL, ANY, 0));
	check_pages(fd, "RR---RRR");
	ck_ok(dmo_advise(fd, 0, PAGE, DMO_ADV_NORMAL, ANY, 0));
	ck_ok(dmo_advise(fd, 7 * PAGE, PAGE, DMO_ADV_NORMAL, ANY, 0));
	check_pages(fd, "-R---RR-");
}
END_TEST

START_TEST(advice_over_the_edge_of_ranges_covers_both)
{
	int fd = obj_create("o", 8 * PAGE);

	ck_ok(dmo_advise(fd, PAGE, 2 * PAGE, DMO_ADV_RANDOM, ANY, 0));
	ck_ok(dmo_advise(fd, 5 * PAGE, 2 * PAGE, DMO_ADV_RANDOM, ANY, 0));
	ck_ok(dmo_advise(fd, 2 * PAGE, 4 * PAGE, DMO_ADV_NORMAL, ANY, 0));
	check_pages(fd, "-R----R-");
	ck_ok(dmo_advise(fd, 0, 8 * PAGE, DMO_ADV_RANDOM, ANY, 0));
	check_pages(fd, "RRRRRRRR");
}
END_TEST

START_TEST(equal_neighbours_become_one_extent)
{
	int fd = obj_create("o", 64 * PAGE), i;
	struct dmo_extent e[4];

	for (i = 0; i < 64; i++)
		ck_ok(dmo_advise(fd, i * 37 % 64 * PAGE, PAGE, DMO_ADV_RANDOM, ANY, 0));
	ck_assert_int_eq(dmo_query(fd, 0, 64 * PAGE, e, 4, NULL), 1);
	ck_assert_uint_eq(e[0].offset, 0);
	ck_assert_uint_eq(e[0].length, 64 * PAGE);
}
END_TEST

START_TEST(length_zero_covers_what_is_added_later)
{
	int fd = obj_create("o", PAGE);

	ck_ok(dmo_advise(fd, 0, 0, DMO_ADV_RANDOM, ANY, 0));
	ck_ok(ftruncate(fd, 100 * PAGE));
	ck_assert_uint_eq(obj_extent(fd, 99 * PAGE).attrs, DMO_ATTR_RANDOM);
}
END_TEST

START_TEST(too_many_ranges_are_refused_and_change_nothing)
{
	int fd = obj_create("o", 32768 * PAGE), err = 0;
	uint64_t i;

	for (i = 0; i < 32768 && !err; i += 2)
		err = dmo_advise(fd, i * PAGE, PAGE, DMO_ADV_RANDOM, ANY, 0);
	ck_errno(err, ENOSPC);
	ck_assert_uint_eq(obj_extent(fd, (i - 2) * PAGE).attrs, 0);
	ck_assert_uint_eq(obj_extent(fd, (i - 4) * PAGE).attrs, DMO_ATTR_RANDOM);
	ck_ok(dmo_advise(fd, 0, 0, DMO_ADV_NORMAL, ANY, 0));
	ck_ok(dmo_advise(fd, 32000 * PAGE, PAGE, DMO_ADV_RANDOM, ANY, 0));
}
END_TEST

/* ---- acts ---------------------------------------------------------------------------------------- */

START_TEST(willneed_prefetches_to_the_device_and_to_the_host)
{
	int fd = obj_create("o", MiB);

	obj_write_pattern(fd, 0, MiB, 1);
	ck_ok(dmo_advise(fd, 0, MiB, DMO_ADV_WILLNEED, 0, 0));
	wait_until(obj_resident(fd) == MiB);
	ck_ok(dmo_advise(fd, 0, MiB, DMO_ADV_WILLNEED, DMO_DEVICE_HOST, 0));
	obj_check_pattern(fd, 0, MiB, 1);
	check_none(obj_extent(fd, 0));
}
END_TEST

START_TEST(dontneed_gives_device_memory_back_and_keeps_the_content)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);

	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, MiB, READ_WRITE), MiB, 5));
	ck_ok(dmo_advise(fd, 0, MiB, DMO_ADV_DONTNEED, ANY, 0));
	wait_until(obj_resident(fd) == 0);
	obj_check_byte(fd, 0, MiB, 5);
}
END_TEST

START_TEST(discarded_content_reads_as_zeros_everywhere)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * MiB, READ_WRITE);
	char *p = obj_mmap(fd, 0, 4 * MiB, PROT_READ, MAP_SHARED);
	struct stat st;

	ck_ok(ctx_fill(ctx, va, 4 * MiB, 5));
	mem_check_byte(p, MiB, 5);
	ck_ok(dmo_advise(fd, PAGE, 3 * MiB, DMO_ADV_DISCARD, ANY, 0));
	ctx_check_byte(ctx, va + PAGE, 3 * MiB, 0);
	mem_check_byte(p + PAGE, 3 * MiB, 0);
	obj_check_byte(fd, PAGE, 3 * MiB, 0);
	obj_check_byte(fd, 0, PAGE, 5);
	obj_check_byte(fd, PAGE + 3 * MiB, MiB - PAGE, 5);
	ck_ok(fstat(fd, &st));
	ck_assert_int_eq(st.st_size, 4 * MiB);
}
END_TEST

START_TEST(read_mostly_pages_stay_right_when_written)
{
	int a = ctx_open("npu0"), b = ctx_open("npu1"), fd = obj_create("o", MiB), i;
	uint64_t va = ctx_map(a, fd, 0, MiB, READ_WRITE), vb = ctx_map(b, fd, 0, MiB, READ_WRITE);

	ck_ok(dmo_advise(fd, 0, MiB, DMO_ADV_READ_MOSTLY, ANY, 0));
	for (i = 1; i < 10; i++) {
		ck_ok(ctx_fill(i % 2 ? a : b, i % 2 ? va : vb, MiB, i));
		ctx_check_byte(a, va, MiB, i);
		ctx_check_byte(b, vb, MiB, i);
		obj_check_byte(fd, 0, MiB, i);
	}
}
END_TEST

START_TEST(no_migrate_pages_are_used_where_they_are)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);

	obj_write_pattern(fd, 0, MiB, 1);
	ck_ok(dmo_advise(fd, 0, MiB, DMO_ADV_NO_MIGRATE, ANY, 0));
	ctx_check_pattern(ctx, va, 0, MiB, 1);
	ck_assert_uint_eq(obj_resident(fd), 0);
	obj_write_pattern(fd, 0, MiB, 2);
	ctx_check_pattern(ctx, va, 0, MiB, 2);
}
END_TEST

START_TEST(no_migrate_pages_are_not_brought_ahead_of_a_sequential_read)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 8 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 8 * MiB, READ_WRITE);

	ck_ok(dmo_advise(fd, 0, 0, DMO_ADV_NO_MIGRATE, ANY, 0));
	ck_ok(dmo_advise(fd, 0, 0, DMO_ADV_SEQUENTIAL, ANY, 0));
	ctx_check_byte(ctx, va, 3 * MiB, 0);
	usleep(100000);
	ck_assert_uint_eq(obj_resident(fd), 0);
}
END_TEST

START_TEST(every_advice_keeps_the_content_under_device_writes)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		ck_ok(dmo_advise(fd, 0, 0, flags[i].set, ANY, 0));
		obj_write_pattern(fd, 0, MiB, i);
		ctx_check_pattern(ctx, va, 0, MiB, i);
		ck_ok(ctx_fill(ctx, va + PAGE, PAGE, i + 1));
		obj_check_byte(fd, PAGE, PAGE, i + 1);
		obj_check_pattern(fd, 2 * PAGE, MiB - 2 * PAGE, i);
	}
}
END_TEST

/* ---- kept ---------------------------------------------------------------------------------------- */

static bool is_stored(int fd)
{
	return obj_info(fd).caps & DMO_CAP_STORED_ADVICE;
}

static void store_all_kinds(void)
{
	int fd = obj_create("o", 16 * PAGE);

	ck_ok(dmo_advise(fd, 0, PAGE, DMO_ADV_SEQUENTIAL, ANY, 0));
	ck_ok(dmo_advise(fd, PAGE, 2 * PAGE, DMO_ADV_PREFERRED, 1, 0));
	ck_ok(dmo_advise(fd, 2 * PAGE, PAGE, DMO_ADV_ACCESSED_BY, 0, 0));
	ck_ok(dmo_advise(fd, 4 * PAGE, PAGE, DMO_ADV_GRANULARITY, ANY, 14));
	ck_ok(dmo_advise(fd, 5 * PAGE, PAGE, DMO_ADV_RANDOM, ANY, 0));
	ck_ok(dmo_advise(fd, 6 * PAGE, PAGE, DMO_ADV_COLD, ANY, 0));
	ck_ok(dmo_advise(fd, 7 * PAGE, PAGE, DMO_ADV_READ_MOSTLY, ANY, 0));
	ck_ok(dmo_advise(fd, 8 * PAGE, PAGE, DMO_ADV_NO_MIGRATE, ANY, 0));
	ck_ok(dmo_advise(fd, 9 * PAGE, PAGE, DMO_ADV_PREFERRED, DMO_DEVICE_HOST, 0));
	ck_ok(dmo_advise(fd, 10 * PAGE, 0, DMO_ADV_DEVICE_BITS, ANY, 77));
	close(fd);
}

static void check_all_kinds(void)
{
	int fd = obj_open("o", O_RDWR);

	if (!is_stored(fd))
		return;
	ck_assert_uint_eq(obj_extent(fd, 0).attrs, DMO_ATTR_SEQUENTIAL);
	ck_assert_uint_eq(obj_extent(fd, PAGE).preferred, 1);
	ck_assert_uint_eq(obj_extent(fd, PAGE).accessed_by, 0);
	ck_assert_uint_eq(obj_extent(fd, 2 * PAGE).accessed_by, 1);
	check_none(obj_extent(fd, 3 * PAGE));
	ck_assert_uint_eq(obj_extent(fd, 4 * PAGE).granularity, 14);
	ck_assert_uint_eq(obj_extent(fd, 5 * PAGE).attrs, DMO_ATTR_RANDOM);
	ck_assert_uint_eq(obj_extent(fd, 6 * PAGE).attrs, DMO_ATTR_COLD);
	ck_assert_uint_eq(obj_extent(fd, 7 * PAGE).attrs, DMO_ATTR_READ_MOSTLY);
	ck_assert_uint_eq(obj_extent(fd, 8 * PAGE).attrs, DMO_ATTR_NO_MIGRATE);
	ck_assert_uint_eq(obj_extent(fd, 9 * PAGE).preferred, DMO_DEVICE_HOST);
	ck_assert_uint_eq(obj_extent(fd, 15 * PAGE).device_bits, 77);
}

START_TEST(advice_outlives_the_service)
{
	store_all_kinds();
	restart();
	check_all_kinds();
}
END_TEST

START_TEST(advice_outlives_a_crash_of_the_service)
{
	store_all_kinds();
	crash();
	go_on();
	check_all_kinds();
}
END_TEST

START_TEST(undone_advice_is_undone_after_a_remount)
{
	int fd = obj_create("o", 4 * PAGE);

	ck_ok(dmo_advise(fd, 0, 0, DMO_ADV_RANDOM, ANY, 0));
	ck_ok(dmo_advise(fd, 0, 0, DMO_ADV_NORMAL, ANY, 0));
	restart();
	check_none(obj_extent(obj_open("o", O_RDONLY), 0));
}
END_TEST

START_TEST(advice_follows_the_file_when_it_is_renamed)
{
	int fd = obj_create("o", PAGE);
	char from[512];

	advised(fd, 0, DMO_ADV_RANDOM, ANY, 0);
	snprintf(from, sizeof(from), "%s", conf_home->object_path("o"));
	ck_ok(rename(from, conf_home->object_path("other")));
	ck_assert_uint_eq(obj_extent(obj_open("other", O_RDONLY), 0).attrs, DMO_ATTR_RANDOM);
}
END_TEST

/* ---- a hostile attribute ------------------------------------------------------------------------- */

/* The names of the backing file's attributes, of which those that are the home's carry "dmo". */
static unsigned damage(const char *path, void (*how)(char *bytes, ssize_t length, unsigned round), unsigned round)
{
	char names[4096], *name;
	ssize_t n = listxattr(path, names, sizeof(names)), length;
	unsigned found = 0;

	for (name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		if (!strstr(name, "dmo"))
			continue;
		length = getxattr(path, name, value, sizeof(value));
		ck_assert_int_gt(length, 0);
		how(value, length, round);
		ck_ok(setxattr(path, name, value, length, 0));
		found++;
	}
	return found;
}

static void flip(char *bytes, ssize_t length, unsigned round)
{
	bytes[round * 7919 % length] ^= 1 << round % 8;
}

static void overwrite(char *bytes, ssize_t length, unsigned round)
{
	memset(bytes, round % 2 ? 0xff : 0, length);
}

static void hostile(void (*how)(char *, ssize_t, unsigned))
{
	unsigned round;
	int fd;

	for (round = 0; round < 4; round++) {
		store_all_kinds();
		fd = obj_open("o", O_RDWR);
		if (!is_stored(fd))
			return;
		stop_service();
		ck_assert_uint_gt(damage(conf_home->store_path("o"), how, round), 0);
		go_on();
		fd = obj_open("o", O_RDWR);
		check_none(obj_extent(fd, 0));
		check_none(obj_extent(fd, 15 * PAGE));
		obj_write_pattern(fd, 0, 16 * PAGE, 1);
		ck_ok(dmo_advise(fd, 0, 0, DMO_ADV_RANDOM, ANY, 0));
		ck_assert_uint_eq(obj_extent(fd, 0).attrs, DMO_ATTR_RANDOM);
		ck_ok(unlink(conf_home->object_path("o")));
		close(fd);
	}
}

START_TEST(stored_advice_with_flipped_bits_is_ignored)
{
	hostile(flip);
}
END_TEST

START_TEST(stored_advice_that_was_overwritten_is_ignored)
{
	hostile(overwrite);
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "advice");
	conf_case(&run, "set and undone", two_devices, 20);
	conf_test(&run, a_fresh_object_has_no_advice);
	conf_test(&run, each_flag_is_set_and_undone_by_its_opposite);
	conf_test(&run, sequential_and_random_exclude_each_other);
	conf_test(&run, normal_leaves_what_it_does_not_undo);
	conf_test(&run, a_preferred_device_is_set_replaced_and_undone);
	conf_test(&run, accessed_by_keeps_a_bit_for_each_device);
	conf_test(&run, granularity_is_set_and_undone_by_zero);
	conf_test(&run, device_bits_are_set_and_undone_by_zero);
	conf_test(&run, every_process_and_every_open_sees_the_advice);
	conf_case(&run, "ranges", one_device, 20);
	conf_test(&run, advice_inside_a_range_splits_it);
	conf_test(&run, advice_over_the_edge_of_ranges_covers_both);
	conf_test(&run, equal_neighbours_become_one_extent);
	conf_test(&run, length_zero_covers_what_is_added_later);
	conf_test(&run, too_many_ranges_are_refused_and_change_nothing);
	conf_case(&run, "acts", two_devices, 20);
	conf_test(&run, willneed_prefetches_to_the_device_and_to_the_host);
	conf_test(&run, dontneed_gives_device_memory_back_and_keeps_the_content);
	conf_test(&run, discarded_content_reads_as_zeros_everywhere);
	conf_test(&run, read_mostly_pages_stay_right_when_written);
	conf_test(&run, no_migrate_pages_are_used_where_they_are);
	conf_test(&run, no_migrate_pages_are_not_brought_ahead_of_a_sequential_read);
	conf_test(&run, every_advice_keeps_the_content_under_device_writes);
	conf_case(&run, "kept", two_devices, 30);
	conf_test(&run, advice_outlives_the_service);
	conf_test(&run, advice_outlives_a_crash_of_the_service);
	conf_test(&run, undone_advice_is_undone_after_a_remount);
	conf_test(&run, advice_follows_the_file_when_it_is_renamed);
	conf_test(&run, stored_advice_with_flipped_bits_is_ignored);
	conf_test(&run, stored_advice_that_was_overwritten_is_ignored);
	return conf_end(&run);
}
