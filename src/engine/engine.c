/* SPDX-License-Identifier: GPL-2.0-or-later */
/* engine.c - the engine as a whole: making, starting, flushing, ending it */
#include "engine/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* The core's memory. Small pieces that the service can't go on without: it waits for them (invariant 3). */
static void *mem_alloc(void *ctx, size_t size)
{
	void *p;

	while (!(p = calloc(1, size)) && size <= DMO_BLOCK_SIZE)
		usleep(1000);
	return p;
}

static void mem_free(void *ctx, void *p, size_t size)
{
	free(p);
}

const struct dmo_mem eng_mem = { mem_alloc, mem_free, NULL };

void eng_log(struct engine *eng, int level, const char *fmt, ...)
{
	char line[512];
	va_list args;

	if (!eng->fs->log)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	eng->fs->log(level, line);
}

int eng_create(const struct eng_config *config, struct engine **out)
{
	struct engine *eng = calloc(1, sizeof(*eng));
	int err;

	if (!eng)
		return -ENOMEM;
	eng->config = *config;
	eng->fs = config->fs;
	pthread_mutex_init(&eng->lock, NULL);
	pthread_mutex_init(&eng->advice_lock, NULL);
	dmo_list_init(&eng->objects);
	eng_pool_init(&eng->pool);
	err = eng_stage_create(eng);
	if (err) {
		free(eng);
		return err;
	}
	*out = eng;
	return 0;
}

int eng_start(struct engine *eng)
{
	int err = 0;

	eng->started = true;
	for (unsigned i = 0; i < eng->nr_devices && !err; i++)
		err = eng_evictor_start(eng->devices[i]);
	return err;
}

/* The object after prev in the list, with a reference; drops prev's. */
static struct eng_object *next_object(struct engine *eng, struct eng_object *prev)
{
	struct eng_object *next = NULL;
	struct dmo_link *l;

	pthread_mutex_lock(&eng->lock);
	for (l = prev ? prev->link.next : eng->objects.next; l != &eng->objects && !next; l = l->next) {
		struct eng_object *obj = dmo_container_of(l, struct eng_object, link);
		unsigned refs = atomic_load(&obj->refs);

		while (refs && !atomic_compare_exchange_weak(&obj->refs, &refs, refs + 1))
			;
		if (refs)
			next = obj;
	}
	pthread_mutex_unlock(&eng->lock);
	if (prev)
		eng_object_unref(prev);
	return next;
}

int eng_for_each_object(struct engine *eng, int (*visit)(struct eng_object *obj, void *arg), void *arg)
{
	int err = 0;

	for (struct eng_object *obj = next_object(eng, NULL); obj; obj = next_object(eng, obj)) {
		int one = visit(obj, arg);

		if (!err)
			err = one;
	}
	return err;
}

static int clean_object(struct eng_object *obj, void *arg)
{
	int err = eng_object_backing(obj);

	if (!err)
		err = eng_clean_range(obj, 0, ~0ull);
	if (!err && obj->fd_writes && fdatasync(obj->fd))
		err = -errno;
	return err;
}

int eng_sync(struct engine *eng)
{
	return eng_for_each_object(eng, clean_object, NULL);
}

static int evict_object(struct eng_object *obj, void *arg)
{
	struct dmo_block *b;
	u64 i = 0;

	for (;;) {
		pthread_mutex_lock(&obj->lock);
		b = dmo_radix_next(&obj->core.blocks, &i);
		pthread_mutex_unlock(&obj->lock);
		if (!b)
			return 0;
		if (eng_evict_block(obj, NULL, i))	/* it can't be written: dropped, and said by eng_sync */
			eng_object_discard(obj);
		i++;
	}
}

void eng_destroy(struct engine *eng)
{
	if (eng_sync(eng))
		eng_log(eng, LOG_ERR, "not everything that devices wrote could be written to the store");
	eng_for_each_object(eng, evict_object, NULL);
	for (unsigned i = 0; i < eng->nr_devices; i++)
		eng_evictor_stop(eng->devices[i]);
	eng_pool_fini(&eng->pool);
	while (!dmo_list_empty(&eng->objects))
		eng_object_destroy(dmo_container_of(eng->objects.next, struct eng_object, link));
	for (unsigned i = 0; i < eng->nr_devices; i++)
		eng_device_free(eng->devices[i]);
	eng_stage_destroy(eng);
	eng_pin_accounts_free(eng);
	pthread_mutex_destroy(&eng->advice_lock);
	pthread_mutex_destroy(&eng->lock);
	free(eng);
}

void eng_cancel(struct engine *eng, struct eng_req *req)
{
	struct eng_object *obj = req->file ? req->file->obj : NULL;

	atomic_store(&req->cancelled, true);
	if (req->ctx)
		eng_ctx_cancel(req->ctx, req);
	if (!obj)
		return;
	pthread_mutex_lock(&obj->lock);
	pthread_cond_broadcast(&obj->cond);
	pthread_mutex_unlock(&obj->lock);
}
