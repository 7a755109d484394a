/* SPDX-License-Identifier: GPL-2.0-or-later */
/* home.c - which home CONF_HOME names */
#include "kit.h"

const struct conf_home *conf_home;

void conf_choose_home(void)
{
	static const struct conf_home *const homes[] = { &conf_home_fuse, &conf_home_fuse_module, &conf_home_module };
	const char *name = getenv("CONF_HOME");

	for (unsigned i = 0; i < ARRAY_SIZE(homes); i++)
		if (!strcmp(homes[i]->name, name ? name : "fuse"))
			conf_home = homes[i];
	if (conf_home)
		return;
	fprintf(stderr, "CONF_HOME=%s: no such home\n", name);
	exit(99);
}
