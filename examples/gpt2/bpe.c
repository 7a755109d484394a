/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bpe.c - text to token ids and back
 *
 * In the files a byte stands as one printable character: itself where it is printable, else one from U+0100
 * on. Loading turns every token back into bytes. Two hash tables then serve: bytes to id (for loading, kept),
 * and a pair of ids to the rank and the result of merging them. Encoding cuts text into pieces, a piece into
 * bytes, and merges the pair of lowest rank until none is left.
 *
 * Owns all of it in one struct; text holds the tokens' bytes. The files are hostile: bounded in size, ids
 * below IDS_MAX, each once.
 */
#define _GNU_SOURCE

#include "bpe.h"
#include "json.h"
#include "unicode.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX	(64u << 20)
#define IDS_MAX		(1u << 22)
#define NONE		0xffffffffu

struct token {
	const char *bytes;		/* NULL: no token has this id */
	uint32_t length;
};

struct merge {
	uint32_t left, right;
	uint32_t rank;			/* NONE: the slot is empty */
	uint32_t merged;
};

struct bpe {
	char *text;
	struct token *tokens;		/* [ids] */
	uint32_t ids;
	uint32_t *by_bytes;		/* [slots] ids, NONE where empty */
	size_t slots;			/* a power of two */
	struct merge *merges;		/* [merge_slots] */
	size_t merge_slots;
	uint32_t byte_token[256];	/* NONE where a byte has none */
};

/* ---- bytes as characters --------------------------------------------------------------------------- */

static bool stands_for_itself(unsigned int byte)
{
	return (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
}

/* Fills table[code] with the byte that code stands for, -1 where none; 256 + 68 codes are in use. */
static void make_byte_table(int *table, size_t room)
{
	unsigned int byte, next = 256;
	size_t i;

	for (i = 0; i < room; i++)
		table[i] = -1;
	for (byte = 0; byte < 256; byte++)
		table[stands_for_itself(byte) ? byte : next++] = byte;
}

/* Turns UTF-8 at text into the bytes it stands for, in place; false where a character is no byte's. */
static bool to_bytes(const int *table, size_t room, char *text, size_t *length)
{
	const unsigned char *at = (unsigned char *)text, *end = at + *length;
	size_t used = 0, n;
	uint32_t code;

	for (; at < end; at += n) {
		n = utf8_take(at, end, &code);
		if (n == 0 || code >= room || table[code] < 0)
			return false;
		text[used++] = table[code];
	}
	*length = used;
	return true;
}

/* ---- tables ---------------------------------------------------------------------------------------- */

static size_t hash_bytes(const char *bytes, size_t length)
{
	uint64_t h = 0xcbf29ce484222325u;

	while (length--)
		h = (h ^ (unsigned char)*bytes++) * 0x100000001b3u;
	return h ^ h >> 29;
}

static size_t hash_pair(uint32_t left, uint32_t right)
{
	uint64_t h = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;

	return h >> 20;
}

/* The slot of these bytes, or the empty one where they belong. */
static uint32_t *bytes_slot(const struct bpe *b, const char *bytes, size_t length)
{
	size_t i = hash_bytes(bytes, length) & (b->slots - 1);
	const struct token *t;

	for (; b->by_bytes[i] != NONE; i = (i + 1) & (b->slots - 1)) {
		t = &b->tokens[b->by_bytes[i]];
		if (t->length == length && !memcmp(t->bytes, bytes, length))
			break;
	}
	return &b->by_bytes[i];
}

static struct merge *merge_slot(const struct bpe *b, uint32_t left, uint32_t right)
{
	size_t i = hash_pair(left, right) & (b->merge_slots - 1);
	struct merge *m;

	for (m = &b->merges[i]; m->rank != NONE; m = &b->merges[i]) {
		if (m->left == left && m->right == right)
			break;
		i = (i + 1) & (b->merge_slots - 1);
	}
	return m;
}

static size_t power_of_two(size_t least)
{
	size_t n = 64;

	while (n < least)
		n *= 2;
	return n;
}

/* ---- loading --------------------------------------------------------------------------------------- */

struct loader {
	struct bpe *bpe;
	int table[512];			/* character to byte */
	char *reason;
	int room;
};

static int refuse(const struct loader *l, int err, const char *file, const char *why, unsigned long line)
{
	if (line)
		snprintf(l->reason, l->room, "%s line %lu: %s", file, line, why);
	else
		snprintf(l->reason, l->room, "%s: %s", file, why);
	return err;
}

static int take_contents(FILE *in, char **text, size_t *length)
{
	size_t room = 0, n;
	char *bigger;

	for (*length = 0; ; *length += n) {
		if (*length == room) {
			room = room ? 2 * room : 1 << 16;
			if (room > FILE_MAX)
				return -EFBIG;
			bigger = realloc(*text, room);
			if (!bigger)
				return -ENOMEM;
			*text = bigger;
		}
		n = fread(*text + *length, 1, room - *length, in);
		if (n == 0)
			return ferror(in) ? -EIO : 0;
	}
}

/* The whole of directory/name into *text (the caller's, also on failure). */
static int read_file(const struct loader *l, const char *directory, const char *name, char **text,
		     size_t *length)
{
	char *path;
	FILE *in;
	int err;

	*text = NULL;
	if (asprintf(&path, "%s/%s", directory, name) < 0)
		return -ENOMEM;
	in = fopen(path, "re");
	err = in ? take_contents(in, text, length) : -errno;
	if (err)
		refuse(l, err, path, strerror(-err), 0);
	if (in)
		fclose(in);
	free(path);
	return err;
}

static int grow_ids(struct bpe *b, uint32_t id)
{
	size_t ids = power_of_two((size_t)id + 1);
	struct token *more;

	if (id < b->ids)
		return 0;
	more = reallocarray(b->tokens, ids, sizeof(*more));
	if (!more)
		return -ENOMEM;
	memset(more + b->ids, 0, (ids - b->ids) * sizeof(*more));
	b->tokens = more;
	b->ids = ids;
	return 0;
}

/* One "characters": id. A name that isn't made of bytes' characters is kept as it stands. */
static int load_token(const struct loader *l, struct json *json, char **at, size_t left)
{
	struct bpe *b = l->bpe;
	size_t length, whole;
	uint64_t id;
	int err;

	if (!json_string(json, *at, left, &whole) || !json_take(json, ':') || !json_natural(json, &id))
		return refuse(l, -EINVAL, "vocab.json", "not an object of natural numbers", 0);
	if (id >= IDS_MAX)
		return refuse(l, -EINVAL, "vocab.json", "an id is too large", 0);
	err = grow_ids(b, id);
	if (err)
		return refuse(l, err, "vocab.json", strerror(-err), 0);
	if (b->tokens[id].bytes)
		return refuse(l, -EINVAL, "vocab.json", "two tokens have one id", 0);
	length = whole;
	to_bytes(l->table, 512, *at, &length);
	b->tokens[id] = (struct token){ *at, length };
	*at += whole + 1;
	return 0;
}

static int load_tokens(const struct loader *l, const char *text, size_t length)
{
	struct bpe *b = l->bpe;
	struct json json;
	char *at;
	int err;

	b->text = at = malloc(length + 1);
	if (!at)
		return refuse(l, -ENOMEM, "vocab.json", strerror(ENOMEM), 0);
	json_init(&json, text, length);
	if (!json_take(&json, '{'))
		return refuse(l, -EINVAL, "vocab.json", "not an object", 0);
	do {
		err = load_token(l, &json, &at, b->text + length + 1 - at);
		if (err)
			return err;
	} while (json_maybe(&json, ','));
	if (!json_take(&json, '}') || !json_at_end(&json))
		return refuse(l, -EINVAL, "vocab.json", "something follows that doesn't belong", 0);
	return 0;
}

static int index_tokens(const struct loader *l)
{
	struct bpe *b = l->bpe;
	uint32_t id, *slot;

	b->slots = power_of_two(2 * (size_t)b->ids);
	b->by_bytes = malloc(b->slots * sizeof(*b->by_bytes));
	if (!b->by_bytes)
		return refuse(l, -ENOMEM, "vocab.json", strerror(ENOMEM), 0);
	memset(b->by_bytes, 0xff, b->slots * sizeof(*b->by_bytes));
	memset(b->byte_token, 0xff, sizeof(b->byte_token));
	for (id = 0; id < b->ids; id++) {
		if (!b->tokens[id].bytes)
			continue;
		slot = bytes_slot(b, b->tokens[id].bytes, b->tokens[id].length);
		if (*slot != NONE)
			return refuse(l, -EINVAL, "vocab.json", "a token has two ids", 0);
		*slot = id;
		if (b->tokens[id].length == 1)
			b->byte_token[(unsigned char)b->tokens[id].bytes[0]] = id;
	}
	return 0;
}

/* The id of the token at text, which is overwritten by the bytes it stands for; NONE: there is none. */
static uint32_t take_id(const struct loader *l, char *text, size_t *length)
{
	return to_bytes(l->table, 512, text, length) ? *bytes_slot(l->bpe, text, *length) : NONE;
}

/* A line "left right", length bytes. */
static int load_merge(const struct loader *l, char *line, size_t length, uint32_t rank, unsigned long number)
{
	char *space = memchr(line, ' ', length);
	size_t left_length, right_length;
	struct merge merge = { .rank = rank }, *slot;

	if (!space)
		return refuse(l, -EINVAL, "merges.txt", "not a pair", number);
	left_length = space - line;
	right_length = length - left_length - 1;
	merge.left = take_id(l, line, &left_length);
	merge.right = take_id(l, space + 1, &right_length);
	memmove(line + left_length, space + 1, right_length);
	if (merge.left != NONE && merge.right != NONE)
		merge.merged = *bytes_slot(l->bpe, line, left_length + right_length);
	if (merge.left == NONE || merge.right == NONE || merge.merged == NONE)
		return refuse(l, -EINVAL, "merges.txt", "a token is not in the vocabulary", number);
	slot = merge_slot(l->bpe, merge.left, merge.right);
	if (slot->rank == NONE)
		*slot = merge;
	return 0;
}

static int make_merges(const struct loader *l, const char *text, size_t length)
{
	struct bpe *b = l->bpe;
	size_t lines = 1, i;

	for (i = 0; i < length; i++)
		lines += text[i] == '\n';
	b->merge_slots = power_of_two(2 * lines);
	b->merges = malloc(b->merge_slots * sizeof(*b->merges));
	if (!b->merges)
		return refuse(l, -ENOMEM, "merges.txt", strerror(ENOMEM), 0);
	memset(b->merges, 0xff, b->merge_slots * sizeof(*b->merges));
	return 0;
}

static int load_merges(const struct loader *l, char *text, size_t length)
{
	char *at = text, *end = text + length, *newline;
	unsigned long number = 1;
	uint32_t rank = 0;
	int err = make_merges(l, text, length);

	for (; at < end && !err; at = newline + 1, number++) {
		newline = memchr(at, '\n', end - at);
		if (!newline)
			newline = end;
		length = newline - at;
		if (length && at[length - 1] == '\r')
			length--;
		if (length == 0 || (number == 1 && at[0] == '#'))
			continue;
		err = load_merge(l, at, length, rank++, number);
	}
	return err;
}

static int load_all(const struct loader *l, const char *directory)
{
	size_t length = 0;
	char *text;
	int err;

	err = read_file(l, directory, "vocab.json", &text, &length);
	if (!err)
		err = load_tokens(l, text, length);
	free(text);
	if (!err)
		err = index_tokens(l);
	if (err)
		return err;
	err = read_file(l, directory, "merges.txt", &text, &length);
	if (!err)
		err = load_merges(l, text, length);
	free(text);
	return err;
}

int bpe_load(struct bpe **bpe, const char *directory, char *reason, int room)
{
	struct loader loader = { .bpe = calloc(1, sizeof(struct bpe)), .reason = reason, .room = room };
	int err;

	snprintf(reason, room, "%s", strerror(ENOMEM));
	if (!loader.bpe)
		return -ENOMEM;
	make_byte_table(loader.table, 512);
	err = load_all(&loader, directory);
	if (err)
		bpe_free(loader.bpe);
	else
		*bpe = loader.bpe;
	return err;
}

void bpe_free(struct bpe *bpe)
{
	if (!bpe)
		return;
	free(bpe->text);
	free(bpe->tokens);
	free(bpe->by_bytes);
	free(bpe->merges);
	free(bpe);
}

/* ---- splitting ------------------------------------------------------------------------------------- */

/* The kind of the character at at, and its length; a byte that is no UTF-8 is a character of its own. */
static enum unicode_kind kind_at(const unsigned char *at, const unsigned char *end, size_t *length)
{
	uint32_t code;

	*length = utf8_take(at, end, &code);
	if (*length)
		return unicode_kind(code);
	*length = 1;
	return UNICODE_OTHER;
}

static size_t contraction(const unsigned char *at, const unsigned char *end)
{
	static const char *const endings[] = { "s", "t", "re", "ve", "m", "ll", "d" };
	size_t i, n;

	if (*at != '\'')
		return 0;
	for (i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		n = strlen(endings[i]);
		if ((size_t)(end - at) > n && !memcmp(at + 1, endings[i], n))
			return 1 + n;
	}
	return 0;
}

/* The length of the run of one kind at at; *last: of its last character. */
static size_t run_of(enum unicode_kind kind, const unsigned char *at, const unsigned char *end, size_t *last)
{
	const unsigned char *first = at;
	size_t n;

	for (*last = 0; at < end && kind_at(at, end, &n) == kind; at += n)
		*last = n;
	return at - first;
}

size_t bpe_piece(const char *text, size_t length)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + length, *word;
	size_t n = contraction(at, end), last;
	enum unicode_kind kind;

	if (n)
		return n;
	word = *at == ' ' && length > 1 ? at + 1 : at;
	kind = kind_at(word, end, &n);
	if (kind != UNICODE_SPACE)
		return word - at + run_of(kind, word, end, &last);
	n = run_of(UNICODE_SPACE, at, end, &last);
	return n == length || n == last ? n : n - last;
}

/* ---- encoding and decoding -------------------------------------------------------------------------- */

/* Merges in place until no pair has a rank; returns how many ids are left of count. */
static size_t merge_all(const struct bpe *b, uint32_t *ids, size_t count)
{
	const struct merge *best, *m;
	size_t i, where;

	for (;;) {
		best = NULL;
		for (i = 0; i + 1 < count; i++) {
			m = merge_slot(b, ids[i], ids[i + 1]);
			if (m->rank != NONE && (!best || m->rank < best->rank)) {
				best = m;
				where = i;
			}
		}
		if (!best)
			return count;
		ids[where] = best->merged;
		memmove(ids + where + 1, ids + where + 2, (count - where - 2) * sizeof(*ids));
		count--;
	}
}

/* Encodes one piece into work, which has room for length ids. */
static long encode_piece(const struct bpe *b, const char *text, size_t length, uint32_t *work)
{
	size_t i;

	for (i = 0; i < length; i++) {
		work[i] = b->byte_token[(unsigned char)text[i]];
		if (work[i] == NONE)
			return -EILSEQ;
	}
	return merge_all(b, work, length);
}

long bpe_encode(const struct bpe *bpe, const char *text, size_t length, uint32_t *ids, size_t room)
{
	uint32_t *work = malloc((length + 1) * sizeof(*work));
	long count = 0, n = 0, i;
	size_t piece;

	if (!work)
		return -ENOMEM;
	for (; length; text += piece, length -= piece) {
		piece = bpe_piece(text, length);
		n = encode_piece(bpe, text, piece, work);
		if (n < 0)
			break;
		for (i = 0; i < n; i++, count++)
			if ((size_t)count < room)
				ids[count] = work[i];
	}
	free(work);
	return n < 0 ? n : count;
}

const char *bpe_decode(const struct bpe *bpe, uint32_t id, size_t *length)
{
	if (id >= bpe->ids || !bpe->tokens[id].bytes)
		return NULL;
	*length = bpe->tokens[id].length;
	return bpe->tokens[id].bytes;
}
