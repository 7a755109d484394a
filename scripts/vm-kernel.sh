# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# The kernels that scripts/vm boots: Debian's packages, fetched and unpacked into a cache and never installed.
# Sourced, with scripts/common.sh. A kernel's folder holds boot/ and lib/modules/VERSION/, as its package does.

kernels=${XDG_CACHE_HOME:-${HOME:?}/.cache}/dmofs/kernels

# kernel_version SERIES: the version that SERIES stands for: the newest that apt or, without apt, the cache has
kernel_version() {
	case $1 in
	6.1) package=linux-image-amd64 ;;
	*) package=linux-image-$1-amd64 ;;
	esac
	version=$(apt-cache depends --no-recommends "$package" 2>/dev/null |
		sed -n "s/^ *Depends: linux-image-\($1\.[0-9].*\)/\1/p" | head -n 1)
	[ -n "$version" ] || version=$(find "$kernels" -mindepth 1 -maxdepth 1 -name "$1.*" -printf '%f\n' 2>/dev/null |
		sort -V | tail -n 1)
	[ -n "$version" ] || die "no kernel $1: apt knows no $package (apt-get update?), and $kernels has none"
	printf '%s\n' "$version"
}

# fetch DIR PACKAGE...: downloads packages and unpacks them into DIR, which appears when it is whole
fetch() {
	dir=$1
	shift
	mkdir -p "${dir%/*}" || die "no folder for kernels: ${dir%/*} can't be made; set XDG_CACHE_HOME"
	part=$(mktemp -d "${dir%/*}/.part.XXXXXX") && chmod 755 "$part" || die "no space in ${dir%/*}?"
	say "vm: fetching $* ..." >&2
	# shellcheck disable=SC2015 # die ends it
	(cd "$part" && apt-get -qq download "$@" && for deb in ./*.deb; do dpkg-deb -x "$deb" . && rm "$deb"; done) \
		</dev/null >"$part/log" 2>&1 || { tail -n 3 "$part/log" >&2; rm -rf "$part"
			die "$* can't be downloaded or unpacked; is the list of packages old (apt-get update)?"; }
	rm "$part/log"
	mv -T "$part" "$dir" 2>/dev/null || rm -rf "$part"	# somebody else was faster
}

# stock_kernel VERSION: the folder of that Debian kernel
stock_kernel() {
	if [ ! -d "$kernels/$1" ]; then
		fetch "$kernels/$1" "linux-image-$1"
		[ -d "$kernels/$1" ] || die "no folder $kernels/$1"
	fi
	[ -e "$kernels/$1/lib/modules/$1/modules.dep" ] || depmod -b "$kernels/$1" "$1" ||
		die "depmod failed on $kernels/$1; remove that folder to fetch it again"
	printf '%s\n' "$kernels/$1"
}
