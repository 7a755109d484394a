// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * object.c - objects: an inode on a filesystem of the module's own over each backing inode that was brought
 *
 * There is one object for a backing inode, however often it is made: a table finds it. Open files,
 * mappings of CPUs and of devices each count as a use. The last use ends the object: what devices hold
 * newer is written back first (for fresh memory, which nobody else can see, it is dropped). If that
 * fails the object stays, with its device memory, and tries again later: no byte is lost. It stays, too,
 * while it has pages that were lost with a device, so that they never read as the old data that the
 * backing file has (invariant 9), unless that was removed, or changed by others when nobody had the object.
 *
 *	made --kdm_obj_put(last)--> retiring --written back--> gone
 *	  ^                             |
 *	  +----kdm_object_open----------+
 *
 * kdm_objects_lock guards the table; a use that begins from it (find_live) and the end of an object
 * (retire) exclude each other by it.
 */
#include "internal.h"

#include <linux/hashtable.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>

#define DMO_MAGIC	0x646d6f66	/* "dmof" */
#define RETRY_MS	1000

static DEFINE_HASHTABLE(objects, KDM_BUCKET_BITS);
static DEFINE_SPINLOCK(kdm_objects_lock);
static DEFINE_MUTEX(making);		/* one creation at a time: none is made twice */
static struct vfsmount *mnt;

/* ---- the filesystem ------------------------------------------------------- */

static void evict_inode(struct inode *inode)
{
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	kdm_import_evict(inode);
}

static const struct super_operations super_ops = {
	.statfs = simple_statfs,
	.drop_inode = generic_delete_inode,
	.evict_inode = evict_inode,
};

static int init_fs_context(struct fs_context *fc)
{
	struct pseudo_fs_context *ctx = init_pseudo(fc, DMO_MAGIC);

	if (!ctx)
		return -ENOMEM;
	ctx->ops = &super_ops;
	return 0;
}

struct vfsmount *kdm_mount(void)
{
	return mnt;
}

static struct file_system_type kdm_fs = {
	.name = "dmo",		/* no owner: our own mount would hold the module for ever */
	.init_fs_context = init_fs_context,
	.kill_sb = kill_anon_super,
};

int kdm_fs_init(void)
{
	mnt = kern_mount(&kdm_fs);
	return PTR_ERR_OR_ZERO(mnt);
}

void kdm_fs_fini(void)
{
	rcu_barrier();
	kern_unmount(mnt);
}

/* ---- the table ------------------------------------------------------------ */

static struct kdm_obj *find(struct inode *backing)
{
	struct kdm_obj *obj;

	hash_for_each_possible(objects, obj, hash, (unsigned long)backing)
		if (obj->backing_inode == backing)
			return obj;
	return NULL;
}

struct kdm_obj *kdm_obj_lookup(struct inode *backing)
{
	struct kdm_obj *obj;

	spin_lock(&kdm_objects_lock);
	obj = find(backing);
	spin_unlock(&kdm_objects_lock);
	return obj;
}

/* With a use. */
static struct kdm_obj *find_live(struct inode *backing)
{
	struct kdm_obj *obj;

	spin_lock(&kdm_objects_lock);
	obj = find(backing);
	if (obj)
		atomic_inc(&obj->users);
	spin_unlock(&kdm_objects_lock);
	return obj;
}

/* The next object of bucket i after last (NULL: the first), with a use; last's use goes. */
static struct kdm_obj *next_in(int i, struct kdm_obj *last)
{
	struct hlist_node *at;

	spin_lock(&kdm_objects_lock);
	at = last ? last->hash.next : objects[i].first;
	if (at)
		atomic_inc(&hlist_entry(at, struct kdm_obj, hash)->users);
	spin_unlock(&kdm_objects_lock);
	if (last)
		kdm_obj_put_later(last);
	return at ? hlist_entry(at, struct kdm_obj, hash) : NULL;
}

void kdm_visit_bucket(unsigned int bucket, void (*visit)(struct kdm_obj *obj, void *arg), void *arg)
{
	for (struct kdm_obj *obj = next_in(bucket, NULL); obj; obj = next_in(bucket, obj))
		visit(obj, arg);
}

void kdm_visit_objects(void (*visit)(struct kdm_obj *obj, void *arg), void *arg)
{
	for (unsigned int i = 0; i < HASH_SIZE(objects); i++)
		kdm_visit_bucket(i, visit, arg);
}

/* ---- the end -------------------------------------------------------------- */

/* Whether somebody may come to read what was lost. */
static bool keeps_lost(const struct kdm_obj *obj)
{
	return obj->core.lost && !obj->fresh && obj->backing_inode->i_nlink;
}

static void free_obj(struct rcu_head *rcu)
{
	kfree(container_of(rcu, struct kdm_obj, rcu));
}

static void destroy(struct kdm_obj *obj)
{
	kdm_remote_fini(obj);
	dmo_object_fini(&obj->core);
	if (obj->rw)
		fput(obj->rw);
	fput(obj->ro);
	WRITE_ONCE(obj->inode->i_private, NULL);
	iput(obj->inode);
	mem_cgroup_put(obj->memcg);
	call_rcu(&obj->rcu, free_obj);
	module_put(THIS_MODULE);
}

/*
 * Writes back and ends an object whose uses are over; the caller's is the last, or somebody came
 * meanwhile.
 */
static void retire(struct kdm_obj *obj)
{
	int err = 0;

	if (atomic_read(&obj->users) == 1 && obj->core.copies) {
		if (obj->fresh)
			kdm_discard(obj);
		else
			err = kdm_evict_all(obj, NULL);
	}
	spin_lock(&kdm_objects_lock);
	if (atomic_dec_return(&obj->users)) {
		spin_unlock(&kdm_objects_lock);
		return;
	}
	/* With copies left the backing file refused, or a CPU keeps pages pinned. */
	if (obj->core.copies || keeps_lost(obj)) {
		if (!obj->left.tv_sec)
			obj->left = inode_get_mtime(obj->backing_inode);
		atomic_inc(&obj->users);
		spin_unlock(&kdm_objects_lock);
		if (err)
			pr_warn_ratelimited("dmo: an object can't be written back (%d), it is kept\n", err);
		queue_delayed_work(kdm_wq, &obj->retry, msecs_to_jiffies(RETRY_MS));
		return;
	}
	hash_del(&obj->hash);
	spin_unlock(&kdm_objects_lock);
	destroy(obj);
}

static void retire_work(struct work_struct *work)
{
	retire(container_of(work, struct kdm_obj, retry.work));
}

void kdm_obj_get(struct kdm_obj *obj)
{
	atomic_inc(&obj->users);
}

/* Drops a use that is not the last. */
static bool put_unless_last(struct kdm_obj *obj)
{
	return atomic_add_unless(&obj->users, -1, 1);
}

void kdm_obj_put(struct kdm_obj *obj)
{
	if (!put_unless_last(obj))
		retire(obj);
}

void kdm_obj_put_later(struct kdm_obj *obj)
{
	if (!put_unless_last(obj))
		queue_delayed_work(kdm_wq, &obj->retry, 0);
}

/* ---- the beginning -------------------------------------------------------- */

static struct inode *make_inode(struct kdm_obj *obj)
{
	struct inode *inode = alloc_anon_inode(mnt->mnt_sb);
	struct inode *backing = obj->backing_inode;

	if (IS_ERR(inode))
		return inode;
	inode->i_mode = S_IFREG | (backing->i_mode & 07777);
	inode->i_uid = backing->i_uid;
	inode->i_gid = backing->i_gid;
	inode->i_op = &kdm_object_iops;
	inode->i_fop = &kdm_object_fops;
	inode->i_private = obj;
	i_size_write(inode, i_size_read(backing));
	return inode;
}

/* A second open file of the backing inode: the caller's may append, or be shared with others. */
static struct file *open_again(struct file *backing, fmode_t mode)
{
	int flags = O_LARGEFILE | O_NOATIME | (mode & FMODE_WRITE ? O_RDWR : O_RDONLY);

	return dentry_open(&backing->f_path, flags, backing->f_cred);
}

static int open_backing(struct kdm_obj *obj, struct file *backing, bool fresh)
{
	obj->ro = fresh ? get_file(backing) : open_again(backing, 0);
	if (IS_ERR(obj->ro))
		return PTR_ERR(obj->ro);
	obj->backing_fops = obj->ro->f_op;
	if (fresh)
		obj->rw = get_file(backing);
	return 0;
}

static struct kdm_obj *make(struct file *backing, bool fresh)
{
	struct kdm_obj *obj = kzalloc(sizeof(*obj), GFP_KERNEL);
	int err;

	if (!obj)
		return ERR_PTR(-ENOMEM);
	obj->backing_inode = file_inode(backing);
	obj->fresh = fresh;
	mutex_init(&obj->lock);
	init_waitqueue_head(&obj->wait);
	xa_init(&obj->remote);
	INIT_LIST_HEAD(&obj->exports);
	INIT_LIST_HEAD(&obj->holds);
	INIT_DELAYED_WORK(&obj->retry, retire_work);
	atomic_set(&obj->users, 1);
	dmo_object_init(&obj->core, &kdm_mem, i_size_read(obj->backing_inode));
	obj->core.writers = 1;		/* stores through mappings are not seen as they happen */
	err = open_backing(obj, backing, fresh);
	if (err)
		goto out_free;
	obj->inode = make_inode(obj);
	if (IS_ERR(obj->inode)) {
		err = PTR_ERR(obj->inode);
		goto out_backing;
	}
	err = kdm_advice_load(obj);
	if (err)
		goto out_inode;
	obj->memcg = get_mem_cgroup_from_mm(current->mm);
	__module_get(THIS_MODULE);
	spin_lock(&kdm_objects_lock);
	hash_add(objects, &obj->hash, (unsigned long)obj->backing_inode);
	spin_unlock(&kdm_objects_lock);
	return obj;

out_inode:
	obj->inode->i_private = NULL;
	iput(obj->inode);
out_backing:
	if (obj->rw)
		fput(obj->rw);
	fput(obj->ro);
out_free:
	kfree(obj);
	return ERR_PTR(err);
}

/* Brings a writable backing file along where there was none. */
static int add_writable(struct kdm_obj *obj, struct file *backing)
{
	struct file *rw;

	if (obj->rw)
		return 0;
	rw = open_again(backing, FMODE_WRITE);
	if (IS_ERR(rw))
		return PTR_ERR(rw);
	obj->rw = rw;			/* one creation at a time; never changes again */
	return 0;
}

/*
 * The first use after the last. Whoever wrote to the backing file meanwhile, or truncated it, gave it other
 * content; of failed writes those were told who had the object.
 */
static void return_to(struct kdm_obj *obj)
{
	struct timespec64 now = inode_get_mtime(obj->backing_inode);

	if (!obj->left.tv_sec)
		return;
	if (!timespec64_equal(&now, &obj->left))
		kdm_forget_lost(obj);
	obj->wb_err = 0;
	obj->left = (struct timespec64){ 0 };
}

static struct kdm_obj *find_or_make(struct file *backing, bool fresh, bool writes)
{
	struct kdm_obj *obj;
	int err;

	mutex_lock(&making);
	obj = find_live(file_inode(backing));
	if (obj)
		return_to(obj);
	else
		obj = make(backing, fresh);
	if (!IS_ERR(obj) && writes) {
		err = add_writable(obj, backing);
		if (err) {
			mutex_unlock(&making);
			kdm_obj_put(obj);
			return ERR_PTR(err);
		}
	}
	mutex_unlock(&making);
	return obj;
}

struct file *kdm_object_open(struct file *backing, bool fresh, int flags)
{
	struct kdm_obj *obj = find_or_make(backing, fresh, (flags & O_ACCMODE) != O_RDONLY);
	struct file *file;
	int err;

	if (IS_ERR(obj))
		return ERR_CAST(obj);
	ihold(obj->inode);
	file = alloc_file_pseudo(obj->inode, mnt, "dmo", flags, &kdm_object_fops);
	if (IS_ERR(file)) {
		iput(obj->inode);
	} else {
		__module_get(THIS_MODULE);	/* alloc_file_pseudo takes none, the release puts one */
		err = kdm_object_fops.open(obj->inode, file);
		if (err) {
			fput(file);
			file = ERR_PTR(err);
		}
	}
	kdm_obj_put(obj);
	return file;
}

/* ---- tracking ------------------------------------------------------------- */

/*
 * Until a device has to do with an object, faults and I/O go past residency. Whoever saw the flag unset
 * is waited for: fault-around by RCU, read(2) and write(2) by their count. Ordinary faults look again
 * under the folio lock.
 */
void kdm_obj_track(struct kdm_obj *obj)
{
	if (READ_ONCE(obj->tracked))
		return;
	mutex_lock(&obj->lock);
	if (!obj->tracked) {
		WRITE_ONCE(obj->tracked, true);
		smp_mb();		/* pairs with the barrier of begin_direct */
		synchronize_rcu_expedited();
	}
	kdm_obj_wait_sure(obj, !atomic_read(&obj->direct));
	mutex_unlock(&obj->lock);
}

void kdm_obj_refresh(struct kdm_obj *obj)
{
	lockdep_assert_held(&obj->lock);
	obj->core.size = i_size_read(obj->backing_inode);
	i_size_write(obj->inode, obj->core.size);
}
