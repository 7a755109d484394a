# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# Sourced by the tests of this folder. begin makes $work with a store mounted at $mount through dmofs and a simulated
# device npu0; churn lets the device work on files in the background; all ends with the test.
top_srcdir=${top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
top_builddir=${top_builddir:-$(pwd)}
dmofs=$top_builddir/fuse/dmofs
dmoctl=$top_builddir/src/ctl/dmoctl
work='' churn_pid='' service=''

skip() { echo "$*"; exit 77; }
fail() { echo "FAILED: $*"; exit 1; }

# need COMMAND...: skips where one is missing
need() {
	for command; do
		command -v "$command" >/dev/null || skip "$command is not installed"
	done
}

finish() {
	status=$?
	trap - EXIT INT TERM HUP
	stop_churn
	[ -z "$service" ] || end_service || { [ "$status" != 0 ] || status=1; }
	[ -z "$work" ] || rm -rf --one-file-system "$work"
	exit "$status"
}

# begin DEVICE-OPTIONS [STORE-PARENT]: mounts, in the foreground mode so that the process is ours
begin() {
	[ -c /dev/fuse ] || skip "/dev/fuse is missing"
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -x "$dmofs" ] || fail "$dmofs is not built"
	work=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/dmofs-foreign.XXXXXX") || fail "no temporary folder"
	chmod 755 "$work"
	trap finish EXIT
	trap 'exit 129' HUP INT TERM
	mkdir "$work/store" "$work/mnt"
	mount=$work/mnt
	"$dmofs" -f "$work/store" "$mount" --device "sim:npu0,$1" >"$work/service.log" 2>&1 &
	service=$!
	for _ in $(seq 600); do
		mountpoint -q "$mount" && return 0
		kill -0 "$service" 2>/dev/null || break
		sleep 0.1
	done
	cat "$work/service.log"
	fail "the mount did not come up"
}

end_service() {
	for _ in $(seq 120); do
		umount "$mount" 2>/dev/null && break
		sleep 0.5
	done
	if mountpoint -q "$mount"; then
		echo "FAILED: the mount is still in use"
		umount -l "$mount"
		kill "$service" 2>/dev/null
		return 1
	fi
	wait "$service" || { echo "FAILED: dmofs ended with status $?"; cat "$work/service.log"; return 1; }
}

# window FILE ROUND: 2 MiB of the file as dmoctl's --range, a different piece each round; all of a small file
window() {
	size=$(stat -c %s "$1") length=2097152
	[ "$size" -gt "$length" ] || length=$size
	printf '%s:%s' $(($2 * 1314816 % (size - length + 1) / 4096 * 4096)) "$length"
}

# churn FILE...: until the test ends the device reads the files, they go to its memory piece by piece and back
churn() {
	(
		trap 'exit 0' TERM
		round=0
		while :; do
			for file; do
				[ -s "$file" ] || continue
				for piece in 1 2 3; do
					round=$((round + piece))
					"$dmoctl" prefetch --device npu0 --range "$(window "$file" "$round")" "$file" >/dev/null &&
						echo prefetch
				done
				"$dmoctl" sum "$file" >/dev/null && echo sum
				"$dmoctl" evict "$file" >/dev/null && echo evict
			done
			sleep 0.05
		done
	) >"$work/churn" 2>"$work/churn.errors" &
	churn_pid=$!
}

# came_through: the device has been at work since churn: each kind of work at least three times
came_through() {
	for kind in prefetch sum evict; do
		[ "$(grep -c "$kind" "$work/churn")" -ge 3 ] || return 1
	done
}

# counter NAME: of the device
counter() { sed -n "s/^$1 //p" "$mount/.dmo/devices/npu0/memory.stat"; }

stop_churn() {
	[ -n "$churn_pid" ] || return 0
	kill "$churn_pid" 2>/dev/null
	wait "$churn_pid" 2>/dev/null
	churn_pid=
}

# churned: the device must have been at work meanwhile; where it is slow it gets some more time
churned() {
	for _ in $(seq 1200); do
		came_through && break
		sleep 0.1
	done
	stop_churn
	echo "meanwhile: $(sort "$work/churn" | uniq -c | tr -s ' \n' ' ')"
	came_through || { sort "$work/churn.errors" | uniq -c | sort -rn | head -n 10; fail "the device was hardly at work"; }
}
