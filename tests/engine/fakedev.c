/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fakedev.c - requests and device contexts for the engine's tests; fakefs.h has the idea */
#include "fakefs.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct eng_cred *root(struct eng_cred *cred)
{
	*cred = (struct eng_cred){ 0, 0, getpid(), true };
	return cred;
}

static int64_t end_ioctl(struct ff_call *call, uint32_t cmd, void *arg)
{
	int64_t result = ff_call_wait(call);

	if (call->req.buf)
		memcpy(arg, call->req.buf, _IOC_SIZE(cmd));
	eng_ioctl_free(&call->req);
	return result;
}

int64_t ff_ioctl_as(struct ff_open *o, uint32_t cmd, void *arg, const struct eng_cred *cred)
{
	struct ff_call call;

	ff_call_init(&call);
	eng_ioctl(o->eng, &call.req, cmd, arg, _IOC_SIZE(cmd), cred);
	return end_ioctl(&call, cmd, arg);
}

int64_t ff_ioctl(struct ff_open *o, uint32_t cmd, void *arg)
{
	struct eng_cred cred;

	return ff_ioctl_as(o, cmd, arg, root(&cred));
}

int64_t ff_ctx_ioctl(struct ff_ctx *c, uint32_t cmd, void *arg)
{
	struct eng_cred cred;
	struct ff_call call;

	ff_call_init(&call);
	eng_ctx_ioctl(c->eng, &call.req, cmd, arg, _IOC_SIZE(cmd), root(&cred));
	return end_ioctl(&call, cmd, arg);
}

uint64_t ff_key(struct ff_open *o)
{
	struct dmo_key key = { 0 };

	ck_assert_int_eq(ff_ioctl(o, DMO_IOC_KEY, &key), 0);
	ck_assert_uint_ne(key.key, 0);
	return key.key;
}

int64_t ff_migrate(struct ff_open *o, uint64_t offset, uint64_t length, uint32_t device)
{
	struct dmo_migrate m = { .offset = offset, .length = length, .device = device };

	return ff_ioctl(o, DMO_IOC_MIGRATE, &m);
}

int64_t ff_advise(struct ff_open *o, uint64_t offset, uint64_t length, uint32_t advice, uint32_t device)
{
	struct dmo_advise a = { .offset = offset, .length = length, .advice = advice, .device = device };

	return ff_ioctl(o, DMO_IOC_ADVISE, &a);
}

uint32_t ff_query(struct ff_open *o, uint64_t offset, uint32_t *device)
{
	struct {
		struct dmo_query query;
		struct dmo_extent extent;
	} q = { { .offset = offset, .length = FF_PAGE, .count = 1 }, { 0 } };

	ck_assert_int_eq(ff_ioctl(o, DMO_IOC_QUERY(1), &q), 0);
	ck_assert_uint_eq(q.query.count, 1);
	if (device)
		*device = q.extent.device;
	return q.extent.flags;
}

/* ---- contexts ---------------------------------------------------------------------------------------------- */

struct ff_ctx *ff_ctx(struct ff *ff, unsigned device)
{
	struct ff_ctx *c = calloc(1, sizeof(*c));
	struct eng_cred cred;

	pthread_mutex_init(&c->lock, NULL);
	ck_assert_int_eq(eng_ctx_open(eng_device(ff->eng, device), root(&cred), &c->eng), 0);
	return c;
}

void ff_ctx_close(struct ff_ctx *c)
{
	eng_ctx_release(c->eng);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

uint64_t ff_map(struct ff_ctx *c, struct ff_open *o, uint64_t offset, uint64_t length, uint32_t prot, int64_t *err)
{
	struct {
		struct dmo_map map;
		struct dmo_map_op op;
	} m = { { .count = 1 }, { .length = length, .offset = offset, .prot = prot } };
	int64_t result;

	m.op.key = ff_key(o);
	result = ff_ctx_ioctl(c, DMO_IOC_MAP(1), &m);
	if (err)
		*err = result;
	else
		ck_assert_int_eq(result, 0);
	return result ? 0 : m.op.va;
}

int64_t ff_unmap(struct ff_ctx *c, uint64_t va, uint64_t length)
{
	struct {
		struct dmo_unmap unmap;
		struct dmo_unmap_op op;
	} u = { { .count = 1 }, { va, length } };

	return ff_ctx_ioctl(c, DMO_IOC_UNMAP(1), &u);
}

void ff_submit(struct ff_ctx *c, uint64_t cookie, uint32_t op, const uint64_t *args, unsigned n)
{
	struct dmo_command command = { .cookie = cookie, .op = op };
	struct ff_call call;

	memcpy(command.arg, args, n * sizeof(*args));
	ff_call_init(&call);
	eng_ctx_write(c->eng, &call.req, &command, sizeof(command));
	ck_assert_int_eq(ff_call_wait(&call), sizeof(command));
}

struct dmo_completion ff_completion(struct ff_ctx *c)
{
	struct dmo_completion done;
	struct ff_call call;

	ff_call_init(&call);
	eng_ctx_read(c->eng, &call.req, &done, sizeof(done), false);
	ck_assert_int_eq(ff_call_wait(&call), sizeof(done));
	return done;
}

struct dmo_completion ff_run(struct ff_ctx *c, uint32_t op, const uint64_t *args, unsigned n)
{
	struct dmo_completion done;

	pthread_mutex_lock(&c->lock);
	ff_submit(c, 1, op, args, n);
	done = ff_completion(c);
	pthread_mutex_unlock(&c->lock);
	return done;
}

struct dmo_completion ff_device_load(struct ff_ctx *c, uint64_t va)
{
	return FF_RUN(c, DMO_OP_CHASE, va, 1);
}

struct dmo_completion ff_device_add(struct ff_ctx *c, uint64_t va, uint64_t n)
{
	return FF_RUN(c, DMO_OP_ATOMIC_ADD, va, n);
}

uint64_t ff_device_cksum(struct ff_ctx *c, uint64_t va, uint64_t length, int *status)
{
	struct dmo_completion done = FF_RUN(c, DMO_OP_CKSUM, va, length, 0, 0, 1);

	if (status)
		*status = done.status;
	else
		ck_assert_int_eq(done.status, 0);
	return done.result[0];
}

/* POSIX cksum, a bit at a time. */
uint64_t ff_cksum(const void *data, uint64_t length)
{
	const unsigned char *b = data;
	uint32_t table[256], crc = 0;

	for (unsigned i = 0; i < 256; i++) {
		table[i] = i << 24;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] << 1 ^ (table[i] >> 31 ? 0x04c11db7 : 0);
	}
	for (uint64_t i = 0; i < length; i++)
		crc = crc << 8 ^ table[crc >> 24 ^ b[i]];
	for (uint64_t n = length; n; n >>= 8)
		crc = crc << 8 ^ table[crc >> 24 ^ (n & 255)];
	return (uint32_t)~crc;
}

/* ---- control files ---------------------------------------------------------------------------------------------- */

int64_t ff_control(struct ff *ff, unsigned device, const char *file, const char *text)
{
	struct ff_call call;

	ff_call_init(&call);
	eng_device_store(eng_device(ff->eng, device), file, text, strlen(text), &call.req);
	return ff_call_wait(&call);
}

static unsigned long long number_in(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (!n || (!strncmp(line, key, n) && line[n] == ' '))
			return strtoull(line + n, NULL, 10);
	ck_abort_msg("no %s", key);
	return 0;
}

unsigned long long ff_device_number(struct ff *ff, unsigned device, const char *file, const char *key)
{
	char text[4096];

	ck_assert_int_ge(eng_device_show(eng_device(ff->eng, device), file, text, sizeof(text)), 0);
	return number_in(text, key);
}

unsigned long long ff_metric(struct ff *ff, const char *name)
{
	char text[16384], key[64];

	snprintf(key, sizeof(key), "dmofs_%s", name);
	ck_assert_int_ge(eng_metrics(ff->eng, text, sizeof(text)), 0);
	return number_in(text, key);
}
