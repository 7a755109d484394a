/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * export.c - dma-bufs of objects: the same bytes, no more rights, and charged to who made them
 *
 * A home without dma-bufs (DMO_CAP_DMABUF) refuses them; that is all that is asked of it. Through a mount a dma-buf
 * comes for a ticket.
 */
#include "kit.h"

#include <dirent.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#define USER 12345

/* Leaves the test where the home has no dma-bufs, or the store's are not to be had. */
#define NEED_DMABUF(fd) \
	do { \
		int got_ = dmo_export_dmabuf(fd, 0, PAGE, DMO_DEVICE_HOST); \
\
		if (got_ == -EOPNOTSUPP) \
			return; \
		ck_assert_int_ge(got_, 0); \
		close(got_); \
	} while (0)

static int exported(int fd, uint64_t offset, uint64_t length)
{
	int buf = dmo_export_dmabuf(fd, offset, length, DMO_DEVICE_HOST);

	ck_assert_int_ge(buf, 0);
	return buf;
}

START_TEST(a_home_that_says_so_has_dmabufs)
{
	int fd = obj_create("o", MiB), buf = dmo_export_dmabuf(fd, 0, MiB, DMO_DEVICE_HOST);

	if (obj_info(fd).caps & DMO_CAP_DMABUF)
		ck_assert_int_ge(buf, 0);
	else
		ck_errno(buf, EOPNOTSUPP);
	if (buf >= 0)
		ck_assert_int_eq(fcntl(buf, F_GETFD), FD_CLOEXEC);
}
END_TEST

START_TEST(a_dmabuf_has_the_bytes_of_its_range)
{
	int fd = obj_create("o", MiB), ctx = ctx_open("npu0"), buf;
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);
	char *p;

	NEED_DMABUF(fd);
	obj_write_pattern(fd, 0, MiB, 1);
	buf = exported(fd, 16 * PAGE, 32 * PAGE);
	ck_assert_int_eq(lseek(buf, 0, SEEK_END), 32 * PAGE);
	p = obj_mmap(buf, 0, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
	mem_check_pattern(p, 16 * PAGE, 32 * PAGE, 1);
	mem_pattern(p, 16 * PAGE, 32 * PAGE, 2);
	obj_check_pattern(fd, 16 * PAGE, 32 * PAGE, 2);
	obj_check_pattern(fd, 0, 16 * PAGE, 1);
	ck_ok(ctx_fill(ctx, va, MiB, 3));
	mem_check_byte(p, 32 * PAGE, 3);
}
END_TEST

START_TEST(a_dmabuf_outlives_its_object_s_descriptors)
{
	int fd = obj_create("o", MiB), buf;
	char *p;

	NEED_DMABUF(fd);
	obj_write_pattern(fd, 0, MiB, 1);
	buf = exported(fd, 0, MiB);
	close(fd);
	p = obj_mmap(buf, 0, MiB, PROT_READ | PROT_WRITE, MAP_SHARED);
	close(buf);
	mem_check_pattern(p, 0, MiB, 1);
	memset(p, 4, MiB);
	fd = obj_open("o", O_RDONLY);
	obj_check_byte(fd, 0, MiB, 4);
}
END_TEST

START_TEST(a_dmabuf_gives_no_more_rights_than_the_descriptor)
{
	int fd = obj_create("o", MiB), buf;

	NEED_DMABUF(fd);
	ck_errno(dmo_export_dmabuf(obj_open("o", O_WRONLY), 0, MiB, DMO_DEVICE_HOST), EACCES);
	buf = exported(obj_open("o", O_RDONLY), 0, MiB);
	ck_assert_ptr_ne(mmap(NULL, MiB, PROT_READ, MAP_SHARED, buf, 0), MAP_FAILED);
	ck_assert_ptr_eq(mmap(NULL, MiB, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0), MAP_FAILED);
	ck_assert_int_eq(errno, EACCES);
}
END_TEST

START_TEST(a_range_beyond_the_object_is_refused)
{
	int fd = obj_create("o", MiB);

	NEED_DMABUF(fd);
	ck_errno(dmo_export_dmabuf(fd, MiB, PAGE, DMO_DEVICE_HOST), EINVAL);
	ck_errno(dmo_export_dmabuf(fd, 0, MiB + PAGE, DMO_DEVICE_HOST), EINVAL);
	ck_errno(dmo_export_dmabuf(fd, 0, MiB, 17), ENODEV);
}
END_TEST

static void export_with_no_room(void *arg)
{
	struct rlimit limit = { 64, 64 };
	int fd = *(int *)arg;

	ck_ok(setrlimit(RLIMIT_NOFILE, &limit));
	while (dup(fd) >= 0)
		;
	ck_errno(dmo_export_dmabuf(fd, 0, PAGE, DMO_DEVICE_HOST), EMFILE);
}

START_TEST(a_process_with_no_room_for_a_descriptor_gets_emfile)
{
	int fd = obj_create("o", MiB);

	NEED_DMABUF(fd);
	join(spawn(export_with_no_room, &fd));
	close(exported(fd, 0, PAGE));
}
END_TEST

/* ---- who pays ------------------------------------------------------------------------------------ */

/* A driver of others that imports: any of DRM's that takes dma-bufs; -1: none. */
static int open_importer(void)
{
	DIR *dir = opendir("/dev/dri");
	struct dirent *entry;
	int fd = -1;

	while (fd < 0 && dir && (entry = readdir(dir)))
		if (!strncmp(entry->d_name, "card", 4))
			fd = openat(dirfd(dir), entry->d_name, O_RDWR | O_CLOEXEC);
	if (dir)
		closedir(dir);
	return fd;
}

/* drm.h comes with libdrm, which nothing else here needs. */
struct prime_handle { uint32_t handle, flags; int32_t fd; };
#define PRIME_FD_TO_HANDLE	_IOWR('d', 0x2e, struct prime_handle)

static int import(int drm, int buf)
{
	struct prime_handle got = { .fd = buf };

	return request(drm, PRIME_FD_TO_HANDLE, &got);
}

static void export_and_import_as_user(void *arg)
{
	struct rlimit limit = { 16 * PAGE, 16 * PAGE };
	int drm = *(int *)arg, fd = obj_open("o", O_RDWR);

	ck_ok(setrlimit(RLIMIT_MEMLOCK, &limit));
	become(USER, USER);
	ck_errno(import(drm, exported(fd, 0, 17 * PAGE)), EDQUOT);
	ck_ok(import(drm, exported(fd, 0, 16 * PAGE)));
	ck_errno(import(drm, exported(fd, MiB / 2, PAGE)), EDQUOT);
}

START_TEST(what_an_importer_holds_counts_against_the_limit_of_who_exported)
{
	int fd = obj_create("o", MiB), drm = open_importer();

	NEED_DMABUF(fd);
	if (drm < 0)
		return;
	join(spawn(export_and_import_as_user, &drm));
	ck_ok(import(drm, exported(fd, 0, MiB)));	/* who may lock all may export all */
}
END_TEST

START_TEST(nobody_names_another_to_be_charged_through_a_mount)
{
	struct dmo_pin pin = { .length = PAGE, .flags = DMO_CHARGE_OTHER, .charge = DMO_CHARGE(getpid(), getuid()) };
	struct dmo_export export = { .length = PAGE, .device = DMO_DEVICE_HOST, .flags = DMO_CHARGE_OTHER,
				     .charge = pin.charge };
	int fd = obj_create("o", MiB);

	if (!strcmp(conf_home->name, "module"))
		return;
	ck_errno(request(fd, DMO_IOC_PIN, &pin), EOPNOTSUPP);
	ck_errno(request(fd, DMO_IOC_EXPORT, &export), EOPNOTSUPP);
	pin.flags = pin.charge = 0;
	ck_ok(request(fd, DMO_IOC_PIN, &pin));
	ck_assert_uint_eq(pin.flags, 0);
	ck_assert_uint_eq(pin.charge, 0);
}
END_TEST

/* ---- tickets ------------------------------------------------------------------------------------- */

/* 0: this home gave the descriptor itself, or none. */
static uint64_t get_ticket(int fd)
{
	struct dmo_export export = { .length = PAGE, .device = DMO_DEVICE_HOST };
	int err = request(fd, DMO_IOC_EXPORT, &export);

	if (err) {
		ck_errno(err, EOPNOTSUPP);
		return 0;
	}
	ck_assert_uint_eq(export.flags, 0);
	ck_assert_uint_eq(export.charge, 0);
	if (export.ticket)
		ck_assert_int_eq(export.fd, -1);
	else
		close(export.fd);
	return export.ticket;
}

static int join_service(int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char path[4096], text[4096], *name;
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), info;
	ssize_t n;

	ck_ok(dmo_mount_of(fd, path, sizeof(path) - 5));
	info = open(strcat(path, "/info"), O_RDONLY);
	n = read(info, text, sizeof(text) - 1);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	name = strstr(text, "\nsocket @");
	ck_assert_ptr_nonnull(name);
	name = strtok(name + 9, "\n");
	strcpy(address.sun_path + 1, name);
	ck_ok(connect(s, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
	close(info);
	return s;
}

/* What the service says to a ticket: 0 when a descriptor came. */
static int show(int s, uint64_t ticket)
{
	char room[CMSG_SPACE(sizeof(int))];
	int32_t result;
	struct iovec iov = { &result, sizeof(result) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room),
	};
	int fd;

	ck_assert_int_eq(send(s, &ticket, sizeof(ticket), 0), sizeof(ticket));
	ck_assert_int_eq(recvmsg(s, &msg, MSG_CMSG_CLOEXEC), sizeof(result));
	close(s);
	ck_assert(!result == !!CMSG_FIRSTHDR(&msg));
	if (!result) {
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
		close(fd);
	}
	return result;
}

struct shown {
	int fd;
	uint64_t ticket;
};

static void show_as_user(void *arg)
{
	struct shown *s = arg;
	int sock;

	become(USER, USER);
	sock = join_service(s->fd);
	ck_errno(show(sock, s->ticket), ENOENT);
}

START_TEST(a_ticket_serves_once_and_its_user_alone)
{
	struct shown s = { .fd = obj_create("o", MiB) };

	s.ticket = get_ticket(s.fd);
	if (!s.ticket)
		return;
	join(spawn(show_as_user, &s));
	ck_errno(show(join_service(s.fd), s.ticket + 1), ENOENT);
	ck_ok(show(join_service(s.fd), s.ticket));
	ck_errno(show(join_service(s.fd), s.ticket), ENOENT);
}
END_TEST

START_TEST(a_ticket_dies_with_its_open_file)
{
	int fd = obj_create("o", MiB), other = obj_open("o", O_RDWR);
	uint64_t ticket = get_ticket(fd);

	if (!ticket)
		return;
	close(fd);
	sleep_ms(500);		/* the release comes on its own time */
	ck_errno(show(join_service(other), ticket), ENOENT);
}
END_TEST

START_TEST(a_ticket_s_time_runs_out)
{
	int fd = obj_create("o", MiB);
	uint64_t ticket = get_ticket(fd);

	if (!ticket)
		return;
	sleep_ms(12000);
	ck_errno(show(join_service(fd), ticket), ENOENT);
}
END_TEST

START_TEST(tickets_that_nobody_fetches_are_bounded)
{
	int fd = obj_create("o", MiB), err = 0;
	unsigned n;

	if (!get_ticket(fd))
		return;
	for (n = 0; n < 1000 && !err; n++) {
		struct dmo_export export = { .length = PAGE, .device = DMO_DEVICE_HOST };

		err = request(fd, DMO_IOC_EXPORT, &export);
	}
	ck_errno(err, EMFILE);
	close(fd);
	fd = obj_open("o", O_RDWR);
	wait_until((err = dmo_export_dmabuf(fd, 0, PAGE, DMO_DEVICE_HOST)) != -EMFILE);
	ck_assert_int_ge(err, 0);
}
END_TEST

START_TEST(clients_of_the_socket_that_say_nothing_are_in_nobody_s_way)
{
	int fd = obj_create("o", MiB);

	if (!get_ticket(fd))
		return;
	for (unsigned i = 0; i < 200; i++)
		join_service(fd);
	close(exported(fd, 0, PAGE));
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "export");
	conf_case(&run, "export", one_device, 30);
	conf_test(&run, a_home_that_says_so_has_dmabufs);
	conf_test(&run, a_dmabuf_has_the_bytes_of_its_range);
	conf_test(&run, a_dmabuf_outlives_its_object_s_descriptors);
	conf_test(&run, a_dmabuf_gives_no_more_rights_than_the_descriptor);
	conf_test(&run, a_range_beyond_the_object_is_refused);
	conf_test(&run, a_process_with_no_room_for_a_descriptor_gets_emfile);
	conf_test(&run, what_an_importer_holds_counts_against_the_limit_of_who_exported);
	conf_test(&run, nobody_names_another_to_be_charged_through_a_mount);
	conf_case(&run, "tickets", one_device, 30);
	conf_test(&run, a_ticket_serves_once_and_its_user_alone);
	conf_test(&run, a_ticket_dies_with_its_open_file);
	conf_test(&run, a_ticket_s_time_runs_out);
	conf_test(&run, tickets_that_nobody_fetches_are_bounded);
	conf_test(&run, clients_of_the_socket_that_say_nothing_are_in_nobody_s_way);
	return conf_end(&run);
}
