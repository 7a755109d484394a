// SPDX-License-Identifier: GPL-2.0-or-later
/* object.c - objects as files: made over what, one for each backing inode, read, written, sized */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void fresh_memory_reads_as_zeros(void)
{
	int fd = fresh(3 * PAGE + 5);
	char buf[4 * PAGE], zero[4 * PAGE] = { 0 };

	memset(buf, 1, sizeof(buf));
	eq(pread(fd, buf, sizeof(buf), 0), 3 * PAGE + 5);
	eq(memcmp(buf, zero, 3 * PAGE + 5), 0);
	eq(lseek(fd, 0, SEEK_END), 3 * PAGE + 5);
}

static void writes_show_in_the_backing_file_and_back(void)
{
	int back = memfd(BLOCK), fd = object_over(back);
	char buf[8];

	eq(pwrite(fd, "object", 6, 100), 6);
	eq(pread(back, buf, 6, 100), 6);
	eq(memcmp(buf, "object", 6), 0);
	eq(pwrite(back, "memfd", 5, BLOCK - 5), 5);
	eq(pread(fd, buf, 8, BLOCK - 5), 5);
	eq(memcmp(buf, "memfd", 5), 0);
}

static void mappings_and_reads_agree(void)
{
	int fd = fresh(4 * BLOCK);
	char *at = map(fd, 4 * BLOCK), buf[16];

	memset(at + BLOCK, 0x5a, BLOCK);
	eq(pread(fd, buf, 16, 2 * BLOCK - 8), 16);
	eq(buf[7], 0x5a);
	eq(buf[8], 0);
	eq(pwrite(fd, "abc", 3, 3 * BLOCK), 3);
	eq(memcmp(at + 3 * BLOCK, "abc", 3), 0);
}

static void a_backing_file_has_one_object(void)
{
	int back = memfd(BLOCK), a = object_over(back), b = object_over(back);
	struct stat x, y;

	sys(fstat(a, &x));
	sys(fstat(b, &y));
	eq(x.st_ino, y.st_ino);
	eq(x.st_dev, y.st_dev);
	close(a);
	eq(pwrite(b, "x", 1, 0), 1);
}

static void an_object_outlives_its_descriptor_in_a_mapping(void)
{
	int fd = fresh(BLOCK);
	char *at = map(fd, BLOCK);

	at[5] = 7;
	close(fd);
	eq(at[5], 7);
	at[PAGE] = 8;
	sys(msync(at, BLOCK, MS_SYNC));
	sys(munmap(at, BLOCK));
}

static void a_mapping_s_file_is_not_the_descriptor_s(void)
{
	int back = memfd(BLOCK), fd = object_over(back);
	char *at = map(fd, BLOCK), *other;

	close(back);
	close(fd);
	other = mremap(at, BLOCK, 2 * BLOCK, MREMAP_MAYMOVE);
	yes(other != MAP_FAILED);
	other[BLOCK - 1] = 3;
	sys(munmap(other, 2 * BLOCK));
}

static void size_follows_truncation_both_ways(void)
{
	int back = memfd(BLOCK), fd = object_over(back);
	struct stat st;

	sys(ftruncate(fd, 3 * BLOCK));
	sys(fstat(back, &st));
	eq(st.st_size, 3 * BLOCK);
	sys(ftruncate(fd, 10));
	sys(fstat(fd, &st));
	eq(st.st_size, 10);
	eq(pwrite(fd, "y", 1, BLOCK), 1);
	sys(fstat(fd, &st));
	eq(st.st_size, BLOCK + 1);
}

static void appended_bytes_come_to_the_end(void)
{
	int fd = fresh(10);

	sys(fcntl(fd, F_SETFL, O_APPEND));
	eq(write(fd, "abc", 3), 3);
	eq(lseek(fd, 0, SEEK_END), 13);
}

static void holes_are_found_and_punched(void)
{
	int fd = fresh(4 * BLOCK);
	char *at = map(fd, 4 * BLOCK);

	at[2 * BLOCK] = 1;
	eq(lseek(fd, 0, SEEK_DATA), 2 * BLOCK);
	eq(lseek(fd, 2 * BLOCK, SEEK_HOLE), 2 * BLOCK + PAGE);
	sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * BLOCK, PAGE));
	eq(at[2 * BLOCK], 0);
	fails(lseek(fd, 0, SEEK_HOLE) != 0 ? -1 : 0, 0);
	eq(fallocate(fd, 0, 0, 5 * BLOCK), 0);
	eq(lseek(fd, 0, SEEK_END), 5 * BLOCK);
}

static void a_read_only_backing_gives_a_read_only_object(void)
{
	char path[64];
	int back = memfd(BLOCK), ro, fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", back);
	ro = open(path, O_RDONLY);
	sys(ro);
	fd = create(ro, 0, 0);
	yes(fd >= 0);
	fails(write(fd, "x", 1), EBADF);
	yes(mmap(NULL, BLOCK, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	eq(errno, EACCES);
	eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	fd = create(back, 0, DMO_CREATE_READ);
	yes(fd >= 0);
	fails(write(fd, "x", 1), EBADF);
	eq(pwrite(object_over(back), "x", 1, 0), 1);
}

static void close_on_exec_is_asked_for(void)
{
	eq(fcntl(create(-1, 1, DMO_CREATE_CLOEXEC), F_GETFD), FD_CLOEXEC);
	eq(fcntl(create(-1, 1, 0), F_GETFD), 0);
}

static void what_can_t_be_an_object_is_refused(void)
{
	int pipes[2], dir = open("/", O_RDONLY), fd;

	sys(pipe(pipes));
	eq(create(dir, 0, 0), -EISDIR);
	eq(create(pipes[0], 0, 0), -EINVAL);
	eq(create(open("/dev/null", O_RDWR), 0, 0), -EINVAL);
	eq(create(fresh(1), 0, 0), -ELOOP);
	eq(create(999, 0, 0), -EBADF);
	eq(create(open("/", O_PATH), 0, 0), -EBADF);
	eq(create(-2, 0, 0), -EBADF);
	eq(create(-1, 0, 0), -EINVAL);
	eq(create(memfd(1), 1, 0), -EINVAL);
	eq(create(-1, 1, 4), -EINVAL);
	eq(create(-1, 1ull << 63, 0), -EOVERFLOW);
	fd = memfd_create("huge", MFD_HUGETLB);
	if (fd >= 0)
		eq(create(fd, 0, 0), -EOPNOTSUPP);
	fd = open("/proc/version", O_RDONLY);
	eq(create(fd, 0, 0), -EOPNOTSUPP);
	fd = open("/tmp/writeonly", O_CREAT | O_WRONLY, 0600);
	sys(fd);
	eq(create(fd, 0, 0), -EACCES);
}

static void requests_of_another_side_are_refused(void)
{
	struct dmo_info info;
	int fd = fresh(PAGE);

	fails(ioctl(control(), DMO_IOC_INFO, &info), ENOTTY);
	fails(ioctl(fd, DMO_IOC_OBJECT_CREATE, &info), ENOTTY);
	fails(ioctl(fd, 0x1234, &info), ENOTTY);
	fails(ioctl(fd, DMO_IOC_INFO, NULL), EFAULT);
	fails(ioctl(control(), DMO_IOC_OBJECT_CREATE, NULL), EFAULT);
	sys(ioctl(fd, DMO_IOC_INFO, &info));
	eq(info.home, DMO_HOME_KERNEL);
	eq(info.abi_version, DMO_ABI_VERSION);
	eq(info.size, PAGE);
	eq(info.resident, 0);
}

static void send_fd(int sock, int fd)
{
	char space[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space,
			      .msg_controllen = sizeof(space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	eq(sendmsg(sock, &msg, 0), 1);
}

static int receive_fd(int sock)
{
	char space[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space,
			      .msg_controllen = sizeof(space) };
	int fd;

	eq(recvmsg(sock, &msg, 0), 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

static void an_object_goes_through_a_socket(void)
{
	int socks[2], fd = fresh(BLOCK), got;

	sys(socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	eq(pwrite(fd, "sent", 4, 0), 4);
	send_fd(socks[0], fd);
	close(fd);
	got = receive_fd(socks[1]);
	eq(*(char *)map(got, BLOCK), 's');
}

static void a_private_mapping_keeps_its_copy(void)
{
	int fd = fresh(BLOCK);
	char *shared = map(fd, BLOCK);
	char *own = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	yes(own != MAP_FAILED);
	shared[0] = 1;
	eq(own[0], 1);
	own[0] = 2;
	eq(shared[0], 1);
	shared[PAGE] = 3;
	eq(own[PAGE], 3);
	own[PAGE] = 4;
	eq(shared[PAGE], 3);
	eq(own[0], 2);
}

static void an_ext4_file_is_an_object(void)
{
	int back = disk_file(BLOCK), fd = object_over(back);
	char *at = map(fd, BLOCK), buf[4];

	memcpy(at, "ext4", 4);
	sys(msync(at, PAGE, MS_SYNC));
	eq(pread(back, buf, 4, 0), 4);
	eq(memcmp(buf, "ext4", 4), 0);
	sys(fsync(fd));
	eq(at[PAGE], 0);
}

static int open_by_number(int fd, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags);
}

static void owner_and_mode_are_the_backing_file_s(void)
{
	int back = memfd(PAGE), fd = object_over(back);
	struct stat st;

	sys(fchmod(fd, 0640));
	sys(fchown(fd, 12345, 777));
	sys(fstat(back, &st));
	eq(st.st_mode & 07777, 0640);
	eq(st.st_uid, 12345);
	sys(fchmod(back, 0604));
	sys(fstat(fd, &st));
	eq(st.st_mode & 07777, 0604);
	eq(st.st_gid, 777);
}

static void opening_an_object_again_takes_the_backing_file_s_rights(void)
{
	int back = memfd(PAGE), fd = object_over(back), again;

	again = open_by_number(fd, O_WRONLY | O_DIRECT);
	sys(again);
	fails(read(again, &(char){ 0 }, 1), EBADF);
	sys(fchmod(back, 0604));
	sys(setresgid(12345, 12345, 12345));
	sys(setresuid(12345, 12345, 12345));
	fails(open_by_number(fd, O_RDWR), EACCES);
	sys(open_by_number(fd, O_RDONLY));
	fails(fchmod(fd, 0666), EPERM);
}

/* O_PATH keeps the inode, not the object. */
static void an_object_s_path_outlives_it(void)
{
	int fd = fresh(PAGE), path = open_by_number(fd, O_PATH);
	struct stat st;

	sys(path);
	close(fd);
	fails(open_by_number(path, O_RDWR), ESTALE);
	fails(fstat(path, &st), ESTALE);
}

static void thousands_of_objects_come_and_go(void)
{
	for (int i = 0; i < 3000; i++) {
		int fd = fresh(PAGE);

		*(char *)map(fd, PAGE) = 1;
		close(fd);
		if (i % 500 == 499)
			yes(fd > 0);
	}
}

int main(void)
{
	static const struct test tests[] = {
		T(fresh_memory_reads_as_zeros), T(writes_show_in_the_backing_file_and_back),
		T(mappings_and_reads_agree), T(a_backing_file_has_one_object),
		T(an_object_outlives_its_descriptor_in_a_mapping), T(a_mapping_s_file_is_not_the_descriptor_s),
		T(size_follows_truncation_both_ways), T(appended_bytes_come_to_the_end),
		T(holes_are_found_and_punched), T(a_read_only_backing_gives_a_read_only_object),
		T(close_on_exec_is_asked_for), T(what_can_t_be_an_object_is_refused),
		T(requests_of_another_side_are_refused), T(an_object_goes_through_a_socket),
		T(a_private_mapping_keeps_its_copy), T(an_ext4_file_is_an_object),
		T(owner_and_mode_are_the_backing_file_s), T(opening_an_object_again_takes_the_backing_file_s_rights),
		T(an_object_s_path_outlives_it), T(thousands_of_objects_come_and_go),
	};

	return RUN(tests);
}
