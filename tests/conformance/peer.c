/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * peer.c - one address for the CPU and for devices: peer mappings, advice by address, and who may write through them
 */
#include "kit.h"

#define SIZE (2 * BLOCK)

static char *peer_map(int ctx, int fd, int prot)
{
	void *p;

	ck_ok(dmo_peer_map(ctx_handle(ctx), fd, SIZE, prot, 0, &p));
	return p;
}

/* WILLNEED and DONTNEED may still be at work when the call returns. */
static void wait_for_resident(int fd, uint64_t bytes)
{
	wait_until(obj_resident(fd) == bytes);
}

START_TEST(both_sides_write_and_read_at_one_address)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", SIZE);
	char *p = peer_map(ctx, fd, PROT_READ | PROT_WRITE);

	mem_pattern(p, 0, SIZE, 1);
	ctx_check_pattern(ctx, (uintptr_t)p, 0, SIZE, 1);
	ck_ok(ctx_fill(ctx, (uintptr_t)p + BLOCK, PAGE, 7));
	mem_check_byte(p + BLOCK, PAGE, 7);
	mem_check_pattern(p + BLOCK + PAGE, BLOCK + PAGE, PAGE, 1);
	obj_check_byte(fd, BLOCK, PAGE, 7);
}
END_TEST

START_TEST(the_mapping_outlives_the_descriptor_it_was_made_with)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", SIZE);
	char *p = peer_map(ctx, fd, PROT_READ | PROT_WRITE);

	close(fd);
	ck_ok(ctx_fill(ctx, (uintptr_t)p, SIZE, 3));
	mem_check_byte(p, SIZE, 3);
}
END_TEST

START_TEST(a_context_of_another_device_joins_at_the_same_address)
{
	int a = ctx_open("npu0"), b = ctx_open("npu1"), fd = obj_create("o", SIZE);
	char *p = peer_map(a, fd, PROT_READ | PROT_WRITE);
	uint64_t old;

	ck_errno(ctx_add(b, (uintptr_t)p, 1, &old), EFAULT);
	ck_ok(dmo_peer_join(ctx_handle(b), p));
	ck_ok(ctx_add(a, (uintptr_t)p, 1, &old));
	ck_ok(ctx_add(b, (uintptr_t)p, 1, &old));
	ck_assert_uint_eq(old, 1);
	ck_assert_uint_eq(*(uint64_t *)p, 2);
	ck_errno(dmo_peer_join(ctx_handle(b), p), EEXIST);
}
END_TEST

START_TEST(unmapping_takes_the_range_from_every_device)
{
	int a = ctx_open("npu0"), b = ctx_open("npu1"), fd = obj_create("o", SIZE);
	char *p = peer_map(a, fd, PROT_READ | PROT_WRITE);

	ck_ok(dmo_peer_join(ctx_handle(b), p));
	ck_ok(ctx_fill(b, (uintptr_t)p, PAGE, 5));
	ck_ok(dmo_peer_unmap(p));
	ck_errno(ctx_fill(a, (uintptr_t)p, PAGE, 1), EFAULT);
	ck_errno(ctx_fill(b, (uintptr_t)p, PAGE, 1), EFAULT);
	ck_errno(dmo_peer_unmap(p), ENOENT);
	obj_check_byte(fd, 0, PAGE, 5);
}
END_TEST

START_TEST(a_read_only_descriptor_gives_no_peer_mapping_for_writing)
{
	int ctx = ctx_open("npu0"), fd;
	void *p;

	obj_write_pattern(obj_create("o", SIZE), 0, SIZE, 1);
	fd = obj_open("o", O_RDONLY);
	ck_errno(dmo_peer_map(ctx_handle(ctx), fd, SIZE, PROT_READ | PROT_WRITE, 0, &p), EACCES);
	p = peer_map(ctx, fd, PROT_READ);
	ck_errno(ctx_fill(ctx, (uintptr_t)p, PAGE, 1), EACCES);
	ctx_check_pattern(ctx, (uintptr_t)p, 0, SIZE, 1);
}
END_TEST

START_TEST(a_mirror_lets_the_device_write_no_more_than_the_mapping_does)
{
	int ctx = ctx_open("npu0"), fd;
	char *p;

	obj_write_pattern(obj_create("o", SIZE), 0, SIZE, 1);
	fd = obj_open("o", O_RDONLY);
	if (!(obj_info(fd).caps & DMO_CAP_MIRROR_FILES))
		return;
	p = obj_mmap(fd, 0, SIZE, PROT_READ, MAP_SHARED);
	ck_errno(dmo_mirror(ctx_handle(ctx), p, SIZE, READ_WRITE, 0), EACCES);
	ck_errno(ctx_fill(ctx, (uintptr_t)p, PAGE, 1), EFAULT);
	ck_ok(dmo_mirror(ctx_handle(ctx), p, SIZE, DMO_PROT_READ, 0));
	ck_errno(ctx_fill(ctx, (uintptr_t)p, PAGE, 1), EACCES);
	ctx_check_pattern(ctx, (uintptr_t)p, 0, SIZE, 1);
}
END_TEST

START_TEST(a_private_mapping_is_not_mirrored)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", SIZE);
	char *p = obj_mmap(fd, 0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	ck_errno(dmo_mirror(ctx_handle(ctx), p, SIZE, READ_WRITE, 0), EOPNOTSUPP);
	ck_errno(ctx_fill(ctx, (uintptr_t)p, PAGE, 1), EFAULT);
}
END_TEST

START_TEST(advice_by_address_is_advice_on_the_file)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", SIZE);
	char *p = peer_map(ctx, fd, PROT_READ | PROT_WRITE);

	ck_ok(dmo_hmadvise(1, p + PAGE, PAGE, DMO_ADV_PREFERRED));
	ck_assert_uint_eq(obj_extent(fd, PAGE).preferred, 1);
	ck_assert_uint_eq(obj_extent(fd, 0).preferred, DMO_DEVICE_ANY);
	ck_assert_uint_eq(obj_extent(fd, 2 * PAGE).preferred, DMO_DEVICE_ANY);
	ck_ok(dmo_hmadvise(DMO_DEVICE_ANY, p + PAGE, PAGE, DMO_ADV_NO_PREFERRED));
	ck_assert_uint_eq(obj_extent(fd, PAGE).preferred, DMO_DEVICE_ANY);
}
END_TEST

START_TEST(advice_by_address_prefetches_and_gives_back)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", SIZE);
	char *p = peer_map(ctx, fd, PROT_READ | PROT_WRITE);

	mem_pattern(p, 0, SIZE, 2);
	ck_ok(dmo_hmadvise(0, p, SIZE, DMO_ADV_WILLNEED));
	wait_for_resident(fd, SIZE);
	ck_ok(dmo_hmadvise(DMO_DEVICE_ANY, p, SIZE, DMO_ADV_DONTNEED));
	wait_for_resident(fd, 0);
	mem_check_pattern(p, 0, SIZE, 2);
}
END_TEST

START_TEST(advice_by_address_refuses_bad_arguments)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", SIZE);
	char *p = peer_map(ctx, fd, PROT_READ | PROT_WRITE);

	ck_errno(dmo_hmadvise(0, p + 1, PAGE, DMO_ADV_WILLNEED), EINVAL);
	ck_errno(dmo_hmadvise(0, p, 0, DMO_ADV_WILLNEED), EINVAL);
	ck_errno(dmo_hmadvise(0, p, ~(size_t)(PAGE - 1), DMO_ADV_WILLNEED), EINVAL);
	ck_errno(dmo_hmadvise(9, p, PAGE, DMO_ADV_WILLNEED), ENODEV);
	ck_errno(dmo_hmadvise(0, p, PAGE, (enum dmo_advice)99), EINVAL);
	ck_ok(dmo_peer_unmap(p));
	ck_errno(dmo_hmadvise(0, p, PAGE, DMO_ADV_WILLNEED), ENOMEM);
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "peer");
	conf_case(&run, "peer", two_devices, 30);
	conf_test(&run, both_sides_write_and_read_at_one_address);
	conf_test(&run, the_mapping_outlives_the_descriptor_it_was_made_with);
	conf_test(&run, a_context_of_another_device_joins_at_the_same_address);
	conf_test(&run, unmapping_takes_the_range_from_every_device);
	conf_test(&run, a_read_only_descriptor_gives_no_peer_mapping_for_writing);
	conf_case(&run, "mirror", two_devices, 30);
	conf_test(&run, a_mirror_lets_the_device_write_no_more_than_the_mapping_does);
	conf_test(&run, a_private_mapping_is_not_mirrored);
	conf_case(&run, "hmadvise", two_devices, 30);
	conf_test(&run, advice_by_address_is_advice_on_the_file);
	conf_test(&run, advice_by_address_prefetches_and_gives_back);
	conf_test(&run, advice_by_address_refuses_bad_arguments);
	return conf_end(&run);
}
