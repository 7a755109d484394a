/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_guard.c - the process's SIGBUS handler and each thread's guard
 *
 * The handler stays installed for good: another library may have chained to it. It reads one thread-local pointer
 * and jumps, or passes the signal on. It unblocks the signal before it jumps, since the jump restores no mask.
 */
#include "sim_guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction previous;
static int install_error;
static __thread struct sim_guard *current __attribute__((tls_model("initial-exec")));

static void pass_on(int sig, siginfo_t *info, void *ucontext)
{
	if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(sig, info, ucontext);
		return;
	}
	if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
		previous.sa_handler(sig);
		return;
	}
	/* Returning runs the access again, now with the default action. */
	sigaction(sig, &previous, NULL);
}

static void on_sigbus(int sig, siginfo_t *info, void *ucontext)
{
	struct sim_guard *guard = current;
	uintptr_t address = (uintptr_t)info->si_addr;
	sigset_t mask;

	if (!guard || address < guard->start || address >= guard->end) {
		pass_on(sig, info, ucontext);
		return;
	}
	guard->fault = address;
	sigemptyset(&mask);
	sigaddset(&mask, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
	siglongjmp(guard->env, 1);
}

static void install(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &previous))
		install_error = -errno;
}

int sim_guard_install(void)
{
	pthread_once(&once, install);
	return install_error;
}

void sim_guard_enter(struct sim_guard *guard)
{
	sim_guard_disarm(guard);
	current = guard;
}

void sim_guard_leave(struct sim_guard *guard)
{
	sim_guard_disarm(guard);
	current = NULL;
}

void sim_thread_start(const char *name)
{
	sigset_t mask;

	sigfillset(&mask);
	sigdelset(&mask, SIGBUS);
	sigdelset(&mask, SIGSEGV);
	sigdelset(&mask, SIGFPE);
	sigdelset(&mask, SIGILL);
	sigdelset(&mask, SIGABRT);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	prctl(PR_SET_NAME, name);
	prctl(PR_SET_TIMERSLACK, 1ul);
}
