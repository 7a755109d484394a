/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.c - prints runs
 */
#include "report.h"

#include <inttypes.h>

/* Of all the time that compute threads had, the share they spent waiting for faults and for the link. */
static double waited_share(const struct gpt2_device_cost *cost)
{
	double all = (double)cost->ran_ns * cost->threads;

	return all > 0 ? cost->waited_ns / all : 0;
}

static uint64_t counter(const struct gpt2_device_cost *cost, const char *name)
{
	uint64_t value;

	return dmo_stat_get(&cost->stat, name, &value) == 0 ? value : 0;
}

void report_ids(const struct run *run, const char *between)
{
	uint32_t i;

	for (i = run->prompt; i < run->prompt + run->count; i++)
		printf("%s%u", i > run->prompt ? between : "", run->tokens[i]);
}

static void json_cost(const struct gpt2_device_cost *cost)
{
	unsigned int i;

	printf(",\"memory\":%" PRIu64 ",\"faults\":%" PRIu64 ",\"waited_share\":%.4f,\"stat\":{",
	       cost->memory, cost->faults, waited_share(cost));
	for (i = 0; i < cost->stat.count; i++)
		printf("%s\"%s\":%" PRIu64, i ? "," : "", cost->stat.entries[i].name,
		       cost->stat.entries[i].value);
	printf("}");
}

void report_json(const struct report *r)
{
	printf("{\"mode\":\"%s\",\"threads\":%u,\"tokens_per_second\":%.3f,\"first_seconds\":%.6f,"
	       "\"bytes_per_token\":%" PRIu64, r->device ? r->device : "cpu", r->threads, run_rate(r->run),
	       r->run->first_seconds, r->bytes_per_token);
	if (r->device)
		json_cost(r->cost);
	printf(",\"tokens\":[");
	report_ids(r->run, ",");
	printf("]}\n");
}

void report_text(const struct report *r)
{
	fprintf(stderr, "%s, %u threads: %.2f tokens/s, %.2f GB/s of weights\n", r->device ? r->device : "cpu",
		r->threads, run_rate(r->run), run_rate(r->run) * r->bytes_per_token / 1e9);
	if (!r->device)
		return;
	fprintf(stderr, "%" PRIu64 " device faults; %.1f MB to the device, %.1f MB to the host; %" PRIu64
		" clean and %" PRIu64 " dirty evictions; the device waited %.0f %% of its time\n", r->cost->faults,
		counter(r->cost, "bytes_to_device") / 1e6, counter(r->cost, "bytes_to_host") / 1e6,
		counter(r->cost, "evict_clean"), counter(r->cost, "evict_dirty"), 100 * waited_share(r->cost));
}
