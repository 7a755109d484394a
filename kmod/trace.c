// SPDX-License-Identifier: GPL-2.0-or-later
/* trace.c - the tracepoints' code; dmo_trace.h says what they are */
#define CREATE_TRACE_POINTS
#include "dmo_trace.h"
