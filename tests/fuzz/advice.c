/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * advice.c - feeds damaged attribute values to the reader of stored advice, and its writer's to its reader
 *
 * Two ways for each input. Taken as a stored form, as it is and with its checksum made right: a form that is
 * refused changes nothing and leaks nothing, one that is accepted gives attributes within their bounds, which
 * come back from what is written of them. Taken as a list of advice (16 bytes each): what all of it amounts
 * to comes back from its stored form.
 */
#include "fuzz.h"

#include "core/advice_codec.h"

#include <errno.h>
#include <stdbool.h>

/* Lists of advice are written where 64 devices are, forms are read where only some of them are. */
static unsigned devices = 64;

/* ---- memory that is counted, and that ends ---------------------------------------- */

static long blocks, room;

static void *take(void *ctx, size_t size)
{
	void *p = room-- > 0 ? calloc(1, size) : NULL;

	blocks += p != NULL;
	return p;
}

static void give(void *ctx, void *p, size_t size)
{
	blocks -= p != NULL;
	free(p);
}

static const struct dmo_mem mem = { take, give, NULL };

/* ---- devices ---------------------------------------- */

static const char *name_of(void *ctx, uint32_t device)
{
	static char name[DMO_NAME_MAX];

	snprintf(name, sizeof(name), "npu%u", device);
	return device < devices ? name : NULL;
}

static int number_of(void *ctx, const char *name)
{
	for (unsigned d = 0; d < devices; d++)
		if (!strcmp(name, name_of(ctx, d)))
			return (int)d;
	return -1;
}

static const struct dmo_device_names names = { name_of, number_of, NULL };

/* ---- what holds of attributes ---------------------------------------- */

static void check_value(const struct dmo_attr *v)
{
	bool preferred = v->flags & DMO_ATTR_PREFERRED;

	require(!(v->flags & ~DMO_ATTR_ALL), "flags are known");
	require((v->flags & (DMO_ATTR_SEQUENTIAL | DMO_ATTR_RANDOM)) != (DMO_ATTR_SEQUENTIAL | DMO_ATTR_RANDOM),
		"sequential and random exclude each other");
	require(preferred ? v->preferred < devices || v->preferred == DMO_DEVICE_HOST :
			    v->preferred == DMO_DEVICE_ANY, "the preferred device is one that is there");
	require(v->accessed_by == DMO_ACCESSED_BY_ALL || devices == 64 || !(v->accessed_by >> devices),
		"devices that access are there");
	require(!v->granularity || (v->granularity >= 12 && v->granularity <= 21), "granularity is in bounds");
	require(!dmo_attr_is_none(v), "a range has advice");
}

static void check_attrs(const struct dmo_attrs *a)
{
	const struct dmo_attr_range *r, *before = NULL;

	require(dmo_attrs_count(a) <= DMO_ATTR_RANGES_MAX, "there are not too many ranges");
	for (r = dmo_attrs_first(a); r; before = r, r = dmo_attrs_next(r)) {
		require(r->node.start <= r->node.last && r->node.start <= DMO_PAGE_MAX, "a range is one");
		require(r->node.last <= DMO_PAGE_MAX || r->node.last == DMO_PAGE_OPEN, "a range ends in a file");
		require(!before || before->node.last < r->node.start, "ranges are in order and apart");
		require(!before || before->node.last + 1 < r->node.start ||
			!dmo_attr_equal(&before->value, &r->value), "equal neighbours are one range");
		check_value(&r->value);
	}
}

static bool same(const struct dmo_attrs *a, const struct dmo_attrs *b)
{
	const struct dmo_attr_range *r = dmo_attrs_first(a), *s = dmo_attrs_first(b);

	for (; r && s; r = dmo_attrs_next(r), s = dmo_attrs_next(s))
		if (r->node.start != s->node.start || r->node.last != s->node.last ||
		    !dmo_attr_equal(&r->value, &s->value))
			return false;
	return !r && !s;
}

/* What is written of a gives a when it is read, into attributes that held something else; never too large. */
static void check_round_trip(const struct dmo_attrs *a)
{
	uint8_t form[DMO_ADVICE_BYTES_MAX + 1];
	struct dmo_attr other = { .flags = DMO_ATTR_COLD, .preferred = DMO_DEVICE_ANY };
	struct dmo_attrs back;
	int64_t size = dmo_advice_encode(a, &names, form, sizeof(form));

	require(size <= (int64_t)DMO_ADVICE_BYTES_MAX && (size >= 0 || size == -E2BIG),
		"a form is small or refused");
	require((size == 0) == (dmo_attrs_count(a) == 0), "no advice, and no other, has no form");
	if (size <= 0)
		return;
	require(dmo_advice_encode(a, &names, form, size - 1) == -E2BIG, "too little room is refused");
	require(dmo_advice_encode(a, &names, form, size) == size, "just enough room is enough");
	dmo_attrs_init(&back);
	require(!dmo_attrs_set(&back, &mem, 5, DMO_PAGE_OPEN, &other), "there is memory");
	require(!dmo_advice_decode(&back, &mem, &names, form, size), "what is written can be read");
	require(same(a, &back), "what is read is what was written");
	dmo_attrs_fini(&back, &mem);
}

/* ---- as a stored form ---------------------------------------- */

static bool documented(int err)
{
	return err == -EINVAL || err == -EPROTONOSUPPORT || err == -ENOMEM || err == -ENOSPC;
}

static void check_form(const uint8_t *form, size_t size, long memory)
{
	struct dmo_attr was = { .flags = DMO_ATTR_RANDOM, .preferred = DMO_DEVICE_ANY };
	struct dmo_attrs a, before;
	uint64_t gen;
	int err;

	dmo_attrs_init(&a);
	dmo_attrs_init(&before);
	room = 100000;
	require(!dmo_attrs_set(&a, &mem, 3, 9, &was) && !dmo_attrs_set(&before, &mem, 3, 9, &was),
		"there is memory");
	gen = a.gen;
	room = memory;
	err = dmo_advice_decode(&a, &mem, &names, form, size);
	room = 100000;
	require(!err || documented(err), "a form is refused with a documented error");
	require(err || size <= DMO_ADVICE_BYTES_MAX, "an accepted form is not too large");
	require(!err || (same(&a, &before) && a.gen == gen), "a refused form changes nothing");
	require(err || a.gen != gen, "an accepted form is a change");
	if (!err) {
		check_attrs(&a);
		check_round_trip(&a);
	}
	dmo_attrs_fini(&a, &mem);
	dmo_attrs_fini(&before, &mem);
	require(!blocks, "no memory is left behind");
}

/* The CRC of IEEE 802.3, bit by bit, with the field at 12 as zeros. */
static uint32_t crc_of(const uint8_t *form, size_t size)
{
	uint32_t crc = ~0u;

	for (size_t i = 0; i < size; i++) {
		crc ^= i >= 12 && i < 16 ? 0 : form[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

static void check_forms(const uint8_t *data, size_t size)
{
	uint8_t *form;
	uint32_t crc;

	check_form(data, size, 100000);
	if (size < 16)
		return;
	form = malloc(size);
	require(form != NULL, "there is memory");
	memcpy(form, data, size);
	crc = crc_of(form, size);
	for (int i = 0; i < 4; i++)
		form[12 + i] = crc >> 8 * i;
	check_form(form, size, 100000);
	check_form(form, size, crc % 8);
	free(form);
}

/* ---- as a list of advice ---------------------------------------- */

static void advise(struct dmo_attrs *a, const uint8_t op[16])
{
	static const uint32_t others[] = { DMO_DEVICE_HOST, DMO_DEVICE_ANY };
	struct dmo_advise r = { .advice = op[0] % (DMO_ADV_COUNT + 1), .value = op[2] };
	uint64_t first = (op[3] | (uint64_t)op[4] << 8) << op[5] % 34, last;
	int err;

	r.device = op[1] < 240 ? op[1] % 64 : others[op[1] % 2];
	if (r.advice == DMO_ADV_DEVICE_BITS)
		memcpy(&r.value, op + 8, 8);
	first = first > DMO_PAGE_MAX ? DMO_PAGE_MAX : first;
	last = first + (op[6] | (uint64_t)(op[7] & 15) << 8);
	if (last > DMO_PAGE_MAX || op[7] > 250)
		last = DMO_PAGE_OPEN;
	err = dmo_attrs_advise(a, &mem, first, last, &r);
	require(!err || err == -EINVAL || err == -ENOSPC, "advice is refused with a documented error");
}

static void check_list(const uint8_t *data, size_t size)
{
	struct dmo_attrs a;

	room = 100000;
	dmo_attrs_init(&a);
	for (; size >= 16; data += 16, size -= 16)
		advise(&a, data);
	check_attrs(&a);
	check_round_trip(&a);
	dmo_attrs_fini(&a, &mem);
	require(!blocks, "no memory is left behind");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	devices = 40;
	check_forms(data, size);
	devices = 64;
	check_list(data, size);
	return 0;
}

#ifndef LIBFUZZER

static void make_list(struct buffer *b)
{
	for (uint32_t bytes = 16 * random_below(random_below(8) ? 12 : 255); bytes; bytes--) {
		uint8_t byte = random_below(256);

		splice(b, b->length, 0, &byte, 1);
	}
}

/* Half are lists of advice, half what the writer makes of them. */
static void make_input(struct buffer *b)
{
	struct dmo_attrs a;
	int64_t size;

	make_list(b);
	if (random_below(2))
		return;
	room = 100000;
	dmo_attrs_init(&a);
	for (size_t at = 0; at + 16 <= b->length; at += 16)
		advise(&a, (uint8_t *)b->text + at);
	size = dmo_advice_encode(&a, &names, b->text, sizeof(b->text));
	b->length = size > 0 ? (size_t)size : 0;
	dmo_attrs_fini(&a, &mem);
}

int main(int argc, char **argv)
{
	static const char *const words[] = { "DMOA", "\x01", "\xff", "\x80", "\x04npu1", "\x05npu39", "\x04none", "\x3f" };

	return fuzz_main(argc, argv, "stored advice", make_input,
			 &(struct words){ words, sizeof(words) / sizeof(words[0]) });
}

#endif
