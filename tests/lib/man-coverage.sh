#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Every call, request, command, constant, option, control file and errno has its place in a page, and the pages are
# well formed. What there is to document is read from the sources, so that a new thing without a page fails.
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
sed -n 's/^#define \(DMO_IOC_[A-Z_]*\)[[:space:]]*_IO[RW]*(.*/\1/p; s/^#define \(DMO_IOC_[A-Z]*\)(n) .*/\1/p' \
	"$top/include/dmo/ioctl.h" | sort -u >"$tmp/requests"
[ "$(wc -l <"$tmp/requests")" -gt 12 ] || missing "most requests of ioctl.h: the reader of this test has lost them"
while read -r request; do
	page=ioctl_dmo_$(echo "${request#DMO_IOC_}" | tr '[:upper:]' '[:lower:]').2
	page_has ioctl_dmo.2 "$request" || missing "$request in ioctl_dmo.2"
	page_has "$page" "$request" || missing "a page $page that describes $request"
done <"$tmp/requests"

# Every other name in the ABI that begins with DMO_ and is meant for users.
grep -o -w 'DMO_\(OP\|CMD\|ADV\|ATTR\|CAP\|MEM\|DEVICE\|EXT\|MIGRATE\|PROT\|MAP\|UNMAP\|QUERY\|HOME\|CREATE\)_[A-Z_]*[A-Z]' \
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

# Errors that the sources show a request or a call may return, but that can't come out of it.
cat >"$tmp/never" <<'END'
DMO_IOC_MIRROR ENOSPC	addresses are fixed: none are looked for
dmo_mirror ENOSPC	the same
dmo_peer_map ENOSPC	the same
dmo_peer_join ENOSPC	the same
dmo_complete ETIMEDOUT	becomes 0
dmo_run ETIMEDOUT	never waits with a time limit
dmo_mount_of EBADMSG	a line that can't be read is passed over
dmo_mount_of_path EBADMSG	the same
dmo_mount_devices EBADMSG	the same
dmo_export_dmabuf EBADMSG	the same
dmo_pin EOPNOTSUPP	names nobody else to be charged
dmo_dev_info EINVAL	the limits that it asks for exist
END
src=$top/src
# shellcheck disable=SC2046 # names of sources have no blanks
awk -f "$top/tests/lib/man-errors.awk" "$top/include/dmo/ioctl.h" "$src/lib/libdmo.map" "$src/core/abi.c" \
	$(for name in ioctl map key migrate pin query advice fault; do echo "$src/engine/$name.c"; done) \
	$(for name in space itree attr; do echo "$src/core/$name.c"; done) "$src"/lib/*.c | sort -u >"$tmp/returned"
[ "$(wc -l <"$tmp/returned")" -gt 200 ] || missing "most errors of the sources: man-errors.awk has lost them"
while read -r name error; do
	case $name in
	DMO_IOC_*) page=ioctl_dmo_$(echo "${name#DMO_IOC_}" | tr '[:upper:]' '[:lower:]').2 ;;
	*) page=$name.3 ;;
	esac
	page_has "$page" "$error" || grep -q "^$name $error	" "$tmp/never" || missing "$error in $page"
done <"$tmp/returned"

# The service's own options, levels, control files and counters, in dmofs(8); a simulated device's keys, in dmo-sim(7).
options_c=$top/fuse/options.c
{
	sed -n '/ valued\[\]/,/^};/s/^\t{ "\([a-z]*\)".*/\1/p' "$options_c"
	sed -n '/ kernel_flags\[\]/,/^};/p; / ignored\[\]/,/^};/p' "$options_c" | grep -o '"[a-z_]*"' | tr -d '"'
	sed -n 's/.*strcmp(word, "\([a-z]*\)").*/\1/p' "$options_c"
	sed -n '/ names\[\] =/s/.*"crit"//p' "$top/fuse/log.c" | grep -o '"[a-z]*"' | tr -d '"'
	sed -n '/ eng_device_files\[\]/,/^};/p' "$src/engine/control.c" | grep -o '"[a-z.]*"' | tr -d '"'
	sed -n '/^static int take_option(/,/^}/p' "$src/engine/device.c" | grep -o '"[a-z.]*"' | tr -d '"'
} >"$tmp/items"
[ "$(wc -l <"$tmp/items")" -gt 50 ] || missing "most words of the service: the reader of this test has lost them"
sed -e ':a' -e '/\\$/N' -e 's/\\\n//' -e 'ta' "$man/dmofs.8" | grep '^\.It ' >"$tmp/headings"
while read -r word; do
	grep -q -w -F -e "$word" "$tmp/headings" || missing "$word in a heading of dmofs.8"
done <"$tmp/items"
sed -n '/ stats\[\]/,/^};/p' "$src/engine/control.c" | sed -n 's/^\tSTAT(\([a-z_]*\),.*/\1/p' >"$tmp/stats"
[ "$(wc -l <"$tmp/stats")" -gt 8 ] || missing "most counters of a device"
while read -r word; do
	grep -q -w -F -e "$word" "$man/dmofs.8" || missing "$word in dmofs.8"
done <"$tmp/stats"
sed -n 's/^\tFS_EXIT_[A-Z]* = \([0-9]*\),.*/\1/p' "$top/fuse/options.h" >"$tmp/statuses"
[ "$(wc -l <"$tmp/statuses")" -gt 4 ] || missing "exit statuses in fuse/options.h"
while read -r status; do
	sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EX/p' "$man/dmofs.8" | grep -q "^\.It $status\$" ||
		missing "status $status in dmofs.8"
done <"$tmp/statuses"
sed -n '/ options\[\] =/,/^};/s/^\t{ "\([a-z]*\)",.*/\1/p' "$src/device/sim_spec.c" >"$tmp/keys"
[ "$(wc -l <"$tmp/keys")" -gt 4 ] || missing "keys in src/device/sim_spec.c"
while read -r key; do
	grep -q "^\.It Cm $key " "$man/dmo-sim.7" || missing "$key in dmo-sim.7"
done <"$tmp/keys"

# Pages: installed, their references there, well formed.
for page in "$man"/*.[1-8]; do
	name=$(basename "$page")
	grep -q -w -F "man/$name" "$man/Makefile.inc" || missing "man/$name in man/Makefile.inc"
	so=$(sed -n '1s/^\.so man[0-9]\///p' "$page")
	[ -z "$so" ] || [ -e "$man/$so" ] || missing "$so, to which $name refers"
done
grep -h -o '^\.Xr \(dmo\|ioctl_dmo\|libdmo\)[a-z_-]* [0-9]' "$man"/*.[1-8] | sort -u >"$tmp/refs"
while read -r _ name section; do
	[ -e "$man/$name.$section" ] || missing "$name($section), to which some page refers"
done <"$tmp/refs"

for tool in mandoc groff; do
	command -v $tool >/dev/null && continue
	[ $bad -eq 0 ] || exit 1
	echo "$tool is not there: form and options were not looked at"
	exit 77
done
for page in "$man"/*.[1-8]; do
	head -n 1 "$page" | grep -q '^\.so ' || mandoc -T lint -W warning "$page" || bad=1
done

# rendered PAGE: what a reader sees of it, in $tmp/text
rendered() {
	mandoc -T ascii "$man/$1" | col -b >"$tmp/text"
}

# options PAGE PROGRAM ARGUMENT...: each option of a help text, short or long, is in the page as it is rendered
options() {
	page=$1
	shift
	"$@" 2>&1 | sed '/^Examples:/,$d' | grep -o -e '\(^\|[ [|]\)--*[A-Za-z][a-z-]*' | tr -d ' [|' |
		sort -u >"$tmp/options"
	[ -s "$tmp/options" ] || missing "options in the output of $*"
	while read -r option; do
		grep -q -e "\(^\|[^-a-z0-9]\)$option\($\|[^-a-z0-9]\)" "$tmp/text" || missing "$option ($*) in $page"
	done <"$tmp/options"
}

rendered dmoctl.1
"$build/src/ctl/dmoctl" help | sed -n 's/^  \([a-z]*\) .*/\1/p' >"$tmp/commands"
[ "$(wc -l <"$tmp/commands")" -gt 10 ] || missing "commands in the output of dmoctl help"
while read -r command; do
	grep -q "^\.It Cm $command\>" "$man/dmoctl.1" || missing "$command in dmoctl.1"
	[ "$command" = help ] || options dmoctl.1 "$build/src/ctl/dmoctl" help "$command"
done <"$tmp/commands"
rendered dmofs.8
options dmofs.8 "$build/fuse/dmofs" --help

# What man(1) itself would complain about.
for page in "$man"/*.[1-8]; do
	head -n 1 "$page" | grep -q '^\.so ' && continue
	groff -mandoc -T utf8 -ww -z "$page" >"$tmp/warnings" 2>&1
	[ ! -s "$tmp/warnings" ] || { cat "$tmp/warnings"; bad=1; }
done
exit $bad
