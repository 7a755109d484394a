#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Verifies the model of the page protocol with spin, then each variant that leaves one rule out, which must
# fail. Prints a line for each: outcome, states, seconds, what it is. Exit 0, 1, or 77 where spin or a C
# compiler is missing.

model=${top_srcdir:-$(dirname "$0")/../..}/tests/model/page.pml
SPIN=${SPIN:-spin}
CC=${CC:-cc}
bad=0

command -v "$SPIN" >/dev/null 2>&1 || { echo "skipped: no spin"; exit 77; }
command -v "${CC%% *}" >/dev/null 2>&1 || { echo "skipped: no C compiler ($CC)"; exit 77; }
[ -r "$model" ] || { echo "no model at $model"; exit 1; }
case $model in /*) ;; *) model=$PWD/$model ;; esac
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir" || exit 1

all="-DSYS_WRITE -DSYS_FSYNC -DSYS_TRUNCATE -DMIX"

# search SPIN_FLAGS CC_FLAGS PAN_FLAGS: leaves pan's report in the file out
search()
{
	rm -f pan* out
	# shellcheck disable=SC2086
	"$SPIN" $1 -a "$model" >err 2>&1 &&
		$CC -w $2 -DCOLLAPSE -DMEMLIM=1500 -DVECTORSZ=512 pan.c -o pan >>err 2>&1 || { cat err; exit 1; }
	./pan -m200000 $3 >out 2>>err
}

# What the first violated assertion is about, in words; empty if the search was completed without one.
violation()
{
	case $(grep -m1 '^pan:1:' out) in
	"") ;;
	*again*|*opn*|*"invalid end"*|*non-progress*) echo "stuck" ;;
	*fs_err*) echo "lost after fsync" ;;
	*"!=2"*) echo "device may write, CPU holds" ;;
	*"!(dirty)"*) echo "CPU dirty, device maps" ;;
	*"present&&uptodate"*) echo "stale CPU load" ;;
	*) echo "latest bytes lost" ;;
	esac
}

states()
{
	awk '/states, stored/ { n = $1 } /elapsed time/ { t = $4 } END { printf "%8d states %5.1f s", n, t }' out
}

holds()
{
	search "$2" "-O2 $3" "$4"
	found=$(violation)
	if [ -z "$found" ] && grep -q 'errors: 0' out && ! grep -q 'not completed\|depth too small' out err; then
		echo "ok    holds                        $(states)  $1"
	else
		echo "FAIL  must hold: ${found:-search not completed}  $(states)  $1"
		bad=1
	fi
}

# fails RULE KIND: without RULE something must go wrong; KIND stuck or wrong
fails()
{
	search "-DNDEV=2 $all -DBROKEN_$1" "-O0 -DSAFETY" ""
	found=$(violation)
	kind=wrong
	[ "$found" != stuck ] || kind=stuck
	if [ -n "$found" ] && [ $kind = "$2" ]; then
		printf 'ok    fails: %-28s %s  %s\n' "$found" "$(states)" "BROKEN_$1"
	else
		printf 'FAIL  must be %s: %s  %s  %s\n' "$2" "${found:-nothing found}" "$(states)" "BROKEN_$1"
		bad=1
	fi
}

holds "one device, mmap only" "" -DSAFETY
holds "two devices, all calls" "-DNDEV=2 -DROUNDS=3 $all" -DSAFETY
holds "one device, 8 operations, then nobody waits" "-DFUEL=8 $all" -DSAFETY
holds "two devices, 7 operations, then nobody waits" "-DNDEV=2 -DFUEL=7 $all" -DSAFETY
holds "one device, 5 operations: every run is finite" "-DFUEL=5 $all" -DNP -l

fails ABORT_LOSES_BIT wrong
fails EVICT_NO_HARVEST wrong
fails FSYNC_NO_PROTECT wrong
fails NO_MERGE wrong
fails NO_RECHECK wrong
fails OLD_REVOCATION_COUNTS wrong
fails OPEN_IN_MOVE wrong
fails OPEN_NO_UNMAP wrong
fails OPEN_TRUSTS_BIT wrong
fails READ_IN_MOVE wrong
fails READ_NO_UNMAP wrong
fails READ_WAITS_BEFORE_FLIP stuck
fails REPLY_BEFORE_REVOKE wrong
fails REPLY_HELD stuck
fails TRUNCATE_KEEPS_COPIES wrong
fails TRUNCATE_WAITS stuck
fails WRITE_FAULT_KEEPS_COPY wrong
fails WRITE_KEEPS_COPIES wrong
fails WRITE_NO_HOLD wrong
fails WRITE_RACE wrong
fails WRITE_TRUSTS_BIT wrong
fails WRITE_WAITS_BEFORE_FLIP stuck
exit $bad
