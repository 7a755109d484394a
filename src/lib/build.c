/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * build.c - a constructor for each command
 *
 * They only put arguments where <dmo/ioctl.h> says; the service checks them.
 */
#include "lib.h"

#include <string.h>

/* The bits of an f32, as arguments carry it. */
static uint64_t float_bits(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

PUBLIC void dmo_cmd_nop(struct dmo_command *cmd)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_NOP };
}

PUBLIC void dmo_cmd_fill(struct dmo_command *cmd, uint64_t dst, uint64_t bytes, uint8_t byte)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_FILL, .arg = { dst, bytes, byte } };
}

PUBLIC void dmo_cmd_copy(struct dmo_command *cmd, uint64_t dst, uint64_t src, uint64_t bytes)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_COPY, .arg = { dst, src, bytes } };
}

PUBLIC void dmo_cmd_cksum(struct dmo_command *cmd, uint64_t src, uint64_t bytes, uint32_t crc, uint64_t before,
			  bool finish)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_CKSUM, .arg = { src, bytes, crc, before, finish } };
}

PUBLIC void dmo_cmd_compare(struct dmo_command *cmd, uint64_t a, uint64_t b, uint64_t bytes)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_COMPARE, .arg = { a, b, bytes } };
}

PUBLIC void dmo_cmd_chase(struct dmo_command *cmd, uint64_t first, uint64_t hops)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_CHASE, .arg = { first, hops } };
}

PUBLIC void dmo_cmd_atomic_add(struct dmo_command *cmd, uint64_t address, uint64_t addend)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_ATOMIC_ADD, .arg = { address, addend } };
}

PUBLIC void dmo_cmd_axpy(struct dmo_command *cmd, uint64_t y, uint64_t x, uint64_t n, float a)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_AXPY, .arg = { y, x, n, float_bits(a) } };
}

PUBLIC void dmo_cmd_gemv(struct dmo_command *cmd, uint64_t y, uint64_t w, uint64_t x, uint64_t bias, uint64_t rows,
			 uint64_t cols, uint32_t flags)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_GEMV, .flags = flags, .arg = { y, w, x, bias, rows, cols } };
}

PUBLIC void dmo_cmd_gather(struct dmo_command *cmd, uint64_t dst, uint64_t table, uint64_t indices, uint64_t n,
			   uint64_t row_bytes, uint64_t rows)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_GATHER, .arg = { dst, table, indices, n, row_bytes, rows } };
}

PUBLIC void dmo_cmd_layernorm(struct dmo_command *cmd, uint64_t y, uint64_t x, uint64_t gain, uint64_t bias, uint64_t n,
			      float epsilon)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_LAYERNORM, .arg = { y, x, gain, bias, n, float_bits(epsilon) } };
}

PUBLIC void dmo_cmd_gelu(struct dmo_command *cmd, uint64_t y, uint64_t x, uint64_t n)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_GELU, .arg = { y, x, n } };
}

PUBLIC void dmo_cmd_attention(struct dmo_command *cmd, uint64_t out, uint64_t q, uint64_t k, uint64_t v, uint64_t heads,
			      uint64_t width, uint64_t positions, uint64_t stride)
{
	*cmd = (struct dmo_command){
		.op = DMO_OP_ATTENTION,
		.arg = { out, q, k, v, heads, width, positions, stride },
	};
}

PUBLIC void dmo_cmd_argmax(struct dmo_command *cmd, uint64_t x, uint64_t n)
{
	*cmd = (struct dmo_command){ .op = DMO_OP_ARGMAX, .arg = { x, n } };
}
