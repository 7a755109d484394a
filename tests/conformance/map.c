/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * map.c - device address spaces: batches, fixed addresses, the allocator, sparse page-wise mappings, holes
 */
#include "kit.h"

static WITH_ROOM(struct dmo_map, ops, DMO_MAP_MAX) batch;

/* Fills a batch: count pages of fd, one after the other. */
static void prepare(int fd, unsigned count)
{
	uint64_t key = obj_key(fd);
	unsigned i;

	memset(&batch, 0, sizeof(batch));
	batch.head.count = count;
	for (i = 0; i < count; i++)
		batch.head.ops[i] = (struct dmo_map_op){
			.length = PAGE, .key = key, .offset = i * PAGE, .prot = READ_WRITE,
		};
}

static struct dmo_device_info device_info(int fd, uint32_t device)
{
	struct dmo_device_info info = { .device = device };

	ck_ok(request(fd, DMO_IOC_DEVICE, &info));
	return info;
}

static int map_at(int ctx, int fd, uint64_t va, uint64_t length, uint32_t flags)
{
	struct dmo_map_op op = {
		.va = va, .length = length, .key = obj_key(fd), .prot = READ_WRITE, .flags = DMO_MAP_FIXED | flags,
	};
	int err = ctx_map_op(ctx, &op);

	if (!err)
		ck_assert_uint_eq(op.va, va);
	return err;
}

START_TEST(a_full_batch_maps_in_one_call)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", DMO_MAP_MAX * PAGE);
	unsigned i;

	prepare(fd, DMO_MAP_MAX);
	ck_ok(request(ctx, DMO_IOC_MAP(DMO_MAP_MAX), &batch));
	ck_assert_uint_eq(batch.head.done, DMO_MAP_MAX);
	for (i = 0; i < DMO_MAP_MAX; i++)
		ck_ok(ctx_fill(ctx, batch.head.ops[i].va, PAGE, i % 250 + 1));
	for (i = 0; i < DMO_MAP_MAX; i++)
		obj_check_byte(fd, i * PAGE, PAGE, i % 250 + 1);
}
END_TEST

START_TEST(the_allocator_gives_addresses_that_do_not_overlap)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 64 * PAGE);
	struct dmo_device_info info = device_info(ctx, 0);
	uint64_t va[64], length[64];
	unsigned i, j;

	for (i = 0; i < 64; i++) {
		length[i] = (i % 7 + 1) * PAGE;
		va[i] = ctx_map(ctx, fd, 0, length[i], READ_WRITE);
		ck_assert_uint_ge(va[i], info.va_start);
		ck_assert_uint_le(va[i] + length[i], info.va_end);
		for (j = 0; j < i; j++)
			ck_assert(va[i] + length[i] <= va[j] || va[j] + length[j] <= va[i]);
	}
}
END_TEST

START_TEST(address_zero_is_never_allocated)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", PAGE);

	ck_assert_uint_ne(ctx_map(ctx, fd, 0, PAGE, READ_WRITE), 0);
}
END_TEST

START_TEST(an_error_in_a_batch_tells_how_far_it_came)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 8 * PAGE);

	prepare(fd, 8);
	batch.head.ops[5].key ^= 1;
	ck_errno(request(ctx, DMO_IOC_MAP(8), &batch), ESTALE);
	ck_assert_uint_eq(batch.head.done, 5);
	ck_ok(ctx_fill(ctx, batch.head.ops[4].va, PAGE, 4));
	obj_check_byte(fd, 4 * PAGE, PAGE, 4);
}
END_TEST

START_TEST(a_fixed_mapping_comes_where_it_was_asked_for)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * PAGE);
	uint64_t va = device_info(ctx, 0).va_start + 5 * GiB;

	ck_ok(map_at(ctx, fd, va, 4 * PAGE, 0));
	ck_ok(ctx_fill(ctx, va + PAGE, PAGE, 3));
	obj_check_byte(fd, PAGE, PAGE, 3);
}
END_TEST

START_TEST(a_fixed_mapping_over_another_is_refused)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * PAGE, READ_WRITE);

	ck_errno(map_at(ctx, fd, va + PAGE, PAGE, 0), EEXIST);
	ck_errno(map_at(ctx, fd, va + 3 * PAGE, 4 * PAGE, 0), EEXIST);
	ck_ok(ctx_fill(ctx, va, 4 * PAGE, 1));
}
END_TEST

START_TEST(replace_takes_the_place_of_what_was_there)
{
	int ctx = ctx_open("npu0"), a = obj_create("a", 4 * PAGE), b = obj_create("b", 2 * PAGE);
	uint64_t va = ctx_map(ctx, a, 0, 4 * PAGE, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, 4 * PAGE, 1));
	ck_ok(map_at(ctx, b, va + PAGE, 2 * PAGE, DMO_MAP_REPLACE));
	ck_ok(ctx_fill(ctx, va, 4 * PAGE, 2));
	obj_check_byte(a, 0, PAGE, 2);
	obj_check_byte(a, PAGE, 2 * PAGE, 1);
	obj_check_byte(a, 3 * PAGE, PAGE, 2);
	obj_check_byte(b, 0, 2 * PAGE, 2);
}
END_TEST

START_TEST(replace_without_fixed_is_refused)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", PAGE);
	struct dmo_map_op op = {
		.length = PAGE, .key = obj_key(fd), .prot = DMO_PROT_READ, .flags = DMO_MAP_REPLACE,
	};

	ck_errno(ctx_map_op(ctx, &op), EINVAL);
}
END_TEST

START_TEST(a_fixed_address_outside_the_device_is_refused)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 2 * PAGE);
	struct dmo_device_info info = device_info(ctx, 0);

	ck_errno(map_at(ctx, fd, info.va_end, PAGE, 0), ERANGE);
	ck_errno(map_at(ctx, fd, info.va_end - PAGE, 2 * PAGE, 0), ERANGE);
	if (info.va_start >= PAGE)
		ck_errno(map_at(ctx, fd, info.va_start - PAGE, PAGE, 0), ERANGE);
}
END_TEST

START_TEST(one_page_can_be_mapped_at_many_addresses)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", PAGE);
	uint64_t va[8], value, old;
	unsigned i;

	for (i = 0; i < 8; i++)
		va[i] = ctx_map(ctx, fd, 0, PAGE, READ_WRITE);
	for (i = 0; i < 8; i++)
		ck_ok(ctx_add(ctx, va[i], 1, &old));
	for (i = 0; i < 8; i++) {
		ck_ok(ctx_load(ctx, va[i], &value));
		ck_assert_uint_eq(value, 8);
	}
}
END_TEST

START_TEST(unmapped_addresses_fault_and_their_neighbours_do_not)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 8 * PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, 8 * PAGE, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, 8 * PAGE, 1));
	ck_ok(ctx_unmap(ctx, va + 2 * PAGE, 3 * PAGE));
	ck_ok(ctx_fill(ctx, va, 2 * PAGE, 2));
	ck_ok(ctx_fill(ctx, va + 5 * PAGE, 3 * PAGE, 2));
	ck_errno(ctx_fill(ctx, va + 2 * PAGE, PAGE, 2), EFAULT);
	ck_errno(ctx_fill(ctx, va + 4 * PAGE, PAGE, 2), EFAULT);
	obj_check_byte(fd, 2 * PAGE, 3 * PAGE, 1);
}
END_TEST

START_TEST(unmap_passes_over_what_is_not_mapped)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 8 * PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, 8 * PAGE, READ_WRITE);

	ck_ok(ctx_unmap(ctx, va + PAGE, PAGE));
	ck_ok(ctx_unmap(ctx, va + 3 * PAGE, 2 * PAGE));
	ck_ok(ctx_unmap(ctx, va, 8 * PAGE));
	ck_ok(ctx_unmap(ctx, va, 8 * PAGE));
	ck_errno(ctx_fill(ctx, va, PAGE, 1), EFAULT);
	ck_errno(ctx_fill(ctx, va + 7 * PAGE, PAGE, 1), EFAULT);
}
END_TEST

START_TEST(an_unmapped_range_can_be_mapped_again)
{
	int ctx = ctx_open("npu0"), a = obj_create("a", 4 * PAGE), b = obj_create("b", 4 * PAGE);
	uint64_t va = ctx_map(ctx, a, 0, 4 * PAGE, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, 4 * PAGE, 1));
	ck_ok(ctx_unmap(ctx, va, 4 * PAGE));
	ck_ok(map_at(ctx, b, va, 4 * PAGE, 0));
	ck_ok(ctx_fill(ctx, va, 4 * PAGE, 2));
	obj_check_byte(a, 0, 4 * PAGE, 1);
	obj_check_byte(b, 0, 4 * PAGE, 2);
}
END_TEST

START_TEST(what_the_device_wrote_outlives_its_mapping)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, MiB, 7));
	ck_ok(ctx_unmap(ctx, va, MiB));
	obj_check_byte(fd, 0, MiB, 7);
}
END_TEST

START_TEST(a_fault_on_nothing_hurts_nobody_else)
{
	int ctx = ctx_open("npu0"), other = ctx_open("npu0"), fd = obj_create("o", MiB);
	uint64_t va = ctx_map(other, fd, 0, MiB, READ_WRITE), bad = ctx_map(ctx, fd, 0, PAGE, READ_WRITE);
	struct dmo_completion c;
	unsigned i;

	for (i = 1; i < 50; i++) {
		ck_errno(ctx_fill_completion(ctx, bad, 2 * PAGE, i, &c), EFAULT);
		ck_assert_uint_eq(c.va, bad + PAGE);
		ck_ok(ctx_fill(other, va, MiB, i));
		ck_ok(ctx_fill(ctx, bad, PAGE, i));
	}
	obj_check_byte(fd, 0, MiB, 49);
}
END_TEST

START_TEST(a_mapping_past_the_end_faults_until_the_file_grows)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * PAGE, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, PAGE, 1));
	ck_errno(ctx_fill(ctx, va + PAGE, PAGE, 1), EFAULT);
	ck_ok(ftruncate(fd, 4 * PAGE));
	ck_ok(ctx_fill(ctx, va + PAGE, 3 * PAGE, 2));
	obj_check_byte(fd, PAGE, 3 * PAGE, 2);
}
END_TEST

START_TEST(a_device_write_does_not_make_the_file_longer)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", PAGE + 100);
	uint64_t va = ctx_map(ctx, fd, 0, 2 * PAGE, READ_WRITE);
	struct stat st;

	ck_ok(ctx_fill(ctx, va, 2 * PAGE, 9));
	ck_ok(fsync(fd));
	ck_ok(fstat(fd, &st));
	ck_assert_int_eq(st.st_size, PAGE + 100);
	ck_ok(ftruncate(fd, 2 * PAGE));
	obj_check_byte(fd, 0, PAGE + 100, 9);
	obj_check_byte(fd, PAGE + 100, PAGE - 100, 0);
}
END_TEST

START_TEST(a_device_write_leaves_the_cpu_the_rest_of_the_file)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 2 * BLOCK);
	uint64_t va = ctx_map(ctx, fd, 0, 2 * BLOCK, READ_WRITE);
	char *p = obj_mmap(fd, 0, 2 * BLOCK, PROT_READ, MAP_SHARED);
	unsigned char in_core[2 * BLOCK / PAGE];
	struct stat st;

	obj_write_pattern(fd, 0, 2 * BLOCK, 1);
	mem_check_pattern(p, 0, 2 * BLOCK, 1);
	ck_ok(ctx_fill(ctx, va, PAGE, 5));
	ck_ok(stat(conf_home->object_path("o"), &st));
	mem_check_byte(p, PAGE, 5);
	ck_ok(mincore(p, 2 * BLOCK, in_core));
	ck_assert(in_core[ARRAY_SIZE(in_core) - 1] & 1);
	mem_check_pattern(p + PAGE, PAGE, 2 * BLOCK - PAGE, 1);
}
END_TEST

START_TEST(fault_makes_a_range_accessible_now)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);
	struct dmo_fault fault = { .va = va, .length = MiB, .prot = READ_WRITE };
	struct dmo_completion c;

	ck_ok(request(ctx, DMO_IOC_FAULT, &fault));
	ck_assert_uint_eq(obj_resident(fd), MiB);
	ck_ok(ctx_fill_completion(ctx, va, MiB, 1, &c));
	ck_assert_uint_eq(c.faults, 0);
}
END_TEST

START_TEST(fault_on_nothing_or_without_permission_is_refused)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, PAGE, DMO_PROT_READ);
	struct dmo_fault nothing = { .va = va, .length = 2 * PAGE, .prot = DMO_PROT_READ };
	struct dmo_fault write = { .va = va, .length = PAGE, .prot = DMO_PROT_WRITE };

	ck_errno(request(ctx, DMO_IOC_FAULT, &nothing), EFAULT);
	ck_errno(request(ctx, DMO_IOC_FAULT, &write), EACCES);
}
END_TEST

/* Thousands of single pages over 64 GiB of device addresses and of an object, in an order of no use. */
START_TEST(sparse_pages_over_64_gib_hold_what_was_put_there)
{
	const unsigned count = 4096, batches = count / DMO_MAP_MAX;
	int ctx = ctx_open("npu0"), fd = obj_create("o", 64 * GiB);
	uint64_t base = device_info(ctx, 0).va_start, place, old;
	unsigned b, i;

	for (b = 0; b < batches; b++) {
		prepare(fd, DMO_MAP_MAX);
		for (i = 0; i < DMO_MAP_MAX; i++) {
			place = (b * DMO_MAP_MAX + i) * 1663ull % count * 16 * MiB;
			batch.head.ops[i].va = base + 64 * GiB - 16 * MiB - place;
			batch.head.ops[i].offset = place;
			batch.head.ops[i].flags = DMO_MAP_FIXED;
		}
		ck_ok(request(ctx, DMO_IOC_MAP(DMO_MAP_MAX), &batch));
	}
	for (i = 0; i < count; i += 8)
		ck_ok(ctx_add(ctx, base + 64 * GiB - (i + 1) * 16 * MiB, i + 1, &old));
	for (i = 0; i < count; i += 8) {
		obj_pread(fd, &place, sizeof(place), i * 16 * MiB);
		ck_assert_uint_eq(place, i + 1);
	}
	ck_errno(ctx_fill(ctx, base + 64 * GiB - 16 * MiB + PAGE, PAGE, 1), EFAULT);
}
END_TEST

START_TEST(batches_of_unmap_free_every_page)
{
	WITH_ROOM(struct dmo_unmap, ops, DMO_MAP_MAX) unmap = { .head = { .count = DMO_MAP_MAX } };
	int ctx = ctx_open("npu0"), fd = obj_create("o", DMO_MAP_MAX * PAGE);
	unsigned i, round;

	for (round = 0; round < 20; round++) {
		prepare(fd, DMO_MAP_MAX);
		ck_ok(request(ctx, DMO_IOC_MAP(DMO_MAP_MAX), &batch));
		for (i = 0; i < DMO_MAP_MAX; i++)
			unmap.head.ops[i] = (struct dmo_unmap_op){ .va = batch.head.ops[i].va, .length = PAGE };
		ck_ok(request(ctx, DMO_IOC_UNMAP(DMO_MAP_MAX), &unmap));
		ck_assert_uint_eq(unmap.head.done, DMO_MAP_MAX);
	}
	ck_errno(ctx_fill(ctx, batch.head.ops[0].va, PAGE, 1), EFAULT);
}
END_TEST

/* ---- mirroring the caller's address space -------------------------------------------------------- */

START_TEST(mirror_maps_a_file_at_the_callers_addresses)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);
	char *p = obj_mmap(fd, 0, MiB, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct dmo_mirror m = { .address = (uintptr_t)p, .length = MiB, .prot = READ_WRITE };

	if (!(obj_info(fd).caps & DMO_CAP_MIRROR_FILES)) {
		ck_errno(request(ctx, DMO_IOC_MIRROR, &m), EOPNOTSUPP);
		return;
	}
	ck_ok(request(ctx, DMO_IOC_MIRROR, &m));
	mem_pattern(p, 0, MiB, 4);
	ctx_check_pattern(ctx, (uintptr_t)p, 0, MiB, 4);
	ck_ok(ctx_fill(ctx, (uintptr_t)p + PAGE, PAGE, 2));
	mem_check_byte(p + PAGE, PAGE, 2);
}
END_TEST

START_TEST(mirror_of_other_memory_is_refused_where_the_home_cannot)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", PAGE);
	char *p = shared(MiB);
	struct dmo_mirror m = { .address = (uintptr_t)p, .length = MiB, .prot = READ_WRITE };

	if (obj_info(fd).caps & DMO_CAP_MIRROR_ANON)
		return;
	ck_errno(request(ctx, DMO_IOC_MIRROR, &m), EOPNOTSUPP);
	ck_errno(ctx_fill(ctx, (uintptr_t)p, PAGE, 1), EFAULT);
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "map");
	conf_case(&run, "map", one_device, 20);
	conf_test(&run, a_full_batch_maps_in_one_call);
	conf_test(&run, the_allocator_gives_addresses_that_do_not_overlap);
	conf_test(&run, address_zero_is_never_allocated);
	conf_test(&run, an_error_in_a_batch_tells_how_far_it_came);
	conf_test(&run, a_fixed_mapping_comes_where_it_was_asked_for);
	conf_test(&run, a_fixed_mapping_over_another_is_refused);
	conf_test(&run, replace_takes_the_place_of_what_was_there);
	conf_test(&run, replace_without_fixed_is_refused);
	conf_test(&run, a_fixed_address_outside_the_device_is_refused);
	conf_test(&run, one_page_can_be_mapped_at_many_addresses);
	conf_case(&run, "unmap", one_device, 20);
	conf_test(&run, unmapped_addresses_fault_and_their_neighbours_do_not);
	conf_test(&run, unmap_passes_over_what_is_not_mapped);
	conf_test(&run, an_unmapped_range_can_be_mapped_again);
	conf_test(&run, what_the_device_wrote_outlives_its_mapping);
	conf_test(&run, batches_of_unmap_free_every_page);
	conf_case(&run, "access", one_device, 30);
	conf_test(&run, a_fault_on_nothing_hurts_nobody_else);
	conf_test(&run, a_mapping_past_the_end_faults_until_the_file_grows);
	conf_test(&run, a_device_write_does_not_make_the_file_longer);
	conf_test(&run, a_device_write_leaves_the_cpu_the_rest_of_the_file);
	conf_test(&run, fault_makes_a_range_accessible_now);
	conf_test(&run, fault_on_nothing_or_without_permission_is_refused);
	conf_test(&run, sparse_pages_over_64_gib_hold_what_was_put_there);
	conf_test(&run, mirror_maps_a_file_at_the_callers_addresses);
	conf_test(&run, mirror_of_other_memory_is_refused_where_the_home_cannot);
	return conf_end(&run);
}
