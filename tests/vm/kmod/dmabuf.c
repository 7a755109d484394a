// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dmabuf.c - dma-bufs of objects in the hands of other drivers (vgem imports them through libdrm, vivid has its
 * frames written into them), and dma-bufs of others as objects
 */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE	(2 * BLOCK)

static int export_dmabuf(int fd, uint64_t offset, uint64_t length, uint32_t device)
{
	struct dmo_export e = { .offset = offset, .length = length, .device = device, .fd = -1 };

	return ioctl(fd, DMO_IOC_EXPORT, &e) ? -errno : e.fd;
}

static int exported(int fd, uint64_t offset, uint64_t length, uint32_t device)
{
	int buf = export_dmabuf(fd, offset, length, device);

	yes(buf >= 0);
	return buf;
}

/* Both kinds of memory that can be exported. */
static uint32_t host_memory(void) { return DMO_DEVICE_HOST; }
static uint32_t coherent_memory(void) { return coherent(); }
static uint32_t (*memory)(void);

static uint32_t elsewhere(void)
{
	return memory() == DMO_DEVICE_HOST ? coherent() : DMO_DEVICE_HOST;
}

/* ---- vgem ----------------------------------------------------------------- */

#ifdef HAVE_LIBDRM
#include <xf86drm.h>

/* vgem_drm.h is not in Debian's libdrm */
struct fence_attach { uint32_t handle, flags, out_fence, pad; };
struct fence_signal { uint32_t fence, flags; };
#define FENCE_ATTACH	DRM_IOWR(DRM_COMMAND_BASE + 1, struct fence_attach)
#define FENCE_SIGNAL	DRM_IOW(DRM_COMMAND_BASE + 2, struct fence_signal)
#define FENCE_WRITE	1

static bool is_driver(int fd, const char *name)
{
	drmVersion *v = drmGetVersion(fd);
	bool is = v && !strcmp(v->name, name);

	drmFreeVersion(v);
	return is;
}

static int vgem(void)
{
	char path[32];

	for (int i = 0; i < 8; i++) {
		int fd;

		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && is_driver(fd, "vgem"))
			return fd;
		close(fd);
	}
	skip("no vgem");
}

static int import(int drm, int buf, uint32_t *handle)
{
	return drmPrimeFDToHandle(drm, buf, handle) ? -errno : 0;
}

static void close_handle(int drm, uint32_t handle)
{
	sys(drmCloseBufferHandle(drm, handle));
}

static uint32_t attach_fence(int drm, uint32_t handle)
{
	struct fence_attach a = { .handle = handle, .flags = FENCE_WRITE };

	sys(drmIoctl(drm, FENCE_ATTACH, &a));
	return a.out_fence;
}

static void signal_fence(int drm, uint32_t fence)
{
	struct fence_signal s = { .fence = fence };

	sys(drmIoctl(drm, FENCE_SIGNAL, &s));
}

static int give_back(int drm, uint32_t handle)
{
	int fd;

	sys(drmPrimeHandleToFD(drm, handle, DRM_CLOEXEC | DRM_RDWR, &fd));
	return fd;
}
#else
static int vgem(void) { skip("built without libdrm"); }
static int import(int drm, int buf, uint32_t *handle) { return *handle = drm + buf; }
static void close_handle(int drm, uint32_t handle) { (void)drm, (void)handle; }
static uint32_t attach_fence(int drm, uint32_t handle) { return drm + handle; }
static void signal_fence(int drm, uint32_t fence) { (void)drm, (void)fence; }
static int give_back(int drm, uint32_t handle) { return drm + handle; }
#endif

/* ---- the range ------------------------------------------------------------ */

static void the_bytes_are_the_object_s(void)
{
	int fd = fresh(SIZE), buf = exported(fd, BLOCK - 2 * PAGE, 4 * PAGE, memory());
	char *at = map(buf, 4 * PAGE), *obj = map(fd, SIZE), *got = malloc(4 * PAGE);

	eq(lseek(buf, 0, SEEK_END), 4 * PAGE);
	pattern(at, 0, 4 * PAGE, 1);
	eq(pread(fd, got, 4 * PAGE, BLOCK - 2 * PAGE), 4 * PAGE);
	eq(differs(got, 0, 4 * PAGE, 1), 4 * PAGE);
	pattern(obj + BLOCK - 2 * PAGE, 0, 4 * PAGE, 2);
	eq(differs(at, 0, 4 * PAGE, 2), 4 * PAGE);
	eq(obj[BLOCK - 2 * PAGE - 1] | obj[BLOCK + 2 * PAGE], 0);
}

static void nothing_beyond_the_range_can_be_mapped(void)
{
	int fd = fresh(SIZE), buf = exported(fd, PAGE, 2 * PAGE, memory());
	char *at = map(buf, 2 * PAGE);

	fails((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, buf, 2 * PAGE), EINVAL);
	fails((long)mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, buf, 0), EINVAL);
	fails((long)mremap(at, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE), EFAULT);
}

static void what_can_t_be_exported_is_refused(void)
{
	int fd = fresh(SIZE), ro = create(memfd(SIZE), 0, DMO_CREATE_READ), disk = object_over(disk_file(SIZE));
	struct dmo_info info;

	sys(ioctl(fd, DMO_IOC_INFO, &info));
	yes(info.caps & DMO_CAP_DMABUF);
	eq(export_dmabuf(fd, 0, PAGE, sim()), -EOPNOTSUPP);
	eq(export_dmabuf(fd, 0, PAGE, 62), -ENODEV);
	eq(export_dmabuf(fd, SIZE, PAGE, DMO_DEVICE_HOST), -EINVAL);
	eq(export_dmabuf(fd, SIZE - PAGE, 2 * PAGE, DMO_DEVICE_HOST), -EINVAL);
	eq(export_dmabuf(fd, 1, PAGE, DMO_DEVICE_HOST), -EINVAL);
	eq(export_dmabuf(fd, 0, 0, DMO_DEVICE_HOST), -EINVAL);
	eq(export_dmabuf(fd, ~0ul & ~(PAGE - 1), PAGE, DMO_DEVICE_HOST), -EOVERFLOW);
	eq(export_dmabuf(disk, 0, PAGE, DMO_DEVICE_HOST), -EOPNOTSUPP);
	close(exported(disk, 0, PAGE, coherent()));
	close(exported(ro, 0, PAGE, DMO_DEVICE_HOST));
	close(exported(fd, 0, PAGE, DMO_DEVICE_ANY));
}

static void more_than_the_device_may_hold_is_refused(void)
{
	struct dmo_device_info info;
	uint32_t dev = coherent();
	int fd;

	device_info(dev, &info);
	fd = fresh(info.limit + PAGE);
	eq(export_dmabuf(fd, 0, info.limit + PAGE, dev), -ENOSPC);
}

static void who_only_reads_exports_for_reading(void)
{
	int back = memfd(SIZE), fd = create(back, 0, DMO_CREATE_READ), drm, buf = exported(fd, 0, SIZE, memory());
	char *at = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, buf, 0);
	uint32_t handle;

	yes(at != MAP_FAILED);
	eq(pwrite(back, "x", 1, BLOCK), 1);
	eq(at[BLOCK], 'x');
	fails((long)mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0), EACCES);
	fails(mprotect(at, PAGE, PROT_READ | PROT_WRITE), EACCES);
	drm = vgem();
	eq(import(drm, buf, &handle), -EACCES);		/* it would write */
	eq(migrate(fd, 0, SIZE, coherent()), 0);	/* nothing stayed held */
}

static void the_name_is_told(void)
{
	int fd = fresh(PAGE), buf = exported(fd, 0, PAGE, DMO_DEVICE_HOST);
	char path[64], text[512];
	FILE *f;

	sys(ioctl(buf, DMA_BUF_SET_NAME_B, (uint64_t)(uintptr_t)"weights"));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", buf);
	f = fopen(path, "r");
	yes(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	yes(strstr(text, "exp_name:\tdmo\n") && strstr(text, "name:\tweights\n"));
}

/* ---- moves ---------------------------------------------------------------- */

static void a_mapping_follows_every_move(void)
{
	uint32_t to[] = { coherent(), sim(), DMO_DEVICE_HOST };
	int fd = fresh(SIZE), buf = exported(fd, 0, SIZE, memory());
	char *at = map(buf, SIZE);

	pattern(at, 0, SIZE, 0);
	for (int i = 0; i < 9; i++) {
		eq(migrate(fd, 0, SIZE, to[i % 3]), 0);
		eq(differs(at, 0, SIZE, i), SIZE);
		pattern(at, 0, SIZE, i + 1);
	}
	close(fd);
	close(buf);
	eq(differs(at, 0, SIZE, 9), SIZE);
}

static void evictions_race_with_stores_and_no_store_is_lost(void)
{
	uint32_t to[] = { coherent(), DMO_DEVICE_HOST, sim(), DMO_DEVICE_HOST };
	int fd = fresh(SIZE), buf = exported(fd, 0, SIZE, memory());
	volatile uint64_t *at = map(buf, SIZE);
	time_t end = time(NULL) + 3;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0;; i++)
			migrate(fd, i % 2 * BLOCK, BLOCK, to[i % 4]);
	}
	for (uint64_t round = 1; time(NULL) < end; round++)
		for (uint64_t page = round % 7; page < SIZE / PAGE; page += 7) {
			volatile uint64_t *w = &at[page * PAGE / 8 + round % 500];

			*w = round;
			eq(*w, round);
		}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void a_truncated_range_is_gone(void)
{
	int fd = fresh(SIZE), buf = exported(fd, 0, SIZE, memory()), status, drm = vgem();
	char *at = map(buf, SIZE);
	uint32_t handle;

	at[BLOCK] = 1;
	sys(ftruncate(fd, BLOCK));
	if (!fork()) {
		signal(SIGBUS, SIG_DFL);
		at[BLOCK] = 1;
		_exit(0);
	}
	wait(&status);
	yes(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	eq(import(drm, buf, &handle), -EINVAL);
	eq(at[0], 0);
}

/* ---- importers ------------------------------------------------------------ */

static void an_importer_holds_the_pages_where_they_are(void)
{
	int drm = vgem(), fd = fresh(SIZE), buf = exported(fd, 0, BLOCK, memory());
	char *at = map(fd, SIZE);
	uint32_t handle;

	pattern(at, 0, SIZE, 1);
	eq(migrate(fd, 0, SIZE, elsewhere()), 0);
	eq(import(drm, buf, &handle), 0);
	eq(resident(fd, coherent()), memory() == DMO_DEVICE_HOST ? BLOCK : SIZE - BLOCK);
	eq(migrate(fd, 0, BLOCK, elsewhere()), -EBUSY);
	eq(migrate(fd, 0, BLOCK, sim()), -EBUSY);
	eq(migrate(fd, BLOCK, BLOCK, sim()), 0);	/* the rest is free */
	eq(differs(at, 0, SIZE, 1), SIZE);
	pattern(at, 0, SIZE, 2);
	close_handle(drm, handle);
	eq(migrate(fd, 0, SIZE, elsewhere()), 0);
	eq(differs(at, 0, SIZE, 2), SIZE);
}

static void a_device_can_t_have_a_copy_of_what_is_held(void)
{
	int drm = vgem(), fd = fresh(SIZE), buf = exported(fd, 0, PAGE, memory()), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, SIZE, DMO_PROT_READ);
	struct dmo_completion c;
	uint32_t handle;

	eq(pwrite(fd, "x", 1, 0), 1);
	eq(import(drm, buf, &handle), 0);
	c = command(ctx, DMO_OP_CKSUM, va, PAGE, 0);
	eq(c.status, -ENOSPC);
	close_handle(drm, handle);
	eq(command(ctx, DMO_OP_CKSUM, va, PAGE, 0).status, 0);
}

static void an_importer_gives_the_same_buffer_back(void)
{
	int drm = vgem(), fd = fresh(BLOCK), buf = exported(fd, 0, BLOCK, memory()), again;
	struct stat a, b;
	uint32_t handle;
	char *at;

	eq(import(drm, buf, &handle), 0);
	again = give_back(drm, handle);
	sys(fstat(buf, &a));
	sys(fstat(again, &b));
	eq(a.st_ino, b.st_ino);
	at = map(again, BLOCK);
	pattern(at, 0, BLOCK, 4);
	close_handle(drm, handle);
	at = map(fd, BLOCK);
	eq(differs(at, 0, BLOCK, 4), BLOCK);
}

static void a_copy_that_fails_leaves_nothing_held(void)
{
	struct dmo_device_info info;
	int fd = fresh(BLOCK), buf = exported(fd, 0, BLOCK, memory()), drm = vgem(), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, BLOCK, DMO_PROT_READ | DMO_PROT_WRITE);
	unsigned char *at;
	uint32_t handle;

	eq(fill(ctx, va, BLOCK, 0x5a), 0);
	device_info(sim(), &info);
	sys(inject("%s copy-fail 1", info.name));
	eq(import(drm, buf, &handle), -EIO);
	eq(fill(ctx, va, 1, 0x5b), 0);
	eq(import(drm, buf, &handle), 0);
	at = map(fd, BLOCK);
	yes(at[0] == 0x5b && at[1] == 0x5a && !memcmp(at + 1, at + 2, BLOCK - 2));
}

static uint64_t used(uint32_t dev)
{
	struct dmo_device_info info;

	device_info(dev, &info);
	return info.used;
}

static void object_buffer_and_importer_end_in_any_order(void)
{
	static const char orders[][4] = { "obh", "ohb", "boh", "bho", "hob", "hbo" };
	uint64_t before = used(coherent());
	int drm = vgem();

	for (int i = 0; i < 6; i++) {
		int fd = fresh(BLOCK), buf = exported(fd, 0, BLOCK, memory());
		char *at = map(buf, BLOCK);
		uint32_t handle;

		eq(import(drm, buf, &handle), 0);
		pattern(at, 0, BLOCK, i);
		for (const char *what = orders[i]; *what; what++) {
			if (*what == 'o')
				close(fd);
			else if (*what == 'b')
				close(buf);
			else
				close_handle(drm, handle);
			eq(differs(at, 0, BLOCK, i), BLOCK);
		}
		sys(munmap(at, BLOCK));
		for (int n = 0; n < 100 && used(coherent()) > before; n++)
			usleep(20000);
		yes(used(coherent()) <= before);	/* earlier tests' objects may end now */
	}
}

static void a_killed_importer_lets_go(void)
{
	int fd = fresh(BLOCK), buf = exported(fd, 0, BLOCK, memory()), ready[2];
	uint32_t handle;
	pid_t pid;
	char c;

	close(vgem());			/* skips here where there is none */
	sys(pipe(ready));
	pid = fork();
	if (!pid) {
		eq(import(vgem(), buf, &handle), 0);
		eq(write(ready[1], "", 1), 1);
		pause();
	}
	eq(read(ready[0], &c, 1), 1);
	eq(migrate(fd, 0, BLOCK, elsewhere()), -EBUSY);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int n = 0; n < 100 && migrate(fd, 0, BLOCK, elsewhere()); n++)
		usleep(20000);
	eq(migrate(fd, 0, BLOCK, elsewhere()), 0);
}

static void a_child_has_the_buffer_after_its_parent(void)
{
	int fd = fresh(BLOCK), buf = exported(fd, 0, BLOCK, memory()), go[2], status;
	char *at = map(buf, BLOCK), c;
	pid_t pid;

	sys(pipe(go));
	pattern(at, 0, BLOCK, 1);
	pid = fork();
	if (!pid) {
		close(fd);
		eq(read(go[0], &c, 1), 1);
		eq(differs(at, 0, BLOCK, 1), BLOCK);
		eq(differs(map(buf, BLOCK), 0, BLOCK, 1), BLOCK);
		_exit(0);
	}
	sys(munmap(at, BLOCK));
	close(buf);
	close(fd);
	eq(write(go[1], "", 1), 1);
	waitpid(pid, &status, 0);
	eq(status, 0);
}

static void unbinding_waits_for_importers_and_loses_nothing(void)
{
	int drm = vgem(), fd = fresh(BLOCK), buf = exported(fd, 0, BLOCK, coherent()), status;
	char address[32], *at = map(buf, BLOCK);
	uint32_t handle;
	pid_t pid;

	coherent_address(address, sizeof(address));
	eq(import(drm, buf, &handle), 0);
	pattern(at, 0, BLOCK, 1);
	pid = fork();
	if (!pid) {
		eq(pci_driver("unbind", address), 0);
		_exit(0);
	}
	usleep(500000);
	eq(waitpid(pid, &status, WNOHANG), 0);
	eq(differs(at, 0, BLOCK, 1), BLOCK);
	close_handle(drm, handle);
	eq(waitpid(pid, &status, 0), pid);
	eq(status, 0);
	eq(differs(at, 0, BLOCK, 1), BLOCK);
	eq(resident(fd, NONE), 0);
	eq(import(drm, buf, &handle), -ENODEV);
	eq(pci_driver("bind", address), 0);
	eq(import(drm, buf, &handle), -ENODEV);		/* it is another device now */
	close(exported(fd, 0, BLOCK, coherent()));
}

/* ---- limits --------------------------------------------------------------- */

#define NOBODY	65534

static void as_nobody(uint64_t locked)
{
	struct rlimit limit = { locked, locked };

	sys(setrlimit(RLIMIT_MEMLOCK, &limit));
	sys(setresgid(NOBODY, NOBODY, NOBODY));
	sys(setresuid(NOBODY, NOBODY, NOBODY));
}

static void what_is_held_is_the_exporter_s_to_account_for(void)
{
	int drm = vgem(), second = vgem(), fd, big, buf;
	uint32_t dev = memory(), handle, other;

	control();
	as_nobody(16 * PAGE);
	fd = fresh(SIZE);
	big = exported(fd, 0, 17 * PAGE, dev);
	buf = exported(fd, 0, 16 * PAGE, dev);
	eq(import(drm, big, &handle), -EDQUOT);
	eq(import(drm, buf, &handle), 0);
	eq(import(second, buf, &other), -EDQUOT);	/* the second one counts too */
	close_handle(drm, handle);
	eq(import(second, buf, &other), 0);
	close_handle(second, other);
}

static void what_is_made_for_another_is_his_to_account_for(void)
{
	struct dmo_export e = { .length = 17 * PAGE, .device = memory(), .flags = DMO_CHARGE_OTHER };
	int drm = vgem(), fd = fresh(SIZE), ready[2];
	uint32_t handle;
	pid_t pid;
	char c;

	sys(pipe(ready));
	pid = fork();
	if (!pid) {
		as_nobody(16 * PAGE);
		eq(write(ready[1], "", 1), 1);
		pause();
	}
	eq(read(ready[0], &c, 1), 1);
	e.charge = DMO_CHARGE(pid, 0);
	fails(ioctl(fd, DMO_IOC_EXPORT, &e), ESRCH);
	e.charge = DMO_CHARGE(pid, NOBODY);
	sys(ioctl(fd, DMO_IOC_EXPORT, &e));
	eq(e.ticket, 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	eq(import(drm, e.fd, &handle), -EDQUOT);	/* his limit then, though we may hold what we like */
	e.charge = DMO_CHARGE(getpid(), getuid());
	sys(ioctl(fd, DMO_IOC_EXPORT, &e));
	eq(import(drm, e.fd, &handle), 0);
	close_handle(drm, handle);
}

static void a_lease_and_an_import_share_one_limit(void)
{
	int drm = vgem(), fd, buf;
	uint32_t dev = memory(), pin_dev = coherent(), handle;
	struct dmo_pin pin = { .offset = BLOCK, .length = 16 * PAGE, .device = pin_dev };

	control();
	as_nobody(16 * PAGE);
	fd = fresh(SIZE);
	buf = exported(fd, 0, 16 * PAGE, dev);
	eq(import(drm, buf, &handle), 0);
	fails(ioctl(fd, DMO_IOC_PIN, &pin), EDQUOT);
	close_handle(drm, handle);
	sys(ioctl(fd, DMO_IOC_PIN, &pin));
	eq(import(drm, buf, &handle), -EDQUOT);
}

/* ---- fences --------------------------------------------------------------- */

static void pages_stay_until_an_importer_s_fence_signals(void)
{
	int drm = vgem(), fd = fresh(BLOCK), buf = exported(fd, 0, BLOCK, memory());
	uint32_t handle, fence;

	eq(import(drm, buf, &handle), 0);
	fence = attach_fence(drm, handle);
	close_handle(drm, handle);
	eq(migrate(fd, 0, BLOCK, elsewhere()), -EBUSY);
	close(buf);
	eq(migrate(fd, 0, BLOCK, elsewhere()), -EBUSY);
	signal_fence(drm, fence);
	for (int n = 0; n < 100 && migrate(fd, 0, BLOCK, elsewhere()); n++)
		usleep(20000);
	eq(migrate(fd, 0, BLOCK, elsewhere()), 0);
}

static int sync_access(int buf, uint64_t flags)
{
	struct dma_buf_sync s = { .flags = flags };

	return ioctl(buf, DMA_BUF_IOCTL_SYNC, &s) ? -errno : 0;
}

static void cpu_access_begins_when_the_writer_is_done(void)
{
	int drm = vgem(), fd = fresh(BLOCK), buf = exported(fd, 0, BLOCK, memory());
	char *at = map(buf, BLOCK);
	uint32_t handle, fence;

	eq(sync_access(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
	pattern(at, 0, BLOCK, 1);
	eq(sync_access(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
	eq(sync_access(buf, 64), -EINVAL);
	eq(import(drm, buf, &handle), 0);
	fence = attach_fence(drm, handle);
	if (!fork()) {
		usleep(300000);
		at[0] ^= 1;
		signal_fence(drm, fence);
		_exit(0);
	}
	eq(sync_access(buf, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), 0);
	eq(differs(at, 0, BLOCK, 1), 0);	/* the first byte: it waited */
	eq(sync_access(buf, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ), 0);
	wait(NULL);
}

static int wait_for(int sync_file, int ms)
{
	struct pollfd p = { .fd = sync_file, .events = POLLIN };

	return poll(&p, 1, ms);
}

static void fences_pass_as_sync_files(void)
{
	int drm = vgem(), fd = fresh(BLOCK), buf = exported(fd, 0, BLOCK, memory());
	int other = exported(fd, 0, BLOCK, memory());
	struct dma_buf_export_sync_file out = { .flags = DMA_BUF_SYNC_READ };
	struct dma_buf_import_sync_file in = { .flags = DMA_BUF_SYNC_WRITE };
	uint32_t handle, fence;

	sys(ioctl(buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &out));
	eq(wait_for(out.fd, 0), 1);		/* nothing is under way */
	eq(import(drm, buf, &handle), 0);
	fence = attach_fence(drm, handle);
	sys(ioctl(buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &out));
	eq(wait_for(out.fd, 50), 0);
	in.fd = out.fd;
	sys(ioctl(other, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &in));
	sys(ioctl(other, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &out));
	eq(wait_for(out.fd, 50), 0);
	eq(wait_for(other, 0), 0);		/* poll(2) of the buffer itself says the same */
	signal_fence(drm, fence);
	eq(wait_for(out.fd, 5000), 1);
	eq(wait_for(other, 5000), 1);
}

/* ---- vivid: a driver that reaches the pages through vmap ------------------ */

static int vivid(struct v4l2_format *format)
{
	char path[32];

	for (int i = 0; i < 16; i++) {
		struct v4l2_capability cap;
		int fd;

		snprintf(path, sizeof(path), "/dev/video%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && !ioctl(fd, VIDIOC_QUERYCAP, &cap) && !strcmp((char *)cap.driver, "vivid") &&
		    cap.device_caps & V4L2_CAP_VIDEO_CAPTURE) {
			format->type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
			sys(ioctl(fd, VIDIOC_G_FMT, format));
			return fd;
		}
		close(fd);
	}
	skip("no vivid");
}

static void queue(int video, int buf, uint32_t length)
{
	struct v4l2_buffer b = {
		.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF, .m.fd = buf, .length = length,
	};

	sys(ioctl(video, VIDIOC_QBUF, &b));
}

static void dequeue(int video)
{
	struct v4l2_buffer b = { .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF };

	sys(ioctl(video, VIDIOC_DQBUF, &b));
}

static void a_camera_s_frames_come_into_the_object(void)
{
	int type = V4L2_BUF_TYPE_VIDEO_CAPTURE, fd = fresh(SIZE), video, buf;
	struct v4l2_requestbuffers want = { .count = 1, .type = type, .memory = V4L2_MEMORY_DMABUF };
	char *first = malloc(SIZE), *second = malloc(SIZE), *at = map(fd, SIZE);
	struct v4l2_format format = { 0 };
	uint32_t size;

	video = vivid(&format);
	size = format.fmt.pix.sizeimage;
	yes(size <= SIZE - PAGE);
	memset(at, 0xee, SIZE);
	buf = exported(fd, 0, SIZE, memory());
	sys(ioctl(video, VIDIOC_REQBUFS, &want));
	queue(video, buf, SIZE);
	sys(ioctl(video, VIDIOC_STREAMON, &type));
	dequeue(video);
	eq(migrate(fd, 0, SIZE, elsewhere()), -EBUSY);
	eq(pread(fd, first, SIZE, 0), SIZE);
	yes(memchr(first, 0xee, size) == NULL || memcmp(first, at + size, PAGE));
	eq((unsigned char)first[size], 0xee);
	sys(fsync(fd));				/* what comes now must not be taken for written back */
	queue(video, buf, SIZE);
	dequeue(video);
	eq(pread(fd, second, SIZE, 0), SIZE);
	yes(memcmp(first, second, size));	/* a frame shows its time */
	sys(ioctl(video, VIDIOC_STREAMOFF, &type));
	want.count = 0;
	sys(ioctl(video, VIDIOC_REQBUFS, &want));
	eq(migrate(fd, 0, SIZE, elsewhere()), 0);
	eq(pread(fd, first, SIZE, 0), SIZE);
	eq(memcmp(first, second, SIZE), 0);
}

/* ---- buffers of others as objects ----------------------------------------- */

static int from_heap(void)
{
	struct dma_heap_allocation_data a = { .len = SIZE, .fd_flags = O_RDWR | O_CLOEXEC };
	int heap = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC);

	if (heap < 0)
		skip("no system heap");
	sys(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &a));
	close(heap);
	return a.fd;
}

static int from_udmabuf(void)
{
	int dev = open("/dev/udmabuf", O_RDWR | O_CLOEXEC), mem = memfd_create("u", MFD_ALLOW_SEALING), buf;
	struct udmabuf_create c = { .memfd = mem, .size = SIZE, .flags = UDMABUF_FLAGS_CLOEXEC };

	if (dev < 0)
		skip("no udmabuf");
	sys(ftruncate(mem, SIZE));
	sys(fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK));
	buf = ioctl(dev, UDMABUF_CREATE, &c);
	sys(buf);
	close(dev);
	close(mem);
	return buf;
}

static int from_vgem(void)
{
#ifdef HAVE_LIBDRM
	struct drm_mode_create_dumb c = { .width = 1024, .height = SIZE / 4096, .bpp = 32 };
	int drm = vgem(), buf;

	sys(drmIoctl(drm, DRM_IOCTL_MODE_CREATE_DUMB, &c));
	eq(c.size, SIZE);
	buf = give_back(drm, c.handle);
	close(drm);
	return buf;
#else
	return vgem();
#endif
}

static int (*foreign)(void);

static void an_import_holds_what_the_buffer_holds(void)
{
	int buf = foreign(), fd = object_over(buf);
	char *at = map(buf, SIZE), *got = malloc(SIZE);
	struct stat st;

	sys(fstat(fd, &st));
	eq(st.st_size, SIZE);
	pattern(at, 0, SIZE, 1);
	eq(pread(fd, got, SIZE, 0), SIZE);
	eq(differs(got, 0, SIZE, 1), SIZE);
	pattern(got, 0, SIZE, 2);
	eq(pwrite(fd, got, PAGE + 8, 3 * PAGE + 16), PAGE + 8);
	eq(differs(at, 0, 3 * PAGE + 16, 1), 3 * PAGE + 16);
	eq(differs(at + 3 * PAGE + 16, 0, PAGE + 8, 2), PAGE + 8);
	eq(differs(at + 4 * PAGE + 24, 4 * PAGE + 24, BLOCK, 1), BLOCK);
}

static void an_import_ends_where_the_buffer_does(void)
{
	int fd = object_over(foreign());
	char two[2] = "ab";

	eq(pread(fd, two, 2, SIZE), 0);
	eq(pread(fd, two, 2, SIZE - 1), 1);
	eq(pwrite(fd, two, 2, SIZE - 1), 1);
	fails(pwrite(fd, two, 2, SIZE), ENOSPC);
	fails(ftruncate(fd, PAGE), EPERM);
	fails(ftruncate(fd, 2 * SIZE), EPERM);
	fails(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE), EOPNOTSUPP);
	fails((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0), ENODEV);
	eq(lseek(fd, 0, SEEK_END), SIZE);
	eq(export_dmabuf(fd, 0, PAGE, DMO_DEVICE_HOST), -EOPNOTSUPP);
}

static void a_device_computes_on_an_import(void)
{
	uint32_t devs[] = { sim(), coherent() };
	int buf = foreign(), fd = object_over(buf);
	unsigned char *at = map(buf, SIZE), *got = malloc(SIZE);

	for (int i = 0; i < 2; i++) {
		int ctx = context(devs[i]);
		uint64_t va = ctx_map(ctx, fd, SIZE, DMO_PROT_READ | DMO_PROT_WRITE);

		memset(at, 7 + i, SIZE);
		eq(fill(ctx, va + PAGE, PAGE, 0x5a), 0);
		eq(command(ctx, DMO_OP_COPY, va + BLOCK, va, 2 * PAGE).status, 0);
		eq(pread(fd, got, SIZE, 0), SIZE);		/* the object knows at once ... */
		yes(got[0] == 7 + i && got[PAGE] == 0x5a && got[BLOCK + PAGE] == 0x5a && got[BLOCK] == 7 + i);
		sys(fsync(fd));					/* ... the buffer from here on */
		yes(at[0] == 7 + i && at[PAGE] == 0x5a && at[BLOCK + PAGE] == 0x5a && at[BLOCK] == 7 + i);
		eq(migrate(fd, 0, SIZE, DMO_DEVICE_HOST), 0);
		close(ctx);
	}
}

static void a_buffer_has_one_object(void)
{
	int buf = foreign(), fd = object_over(buf), again = object_over(buf), ctx = context(sim());
	uint64_t va = ctx_map(ctx, fd, SIZE, DMO_PROT_READ | DMO_PROT_WRITE);
	char c;

	eq(fill(ctx, va, PAGE, 0x5a), 0);
	eq(pread(again, &c, 1, 0), 1);
	eq(c, 0x5a);
	close(fd);
	close(ctx);
	close(again);
	again = object_over(buf);
	eq(pread(again, &c, 1, 0), 1);
	eq(c, 0x5a);
}

static void an_import_outlives_the_buffer_s_descriptor(void)
{
	int buf = foreign(), fd = object_over(buf);
	char *got = malloc(SIZE);

	pattern(got, 0, SIZE, 3);
	close(buf);
	eq(pwrite(fd, got, SIZE, 0), SIZE);
	memset(got, 0, SIZE);
	eq(migrate(fd, 0, SIZE, coherent()), 0);
	eq(pread(fd, got, SIZE, 0), SIZE);
	eq(differs(got, 0, SIZE, 3), SIZE);
}

static void imports_race_with_their_end(void)
{
	int buf = foreign(), fd = object_over(buf), status;
	char c = 9;

	eq(pwrite(fd, &c, 1, 5), 1);
	close(fd);
	for (int i = 0; i < 3; i++)
		if (!fork()) {
			for (int n = 0; n < 100; n++) {
				fd = object_over(buf);
				eq(pread(fd, &c, 1, 5), 1);
				eq(c, 9);
				close(fd);
			}
			_exit(0);
		}
	for (int i = 0; i < 3; i++) {
		wait(&status);
		eq(status, 0);
	}
}

static void an_import_that_makes_no_sense_is_refused(void)
{
	int fd = fresh(SIZE), heap = open("/dev/dma_heap/system", O_RDWR | O_CLOEXEC), ro;
	struct dma_heap_allocation_data a = { .len = SIZE, .fd_flags = O_WRONLY };
	char c;

	eq(create(exported(fd, 0, PAGE, DMO_DEVICE_HOST), 0, 0), -ELOOP);
	if (heap < 0)
		skip("no system heap");
	sys(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &a));
	eq(create(a.fd, 0, 0), -EACCES);
	eq(create(a.fd, SIZE, 0), -EINVAL);
	a = (struct dma_heap_allocation_data){ .len = SIZE, .fd_flags = O_RDONLY };
	sys(ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &a));
	ro = object_over(a.fd);
	eq(pread(ro, &c, 1, 0), 1);
	fails(pwrite(ro, &c, 1, 0), EBADF);
}

/* ---- main ----------------------------------------------------------------- */

int main(void)
{
	static const struct test tests[] = {
		T(the_bytes_are_the_object_s), T(nothing_beyond_the_range_can_be_mapped),
		T(who_only_reads_exports_for_reading), T(a_mapping_follows_every_move),
		T(evictions_race_with_stores_and_no_store_is_lost), T(a_truncated_range_is_gone),
		T(an_importer_holds_the_pages_where_they_are), T(a_device_can_t_have_a_copy_of_what_is_held),
		T(an_importer_gives_the_same_buffer_back), T(a_copy_that_fails_leaves_nothing_held),
		T(object_buffer_and_importer_end_in_any_order), T(a_killed_importer_lets_go),
		T(a_child_has_the_buffer_after_its_parent), T(what_is_held_is_the_exporter_s_to_account_for),
		T(what_is_made_for_another_is_his_to_account_for),
		T(a_lease_and_an_import_share_one_limit), T(pages_stay_until_an_importer_s_fence_signals),
		T(cpu_access_begins_when_the_writer_is_done), T(fences_pass_as_sync_files),
		T(a_camera_s_frames_come_into_the_object),
	};
	static const struct test once[] = {
		T(what_can_t_be_exported_is_refused), T(more_than_the_device_may_hold_is_refused), T(the_name_is_told),
		T(unbinding_waits_for_importers_and_loses_nothing),
		T(an_import_that_makes_no_sense_is_refused),
	};
	static const struct test imports[] = {
		T(an_import_holds_what_the_buffer_holds), T(an_import_ends_where_the_buffer_does),
		T(a_device_computes_on_an_import), T(a_buffer_has_one_object),
		T(an_import_outlives_the_buffer_s_descriptor), T(imports_race_with_their_end),
	};
	static const struct { const char *name; int (*get)(void); } foreigners[] = {
		{ "the system heap", from_heap }, { "udmabuf", from_udmabuf }, { "vgem", from_vgem },
	};
	int r, failed;

	failed = RUN(once) == 1;
	for (int i = 0; i < 3; i++) {
		foreign = foreigners[i].get;
		printf("# buffers of %s\n", foreigners[i].name);
		failed |= RUN(imports) == 1;
	}
	for (int i = 0; i < 2; i++) {
		memory = i ? coherent_memory : host_memory;
		printf("# %s memory\n", i ? "coherent" : "host");
		r = RUN(tests);
		failed |= r == 1;
	}
	return failed;
}
