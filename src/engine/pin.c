/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pin.c - leases on residency, held by an open file
 *
 * A pin makes its range resident and counts in each block's copy, which is then neither evicted nor moved. What a
 * user's pins hold together is bounded by RLIMIT_MEMLOCK, read from the process that asks; who may lock without limit
 * (CAP_IPC_LOCK, so root) may pin without one.
 *
 * Locks: obj->lock for the copies' counts, eng->lock for the list of pins and for what users hold.
 */
#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct eng_pin {
	struct eng_pin *next;		/* of the file */
	struct eng_device *dev;
	u64 id, first, last, bytes;	/* pages, last included */
	uid_t uid;
};

struct eng_pinned {
	struct eng_pinned *next;
	uid_t uid;
	u64 bytes;
};

/* ---- what a user may ------------------------------------------------------------------------------------------ */

/* In a user namespace of his own anybody has every capability, over nothing but what is in it. */
static bool in_our_user_namespace(pid_t pid)
{
	struct stat his, ours;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	return !stat(path, &his) && !stat("/proc/self/ns/user", &ours) && his.st_dev == ours.st_dev &&
	       his.st_ino == ours.st_ino;
}

static bool may_lock_all(pid_t pid)
{
	char path[64], line[256];
	unsigned long long caps = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			break;
	fclose(f);
	return caps >> 14 & 1 && in_our_user_namespace(pid);	/* CAP_IPC_LOCK */
}

static u64 memlock_limit(pid_t pid)
{
	char path[64], line[256];
	unsigned long long soft = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/limits", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "Max locked memory", 17))
			continue;
		if (sscanf(line + 17, " %llu", &soft) != 1)
			soft = ~0ull;
		break;
	}
	fclose(f);
	return soft;
}

static struct eng_pinned *account(struct engine *eng, uid_t uid)
{
	struct eng_pinned *p;

	for (p = eng->pinned; p && p->uid != uid; p = p->next)
		;
	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->uid = uid;
	p->next = eng->pinned;
	eng->pinned = p;
	return p;
}

static int charge(struct engine *eng, const struct eng_cred *cred, u64 bytes)
{
	u64 limit = cred->uid == 0 || may_lock_all(cred->pid) ? ~0ull : memlock_limit(cred->pid);
	struct eng_pinned *p;
	int err = 0;

	pthread_mutex_lock(&eng->lock);
	p = account(eng, cred->uid);
	if (!p)
		err = -ENOMEM;
	else if (limit != ~0ull && (p->bytes > limit || bytes > limit - p->bytes))
		err = -EDQUOT;
	else
		p->bytes += bytes;
	pthread_mutex_unlock(&eng->lock);
	return err;
}

static void uncharge(struct engine *eng, uid_t uid, u64 bytes)
{
	pthread_mutex_lock(&eng->lock);
	account(eng, uid)->bytes -= bytes;
	pthread_mutex_unlock(&eng->lock);
}

/* ---- pins ------------------------------------------------------------------------------------------------------- */

static void cut(u64 index, u64 first, u64 last, unsigned *from, unsigned *count)
{
	u64 base = index * DMO_BLOCK_PAGES, end = base + DMO_BLOCK_PAGES - 1;

	*from = first > base ? first - base : 0;
	*count = (last < end ? last : end) - base - *from + 1;
}

static int pin_block(struct eng_object *obj, struct eng_pin *pin, u64 index, const atomic_bool *cancel)
{
	struct eng_access a = { .obj = obj, .dev = pin->dev, .whole = true, .pin = true, .no_wait = true,
				.cancel = cancel };

	cut(index, pin->first, pin->last, &a.first, &a.count);
	a.page = index * DMO_BLOCK_PAGES + a.first;
	return eng_access(&a);
}

static void unpin_block(struct eng_object *obj, struct eng_device *dev, u64 index)
{
	struct dmo_block *b;
	struct dmo_copy *c;

	pthread_mutex_lock(&obj->lock);
	b = dmo_block_find(&obj->core, index);
	c = b ? dmo_block_copy(b, &dev->core) : NULL;
	if (c && c->pins)
		c->pins--;
	if (c && !c->pins && b->state == DMO_BLOCK_IDLE && !dmo_bits_any(dmo_copy_bits(c, DMO_VALID))) {
		b->users++;
		pthread_mutex_lock(&dev->lock);
		dmo_copy_free(c);		/* it kept the memory of a truncated range */
		pthread_cond_broadcast(&dev->cond);
		pthread_mutex_unlock(&dev->lock);
		dmo_block_put(b);
	}
	pthread_mutex_unlock(&obj->lock);
}

static void unpin_blocks(struct eng_object *obj, struct eng_pin *pin, u64 end)
{
	for (u64 i = pin->first / DMO_BLOCK_PAGES; i < end; i++)
		unpin_block(obj, pin->dev, i);
}

static int pin_blocks(struct eng_object *obj, struct eng_pin *pin, const atomic_bool *cancel)
{
	int err = 0;
	u64 i;

	for (i = pin->first / DMO_BLOCK_PAGES; i <= pin->last / DMO_BLOCK_PAGES && !err; i++)
		err = pin_block(obj, pin, i, cancel);
	if (err)
		unpin_blocks(obj, pin, i - 1);
	return err;
}

/* A pin covers what the object has: a range that passes its end is refused, there is nothing to keep there. */
static int check_range(struct eng_object *obj, const struct dmo_pin *req)
{
	u64 pages;

	pthread_mutex_lock(&obj->lock);
	pages = (obj->core.size + DMO_PAGE_SIZE - 1) >> DMO_PAGE_SHIFT;
	pthread_mutex_unlock(&obj->lock);
	return (req->offset + req->length) >> DMO_PAGE_SHIFT > pages ? -EINVAL : 0;
}

static int too_big(struct eng_device *dev, u64 bytes)
{
	int err;

	pthread_mutex_lock(&dev->lock);
	err = bytes >> DMO_PAGE_SHIFT > dev->core.limit ? -ENOSPC : 0;
	pthread_mutex_unlock(&dev->lock);
	return err;
}

static struct eng_pin *new_pin(struct eng_device *dev, const struct dmo_pin *req, uid_t uid)
{
	struct eng_pin *pin = calloc(1, sizeof(*pin));

	if (!pin)
		return NULL;
	pin->dev = dev;
	pin->first = req->offset >> DMO_PAGE_SHIFT;
	pin->last = pin->first + (req->length >> DMO_PAGE_SHIFT) - 1;
	pin->bytes = req->length;
	pin->uid = uid;
	return pin;
}

int eng_pin(struct eng_file *f, struct dmo_pin *req, const struct eng_cred *cred, const atomic_bool *cancel)
{
	struct engine *eng = f->obj->eng;
	struct eng_device *dev = eng_device(eng, req->device);
	struct eng_pin *pin;
	int err = f->reads ? eng_object_track(f->obj) : -EACCES;

	if (!err && atomic_load(&dev->lost))
		err = -ENODEV;
	if (!err)
		err = check_range(f->obj, req);
	if (!err)
		err = too_big(dev, req->length);
	if (!err)
		err = charge(eng, cred, req->length);
	if (err)
		return err;
	pin = new_pin(dev, req, cred->uid);
	err = pin ? pin_blocks(f->obj, pin, cancel) : -ENOMEM;
	if (err) {
		uncharge(eng, cred->uid, req->length);
		free(pin);
		return err;
	}
	pthread_mutex_lock(&eng->lock);
	req->id = pin->id = ++eng->last_pin;
	pin->next = f->pins;
	f->pins = pin;
	pthread_mutex_unlock(&eng->lock);
	return 0;
}

static void end_pin(struct eng_file *f, struct eng_pin *pin)
{
	unpin_blocks(f->obj, pin, pin->last / DMO_BLOCK_PAGES + 1);
	uncharge(f->obj->eng, pin->uid, pin->bytes);
	free(pin);
}

int eng_unpin(struct eng_file *f, u64 id)
{
	struct engine *eng = f->obj->eng;
	struct eng_pin **at, *pin;

	pthread_mutex_lock(&eng->lock);
	for (at = &f->pins; *at && (*at)->id != id;)
		at = &(*at)->next;
	pin = *at;
	if (pin)
		*at = pin->next;
	pthread_mutex_unlock(&eng->lock);
	if (!pin)
		return -ENOENT;
	end_pin(f, pin);
	return 0;
}

void eng_unpin_all(struct eng_file *f)
{
	struct eng_object *obj = f->obj;

	struct eng_pin *pins, *pin;

	pthread_mutex_lock(&obj->eng->lock);
	pins = f->pins;
	f->pins = NULL;
	pthread_mutex_unlock(&obj->eng->lock);
	if (!pins)
		return;
	eng_object_ref(obj);
	while ((pin = pins)) {
		pins = pin->next;
		end_pin(f, pin);
	}
	eng_object_unref(obj);
}

void eng_pin_accounts_free(struct engine *eng)
{
	while (eng->pinned) {
		struct eng_pinned *p = eng->pinned;

		eng->pinned = p->next;
		free(p);
	}
}
