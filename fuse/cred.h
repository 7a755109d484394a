/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cred.h - new files belong to the caller */
#ifndef FS_CRED_H
#define FS_CRED_H

#include "fs.h"

struct fs_worker;

/* Prepares a worker's thread. */
void fs_cred_start(struct fs_worker *w);
/* Makes the thread create files as req's caller would: owner, group, umask. For requests that create. */
void fs_cred_enter(fuse_req_t req);
/*
 * After a creation: true where the owner has yet to be set, because the thread could not take the caller's
 * identity; uid and gid are then what to set.
 */
bool fs_cred_owes(fuse_req_t req, uid_t *uid, gid_t *gid);
/* True where the request's caller has the group, first or supplementary. */
bool fs_cred_in_group(const struct fuse_in_header *in, gid_t group);
/* What the engine wants to know about a caller; owner: of the file at hand, or root. */
struct eng_cred fs_cred_of(fuse_req_t req, bool owner);

#endif
