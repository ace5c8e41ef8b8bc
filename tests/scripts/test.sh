#!/bin/bash
# test.sh: runs every test that this user and this machine can run, and ends with the list of those left out.
set -u
# Two beds at a time are as many as small machines feed; unit tests take what they get.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --locked --workspace --no-fail-fast 2>&1 | tee "$log"
code=${PIPESTATUS[0]}
echo
if grep -q '^left out: ' "$log"; then
	echo 'What this run left out:'
	grep '^left out: ' "$log" | sort | sed 's/^left out: /  /'
else
	echo 'Nothing was left out.'
fi
exit "$code"
