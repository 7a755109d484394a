// SPDX-License-Identifier: GPL-2.0-or-later
/* test_abi.c - the decoder: for every request what passes, and each way to be wrong with its errno */
#include "core/abi.h"

#include "testmem.h"

#define DEVICES	2
#define END	0x7ffffffffffff000ull	/* the last page boundary in reach */

union any {
	u64 align;
	u8 bytes[16384];
	struct dmo_device_info device;
	struct dmo_advise advise;
	struct dmo_query query;
	struct dmo_migrate migrate;
	struct dmo_wait wait;
	struct dmo_pin pin;
	struct dmo_export export;
	struct dmo_map map;
	struct dmo_unmap unmap;
	struct dmo_mirror mirror;
	struct dmo_fault fault;
	struct dmo_lowat lowat;
	struct dmo_object_create create;
};

static union any arg;

static int check(u32 cmd, enum dmo_abi_side side)
{
	return dmo_abi_check(cmd, &arg, _IOC_SIZE(cmd), side, DEVICES);
}

static int on_object(u32 cmd)
{
	return check(cmd, DMO_ABI_OBJECT);
}

static int on_context(u32 cmd)
{
	return check(cmd, DMO_ABI_CONTEXT);
}

/*
 * ---- numbers, directions, sizes -------------------------------------------------------------------------
 */

static const struct { u32 cmd; int object, context; } numbers[] = {
	{ DMO_IOC_INFO, 0, -ENOTTY },
	{ DMO_IOC_DEVICE, 0, 0 },
	{ DMO_IOC_KEY, 0, -ENOTTY },
	{ DMO_IOC_ADVISE, 0, -ENOTTY },
	{ DMO_IOC_QUERY(3), 0, -ENOTTY },
	{ DMO_IOC_MIGRATE, 0, -ENOTTY },
	{ DMO_IOC_WAIT, 0, -ENOTTY },
	{ DMO_IOC_PIN, 0, -ENOTTY },
	{ DMO_IOC_UNPIN, 0, -ENOTTY },
	{ DMO_IOC_EXPORT, 0, -ENOTTY },
	{ DMO_IOC_MAP(3), -ENOTTY, 0 },
	{ DMO_IOC_UNMAP(3), -ENOTTY, 0 },
	{ DMO_IOC_MIRROR, -ENOTTY, 0 },
	{ DMO_IOC_FAULT, -ENOTTY, 0 },
	{ DMO_IOC_LOWAT, -ENOTTY, 0 },
};

static int on_control(u32 cmd)
{
	return check(cmd, DMO_ABI_CONTROL);
}

/* An argument that is right for cmd. */
static void make_right(u32 cmd)
{
	memset(&arg, 0, sizeof(arg));
	switch (_IOC_NR(cmd)) {
	case 5: arg.query.count = 3; break;
	case 8: arg.pin.length = DMO_PAGE_SIZE; break;
	case 10: arg.export.length = DMO_PAGE_SIZE; break;
	case 16: arg.map.count = 3; break;
	case 17: arg.unmap.count = 3; break;
	case 18: arg.mirror.length = DMO_PAGE_SIZE; arg.mirror.prot = DMO_PROT_READ; break;
	case 19: arg.fault.length = 1; arg.fault.prot = DMO_PROT_WRITE; break;
	case 20: arg.lowat.count = 1; break;
	}
}

START_TEST(each_request_goes_to_its_side_only)
{
	make_right(numbers[_i].cmd);
	ck_assert_int_eq(on_object(numbers[_i].cmd), numbers[_i].object);
	ck_assert_int_eq(on_context(numbers[_i].cmd), numbers[_i].context);
}
END_TEST

START_TEST(another_size_or_direction_is_refused)
{
	u32 cmd = numbers[_i].cmd;
	enum dmo_abi_side side = numbers[_i].object ? DMO_ABI_CONTEXT : DMO_ABI_OBJECT;

	make_right(cmd);
	for (u32 size = 0; size < 1u << _IOC_SIZEBITS; size++) {
		if (size != _IOC_SIZE(cmd))
			ck_assert_int_eq(check(_IOC(_IOC_DIR(cmd), DMO_IOC_MAGIC, _IOC_NR(cmd), size), side), -EINVAL);
	}
	for (u32 dir = 0; dir < 4; dir++) {
		if (dir != _IOC_DIR(cmd))
			ck_assert_int_eq(check(_IOC(dir, DMO_IOC_MAGIC, _IOC_NR(cmd), _IOC_SIZE(cmd)), side), -EINVAL);
	}
}
END_TEST

START_TEST(unknown_numbers_and_types_are_no_requests)
{
	for (u32 nr = 0; nr < 256; nr++) {
		bool known = false;

		for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
			known |= _IOC_NR(numbers[i].cmd) == nr;
		if (known)
			continue;
		ck_assert_int_eq(on_object(_IOC(_IOC_READ | _IOC_WRITE, DMO_IOC_MAGIC, nr, 64)), -ENOTTY);
		ck_assert_int_eq(on_context(_IOC(_IOC_READ | _IOC_WRITE, DMO_IOC_MAGIC, nr, 64)), -ENOTTY);
	}
	make_right(DMO_IOC_WAIT);
	ck_assert_int_eq(on_object(DMO_IOC_WAIT ^ 1u << _IOC_TYPESHIFT), -ENOTTY);
	ck_assert_int_eq(on_object(0), -ENOTTY);
	ck_assert_int_eq(on_object(~0u), -ENOTTY);
}
END_TEST

START_TEST(a_buffer_shorter_than_the_request_is_refused)
{
	u32 cmd = numbers[_i].cmd;
	enum dmo_abi_side side = numbers[_i].object ? DMO_ABI_CONTEXT : DMO_ABI_OBJECT;
	bool reads_only = _IOC_DIR(cmd) == _IOC_READ;

	make_right(cmd);
	ck_assert_int_eq(dmo_abi_check(cmd, &arg, _IOC_SIZE(cmd) - 1, side, DEVICES), reads_only ? 0 : -EINVAL);
	ck_assert_int_eq(dmo_abi_check(cmd, reads_only ? NULL : &arg, 0, side, DEVICES), reads_only ? 0 : -EINVAL);
}
END_TEST

/* Requests with an array: the count must be the size's, at least 1, at most the maximum. */
static const struct { u32 most, header, entry, nr; enum dmo_abi_side side; } arrays[] = {
	{ DMO_QUERY_MAX, sizeof(struct dmo_query), sizeof(struct dmo_extent), 5, DMO_ABI_OBJECT },
	{ DMO_MAP_MAX, sizeof(struct dmo_map), sizeof(struct dmo_map_op), 16, DMO_ABI_CONTEXT },
	{ DMO_UNMAP_MAX, sizeof(struct dmo_unmap), sizeof(struct dmo_unmap_op), 17, DMO_ABI_CONTEXT },
};

static void set_count(u32 nr, u32 count)
{
	if (nr == 5)
		arg.query.count = count;
	else if (nr == 16)
		arg.map.count = count;
	else
		arg.unmap.count = count;
}

START_TEST(the_count_of_an_array_agrees_with_the_size)
{
	memset(&arg, 0, sizeof(arg));
	for (u32 n = 0; arrays[_i].header + n * arrays[_i].entry < 16384; n++) {
		u32 cmd = DMO_IOC_SIZED(arrays[_i].nr, arrays[_i].header + n * arrays[_i].entry);

		set_count(arrays[_i].nr, n);
		ck_assert_int_eq(check(cmd, arrays[_i].side), n && n <= arrays[_i].most ? 0 : -EINVAL);
		set_count(arrays[_i].nr, n + 1);
		ck_assert_int_eq(check(cmd, arrays[_i].side), -EINVAL);
		set_count(arrays[_i].nr, n - 1);
		ck_assert_int_eq(check(cmd, arrays[_i].side), -EINVAL);
		set_count(arrays[_i].nr, ~0u);
		ck_assert_int_eq(check(cmd, arrays[_i].side), -EINVAL);
	}
}
END_TEST

/*
 * ---- fields ----------------------------------------------------------------------------------------------
 */

START_TEST(every_reserved_byte_and_unknown_flag_is_refused)
{
	static const struct { u32 cmd; u16 at, bytes; u32 flags_known; } fields[] = {
#define RESERVED(cmd, type, field)	{ cmd, offsetof(struct type, field), sizeof(((struct type *)0)->field), 0 }
#define FLAGS(cmd, type, known)		{ cmd, offsetof(struct type, flags), 4, known }
		RESERVED(DMO_IOC_DEVICE, dmo_device_info, reserved),
		RESERVED(DMO_IOC_ADVISE, dmo_advise, reserved),
		FLAGS(DMO_IOC_ADVISE, dmo_advise, 0),
		RESERVED(DMO_IOC_QUERY(3), dmo_query, reserved),
		FLAGS(DMO_IOC_QUERY(3), dmo_query, 0),
		RESERVED(DMO_IOC_MIGRATE, dmo_migrate, reserved),
		RESERVED(DMO_IOC_MIGRATE, dmo_migrate, reserved0),
		FLAGS(DMO_IOC_MIGRATE, dmo_migrate, DMO_MIGRATE_ASYNC),
		RESERVED(DMO_IOC_WAIT, dmo_wait, reserved),
		FLAGS(DMO_IOC_WAIT, dmo_wait, 0),
		RESERVED(DMO_IOC_PIN, dmo_pin, charge),
		FLAGS(DMO_IOC_PIN, dmo_pin, 0),		/* one is known, and wants who else is charged */
		RESERVED(DMO_IOC_UNPIN, dmo_pin, charge),
		FLAGS(DMO_IOC_UNPIN, dmo_pin, 0),
		RESERVED(DMO_IOC_EXPORT, dmo_export, reserved),
		RESERVED(DMO_IOC_EXPORT, dmo_export, charge),
		FLAGS(DMO_IOC_EXPORT, dmo_export, 0),
		RESERVED(DMO_IOC_MAP(3), dmo_map, reserved),
		RESERVED(DMO_IOC_UNMAP(3), dmo_unmap, reserved),
		RESERVED(DMO_IOC_MIRROR, dmo_mirror, reserved),
		FLAGS(DMO_IOC_MIRROR, dmo_mirror, 0),
		RESERVED(DMO_IOC_FAULT, dmo_fault, reserved),
		FLAGS(DMO_IOC_FAULT, dmo_fault, 0),
		RESERVED(DMO_IOC_LOWAT, dmo_lowat, reserved),
		FLAGS(DMO_IOC_LOWAT, dmo_lowat, 0),
	};

	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		u32 cmd = fields[i].cmd;
		enum dmo_abi_side side = _IOC_NR(cmd) < 16 ? DMO_ABI_OBJECT : DMO_ABI_CONTEXT;

		for (u32 bit = 0; bit < fields[i].bytes * 8u; bit++) {
			bool ok = bit < 32 && fields[i].flags_known >> bit & 1;

			make_right(cmd);
			arg.bytes[fields[i].at + bit / 8] |= 1u << bit % 8;
			ck_assert_int_eq(check(cmd, side), ok ? 0 : -EINVAL);
		}
	}
}
END_TEST

static const struct { u32 flags; u64 charge; int result; } charges[] = {
	{ 0, 0, 0 },
	{ 0, DMO_CHARGE(1, 0), -EINVAL },
	{ 0, DMO_CHARGE(0, 1), -EINVAL },
	{ DMO_CHARGE_OTHER, 0, -EINVAL },
	{ DMO_CHARGE_OTHER, DMO_CHARGE(0, 1), -EINVAL },
	{ DMO_CHARGE_OTHER, DMO_CHARGE(1, 0), 0 },
	{ DMO_CHARGE_OTHER, DMO_CHARGE(~0u, ~0u), 0 },
	{ DMO_CHARGE_OTHER | 2, DMO_CHARGE(1, 0), -EINVAL },
};

START_TEST(another_is_charged_by_a_flag_with_his_process)
{
	make_right(DMO_IOC_PIN);
	arg.pin.flags = charges[_i].flags;
	arg.pin.charge = charges[_i].charge;
	ck_assert_int_eq(on_object(DMO_IOC_PIN), charges[_i].result);
	ck_assert_int_eq(on_object(DMO_IOC_UNPIN), charges[_i].flags || charges[_i].charge ? -EINVAL : 0);
	make_right(DMO_IOC_EXPORT);
	arg.export.flags = charges[_i].flags;
	arg.export.charge = charges[_i].charge;
	ck_assert_int_eq(on_object(DMO_IOC_EXPORT), charges[_i].result);
}
END_TEST

START_TEST(control_takes_creation_and_devices_alone)
{
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		u32 cmd = numbers[i].cmd;

		make_right(cmd);
		ck_assert_int_eq(on_control(cmd), cmd == DMO_IOC_DEVICE ? 0 : -ENOTTY);
	}
	memset(&arg, 0, sizeof(arg));
	ck_assert_int_eq(on_object(DMO_IOC_OBJECT_CREATE), -ENOTTY);
	ck_assert_int_eq(on_context(DMO_IOC_OBJECT_CREATE), -ENOTTY);
	ck_assert_int_eq(on_control(DMO_IOC_OBJECT_CREATE), 0);
	ck_assert_int_eq(on_control(DMO_IOC_OBJECT_CREATE ^ 1u << 16), -EINVAL);
	for (u32 nr = 20; nr < 32; nr++)
		ck_assert_int_eq(on_control(_IOWR(DMO_IOC_MAGIC, nr, struct dmo_object_create)), -ENOTTY);
}
END_TEST

static const struct { s32 backing; u64 size; u32 flags; u32 reserved0; u64 reserved; int result; } creations[] = {
	{ 0, 0, 0, 0, 0, 0 },
	{ 7, 0, DMO_CREATE_CLOEXEC | DMO_CREATE_READ, 0, 0, 0 },
	{ 7, 1, 0, 0, 0, -EINVAL },
	{ -1, 1, 0, 0, 0, 0 },
	{ -1, 0x7fffffffffffffffull, 0, 0, 0, 0 },
	{ -1, 0, 0, 0, 0, -EINVAL },
	{ -1, 1ull << 63, 0, 0, 0, -EOVERFLOW },
	{ -2, 0, 0, 0, 0, -EBADF },
	{ -100, 1, 0, 0, 0, -EBADF },
	{ 7, 0, 4, 0, 0, -EINVAL },
	{ 7, 0, 1u << 31, 0, 0, -EINVAL },
	{ 7, 0, 0, 1, 0, -EINVAL },
	{ 7, 0, 0, 0, 1ull << 63, -EINVAL },
};

START_TEST(creation_takes_a_backing_fd_or_a_size)
{
	arg.create = (struct dmo_object_create){
		.backing = creations[_i].backing, .size = creations[_i].size, .flags = creations[_i].flags,
		.reserved0 = creations[_i].reserved0, .reserved = creations[_i].reserved,
	};
	ck_assert_int_eq(on_control(DMO_IOC_OBJECT_CREATE), creations[_i].result);
}
END_TEST

static const struct { u64 offset, length; int zero_ok, not_zero; } pages[] = {
	{ 0, 0, 0, -EINVAL },
	{ DMO_PAGE_SIZE, 0, 0, -EINVAL },
	{ END, 0, 0, -EINVAL },
	{ 0, DMO_PAGE_SIZE, 0, 0 },
	{ 0, END, 0, 0 },
	{ END - DMO_PAGE_SIZE, DMO_PAGE_SIZE, 0, 0 },
	{ 1, DMO_PAGE_SIZE, -EINVAL, -EINVAL },
	{ 0, 1, -EINVAL, -EINVAL },
	{ DMO_PAGE_SIZE / 2, DMO_PAGE_SIZE / 2, -EINVAL, -EINVAL },
	{ 0, 0x7fffffffffffffffull, -EINVAL, -EINVAL },
	{ 0x7fffffffffffffffull, 0, -EINVAL, -EINVAL },
	{ END, DMO_PAGE_SIZE, -EOVERFLOW, -EOVERFLOW },
	{ DMO_PAGE_SIZE, END, -EOVERFLOW, -EOVERFLOW },
	{ 1ull << 63, 0, -EOVERFLOW, -EOVERFLOW },
	{ 0, 1ull << 63, -EOVERFLOW, -EOVERFLOW },
	{ ~0ull, 0, -EOVERFLOW, -EOVERFLOW },
	{ 0, ~0ull, -EOVERFLOW, -EOVERFLOW },
	{ ~0ull, ~0ull, -EOVERFLOW, -EOVERFLOW },
	{ -4096ull, 4096, -EOVERFLOW, -EOVERFLOW },
	{ 1ull << 62, 1ull << 62, -EOVERFLOW, -EOVERFLOW },
};

START_TEST(ranges_are_whole_pages_and_do_not_overflow)
{
	make_right(DMO_IOC_ADVISE);
	arg.advise.offset = pages[_i].offset;
	arg.advise.length = pages[_i].length;
	ck_assert_int_eq(on_object(DMO_IOC_ADVISE), pages[_i].zero_ok);
	make_right(DMO_IOC_MIGRATE);
	arg.migrate.offset = pages[_i].offset;
	arg.migrate.length = pages[_i].length;
	ck_assert_int_eq(on_object(DMO_IOC_MIGRATE), pages[_i].zero_ok);
	make_right(DMO_IOC_PIN);
	arg.pin.offset = pages[_i].offset;
	arg.pin.length = pages[_i].length;
	ck_assert_int_eq(on_object(DMO_IOC_PIN), pages[_i].not_zero);
	ck_assert_int_eq(on_object(DMO_IOC_UNPIN), 0);
	make_right(DMO_IOC_EXPORT);
	arg.export.offset = pages[_i].offset;
	arg.export.length = pages[_i].length;
	ck_assert_int_eq(on_object(DMO_IOC_EXPORT), pages[_i].not_zero);
	make_right(DMO_IOC_MIRROR);
	arg.mirror.address = pages[_i].offset;
	arg.mirror.length = pages[_i].length;
	ck_assert_int_eq(on_context(DMO_IOC_MIRROR), pages[_i].not_zero);
}
END_TEST

static const struct { u64 offset, length; int query, fault; } bytes[] = {
	{ 0, 0, 0, -EINVAL }, { 0, 1, 0, 0 }, { 4096, 12345, 0, 0 }, { 1, 1, -EINVAL, 0 },
	{ 0, 0x7fffffffffffffffull, 0, 0 }, { 4096, 0x7fffffffffffffffull, -EOVERFLOW, -EOVERFLOW },
	{ 0, 1ull << 63, -EOVERFLOW, -EOVERFLOW }, { ~0ull, 0, -EOVERFLOW, -EOVERFLOW },
	{ ~0ull, 1, -EOVERFLOW, -EOVERFLOW }, { 0, ~0ull, -EOVERFLOW, -EOVERFLOW },
};

START_TEST(query_and_fault_take_bytes)
{
	make_right(DMO_IOC_QUERY(3));
	arg.query.offset = bytes[_i].offset;
	arg.query.length = bytes[_i].length;
	ck_assert_int_eq(on_object(DMO_IOC_QUERY(3)), bytes[_i].query);
	make_right(DMO_IOC_FAULT);
	arg.fault.va = bytes[_i].offset;
	arg.fault.length = bytes[_i].length;
	ck_assert_int_eq(on_context(DMO_IOC_FAULT), bytes[_i].fault);
}
END_TEST

static const struct { u32 device; int info, migrate, pin, export; } devices[] = {
	{ 0, 0, 0, 0, 0 },
	{ DEVICES - 1, 0, 0, 0, 0 },
	{ DEVICES, -ENODEV, -ENODEV, -ENODEV, -ENODEV },
	{ 0x7fffffff, -ENODEV, -ENODEV, -ENODEV, -ENODEV },
	{ DMO_DEVICE_HOST - 1, -ENODEV, -ENODEV, -ENODEV, -ENODEV },
	{ DMO_DEVICE_HOST, -ENODEV, 0, -EINVAL, 0 },
	{ DMO_DEVICE_ANY, -ENODEV, 0, -EINVAL, 0 },
};

START_TEST(device_numbers)
{
	make_right(DMO_IOC_DEVICE);
	arg.device.device = devices[_i].device;
	ck_assert_int_eq(on_object(DMO_IOC_DEVICE), devices[_i].info);
	ck_assert_int_eq(on_context(DMO_IOC_DEVICE), devices[_i].info);
	make_right(DMO_IOC_MIGRATE);
	arg.migrate.device = devices[_i].device;
	ck_assert_int_eq(on_object(DMO_IOC_MIGRATE), devices[_i].migrate);
	make_right(DMO_IOC_PIN);
	arg.pin.device = devices[_i].device;
	ck_assert_int_eq(on_object(DMO_IOC_PIN), devices[_i].pin);
	ck_assert_int_eq(on_object(DMO_IOC_UNPIN), 0);
	make_right(DMO_IOC_EXPORT);
	arg.export.device = devices[_i].device;
	ck_assert_int_eq(on_object(DMO_IOC_EXPORT), devices[_i].export);
}
END_TEST

/* What each advice says to a device number, DEVICES (unknown), HOST, ANY, and to a value of 1. */
static const struct { int device, unknown, host, any, value; } advices[DMO_ADV_COUNT] = {
	[DMO_ADV_NORMAL] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_SEQUENTIAL] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_RANDOM] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_WILLNEED] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_DONTNEED] = { 0, -ENODEV, -EINVAL, 0, -EINVAL },
	[DMO_ADV_DISCARD] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_COLD] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_READ_MOSTLY] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_NO_READ_MOSTLY] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_PREFERRED] = { 0, -ENODEV, 0, -EINVAL, -EINVAL },
	[DMO_ADV_NO_PREFERRED] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_ACCESSED_BY] = { 0, -ENODEV, -EINVAL, 0, -EINVAL },
	[DMO_ADV_NO_ACCESSED_BY] = { 0, -ENODEV, -EINVAL, 0, -EINVAL },
	[DMO_ADV_NO_MIGRATE] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_MIGRATE] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_GRANULARITY] = { 0, -ENODEV, 0, 0, -EINVAL },
	[DMO_ADV_DEVICE_BITS] = { 0, -ENODEV, 0, 0, 0 },
};

static int advise(u32 advice, u32 device, u64 value)
{
	make_right(DMO_IOC_ADVISE);
	arg.advise.advice = advice;
	arg.advise.device = device;
	arg.advise.value = value;
	return on_object(DMO_IOC_ADVISE);
}

START_TEST(advice_takes_what_makes_sense)
{
	ck_assert_int_eq(advise((u32)_i, 1, 0), advices[_i].device);
	ck_assert_int_eq(advise((u32)_i, DEVICES, 0), advices[_i].unknown);
	ck_assert_int_eq(advise((u32)_i, DMO_DEVICE_HOST, 0), advices[_i].host);
	ck_assert_int_eq(advise((u32)_i, DMO_DEVICE_ANY, 0), advices[_i].any);
	ck_assert_int_eq(advise((u32)_i, 1, 1), advices[_i].value);
}
END_TEST

START_TEST(unknown_advice_is_refused)
{
	ck_assert_int_eq(advise(DMO_ADV_COUNT, 0, 0), -EINVAL);
	ck_assert_int_eq(advise(~0u, 0, 0), -EINVAL);
}
END_TEST

START_TEST(granularity_is_a_page_to_a_block)
{
	for (u64 v = 0; v < 70; v++)
		ck_assert_int_eq(advise(DMO_ADV_GRANULARITY, 0, v), !v || (v >= 12 && v <= 21) ? 0 : -EINVAL);
	ck_assert_int_eq(advise(DMO_ADV_GRANULARITY, 0, 0x10000000cull), -EINVAL);
	ck_assert_int_eq(advise(DMO_ADV_DEVICE_BITS, 0, ~0ull), 0);
}
END_TEST

START_TEST(devices_past_63_cannot_be_accessors)
{
	make_right(DMO_IOC_ADVISE);
	arg.advise.advice = DMO_ADV_ACCESSED_BY;
	arg.advise.device = 64;
	ck_assert_int_eq(dmo_abi_check(DMO_IOC_ADVISE, &arg, sizeof(arg), DMO_ABI_OBJECT, 100), -EINVAL);
	arg.advise.device = 63;
	ck_assert_int_eq(dmo_abi_check(DMO_IOC_ADVISE, &arg, sizeof(arg), DMO_ABI_OBJECT, 100), 0);
}
END_TEST

START_TEST(without_devices_advice_that_needs_none_passes)
{
	make_right(DMO_IOC_ADVISE);
	ck_assert_int_eq(dmo_abi_check(DMO_IOC_ADVISE, &arg, sizeof(arg), DMO_ABI_OBJECT, 0), 0);
	for (u32 advice = 0; advice < DMO_ADV_COUNT; advice++) {
		bool needs = advice == DMO_ADV_WILLNEED || advice == DMO_ADV_DONTNEED || advice == DMO_ADV_PREFERRED ||
			     advice == DMO_ADV_ACCESSED_BY || advice == DMO_ADV_NO_ACCESSED_BY;

		arg.advise.advice = advice;
		ck_assert_int_eq(dmo_abi_check(DMO_IOC_ADVISE, &arg, sizeof(arg), DMO_ABI_OBJECT, 0),
				 needs ? -ENODEV : 0);
	}
}
END_TEST

START_TEST(protections)
{
	for (u32 prot = 0; prot < 8; prot++) {
		struct dmo_map_op op = { .length = DMO_PAGE_SIZE, .prot = prot };
		int expected = prot >= 1 && prot <= 3 ? 0 : -EINVAL;

		ck_assert_int_eq(dmo_abi_check_map_op(&op), expected);
		make_right(DMO_IOC_MIRROR);
		arg.mirror.prot = prot;
		ck_assert_int_eq(on_context(DMO_IOC_MIRROR), expected);
		make_right(DMO_IOC_FAULT);
		arg.fault.prot = prot;
		ck_assert_int_eq(on_context(DMO_IOC_FAULT), expected);
	}
}
END_TEST

#define PG DMO_PAGE_SIZE

static const struct { struct dmo_map_op op; int err; } map_ops[] = {
	{ { .length = PG, .prot = 1 }, 0 },
	{ { .va = 1, .length = PG, .prot = 1 }, 0 },
	{ { .va = ~0ull, .length = PG, .prot = 1, .bits = ~0ull, .key = ~0ull }, 0 },
	{ { .va = PG, .length = PG, .prot = 3, .flags = DMO_MAP_FIXED }, 0 },
	{ { .va = PG, .length = PG, .prot = 3, .flags = DMO_MAP_FIXED | DMO_MAP_REPLACE }, 0 },
	{ { .va = 1, .length = PG, .prot = 1, .flags = DMO_MAP_FIXED }, -EINVAL },
	{ { .va = ~0ull, .length = PG, .prot = 1, .flags = DMO_MAP_FIXED }, -EOVERFLOW },
	{ { .va = -(u64)PG, .length = PG, .prot = 1, .flags = DMO_MAP_FIXED }, -EOVERFLOW },
	{ { .length = PG, .prot = 1, .flags = DMO_MAP_REPLACE }, -EINVAL },
	{ { .length = PG, .prot = 1, .flags = 4 }, -EINVAL },
	{ { .length = PG, .prot = 1, .flags = ~0u }, -EINVAL },
	{ { .length = 0, .prot = 1 }, -EINVAL },
	{ { .length = 1, .prot = 1 }, -EINVAL },
	{ { .length = PG, .offset = 1, .prot = 1 }, -EINVAL },
	{ { .length = PG, .offset = -(u64)PG, .prot = 1 }, -EOVERFLOW },
	{ { .length = -(u64)PG, .offset = PG, .prot = 1 }, -EOVERFLOW },
	{ { .length = ~0ull, .prot = 1 }, -EOVERFLOW },
};

START_TEST(map_operations)
{
	ck_assert_int_eq(dmo_abi_check_map_op(&map_ops[_i].op), map_ops[_i].err);
}
END_TEST

START_TEST(unmap_operations)
{
	struct dmo_unmap_op op = { .va = pages[_i].offset, .length = pages[_i].length };

	ck_assert_int_eq(dmo_abi_check_unmap_op(&op), pages[_i].not_zero);
}
END_TEST

/*
 * ---- commands --------------------------------------------------------------------------------------------
 */

#define F32_MAX	0xffffffffull

/* Right ones, with the ranges that they touch: r, w, or rw in how. */
static const struct right {
	struct dmo_command c;
	int count;
	struct { u64 va, len; const char *how; } ranges[6];
} right[] = {
	{ { .op = DMO_OP_NOP, .cookie = ~0ull }, 0, { { 0 } } },
	{ { .op = DMO_OP_FILL, .arg = { 3, 5, 255 } }, 1, { { 3, 5, "w" } } },
	{ { .op = DMO_OP_FILL, .arg = { 3, 0, 0 } }, 0, { { 0 } } },
	{ { .op = DMO_OP_COPY, .arg = { 10, 20, 10 } }, 2, { { 10, 10, "w" }, { 20, 10, "r" } } },
	{ { .op = DMO_OP_COPY, .arg = { 30, 20, 10 } }, 2, { { 30, 10, "w" }, { 20, 10, "r" } } },
	{ { .op = DMO_OP_COPY, .arg = { 20, 20, 0 } }, 0, { { 0 } } },
	{ { .op = DMO_OP_CKSUM, .arg = { 7, 100, F32_MAX, ~0ull, 1 } }, 1, { { 7, 100, "r" } } },
	{ { .op = DMO_OP_CKSUM, .arg = { 7, 0, 0, 0, 1 } }, 0, { { 0 } } },
	{ { .op = DMO_OP_COMPARE, .arg = { 1, 2, 50 } }, 2, { { 1, 50, "r" }, { 2, 50, "r" } } },
	{ { .op = DMO_OP_ATOMIC_ADD, .arg = { 16, ~0ull } }, 1, { { 16, 8, "rw" } } },
	{ { .op = DMO_OP_AXPY, .arg = { 4, 400, 9, F32_MAX } }, 2, { { 4, 36, "rw" }, { 400, 36, "r" } } },
	{ { .op = DMO_OP_GEMV, .arg = { 4, 8, 12, 16, 3, 5 } }, 4,
	  { { 4, 12, "w" }, { 8, 60, "r" }, { 12, 20, "r" }, { 16, 12, "r" } } },
	{ { .op = DMO_OP_GEMV, .flags = DMO_CMD_TRANSPOSE | DMO_CMD_ACCUMULATE, .arg = { 4, 8, 12, 16, 3, 5 } }, 4,
	  { { 4, 20, "rw" }, { 8, 60, "r" }, { 12, 12, "r" }, { 16, 20, "r" } } },
	{ { .op = DMO_OP_GEMV, .arg = { 4, 8, 12, 0, 1, 1 } }, 3, { { 4, 4, "w" }, { 8, 4, "r" }, { 12, 4, "r" } } },
	{ { .op = DMO_OP_GATHER, .arg = { 1, 2, 4, 3, 10, 7 } }, 3,
	  { { 1, 30, "w" }, { 2, 70, "r" }, { 4, 12, "r" } } },
	{ { .op = DMO_OP_LAYERNORM, .arg = { 4, 8, 12, 16, 6, F32_MAX } }, 4,
	  { { 4, 24, "w" }, { 8, 24, "r" }, { 12, 24, "r" }, { 16, 24, "r" } } },
	{ { .op = DMO_OP_GELU, .arg = { 4, 8, 6 } }, 2, { { 4, 24, "w" }, { 8, 24, "r" } } },
	{ { .op = DMO_OP_ATTENTION, .arg = { 4, 8, 12, 16, 2, 3, 5, 10 } }, 4,
	  { { 4, 24, "w" }, { 8, 24, "r" }, { 12, 184, "r" }, { 16, 184, "r" } } },
	{ { .op = DMO_OP_ARGMAX, .arg = { 4, 6 } }, 1, { { 4, 24, "r" } } },
};

START_TEST(a_right_command_passes_and_names_its_ranges)
{
	const struct right *t = &right[_i];
	struct dmo_cmd_range out[DMO_CMD_RANGES_MAX];

	ck_assert_int_eq(dmo_abi_check_command(&t->c), 0);
	ck_assert_int_eq(dmo_command_ranges(&t->c, out, DMO_CMD_RANGES_MAX), t->count);
	for (int i = 0; i < t->count; i++) {
		ck_assert_uint_eq(out[i].va, t->ranges[i].va);
		ck_assert_uint_eq(out[i].len, t->ranges[i].len);
		ck_assert_int_eq(out[i].read, strchr(t->ranges[i].how, 'r') != NULL);
		ck_assert_int_eq(out[i].write, strchr(t->ranges[i].how, 'w') != NULL);
	}
	if (t->count)
		ck_assert_int_eq(dmo_command_ranges(&t->c, out, t->count - 1), -EINVAL);
}
END_TEST

START_TEST(unused_arguments_and_flags_are_refused)
{
	static const u32 used[DMO_OP_COUNT] = { 0, 3, 3, 5, 3, 2, 2, 4, 6, 6, 6, 3, 8, 2 };
	struct dmo_command c = right[_i].c;

	for (u32 i = used[c.op]; i < 14; i++) {
		c.arg[i] = 1ull << 63;
		ck_assert_int_eq(dmo_abi_check_command(&c), -EINVAL);
		c.arg[i] = 0;
	}
	for (u32 bit = c.op == DMO_OP_GEMV ? 2 : 0; bit < 32; bit++) {
		c.flags = 1u << bit;
		ck_assert_int_eq(dmo_abi_check_command(&c), -EINVAL);
	}
}
END_TEST

static const struct dmo_command wrong[] = {
	{ .op = DMO_OP_COUNT },
	{ .op = ~0u },
	{ .op = DMO_OP_FILL, .arg = { 0, 1, 256 } },
	{ .op = DMO_OP_FILL, .arg = { ~0ull, 2, 0 } },
	{ .op = DMO_OP_FILL, .arg = { 1, ~0ull, 0 } },
	{ .op = DMO_OP_COPY, .arg = { 10, 20, 11 } },
	{ .op = DMO_OP_COPY, .arg = { 20, 10, 11 } },
	{ .op = DMO_OP_COPY, .arg = { 20, 20, 1 } },
	{ .op = DMO_OP_COPY, .arg = { 0, ~0ull, 2 } },
	{ .op = DMO_OP_COPY, .arg = { ~0ull, 0, 2 } },
	{ .op = DMO_OP_CKSUM, .arg = { 0, 1, F32_MAX + 1, 0, 0 } },
	{ .op = DMO_OP_CKSUM, .arg = { 0, 1, 0, 0, 2 } },
	{ .op = DMO_OP_CKSUM, .arg = { 2, ~0ull - 1, 0, 0, 0 } },
	{ .op = DMO_OP_COMPARE, .arg = { 0, 9, ~0ull } },
	{ .op = DMO_OP_COMPARE, .arg = { 9, 0, ~0ull } },
	{ .op = DMO_OP_CHASE, .arg = { 4, 1 } },
	{ .op = DMO_OP_CHASE, .arg = { ~0ull, 1 } },
	{ .op = DMO_OP_CHASE, .arg = { -8ull, 1 } },
	{ .op = DMO_OP_ATOMIC_ADD, .arg = { 12, 1 } },
	{ .op = DMO_OP_ATOMIC_ADD, .arg = { -8ull, 1 } },
	{ .op = DMO_OP_AXPY, .arg = { 2, 4, 1, 0 } },
	{ .op = DMO_OP_AXPY, .arg = { 4, 2, 1, 0 } },
	{ .op = DMO_OP_AXPY, .arg = { 4, 4, 1ull << 62, 0 } },
	{ .op = DMO_OP_AXPY, .arg = { 4, 4, ~0ull, 0 } },
	{ .op = DMO_OP_AXPY, .arg = { 4, 4, 1, F32_MAX + 1 } },
	{ .op = DMO_OP_GEMV, .arg = { 4, 8, 12, 0, 0, 5 } },
	{ .op = DMO_OP_GEMV, .arg = { 4, 8, 12, 0, 5, 0 } },
	{ .op = DMO_OP_GEMV, .arg = { 4, 8, 12, 0, 1ull << 32, 1ull << 32 } },
	{ .op = DMO_OP_GEMV, .arg = { 4, 8, 12, 0, 1ull << 31, 1ull << 31 } },
	{ .op = DMO_OP_GEMV, .arg = { 4, 8, 12, 2, 1, 1 } },
	{ .op = DMO_OP_GEMV, .arg = { 1, 8, 12, 0, 1, 1 } },
	{ .op = DMO_OP_GEMV, .arg = { 4, 9, 12, 0, 1, 1 } },
	{ .op = DMO_OP_GEMV, .arg = { 4, 8, 14, 0, 1, 1 } },
	{ .op = DMO_OP_GATHER, .arg = { 0, 0, 2, 1, 1, 1 } },
	{ .op = DMO_OP_GATHER, .arg = { 0, 0, 4, 1ull << 62, 0, 0 } },
	{ .op = DMO_OP_GATHER, .arg = { 0, 0, 4, 1ull << 40, 1ull << 40, 1 } },
	{ .op = DMO_OP_GATHER, .arg = { 0, 0, 4, 1, 1ull << 40, 1ull << 40 } },
	{ .op = DMO_OP_LAYERNORM, .arg = { 4, 8, 12, 16, 0, 0 } },
	{ .op = DMO_OP_LAYERNORM, .arg = { 4, 8, 12, 16, 1, ~0ull } },
	{ .op = DMO_OP_LAYERNORM, .arg = { 4, 8, 12, 18, 1, 0 } },
	{ .op = DMO_OP_LAYERNORM, .arg = { 4, 8, 12, 0, 1ull << 62, 0 } },
	{ .op = DMO_OP_GELU, .arg = { 4, 8, 1ull << 62 } },
	{ .op = DMO_OP_GELU, .arg = { 5, 8, 1 } },
	{ .op = DMO_OP_ATTENTION, .arg = { 4, 8, 12, 16, 0, 3, 5, 10 } },
	{ .op = DMO_OP_ATTENTION, .arg = { 4, 8, 12, 16, 2, 0, 5, 10 } },
	{ .op = DMO_OP_ATTENTION, .arg = { 4, 8, 12, 16, 2, 3, 0, 10 } },
	{ .op = DMO_OP_ATTENTION, .arg = { 4, 8, 12, 16, 2, 3, 5, 5 } },
	{ .op = DMO_OP_ATTENTION, .arg = { 4, 8, 12, 16, 1ull << 33, 1ull << 33, 5, ~0ull } },
	{ .op = DMO_OP_ATTENTION, .arg = { 4, 8, 12, 16, 2, 3, ~0ull, 10 } },
	{ .op = DMO_OP_ATTENTION, .arg = { 4, 8, 12, 16, 2, 3, 3, 1ull << 63 } },
	{ .op = DMO_OP_ATTENTION, .arg = { 4, 8, 12, 17, 2, 3, 5, 10 } },
	{ .op = DMO_OP_ARGMAX, .arg = { 4, 0 } },
	{ .op = DMO_OP_ARGMAX, .arg = { 4, 1ull << 62 } },
	{ .op = DMO_OP_ARGMAX, .arg = { 4, 1ull << 63 } },
};

START_TEST(a_wrong_command_is_refused)
{
	struct dmo_cmd_range out[DMO_CMD_RANGES_MAX];

	ck_assert_int_eq(dmo_abi_check_command(&wrong[_i]), -EINVAL);
	ck_assert_int_eq(dmo_command_ranges(&wrong[_i], out, DMO_CMD_RANGES_MAX), -EINVAL);
}
END_TEST

START_TEST(the_ranges_of_a_chase_are_unknown)
{
	struct dmo_command c = { .op = DMO_OP_CHASE, .arg = { 8, ~0ull } };
	struct dmo_cmd_range out[DMO_CMD_RANGES_MAX];

	ck_assert_int_eq(dmo_abi_check_command(&c), 0);
	ck_assert_int_eq(dmo_command_ranges(&c, out, DMO_CMD_RANGES_MAX), -EOPNOTSUPP);
}
END_TEST

START_TEST(random_commands_never_name_a_range_that_wraps)
{
	struct dmo_cmd_range out[DMO_CMD_RANGES_MAX];
	u64 seed = 3, good = 0;

	for (int round = 0; round < 300000; round++) {
		struct dmo_command c = { .op = test_below(&seed, DMO_OP_COUNT), .flags = test_below(&seed, 2) };
		int n;

		for (unsigned i = 0; i < test_below(&seed, 9); i++)
			c.arg[i] = test_random(&seed) >> test_below(&seed, 64) & ~3ull;
		n = dmo_command_ranges(&c, out, DMO_CMD_RANGES_MAX);
		ck_assert_int_eq(n < 0 && n != -EOPNOTSUPP, dmo_abi_check_command(&c) != 0);
		for (int i = 0; i < n; i++, good++)
			if (!out[i].len || out[i].va + out[i].len < out[i].va || !(out[i].read || out[i].write))
				ck_abort();
	}
	ck_assert_uint_gt(good, 1000);
}
END_TEST

#define COUNT(a)	(int)(sizeof(a) / sizeof((a)[0]))

static TCase *requests(void)
{
	TCase *tc = tcase_create("requests");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, each_request_goes_to_its_side_only, 0, COUNT(numbers));
	tcase_add_loop_test(tc, another_size_or_direction_is_refused, 0, COUNT(numbers));
	tcase_add_test(tc, unknown_numbers_and_types_are_no_requests);
	tcase_add_loop_test(tc, a_buffer_shorter_than_the_request_is_refused, 0, COUNT(numbers));
	tcase_add_loop_test(tc, the_count_of_an_array_agrees_with_the_size, 0, COUNT(arrays));
	tcase_add_test(tc, every_reserved_byte_and_unknown_flag_is_refused);
	tcase_add_loop_test(tc, ranges_are_whole_pages_and_do_not_overflow, 0, COUNT(pages));
	tcase_add_loop_test(tc, query_and_fault_take_bytes, 0, COUNT(bytes));
	tcase_add_loop_test(tc, another_is_charged_by_a_flag_with_his_process, 0, COUNT(charges));
	tcase_add_loop_test(tc, device_numbers, 0, COUNT(devices));
	tcase_add_loop_test(tc, advice_takes_what_makes_sense, 0, DMO_ADV_COUNT);
	tcase_add_test(tc, unknown_advice_is_refused);
	tcase_add_test(tc, granularity_is_a_page_to_a_block);
	tcase_add_test(tc, devices_past_63_cannot_be_accessors);
	tcase_add_test(tc, without_devices_advice_that_needs_none_passes);
	tcase_add_test(tc, protections);
	tcase_add_loop_test(tc, map_operations, 0, COUNT(map_ops));
	tcase_add_loop_test(tc, unmap_operations, 0, COUNT(pages));
	return tc;
}

static TCase *commands(void)
{
	TCase *tc = tcase_create("commands");

	tcase_add_loop_test(tc, a_right_command_passes_and_names_its_ranges, 0, COUNT(right));
	tcase_add_test(tc, control_takes_creation_and_devices_alone);
	tcase_add_loop_test(tc, creation_takes_a_backing_fd_or_a_size, 0, COUNT(creations));
	tcase_add_loop_test(tc, unused_arguments_and_flags_are_refused, 0, COUNT(right));
	tcase_add_loop_test(tc, a_wrong_command_is_refused, 0, COUNT(wrong));
	tcase_add_test(tc, the_ranges_of_a_chase_are_unknown);
	tcase_add_test(tc, random_commands_never_name_a_range_that_wraps);
	return tc;
}

int main(void)
{
	Suite *s = suite_create("abi");

	suite_add_tcase(s, requests());
	suite_add_tcase(s, commands());
	return test_run(s);
}
