#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What takes long: a bar on a terminal and nothing elsewhere, and Ctrl-C ends it at once with no byte lost.
set -u
# shellcheck source=tests/lib/mounted.sh
. "${top_srcdir:-.}/tests/lib/mounted.sh"
mounted sim:npu0,memory=32M,link=2M
bad=0

wrong() {
	echo "$*"
	bad=1
}

# terminal ARGUMENT...: what dmoctl says on a terminal
terminal() {
	python3 -c 'import pty, sys; pty.spawn(sys.argv[1:])' "$ctl" "$@" </dev/null 2>&1 | tr '\r' '\n'
}

# interrupted ARGUMENT...: gets Ctrl-C after a second of twelve or more, and ends long before
interrupted() {
	began=$(date +%s%N)
	timeout -s INT -k 20 1 "$ctl" "$@" >"$work/out" 2>&1 </dev/null
	status=$? took=$((($(date +%s%N) - began) / 1000000))
	[ $status = 124 ] && [ $took -lt 9000 ] && return
	wrong "dmoctl $*: status $status after $took ms of an interrupted run"
}

head -c 25165824 /dev/urandom >"$mnt/o" || exit 99
sum=$(cksum <"$mnt/o")
interrupted prefetch -d npu0 "$mnt/o"
interrupted sum "$mnt/o"
interrupted pin "$mnt/o" -d npu0 -- sleep 20
"$ctl" query "$mnt/o" | grep -q pinned && wrong 'an interrupted pin is left'
[ "$(cksum <"$mnt/o")" = "$sum" ] || wrong 'an interrupted command changed the file'

"$ctl" evict "$mnt/o" || wrong 'evict failed'
terminal prefetch -d npu0 --range 0:8M "$mnt/o" >"$work/bar"
grep -q ' \[#* *\] *[0-9]*% .* of 8M, ' "$work/bar" || { wrong 'no bar on a terminal:'; cat -v "$work/bar"; }
"$ctl" prefetch -d npu0 --range 8M:4M "$mnt/o" >"$work/out" 2>&1 || wrong 'prefetch failed'
[ -s "$work/out" ] && wrong 'prefetch is not quiet off a terminal'
exit $bad
