/* SPDX-License-Identifier: GPL-2.0-or-later */
/* loose.c - opens that no inode keeps in a list; see loose.h */
#include "config.h"

#include "loose.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fs_loose *all;

void fs_loose_begin(struct fs_loose *loose, enum fs_open_kind kind, void (*free)(struct fs_loose *loose))
{
	loose->open.kind = kind;
	loose->free = free;
	pthread_mutex_lock(&lock);
	loose->next = all;
	loose->link = &all;
	if (all)
		all->link = &loose->next;
	all = loose;
	pthread_mutex_unlock(&lock);
}

void fs_loose_end(struct fs_loose *loose)
{
	pthread_mutex_lock(&lock);
	*loose->link = loose->next;
	if (loose->next)
		loose->next->link = loose->link;
	pthread_mutex_unlock(&lock);
	loose->free(loose);
}

void fs_loose_end_all(void)
{
	while (all)
		fs_loose_end(all);
}
