/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_ops.h - the commands of include/dmo/ioctl.h, as the simulated device runs them
 *
 * A command may have written part of its results when it fails.
 */
#ifndef DMO_SIM_OPS_H
#define DMO_SIM_OPS_H

#include <errno.h>

#include "sim_exec.h"

extern const struct sim_op sim_op_axpy, sim_op_gather, sim_op_layernorm, sim_op_gelu, sim_op_argmax;	/* _f32.c */
extern const struct sim_op sim_op_gemv, sim_op_gemv_transpose;						/* _gemv.c */
extern const struct sim_op sim_op_attention;								/* _attention.c */

/* NULL: there is no such command. */
const struct sim_op *sim_op_find(uint32_t op);

/* Cuts total into units of unit, and the command into parts where that is at least from. */
void sim_cut(struct sim_run *run, uint64_t total, uint64_t unit, uint64_t from);

/* Sum of the bytes in those units that a part has yet to do, from unit u on. */
uint64_t sim_units_left(const struct sim_run *run, uint64_t u, uint64_t total);

/* -EINVAL unless each of the addresses is aligned to size. */
static inline int sim_aligned(uint64_t addresses, uint64_t size)
{
	return addresses & (size - 1) ? -EINVAL : 0;
}

static inline uint64_t sim_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The f32 in the low half of an argument. */
static inline float sim_arg_f32(uint64_t arg)
{
	union {
		uint32_t bits;
		float value;
	} u = { .bits = (uint32_t)arg };

	return u.value;
}

/* Elements whose bytes no address space could hold. */
#define SIM_COUNT_MAX (1ull << 46)

#endif
