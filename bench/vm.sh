#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs in the machine of bench/vm: a line "NAME NUMBER..." for each measurement; ours and its peer's take turns.
set -e
rounds=${ROUNDS:-3}
coherent=$(cd /dev/dmo && echo ivshmem-*)
store=/tmp/store mount=/tmp/mnt peer=/tmp/peer
mkdir -p $store $mount $peer

wanted() { case " ${ROWS:-all} " in *" all "* | *" $1 "*) ;; *) return 1 ;; esac; }
fill() { dd if=/dev/zero of="$1" bs=1M count="$2" 2>/dev/null; }
number() { cat "/sys/class/misc/dmo-$1"; }
# tell NAME PROGRAM...: the program's numbers in a line; the first is reached by its name
tell() {
	name=$1
	shift
	echo "$name $("$@")"
}

fill $store/resident 96
fill $store/hosted 96
fill $peer/file 96
fill $store/page 2
fill $store/large 256
fill $store/blocks 64
fill $store/random 128
dmofs $store $mount

if wanted touch; then
	move prefetch $mount/resident 1 >/dev/null
	for _ in $(seq "$rounds"); do
		tell touch-device walk fault $mount/resident
		tell touch-read walk fault $mount/hosted
		tell touch-peer walk fault $peer/file
		tell touch-write walk store $mount/hosted
		tell write-peer walk store $peer/file
	done
	move evict $mount/resident >/dev/null
fi

if wanted migrate; then
	for _ in $(seq "$rounds"); do
		for device in 0:sim0 "1:$coherent"; do
			kind=${device#*:}
			tell "in-${kind%%[0-9-]*}" move prefetch $mount/large "${device%%:*}"
			move fill $mount/large "/dev/dmo/$kind" 1 >/dev/null
			tell "out-${kind%%[0-9-]*}" move evict $mount/large
		done
		tell memcpy move memcpy $peer/file
	done
fi

if wanted metadata; then
	before=$(number control/metadata)
	move prefetch $mount/large 1 >/dev/null
	echo "metadata $before $(number control/metadata)"
	move evict $mount/large >/dev/null
fi

if wanted turns; then
	for _ in $(seq "$rounds"); do
		tell turns-sim turns device $mount/page /dev/dmo/sim0 300
		tell turns-ivshmem turns device $mount/page "/dev/dmo/$coherent" 300
		tell turns-peer turns pipes 3000
	done
fi

if wanted fault; then
	for _ in $(seq "$rounds"); do
		tell fault pages fault $mount/blocks "/dev/dmo/$coherent"
		move evict $mount/blocks >/dev/null
	done
fi

if wanted map; then
	for _ in $(seq "$rounds"); do
		tell map pages map $mount/page /dev/dmo/sim0 100
	done
fi

if wanted random; then
	echo 16M >/sys/class/misc/dmo-sim0/memory/max
	for advice in 0 2; do	# DMO_ADV_NORMAL, DMO_ADV_RANDOM
		tell random-$advice pages random $mount/random /dev/dmo/sim0 0 /sys/class/misc/dmo-sim0/memory/stat 4000 $advice
	done
fi
umount $mount
# The service ends after the unmount: until then it holds the module.
while pidof dmofs >/dev/null; do sleep 0.1; done
