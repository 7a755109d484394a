// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * optional.c - the operations that a driver may have: each is called where it belongs, and its failure
 * leaves everything as it was
 *
 * Each test loads dmo_sim.ko anew, with all of them (kmod/sim_optional.c). The device counts calls, and as
 * bad what must not be: it stays 0 throughout.
 */
#define _GNU_SOURCE
#include "kit.h"

#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RW	(DMO_PROT_READ | DMO_PROT_WRITE)
#define MEMORY	(8 * MIB)		/* of which the device keeps 2 MiB */
#define SIZE	(4 * MEMORY)

struct scene {
	uint32_t dev;
	int fd, ctx;
	uint64_t va;
	char *at;
};

static struct scene begin(void)
{
	struct scene s;
	int err = load_sim("memory=8M optional=yes inject=yes");

	if (err == -EOPNOTSUPP)
		skip("the device's addresses need a kernel of 6.6 or later");
	eq(err, 0);
	s.dev = named("sim0");
	s.fd = fresh(SIZE);
	s.ctx = context(s.dev);
	s.va = ctx_map(s.ctx, s.fd, SIZE, RW);
	s.at = map(s.fd, SIZE);
	pattern(s.at, 0, SIZE, 1);
	return s;
}

static int calls(const char *operation)
{
	FILE *f = fopen("/sys/module/dmo_sim/parameters/calls", "r");
	char device[32], name[32];
	int n, found = -1;

	yes(f);
	while (fscanf(f, "%31s %31s %d", device, name, &n) == 3)
		if (!strcmp(name, operation))
			found = n;
	fclose(f);
	yes(found >= 0);
	return found;
}

static void end(struct scene *s)
{
	close(s->ctx);
	eq(calls("bad"), 0);
}

static uint64_t used(uint32_t dev)
{
	struct dmo_device_info info;

	device_info(dev, &info);
	return info.used;
}

static int map_at(int ctx, int fd, uint64_t va, uint64_t length, uint32_t flags)
{
	struct { struct dmo_map head; struct dmo_map_op op; } m = {
		.head.count = 1, .op = { .va = va, .length = length, .key = key_of(fd), .prot = RW,
					 .flags = DMO_MAP_FIXED | flags },
	};

	return ioctl(ctx, DMO_IOC_MAP(1), &m) ? -errno : 0;
}

/* ---- round trips ---------------------------------------------------------- */

static void the_wrappers_take_the_place_of_what_they_wrap(void)
{
	struct scene s = begin();

	eq(fill(s.ctx, s.va, BLOCK, 9), 0);
	yes(calls("map") > 0);
	eq(migrate(s.fd, 0, BLOCK, DMO_DEVICE_HOST), 0);
	yes(calls("unmap") > 0);
	eq(calls("pt_enter"), 0);
	eq(calls("pt_release"), 0);
	eq(calls("tlb_invalidate"), 0);
	eq(s.at[BLOCK - 1], 9);
	end(&s);
}

/* Device bits that differ from page to page make a run of each. */
static void runs_are_entered_by_one_call(void)
{
	struct scene s = begin();
	int before;

	for (int i = 0; i < 16; i++)
		eq(advise(s.fd, i * PAGE, PAGE, DMO_ADV_DEVICE_BITS, 0, i + 1), 0);
	before = calls("map");
	eq(migrate(s.fd, 0, 16 * PAGE, s.dev), 0);
	eq(calls("map"), before + 1);
	eq(fill(s.ctx, s.va, 16 * PAGE, 4), 0);
	eq(s.at[16 * PAGE - 1], 4);
	for (int i = 16; i < 56; i++)
		eq(advise(s.fd, BLOCK + i * PAGE, PAGE, DMO_ADV_DEVICE_BITS, 0, i + 1), 0);
	before = calls("map");
	eq(migrate(s.fd, BLOCK, 56 * PAGE, s.dev), 0);
	eq(calls("map"), before + 3);		/* 1 + 40 runs */
	end(&s);
}

/* Every other page is mapped for writing: as many ranges, one round trip when they are protected. */
static void ranges_are_flushed_by_one_call(void)
{
	struct scene s = begin();
	int back = memfd(BLOCK), fd = object_over(back);
	uint64_t va = ctx_map(s.ctx, fd, BLOCK, RW);
	char got;

	eq(advise(fd, 0, 0, DMO_ADV_RANDOM, 0, 0), 0);
	for (int round = 1; round < 4; round++) {
		int ranges, one;

		for (int i = 0; i < 16; i += 2)
			eq(fill(s.ctx, va + i * PAGE, PAGE, round), 0);
		ranges = calls("tlb_invalidate_ranges");
		one = calls("tlb_invalidate");
		sys(fsync(fd));
		eq(calls("tlb_invalidate_ranges"), ranges + 1);
		eq(calls("tlb_invalidate"), one);
		eq(pread(back, &got, 1, 14 * PAGE), 1);
		eq(got, round);			/* a cached translation was not written through */
	}
	end(&s);
}

static void a_map_that_fails_fails_the_command_alone(void)
{
	struct scene s = begin();

	sys(inject("sim0 map-fail 1"));
	eq(fill(s.ctx, s.va, PAGE, 9), -ENOMEM);
	eq(differs(s.at, 0, SIZE, 1), SIZE);
	eq(fill(s.ctx, s.va, PAGE, 9), 0);
	eq(s.at[PAGE - 1], 9);
	eq(differs(s.at + PAGE, PAGE, SIZE - PAGE, 1), SIZE - PAGE);
	end(&s);
}

/* ---- frames --------------------------------------------------------------- */

static void frames_are_prepared_once_before_they_are_used(void)
{
	struct scene s = begin();
	int n;

	eq(migrate(s.fd, 0, BLOCK, s.dev), 0);
	n = calls("page_prepare");
	yes(n > 0);
	eq(fill(s.ctx, s.va, BLOCK, 1), 0);
	eq(migrate(s.fd, 0, BLOCK, s.dev), 0);
	eq(calls("page_prepare"), n);
	eq(migrate(s.fd, 0, BLOCK, DMO_DEVICE_HOST), 0);
	eq(migrate(s.fd, 0, BLOCK, s.dev), 0);
	yes(calls("page_prepare") > n);
	end(&s);
}

static void a_frame_that_can_not_be_prepared_is_free_again(void)
{
	struct scene s = begin();

	sys(inject("sim0 page_prepare-fail 1"));
	eq(migrate(s.fd, 0, BLOCK, s.dev), -EIO);
	eq(used(s.dev), 0);
	sys(inject("sim0 page_prepare-fail 1"));
	eq(fill(s.ctx, s.va, BLOCK, 9), -EIO);
	eq(used(s.dev), 0);
	eq(differs(s.at, 0, SIZE, 1), SIZE);
	eq(fill(s.ctx, s.va, BLOCK, 9), 0);
	end(&s);
}

/* The copy is pinned and stays; what was to be added to it does not. */
static void a_pinned_copy_keeps_what_it_has_when_more_can_not_be_prepared(void)
{
	struct scene s = begin();
	struct dmo_pin pin = { .length = 64 * PAGE, .device = s.dev };

	sys(ioctl(s.fd, DMO_IOC_PIN, &pin));
	eq(used(s.dev), 64 * PAGE);
	sys(inject("sim0 page_prepare-fail 1"));
	eq(migrate(s.fd, 0, BLOCK, s.dev), -EIO);
	eq(used(s.dev), 64 * PAGE);
	eq(migrate(s.fd, 0, BLOCK, s.dev), 0);
	eq(used(s.dev), BLOCK);
	eq(differs(s.at, 0, SIZE, 1), SIZE);
	end(&s);
}

static void the_device_gives_its_own_memory_and_gets_it_back(void)
{
	struct scene s = begin();
	int n;

	eq(migrate(s.fd, 0, 2 * BLOCK, s.dev), 0);
	n = calls("page_alloc");
	yes(n > 0);
	eq(used(s.dev), 2 * BLOCK);
	eq(migrate(s.fd, PAGE, BLOCK, DMO_DEVICE_HOST), 0);	/* all of the first but a page: halves go apart */
	eq(used(s.dev), BLOCK + PAGE);
	eq(migrate(s.fd, 0, 2 * BLOCK, DMO_DEVICE_HOST), 0);
	eq(used(s.dev), 0);
	yes(calls("page_free") > n);
	eq(differs(s.at, 0, SIZE, 1), SIZE);
	end(&s);
}

/* 8 MiB were registered; the device can give 6. */
static void memory_that_is_refused_is_made_free_by_eviction(void)
{
	struct scene s = begin();

	for (uint64_t at = 0; at < SIZE; at += MIB)
		eq(fill(s.ctx, s.va + at, MIB, at / MIB + 1), 0);
	yes(used(s.dev) <= MEMORY - BLOCK);
	for (uint64_t at = 0; at < SIZE; at += PAGE)
		eq(s.at[at], at / MIB + 1);
	end(&s);
}

static void a_chunk_that_is_refused_is_made_of_smaller_ones(void)
{
	struct scene s = begin();

	sys(inject("sim0 page_alloc-fail 1"));
	eq(migrate(s.fd, 0, BLOCK, s.dev), 0);
	yes(calls("page_alloc") > 2);
	eq(used(s.dev), BLOCK);
	eq(differs(s.at, 0, SIZE, 1), SIZE);
	end(&s);
}

static void more_than_the_device_can_give_is_not_pinned(void)
{
	struct scene s = begin();
	struct dmo_pin pin = { .length = MEMORY, .device = s.dev };

	fails(ioctl(s.fd, DMO_IOC_PIN, &pin), ENOSPC);
	eq(migrate(s.fd, 0, 0, DMO_DEVICE_HOST), 0);
	eq(used(s.dev), 0);
	pin.length = MEMORY - BLOCK;
	sys(ioctl(s.fd, DMO_IOC_PIN, &pin));
	end(&s);
}

/* ---- addresses ------------------------------------------------------------ */

static void the_device_says_where_a_mapping_comes(void)
{
	struct scene s = begin();
	uint64_t next = ctx_map(s.ctx, s.fd, PAGE, RW);

	yes(s.va >= 1ull << 40 && s.va % BLOCK == 0);
	yes(next >= s.va + SIZE || next + PAGE <= s.va);
	eq(calls("va_alloc"), 2);
	eq(ctx_unmap(s.ctx, s.va + PAGE, PAGE), 0);
	eq(calls("va_free"), 1);
	eq(map_at(s.ctx, s.fd, s.va + PAGE, PAGE, 0), 0);	/* a fixed address is asked for, too */
	eq(calls("va_alloc"), 3);
	eq(fill(s.ctx, s.va + PAGE, PAGE, 3), 0);
	eq(s.at[0], 3);						/* it maps the object's first page */
	end(&s);
}

static void a_fixed_mapping_over_another_asks_for_nothing(void)
{
	struct scene s = begin();
	int n = calls("va_alloc");

	eq(map_at(s.ctx, s.fd, s.va + PAGE, PAGE, 0), -EEXIST);
	eq(calls("va_alloc"), n);
	eq(map_at(s.ctx, s.fd, s.va + PAGE, PAGE, DMO_MAP_REPLACE), 0);
	eq(calls("va_alloc"), n);
	eq(calls("va_free"), 0);
	end(&s);
}

/* Gap, mapping, gap: both gaps are asked for. */
static void a_replacement_asks_for_the_gaps_between(void)
{
	struct scene s = begin();
	uint64_t base = 1ull << 42;
	int n;

	eq(map_at(s.ctx, s.fd, base + PAGE, PAGE, 0), 0);
	n = calls("va_alloc");
	eq(map_at(s.ctx, s.fd, base, 3 * PAGE, DMO_MAP_REPLACE), 0);
	eq(calls("va_alloc"), n + 2);
	eq(fill(s.ctx, base, 3 * PAGE, 5), 0);
	eq(s.at[3 * PAGE - 1], 5);
	eq(ctx_unmap(s.ctx, base, 3 * PAGE), 0);
	end(&s);
}

static void an_address_that_is_refused_leaves_mappings_as_they_were(void)
{
	struct scene s = begin();
	uint64_t base = 1ull << 42;
	struct { struct dmo_map head; struct dmo_map_op op; } m = {
		.head.count = 1, .op = { .length = PAGE, .key = key_of(s.fd), .prot = RW },
	};

	sys(inject("sim0 va_alloc-fail 1"));
	fails(ioctl(s.ctx, DMO_IOC_MAP(1), &m), ENOSPC);
	eq(m.head.done, 0);
	eq(map_at(s.ctx, s.fd, base + PAGE, PAGE, 0), 0);
	for (int nth = 1; nth <= 2; nth++) {
		sys(inject("sim0 va_alloc-fail %d", nth));
		eq(map_at(s.ctx, s.fd, base, 3 * PAGE, DMO_MAP_REPLACE), -ENOSPC);
		eq(fill(s.ctx, base, 1, 1), -EFAULT);
		eq(fill(s.ctx, base + 2 * PAGE, 1, 1), -EFAULT);
		eq(fill(s.ctx, base + PAGE, 1, nth), 0);
		eq(s.at[0], nth);
	}
	eq(map_at(s.ctx, s.fd, base, 3 * PAGE, DMO_MAP_REPLACE), 0);
	end(&s);
}

int main(void)
{
	static const struct test tests[] = {
		T(the_wrappers_take_the_place_of_what_they_wrap), T(runs_are_entered_by_one_call),
		T(ranges_are_flushed_by_one_call), T(a_map_that_fails_fails_the_command_alone),
		T(frames_are_prepared_once_before_they_are_used), T(a_frame_that_can_not_be_prepared_is_free_again),
		T(a_pinned_copy_keeps_what_it_has_when_more_can_not_be_prepared),
		T(the_device_gives_its_own_memory_and_gets_it_back),
		T(memory_that_is_refused_is_made_free_by_eviction),
		T(a_chunk_that_is_refused_is_made_of_smaller_ones),
		T(more_than_the_device_can_give_is_not_pinned), T(the_device_says_where_a_mapping_comes),
		T(a_fixed_mapping_over_another_asks_for_nothing), T(a_replacement_asks_for_the_gaps_between),
		T(an_address_that_is_refused_leaves_mappings_as_they_were),
	};
	int r = RUN(tests);

	eq(load_sim(SIM_AS_BEFORE), 0);
	return r;
}
