#!/bin/bash
# suite.sh FILE PROGRAM DIR: runs one suite, a case at a time, beside others. What it says is kept in DIR until it has ended.
#
# FILE is its source, as cargo names it; PROGRAM what cargo has made of that. Both from the directory of the project.
set -u
file=$1 program=$PWD/$2 code=0
name=$(basename "${program%-*}")
said=$3/$name
echo "begins: $name"
{
	echo "     Running $file ($program)"
	cd tests && CARGO_MANIFEST_DIR=$PWD "$program" --test-threads 1 || code=1
	[ "$code" = 0 ] || echo "failed: the suite $name"
	# Beside others, its time says little of what it costs.
	times >"$said.times"
	awk -v name="$name" 'NR == 2 { gsub(/[ms]/, " "); printf "cost: %.0f s: %s\n", $1 * 60 + $2 + $3 * 60 + $4, name }' "$said.times"
} >"$said" 2>&1
# One at a time: suites that end together would mix their lines.
flock "$3" cat "$said"
exit "$code"
