/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tier.c - the lower tier: bytes between backing files and device memory, by io_uring
 *
 * Each thread that moves pages has a ring of its own, made when first needed; it fills the ring with the pieces of its
 * block and waits for all of them with one system call. Where the device has a peer window the kernel reads into
 * and writes from device memory itself: no copy in between. Else the bytes go through a bounce buffer, registered
 * with the ring, and the device's copy engine.
 *
 * Page cache or disk. Reads: what the page cache has comes from there; else, where the file takes O_DIRECT,
 * straight from the disk, so that a scan through the device does not fill memory with second copies. Writes: through the
 * page cache, which is the middle tier (io=direct: past it, but for the file's unaligned tail).
 *
 * Without io_uring (a kernel or a policy that forbids it) plain preadv and pwritev do the same.
 */
#include "engine/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

#define RING_ENTRIES	64
#define PIECE_MAX	(512u << 10)	/* bytes an entry: several are under way at once */

struct ring {
	struct io_uring ring;
	bool ready;
	void *bounce;			/* one block */
	bool registered;
};

static _Thread_local struct ring *my_ring;

/* One contiguous transfer between file and memory. */
struct piece {
	int fd;
	char *mem;
	u64 offset;
	u32 bytes;
	u32 done;
	bool direct;
};

struct batch {
	struct eng_object *obj;
	struct eng_device *dev;
	bool out;
	unsigned count;
	struct piece pieces[RING_ENTRIES];
};

static struct ring *get_ring(struct engine *eng)
{
	struct ring *r = my_ring;

	if (r || atomic_load(&eng->no_uring))
		return r;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	if (io_uring_queue_init(RING_ENTRIES, &r->ring, 0)) {
		free(r);
		if (!atomic_exchange(&eng->no_uring, true))
			eng_log(eng, LOG_WARNING, "io_uring can't be had (%s): using plain reads and writes",
				strerror(errno));
		return NULL;
	}
	r->ready = true;
	my_ring = r;
	return r;
}

void eng_tier_thread_exit(void)
{
	struct ring *r = my_ring;

	if (!r)
		return;
	io_uring_queue_exit(&r->ring);
	free(r->bounce);
	free(r);
	my_ring = NULL;
}

/* ---- which fd ------------------------------------------------------------------------------------------- */

/* The file opened with O_DIRECT, or -1. */
static int direct_fd(struct eng_object *obj)
{
	int fd;

	if (obj->direct_fd == -1) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", obj->fd);
		fd = open(path, (obj->fd_writes ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
		pthread_mutex_lock(&obj->lock);
		if (obj->direct_fd == -1)
			obj->direct_fd = fd >= 0 ? fd : -2;
		else if (fd >= 0)
			close(fd);
		pthread_mutex_unlock(&obj->lock);
	}
	return obj->direct_fd >= 0 ? obj->direct_fd : -1;
}

/* Is the first byte of the piece in the page cache? A read that may not wait tells. */
static bool cached(struct eng_object *obj, u64 offset)
{
	char byte;
	struct iovec v = { &byte, 1 };

	return preadv2(obj->fd, &v, 1, offset, RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

static void choose_fd(struct batch *b, struct piece *p)
{
	struct eng_object *obj = b->obj;
	enum eng_io_mode mode = obj->eng->config.io;
	int fd = -1;

	p->fd = obj->fd;
	p->direct = false;
	if (mode == ENG_IO_BUFFERED || (p->bytes & (DMO_PAGE_SIZE - 1)))
		return;
	if (b->out ? mode == ENG_IO_DIRECT : mode == ENG_IO_DIRECT || !cached(obj, p->offset))
		fd = direct_fd(obj);
	if (fd < 0)
		return;
	p->fd = fd;
	p->direct = true;
	atomic_fetch_add(&obj->eng->tier_direct, 1);
}

/* ---- carrying out a batch --------------------------------------------------------------------------------- */

/* Finishes a piece by hand: what a short or refused transfer left. Reads past the end of the file give zeros. */
static int finish_piece(struct batch *b, struct piece *p)
{
	while (p->done < p->bytes) {
		char *mem = p->mem + p->done;
		u32 left = p->bytes - p->done;
		u64 at = p->offset + p->done;
		ssize_t n = b->out ? pwrite(b->obj->fd, mem, left, at) : pread(b->obj->fd, mem, left, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0 && b->out)
			return -EIO;
		if (n == 0) {
			memset(mem, 0, left);
			n = left;
		}
		p->done += n;
	}
	return 0;
}

static void queue_piece(struct batch *b, struct ring *r, struct piece *p)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);
	bool fixed = r->registered && p->mem >= (char *)r->bounce && p->mem < (char *)r->bounce + DMO_BLOCK_SIZE;

	if (b->out && fixed)
		io_uring_prep_write_fixed(sqe, p->fd, p->mem, p->bytes, p->offset, 0);
	else if (b->out)
		io_uring_prep_write(sqe, p->fd, p->mem, p->bytes, p->offset);
	else if (fixed)
		io_uring_prep_read_fixed(sqe, p->fd, p->mem, p->bytes, p->offset, 0);
	else
		io_uring_prep_read(sqe, p->fd, p->mem, p->bytes, p->offset);
	io_uring_sqe_set_data(sqe, p);
}

/* Submits everything, waits for everything. Results are in the pieces' done. */
static int ring_round(struct batch *b, struct ring *r)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < b->count; i++)
		queue_piece(b, r, &b->pieces[i]);
	atomic_fetch_add(&b->obj->eng->tier_submits, 1);
	atomic_fetch_add(&b->obj->eng->tier_entries, b->count);
	while (seen < b->count) {
		struct io_uring_cqe *cqe;
		int err = io_uring_submit_and_wait(&r->ring, 1);

		if (err < 0 && err != -EINTR && err != -EAGAIN && err != -EBUSY)
			return err;
		while (!io_uring_peek_cqe(&r->ring, &cqe)) {
			struct piece *p = io_uring_cqe_get_data(cqe);

			if (cqe->res > 0)
				p->done = cqe->res;
			io_uring_cqe_seen(&r->ring, cqe);
			seen++;
		}
	}
	return 0;
}

/* An error of one entry shows again, with its number, when the rest of the piece is done by hand. */
static int run_batch(struct batch *b)
{
	struct ring *r = get_ring(b->obj->eng);
	int err = 0;

	if (r && b->count)
		err = ring_round(b, r);
	for (unsigned i = 0; !err && i < b->count; i++) {
		err = finish_piece(b, &b->pieces[i]);
		atomic_fetch_add(b->out ? &b->obj->eng->tier_bytes_out : &b->obj->eng->tier_bytes_in,
				 b->pieces[i].bytes);
	}
	b->count = 0;
	return err;
}

static int add_pieces(struct batch *b, char *mem, u64 offset, u64 bytes)
{
	int err = 0;

	while (bytes && !err) {
		struct piece *p = &b->pieces[b->count++];

		*p = (struct piece){ .mem = mem, .offset = offset, .bytes = bytes < PIECE_MAX ? bytes : PIECE_MAX };
		if (p->bytes > DMO_PAGE_SIZE && p->bytes == bytes)
			p->bytes -= bytes & (DMO_PAGE_SIZE - 1);	/* the unaligned tail by itself */
		choose_fd(b, p);
		mem += p->bytes;
		offset += p->bytes;
		bytes -= p->bytes;
		if (b->count == RING_ENTRIES)
			err = run_batch(b);
	}
	return err;
}

/* ---- pages of a copy ------------------------------------------------------------------------------------------ */

static void *bounce_buffer(struct engine *eng)
{
	struct ring *r = get_ring(eng);
	struct iovec v;

	if (!r)
		return NULL;
	if (!r->bounce) {
		if (posix_memalign(&r->bounce, DMO_PAGE_SIZE, DMO_BLOCK_SIZE))
			return NULL;
		v = (struct iovec){ r->bounce, DMO_BLOCK_SIZE };
		r->registered = !io_uring_register_buffers(&r->ring, &v, 1);
	}
	return r->bounce;
}

/* Bytes of the pages that lie before the object's end. */
static u64 bytes_of(struct eng_object *obj, u64 offset, unsigned pages)
{
	u64 bytes = (u64)pages << DMO_PAGE_SHIFT, size;

	pthread_mutex_lock(&obj->lock);
	size = obj->core.size;
	pthread_mutex_unlock(&obj->lock);
	if (offset >= size)
		return 0;
	return bytes < size - offset ? bytes : size - offset;
}

/* Through the window, run by run of consecutive frames. *used: there is one. */
static int through_window(struct batch *b, struct dmo_copy *copy, unsigned first, unsigned count, bool *used)
{
	u64 base = copy->block->index << DMO_BLOCK_SHIFT;
	int err = 0;

	*used = b->dev->ops->window != NULL;
	while (count && !err && *used) {
		u64 offset = base + ((u64)first << DMO_PAGE_SHIFT), bytes;
		u32 frame;
		unsigned run = dmo_copy_run(copy, first, count, &frame);
		char *mem = b->dev->ops->window(b->dev->dev, frame, run);

		if (!mem) {
			*used = false;
			break;
		}
		bytes = bytes_of(b->obj, offset, run);
		if (!b->out)
			memset(mem + bytes, 0, ((u64)run << DMO_PAGE_SHIFT) - bytes);
		err = add_pieces(b, mem, offset, bytes);
		first += run;
		count -= run;
	}
	if (!err)
		err = run_batch(b);
	return err;
}

static int through_bounce(struct batch *b, struct dmo_copy *copy, unsigned first, unsigned count)
{
	u64 at = (u64)first << DMO_PAGE_SHIFT, offset = (copy->block->index << DMO_BLOCK_SHIFT) + at;
	u64 whole = (u64)count << DMO_PAGE_SHIFT, bytes = bytes_of(b->obj, offset, count);
	void *own = NULL, *mem = bounce_buffer(b->obj->eng);
	int err = 0;

	if (!mem)
		mem = own = malloc(whole);
	if (!mem)
		return -ENOMEM;
	if (b->out)
		err = eng_copy_bytes(copy, DMO_COPY_OUT, at, bytes, mem);
	else
		memset((char *)mem + bytes, 0, whole - bytes);
	if (!err)
		err = add_pieces(b, mem, offset, bytes);
	if (!err)
		err = run_batch(b);
	if (!err && !b->out)
		err = eng_copy_bytes(copy, DMO_COPY_IN, at, whole, mem);
	free(own);
	return err;
}

static int transfer(struct dmo_copy *copy, unsigned first, unsigned count, bool out)
{
	struct eng_device *dev = dmo_container_of(copy->dev, struct eng_device, core);
	struct eng_object *obj = dmo_container_of(copy->block->object, struct eng_object, core);
	u64 bytes = (u64)count << DMO_PAGE_SHIFT;
	struct batch b;
	bool used;
	int err;

	if (atomic_load(&dev->lost))
		return -ENODEV;
	err = eng_object_backing(obj);
	if (err)
		return err;
	if (out && !obj->fd_writes)
		return -EROFS;
	b.obj = obj;
	b.dev = dev;
	b.out = out;
	b.count = 0;
	err = through_window(&b, copy, first, count, &used);
	if (!used && !err)
		return through_bounce(&b, copy, first, count);
	if (used && !err && dev->ops->link_pass)
		err = dev->ops->link_pass(dev->dev, bytes, out ? DMO_COPY_OUT : DMO_COPY_IN);
	atomic_fetch_add(out ? &dev->stats.bytes_to_host : &dev->stats.bytes_to_device, bytes);
	return err;
}

int eng_tier_in(struct dmo_copy *copy, unsigned first, unsigned count)
{
	return transfer(copy, first, count, false);
}

int eng_tier_out(struct dmo_copy *copy, unsigned first, unsigned count)
{
	return transfer(copy, first, count, true);
}

/* Pages newer on another device: out of that one, into this one. */
static int from_device(struct dmo_copy *to, struct dmo_copy *from, unsigned first, unsigned count)
{
	u64 at = (u64)first << DMO_PAGE_SHIFT, bytes = (u64)count << DMO_PAGE_SHIFT;
	void *mem = malloc(bytes);
	int err;

	if (!mem)
		return -ENOMEM;
	err = eng_copy_bytes(from, DMO_COPY_OUT, at, bytes, mem);
	if (!err)
		err = eng_copy_bytes(to, DMO_COPY_IN, at, bytes, mem);
	free(mem);
	return err;
}

int eng_tier_steps(const struct dmo_plan *plan, enum dmo_step_kind kind)
{
	struct dmo_copy *mine = dmo_block_copy(plan->block, plan->dev);
	struct dmo_step s;
	int err = 0;

	for (unsigned at = 0; !err && dmo_plan_next(plan, kind, &at, &s);) {
		if (kind == DMO_STEP_COPY_OUT)
			err = eng_tier_out(mine, s.first, s.count);
		else if (kind == DMO_STEP_COPY_DEVICE)
			err = from_device(mine, s.from, s.first, s.count);
		else
			err = eng_tier_in(mine, s.first, s.count);
	}
	return err;
}
