/* SPDX-License-Identifier: GPL-2.0-or-later */
/* account.c - what test bodies have seen */
#include "config.h"

#include "account.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *account;

void account_reset(void)
{
	if (!account)
		account = mmap(NULL, ACCOUNT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*account = 0;
}

const char *account_text(void)
{
	return account;
}

void say(const char *format, ...)
{
	size_t n = strlen(account);
	va_list args;

	va_start(args, format);
	vsnprintf(account + n, ACCOUNT_SIZE - n, format, args);
	va_end(args);
}

long did(const char *what, long rc)
{
	int error = errno;

	if (rc < 0)
		say("%s: %s\n", what, strerrorname_np(error));
	else
		say("%s: %ld\n", what, rc);
	return rc;
}

void look(const char *name)
{
	struct stat st;

	if (did(name, lstat(name, &st)) < 0)
		return;
	say("  mode %o links %lu owner %u:%u size %ld rdev %lx\n", st.st_mode, (unsigned long)st.st_nlink, st.st_uid,
	    st.st_gid, S_ISDIR(st.st_mode) ? 0 : (long)st.st_size, (unsigned long)st.st_rdev);
}

int make(const char *name, int flags, mode_t mode)
{
	return open(name, O_CREAT | O_RDWR | flags, mode);
}

void put(const char *name, const char *text)
{
	int fd = make(name, 0, 0644);

	DID(pwrite(fd, text, strlen(text), 0));
	close(fd);
}

void get(const char *name)
{
	char text[256] = "";
	int fd = open(name, O_RDONLY);

	if (did(name, fd < 0 ? -1 : 0) < 0)
		return;
	say("  reads %zd '%s'\n", read(fd, text, sizeof(text) - 1), text);
	close(fd);
}

void as(uid_t uid, gid_t gid, void (*fn)(void))
{
	pid_t pid = fork();

	if (!pid) {
		if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
			_exit(1);
		fn();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}
