/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "core/policy.h"

#define BASE_ORDER	4u	/* 64 KiB */
#define RUN_PAGES	32u	/* a run this long counts as sequential */
#define AHEAD_MAX	1024u	/* pages: 4 MiB */
#define SCATTER_STEP	4u	/* scattered faults for each halving of the window */
#define SCATTER_MAX	((BASE_ORDER + 1) * SCATTER_STEP - 1)

static unsigned cap_order(const struct dmo_device *d)
{
	unsigned order = DMO_PHYS_ORDER_BLOCK;

	while (order && (8u << order) > d->limit)
		order--;
	return order;
}

/* What is brought along has to leave again before long: the object lacks room on the device. */
static bool lacks_room(const struct dmo_object *o, const struct dmo_device *d)
{
	return o->evicted || o->size > d->limit << DMO_PAGE_SHIFT;
}

static bool beside_valid(const u64 *valid, unsigned page)
{
	return (page && dmo_bits_test(valid, page - 1)) ||
	       (page + 1 < DMO_BLOCK_PAGES && dmo_bits_test(valid, page + 1));
}

/*
 * Notes a fault that asks for few pages: scattered is one with nothing beside it that came before. Whoever works his
 * way along, in whatever direction and however many do, has something beside each fault.
 */
static void note_scatter(struct dmo_block *b, const u64 *valid, unsigned page)
{
	struct dmo_object *o = b->object;
	u64 noted = b->index * DMO_BLOCK_PAGES + page + 1;

	if (o->noted == noted || (valid && dmo_bits_test(valid, page)))
		return;		/* asked again, or nothing is brought */
	o->noted = noted;
	if (valid && beside_valid(valid, page))
		o->scatter -= !!o->scatter;
	else if (o->scatter < SCATTER_MAX)
		o->scatter++;
}

static unsigned base_order(const struct dmo_object *o, const struct dmo_device *d)
{
	return lacks_room(o, d) ? BASE_ORDER - o->scatter / SCATTER_STEP : BASE_ORDER;
}

static unsigned start_order(const struct dmo_block *b, const struct dmo_device *d, unsigned page,
			    const struct dmo_attr *attr)
{
	const struct dmo_object *o = b->object;

	if (attr->granularity)
		return attr->granularity - DMO_PAGE_SHIFT;
	if (attr->flags & DMO_ATTR_RANDOM)
		return 0;
	if (attr->flags & DMO_ATTR_SEQUENTIAL)
		return DMO_PHYS_ORDER_BLOCK;
	if (o->run >= RUN_PAGES && o->next_page == b->index * DMO_BLOCK_PAGES + page)
		return DMO_PHYS_ORDER_BLOCK;
	return base_order(o, d);
}

/* Grows while half of the larger window is valid already or wanted now. */
static unsigned dense_order(const u64 *valid, unsigned page, unsigned order)
{
	while (order < DMO_PHYS_ORDER_BLOCK) {
		unsigned size = 2u << order, first = page & ~(size - 1);
		unsigned have = dmo_bits_count_in(valid, first, size);
		unsigned mine = page & ~((1u << order) - 1);

		have += (1u << order) - dmo_bits_count_in(valid, mine, 1u << order);
		if (have <= size / 2)
			break;
		order++;
	}
	return order;
}

/* The smallest order whose aligned window holds page and pages after it, as far as the block goes. */
static unsigned span_order(unsigned page, u64 pages)
{
	unsigned order = 0;

	if (pages > DMO_BLOCK_PAGES - page)
		pages = DMO_BLOCK_PAGES - page;
	while (order < DMO_PHYS_ORDER_BLOCK && (page & ~((1u << order) - 1)) + (1u << order) < page + pages)
		order++;
	return order;
}

struct dmo_window dmo_policy_window(struct dmo_block *b, const struct dmo_device *d, unsigned page, u64 bytes,
				    const struct dmo_attr *attr)
{
	const struct dmo_copy *c = dmo_block_copy(b, d);
	const u64 *valid = c ? dmo_copy_bits(c, DMO_VALID) : NULL;
	u64 pages = (bytes >> DMO_PAGE_SHIFT) + !bytes;
	unsigned cap = cap_order(d), order;

	if (pages < 1u << BASE_ORDER)
		note_scatter(b, valid, page);
	order = start_order(b, d, page, attr);
	if (!attr->granularity && !(attr->flags & DMO_ATTR_RANDOM)) {
		unsigned need = span_order(page, pages);

		if (order < need)
			order = need;
		if (valid)
			order = dense_order(valid, page, order);
	}
	if (order > cap)
		order = cap;
	return (struct dmo_window){ page & ~((1u << order) - 1), 1u << order };
}

unsigned dmo_policy_readahead(struct dmo_object *o, u64 first_page, unsigned count, const struct dmo_attr *attr)
{
	u64 ahead;

	if (o->next_page == first_page)
		o->run += count;
	else
		o->run = count;
	o->next_page = first_page + count;
	if (attr->flags & DMO_ATTR_RANDOM)
		return 0;
	if (!(attr->flags & DMO_ATTR_SEQUENTIAL) && o->run <= count)
		return 0;
	ahead = attr->flags & DMO_ATTR_SEQUENTIAL ? AHEAD_MAX : o->run;
	return ahead < AHEAD_MAX ? ahead : AHEAD_MAX;
}

bool dmo_policy_stay(const struct dmo_block *b, const struct dmo_copy *victim)
{
	return b->evicted && victim->accessed >= b->evicted;
}

bool dmo_policy_in_place(const struct dmo_attr *attr, const struct dmo_device *d)
{
	if (attr->flags & DMO_ATTR_NO_MIGRATE)
		return true;
	return d->number < 64 && attr->accessed_by >> d->number & 1;
}

bool dmo_policy_ahead(const struct dmo_object *o, const struct dmo_device *d, u64 index)
{
	const struct dmo_block *b = dmo_block_find(o, index);
	struct dmo_attr attr;

	if (index << DMO_BLOCK_SHIFT >= o->size)
		return false;
	dmo_attrs_get(&o->attrs, index * DMO_BLOCK_PAGES, &attr, NULL);
	if (dmo_policy_in_place(&attr, d))
		return false;
	return !b || (b->state == DMO_BLOCK_IDLE && !b->evicted && !dmo_block_copy(b, d));
}

void dmo_policy_watermarks(struct dmo_device *d)
{
	u64 spare = d->limit / 32;

	d->high = d->limit - spare;
	d->low = d->limit - 2 * spare;
}

void dmo_policy_set_max(struct dmo_device *d, u64 frames)
{
	d->limit = frames;
	dmo_policy_watermarks(d);
}

void dmo_policy_set_high(struct dmo_device *d, u64 frames)
{
	d->high = frames < d->limit ? frames : d->limit;
	if (d->low > d->high)
		d->low = d->high;
}

void dmo_policy_set_low(struct dmo_device *d, u64 frames)
{
	d->low = frames < d->high ? frames : d->high;
}

bool dmo_policy_above_high(const struct dmo_device *d)
{
	return d->used > d->high;
}

bool dmo_policy_above_low(const struct dmo_device *d)
{
	return d->used > d->low;
}
