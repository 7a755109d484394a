/* SPDX-License-Identifier: GPL-2.0-or-later */
/* data.h - READ and WRITE, from the wire */
#ifndef FS_DATA_H
#define FS_DATA_H

#include "worker.h"

void fs_data_read(struct fs_worker *w);
void fs_data_write(struct fs_worker *w);
/*
 * Clears the set-user-id and set-group-id bits, as a write by the request's caller, who lacks CAP_FSETID, does. For
 * requests whose kernel says so.
 */
void fs_data_kill_suid(struct fs_worker *w, int fd);

#endif
