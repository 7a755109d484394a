/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dmo_env.h, kernel home - all that the core asks of the place where it runs
 *
 * The user-space home has a file of the same name; the core finds one or the other by include path.
 */
#ifndef DMO_ENV_H
#define DMO_ENV_H

#include <linux/bug.h>
#include <linux/errno.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/types.h>

/* A broken invariant: ends the task that met it. */
#define DMO_BUG_ON(x) BUG_ON(x)

#endif
