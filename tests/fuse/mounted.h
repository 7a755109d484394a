/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mounted.h - a dmofs of its own for a test */
#ifndef MOUNTED_H
#define MOUNTED_H

#include <stdbool.h>
#include <sys/types.h>

/* Seconds that anything may take that has to come: no machine is so loaded, no sanitizer so slow. */
#define PATIENCE 60

struct mounted {
	char base[64];		/* a fresh directory; below it: */
	char store[80];
	char mount[80];
	pid_t pid;		/* the service, a child of ours; 0: none */
};

/* Ends the program with 77 and a line where no filesystem can be mounted. */
void mounted_need(bool root);
/* Makes the directories, starts dmofs -f with the extra arguments (NULL ends), waits until it is ready. Asserts. */
void mounted_start(struct mounted *m, ...);
/* Starts it again on the same directories. */
void mounted_restart(struct mounted *m, ...);
/* Unmounts, waits for the service: its exit status, 128 + signal where killed. */
int mounted_stop(struct mounted *m);
/* The same without unmounting: waits for the service to end by itself, PATIENCE at most (then -1). */
int mounted_wait(struct mounted *m);
/* umount2, again while somebody who looks at all mounts keeps this one busy for a moment. */
int mounted_umount(const char *mount);
/* Removes the directories. */
void mounted_clean(struct mounted *m);
/* The program under test. */
const char *mounted_program(void);

#endif
