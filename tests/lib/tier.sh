#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What moves between backing files and devices goes through io_uring, in batches: the submissions are counted.
set -u
# shellcheck source=tests/lib/mounted.sh
. "${top_srcdir:-.}/tests/lib/mounted.sh"
mounted sim:npu0,memory=32M
bytes=16777216
bad=0

metric() { sed -n "s/^dmofs_tier_$1_total //p" "$mnt/.dmo/metrics"; }

note() { submits=$(metric submits) entries=$(metric entries) in=$(metric read_bytes) out=$(metric written_bytes); }

# moved WHAT COUNTER BEFORE: every byte went once, by at least one submission and at most one for each MiB
moved() {
	s=$(($(metric submits) - submits)) e=$(($(metric entries) - entries)) b=$(($(metric "$2") - $3))
	echo "$1: $b bytes, $s submissions of $e transfers"
	[ "$b" = $bytes ] && [ "$s" -ge 1 ] && [ "$s" -le 16 ] && [ "$e" -ge "$s" ] && return
	bad=1
}

head -c $bytes /dev/urandom >"$mnt/o" || exit 99
note
"$ctl" prefetch -d npu0 "$mnt/o" || bad=1
if grep -q "io_uring can't be had" "$work/log"; then
	skip 'io_uring is forbidden here'
fi
moved 'prefetch' read_bytes "$in"

note
"$ctl" evict "$mnt/o" || bad=1
[ "$(metric entries)" = "$entries" ] || { echo 'clean pages were written'; bad=1; }

"$ctl" fill "$mnt/o" -d npu0 --byte 7 || bad=1
note
"$ctl" evict "$mnt/o" || bad=1
moved 'eviction' written_bytes "$out"
exit $bad
