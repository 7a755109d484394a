// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * key.c - keys: 64 random bits by which a context names an open file
 *
 * A key is made when first asked for and dies with its open file. Nothing of it can be guessed, and
 * nothing prints it.
 */
#include "internal.h"

#include <linux/file.h>
#include <linux/hashtable.h>
#include <linux/random.h>

static DEFINE_HASHTABLE(keys, 10);
static DEFINE_MUTEX(kdm_keys_lock);

static struct kdm_file *find(u64 key)
{
	struct kdm_file *f;

	hash_for_each_possible(keys, f, key_node, key)
		if (f->key == key)
			return f;
	return NULL;
}

static void new_key(struct kdm_file *f)
{
	u64 key;

	do {
		key = get_random_u64();
	} while (!key || find(key));
	f->key = key;
	hash_add(keys, &f->key_node, key);
}

int kdm_key_make(struct kdm_file *f, u64 *key)
{
	mutex_lock(&kdm_keys_lock);
	if (!f->key)
		new_key(f);
	*key = f->key;
	mutex_unlock(&kdm_keys_lock);
	return 0;
}

void kdm_key_drop(struct kdm_file *f)
{
	mutex_lock(&kdm_keys_lock);
	if (f->key)
		hash_del(&f->key_node);
	f->key = 0;
	mutex_unlock(&kdm_keys_lock);
}

struct kdm_obj *kdm_key_find(u64 key, bool *reads, bool *writes)
{
	struct kdm_obj *obj = NULL;
	struct kdm_file *f;

	mutex_lock(&kdm_keys_lock);
	f = find(key);
	if (f) {
		obj = f->obj;
		*reads = f->reads;
		*writes = f->writes;
		kdm_obj_get(obj);
	}
	mutex_unlock(&kdm_keys_lock);
	return obj;
}

struct kdm_obj *kdm_fd_find(u64 fd, bool *reads, bool *writes)
{
	struct file *file = fd <= INT_MAX ? fget(fd) : NULL;
	struct kdm_obj *obj = ERR_PTR(-EBADF);
	struct kdm_file *f;

	if (!file)
		return obj;
	f = kdm_file_of(file);
	if (f) {
		obj = f->obj;
		*reads = f->reads;
		*writes = f->writes;
		kdm_obj_get(obj);
	} else {
		obj = ERR_PTR(-EINVAL);
	}
	fput(file);
	return obj;
}
