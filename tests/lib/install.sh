#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# A program outside of this tree compiles, links and runs against what "make install" put down, found by pkg-config.
# A library built with sanitizers brings their runtime to a program that was not.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0"
set -eu
build=${top_builddir:-.}
command -v pkg-config >/dev/null || { echo 'skipped: pkg-config is missing'; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

MAKEFLAGS='' make -s -C "$build" install-libLTLIBRARIES install-pkgconfigDATA install-dmoincludeHEADERS \
	DESTDIR="$tmp" >"$tmp/log" 2>&1 || { cat "$tmp/log"; exit 1; }
pc=$(find "$tmp" -name libdmo.pc)
[ -f "$pc" ] || { echo 'no libdmo.pc was installed'; exit 1; }
PKG_CONFIG_PATH=$(dirname "$pc") PKG_CONFIG_SYSROOT_DIR=$tmp
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR

cat >"$tmp/program.c" <<'END'
#include <dmo/dmo.h>
#include <errno.h>
#include <stdio.h>

int main(void)
{
	struct dmo_info info;

	puts(dmo_version());
	return dmo_info(-1, &info) != -EBADF;
}
END
# shellcheck disable=SC2046
${CC:-cc} -std=c99 -Wall -Wextra -Wpedantic -Werror -o "$tmp/program" "$tmp/program.c" \
	$(pkg-config --cflags --libs libdmo)
libdir=$(pkg-config --variable=libdir libdmo)
[ -e "$libdir/libdmo.so" ] || libdir=$tmp$libdir
said=$(LD_LIBRARY_PATH="$libdir" "$tmp/program") || { echo "the program failed: $said"; exit 1; }
[ "$said" = "$(pkg-config --modversion libdmo)" ] || { echo "version $said is not libdmo.pc's"; exit 1; }
LD_LIBRARY_PATH="$libdir" ldd "$tmp/program" | grep -q "libdmo.so.0 => $tmp" ||
	{ echo 'the program does not use the installed library'; exit 1; }
