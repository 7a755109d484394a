/* SPDX-License-Identifier: GPL-2.0-or-later */
/* life.c - how the service starts, what it refuses, how it ends */
#include "config.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mounted.h"

/* As in linux/fs.h, which does not go along with sys/mount.h. */
#define FS_IOC_SETFLAGS _IOW('f', 2, long)
#define FS_NOATIME_FL 0x80

/* Runs dmofs with a shell's argument line, in dir; fills text with what it says. Its exit status. */
static int run(const char *dir, const char *args, char *text, size_t size)
{
	char command[8192];
	size_t n;
	FILE *f;

	snprintf(command, sizeof(command), "cd '%s' && timeout 60 '%s' %s 2>&1", dir, mounted_program(), args);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	n = fread(text, 1, size - 1, f);
	text[n] = 0;
	return WEXITSTATUS(pclose(f));
}

/* ---- bad command lines: exit status, and a line that names the cause ----------------------------------------- */

static const struct {
	const char *args;
	int status;
	const char *says;
} refused[] = {
	{ "", 1, "STORE is missing" },
	{ "store", 1, "MOUNT is missing" },
	{ "store mount", 1, "no device" },
	{ "store mount third -d sim:npu0,memory=1M", 1, "third" },
	{ "--bogus store mount", 1, "bogus" },
	{ "-o bogus store mount -d sim:npu0,memory=1M", 1, "bogus" },
	{ "-o bogus=1 store mount -d sim:npu0,memory=1M", 1, "bogus" },
	{ "-o io=fast store mount -d sim:npu0,memory=1M", 1, "io=fast" },
	{ "-o ctl=a/b store mount -d sim:npu0,memory=1M", 1, "ctl=a/b" },
	{ "-o readahead=1 store mount -d sim:npu0,memory=1M", 1, "readahead=1" },
	{ "-o threads=1 store mount -d sim:npu0,memory=1M", 1, "threads=1" },
	{ "--log-level loud store mount -d sim:npu0,memory=1M", 1, "loud" },
	{ "no mount -d sim:npu0,memory=1M", 2, "create the store" },
	{ "file mount -d sim:npu0,memory=1M", 2, "not a directory" },
	{ "store no -d sim:npu0,memory=1M", 3, "mkdir" },
	{ "store file -d sim:npu0,memory=1M", 3, "not a directory" },
	{ "store mount -d npu0", 4, "npu0" },
	{ "store mount -d none:npu0,memory=1M", 4, "none" },
	{ "store mount -d sim:npu0,memory=lots", 4, "lots" },
	{ "store mount -d sim:npu0,memory=1M,bogus=1", 4, "bogus" },
	{ "store mount -d sim:npu0,memory=1M -d sim:npu0,memory=1M", 4, "npu0" },
	{ "-f store mount -d sim:npu0,memory=lots", 4, "lots" },
	{ "own mount -d sim:npu0,memory=1M", 2, "ctl=NAME" },
	{ "-d", 1, "-d: its value is missing" },
	{ "store store/inside -d sim:npu0,memory=1M", 3, "inside the store" },
};

static char dir[64];

static void make_dir(void)
{
	char command[256];

	strcpy(dir, "/tmp/dmofs-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(command, sizeof(command), "cd %s && mkdir store store/inside mount own own/.dmo && touch file", dir);
	ck_assert_int_eq(system(command), 0);
}

static void remove_dir(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf --one-file-system %s", dir);
	ck_assert_int_eq(system(command), 0);
}

/* Lines, but for those that say what this machine forbids. */
static int count_lines(const char *text)
{
	int n = 0;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += !!*line)
		n += strncmp(line, "dmofs: no memory reserves", 25) && strncmp(line, "dmofs: memory is not", 20);
	return n;
}

START_TEST(a_bad_command_line_is_refused_with_its_cause)
{
	char text[8192];
	int status = run(dir, refused[_i].args, text, sizeof(text));

	ck_assert_msg(status == refused[_i].status, "dmofs %s: exit status %d: %s", refused[_i].args, status, text);
	ck_assert_msg(strstr(text, refused[_i].says) != NULL, "dmofs %s says: %s", refused[_i].args, text);
	ck_assert_msg(count_lines(text) == 1, "dmofs %s does not say it in one line: %s", refused[_i].args, text);
}
END_TEST

static void expect_says(const char *command, const char *start)
{
	char text[4096];
	FILE *f = popen(command, "r");
	size_t n;

	ck_assert_ptr_nonnull(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	pclose(f);
	ck_assert_msg(!strncmp(text, start, strlen(start)), "%s says: %s", command, text);
}

START_TEST(levels_are_for_the_journal_only)
{
	char command[8192];

	snprintf(command, sizeof(command), "cd %s && JOURNAL_STREAM=1:2 '%s' no mount -d sim:a 2>&1", dir,
		 mounted_program());
	expect_says(command, "dmofs: no: no such directory");
	snprintf(command, sizeof(command), "cd %s && exec 2>&1 && JOURNAL_STREAM=$(stat -L -c %%d:%%i /dev/fd/2) "
		 "'%s' no mount -d sim:a", dir, mounted_program());
	expect_says(command, "<3>no: no such directory");
}
END_TEST

START_TEST(memory_that_must_not_be_locked_is_told_once_and_costs_no_more)
{
	char command[8192];

	if (system("command -v setpriv >/dev/null")) {
		printf("skipped: no setpriv to give up CAP_IPC_LOCK with\n");
		return;
	}
	snprintf(command, sizeof(command), "cd %s && ulimit -l 64 && setpriv --bounding-set=-ipc_lock "
		 "--inh-caps=-ipc_lock '%s' store mount -d sim:npu0,memory=1M 2>&1 | grep -c 'memory is not locked' && "
		 "echo text > mount/f && cat store/f && umount mount", dir, mounted_program());
	expect_says(command, "1\ntext\n");
}
END_TEST

START_TEST(more_files_than_descriptors_can_be_gone_through)
{
	char command[8192];

	if (system("command -v setpriv >/dev/null")) {
		printf("skipped: no setpriv to give up CAP_SYS_RESOURCE with\n");
		return;
	}
	snprintf(command, sizeof(command), "cd %s/store && seq -f 'f%%g' 8000 | xargs touch && cd .. && ulimit -n 600 && "
		 "setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource '%s' store mount -d sim:npu0,memory=1M "
		 "2>/dev/null && ls -l mount 2>&1 | grep -c f && cat mount/f* 2>&1 | head -1; umount mount", dir,
		 mounted_program());
	expect_says(command, "8000\n");
}
END_TEST

START_TEST(help_shows_examples_and_version_a_number)
{
	char text[8192];

	ck_assert_int_eq(run(dir, "--help", text, sizeof(text)), 0);
	ck_assert_ptr_nonnull(strstr(text, "Examples:"));
	ck_assert_int_eq(run(dir, "--version", text, sizeof(text)), 0);
	ck_assert_str_eq(text, "dmofs " VERSION "\n");
}
END_TEST

/* ---- lives -------------------------------------------------------------------------------------------------------- */

static struct mounted m;

static void put(const char *top, const char *name, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	fd = open(path, O_CREAT | O_RDWR, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void expect(const char *top, const char *name, const char *text)
{
	char path[256], seen[256] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	fd = open(path, O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(read(fd, seen, sizeof(seen) - 1), 0);
	ck_assert_str_eq(seen, text);
	close(fd);
}

START_TEST(unmounting_ends_the_service_in_order)
{
	mounted_start(&m, NULL);
	put(m.mount, "f", "text");
	ck_assert_int_eq(mounted_stop(&m), 0);
	expect(m.store, "f", "text");
	mounted_clean(&m);
}
END_TEST

START_TEST(fusermount_ends_it_too)
{
	char command[256];

	mounted_start(&m, NULL);
	snprintf(command, sizeof(command), "fusermount3 -u %s", m.mount);
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(mounted_wait(&m), 0);
	mounted_clean(&m);
}
END_TEST

static void ends_by(int sig)
{
	mounted_start(&m, NULL);
	put(m.mount, "f", "text");
	kill(m.pid, sig);
	ck_assert_int_eq(mounted_wait(&m), 0);
	expect(m.store, "f", "text");
	ck_assert_int_eq(rmdir(m.mount), 0);
	mounted_clean(&m);
}

START_TEST(signals_unmount)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

	ends_by(signals[_i]);
}
END_TEST

START_TEST(a_signal_while_files_are_open_saves_mapped_writes)
{
	char path[256];
	char *map;
	int fd;

	mounted_start(&m, NULL);
	snprintf(path, sizeof(path), "%s/f", m.mount);
	fd = open(path, O_CREAT | O_RDWR, 0644);
	ck_assert_int_eq(ftruncate(fd, 4096), 0);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	strcpy(map, "mapped");
	kill(m.pid, SIGTERM);
	ck_assert_int_eq(mounted_wait(&m), 0);
	expect(m.store, "f", "mapped");
	ck_assert_int_eq(rmdir(m.mount), 0);
	munmap(map, 4096);
	close(fd);
	mounted_clean(&m);
}
END_TEST

/* Their releases never come; the leak sanitizer sees what the service did not free. */
START_TEST(a_signal_while_directories_and_control_files_are_open_ends_in_order)
{
	static const char *const names[] = { "", ".dmo/info", ".dmo/metrics", ".dmo/devices/npu0/context", "f" };
	enum { COUNT = sizeof(names) / sizeof(*names) };
	char path[256];
	int fds[COUNT];

	mounted_start(&m, NULL);
	put(m.mount, "f", "text");
	for (int i = 0; i < COUNT; i++) {
		snprintf(path, sizeof(path), "%s/%s", m.mount, names[i]);
		fds[i] = open(path, O_RDONLY);
		ck_assert_msg(fds[i] >= 0, "%s: %s", path, strerror(errno));
	}
	kill(m.pid, SIGTERM);
	ck_assert_int_eq(mounted_wait(&m), 0);
	for (int i = 0; i < COUNT; i++)
		close(fds[i]);
	mounted_clean(&m);
}
END_TEST

START_TEST(the_daemon_is_ready_when_its_parent_exits)
{
	char text[4096], path[256];
	struct stat st;

	ck_assert_msg(run(dir, "store mount -d sim:npu0,memory=1M", text, sizeof(text)) == 0, "%s", text);
	snprintf(path, sizeof(path), "%s/mount/.dmo/info", dir);
	ck_assert_int_eq(stat(path, &st), 0);
	snprintf(path, sizeof(path), "%s/mount", dir);
	ck_assert_int_eq(run(dir, "store mount -d sim:npu0,memory=1M", text, sizeof(text)), 3);
	ck_assert_ptr_nonnull(strstr(text, "umount"));
	ck_assert_int_eq(mounted_umount(path), 0);
}
END_TEST

START_TEST(mount_options_reach_the_service)
{
	char text[4096], path[256];
	struct stat st;

	ck_assert_msg(run(dir, "own mount -o rw,nofail,x-systemd.automount,ctl=.ctl,device=sim:npu0:memory=1M:mode=0640",
			  text, sizeof(text)) == 0, "%s", text);
	snprintf(path, sizeof(path), "%s/mount/.ctl/devices/npu0/context", dir);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0640);
	snprintf(path, sizeof(path), "%s/mount/.dmo", dir);
	ck_assert_int_eq(rmdir(path), 0);
	snprintf(path, sizeof(path), "%s/mount", dir);
	ck_assert_int_eq(mounted_umount(path), 0);
}
END_TEST

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC), n = fd < 0 ? -1 : (int)write(fd, text, strlen(text));

	close(fd);
	return n;
}

/* There is a file f. */
static void refuses_all_changes(const char *top)
{
	struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	int flags = FS_NOATIME_FL, fd;

#define REFUSED(call) \
	do { \
		errno = 0; \
		ck_assert_msg((call) == -1 && errno == EROFS, "%s: %s", #call, strerror(errno)); \
	} while (0)
	ck_assert_int_eq(chdir(top), 0);
	REFUSED(open("f", O_WRONLY));
	REFUSED(open("f", O_RDONLY | O_TRUNC));
	REFUSED(open("new", O_CREAT | O_RDWR, 0644));
	REFUSED(mkdir("d", 0755));
	REFUSED(mknod("n", S_IFIFO | 0644, 0));
	REFUSED(symlink("f", "s"));
	REFUSED(link("f", "l"));
	REFUSED(rename("f", "g"));
	REFUSED(unlink("f"));
	REFUSED(truncate("f", 1));
	REFUSED(chmod("f", 0600));
	REFUSED(chown("f", 1, 1));
	REFUSED(utimensat(AT_FDCWD, "f", times, 0));
	REFUSED(setxattr("f", "user.a", "1", 1, 0));
	REFUSED(removexattr("f", "user.a"));
	fd = open("f", O_RDONLY);
	REFUSED(ioctl(fd, FS_IOC_SETFLAGS, &flags));
#undef REFUSED
	close(fd);
	ck_assert_int_eq(chdir("/"), 0);
}

START_TEST(a_read_only_mount_changes_nothing)
{
	char path[256];

	mounted_start(&m, NULL);
	put(m.mount, "f", "text");
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_restart(&m, "-o", "ro", NULL);
	expect(m.mount, "f", "text");
	snprintf(path, sizeof(path), "%s/f", m.mount);
	ck_assert_int_eq(open(path, O_RDWR), -1);
	ck_assert_int_eq(errno, EROFS);
	ck_assert_int_eq(unlink(path), -1);
	ck_assert_int_eq(errno, EROFS);
	ck_assert_int_eq(truncate(path, 0), -1);
	ck_assert_int_eq(errno, EROFS);
	refuses_all_changes(m.mount);
	snprintf(path, sizeof(path), "%s/.dmo/devices/npu0/memory.max", m.mount);
	ck_assert_int_eq(write_text(path, "1M"), 2);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}
END_TEST

START_TEST(a_read_only_store_makes_a_read_only_mount)
{
	mounted_start(&m, NULL);
	put(m.mount, "f", "text");
	ck_assert_int_eq(mounted_stop(&m), 0);
	ck_assert_int_eq(mount(m.store, m.store, NULL, MS_BIND, NULL), 0);
	ck_assert_int_eq(mount(NULL, m.store, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
	mounted_restart(&m, NULL);
	expect(m.mount, "f", "text");
	refuses_all_changes(m.mount);
	ck_assert_int_eq(mounted_stop(&m), 0);
	ck_assert_int_eq(mounted_umount(m.store), 0);
	mounted_clean(&m);
}
END_TEST

START_TEST(a_store_that_is_gone_refuses_new_files_and_ends_in_order)
{
	char path[256];

	mounted_start(&m, NULL);
	ck_assert_int_eq(rmdir(m.store), 0);
	snprintf(path, sizeof(path), "%s/f", m.mount);
	ck_assert_int_eq(open(path, O_CREAT | O_RDWR, 0644), -1);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}
END_TEST

static struct statx born(const char *top, const char *name)
{
	char path[256];
	struct statx st;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	ck_assert_int_eq(statx(AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_BTIME, &st), 0);
	return st;
}

/* tests/fuse/same skips this where the kernel asks for no births. */
START_TEST(births_are_the_stores_and_control_files_have_none)
{
	struct statx store, mount;

	mounted_start(&m, NULL);
	put(m.mount, "f", "text");
	store = born(m.store, "f");
	mount = born(m.mount, "f");
	if (mount.stx_mask & STATX_BTIME) {
		ck_assert_int_eq(mount.stx_btime.tv_sec, store.stx_btime.tv_sec);
		ck_assert_uint_eq(mount.stx_btime.tv_nsec, store.stx_btime.tv_nsec);
	}
	mount = born(m.mount, ".dmo/info");
	ck_assert_uint_eq(mount.stx_mask & (STATX_BASIC_STATS | STATX_BTIME), STATX_BASIC_STATS);
	ck_assert_uint_eq(mount.stx_mode, S_IFREG | 0444);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}
END_TEST

/* An overlay shows them to everybody, so this is not compared with the store. */
START_TEST(trusted_attributes_are_listed_to_root_only)
{
	char path[256];
	int status;
	pid_t pid;

	mounted_start(&m, NULL);
	put(m.mount, "f", "text");
	snprintf(path, sizeof(path), "%s/f", m.mount);
	ck_assert_int_eq(setxattr(path, "trusted.a", "1", 1, 0), 0);
	ck_assert_int_eq(setxattr(path, "user.b", "1", 1, 0), 0);
	ck_assert_int_eq(listxattr(path, NULL, 0), 17);
	pid = fork();
	if (!pid) {
		char list[64] = "";

		if (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000))
			_exit(1);
		_exit(listxattr(path, list, sizeof(list)) != 7 || strcmp(list, "user.b") || listxattr(path, NULL, 0) != 7 ||
		      listxattr(path, list, 6) != -1 || errno != ERANGE);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}
END_TEST

/* The kernel does not hand these on; nothing may happen to the file. */
START_TEST(fallocate_that_moves_bytes_is_refused)
{
	static char bytes[3 * 4096];
	char path[256];
	int fd;

	mounted_start(&m, NULL);
	snprintf(path, sizeof(path), "%s/f", m.mount);
	fd = open(path, O_CREAT | O_RDWR, 0644);
	memset(bytes, 'x', sizeof(bytes));
	ck_assert_int_eq(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	ck_assert_int_eq(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 4096, 4096), -1);
	ck_assert_int_eq(errno, EOPNOTSUPP);
	ck_assert_int_eq(fallocate(fd, FALLOC_FL_INSERT_RANGE, 4096, 4096), -1);
	ck_assert_int_eq(errno, EOPNOTSUPP);
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), sizeof(bytes));
	close(fd);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}
END_TEST

/* Runs a line of shell in dir, where $dmofs is the program; what it says comes out when it fails. */
static int shell(const char *line)
{
	char command[2048];

	setenv("dmofs", mounted_program(), 1);
	snprintf(command, sizeof(command), "cd %s && { %s; }", dir, line);
	return WEXITSTATUS(system(command));
}

START_TEST(mount_calls_it_by_its_helper_name_with_its_own_options)
{
	ck_assert_int_eq(shell("ln -s \"$dmofs\" mount.fuse.dmofs"), 0);
	/* -f tries: no mount, but a bad line is refused. */
	ck_assert_int_eq(shell("./mount.fuse.dmofs store mount -fnsv -t fuse.dmofs -o rw,device=sim:npu0:memory=1M"), 0);
	ck_assert_int_eq(shell("mountpoint -q mount"), 32);
	ck_assert_int_eq(shell("./mount.fuse.dmofs store mount -f -o bogus 2>said"), 1);
	ck_assert_int_eq(shell("./mount.fuse.dmofs store mount -snv -N /proc/self/ns/mnt -t fuse.dmofs "
			       "-o rw,user=somebody,device=sim:npu0:memory=1M 2>said || { cat said; false; }"), 0);
	ck_assert_int_eq(shell("mountpoint -q mount && umount mount"), 0);
}
END_TEST

static void *user_mounts(const char *user_dir)
{
	char command[512];

	snprintf(command, sizeof(command),
		 "cd %s && '%s' store mount -d sim:npu0,memory=1M && echo text > mount/f && cat mount/f store/f && "
		 "fusermount3 -u mount", user_dir, mounted_program());
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

/* Where users may not open /dev/fuse, a device that they may is put in its place, for this process only. */
static bool device_for_users(void)
{
	struct stat st;
	char path[256];

	if (!stat("/dev/fuse", &st) && (st.st_mode & 06) == 06)
		return true;
	snprintf(path, sizeof(path), "%s/device", dir);
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mknod(path, S_IFCHR | 0666, makedev(10, 229)) && !chmod(path, 0666) &&
	       !mount(path, "/dev/fuse", NULL, MS_BIND, NULL);
}

START_TEST(a_user_may_mount)
{
	char path[256];
	pid_t pid;
	int status;

	if (!device_for_users() || system("command -v fusermount3 >/dev/null")) {
		printf("skipped: no fusermount3, or no /dev/fuse that users may open\n");
		return;
	}
	snprintf(path, sizeof(path), "chown -R 1000:1000 %s", dir);
	ck_assert_int_eq(system(path), 0);
	pid = fork();
	if (!pid) {
		if (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000))
			_exit(1);
		if (access(mounted_program(), X_OK))
			_exit(77);
		user_mounts(dir);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		printf("skipped: the build tree is closed to users\n");
	else
		ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(an_open_file_can_be_passed_to_another_process)
{
	char path[256], text[8] = "", control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { text, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int pair[2], fd;

	mounted_start(&m, NULL);
	snprintf(path, sizeof(path), "%s/f", m.mount);
	fd = open(path, O_CREAT | O_RDWR, 0644);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	ck_assert_int_eq(sendmsg(pair[0], &msg, 0), 1);
	close(fd);
	unlink(path);
	ck_assert_int_eq(recvmsg(pair[1], &msg, 0), 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	ck_assert_int_eq(write(fd, "passed", 6), 6);
	ck_assert_int_eq(pread(fd, text, 7, 0), 6);
	ck_assert_str_eq(text, "passed");
	close(fd);
	close(pair[0]);
	close(pair[1]);
	ck_assert_int_eq(mounted_stop(&m), 0);
	mounted_clean(&m);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("life");
	TCase *lines = tcase_create("lines"), *lives = tcase_create("lives");
	SRunner *runner = srunner_create(suite);
	int failed;

	mounted_need(true);
	tcase_set_timeout(lines, 60);
	tcase_add_checked_fixture(lines, make_dir, remove_dir);
	tcase_add_loop_test(lines, a_bad_command_line_is_refused_with_its_cause, 0,
			    sizeof(refused) / sizeof(*refused));
	tcase_add_test(lines, levels_are_for_the_journal_only);
	tcase_add_test(lines, memory_that_must_not_be_locked_is_told_once_and_costs_no_more);
	tcase_add_test(lines, more_files_than_descriptors_can_be_gone_through);
	tcase_add_test(lines, help_shows_examples_and_version_a_number);
	tcase_add_test(lines, the_daemon_is_ready_when_its_parent_exits);
	tcase_add_test(lines, mount_options_reach_the_service);
	tcase_add_test(lines, mount_calls_it_by_its_helper_name_with_its_own_options);
	tcase_add_test(lines, a_user_may_mount);
	suite_add_tcase(suite, lines);
	tcase_set_timeout(lives, 60);
	tcase_add_test(lives, unmounting_ends_the_service_in_order);
	tcase_add_test(lives, fusermount_ends_it_too);
	tcase_add_loop_test(lives, signals_unmount, 0, 3);
	tcase_add_test(lives, a_signal_while_files_are_open_saves_mapped_writes);
	tcase_add_test(lives, a_signal_while_directories_and_control_files_are_open_ends_in_order);
	tcase_add_test(lives, a_read_only_mount_changes_nothing);
	tcase_add_test(lives, a_read_only_store_makes_a_read_only_mount);
	tcase_add_test(lives, a_store_that_is_gone_refuses_new_files_and_ends_in_order);
	tcase_add_test(lives, births_are_the_stores_and_control_files_have_none);
	tcase_add_test(lives, trusted_attributes_are_listed_to_root_only);
	tcase_add_test(lives, fallocate_that_moves_bytes_is_refused);
	tcase_add_test(lives, an_open_file_can_be_passed_to_another_process);
	suite_add_tcase(suite, lives);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
