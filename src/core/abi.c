// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * abi.c - the decoder: a table of requests, a table of commands, and what each must fulfil
 *
 * Everything a stranger can write into a request passes here first. Each check reads one struct and returns 0
 * or -errno; abi.h lists which. Sums and products are formed only after it is known that they don't overflow.
 */
#include "core/abi.h"

#define PAGE_MASK	((u64)DMO_PAGE_SIZE - 1)
#define BYTES_MAX	0x7fffffffffffffffull
#define PROT_ALL	(DMO_PROT_READ | DMO_PROT_WRITE)

/* ---- what several requests have in common ----------------------------------------------------------- */

static bool passes_end(u64 at, u64 length)
{
	return at > BYTES_MAX || length > BYTES_MAX - at;
}

static int check_pages(u64 at, u64 length, bool zero_ok)
{
	if (passes_end(at, length))
		return -EOVERFLOW;
	if ((at | length) & PAGE_MASK || (!length && !zero_ok))
		return -EINVAL;
	return 0;
}

static int check_device(u32 device, u32 ndevices)
{
	return device < ndevices || device == DMO_DEVICE_HOST || device == DMO_DEVICE_ANY ? 0 : -ENODEV;
}

static bool prot_ok(u32 prot)
{
	return prot && !(prot & ~PROT_ALL);
}

static bool all_zero(const void *p, size_t bytes)
{
	const u8 *b = p;
	u8 any = 0;

	while (bytes--)
		any |= *b++;
	return !any;
}

/* ---- the requests ------------------------------------------------------------------------------------ */

static int check_nothing(const void *arg, u32 ndevices)
{
	return 0;
}

static int check_device_info(const void *arg, u32 ndevices)
{
	const struct dmo_device_info *r = arg;

	if (!all_zero(r->reserved, sizeof(r->reserved)))
		return -EINVAL;
	return r->device < ndevices ? 0 : -ENODEV;
}

static int check_advice_device(const struct dmo_advise *r)
{
	switch (r->advice) {
	case DMO_ADV_PREFERRED:
		return r->device == DMO_DEVICE_ANY ? -EINVAL : 0;
	case DMO_ADV_DONTNEED:
		return r->device == DMO_DEVICE_HOST ? -EINVAL : 0;
	case DMO_ADV_ACCESSED_BY:
	case DMO_ADV_NO_ACCESSED_BY:
		return r->device > 63 && r->device != DMO_DEVICE_ANY ? -EINVAL : 0;
	}
	return 0;
}

/* An advice that takes no device has a known one, none (ANY) or 0 there. */
static bool advice_takes_device(u32 advice)
{
	return advice == DMO_ADV_WILLNEED || advice == DMO_ADV_DONTNEED || advice == DMO_ADV_PREFERRED ||
	       advice == DMO_ADV_ACCESSED_BY || advice == DMO_ADV_NO_ACCESSED_BY;
}

static int check_advice_value(const struct dmo_advise *r)
{
	if (r->advice == DMO_ADV_DEVICE_BITS || !r->value)
		return 0;
	if (r->advice != DMO_ADV_GRANULARITY)
		return -EINVAL;
	return r->value >= DMO_PAGE_SHIFT && r->value <= DMO_BLOCK_SHIFT ? 0 : -EINVAL;
}

static int check_advise(const void *arg, u32 ndevices)
{
	const struct dmo_advise *r = arg;
	int err;

	if (r->flags || !all_zero(r->reserved, sizeof(r->reserved)))
		return -EINVAL;
	err = r->device || advice_takes_device(r->advice) ? check_device(r->device, ndevices) : 0;
	if (!err)
		err = check_pages(r->offset, r->length, true);
	if (!err && r->advice >= DMO_ADV_COUNT)
		err = -EINVAL;
	if (!err)
		err = check_advice_device(r);
	return err ? err : check_advice_value(r);
}

static int check_query(const void *arg, u32 ndevices)
{
	const struct dmo_query *r = arg;

	if (r->flags || r->reserved)
		return -EINVAL;
	if (passes_end(r->offset, r->length))
		return -EOVERFLOW;
	return r->offset & PAGE_MASK ? -EINVAL : 0;
}

static int check_migrate(const void *arg, u32 ndevices)
{
	const struct dmo_migrate *r = arg;
	int err;

	if (r->flags & ~DMO_MIGRATE_ASYNC || r->reserved0 || r->reserved)
		return -EINVAL;
	err = check_device(r->device, ndevices);
	return err ? err : check_pages(r->offset, r->length, true);
}

static int check_wait(const void *arg, u32 ndevices)
{
	const struct dmo_wait *r = arg;

	return r->flags || r->reserved ? -EINVAL : 0;
}

/* Who else is charged is named exactly where the flag says that it is. */
static bool charge_ok(u32 flags, u64 charge)
{
	if (flags & ~DMO_CHARGE_OTHER)
		return false;
	return flags ? (u32)charge : !charge;
}

static int check_pin(const void *arg, u32 ndevices)
{
	const struct dmo_pin *r = arg;
	int err;

	if (!charge_ok(r->flags, r->charge))
		return -EINVAL;
	err = check_device(r->device, ndevices);
	if (!err)
		err = check_pages(r->offset, r->length, false);
	if (!err && (r->device == DMO_DEVICE_HOST || r->device == DMO_DEVICE_ANY))
		err = -EINVAL;
	return err;
}

static int check_unpin(const void *arg, u32 ndevices)
{
	const struct dmo_pin *r = arg;

	return r->flags || r->charge ? -EINVAL : 0;
}

static int check_export(const void *arg, u32 ndevices)
{
	const struct dmo_export *r = arg;
	int err;

	if (!charge_ok(r->flags, r->charge) || r->reserved)
		return -EINVAL;
	err = check_device(r->device, ndevices);
	return err ? err : check_pages(r->offset, r->length, false);
}

static int check_map(const void *arg, u32 ndevices)
{
	const struct dmo_map *r = arg;

	return r->reserved ? -EINVAL : 0;
}

static int check_unmap(const void *arg, u32 ndevices)
{
	const struct dmo_unmap *r = arg;

	return r->reserved ? -EINVAL : 0;
}

static int check_mirror(const void *arg, u32 ndevices)
{
	const struct dmo_mirror *r = arg;
	int err;

	if (r->flags || r->reserved)
		return -EINVAL;
	err = check_pages(r->address, r->length, false);
	if (!err && !prot_ok(r->prot))
		err = -EINVAL;
	return err;
}

static int check_fault(const void *arg, u32 ndevices)
{
	const struct dmo_fault *r = arg;

	if (r->flags || r->reserved)
		return -EINVAL;
	if (passes_end(r->va, r->length))
		return -EOVERFLOW;
	return r->length && prot_ok(r->prot) ? 0 : -EINVAL;
}

static int check_lowat(const void *arg, u32 ndevices)
{
	const struct dmo_lowat *r = arg;

	if (r->flags || r->reserved)
		return -EINVAL;
	return r->count && r->count <= DMO_LOWAT_MAX ? 0 : -EINVAL;
}

static int check_object_create(const void *arg, u32 ndevices)
{
	const struct dmo_object_create *r = arg;
	bool fresh = r->backing == -1;

	if (r->flags & ~(DMO_CREATE_CLOEXEC | DMO_CREATE_READ) || r->reserved0 || r->reserved)
		return -EINVAL;
	if (r->backing < -1)
		return -EBADF;
	if (r->size > BYTES_MAX)
		return -EOVERFLOW;
	return fresh == !r->size ? -EINVAL : 0;
}

int dmo_abi_check_map_op(const struct dmo_map_op *op)
{
	bool fixed = op->flags & DMO_MAP_FIXED;

	if ((fixed && passes_end(op->va, op->length)) || passes_end(op->offset, op->length))
		return -EOVERFLOW;
	if (!op->length || (op->length | op->offset | (fixed ? op->va : 0)) & PAGE_MASK)
		return -EINVAL;
	if (op->flags & ~(DMO_MAP_FIXED | DMO_MAP_REPLACE) || (op->flags & DMO_MAP_REPLACE && !fixed))
		return -EINVAL;
	return prot_ok(op->prot) ? 0 : -EINVAL;
}

int dmo_abi_check_unmap_op(const struct dmo_unmap_op *op)
{
	return check_pages(op->va, op->length, false);
}

struct request {
	u8 sides;
	u8 dir;
	u16 header;
	u16 entry;		/* size of an array's entries; 0: no array */
	u16 most;		/* entries */
	int (*check)(const void *arg, u32 ndevices);
};

#define R	_IOC_READ
#define W	_IOC_WRITE
#define RW	(_IOC_READ | _IOC_WRITE)
#define O	DMO_ABI_OBJECT
#define C	DMO_ABI_CONTEXT
#define K	DMO_ABI_CONTROL
#define ALL	(DMO_ABI_OBJECT | DMO_ABI_CONTEXT | DMO_ABI_CONTROL)

static const struct request requests[] = {
	[1] = { O, R, sizeof(struct dmo_info), 0, 0, check_nothing },
	[2] = { ALL, RW, sizeof(struct dmo_device_info), 0, 0, check_device_info },
	[3] = { O, R, sizeof(struct dmo_key), 0, 0, check_nothing },
	[4] = { O, W, sizeof(struct dmo_advise), 0, 0, check_advise },
	[5] = { O, RW, sizeof(struct dmo_query), sizeof(struct dmo_extent), DMO_QUERY_MAX, check_query },
	[6] = { O, RW, sizeof(struct dmo_migrate), 0, 0, check_migrate },
	[7] = { O, RW, sizeof(struct dmo_wait), 0, 0, check_wait },
	[8] = { O, RW, sizeof(struct dmo_pin), 0, 0, check_pin },
	[9] = { O, W, sizeof(struct dmo_pin), 0, 0, check_unpin },
	[10] = { O, RW, sizeof(struct dmo_export), 0, 0, check_export },
	[16] = { C, RW, sizeof(struct dmo_map), sizeof(struct dmo_map_op), DMO_MAP_MAX, check_map },
	[17] = { C, RW, sizeof(struct dmo_unmap), sizeof(struct dmo_unmap_op), DMO_UNMAP_MAX, check_unmap },
	[18] = { C, W, sizeof(struct dmo_mirror), 0, 0, check_mirror },
	[19] = { C, W, sizeof(struct dmo_fault), 0, 0, check_fault },
	[20] = { C, W, sizeof(struct dmo_lowat), 0, 0, check_lowat },
	[32] = { K, RW, sizeof(struct dmo_object_create), 0, 0, check_object_create },
};

/* The count of a request with an array. */
static u32 count_of(u32 nr, const void *arg)
{
	if (nr == _IOC_NR(DMO_IOC_QUERY(0)))
		return ((const struct dmo_query *)arg)->count;
	if (nr == _IOC_NR(DMO_IOC_MAP(0)))
		return ((const struct dmo_map *)arg)->count;
	return ((const struct dmo_unmap *)arg)->count;
}

static bool size_ok(const struct request *q, u32 cmd, const void *arg, size_t size)
{
	u32 bytes = _IOC_SIZE(cmd), count;

	if (q->dir & _IOC_WRITE && size < bytes)
		return false;
	if (!q->entry)
		return bytes == q->header;
	if (bytes < q->header)
		return false;
	count = count_of(_IOC_NR(cmd), arg);
	return count && count <= q->most && bytes == q->header + count * q->entry;
}

int dmo_abi_check(u32 cmd, const void *arg, size_t size, enum dmo_abi_side side, u32 ndevices)
{
	const struct request *q;

	if (_IOC_TYPE(cmd) != DMO_IOC_MAGIC || _IOC_NR(cmd) >= sizeof(requests) / sizeof(requests[0]))
		return -ENOTTY;
	q = &requests[_IOC_NR(cmd)];
	if (!(q->sides & side))
		return -ENOTTY;
	if (_IOC_DIR(cmd) != q->dir || !size_ok(q, cmd, arg, size))
		return -EINVAL;
	return q->check(arg, ndevices);
}

/* ---- commands ----------------------------------------------------------------------------------------- */

#define READS	1u
#define WRITES	2u

struct ranges {
	struct dmo_cmd_range *out;
	int count;
	bool bad;
};

/* The command touches n elements of size bytes at va. */
static void touch(struct ranges *t, u64 va, u64 n, u64 size, u64 align, u32 how)
{
	struct dmo_cmd_range *r = &t->out[t->count];
	u64 bytes, end;

	if (va & (align - 1) || __builtin_mul_overflow(n, size, &bytes) ||
	    __builtin_add_overflow(va, bytes, &end)) {
		t->bad = true;
		return;
	}
	if (!bytes)
		return;
	r->va = va;
	r->len = bytes;
	r->read = how & READS;
	r->write = how & WRITES;
	t->count++;
}

static void touch_bytes(struct ranges *t, u64 va, u64 bytes, u32 how)
{
	touch(t, va, bytes, 1, 1, how);
}

static void touch_floats(struct ranges *t, u64 va, u64 n, u32 how)
{
	touch(t, va, n, 4, 4, how);
}

static void need(struct ranges *t, bool ok)
{
	if (!ok)
		t->bad = true;
}

static bool is_float(u64 arg)
{
	return arg <= 0xffffffffu;
}

static void no_access(const struct dmo_command *c, struct ranges *t)
{
}

static void fill(const struct dmo_command *c, struct ranges *t)
{
	need(t, c->arg[2] <= 255);
	touch_bytes(t, c->arg[0], c->arg[1], WRITES);
}

static void copy(const struct dmo_command *c, struct ranges *t)
{
	u64 dst = c->arg[0], src = c->arg[1], bytes = c->arg[2];

	need(t, !bytes || (dst < src ? src - dst : dst - src) >= bytes);
	touch_bytes(t, dst, bytes, WRITES);
	touch_bytes(t, src, bytes, READS);
}

static void cksum(const struct dmo_command *c, struct ranges *t)
{
	need(t, c->arg[2] <= 0xffffffffu && c->arg[4] <= 1);
	touch_bytes(t, c->arg[0], c->arg[1], READS);
}

static void compare(const struct dmo_command *c, struct ranges *t)
{
	touch_bytes(t, c->arg[0], c->arg[2], READS);
	touch_bytes(t, c->arg[1], c->arg[2], READS);
}

static void chase(const struct dmo_command *c, struct ranges *t)
{
	touch(t, c->arg[0], 1, 8, 8, READS);
}

static void add_atomically(const struct dmo_command *c, struct ranges *t)
{
	touch(t, c->arg[0], 1, 8, 8, READS | WRITES);
}

static void axpy(const struct dmo_command *c, struct ranges *t)
{
	need(t, is_float(c->arg[3]));
	touch_floats(t, c->arg[0], c->arg[2], READS | WRITES);
	touch_floats(t, c->arg[1], c->arg[2], READS);
}

static void gemv(const struct dmo_command *c, struct ranges *t)
{
	u64 rows = c->arg[4], cols = c->arg[5], cells = 0;
	bool across = c->flags & DMO_CMD_TRANSPOSE;
	u64 in = across ? rows : cols, out = across ? cols : rows;

	need(t, rows && cols && !__builtin_mul_overflow(rows, cols, &cells));
	touch_floats(t, c->arg[0], out, c->flags & DMO_CMD_ACCUMULATE ? READS | WRITES : WRITES);
	touch_floats(t, c->arg[1], cells, READS);
	touch_floats(t, c->arg[2], in, READS);
	if (c->arg[3])
		touch_floats(t, c->arg[3], out, READS);
}

static void gather(const struct dmo_command *c, struct ranges *t)
{
	u64 n = c->arg[3], row = c->arg[4], rows = c->arg[5];

	touch(t, c->arg[0], n, row, 1, WRITES);
	touch(t, c->arg[1], rows, row, 1, READS);
	touch(t, c->arg[2], n, 4, 4, READS);
}

static void layernorm(const struct dmo_command *c, struct ranges *t)
{
	u64 n = c->arg[4];

	need(t, n && is_float(c->arg[5]));
	touch_floats(t, c->arg[0], n, WRITES);
	for (unsigned i = 1; i < 4; i++)
		touch_floats(t, c->arg[i], n, READS);
}

static void gelu(const struct dmo_command *c, struct ranges *t)
{
	touch_floats(t, c->arg[0], c->arg[2], WRITES);
	touch_floats(t, c->arg[1], c->arg[2], READS);
}

static void attention(const struct dmo_command *c, struct ranges *t)
{
	u64 positions = c->arg[6], stride = c->arg[7], width = 0, before = 0, cache = 0;

	need(t, c->arg[4] && c->arg[5] && positions);
	need(t, !__builtin_mul_overflow(c->arg[4], c->arg[5], &width) && stride >= width);
	need(t, !__builtin_mul_overflow(positions - 1, stride, &before));
	need(t, !__builtin_add_overflow(before, width, &cache));
	touch_floats(t, c->arg[0], width, WRITES);
	touch_floats(t, c->arg[1], width, READS);
	touch_floats(t, c->arg[2], cache, READS);
	touch_floats(t, c->arg[3], cache, READS);
}

static void argmax(const struct dmo_command *c, struct ranges *t)
{
	need(t, c->arg[1]);
	touch_floats(t, c->arg[0], c->arg[1], READS);
}

static const struct {
	u32 args;		/* used: 0 to args - 1 */
	u32 flags;
	void (*touches)(const struct dmo_command *c, struct ranges *t);
} commands[DMO_OP_COUNT] = {
	[DMO_OP_NOP] = { 0, 0, no_access },
	[DMO_OP_FILL] = { 3, 0, fill },
	[DMO_OP_COPY] = { 3, 0, copy },
	[DMO_OP_CKSUM] = { 5, 0, cksum },
	[DMO_OP_COMPARE] = { 3, 0, compare },
	[DMO_OP_CHASE] = { 2, 0, chase },
	[DMO_OP_ATOMIC_ADD] = { 2, 0, add_atomically },
	[DMO_OP_AXPY] = { 4, 0, axpy },
	[DMO_OP_GEMV] = { 6, DMO_CMD_TRANSPOSE | DMO_CMD_ACCUMULATE, gemv },
	[DMO_OP_GATHER] = { 6, 0, gather },
	[DMO_OP_LAYERNORM] = { 6, 0, layernorm },
	[DMO_OP_GELU] = { 3, 0, gelu },
	[DMO_OP_ATTENTION] = { 8, 0, attention },
	[DMO_OP_ARGMAX] = { 2, 0, argmax },
};

/*
 * Checks c and collects its ranges, of which out has room for DMO_CMD_RANGES_MAX. Their number, or -EINVAL.
 */
static int collect(const struct dmo_command *c, struct dmo_cmd_range *out)
{
	struct ranges t = { out, 0, false };
	u32 args;

	if (c->op >= DMO_OP_COUNT || c->flags & ~commands[c->op].flags)
		return -EINVAL;
	args = commands[c->op].args;
	if (!all_zero(c->arg + args, sizeof(c->arg) - args * sizeof(c->arg[0])))
		return -EINVAL;
	commands[c->op].touches(c, &t);
	return t.bad ? -EINVAL : t.count;
}

int dmo_abi_check_command(const struct dmo_command *c)
{
	struct dmo_cmd_range ranges[DMO_CMD_RANGES_MAX];
	int n = collect(c, ranges);

	return n < 0 ? n : 0;
}

int dmo_command_ranges(const struct dmo_command *c, struct dmo_cmd_range *out, int max)
{
	struct dmo_cmd_range ranges[DMO_CMD_RANGES_MAX];
	int n = collect(c, ranges);

	if (n < 0)
		return n;
	if (c->op == DMO_OP_CHASE)
		return -EOPNOTSUPP;
	if (n > max)
		return -EINVAL;
	for (int i = 0; i < n; i++)
		out[i] = ranges[i];
	return n;
}
