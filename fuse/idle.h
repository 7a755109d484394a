/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * idle.h - which worker threads wait for the next request
 *
 * A thread goes round between three places:
 *
 *	enter --> reading --> taken: busy --> enter again
 *	     `--> parked (another one reads alone)
 *
 * Locks: one, inside struct fs_idle; none of the functions is called with another lock held.
 */
#ifndef FS_IDLE_H
#define FS_IDLE_H

#include <pthread.h>
#include <stdbool.h>

struct fs_idle;

/* A thread's place, owned by the thread; all but alone is under the lock of fs_idle. */
struct fs_idler {
	pthread_t thread;
	bool reading;
	bool alone;			/* it was let in as the only reader; only its own thread looks */
	struct fs_idler *next;		/* all threads, in no order */
};

struct fs_idle_ops {
	/* Starts a thread, which will enter. May fail: then those that are there must do. No lock held. */
	void (*start)(void *arg);
	/* Makes a reading thread look at fs_idle_changed again; lock held. */
	void (*wake)(struct fs_idler *idler);
	void *arg;
};

/* NULL: no memory, or no thread for the watch. */
struct fs_idle *fs_idle_create(const struct fs_idle_ops *ops);
/* Nobody reads or parks from now on; may be called again and again until all threads have quit. */
void fs_idle_stop(struct fs_idle *idle);
/* Ends the watch and frees; every thread has quit. */
void fs_idle_destroy(struct fs_idle *idle);

/* The calling thread is a worker from now on; and is one no more. */
void fs_idle_join(struct fs_idle *idle, struct fs_idler *idler);
void fs_idle_quit(struct fs_idle *idle, struct fs_idler *idler);

/*
 * Before reading: waits while another one reads alone. False: enough others wait already, or all is stopped, and the
 * thread should quit. True: idler->alone tells whether it is the only reader; it reads, then calls taken or left.
 */
bool fs_idle_enter(struct fs_idle *idle, struct fs_idler *idler);
/* It has a request, which came at once or was waited for. Others are let in or started where nobody reads now. */
void fs_idle_taken(struct fs_idle *idle, struct fs_idler *idler, bool at_once);
/* The request has been carried out. */
void fs_idle_done(struct fs_idle *idle);
/* It has none, and reads no more. */
void fs_idle_left(struct fs_idle *idle, struct fs_idler *idler);
/* True when the reading thread should leave and enter again: there are to be fewer readers, or it is to read otherwise. */
bool fs_idle_changed(struct fs_idle *idle, const struct fs_idler *idler);

#endif
