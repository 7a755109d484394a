/* SPDX-License-Identifier: GPL-2.0-or-later */
/* same_names.c - test bodies: names, links, directories */
#include "config.h"

#include "account.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

void body_create(void)
{
	static const int flags[] = { 0, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW };

	for (unsigned i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		int fd = open("f", O_CREAT | O_RDWR | flags[i], 0666);

		say("%u ", i);
		did("open", fd < 0 ? -1 : 0);
		if (fd >= 0) {
			DID(write(fd, "abc", 3));
			close(fd);
		}
		look("f");
	}
	DID(open("no/f", O_CREAT | O_RDWR, 0666));
	DID(open("f/g", O_CREAT | O_RDWR, 0666));
	DID(open("", O_RDONLY));
}

void body_umask_and_modes(void)
{
	static const mode_t masks[] = { 0, 022, 077, 0777 };

	for (unsigned i = 0; i < 4; i++) {
		char name[16];

		umask(masks[i]);
		sprintf(name, "f%u", i);
		close(make(name, 0, 06777));
		look(name);
		sprintf(name, "d%u", i);
		mkdir(name, 01777);
		look(name);
		sprintf(name, "p%u", i);
		mkfifo(name, 0666);
		look(name);
	}
	umask(022);
}

void body_directories(void)
{
	DID(mkdir("d", 0755));
	DID(mkdir("d", 0755));
	DID(mkdir("d/e", 0700));
	look("d");
	DID(rmdir("d"));
	DID(unlink("d"));
	DID(rmdir("d/e"));
	DID(rmdir("d/."));
	DID(rmdir("d/.."));
	DID(rmdir("no"));
	put("f", "x");
	DID(rmdir("f"));
	DID(rmdir("d"));
	look("d");
}

void body_long_names(void)
{
	char name[300];
	struct statvfs st;

	memset(name, 'n', sizeof(name));
	name[255] = 0;
	DID(mkdir(name, 0755));
	look(name);
	DID(rmdir(name));
	name[255] = 'n';
	name[256] = 0;
	DID(mkdir(name, 0755));
	DID(open(name, O_RDONLY));
	DID(statvfs(".", &st));
	say("namemax %lu bsize %lu\n", st.f_namemax, st.f_bsize);
}

void body_links(void)
{
	put("a", "text");
	DID(link("a", "b"));
	DID(link("a", "b"));
	DID(link("no", "c"));
	look("a");
	look("b");
	put("b", "more text");
	get("a");
	DID(unlink("a"));
	look("b");
	get("b");
	mkdir("d", 0755);
	DID(link("d", "e"));
	DID(symlink("b", "s"));
	DID(linkat(AT_FDCWD, "s", AT_FDCWD, "hard", 0));
	look("hard");
	DID(linkat(AT_FDCWD, "s", AT_FDCWD, "follow", AT_SYMLINK_FOLLOW));
	look("follow");
}

void body_symlinks(void)
{
	char target[64] = "";

	DID(symlink("nowhere", "s"));
	DID(symlink("nowhere", "s"));
	look("s");
	DID(readlink("s", target, 63));
	say("-> %s\n", target);
	DID(open("s", O_RDONLY));
	DID(open("s", O_RDONLY | O_NOFOLLOW));
	DID(open("s", O_CREAT | O_EXCL | O_RDWR, 0644));
	close(open("s", O_CREAT | O_RDWR, 0644));
	look("nowhere");
	DID(symlink("loop", "loop"));
	DID(open("loop", O_RDONLY));
	DID(readlink("nowhere", target, 63));
	DID(unlink("s"));
	DID(lchown("loop", 5, 6));
	look("loop");
}

void body_rename(void)
{
	put("a", "a");
	put("b", "b");
	mkdir("d", 0755);
	mkdir("e", 0755);
	DID(rename("a", "b"));
	get("b");
	look("a");
	DID(rename("b", "d"));
	DID(rename("d", "b"));
	DID(rename("d", "e"));
	DID(rename("b", "e/b"));
	DID(rename("e", "e/x"));
	mkdir("d", 0755);
	DID(rename("d", "e"));
	DID(rename("no", "x"));
	DID(rename("e/b", "e/b"));
	DID(renameat2(AT_FDCWD, "e/b", AT_FDCWD, "d", RENAME_NOREPLACE));
	DID(renameat2(AT_FDCWD, "e/b", AT_FDCWD, "d", RENAME_EXCHANGE));
	look("e/b");
	get("d");
	DID(renameat2(AT_FDCWD, "d", AT_FDCWD, "no", RENAME_EXCHANGE));
	DID(renameat2(AT_FDCWD, "d", AT_FDCWD, "new", RENAME_NOREPLACE));
	DID(renameat2(AT_FDCWD, "new", AT_FDCWD, "x", RENAME_NOREPLACE | RENAME_EXCHANGE));
	get("new");
}

void body_rename_over_an_open_file(void)
{
	char text[8] = "";
	int fd;

	put("a", "old");
	put("b", "new");
	fd = open("a", O_RDWR);
	DID(rename("b", "a"));
	DID(pread(fd, text, 7, 0));
	say("%s\n", text);
	get("a");
	DID(pwrite(fd, "still", 5, 0));
	get("a");
	close(fd);
}

void body_unlinked_files_live_on(void)
{
	struct stat st;
	char text[8] = "";
	int fd = make("f", 0, 0644);

	DID(write(fd, "abc", 3));
	DID(unlink("f"));
	look("f");
	DID(fstat(fd, &st));
	say("links %lu size %ld\n", (unsigned long)st.st_nlink, (long)st.st_size);
	DID(ftruncate(fd, 5));
	DID(fchmod(fd, 0600));
	DID(pwrite(fd, "xyz", 3, 4));
	DID(pread(fd, text, 7, 0));
	DID(fsync(fd));
	DID(fstat(fd, &st));
	say("mode %o size %ld\n", st.st_mode, (long)st.st_size);
	close(fd);
	mkdir("d", 0755);
	fd = open("d", O_RDONLY);
	DID(rmdir("d"));
	DID(openat(fd, "x", O_CREAT | O_RDWR, 0644));
	close(fd);
}

void body_special_files(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "sock" };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	DID(mknod("file", S_IFREG | 0640, 0));
	look("file");
	DID(mknod("pipe", S_IFIFO | 0600, 0));
	look("pipe");
	DID(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
	look("null");
	DID(bind(fd, (struct sockaddr *)&name, sizeof(name)));
	look("sock");
	close(fd);
	DID(open("sock", O_RDONLY));
	fd = open("pipe", O_RDWR | O_NONBLOCK);
	did("pipe", fd < 0 ? -1 : 0);
	DID(write(fd, "x", 1));
	close(fd);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(DIR *d)
{
	char *names[4096];
	struct dirent *e;
	int n = 0;

	while (n < 4096 && (e = readdir(d))) {
		char text[300];

		snprintf(text, sizeof(text), "%s %d", e->d_name, e->d_type);
		names[n++] = strdup(text);
	}
	qsort(names, n, sizeof(*names), by_name);
	for (int i = 0; i < n; i++) {
		say("%s\n", names[i]);
		free(names[i]);
	}
}

void body_reading_directories(void)
{
	char name[64];
	DIR *d;

	mkdir("sub", 0755);
	DID(symlink("x", "link"));
	for (int i = 0; i < 1500; i++) {
		sprintf(name, "file-with-a-name-of-some-length-%d", i);
		close(make(name, 0, 0644));
	}
	d = opendir(".");
	list(d);
	rewinddir(d);
	unlink("file-with-a-name-of-some-length-7");
	list(d);
	closedir(d);
	d = opendir("link");
	did("opendir", d ? 0 : -1);
}

void body_seeking_in_directories(void)
{
	long places[50];
	char first[256], name[16];
	struct dirent *e;
	DIR *d;
	int n = 0;

	for (int i = 0; i < 40; i++) {
		sprintf(name, "f%d", i);
		close(make(name, 0, 0644));
	}
	d = opendir(".");
	do
		places[n++] = telldir(d);
	while (readdir(d) && n < 50);
	seekdir(d, places[10]);
	e = readdir(d);
	strcpy(first, e ? e->d_name : "none");
	seekdir(d, places[30]);
	readdir(d);
	seekdir(d, places[10]);
	e = readdir(d);
	say("%d places, same again: %d\n", n, e && !strcmp(e->d_name, first));
	closedir(d);
}

void body_whiteout(void)
{
	put("a", "a");
	put("b", "b");
	DID(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_WHITEOUT));
	look("a");
	get("c");
	DID(renameat2(AT_FDCWD, "c", AT_FDCWD, "b", RENAME_WHITEOUT | RENAME_NOREPLACE));
	DID(renameat2(AT_FDCWD, "c", AT_FDCWD, "b", RENAME_WHITEOUT | RENAME_EXCHANGE));
	DID(renameat2(AT_FDCWD, "c", AT_FDCWD, "b", RENAME_WHITEOUT));
	look("c");
	get("b");
	DID(renameat2(AT_FDCWD, "b", AT_FDCWD, "d", 1u << 30));
	DID(unlink("a"));
	look("a");
}

void body_odd_names(void)
{
	static const char *const names[] = { " ", "...", "new\nline", "\x80\xff", "-f", "comma,back\\slash", ".dmo2", "a:b" };
	DIR *d;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		put(names[i], names[i]);
		look(names[i]);
	}
	d = opendir(".");
	list(d);
	closedir(d);
	DID(mkdir("d/", 0755));
	DID(mkdir("d//e/", 0755));
	DID(rename("d/e", "d/e/"));
	DID(open(" /", O_RDONLY));
	DID(rmdir("d/e/"));
	DID(access("d/./../d", F_OK));
}
