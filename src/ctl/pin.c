/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pin.c - "dmoctl pin": keeps a file in a device's memory while a command runs
 *
 * The pin belongs to this process's open file, so it ends when the command does, however either of them ends.
 */
#include "ctl.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int pin(const char *file, int fd, const struct options *options)
{
	uint64_t offset, length, id;
	uint32_t device;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return fail(file, -errno);
	r = target_device(file, fd, options->device, &device);
	if (r == CTL_OK)
		r = target_pages(file, (uint64_t)st.st_size, options, &offset, &length);
	if (r != CTL_OK)
		return r;
	if (length == 0)
		return complain("%s: it is empty, so there is nothing to pin", file);
	r = dmo_pin(fd, offset, length, device, &id);
	return r < 0 ? fail(file, r) : CTL_OK;
}

/* Does not return. 126 and 127 as a shell has them. */
static void become(char **command)
{
	int error;

	execvp(command[0], command);
	error = errno;
	complain("%s: %s", command[0], strerror(error));
	_exit(error == ENOENT ? 127 : 126);
}

/* Runs the command; its exit status, or 128 and the number of the signal that ended it. */
static int run_command(char **command)
{
	int status;
	pid_t child = fork();

	if (child < 0)
		return fail(command[0], -errno);
	if (child == 0)
		become(command);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return fail(command[0], -errno);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(int argc, char **argv)
{
	struct options options;
	int fd, r = options_parse(argc, argv, &cmd_pin, "device range", &options);

	if (r != CTL_OK)
		return r < 0 ? CTL_OK : r;
	if (argc - optind < 2)
		return usage(&cmd_pin);
	fd = target_open(argv[optind], O_RDONLY);
	if (fd < 0)
		return CTL_FAILED;
	r = pin(argv[optind], fd, &options);
	if (r == CTL_OK)
		r = run_command(argv + optind + 1);
	close(fd);
	return r;
}

const struct command cmd_pin = {
	.name = "pin",
	.args = "FILE [--device NAME] [--range OFF:LEN] -- COMMAND [ARGUMENT]...",
	.summary = "keep a file in a device's memory while a command runs",
	.options = "  -d, --device NAME     which device's; else the mount's first\n"
		   "  -R, --range OFF:LEN   only these bytes, grown to whole pages\n"
		   "\n"
		   "The exit status is the command's.\n\n",
	.examples = "  dmoctl pin weights.bin --device npu0 -- ./serve --port 8080\n",
	.run = run,
};
