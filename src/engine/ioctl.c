/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ioctl.c - requests by number: checked by the core's decoder, carried out on the pool, answered later
 *
 * Those that can't wait for anything (INFO, DEVICE, KEY, WAIT, ...) are answered at once.
 */
#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct request {
	struct eng_work work;
	struct eng_req *req;
	struct eng_file *file;
	struct eng_ctx *ctx;
	struct eng_cred cred;
	u32 cmd;
	u64 arg[];		/* _IOC_SIZE(cmd) bytes, both ways */
};

struct handler {
	unsigned nr;
	bool waits;
	int (*run)(struct request *r, void *arg);
};

/* ---- objects ---------------------------------------------------------------------------------------------------- */

static u64 resident_bytes(struct eng_object *obj)
{
	u64 bytes;

	pthread_mutex_lock(&obj->lock);
	bytes = dmo_query_resident(&obj->core);
	pthread_mutex_unlock(&obj->lock);
	return bytes;
}

static int do_info(struct request *r, void *arg)
{
	struct engine *eng = r->file->obj->eng;
	struct dmo_info *info = arg;
	struct stat st;
	int err = eng_object_backing(r->file->obj);

	if (err)
		return err;
	if (fstat(r->file->obj->fd, &st))
		return -errno;
	*info = (struct dmo_info){ .abi_version = DMO_ABI_VERSION, .home = DMO_HOME_USER,
				   .caps = DMO_CAP_MIRROR_FILES, .devices = eng->nr_devices,
				   .block_size = DMO_BLOCK_SIZE, .page_size = DMO_PAGE_SIZE, .size = st.st_size,
				   .resident = resident_bytes(r->file->obj) };
	if (eng->config.store_advice)
		info->caps |= DMO_CAP_STORED_ADVICE;
	if (eng->config.passthrough)
		info->caps |= DMO_CAP_PASSTHROUGH;
	return 0;
}

static struct engine *engine_of(const struct request *r)
{
	return r->file ? r->file->obj->eng : r->ctx->dev->eng;
}

static int do_device(struct request *r, void *arg)
{
	struct dmo_device_info *info = arg;
	struct eng_device *dev = eng_device(engine_of(r), info->device);

	if (!dev)
		return -ENODEV;
	eng_device_describe(dev, info);
	return 0;
}

static int do_key(struct request *r, void *arg)
{
	struct dmo_key *key = arg;
	u64 number;
	int err = eng_key_make(r->file, &number);

	*key = (struct dmo_key){ .key = number };
	return err;
}

static int do_advise(struct request *r, void *arg)
{
	return eng_advise(r->file, arg, &r->cred, &r->req->cancelled);
}

static int do_query(struct request *r, void *arg)
{
	return r->file->reads ? eng_query(r->file, arg) : -EACCES;
}

static int do_migrate(struct request *r, void *arg)
{
	struct dmo_migrate *m = arg;

	m->error = 0;
	if (m->flags & DMO_MIGRATE_ASYNC)
		return eng_migrate_async(r->file, m, &r->cred);
	return eng_migrate(r->file, m, &r->cred, &r->req->cancelled);
}

static int do_wait(struct request *r, void *arg)
{
	return eng_migrate_wait(r->file, arg);
}

static int do_pin(struct request *r, void *arg)
{
	const struct dmo_pin *pin = arg;

	if (pin->flags & DMO_CHARGE_OTHER)
		return -EOPNOTSUPP;		/* here it is known who asks */
	return eng_pin(r->file, arg, &r->cred, &r->req->cancelled);
}

static int do_unpin(struct request *r, void *arg)
{
	return eng_unpin(r->file, ((struct dmo_pin *)arg)->id);
}

static int do_export(struct request *r, void *arg)
{
	return -EOPNOTSUPP;		/* a dma-buf takes a kernel driver */
}

static const struct handler object_handlers[] = {
	{ _IOC_NR(DMO_IOC_INFO), false, do_info },
	{ _IOC_NR(DMO_IOC_DEVICE), false, do_device },
	{ _IOC_NR(DMO_IOC_KEY), false, do_key },
	{ _IOC_NR(DMO_IOC_ADVISE), true, do_advise },
	{ _IOC_NR(DMO_IOC_QUERY(0)), true, do_query },
	{ _IOC_NR(DMO_IOC_MIGRATE), true, do_migrate },
	{ _IOC_NR(DMO_IOC_WAIT), false, do_wait },
	{ _IOC_NR(DMO_IOC_PIN), true, do_pin },
	{ _IOC_NR(DMO_IOC_UNPIN), true, do_unpin },
	{ _IOC_NR(DMO_IOC_EXPORT), false, do_export },
	{ 0, false, NULL }
};

/* ---- contexts ----------------------------------------------------------------------------------------------------- */

static int do_map(struct request *r, void *arg)
{
	return eng_ctx_map(r->ctx, arg);
}

static int do_unmap(struct request *r, void *arg)
{
	return eng_ctx_unmap(r->ctx, arg);
}

static int do_mirror(struct request *r, void *arg)
{
	return eng_ctx_mirror(r->ctx, arg, &r->cred);
}

static int do_fault(struct request *r, void *arg)
{
	struct dmo_fault *f = arg;

	return eng_ctx_fault(r->ctx, f->va, f->length, f->prot & DMO_PROT_WRITE, &r->req->cancelled);
}

static int do_lowat(struct request *r, void *arg)
{
	eng_ctx_lowat(r->ctx, ((struct dmo_lowat *)arg)->count);
	return 0;
}

static const struct handler context_handlers[] = {
	{ _IOC_NR(DMO_IOC_DEVICE), false, do_device },
	{ _IOC_NR(DMO_IOC_MAP(0)), true, do_map },
	{ _IOC_NR(DMO_IOC_UNMAP(0)), true, do_unmap },
	{ _IOC_NR(DMO_IOC_MIRROR), true, do_mirror },
	{ _IOC_NR(DMO_IOC_FAULT), true, do_fault },
	{ _IOC_NR(DMO_IOC_LOWAT), false, do_lowat },
	{ 0, false, NULL }
};

/* ---- dispatch -------------------------------------------------------------------------------------------------------- */

static void answer(struct eng_req *req, int64_t result)
{
	req->result = result;
	req->done(req);
}

/* The request's bytes become the answer's; freed by eng_ioctl_free, which knows them by req->arg[0]. */
static void finish(struct request *r, int result)
{
	struct eng_req *req = r->req;
	struct eng_file *file = r->file;
	struct eng_object *obj = file ? file->obj : NULL;
	struct eng_ctx *ctx = r->ctx;

	req->buf = r->arg;
	req->arg[0] = (uintptr_t)r;
	answer(req, result);
	if (file) {
		eng_file_put(file);
		eng_object_unref(obj);
	}
	if (ctx)
		eng_ctx_leave(ctx);
}

void eng_ioctl_free(struct eng_req *req)
{
	free((void *)(uintptr_t)req->arg[0]);
	req->arg[0] = 0;
}

static const struct handler *find(const struct request *r)
{
	const struct handler *h = r->file ? object_handlers : context_handlers;

	while (h->run && h->nr != _IOC_NR(r->cmd))
		h++;
	return h;
}

static void run_request(struct eng_work *w)
{
	struct request *r = dmo_container_of(w, struct request, work);

	finish(r, find(r)->run(r, r->arg));
}

static void dispatch(struct eng_req *req, struct eng_file *file, struct eng_ctx *ctx, u32 cmd, const void *in,
		     size_t in_size, const struct eng_cred *cred)
{
	size_t size = _IOC_SIZE(cmd);
	struct request *r = calloc(1, sizeof(*r) + size);
	int err;

	req->buf = NULL;
	req->arg[0] = 0;
	if (!r) {
		answer(req, -ENOMEM);
		return;
	}
	*r = (struct request){ .req = req, .file = file, .ctx = ctx, .cred = *cred, .cmd = cmd };
	if (in_size)
		memcpy(r->arg, in, in_size < size ? in_size : size);
	err = dmo_abi_check(cmd, r->arg, in_size, file ? DMO_ABI_OBJECT : DMO_ABI_CONTEXT, engine_of(r)->nr_devices);
	if (err) {
		free(r);
		answer(req, err);
		return;
	}
	if (file) {
		eng_object_ref(file->obj);
		atomic_fetch_add(&file->refs, 1);
	}
	if (ctx)
		eng_ctx_enter(ctx);
	if (!find(r)->waits) {
		finish(r, find(r)->run(r, r->arg));
		return;
	}
	r->work.run = run_request;
	eng_pool_run(&engine_of(r)->pool, &r->work);
}

void eng_ioctl(struct eng_file *file, struct eng_req *req, uint32_t cmd, const void *in, size_t in_size,
	       const struct eng_cred *cred)
{
	req->file = file;
	dispatch(req, file, NULL, cmd, in, in_size, cred);
}

void eng_ctx_ioctl(struct eng_ctx *ctx, struct eng_req *req, uint32_t cmd, const void *in, size_t in_size,
		   const struct eng_cred *cred)
{
	req->file = NULL;
	dispatch(req, NULL, ctx, cmd, in, in_size, cred);
}
