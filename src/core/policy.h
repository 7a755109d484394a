/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * policy.h - what to move along with a fault, whom to evict, when to stop moving
 *
 * Everything here is a guess that may be wrong without harm: a plan made from it is checked like any other.
 *
 * Locks: the object's where a block or object comes in, the device's where a device does.
 */
#ifndef DMO_CORE_POLICY_H
#define DMO_CORE_POLICY_H

#include "core/object.h"

struct dmo_window {
	unsigned first, count;	/* pages of the block */
};

/*
 * The pages to bring for a fault on page, where the command goes on for bytes (0: not known) and attr is in force.
 * RANDOM: the page (or the granularity asked for). SEQUENTIAL, or a run under way: the block. Else 64 KiB, grown to the
 * next power of two while half of that is here already, and to what the command will need. Never more than an
 * eighth of the device, so that small memories are not turned over by one fault.
 *
 * The fault is noted: an object that lacks room on the device (it is larger, or was evicted from one) has less
 * brought along, down to the page alone, the more its faults are scattered, and 64 KiB again when they are not.
 */
struct dmo_window dmo_policy_window(struct dmo_block *b, const struct dmo_device *d, unsigned page, u64 bytes,
				    const struct dmo_attr *attr);

/*
 * Notes a fault and tells how many pages past it a sequential reader deserves to have prefetched, 0 mostly. The run
 * doubles what is read ahead, up to 4 MiB.
 */
unsigned dmo_policy_readahead(struct dmo_object *o, u64 first_page, unsigned count, const struct dmo_attr *attr);

/*
 * Memory is full, and block b is wanted for reading: is victim, the coldest copy, hotter than b? Then evicting it
 * would only turn the memory over (a cyclic scan larger than the device: every block is used once a round, so the
 * resident ones were used after b last was): b is better mapped remotely. A block that was never here always
 * moves.
 */
bool dmo_policy_stay(const struct dmo_block *b, const struct dmo_copy *victim);

/*
 * Does advice say that d reads the page where it lies in the backing file, and doesn't move it? NO_MIGRATE says it to
 * every device, ACCESSED_BY to those named. Writes move the page all the same.
 */
bool dmo_policy_in_place(const struct dmo_attr *attr, const struct dmo_device *d);

/*
 * Is there something to be gained by bringing block index to d before it is asked for? Not where it is there or under
 * way, has been evicted (it would push out what is hotter), or is to be read in place.
 */
bool dmo_policy_ahead(const struct dmo_object *o, const struct dmo_device *d, u64 index);

/* Default watermarks for a limit of frames: eviction in the background runs from above high down to low. */
void dmo_policy_watermarks(struct dmo_device *d);
/* New limits, in frames: max brings default watermarks; high is cut to max, low to high. */
void dmo_policy_set_max(struct dmo_device *d, u64 frames);
void dmo_policy_set_high(struct dmo_device *d, u64 frames);
void dmo_policy_set_low(struct dmo_device *d, u64 frames);
/* True when the background should evict; and when it may stop. */
bool dmo_policy_above_high(const struct dmo_device *d);
bool dmo_policy_above_low(const struct dmo_device *d);

#endif
