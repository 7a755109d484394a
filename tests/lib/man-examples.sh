#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What the pages show in C is right: the examples compile, the prototypes of a synopsis are the library's, the
# structures have the members of the ABI's at the same places.
set -u
top=${top_srcdir:-.}
man=$top/man
CC=${CC:-cc}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0

command -v "${CC%% *}" >/dev/null || { echo "no C compiler ($CC)"; exit 77; }

# compiles WHAT: $tmp/WHAT.c, with all warnings but those of names that a snippet leaves unused
compiles() {
	$CC -std=gnu17 -Wall -Wextra -Werror -Wno-unused -Wno-unused-parameter -Wno-sign-compare -fsyntax-only \
		-I"$top/include" "$tmp/$1.c" 2>"$tmp/errors" && return
	echo "$1:"
	sed "s|$tmp/||" "$tmp/errors" | head -n 10
	bad=1
}

# literal PAGE SECTION: the literal displays of a section ("." for any), as a reader sees them, an empty line after each
literal() {
	awk -v section="$2" '
		/^\.Sh / { on = $0 ~ section }
		/^\.Bd -literal/ && on { text = 1; next }
		/^\.Ed/ { if (text) print ""; text = 0 }
		text' "$man/$1" | sed 's/\\e/\\/g; s/\\-/-/g; s/\\&//g; s/^\.Pp$//'
}

# Examples: whole programs as they are, pieces in a function that has what they speak of.
count=0
for page in "$man"/*.[23]; do
	name=$(basename "$page")
	grep -q '^\.Sh EXAMPLES' "$page" || continue
	literal "$name" EXAMPLES >"$tmp/text"
	if grep -q 'int main(' "$tmp/text"; then
		cp "$tmp/text" "$tmp/$name.c"
	else
		{
			printf '#include <%s>\n' dmo/dmo.h err.h errno.h fcntl.h poll.h stdio.h string.h sys/ioctl.h sys/mman.h unistd.h
			echo 'void prepare(void);'
			echo 'int example(int fd, struct dmo_as *as, uint32_t npu0);'
			echo 'int example(int fd, struct dmo_as *as, uint32_t npu0) { uint64_t va = 0; int r = 0; {'
			cat "$tmp/text"
			echo '} return r; }'
		} >"$tmp/$name.c"
	fi
	compiles "$name"
	count=$((count + 1))
done
[ $count -gt 4 ] || { echo "most examples are gone"; bad=1; }

# Prototypes: a second declaration that differs is an error.
{
	echo '#include <dmo/dmo.h>'
	awk '
		FNR == 1 { on = 0 }
		/^\.Sh / { on = $2 == "SYNOPSIS" }
		!on { next }
		/^\.Ft / { type = $0; sub(/^\.Ft /, "", type); gsub(/"/, "", type) }
		/^\.Fo / { name = $2; list = "" }
		/^\.Fa / { arg = $0; sub(/^\.Fa /, "", arg); gsub(/"/, "", arg); list = list (list == "" ? "" : ", ") arg }
		/^\.Fc/ { print type " " name "(" (list == "" ? "void" : list) ");" }' "$man"/*.3
} >"$tmp/synopses.c"
sed -n 's/^\t\(dmo_[a-z_0-9]*\);$/\1/p' "$top/src/lib/libdmo.map" | while read -r call; do
	grep -q "[ *]$call(" "$tmp/synopses.c" || echo "no synopsis shows $call"
done >"$tmp/undeclared"
[ ! -s "$tmp/undeclared" ] || { cat "$tmp/undeclared"; bad=1; }
compiles synopses

# Structures, under other names beside the real ones.
{
	printf '#include <%s>\n' dmo/ioctl.h stddef.h
	for page in "$man"/ioctl_dmo*.2 "$man"/dmo_command.7; do
		literal "$(basename "$page")" . | awk '
			/^struct dmo_[a-z_]* \{/ { name = $2; n = 0; print "struct page_" name " {"; on = 1; next }
			on && /^};/ {
				print "};\n_Static_assert(sizeof(struct page_" name ") == sizeof(struct " name "), \"" name "\");"
				for (i = 0; i < n; i++)
					print "_Static_assert(offsetof(struct page_" name ", " member[i] ") == offsetof(struct " name \
						", " member[i] "), \"" name "." member[i] "\");"
				on = 0
			}
			on {
				print
				line = $0
				sub(/[[;].*/, "", line)
				sub(/.*[ \t*]/, "", line)
				if (line != "")
					member[n++] = line
			}'
	done
} >"$tmp/structures.c"
[ "$(grep -c '^struct' "$tmp/structures.c")" -gt 10 ] || { echo "most structures are gone from the pages"; bad=1; }
compiles structures
exit $bad
