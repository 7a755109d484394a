#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The completions offer each command and option that the programs know, and nothing that they don't.
set -u
top=${top_srcdir:-.}
build=$(cd "${top_builddir:-.}" && pwd)
ctl=$build/src/ctl/dmoctl
bad=0
# shellcheck disable=SC2317
compopt() { :; }
# shellcheck source=/dev/null
. "$top/completions/dmoctl"
# shellcheck source=/dev/null
. "$top/completions/dmofs"

# offered FUNCTION WORD...: what completion offers for the last word, a line each
offered() {
	local function=$1
	shift
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	"$function"
	printf '%s\n' "${COMPREPLY[@]}"
}

same() {
	[ "$2" = "$3" ] && return
	printf '%s:\nthe program has:\n%s\nthe completion offers:\n%s\n' "$1" "$2" "$3"
	bad=1
}

commands=$("$ctl" help | sed -n 's/^  \([a-z]*\) .*/\1/p' | sort)
same 'commands' "$commands" "$(offered _dmoctl dmoctl '' | grep -v '^-' | sort)"
for command in $commands; do
	[ "$command" = help ] && continue
	same "options of $command" \
		"$("$ctl" help "$command" | sed '/^Examples:/,$d' | grep -o -e '--[a-z][a-z-]*' | sort -u)" \
		"$(offered _dmoctl dmoctl "$command" - | grep -e '--[a-z]' | sort)"
done
advice=$("$ctl" advise x nonsense 2>&1 | sed -n 's/.*advice is one of //p' | tr ' ' '\n' | sort)
cd /proc/self/fdinfo || exit 1
same 'advice' "$advice" "$(offered _dmoctl dmoctl advise file '' | grep '^[a-z]' | sort)"
same 'help' 'sum' "$(offered _dmoctl dmoctl help su)"
same 'levels' 'debug' "$(offered _dmofs dmofs --log-level d)"
same 'a list of mount options' 'ro,passthrough' "$(offered _dmofs dmofs -o ro,passth)"
same 'options of a device' 'sim:npu0,memory=1M,latency=' "$(offered _dmofs dmofs -d sim:npu0,memory=1M,lat)"
if [ -x "$build/fuse/dmofs" ]; then
	same 'options of dmofs' \
		"$("$build/fuse/dmofs" --help | sed '/^Examples:/,$d' | grep -o -e '--[a-z][a-z-]*' | sort -u)" \
		"$(offered _dmofs dmofs - | grep -e '--[a-z]' | sort)"
fi
exit $bad
