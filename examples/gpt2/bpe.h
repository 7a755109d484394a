/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bpe.h - GPT-2's tokenizer: byte-level byte-pair encoding, from vocab.json and merges.txt
 *
 * A loaded tokenizer is read-only: any number of threads may use it.
 */
#ifndef GPT2_BPE_H
#define GPT2_BPE_H

#include <stddef.h>
#include <stdint.h>

struct bpe;

/*
 * Reads directory/vocab.json and directory/merges.txt. 0 and *bpe, which the caller ends with bpe_free; or
 * -errno with one line in reason[room]: -EINVAL malformed or contradictory, -EFBIG, -ENOMEM, or what opening
 * and reading gave.
 */
int bpe_load(struct bpe **bpe, const char *directory, char *reason, int room);
void bpe_free(struct bpe *bpe);

/*
 * Encodes text (length bytes, UTF-8 or not). Returns how many ids and stores the first room of them; or
 * -EILSEQ, where a byte has no token, or -ENOMEM. Time grows with the square of the longest word.
 */
long bpe_encode(const struct bpe *bpe, const char *text, size_t length, uint32_t *ids, size_t room);

/* The bytes of a token, *length of them, perhaps no whole characters; NULL where there is no such id. */
const char *bpe_decode(const struct bpe *bpe, uint32_t id, size_t *length);

/*
 * The length of the piece that text (length > 0 bytes) begins with, as GPT-2's pattern splits: a
 * contraction's end; a run of letters, of numbers, or of neither, with one space before it; white space, all
 * but the last of a run that something follows.
 */
size_t bpe_piece(const char *text, size_t length);

#endif
