// SPDX-License-Identifier: GPL-2.0-or-later
#include "../src/core/text.c"
