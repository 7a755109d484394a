/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.c - a device's control files and the service's metrics, as text
 *
 * memory.* follow the conventions of cgroup v2: bytes, "max" for no limit, one number or "key value" lines. A
 * limit counts in pages and is rounded down to one. memory.max is hard: lowering it evicts before the write returns.
 * Above memory.high pages are evicted in the background until memory.low is reached.
 */
#include "engine/internal.h"

#include "core/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *const eng_device_files[] = {
	"info", "memory.max", "memory.high", "memory.low", "memory.current", "memory.peak", "memory.stat",
	"memory.events", "inject", NULL
};

struct text {
	char *buf;
	size_t size, length;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *t, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(t->buf + t->length, t->size - t->length, fmt, args);
	va_end(args);
	t->length += n;
	if (t->length >= t->size)
		t->length = t->size - 1;
}

/* ---- showing ------------------------------------------------------------------------------------------------ */

struct numbers {
	u64 used, peak, limit, high, low, resident, dirty;
};

static struct numbers look(struct eng_device *dev)
{
	struct numbers n;

	pthread_mutex_lock(&dev->lock);
	n = (struct numbers){ .used = dev->core.used, .peak = dev->core.peak, .limit = dev->core.limit,
			      .high = dev->core.high, .low = dev->core.low };
	pthread_mutex_unlock(&dev->lock);
	return n;
}

static unsigned long long bytes(u64 frames)
{
	return frames << DMO_PAGE_SHIFT;
}

static void show_limit(struct text *t, struct eng_device *dev, u64 frames)
{
	if (frames >= dev->info.frames)
		add(t, "max\n");
	else
		add(t, "%llu\n", bytes(frames));
}

static void show_info(struct text *t, struct eng_device *dev)
{
	add(t, "name %s\nnumber %u\ntype %s\nmemory %llu\nmemory_type %s\nfaults %s\ndirty_bits %s\nthreads %u\n"
	    "link %llu\nva_start %#llx\nva_end %#llx\nstate %s\n", dev->name, dev->core.number, dev->ops->type,
	    bytes(dev->info.frames), dev->info.memory_type == DMO_MEM_COHERENT ? "coherent" : "private",
	    dev->core.faults ? "yes" : "no", dev->core.dirty_bits ? "yes" : "no", dev->info.threads,
	    (unsigned long long)dev->info.link, (unsigned long long)dev->info.va_start,
	    (unsigned long long)dev->info.va_end, atomic_load(&dev->lost) ? "lost" : "online");
}

static const struct {
	const char *key, *help;
	size_t offset;
} stats[] = {
#define STAT(name, help) { #name, help, offsetof(struct eng_stats, name) }
	STAT(faults, "Accesses by the device that found no translation."),
	STAT(fault_errors, "Faults answered with an error."),
	STAT(bytes_to_device, "Bytes copied into device memory."),
	STAT(bytes_to_host, "Bytes copied out of device memory."),
	STAT(bytes_remote_mapped, "Bytes mapped for the device where they lie."),
	STAT(evict_clean, "Evictions that had nothing to copy."),
	STAT(evict_dirty, "Evictions that copied pages to their backing files."),
	STAT(evict_failed, "Evictions that failed and left the pages where they were."),
	STAT(migrations, "Moves of pages into device memory."),
	STAT(remote_maps, "Ranges mapped for the device where they lie."),
	STAT(readahead, "Blocks brought in ahead of the device."),
	STAT(commands, "Commands taken."),
	STAT(command_errors, "Commands that ended with an error."),
#undef STAT
};

static unsigned long long stat_value(struct eng_device *dev, size_t i)
{
	return atomic_load((atomic_ullong *)((char *)&dev->stats + stats[i].offset));
}

static void show_stat(struct text *t, struct eng_device *dev)
{
	for (size_t i = 0; i < sizeof(stats) / sizeof(stats[0]); i++)
		add(t, "%s %llu\n", stats[i].key, stat_value(dev, i));
}

static void show_events(struct text *t, struct eng_device *dev)
{
	add(t, "low %llu\nhigh %llu\nmax %llu\noom %llu\n", (unsigned long long)atomic_load(&dev->stats.event_low),
	    (unsigned long long)atomic_load(&dev->stats.event_high),
	    (unsigned long long)atomic_load(&dev->stats.event_max),
	    (unsigned long long)atomic_load(&dev->stats.event_oom));
}

ssize_t eng_device_show(struct eng_device *dev, const char *file, char *buf, size_t size)
{
	struct text t = { buf, size, 0 };
	struct numbers n = look(dev);

	buf[0] = 0;
	if (!strcmp(file, "info"))
		show_info(&t, dev);
	else if (!strcmp(file, "memory.max"))
		show_limit(&t, dev, n.limit);
	else if (!strcmp(file, "memory.high"))
		show_limit(&t, dev, n.high);
	else if (!strcmp(file, "memory.low"))
		show_limit(&t, dev, n.low);
	else if (!strcmp(file, "memory.current"))
		add(&t, "%llu\n", bytes(n.used));
	else if (!strcmp(file, "memory.peak"))
		add(&t, "%llu\n", bytes(n.peak));
	else if (!strcmp(file, "memory.stat"))
		show_stat(&t, dev);
	else if (!strcmp(file, "memory.events"))
		show_events(&t, dev);
	else if (strcmp(file, "inject"))
		return -ENOENT;
	return t.length;
}

/* ---- storing -------------------------------------------------------------------------------------------------- */

bool eng_device_file_writable(const char *file)
{
	return !strcmp(file, "memory.max") || !strcmp(file, "memory.high") || !strcmp(file, "memory.low") ||
	       !strcmp(file, "inject");
}

int eng_device_set_limit(struct eng_device *dev, const char *file, const char *text)
{
	u64 frames = dev->info.frames, value;

	if (strcmp(text, "max")) {
		if (dmo_text_size(text, &value))
			return -EINVAL;
		if (value >> DMO_PAGE_SHIFT < frames)
			frames = value >> DMO_PAGE_SHIFT;
	}
	pthread_mutex_lock(&dev->lock);
	if (!strcmp(file, "memory.max"))
		dmo_policy_set_max(&dev->core, frames);
	else if (!strcmp(file, "memory.high"))
		dmo_policy_set_high(&dev->core, frames);
	else
		dmo_policy_set_low(&dev->core, frames);
	if (dmo_policy_above_high(&dev->core))
		eng_evictor_wake(dev);
	pthread_mutex_unlock(&dev->lock);
	return 0;
}

struct store_job {
	struct eng_work work;
	struct eng_device *dev;
	struct eng_req *req;
	size_t length;
	char file[32], text[64];
};

static int64_t store(struct store_job *job)
{
	int err;

	if (!strcmp(job->file, "inject")) {
		if (!job->dev->inject || !job->dev->ops->inject)
			return -EACCES;
		err = job->dev->ops->inject(job->dev->dev, job->text);
	} else {
		err = eng_device_set_limit(job->dev, job->file, job->text);
		if (!err)
			err = eng_make_room(job->dev, 0, 0, &job->req->cancelled);
	}
	if (err == -ENOSPC)
		err = -EBUSY;
	return err ? err : (int64_t)job->length;
}

static void run_store(struct eng_work *w)
{
	struct store_job *job = dmo_container_of(w, struct store_job, work);

	job->req->result = store(job);
	job->req->done(job->req);
	free(job);
}

static void answer(struct eng_req *req, int64_t result)
{
	req->result = result;
	req->done(req);
}

void eng_device_store(struct eng_device *dev, const char *file, const char *text, size_t length, struct eng_req *req)
{
	struct store_job *job;
	size_t n = length;

	while (n && isspace((unsigned char)text[n - 1]))
		n--;
	if (!eng_device_file_writable(file)) {
		answer(req, -EACCES);
		return;
	}
	if (!n || n >= sizeof(job->text) || memchr(text, 0, n)) {
		answer(req, -EINVAL);
		return;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		answer(req, -ENOMEM);
		return;
	}
	job->work.run = run_store;
	job->dev = dev;
	job->req = req;
	job->length = length;
	snprintf(job->file, sizeof(job->file), "%s", file);
	memcpy(job->text, text, n);
	eng_pool_run(&dev->eng->pool, &job->work);
}

/* ---- metrics ------------------------------------------------------------------------------------------------------ */

static void metric(struct text *t, const char *name, const char *help, const char *type)
{
	add(t, "# HELP dmofs_%s %s\n# TYPE dmofs_%s %s\n", name, help, name, type);
}

static void device_metrics(struct text *t, struct engine *eng)
{
	metric(t, "memory_bytes", "Device memory in use.", "gauge");
	for (unsigned i = 0; i < eng->nr_devices; i++)
		add(t, "dmofs_memory_bytes{device=\"%s\"} %llu\n", eng->devices[i]->name,
		    bytes(look(eng->devices[i]).used));
	metric(t, "memory_limit_bytes", "memory.max.", "gauge");
	for (unsigned i = 0; i < eng->nr_devices; i++)
		add(t, "dmofs_memory_limit_bytes{device=\"%s\"} %llu\n", eng->devices[i]->name,
		    bytes(look(eng->devices[i]).limit));
	for (size_t s = 0; s < sizeof(stats) / sizeof(stats[0]); s++) {
		char name[64];

		snprintf(name, sizeof(name), "%s_total", stats[s].key);
		metric(t, name, stats[s].help, "counter");
		for (unsigned i = 0; i < eng->nr_devices; i++)
			add(t, "dmofs_%s_total{device=\"%s\"} %llu\n", stats[s].key, eng->devices[i]->name,
			    stat_value(eng->devices[i], s));
	}
}

static void counter(struct text *t, const char *name, const char *help, atomic_ullong *value)
{
	metric(t, name, help, "counter");
	add(t, "dmofs_%s %llu\n", name, (unsigned long long)atomic_load(value));
}

ssize_t eng_metrics(struct engine *eng, char *buf, size_t size)
{
	struct text t = { buf, size, 0 };

	buf[0] = 0;
	device_metrics(&t, eng);
	counter(&t, "revocations_total", "Ranges taken back from the kernel's page cache.", &eng->revocations);
	counter(&t, "move_retries_total", "Plans made anew.", &eng->revoke_retries);
	counter(&t, "write_rerevocations_total", "Writes whose pages were revoked again.", &eng->rerevocations);
	counter(&t, "parked_requests_total", "Reads and writes that waited for a move.", &eng->parked);
	counter(&t, "tier_submits_total", "io_uring submissions.", &eng->tier_submits);
	counter(&t, "tier_entries_total", "Transfers in them.", &eng->tier_entries);
	counter(&t, "tier_direct_total", "Transfers by O_DIRECT.", &eng->tier_direct);
	counter(&t, "tier_read_bytes_total", "Bytes read from backing files.", &eng->tier_bytes_in);
	counter(&t, "tier_written_bytes_total", "Bytes written to backing files.", &eng->tier_bytes_out);
	return t.length;
}
