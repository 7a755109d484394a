// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * context.c - open contexts: a device address space, commands in, completions out
 *
 * write(2) hands commands to the driver (or, for a device that takes no faults, to command.c); read(2) takes
 * completions. The context belongs to its open file and to no process. When its device goes it stays
 * open and answers ENODEV; what ran in it completes ECANCELED. That of a lost
 * device takes commands, which complete with EIO.
 *
 * Locks: as->lock the address space and pt, as->out_lock the completions.
 */
#include "internal.h"

#include <linux/module.h>
#include <linux/uaccess.h>

#define COMMANDS_MAX	256		/* taken from the caller at a time */

struct out {
	struct list_head link;
	struct dmo_completion completion;
};

/* ---- opening and the end -------------------------------------------------- */

static struct dmo_as *new_as(struct dmo_dev *dev)
{
	struct dmo_as *as = kzalloc(sizeof(*as), GFP_KERNEL);

	if (!as)
		return NULL;
	as->dev = dev;
	as->dying_first = 1;
	as->lowat = 1;
	as->room = DMO_LOWAT_MAX;
	as->client = kdm_client_new();
	mutex_init(&as->lock);
	spin_lock_init(&as->out_lock);
	init_waitqueue_head(&as->wait);
	INIT_LIST_HEAD(&as->link);
	INIT_LIST_HEAD(&as->out);
	refcount_set(&as->refs, 1);
	kdm_commands_init(as);
	dmo_space_init(&as->space, &kdm_mem, &kdm_space_ops, dev->info.va_start, dev->info.va_end);
	as->space.ctx = as;
	return as;
}

int kdm_as_open(struct inode *inode, struct file *file)
{
	struct dmo_dev *dev = container_of(file->private_data, struct dmo_dev, misc);
	struct dmo_as *as;
	int err;

	if (!dev->info.va_end)
		return -EOPNOTSUPP;
	if (READ_ONCE(dev->gone) || !try_module_get(dev->ops->owner))
		return -ENODEV;
	as = new_as(dev);
	err = as ? dev->ops->pt_create(dev->priv, as, &as->pt) : -ENOMEM;
	if (err) {
		module_put(dev->ops->owner);
		kfree(as);
		return err;
	}
	kref_get(&dev->ref);
	mutex_lock(&dev->lock);
	list_add_tail(&as->link, &dev->spaces);
	mutex_unlock(&dev->lock);
	file->private_data = as;
	return stream_open(inode, file);
}

struct dmo_as *kdm_as_first(struct dmo_dev *dev)
{
	struct dmo_as *as;

	mutex_lock(&dev->lock);
	as = list_first_entry_or_null(&dev->spaces, struct dmo_as, link);
	if (as) {
		list_del_init(&as->link);
		refcount_inc(&as->refs);
	}
	mutex_unlock(&dev->lock);
	return as;
}

void kdm_as_put(struct dmo_as *as)
{
	struct out *o, *next;

	if (!refcount_dec_and_test(&as->refs))
		return;
	list_for_each_entry_safe(o, next, &as->out, link)
		kfree(o);
	kfree(as);
}

/* Takes the page table away; whoever has as->lock sees it whole or not at all. */
void kdm_as_end(struct dmo_as *as)
{
	void *pt;

	WRITE_ONCE(as->closing, true);
	kdm_commands_end(as);		/* what runs keeps its translations */
	pt = kdm_as_unmap_all(as);
	if (pt)
		as->dev->ops->pt_destroy(pt);
	wake_up_all(&as->wait);
}

static bool unlink_as(struct dmo_as *as)
{
	bool linked;

	mutex_lock(&as->dev->lock);
	linked = !list_empty(&as->link);
	list_del_init(&as->link);
	mutex_unlock(&as->dev->lock);
	return linked;
}

int kdm_as_release(struct inode *inode, struct file *file)
{
	struct dmo_as *as = file->private_data;
	struct dmo_dev *dev = as->dev;

	if (unlink_as(as))
		kdm_as_end(as);
	else
		kdm_commands_end(as);
	kdm_as_put(as);
	module_put(dev->ops->owner);
	kdm_dev_put(dev);
	return 0;
}

/* ---- completions ---------------------------------------------------------- */

/* Whether who has room for that many completions is to have what is there. out_lock held. */
static bool enough(const struct dmo_as *as, size_t room)
{
	return dmo_completions_ready(as->ready, as->outstanding, min_t(size_t, room, as->lowat));
}

void kdm_as_complete(struct dmo_as *as, const struct dmo_completion *c)
{
	struct out *o = kzalloc(sizeof(*o), GFP_KERNEL | __GFP_NOFAIL);
	bool wake;

	if (c->status)
		atomic64_inc(&as->dev->stats.command_errors);
	o->completion = *c;
	spin_lock(&as->out_lock);
	list_add_tail(&o->link, &as->out);
	as->ready++;
	wake = enough(as, as->room);
	spin_unlock(&as->out_lock);
	if (wake)
		wake_up_all(&as->wait);
}

void kdm_as_lowat(struct dmo_as *as, unsigned int count)
{
	spin_lock(&as->out_lock);
	as->lowat = count;
	spin_unlock(&as->out_lock);
	wake_up_all(&as->wait);
}

void dmo_dev_complete(struct dmo_as *as, const struct dmo_completion *c)
{
	if (as->dev->core.faults)
		kdm_as_complete(as, c);
	else
		kdm_command_done(as, c);
}
EXPORT_SYMBOL_GPL(dmo_dev_complete);

static struct out *take_one(struct dmo_as *as)
{
	struct out *o;

	spin_lock(&as->out_lock);
	o = list_first_entry_or_null(&as->out, struct out, link);
	if (o) {
		list_del(&o->link);
		as->outstanding--;
		as->ready--;
	}
	spin_unlock(&as->out_lock);
	return o;
}

static bool readable(struct dmo_as *as, size_t room)
{
	bool yes;

	spin_lock(&as->out_lock);
	yes = enough(as, room);
	spin_unlock(&as->out_lock);
	return yes;
}

static bool closing(const struct dmo_as *as)
{
	return READ_ONCE(as->closing);
}

static ssize_t take_all(struct dmo_as *as, char __user *buf, size_t length)
{
	size_t got = 0;
	struct out *o;
	int err = 0;

	while (!err && length - got >= sizeof(o->completion) && (o = take_one(as))) {
		if (copy_to_user(buf + got, &o->completion, sizeof(o->completion)))
			err = -EFAULT;
		else
			got += sizeof(o->completion);
		kfree(o);
	}
	return got ? got : err;
}

/* Waits for completions to fill that much room, or enough of them. */
static int await_completions(struct dmo_as *as, unsigned int room)
{
	int err;

	spin_lock(&as->out_lock);
	as->readers++;
	as->room = min(as->room, room);
	spin_unlock(&as->out_lock);
	err = wait_event_interruptible(as->wait, readable(as, room) || closing(as));
	spin_lock(&as->out_lock);
	if (!--as->readers)
		as->room = DMO_LOWAT_MAX;
	spin_unlock(&as->out_lock);
	return err;
}

ssize_t kdm_as_read(struct file *file, char __user *buf, size_t length, loff_t *pos)
{
	unsigned int room = min_t(size_t, length / sizeof(struct dmo_completion), DMO_LOWAT_MAX);
	struct dmo_as *as = file->private_data;
	ssize_t got;

	if (!room)
		return -EINVAL;
	do {
		if (!(file->f_flags & O_NONBLOCK) && await_completions(as, room))
			return -ERESTARTSYS;
		got = take_all(as, buf, length);
		if (!got && closing(as))
			return -ENODEV;
	} while (!got && !(file->f_flags & O_NONBLOCK));
	return got ?: -EAGAIN;
}

__poll_t kdm_as_poll(struct file *file, poll_table *wait)
{
	struct dmo_as *as = file->private_data;
	__poll_t events = 0;

	poll_wait(file, &as->wait, wait);
	if (readable(as, DMO_LOWAT_MAX))
		events |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(as->outstanding) < DMO_OUTSTANDING_MAX)
		events |= EPOLLOUT | EPOLLWRNORM;
	if (closing(as))
		events |= EPOLLERR;
	return events;
}

/* ---- commands ------------------------------------------------------------- */

static void refuse(struct dmo_as *as, const struct dmo_command *c, int err)
{
	struct dmo_completion over = { .cookie = c->cookie, .op = c->op, .status = err };

	kdm_as_complete(as, &over);
}

static int hand_to_device(struct dmo_as *as, const struct dmo_command *cmds, unsigned int n)
{
	int err;

	mutex_lock(&as->lock);
	err = as->pt ? as->dev->ops->submit(as->pt, cmds, n) : -ECANCELED;
	mutex_unlock(&as->lock);
	return err;
}

static void hand_over(struct dmo_as *as, const struct dmo_command *cmds, unsigned int n)
{
	int err = 0;

	if (n && as->dev->core.faults)
		err = hand_to_device(as, cmds, n);
	else if (n)
		err = kdm_commands_queue(as, cmds, n);
	for (unsigned int i = 0; err && i < n; i++)
		refuse(as, &cmds[i], err);
}

/* Hands over runs of good commands; bad ones complete at once. */
static void submit(struct dmo_as *as, const struct dmo_command *cmds, unsigned int n)
{
	unsigned int start = 0;

	for (unsigned int i = 0; i < n; i++) {
		int err = dmo_abi_check_command(&cmds[i]);

		if (!err)
			continue;
		hand_over(as, cmds + start, i - start);
		refuse(as, &cmds[i], err);
		start = i + 1;
	}
	hand_over(as, cmds + start, n - start);
}

/* How many of n commands may be taken now. */
static unsigned int admit(struct dmo_as *as, unsigned int n)
{
	spin_lock(&as->out_lock);
	n = min3(n, DMO_OUTSTANDING_MAX - as->outstanding, (unsigned int)COMMANDS_MAX);
	as->outstanding += n;
	spin_unlock(&as->out_lock);
	return n;
}

static ssize_t take_commands(struct dmo_as *as, const char __user *buf, unsigned int want)
{
	struct dmo_command *cmds;
	unsigned int n;

	cmds = kvmalloc_array(min(want, COMMANDS_MAX), sizeof(*cmds), GFP_KERNEL);
	if (!cmds)
		return -ENOMEM;
	if (copy_from_user(cmds, buf, min(want, COMMANDS_MAX) * sizeof(*cmds))) {
		kvfree(cmds);
		return -EFAULT;
	}
	n = admit(as, want);
	atomic64_add(n, &as->dev->stats.commands);
	submit(as, cmds, n);
	kvfree(cmds);
	return n ? n * sizeof(*cmds) : -EAGAIN;
}

ssize_t kdm_as_write(struct file *file, const char __user *buf, size_t length, loff_t *pos)
{
	struct dmo_as *as = file->private_data;
	size_t done = 0;
	ssize_t r = 0;

	if (!length || length % sizeof(struct dmo_command))
		return -EINVAL;
	if (READ_ONCE(as->closing))
		return -ENODEV;
	while (done < length) {
		r = take_commands(as, buf + done, (length - done) / sizeof(struct dmo_command));
		if (r <= 0)
			break;
		done += r;
	}
	return done ? done : r;
}
