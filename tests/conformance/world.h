/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * world.h - what the homes of the conformance suite have in common: a directory for one test, and its end
 *
 * A test's world is one temporary directory: root/store, root/mnt, root/log. What a test that ends early leaves behind
 * (mounts, files, modules) is removed by a guard, a process that waits for the end of a pipe whose other end only the
 * test and its children hold; it prints the log too.
 */
#ifndef CONF_WORLD_H
#define CONF_WORLD_H

#include <stdbool.h>
#include <stdint.h>

/* A fresh one, with a store of store_bytes (0: as large as there is room). remove_more: what the guard removes besides. */
int world_make(uint64_t store_bytes, void (*remove_more)(void));
/* Removes it: mounts, files. */
void world_remove(void);
/* A name in it, written into buf. */
const char *world_path(char buf[512], const char *name);
/* Of a backing file; valid until the next call. */
const char *world_store_path(const char *name);
/* The log's lines, to stderr. */
void world_print_log(void);
/* Unmaps what this process maps of its files, and closes what the test opened. */
void world_let_go(void);
/* For loops that wait: sleeps a little, and is false when a minute has passed since *end was 0. */
bool world_patient(uint64_t *end);

#endif
