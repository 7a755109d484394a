#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# dmoctl without any mount: usage, help, and messages that name cause and way out.
set -u
ctl=${top_builddir:-.}/src/ctl/dmoctl
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0

# expect STATUS PATTERN ARGUMENT...: runs dmoctl; its status, and a line of its output that matches
expect() {
	status=$1 pattern=$2
	shift 2
	"$ctl" "$@" >"$tmp/out" 2>&1 </dev/null
	got=$?
	if [ $got -ne "$status" ] || ! grep -q -e "$pattern" "$tmp/out"; then
		echo "dmoctl $*: status $got, expected $status and \"$pattern\":"
		cat "$tmp/out"
		bad=1
	fi
}

expect 2 'Usage: dmoctl COMMAND'
expect 0 'Usage: dmoctl COMMAND' help
expect 0 '^dmoctl [0-9]' --version
expect 2 'no command "frob"' frob
expect 2 'no command "frob"' help frob
for command in devices info stat limit map query advise prefetch evict pin sum fill; do
	expect 0 '^Examples:' help $command
	expect 0 '^Examples:' $command --help
	expect 2 'Usage: dmoctl' $command --no-such-option
	expect 0 "^  $command " help
done
for command in info map query advise prefetch evict pin sum fill; do
	expect 2 'Usage: dmoctl' $command
done
: >"$tmp/file"
expect 1 'not on a dmofs mount' info "$tmp/file"
expect 1 'not on a dmofs mount' map "$tmp/file"
expect 1 'not on a dmofs mount' query "$tmp/file"
expect 1 'not on a dmofs mount' sum "$tmp/file"
expect 1 'not on a dmofs mount' evict "$tmp/file"
expect 1 'not on a dmofs mount' prefetch --device npu0 "$tmp/file"
expect 1 'not on a dmofs mount' devices "$tmp"
expect 1 'not on a dmofs mount' stat --mount "$tmp"
expect 1 'No such file' info "$tmp/none"
expect 2 'no advice "frob"' advise "$tmp/file" frob
expect 2 'read-mostly' advise "$tmp/file" frob
expect 2 '--range takes' query --range 1:2:3 "$tmp/file"
expect 2 '--range takes' query --range -1:2 "$tmp/file"
expect 2 '--range takes' query --range 99999999999999999999:2 "$tmp/file"
expect 2 '--range takes' query --range 17179869184G:2 "$tmp/file"
expect 2 '--byte takes' fill --byte 256 "$tmp/file"
expect 2 '--byte takes' fill --byte -1 "$tmp/file"
expect 2 '--jobs takes' sum --jobs 65 "$tmp/file"
expect 2 '--watch takes' stat --watch=0
expect 2 'Usage: dmoctl limit' limit get
expect 2 'Usage: dmoctl limit' limit set npu0
expect 2 'Usage: dmoctl prefetch' prefetch "$tmp/file"
exit $bad
