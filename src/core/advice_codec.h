/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * advice_codec.h - the stored form of an object's advice: the value of one extended attribute
 *
 * Versioned, little endian, at most DMO_ADVICE_BYTES_MAX bytes, with a checksum. Device numbers differ from
 * mount to mount, so devices are stored by name. What is decoded counts as hostile: nothing in it is believed
 * unchecked.
 *
 * Locks: the caller's lock of the object covers attrs in both calls.
 */
#ifndef DMO_CORE_ADVICE_CODEC_H
#define DMO_CORE_ADVICE_CODEC_H

#include "core/attr.h"

#define DMO_ADVICE_XATTR	"user.dmo.advice"
#define DMO_ADVICE_BYTES_MAX	4000u	/* what an inode and a block of ext4 take beside other attributes */

/* The names of devices. */
struct dmo_device_names {
	/*
	 * The name of device number, NUL-terminated and shorter than DMO_NAME_MAX; NULL where there is none.
	 */
	const char *(*name)(void *ctx, u32 device);
	/*
	 * The number (below 64) of the device with that name, which is NUL-terminated; negative where there
	 * is none.
	 */
	int (*number)(void *ctx, const char *name);
	void *ctx;
};

/*
 * Writes the stored form of a into buf and returns its length; 0 for no advice at all (remove the attribute
 * then). Devices without a name are left out. -E2BIG where the form is larger than size or
 * DMO_ADVICE_BYTES_MAX.
 */
s64 dmo_advice_encode(const struct dmo_attrs *a, const struct dmo_device_names *names, void *buf, size_t size);

/*
 * Replaces what a holds by the stored form in buf. Advice about devices that are not there is left out. All
 * or nothing: 0; -EINVAL for anything that is not a whole stored form, its ranges in order and every field in
 * bounds; -EPROTONOSUPPORT for a later version; -ENOMEM; -ENOSPC past DMO_ATTR_RANGES_MAX.
 */
int dmo_advice_decode(struct dmo_attrs *a, const struct dmo_mem *mem, const struct dmo_device_names *names,
		      const void *buf, size_t size);

/*
 * Gives a back what it held when dmo_advice_encode wrote length bytes to buf, 0 for none. Devices are named as
 * then. 0 or -ENOMEM.
 */
int dmo_advice_restore(struct dmo_attrs *a, const struct dmo_mem *mem, const struct dmo_device_names *names,
		       const void *buf, size_t length);

#endif
