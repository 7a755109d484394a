/* SPDX-License-Identifier: GPL-2.0-or-later */
/* statx.h - attributes with the time of birth */
#ifndef FS_STATX_H
#define FS_STATX_H

#include "worker.h"

/* Answers the worker's STATX, which libfuse 3.14 doesn't know. */
void fs_statx(struct fs_worker *w);

#endif
