/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lmdb-writer FOLDER FIRST COUNT - puts records through a writable memory map, or checks them
 *
 * COUNT transactions of 20 records each from number FIRST on; each record's value follows from its number, so that
 * COUNT negative checks FOLDER's records FIRST to FIRST - COUNT * 20 instead. Exits 0, or 1 with a line.
 */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 20, VALUE = 700 };

static void check(int rc, const char *what)
{
	if (rc) {
		printf("%s: %s\n", what, mdb_strerror(rc));
		exit(1);
	}
}

static void value_of(unsigned number, char *value)
{
	for (int i = 0; i < VALUE; i++) {
		number = number * 1664525u + 1013904223u;
		value[i] = (char)(number >> 24);
	}
}

static void put_batch(MDB_env *env, MDB_dbi dbi, unsigned first)
{
	char value[VALUE];
	MDB_txn *txn;

	check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
	for (unsigned number = first; number < first + BATCH; number++) {
		MDB_val key = { sizeof(number), &number }, data = { VALUE, value };

		value_of(number, value);
		check(mdb_put(txn, dbi, &key, &data, 0), "put");
	}
	check(mdb_txn_commit(txn), "commit");
}

static void check_records(MDB_env *env, MDB_dbi dbi, unsigned first, unsigned count)
{
	char value[VALUE];
	MDB_txn *txn;

	check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
	for (unsigned number = first; number < first + count; number++) {
		MDB_val key = { sizeof(number), &number }, data;

		check(mdb_get(txn, dbi, &key, &data), "get");
		value_of(number, value);
		if (data.mv_size != VALUE || memcmp(data.mv_data, value, VALUE)) {
			printf("record %u has foreign content\n", number);
			exit(1);
		}
	}
	mdb_txn_abort(txn);
}

int main(int argc, char **argv)
{
	unsigned first = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
	int count = argc == 4 ? atoi(argv[3]) : 0;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	if (!count)
		return 2;
	check(mdb_env_create(&env), "create");
	check(mdb_env_set_mapsize(env, 96u << 20), "map size");
	check(mdb_env_open(env, argv[1], MDB_WRITEMAP, 0644), "open");
	check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
	check(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi), "database");
	check(mdb_txn_commit(txn), "commit");
	for (int i = 0; i < count; i++)
		put_batch(env, dbi, first + (unsigned)i * BATCH);
	if (count < 0)
		check_records(env, dbi, first, (unsigned)-count * BATCH);
	mdb_env_close(env);
	return 0;
}
