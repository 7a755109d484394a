/* SPDX-License-Identifier: GPL-2.0-or-later */
/* guard.h - keeps memory pressure from stopping the service that memory is written back through */
#ifndef FS_GUARD_H
#define FS_GUARD_H

/* Raises the limit of descriptors: one is held for each file that the kernel knows. */
void fs_guard_files(void);
/* Marks the process as one that others' write-back depends on. Before threads. */
void fs_guard_process(void);
/* Locks the service's memory; what is mapped between pause and resume (devices' memory) stays out. */
void fs_guard_lock(void);
void fs_guard_lock_pause(void);
void fs_guard_lock_resume(void);

#endif
