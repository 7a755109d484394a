/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * coherence.c - CPUs and devices see one content (invariants 1 and 2)
 *
 * The single-threaded tests put an access by one side after an access by the other, in every order and size. Those
 * under load count stale reads: a writer stores a number and then announces it in memory that all share; whoever
 * reads the announcement first and the object afterwards must find that number or a later one. Pages hold
 * slots of several writers at once, so that a page that is written back whole would lose somebody's number.
 */
#include "kit.h"

#include <stdatomic.h>

/* ---- one after the other ------------------------------------------------------------------------- */

static const uint64_t sizes[] = { 4096, 3 * 4096, 64 * 4096, 2 << 20, 5 << 20 };

START_TEST(device_reads_what_write_wrote)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 8 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 8 * MiB, DMO_PROT_READ);
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		obj_write_pattern(fd, PAGE, sizes[i], i);
		ctx_check_pattern(ctx, va + PAGE, PAGE, sizes[i], i);
	}
}
END_TEST

START_TEST(device_reads_what_a_mapping_wrote)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 8 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 8 * MiB, DMO_PROT_READ);
	char *p = obj_mmap(fd, 0, 8 * MiB, PROT_READ | PROT_WRITE, MAP_SHARED);
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		mem_pattern(p + PAGE, PAGE, sizes[i], i);
		ctx_check_pattern(ctx, va + PAGE, PAGE, sizes[i], i);
	}
}
END_TEST

START_TEST(read_gives_what_the_device_wrote)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 8 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 8 * MiB, READ_WRITE);
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ck_ok(ctx_fill(ctx, va + PAGE, sizes[i], 0x11 + i));
		obj_check_byte(fd, PAGE, sizes[i], 0x11 + i);
	}
}
END_TEST

START_TEST(a_mapping_gives_what_the_device_wrote)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 8 * MiB);
	uint64_t va = ctx_map(ctx, fd, 0, 8 * MiB, READ_WRITE);
	char *p = obj_mmap(fd, 0, 8 * MiB, PROT_READ | PROT_WRITE, MAP_SHARED);
	unsigned i;

	mem_check_byte(p, 8 * MiB, 0);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ck_ok(ctx_fill(ctx, va + PAGE, sizes[i], 0x21 + i));
		mem_check_byte(p + PAGE, sizes[i], 0x21 + i);
	}
}
END_TEST

START_TEST(a_read_only_mapping_follows_the_device)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB), rd = obj_open("o", O_RDONLY);
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);
	char *p = obj_mmap(rd, 0, MiB, PROT_READ, MAP_SHARED);
	int byte;

	for (byte = 1; byte < 20; byte++) {
		ck_ok(ctx_fill(ctx, va, MiB, byte));
		mem_check_byte(p, MiB, byte);
	}
}
END_TEST

/* Bytes of a page that the device did not write stay what the CPU last wrote, and the other way round. */
START_TEST(writes_to_parts_of_a_page_keep_the_rest)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, PAGE, READ_WRITE);
	char *p = obj_mmap(fd, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);

	memset(p, 1, PAGE);
	ck_ok(ctx_fill(ctx, va + 1000, 100, 2));
	obj_pwrite(fd, "\3\3\3\3", 4, 2000);
	memset(p + 3000, 4, 5);
	ck_ok(ctx_fill(ctx, va + 3999, 1, 5));

	mem_check_byte(p, 1000, 1);
	mem_check_byte(p + 1000, 100, 2);
	mem_check_byte(p + 1100, 900, 1);
	mem_check_byte(p + 2000, 4, 3);
	mem_check_byte(p + 2004, 996, 1);
	mem_check_byte(p + 3000, 5, 4);
	mem_check_byte(p + 3005, 994, 1);
	mem_check_byte(p + 3999, 1, 5);
	mem_check_byte(p + 4000, 96, 1);
}
END_TEST

enum side { WRITE, MAPPED_WRITE, DEVICE_FILL, DEVICE_COPY, SIDES };

struct pair {
	int ctx, fd;
	uint64_t va, src;	/* the object, and a page of zeros that takes what is to be copied */
	char *p;
};

static void write_by(const struct pair *o, enum side side, uint64_t offset, int byte)
{
	char page[4096];

	memset(page, byte, PAGE);
	if (side == WRITE)
		obj_pwrite(o->fd, page, PAGE, offset);
	else if (side == MAPPED_WRITE)
		memset(o->p + offset, byte, PAGE);
	else if (side == DEVICE_FILL)
		ck_ok(ctx_fill(o->ctx, o->va + offset, PAGE, byte));
	else {
		ck_ok(ctx_fill(o->ctx, o->src, PAGE, byte));
		ck_ok(ctx_copy(o->ctx, o->va + offset, o->src, PAGE));
	}
}

static void read_by(const struct pair *o, unsigned reader, uint64_t offset, int byte)
{
	if (reader == 0)
		obj_check_byte(o->fd, offset, PAGE, byte);
	else if (reader == 1)
		mem_check_byte(o->p + offset, PAGE, byte);
	else
		ctx_check_byte(o->ctx, o->va + offset, PAGE, byte);
}

static struct pair open_pair(uint64_t size)
{
	int scratch = obj_create("scratch", PAGE);
	struct pair o = { .ctx = ctx_open("npu0"), .fd = obj_create("o", size) };

	o.va = ctx_map(o.ctx, o.fd, 0, size, READ_WRITE);
	o.src = ctx_map(o.ctx, scratch, 0, PAGE, READ_WRITE);
	o.p = obj_mmap(o.fd, 0, size, PROT_READ | PROT_WRITE, MAP_SHARED);
	return o;
}

START_TEST(every_writer_is_followed_by_every_writer_and_every_reader)
{
	struct pair o = open_pair(4 * PAGE);
	unsigned first, second, reader;
	int byte = 0;

	for (first = 0; first < SIDES; first++)
		for (second = 0; second < SIDES; second++)
			for (reader = 0; reader < 3; reader++) {
				byte = byte % 250 + 2;
				write_by(&o, first, PAGE, byte - 1);
				read_by(&o, (reader + 1) % 3, PAGE, byte - 1);
				write_by(&o, second, PAGE, byte);
				read_by(&o, reader, PAGE, byte);
			}
}
END_TEST

START_TEST(cpu_and_device_take_turns_on_one_page_thousands_of_times)
{
	struct pair o = open_pair(PAGE);
	volatile uint64_t *slot = (volatile uint64_t *)o.p;
	unsigned i, n = rounds(3000);
	uint64_t old;

	for (i = 0; i < n; i++) {
		ck_ok(ctx_add(o.ctx, o.va, 1, &old));
		ck_assert_uint_eq(old, 2 * i);
		ck_assert_uint_eq(*slot, 2 * i + 1);
		*slot = 2 * i + 2;
	}
}
END_TEST

START_TEST(device_and_mapping_use_neighbouring_pages)
{
	struct pair o = open_pair(8 * PAGE);
	unsigned i, page, n = rounds(100);

	for (i = 0; i < n; i++) {
		for (page = 0; page < 8; page++)
			write_by(&o, (i + page) % 2 ? DEVICE_FILL : MAPPED_WRITE, page * PAGE, (i + page) % 250 + 1);
		for (page = 0; page < 8; page++)
			read_by(&o, (i + page) % 3, page * PAGE, (i + page) % 250 + 1);
	}
}
END_TEST

START_TEST(private_mappings_keep_their_pages)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", 4 * PAGE);
	uint64_t va = ctx_map(ctx, fd, 0, 4 * PAGE, READ_WRITE);
	char *p;

	obj_write_pattern(fd, 0, 4 * PAGE, 1);
	p = obj_mmap(fd, 0, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memset(p + PAGE, 7, PAGE);
	ck_ok(ctx_fill(ctx, va, 4 * PAGE, 9));
	ck_ok(obj_migrate(fd, 0, 4 * PAGE, 0));
	ck_ok(obj_migrate(fd, 0, 4 * PAGE, DMO_DEVICE_HOST));
	mem_check_byte(p + PAGE, PAGE, 7);
	obj_check_byte(fd, 0, 4 * PAGE, 9);
}
END_TEST

START_TEST(readers_with_read_only_opens_share_with_the_device)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB);
	uint64_t va, end = now_ms() + PATIENCE_MS;
	struct dmo_completion c;

	obj_write_pattern(fd, 0, MiB, 1);
	close(fd);
	fd = obj_open("o", O_RDONLY);
	va = ctx_map(ctx, fd, 0, MiB, DMO_PROT_READ);
	do {	/* the last release of the writable open may still be on its way */
		ck_assert_uint_lt(now_ms(), end);
		ctx_check_pattern(ctx, va, 0, MiB, 1);
		obj_check_pattern(fd, 0, MiB, 1);
		ck_ok(ctx_cksum(ctx, va, MiB, &c));
	} while (c.faults);
}
END_TEST

START_TEST(two_devices_write_the_same_pages_in_turn)
{
	int a = ctx_open("npu0"), b = ctx_open("npu1"), fd = obj_create("o", MiB);
	uint64_t va = ctx_map(a, fd, 0, MiB, READ_WRITE), vb = ctx_map(b, fd, 0, MiB, READ_WRITE), old;
	unsigned i, n = rounds(300);

	for (i = 0; i < n; i++) {
		ck_ok(ctx_add(a, va, 1, &old));
		ck_assert_uint_eq(old, 2 * i);
		ck_ok(ctx_add(b, vb, 1, &old));
		ck_assert_uint_eq(old, 2 * i + 1);
	}
	ck_ok(ctx_fill(a, va, MiB, 3));
	ctx_check_byte(b, vb, MiB, 3);
	ck_ok(ctx_fill(b, vb + PAGE, PAGE, 4));
	ctx_check_byte(a, va + PAGE, PAGE, 4);
	obj_check_byte(fd, PAGE, PAGE, 4);
}
END_TEST

START_TEST(direct_io_sees_and_feeds_the_device)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", MiB), direct;
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);
	char *buf = obj_mmap(-1, 0, MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);

	direct = conf_home->open_object("o", O_RDWR | O_DIRECT, 0);
	ck_assert_int_ge(direct, 0);
	ck_ok(ctx_fill(ctx, va, MiB, 6));
	ck_assert_int_eq(pread(direct, buf, MiB, 0), MiB);
	mem_check_byte(buf, MiB, 6);
	memset(buf, 8, MiB);
	ck_assert_int_eq(pwrite(direct, buf, 4 * PAGE, PAGE), 4 * PAGE);
	ctx_check_byte(ctx, va + PAGE, 4 * PAGE, 8);
	ctx_check_byte(ctx, va + 5 * PAGE, PAGE, 6);
}
END_TEST

/* ---- under load ---------------------------------------------------------------------------------- */

enum { CPU_MAPPED, CPU_WRITE, DEVICE_A, DEVICE_B, WRITERS };

#define LOAD_PAGES	8
#define SLOTS		(LOAD_PAGES * WRITERS)

struct load {
	_Atomic uint64_t said[SLOTS];	/* what the owner of the slot announced */
	_Atomic uint64_t stale, reads;
	_Atomic bool over;
	int fd;
};

/* Where a slot stands: every page has one of each writer, in cache lines of their own. */
static uint64_t slot_offset(unsigned page, unsigned writer)
{
	return page * PAGE + writer * 64;
}

static void announce(struct load *l, unsigned page, unsigned writer, uint64_t value)
{
	atomic_store(&l->said[page * WRITERS + writer], value);
}

static void cpu_mapped_writer(void *arg)
{
	struct load *l = arg;
	char *p = obj_mmap(l->fd, 0, LOAD_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t n;
	unsigned page;

	for (n = 1; !l->over; n++)
		for (page = 0; page < LOAD_PAGES; page++) {
			*(volatile uint64_t *)(p + slot_offset(page, CPU_MAPPED)) = n;
			announce(l, page, CPU_MAPPED, n);
		}
}

static void cpu_writer(void *arg)
{
	struct load *l = arg;
	uint64_t n;
	unsigned page;

	for (n = 1; !l->over; n++)
		for (page = 0; page < LOAD_PAGES; page++) {
			obj_pwrite(l->fd, &n, sizeof(n), slot_offset(page, CPU_WRITE));
			announce(l, page, CPU_WRITE, n);
		}
}

static void device_writer(struct load *l, const char *device, unsigned writer)
{
	int ctx = ctx_open(device);
	uint64_t va = ctx_map(ctx, l->fd, 0, LOAD_PAGES * PAGE, READ_WRITE), n, old;
	unsigned page;

	for (n = 1; !l->over; n++)
		for (page = 0; page < LOAD_PAGES; page++) {
			ck_ok(ctx_add(ctx, va + slot_offset(page, writer), 1, &old));
			ck_assert_uint_eq(old, n - 1);
			announce(l, page, writer, n);
		}
}

static void device_a_writer(void *arg)
{
	device_writer(arg, "npu0", DEVICE_A);
}

static void device_b_writer(void *arg)
{
	device_writer(arg, "npu1", DEVICE_B);
}

/* One look at one slot, by one of the three ways of reading. */
static uint64_t look(struct load *l, unsigned way, int ctx, uint64_t va, const char *p, uint64_t offset)
{
	uint64_t value = 0;

	if (way == 0)
		return *(volatile const uint64_t *)(p + offset);
	if (way == 1)
		obj_pread(l->fd, &value, sizeof(value), offset);
	else
		ck_ok(ctx_load(ctx, va + offset, &value));
	return value;
}

static void reader(struct load *l, unsigned way)
{
	int ctx = ctx_open("npu0");
	uint64_t va = ctx_map(ctx, l->fd, 0, LOAD_PAGES * PAGE, DMO_PROT_READ), said;
	char *p = obj_mmap(l->fd, 0, LOAD_PAGES * PAGE, PROT_READ, MAP_SHARED);
	unsigned slot;

	while (!l->over)
		for (slot = 0; slot < SLOTS && !l->over; slot++) {
			said = atomic_load(&l->said[slot]);
			if (look(l, way, ctx, va, p, slot_offset(slot / WRITERS, slot % WRITERS)) < said)
				l->stale++;
			l->reads++;
		}
}

static void mapped_reader(void *arg)
{
	reader(arg, 0);
}

static void read_reader(void *arg)
{
	reader(arg, 1);
}

static void device_reader(void *arg)
{
	reader(arg, 2);
}

static void final_count(struct load *l)
{
	uint64_t value;
	unsigned slot;

	for (slot = 0; slot < SLOTS; slot++) {
		obj_pread(l->fd, &value, sizeof(value), slot_offset(slot / WRITERS, slot % WRITERS));
		ck_assert_uint_ge(value, l->said[slot]);
		ck_assert_uint_le(value, l->said[slot] + 1);
	}
}

static void run_load(struct load *l, void (*const bodies[])(void *), unsigned count, unsigned ms)
{
	pid_t pids[8];
	unsigned i;

	for (i = 0; i < count; i++)
		pids[i] = spawn(bodies[i], l);
	sleep_ms(ms);
	wait_until(l->reads >= SLOTS);
	l->over = true;
	for (i = 0; i < count; i++)
		join(pids[i]);
	ck_assert_uint_eq(l->stale, 0);
	final_count(l);
}

static struct load *new_load(void)
{
	struct load *l = shared(sizeof(*l));

	l->fd = obj_create("o", LOAD_PAGES * PAGE);
	return l;
}

START_TEST(no_stale_read_among_two_processes_and_a_device)
{
	static void (*const bodies[])(void *) = { cpu_mapped_writer, device_a_writer, mapped_reader, device_reader };

	run_load(new_load(), bodies, 4, rounds(2500));
}
END_TEST

START_TEST(no_stale_read_among_write_calls_and_a_device)
{
	static void (*const bodies[])(void *) = { cpu_writer, device_a_writer, read_reader, mapped_reader };

	run_load(new_load(), bodies, 4, rounds(2000));
}
END_TEST

START_TEST(no_stale_read_with_every_kind_of_writer_and_reader_at_once)
{
	static void (*const bodies[])(void *) = {
		cpu_mapped_writer, cpu_writer, device_a_writer, mapped_reader, read_reader, device_reader,
	};

	run_load(new_load(), bodies, 6, rounds(3000));
}
END_TEST

START_TEST(no_stale_read_with_two_devices_and_processes)
{
	static void (*const bodies[])(void *) = {
		cpu_mapped_writer, device_a_writer, device_b_writer, mapped_reader, device_reader,
	};

	run_load(new_load(), bodies, 5, rounds(2500));
}
END_TEST

static void evictor(void *arg)
{
	struct load *l = arg;
	unsigned i;
	int err;

	for (i = 0; !l->over; i++) {
		err = obj_migrate(l->fd, 0, LOAD_PAGES * PAGE, i % 2 ? 0 : DMO_DEVICE_HOST);
		ck_assert_msg(!err || err == -EBUSY || err == -EAGAIN, "migrate: %d", err);
	}
}

START_TEST(no_stale_read_while_pages_migrate)
{
	static void (*const bodies[])(void *) = {
		cpu_mapped_writer, device_a_writer, mapped_reader, device_reader, evictor,
	};

	run_load(new_load(), bodies, 5, rounds(2500));
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "coherence");
	conf_case(&run, "in turn", one_device, 30);
	conf_test(&run, device_reads_what_write_wrote);
	conf_test(&run, device_reads_what_a_mapping_wrote);
	conf_test(&run, read_gives_what_the_device_wrote);
	conf_test(&run, a_mapping_gives_what_the_device_wrote);
	conf_test(&run, a_read_only_mapping_follows_the_device);
	conf_test(&run, writes_to_parts_of_a_page_keep_the_rest);
	conf_test(&run, every_writer_is_followed_by_every_writer_and_every_reader);
	conf_test(&run, cpu_and_device_take_turns_on_one_page_thousands_of_times);
	conf_test(&run, device_and_mapping_use_neighbouring_pages);
	conf_test(&run, private_mappings_keep_their_pages);
	conf_test(&run, readers_with_read_only_opens_share_with_the_device);
	conf_test(&run, direct_io_sees_and_feeds_the_device);
	conf_case(&run, "under load", one_device, 30);
	conf_test(&run, no_stale_read_among_two_processes_and_a_device);
	conf_test(&run, no_stale_read_among_write_calls_and_a_device);
	conf_test(&run, no_stale_read_with_every_kind_of_writer_and_reader_at_once);
	conf_test(&run, no_stale_read_while_pages_migrate);
	conf_case(&run, "two devices", two_devices, 30);
	conf_test(&run, two_devices_write_the_same_pages_in_turn);
	conf_test(&run, no_stale_read_with_two_devices_and_processes);
	return conf_end(&run);
}
