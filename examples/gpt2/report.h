/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.h - what a run is told as: text for people, a line of JSON for programs
 */
#ifndef GPT2_REPORT_H
#define GPT2_REPORT_H

#include "device.h"

struct report {
	const struct run *run;
	const char *device;			/* its name; NULL: the CPU */
	uint32_t threads;
	uint64_t bytes_per_token;
	const struct gpt2_device_cost *cost;	/* with device */
};

/* Prints to stdout, one line. */
void report_json(const struct report *report);

/* Prints the figures to stderr; the tokens are the caller's business. */
void report_text(const struct report *report);

/* The generated ids to stdout, with between between them. */
void report_ids(const struct run *run, const char *between);

#endif
