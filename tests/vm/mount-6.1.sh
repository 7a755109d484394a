#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs in the machine of kmod-6.1.test: a mount where the module is loaded and the kernel has no FUSE passthrough. A line
# "ok NAME" or "FAIL NAME" for each behaviour; exits 1 where one failed.
bad=0

# expect NAME COMMAND...
expect() {
	name=$1
	shift
	if "$@" >/tmp/words 2>&1; then echo "ok $name"; else echo "FAIL $name"; sed 's/^/  /' /tmp/words; bad=1; fi
}

refuses() { ! dmofs "$@" 2>/tmp/refused && grep -q "no FUSE passthrough" /tmp/refused; }
at_least() { awk '{ exit !($1 >= '"$2"') }' "$1"; }

mkdir -p /tmp/store /tmp/mnt
dd if=/dev/urandom of=/tmp/store/a bs=1M count=8 2>/dev/null
cp /tmp/store/a /tmp/a
expect the_module_s_devices_are_not_taken_for_a_mount refuses /tmp/store /tmp/mnt
expect a_device_of_the_service_mounts dmofs /tmp/store /tmp/mnt --device sim:npu0,memory=32M
expect a_prefetch_arrives dmoctl prefetch /tmp/mnt/a --device npu0
expect it_is_the_service_s_device at_least /tmp/mnt/.dmo/devices/npu0/memory.current 8388608
expect resident_files_read_the_same cmp /tmp/mnt/a /tmp/a
expect the_device_writes dmoctl fill /tmp/mnt/a --device npu0 --byte 7 --range 4096:8192
expect the_cpu_sees_what_the_device_wrote test "$(dd if=/tmp/mnt/a bs=4096 skip=1 count=1 2>/dev/null |
	tr -d '\007' | wc -c)" = 0
expect evicts dmoctl evict /tmp/mnt/a
expect the_store_has_what_was_evicted cmp /tmp/mnt/a /tmp/store/a
expect unmounts umount /tmp/mnt
while pidof dmofs >/dev/null; do sleep 1; done
umount /sys/fs/fuse/connections 2>/dev/null	# dmofs mounts it where init did not
exit $bad
