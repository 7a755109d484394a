/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_mmu.c - page table, TLB, faults, accessed and dirty bits, remote pages
 */
#include "device/sim_exec.h"
#include "fake.h"
#include "reference.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE	4096u
#define VA(page) (FAKE_VA + (uint64_t)(page) * PAGE)

static struct fake *f;

static void setup(void)
{
	f = fake_open("memory=32M,threads=2");
}

static void teardown(void)
{
	fake_close(f);
}

static int fill(unsigned page, unsigned count, unsigned char value)
{
	return fake_run(f, COMMAND(DMO_OP_FILL, VA(page), (uint64_t)count * PAGE, value)).status;
}

static bool bit(const uint64_t *set, unsigned i)
{
	return set[i / 64] >> (i % 64) & 1;
}

/* ---- faults -------------------------------------------------------------------------------------------------- */

START_TEST(a_miss_faults_once_and_goes_on)
{
	struct dmo_completion done = fake_run(f, COMMAND(DMO_OP_FILL, VA(3) + 5, 10, 7));

	ck_assert_int_eq(done.status, 0);
	ck_assert_uint_eq(done.faults, 1);
	ck_assert_uint_eq(f->last_fault.va, VA(3));
	ck_assert(f->last_fault.write);
	ck_assert_ptr_eq(f->last_fault.owner, &f->as);
	ck_assert_uint_eq(fake_run(f, COMMAND(DMO_OP_FILL, VA(3), PAGE, 7)).faults, 0);
}
END_TEST

START_TEST(a_fault_tells_how_far_the_command_goes_on)
{
	fake_run(f, COMMAND(DMO_OP_CKSUM, VA(1) + 100, 5 * PAGE, 0, 0, 0));
	ck_assert_uint_eq(f->fault_count, 6);
	ck_assert_uint_eq(f->last_fault.bytes, PAGE);
	ck_assert(!f->last_fault.write);
	f->pages_a_fault = 64;
	fake_run(f, COMMAND(DMO_OP_CKSUM, VA(100), 64 * PAGE, 0, 0, 0));
	ck_assert_uint_eq(f->last_fault.va, VA(100));
	ck_assert_uint_eq(f->last_fault.bytes, 64 * PAGE);
}
END_TEST

START_TEST(an_unmapped_page_ends_its_command_alone)
{
	struct dmo_completion done;

	fake_protect(f, 9, 1, 0);
	done = fake_run(f, COMMAND(DMO_OP_FILL, VA(8), 3 * PAGE, 1));
	ck_assert_int_eq(done.status, -EFAULT);
	ck_assert_uint_eq(done.va, VA(9));
	ck_assert_int_eq(fill(8, 1, 2), 0);
	ck_assert_int_eq(fill(10, 1, 2), 0);
}
END_TEST

START_TEST(writing_a_read_only_page_is_refused_reading_is_not)
{
	struct dmo_completion done;

	fake_protect(f, 5, 1, DMO_PROT_READ);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_CKSUM, VA(5), PAGE, 0, 0, 0)).status, 0);
	done = fake_run(f, COMMAND(DMO_OP_FILL, VA(5) + 8, 8, 1));
	ck_assert_int_eq(done.status, -EACCES);
	ck_assert_uint_eq(done.va, VA(5) + 8);
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_ATOMIC_ADD, VA(5), 1)).status, -EACCES);
	ck_assert_uint_eq(*fake_at(f, VA(5)), 0);
}
END_TEST

START_TEST(a_fault_that_the_host_fails_fails_the_command_with_its_error)
{
	f->error[77] = -ENOSPC;
	ck_assert_int_eq(fill(70, 20, 1), -ENOSPC);
	f->error[77] = -EIO;
	ck_assert_int_eq(fill(70, 20, 1), -EIO);
	f->error[77] = 0;
	ck_assert_int_eq(fill(70, 20, 1), 0);
}
END_TEST

START_TEST(without_faults_a_miss_is_an_error_at_once)
{
	fake_close(f);
	f = fake_open("memory=32M,faults=no");
	ck_assert_int_eq(fill(0, 1, 1), -EFAULT);
	ck_assert_uint_eq(f->fault_count, 0);
	ck_assert_int_eq(fake_enter(f, 0, 1, FAKE_RW), 0);
	ck_assert_int_eq(fill(0, 1, 1), 0);
}
END_TEST

START_TEST(a_late_answer_to_an_unknown_fault_is_ignored)
{
	f->ops->fault_done(f->as, 12345, -EIO);
	ck_assert_int_eq(fill(0, 1, 1), 0);
	f->ops->fault_done(f->as, 1, -EIO);
	ck_assert_int_eq(fill(1, 1, 1), 0);
}
END_TEST

/* ---- dirty and accessed -------------------------------------------------------------------------------------------- */

START_TEST(dirty_tells_exactly_the_pages_written)
{
	uint64_t dirty[16];

	ck_assert_int_eq(fake_enter(f, 0, 1024, FAKE_RW), 0);
	fake_run(f, COMMAND(DMO_OP_FILL, VA(5) + 4095, 2, 1));
	fake_run(f, COMMAND(DMO_OP_FILL, VA(500), 30 * PAGE, 1));
	fake_run(f, COMMAND(DMO_OP_ATOMIC_ADD, VA(1023), 1));
	fake_run(f, COMMAND(DMO_OP_CKSUM, VA(0), 1024 * PAGE, 0, 0, 0));
	f->ops->as_release(f->as, VA(0), 1024, 0, dirty);
	for (unsigned i = 0; i < 1024; i++)
		ck_assert_msg(bit(dirty, i) == (i == 5 || i == 6 || (i >= 500 && i < 530) || i == 1023), "page %u", i);
}
END_TEST

START_TEST(dirty_of_a_part_starts_at_bit_zero)
{
	uint64_t dirty[2];

	ck_assert_int_eq(fake_enter(f, 0, 1024, FAKE_RW), 0);
	fill(510, 4, 1);
	f->ops->as_release(f->as, VA(509), 70, 0, dirty);
	ck_assert_uint_eq(dirty[0], 0x1e);
	ck_assert_uint_eq(dirty[1], 0);
}
END_TEST

START_TEST(dirty_is_told_once)
{
	uint64_t dirty[1];

	ck_assert_int_eq(fake_enter(f, 0, 8, FAKE_RW), 0);
	fill(1, 2, 1);
	f->ops->as_release(f->as, VA(0), 8, DMO_RELEASE_WPROTECT, dirty);
	ck_assert_uint_eq(dirty[0], 6);
	f->ops->as_release(f->as, VA(0), 8, DMO_RELEASE_WPROTECT, dirty);
	ck_assert_uint_eq(dirty[0], 0);
	f->ops->as_release(f->as, VA(0), 8, 0, dirty);
	ck_assert_uint_eq(dirty[0], 0);
}
END_TEST

START_TEST(write_protection_makes_the_next_write_fault_and_reads_go_on)
{
	ck_assert_int_eq(fake_enter(f, 0, 8, FAKE_RW), 0);
	fill(0, 8, 1);
	f->ops->as_release(f->as, VA(0), 8, DMO_RELEASE_WPROTECT, NULL);
	ck_assert_uint_eq(fake_run(f, COMMAND(DMO_OP_CKSUM, VA(0), 8 * PAGE, 0, 0, 0)).faults, 0);
	ck_assert_uint_eq(fake_run(f, COMMAND(DMO_OP_FILL, VA(3), PAGE, 1)).faults, 1);
}
END_TEST

START_TEST(write_protection_keeps_dirty_bits_that_nobody_asked_for)
{
	uint64_t dirty[1];

	ck_assert_int_eq(fake_enter(f, 0, 8, FAKE_RW), 0);
	fill(2, 1, 1);
	f->ops->as_release(f->as, VA(0), 8, DMO_RELEASE_WPROTECT, NULL);
	ck_assert_int_eq(fake_enter(f, 0, 8, FAKE_RW), 0);
	f->ops->as_release(f->as, VA(0), 8, 0, dirty);
	ck_assert_uint_eq(dirty[0], 4);
}
END_TEST

START_TEST(a_new_page_in_the_place_of_another_is_clean)
{
	struct dmo_pte_run run = { .va = VA(3), .pages = 1, .prot = FAKE_RW, .frame = 700 };
	uint64_t dirty[1];

	ck_assert_int_eq(fake_enter(f, 0, 8, FAKE_RW), 0);
	fill(2, 3, 1);
	ck_assert_int_eq(f->ops->as_enter(f->as, &run), 0);
	f->ops->as_release(f->as, VA(0), 8, 0, dirty);
	ck_assert_uint_eq(dirty[0], 0x14);
}
END_TEST

START_TEST(accessed_is_told_once)
{
	ck_assert_int_eq(fake_enter(f, 0, 1024, FAKE_RW), 0);
	ck_assert(!f->ops->as_accessed(f->as, VA(0), 1024));
	fake_run(f, COMMAND(DMO_OP_CKSUM, VA(600), 1, 0, 0, 0));
	ck_assert(!f->ops->as_accessed(f->as, VA(0), 600));
	ck_assert(f->ops->as_accessed(f->as, VA(600), 1));
	ck_assert(!f->ops->as_accessed(f->as, VA(0), 1024));
	fill(600, 1, 1);
	ck_assert(f->ops->as_accessed(f->as, VA(0), 1024));
}
END_TEST

START_TEST(a_release_of_what_was_never_entered_says_clean)
{
	uint64_t dirty[2] = { ~0ull, ~0ull };

	f->ops->as_release(f->as, VA(4000), 128, 0, dirty);
	ck_assert_uint_eq(dirty[0] | dirty[1], 0);
	ck_assert(!f->ops->as_accessed(f->as, VA(4000), 128));
}
END_TEST

/* ---- translations ------------------------------------------------------------------------------------------------------ */

START_TEST(scattered_frames_are_found)
{
	struct dmo_pte_run run = { .pages = 1, .prot = FAKE_RW };
	uint32_t frame;

	for (unsigned i = 0; i < 2000; i++) {
		run.va = VA(i);
		run.frame = i * 701 % 4096;
		ck_assert_int_eq(f->ops->as_enter(f->as, &run), 0);
	}
	for (unsigned i = 0; i < 2000; i++) {
		frame = i * 701 % 4096;
		memset(f->memory + (uint64_t)frame * PAGE, (int)(i % 251), PAGE);
	}
	ck_assert_int_eq(fill(2000, 1, 0), 0);
	ck_assert_uint_eq(fake_run(f, COMMAND(DMO_OP_CKSUM, VA(0), 2000 * PAGE, 0, 0, 0)).faults, 0);
	for (unsigned i = 0; i < 2000; i += 97) {
		unsigned char page[PAGE];

		memset(page, (int)(i % 251), PAGE);
		ck_assert_uint_eq(fake_run(f, COMMAND(DMO_OP_CKSUM, VA(i), PAGE, 0, 0, 0)).result[0],
				  ref_crc(0, page, PAGE));
	}
}
END_TEST

/* Random runs entered and released, against one entry a page. */
START_TEST(random_runs_agree_with_a_plain_table)
{
	enum { PAGES = 2048 };
	static struct { uint32_t frame; uint32_t prot; uint64_t bits; } plain[PAGES];
	uint32_t seed = 99, flags;
	uint64_t bits;

	for (int round = 0; round < 4000; round++) {
		struct dmo_pte_run run;
		uint32_t noise[4];

		fake_noise(noise, sizeof(noise), seed++);
		run = (struct dmo_pte_run){ .va = VA(0), .prot = 1 + noise[3] % 3, .bits = noise[2] % 4 ? 0 : noise[2] };
		run.pages = noise[1] % 8 ? 1 + noise[1] / 8 % 40 : 512;
		run.frame = noise[2] % 3 ? noise[0] % PAGES : noise[2] % (8192 - 512);
		noise[0] = run.pages == 512 ? noise[0] % 4 * 512 : noise[0] % (PAGES - 40);
		run.va = VA(noise[0]);
		flags = noise[3] >> 8 & DMO_RELEASE_WPROTECT;
		if (noise[3] >> 16 & 1) {
			ck_assert_int_eq(f->ops->as_enter(f->as, &run), 0);
			for (uint32_t i = 0; i < run.pages; i++) {
				plain[noise[0] + i].frame = run.frame + i;
				plain[noise[0] + i].prot = run.prot;
				plain[noise[0] + i].bits = run.bits;
			}
		} else {
			f->ops->as_release(f->as, run.va, run.pages, flags, NULL);
			for (uint32_t i = 0; i < run.pages; i++)
				plain[noise[0] + i].prot &= flags ? DMO_PROT_READ : 0;
		}
	}
	for (unsigned i = 0; i < PAGES; i++) {
		struct sim_as *as = f->as;
		struct sim_run_of_pages found;

		ck_assert_uint_eq(sim_mmu_look(&as->mmu, VA(i), &bits), plain[i].prot);
		if (!plain[i].prot)
			continue;
		ck_assert_uint_eq(bits, plain[i].bits);
		ck_assert(sim_mmu_walk(&as->mmu, VA(i), !(plain[i].prot & DMO_PROT_READ), &found));
		ck_assert_uint_eq(found.at, (uintptr_t)f->memory + (uint64_t)plain[i].frame * PAGE);
	}
}
END_TEST

START_TEST(a_bad_run_is_refused)
{
	struct dmo_pte_run run = { .va = VA(0), .pages = 1, .prot = FAKE_RW, .frame = 8192 };

	ck_assert_int_eq(f->ops->as_enter(f->as, &run), -EINVAL);
	run.frame = 8191;
	run.pages = 2;
	ck_assert_int_eq(f->ops->as_enter(f->as, &run), -EINVAL);
	run.pages = 1;
	ck_assert_int_eq(f->ops->as_enter(f->as, &run), 0);
	run.va = f->info.va_end;
	ck_assert_int_eq(f->ops->as_enter(f->as, &run), -EINVAL);
	run.va = VA(0) + 1;
	ck_assert_int_eq(f->ops->as_enter(f->as, &run), -EINVAL);
	run.va = f->info.va_end - PAGE;
	ck_assert_int_eq(f->ops->as_enter(f->as, &run), 0);
}
END_TEST

/* ---- the TLB ------------------------------------------------------------------------------------------------------------- */

/* While fills go on, takes pages away and looks whether any byte of them changes after that. */
static void release_under_fire(unsigned pages, uint32_t flags)
{
	uint64_t size = (uint64_t)pages * PAGE, cookie = 0;
	unsigned char *seen = malloc(size);

	fake_hold(f, true);
	for (int round = 0; round < 100; round++) {
		ck_assert_int_eq(fake_enter(f, 0, pages, FAKE_RW), 0);
		fake_submit(f, f->as, COMMAND(DMO_OP_FILL, VA(0), size, (uint64_t)round), ++cookie);
		if (round % 3)
			usleep((useconds_t)(round * 37 % 1000));
		f->ops->as_release(f->as, VA(0), pages, flags, NULL);
		memcpy(seen, f->memory, size);
		usleep(300);
		ck_assert_int_eq(memcmp(seen, f->memory, size), 0);
		ck_assert_int_eq(fake_enter(f, 0, pages, FAKE_RW), 0);
		fake_hold(f, false);
		ck_assert_int_eq(fake_wait(f, cookie).status, 0);
		fake_hold(f, true);
		for (uint64_t i = 0; i < size; i += 511)
			ck_assert_uint_eq(f->memory[i], (unsigned char)round);
	}
	fake_hold(f, false);
	free(seen);
}

START_TEST(nothing_is_written_after_a_release_returns)
{
	release_under_fire(1024, 0);
}
END_TEST

START_TEST(nothing_is_written_after_write_protection_returns)
{
	release_under_fire(700, DMO_RELEASE_WPROTECT);
}
END_TEST

START_TEST(another_frame_is_used_as_soon_as_it_is_entered)
{
	struct dmo_pte_run run = { .va = VA(0), .pages = 1, .prot = FAKE_RW };

	for (int i = 0; i < 2000; i++) {
		run.frame = (uint32_t)(i % 64);
		ck_assert_int_eq(f->ops->as_enter(f->as, &run), 0);
		fake_run(f, COMMAND(DMO_OP_ATOMIC_ADD, VA(0), 1));
	}
	for (unsigned i = 0; i < 64; i++)
		ck_assert_uint_eq(*(uint64_t *)(f->memory + i * PAGE), 2000 / 64 + (i < 2000 % 64));
}
END_TEST

START_TEST(a_release_does_not_wait_for_a_fault)
{
	fake_hold(f, true);
	ck_assert_int_eq(fake_enter(f, 0, 2, FAKE_RW), 0);
	fake_submit(f, f->as, COMMAND(DMO_OP_FILL, VA(0), 3 * PAGE, 1), 1);
	fake_wait_faults(f, 1);
	f->ops->as_release(f->as, VA(0), 3, 0, NULL);
	fake_hold(f, false);
	ck_assert_int_eq(fake_wait(f, 1).status, 0);
}
END_TEST

START_TEST(address_spaces_are_apart)
{
	struct dmo_pte_run run = { .va = VA(0), .pages = 1, .prot = FAKE_RW, .frame = 100 };
	void *other = NULL;

	ck_assert_int_eq(f->ops->as_create(f->dev, &other, &other), 0);
	ck_assert_int_eq(f->ops->as_enter(other, &run), 0);
	ck_assert_int_eq(fill(0, 1, 1), 0);
	fake_submit(f, other, COMMAND(DMO_OP_FILL, VA(0), PAGE, 2), 1);
	ck_assert_int_eq(fake_wait(f, 1).status, 0);
	ck_assert_uint_eq(f->memory[0], 1);
	ck_assert_uint_eq(f->memory[100 * PAGE], 2);
	f->ops->as_destroy(other);
}
END_TEST

START_TEST(a_new_address_space_sees_nothing_of_an_old_one)
{
	void *other = NULL;

	for (int i = 0; i < 20; i++) {
		struct dmo_pte_run run = { .va = VA(0), .pages = 1, .prot = FAKE_RW, .frame = (uint32_t)i };

		ck_assert_int_eq(f->ops->as_create(f->dev, &other, &other), 0);
		fake_protect(f, 0, 1, 0);
		fake_submit(f, other, COMMAND(DMO_OP_FILL, VA(0), PAGE, 1), (uint64_t)i);
		ck_assert_int_eq(fake_wait(f, (uint64_t)i).status, -EFAULT);
		ck_assert_int_eq(f->ops->as_enter(other, &run), 0);
		fake_submit(f, other, COMMAND(DMO_OP_FILL, VA(0), PAGE, 1), (uint64_t)i);
		ck_assert_int_eq(fake_wait(f, (uint64_t)i).status, 0);
		f->ops->as_destroy(other);
	}
}
END_TEST

/* ---- remote pages ---------------------------------------------------------------------------------------------------------- */

static char *map_file(const void *content, size_t bytes, int *fd)
{
	char name[] = "/tmp/dmo-test-XXXXXX", *map;

	*fd = mkstemp(name);
	ck_assert_int_ge(*fd, 0);
	unlink(name);
	ck_assert_int_eq(write(*fd, content, bytes), (ssize_t)bytes);
	map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, *fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	return map;
}

static int enter_remote(unsigned page, unsigned count, const void *host)
{
	struct dmo_pte_run run = { .va = VA(page), .pages = count, .prot = FAKE_RW, .host = host };

	return f->ops->as_enter(f->as, &run);
}

START_TEST(remote_pages_are_read_where_they_are)
{
	static unsigned char content[300 * 4096];
	int fd;
	char *map;

	fake_noise(content, sizeof(content), 5);
	map = map_file(content, sizeof(content), &fd);
	ck_assert_int_eq(enter_remote(700, 300, map), 0);
	ck_assert_uint_eq(fake_run(f, COMMAND(DMO_OP_CKSUM, VA(700), sizeof(content), 0, 0, 1)).result[0],
			  ref_cksum(content, sizeof(content)));
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_COPY, VA(0), VA(700), sizeof(content))).status, 0);
	ck_assert_int_eq(memcmp(f->memory, content, sizeof(content)), 0);
	munmap(map, sizeof(content));
	close(fd);
}
END_TEST

START_TEST(writing_a_remote_page_faults)
{
	char *host = aligned_alloc(4096, 4096);

	memset(host, 3, 4096);
	fake_protect(f, 7, 1, DMO_PROT_READ);
	ck_assert_int_eq(enter_remote(7, 1, host), 0);
	ck_assert_int_eq(fill(7, 1, 1), -EACCES);
	ck_assert_uint_eq(f->fault_count, 1);
	ck_assert_uint_eq(host[0], 3);
	free(host);
}
END_TEST

START_TEST(a_remote_page_that_vanishes_is_an_io_error)
{
	static unsigned char content[64 * 4096];
	struct dmo_completion done;
	int fd;
	char *map = map_file(content, sizeof(content), &fd);

	ck_assert_int_eq(enter_remote(0, 64, map), 0);
	ck_assert_int_eq(ftruncate(fd, 20 * 4096), 0);
	for (int i = 0; i < 3; i++) {
		done = fake_run(f, COMMAND(DMO_OP_CKSUM, VA(0), sizeof(content), 0, 0, 0));
		ck_assert_int_eq(done.status, -EIO);
		ck_assert_uint_ge(done.va, VA(20));
		ck_assert_uint_lt(done.va, VA(64));
		ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_CKSUM, VA(0), 20 * 4096, 0, 0, 0)).status, 0);
	}
	/* The lease is not left behind. */
	f->ops->as_release(f->as, VA(0), 64, 0, NULL);
	munmap(map, sizeof(content));
	close(fd);
}
END_TEST

static unsigned long bus_errors;

static void count_bus_error(int sig, siginfo_t *info, void *ucontext)
{
	bus_errors++;
	mmap((void *)((uintptr_t)info->si_addr & ~4095ul), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* Runs first in its process: the handler must be there before the device's. */
START_TEST(other_bus_errors_go_to_whoever_handled_them)
{
	struct sigaction action = { .sa_sigaction = count_bus_error, .sa_flags = SA_SIGINFO };
	struct fake *device;
	char *map;
	int fd;

	sigaction(SIGBUS, &action, NULL);
	device = fake_open("memory=1M");
	map = map_file("x", 1, &fd);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(*(volatile char *)map, 0);
	ck_assert_uint_eq(bus_errors, 1);
	munmap(map, 1);
	close(fd);
	fake_close(device);
}
END_TEST

#define REMOTE_BYTES (2048u * 4096)

/* A command that reads 8 MiB across the link. */
static uint64_t time_command(struct dmo_command command, struct dmo_completion *done)
{
	uint64_t start = fake_ms();

	*done = fake_run(f, command);
	return fake_ms() - start;
}

START_TEST(remote_reads_pay_for_the_link)
{
	struct dmo_command cksum = COMMAND(DMO_OP_CKSUM, VA(0), REMOTE_BYTES, 0, 0, 1);
	struct dmo_command gemv = COMMAND(DMO_OP_GEMV, VA(3000), VA(0), VA(2100), 0, 2048, 1023);
	unsigned char *host = aligned_alloc(4096, REMOTE_BYTES);
	struct dmo_completion done;
	uint64_t ms;

	fake_close(f);
	f = fake_open("memory=32M,threads=2,link=64M");
	fake_noise(host, REMOTE_BYTES, 8);
	ck_assert_int_eq(enter_remote(0, 2048, host), 0);
	ms = FAKE_LEAST(time_command(cksum, &done), 1000);
	ck_assert_uint_eq(done.result[0], ref_cksum(host, REMOTE_BYTES));
	ck_assert_uint_gt(done.waited_ns, 0);
	ck_assert_uint_ge(ms, 120);
	ck_assert_uint_lt(ms, 1000);
	ms = FAKE_LEAST(time_command(gemv, &done), 1000);
	ck_assert_uint_ge(ms, 120);
	ck_assert_uint_lt(ms, 1000);
	free(host);
}
END_TEST

/* Four commands at once, each for a quarter of the bytes. */
static uint64_t time_quarters(const unsigned char *host)
{
	static const uint64_t bytes = REMOTE_BYTES / 4;
	struct dmo_completion done[4];
	struct dmo_command commands[4];
	uint64_t start = fake_ms();

	for (uint64_t i = 0; i < 4; i++) {
		commands[i] = COMMAND(DMO_OP_CKSUM, VA(0) + i * bytes, bytes, 0, 0, 1);
		commands[i].cookie = i;
	}
	ck_assert_int_eq(f->ops->submit(f->as, commands, 4), 0);
	for (uint64_t i = 0; i < 4; i++)
		done[i] = fake_wait(f, i);
	start = fake_ms() - start;
	for (uint64_t i = 0; i < 4; i++)
		ck_assert_uint_eq(done[i].result[0], ref_cksum(host + i * bytes, bytes));
	return start;
}

START_TEST(commands_in_a_row_pay_for_each_byte_once)
{
	unsigned char *host = aligned_alloc(4096, REMOTE_BYTES);
	uint64_t ms;

	fake_close(f);
	f = fake_open("memory=32M,threads=2,link=64M");
	fake_noise(host, REMOTE_BYTES, 9);
	ck_assert_int_eq(enter_remote(0, 2048, host), 0);
	ms = FAKE_LEAST(time_quarters(host), 1000);
	ck_assert_uint_ge(ms, 124);
	ck_assert_uint_lt(ms, 1000);
	free(host);
}
END_TEST

START_TEST(a_chase_pays_the_latency_of_each_hop)
{
	uint64_t *host = aligned_alloc(4096, 4096), start;

	fake_close(f);
	f = fake_open("memory=32M,latency=1ms");
	memset(host, 0, 4096);
	for (int i = 0; i < 50; i++)
		host[i] = VA(0) + 8 * (uint64_t)((i + 7) % 50);
	ck_assert_int_eq(enter_remote(0, 1, host), 0);
	start = fake_ms();
	ck_assert_int_eq(fake_run(f, COMMAND(DMO_OP_CHASE, VA(0), 50)).status, 0);
	ck_assert_uint_ge(fake_ms() - start, 50);
	free(host);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("device mmu");
	TCase *t = tcase_create("mmu"), *alone = tcase_create("handlers");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_miss_faults_once_and_goes_on);
	tcase_add_test(t, a_fault_tells_how_far_the_command_goes_on);
	tcase_add_test(t, an_unmapped_page_ends_its_command_alone);
	tcase_add_test(t, writing_a_read_only_page_is_refused_reading_is_not);
	tcase_add_test(t, a_fault_that_the_host_fails_fails_the_command_with_its_error);
	tcase_add_test(t, without_faults_a_miss_is_an_error_at_once);
	tcase_add_test(t, a_late_answer_to_an_unknown_fault_is_ignored);
	tcase_add_test(t, dirty_tells_exactly_the_pages_written);
	tcase_add_test(t, dirty_of_a_part_starts_at_bit_zero);
	tcase_add_test(t, dirty_is_told_once);
	tcase_add_test(t, write_protection_makes_the_next_write_fault_and_reads_go_on);
	tcase_add_test(t, write_protection_keeps_dirty_bits_that_nobody_asked_for);
	tcase_add_test(t, a_new_page_in_the_place_of_another_is_clean);
	tcase_add_test(t, accessed_is_told_once);
	tcase_add_test(t, a_release_of_what_was_never_entered_says_clean);
	tcase_add_test(t, scattered_frames_are_found);
	tcase_add_test(t, random_runs_agree_with_a_plain_table);
	tcase_add_test(t, a_bad_run_is_refused);
	tcase_add_test(t, nothing_is_written_after_a_release_returns);
	tcase_add_test(t, nothing_is_written_after_write_protection_returns);
	tcase_add_test(t, another_frame_is_used_as_soon_as_it_is_entered);
	tcase_add_test(t, a_release_does_not_wait_for_a_fault);
	tcase_add_test(t, address_spaces_are_apart);
	tcase_add_test(t, a_new_address_space_sees_nothing_of_an_old_one);
	tcase_add_test(t, remote_pages_are_read_where_they_are);
	tcase_add_test(t, writing_a_remote_page_faults);
	tcase_add_test(t, a_remote_page_that_vanishes_is_an_io_error);
	tcase_add_test(t, remote_reads_pay_for_the_link);
	tcase_add_test(t, commands_in_a_row_pay_for_each_byte_once);
	tcase_add_test(t, a_chase_pays_the_latency_of_each_hop);
	suite_add_tcase(s, t);
	tcase_add_test(alone, other_bus_errors_go_to_whoever_handled_them);
	suite_add_tcase(s, alone);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
