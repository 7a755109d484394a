# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
# Sourced by the tests of this folder. vm OPTION... -- PROGRAM... runs scripts/vm with the kernel that the modules of this
# build are for ($VM_KERNEL, or the stock 6.12 where there are none); $VM_FLAGS come first: --debug for the debug kernel.
# $KDIR: the kernel headers that configure was given; empty without.
top_srcdir=${top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
top_builddir=${top_builddir:-.}
KDIR=${KDIR:-}
work=$(mktemp -d "${TMPDIR:-/tmp}/dmofs-vm-test.XXXXXX") || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

skip() { echo "$*"; exit 77; }
fail() { echo "FAIL: $*"; exit 1; }

need() {
	for tool; do
		command -v "$tool" >/dev/null || skip "$tool is not installed"
	done
}

[ -z "$KDIR" ] || VM_KERNEL=${VM_KERNEL:-$(sed -n 's/.*UTS_RELEASE "\(.*\)"/\1/p' "$KDIR/include/generated/utsrelease.h")}

vm() {
	# shellcheck disable=SC2086 # a list of words
	"$top_srcdir/scripts/vm" ${VM_FLAGS:-} --kernel "${VM_KERNEL:-6.12}" "$@"
}

# need_vm: a machine can be run here, with this kernel
need_vm() {
	need qemu-system-x86_64
	vm --image >"$work/image" 2>&1 || skip "$(tail -n 1 "$work/image")"
}

# need_modules: configure got kernel headers, so there are modules to load; $KMOD: those of another build
modules=${KMOD:-$top_builddir/modules/kmod}
need_modules() {
	[ -n "$KDIR" ] || skip "built without --with-kdir"
	[ -e "$modules/dmo.ko" ] || fail "make left no $modules/dmo.ko"
}

# link_modules DIR: the modules' sources as Kbuild wants them. It builds beside its sources, and another test may be
# loading what the build left: so a folder of its own.
link_modules() {
	mkdir -p "$1/kmod"
	ln -s "$top_srcdir/src" "$top_srcdir/include" "$1/"
	ln -s "$top_srcdir"/kmod/Kbuild "$top_srcdir"/kmod/env "$top_srcdir"/kmod/*.c "$top_srcdir"/kmod/*.h "$1/kmod/"
}

# tell_and_exit STATUS: what programs of tests/vm/kmod said ($work/out), then in Check's words, so that each test counts
tell_and_exit() {
	cat "$work/out"
	awk '/^(ok|skip) / { n++ } /^FAIL [a-z_0-9]*$/ { n++; bad++ }
		END { if (n) printf "%d%%: Checks: %d, Failures: %d, Errors: 0\n", 100 * (n - bad) / n, n, bad }' "$work/out"
	[ "$1" != 120 ] || echo "the kernel reported a bug: see above"
	exit "$1"
}
