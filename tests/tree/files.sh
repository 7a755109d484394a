# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# Sourced by the tests of this folder: goes to the top of the sources; source_files lists what people wrote.
cd "${top_srcdir:-$(dirname "$0")/../..}" || exit 99

source_files() {
	if [ -e .git ] && git -c safe.directory='*' ls-files -co --exclude-standard 2>/dev/null; then
		return
	fi
	find . \( -name 'build*' -o -name autom4te.cache -o -name m4 -o -name .libs -o -name .deps -o -name .git \) -prune \
		-o -type f ! -name '*.o' ! -name '*.lo' ! -name '*.la' ! -name '*.log' ! -name '*.trs' \
		! -name Makefile ! -name Makefile.in ! -name 'configure*' ! -name aclocal.m4 ! -name 'config.*' \
		! -name 'stamp-h*' ! -name libtool -print | sed 's|^\./||'
}

skip() { echo "$*"; exit 77; }
