// SPDX-License-Identifier: GPL-2.0-or-later
/* ivshmem_sim.c - what dmo_ivshmem.ko shares with dmo_sim.ko; Kbuild gives an object to one module */
#include "sim_device.c"
#include "sim_mmu.c"
#include "sim_exec.c"
#include "sim_ops.c"
#include "sim_copy.c"
#include "sim_link.c"
