/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_failures.c - each operation with its first, second, ... copy, backing I/O and allocation failing (invariant 3)
 *
 * An object of a block and a bit stands partly on a device: clean pages, dirty ones, pages that are not there. Each
 * operation runs on a fresh one, its nth step fails, for every n until there are no more. Then
 *
 *   - the result is 0 or the error of that step; the operation is over, and nobody holds a block;
 *   - each page is where it was before or where success would have put it, dirty if and only if it was there;
 *   - the rules between the rows of a block hold, a device's used frames are the sum of its copies' chunks;
 *   - every byte is the one that a model has: the old one after an error, the new one after a success (where a device or
 *     CPU was writing and failed: either); the CPU, the devices and, after an fsync, the store agree about it;
 *   - the operation succeeds when it is tried again, and nothing is left when all is closed.
 *
 * Steps fail in the middle: half of a copy's bytes have moved.
 */
#include "engine/internal.h"
#include "fakefs.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB	(1ull << 20)
#define SIZE	(2 * MIB + 512 * 1024)
#define PAGES	(SIZE / FF_PAGE)
#define RW	(DMO_PROT_READ | DMO_PROT_WRITE)

/* How the object stands at first: [0, clean) clean on device a, [clean, dirty) dirty there, the rest in the store only. */
static const struct layout {
	uint64_t clean, dirty;
} layouts[] = { { MIB, MIB + MIB / 2 }, { 2 * MIB, 2 * MIB + 128 * 1024 } }, *layout;

/* ---- steps that fail ------------------------------------------------------------------------------------------- */

enum step { COPY_A, COPY_B, IO, MEMORY, STEPS };

static const char *const step_names[STEPS] = { "copy of device a", "copy of device b", "backing I/O", "allocation" };
static atomic_bool armed[STEPS];
static atomic_long seen[STEPS], fail_at[STEPS];

static bool fails(enum step step)
{
	return atomic_load(&armed[step]) && atomic_fetch_add(&seen[step], 1) + 1 == atomic_load(&fail_at[step]);
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
ssize_t __real_pread(int fd, void *buf, size_t n, off_t at);
ssize_t __real_pwrite(int fd, const void *buf, size_t n, off_t at);
int __real_ftruncate(int fd, off_t size);
int __real_fallocate(int fd, int mode, off_t at, off_t n);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t at);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_fallocate(int fd, int mode, off_t at, off_t n);

void *__wrap_malloc(size_t size)
{
	return fails(MEMORY) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails(MEMORY) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails(MEMORY) ? NULL : __real_realloc(p, size);
}

static int io_error(void)
{
	errno = EIO;
	return -1;
}

ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t at)
{
	if (!fails(IO))
		return __real_pread(fd, buf, n, at);
	memset(buf, 0xee, n / 2);
	return io_error();
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t at)
{
	if (!fails(IO))
		return __real_pwrite(fd, buf, n, at);
	return n > 1 && __real_pwrite(fd, buf, n / 2, at) < 0 ? -1 : io_error();
}

int __wrap_ftruncate(int fd, off_t size)
{
	return fails(IO) ? io_error() : __real_ftruncate(fd, size);
}

int __wrap_fallocate(int fd, int mode, off_t at, off_t n)
{
	return fails(IO) ? io_error() : __real_fallocate(fd, mode, at, n);
}

/* Transfers are failed by the device itself, and only counted here. */
static const struct dmo_backend_ops *real;
static struct dmo_backend_ops spy;
static void *device_b;

static enum step copy_step(const void *dev)
{
	return dev == device_b ? COPY_B : COPY_A;
}

static void spy_copy(void *dev, struct dmo_copy_job *jobs)
{
	for (struct dmo_copy_job *j = jobs; j; j = j->next)
		fails(copy_step(dev));
	real->copy(dev, jobs);
}

static int spy_link_pass(void *dev, uint64_t bytes, enum dmo_copy_dir dir)
{
	fails(copy_step(dev));
	return real->link_pass(dev, bytes, dir);
}

static void arm(struct ff *ff, enum step step, long n)
{
	char what[32];

	atomic_store(&seen[step], 0);
	atomic_store(&fail_at[step], n);
	if (n && step < IO) {
		snprintf(what, sizeof(what), "copy-fail %ld", n);
		ck_assert_int_eq(real->inject(eng_device(ff->eng, step)->dev, what), 0);
	}
	atomic_store(&armed[step], true);
}

/* How many there were. A failure that did not come about is forgotten. */
static long disarm(struct ff *ff, enum step step)
{
	atomic_store(&armed[step], false);
	if (step < IO)
		real->inject(eng_device(ff->eng, step)->dev, "copy-fail 1000000000");
	return atomic_load(&seen[step]);
}

/* ---- a scene ------------------------------------------------------------------------------------------------------- */

struct scene {
	struct ff *ff;
	struct ff_file *file;
	struct ff_open *open;
	struct ff_ctx *a, *b;
	uint64_t va, vb, key;
	struct dmo_pin pin;	/* id 0: none */
	bool hole;		/* HOLE is not mapped */
};

static struct scene new_scene(void)
{
	static const char *const devices[] = { "sim:a,memory=16M,threads=1", "sim:b,memory=16M,threads=1", NULL };
	struct scene s = { .ff = ff_start(NULL, devices) };

	s.ff->eng->no_uring = true;	/* pread and pwrite can be failed */
	real = eng_device(s.ff->eng, 0)->ops;
	spy = *real;
	spy.copy = spy_copy;
	spy.link_pass = spy_link_pass;
	device_b = eng_device(s.ff->eng, 1)->dev;
	for (unsigned i = 0; i < 2; i++)
		eng_device(s.ff->eng, i)->ops = &spy;
	s.file = ff_file(s.ff, "object", SIZE, PAGES);
	s.open = ff_open(s.file, O_RDWR);
	s.a = ff_ctx(s.ff, 0);
	s.b = ff_ctx(s.ff, 1);
	s.va = ff_map(s.a, s.open, 0, SIZE, RW, NULL);
	s.vb = ff_map(s.b, s.open, 0, SIZE, RW, NULL);
	s.key = ff_key(s.open);
	ck_assert_int_eq(ff_migrate(s.open, 0, layout->clean, 0), 0);
	ck_assert_int_eq(FF_RUN(s.a, DMO_OP_FILL, s.va + layout->clean, layout->dirty - layout->clean, 0x77).status, 0);
	return s;
}

static void end_scene(struct scene *s)
{
	uint64_t end = ff_ms() + FF_PATIENCE * 1000;

	ff_ctx_close(s->a);
	ff_ctx_close(s->b);
	ff_close(s->open);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(ff_device_number(s->ff, i, "memory.current", ""), 0);
	while (atomic_load(&s->file->gets) && ff_ms() < end)	/* whoever answered lets go after that */
		usleep(200);
	ck_assert_int_eq(atomic_load(&s->file->gets), 0);
	for (unsigned i = 0; i < 2; i++)
		eng_device(s->ff->eng, i)->ops = real;
	ff_stop(s->ff);
}

/* ---- operations, and what they make of the content ------------------------------------------------------------------ */

/* One command; what it gives, or that it could not be handed over. Nothing in the operations asserts: that takes memory. */
static int64_t command(struct ff_ctx *c, uint32_t op, uint64_t va, uint64_t bytes, uint64_t byte)
{
	struct dmo_command command = { .op = op, .arg = { va, bytes, byte, 0, op == DMO_OP_CKSUM } };
	struct dmo_completion done;
	struct ff_call call;
	int64_t n;

	ff_call_init(&call);
	eng_ctx_write(c->eng, &call.req, &command, sizeof(command));
	n = ff_call_wait(&call);
	if (n != sizeof(command))
		return n;
	ff_call_init(&call);
	eng_ctx_read(c->eng, &call.req, &done, sizeof(done), false);
	n = ff_call_wait(&call);
	return n == sizeof(done) ? done.status : n;
}

static int64_t map_at(struct scene *s, uint64_t *va, uint64_t offset, uint64_t length)
{
	struct {
		struct dmo_map map;
		struct dmo_map_op op;
	} m = { { .count = 1 }, { .va = *va, .length = length, .offset = offset, .prot = RW, .key = s->key,
				  .flags = *va ? DMO_MAP_FIXED : 0 } };
	int64_t err = ff_ctx_ioctl(s->a, DMO_IOC_MAP(1), &m);

	*va = m.op.va;
	return err;
}

struct content {
	unsigned char *bytes;	/* SIZE of them */
	uint64_t size;
	uint64_t sum;		/* what cksum says of them */
};

static int64_t device_reads(struct scene *s)
{
	return command(s->a, DMO_OP_CKSUM, s->va + MIB + MIB / 4, SIZE - MIB - MIB / 4, 0);
}

static int64_t other_device_reads(struct scene *s)
{
	return command(s->b, DMO_OP_CKSUM, s->vb + MIB / 2, MIB, 0);
}

#define FILL_FROM	(3 * MIB / 4)
#define FILL_BYTES	MIB

static int64_t device_writes(struct scene *s)
{
	return command(s->a, DMO_OP_FILL, s->va + FILL_FROM, FILL_BYTES, 9);
}

static int64_t other_device_writes(struct scene *s)
{
	return command(s->b, DMO_OP_FILL, s->vb + FILL_FROM, FILL_BYTES, 9);
}

static void filled(struct content *c)
{
	memset(c->bytes + FILL_FROM, 9, FILL_BYTES);
}

static int64_t prefetch(struct scene *s)
{
	return ff_migrate(s->open, 0, SIZE, 0);
}

static int64_t move_to_the_other_device(struct scene *s)
{
	return ff_migrate(s->open, 0, SIZE, 1);
}

static int64_t evict(struct scene *s)
{
	return ff_migrate(s->open, 0, SIZE, DMO_DEVICE_HOST);
}

static int64_t evict_ragged_pages(struct scene *s)
{
	return ff_migrate(s->open, MIB - 5 * FF_PAGE, 20 * FF_PAGE, DMO_DEVICE_HOST);
}

static int64_t sync_file_(struct scene *s)
{
	return ff_fsync(s->open);
}

#define PUNCH_FROM	(MIB / 2 + 100)
#define PUNCH_END	(MIB + MIB / 4 + 50)

static int64_t punch(struct scene *s)
{
	return ff_punch(s->open, PUNCH_FROM, PUNCH_END - PUNCH_FROM);
}

static void punched(struct content *c)
{
	memset(c->bytes + PUNCH_FROM, 0, PUNCH_END - PUNCH_FROM);
}

static int64_t cut(struct scene *s)
{
	return ff_truncate(s->open, PUNCH_END);
}

static void was_cut(struct content *c)
{
	memset(c->bytes + PUNCH_END, 0, SIZE - PUNCH_END);
	c->size = PUNCH_END;
}

static int64_t discard(struct scene *s)
{
	return ff_advise(s->open, FF_PAGE, MIB + MIB / 4, DMO_ADV_DISCARD, DMO_DEVICE_ANY);
}

static void discarded(struct content *c)
{
	memset(c->bytes + FF_PAGE, 0, MIB + MIB / 4);
}

static int64_t advise(struct scene *s)
{
	return ff_advise(s->open, 3 * FF_PAGE, MIB, DMO_ADV_READ_MOSTLY, DMO_DEVICE_ANY);
}

static int64_t pin(struct scene *s)
{
	struct dmo_pin p = { .length = 2 * MIB + MIB / 4, .device = 0 };
	int64_t err = ff_ioctl(s->open, DMO_IOC_PIN, &p);

	if (!err)
		s->pin = p;
	return err;
}

static int64_t map_more(struct scene *s)
{
	uint64_t va = 0;

	return map_at(s, &va, MIB / 2, MIB);
}

#define HOLE	(MIB + 7 * FF_PAGE)

/* In the middle of the mapping, which is cut in two. */
static int64_t unmap(struct scene *s)
{
	int64_t err = ff_unmap(s->a, s->va + HOLE, FF_PAGE);

	s->hole = !err;
	return err;
}

static char io_buffer[MIB];

static int64_t cpu_reads(struct scene *s)
{
	int64_t n = ff_read_direct(s->open, MIB - 12345, io_buffer, sizeof(io_buffer));

	return n == sizeof(io_buffer) ? 0 : n;
}

#define SHORT	1	/* some bytes, not all */

#define WRITE_FROM	(MIB - 100)
#define WRITE_BYTES	(MIB / 4 + 333)

/* What is written to no cache; ff_write would fail in the test's own memory. */
static int64_t cpu_writes(struct scene *s)
{
	struct ff_call call;
	int64_t n;

	memset(io_buffer, 5, WRITE_BYTES);
	if (eng_write_begin(s->open->eng))
		return -EBADE;		/* no device has to do with it? */
	ff_call_init(&call);
	eng_write(s->open->eng, &call.req, io_buffer, WRITE_FROM, WRITE_BYTES, ENG_IO_NOCACHE);
	n = ff_call_wait(&call);
	return n == WRITE_BYTES ? 0 : n < 0 ? n : SHORT;
}

static void written(struct content *c)
{
	memset(c->bytes + WRITE_FROM, 5, WRITE_BYTES);
}

static const struct op {
	const char *name;
	int64_t (*run)(struct scene *s);
	void (*model)(struct content *c);
	bool torn;		/* may be half done after an error */
} ops[] = {
	{ "a device reads", device_reads, NULL, false },
	{ "the other device reads", other_device_reads, NULL, false },
	{ "a device writes", device_writes, filled, true },
	{ "the other device writes", other_device_writes, filled, true },
	{ "prefetch", prefetch, NULL, false },
	{ "prefetch to the other device", move_to_the_other_device, NULL, false },
	{ "evict", evict, NULL, false },
	{ "evict some pages", evict_ragged_pages, NULL, false },
	{ "fsync", sync_file_, NULL, false },
	{ "punch", punch, punched, false },
	{ "truncate", cut, was_cut, false },
	{ "discard", discard, discarded, false },
	{ "advise", advise, NULL, false },
	{ "pin", pin, NULL, false },
	{ "map", map_more, NULL, false },
	{ "unmap", unmap, NULL, false },
	{ "a CPU reads", cpu_reads, NULL, false },
	{ "a CPU writes", cpu_writes, written, true },
};

/* ---- the whole state ---------------------------------------------------------------------------------------------- */

struct state {
	unsigned char valid[PAGES], dirty[PAGES];	/* a bit for each device */
	unsigned pins[2];
	uint64_t size;
};

static bool pool_rests(struct eng_pool *pool)
{
	bool rests;

	pthread_mutex_lock(&pool->lock);
	rests = !pool->head && pool->waiting == pool->threads;
	pthread_mutex_unlock(&pool->lock);
	return rests;
}

/* Nobody works any more, holds a block or is parked. */
static bool is_quiet(struct scene *s)
{
	struct eng_object *obj = s->file->obj;
	bool quiet = pool_rests(&s->ff->eng->pool);

	pthread_mutex_lock(&obj->lock);
	quiet = quiet && dmo_object_idle(&obj->core) && !obj->parked && !obj->promises && !obj->underway &&
		!obj->barrier;
	pthread_mutex_unlock(&obj->lock);
	return quiet;
}

static void settle(struct scene *s)
{
	uint64_t end = ff_ms() + FF_PATIENCE * 1000;

	while (!is_quiet(s)) {		/* Check's assertions take memory, which may fail now */
		if (ff_ms() > end)
			ck_abort_msg("somebody still works, or holds a block");
		usleep(200);
	}
}

/* Takes the translations away, so that nothing is dirty that doesn't say so, and looks at the rules between the rows. */
static void harvest(struct dmo_block *b)
{
	u64 pages[DMO_BITS_WORDS];
	const char *wrong;

	wrong = dmo_block_check(b);
	ck_assert_msg(!wrong, "%s", wrong);
	b->users++;
	ck_assert_int_eq(dmo_block_open(b), 0);
	dmo_bits_copy(pages, dmo_block_bits(b, DMO_MAPPED));
	eng_release_pages(b, pages);
	wrong = dmo_block_check(b);
	ck_assert_msg(!wrong, "%s", wrong);
}

static void note_copy(const struct dmo_copy *c, struct state *st)
{
	unsigned device = c->dev->number;

	ck_assert_uint_lt(device, 2);		/* and not in staging */
	st->pins[device] += c->pins;
	for (unsigned i = 0; i < DMO_BLOCK_PAGES; i++) {
		u64 page = c->block->index * DMO_BLOCK_PAGES + i;

		if (page >= PAGES)
			break;
		st->valid[page] |= dmo_bits_test(dmo_copy_bits(c, DMO_VALID), i) << device;
		st->dirty[page] |= dmo_bits_test(dmo_copy_bits(c, DMO_DIRTY), i) << device;
	}
}

static void check_memory(struct scene *s, const u64 *frames)
{
	for (unsigned i = 0; i < 2; i++) {
		struct eng_device *dev = eng_device(s->ff->eng, i);

		pthread_mutex_lock(&dev->lock);
		ck_assert_uint_eq(dev->core.used, frames[i]);
		ck_assert_uint_le(dev->core.used, dev->core.limit);
		pthread_mutex_unlock(&dev->lock);
	}
}

static struct state look(struct scene *s)
{
	struct eng_object *obj = s->file->obj;
	struct state st = { .size = 0 };
	u64 frames[2] = { 0 };
	struct dmo_block *b;

	settle(s);
	pthread_mutex_lock(&obj->lock);
	st.size = obj->core.size;
	for (u64 i = 0; (b = dmo_radix_next(&obj->core.blocks, &i)); i++) {
		harvest(b);
		for (struct dmo_copy *c = b->copies; c; c = c->next) {
			note_copy(c, &st);
			frames[c->dev->number] += c->frames;
		}
		dmo_block_put(b);
	}
	pthread_mutex_unlock(&obj->lock);
	check_memory(s, frames);
	return st;
}

/* Did the page come, and was not written any more? */
static bool came(unsigned i, const struct state *st, const struct state *before, const struct state *after)
{
	return st->valid[i] == after->valid[i] && st->dirty[i] == (before->dirty[i] ? st->valid[i] : 0);
}

/* Each page stands as in one of the two. */
static void check_state(const struct op *op, const struct state *st, const struct state *before,
			const struct state *after)
{
	for (unsigned i = 0; i < PAGES; i++) {
		bool stayed = st->valid[i] == before->valid[i] && st->dirty[i] == before->dirty[i];
		bool moved = st->valid[i] == after->valid[i] && st->dirty[i] == after->dirty[i];

		ck_assert_msg(stayed || moved || (op->torn && came(i, st, before, after)), "page %u is valid on %x, dirty on %x; was %x, %x; would be %x, %x", i,
			      st->valid[i], st->dirty[i], before->valid[i], before->dirty[i], after->valid[i],
			      after->dirty[i]);
	}
}

/* What the operation left on purpose. */
static void mend(struct scene *s)
{
	uint64_t va = s->va + HOLE;

	if (s->pin.id)
		ck_assert_int_eq(ff_ioctl(s->open, DMO_IOC_UNPIN, &s->pin), 0);
	if (s->hole)
		ck_assert_int_eq(map_at(s, &va, HOLE, FF_PAGE), 0);
	s->pin.id = 0;
	s->hole = false;
}

/* ---- the content --------------------------------------------------------------------------------------------------- */

static struct content old, new, now;

static void new_contents(const struct op *op)
{
	old.size = new.size = SIZE;
	old.bytes[SIZE] = new.bytes[SIZE] = now.bytes[SIZE] = 0;
	ff_pattern(old.bytes, 0, SIZE);
	memset(old.bytes + layout->clean, 0x77, layout->dirty - layout->clean);
	memcpy(new.bytes, old.bytes, SIZE);
	if (op->model)
		op->model(&new);
	old.sum = ff_cksum(old.bytes, old.size);
	new.sum = ff_cksum(new.bytes, new.size);
}

static uint64_t sum_of_now(void)
{
	if (now.size == old.size && !memcmp(now.bytes, old.bytes, SIZE))
		return old.sum;
	if (now.size == new.size && !memcmp(now.bytes, new.bytes, SIZE))
		return new.sum;
	return ff_cksum(now.bytes, now.size);
}

/* The first byte that is neither of the two; SIZE: none. (Check's assertions are slow.) */
static uint64_t first_wrong(const unsigned char *one, const unsigned char *other)
{
	uint64_t i = memcmp(now.bytes, other, SIZE) ? 0 : SIZE;

	while (i < SIZE && (now.bytes[i] == one[i] || now.bytes[i] == other[i]))
		i++;
	return i;
}

static void check_bytes(const struct op *op, int64_t err)
{
	const struct content *want = err ? &old : &new;
	uint64_t at = first_wrong(want->bytes, op->torn ? new.bytes : want->bytes);

	ck_assert_uint_eq(now.size, want->size);
	ck_assert_msg(at == SIZE, "byte %#llx is %#x; was %#x, would be %#x", (unsigned long long)at, now.bytes[at],
		      old.bytes[at], new.bytes[at]);
}

static void check_devices(struct scene *s)
{
	uint64_t sum = sum_of_now();

	ck_assert_uint_eq(ff_device_cksum(s->a, s->va, now.size, NULL), sum);
	ck_assert_uint_eq(ff_device_cksum(s->b, s->vb, now.size, NULL), sum);
}

/* The first tells of write-backs that failed, once. */
static void check_store(struct scene *s)
{
	unsigned char *stored = malloc(SIZE);
	int err = ff_fsync(s->open);

	ck_assert(err == 0 || err == -EIO || err == -ENOMEM);
	ck_assert_int_eq(ff_fsync(s->open), 0);
	ff_backing(s->file, 0, stored, SIZE);
	ck_assert_mem_eq(stored, now.bytes, SIZE);
	free(stored);
}

static void check_content(struct scene *s, const struct op *op, int64_t err)
{
	mend(s);
	memset(now.bytes, 0, SIZE);
	now.size = atomic_load(&s->file->size);
	ck_assert_int_eq(ff_read_direct(s->open, 0, now.bytes, now.size), now.size);
	check_bytes(op, err);
	check_devices(s);
	check_store(s);
}

/* ---- one failure after the other -------------------------------------------------------------------------------------- */

static int error_of(enum step step)
{
	return step == MEMORY ? -ENOMEM : -EIO;
}

static void try_again(struct scene *s, const struct op *op)
{
	ck_assert_int_eq(op->run(s), 0);
	check_content(s, op, 0);
	ck_assert_int_eq(ff_migrate(s->open, 0, SIZE, DMO_DEVICE_HOST), 0);
	end_scene(s);
}

/* The nth step of that kind fails: how many there were. */
static long run_failing(const struct op *op, enum step step, long n, const struct state *before,
			const struct state *after)
{
	struct scene s = new_scene();
	struct state st;
	int64_t err;
	long count;

	look(&s);
	arm(s.ff, step, n);
	err = op->run(&s);
	settle(&s);
	count = disarm(s.ff, step);
	ck_assert_msg(!err || err == error_of(step) || err == SHORT, "the result is %d", (int)err);
	st = look(&s);
	check_state(op, &st, before, after);
	ck_assert_uint_eq(st.pins[0], err ? before->pins[0] : after->pins[0]);
	ck_assert_uint_eq(st.size, atomic_load(&s.file->size));
	check_content(&s, op, err);
	try_again(&s, op);
	return count;
}

/* Without failures: the states before and after, and how many steps of each kind there are. */
static void run_well(const struct op *op, struct state *before, struct state *after, long *counts)
{
	struct scene s = new_scene();

	*before = look(&s);
	for (unsigned step = 0; step < STEPS; step++)
		arm(s.ff, step, 0);
	ck_assert_int_eq(op->run(&s), 0);
	settle(&s);
	for (unsigned step = 0; step < STEPS; step++)
		counts[step] = disarm(s.ff, step);
	*after = look(&s);
	check_content(&s, op, 0);
	try_again(&s, op);
}

/* Until one is no longer reached: most end with the step that failed. */
static void fail_all(const struct op *op, enum step step, const struct state *before, const struct state *after)
{
	long n = 0, count;

	do {
		printf("%s, without %s %ld\n", op->name, step_names[step], ++n);
		fflush(stdout);
		count = run_failing(op, step, n, before, after);
	} while (count >= n);
}

static void fail_everywhere(const struct op *op)
{
	static struct state before, after;
	long counts[STEPS];

	old.bytes = malloc(SIZE + 1);
	new.bytes = malloc(SIZE + 1);
	now.bytes = malloc(SIZE + 1);
	new_contents(op);
	run_well(op, &before, &after, counts);
	for (unsigned step = 0; step < STEPS; step++)
		if (counts[step])
			fail_all(op, step, &before, &after);
	free(old.bytes);
	free(new.bytes);
	free(now.bytes);
}

START_TEST(a_step_that_fails_leaves_every_page_and_byte_where_it_was)
{
	layout = &layouts[0];
	fail_everywhere(&ops[_i]);
}
END_TEST

START_TEST(the_same_where_a_block_is_all_of_one_kind)
{
	layout = &layouts[1];
	fail_everywhere(&ops[_i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("failures");
	TCase *tcase = tcase_create("failures");
	SRunner *runner = srunner_create(suite);
	int failed, count = (int)(sizeof(ops) / sizeof(*ops));

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, a_step_that_fails_leaves_every_page_and_byte_where_it_was, 0, count);
	tcase_add_loop_test(tcase, the_same_where_a_block_is_all_of_one_kind, 0, count);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
