/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kit.h - what the tests of the kernel modules share
 *
 * A program is a list of tests, each in a process of its own, so that what a test leaves open goes with
 * it. A test fails at the first check that does not hold. It runs as root in a virtual machine that has
 * dmo.ko, a private device sim0 (and sim1) of SIM_MIB, and, where there is one, a coherent device
 * (ivshmem).
 */
#ifndef KIT_H
#define KIT_H

#include <dmo/ioctl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <stdio.h>

#define PAGE	4096ul
#define BLOCK	(2ul << 20)
#define MIB	(1ul << 20)
#define NONE	DMO_DEVICE_ANY

struct test {
	const char *name;
	void (*run)(void);
};

/* Runs them all; main returns it: 0, 1, or 77 where all were skipped. */
int run_tests(const struct test *tests, int n);
#define RUN(tests) run_tests(tests, sizeof(tests) / sizeof((tests)[0]))
#define T(f) { #f, f }

void fail_at(const char *file, int line, const char *what, long long got, long long want)
	__attribute__((noreturn));
void skip(const char *why) __attribute__((noreturn));

/* got is evaluated once */
#define eq(got, want) do { \
	long long got_ = (long long)(got), want_ = (long long)(want); \
	if (got_ != want_) \
		fail_at(__FILE__, __LINE__, #got, got_, want_); \
} while (0)
#define yes(x) eq(!!(x), 1)
/* A call of libc that must succeed, or fail with that errno. */
#define sys(x) do { errno = 0; if ((long)(x) < 0) fail_at(__FILE__, __LINE__, #x, -errno, 0); } while (0)
#define fails(x, e) do { errno = 0; long r_ = (long)(x); eq(r_ < 0 ? -errno : r_, -(e)); } while (0)

/* ---- objects ---- */
int control(void);
/* An object of fresh memory, over a backing fd, and over a new memfd of that size. */
int fresh(uint64_t size);
int object_over(int backing);
int memfd(uint64_t size);
/* A file of that size on the disk with that file system; skips where there is none. */
int disk_file(uint64_t size);
int create(int backing, uint64_t size, uint32_t flags);	/* fd or -errno */
void *map(int fd, uint64_t size);			/* shared, read and write */

/* Has the backing file's page in the page cache? Looked at past the object. */
bool is_cached(int backing, uint64_t offset);
/* "1": the page cache, "2": what shrinkers give, "3": both. */
void drop_caches(const char *what);

/* ---- devices ---- */
uint32_t device_of(uint32_t memory_type);	/* the first of that kind; skips the test where there is none */
#define sim()		device_of(DMO_MEM_PRIVATE)
#define coherent()	device_of(DMO_MEM_COHERENT)
void device_info(uint32_t number, struct dmo_device_info *info);
int context(uint32_t device);
uint32_t named(const char *name);			/* the device of that name, or NONE */
/* Loads dmo_sim.ko with these parameters in place of what is there: 0 or -errno. A program restores it. */
int load_sim(const char *parameters);
#define SIM_AS_BEFORE	"devices=2 inject=yes"		/* what kmod.test loads it with */
#define SIM_RESERVED	"0x30000000"			/* 32 MiB of RAM that the kernel was told to leave alone */
/* "NAME copy-fail N" or "NAME lost", to dmo_sim's parameter inject; 0, or -1 with errno. */
int inject(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The PCI address of coherent()'s device; skips where that is none. */
void coherent_address(char *address, size_t size);
/* Writes it to that file (bind, unbind) of the PCI driver: 0 or -errno. */
int pci_driver(const char *file, const char *address);

/* ---- residency: 0 or -errno ---- */
int advise(int fd, uint64_t offset, uint64_t length, uint32_t advice, uint32_t device, uint64_t value);
int migrate(int fd, uint64_t offset, uint64_t length, uint32_t device);
struct dmo_extent extent(int fd, uint64_t offset);
/* How many bytes of the object are on the device (NONE: on any). */
uint64_t resident(int fd, uint32_t device);
uint64_t device_stat(const char *device, const char *key);

/* ---- contexts ---- */
uint64_t key_of(int fd);
/* Maps all of the object's first length bytes where there is room: the address. */
uint64_t ctx_map(int ctx, int fd, uint64_t length, uint32_t prot);
int ctx_unmap(int ctx, uint64_t va, uint64_t length);
struct dmo_completion command(int ctx, uint32_t op, uint64_t a, uint64_t b, uint64_t c);
int fill(int ctx, uint64_t va, uint64_t bytes, uint8_t value);	/* the status */

/* ---- races ---- */
/*
 * A child that adds 1 to the first word of pages, rounds times. It maps the page anew for each addition, so that
 * faults meet moves all the time.
 */
pid_t start_adding(uint64_t *at, uint64_t pages, int rounds);

/* ---- content ---- */
/* A byte sequence that differs from page to page and from seed to seed. */
void pattern(void *at, uint64_t offset, size_t bytes, uint32_t seed);
/* Where the bytes first differ from it, or bytes. */
size_t differs(const void *at, uint64_t offset, size_t bytes, uint32_t seed);

#endif
