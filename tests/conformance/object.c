/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * object.c - the conformance tests' dealings with objects, their patterns and their requests
 */
#include "kit.h"

#include <sys/ioctl.h>

#define CHUNK (256u << 10)

int obj_open(const char *name, int flags)
{
	int fd = conf_home->open_object(name, flags | O_CLOEXEC, 0644);

	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(-fd));
	return fd;
}

int obj_create(const char *name, uint64_t size)
{
	int fd = obj_open(name, O_RDWR | O_CREAT | O_TRUNC);

	ck_ok(ftruncate(fd, size));
	return fd;
}

void *obj_mmap(int fd, uint64_t offset, uint64_t length, int prot, int flags)
{
	void *p = mmap(NULL, length, prot, flags, fd, offset);

	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}

void obj_pwrite(int fd, const void *buf, uint64_t length, uint64_t offset)
{
	const char *p = buf;
	ssize_t n;

	for (; length; length -= n, offset += n, p += n) {
		n = pwrite(fd, p, length, offset);
		ck_assert_msg(n > 0, "pwrite: %s", strerror(errno));
	}
}

void obj_pread(int fd, void *buf, uint64_t length, uint64_t offset)
{
	char *p = buf;
	ssize_t n;

	for (; length; length -= n, offset += n, p += n) {
		n = pread(fd, p, length, offset);
		ck_assert_msg(n > 0, "pread at %llu: %s", (unsigned long long)offset, n ? strerror(errno) : "end");
	}
}

/* ---- patterns ------------------------------------------------------------------------------------ */

static uint64_t word_at(uint64_t index, unsigned seed)
{
	uint64_t x = index * 0x9e3779b97f4a7c15ull + seed * 0xd1b54a32d192ed03ull + 1;

	x ^= x >> 31;
	x *= 0xbf58476d1ce4e5b9ull;
	return x ^ x >> 29;
}

void mem_pattern(void *buf, uint64_t offset, uint64_t length, unsigned seed)
{
	uint64_t *word = buf, i;

	for (i = 0; i < length / 8; i++)
		word[i] = word_at(offset / 8 + i, seed);
}

void mem_check_pattern(const void *buf, uint64_t offset, uint64_t length, unsigned seed)
{
	const uint64_t *word = buf;
	uint64_t i;

	for (i = 0; i < length / 8; i++)
		if (word[i] != word_at(offset / 8 + i, seed))
			ck_abort_msg("offset %llu: not the bytes of pattern %u, but %#llx",
				     (unsigned long long)(offset + i * 8), seed, (unsigned long long)word[i]);
}

void mem_check_byte(const void *buf, uint64_t length, int byte)
{
	const unsigned char *p = buf;
	uint64_t i;

	if (!length || (p[0] == byte && !memcmp(p, p + 1, length - 1)))
		return;
	for (i = 0; i < length && p[i] == byte; i++)
		;
	ck_abort_msg("byte %llu is %#x, not %#x", (unsigned long long)i, i < length ? p[i] : byte, byte);
}

void obj_write_pattern(int fd, uint64_t offset, uint64_t length, unsigned seed)
{
	static char buf[CHUNK];
	uint64_t n;

	for (; length; length -= n, offset += n) {
		n = length < CHUNK ? length : CHUNK;
		mem_pattern(buf, offset, n, seed);
		obj_pwrite(fd, buf, n, offset);
	}
}

void obj_check_pattern(int fd, uint64_t offset, uint64_t length, unsigned seed)
{
	static char buf[CHUNK];
	uint64_t n;

	for (; length; length -= n, offset += n) {
		n = length < CHUNK ? length : CHUNK;
		obj_pread(fd, buf, n, offset);
		mem_check_pattern(buf, offset, n, seed);
	}
}

void obj_check_byte(int fd, uint64_t offset, uint64_t length, int byte)
{
	static char buf[CHUNK];
	uint64_t n;

	for (; length; length -= n, offset += n) {
		n = length < CHUNK ? length : CHUNK;
		obj_pread(fd, buf, n, offset);
		mem_check_byte(buf, n, byte);
	}
}

static int store_open(const char *name)
{
	int fd = open(conf_home->store_path(name), O_RDONLY | O_CLOEXEC);

	ck_assert_msg(fd >= 0, "backing file of %s: %s", name, strerror(errno));
	return fd;
}

void store_check_byte(const char *name, uint64_t offset, uint64_t length, int byte)
{
	int fd = store_open(name);

	obj_check_byte(fd, offset, length, byte);
	close(fd);
}

void store_check_pattern(const char *name, uint64_t offset, uint64_t length, unsigned seed)
{
	int fd = store_open(name);

	obj_check_pattern(fd, offset, length, seed);
	close(fd);
}

/* ---- requests ------------------------------------------------------------------------------------ */

int request(int fd, unsigned long cmd, void *arg)
{
	int n = ioctl(fd, cmd, arg);

	return n < 0 ? -errno : n;
}

uint64_t obj_key(int fd)
{
	uint64_t key;

	ck_ok(dmo_key(fd, &key));
	return key;
}

struct dmo_info obj_info(int fd)
{
	struct dmo_info info;

	ck_ok(dmo_info(fd, &info));
	return info;
}

uint64_t obj_resident(int fd)
{
	return obj_info(fd).resident;
}

int obj_migrate(int fd, uint64_t offset, uint64_t length, uint32_t device)
{
	return dmo_migrate(fd, offset, length, device, 0, NULL);
}

struct dmo_extent obj_extent(int fd, uint64_t offset)
{
	struct dmo_extent e = { 0 };

	ck_assert_int_eq(dmo_query(fd, offset, PAGE, &e, 1, NULL), 1);
	ck_assert_uint_le(e.offset, offset);
	ck_assert_uint_gt(e.offset + e.length, offset);
	return e;
}
