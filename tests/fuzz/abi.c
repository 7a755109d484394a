/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abi.c - feeds damaged requests and commands to the ABI's decoder
 *
 * Whatever is accepted must lie within the bounds that src/core/abi.h names, which are written down here a
 * second time and in other words; whatever is refused must be refused with an error that is named there. The decoder
 * changes nothing, and a request that it takes it no longer takes with a reserved field set.
 *
 * An input: u32 form (low 2 bits: request, map operation, unmap operation, command; next: side, how many
 * devices), u32 command word of the ioctl, then the bytes of the argument.
 */
#include "fuzz.h"

#include "core/abi.h"

#include <errno.h>
#include <stdbool.h>

#define HEAD 8

enum form { REQUEST, MAP_OP, UNMAP_OP, COMMAND };

static bool in_file(uint64_t at, uint64_t length)
{
	return (unsigned __int128)at + length <= INT64_MAX;
}

static bool pages(uint64_t at, uint64_t length)
{
	return in_file(at, length) && at % DMO_PAGE_SIZE == 0 && length % DMO_PAGE_SIZE == 0;
}

static bool is_prot(uint32_t prot)
{
	return prot >= 1 && prot <= 3;
}

static bool is_device(uint32_t device, uint32_t ndevices, bool host, bool any)
{
	return device < ndevices || (host && device == DMO_DEVICE_HOST) || (any && device == DMO_DEVICE_ANY);
}

/* ---- what each request was promised to be ---------------------------------------- */

static bool fine_advise(const struct dmo_advise *r, uint32_t ndevices)
{
	bool value = r->advice == DMO_ADV_DEVICE_BITS || r->value == 0;

	if (!pages(r->offset, r->length) || r->flags || r->advice > DMO_ADV_DEVICE_BITS)
		return false;
	if (r->advice == DMO_ADV_GRANULARITY)
		value = r->value == 0 || (r->value >= 12 && r->value <= 21);
	switch (r->advice) {
	case DMO_ADV_PREFERRED:
		return value && is_device(r->device, ndevices, true, false);
	case DMO_ADV_DONTNEED:
		return value && is_device(r->device, ndevices, false, true);
	case DMO_ADV_ACCESSED_BY:
	case DMO_ADV_NO_ACCESSED_BY:
		return value && is_device(r->device, ndevices < 64 ? ndevices : 64, false, true);
	default:
		return value && (!r->device || is_device(r->device, ndevices, true, true));
	}
}

static bool fine_query(const struct dmo_query *r, size_t size)
{
	return !r->flags && !(r->offset % DMO_PAGE_SIZE) && in_file(r->offset, r->length) && r->count >= 1 &&
	       r->count <= DMO_QUERY_MAX && sizeof(*r) + r->count * sizeof(r->extents[0]) <= size;
}

static bool fine_fault(const struct dmo_fault *r)
{
	return in_file(r->va, r->length) && r->length && is_prot(r->prot) && !r->flags;
}

static bool fine_lowat(const struct dmo_lowat *r)
{
	return r->count && r->count <= DMO_LOWAT_MAX && !r->flags;
}

static bool fine_charge(uint32_t flags, uint64_t charge)
{
	return flags == DMO_CHARGE_OTHER ? (uint32_t)charge : !flags && !charge;
}

static bool fine(uint32_t nr, const void *arg, size_t size, uint32_t ndevices)
{
	const struct dmo_migrate *migrate = arg;
	const struct dmo_export *export = arg;
	const struct dmo_mirror *mirror = arg;
	const struct dmo_unmap *unmap = arg;
	const struct dmo_map *map = arg;
	const struct dmo_pin *pin = arg;

	switch (nr) {
	case 2: return ((const struct dmo_device_info *)arg)->device < ndevices;
	case 4: return fine_advise(arg, ndevices);
	case 5: return fine_query(arg, size);
	case 6: return pages(migrate->offset, migrate->length) && migrate->flags <= 1 &&
		       is_device(migrate->device, ndevices, true, true);
	case 7: return !((const struct dmo_wait *)arg)->flags;
	case 8: return pages(pin->offset, pin->length) && pin->length && fine_charge(pin->flags, pin->charge) &&
		       pin->device < ndevices;
	case 9: return !pin->flags && !pin->charge;
	case 10: return pages(export->offset, export->length) && export->length && fine_charge(export->flags, export->charge) &&
			is_device(export->device, ndevices, true, true);
	case 16: return map->count && sizeof(*map) + map->count * sizeof(map->ops[0]) <= size;
	case 17: return unmap->count && sizeof(*unmap) + unmap->count * sizeof(unmap->ops[0]) <= size;
	case 18: return pages(mirror->address, mirror->length) && mirror->length && !mirror->flags &&
			is_prot(mirror->prot);
	case 19: return fine_fault(arg);
	case 20: return fine_lowat(arg);
	default: return nr == 1 || nr == 3;
	}
}

/* Where each request's reserved bytes begin, and how many there are. */
static const struct {
	uint16_t at, bytes;
} reserved[21] = {
#define RESERVED(nr, type, field) [nr] = { offsetof(struct type, field), sizeof(((struct type *)0)->field) }
	RESERVED(2, dmo_device_info, reserved), RESERVED(4, dmo_advise, reserved),
	RESERVED(5, dmo_query, reserved), RESERVED(6, dmo_migrate, reserved), RESERVED(7, dmo_wait, reserved),
	RESERVED(10, dmo_export, reserved),
	RESERVED(16, dmo_map, reserved), RESERVED(17, dmo_unmap, reserved), RESERVED(18, dmo_mirror, reserved),
	RESERVED(19, dmo_fault, reserved), RESERVED(20, dmo_lowat, reserved),
};

static bool documented(int err)
{
	return err == 0 || err == -ENOTTY || err == -EINVAL || err == -ENODEV || err == -EOVERFLOW;
}

static void check_request(uint32_t form, uint32_t cmd, uint8_t *arg, size_t size)
{
	enum dmo_abi_side side = form & 4 ? DMO_ABI_CONTEXT : DMO_ABI_OBJECT;
	uint32_t ndevices = (form >> 3) % 70, nr = _IOC_NR(cmd);
	int err = dmo_abi_check(cmd, arg, size, side, ndevices);

	require(documented(err), "a request is refused with a documented error");
	if (err)
		return;
	require(_IOC_TYPE(cmd) == DMO_IOC_MAGIC && nr <= 20, "type and number of an accepted request are known");
	require((nr >= 16) == (side == DMO_ABI_CONTEXT) || nr == 2, "an accepted request is its side's");
	require(!(_IOC_DIR(cmd) & _IOC_WRITE) || _IOC_SIZE(cmd) <= size, "the argument is there in whole");
	require(fine(nr, arg, size, ndevices), "an accepted request is within its bounds");
	for (unsigned i = 0; i < reserved[nr].bytes; i++) {
		uint8_t *byte = arg + reserved[nr].at + i;

		require(!*byte, "reserved bytes of an accepted request are 0");
		*byte = 0x80 >> i % 8;
		require(dmo_abi_check(cmd, arg, size, side, ndevices) == -EINVAL, "a reserved byte is looked at");
		*byte = 0;
	}
}

/* ---- operations and commands ---------------------------------------- */

static void check_map_op(const struct dmo_map_op *op)
{
	int err = dmo_abi_check_map_op(op);

	require(err == 0 || err == -EINVAL || err == -EOVERFLOW, "a map operation's error is documented");
	if (err)
		return;
	require(pages(op->offset, op->length) && op->length && is_prot(op->prot), "a map operation is of pages");
	require(!(op->flags & DMO_MAP_FIXED) || pages(op->va, op->length), "fixed addresses are of pages");
	require(op->flags != DMO_MAP_REPLACE && op->flags <= 3, "a map operation's flags are known");
}

static void check_unmap_op(const struct dmo_unmap_op *op)
{
	int err = dmo_abi_check_unmap_op(op);
	bool good = pages(op->va, op->length) && op->length;

	require(err == 0 || err == -EINVAL || err == -EOVERFLOW, "an unmap operation's error is documented");
	require(good == !err, "just the good unmap operations are accepted");
}

/* How many arguments each command has. */
static const uint8_t args[DMO_OP_COUNT] = { 0, 3, 3, 5, 3, 2, 2, 4, 6, 6, 6, 3, 8, 2 };

static void check_ranges(const struct dmo_command *c, const struct dmo_cmd_range *r, int n)
{
	for (int i = 0; i < n; i++) {
		bool named = false;

		require(r[i].len && r[i].va <= ~r[i].len + 1, "a command's range ends within all addresses");
		require(r[i].read || r[i].write, "a command does something with its range");
		for (unsigned a = 0; a < args[c->op]; a++)
			named |= c->arg[a] == r[i].va;
		require(named, "a command touches no address but its arguments");
	}
}

static void check_command(const struct dmo_command *c)
{
	struct dmo_cmd_range r[DMO_CMD_RANGES_MAX];
	int err = dmo_abi_check_command(c), n = dmo_command_ranges(c, r, DMO_CMD_RANGES_MAX);

	require(err == 0 || err == -EINVAL, "a command's error is documented");
	require(err ? n == err : c->op == DMO_OP_CHASE ? n == -EOPNOTSUPP : n >= 0, "check and ranges agree");
	if (err)
		return;
	require(c->op < DMO_OP_COUNT && (!c->flags || (c->op == DMO_OP_GEMV && c->flags <= 3)),
		"a command is known");
	for (unsigned a = args[c->op]; a < 14; a++)
		require(!c->arg[a], "unused arguments are 0");
	if (n > 0) {
		check_ranges(c, r, n);
		require(dmo_command_ranges(c, r, n - 1) == -EINVAL, "too little room for the ranges is refused");
	}
	if (c->op == DMO_OP_COPY && c->arg[2])
		require(c->arg[0] + c->arg[2] - 1 < c->arg[1] || c->arg[1] + c->arg[2] - 1 < c->arg[0],
			"a copy's ranges are apart");
}

static size_t need_bytes(enum form form)
{
	return form == MAP_OP ? sizeof(struct dmo_map_op) : form == UNMAP_OP ? sizeof(struct dmo_unmap_op) :
	       form == COMMAND ? sizeof(struct dmo_command) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t form, cmd;
	uint8_t *arg;

	if (size < HEAD || size - HEAD < need_bytes(data[0] & 3))
		return 0;
	memcpy(&form, data, 4);
	memcpy(&cmd, data + 4, 4);
	arg = malloc(size - HEAD ? size - HEAD : 1);	/* aligned, as homes do it */
	require(arg != NULL, "there is memory");
	memcpy(arg, data + HEAD, size - HEAD);
	switch (form & 3) {
	case REQUEST: check_request(form, cmd, arg, size - HEAD); break;
	case MAP_OP: check_map_op((void *)arg); break;
	case UNMAP_OP: check_unmap_op((void *)arg); break;
	case COMMAND: check_command((void *)arg); break;
	}
	require(!memcmp(arg, data + HEAD, size - HEAD), "the decoder changes nothing");
	free(arg);
	return 0;
}

#ifndef LIBFUZZER

static void put32(struct buffer *b, uint32_t v)
{
	splice(b, b->length, 0, &v, sizeof(v));
}

static void put64(struct buffer *b, uint64_t v)
{
	splice(b, b->length, 0, &v, sizeof(v));
}

/* Numbers near the edges of what is allowed. */
static uint64_t edge(void)
{
	static const uint64_t edges[] = {
		0, 1, 2, 12, 21, 63, 64, 4095, 4096, 8192, 1 << 21, UINT32_MAX - 1, UINT32_MAX, 1ull << 32,
		1ull << 62, INT64_MAX - 4095, INT64_MAX, 1ull << 63, UINT64_MAX - 4095, UINT64_MAX,
	};

	if (random_below(3))
		return random_below(4) * DMO_PAGE_SIZE;
	return edges[random_below(sizeof(edges) / sizeof(edges[0]))];
}

static uint32_t cmd_of(uint32_t nr, uint32_t n)
{
	static const uint32_t fixed[21] = {
		[1] = DMO_IOC_INFO, [2] = DMO_IOC_DEVICE, [3] = DMO_IOC_KEY, [4] = DMO_IOC_ADVISE,
		[6] = DMO_IOC_MIGRATE, [7] = DMO_IOC_WAIT, [8] = DMO_IOC_PIN, [9] = DMO_IOC_UNPIN,
		[10] = DMO_IOC_EXPORT, [18] = DMO_IOC_MIRROR, [19] = DMO_IOC_FAULT,
		[20] = DMO_IOC_LOWAT,
	};

	return nr == 5 ? DMO_IOC_QUERY(n) : nr == 16 ? DMO_IOC_MAP(n) : nr == 17 ? DMO_IOC_UNMAP(n) : fixed[nr];
}

/* Two numbers first (a range in most), then small ones, and zeros where reserved fields may be. */
static void make_request(struct buffer *b)
{
	uint32_t nr = 1 + random_below(20), n = random_below(4), cmd = cmd_of(nr, n), context = nr >= 16 ? 4 : 0;
	bool array = nr == 5 || nr == 16 || nr == 17;

	put32(b, context | (1 + random_below(66)) << 3);
	put32(b, cmd);
	if (nr == 16 || nr == 17) {
		put32(b, n);
		put32(b, 0);
	} else if (nr != 2) {
		put64(b, edge());
		put64(b, edge());
	}
	put32(b, nr == 5 ? n : random_below(4) ? random_below(4) : random_below(17));
	put32(b, random_below(4) ? 0 : edge());
	if (!array)
		put64(b, random_below(3) ? 0 : edge());
	while (b->length < HEAD + _IOC_SIZE(cmd))
		splice(b, b->length, 0, "", 1);
	b->length = HEAD + _IOC_SIZE(cmd);
}

static void make_op(struct buffer *b, enum form form)
{
	put32(b, form);
	put32(b, 0);
	put64(b, edge());
	put64(b, edge());
	if (form == UNMAP_OP)
		return;
	put64(b, random_number());
	put64(b, edge());
	put32(b, random_below(5));
	put32(b, random_below(5));
	put64(b, random_number());
}

static void make_command(struct buffer *b)
{
	uint32_t op = random_below(DMO_OP_COUNT);

	put32(b, COMMAND);
	put32(b, 0);
	put64(b, random_number());
	put32(b, op);
	put32(b, op == DMO_OP_GEMV ? random_below(4) : 0);
	for (unsigned i = 0; i < 14; i++)
		put64(b, i >= args[op] ? 0 : random_below(8) ? random_below(64) * 4 << random_below(2) * 12 : edge());
}

static void make_input(struct buffer *b)
{
	switch (random_below(4)) {
	case REQUEST: make_request(b); break;
	case MAP_OP: make_op(b, MAP_OP); break;
	case UNMAP_OP: make_op(b, UNMAP_OP); break;
	case COMMAND: make_command(b); break;
	}
}

int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, "requests and commands", make_input, &(struct words){ 0 });
}

#endif
