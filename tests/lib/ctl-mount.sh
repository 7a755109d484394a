#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Each command of dmoctl on a real mount.
set -u
# shellcheck source=tests/lib/mounted.sh
. "${top_srcdir:-.}/tests/lib/mounted.sh"
mounted sim:npu0,memory=32M sim:npu1,memory=16M
bad=0

# expect STATUS PATTERN ARGUMENT...: dmoctl's status, and a line of its output that matches
expect() {
	status=$1 pattern=$2
	shift 2
	timeout 300 "$ctl" "$@" >"$work/out" 2>&1 </dev/null
	got=$?
	if [ $got -ne "$status" ] || ! grep -q -e "$pattern" "$work/out"; then
		echo "dmoctl $*: status $got, expected $status and \"$pattern\":"
		cat "$work/out"
		bad=1
	fi
}

# silent ARGUMENT...: succeeds and says nothing
silent() {
	timeout 300 "$ctl" "$@" >"$work/out" 2>&1 </dev/null && [ ! -s "$work/out" ] && return
	echo "dmoctl $*: status $?, expected nothing at all:"
	cat "$work/out"
	bad=1
}

# json FILTER ARGUMENT...: the output is JSON, for which the Python expression of "it" is true
json() {
	filter=$1
	shift
	timeout 300 "$ctl" "$@" >"$work/out" 2>&1 </dev/null
	python3 -c 'import json, sys; it = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' \
		"$work/out" "$filter" && return
	echo "dmoctl $*: not JSON for which $filter:"
	cat "$work/out"
	bad=1
}

head -c 10000000 /dev/urandom >"$mnt/ten"
head -c 5000 /dev/urandom >"$mnt/small"
: >"$mnt/empty"
mkdir -p "$mnt/dir/sub"
for i in $(seq 200); do
	head -c $((i * 37)) /dev/urandom >"$mnt/dir/sub/file $i"
done
cp "$mnt/ten" "$mnt/dir/large"
ln -s ../ten "$mnt/dir/link"
cd "$mnt" || exit 99

# devices, info, stat, limit
expect 0 '^npu0 .* 0 .*32M' devices
expect 0 '^npu1 .* 1 .*16M' devices "$mnt/dir"
json 'len(it) == 2 and it[0]["name"] == "npu0" and it[1]["memory"] == 16 << 20 and not it[0]["lost"]' devices --json
expect 0 '^size  *5000 ' info small
json 'it["size"] == 5000 and it["devices"] == 2 and it["page_size"] == 4096 and it["control"].endswith("/.dmo")' \
	info --json small
expect 0 '^evict_clean ' stat npu0
expect 0 '^device npu1' stat --device npu1 --mount "$mnt"
json 'it["device"] == "npu0" and it["current"] == 0 and "event_max" in it' stat --json
expect 0 '/s$' stat --watch=0.05 --count 2
expect 1 'no device "npu7" (this mount has: npu0, npu1)' stat npu7
expect 0 '^max$' limit get npu1 max
silent limit set npu0 max=16M
expect 0 '^16777216$' limit get npu0 max
json 'it["max"] == 16 << 20 and it["low"] <= it["high"] <= it["max"]' limit get npu0 --json
silent limit set npu0 max=max
expect 2 'is not max=SIZE' limit set npu0 maximum=1M
expect 2 'is not max=SIZE' limit set npu0 current=1M
expect 2 'no limit "frob"' limit get npu0 frob

# prefetch, map, query, evict
silent prefetch --device npu0 ten
expect 0 'aaaaa' map ten
expect 0 'on npu0, clean or dirty: 9.5M' map ten
json 'it["clean"] == 10002432 and it["blocks"] == "aaaaa"' map --json ten
json 'sum(e["length"] for e in it) == 10002432 and all(e["device"] == "npu0" for e in it)' query --json ten
silent evict --range 2M:2M ten
silent prefetch --device npu1 --range 2M:2M ten
json 'it["blocks"][1] == "b"' map --json ten
silent evict ten small
json 'it["clean"] == 0 and it["dirty"] == 0' map --json ten
json 'it[0]["done"] == it[0]["bytes"] == 10002432 and it[0]["errno"] == 0' prefetch -d npu0 --json ten
json 'it["blocks"] == ""' map --json empty
json 'it == []' query --json empty
silent evict empty
expect 1 'no device "npu9" (this mount has: npu0, npu1)' prefetch -d npu9 ten
expect 1 'passes the end' prefetch -d npu0 --range 0:64M ten
expect 1 'No such file' evict nothing
expect 1 'dir: Is a directory' pin dir -d npu0 -- true
for command in map query evict 'prefetch -d npu0' 'fill --byte 1'; do
	# shellcheck disable=SC2086
	expect 1 'dir: Is a directory' $command dir
done

# advise: each advice and its opposite, stored and told
silent advise ten read-mostly
expect 0 'read-mostly' query ten
silent advise ten no-read-mostly
silent advise ten preferred --device npu1 --range 0:2M
expect 0 'preferred: npu1' query ten
silent advise ten no-preferred
silent advise ten sequential
expect 0 'sequential' query ten
silent advise ten normal
silent advise ten granularity --value 16
expect 0 'granularity: 65536' query ten
silent advise ten granularity --value 0
silent advise ten accessed-by --device npu0
expect 0 'accessed-by: npu0' query ten
silent advise ten no-accessed-by --device npu0
"$ctl" query ten | grep -q 'advice\|preferred\|accessed\|granularity' && { echo 'advice was not undone'; bad=1; }
expect 1 'takes no such device or value' advise ten granularity --value 3

# fill, and pin with a command
silent fill small --device npu0 --byte 0x41 --range 100:1000
tail -c +101 small | head -c 1000 | tr -d A | wc -c | grep -q -x 0 || { echo 'fill left bytes'; bad=1; }
[ "$(stat -c %s small)" = 5000 ] || { echo 'fill changed the size'; bad=1; }
json 'it["dirty"] == 4096' map --json small
silent evict small
expect 0 'pinned' pin ten --device npu0 -- "$ctl" query ten
"$ctl" query ten | grep -q pinned && { echo 'the pin outlived its command'; bad=1; }
expect 7 '' pin ten -d npu0 -- sh -c 'echo; exit 7'
expect 127 'No such file' pin ten -d npu0 -- "$work/none"
expect 1 'no room\|limit on pinned' \
	pin ten -d npu1 --range 0:9M -- sh -c "'$ctl' pin dir/large -d npu1 --range 0:9M -- true"
expect 1 'empty' pin empty -d npu0 -- true

# sum: cksum's lines, in order
(cksum ten small empty dir/large) >"$work/cpu"
"$ctl" sum ten small empty dir/large >"$work/device" || bad=1
cmp "$work/cpu" "$work/device" || bad=1
find . -type f | LC_ALL=C sort | tr '\n' '\0' | xargs -0 cksum >"$work/cpu"
for device in npu0 npu1; do
	"$ctl" sum -r -d $device . >"$work/device" || bad=1
	cmp "$work/cpu" "$work/device" || bad=1
done
json 'len(it) == 2 and it[1]["bytes"] == 0 and it[1]["crc"] == 4294967295' sum --json ten empty
expect 1 'Is a directory' sum ten dir
expect 1 'No such file' sum ten nothing
expect 0 ' 10000000 dir/link$' sum dir/link
exit $bad
