# SPDX-License-Identifier: GPL-2.0-or-later
# man-errors.awk - what errors a request may give, read from the sources
#
#	awk -f man-errors.awk include/dmo/ioctl.h src/lib/libdmo.map FILE.c ...
#
# Prints "NAME ERROR" a line, for each request and each call of the library. A request's errors are those that its check
# in the decoder's table, its handler in the engine's, the dispatch itself and whatever these call in the files named
# may return as "-EXXX"; a call's, those of what it calls and of the requests it makes. A function is looked for in the
# caller's own file first. An error that is only compared with is not one that is returned.

# Numbers of requests: #define DMO_IOC_KEY _IOR(DMO_IOC_MAGIC, 3, ...), #define DMO_IOC_MAP(n) DMO_IOC_SIZED(16, ...)
FILENAME ~ /ioctl\.h$/ {
	if ($1 == "#define" && match($0, /(MAGIC, |DMO_IOC_SIZED\()[0-9]+,/)) {
		number = substr($0, RSTART, RLENGTH - 1)
		sub(/.*[ (]/, "", number)
		name = $2
		sub(/\(n\)$/, "", name)
		request[number] = name
	}
	next
}

FILENAME ~ /\.map$/ {
	if (/^\tdmo_[a-z_0-9]+;$/)
		public[substr($1, 1, length($1) - 1)] = 1
	next
}

FNR == 1 { file = FILENAME; fn = "" }

# The decoder's table and the engine's.
/^\t\[[0-9]+\] = \{ (O|C|OC), / {
	number = $1
	gsub(/[^0-9]/, "", number)
	check = $(NF - 1)
	roots[request[number]] = roots[request[number]] " " file SUBSEP check
	next
}
/^\t\{ _IOC_NR\(DMO_IOC_[A-Z]+(\(0\))?\), (true|false), / {
	name = $2
	gsub(/_IOC_NR\(|\(0\)|\),/, "", name)
	roots[name] = roots[name] " " file SUBSEP $(NF - 1)
	next
}

/^(PUBLIC )?[a-z].*[a-z0-9_]+\(/ && !/;[ \t]*$/ {
	fn = $0
	sub(/\(.*/, "", fn)
	sub(/.*[ *]/, "", fn)
	fn = file SUBSEP fn
	known[fn] = 1
	split(fn, part, SUBSEP)
	if (!/^static/ || part[2] == "dispatch")
		anywhere[part[2]] = fn
	next
}
/^}/ { fn = "" }
fn != "" {
	line = $0
	gsub(/\/\*[^*]*(\*\/|$)/, "", line)
	gsub(/[!=]= -E[A-Z0-9]+/, "", line)
	rest = line
	while (match(rest, /-E[A-Z][A-Z0-9]+/)) {
		errors[fn] = errors[fn] " " substr(rest, RSTART + 1, RLENGTH - 1)
		rest = substr(rest, RSTART + RLENGTH)
	}
	gsub(/_IOC_NR\(DMO_IOC_[A-Z]+/, "", line)
	rest = line
	while (match(rest, /DMO_IOC_[A-Z]+/)) {
		asks[fn] = asks[fn] " " substr(rest, RSTART, RLENGTH)
		rest = substr(rest, RSTART + RLENGTH)
	}
	gsub(/(->|\.)[a-z0-9_]+\(/, "", line)		# whatever is called through a pointer is a root, or none of ours
	while (match(line, /[a-z_][a-z0-9_]+\(/)) {
		calls[fn] = calls[fn] " " substr(line, RSTART, RLENGTH - 1)
		line = substr(line, RSTART + RLENGTH)
	}
}

function walk(at,	n, i, list, callee, part) {
	if (!(at in known) || at in seen)
		return
	seen[at] = 1
	n = split(errors[at], list, " ")
	for (i = 1; i <= n; i++)
		print asked, list[i]
	split(at, part, SUBSEP)
	n = split(calls[at], list, " ")
	for (i = 1; i <= n; i++) {
		callee = part[1] SUBSEP list[i]
		walk(callee in known ? callee : anywhere[list[i]])
	}
	n = split(asks[at], list, " ")
	for (i = 1; i <= n; i++)
		walk_request(list[i])
}

function walk_request(name,	n, i, root) {
	n = split(roots[name] " " anywhere["dispatch"], root, " ")
	for (i = 1; i <= n; i++)
		walk(root[i])
}

END {
	for (asked in roots) {
		split("", seen)
		walk_request(asked)
	}
	for (asked in public) {
		split("", seen)
		walk(anywhere[asked])
	}
}
