/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * key.c - keys: 64 random bits by which a context names an open file
 *
 * A key is made when first asked for and dies with its open file. Nothing of it can be guessed, and nothing prints it.
 *
 * Locks: eng->lock.
 */
#include "engine/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

struct eng_key {
	struct eng_key *next;
	u64 key;
	struct eng_file *file;
};

static struct eng_key **bucket(struct engine *eng, u64 key)
{
	return &eng->keys[key & 255];
}

static struct eng_key *find(struct engine *eng, u64 key)
{
	struct eng_key *k = *bucket(eng, key);

	while (k && k->key != key)
		k = k->next;
	return k;
}

int eng_key_make(struct eng_file *f, u64 *key)
{
	struct engine *eng = f->obj->eng;
	struct eng_key *k = malloc(sizeof(*k));

	if (!k)
		return -ENOMEM;
	if (getrandom(&k->key, sizeof(k->key), 0) != sizeof(k->key)) {
		free(k);
		return -EIO;
	}
	pthread_mutex_lock(&eng->lock);
	if (!f->key && k->key && !find(eng, k->key)) {
		k->file = f;
		k->next = *bucket(eng, k->key);
		*bucket(eng, k->key) = k;
		f->key = k->key;
		k = NULL;
	}
	*key = f->key;
	pthread_mutex_unlock(&eng->lock);
	free(k);
	return *key ? 0 : -EAGAIN;
}

void eng_key_drop(struct eng_file *f)
{
	struct engine *eng = f->obj->eng;
	struct eng_key **at, *k = NULL;

	if (!f->key)
		return;
	pthread_mutex_lock(&eng->lock);
	for (at = bucket(eng, f->key); *at && (*at)->key != f->key;)
		at = &(*at)->next;
	if (*at) {
		k = *at;
		*at = k->next;
	}
	pthread_mutex_unlock(&eng->lock);
	free(k);
}

struct eng_object *eng_key_find(struct engine *eng, u64 key, bool *reads, bool *writes)
{
	struct eng_object *obj = NULL;
	struct eng_key *k;

	pthread_mutex_lock(&eng->lock);
	k = find(eng, key);
	if (k) {
		obj = k->file->obj;
		*reads = k->file->reads;
		*writes = k->file->writes;
		eng_object_ref(obj);
	}
	pthread_mutex_unlock(&eng->lock);
	return obj;
}
