/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops.h - the table that libfuse dispatches by */
#ifndef FS_OPS_H
#define FS_OPS_H

#include "fs.h"

extern const struct fuse_lowlevel_ops fs_ops;

#endif
