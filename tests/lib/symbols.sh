#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The symbol map, the header and the shared library name the same calls.
set -eu
top=${top_srcdir:-.}
build=${top_builddir:-.}
map=$top/src/lib/libdmo.map
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

sed -n 's/^\t\(dmo_[a-z_0-9]*\);$/\1/p' "$map" | LC_ALL=C sort >"$tmp/map"
${CC:-cc} -E -P -I"$top/include" "$top/include/dmo/dmo.h" | tr '\n' ' ' |
	grep -o 'dmo_[a-z_0-9]*(' | tr -d '(' | LC_ALL=C sort -u >"$tmp/header"
diff -u "$tmp/header" "$tmp/map" || { echo "the header (-) and the symbol map (+) differ"; exit 1; }

lib=$build/src/lib/.libs/libdmo.so
[ -e "$lib" ] || { echo "no shared library was built"; exit 77; }
nm -D --defined-only "$lib" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort >"$tmp/lib"
diff -u "$tmp/map" "$tmp/lib" || { echo "the symbol map (-) and the library (+) differ"; exit 1; }
case $(objdump -p "$lib" | awk '/SONAME/ { print $2 }') in
libdmo.so.0) ;;
*) echo "the library's soname is not libdmo.so.0"; exit 1 ;;
esac
