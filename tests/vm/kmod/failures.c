// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * failures.c - memory runs out in every request, fault and eviction, at each place in turn
 *
 * A kernel with fault injection (scripts/vm --debug) fails the n-th allocation of a thread that says so in its fail-nth.
 * Each test carries out one call with n = 1, 2, 3 ... until the call needs fewer than n, in a scene of its own each time:
 *
 *	begin --before--> call, the n-th allocation fails --ENOMEM--> the bytes are as they were, call again --+
 *	                    |                                                                                  |
 *	                    +--0, it could do without---------------------------------------------> what it promises, end
 *
 * At the end everything is closed, and the backing file has the bytes; devices hold nothing, the core's memory and the
 * module's references are what they were. Threads of the kernel, which evict and run commands, fail at random instead.
 * With kmemleak=on the kernel is asked for what nobody points to.
 */
#define _GNU_SOURCE
#include "kit.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#define RW	(DMO_PROT_READ | DMO_PROT_WRITE)
#define PAGES	8				/* half of them in each of two blocks */
#define LEN	(PAGES * PAGE)
#define AT	(BLOCK - LEN / 2)
#define SIZE	(2 * BLOCK)
#define LIMIT	2000				/* of allocations in one call */
#define MIDDLE	(LEN / 4)			/* what changes a part changes [MIDDLE, 3 * MIDDLE) */

struct scene {
	uint32_t dev, other;		/* the device, and one of the other kind */
	char name[DMO_NAME_MAX];
	int back, fd, ctx;
	uint64_t key;
	uint64_t va;
	char *room, *at;		/* [AT, AT + LEN), mapped where there is nothing else, nor page tables */
	char old[LEN], new[LEN];	/* the bytes before the call, and after */
	int made;			/* what the call gave: a descriptor */
	uint64_t id;			/* ... a pin */
	void *mapped;			/* ... a mapping */
};

struct op {
	void (*before)(struct scene *s);
	int (*call)(struct scene *s);		/* 0 or -errno */
	void (*after)(struct scene *s);		/* 0 was right */
	bool by_page;		/* a call that failed may have changed pages, each wholly */
	bool needs_none;	/* it may find all the memory that it needs in the scene */
};

static uint32_t device;			/* of the tests that run on both kinds */

/* ---- injection ------------------------------------------------------------ */

static int nth = -1;

static void set(const char *attribute, const char *value)
{
	static const char *const kinds[] = { "failslab", "fail_page_alloc" };

	for (int i = 0; i < 2; i++) {
		char path[96];
		int fd;

		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", kinds[i], attribute);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			continue;	/* min-order and the like are of one kind */
		sys(write(fd, value, strlen(value)));
		close(fd);
	}
}

static void need_injection(void)
{
	if (nth >= 0)
		return;
	nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (nth < 0 || access("/sys/kernel/debug/failslab", F_OK))
		skip("a kernel without fault injection");
	set("ignore-gfp-wait", "N");
	set("ignore-gfp-highmem", "N");
	set("min-order", "0");
	set("verbose", "0");		/* 2 shows where, in the kernel's log */
	set("probability", "0");
	set("reject-start", "0");
	set("reject-end", "0");
}

/*
 * What is called from that function of the kernel's finds memory: dma_buf_vmap warns of an exporter that has none.
 * Its size is not known; the next function's begin ends it.
 */
static void spare(const char *function)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	unsigned long long start = 0, end = ~0ull, at;
	char name[128], text[32];

	yes(f);
	while (!start && fscanf(f, "%llx %*c %127s%*[^\n]", &at, name) == 2)
		if (!strcmp(name, function))
			start = at;
	rewind(f);
	while (fscanf(f, "%llx %*c %127s%*[^\n]", &at, name) == 2)
		if (at > start && at < end)
			end = at;
	fclose(f);
	yes(start);
	snprintf(text, sizeof(text), "%#llx", start);
	set("reject-start", text);
	snprintf(text, sizeof(text), "%#llx", end);
	set("reject-end", text);
}

static void arm(unsigned int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", n);

	eq(pwrite(nth, text, length, 0), length);
}

/* Did the n-th come? */
static bool disarm(void)
{
	char text[16] = "";

	sys(pread(nth, text, sizeof(text) - 1, 0));
	arm(0);
	return !atoi(text);
}

/* ---- what must come back -------------------------------------------------- */

static unsigned long long number_in(const char *path)
{
	unsigned long long n = ~0ull;
	FILE *f = fopen(path, "r");

	yes(f);
	eq(fscanf(f, "%llu", &n), 1);
	fclose(f);
	return n;
}

struct counts {
	unsigned long long metadata, references, used;
};

static struct counts count(void)
{
	struct counts c = { .metadata = number_in("/sys/class/misc/dmo-control/metadata"),
			    .references = number_in("/sys/module/dmo/refcnt") };

	for (uint32_t i = 0; i < 63; i++) {
		struct dmo_device_info info = { .device = i };

		if (!ioctl(control(), DMO_IOC_DEVICE, &info))
			c.used += info.used;
	}
	return c;
}

/* Works that end an object or a context may take a moment. */
static void same_counts(const struct counts *before)
{
	struct counts now = count();

	for (int i = 0; i < 2000 && memcmp(&now, before, sizeof(now)); i++) {
		usleep(5000);
		now = count();
	}
	eq(now.references, before->references);
	eq(now.used, before->used);
	eq(now.metadata, before->metadata);
}

static bool is_page(const char *got, const char *want)
{
	return !memcmp(got, want, PAGE);
}

/* [AT, AT + LEN) of fd is as want; where mixed each page of it is as in want or as in other. */
static void check_bytes(int fd, const char *want, const char *other, bool mixed)
{
	static char got[LEN];

	memset(got, 1, LEN);
	eq(pread(fd, got, LEN, AT), LEN);
	for (uint64_t i = 0; i < LEN; i += PAGE)
		if (!is_page(got + i, want + i) && !(mixed && is_page(got + i, other + i)))
			fail_at(__FILE__, __LINE__, "wrong bytes in page", i / PAGE, -1);
}

/* ---- the scene ------------------------------------------------------------ */

static void begin(struct scene *s)
{
	struct dmo_device_info info;

	memset(s, 0, sizeof(*s));
	s->made = -1;
	s->dev = device;
	s->other = device == sim() ? coherent() : sim();
	device_info(s->dev, &info);
	strcpy(s->name, info.name);
	s->back = memfd(SIZE);
	pattern(s->old, 0, LEN, 1);
	memcpy(s->new, s->old, LEN);
	eq(pwrite(s->back, s->old, LEN, AT), LEN);
	s->fd = object_over(s->back);
	s->key = key_of(s->fd);
	s->ctx = context(s->dev);
	s->va = ctx_map(s->ctx, s->fd, SIZE, RW) + AT;
	s->room = mmap(NULL, 3 * BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	yes(s->room != MAP_FAILED);
	s->at = (char *)(((uintptr_t)s->room + BLOCK - 1) & ~(BLOCK - 1)) + BLOCK / 2;
	yes(mmap(s->at, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, s->fd, AT) == s->at);
}

/* Whatever was opened is closed; the bytes have come to the backing file. */
static void end(struct scene *s, const struct counts *before)
{
	if (s->made >= 0)
		close(s->made);
	if (s->mapped)
		munmap(s->mapped, LEN);
	munmap(s->room, 3 * BLOCK);
	close(s->ctx);
	close(s->fd);
	same_counts(before);
	check_bytes(s->back, s->new, s->new, false);
	close(s->back);
}

/* True: the call needed fewer than n allocations. */
static bool one_failure(const struct op *o, unsigned int n)
{
	static struct scene s;
	struct counts before = count();
	bool came;
	int err;

	begin(&s);
	if (o->before)
		o->before(&s);
	arm(n);
	err = o->call(&s);
	came = disarm();
	if (err) {
		if (!came || err != -ENOMEM)
			printf("\tallocation %u (failed: %d)\n", n, came);
		eq(err, -ENOMEM);
		yes(came);
		check_bytes(s.fd, s.old, s.new, o->by_page);
		eq(o->call(&s), 0);
	}
	if (o->after)
		o->after(&s);
	check_bytes(s.fd, s.new, s.new, false);
	end(&s, &before);
	return !came;
}

static void each_failure(const struct op *o)
{
	unsigned int n = 1;

	need_injection();
	while (!one_failure(o, n))
		yes(++n < LIMIT);
	yes(n > 1 || o->needs_none);
	printf("\t%u allocations\n", n - 1);
}

static void on_both(const struct op *o)
{
	uint32_t devices[] = { sim(), coherent() };

	for (int i = 0; i < 2; i++) {
		device = devices[i];
		each_failure(o);
	}
}

static void on_private(const struct op *o)
{
	device = sim();
	each_failure(o);
}

static void on_coherent(const struct op *o)
{
	device = coherent();
	each_failure(o);
}

/* ---- scenes that several begin with --------------------------------------- */

static void on_device(struct scene *s)
{
	eq(migrate(s->fd, AT, LEN, s->dev), 0);
}

/* Every page newer on the device than in the backing file, every second one written by it. */
static void dirty_on_device(struct scene *s)
{
	on_device(s);
	for (uint64_t i = 0; i < LEN; i += 2 * PAGE) {
		eq(fill(s->ctx, s->va + i, PAGE, 5 + i / PAGE), 0);
		memset(s->old + i, 5 + i / PAGE, PAGE);
	}
	memcpy(s->new, s->old, LEN);
}

static void mapped_by_cpu(struct scene *s)
{
	eq(differs(s->at, 0, LEN, 1), LEN);
}

static void all_resident(struct scene *s)
{
	eq(resident(s->fd, s->dev), LEN);
}

static void none_resident(struct scene *s)
{
	eq(resident(s->fd, NONE), 0);
}

/* ---- objects -------------------------------------------------------------- */

static int make_fresh(struct scene *s)
{
	s->made = create(-1, SIZE, 0);
	return s->made < 0 ? s->made : 0;
}

static int new_backing = -1;

static int make_over(struct scene *s)
{
	s->made = create(new_backing, 0, 0);
	return s->made < 0 ? s->made : 0;
}

static int make_again(struct scene *s)
{
	s->made = create(s->back, 0, 0);
	return s->made < 0 ? s->made : 0;
}

static void a_failed_creation_leaves_nothing(void)
{
	new_backing = memfd(SIZE);
	on_private(&(struct op){ .call = make_fresh });
	on_private(&(struct op){ .call = make_over });
	on_private(&(struct op){ .call = make_again });
}

static int heap_buffer = -1;

static int import(struct scene *s)
{
	s->made = create(heap_buffer, 0, 0);
	return s->made < 0 ? s->made : 0;
}

static void a_failed_import_leaves_nothing(void)
{
	struct dma_heap_allocation_data a = { .len = BLOCK, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC);

	need_injection();
	if (heap < 0)
		skip("no system heap");
	sys(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &a));
	heap_buffer = a.fd;
	spare("dma_buf_vmap");
	on_private(&(struct op){ .call = import });
}

static int open_path(struct scene *s, const char *path)
{
	s->made = open(path, O_RDWR | O_CLOEXEC);
	return s->made < 0 ? -errno : 0;
}

static int open_again(struct scene *s)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
	return open_path(s, path);
}

static void an_object_that_could_not_be_opened_again_stays(void)
{
	on_private(&(struct op){ .call = open_again });
}

static int open_context(struct scene *s)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/dmo/%s", s->name);
	return open_path(s, path);
}

static void a_context_that_could_not_be_opened_leaves_nothing(void)
{
	on_both(&(struct op){ .call = open_context });
}

static int get_info(struct scene *s)
{
	struct dmo_info info;

	return ioctl(s->fd, DMO_IOC_INFO, &info) ? -errno : 0;
}

static int get_device(struct scene *s)
{
	struct dmo_device_info info = { .device = s->dev };

	return ioctl(s->ctx, DMO_IOC_DEVICE, &info) ? -errno : 0;
}

static int get_key(struct scene *s)
{
	struct dmo_key key = { 0 };

	return ioctl(s->fd, DMO_IOC_KEY, &key) ? -errno : 0;
}

static int query(struct scene *s)
{
	struct { struct dmo_query head; struct dmo_extent extents[64]; } q = { .head.count = 64 };

	return ioctl(s->fd, DMO_IOC_QUERY(64), &q) ? -errno : 0;
}

static void questions_fail_with_enomem_alone(void)
{
	on_private(&(struct op){ .call = get_info, .before = on_device });
	on_private(&(struct op){ .call = get_device });
	on_private(&(struct op){ .call = get_key });
	on_private(&(struct op){ .call = query, .before = dirty_on_device });
}

/* ---- advice --------------------------------------------------------------- */

static void split_advice(struct scene *s)
{
	eq(advise(s->fd, 0, SIZE, DMO_ADV_SEQUENTIAL, NONE, 0), 0);
	eq(advise(s->fd, AT, PAGE, DMO_ADV_DEVICE_BITS, NONE, 7), 0);
}

static int advise_middle(struct scene *s)
{
	int err = advise(s->fd, AT + MIDDLE, 2 * MIDDLE, DMO_ADV_PREFERRED, s->dev, 0);

	if (err) {
		eq(extent(s->fd, AT + MIDDLE).preferred, NONE);
		eq(extent(s->fd, AT + MIDDLE).attrs, DMO_ATTR_SEQUENTIAL);
	}
	return err;
}

/* What is stored is what is in force: a new object over the same file has it. */
static void middle_is_advised(struct scene *s)
{
	uint64_t offset[] = { AT, AT + MIDDLE, AT + 3 * MIDDLE };
	struct dmo_extent e[3];

	for (int i = 0; i < 3; i++) {
		e[i] = extent(s->fd, offset[i]);
		eq(e[i].preferred, i == 1 ? s->dev : NONE);
		eq(e[i].attrs, DMO_ATTR_SEQUENTIAL | (i == 1 ? DMO_ATTR_PREFERRED : 0));
	}
	eq(e[0].device_bits, 7);
}

static void advice_is_stored_whole_or_not_at_all(void)
{
	on_private(&(struct op){ .before = split_advice, .call = advise_middle, .after = middle_is_advised });
}

/* A file with stored advice whose object is made anew by the call. */
static int stored = -1;

static int make_over_stored(struct scene *s)
{
	s->made = create(stored, 0, 0);
	return s->made < 0 ? s->made : 0;
}

static void has_stored_advice(struct scene *s)
{
	eq(extent(s->made, 0).attrs, DMO_ATTR_RANDOM);
	eq(extent(s->made, PAGE).attrs, 0);
}

static void stored_advice_is_loaded_or_the_object_is_not_made(void)
{
	int fd;

	need_injection();
	stored = disk_file(SIZE);
	fd = object_over(stored);
	eq(advise(fd, 0, PAGE, DMO_ADV_RANDOM, NONE, 0), 0);
	close(fd);
	on_private(&(struct op){ .call = make_over_stored, .after = has_stored_advice });
}

static int willneed(struct scene *s)
{
	return advise(s->fd, AT, LEN, DMO_ADV_WILLNEED, s->dev, 0);
}

static int dontneed(struct scene *s)
{
	return advise(s->fd, AT, LEN, DMO_ADV_DONTNEED, NONE, 0);
}

static int discard(struct scene *s)
{
	memset(s->new + MIDDLE, 0, 2 * MIDDLE);
	return advise(s->fd, AT + MIDDLE, 2 * MIDDLE, DMO_ADV_DISCARD, NONE, 0);
}

static void advice_that_acts_fails_and_loses_no_byte(void)
{
	on_both(&(struct op){ .call = willneed, .after = all_resident });
	on_both(&(struct op){ .before = dirty_on_device, .call = dontneed, .after = none_resident });
	on_both(&(struct op){ .before = dirty_on_device, .call = discard, .by_page = true });
}

/* ---- migration ------------------------------------------------------------ */

static int to_device(struct scene *s)
{
	return migrate(s->fd, AT, LEN, s->dev);
}

static int to_host(struct scene *s)
{
	return migrate(s->fd, AT, LEN, DMO_DEVICE_HOST);
}

static int to_other(struct scene *s)
{
	return migrate(s->fd, AT, LEN, s->other);
}

static void left_the_device(struct scene *s)
{
	eq(resident(s->fd, s->dev), 0);
	eq(resident(s->fd, NONE), LEN);
}

static void a_failed_migration_to_a_device_loses_no_byte(void)
{
	on_both(&(struct op){ .call = to_device, .after = all_resident });
	on_both(&(struct op){ .before = mapped_by_cpu, .call = to_device, .after = all_resident });
}

static void a_failed_migration_to_the_host_loses_no_byte(void)
{
	on_both(&(struct op){ .before = dirty_on_device, .call = to_host, .after = none_resident });
}

static void a_failed_migration_between_devices_loses_no_byte(void)
{
	on_both(&(struct op){ .before = dirty_on_device, .call = to_other, .after = left_the_device });
}

/* Its result may be ENOMEM as well as its start. */
static int async(struct scene *s)
{
	struct dmo_migrate m = { .offset = AT, .length = LEN, .device = s->dev, .flags = DMO_MIGRATE_ASYNC };
	struct pollfd over = { .fd = s->fd, .events = POLLPRI };
	struct dmo_wait w = { 0 };

	if (ioctl(s->fd, DMO_IOC_MIGRATE, &m))
		return -errno;
	w.cookie = m.cookie;
	do {
		poll(&over, 1, 1000);
	} while (!(over.revents & POLLPRI));
	return ioctl(s->fd, DMO_IOC_WAIT, &w) ? -errno : w.error;
}

static void an_asynchronous_migration_tells_of_its_failure(void)
{
	on_private(&(struct op){ .call = async, .after = all_resident });
}

/* ---- pins, exports -------------------------------------------------------- */

static int pin(struct scene *s)
{
	struct dmo_pin p = { .offset = AT, .length = LEN, .device = s->dev };

	if (ioctl(s->fd, DMO_IOC_PIN, &p))
		return -errno;
	s->id = p.id;
	return 0;
}

static int unpin(struct scene *s)
{
	struct dmo_pin p = { .id = s->id };

	return ioctl(s->fd, DMO_IOC_UNPIN, &p) ? -errno : 0;
}

/* One pin, and no more: it holds, and its end lets go. */
static void pinned_once(struct scene *s)
{
	all_resident(s);
	eq(migrate(s->fd, AT, LEN, DMO_DEVICE_HOST), -EBUSY);
	eq(unpin(s), 0);
	eq(migrate(s->fd, AT, LEN, DMO_DEVICE_HOST), 0);
}

static void pinned(struct scene *s)
{
	eq(pin(s), 0);
}

static void movable(struct scene *s)
{
	eq(migrate(s->fd, AT, LEN, DMO_DEVICE_HOST), 0);
}

static void a_failed_pin_holds_nothing(void)
{
	on_both(&(struct op){ .call = pin, .after = pinned_once });
	on_both(&(struct op){ .before = pinned, .call = unpin, .after = movable });
}

static int export_to(struct scene *s, uint32_t dev)
{
	struct dmo_export e = { .offset = AT, .length = LEN, .device = dev, .fd = -1 };

	if (ioctl(s->fd, DMO_IOC_EXPORT, &e))
		return -errno;
	s->made = e.fd;
	return 0;
}

static int export_host(struct scene *s) { return export_to(s, DMO_DEVICE_HOST); }
static int export_device(struct scene *s) { return export_to(s, s->dev); }

static void exported_bytes(struct scene *s)
{
	char *at = map(s->made, LEN);

	eq(memcmp(at, s->new, LEN), 0);
	munmap(at, LEN);
}

static void a_failed_export_holds_nothing(void)
{
	on_coherent(&(struct op){ .call = export_host, .after = exported_bytes });
	on_coherent(&(struct op){ .before = dirty_on_device, .call = export_host, .after = exported_bytes });
	on_coherent(&(struct op){ .call = export_device, .after = exported_bytes });
}

/* A dma-buf's own mapping, and the fault in it. */
static void is_exported(struct scene *s)
{
	eq(export_host(s), 0);
}

static int map_export(struct scene *s)
{
	void *at = mmap(NULL, LEN, PROT_READ, MAP_SHARED, s->made, 0);

	if (at == MAP_FAILED)
		return -errno;
	eq(memcmp(at, s->old, LEN), 0);
	munmap(at, LEN);
	return 0;
}

static void an_export_that_could_not_be_mapped_is_mapped_later(void)
{
	on_coherent(&(struct op){ .before = is_exported, .call = map_export });
}

/* ---- contexts ------------------------------------------------------------- */

static uint64_t fixed_va(const struct scene *s)
{
	return s->va - AT + 16 * BLOCK;
}

static int map_fixed(struct scene *s, uint64_t va, uint64_t length, uint32_t flags)
{
	struct { struct dmo_map head; struct dmo_map_op op; } m = {
		.head.count = 1,
		.op = { .va = va, .length = length, .key = s->key, .offset = AT, .prot = RW, .flags = flags },
	};

	return ioctl(s->ctx, DMO_IOC_MAP(1), &m) ? -errno : 0;
}

static int map_one(struct scene *s)
{
	return map_fixed(s, fixed_va(s), LEN, DMO_MAP_FIXED);
}

static int map_anywhere(struct scene *s)
{
	return map_fixed(s, 0, LEN, 0);
}

static void mapped_twice(struct scene *s)
{
	eq(map_one(s), 0);
	eq(fill(s->ctx, fixed_va(s), PAGE, 3), 0);
	memset(s->old, 3, PAGE);
	memcpy(s->new, s->old, LEN);
}

/* A hole in the first mapping is filled by another piece: three mappings come of it. */
static int map_in_place(struct scene *s)
{
	return map_fixed(s, s->va + MIDDLE, PAGE, DMO_MAP_FIXED | DMO_MAP_REPLACE);
}

static void reads_the_replaced(struct scene *s)
{
	eq(command(s->ctx, DMO_OP_COMPARE, s->va + MIDDLE, s->va, PAGE).result[0], PAGE);
	eq(command(s->ctx, DMO_OP_COMPARE, s->va + MIDDLE + PAGE, s->va + MIDDLE + PAGE, PAGE).result[0], PAGE);
}

static int unmap_middle(struct scene *s)
{
	return ctx_unmap(s->ctx, s->va + MIDDLE, 2 * MIDDLE);
}

/* Nothing is left of the translations: the device finds nothing there. */
static void middle_is_gone(struct scene *s)
{
	eq(command(s->ctx, DMO_OP_COMPARE, s->va, s->va, MIDDLE).status, 0);
	eq(command(s->ctx, DMO_OP_COMPARE, s->va + MIDDLE, s->va + MIDDLE, 8).status, -EFAULT);
	eq(command(s->ctx, DMO_OP_COMPARE, s->va + 3 * MIDDLE, s->va + 3 * MIDDLE, MIDDLE).status, 0);
}

static int unmap_all(struct scene *s)
{
	return ctx_unmap(s->ctx, s->va - AT, SIZE);
}

static void all_is_gone(struct scene *s)
{
	for (uint64_t i = 0; i < LEN; i += PAGE)
		eq(command(s->ctx, DMO_OP_COMPARE, s->va + i, s->va + i, 8).status, -EFAULT);
}

/* Whole blocks, all of their pages written: what is kept of them is least. */
static void whole_blocks_dirty(struct scene *s)
{
	eq(fill(s->ctx, s->va - AT, SIZE, 6), 0);
	memset(s->old, 6, LEN);
	memset(s->new, 6, LEN);
}

static int mirror(struct scene *s)
{
	struct dmo_mirror m = { .address = (uintptr_t)s->at, .length = LEN, .prot = RW };

	return ioctl(s->ctx, DMO_IOC_MIRROR, &m) ? -errno : 0;
}

static void mirrored(struct scene *s)
{
	uintptr_t at = (uintptr_t)s->at;

	eq(command(s->ctx, DMO_OP_COMPARE, at, s->va, LEN).result[0], LEN);
}

static void a_mapping_is_made_whole_or_not_at_all(void)
{
	on_both(&(struct op){ .call = map_one });
	on_both(&(struct op){ .call = map_anywhere });
	on_both(&(struct op){ .before = mapped_twice, .call = map_in_place, .after = reads_the_replaced });
}

static void an_unmapped_page_is_out_of_reach_whatever_failed(void)
{
	on_both(&(struct op){ .before = dirty_on_device, .call = unmap_middle, .after = middle_is_gone });
	on_both(&(struct op){ .before = dirty_on_device, .call = unmap_all, .after = all_is_gone });
	on_both(&(struct op){ .before = whole_blocks_dirty, .call = unmap_middle, .after = middle_is_gone });
	on_both(&(struct op){ .before = whole_blocks_dirty, .call = unmap_all, .after = all_is_gone });
}

static void a_failed_mirror_leaves_no_mapping(void)
{
	on_private(&(struct op){ .call = mirror, .after = mirrored });
}

static int resolve_read(struct scene *s)
{
	struct dmo_fault f = { .va = s->va, .length = LEN, .prot = DMO_PROT_READ };

	return ioctl(s->ctx, DMO_IOC_FAULT, &f) ? -errno : 0;
}

static int resolve_write(struct scene *s)
{
	struct dmo_fault f = { .va = s->va, .length = LEN, .prot = RW };

	return ioctl(s->ctx, DMO_IOC_FAULT, &f) ? -errno : 0;
}

static void stays_on_the_host(struct scene *s)
{
	eq(advise(s->fd, 0, SIZE, DMO_ADV_NO_MIGRATE, NONE, 0), 0);
}

static void a_failed_device_fault_loses_no_byte(void)
{
	on_both(&(struct op){ .call = resolve_read });
	on_both(&(struct op){ .call = resolve_write });
	on_private(&(struct op){ .before = mapped_by_cpu, .call = resolve_write });
}

static void a_failed_device_fault_on_host_pages_holds_none(void)
{
	on_private(&(struct op){ .before = stays_on_the_host, .call = resolve_read, .after = none_resident });
}

static int write_commands(struct scene *s)
{
	struct dmo_command c[8];
	struct dmo_completion over[8];
	ssize_t got;

	memset(c, 0, sizeof(c));
	for (int i = 0; i < 8; i++)
		c[i].cookie = i + 1;
	got = write(s->ctx, c, sizeof(c));
	if (got < 0)
		return -errno;
	eq(got, sizeof(c));
	for (size_t have = 0; have < sizeof(over); have += got) {
		got = read(s->ctx, (char *)over + have, sizeof(over) - have);
		if (got < 0)
			eq(errno, ENOMEM);
		got = got < 0 ? 0 : got;
	}
	for (int i = 0; i < 8; i++) {
		eq(over[i].cookie, i + 1);
		if (over[i].status && over[i].status != -ENOMEM)
			eq(over[i].status, 0);
	}
	return over[0].status;
}

static void commands_run_or_say_that_they_did_not(void)
{
	on_both(&(struct op){ .call = write_commands });
}

/* ---- the CPU -------------------------------------------------------------- */

/* A fault that finds no memory is tried again by the kernel: the bytes are all that is seen. */
static int load_all(struct scene *s)
{
	for (uint64_t i = 0; i < LEN; i += PAGE)
		eq(*(volatile char *)(s->at + i), s->old[i]);
	return 0;
}

static int store_all(struct scene *s)
{
	for (uint64_t i = 0; i < LEN; i += PAGE)
		*(volatile char *)(s->at + i) = 0x77;
	for (uint64_t i = 0; i < LEN; i += PAGE)
		s->new[i] = 0x77;
	return 0;
}

static void private_mapping(struct scene *s)
{
	dirty_on_device(s);
	s->mapped = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, s->fd, AT);
	yes(s->mapped != MAP_FAILED);
}

static int store_private(struct scene *s)
{
	for (uint64_t i = 0; i < LEN; i += PAGE)
		((volatile char *)s->mapped)[i] = 0x55;
	for (uint64_t i = 0; i < LEN; i++)
		if (((char *)s->mapped)[i] != (i % PAGE ? s->old[i] : 0x55))
			fail_at(__FILE__, __LINE__, "private byte", ((char *)s->mapped)[i], s->old[i]);
	return 0;
}

/* Only a device has bytes: the backing file has no pages there. */
static void device_fills_holes(struct scene *s)
{
	sys(fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, AT, LEN));
	eq(fill(s->ctx, s->va, LEN, 9), 0);
	memset(s->old, 9, LEN);
	memset(s->new, 9, LEN);
}

static void a_cpu_fault_on_host_pages_finds_memory_later(void)
{
	on_private(&(struct op){ .call = load_all });
	on_private(&(struct op){ .call = store_all });
}

static void a_cpu_fault_on_device_pages_finds_memory_later(void)
{
	on_both(&(struct op){ .before = dirty_on_device, .call = load_all });
	on_both(&(struct op){ .before = dirty_on_device, .call = store_all });
	on_both(&(struct op){ .before = device_fills_holes, .call = load_all });
	on_both(&(struct op){ .before = device_fills_holes, .call = store_all });
}

static void a_private_copy_of_device_pages_is_made_later(void)
{
	on_both(&(struct op){ .before = private_mapping, .call = store_private });
}

static int map_object(struct scene *s)
{
	s->mapped = mmap(NULL, LEN, PROT_READ, MAP_SHARED, s->fd, AT);
	if (s->mapped != MAP_FAILED)
		return 0;
	s->mapped = NULL;
	return -errno;
}

static void a_failed_mmap_leaves_no_use(void)
{
	on_private(&(struct op){ .call = map_object });
}

static int read_all(struct scene *s)
{
	static char got[LEN];
	ssize_t n;

	memset(got, 1, LEN);
	n = pread(s->fd, got, LEN, AT);
	if (n < 0)
		return -errno;
	eq(memcmp(got, s->old, n), 0);
	return n < (ssize_t)LEN ? -ENOMEM : 0;
}

/* Pages by themselves and in part. */
static int write_middle(struct scene *s)
{
	static char bytes[LEN];
	ssize_t n;

	memset(bytes, 0x33, LEN);
	memset(s->new + MIDDLE, 0x33, 2 * MIDDLE - 8);
	n = pwrite(s->fd, bytes, 2 * MIDDLE - 8, AT + MIDDLE);
	if (n < 0)
		return -errno;
	return n < (ssize_t)(2 * MIDDLE - 8) ? -ENOMEM : 0;
}

static void reads_and_writes_fail_by_page(void)
{
	on_both(&(struct op){ .before = dirty_on_device, .call = read_all });
	on_both(&(struct op){ .before = dirty_on_device, .call = write_middle, .by_page = true });
	on_both(&(struct op){ .before = on_device, .call = write_middle, .by_page = true });
	on_both(&(struct op){ .before = device_fills_holes, .call = write_middle, .by_page = true });
}

/* ---- size and storage ----------------------------------------------------- */

static int punch(struct scene *s)
{
	memset(s->new + MIDDLE, 0, 2 * MIDDLE);
	return fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, AT + MIDDLE, 2 * MIDDLE) ? -errno : 0;
}

/* Its edges lie within pages. */
static int punch_parts(struct scene *s)
{
	memset(s->new + MIDDLE + 100, 0, 2 * MIDDLE);
	return fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, AT + MIDDLE + 100, 2 * MIDDLE) ? -errno : 0;
}

/* Down, and up again in another call: what was behind must not come back. */
static int shrink(struct scene *s)
{
	memset(s->new + MIDDLE + 100, 0, LEN - MIDDLE - 100);
	return ftruncate(s->fd, AT + MIDDLE + 100) ? -errno : 0;
}

static void grow_again(struct scene *s)
{
	sys(ftruncate(s->fd, SIZE));
}

static void a_failed_punch_spares_what_is_round_it(void)
{
	on_both(&(struct op){ .before = dirty_on_device, .call = punch, .by_page = true, .needs_none = true });
	on_both(&(struct op){ .before = dirty_on_device, .call = punch_parts, .by_page = true });
	on_both(&(struct op){ .before = whole_blocks_dirty, .call = punch, .by_page = true });
}

static void truncated_bytes_never_come_back(void)
{
	on_both(&(struct op){ .before = dirty_on_device, .call = shrink, .after = grow_again });
	on_both(&(struct op){ .before = whole_blocks_dirty, .call = shrink, .after = grow_again });
}

/* What it met it tells once: the second call brings all of it. */
static int sync_it(struct scene *s)
{
	return fsync(s->fd) ? -errno : 0;
}

static void in_the_backing_file(struct scene *s)
{
	check_bytes(s->back, s->new, s->new, false);
}

static int msync_it(struct scene *s)
{
	return msync(s->at, LEN, MS_SYNC) ? -errno : 0;
}

static void a_failed_sync_brings_all_the_next_time(void)
{
	on_both(&(struct op){ .before = dirty_on_device, .call = sync_it, .after = in_the_backing_file });
	on_both(&(struct op){ .before = dirty_on_device, .call = msync_it, .after = in_the_backing_file });
}

/* ---- eviction ------------------------------------------------------------- */

static int set_max(const struct scene *s, const char *value)
{
	char path[96];
	int fd, r;

	snprintf(path, sizeof(path), "/sys/class/misc/dmo-%s/memory/max", s->name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {			/* busy: the evictor is at it, and slow */
		r = write(fd, value, strlen(value)) < 0 ? -errno : 0;
	} while (r == -EBUSY);
	close(fd);
	return r;
}

/* A smaller limit evicts before the write returns. */
static int evict_by_limit(struct scene *s)
{
	return set_max(s, "0");
}

static void limit_is_off(struct scene *s)
{
	none_resident(s);
	eq(set_max(s, "max"), 0);
}

/* Room for the first half alone: the second is had by evicting that. */
static void full_device(struct scene *s)
{
	char half[32];

	eq(fill(s->ctx, s->va, LEN / 2, 4), 0);
	memset(s->old, 4, LEN / 2);
	memcpy(s->new, s->old, LEN);
	snprintf(half, sizeof(half), "%lu", LEN / 2);
	eq(set_max(s, half), 0);
}

static int crowd_out(struct scene *s)
{
	struct dmo_fault f = { .va = s->va + LEN / 2, .length = LEN / 2, .prot = RW };

	return ioctl(s->ctx, DMO_IOC_FAULT, &f) ? -errno : 0;
}

static void restore_limit(struct scene *s)
{
	eq(set_max(s, "max"), 0);
}

static void a_failed_eviction_loses_no_byte(void)
{
	on_both(&(struct op){ .before = dirty_on_device, .call = evict_by_limit, .after = limit_is_off });
	on_both(&(struct op){ .before = full_device, .call = crowd_out, .after = restore_limit });
}

/* ---- the kernel's threads ------------------------------------------------- */

/* Marks threads whose names begin so: the probability holds for them. */
static int mark(const char *prefix, bool on)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int n = 0;

	yes(d);
	while ((e = readdir(d))) {
		char path[300], name[64] = "";
		FILE *f;
		int fd;

		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (!fgets(name, sizeof(name), f) || strncmp(name, prefix, strlen(prefix)))
			name[0] = 0;
		fclose(f);
		if (!name[0])
			continue;
		snprintf(path, sizeof(path), "/proc/%s/make-it-fail", e->d_name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd >= 0 && write(fd, on ? "1" : "0", 1) == 1)
			n++;
		close(fd);
	}
	closedir(d);
	return n;
}

static void fail_threads(const char *prefix, const char *probability)
{
	set("task-filter", "Y");
	set("interval", "1");
	set("times", "-1");
	yes(mark(prefix, true) > 0);
	set("probability", probability);
}

static void spare_threads(const char *prefix)
{
	set("probability", "0");
	set("task-filter", "N");
	mark(prefix, false);
}

/* Commands find memory, or say that they don't; the bytes are those of the commands that did. */
static void device_computes(struct scene *s, int rounds)
{
	int done = 0;

	for (int i = 0; i < rounds; i++) {
		uint64_t at = i * 7 % PAGES * PAGE;
		int status = fill(s->ctx, s->va + at, PAGE, i);

		if (status)
			eq(status, -ENOMEM);
		else
			memset(s->new + at, i, PAGE);
		done += !status;
		if (i % 5 == 4)
			migrate(s->fd, AT, LEN, DMO_DEVICE_HOST);
	}
	yes(done > 0);
	yes(done < rounds);
}

static void commands_whose_worker_finds_no_memory_fail_alone(void)
{
	static struct scene s;
	struct counts before;

	need_injection();
	device = sim();
	before = count();
	begin(&s);
	fail_threads("kworker/u", "20");
	device_computes(&s, 400);
	spare_threads("kworker/u");
	check_bytes(s.fd, s.new, s.new, false);
	end(&s, &before);
}

/* It fails now and then, and goes on: memory gets free all the same. */
static void an_evictor_without_memory_goes_on(void)
{
	static struct scene s;
	struct counts before;

	need_injection();
	device = sim();
	before = count();
	begin(&s);
	fail_threads("dmo-evict", "50");
	for (int i = 0; i < 40; i++) {
		eq(fill(s.ctx, s.va - AT, SIZE, i), 0);
		memset(s.new, i, LEN);
		eq(set_max(&s, "3M"), 0);
		usleep(20000);
		check_bytes(s.fd, s.new, s.new, false);
		eq(set_max(&s, "max"), 0);
	}
	spare_threads("dmo-evict");
	end(&s, &before);
}

/* ---- what nobody points to ------------------------------------------------ */

static void scan(int fd)
{
	eq(write(fd, "scan", 4), 4);
}

/* Whether the report has one of ours; it is printed. */
static bool reports_ours(void)
{
	FILE *f = fopen("/sys/kernel/debug/kmemleak", "r");
	char line[256], text[8192] = "";
	bool ours = false;

	yes(f);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "unreferenced object", 19)) {
			ours |= !!strstr(text, "[dmo");
			if (strstr(text, "[dmo"))
				printf("%s", text);
			text[0] = 0;
		}
		if (strlen(text) + strlen(line) < sizeof(text))
			strcat(text, line);
	}
	if (strstr(text, "[dmo")) {
		printf("%s", text);
		ours = true;
	}
	fclose(f);
	return ours;
}

static void nothing_is_leaked(void)
{
	int fd = open("/sys/kernel/debug/kmemleak", O_RDWR | O_CLOEXEC);

	need_injection();
	if (fd < 0)
		skip("a kernel without kmemleak, or not booted with kmemleak=on");
	sleep(6);		/* younger memory is not reported */
	scan(fd);
	sleep(1);
	scan(fd);		/* what is in a register at one scan is not at the next */
	yes(!reports_ours());
}

static const struct test tests[] = {
	T(a_failed_creation_leaves_nothing),
	T(a_failed_import_leaves_nothing),
	T(an_object_that_could_not_be_opened_again_stays),
	T(a_context_that_could_not_be_opened_leaves_nothing),
	T(questions_fail_with_enomem_alone),
	T(advice_is_stored_whole_or_not_at_all),
	T(stored_advice_is_loaded_or_the_object_is_not_made),
	T(advice_that_acts_fails_and_loses_no_byte),
	T(a_failed_migration_to_a_device_loses_no_byte),
	T(a_failed_migration_to_the_host_loses_no_byte),
	T(a_failed_migration_between_devices_loses_no_byte),
	T(an_asynchronous_migration_tells_of_its_failure),
	T(a_failed_pin_holds_nothing),
	T(a_failed_export_holds_nothing),
	T(an_export_that_could_not_be_mapped_is_mapped_later),
	T(a_mapping_is_made_whole_or_not_at_all),
	T(an_unmapped_page_is_out_of_reach_whatever_failed),
	T(a_failed_mirror_leaves_no_mapping),
	T(a_failed_device_fault_loses_no_byte),
	T(a_failed_device_fault_on_host_pages_holds_none),
	T(commands_run_or_say_that_they_did_not),
	T(a_cpu_fault_on_host_pages_finds_memory_later),
	T(a_cpu_fault_on_device_pages_finds_memory_later),
	T(a_private_copy_of_device_pages_is_made_later),
	T(a_failed_mmap_leaves_no_use),
	T(reads_and_writes_fail_by_page),
	T(a_failed_punch_spares_what_is_round_it),
	T(truncated_bytes_never_come_back),
	T(a_failed_sync_brings_all_the_next_time),
	T(a_failed_eviction_loses_no_byte),
	T(commands_whose_worker_finds_no_memory_fail_alone),
	T(an_evictor_without_memory_goes_on),
	T(nothing_is_leaked),
};

int main(void)
{
#ifdef SOME
	static const struct test some[] = { SOME };

	return RUN(some);
#endif
	return RUN(tests);
}
