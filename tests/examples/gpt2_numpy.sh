#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The example's logits against an independent implementation; see gpt2_numpy.py.
# Debian's own python3 first: it is the one that python3-numpy serves.
for python in /usr/bin/python3 python3; do
	if $python -c 'import numpy' 2>/dev/null; then
		dir=$(mktemp -d) || exit 99
		$python "${top_srcdir:?}/tests/examples/gpt2_numpy.py" "${top_builddir:?}/examples/gpt2/gpt2" "$dir"
		status=$?
		rm -rf "$dir"
		exit $status
	fi
done
echo "skipped: no python3 with numpy (Debian: python3-numpy)"
exit 77
