/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * deadlock.c - what was seen to stop for ever (the design's section 7), each once more
 *
 * Nothing here asks how fast things are, only that they end: children that don't within the limit fail the test.
 */
#include "kit.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

struct shared_state {
	_Atomic bool over;
	_Atomic unsigned ready;
	int fd, ctx;
	uint64_t va;
};

static struct shared_state *new_state(uint64_t size)
{
	struct shared_state *s = shared(sizeof(*s));

	s->fd = obj_create("o", size);
	return s;
}

static void end_all(struct shared_state *s, const pid_t *pids, unsigned count)
{
	unsigned i;

	s->over = true;
	for (i = 0; i < count; i++)
		ck_ok(join_within(pids[i], PATIENCE_MS));
}

/* ---- migration, readers, truncation -------------------------------------------------------------- */

#define SIZE (8 * MiB)

static void migrates(void *arg)
{
	struct shared_state *s = arg;
	unsigned i;

	for (i = getpid(); !s->over; i++)
		obj_migrate(s->fd, 0, 0, i % 2 ? 0 : DMO_DEVICE_HOST);
}

static void reads_mapping(void *arg)
{
	struct shared_state *s = arg;
	volatile const char *p = obj_mmap(s->fd, 0, SIZE, PROT_READ, MAP_SHARED);
	uint64_t at;

	while (!s->over)
		for (at = 0; at < SIZE; at += PAGE)
			p[at];
}

static void writes_mapping(void *arg)
{
	struct shared_state *s = arg;
	volatile char *p = obj_mmap(s->fd, 0, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	uint64_t at;

	while (!s->over)
		for (at = 0; at < SIZE && !s->over; at += PAGE)
			p[at]++;
}

START_TEST(sixteen_migrations_and_readers_end)
{
	struct shared_state *s = new_state(SIZE);
	pid_t pids[22];
	unsigned i;

	obj_write_pattern(s->fd, 0, SIZE, 1);
	for (i = 0; i < 16; i++)
		pids[i] = spawn(migrates, s);
	for (; i < 22; i++)
		pids[i] = spawn(reads_mapping, s);
	sleep_ms(rounds(2000));
	end_all(s, pids, 22);
	obj_check_pattern(s->fd, 0, SIZE, 1);
}
END_TEST

START_TEST(sixteen_migrations_and_writers_end)
{
	struct shared_state *s = new_state(SIZE);
	pid_t pids[18];
	unsigned i;

	for (i = 0; i < 16; i++)
		pids[i] = spawn(migrates, s);
	for (; i < 18; i++)
		pids[i] = spawn(writes_mapping, s);
	sleep_ms(rounds(2000));
	end_all(s, pids, 18);
}
END_TEST

static void truncates(void *arg)
{
	struct shared_state *s = arg;
	unsigned i;

	for (i = 0; !s->over; i++) {
		ck_ok(ftruncate(s->fd, i % 5 * MiB));
		ck_ok(ftruncate(s->fd, SIZE));
	}
}

static void writes_calls(void *arg)
{
	static char buf[65536];
	struct shared_state *s = arg;
	uint64_t at;

	for (at = 0; !s->over; at = (at + sizeof(buf)) % SIZE)
		obj_pwrite(s->fd, buf, sizeof(buf), at);
}

START_TEST(truncation_during_migration_and_writes_ends)
{
	static void (*const bodies[])(void *) = { migrates, migrates, truncates, writes_calls, writes_calls };
	struct shared_state *s = new_state(SIZE);
	pid_t pids[5];
	unsigned i;

	for (i = 0; i < 5; i++)
		pids[i] = spawn(bodies[i], s);
	sleep_ms(rounds(2000));
	end_all(s, pids, 5);
}
END_TEST

static void syncs(void *arg)
{
	struct shared_state *s = arg;

	while (!s->over)
		ck_ok(fsync(s->fd));
}

START_TEST(fsync_during_migration_and_mapped_writes_ends)
{
	static void (*const bodies[])(void *) = { migrates, migrates, writes_mapping, syncs };
	struct shared_state *s = new_state(SIZE);
	pid_t pids[4];
	unsigned i;

	for (i = 0; i < 4; i++)
		pids[i] = spawn(bodies[i], s);
	sleep_ms(rounds(2000));
	end_all(s, pids, 4);
}
END_TEST

/* ---- a crash in the middle ----------------------------------------------------------------------- */

static void crash_with(unsigned after_ms)
{
	static void (*const bodies[])(void *) = { migrates, migrates, writes_mapping, reads_mapping };
	struct shared_state *s = new_state(SIZE);
	pid_t pids[4];
	unsigned i;

	for (i = 0; i < 4; i++)
		pids[i] = spawn(bodies[i], s);
	sleep_ms(after_ms);
	crash();
	s->over = true;
	for (i = 0; i < 4; i++) {
		kill(pids[i], SIGKILL);
		ck_ok(join_within(pids[i], PATIENCE_MS));
	}
	go_on();
}

START_TEST(a_crash_during_invalidations_leaves_no_hang)
{
	unsigned i;

	for (i = 0; i < rounds(6); i++)
		crash_with(100 + i * 31);
}
END_TEST

static void lists(void *arg)
{
	DIR *dir = opendir(conf_home->object_path("."));
	unsigned names = 0;

	while (dir && readdir(dir))
		names++;
	ck_assert_uint_ge(names, 3);
}

START_TEST(names_can_be_listed_while_everything_migrates)
{
	struct shared_state *s = new_state(SIZE);
	pid_t pids[8];
	unsigned i;

	for (i = 0; i < 8; i++)
		pids[i] = spawn(i % 2 ? migrates : writes_mapping, s);
	for (i = 0; i < 20; i++)
		ck_ok(join_within(spawn(lists, NULL), PATIENCE_MS));
	end_all(s, pids, 8);
}
END_TEST

/* ---- contexts ------------------------------------------------------------------------------------ */

static void *reads_completion(void *arg)
{
	struct shared_state *s = arg;
	struct dmo_completion completion;
	ssize_t n;

	s->ready++;
	n = read(s->ctx, &completion, sizeof(completion));
	return (void *)(intptr_t)(n == sizeof(completion) && completion.cookie == 77);
}

START_TEST(a_blocked_read_of_a_context_does_not_block_a_write)
{
	struct shared_state *s = new_state(PAGE);
	struct dmo_command nop;
	pthread_t thread;
	void *good;

	s->ctx = ctx_open("npu0");
	ck_ok(pthread_create(&thread, NULL, reads_completion, s));
	while (!s->ready)
		sleep_ms(1);
	sleep_ms(100);
	dmo_cmd_nop(&nop);
	nop.cookie = 77;
	ck_assert_int_eq(write(s->ctx, &nop, sizeof(nop)), sizeof(nop));
	ck_ok(pthread_join(thread, &good));
	ck_assert_ptr_nonnull(good);
}
END_TEST

static void blocks_in_read(void *arg)
{
	struct shared_state *s = arg;

	s->ready = 1;
	reads_completion(s);
}

START_TEST(a_killed_reader_of_a_context_goes_away)
{
	struct shared_state *s = new_state(PAGE);
	pid_t pid;

	s->ctx = ctx_open("npu0");
	pid = spawn(blocks_in_read, s);
	while (!s->ready)
		sleep_ms(1);
	sleep_ms(50);
	kill(pid, SIGKILL);
	ck_ok(join_within(pid, PATIENCE_MS));
}
END_TEST

static void on_alarm(int signal_number)
{
}

START_TEST(a_signal_ends_a_blocked_read_of_a_context)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval again = { .it_value.tv_sec = 1, .it_interval.tv_sec = 1 };	/* one may come before the read */
	struct dmo_completion completion;
	int ctx = ctx_open("npu0");

	ck_ok(sigaction(SIGALRM, &action, NULL));
	ck_ok(setitimer(ITIMER_REAL, &again, NULL));
	ck_assert_int_eq(read(ctx, &completion, sizeof(completion)), -1);
	ck_assert_int_eq(errno, EINTR);
	ck_ok(setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL));
	ck_ok(ctx_run(ctx, &(struct dmo_command){ .op = DMO_OP_NOP }, &completion));
}
END_TEST

START_TEST(a_context_polls_readable_when_a_completion_came)
{
	int ctx = ctx_open("npu0");
	struct pollfd p = { .fd = ctx, .events = POLLIN };
	struct dmo_completion completion;
	struct dmo_command nop;

	dmo_cmd_nop(&nop);
	ck_assert_int_eq(poll(&p, 1, 50), 0);
	ck_assert_int_eq(write(ctx, &nop, sizeof(nop)), sizeof(nop));
	ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
	ck_assert_int_eq(read(ctx, &completion, sizeof(completion)), sizeof(completion));
	ck_assert_int_eq(poll(&p, 1, 50), 0);
}
END_TEST

static int endless(void)
{
	int ctx = ctx_open("npu0");

	ctx_submit_endless(ctx);
	return ctx;
}

START_TEST(closing_a_context_ends_its_endless_command)
{
	int ctx = endless(), other = ctx_open("npu0"), fd = obj_create("o", MiB);

	sleep_ms(50);
	ctx_close(ctx);
	ck_ok(ctx_fill(other, ctx_map(other, fd, 0, MiB, READ_WRITE), MiB, 1));
	obj_check_byte(fd, 0, MiB, 1);
	stop_service();
	go_on();
}
END_TEST

static void runs_endless(void *arg)
{
	struct shared_state *s = arg;
	struct dmo_completion completion;
	int ctx = endless();

	s->ready = 1;
	ck_assert_int_eq(read(ctx, &completion, sizeof(completion)), sizeof(completion));
}

START_TEST(a_killed_process_takes_its_endless_command_along)
{
	struct shared_state *s = new_state(PAGE);
	pid_t pid = spawn(runs_endless, s);

	while (!s->ready)
		sleep_ms(1);
	kill(pid, SIGKILL);
	ck_ok(join_within(pid, PATIENCE_MS));
	stop_service();
	go_on();
}
END_TEST

START_TEST(an_object_under_an_endless_command_can_be_used)
{
	int ctx = endless(), fd = obj_open("loop", O_RDWR);
	uint64_t page[512] = { 0 };

	ck_ok(obj_migrate(fd, 0, PAGE, DMO_DEVICE_HOST));
	ck_ok(fsync(fd));
	obj_pread(fd, page, PAGE, 0);
	ck_assert_uint_ne(page[0], 0);
	memset(page, 0, sizeof(page));
	obj_pwrite(fd, page, PAGE, 0);
	ck_ok(unlink(conf_home->object_path("loop")));
	ctx_close(ctx);
}
END_TEST

/* ---- callers who wait for a slow device ---------------------------------------------------------- */

static void slow_device(void)
{
	start("sim:npu0,memory=64M,link=1M", NULL);
}

static void waits_for_migration(void *arg)
{
	struct shared_state *s = arg;

	s->ready++;
	obj_migrate(s->fd, 0, 0, 0);
}

START_TEST(a_killed_caller_of_a_slow_migration_goes_away)
{
	struct shared_state *s = new_state(32 * MiB);
	pid_t pid;

	obj_write_pattern(s->fd, 0, 32 * MiB, 1);
	pid = spawn(waits_for_migration, s);
	while (!s->ready)
		sleep_ms(1);
	sleep_ms(200);
	kill(pid, SIGKILL);
	ck_ok(join_within(pid, PATIENCE_MS));
	obj_check_pattern(s->fd, 0, MiB, 1);
}
END_TEST

static void reads_other_object(void *arg)
{
	int fd = obj_create("other", MiB);

	obj_write_pattern(fd, 0, MiB, 2);
	ck_ok(fsync(fd));
	obj_check_pattern(fd, 0, MiB, 2);
	lists(NULL);
}

START_TEST(callers_who_wait_do_not_keep_others_waiting)
{
	struct shared_state *s = new_state(32 * MiB);
	pid_t pids[32];
	unsigned i;

	obj_write_pattern(s->fd, 0, 32 * MiB, 1);
	for (i = 0; i < 32; i++)
		pids[i] = spawn(waits_for_migration, s);
	while (s->ready < 32)
		sleep_ms(1);
	sleep_ms(200);
	ck_ok(join_within(spawn(reads_other_object, NULL), 25000));	/* the others have 32 s to wait */
	for (i = 0; i < 32; i++) {
		kill(pids[i], SIGKILL);
		ck_ok(join_within(pids[i], PATIENCE_MS));
	}
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "deadlock");
	conf_case(&run, "migration", one_device, 60);
	conf_test(&run, sixteen_migrations_and_readers_end);
	conf_test(&run, sixteen_migrations_and_writers_end);
	conf_test(&run, truncation_during_migration_and_writes_ends);
	conf_test(&run, fsync_during_migration_and_mapped_writes_ends);
	conf_test(&run, a_crash_during_invalidations_leaves_no_hang);
	conf_test(&run, names_can_be_listed_while_everything_migrates);
	conf_case(&run, "contexts", one_device, 30);
	conf_test(&run, a_blocked_read_of_a_context_does_not_block_a_write);
	conf_test(&run, a_killed_reader_of_a_context_goes_away);
	conf_test(&run, a_signal_ends_a_blocked_read_of_a_context);
	conf_test(&run, a_context_polls_readable_when_a_completion_came);
	conf_test(&run, closing_a_context_ends_its_endless_command);
	conf_test(&run, a_killed_process_takes_its_endless_command_along);
	conf_test(&run, an_object_under_an_endless_command_can_be_used);
	conf_case(&run, "slow device", slow_device, 60);
	conf_test(&run, a_killed_caller_of_a_slow_migration_goes_away);
	conf_test(&run, callers_who_wait_do_not_keep_others_waiting);
	return conf_end(&run);
}
