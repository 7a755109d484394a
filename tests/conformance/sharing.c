/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sharing.c - an object is shared the ways files are: by descriptor, by fork, by name, by key
 */
#include "kit.h"

#include <sys/socket.h>

/* ---- descriptors over a socket ------------------------------------------------------------------- */

static void send_fd(int sock, int fd)
{
	char byte = 0, room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	ck_assert_int_eq(sendmsg(sock, &msg, 0), 1);
}

static int receive_fd(int sock)
{
	char byte, room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room),
	};
	int fd;

	ck_assert_int_eq(recvmsg(sock, &msg, MSG_CMSG_CLOEXEC), 1);
	ck_assert_ptr_nonnull(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void device_fills_what_it_receives(void *arg)
{
	int fd = receive_fd(*(int *)arg), ctx = ctx_open("npu0");

	obj_check_pattern(fd, 0, MiB, 1);
	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, MiB, READ_WRITE), MiB, 5));
}

START_TEST(a_passed_descriptor_is_the_same_object)
{
	int fd = obj_create("o", MiB), ends[2];
	pid_t pid;

	obj_write_pattern(fd, 0, MiB, 1);
	ck_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	pid = spawn(device_fills_what_it_receives, &ends[1]);
	send_fd(ends[0], fd);
	join(pid);
	obj_check_byte(fd, 0, MiB, 5);
}
END_TEST

static void device_fills_for_another_user(void *arg)
{
	int ctx = ctx_open("npu0"), fd;

	become(12345, 12345);
	ck_errno(conf_home->open_object("o", O_RDWR, 0), EACCES);
	fd = receive_fd(*(int *)arg);
	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, MiB, READ_WRITE), MiB, 6));
}

START_TEST(a_passed_descriptor_needs_no_right_to_the_name)
{
	int fd = obj_create("o", MiB), ends[2];
	pid_t pid;

	ck_ok(fchmod(fd, 0600));
	ck_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	pid = spawn(device_fills_for_another_user, &ends[1]);
	send_fd(ends[0], fd);
	join(pid);
	obj_check_byte(fd, 0, MiB, 6);
}
END_TEST

/* ---- fork ---------------------------------------------------------------------------------------- */

struct inherited {
	int fd, ctx;
	uint64_t va;
	char *p;
};

static void child_writes_all_ways(void *arg)
{
	struct inherited *i = arg;

	memset(i->p, 1, PAGE);
	obj_pwrite(i->fd, "\2\2\2\2", 4, PAGE);
	ck_ok(ctx_fill(i->ctx, i->va + 2 * PAGE, PAGE, 3));
}

START_TEST(a_forked_child_shares_descriptor_mapping_and_context)
{
	struct inherited i = { .fd = obj_create("o", MiB), .ctx = ctx_open("npu0") };

	i.va = ctx_map(i.ctx, i.fd, 0, MiB, READ_WRITE);
	i.p = obj_mmap(i.fd, 0, MiB, PROT_READ | PROT_WRITE, MAP_SHARED);
	ck_ok(ctx_fill(i.ctx, i.va, MiB, 9));
	join(spawn(child_writes_all_ways, &i));
	mem_check_byte(i.p, PAGE, 1);
	mem_check_byte(i.p + PAGE, 4, 2);
	mem_check_byte(i.p + 2 * PAGE, PAGE, 3);
	ctx_check_byte(i.ctx, i.va, PAGE, 1);
	ctx_check_byte(i.ctx, i.va + 3 * PAGE, PAGE, 9);
}
END_TEST

/* ---- names --------------------------------------------------------------------------------------- */

static void device_fills_by_name(void *arg)
{
	int fd = obj_open("o", O_RDWR), ctx = ctx_open("npu0");

	ck_ok(ctx_fill(ctx, ctx_map(ctx, fd, 0, MiB, READ_WRITE), MiB, 7));
}

START_TEST(another_process_opens_the_object_by_name)
{
	int fd = obj_create("o", MiB);

	join(spawn(device_fills_by_name, NULL));
	obj_check_byte(fd, 0, MiB, 7);
}
END_TEST

START_TEST(a_hard_link_is_the_same_object)
{
	int fd = obj_create("o", MiB), other, ctx = ctx_open("npu0");
	char from[512];

	snprintf(from, sizeof(from), "%s", conf_home->object_path("o"));
	ck_ok(link(from, conf_home->object_path("other")));
	other = obj_open("other", O_RDWR);
	ck_ok(ctx_fill(ctx, ctx_map(ctx, other, 0, MiB, READ_WRITE), MiB, 8));
	obj_check_byte(fd, 0, MiB, 8);
}
END_TEST

/* ---- keys ---------------------------------------------------------------------------------------- */

static int map_key(int ctx, uint64_t key, uint32_t prot, uint64_t *va)
{
	struct dmo_map_op op = { .length = PAGE, .key = key, .prot = prot };
	int err = ctx_map_op(ctx, &op);

	if (va)
		*va = op.va;
	return err;
}

struct keyed {
	uint64_t key;
};

static void device_fills_by_key(void *arg)
{
	struct keyed *k = arg;
	int ctx = ctx_open("npu0");
	uint64_t va;

	while (!*(volatile uint64_t *)&k->key)
		sleep_ms(1);
	ck_ok(map_key(ctx, k->key, READ_WRITE, &va));
	ck_ok(ctx_fill(ctx, va, PAGE, 4));
}

START_TEST(a_key_given_to_another_process_maps_the_object)
{
	struct keyed *k = shared(sizeof(*k));
	pid_t pid = spawn(device_fills_by_key, k);
	int fd = obj_create("o", PAGE);

	k->key = obj_key(fd);
	join(pid);
	obj_check_byte(fd, 0, PAGE, 4);
}
END_TEST

START_TEST(an_open_file_has_one_key_and_no_two_share_it)
{
	int a = obj_create("o", PAGE), b = obj_open("o", O_RDWR), c = dup(a);

	ck_assert_uint_eq(obj_key(a), obj_key(a));
	ck_assert_uint_eq(obj_key(a), obj_key(c));
	ck_assert_uint_ne(obj_key(a), obj_key(b));
	ck_assert_uint_ne(obj_key(a), 0);
}
END_TEST

/* The release that follows close comes on its own time. */
static int until_dead(int ctx, uint64_t key)
{
	uint64_t end = now_ms() + PATIENCE_MS, va;
	int err;

	while ((err = map_key(ctx, key, DMO_PROT_READ, &va)) == 0 && now_ms() < end) {
		ck_ok(ctx_unmap(ctx, va, PAGE));
		sleep_ms(1);
	}
	return err;
}

START_TEST(a_key_dies_with_its_open_file)
{
	int fd = obj_create("o", PAGE), other = obj_open("o", O_RDWR), ctx = ctx_open("npu0");
	uint64_t key = obj_key(fd);

	ck_ok(map_key(ctx, key, DMO_PROT_READ, NULL));
	close(fd);
	ck_errno(until_dead(ctx, key), ESTALE);
	ck_ok(map_key(ctx, obj_key(other), DMO_PROT_READ, NULL));
}
END_TEST

START_TEST(a_key_lives_as_long_as_a_duplicate_of_its_descriptor)
{
	int fd = obj_create("o", PAGE), copy = dup(fd), ctx = ctx_open("npu0");
	uint64_t key = obj_key(fd);

	close(fd);
	sleep_ms(50);
	ck_ok(map_key(ctx, key, READ_WRITE, NULL));
	close(copy);
	ck_errno(until_dead(ctx, key), ESTALE);
}
END_TEST

START_TEST(a_key_nobody_handed_out_is_refused)
{
	int ctx = ctx_open("npu0");

	ck_errno(map_key(ctx, 0, DMO_PROT_READ, NULL), ESTALE);
	ck_errno(map_key(ctx, 0x123456789abcdef0, DMO_PROT_READ, NULL), ESTALE);
}
END_TEST

START_TEST(a_mapping_outlives_its_key_and_its_descriptor)
{
	int fd = obj_create("o", MiB), ctx = ctx_open("npu0");
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE), key = obj_key(fd);

	close(fd);
	until_dead(ctx, key);
	ck_ok(ctx_fill(ctx, va, MiB, 3));
	fd = obj_open("o", O_RDONLY);
	obj_check_byte(fd, 0, MiB, 3);
}
END_TEST

START_TEST(a_mapping_keeps_an_unlinked_object_alive)
{
	int fd = obj_create("o", MiB), ctx = ctx_open("npu0");
	uint64_t va = ctx_map(ctx, fd, 0, MiB, READ_WRITE);

	obj_write_pattern(fd, 0, MiB, 2);
	ck_ok(unlink(conf_home->object_path("o")));
	close(fd);
	sleep_ms(50);
	ctx_check_pattern(ctx, va, 0, MiB, 2);
	ck_ok(ctx_fill(ctx, va, MiB, 3));
	ctx_check_byte(ctx, va, MiB, 3);
}
END_TEST

/* ---- several contexts ---------------------------------------------------------------------------- */

START_TEST(one_process_has_many_device_address_spaces)
{
	int fd = obj_create("o", 16 * PAGE), ctx[16];
	uint64_t va[16];
	unsigned i;

	for (i = 0; i < 16; i++) {
		ctx[i] = ctx_open("npu0");
		va[i] = ctx_map(ctx[i], fd, i * PAGE, PAGE, READ_WRITE);
	}
	for (i = 0; i < 16; i++)
		ck_ok(ctx_fill(ctx[i], va[i], PAGE, i + 1));
	for (i = 0; i < 16; i++)
		obj_check_byte(fd, i * PAGE, PAGE, i + 1);
}
END_TEST

START_TEST(a_closed_context_takes_its_mappings_along)
{
	int fd = obj_create("o", PAGE), ctx = ctx_open("npu0");
	uint64_t va = ctx_map(ctx, fd, 0, PAGE, READ_WRITE);

	ck_ok(ctx_fill(ctx, va, PAGE, 1));
	ctx_close(ctx);
	ctx = ctx_open("npu0");
	ck_errno(ctx_fill(ctx, va, PAGE, 2), EFAULT);
	obj_check_byte(fd, 0, PAGE, 1);
}
END_TEST

int main(void)
{
	struct conf_run run;

	conf_begin(&run, "sharing");
	conf_case(&run, "sharing", one_device, 20);
	conf_test(&run, a_passed_descriptor_is_the_same_object);
	conf_test(&run, a_passed_descriptor_needs_no_right_to_the_name);
	conf_test(&run, a_forked_child_shares_descriptor_mapping_and_context);
	conf_test(&run, another_process_opens_the_object_by_name);
	conf_test(&run, a_hard_link_is_the_same_object);
	conf_case(&run, "keys", one_device, 20);
	conf_test(&run, a_key_given_to_another_process_maps_the_object);
	conf_test(&run, an_open_file_has_one_key_and_no_two_share_it);
	conf_test(&run, a_key_dies_with_its_open_file);
	conf_test(&run, a_key_lives_as_long_as_a_duplicate_of_its_descriptor);
	conf_test(&run, a_key_nobody_handed_out_is_refused);
	conf_test(&run, a_mapping_outlives_its_key_and_its_descriptor);
	conf_test(&run, a_mapping_keeps_an_unlinked_object_alive);
	conf_case(&run, "contexts", one_device, 20);
	conf_test(&run, one_process_has_many_device_address_spaces);
	conf_test(&run, a_closed_context_takes_its_mappings_along);
	return conf_end(&run);
}
