# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# What quickstart and check share: packages, a private copy of the sources, output. Sourced, with $top set.

# A make that started us has no say in the builds here.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# packages PURPOSE...: the Debian packages of these purposes, a line each
packages() {
	for purpose; do
		sed -n "s/^$purpose: //p" "$top/scripts/packages"
	done | tr ' ' '\n' | sort -u
}

# missing_packages PURPOSE...: those of them that are not installed
missing_packages() {
	for package in $(packages "$@"); do
		case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
		installed) ;;
		*) printf '%s\n' "$package" ;;
		esac
	done
}

# install_packages LOG PURPOSE...: installs what is missing; LOG gets apt's words
install_packages() {
	log=$1
	shift
	missing=$(missing_packages "$@")
	if [ -z "$missing" ]; then
		say "packages: all there"
		return 0
	fi
	[ "$(id -u)" = 0 ] || die "these packages are missing, and installing them needs root: $missing"
	say "packages: installing $(printf '%s\n' "$missing" | wc -l) ..."
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq update </dev/null >>"$log" 2>&1 ||
		die "apt-get update failed (network? sources?): $(tail -n 1 "$log")"
	# shellcheck disable=SC2086 # a list of words
	apt-get -qq install --no-install-recommends $missing </dev/null >>"$log" 2>&1 ||
		die "apt-get install failed: $(grep '^E:' "$log" | tail -n 1)"
}

# copy_sources DIR: the sources without anything that a build in the checkout may have left there
copy_sources() {
	mkdir -p "$1" && tar -C "$top" -cf - --mode=u+w --exclude=./.git --exclude='./build*' --exclude='*.o' --exclude='*.lo' \
		--exclude='*.la' --exclude='*.log' --exclude='*.trs' --exclude=.libs --exclude=.deps --exclude=.dirstamp \
		--exclude=./Makefile --exclude=./config.status --exclude=./config.h --exclude=./stamp-h1 \
		--exclude=./autom4te.cache . | tar -C "$1" -xf - --no-same-owner
}

# seconds since the epoch, with hundredths
now() { date +%s.%2N; }
# since START: seconds since then, with a tenth
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }
