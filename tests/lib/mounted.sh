# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# Sourced: a store mounted at $mnt with a device npu0 of 32 MiB (or as $1 says, further devices behind it), in a
# directory $work that goes with the test. Skips where that can't be had.
# shellcheck disable=SC2034
top=$(cd "${top_srcdir:-.}" && pwd)
build=$(cd "${top_builddir:-.}" && pwd)
# shellcheck disable=SC2034
ctl=$build/src/ctl/dmoctl
work='' service=''

skip() { echo "skipped: $*"; exit 77; }

finish() {
	status=$?
	trap - EXIT
	cd /
	if [ -n "$service" ]; then
		umount "$mnt" || { umount -l "$mnt"; kill "$service"; status=1; }
		wait "$service" || { echo "dmofs ended with status $?"; status=1; }
		[ "$status" = 0 ] || cat "$work/log"
	fi
	[ -z "$work" ] || rm -rf --one-file-system "$work"
	exit "$status"
}

# mounted DEVICE-SPEC...
mounted() {
	[ -c /dev/fuse ] || skip '/dev/fuse is missing'
	[ "$(id -u)" = 0 ] || skip 'needs root'
	[ -x "$build/fuse/dmofs" ] || skip 'dmofs is not built'
	work=$(mktemp -d "${TMPDIR:-/tmp}/dmo-lib.XXXXXX") || exit 99
	mnt=$work/mnt store=$work/store
	mkdir "$mnt" "$store"
	trap finish EXIT
	trap 'exit 129' HUP INT TERM
	devices=''
	for spec; do
		devices="$devices --device $spec"
	done
	# shellcheck disable=SC2086
	"$build/fuse/dmofs" -f "$store" "$mnt" $devices >"$work/log" 2>&1 &
	service=$!
	for _ in $(seq 1200); do
		mountpoint -q "$mnt" && return
		kill -0 "$service" 2>/dev/null || break
		sleep 0.05
	done
	cat "$work/log"
	service=''
	echo 'the mount did not come up'
	exit 99
}
