/* SPDX-License-Identifier: GPL-2.0-or-later */
/* same_data.c - test bodies: bytes, sizes, mappings, locks */
#include "config.h"

#include "account.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void body_offsets_and_append(void)
{
	char text[64] = "";
	int fd = make("f", 0, 0644), a = open("f", O_WRONLY | O_APPEND);

	DID(write(fd, "0123456789", 10));
	DID(write(a, "AB", 2));
	DID(pwrite(fd, "x", 1, 3));
	DID(pwrite(a, "CD", 2, 0));
	DID(lseek(fd, 0, SEEK_CUR));
	DID(lseek(fd, -1, SEEK_SET));
	DID(lseek(fd, 0, SEEK_END));
	DID(pread(fd, text, 63, 0));
	say("%s\n", text);
	DID(pread(fd, text, 4, 100));
	DID(read(a, text, 1));
	DID(pwrite(fd, "z", 1, -1));
	DID(ftruncate(fd, -1));
	DID(ftruncate(fd, 4));
	DID(write(a, "E", 1));
	get("f");
	close(a);
	a = open("f", O_RDONLY);
	DID(ftruncate(a, 0));
	DID(write(a, "x", 1));
	close(a);
	close(fd);
	fd = open(".", O_RDONLY);
	DID(read(fd, text, 1));
	close(fd);
}

static void holes(int fd)
{
	struct stat st;
	off_t at = 0;

	fstat(fd, &st);
	while (at < st.st_size) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;

		if (data < 0)
			break;
		hole = lseek(fd, data, SEEK_HOLE);
		say("data %ld to %ld\n", (long)data, (long)hole);
		at = hole;
	}
	DID(lseek(fd, st.st_size, SEEK_DATA));
	DID(lseek(fd, st.st_size + 1, SEEK_HOLE));
}

void body_holes(void)
{
	int fd = make("f", 0, 0644);

	DID(ftruncate(fd, 8 << 20));
	holes(fd);
	DID(pwrite(fd, "x", 1, 1 << 20));
	DID(pwrite(fd, "x", 1, 3 << 20));
	holes(fd);
	DID(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 20, 1 << 20));
	holes(fd);
	close(fd);
}

void body_fallocate(void)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE };
	struct stat st;
	char text[32] = "";
	int fd = make("f", 0, 0644);

	DID(pwrite(fd, "0123456789abcdef", 16, 4090));
	for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		say("mode %x: ", modes[i]);
		did("", fallocate(fd, modes[i], 4096, 65536));
		fstat(fd, &st);
		memset(text, 0, sizeof(text));
		pread(fd, text, 16, 4090);
		say("  size %ld, blocks %d, %.6s\n", (long)st.st_size, st.st_blocks > 8, text);
	}
	DID(fallocate(fd, 0, -1, 1));
	DID(fallocate(fd, 0, 0, 0));
	close(fd);
	fd = open("f", O_RDONLY);
	DID(fallocate(fd, 0, 0, 4096));
	close(fd);
}

void body_truncate(void)
{
	char text[16];
	int fd;

	put("f", "0123456789");
	DID(truncate("f", 4));
	get("f");
	DID(truncate("f", 8));
	fd = open("f", O_RDONLY);
	memset(text, 'x', sizeof(text));
	DID(pread(fd, text, 16, 0));
	say("%d %d %d\n", text[3], text[4], text[7]);
	close(fd);
	close(open("f", O_WRONLY | O_TRUNC));
	look("f");
	DID(truncate(".", 0));
	DID(truncate("no", 0));
	DID(truncate("f", 1LL << 40));
	look("f");
}

void body_copy_file_range(void)
{
	int in = make("in", 0, 0644), out = make("out", 0, 0644);
	loff_t a = 2, b = 5;

	DID(write(in, "0123456789", 10));
	DID(copy_file_range(in, &a, out, &b, 4, 0));
	say("%ld %ld\n", (long)a, (long)b);
	DID(pwrite(out, "#####", 5, 0));
	get("out");
	a = 100;
	DID(copy_file_range(in, &a, out, NULL, 4, 0));
	a = b = 0;
	DID(copy_file_range(in, &a, in, &b, 4, 0));
	close(in);
	close(out);
}

void body_mappings(void)
{
	int fd = make("f", 0, 0644), ro = open("f", O_RDONLY);
	char *shared, *private, text[8] = "";

	DID(ftruncate(fd, 8192));
	shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	memcpy(shared + 4094, "abcd", 4);
	say("private sees %.4s\n", private + 4094);
	memcpy(private + 4094, "PQRS", 4);
	DID(pread(fd, text, 4, 4094));
	say("%s\n", text);
	DID(pwrite(fd, "wxyz", 4, 4094));
	say("shared sees %.4s, private keeps %.4s\n", shared + 4094, private + 4094);
	DID(msync(shared, 8192, MS_SYNC));
	did("map", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED ? -1 : 0);
	munmap(shared, 8192);
	munmap(private, 8192);
	DID(pread(ro, text, 4, 4094));
	say("%s\n", text);
	close(fd);
	close(ro);
}

void body_direct_io(void)
{
	char *buf = aligned_alloc(4096, 8192);
	int fd = make("f", O_DIRECT, 0644);

	if (did("open", fd < 0 ? -1 : 0) < 0)
		return;
	memset(buf, 'd', 8192);
	DID(pwrite(fd, buf, 8192, 0));
	memset(buf, 0, 8192);
	DID(pread(fd, buf, 8192, 0));
	say("%c %c\n", buf[0], buf[8191]);
	get("f");
	put("f", "cached");
	DID(pread(fd, buf, 4096, 0));
	say("%.7s\n", buf);
	close(fd);
	free(buf);
}

static void try_locks(void)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1 };
	int fd = open("f", O_RDWR);

	DID(flock(fd, LOCK_EX | LOCK_NB));
	DID(fcntl(fd, F_SETLK, &l));
	l.l_start = 50;
	DID(fcntl(fd, F_SETLK, &l));
	l.l_start = 5;
	DID(fcntl(fd, F_GETLK, &l));
	say("held %d from %ld\n", l.l_type, (long)l.l_start);
	close(fd);
}

void body_locks(void)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10 };
	int fd = make("f", 0, 0666);

	fchmod(fd, 0666);
	DID(flock(fd, LOCK_EX));
	DID(fcntl(fd, F_SETLK, &l));
	as(0, 0, try_locks);
	DID(flock(fd, LOCK_UN));
	l.l_type = F_UNLCK;
	DID(fcntl(fd, F_SETLK, &l));
	as(0, 0, try_locks);
	close(fd);
}

void body_sync(void)
{
	int fd = make("f", O_SYNC, 0644);

	DID(write(fd, "x", 1));
	DID(fsync(fd));
	DID(fdatasync(fd));
	DID(syncfs(fd));
	DID(sync_file_range(fd, 0, 1, SYNC_FILE_RANGE_WRITE));
	close(fd);
	fd = open(".", O_RDONLY);
	DID(fsync(fd));
	close(fd);
}

void body_many_open_files(void)
{
	enum { COUNT = 900 };
	int fds[COUNT], good = 0;
	char name[16], c;

	for (int i = 0; i < COUNT; i++) {
		sprintf(name, "f%d", i);
		fds[i] = make(name, 0, 0644);
		c = (char)i;
		good += fds[i] >= 0 && write(fds[i], &c, 1) == 1;
	}
	for (int i = 0; i < COUNT; i++)
		good += pread(fds[i], &c, 1, 0) == 1 && c == (char)i;
	say("%d\n", good);
	for (int i = 0; i < COUNT; i++)
		close(fds[i]);
}

void body_locks_of_open_files(void)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10 };
	int a = make("f", 0, 0644), b = open("f", O_RDWR), r = open("f", O_RDONLY);

	DID(fcntl(a, F_OFD_SETLK, &l));
	DID(fcntl(b, F_OFD_SETLK, &l));
	l.l_start = 5;
	DID(fcntl(b, F_OFD_GETLK, &l));
	say("held %d from %ld for %ld by %d\n", l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid);
	l = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 20, .l_len = 10 };
	DID(fcntl(r, F_OFD_SETLK, &l));
	l.l_type = F_RDLCK;
	DID(fcntl(r, F_OFD_SETLK, &l));
	DID(fcntl(b, F_OFD_SETLK, &l));
	close(a);
	l = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10 };
	DID(fcntl(b, F_OFD_SETLK, &l));
	DID(flock(r, LOCK_SH));
	DID(flock(b, LOCK_EX | LOCK_NB));
	close(r);
	DID(flock(b, LOCK_EX | LOCK_NB));
	close(b);
}

void body_large_files(void)
{
	static const long long at[] = { 0x7fffffffLL, 0xffffffffLL, 0x100000000LL, 5LL << 30, 1LL << 40 };
	int fd = make("f", 0, 0644);
	char text[8] = "";
	char *map;

	for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
		DID(pwrite(fd, "12345", 5, at[i]));
		DID(pread(fd, text, 6, at[i]));
		say("%s, end at %lld\n", text, (long long)lseek(fd, 0, SEEK_END));
	}
	say("data at %lld\n", (long long)lseek(fd, 6LL << 30, SEEK_DATA));
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 5LL << 30);
	say("mapped %.5s\n", map);
	memcpy(map, "abc", 3);
	munmap(map, 4096);
	DID(pread(fd, text, 5, 5LL << 30));
	say("%s\n", text);
	DID(ftruncate(fd, (5LL << 30) + 2));
	DID(pread(fd, text, 5, 5LL << 30));
	DID(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5LL << 30, 1));
	DID(pread(fd, text, 2, 5LL << 30));
	say("%d %c\n", text[0], text[1]);
	look("f");
	close(fd);
}
