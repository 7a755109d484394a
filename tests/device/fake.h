/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake.h - the smallest host that a device can have
 *
 * Address FAKE_VA + n pages stands for frame n, for every address space. A thread answers faults by entering the page
 * (or as many as told) with the protection that the test gave it; a test may hold the answers back, make pages
 * remote, or have them fail. Completions are kept until asked for.
 */
#ifndef TESTS_DEVICE_FAKE_H
#define TESTS_DEVICE_FAKE_H

#include <dmo/backend.h>
#include <pthread.h>
#include <string.h>

#define FAKE_VA		0x40000000ull
#define FAKE_PAGES	8192
#define FAKE_RW		(DMO_PROT_READ | DMO_PROT_WRITE)

struct fake_fault {
	struct fake_fault *next;
	struct dmo_dev_fault fault;
};

struct fake_done {
	struct fake_done *next;
	struct dmo_completion completion;
	void *owner;
};

struct fake {
	const struct dmo_backend_ops *ops;
	void *dev;
	void *as;			/* a first address space; its owner is &as */
	bool keep_as;			/* fake_close leaves it to the device */
	struct dmo_backend_info info;
	unsigned char *memory;		/* the device's, through its window */
	pthread_mutex_t lock;		/* protects what follows */
	pthread_cond_t wake;
	unsigned char prot[FAKE_PAGES];
	int error[FAKE_PAGES];		/* what a fault on the page gives; 0: a translation */
	const char *remote[FAKE_PAGES];	/* host memory that the page lies in; NULL: the frame */
	uint32_t pages_a_fault;
	bool hold;			/* answer no faults */
	bool stop;
	struct fake_fault *faults;
	unsigned fault_count;
	struct dmo_dev_fault last_fault;
	struct fake_done *done;
	unsigned lost;
	pthread_t thread;
};

/* Makes a device, with every page readable and writable. Fails the test where it can't. */
struct fake *fake_open(const char *spec);
void fake_close(struct fake *f);

/* Sets the protection of pages. */
void fake_protect(struct fake *f, unsigned page, unsigned count, unsigned char prot);
/* Enters pages into the first address space now. */
int fake_enter(struct fake *f, unsigned page, unsigned count, unsigned char prot);
void fake_hold(struct fake *f, bool hold);
unsigned fake_fault_count(struct fake *f);
/* Waits until so many faults have come in all. */
void fake_wait_faults(struct fake *f, unsigned count);

/* The bytes behind an address. */
static inline unsigned char *fake_at(struct fake *f, uint64_t va)
{
	return f->memory + (va - FAKE_VA);
}

struct dmo_command fake_command(uint32_t op, uint32_t flags, const uint64_t *args, unsigned count);
#define COMMAND(op, ...) \
	fake_command(op, 0, (const uint64_t[]){ __VA_ARGS__ }, sizeof((uint64_t[]){ __VA_ARGS__ }) / 8)

void fake_submit(struct fake *f, void *as, struct dmo_command command, uint64_t cookie);
/* Waits for the completion with that cookie. */
struct dmo_completion fake_wait(struct fake *f, uint64_t cookie);
/* Runs one command in the first address space. */
struct dmo_completion fake_run(struct fake *f, struct dmo_command command);

/* One transfer, waited for. */
int fake_copy(struct fake *f, enum dmo_copy_dir dir, uint32_t frame, uint64_t bytes, void *host, uint32_t src);

/* Fills with bytes that follow from the seed. */
void fake_noise(void *to, size_t bytes, uint32_t seed);
uint64_t fake_ms(void);
/*
 * The least of what ms came to: up to 20 times, until it is less than enough. Other work on the machine makes some runs
 * longer, none shorter.
 */
#define FAKE_LEAST(ms, enough) \
	({ \
		uint64_t least_ = UINT64_MAX; \
\
		for (unsigned try_ = 0; try_ < 20 && least_ >= (enough); try_++) { \
			uint64_t ms_ = (ms); \
\
			least_ = ms_ < least_ ? ms_ : least_; \
		} \
		least_; \
	})

#endif
