/* SPDX-License-Identifier: GPL-2.0-or-later */
/* list.h - an intrusive circular list; its head is a link too. Locks: the owner's of the head. */
#ifndef DMO_CORE_LIST_H
#define DMO_CORE_LIST_H

#include "dmo_env.h"

struct dmo_link {
	struct dmo_link *prev, *next;
};

static inline void dmo_list_init(struct dmo_link *l)
{
	l->prev = l->next = l;
}

static inline bool dmo_list_empty(const struct dmo_link *l)
{
	return l->next == l;
}

/* Puts l, which is in no list, before head: at the end of head's list. */
static inline void dmo_list_append(struct dmo_link *head, struct dmo_link *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

/* Takes l out and leaves it a list of its own; harmless when it is one already. */
static inline void dmo_list_remove(struct dmo_link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	dmo_list_init(l);
}

#endif
