/* SPDX-License-Identifier: GPL-2.0-or-later */
/* account.h - test bodies write down what they see; same.c compares what was seen in two places */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include <sys/types.h>

#define ACCOUNT_SIZE (1u << 20)

/* What has been written since account_reset; shared with children. */
const char *account_text(void);
void account_reset(void);

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Writes down a call's result, or its errno's name; returns it. */
long did(const char *what, long rc);
#define DID(call) did(#call, call)
/* Writes down the attributes of a name. */
void look(const char *name);
/* Creates or opens a file for reading and writing. */
int make(const char *name, int flags, mode_t mode);
/* Writes text at the start of a file, made if need be. */
void put(const char *name, const char *text);
/* Writes down what a file holds. */
void get(const char *name);
/* Runs fn in a child as another user, without supplementary groups. */
void as(uid_t uid, gid_t gid, void (*fn)(void));

void body_attributes_of_all_namespaces(void);
void body_supplementary_groups(void);
void body_whiteout(void);
void body_odd_names(void);
void body_locks_of_open_files(void);
void body_large_files(void);
void body_create(void);
void body_umask_and_modes(void);
void body_directories(void);
void body_long_names(void);
void body_links(void);
void body_symlinks(void);
void body_rename(void);
void body_rename_over_an_open_file(void);
void body_unlinked_files_live_on(void);
void body_special_files(void);
void body_reading_directories(void);
void body_seeking_in_directories(void);
void body_owner_and_mode(void);
void body_writing_drops_set_user_id(void);
void body_new_files_belong_to_the_caller(void);
void body_permissions(void);
void body_times(void);
void body_birth(void);
void body_extended_attributes(void);
void body_default_acl(void);
void body_acl_lets_a_user_in(void);
void body_file_flags(void);
void body_offsets_and_append(void);
void body_holes(void);
void body_fallocate(void);
void body_truncate(void);
void body_copy_file_range(void);
void body_mappings(void);
void body_direct_io(void);
void body_locks(void);
void body_sync(void);
void body_many_open_files(void);

#endif
