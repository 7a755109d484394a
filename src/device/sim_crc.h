/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_crc.h - the CRC of POSIX cksum (polynomial 0x04c11db7, high bit first), whole and in parts
 */
#ifndef DMO_SIM_CRC_H
#define DMO_SIM_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Continues crc over bytes; start with 0. */
uint32_t sim_crc(uint32_t crc, const void *data, size_t bytes);
/* Continues crc over as many zero bytes. crc(A B) = sim_crc_zeros(crc(A), length of B) ^ crc(B). */
uint32_t sim_crc_zeros(uint32_t crc, uint64_t bytes);
/* What cksum prints for a file of so many bytes with that CRC. */
uint32_t sim_crc_finish(uint32_t crc, uint64_t bytes);

#endif
