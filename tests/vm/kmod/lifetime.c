// SPDX-License-Identifier: GPL-2.0-or-later
/* lifetime.c - devices and modules that go while they are in use */
#define _GNU_SOURCE
#include "kit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

static void a_context_keeps_the_driver(void)
{
	int ctx = context(sim());

	eq(unload("dmo_sim"), -EAGAIN);
	eq(command(ctx, DMO_OP_NOP, 0, 0, 0).status, 0);
}

static void a_lease_keeps_the_driver(void)
{
	int fd = fresh(BLOCK);
	struct dmo_pin pin = { .length = BLOCK, .device = sim() };

	sys(ioctl(fd, DMO_IOC_PIN, &pin));
	eq(unload("dmo_sim"), -EAGAIN);
	sys(ioctl(fd, DMO_IOC_UNPIN, &pin));
}

static void an_object_keeps_the_module(void)
{
	int fd = fresh(BLOCK);

	eq(unload("dmo"), -EWOULDBLOCK);	/* its drivers are there besides */
	yes(fd >= 0);
}

/* ---- the PCI device ------------------------------------------------------- */

static void unbinding_brings_every_page_home(void)
{
	char address[256] = "";
	uint32_t before = coherent();
	int fd = fresh(4 * BLOCK);
	char *at = map(fd, 4 * BLOCK);

	coherent_address(address, sizeof(address));
	eq(migrate(fd, 0, 4 * BLOCK, before), 0);
	pattern(at, 0, 4 * BLOCK, 3);
	eq(pci_driver("unbind", address), 0);
	eq(differs(at, 0, 4 * BLOCK, 3), 4 * BLOCK);
	eq(resident(fd, NONE), 0);
	eq(pci_driver("bind", address), 0);
	eq(migrate(fd, 0, 4 * BLOCK, coherent()), 0);
	eq(differs(at, 0, 4 * BLOCK, 3), 4 * BLOCK);
}

static void unbinding_races_with_use(void)
{
	char address[256] = "";
	uint32_t dev = coherent();
	int fd = fresh(4 * BLOCK);
	char *at = map(fd, 4 * BLOCK);
	pid_t pid;

	coherent_address(address, sizeof(address));
	pattern(at, 0, 4 * BLOCK, 3);
	pid = fork();
	if (!pid)
		for (;;) {
			migrate(fd, 0, 4 * BLOCK, dev);
			for (uint64_t i = 0; i < 4 * BLOCK; i += PAGE)
				*(volatile char *)(at + i) = *(volatile char *)(at + i);
		}
	for (int i = 0; i < 5; i++) {
		usleep(50000);
		eq(pci_driver("unbind", address), 0);
		eq(differs(at, 0, 4 * BLOCK, 3), 4 * BLOCK);
		eq(pci_driver("bind", address), 0);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	eq(differs(at, 0, 4 * BLOCK, 3), 4 * BLOCK);
}

static void unbinding_ends_leases_and_keeps_their_bytes(void)
{
	char address[256] = "";
	int fd = fresh(BLOCK);
	char *at = map(fd, BLOCK);
	struct dmo_pin pin = { .length = BLOCK, .device = coherent() };

	coherent_address(address, sizeof(address));
	pattern(at, 0, BLOCK, 1);
	sys(ioctl(fd, DMO_IOC_PIN, &pin));
	eq(pci_driver("unbind", address), 0);
	eq(differs(at, 0, BLOCK, 1), BLOCK);
	eq(resident(fd, NONE), 0);
	sys(ioctl(fd, DMO_IOC_UNPIN, &pin));
	eq(pci_driver("bind", address), 0);
}

int main(void)
{
	static const struct test tests[] = {
		T(a_context_keeps_the_driver), T(a_lease_keeps_the_driver), T(an_object_keeps_the_module),
		T(unbinding_brings_every_page_home), T(unbinding_races_with_use),
		T(unbinding_ends_leases_and_keeps_their_bytes),
	};

	return RUN(tests);
}
