// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * map.c - what is mapped where in a context
 *
 * A mapping is a use of its object. Its translations are entered by faults (move.c) and taken away in
 * space_gone, under obj->lock. Between that and the mapping's leaving the reverse map a fault might
 * enter one again: so a range that is going is noted in the context (dying_*), and enter_mapping passes
 * it over.
 */
#include "internal.h"
#include "dmo_trace.h"

/* ---- the space's callbacks ------------------------------------------------ */

static void space_lock(void *object)
{
	mutex_lock(&((struct kdm_obj *)object)->lock);
}

static void space_unlock(void *object)
{
	mutex_unlock(&((struct kdm_obj *)object)->lock);
}

static struct dmo_itree *space_rmap(void *object)
{
	return &((struct kdm_obj *)object)->core.rmap;
}

static void space_get(struct dmo_mapping *m)
{
	kdm_obj_get(m->object);
}

static void space_put(struct dmo_mapping *m)
{
	kdm_obj_put_later(m->object);
}

/* The translations of [va, va + length), a piece of m, go; what the device wrote through them is booked. */
static void space_gone(struct dmo_space *s, struct dmo_mapping *m, u64 va, u64 length)
{
	struct kdm_obj *obj = m->object;
	u64 offset = dmo_mapping_offset_of(m, va), first = offset >> DMO_PAGE_SHIFT;
	u64 last = (offset + length - 1) >> DMO_PAGE_SHIFT;
	struct dmo_as *as = s->ctx;
	struct dmo_block *b;

	mutex_lock(&obj->lock);
	for (u64 i = first / DMO_BLOCK_PAGES; (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		unsigned int from, count;

		if (i > last / DMO_BLOCK_PAGES)
			break;
		kdm_cut(i, first, last, &from, &count);
		b->users++;
		kdm_open_sure(b);
		kdm_release_mapping(b, m, from, count);
		dmo_block_put(b);
	}
	mutex_unlock(&obj->lock);
	if (as->dev->ops->va_free && !as->keeps_va)
		as->dev->ops->va_free(as->pt, va, length);
}

const struct dmo_space_ops kdm_space_ops = {
	.lock = space_lock, .unlock = space_unlock, .rmap = space_rmap,
	.get = space_get, .put = space_put, .gone = space_gone,
};

static void set_dying(struct dmo_as *as, u64 va, u64 length)
{
	WRITE_ONCE(as->dying_first, va);
	WRITE_ONCE(as->dying_last, va + length - 1);
}

static void clear_dying(struct dmo_as *as)
{
	WRITE_ONCE(as->dying_last, 0);
	WRITE_ONCE(as->dying_first, 1);
}

/* ---- map ------------------------------------------------------------------ */

/* A fixed range that passes the device's addresses. */
static bool out_of_range(const struct dmo_dev *dev, const struct dmo_map_op *op)
{
	return (op->flags & DMO_MAP_FIXED) && (op->va < dev->info.va_start || op->va > dev->info.va_end ||
					       op->length > dev->info.va_end - op->va);
}

/*
 * A device that insists reserves its addresses first; as->lock held. Where mappings are replaced it has
 * theirs already, so only the gaps between are asked for, and none is given back meanwhile (keeps_va).
 */
static u64 gap_end(struct dmo_as *as, u64 va, u64 end)
{
	struct dmo_mapping *m = dmo_space_first(&as->space, va, end - 1);

	return m ? max(dmo_mapping_va(m), va) : end;
}

static u64 mapping_end(struct dmo_as *as, u64 va, u64 end)
{
	struct dmo_mapping *m = dmo_space_find(&as->space, va);

	return m ? min(dmo_mapping_va(m) + dmo_mapping_length(m), end) : va;
}

/* Gives the gaps of [va, end) back. */
static void free_gaps(struct dmo_as *as, u64 va, u64 end)
{
	for (u64 to; va < end; va = mapping_end(as, to, end)) {
		to = gap_end(as, va, end);
		if (to > va)
			as->dev->ops->va_free(as->pt, va, to - va);
	}
}

static int alloc_gaps(struct dmo_as *as, u64 va, u64 end)
{
	for (u64 at = va, to; at < end; at = mapping_end(as, to, end)) {
		int err = 0;

		to = gap_end(as, at, end);
		if (to > at)
			err = as->dev->ops->va_alloc(as->pt, &at, to - at, DMO_PAGE_SIZE, true);
		if (!err)
			continue;
		free_gaps(as, va, at);
		return err;
	}
	return 0;
}

static int map_allocated(struct dmo_as *as, struct dmo_space_request *r, u64 *va)
{
	bool blocks = r->length >= DMO_BLOCK_SIZE && !(r->offset % DMO_BLOCK_SIZE);
	u64 align = blocks ? DMO_BLOCK_SIZE : DMO_PAGE_SIZE;
	int err;

	if (!(r->flags & DMO_MAP_FIXED)) {
		err = as->dev->ops->va_alloc(as->pt, &r->va, r->length, align, false);
		r->flags |= DMO_MAP_FIXED;
	} else if (!(r->flags & DMO_MAP_REPLACE) &&
		   dmo_space_first(&as->space, r->va, r->va + r->length - 1)) {
		err = -EEXIST;
	} else {
		err = alloc_gaps(as, r->va, r->va + r->length);
	}
	if (err)
		return err;
	as->keeps_va = true;
	err = dmo_space_map(&as->space, r, va);
	as->keeps_va = false;
	if (err)
		free_gaps(as, r->va, r->va + r->length);
	return err;
}

/*
 * Before translations go: a device that takes no faults must not be running a command that may use them.
 */
static int quiesce(struct dmo_as *as)
{
	return as->dev->core.faults ? 0 : kdm_commands_pause(as);
}

static void go_on(struct dmo_as *as)
{
	if (!as->dev->core.faults)
		kdm_commands_resume(as);
}

static int enter_object(struct dmo_as *as, struct dmo_space_request *r, u64 *va)
{
	int err;

	mutex_lock(&as->lock);
	if (r->flags & DMO_MAP_REPLACE)
		set_dying(as, r->va, r->length);
	if (!as->pt)
		err = -ENODEV;
	else if (as->dev->ops->va_alloc)
		err = map_allocated(as, r, va);
	else
		err = dmo_space_map(&as->space, r, va);
	clear_dying(as);
	mutex_unlock(&as->lock);
	trace_dmo_map(as->dev, r->object, err ? 0 : *va, r->length, r->offset, r->prot, err);
	return err;
}

int kdm_as_map_object(struct dmo_as *as, struct kdm_obj *obj, const struct dmo_map_op *op, u64 *va)
{
	struct dmo_space_request r = {
		.object = obj, .va = op->va, .length = op->length, .offset = op->offset,
		.bits = op->bits, .prot = op->prot, .flags = op->flags,
	};
	int err;

	if (out_of_range(as->dev, op))
		return -ERANGE;
	kdm_obj_track(obj);
	if (!(op->flags & DMO_MAP_REPLACE))
		return enter_object(as, &r, va);
	err = quiesce(as);
	if (err)
		return err;
	err = enter_object(as, &r, va);
	go_on(as);
	return err;
}

static struct kdm_obj *find_object(const struct dmo_map_op *op, bool *reads, bool *writes)
{
	if (op->flags & DMO_MAP_FD)
		return kdm_fd_find(op->key, reads, writes);
	return kdm_key_find(op->key, reads, writes) ?: ERR_PTR(-ESTALE);
}

static int map_one(struct dmo_as *as, struct dmo_map_op *op)
{
	struct dmo_map_op plain = *op;
	struct kdm_obj *obj;
	bool reads, writes;
	int err;
	u64 va;

	plain.flags &= ~DMO_MAP_FD;		/* this home's own */
	err = dmo_abi_check_map_op(&plain);
	if (err)
		return err;
	obj = find_object(op, &reads, &writes);
	if (IS_ERR(obj))
		return PTR_ERR(obj);
	if (((op->prot & DMO_PROT_WRITE) && !writes) || ((op->prot & DMO_PROT_READ) && !reads))
		err = -EACCES;
	if (!err)
		err = kdm_as_map_object(as, obj, &plain, &va);
	if (!err)
		op->va = va;
	kdm_obj_put(obj);
	return err;
}

int kdm_as_map(struct dmo_as *as, struct dmo_map *req)
{
	int err = 0;

	for (req->done = 0; req->done < req->count; req->done++) {
		err = map_one(as, &req->ops[req->done]);
		if (err)
			break;
	}
	return err;
}

int kdm_as_unmap_range(struct dmo_as *as, u64 va, u64 length)
{
	int err = quiesce(as);

	if (err)
		return err;
	mutex_lock(&as->lock);
	set_dying(as, va, length);
	err = dmo_space_unmap(&as->space, va, length);
	clear_dying(as);
	mutex_unlock(&as->lock);
	trace_dmo_unmap(as->dev, va, length, err);
	go_on(as);
	return err;
}

static int unmap_one(struct dmo_as *as, const struct dmo_unmap_op *op)
{
	int err = dmo_abi_check_unmap_op(op);

	return err ? err : kdm_as_unmap_range(as, op->va, op->length);
}

int kdm_as_unmap(struct dmo_as *as, struct dmo_unmap *req)
{
	int err = 0;

	for (req->done = 0; req->done < req->count; req->done++) {
		err = unmap_one(as, &req->ops[req->done]);
		if (err)
			break;
	}
	return err;
}

void *kdm_as_unmap_all(struct dmo_as *as)
{
	void *pt;

	mutex_lock(&as->lock);
	set_dying(as, 0, ~0ull);
	dmo_space_fini(&as->space);
	pt = as->pt;
	as->pt = NULL;
	mutex_unlock(&as->lock);
	return pt;
}
