#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The examples run on a real mount and find every byte right.
set -u
# shellcheck source=tests/lib/mounted.sh
. "${top_srcdir:-.}/tests/lib/mounted.sh"
mounted sim:npu0,memory=32M
bad=0

right() {
	timeout 300 "$@" >"$work/out" 2>&1 && grep -q 'right$' "$work/out" && return
	echo "$*: status $?:"
	cat "$work/out"
	bad=1
}

right "$build/examples/share_fd" "$mnt"
right "$build/examples/peer_shared" "$mnt"
if python3 -c 'import numpy' 2>/dev/null; then
	right python3 "$top/examples/numpy_share.py" "$mnt"
elif /usr/bin/python3 -c 'import numpy' 2>/dev/null; then
	right /usr/bin/python3 "$top/examples/numpy_share.py" "$mnt"
else
	echo 'numpy is not there: numpy_share.py was not run'
fi
exit $bad
