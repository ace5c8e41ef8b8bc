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
	# CI's machine is meant to have everything but time.
	if [ "${CI:-}" = true ] && grep '^left out: ' "$log" | grep -qv 'make test-long'; then
		echo 'CI must not leave these out.'
		[ "$code" != 0 ] || code=1
	fi
else
	echo 'Nothing was left out.'
fi
exit "$code"
