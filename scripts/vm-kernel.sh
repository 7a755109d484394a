# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154
# The kernels that scripts/vm boots: Debian's packages, fetched and unpacked into a cache and never installed; and the
# debug kernel, built from Debian's source. Sourced, with scripts/common.sh. A kernel's folder holds boot/ and
# lib/modules/VERSION/, as its package does, and is whole when boot/vmlinuz-VERSION is there.

kernels=${XDG_CACHE_HOME:-${HOME:?}/.cache}/dmofs/kernels
debug_config=$top/scripts/vm-debug.config

# kernel_version SERIES: the version that SERIES stands for: the newest that apt or, without apt, the cache has
kernel_version() {
	case $1 in
	6.1) package=linux-image-amd64 ;;
	*) package=linux-image-$1-amd64 ;;
	esac
	version=$(depends_of "$package" "linux-image-$1\.[0-9]" | sed -n '1s/^linux-image-//p')
	[ -n "$version" ] || version=$(find "$kernels" -mindepth 1 -maxdepth 1 -name "$1.*-amd64" -printf '%f\n' \
		2>/dev/null | sort -V | tail -n 1)
	[ -n "$version" ] || die "no kernel $1: apt knows no $package (apt-get update?), and $kernels has none"
	printf '%s\n' "$version"
}

# depends_of PACKAGE PATTERN: its direct dependencies that begin so
depends_of() { apt-cache depends --no-recommends "$1" 2>/dev/null | sed -n "s/^[ |]*Depends: \($2.*\)/\1/p"; }

# fetch DIR PACKAGE...: downloads packages and unpacks them into DIR, which appears when it is whole
fetch() {
	dir=$1
	shift
	mkdir -p "${dir%/*}" || die "no folder for kernels: ${dir%/*} can't be made; set XDG_CACHE_HOME"
	part=$(mktemp -d "${dir%/*}/.part.XXXXXX") && chmod 755 "$part" || die "no space in ${dir%/*}?"
	say "vm: fetching $* ..." >&2
	(cd "$part" && download "$@") </dev/null >"$part/log" 2>&1 || {
		tail -n 3 "$part/log" >&2
		rm -rf "$part"
		die "$* can't be downloaded or unpacked; is the list of packages old (apt-get update)?"
	}
	rm "$part/log"
	mv -T "$part" "$dir" 2>/dev/null || rm -rf "$part"	# somebody else was faster
}

download() {
	apt-get -qq download "$@" || return
	for deb in ./*.deb; do
		dpkg-deb -x "$deb" . && rm "$deb" || return
	done
}

# stock_kernel VERSION: the folder of that kernel: Debian's, or a debug kernel built before
stock_kernel() {
	if [ ! -e "$kernels/$1/boot/vmlinuz-$1" ]; then
		case $1 in *-debug-*) die "the debug kernel $1 is not built: scripts/vm --debug --image" ;; esac
		fetch "$kernels/$1" "linux-image-$1"
	fi
	[ -e "$kernels/$1/lib/modules/$1/modules.dep" ] || depmod -b "$kernels/$1" "$1" ||
		die "depmod failed on $kernels/$1; remove that folder to fetch it again"
	printf '%s\n' "$kernels/$1"
}

# stock_kdir VERSION: what modules are built against: the installed headers, or those fetched
stock_kdir() {
	kdir=/usr/src/linux-headers-$1
	if [ ! -e "$kdir/include/config/kernel.release" ]; then
		kdir=$kernels/$1-headers/usr/src/linux-headers-$1
		# shellcheck disable=SC2046 # a list of words
		[ -d "$kdir" ] || fetch "$kernels/$1-headers" "linux-headers-$1" $(
			depends_of "linux-headers-$1" 'linux-headers-'; depends_of "linux-headers-$1" 'linux-kbuild-')
		sed -i "s|^include /usr/src/|include $kernels/$1-headers/usr/src/|" "$kdir/Makefile"
	fi
	printf '%s\n' "$kdir"
}

# source_archive: Debian's kernel source, the installed package's or a fetched one's
source_archive() {
	for archive in /usr/src/linux-source-6.12.tar.xz "$kernels/source/usr/src/linux-source-6.12.tar.xz"; do
		[ ! -e "$archive" ] || break
	done
	[ -e "$archive" ] || fetch "$kernels/source" linux-source-6.12
	printf '%s\n' "$archive"
}

# checkpatch: the kernel's style checker, with the word lists that it reads
checkpatch() {
	dir=$kernels/checkpatch
	if [ ! -e "$dir/scripts/checkpatch.pl" ]; then
		archive=$(source_archive) || exit
		mkdir -p "$dir" && tar -C "$dir" --strip-components=1 -xf "$archive" linux-source-6.12/scripts/spelling.txt \
			linux-source-6.12/scripts/const_structs.checkpatch linux-source-6.12/scripts/checkpatch.pl ||
			die "$archive has no checkpatch.pl?"
	fi
	printf '%s\n' "$dir/scripts/checkpatch.pl"
}

# debug_version: the version of the debug kernel; another configuration makes another one
debug_version() {
	version=$(kernel_version 6.12) || exit
	printf '%s-debug-%x\n' "${version%-amd64}" "$(($(cksum <"$debug_config" | cut -d' ' -f1) & 0xffff))"
}

# debug_kernel VERSION: builds it unless it is there; one at a time does
debug_kernel() {
	[ ! -e "$kernels/$1/boot/vmlinuz-$1" ] || return 0
	mkdir -p "$kernels/$1/boot" || die "no folder for kernels: $kernels can't be made; set XDG_CACHE_HOME"
	(
		flock 8
		[ -e "$kernels/$1/boot/vmlinuz-$1" ] || build_debug "$1" "$kernels/$1"
	) 8>"$kernels/$1/lock" || exit
}

# build_debug VERSION DIR: one that was stopped goes on where it was
build_debug() {
	say "vm: building the debug kernel $1: ten minutes or so, the first time only; its words are in $2/log ..." >&2
	if [ ! -e "$2/source/Makefile" ]; then
		archive=$(source_archive) || exit
		mkdir -p "$2/source" && tar -C "$2/source" --strip-components=1 -xf "$archive" || die "no space in $kernels?"
	fi
	make_debug "${1#"$(make -s -C "$2/source" kernelversion)"}" "$2" >"$2/log" 2>&1 ||
		die "the debug kernel can't be built (needs: $(packages kernel | tr '\n' ' ')); see $2/log, which has:" \
			"$(grep -iE 'error|\*\*\*|not found' "$2/log" | tail -n 3)"
	strip_debug "$2"
	cp "$2/build/.config" "$2/boot/config-$1" && cp "$2/build/arch/x86/boot/bzImage" "$2/boot/vmlinuz-$1"
}

# make_debug LOCALVERSION DIR
make_debug() {
	dir=$2
	set -- -C "$dir/source" "O=$dir/build" "LOCALVERSION=$1" "KCONFIG_ALLCONFIG=$debug_config"
	make "$@" allnoconfig || return
	missing=$(grep -v '^#' "$debug_config" | grep -vxF -f "$dir/build/.config")
	[ -z "$missing" ] || { say "error: the configuration did not take: $missing"; return 1; }
	nice make "$@" -j"$(nproc)" bzImage modules && make "$@" INSTALL_MOD_PATH="$dir" modules_install
}

# strip_debug DIR: modules are built against what remains; gdb reads build/vmlinux
strip_debug() {
	find "$1/build" \( -name '*.o' -o -name '*.a' -o -name '.*.cmd' \) ! -path '*/scripts/*' ! -path '*/tools/*' -delete
	find "$1/source" -mindepth 1 -maxdepth 1 -type d ! -name include ! -name scripts ! -name arch ! -name tools \
		-exec rm -rf {} +
	find "$1/source/arch" -mindepth 1 -maxdepth 1 -type d ! -name x86 -exec rm -rf {} +
}
