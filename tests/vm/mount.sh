#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs in the machine of mount.test: a line "ok NAME" or "FAIL NAME" for each behaviour; exits 1 where one failed.
bad=0

# expect NAME COMMAND...
expect() {
	name=$1
	shift
	if "$@" >/tmp/words 2>&1; then echo "ok $name"; else echo "FAIL $name"; sed 's/^/  /' /tmp/words; bad=1; fi
}

is() { [ "$1" = "$2" ] || { echo "$1, not $2"; return 1; }; }
bytes() { head -c "$2" "$1" | od -An -tx1 | tr -d ' \n'; }
at_least() { awk '{ exit !($1 >= '"$2"') }' "$1"; }
at_most() { awk '{ exit !($1 <= '"$2"') }' "$1"; }

round() {	# STORE DEVICE
	store=$1 device=$2
	mkdir -p "$store" /tmp/mnt
	dd if=/dev/urandom of="$store/a" bs=1M count=8 2>/dev/null
	cp "$store/a" /tmp/a
	expect mounts_without_being_told_of_devices dmofs "$store" /tmp/mnt
	control=/tmp/mnt/.dmo/devices/$device
	expect a_context_is_the_device_s_node is "$(readlink "$control/context")" "/dev/dmo/$device"
	expect files_read_as_in_the_store cmp /tmp/mnt/a /tmp/a
	expect the_device_reads_the_same_bytes is "$(dmoctl sum /tmp/mnt/a --device "$device" 2>/dev/null | cut -d' ' -f2)" 8388608
	expect a_prefetch_arrives dmoctl prefetch /tmp/mnt/a --device "$device"
	expect what_was_prefetched_stays_between_opens at_least "$control/memory.current" 8388608
	expect resident_files_read_the_same cmp /tmp/mnt/a /tmp/a
	expect the_device_writes dmoctl fill /tmp/mnt/a --device "$device" --byte 7 --range 4096:8192
	expect the_cpu_sees_what_the_device_wrote is "$(dd if=/tmp/mnt/a bs=4096 skip=1 count=1 2>/dev/null |
		tr -d '\007' | wc -c)" 0
	printf hello | dd of=/tmp/mnt/a conv=notrunc 2>/dev/null
	expect the_cpu_writes is "$(bytes /tmp/mnt/a 5)" 68656c6c6f
	expect evicts dmoctl evict /tmp/mnt/a
	expect the_store_has_what_was_evicted cmp /tmp/mnt/a "$store/a"
	expect the_store_has_the_cpu_s_bytes is "$(bytes "$store/a" 5)" 68656c6c6f
	dmoctl prefetch /tmp/mnt/a --device "$device" 2>/dev/null
	expect a_limit_can_be_written sh -c "echo 4M >$control/memory.max"
	expect a_lower_limit_evicts at_most "$control/memory.current" 4194304
	echo max >"$control/memory.max"
	truncate -s 100 /tmp/mnt/a
	expect a_truncated_file_is_short is "$(wc -c <"$store/a")" 100
	expect a_device_finds_no_more_than_that is "$(dmoctl sum /tmp/mnt/a --device "$device" 2>/dev/null | cut -d' ' -f2)" 100
	expect unmounts umount /tmp/mnt
	while pidof dmofs >/dev/null; do sleep 1; done
	rm -rf "$store"
}

round /tmp/store sim0
round /mnt/vda/store "$(cd /dev/dmo && echo ivshmem-*)"
exit $bad
