/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * durability.c - what fsync and msync promise, looked at in the store after a crash (invariant 5)
 */
#include "kit.h"

#include <signal.h>
#include <stdatomic.h>

static int device_wrote(uint64_t size, int byte)
{
	int ctx = ctx_open("npu0"), fd = obj_create("o", size);

	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, size, READ_WRITE), size, byte));
	return fd;
}

START_TEST(fsync_makes_device_writes_durable)
{
	int fd = device_wrote(4 * MiB, 5);

	ck_ok(fsync(fd));
	crash();
	store_check_byte("o", 0, 4 * MiB, 5);
}
END_TEST

START_TEST(fdatasync_makes_device_writes_durable)
{
	int fd = device_wrote(4 * MiB, 5);

	ck_ok(fdatasync(fd));
	crash();
	store_check_byte("o", 0, 4 * MiB, 5);
}
END_TEST

START_TEST(fsync_through_any_descriptor_covers_the_object)
{
	device_wrote(MiB, 5);
	ck_ok(fsync(obj_open("o", O_RDONLY)));
	crash();
	store_check_byte("o", 0, MiB, 5);
}
END_TEST

START_TEST(msync_makes_device_writes_and_mapped_writes_durable)
{
	int fd = device_wrote(MiB, 5);
	char *p = obj_mmap(fd, 0, MiB, PROT_READ | PROT_WRITE, MAP_SHARED);

	memset(p + PAGE, 6, PAGE);
	ck_ok(msync(p, MiB, MS_SYNC));
	crash();
	store_check_byte("o", 0, PAGE, 5);
	store_check_byte("o", PAGE, PAGE, 6);
	store_check_byte("o", 2 * PAGE, MiB - 2 * PAGE, 5);
}
END_TEST

START_TEST(o_sync_writes_are_durable_when_they_return)
{
	int fd = device_wrote(MiB, 5), sync = obj_open("o", O_WRONLY | O_SYNC);
	char page[4096];

	memset(page, 7, PAGE);
	obj_pwrite(sync, page, PAGE, 3 * PAGE);
	ck_assert_int_ge(fd, 0);
	crash();
	store_check_byte("o", 3 * PAGE, PAGE, 7);
}
END_TEST

START_TEST(an_orderly_end_flushes_everything)
{
	device_wrote(8 * MiB, 5);
	stop_service();
	store_check_byte("o", 0, 8 * MiB, 5);
	go_on();
	obj_check_byte(obj_open("o", O_RDONLY), 0, 8 * MiB, 5);
}
END_TEST

START_TEST(the_mount_goes_on_after_a_crash)
{
	int fd = device_wrote(MiB, 5), ctx;

	ck_ok(fsync(fd));
	crash();
	go_on();
	ctx = ctx_open("npu0");
	fd = obj_open("o", O_RDWR);
	ctx_check_byte(ctx, ctx_map(ctx, fd, 0, MiB, READ_WRITE), MiB, 5);
	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, MiB, READ_WRITE), MiB, 6));
	ck_ok(fsync(fd));
	crash();
	store_check_byte("o", 0, MiB, 6);
}
END_TEST

/* Every page of the backing file is one that was written to it, whole. */
START_TEST(a_crash_leaves_no_foreign_content)
{
	int ctx = ctx_open("npu0"), other = obj_create("other", 16 * MiB), fd = obj_create("o", 32 * MiB), store;
	uint64_t va = ctx_map(ctx, fd, 0, 32 * MiB, READ_WRITE), vo = ctx_map(ctx, other, 0, 16 * MiB, READ_WRITE), at;
	unsigned char page[4096];

	ck_ok(ctx_fill(ctx, vo, 16 * MiB, 0xee));
	ck_ok(ctx_fill(ctx, va, 32 * MiB, 1));
	ck_ok(ctx_fill(ctx, va, 32 * MiB, 2));
	crash();
	store = open(conf_home->store_path("o"), O_RDONLY | O_CLOEXEC);
	for (at = 0; at < 32 * MiB; at += PAGE) {
		obj_pread(store, page, PAGE, at);
		ck_assert_msg(page[0] <= 2, "byte %#x at %llu", page[0], (unsigned long long)at);
		mem_check_byte(page, PAGE, page[0]);
	}
}
END_TEST

/* ---- under load ---------------------------------------------------------------------------------- */

#define WRITERS	3

struct promise {
	_Atomic uint64_t synced[WRITERS];	/* the number of the last fsync that returned */
};

static uint64_t place(unsigned writer)
{
	return writer * 5 * MiB;
}

/* Writes its number into 64 pages by its own way, syncs, says so; until the service is gone. */
static void promise_by_write(void *arg)
{
	struct promise *p = arg;
	int fd = obj_open("o", O_RDWR), i;
	uint64_t n;

	for (n = 1; ; n++) {
		for (i = 0; i < 64; i++)
			if (pwrite(fd, &n, sizeof(n), place(0) + i * PAGE) != sizeof(n))
				return;
		if (fsync(fd))
			return;
		p->synced[0] = n;
	}
}

static void promise_by_mapping(void *arg)
{
	struct promise *p = arg;
	int fd = obj_open("o", O_RDWR), i;
	char *m = obj_mmap(fd, place(1), 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t n;

	signal(SIGBUS, _exit);
	for (n = 1; ; n++) {
		for (i = 0; i < 64; i++)
			*(volatile uint64_t *)(m + i * PAGE) = n;
		if (msync(m, 64 * PAGE, MS_SYNC))
			return;
		p->synced[1] = n;
	}
}

static void promise_by_device(void *arg)
{
	struct promise *p = arg;
	int fd = obj_open("o", O_RDWR), ctx = ctx_open("npu0"), i;
	uint64_t va = ctx_map(ctx, fd, place(2), 64 * PAGE, READ_WRITE), n;
	struct dmo_completion completion;
	struct dmo_command command;

	for (n = 1; ; n++) {
		for (i = 0; i < 64; i++) {
			dmo_cmd_atomic_add(&command, va + i * PAGE, 1);
			if (dmo_run(ctx_handle(ctx), &command, &completion))
				return;
		}
		if (fsync(fd))
			return;
		p->synced[2] = n;
	}
}

static void check_promises(const struct promise *p)
{
	int fd = open(conf_home->store_path("o"), O_RDONLY | O_CLOEXEC);
	unsigned writer, i;
	uint64_t n;

	for (writer = 0; writer < WRITERS; writer++) {
		ck_assert_uint_gt(p->synced[writer], 0);
		for (i = 0; i < 64; i++) {
			obj_pread(fd, &n, sizeof(n), place(writer) + i * PAGE);
			ck_assert_uint_ge(n, p->synced[writer]);
			ck_assert_uint_le(n, p->synced[writer] + 1);
		}
	}
	close(fd);
}

START_TEST(every_fsynced_byte_is_there_after_a_crash_under_load)
{
	static void (*const bodies[])(void *) = { promise_by_write, promise_by_mapping, promise_by_device };
	pid_t pids[WRITERS];
	unsigned round, i;
	struct promise *p;

	for (round = 0; round < rounds(4); round++) {
		p = shared(sizeof(*p));
		obj_create("o", 16 * MiB);
		for (i = 0; i < WRITERS; i++)
			pids[i] = spawn(bodies[i], p);
		wait_until(p->synced[0] && p->synced[1] && p->synced[2]);
		sleep_ms(100 + round * 37);
		crash();
		for (i = 0; i < WRITERS; i++) {
			kill(pids[i], SIGKILL);
			ck_ok(join_within(pids[i], PATIENCE_MS));
		}
		check_promises(p);
		go_on();
	}
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "durability");
	conf_case(&run, "crash", one_device, 30);
	conf_test(&run, fsync_makes_device_writes_durable);
	conf_test(&run, fdatasync_makes_device_writes_durable);
	conf_test(&run, fsync_through_any_descriptor_covers_the_object);
	conf_test(&run, msync_makes_device_writes_and_mapped_writes_durable);
	conf_test(&run, o_sync_writes_are_durable_when_they_return);
	conf_test(&run, an_orderly_end_flushes_everything);
	conf_test(&run, the_mount_goes_on_after_a_crash);
	conf_test(&run, a_crash_leaves_no_foreign_content);
	conf_case(&run, "under load", one_device, 60);
	conf_test(&run, every_fsynced_byte_is_there_after_a_crash_under_load);
	return conf_end(&run);
}
