/* SPDX-License-Identifier: GPL-2.0-or-later */
/* same_attrs.c - test bodies: attributes, permissions, times */
#include "config.h"

#include "account.h"

#include <dirent.h>
#include <stdint.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

void body_owner_and_mode(void)
{
	put("f", "x");
	DID(chmod("f", 04755));
	DID(chown("f", 1000, 1001));
	look("f");
	DID(chmod("f", 06775));
	DID(chown("f", -1, 5));
	look("f");
	DID(chmod("no", 0600));
	mkdir("d", 0755);
	DID(chmod("d", 03777));
	DID(chown("d", 3, 4));
	look("d");
	DID(symlink("f", "s"));
	DID(fchownat(AT_FDCWD, "s", 7, 8, AT_SYMLINK_NOFOLLOW));
	look("s");
	DID(chown("s", 9, 10));
	look("f");
}

static void write_to_f(void)
{
	int fd = open("f", O_WRONLY);

	DID(pwrite(fd, "y", 1, 0));
	close(fd);
}

static void truncate_f(void)
{
	DID(truncate("f", 0));
}

void body_writing_drops_set_user_id(void)
{
	put("f", "x");
	chmod("f", 06777);
	as(1000, 1000, write_to_f);
	look("f");
	chmod("f", 06777);
	as(1000, 1000, truncate_f);
	look("f");
	chmod("f", 06777);
	write_to_f();
	look("f");
	chmod("f", 02767);
	as(1000, 1000, write_to_f);
	look("f");
}

static void make_as_user(void)
{
	close(make("d/f", 0, 0664));
	mkdir("d/sub", 0775);
	DID(symlink("x", "d/s"));
	DID(mkfifo("d/p", 0600));
	close(make("g/f", 0, 02771));
	mkdir("g/sub", 0755);
}

void body_new_files_belong_to_the_caller(void)
{
	mkdir("d", 0777);
	chmod("d", 0777);
	mkdir("g", 0777);
	chown("g", 0, 2000);
	chmod("g", 02777);
	as(1000, 1001, make_as_user);
	close(make("d/root", 0, 0644));
	look("d/f");
	look("d/sub");
	look("d/s");
	look("d/p");
	look("d/root");
	look("g/f");
	look("g/sub");
}

static void try_forbidden(void)
{
	DID(open("f", O_RDONLY));
	DID(open("f", O_WRONLY));
	DID(open("new", O_CREAT | O_RDWR, 0644));
	DID(open("d/x", O_RDONLY));
	DID(access("f", R_OK));
	DID(access("f", F_OK));
	DID(chmod("f", 0777));
	DID(chown("f", 1000, -1));
	DID(unlink("f"));
	DID(rename("f", "g"));
	DID(mkdir("m", 0755));
	DID(truncate("f", 0));
	DID(unlink("sticky/f"));
	DID(setxattr("f", "user.x", "1", 1, 0));
	DID(utimensat(AT_FDCWD, "f", NULL, 0));
	DID(mknod("n", S_IFCHR | 0666, makedev(1, 3)));
	DID(link("f", "l"));
	DID(opendir("d") ? 0 : -1);
	get("readable");
}

void body_permissions(void)
{
	put("f", "secret");
	chmod("f", 0600);
	put("readable", "text");
	mkdir("d", 0700);
	put("d/x", "x");
	mkdir("sticky", 01777);
	chmod("sticky", 01777);
	put("sticky/f", "x");
	as(1000, 1000, try_forbidden);
	look("f");
}

void body_times(void)
{
	struct timespec t[2] = { { 1000000000, 123456789 }, { 1234567890, 987654321 } };
	struct stat st;

	put("f", "x");
	DID(utimensat(AT_FDCWD, "f", t, 0));
	stat("f", &st);
	say("%ld.%09ld %ld.%09ld\n", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	t[0].tv_nsec = UTIME_OMIT;
	t[1].tv_sec = 1;
	DID(utimensat(AT_FDCWD, "f", t, 0));
	stat("f", &st);
	say("%ld %ld\n", st.st_atim.tv_sec, st.st_mtim.tv_sec);
	put("f", "y");
	stat("f", &st);
	say("written: mtime moved %d\n", st.st_mtim.tv_sec > 1);
	DID(symlink("f", "s"));
	t[0].tv_nsec = 5;
	DID(utimensat(AT_FDCWD, "s", t, AT_SYMLINK_NOFOLLOW));
	lstat("s", &st);
	say("link %ld.%ld\n", st.st_mtim.tv_sec, st.st_atim.tv_nsec);
	mkdir("d", 0755);
	DID(utimensat(AT_FDCWD, "d", t, 0));
	put("d/x", "x");
	stat("d", &st);
	say("dir: mtime moved %d\n", st.st_mtim.tv_sec > 1);
}

/* Linux asks a FUSE service for it from 6.6 on. */
static bool births_are_asked_for(void)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	uname(&name);
	sscanf(name.release, "%u.%u", &major, &minor);
	return major > 6 || (major == 6 && minor >= 6);
}

static void look_at_birth(const char *name, const struct timespec *start)
{
	struct statx st;

	if (did(name, statx(AT_FDCWD, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &st)) < 0)
		return;
	say("  birth told %d, since the start %d, before the change %d\n", !!(st.stx_mask & STATX_BTIME),
	    st.stx_btime.tv_sec >= start->tv_sec, st.stx_btime.tv_sec <= st.stx_ctime.tv_sec);
	say("  mode %o links %u owner %u:%u size %llu rdev %u:%u mask %x\n", st.stx_mode, st.stx_nlink, st.stx_uid,
	    st.stx_gid, S_ISDIR(st.stx_mode) ? 0 : (unsigned long long)st.stx_size, st.stx_rdev_major,
	    st.stx_rdev_minor, st.stx_mask & STATX_BASIC_STATS);
}

void body_birth(void)
{
	struct timespec start, past[2] = { { .tv_sec = 1 }, { .tv_sec = 2 } };

	if (!births_are_asked_for()) {
		printf("skipped: Linux 6.6 or later asks a FUSE service for the time of birth\n");
		say("skipped\n");
		return;
	}
	clock_gettime(CLOCK_REALTIME_COARSE, &start);
	put("f", "text");
	mkdir("d", 0755);
	DID(symlink("f", "s"));
	DID(mknod("n", S_IFCHR | 0600, makedev(1, 3)));
	DID(utimensat(AT_FDCWD, "f", past, 0));
	look_at_birth("f", &start);
	look_at_birth("d", &start);
	look_at_birth("s", &start);
	look_at_birth("n", &start);
	look_at_birth("no", &start);
}

void body_extended_attributes(void)
{
	char value[256], big[4096];

	put("f", "x");
	memset(big, 'b', sizeof(big));
	DID(setxattr("f", "user.a", "one", 3, 0));
	DID(setxattr("f", "user.a", "two", 3, XATTR_CREATE));
	DID(setxattr("f", "user.b", "two", 3, XATTR_REPLACE));
	DID(getxattr("f", "user.a", NULL, 0));
	DID(getxattr("f", "user.a", value, 1));
	DID(getxattr("f", "user.a", value, sizeof(value)));
	say("%.3s\n", value);
	DID(getxattr("f", "user.no", value, sizeof(value)));
	DID(setxattr("f", "user.big", big, 2000, 0));
	DID(getxattr("f", "user.big", big, sizeof(big)));
	DID(listxattr("f", NULL, 0) > 0);
	DID(removexattr("f", "user.a"));
	DID(removexattr("f", "user.a"));
	DID(setxattr("f", "bogus", "1", 1, 0));
	DID(setxattr("f", "user.", "1", 1, 0));
	DID(setxattr("f", "trusted.t", "1", 1, 0));
	mkdir("d", 0755);
	DID(setxattr("d", "user.d", "1", 1, 0));
	DID(symlink("f", "s"));
	DID(lsetxattr("s", "user.d", "1", 1, 0));
	DID(lgetxattr("s", "user.d", value, 1));
}

/* The wire form of a default ACL: user::rwx, user:1000:rwx, group::r-x, mask::rwx, other::--- */
void body_default_acl(void)
{
	static const struct {
		uint32_t version;
		struct {
			uint16_t tag, perm;
			uint32_t id;
		} entries[5];
	} acl = { 2, { { 1, 7, -1 }, { 2, 7, 1000 }, { 4, 5, -1 }, { 16, 7, -1 }, { 32, 0, -1 } } };

	mkdir("d", 0755);
	DID(setxattr("d", "system.posix_acl_default", &acl, sizeof(acl), 0));
	umask(077);
	close(make("d/f", 0, 0666));
	mkdir("d/sub", 0777);
	umask(022);
	look("d/f");
	look("d/sub");
	DID(getxattr("d/f", "system.posix_acl_access", NULL, 0));
	DID(getxattr("d/sub", "system.posix_acl_default", NULL, 0));
	DID(chmod("d/f", 0600));
	look("d/f");
}

static void read_acl_file(void)
{
	get("f");
	DID(open("f", O_WRONLY));
}

void body_acl_lets_a_user_in(void)
{
	static const struct {
		uint32_t version;
		struct {
			uint16_t tag, perm;
			uint32_t id;
		} entries[5];
	} acl = { 2, { { 1, 6, -1 }, { 2, 4, 1000 }, { 4, 0, -1 }, { 16, 4, -1 }, { 32, 0, -1 } } };

	put("f", "text");
	chmod("f", 0600);
	as(1000, 1000, read_acl_file);
	DID(setxattr("f", "system.posix_acl_access", &acl, sizeof(acl), 0));
	as(1000, 1000, read_acl_file);
	as(1001, 1001, read_acl_file);
	look("f");
}

void body_file_flags(void)
{
	int fd = make("f", 0, 0644), flags = 0;

	DID(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	flags |= FS_APPEND_FL;
	DID(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	close(fd);
	DID(open("f", O_WRONLY));
	fd = open("f", O_WRONLY | O_APPEND);
	did("append", fd < 0 ? -1 : 0);
	DID(write(fd, "abc", 3));
	DID(write(fd, "def", 3));
	DID(ftruncate(fd, 0));
	flags &= ~FS_APPEND_FL;
	DID(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	close(fd);
	get("f");
	fd = open(".", O_RDONLY);
	DID(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	DID(ioctl(fd, FIONREAD, &flags));
	close(fd);
}

static void list_attributes(const char *name)
{
	static const char *const attributes[] = { "user.a", "trusted.a", "security.a" };
	char value[64];

	for (int i = 0; i < 3; i++) {
		say("%s %s ", name, attributes[i]);
		did("", lsetxattr(name, attributes[i], "value", 5, XATTR_CREATE));
		did("again", lsetxattr(name, attributes[i], "value", 5, XATTR_CREATE));
		did("get", lgetxattr(name, attributes[i], value, sizeof(value)));
		did("small", lgetxattr(name, attributes[i], value, 2));
	}
	did("list", llistxattr(name, NULL, 0));
	for (int i = 0; i < 3; i++)
		did("remove", lremovexattr(name, attributes[i]));
	did("list", llistxattr(name, NULL, 0));
}

static void user_attributes(void)
{
	DID(setxattr("f", "trusted.b", "1", 1, 0));
	DID(getxattr("f", "trusted.a", NULL, 0));
	DID(setxattr("f", "user.b", "1", 1, 0));
	DID(lsetxattr("s", "user.b", "1", 1, 0));
}

void body_attributes_of_all_namespaces(void)
{
	static char big[65537];

	put("f", "x");
	mkdir("d", 0755);
	DID(mkfifo("p", 0644));
	DID(symlink("f", "s"));
	DID(symlink("nowhere", "n"));
	list_attributes("f");
	list_attributes("d");
	list_attributes("p");
	list_attributes("s");
	list_attributes("n");
	DID(setxattr("f", "trusted.a", "1", 1, 0));
	chmod("f", 0666);
	as(1000, 1000, user_attributes);
	DID(setxattr("f", "user.big", big, 65537, 0));
	DID(setxattr("f", "nonsense", "1", 1, 0));
	DID(setxattr("f", "user.", "1", 1, 0));
	DID(setxattr("f", "user.empty", "", 0, 0));
	DID(getxattr("f", "user.empty", NULL, 0));
}

static void as_member(void)
{
	static const gid_t groups[] = { 2000, 2001 };

	if (setgroups(2, groups) || setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000))
		_exit(1);
	get("for_group");
	DID(open("d/new", O_CREAT | O_RDWR, 02775));
	DID(chown("d/new", -1, 2001));
	DID(chown("d/new", -1, 2002));
	DID(chmod("d/new", 02775));
	DID(mkdir("d/sub", 0770));
	_exit(0);
}

void body_supplementary_groups(void)
{
	pid_t pid;

	put("for_group", "text");
	chmod("for_group", 0640);
	chown("for_group", 0, 2000);
	mkdir("d", 0770);
	chown("d", 0, 2001);
	chmod("d", 02770);
	pid = fork();
	if (!pid)
		as_member();
	waitpid(pid, NULL, 0);
	look("d/new");
	look("d/sub");
}
