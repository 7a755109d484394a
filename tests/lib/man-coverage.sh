#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Every call, request, command, constant, option and errno has its place in a page, and the pages are well formed.
set -u
top=${top_srcdir:-.}
build=${top_builddir:-.}
man=$top/man
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0

missing() {
	echo "missing: $*"
	bad=1
}

# page_has PAGE WORD: the page, or the page that it is another name of, has the word
page_has() {
	so=$(sed -n '1s/^\.so man[0-9]\///p' "$man/$1" 2>/dev/null)
	grep -q -w -e "$2" "$man/${so:-$1}" 2>/dev/null
}

# Calls, each under its own name.
sed -n 's/^\t\(dmo_[a-z_0-9]*\);$/\1/p' "$top/src/lib/libdmo.map" >"$tmp/calls"
while read -r call; do
	page_has "$call.3" "$call" || missing "a page $call.3 that describes $call"
done <"$tmp/calls"

# Requests, each in the index and in a page of its own.
sed -n 's/^#define \(DMO_IOC_[A-Z]*\)[ (].*_IO[RW(].*/\1/p; s/^#define \(DMO_IOC_[A-Z]*\)(n) .*/\1/p' \
	"$top/include/dmo/ioctl.h" | sort -u >"$tmp/requests"
while read -r request; do
	page=ioctl_dmo_$(echo "${request#DMO_IOC_}" | tr '[:upper:]' '[:lower:]').2
	page_has ioctl_dmo.2 "$request" || missing "$request in ioctl_dmo.2"
	page_has "$page" "$request" || missing "a page $page that describes $request"
done <"$tmp/requests"

# Every other name in the ABI that begins with DMO_ and is meant for users.
grep -o -w 'DMO_\(OP\|CMD\|ADV\|ATTR\|CAP\|MEM\|DEVICE\|EXT\|MIGRATE\|PROT\|MAP\|UNMAP\|QUERY\|HOME\)_[A-Z_]*[A-Z]' \
	"$top/include/dmo/ioctl.h" | sort -u >"$tmp/names"
while read -r name; do
	short=${name#DMO_ADV_}
	grep -q -w -e "$name" "$man"/*.[1-8] || { [ "$name" != "$short" ] && page_has ioctl_dmo_advise.2 "$short"; } ||
		case $name in
		DMO_ATTR_ALL) ;;
		*) missing "$name in any page" ;;
		esac
done <"$tmp/names"
grep -o -w 'DMO_OP_[A-Z_]*' "$top/include/dmo/ioctl.h" | sort -u >"$tmp/ops"
while read -r op; do
	page_has dmo_command.7 "$op" || missing "$op in dmo_command.7"
done <"$tmp/ops"

# Errors that the library's header documents for a call, in that call's page.
awk '
	/\/\*/ { if (!open && told) { list = ""; told = 0 } open = 1 }
	open { line = $0; while (match(line, /-E[A-Z]+/)) {
		list = list " " substr(line, RSTART + 1, RLENGTH - 1); line = substr(line, RSTART + RLENGTH) } }
	/\*\// { open = 0; next }
	/^#include/ { list = "" }
	!open && /^[a-z].*dmo_[a-z_]*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name)
		n = split(list, e, " "); for (i = 1; i <= n; i++) print name, e[i]; told = 1 }
' "$top/include/dmo/dmo.h" | sort -u >"$tmp/errors"
[ "$(wc -l <"$tmp/errors")" -gt 60 ] || missing "most errors of dmo.h: the reader of this test has lost them"
while read -r call error; do
	page_has "$call.3" "$error" || missing "$error in $call.3"
done <"$tmp/errors"

# Errors that the decoder gives, and that a completion may carry.
sed -n '/The checks/,/\*\//s/.*\t-\(E[A-Z]*\).*/\1/p' "$top/src/core/abi.h" | sort -u >"$tmp/decoder"
while read -r error; do
	page_has ioctl_dmo.2 "$error" || missing "$error in ioctl_dmo.2"
done <"$tmp/decoder"
sed -n '/__s32 status;/,/\*\//p' "$top/include/dmo/ioctl.h" | grep -o '\bE[A-Z][A-Z]*\b' | sort -u >"$tmp/status"
while read -r error; do
	page_has dmo_command.7 "$error" || missing "$error in dmo_command.7"
done <"$tmp/status"

# Pages: installed, their references there, well formed.
for page in "$man"/*.[1-8]; do
	name=$(basename "$page")
	grep -q -w -F "man/$name" "$man/Makefile.inc" || missing "man/$name in man/Makefile.inc"
	so=$(sed -n '1s/^\.so man[0-9]\///p' "$page")
	[ -z "$so" ] || [ -e "$man/$so" ] || missing "$so, to which $name refers"
done
grep -h -o '^\.Xr \(dmo\|ioctl_dmo\|libdmo\)[a-z_]* [0-9]' "$man"/*.[1-8] | sort -u >"$tmp/refs"
while read -r _ name section; do
	[ -e "$man/$name.$section" ] || [ "$name" = dmofs ] || missing "$name($section), to which some page refers"
done <"$tmp/refs"

if ! command -v mandoc >/dev/null; then
	[ $bad -eq 0 ] || exit 1
	echo "mandoc is not there: form and options were not looked at"
	exit 77
fi
for page in "$man"/*.[1-8]; do
	head -n 1 "$page" | grep -q '^\.so ' || mandoc -T lint -W warning "$page" || bad=1
done

# options PAGE PROGRAM ARGUMENT...: each option of a help text is in the page
options() {
	mandoc -T ascii "$man/$1" | col -b >"$tmp/text"
	page=$1
	shift
	"$@" 2>&1 | sed '/^Examples:/,$d' | grep -o -e '--[a-z][a-z-]*' | sort -u >"$tmp/options"
	[ -s "$tmp/options" ] || missing "options in the output of $*"
	while read -r option; do
		grep -q -e "$option\>" "$tmp/text" || missing "$option in $page"
	done <"$tmp/options"
}
for command in devices info stat limit map query advise prefetch evict pin sum fill; do
	options dmoctl.1 "$build/src/ctl/dmoctl" help $command
done
if [ -e "$man/dmofs.8" ] && [ -x "$build/fuse/dmofs" ]; then
	options dmofs.8 "$build/fuse/dmofs" --help
fi
exit $bad
