/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * command.c - collects the blocks that a command names
 *
 * They are appended as the command's ranges are walked through the address space. When the array is full, and at the end, it
 * is sorted and what names the same block becomes one; so it never holds more than twice the blocks that the limit allows,
 * however often a block is mapped.
 */
#include "core/command.h"

#include <dmo/ioctl.h>

#define ROOM_FIRST	8u

/* ---- sorting ---------------------------------------------------------------------------------------- */

static bool before(const struct dmo_named *a, const struct dmo_named *b)
{
	return a->object != b->object ? a->object < b->object : a->index < b->index;
}

/* Lets the entry at i sink in a heap of n whose top is the last in order. */
static void sink(struct dmo_named *heap, u32 i, u32 n)
{
	struct dmo_named moved = heap[i];
	u32 child;

	while ((child = 2 * i + 1) < n) {
		if (child + 1 < n && before(&heap[child], &heap[child + 1]))
			child++;
		if (!before(&moved, &heap[child]))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = moved;
}

static void sort(struct dmo_named *blocks, u32 n)
{
	for (u32 i = n / 2; i-- > 0;)
		sink(blocks, i, n);
	while (n > 1) {
		struct dmo_named top = blocks[0];

		blocks[0] = blocks[--n];
		blocks[n] = top;
		sink(blocks, 0, n);
	}
}

static void join(struct dmo_named *to, const struct dmo_named *from)
{
	to->first = from->first < to->first ? from->first : to->first;
	to->last = from->last > to->last ? from->last : to->last;
	to->write |= from->write;
}

/* Sorts the list, makes each block one entry and counts their pages. */
static void settle(struct dmo_named_blocks *n)
{
	u32 kept = 0;

	sort(n->blocks, n->count);
	for (u32 i = 0; i < n->count; i++) {
		if (kept && !before(&n->blocks[kept - 1], &n->blocks[i]))
			join(&n->blocks[kept - 1], &n->blocks[i]);
		else
			n->blocks[kept++] = n->blocks[i];
	}
	n->count = kept;
	n->pages = 0;
	for (u32 i = 0; i < kept; i++)
		n->pages += n->blocks[i].last - n->blocks[i].first + 1;
}

/* ---- collecting ------------------------------------------------------------------------------------- */

static int grow(struct dmo_named_blocks *n)
{
	u32 room = n->room ? n->room * 2 : ROOM_FIRST;
	struct dmo_named *blocks;

	if (room < n->room)
		return -ENOSPC;
	blocks = dmo_alloc(n->mem, (size_t)room * sizeof(*blocks));
	if (!blocks)
		return -ENOMEM;
	if (n->count)
		memcpy(blocks, n->blocks, n->count * sizeof(*blocks));
	dmo_free(n->mem, n->blocks, (size_t)n->room * sizeof(*blocks));
	n->blocks = blocks;
	n->room = room;
	return 0;
}

static int make_room(struct dmo_named_blocks *n, u64 limit)
{
	if (n->count < n->room)
		return 0;
	settle(n);
	if (n->pages > limit)
		return -ENOSPC;
	return n->count > n->room / 2 || !n->room ? grow(n) : 0;
}

static u64 least(u64 a, u64 b)
{
	return a < b ? a : b;
}

/* Adds what of [va, end) lies in one block of mapping m; *length: how many bytes. */
static int add_piece(struct dmo_named_blocks *n, const struct dmo_mapping *m, u64 va, u64 end, bool write, u64 limit,
		     u64 *length)
{
	u64 offset = dmo_mapping_offset_of(m, va), in_block = offset & (DMO_BLOCK_SIZE - 1);
	int err = make_room(n, limit);

	if (err)
		return err;
	*length = least(DMO_BLOCK_SIZE - in_block, dmo_mapping_va(m) + dmo_mapping_length(m) - va);
	*length = least(*length, end - va);
	n->blocks[n->count++] = (struct dmo_named){
		.object = m->object, .index = offset >> DMO_BLOCK_SHIFT, .write = write,
		.first = in_block >> DMO_PAGE_SHIFT, .last = (in_block + *length - 1) >> DMO_PAGE_SHIFT,
	};
	return 0;
}

static int add_range(struct dmo_named_blocks *n, const struct dmo_space *s, const struct dmo_cmd_range *r, u64 limit)
{
	u32 want = r->write ? DMO_PROT_WRITE : DMO_PROT_READ;
	u64 va = r->va, end = r->va + r->len, length;

	for (; va < end; va += length) {
		struct dmo_mapping *m = dmo_space_find(s, va);
		int err;

		if (!m)
			return -EFAULT;
		if (!(m->prot & want))
			return -EACCES;
		err = add_piece(n, m, va, end, r->write, limit, &length);
		if (err)
			return err;
	}
	return 0;
}

int dmo_command_blocks(struct dmo_named_blocks *n, const struct dmo_mem *mem, const struct dmo_space *s,
		       const struct dmo_command *c, u64 limit)
{
	struct dmo_cmd_range ranges[DMO_CMD_RANGES_MAX];
	int count = dmo_command_ranges(c, ranges, DMO_CMD_RANGES_MAX), err = count < 0 ? count : 0;

	*n = (struct dmo_named_blocks){ .mem = mem };
	for (int i = 0; i < count && !err; i++)
		err = add_range(n, s, &ranges[i], limit);
	settle(n);
	if (!err && n->pages > limit)
		err = -ENOSPC;
	if (err)
		n->count = 0;
	return err;
}

void dmo_named_fini(struct dmo_named_blocks *n)
{
	dmo_free(n->mem, n->blocks, (size_t)n->room * sizeof(*n->blocks));
	n->blocks = NULL;
	n->count = n->room = 0;
}
