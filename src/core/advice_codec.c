// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * advice_codec.c - advice to bytes and back
 *
 *	u32	magic "DMOA"
 *	u16	version, 1
 *	u16	devices in the table
 *	u32	ranges
 *	u32	CRC-32 of the whole with this field 0
 *	devices: u8 length (1 to 31), then the name without NUL; no name twice
 *	ranges, in order of pages:
 *		number	pages between the end of the range before (or page 0) and this one
 *		number	length in pages; 0: open-ended, the last range
 *		u8	which fields follow (FIELD_*), not 0
 *		u8	flags, with FIELD_FLAGS; not 0
 *		u8	preferred: place in the device table, or 255 for the host
 *		number	accessed by: a bit for each place in the table, not 0
 *		u8	granularity, not 0
 *		number	device bits, not 0
 *
 * A number is 7 bits a byte, lowest first, the top bit set in all bytes but the last; no more bytes than it
 * takes. Each content has one form only, but for the order of devices.
 */
#include "core/advice_codec.h"

#define MAGIC		0x414f4d44u
#define VERSION		1u
#define HEADER		16u
#define CRC_AT		12u
#define DEVICES_MAX	64u
#define PREFERRED_HOST	255u

#define FIELD_FLAGS		0x01u
#define FIELD_PREFERRED		0x02u
#define FIELD_ACCESSED		0x04u
#define FIELD_ACCESSED_ALL	0x08u	/* without FIELD_ACCESSED */
#define FIELD_GRANULARITY	0x10u
#define FIELD_BITS		0x20u
#define FIELD_KNOWN		0x3fu

/* DMO_ATTR_PREFERRED is stored as FIELD_PREFERRED. */
#define STORED_FLAGS	(DMO_ATTR_ALL & ~DMO_ATTR_PREFERRED)

/* The CRC of IEEE 802.3, four bits at a time; the four bytes at CRC_AT count as 0. */
static u32 checksum(const u8 *buf, size_t size)
{
	static const u32 table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	u32 crc = ~0u;

	for (size_t i = 0; i < size; i++) {
		crc ^= i >= CRC_AT && i < CRC_AT + 4 ? 0 : buf[i];
		crc = table[crc & 15] ^ (crc >> 4);
		crc = table[crc & 15] ^ (crc >> 4);
	}
	return ~crc;
}

/* ---- writing ---------------------------------------------------------------------------------------- */

struct writer {
	u8 *buf;
	size_t size;
	size_t at;		/* may pass size: then nothing is written any more, only counted */
};

static void put_u8(struct writer *w, u8 v)
{
	if (w->at < w->size)
		w->buf[w->at] = v;
	w->at++;
}

static void put_fixed(struct writer *w, u32 v, unsigned bytes)
{
	for (; bytes--; v >>= 8)
		put_u8(w, (u8)v);
}

static void put_number(struct writer *w, u64 v)
{
	for (; v >= 128; v >>= 7)
		put_u8(w, (u8)(v | 128));
	put_u8(w, (u8)v);
}

/* The devices that the attributes speak of: the place of each in the table, or -1. */
struct table {
	s32 place[DEVICES_MAX];
	u32 count;
};

static void table_add(struct table *t, const struct dmo_device_names *names, struct writer *w, u32 device)
{
	const char *name;
	size_t length = 0;

	if (device >= DEVICES_MAX || t->place[device] >= 0)
		return;
	name = names->name(names->ctx, device);
	while (name && name[length])
		length++;
	if (!length || length >= DMO_NAME_MAX)
		return;
	t->place[device] = (s32)t->count++;
	put_u8(w, (u8)length);
	for (size_t i = 0; i < length; i++)
		put_u8(w, (u8)name[i]);
}

static void put_table(struct table *t, const struct dmo_attrs *a, const struct dmo_device_names *names,
		      struct writer *w)
{
	t->count = 0;
	for (u32 d = 0; d < DEVICES_MAX; d++)
		t->place[d] = -1;
	for (struct dmo_attr_range *r = dmo_attrs_first(a); r; r = dmo_attrs_next(r)) {
		if (r->value.flags & DMO_ATTR_PREFERRED)
			table_add(t, names, w, r->value.preferred);
		for (u32 d = 0; r->value.accessed_by != DMO_ACCESSED_BY_ALL && d < DEVICES_MAX; d++)
			if (r->value.accessed_by >> d & 1)
				table_add(t, names, w, d);
	}
}

static s32 preferred_place(const struct table *t, const struct dmo_attr *v)
{
	if (!(v->flags & DMO_ATTR_PREFERRED))
		return -1;
	if (v->preferred == DMO_DEVICE_HOST)
		return PREFERRED_HOST;
	return v->preferred < DEVICES_MAX ? t->place[v->preferred] : -1;
}

static u64 accessed_places(const struct table *t, const struct dmo_attr *v)
{
	u64 places = 0;

	if (v->accessed_by == DMO_ACCESSED_BY_ALL)
		return 0;
	for (u32 d = 0; d < DEVICES_MAX; d++)
		if (v->accessed_by >> d & 1 && t->place[d] >= 0)
			places |= 1ull << t->place[d];
	return places;
}

/* The form of a value, its fields first; false, and nothing written, where nothing of it can be stored. */
static u32 value_fields(const struct table *t, const struct dmo_attr *v)
{
	return (v->flags & STORED_FLAGS ? FIELD_FLAGS : 0) |
	       (preferred_place(t, v) >= 0 ? FIELD_PREFERRED : 0) |
	       (accessed_places(t, v) ? FIELD_ACCESSED : 0) |
	       (v->accessed_by == DMO_ACCESSED_BY_ALL ? FIELD_ACCESSED_ALL : 0) |
	       (v->granularity ? FIELD_GRANULARITY : 0) |
	       (v->device_bits ? FIELD_BITS : 0);
}

static void put_value(struct writer *w, const struct table *t, const struct dmo_attr *v, u32 fields)
{
	put_u8(w, (u8)fields);
	if (fields & FIELD_FLAGS)
		put_u8(w, (u8)(v->flags & STORED_FLAGS));
	if (fields & FIELD_PREFERRED)
		put_u8(w, (u8)preferred_place(t, v));
	if (fields & FIELD_ACCESSED)
		put_number(w, accessed_places(t, v));
	if (fields & FIELD_GRANULARITY)
		put_u8(w, v->granularity);
	if (fields & FIELD_BITS)
		put_number(w, v->device_bits);
}

static u32 put_ranges(struct writer *w, const struct table *t, const struct dmo_attrs *a)
{
	u64 at = 0;
	u32 count = 0;

	for (struct dmo_attr_range *r = dmo_attrs_first(a); r; r = dmo_attrs_next(r)) {
		u32 fields = value_fields(t, &r->value);
		u64 last = r->node.last;

		if (!fields)
			continue;
		put_number(w, r->node.start - at);
		put_number(w, last == DMO_PAGE_OPEN ? 0 : last - r->node.start + 1);
		put_value(w, t, &r->value, fields);
		at = last + 1;
		count++;
	}
	return count;
}

s64 dmo_advice_encode(const struct dmo_attrs *a, const struct dmo_device_names *names, void *buf, size_t size)
{
	struct writer body = { buf, size < DMO_ADVICE_BYTES_MAX ? size : DMO_ADVICE_BYTES_MAX, HEADER };
	struct writer head = { buf, body.size, 0 };
	struct table t;
	u32 ranges;

	put_table(&t, a, names, &body);
	ranges = put_ranges(&body, &t, a);
	if (!ranges)
		return 0;
	if (body.at > body.size)
		return -E2BIG;
	put_fixed(&head, MAGIC, 4);
	put_fixed(&head, VERSION, 2);
	put_fixed(&head, t.count, 2);
	put_fixed(&head, ranges, 4);
	put_fixed(&head, checksum(buf, body.at), 4);
	return (s64)body.at;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

struct reader {
	const u8 *buf;
	size_t size;
	size_t at;
	bool bad;		/* something was wrong or missing: all that is read from then on is 0 */
};

static u8 get_u8(struct reader *r)
{
	if (r->at >= r->size)
		r->bad = true;
	return r->bad ? 0 : r->buf[r->at++];
}

static u32 get_fixed(struct reader *r, unsigned bytes)
{
	u32 v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (u32)get_u8(r) << (8 * i);
	return v;
}

static u64 get_number(struct reader *r)
{
	u64 v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		u8 b = get_u8(r);

		v |= (u64)(b & 127) << shift;
		if (b & 128)
			continue;
		if ((shift && !b) || (shift == 63 && b > 1))
			r->bad = true;
		return v;
	}
	r->bad = true;
	return 0;
}

/*
 * The number of each device of the table, or -1; its name is copied out, for the NUL that the form leaves
 * away.
 */
struct known {
	s32 number[DEVICES_MAX];
	u32 count;
};

static void get_name(struct reader *r, char name[DMO_NAME_MAX])
{
	u8 length = get_u8(r);

	if (!length || length >= DMO_NAME_MAX)
		r->bad = true;
	for (u8 i = 0; i < length && !r->bad; i++) {
		name[i] = (char)get_u8(r);
		if (!name[i])
			r->bad = true;
	}
	name[r->bad ? 0 : length] = 0;
}

static void get_table(struct reader *r, struct known *k, const struct dmo_device_names *names, u32 count)
{
	char name[DMO_NAME_MAX];
	u64 seen = 0;

	if (count > DEVICES_MAX)
		r->bad = true;
	for (k->count = 0; k->count < count && !r->bad; k->count++) {
		int number;

		get_name(r, name);
		number = r->bad ? -1 : names->number(names->ctx, name);
		if (number >= (int)DEVICES_MAX)
			number = -1;
		if (number >= 0 && seen >> number & 1)
			r->bad = true;
		if (number >= 0)
			seen |= 1ull << number;
		k->number[k->count] = number;
	}
}

static void get_preferred(struct reader *r, const struct known *k, struct dmo_attr *v)
{
	u8 place = get_u8(r);

	if (place != PREFERRED_HOST && place >= k->count)
		r->bad = true;
	if (r->bad || (place != PREFERRED_HOST && k->number[place] < 0))
		return;
	v->preferred = place == PREFERRED_HOST ? DMO_DEVICE_HOST : (u32)k->number[place];
	v->flags |= DMO_ATTR_PREFERRED;
}

static void get_accessed(struct reader *r, const struct known *k, struct dmo_attr *v)
{
	u64 places = get_number(r);

	if (!places || (k->count < DEVICES_MAX && places >> k->count))
		r->bad = true;
	for (u32 i = 0; i < k->count && !r->bad; i++)
		if (places >> i & 1 && k->number[i] >= 0)
			v->accessed_by |= 1ull << k->number[i];
}

static void get_value(struct reader *r, const struct known *k, struct dmo_attr *v)
{
	u8 fields = get_u8(r);

	*v = (struct dmo_attr)DMO_ATTR_NONE;
	if (!fields || fields & ~FIELD_KNOWN || (fields & FIELD_ACCESSED && fields & FIELD_ACCESSED_ALL))
		r->bad = true;
	if (fields & FIELD_FLAGS) {
		v->flags = get_u8(r);
		if (!v->flags || v->flags & ~STORED_FLAGS ||
		    (v->flags & DMO_ATTR_SEQUENTIAL && v->flags & DMO_ATTR_RANDOM))
			r->bad = true;
	}
	if (fields & FIELD_PREFERRED)
		get_preferred(r, k, v);
	if (fields & FIELD_ACCESSED)
		get_accessed(r, k, v);
	if (fields & FIELD_ACCESSED_ALL)
		v->accessed_by = DMO_ACCESSED_BY_ALL;
	if (fields & FIELD_GRANULARITY) {
		v->granularity = get_u8(r);
		if (v->granularity < DMO_PAGE_SHIFT || v->granularity > DMO_BLOCK_SHIFT)
			r->bad = true;
	}
	if (fields & FIELD_BITS) {
		v->device_bits = get_number(r);
		if (!v->device_bits)
			r->bad = true;
	}
}

/* One range, which begins at or after *at; *at becomes the page after it. */
static int get_range(struct reader *r, const struct known *k, struct dmo_attrs *a, const struct dmo_mem *mem,
		     u64 *at)
{
	u64 gap = get_number(r), length = get_number(r), first, last;
	struct dmo_attr v;

	get_value(r, k, &v);
	if (r->bad || *at > DMO_PAGE_MAX || gap > DMO_PAGE_MAX - *at)
		return -EINVAL;
	first = *at + gap;
	if (length > DMO_PAGE_MAX - first + 1)
		return -EINVAL;
	last = length ? first + length - 1 : DMO_PAGE_OPEN;
	*at = length ? last + 1 : DMO_PAGE_OPEN;
	return dmo_attrs_set(a, mem, first, last, &v);
}

static int get_ranges(struct reader *r, const struct known *k, struct dmo_attrs *a, const struct dmo_mem *mem,
		      u32 count)
{
	u64 at = 0;
	int err = 0;

	for (u32 i = 0; i < count && !err; i++)
		err = get_range(r, k, a, mem, &at);
	if (!err && r->at != r->size)
		err = -EINVAL;
	return err;
}

int dmo_advice_decode(struct dmo_attrs *a, const struct dmo_mem *mem, const struct dmo_device_names *names,
		      const void *buf, size_t size)
{
	struct reader r = { buf, size, 0, false };
	u32 magic = get_fixed(&r, 4), version = get_fixed(&r, 2), devices = get_fixed(&r, 2);
	u32 ranges = get_fixed(&r, 4), crc = get_fixed(&r, 4);
	struct dmo_attrs fresh;
	struct known k;
	int err;

	if (r.bad || magic != MAGIC || !version)
		return -EINVAL;
	if (version > VERSION)
		return -EPROTONOSUPPORT;
	if (size > DMO_ADVICE_BYTES_MAX || !ranges || crc != checksum(buf, size))
		return -EINVAL;
	get_table(&r, &k, names, devices);
	dmo_attrs_init(&fresh);
	err = r.bad ? -EINVAL : get_ranges(&r, &k, &fresh, mem, ranges);
	if (err) {
		dmo_attrs_fini(&fresh, mem);
		return err;
	}
	dmo_attrs_fini(a, mem);
	a->tree = fresh.tree;
	a->gen++;
	return 0;
}

int dmo_advice_restore(struct dmo_attrs *a, const struct dmo_mem *mem, const struct dmo_device_names *names,
		       const void *buf, size_t length)
{
	if (length)
		return dmo_advice_decode(a, mem, names, buf, length);
	dmo_attrs_fini(a, mem);
	a->gen++;
	return 0;
}
