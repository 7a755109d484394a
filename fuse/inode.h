/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inode.h - the store's files that the kernel knows */
#ifndef FS_INODE_H
#define FS_INODE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct fs;
struct fs_file;
struct eng_object;

struct fs_node {
	int kind;			/* enum fs_node_kind */
};

enum fs_hint { FS_HINT_UNKNOWN, FS_HINT_NONE, FS_HINT_NO, FS_HINT_YES };

struct fs_inode {
	struct fs_node node;
	mode_t type;			/* S_IFMT bits */
	int fd;				/* names the file: O_PATH, or the one it was created with */
	atomic_int data_fd;		/* for I/O, shared by opens; -1: none yet. Set under lock, closed with the inode */
	bool data_writable;
	struct fs *fs;
	dev_t dev;
	ino_t ino;
	uint64_t lookups;		/* the kernel's references; under the table's lock */
	unsigned holds;			/* the engine's; under the table's lock */
	struct fs_inode *hash_next;	/* under the table's lock */
	struct eng_object *obj;		/* regular files: set under lock when first opened */
	pthread_mutex_t lock;		/* protects all below, obj and data_fd's opening; taken after no other */
	struct fs_file *files;		/* opens */
	unsigned bypassing;		/* opens in passthrough mode */
	int32_t backing_id;		/* while bypassing */
	bool object;			/* its opens are the module's objects; decided by the first of them */
	int object_fd;			/* keeps the object, and so what devices hold of it, between opens; -1: none */
	bool drop_cache;		/* the kernel's pages may be older than the store: next open drops them */
	_Atomic uint8_t hint;		/* enum fs_hint: what the passthrough attribute on it says */
	_Atomic uint8_t parent_hint;	/* ... and on the directory it was found in */
	_Atomic uintptr_t parent;	/* that directory, to compare with only */
};

#define FS_HASH_LOCKS 64

struct fs_inodes {
	pthread_mutex_t locks[FS_HASH_LOCKS];	/* lock i protects buckets b with b % FS_HASH_LOCKS == i */
	struct fs_inode **buckets;
	size_t mask;
	struct fs_inode root;
	atomic_size_t count;
	atomic_size_t data_fds;		/* descriptors kept for I/O */
	size_t data_fds_max;
};

/* Opens the store. 0 or -errno. */
int fs_inodes_start(struct fs *fs, const char *store);
/* The connection is over, all opens are released: drops all of the kernel's references. */
void fs_inodes_forget_all(struct fs *fs);
/* Frees what is left, after the engine has ended. */
void fs_inodes_stop(struct fs *fs);

/* The inode behind a node id; only for nodes of kind FS_NODE_STORE. */
struct fs_inode *fs_inode(struct fs *fs, uint64_t node);
/* True for the control directory's nodes. */
bool fs_is_control(uint64_t node);
uint64_t fs_node_id(struct fs *fs, const struct fs_inode *inode);

/*
 * The inode of an open descriptor (fd becomes its, or is closed where the inode was known) with st from fstat on it,
 * one kernel reference more. data: fd can be used for I/O (writable says which). NULL: no memory, fd closed.
 */
struct fs_inode *fs_inode_adopt(struct fs *fs, int fd, const struct stat *st, bool data, bool writable);
/* Drops count of the kernel's references. */
void fs_inode_forget(struct fs *fs, struct fs_inode *inode, uint64_t count);

/* The engine's references (struct eng_fs_ops): arg is the inode. The last put may free it. */
void fs_inode_get(void *arg);
void fs_inode_put(void *arg);

/* The object of the inode with that number as the mount shows it, held as by fs_inode_get; NULL: none known. */
struct eng_object *fs_inode_find_object(struct fs *fs, ino_t number);

/* Opens the file anew; a new descriptor or -errno. */
int fs_inode_reopen(struct fs_inode *inode, int flags);
/* The shared descriptor for I/O, opened if need be; -errno where writing is wanted and can't be had. Lock held. */
int fs_inode_data_fd_locked(struct fs_inode *inode, bool writable);
/* The object of a regular file, made if need be. Lock held. 0 or -errno. */
int fs_inode_object(struct fs_inode *inode);
/* The inode number that is shown: the store's own, mixed with the device below a mount point in it. */
ino_t fs_inode_number(struct fs *fs, dev_t dev, ino_t ino);
/* A path through /proc that stands for the file, in text (32 bytes at least). */
const char *fs_inode_path(const struct fs_inode *inode, char *text);
/* Calls fn for each inode but the root, held as by fs_inode_get; no lock is. One that comes meanwhile may be missed. */
void fs_inodes_each(struct fs *fs, void (*fn)(struct fs_inode *inode, void *arg), void *arg);

#endif
