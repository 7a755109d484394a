/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fsx.c - one file, random operations of every kind, against plain memory, while others migrate it
 *
 * In the manner of the file system exerciser: each operation is done to the file and to a model in memory; what is
 * read must equal the model. Reads and writes come by read(2) and write(2), by mappings, by direct I/O and from the
 * device; the size changes; holes are punched. Meanwhile another process moves random ranges to a device that holds
 * half of the file, and back. At the end the store's file, looked at from behind, must equal the model too.
 *
 * FSX_SEED, FSX_OPS and FSX_SECONDS choose other and longer runs.
 */
#include "config.h"

#include <check.h>
#include <dmo/ioctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mounted.h"

#define MOST (4u << 20)
#define PAGE 4096u

static struct mounted m;
static unsigned char model[MOST], buf[MOST] __attribute__((aligned(4096)));
static size_t size;
static int fd, direct_fd, ctx;
static uint64_t va;
static unsigned seed, step;
static uint64_t random_state;
static const char *doing;

static uint32_t rnd(uint32_t below)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return below ? (uint32_t)(random_state >> 33) % below : 0;
}

/* Check writes a line to its pipe for each assertion; here only those that fail are told. */
#define NEED(condition) \
	do { \
		if (!(condition)) \
			ck_abort_msg("seed %u step %u: %s: %s: %s", seed, step, doing, #condition, strerror(errno)); \
	} while (0)

/* A range inside [0, end), short more often than long. */
static size_t pick(size_t end, size_t *at)
{
	size_t length;

	*at = rnd(end);
	length = 1 + rnd(rnd(4) ? 3 * PAGE : 256 * 1024);
	return length < end - *at ? length : end - *at;
}

static void fill(unsigned char *to, size_t length)
{
	unsigned char byte = (unsigned char)rnd(256);

	for (size_t i = 0; i < length; i++)
		to[i] = (unsigned char)(byte + i * 7);
}

static void same(size_t at, const unsigned char *seen, size_t length)
{
	size_t i = 0;

	while (i < length && seen[i] == model[at + i])
		i++;
	if (i < length)
		ck_abort_msg("seed %u step %u: %s: byte %zu is %02x, not %02x (size %zu)", seed, step, doing, at + i, seen[i],
			     model[at + i], size);
}

static void grow(size_t to)
{
	if (to <= size)
		return;
	memset(model + size, 0, to - size);
	size = to;
}

/* ---- the operations --------------------------------------------------------------------------------------------- */

static void do_write(void)
{
	size_t at, length = pick(MOST, &at);

	fill(buf, length);
	NEED(pwrite(fd, buf, length, at) == (ssize_t)length);
	grow(at);
	if (at + length > size)
		size = at + length;
	memcpy(model + at, buf, length);
}

static void do_append(void)
{
	int a = openat(AT_FDCWD, "f", O_WRONLY | O_APPEND);
	size_t length = 1 + rnd(9000);

	NEED(a >= 0);
	if (size + length <= MOST) {
		fill(buf, length);
		NEED(write(a, buf, length) == (ssize_t)length);
		memcpy(model + size, buf, length);
		size += length;
	}
	close(a);
}

static void do_read(void)
{
	size_t at, length = pick(MOST, &at), expected = at >= size ? 0 : size - at < length ? size - at : length;

	NEED(pread(fd, buf, length, at) == (ssize_t)expected);
	same(at, buf, expected);
}

static void *map(size_t at, size_t length, int prot, unsigned char **bytes)
{
	size_t start = at & ~(size_t)(PAGE - 1);
	void *base = mmap(NULL, at + length - start, prot, MAP_SHARED, fd, start);

	NEED(base != MAP_FAILED);
	*bytes = (unsigned char *)base + (at - start);
	return base;
}

static void do_mapped_write(void)
{
	unsigned char *bytes;
	size_t at, length;
	void *base;

	if (!size)
		return;
	length = pick(size, &at);
	base = map(at, length, PROT_READ | PROT_WRITE, &bytes);
	fill(buf, length);
	memcpy(bytes, buf, length);
	memcpy(model + at, buf, length);
	if (!rnd(4))
		NEED(!msync(base, bytes - (unsigned char *)base + length, MS_SYNC));
	munmap(base, bytes - (unsigned char *)base + length);
}

static void do_mapped_read(void)
{
	unsigned char *bytes;
	size_t at, length;
	void *base;

	if (!size)
		return;
	length = pick(size, &at);
	base = map(at, length, PROT_READ, &bytes);
	memcpy(buf, bytes, length);
	munmap(base, bytes - (unsigned char *)base + length);
	same(at, buf, length);
}

static void do_direct(void)
{
	size_t at = rnd(MOST / PAGE) * PAGE, length = (1 + rnd(16)) * PAGE;

	if (direct_fd < 0)
		return;
	if (at + length > MOST)
		length = MOST - at;
	if (rnd(2)) {
		fill(buf, length);
		NEED(pwrite(direct_fd, buf, length, at) == (ssize_t)length);
		grow(at);
		if (at + length > size)
			size = at + length;
		memcpy(model + at, buf, length);
	} else {
		size_t expected = at >= size ? 0 : size - at < length ? size - at : length;

		NEED(pread(direct_fd, buf, length, at) == (ssize_t)expected);
		same(at, buf, expected);
	}
}

static void do_truncate(void)
{
	size_t to = rnd(4) ? size / 2 + rnd(size + PAGE) / 2 : rnd(MOST);

	if (to > MOST)
		to = MOST;
	NEED(!(rnd(2) ? ftruncate(fd, to) : truncate("f", to)));
	grow(to);
	size = to;
}

/* The store may lack a mode; then nothing has happened. */
static void do_fallocate(void)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	int mode = modes[rnd(5)];
	size_t at, length = pick(MOST, &at), end = at + length;

	if (fallocate(fd, mode, at, length)) {
		NEED(errno == EOPNOTSUPP);
		return;
	}
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow(end);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && at < size)
		memset(model + at, 0, (end < size ? end : size) - at);
}

static void do_copy(void)
{
	size_t from, length, to;
	loff_t in, out;
	ssize_t n;

	if (!size)
		return;
	length = pick(size, &from);
	to = rnd(MOST - length);
	if (from < to + length && to < from + length)
		return;
	in = from;
	out = to;
	n = copy_file_range(fd, &in, fd, &out, length, 0);
	NEED(n > 0 && n <= (ssize_t)length);
	grow(to);
	if (to + n > size)
		size = to + n;
	memmove(model + to, model + from, n);
}

/* Between here and the first data there is nothing but zeros. */
static void do_seek(void)
{
	size_t at = rnd(MOST);
	off_t data = lseek(fd, at, SEEK_DATA), end = data < 0 ? (off_t)size : data;

	NEED(data >= 0 || errno == ENXIO);
	NEED(data < (off_t)size);
	for (off_t i = at; i < end; i++)
		if (model[i])
			ck_abort_msg("seed %u step %u: data at %ld is said to be a hole", seed, step, (long)i);
}

static void do_sync(void)
{
	NEED(!(rnd(2) ? fsync(fd) : fdatasync(fd)));
}

static void open_all(void)
{
	fd = open("f", O_RDWR | O_CREAT, 0644);
	NEED(fd >= 0);
	direct_fd = open("f", O_RDWR | O_DIRECT);
}

static void do_reopen(void)
{
	struct stat st;

	close(fd);
	if (direct_fd >= 0)
		close(direct_fd);
	open_all();
	NEED(!fstat(fd, &st));
	NEED(st.st_size == (off_t)size);
}

/* The device writes, through a mapping of the whole file. */
static void do_device_fill(void)
{
	struct dmo_command command = { .op = DMO_OP_FILL };
	struct dmo_completion completion;
	size_t at, length;

	if (!size)
		return;
	length = pick(size, &at);
	command.arg[0] = va + at;
	command.arg[1] = length;
	command.arg[2] = rnd(256);
	NEED(write(ctx, &command, sizeof(command)) == sizeof(command));
	NEED(read(ctx, &completion, sizeof(completion)) == sizeof(completion));
	errno = -completion.status;
	NEED(!completion.status);
	memset(model + at, (int)command.arg[2], length);
}

static const struct {
	const char *name;
	void (*run)(void);
	unsigned weight;
} operations[] = {
	{ "write", do_write, 4 }, { "append", do_append, 1 }, { "read", do_read, 5 },
	{ "mapped write", do_mapped_write, 4 }, { "mapped read", do_mapped_read, 5 }, { "direct", do_direct, 3 },
	{ "truncate", do_truncate, 2 }, { "fallocate", do_fallocate, 3 }, { "copy", do_copy, 2 },
	{ "seek", do_seek, 1 }, { "sync", do_sync, 1 }, { "reopen", do_reopen, 1 },
	{ "device fill", do_device_fill, 5 },
};

static void one_step(void)
{
	unsigned total = 0, at;

	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++)
		total += operations[i].weight;
	at = rnd(total);
	for (size_t i = 0;; i++) {
		if (at < operations[i].weight) {
			doing = operations[i].name;
			operations[i].run();
			return;
		}
		at -= operations[i].weight;
	}
}

/* ---- around them ------------------------------------------------------------------------------------------------ */

static void map_for_device(void)
{
	char path[256];
	struct dmo_key key;
	union {
		struct dmo_map head;
		char room[sizeof(struct dmo_map) + sizeof(struct dmo_map_op)];
	} request = { .head.count = 1 };

	snprintf(path, sizeof(path), "%s/.dmo/devices/npu0/context", m.mount);
	ctx = open(path, O_RDWR | O_CLOEXEC);
	NEED(ctx >= 0);
	NEED(!ioctl(fd, DMO_IOC_KEY, &key));
	request.head.ops[0] = (struct dmo_map_op){ .length = MOST, .key = key.key,
						   .prot = DMO_PROT_READ | DMO_PROT_WRITE };
	NEED(!ioctl(ctx, DMO_IOC_MAP(1), &request));
	va = request.head.ops[0].va;
}

static void migrate_for_ever(void)
{
	int mine = open("f", O_RDWR);

	random_state = seed * 77 + 5;
	for (;;) {
		struct dmo_migrate request = { .offset = rnd(MOST / PAGE) * (uint64_t)PAGE, .length = (1 + rnd(512)) * PAGE,
					       .device = rnd(3) ? 0 : DMO_DEVICE_HOST };

		(void)!ioctl(mine, DMO_IOC_MIGRATE, &request);
		usleep(rnd(3000));
	}
}

static void check_store(void)
{
	char path[128];
	int behind;

	doing = "looking at the store";
	snprintf(path, sizeof(path), "%s/f", m.store);
	behind = open(path, O_RDONLY);
	NEED(behind >= 0);
	NEED(pread(behind, buf, MOST, 0) == (ssize_t)size);
	same(0, buf, size);
	close(behind);
}

static unsigned long setting(const char *name, unsigned long normal)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : normal;
}

static void exercise(const char *option, const char *value)
{
	unsigned long steps = setting("FSX_OPS", 250), seconds = setting("FSX_SECONDS", 0);
	time_t end = time(NULL) + (time_t)seconds;
	pid_t mover;

	random_state = seed;
	mounted_start(&m, "--device", "sim:npu0,memory=2M", option, value, NULL);
	doing = "setting up";
	NEED(!chdir(m.mount));
	open_all();
	map_for_device();
	fflush(stdout);
	mover = fork();
	if (!mover)
		migrate_for_ever();
	for (step = 0; seconds ? time(NULL) < end : step < steps; step++)
		one_step();
	kill(mover, SIGKILL);
	waitpid(mover, NULL, 0);
	doing = "reading all";
	NEED(pread(fd, buf, MOST, 0) == (ssize_t)size);
	same(0, buf, size);
	doing = "syncing";
	NEED(!fsync(fd));
	check_store();
	close(ctx);
	close(fd);
	close(direct_fd);
	NEED(!chdir("/"));
	ck_assert_int_eq(mounted_stop(&m), 0);
	check_store();
	mounted_clean(&m);
}

START_TEST(a_file_holds_what_was_done_to_it_while_it_migrates)
{
	seed = setting("FSX_SEED", 1) + _i;
	exercise(NULL, NULL);
}
END_TEST

START_TEST(the_same_with_direct_io_to_the_store)
{
	seed = setting("FSX_SEED", 1) + 100 + _i;
	exercise("-o", "io=direct");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fsx");
	TCase *tc = tcase_create("fsx");
	SRunner *runner = srunner_create(suite);
	int failed;

	mounted_need(true);
	tcase_set_timeout(tc, 120 + (int)setting("FSX_SECONDS", 0));
	tcase_add_loop_test(tc, a_file_holds_what_was_done_to_it_while_it_migrates, 0, 3);
	tcase_add_loop_test(tc, the_same_with_direct_io_to_the_store, 0, 1);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
