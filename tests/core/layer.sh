#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# layer.sh - who may include whom, and that the core needs nothing but its environment
#
# 1. The core's objects ask for no symbol but memset, memcpy, memmove, memcmp and dmo_env_bug.
# 2. Files of the core include "dmo_env.h", "core/..." and <dmo/ioctl.h> alone, and do not know which home they are in.
# 3. The engine does not know FUSE; the library and the command line know the public headers alone.
# 4. The conformance suite uses the public library alone, and only a home's own file knows how it is mounted.
src=${top_srcdir:-.}/src
build=${top_builddir:-.}
bad=0

complain() {
	echo "layer: $1"
	shift
	printf '%s\n' "$@"
	bad=1
}

# includes FOLDER...: lines "file:#include ..." of the C files there
includes() {
	for folder; do
		[ -d "$folder" ] && grep -rE '^[[:space:]]*#[[:space:]]*include' --include='*.c' --include='*.h' "$folder"
	done
}

found=$(includes "$src/core" | grep -vE 'include +("dmo_env\.h"|"core/[a-z_]+\.h"|<dmo/ioctl\.h>)')
[ -z "$found" ] || complain "the core includes what it must not:" "$found"

found=$(grep -rnE '__KERNEL__|__linux__|__unix__' "$src/core" --include='*.c' --include='*.h')
[ -z "$found" ] || complain "the core asks where it runs:" "$found"

found=$(includes "$src/engine" | grep -E 'include +[<"].*fuse')
[ -z "$found" ] || complain "the engine includes FUSE:" "$found"

found=$(includes "$src/lib" "$src/ctl" | grep -E 'include +"(core|engine|env|device|fuse|dmo_env)[/.]')
[ -z "$found" ] || complain "library or command line includes more than public headers:" "$found"

conformance=${top_srcdir:-.}/tests/conformance
found=$(includes "$conformance" | grep -E 'include +"' | grep -vE 'include +"(kit|home|world|devices)\.h"')
[ -z "$found" ] || complain "the conformance suite includes more than the public library:" "$found"

found=$(grep -nE 'fusermount|fuse/dmofs|/dev/fuse|[^a-z_]u?mount\(' "$conformance"/*.[ch] | grep -vE '/(home_[a-z]*|world)\.c:')
[ -z "$found" ] || complain "a conformance test knows its home:" "$found"

[ $bad = 0 ] || exit 1

archive=$build/src/core/.libs/libcore.a
if ! [ -f "$archive" ]; then
	echo "layer: includes are in order; no $archive to look at"
	exit 77
fi
needed=$("${NM:-nm}" -u "$archive") || exit 1
case $needed in
*__asan_*|*__ubsan_*|*__tsan_*|*__gcov_*)
	echo "layer: includes are in order; symbols can't be judged in a build with sanitizers or coverage"
	exit 77
esac
defined=$("${NM:-nm}" --defined-only "$archive" | awk 'NF == 3 { print $3 }')
foreign=$(printf '%s\n' "$needed" | awk '$1 == "U" { print $2 }' | sort -u |
	grep -vxE 'memset|memcpy|memmove|memcmp|dmo_env_bug|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_' |
	grep -vxF -e "$defined")
[ -z "$foreign" ] || complain "the core needs symbols that its environment does not promise:" "$foreign"
exit $bad
