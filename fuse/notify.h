/* SPDX-License-Identifier: GPL-2.0-or-later */
/* notify.h - what the engine asks of the filesystem */
#ifndef FS_NOTIFY_H
#define FS_NOTIFY_H

#include "fs.h"

extern const struct eng_fs_ops fs_notify_ops;
/* Names the service's one mount to the ops, which get no pointer to it. */
void fs_notify_start(struct fs *fs);

/* Takes back all that the kernel holds of every file, dirty pages written; on a thread that is no worker. */
void fs_notify_revoke_all(struct fs *fs);

#endif
