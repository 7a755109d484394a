/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * map.c - what is mapped where in a context
 *
 * A mapping holds a reference on its object and counts in obj->mappings. Its translations are entered by faults (move.c)
 * and taken away in space_gone, under the object's lock. Between that and the mapping's leaving the reverse map a fault
 * might enter one again: so a range that is going is noted in the context (dying_*), and enter_mapping passes it over.
 */
#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* ---- the space's callbacks ---------------------------------------------------------------------------------- */

static void space_lock(void *object)
{
	struct eng_object *obj = object;

	pthread_mutex_lock(&obj->lock);
}

static void space_unlock(void *object)
{
	struct eng_object *obj = object;

	pthread_mutex_unlock(&obj->lock);
}

static struct dmo_itree *space_rmap(void *object)
{
	struct eng_object *obj = object;

	return &obj->core.rmap;
}

static void space_get(struct dmo_mapping *m)
{
	struct eng_object *obj = m->object;

	eng_object_ref(obj);
	pthread_mutex_lock(&obj->lock);
	obj->mappings++;
	pthread_mutex_unlock(&obj->lock);
}

static void space_put(struct dmo_mapping *m)
{
	struct eng_object *obj = m->object;

	pthread_mutex_lock(&obj->lock);
	obj->mappings--;
	pthread_mutex_unlock(&obj->lock);
	eng_object_unref(obj);
}

/* The translations of [va, va + length), a piece of m, go; what the device wrote through them is booked. */
static void space_gone(struct dmo_space *s, struct dmo_mapping *m, u64 va, u64 length)
{
	struct eng_object *obj = m->object;
	u64 offset = dmo_mapping_offset_of(m, va), end = offset + length;
	struct dmo_block *b;

	pthread_mutex_lock(&obj->lock);
	for (u64 i = eng_block_of(offset); (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		u64 base = i << DMO_BLOCK_SHIFT;
		u64 lo = base > offset ? base : offset, hi = end < base + DMO_BLOCK_SIZE ? end : base + DMO_BLOCK_SIZE;

		if (base >= end)
			break;
		b->users++;
		if (!dmo_block_open(b))
			eng_release_mapping(b, m, (lo - base) >> DMO_PAGE_SHIFT, (hi - lo) >> DMO_PAGE_SHIFT);
		dmo_block_put(b);
	}
	pthread_mutex_unlock(&obj->lock);
}

const struct dmo_space_ops eng_space_ops = {
	.lock = space_lock, .unlock = space_unlock, .rmap = space_rmap,
	.get = space_get, .put = space_put, .gone = space_gone,
};

static void set_dying(struct eng_ctx *ctx, u64 va, u64 length)
{
	atomic_store(&ctx->dying_first, va);
	atomic_store(&ctx->dying_last, va + length - 1);
}

static void clear_dying(struct eng_ctx *ctx)
{
	atomic_store(&ctx->dying_last, 0);
	atomic_store(&ctx->dying_first, 1);
}

/* ---- map -------------------------------------------------------------------------------------------------------- */

static int may_map(struct eng_object *obj)
{
	int err;

	pthread_mutex_lock(&obj->lock);
	err = obj->bypass ? -EBUSY : 0;
	pthread_mutex_unlock(&obj->lock);
	return err ? err : eng_object_track(obj);
}

/* A fixed range that passes the device's addresses. */
static bool out_of_range(const struct eng_device *dev, const struct dmo_map_op *op)
{
	return (op->flags & DMO_MAP_FIXED) && (op->va < dev->info.va_start || op->va > dev->info.va_end ||
					       op->length > dev->info.va_end - op->va);
}

static int map_object(struct eng_ctx *ctx, struct eng_object *obj, const struct dmo_map_op *op, u64 *va)
{
	struct dmo_space_request r = { .object = obj, .va = op->va, .length = op->length, .offset = op->offset,
				       .bits = op->bits, .prot = op->prot, .flags = op->flags };
	int err = out_of_range(ctx->dev, op) ? -ERANGE : may_map(obj);

	if (err)
		return err;
	pthread_mutex_lock(&ctx->lock);
	if (op->flags & DMO_MAP_REPLACE)
		set_dying(ctx, op->va, op->length);
	err = dmo_space_map(&ctx->space, &r, va);
	clear_dying(ctx);
	pthread_mutex_unlock(&ctx->lock);
	return err;
}

static int map_one(struct eng_ctx *ctx, struct dmo_map_op *op)
{
	struct eng_object *obj;
	bool reads, writes;
	u64 va;
	int err = dmo_abi_check_map_op(op);

	if (err)
		return err;
	obj = eng_key_find(ctx->dev->eng, op->key, &reads, &writes);
	if (!obj)
		return -ESTALE;
	if (((op->prot & DMO_PROT_WRITE) && !writes) || ((op->prot & DMO_PROT_READ) && !reads))
		err = -EACCES;
	if (!err)
		err = map_object(ctx, obj, op, &va);
	if (!err)
		op->va = va;
	eng_object_unref(obj);
	return err;
}

int eng_ctx_map(struct eng_ctx *ctx, struct dmo_map *req)
{
	int err = 0;

	for (req->done = 0; req->done < req->count; req->done++) {
		err = map_one(ctx, &req->ops[req->done]);
		if (err)
			break;
	}
	return err;
}

static int unmap_one(struct eng_ctx *ctx, const struct dmo_unmap_op *op)
{
	int err = dmo_abi_check_unmap_op(op);

	if (err)
		return err;
	pthread_mutex_lock(&ctx->lock);
	set_dying(ctx, op->va, op->length);
	err = dmo_space_unmap(&ctx->space, op->va, op->length);
	clear_dying(ctx);
	pthread_mutex_unlock(&ctx->lock);
	return err;
}

int eng_ctx_unmap(struct eng_ctx *ctx, struct dmo_unmap *req)
{
	int err = 0;

	for (req->done = 0; req->done < req->count; req->done++) {
		err = unmap_one(ctx, &req->ops[req->done]);
		if (err)
			break;
	}
	return err;
}

void eng_ctx_unmap_all(struct eng_ctx *ctx)
{
	pthread_mutex_lock(&ctx->lock);
	set_dying(ctx, 0, ~0ull);
	dmo_space_fini(&ctx->space);
	pthread_mutex_unlock(&ctx->lock);
}

/* ---- mirror: the caller's mappings of this mount's files, found in /proc/PID/maps ----------------------------------- */

struct vma {
	u64 start, end, offset;
	unsigned major, minor;
	u64 ino;
	char perms[5];
};

struct find {
	struct vma *vma;
	struct eng_object *found;
};

static bool parse_vma(const char *line, struct vma *v)
{
	unsigned long long start, end, offset, ino;

	if (sscanf(line, "%llx-%llx %4s %llx %x:%x %llu", &start, &end, v->perms, &offset, &v->major, &v->minor,
		   &ino) != 7)
		return false;
	v->start = start;
	v->end = end;
	v->offset = offset;
	v->ino = ino;
	return true;
}

static int mirror_vma(struct eng_ctx *ctx, struct vma *v, const struct dmo_mirror *req)
{
	struct engine *eng = ctx->dev->eng;
	u64 lo = v->start > req->address ? v->start : req->address;
	u64 end = req->address + req->length, hi = v->end < end ? v->end : end;
	struct dmo_map_op op = { .va = lo, .length = hi - lo, .offset = v->offset + (lo - v->start),
				 .prot = req->prot, .flags = DMO_MAP_FIXED, .bits = req->bits };
	struct eng_object *obj;
	u64 va;
	int err;

	if (((req->prot & DMO_PROT_READ) && v->perms[0] != 'r') || ((req->prot & DMO_PROT_WRITE) && v->perms[1] != 'w'))
		return -EACCES;
	if (v->perms[3] != 's' && (req->prot & DMO_PROT_WRITE))
		return -EOPNOTSUPP;	/* a private mapping's own pages are out of reach */
	if (!eng->fs->find_mapped)
		return -EOPNOTSUPP;
	obj = eng->fs->find_mapped(makedev(v->major, v->minor), v->ino);
	if (!obj)
		return -EOPNOTSUPP;
	eng_object_ref(obj);
	eng->fs->inode_put(obj->inode);
	err = map_object(ctx, obj, &op, &va);
	eng_object_unref(obj);
	return err;
}

int eng_ctx_mirror(struct eng_ctx *ctx, const struct dmo_mirror *req, const struct eng_cred *cred)
{
	u64 at = req->address, end = req->address + req->length;
	char path[64], line[4096];
	struct vma v;
	int err = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)cred->pid);
	maps = fopen(path, "re");
	if (!maps)
		return errno == EACCES ? -EPERM : -ESRCH;
	while (!err && at < end && fgets(line, sizeof(line), maps)) {
		if (!parse_vma(line, &v) || v.end <= at)
			continue;
		if (v.start > at)
			break;
		err = mirror_vma(ctx, &v, req);
		if (!err)
			at = v.end;
	}
	fclose(maps);
	if (!err && at < end)
		err = -EFAULT;
	if (err && at > req->address) {		/* all or nothing */
		struct dmo_unmap_op op = { .va = req->address, .length = at - req->address };

		unmap_one(ctx, &op);
	}
	return err;
}
