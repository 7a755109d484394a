/* SPDX-License-Identifier: GPL-2.0-or-later */
/* devices.c - see devices.h */
#include <config.h>

#include "devices.h"
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CONTROL		"/dev/dmo/control"
#define INJECT		"/sys/module/dmo_sim/parameters/inject"

struct node {
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

static bool loaded, lost;
static unsigned count;

const char *devices_missing(void)
{
	const char *sim = getenv("DMO_SIM");
	static char why[300];

	if (access(CONTROL, R_OK | W_OK))
		return "no " CONTROL ": the module dmo is not loaded";
	if (!sim || access(sim, R_OK)) {
		snprintf(why, sizeof(why), "DMO_SIM does not say where dmo_sim.ko is: %s", sim ? sim : "not set");
		return why;
	}
	return getenv("DMO_COHERENT") ? NULL : "DMO_COHERENT does not say where memory of a coherent device is";
}

/* ---- specs --------------------------------------------------------------------------------------- */

static int set_node(struct node *node, const char *key, const char *value)
{
	if (!strcmp(key, "user"))
		node->uid = strtoul(value, NULL, 10);
	else if (!strcmp(key, "group"))
		node->gid = strtoul(value, NULL, 10);
	else if (!strcmp(key, "mode"))
		node->mode = strtoul(value, NULL, 8);
	else
		return -EINVAL;
	return 0;
}

/* One key=value: a word of the node's, or of the module's, which is added to params. */
static int take(char *word, char params[256], struct node *node)
{
	char *value = strchr(word, '=');
	size_t n = strlen(params);

	if (!value)
		return -EINVAL;
	*value++ = 0;
	if (!strcmp(word, "inject"))
		return 0;
	if (!set_node(node, word, value))
		return 0;
	if (!strcmp(word, "coherent"))
		value = strcmp(value, "yes") ? value : getenv("DMO_COHERENT");
	snprintf(params + n, 256 - n, " %s=%s", word, value);
	return 0;
}

/* sim:npuN,...: N must be number. */
static int read_spec(const char *spec, unsigned number, char params[256], struct node *node)
{
	char text[256], name[32], *word, *rest = text;
	int err = 0;

	snprintf(text, sizeof(text), "%s", spec);
	snprintf(name, sizeof(name), "sim:npu%u", number);
	params[0] = 0;
	word = strsep(&rest, ",");
	if (strcmp(word, name))
		return -EINVAL;
	while (!err && (word = strsep(&rest, ",")))
		err = take(word, params, node);
	return err;
}

/* How many devices there are, or -EINVAL. */
static int read_specs(const char *const specs[], char params[256], struct node nodes[])
{
	char more[256];
	int i, err;

	for (i = 0; specs[i]; i++) {
		nodes[i] = (struct node){ 0, 0, 0600 };
		err = read_spec(specs[i], i, i ? more : params, &nodes[i]);
		if (err || (i && strcmp(more, params)))
			return -EINVAL;
	}
	return i;
}

/* ---- loading ------------------------------------------------------------------------------------- */

static int set_owner(const char *path, const struct node *node, mode_t mode)
{
	return chown(path, node->uid, node->gid) || chmod(path, mode) ? -errno : 0;
}

static int set_owners(unsigned number, const struct node *node)
{
	static const char *const limits[] = { "memory.max", "memory.high", "memory.low" };
	char name[16];
	int err;

	snprintf(name, sizeof(name), "npu%u", number);
	err = set_owner(devices_node(name), node, node->mode);
	for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]) && !err; i++)
		err = set_owner(devices_file(name, limits[i]), node, 0444 | (node->mode & 0222));
	return err;
}

/* The devices of a test that failed may still be going. */
static int insert(const char *params)
{
	int fd = open(getenv("DMO_SIM"), O_RDONLY | O_CLOEXEC), err;
	uint64_t end = 0;

	if (fd < 0)
		return -errno;
	do
		err = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	while ((err == -EBUSY || err == -EEXIST) && world_patient(&end));
	close(fd);
	return err;
}

int devices_load(const char *const specs[])
{
	struct node nodes[8];
	char params[256], all[320];
	int n = read_specs(specs, params, nodes), err;

	if (n < 0)
		return n;
	count = n;
	snprintf(all, sizeof(all), "name=npu devices=%u inject=yes%s", count, params);
	err = insert(all);
	loaded = !err;
	lost = false;
	for (unsigned i = 0; i < count && !err; i++)
		err = set_owners(i, &nodes[i]);
	return err;
}

int devices_unload(void)
{
	uint64_t end = 0;

	while (loaded && syscall(SYS_delete_module, "dmo_sim", O_NONBLOCK)) {
		if (errno == ENOENT)
			break;
		if ((errno != EAGAIN && errno != EWOULDBLOCK && errno != EBUSY) || !world_patient(&end))
			return -errno;
	}
	loaded = false;
	return 0;
}

void devices_remove(void)
{
	loaded = true;
	devices_unload();
}

/* ---- names --------------------------------------------------------------------------------------- */

const char *devices_node(const char *device)
{
	static char path[128];

	snprintf(path, sizeof(path), "/dev/dmo/%s", device);
	return path;
}

const char *devices_file(const char *device, const char *file)
{
	static char path[128];

	if (strncmp(file, "memory.", 7))
		return NULL;
	snprintf(path, sizeof(path), "/sys/class/misc/dmo-%s/memory/%s", device, file + 7);
	return path;
}

int devices_inject(const char *device, const char *what)
{
	int fd = open(INJECT, O_WRONLY | O_CLOEXEC), err;
	char text[64];

	if (fd < 0)
		return -errno;
	snprintf(text, sizeof(text), "%s %s", device, what);
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	lost |= !err && !strcmp(what, "lost");
	return err;
}

bool devices_lost(void)
{
	return lost;
}

int devices_lose(void)
{
	char name[16];
	int err = 0;

	for (unsigned i = 0; i < count && !err; i++) {
		snprintf(name, sizeof(name), "npu%u", i);
		err = devices_inject(name, "lost");
	}
	return err;
}
