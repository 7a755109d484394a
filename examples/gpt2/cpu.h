/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu.h - GPT-2 on the CPU, from plain memory
 */
#ifndef GPT2_CPU_H
#define GPT2_CPU_H

#include "model.h"

struct gpt2_cpu;

/*
 * Reads the weights of the open file fd into memory and makes room for capacity positions. threads >= 1.
 * model and fd stay the caller's; model must outlive the result, fd need not. 0 and *cpu, which the caller
 * ends with gpt2_cpu_free, or -errno: -ENOMEM, -EIO (the file ended early), what reading gave.
 */
int gpt2_cpu_create(struct gpt2_cpu **cpu, const struct gpt2_model *model, int fd,
		    unsigned int threads, uint32_t capacity);

/*
 * Takes token as the one at position (0, then each the last + 1, below capacity). Returns the logits
 * [vocab] of what comes next, valid until the next call; or NULL where want is false, which saves that
 * product. Allocates nothing. One caller at a time.
 */
const float *gpt2_cpu_step(struct gpt2_cpu *cpu, uint32_t token, uint32_t position, bool want);

void gpt2_cpu_free(struct gpt2_cpu *cpu);

#endif
