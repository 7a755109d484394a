/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ticket.h - descriptors that wait to be fetched
 *
 * An ioctl through FUSE can't give a descriptor. It gives a ticket, a random number, for which the socket hands the
 * descriptor over (socket.c): once, to the user who got the ticket, within FS_TICKET_SECONDS, while the file that it
 * was got with is open.
 */
#ifndef FS_TICKET_H
#define FS_TICKET_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#define FS_TICKET_SECONDS	10
#define FS_TICKETS_OF_USER	64

struct fs_ticket;

struct fs_tickets {
	pthread_mutex_t lock;		/* protects what follows; taken after no other */
	struct fs_ticket *first;	/* the youngest */
	int timer;			/* a timerfd: readable when the oldest has had its time */
};

/* 0 or -errno. */
int fs_tickets_start(struct fs_tickets *t);
/* fd is the table's from now on. -EMFILE: the user has too many already, and -errno: fd stays the caller's. */
int fs_ticket_make(struct fs_tickets *t, const void *file, uid_t uid, int fd, uint64_t *number);
/* The descriptor, which is the caller's; -ENOENT: there is no such ticket (any more) of that user. */
int fs_ticket_take(struct fs_tickets *t, uint64_t number, uid_t uid);
/* The file goes, and its tickets with it. */
void fs_tickets_drop(struct fs_tickets *t, const void *file);
/* Ends those that have had their time. */
void fs_tickets_expire(struct fs_tickets *t);

#endif
