/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * badinput.c - every request with every bad argument, through real descriptors: the exact errno, and no harm
 *
 * A request is tried with one field spoiled at a time, and once good: what was refused has changed nothing.
 */
#include "kit.h"

#include <poll.h>
#include <stddef.h>

struct spoil {
	const char *what;
	size_t at;		/* of the field */
	uint64_t value;
	unsigned bytes;		/* of the field */
	int error;
};

#define SPOIL(type, field, value, error) \
	{ #field " = " #value, offsetof(type, field), (value), sizeof(((type *)0)->field), (error) }

#define HUGE_PAGES	((uint64_t)INT64_MAX & ~(PAGE - 1))

static void put(void *arg, const struct spoil *s)
{
	memcpy((char *)arg + s->at, &s->value, s->bytes);
}

static void try_all(int fd, unsigned long cmd, const void *good, const struct spoil *list, unsigned count)
{
	char arg[16384];
	unsigned i;
	int err;

	for (i = 0; i < count; i++) {
		memcpy(arg, good, _IOC_SIZE(cmd));
		put(arg, &list[i]);
		err = request(fd, cmd, arg);
		ck_assert_msg(err == -list[i].error, "request %lu, %s: %d (%s), not %d", _IOC_NR(cmd), list[i].what,
			      err, strerror(-err), -list[i].error);
	}
}

#define TRY(fd, cmd, good, list) try_all(fd, cmd, good, list, ARRAY_SIZE(list))

static int object(void)
{
	int fd = obj_create("o", 16 * PAGE);

	obj_write_pattern(fd, 0, 16 * PAGE, 1);
	return fd;
}

/* ---- object requests ----------------------------------------------------------------------------- */

START_TEST(device_info_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_device_info, device, 1, ENODEV),
		SPOIL(struct dmo_device_info, device, 0x7fffffff, ENODEV),
		SPOIL(struct dmo_device_info, device, DMO_DEVICE_HOST, ENODEV),
		SPOIL(struct dmo_device_info, device, DMO_DEVICE_ANY, ENODEV),
		SPOIL(struct dmo_device_info, reserved[0], 1, EINVAL),
		SPOIL(struct dmo_device_info, reserved[3], ~0ull, EINVAL),
	};
	struct dmo_device_info good = { .device = 0 };
	int ctx = ctx_open("npu0"), fd = object();

	ck_ok(request(fd, DMO_IOC_DEVICE, &good));
	memset(&good, 0, sizeof(good));
	TRY(fd, DMO_IOC_DEVICE, &good, list);
	TRY(ctx, DMO_IOC_DEVICE, &good, list);
}
END_TEST

START_TEST(advise_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_advise, offset, 1, EINVAL),
		SPOIL(struct dmo_advise, offset, 4095, EINVAL),
		SPOIL(struct dmo_advise, offset, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_advise, offset, HUGE_PAGES, EOVERFLOW),
		SPOIL(struct dmo_advise, length, 1, EINVAL),
		SPOIL(struct dmo_advise, length, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_advise, length, 1ull << 63, EOVERFLOW),
		SPOIL(struct dmo_advise, advice, DMO_ADV_COUNT, EINVAL),
		SPOIL(struct dmo_advise, advice, ~0u, EINVAL),
		SPOIL(struct dmo_advise, device, 1, ENODEV),
		SPOIL(struct dmo_advise, device, DMO_DEVICE_ANY, EINVAL),
		SPOIL(struct dmo_advise, value, 1, EINVAL),
		SPOIL(struct dmo_advise, flags, 1, EINVAL),
		SPOIL(struct dmo_advise, flags, ~0u, EINVAL),
		SPOIL(struct dmo_advise, reserved[0], 1, EINVAL),
		SPOIL(struct dmo_advise, reserved[2], 1, EINVAL),
	};
	struct dmo_advise good = { .offset = PAGE, .length = 2 * PAGE, .advice = DMO_ADV_PREFERRED };
	int fd = object();

	TRY(fd, DMO_IOC_ADVISE, &good, list);
	ck_assert_uint_eq(obj_extent(fd, PAGE).attrs, 0);
	ck_ok(request(fd, DMO_IOC_ADVISE, &good));
}
END_TEST

START_TEST(granularity_refuses_values_out_of_range)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_advise, value, 1, EINVAL),
		SPOIL(struct dmo_advise, value, 11, EINVAL),
		SPOIL(struct dmo_advise, value, 22, EINVAL),
		SPOIL(struct dmo_advise, value, 1ull << 32 | 12, EINVAL),
		SPOIL(struct dmo_advise, value, ~0ull, EINVAL),
	};
	struct dmo_advise good = { .advice = DMO_ADV_GRANULARITY, .device = DMO_DEVICE_ANY, .value = 12 };
	int fd = object();

	ck_ok(request(fd, DMO_IOC_ADVISE, &good));
	TRY(fd, DMO_IOC_ADVISE, &good, list);
}
END_TEST

START_TEST(query_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_query, offset, 1, EINVAL),
		SPOIL(struct dmo_query, offset, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_query, length, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_query, count, 0, EINVAL),
		SPOIL(struct dmo_query, count, 1, EINVAL),
		SPOIL(struct dmo_query, count, 3, EINVAL),
		SPOIL(struct dmo_query, count, ~0u, EINVAL),
		SPOIL(struct dmo_query, flags, 1, EINVAL),
		SPOIL(struct dmo_query, reserved, 1, EINVAL),
	};
	WITH_ROOM(struct dmo_query, extents, 2) good = { .head = { .count = 2 } };
	int fd = object();

	TRY(fd, DMO_IOC_QUERY(2), &good, list);
	ck_ok(request(fd, DMO_IOC_QUERY(2), &good));
}
END_TEST

START_TEST(migrate_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_migrate, offset, 1, EINVAL),
		SPOIL(struct dmo_migrate, offset, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_migrate, offset, HUGE_PAGES, EOVERFLOW),
		SPOIL(struct dmo_migrate, length, 4097, EINVAL),
		SPOIL(struct dmo_migrate, length, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_migrate, device, 1, ENODEV),
		SPOIL(struct dmo_migrate, device, 64, ENODEV),
		SPOIL(struct dmo_migrate, flags, 2, EINVAL),
		SPOIL(struct dmo_migrate, flags, ~0u, EINVAL),
		SPOIL(struct dmo_migrate, reserved0, 1, EINVAL),
		SPOIL(struct dmo_migrate, reserved, 1, EINVAL),
	};
	struct dmo_migrate good = { .length = 2 * PAGE };
	int fd = object();

	TRY(fd, DMO_IOC_MIGRATE, &good, list);
	ck_assert_uint_eq(obj_resident(fd), 0);
	ck_ok(request(fd, DMO_IOC_MIGRATE, &good));
}
END_TEST

START_TEST(wait_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_wait, cookie, 1, ENOENT),
		SPOIL(struct dmo_wait, cookie, ~0ull, ENOENT),
		SPOIL(struct dmo_wait, flags, 1, EINVAL),
		SPOIL(struct dmo_wait, reserved, 1, EINVAL),
	};
	struct dmo_wait good = { .cookie = 0 };

	TRY(object(), DMO_IOC_WAIT, &good, list);
}
END_TEST

START_TEST(pin_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_pin, offset, 1, EINVAL),
		SPOIL(struct dmo_pin, offset, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_pin, length, 0, EINVAL),
		SPOIL(struct dmo_pin, length, 1, EINVAL),
		SPOIL(struct dmo_pin, length, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_pin, device, 1, ENODEV),
		SPOIL(struct dmo_pin, device, DMO_DEVICE_HOST, EINVAL),
		SPOIL(struct dmo_pin, device, DMO_DEVICE_ANY, EINVAL),
		SPOIL(struct dmo_pin, flags, 1, EINVAL),
		SPOIL(struct dmo_pin, charge, 1, EINVAL),
	};
	struct dmo_pin good = { .length = 2 * PAGE };
	int fd = object();

	TRY(fd, DMO_IOC_PIN, &good, list);
	ck_assert(!(obj_extent(fd, 0).flags & DMO_EXT_PINNED));
	ck_ok(request(fd, DMO_IOC_PIN, &good));
}
END_TEST

START_TEST(unpin_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_pin, id, 0, ENOENT),
		SPOIL(struct dmo_pin, id, ~0ull, ENOENT),
		SPOIL(struct dmo_pin, flags, 1, EINVAL),
		SPOIL(struct dmo_pin, charge, 1, EINVAL),
	};
	struct dmo_pin good = { .length = 2 * PAGE };
	int fd = object();

	ck_ok(request(fd, DMO_IOC_PIN, &good));
	TRY(fd, DMO_IOC_UNPIN, &good, list);
	ck_ok(request(fd, DMO_IOC_UNPIN, &good));
}
END_TEST

START_TEST(export_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_export, offset, 1, EINVAL),
		SPOIL(struct dmo_export, offset, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_export, length, 0, EINVAL),
		SPOIL(struct dmo_export, device, 1, ENODEV),
		SPOIL(struct dmo_export, flags, 1, EINVAL),
		SPOIL(struct dmo_export, reserved, 1, EINVAL),
		SPOIL(struct dmo_export, charge, 1, EINVAL),
	};
	struct dmo_export good = { .length = 2 * PAGE };
	int fd = object();

	TRY(fd, DMO_IOC_EXPORT, &good, list);
	if (!(obj_info(fd).caps & DMO_CAP_DMABUF))
		ck_errno(request(fd, DMO_IOC_EXPORT, &good), EOPNOTSUPP);
}
END_TEST

/* ---- context requests ---------------------------------------------------------------------------- */

START_TEST(map_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_map, count, 0, EINVAL),
		SPOIL(struct dmo_map, count, 2, EINVAL),
		SPOIL(struct dmo_map, count, ~0u, EINVAL),
		SPOIL(struct dmo_map, reserved, 1, EINVAL),
		SPOIL(struct dmo_map, ops[0].va, 1, EINVAL),
		SPOIL(struct dmo_map, ops[0].va, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_map, ops[0].va, HUGE_PAGES, EOVERFLOW),
		SPOIL(struct dmo_map, ops[0].length, 0, EINVAL),
		SPOIL(struct dmo_map, ops[0].length, 1, EINVAL),
		SPOIL(struct dmo_map, ops[0].length, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_map, ops[0].key, 0, ESTALE),
		SPOIL(struct dmo_map, ops[0].key, ~0ull, ESTALE),
		SPOIL(struct dmo_map, ops[0].offset, 1, EINVAL),
		SPOIL(struct dmo_map, ops[0].offset, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_map, ops[0].prot, 0, EINVAL),
		SPOIL(struct dmo_map, ops[0].prot, 4, EINVAL),
		SPOIL(struct dmo_map, ops[0].prot, ~0u, EINVAL),
		SPOIL(struct dmo_map, ops[0].flags, DMO_MAP_REPLACE, EINVAL),
		SPOIL(struct dmo_map, ops[0].flags, 8 | DMO_MAP_FIXED, EINVAL),
	};
	int ctx = ctx_open("npu0"), fd = object();
	WITH_ROOM(struct dmo_map, ops, 1) good = { .head = { .count = 1 } };

	good.head.ops[0] = (struct dmo_map_op){
		.va = ctx_map(ctx, fd, 0, PAGE, READ_WRITE), .length = PAGE, .key = obj_key(fd), .prot = READ_WRITE,
		.flags = DMO_MAP_FIXED,
	};
	ck_ok(ctx_unmap(ctx, good.head.ops[0].va, PAGE));
	TRY(ctx, DMO_IOC_MAP(1), &good, list);
	ck_errno(ctx_fill(ctx, good.head.ops[0].va, 1, 1), EFAULT);
	ck_ok(request(ctx, DMO_IOC_MAP(1), &good));
}
END_TEST

/* Through a mount a descriptor would be a number of another process's. */
START_TEST(a_descriptor_instead_of_a_key_is_for_the_kernel_alone)
{
	int ctx = ctx_open("npu0"), fd = object();
	struct dmo_map_op op = { .length = PAGE, .key = fd, .prot = READ_WRITE, .flags = DMO_MAP_FD };

	if (obj_info(fd).home != DMO_HOME_KERNEL) {
		ck_errno(ctx_map_op(ctx, &op), EINVAL);
		return;
	}
	op.key = ctx;
	ck_errno(ctx_map_op(ctx, &op), EINVAL);
	op.key = 100000;
	ck_errno(ctx_map_op(ctx, &op), EBADF);
}
END_TEST

START_TEST(unmap_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_unmap, count, 0, EINVAL),
		SPOIL(struct dmo_unmap, count, 2, EINVAL),
		SPOIL(struct dmo_unmap, reserved, 1, EINVAL),
		SPOIL(struct dmo_unmap, ops[0].va, 1, EINVAL),
		SPOIL(struct dmo_unmap, ops[0].va, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_unmap, ops[0].length, 0, EINVAL),
		SPOIL(struct dmo_unmap, ops[0].length, 1, EINVAL),
		SPOIL(struct dmo_unmap, ops[0].length, ~0ull, EOVERFLOW),
	};
	int ctx = ctx_open("npu0"), fd = object();
	WITH_ROOM(struct dmo_unmap, ops, 1) good = { .head = { .count = 1 } };

	good.head.ops[0] = (struct dmo_unmap_op){ .va = ctx_map(ctx, fd, 0, PAGE, READ_WRITE), .length = PAGE };
	TRY(ctx, DMO_IOC_UNMAP(1), &good, list);
	ck_ok(ctx_fill(ctx, good.head.ops[0].va, PAGE, 1));
	ck_ok(request(ctx, DMO_IOC_UNMAP(1), &good));
}
END_TEST

START_TEST(mirror_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_mirror, address, 1, EINVAL),
		SPOIL(struct dmo_mirror, address, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_mirror, length, 0, EINVAL),
		SPOIL(struct dmo_mirror, length, 1, EINVAL),
		SPOIL(struct dmo_mirror, length, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_mirror, prot, 0, EINVAL),
		SPOIL(struct dmo_mirror, prot, 4, EINVAL),
		SPOIL(struct dmo_mirror, flags, 1, EINVAL),
		SPOIL(struct dmo_mirror, reserved, 1, EINVAL),
	};
	int ctx = ctx_open("npu0"), fd = object();
	void *p = obj_mmap(fd, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	struct dmo_mirror good = { .address = (uintptr_t)p, .length = PAGE, .prot = READ_WRITE };

	TRY(ctx, DMO_IOC_MIRROR, &good, list);
}
END_TEST

START_TEST(fault_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_fault, va, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_fault, va, 0, EFAULT),
		SPOIL(struct dmo_fault, length, 0, EINVAL),
		SPOIL(struct dmo_fault, length, ~0ull, EOVERFLOW),
		SPOIL(struct dmo_fault, length, 1ull << 40, EFAULT),
		SPOIL(struct dmo_fault, prot, 0, EINVAL),
		SPOIL(struct dmo_fault, prot, 4, EINVAL),
		SPOIL(struct dmo_fault, flags, 1, EINVAL),
		SPOIL(struct dmo_fault, reserved, 1, EINVAL),
	};
	int ctx = ctx_open("npu0"), fd = object();
	struct dmo_fault good = { .va = ctx_map(ctx, fd, 0, PAGE, READ_WRITE), .length = PAGE, .prot = READ_WRITE };

	TRY(ctx, DMO_IOC_FAULT, &good, list);
	ck_ok(request(ctx, DMO_IOC_FAULT, &good));
}
END_TEST

START_TEST(lowat_refuses_bad_arguments)
{
	static const struct spoil list[] = {
		SPOIL(struct dmo_lowat, count, 0, EINVAL),
		SPOIL(struct dmo_lowat, count, DMO_LOWAT_MAX + 1, EINVAL),
		SPOIL(struct dmo_lowat, count, ~0u, EINVAL),
		SPOIL(struct dmo_lowat, flags, 1, EINVAL),
		SPOIL(struct dmo_lowat, reserved, 1, EINVAL),
	};
	struct dmo_lowat good = { .count = DMO_LOWAT_MAX };
	int ctx = ctx_open("npu0");

	TRY(ctx, DMO_IOC_LOWAT, &good, list);
	ck_ok(request(ctx, DMO_IOC_LOWAT, &good));
}
END_TEST

/* ---- numbers, sizes, directions ------------------------------------------------------------------ */

static const unsigned long object_requests[] = {
	DMO_IOC_INFO, DMO_IOC_DEVICE, DMO_IOC_KEY, DMO_IOC_ADVISE, DMO_IOC_QUERY(1), DMO_IOC_MIGRATE, DMO_IOC_WAIT,
	DMO_IOC_PIN, DMO_IOC_UNPIN, DMO_IOC_EXPORT,
};

static const unsigned long context_requests[] = {
	DMO_IOC_DEVICE, DMO_IOC_MAP(1), DMO_IOC_UNMAP(1), DMO_IOC_MIRROR, DMO_IOC_FAULT, DMO_IOC_LOWAT,
};

static void try_shapes(int fd, unsigned long cmd)
{
	unsigned size = _IOC_SIZE(cmd), dir = _IOC_DIR(cmd), type = _IOC_TYPE(cmd), nr = _IOC_NR(cmd);
	char arg[16384] = { 0 };

	ck_errno(request(fd, _IOC(dir, type, nr, size + 8), arg), EINVAL);
	ck_errno(request(fd, _IOC(dir, type, nr, size - 1), arg), EINVAL);
	ck_errno(request(fd, _IOC(dir, type, nr, 1), arg), EINVAL);
	ck_errno(request(fd, _IOC(dir, type, nr, 16383), arg), EINVAL);
	ck_errno(request(fd, _IOC(dir ^ _IOC_READ, type, nr, size), arg), EINVAL);
	ck_errno(request(fd, _IOC(_IOC_NONE, type, nr, 0), arg), EINVAL);
	ck_errno(request(fd, _IOC(dir, type + 1, nr, size), arg), ENOTTY);
}

START_TEST(requests_of_another_size_or_direction_are_refused)
{
	int ctx = ctx_open("npu0"), fd = object();
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(object_requests); i++)
		try_shapes(fd, object_requests[i]);
	for (i = 0; i < ARRAY_SIZE(context_requests); i++)
		try_shapes(ctx, context_requests[i]);
}
END_TEST

START_TEST(requests_on_the_wrong_kind_of_descriptor_are_refused)
{
	int ctx = ctx_open("npu0"), fd = object();
	char arg[16384] = { 0 };
	unsigned i;

	for (i = 1; i < ARRAY_SIZE(context_requests); i++)
		ck_errno(request(fd, context_requests[i], arg), ENOTTY);
	for (i = 0; i < ARRAY_SIZE(object_requests); i++)
		if (object_requests[i] != DMO_IOC_DEVICE)
			ck_errno(request(ctx, object_requests[i], arg), ENOTTY);
}
END_TEST

START_TEST(numbers_nobody_has_are_refused)
{
	int ctx = ctx_open("npu0"), fd = object();
	char arg[64] = { 0 };
	unsigned nr;

	for (nr = 0; nr < 256; nr++) {
		if ((nr >= 1 && nr <= 10) || (nr >= 16 && nr <= 20))
			continue;
		ck_errno(request(fd, _IOC(_IOC_READ | _IOC_WRITE, DMO_IOC_MAGIC, nr, 64), arg), ENOTTY);
		ck_errno(request(ctx, _IOC(_IOC_READ | _IOC_WRITE, DMO_IOC_MAGIC, nr, 64), arg), ENOTTY);
	}
}
END_TEST

START_TEST(an_address_that_can_not_be_read_is_refused)
{
	int fd = object();

	ck_errno(request(fd, DMO_IOC_ADVISE, NULL), EFAULT);
	ck_errno(request(fd, DMO_IOC_MIGRATE, (void *)8), EFAULT);
	ck_errno(request(fd, DMO_IOC_INFO, NULL), EFAULT);
}
END_TEST

START_TEST(requests_on_other_files_are_refused)
{
	struct dmo_info info;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int dir = conf_home->open_object(".", O_RDONLY | O_DIRECTORY, 0);

	ck_errno(dmo_info(null, &info), ENOTTY);
	ck_errno(dmo_info(dir, &info), ENOTTY);
	ck_errno(dmo_info(-1, &info), EBADF);
}
END_TEST

/* ---- commands ------------------------------------------------------------------------------------ */

START_TEST(writes_that_are_no_whole_commands_are_refused)
{
	int ctx = ctx_open("npu0");
	char bytes[2 * sizeof(struct dmo_command)] = { 0 };
	static const size_t sizes[] = { 1, 8, sizeof(struct dmo_command) - 1, sizeof(struct dmo_command) + 1 };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ck_assert_int_eq(write(ctx, bytes, sizes[i]), -1);
		ck_assert_int_eq(errno, EINVAL);
	}
}
END_TEST

START_TEST(reads_too_small_for_a_completion_are_refused)
{
	int ctx = ctx_open("npu0");
	char bytes[sizeof(struct dmo_completion)];

	ck_assert_int_eq(read(ctx, bytes, sizeof(bytes) - 1), -1);
	ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(a_context_opened_without_waiting_says_that_nothing_is_there)
{
	int ctx = conf_home->open_context("npu0", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	char bytes[sizeof(struct dmo_completion)];

	ck_assert_int_ge(ctx, 0);
	ck_assert_int_eq(read(ctx, bytes, sizeof(bytes)), -1);
	ck_assert_int_eq(errno, EAGAIN);
}
END_TEST

/* Spoils one field of a good command. */
#define COMMAND(field, value) { #field " = " #value, offsetof(struct dmo_command, field), (value), \
	sizeof(((struct dmo_command *)0)->field), EINVAL }

static void try_commands(int ctx, const struct dmo_command *good, const struct spoil *list, unsigned count)
{
	struct dmo_completion completion;
	struct dmo_command command;
	unsigned i;
	int err;

	ck_ok(dmo_run(ctx_handle(ctx), good, &completion));
	for (i = 0; i < count; i++) {
		command = *good;
		put(&command, &list[i]);
		err = dmo_run(ctx_handle(ctx), &command, &completion);
		ck_assert_msg(err == -list[i].error, "op %u, %s: %d", good->op, list[i].what, err);
	}
	ck_ok(dmo_run(ctx_handle(ctx), good, &completion));
}

START_TEST(a_bad_fill_is_refused)
{
	static const struct spoil list[] = {
		COMMAND(op, DMO_OP_COUNT), COMMAND(op, ~0u), COMMAND(flags, 1), COMMAND(flags, ~0u), COMMAND(arg[2], 256),
		COMMAND(arg[1], ~0ull), COMMAND(arg[3], 1), COMMAND(arg[13], 1),
	};
	int ctx = ctx_open("npu0");
	struct dmo_command good;

	dmo_cmd_fill(&good, ctx_map(ctx, object(), 0, 16 * PAGE, READ_WRITE), 16 * PAGE, 1);
	try_commands(ctx, &good, list, ARRAY_SIZE(list));
}
END_TEST

START_TEST(a_bad_copy_is_refused)
{
	int ctx = ctx_open("npu0");
	uint64_t va = ctx_map(ctx, object(), 0, 16 * PAGE, READ_WRITE);

	ck_errno(ctx_copy(ctx, va, va, PAGE), EINVAL);
	ck_errno(ctx_copy(ctx, va + 100, va, PAGE), EINVAL);
	ck_errno(ctx_copy(ctx, va, va + PAGE - 1, PAGE), EINVAL);
	ck_errno(ctx_copy(ctx, va, va + PAGE, ~0ull), EINVAL);
	ck_ok(ctx_copy(ctx, va, va + PAGE, PAGE));
}
END_TEST

START_TEST(a_bad_atomic_is_refused)
{
	static const struct spoil list[] = { COMMAND(flags, 1), COMMAND(arg[2], 1) };
	int ctx = ctx_open("npu0");
	uint64_t va = ctx_map(ctx, object(), 0, PAGE, READ_WRITE), old;
	struct dmo_command good;

	dmo_cmd_atomic_add(&good, va, 1);
	try_commands(ctx, &good, list, ARRAY_SIZE(list));
	ck_errno(ctx_add(ctx, va + 4, 1, &old), EINVAL);
	ck_errno(ctx_add(ctx, va + 1, 1, &old), EINVAL);
}
END_TEST

START_TEST(addresses_out_of_this_world_fault)
{
	int ctx = ctx_open("npu0");
	uint64_t value;

	ck_errno(ctx_fill(ctx, 0, PAGE, 1), EFAULT);
	ck_errno(ctx_fill(ctx, 1ull << 63, PAGE, 1), EFAULT);
	ck_errno(ctx_fill(ctx, ~0ull - 2 * PAGE + 1, PAGE, 1), EFAULT);
	ck_errno(ctx_load(ctx, ~0ull - 7 - PAGE, &value), EFAULT);
}
END_TEST

START_TEST(a_chase_into_nowhere_faults)
{
	int ctx = ctx_open("npu0"), fd = object();
	uint64_t va = ctx_map(ctx, fd, 0, PAGE, DMO_PROT_READ), bad = 0x123456789000;
	struct dmo_completion completion;
	struct dmo_command command;

	obj_pwrite(fd, &bad, sizeof(bad), 0);
	dmo_cmd_chase(&command, va, 2);
	ck_errno(ctx_run(ctx, &command, &completion), EFAULT);
	ck_assert_uint_eq(completion.va & ~(PAGE - 1), bad);
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "badinput");
	conf_case(&run, "object requests", one_device, 20);
	conf_test(&run, device_info_refuses_bad_arguments);
	conf_test(&run, advise_refuses_bad_arguments);
	conf_test(&run, granularity_refuses_values_out_of_range);
	conf_test(&run, query_refuses_bad_arguments);
	conf_test(&run, migrate_refuses_bad_arguments);
	conf_test(&run, wait_refuses_bad_arguments);
	conf_test(&run, pin_refuses_bad_arguments);
	conf_test(&run, unpin_refuses_bad_arguments);
	conf_test(&run, export_refuses_bad_arguments);
	conf_case(&run, "context requests", one_device, 20);
	conf_test(&run, map_refuses_bad_arguments);
	conf_test(&run, a_descriptor_instead_of_a_key_is_for_the_kernel_alone);
	conf_test(&run, unmap_refuses_bad_arguments);
	conf_test(&run, mirror_refuses_bad_arguments);
	conf_test(&run, fault_refuses_bad_arguments);
	conf_test(&run, lowat_refuses_bad_arguments);
	conf_case(&run, "shapes", one_device, 20);
	conf_test(&run, requests_of_another_size_or_direction_are_refused);
	conf_test(&run, requests_on_the_wrong_kind_of_descriptor_are_refused);
	conf_test(&run, numbers_nobody_has_are_refused);
	conf_test(&run, an_address_that_can_not_be_read_is_refused);
	conf_test(&run, requests_on_other_files_are_refused);
	conf_case(&run, "commands", one_device, 20);
	conf_test(&run, writes_that_are_no_whole_commands_are_refused);
	conf_test(&run, reads_too_small_for_a_completion_are_refused);
	conf_test(&run, a_context_opened_without_waiting_says_that_nothing_is_there);
	conf_test(&run, a_bad_fill_is_refused);
	conf_test(&run, a_bad_copy_is_refused);
	conf_test(&run, a_bad_atomic_is_refused);
	conf_test(&run, addresses_out_of_this_world_fault);
	conf_test(&run, a_chase_into_nowhere_faults);
	return conf_end(&run);
}
