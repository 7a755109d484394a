/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sum_list.c - the files that "dmoctl sum" was asked for, in the order in which they are printed
 *
 * A tree is walked without following symbolic links, and a directory is closed before the next is opened. The
 * names are sorted when the tree is complete.
 */
#include "sum.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int grow(struct sum_list *list)
{
	size_t room = list->room ? list->room * 2 : 64;
	struct sum_file *files = realloc(list->files, room * sizeof(*files));

	if (!files)
		return -ENOMEM;
	list->files = files;
	list->room = room;
	return 0;
}

/* The list owns path from here on, also on failure. */
static int add_owned(struct sum_list *list, char *path)
{
	int r = path ? 0 : -ENOMEM;

	if (r == 0 && list->count == list->room)
		r = grow(list);
	if (r < 0) {
		free(path);
		return fail("list of files", r);
	}
	list->files[list->count++] = (struct sum_file){ .path = path };
	return CTL_OK;
}

int sum_list_add(struct sum_list *list, const char *path)
{
	return add_owned(list, strdup(path));
}

static char *join(const char *directory, const char *name)
{
	size_t n = strlen(directory);
	char *path = malloc(n + strlen(name) + 2);

	if (!path)
		return NULL;
	memcpy(path, directory, n);
	if (n && path[n - 1] != '/')
		path[n++] = '/';
	strcpy(path + n, name);
	return path;
}

static unsigned char kind(const char *path, unsigned char type)
{
	struct stat st;

	if (type != DT_UNKNOWN || lstat(path, &st) < 0)
		return type;
	return S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : DT_LNK;
}

/* Adds an entry of a directory to the files or to the directories still to be read; others are passed over. */
static int sort_in(const char *directory, const struct dirent *entry, struct sum_list *files, struct sum_list *todo)
{
	unsigned char type;
	char *path;

	if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
		return CTL_OK;
	path = join(directory, entry->d_name);
	if (!path)
		return fail(directory, -ENOMEM);
	type = kind(path, entry->d_type);
	if (type == DT_DIR)
		return add_owned(todo, path);
	if (type == DT_REG)
		return add_owned(files, path);
	free(path);
	return CTL_OK;
}

static int read_directory(const char *directory, struct sum_list *files, struct sum_list *todo)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	int r = CTL_OK;

	if (!dir)
		return fail(directory, -errno);
	while (r == CTL_OK && (entry = readdir(dir)))
		r = sort_in(directory, entry, files, todo);
	closedir(dir);
	return r;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(((const struct sum_file *)a)->path, ((const struct sum_file *)b)->path);
}

int sum_list_add_tree(struct sum_list *list, const char *directory)
{
	struct sum_list todo = { 0 };
	size_t before = list->count;
	int r = sum_list_add(&todo, directory);

	while (todo.count) {
		char *next = todo.files[--todo.count].path;

		if (read_directory(next, list, &todo) != CTL_OK)
			r = CTL_FAILED;
		free(next);
	}
	sum_list_free(&todo);
	if (list->count > before)
		qsort(list->files + before, list->count - before, sizeof(*list->files), by_bytes);
	return r;
}

void sum_list_free(struct sum_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->files[i].path);
	free(list->files);
}
