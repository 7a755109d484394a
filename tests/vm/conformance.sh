#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs in the machine of conformance.test: every program of /conformance, on each of the homes that are named.
# Their words come out as they are; exits 1 where one failed.
bad=0

tell() { echo "<4>vm: $*" >/dev/kmsg; }
seconds() { cut -d. -f1 /proc/uptime; }

for home; do
	for program in /conformance/*; do
		name=$home/${program##*/}
		tell "begin $name"
		began=$(seconds)
		CONF_HOME=$home "$program"
		status=$?
		echo "== $name: $(($(seconds) - began)) s, exit status $status"
		tell "end $name $status"
		[ "$status" = 0 ] || [ "$status" = 77 ] || bad=1
	done
done
exit $bad
