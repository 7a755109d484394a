// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz.c - random requests to the control node, objects and contexts: whatever comes, an error is one that the manual
 * has, nothing is written past a request, and others' objects stay what they were
 *
 * Two processes send to the same objects and contexts what a table of fields makes: mostly numbers that mean
 * something (addresses in use, keys, identifiers that were given out, ends of ranges), sometimes any. Each request ends where
 * a page without access begins. FUZZ_SECONDS in the environment bounds the time (6), FUZZ_SEED moves the sequence (1);
 * the seed is printed.
 */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define OBJECTS		6
#define CONTEXTS	4
#define REMEMBERED	16
#define WORKERS		2
#define SIZE		(3 * BLOCK)
#define FIRST_ADDRESS	(1ul << 32)	/* of both kinds of devices: what is mapped lies from here on */
#define SPARSE		(1ul << 40)

/* ---- numbers -------------------------------------------------------------- */

static uint64_t state;

static uint64_t draw(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t below(uint64_t n)
{
	return (draw() >> 16) % n;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *set = getenv(name);

	return set && *set ? strtoull(set, NULL, 0) : otherwise;
}

/* ---- what requests are about ---------------------------------------------- */

static int objects[OBJECTS], contexts[CONTEXTS];
static uint64_t keys[OBJECTS], ids[REMEMBERED], cookies[REMEMBERED];
static uint64_t *sent;		/* shared: how many, for each number of a request */

static int some_backing(int i)
{
	switch (i % 3) {
	case 0:
		return memfd(SIZE + 100);
	case 1:
		return access("/mnt/vda", W_OK) ? memfd(SIZE) : disk_file(SIZE);
	default:
		return -1;
	}
}

/* Object i is there anew; what hung on the old one's file goes with it. */
static void renew_object(int i)
{
	int backing = some_backing(i);
	struct dmo_object_create c = { .backing = backing, .size = backing < 0 ? i == 5 ? SPARSE : SIZE : 0,
				       .flags = i == 3 ? DMO_CREATE_READ : 0 };
	struct dmo_key key;

	if (objects[i] > 0)
		close(objects[i]);
	sys(ioctl(control(), DMO_IOC_OBJECT_CREATE, &c));
	if (backing >= 0)
		close(backing);
	objects[i] = c.fd;
	sys(ioctl(c.fd, DMO_IOC_KEY, &key));
	keys[i] = key.key;
}

static void renew_context(int i)
{
	struct dmo_device_info info;

	if (contexts[i] > 0)
		close(contexts[i]);
	/* the second half are of a coherent device, where there is one */
	memset(&info, 0, sizeof(info));
	if (i >= CONTEXTS / 2)
		for (info.device = 0; ioctl(control(), DMO_IOC_DEVICE, &info) || info.memory_type != DMO_MEM_COHERENT;)
			if (++info.device == 63)
				break;
	contexts[i] = context(info.device < 63 ? info.device : sim());
}

/* ---- fields --------------------------------------------------------------- */

enum kind { ZERO, PAGES, FEW, BYTES, DEVICE, SMALL, FLAGS, PROT, KEY, ADDRESS, ID, COOKIE, DESCRIPTOR, VALUE, NUMBER };

struct field {
	uint16_t at, size;
	enum kind kind;
};

#define F(type, name, kind) { offsetof(struct type, name), sizeof(((struct type *)0)->name), kind }

static const struct field device_fields[] = { F(dmo_device_info, device, DEVICE) };
static const struct field advise_fields[] = {
	F(dmo_advise, offset, PAGES), F(dmo_advise, length, PAGES), F(dmo_advise, advice, SMALL),
	F(dmo_advise, device, DEVICE), F(dmo_advise, value, VALUE), F(dmo_advise, flags, ZERO),
};
static const struct field query_fields[] = {
	F(dmo_query, offset, PAGES), F(dmo_query, length, BYTES), F(dmo_query, flags, ZERO),
	F(dmo_query, reserved, ZERO),
};
static const struct field migrate_fields[] = {
	F(dmo_migrate, offset, PAGES), F(dmo_migrate, length, PAGES), F(dmo_migrate, device, DEVICE),
	F(dmo_migrate, flags, PROT),
};
static const struct field wait_fields[] = { F(dmo_wait, cookie, COOKIE), F(dmo_wait, flags, ZERO) };
static const struct field pin_fields[] = {
	F(dmo_pin, offset, PAGES), F(dmo_pin, length, PAGES), F(dmo_pin, device, DEVICE), F(dmo_pin, flags, ZERO),
};
static const struct field unpin_fields[] = { F(dmo_pin, id, ID) };
static const struct field export_fields[] = {
	F(dmo_export, offset, PAGES), F(dmo_export, length, PAGES), F(dmo_export, device, DEVICE),
	F(dmo_export, flags, ZERO),
};
static const struct field map_fields[] = { F(dmo_map, reserved, ZERO) };
static const struct field map_op_fields[] = {
	F(dmo_map_op, va, ADDRESS), F(dmo_map_op, length, PAGES), F(dmo_map_op, key, KEY),
	F(dmo_map_op, offset, PAGES), F(dmo_map_op, prot, PROT), F(dmo_map_op, flags, FLAGS),
	F(dmo_map_op, bits, NUMBER),
};
static const struct field unmap_op_fields[] = { F(dmo_unmap_op, va, ADDRESS), F(dmo_unmap_op, length, FEW) };
static const struct field mirror_fields[] = {
	F(dmo_mirror, address, ADDRESS), F(dmo_mirror, length, PAGES), F(dmo_mirror, prot, PROT),
	F(dmo_mirror, bits, NUMBER),
};
static const struct field fault_fields[] = {
	F(dmo_fault, va, ADDRESS), F(dmo_fault, length, BYTES), F(dmo_fault, prot, PROT), F(dmo_fault, flags, ZERO),
};
static const struct field lowat_fields[] = { F(dmo_lowat, count, NUMBER), F(dmo_lowat, flags, ZERO) };
static const struct field create_fields[] = {
	F(dmo_object_create, backing, DESCRIPTOR), F(dmo_object_create, flags, PROT),
	F(dmo_object_create, size, BYTES),
};

enum node { OBJECT = 1, CONTEXT = 2, CONTROL = 4 };

struct shape {
	unsigned int nodes;
	unsigned long cmd;		/* without an array's entries */
	const struct field *fields;
	unsigned int n;
	const struct field *entry;	/* an array's */
	unsigned int entry_n, entry_size, most;
};

#define SHAPE(on, request, f) { .nodes = on, .cmd = request, .fields = f, .n = COUNT(f) }
#define ARRAY(request, f, e, type, max) { .nodes = CONTEXT, .cmd = request, .fields = f, .n = COUNT(f), .entry = e, \
					  .entry_n = COUNT(e), .entry_size = sizeof(struct type), .most = max }
static const struct shape shapes[] = {
	{ .nodes = OBJECT, .cmd = DMO_IOC_INFO },
	{ .nodes = OBJECT, .cmd = DMO_IOC_KEY },
	{ .nodes = OBJECT, .cmd = DMO_IOC_QUERY(0), .fields = query_fields, .n = COUNT(query_fields),
	  .entry_size = sizeof(struct dmo_extent), .most = DMO_QUERY_MAX },
	SHAPE(OBJECT | CONTEXT | CONTROL, DMO_IOC_DEVICE, device_fields),
	SHAPE(OBJECT, DMO_IOC_ADVISE, advise_fields),
	SHAPE(OBJECT, DMO_IOC_MIGRATE, migrate_fields),
	SHAPE(OBJECT, DMO_IOC_WAIT, wait_fields),
	SHAPE(OBJECT, DMO_IOC_PIN, pin_fields),
	SHAPE(OBJECT, DMO_IOC_UNPIN, unpin_fields),
	SHAPE(OBJECT, DMO_IOC_EXPORT, export_fields),
	ARRAY(DMO_IOC_MAP(0), map_fields, map_op_fields, dmo_map_op, DMO_MAP_MAX),
	ARRAY(DMO_IOC_UNMAP(0), map_fields, unmap_op_fields, dmo_unmap_op, DMO_UNMAP_MAX),
	SHAPE(CONTEXT, DMO_IOC_MIRROR, mirror_fields),
	SHAPE(CONTEXT, DMO_IOC_FAULT, fault_fields),
	SHAPE(CONTEXT, DMO_IOC_LOWAT, lowat_fields),
	SHAPE(CONTROL, DMO_IOC_OBJECT_CREATE, create_fields),
};

static uint64_t some_pages(void)
{
	static const uint64_t ends[] = { 0, BLOCK, SIZE, SPARSE, 1ul << 62, ~0ull - PAGE + 1 };

	return below(4) ? below(2 * SIZE / PAGE) * PAGE : ends[below(COUNT(ends))] - below(3) * PAGE;
}

static uint64_t value(enum kind kind)
{
	if (below(60) == 0)
		return draw();
	switch (kind) {
	case ZERO:
		return 0;
	case PAGES:
		return some_pages();
	case FEW:
		return below(8) ? (1 + below(32)) * PAGE : some_pages();
	case BYTES:
		return below(2) ? 1 + below(16 * PAGE) : some_pages() + (below(2) ? 0 : below(PAGE));
	case DEVICE:
		return below(4) ? below(5) : DMO_DEVICE_ANY - below(2);
	case SMALL:
		return below(20);
	case FLAGS:
		return below(2) ? 0 : below(8);
	case PROT:
		return below(4);
	case KEY:
		return below(4) ? keys[below(OBJECTS)] : (uint64_t)objects[below(OBJECTS)];
	case ADDRESS:
		return below(6) ? FIRST_ADDRESS + below(64) * (BLOCK / 2) : some_pages();
	case ID:
		return ids[below(REMEMBERED)];
	case COOKIE:
		return below(2) ? 0 : cookies[below(REMEMBERED)];
	case DESCRIPTOR:
		return below(2) ? -1ull : below(40);
	case VALUE:
		return below(2) ? 0 : below(24);
	default:
		return draw() >> below(64);
	}
}

static void fill_fields(char *to, const struct field *fields, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		uint64_t v = value(fields[i].kind);

		memcpy(to + fields[i].at, &v, fields[i].size);
	}
}

/* ---- a request ------------------------------------------------------------ */

/* What stands before the page without access: a request's bytes end there. */
static char *limit(void)
{
	static char *end;
	char *at;

	if (end)
		return end;
	at = mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	yes(at != MAP_FAILED);
	sys(mprotect(at + 5 * PAGE, PAGE, PROT_NONE));
	end = at + 5 * PAGE;
	return end;
}

static unsigned long make_request(const struct shape *s, char **at)
{
	unsigned long cmd = s->cmd;
	uint32_t count = 0;

	if (s->most) {
		count = below(2) ? 1 : 1 + below(below(10) ? 4 : s->most);
		cmd += (unsigned long)count * s->entry_size << _IOC_SIZESHIFT;
	}
	if (below(60) == 0)
		cmd = _IOC(below(4), below(9) ? DMO_IOC_MAGIC : below(256), below(64), below(16384));
	*at = limit() - _IOC_SIZE(cmd);
	memset(*at, 0, _IOC_SIZE(cmd));
	if (_IOC_SIZE(cmd) < _IOC_SIZE(s->cmd) + count * s->entry_size)
		return cmd;
	fill_fields(*at, s->fields, s->n);
	for (uint32_t i = 0; i < count && s->entry; i++)
		fill_fields(*at + _IOC_SIZE(s->cmd) + i * s->entry_size, s->entry, s->entry_n);
	if (s->most && below(30))
		memcpy(*at + (_IOC_NR(cmd) == _IOC_NR(DMO_IOC_QUERY(0)) ? offsetof(struct dmo_query, count) : 0),
		       &count, sizeof(count));
	return cmd;
}

/* Every error that a request may give (ioctl_dmo(2) and the requests' own pages). */
static bool is_known(int error)
{
	static const int known[] = {
		0, EINVAL, ENOTTY, EOVERFLOW, EFAULT, ENODEV, EBADF, EACCES, EPERM, ENOSPC, EBUSY, EDQUOT, ESRCH, ENOENT,
		EAGAIN, EOPNOTSUPP, ESTALE, EEXIST, ERANGE, EROFS, EISDIR, ELOOP, EMFILE, ENOMEM, EINTR, EIO, EFBIG,
	};

	for (unsigned int i = 0; i < COUNT(known); i++)
		if (known[i] == error)
			return true;
	return false;
}

/* Numbers that were given out become known; descriptors are closed again. */
static void learn(unsigned long cmd, const char *at)
{
	unsigned int slot = below(REMEMBERED);

	if (cmd == DMO_IOC_PIN)
		ids[slot] = ((const struct dmo_pin *)at)->id;
	else if (cmd == DMO_IOC_MIGRATE)
		cookies[slot] = ((const struct dmo_migrate *)at)->cookie;
	else if (cmd == DMO_IOC_OBJECT_CREATE)
		close(((const struct dmo_object_create *)at)->fd);
	else if (cmd == DMO_IOC_EXPORT)
		close(((const struct dmo_export *)at)->fd);
}

static int node_for(const struct shape *s)
{
	unsigned int nodes = below(40) ? s->nodes : 1u << below(3), node;

	do {
		node = 1u << below(3);
	} while (!(nodes & node));
	return node == OBJECT ? objects[below(OBJECTS)] : node == CONTEXT ? contexts[below(CONTEXTS)] : control();
}

static void send_one(void)
{
	const struct shape *s = &shapes[below(COUNT(shapes))];
	static char before[16384];
	char *at, *given;
	unsigned long cmd = make_request(s, &at);
	int r, error;

	memcpy(before, at, _IOC_SIZE(cmd));
	given = below(60) ? at : at + 1 + below(_IOC_SIZE(cmd) + 1);
	r = ioctl(node_for(s), cmd, given);
	error = r ? errno : 0;
	__atomic_fetch_add(&sent[error ? 64 : _IOC_NR(cmd) % 64], 1, __ATOMIC_RELAXED);
	if (r > 0 || !is_known(error)) {
		printf("\trequest %#lx: %d, errno %d\n", cmd, r, error);
		fail_at(__FILE__, __LINE__, "the errno", error, 0);
	}
	if (given != at)
		return;
	if (cmd == s->cmd && cmd != DMO_IOC_FAULT && cmd != DMO_IOC_MIRROR)
		yes(error != EFAULT);
	if (!(_IOC_DIR(cmd) & _IOC_READ))
		eq(memcmp(before, at, _IOC_SIZE(cmd)), 0);
	if (!r)
		learn(cmd, at);
}

/* Some of everything else, so that requests meet what it leaves. */
static void send_command(void)
{
	struct dmo_command c = { .op = below(3), .arg = { value(ADDRESS), below(2 * BLOCK), below(256) } };
	struct dmo_completion over;
	int ctx = contexts[below(CONTEXTS)];

	if (write(ctx, &c, sizeof(c)) != sizeof(c))
		return;
	while (read(ctx, &over, sizeof(over)) > 0)
		yes(over.status <= 0 && is_known(-over.status));
}

static void touch(void)
{
	int i = below(OBJECTS);
	char byte = 1;
	char *at;

	if (below(2)) {
		if (pwrite(objects[i], &byte, 1, below(SIZE)) < 0)
			yes(is_known(errno));
		return;
	}
	at = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, objects[i], 0);
	if (at == MAP_FAILED)
		return;
	for (int n = 0; n < 4; n++)
		(void)*(volatile char *)(at + below(SIZE / PAGE) * PAGE);
	munmap(at, SIZE);
}

static void work(uint64_t seed)
{
	state = seed * 0x9e3779b97f4a7c15ull | 1;
	for (int i = 0; i < CONTEXTS; i++)
		sys(fcntl(contexts[i], F_SETFL, O_NONBLOCK));
	for (;;) {
		send_one();
		if (below(16) == 0)
			send_command();
		if (below(32) == 0)
			touch();
		if (below(500) == 0)
			renew_object(below(OBJECTS));
		if (below(500) == 0) {
			int i = below(CONTEXTS);

			renew_context(i);
			sys(fcntl(contexts[i], F_SETFL, O_NONBLOCK));
		}
	}
}

/* ---- the tests ------------------------------------------------------------ */

struct bystander {
	uint32_t device;
	int fd, ctx;
	uint64_t va;
	char *at;
};

static void stand_by(struct bystander *b, uint32_t device)
{
	b->device = device;
	b->fd = fresh(SIZE);
	b->at = map(b->fd, SIZE);
	b->ctx = context(device);
	pattern(b->at, 0, SIZE, 7);
	eq(migrate(b->fd, 0, SIZE, device), 0);
	b->va = ctx_map(b->ctx, b->fd, SIZE, DMO_PROT_READ | DMO_PROT_WRITE);
}

static uint64_t used_of(uint32_t device)
{
	struct dmo_device_info info;

	device_info(device, &info);
	return info.used;
}

/* Its bytes are what they were, the device works, and the memory that others had is free. */
static void check_bystander(struct bystander *b)
{
	eq(differs(b->at, 0, SIZE, 7), SIZE);
	eq(fill(b->ctx, b->va, SIZE, 9), 0);
	eq(b->at[SIZE - 1], 9);
	pattern(b->at, 0, SIZE, 8);
	eq(migrate(b->fd, 0, SIZE, b->device), 0);
	eq(migrate(b->fd, 0, SIZE, DMO_DEVICE_HOST), 0);
	eq(differs(b->at, 0, SIZE, 8), SIZE);
	for (int i = 0; i < 1000 && used_of(b->device); i++)
		usleep(10000);
	eq(used_of(b->device), 0);
}

static void close_all(int *fds, int n)
{
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

static pid_t start_worker(uint64_t seed, const struct bystander *b, int n)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	alarm(0);
	for (int i = 0; i < n; i++) {
		close(b[i].fd);
		close(b[i].ctx);
		munmap(b[i].at, SIZE);
	}
	work(seed);
	_exit(1);
}

static void random_requests_harm_nobody(void)
{
	uint64_t seconds = from_environment("FUZZ_SECONDS", 6), seed = from_environment("FUZZ_SEED", 1), all = 0;
	struct timespec nap = { .tv_sec = seconds };
	struct bystander b[2];
	pid_t pids[WORKERS];

	printf("\tFUZZ_SEED=%llu FUZZ_SECONDS=%llu\n", (unsigned long long)seed, (unsigned long long)seconds);
	alarm(seconds + 100);
	sent = mmap(NULL, 65 * sizeof(*sent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	yes(sent != MAP_FAILED);
	stand_by(&b[0], sim());
	stand_by(&b[1], coherent());
	for (int i = 0; i < OBJECTS; i++)
		renew_object(i);
	for (int i = 0; i < CONTEXTS; i++)
		renew_context(i);
	for (int i = 0; i < WORKERS; i++)
		pids[i] = start_worker(seed + i, b, COUNT(b));
	nanosleep(&nap, NULL);
	for (int i = 0; i < WORKERS; i++) {
		int status;

		kill(pids[i], SIGKILL);
		eq(waitpid(pids[i], &status, 0), pids[i]);
		yes(WIFSIGNALED(status));
		eq(WTERMSIG(status), SIGKILL);
	}
	close_all(objects, OBJECTS);
	close_all(contexts, CONTEXTS);
	for (unsigned int i = 0; i < COUNT(shapes); i++) {
		all += sent[_IOC_NR(shapes[i].cmd)];
		printf("\trequest %lu: %llu succeeded\n", _IOC_NR(shapes[i].cmd),
		       (unsigned long long)sent[_IOC_NR(shapes[i].cmd)]);
	}
	printf("\t%llu requests succeeded, %llu failed\n", (unsigned long long)all, (unsigned long long)sent[64]);
	yes(all > 0);
	for (unsigned int i = 0; i < COUNT(b); i++)
		check_bystander(&b[i]);
}

static bool is_request(unsigned int nr, unsigned int node, unsigned int dir, unsigned int size)
{
	for (unsigned int i = 0; i < COUNT(shapes); i++)
		if (_IOC_NR(shapes[i].cmd) == nr && shapes[i].nodes & node && _IOC_DIR(shapes[i].cmd) == dir)
			return size == _IOC_SIZE(shapes[i].cmd) || (shapes[i].most && size > _IOC_SIZE(shapes[i].cmd));
	return false;
}

/* All zero, so that an array's count never fits either. */
static void refuse_all(int fd, unsigned int node)
{
	static const unsigned int sizes[] = { 0, 4, 15, 17, 23, 39, 41, 63, 65, 16383 };

	for (unsigned int nr = 0; nr < 256; nr++)
		for (unsigned int dir = 0; dir < 4; dir++)
			for (unsigned int i = 0; i < COUNT(sizes); i++) {
				unsigned long cmd = _IOC(dir, DMO_IOC_MAGIC, nr, sizes[i]);

				if (is_request(nr, node, dir, sizes[i]))
					continue;
				memset(limit() - sizes[i], 0, sizes[i]);
				eq(ioctl(fd, cmd, limit() - sizes[i]), -1);
				yes(errno == ENOTTY || errno == EINVAL);
			}
}

static void what_is_no_request_is_refused(void)
{
	refuse_all(control(), CONTROL);
	refuse_all(fresh(SIZE), OBJECT);
	refuse_all(context(sim()), CONTEXT);
}

/* ---- huge ranges ---------------------------------------------------------- */

static void a_huge_sparse_object_is_evicted_at_once(void)
{
	int fd = fresh(1ul << 62);

	eq(migrate(fd, 1ul << 61, BLOCK, sim()), 0);
	eq(migrate(fd, 0, 0, DMO_DEVICE_HOST), 0);
	eq(resident(fd, NONE), 0);
}

static void a_request_over_a_huge_range_can_be_killed(void)
{
	struct dmo_fault f = { .length = SPARSE, .prot = DMO_PROT_READ };
	int fd = fresh(SPARSE), ctx = context(sim()), status;
	pid_t pid;

	f.va = ctx_map(ctx, fd, SPARSE, DMO_PROT_READ);
	pid = fork();
	if (!pid) {
		ioctl(ctx, DMO_IOC_FAULT, &f);
		_exit(0);
	}
	usleep(300000);
	sys(kill(pid, SIGKILL));
	eq(waitpid(pid, &status, 0), pid);
	yes(WIFSIGNALED(status));
}

int main(void)
{
	static const struct test tests[] = {
		T(what_is_no_request_is_refused), T(a_huge_sparse_object_is_evicted_at_once),
		T(a_request_over_a_huge_range_can_be_killed), T(random_requests_harm_nobody),
	};

	return RUN(tests);
}
