/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fuzz.h - what the fuzzers share: damage done to good inputs by a fixed random sequence, for a bounded time
 *
 * A fuzzer supplies LLVMFuzzerTestOneInput, which checks what is promised of any input, and two things for
 * its stand-alone form: good inputs, and pieces of text worth inserting. --seconds N (or FUZZ_SECONDS in the
 * environment) bounds the time (2), --seed N (FUZZ_SEED) moves the sequence. With -DLIBFUZZER there is no
 * main, and the fuzzer is libFuzzer's:
 *
 *	clang -fsanitize=fuzzer,address -DLIBFUZZER ...
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where complaints go; a fuzzer whose subject writes to stderr sets it. */
static FILE *fuzz_complain;

static inline void require(int truth, const char *what)
{
	if (!truth) {
		fprintf(fuzz_complain ? fuzz_complain : stderr, "fuzz: not so: %s\n", what);
		abort();
	}
}

#ifndef LIBFUZZER

struct buffer {
	char text[4096];
	size_t length;
};

struct words {
	const char *const *list;
	size_t count;
};

static uint64_t random_state;

static inline uint64_t random_number(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static inline uint32_t random_below(uint32_t n)
{
	return (random_number() >> 32) % n;
}

/* Replaces cut bytes at at by n bytes of with, where there is room. */
static inline void splice(struct buffer *b, size_t at, size_t cut, const void *with, size_t n)
{
	if (b->length - cut + n > sizeof(b->text))
		return;
	memmove(b->text + at + n, b->text + at + cut, b->length - at - cut);
	memcpy(b->text + at, with, n);
	b->length += n - cut;
}

static inline void mutate(struct buffer *b, const struct words *words)
{
	size_t at = random_below(b->length + 1), rest = b->length - at;
	size_t some = rest ? random_below(rest < 24 ? rest : 24) : 0;
	char copy[24], byte = random_below(256);
	const char *word = words->count ? words->list[random_below(words->count)] : "";

	memcpy(copy, b->text + at, some);
	switch (random_below(7)) {
	case 0: splice(b, at, rest > 0, &byte, 1); break;
	case 1: splice(b, at, 0, word, strlen(word)); break;
	case 2: splice(b, at, some, word, strlen(word)); break;
	case 3: splice(b, at, some, "", 0); break;
	case 4: splice(b, random_below(b->length + 1), 0, copy, some); break;
	case 5: byte = '0' + random_below(10); splice(b, at, rest > 0, &byte, 1); break;
	case 6: byte = rest ? b->text[at] ^ 1 << random_below(8) : 0; splice(b, at, rest > 0, &byte, 1); break;
	}
}

/* In memory of just its size, so that a sanitizer sees reads past it. */
static inline void try_input(const struct buffer *b)
{
	uint8_t *exact = malloc(b->length ? b->length : 1);

	require(exact != NULL, "there is memory");
	memcpy(exact, b->text, b->length);
	LLVMFuzzerTestOneInput(exact, b->length);
	free(exact);
}

static inline unsigned long fuzz_option(int argc, char **argv, const char *name, const char *variable,
					unsigned long otherwise)
{
	const char *set = getenv(variable);
	int i;

	for (i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], name))
			set = argv[i + 1];
	return set ? strtoul(set, NULL, 10) : otherwise;
}

/* make fills an empty buffer with a good input; every other one or so is damaged then, in up to 5 places. */
static inline int fuzz_main(int argc, char **argv, const char *name, void (*make)(struct buffer *b),
			    const struct words *words)
{
	time_t end = time(NULL) + fuzz_option(argc, argv, "--seconds", "FUZZ_SECONDS", 2);
	unsigned long rounds = 0;
	struct buffer b;

	random_state = 0x9e3779b97f4a7c15u ^ fuzz_option(argc, argv, "--seed", "FUZZ_SEED", 1);
	do {
		for (int i = 0; i < 200; i++) {
			b.length = 0;
			make(&b);
			for (uint32_t times = random_below(6); times--;)
				mutate(&b, words);
			try_input(&b);
		}
		rounds += 200;
	} while (time(NULL) < end);
	printf("%s: %lu inputs\n", name, rounds);
	return 0;
}

#endif
#endif
