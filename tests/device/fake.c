/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake.c - the smallest host that a device can have
 */
#include "fake.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* ---- what the device calls ------------------------------------------------------------------------------- */

static void on_fault(void *host_ctx, const struct dmo_dev_fault *fault)
{
	struct fake *f = host_ctx;
	struct fake_fault *entry = calloc(1, sizeof(*entry)), **link = &f->faults;

	entry->fault = *fault;
	pthread_mutex_lock(&f->lock);
	while (*link)
		link = &(*link)->next;
	*link = entry;
	f->fault_count++;
	f->last_fault = *fault;
	pthread_cond_broadcast(&f->wake);
	pthread_mutex_unlock(&f->lock);
}


static struct fake *current;

static void on_complete(void *owner, const struct dmo_completion *completion)
{
	struct fake *f = current;
	struct fake_done *entry = calloc(1, sizeof(*entry)), **link = &f->done;

	entry->completion = *completion;
	entry->owner = owner;
	pthread_mutex_lock(&f->lock);
	while (*link)
		link = &(*link)->next;
	*link = entry;
	pthread_cond_broadcast(&f->wake);
	pthread_mutex_unlock(&f->lock);
}

static void on_lost(void *host_ctx)
{
	struct fake *f = host_ctx;

	pthread_mutex_lock(&f->lock);
	f->lost++;
	pthread_mutex_unlock(&f->lock);
}

static const struct dmo_host host = { on_fault, on_complete, on_lost };

/* ---- faults ------------------------------------------------------------------------------------------------- */

/* How many pages from page on can be entered as one run, as the first can. */
static uint32_t run_length(struct fake *f, uint64_t page)
{
	uint32_t n = 1;

	while (n < f->pages_a_fault && page + n < f->info.frames && f->prot[page + n] == f->prot[page] &&
	       !f->error[page + n] && !f->remote[page] && !f->remote[page + n])
		n++;
	return n;
}

static int resolve(struct fake *f, const struct dmo_dev_fault *fault)
{
	uint64_t page = (fault->va - FAKE_VA) / DMO_PAGE_SIZE;
	struct dmo_pte_run run = { .va = fault->va };

	if (fault->va < FAKE_VA || page >= FAKE_PAGES || !f->prot[page])
		return -EFAULT;
	if (f->error[page])
		return f->error[page];
	if (fault->write && !(f->prot[page] & DMO_PROT_WRITE))
		return -EACCES;
	run.prot = f->prot[page];
	run.host = f->remote[page];
	run.frame = run.host ? 0 : (uint32_t)page;
	run.pages = run_length(f, page);
	return f->ops->as_enter(*(void **)fault->owner, &run);
}

static void *resolver(void *arg)
{
	struct fake *f = arg;
	struct fake_fault *entry;
	int status;

	pthread_mutex_lock(&f->lock);
	while (!f->stop) {
		if (!f->faults || f->hold) {
			pthread_cond_wait(&f->wake, &f->lock);
			continue;
		}
		entry = f->faults;
		f->faults = entry->next;
		status = resolve(f, &entry->fault);
		pthread_mutex_unlock(&f->lock);
		f->ops->fault_done(*(void **)entry->fault.owner, entry->fault.id, status);
		free(entry);
		pthread_mutex_lock(&f->lock);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* ---- what tests call ------------------------------------------------------------------------------------------ */

struct fake *fake_open(const char *spec)
{
	struct fake *f = calloc(1, sizeof(*f));
	char why[256] = "";

	f->ops = &dmo_sim_ops;
	f->pages_a_fault = 1;
	memset(f->prot, FAKE_RW, sizeof(f->prot));
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->wake, NULL);
	current = f;
	ck_assert_msg(!f->ops->create(&host, f, "npu0", spec, &f->info, &f->dev, why, sizeof(why)), "%s", why);
	ck_assert_int_eq(f->ops->as_create(f->dev, &f->as, &f->as), 0);
	f->memory = f->ops->window(f->dev, 0, (uint32_t)f->info.frames);
	ck_assert_ptr_nonnull(f->memory);
	pthread_create(&f->thread, NULL, resolver, f);
	return f;
}

static void free_lists(struct fake *f)
{
	struct fake_fault *fault;
	struct fake_done *done;

	while ((fault = f->faults)) {
		f->faults = fault->next;
		free(fault);
	}
	while ((done = f->done)) {
		f->done = done->next;
		free(done);
	}
}

void fake_close(struct fake *f)
{
	if (f->as && !f->keep_as)
		f->ops->as_destroy(f->as);
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_broadcast(&f->wake);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->thread, NULL);
	f->ops->destroy(f->dev);
	free_lists(f);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->wake);
	free(f);
}

void fake_protect(struct fake *f, unsigned page, unsigned count, unsigned char prot)
{
	pthread_mutex_lock(&f->lock);
	memset(f->prot + page, prot, count);
	pthread_mutex_unlock(&f->lock);
}

int fake_enter(struct fake *f, unsigned page, unsigned count, unsigned char prot)
{
	struct dmo_pte_run run = { .va = FAKE_VA + (uint64_t)page * DMO_PAGE_SIZE, .pages = count, .prot = prot,
				   .frame = page };

	return f->ops->as_enter(f->as, &run);
}

void fake_hold(struct fake *f, bool hold)
{
	pthread_mutex_lock(&f->lock);
	f->hold = hold;
	pthread_cond_broadcast(&f->wake);
	pthread_mutex_unlock(&f->lock);
}

unsigned fake_fault_count(struct fake *f)
{
	unsigned count;

	pthread_mutex_lock(&f->lock);
	count = f->fault_count;
	pthread_mutex_unlock(&f->lock);
	return count;
}

void fake_wait_faults(struct fake *f, unsigned count)
{
	pthread_mutex_lock(&f->lock);
	while (f->fault_count < count)
		pthread_cond_wait(&f->wake, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

struct dmo_command fake_command(uint32_t op, uint32_t flags, const uint64_t *args, unsigned count)
{
	struct dmo_command command = { .op = op, .flags = flags };

	for (unsigned i = 0; i < count; i++)
		command.arg[i] = args[i];
	return command;
}

void fake_submit(struct fake *f, void *as, struct dmo_command command, uint64_t cookie)
{
	command.cookie = cookie;
	ck_assert_int_eq(f->ops->submit(as, &command, 1), 0);
}

static struct fake_done *take_done(struct fake *f, uint64_t cookie)
{
	struct fake_done **link = &f->done, *entry;

	while (*link && (*link)->completion.cookie != cookie)
		link = &(*link)->next;
	entry = *link;
	if (entry)
		*link = entry->next;
	return entry;
}

struct dmo_completion fake_wait(struct fake *f, uint64_t cookie)
{
	struct dmo_completion completion;
	struct fake_done *entry;

	pthread_mutex_lock(&f->lock);
	while (!(entry = take_done(f, cookie)))
		pthread_cond_wait(&f->wake, &f->lock);
	pthread_mutex_unlock(&f->lock);
	completion = entry->completion;
	free(entry);
	return completion;
}

struct dmo_completion fake_run(struct fake *f, struct dmo_command command)
{
	static uint64_t cookie = 1ull << 32;

	fake_submit(f, f->as, command, ++cookie);
	return fake_wait(f, cookie);
}

/* ---- transfers --------------------------------------------------------------------------------------------------- */

struct transfer {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool over;
	int status;
};

static void on_done(struct dmo_copy_job *job, int status)
{
	struct transfer *t = job->ctx;

	pthread_mutex_lock(&t->lock);
	t->status = status;
	t->over = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

int fake_copy(struct fake *f, enum dmo_copy_dir dir, uint32_t frame, uint64_t bytes, void *memory, uint32_t src)
{
	struct transfer t = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0 };
	struct dmo_copy_job job = { .dir = dir, .frame = frame, .bytes = bytes, .host = memory, .src_frame = src,
				    .done = on_done, .ctx = &t };

	f->ops->copy(f->dev, &job);
	pthread_mutex_lock(&t.lock);
	while (!t.over)
		pthread_cond_wait(&t.wake, &t.lock);
	pthread_mutex_unlock(&t.lock);
	return t.status;
}

void fake_noise(void *to, size_t bytes, uint32_t seed)
{
	unsigned char *p = to;

	for (size_t i = 0; i < bytes; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (unsigned char)(seed >> 24);
	}
}

uint64_t fake_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
