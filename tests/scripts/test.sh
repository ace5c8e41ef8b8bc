#!/bin/bash
# test.sh: runs every test that this user and this machine can run, and ends with the list of those left out.
set -u
# Two beds at a time are as many as small machines feed; unit tests take what they get.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
exclude=()
rust=$(cargo --version | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p')
for manifest in */Cargo.toml */*/Cargo.toml; do
	needed=$(sed -n 's/^rust-version = "\([0-9]*\.[0-9]*\).*"/\1/p' "$manifest")
	[ -n "$needed" ] || continue
	[ "$(printf '%s\n' "$needed" "$rust" | sort -V | head -n 1)" != "$needed" ] || continue
	name=$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1)
	exclude+=(--exclude "$name")
	echo "left out: $name: needs Rust $needed, this is $rust" | tee -a "$log"
done
# What takes the rpm crate.
features=()
if [ "$(printf '%s\n1.88\n' "$rust" | sort -V | head -n 1)" = 1.88 ]; then
	features=(--features "dkms-hooks-dnf/read-rpm dkms-tests/read-rpm")
else
	echo "left out: make_rpm, reading packages before a transaction: needs Rust 1.88, this is $rust" | tee -a "$log"
fi
cargo test --locked --workspace "${exclude[@]}" "${features[@]}" --no-fail-fast 2>&1 | tee -a "$log"
code=${PIPESTATUS[0]}
echo
echo 'Seconds by suite, and the cases that took longest:'
# `Running tests/e2e/root.rs (…)` or `Doc-tests dkms_core`, and later `… finished in 1.23s`; our suites print `took:`.
awk '$1 == "Running" || $1 == "Doc-tests" {
		name = $0; sub(/^ *(Running|Doc-tests) /, "", name)
		# Unit tests are named by their crate.
		if (match(name, /^unittests .*deps\/[^)]*/)) { sub(/.*deps\//, "unit tests of ", name); sub(/-[0-9a-f]*\)$/, "", name) }
		sub(/ \(.*\)$/, "", name)
	}
	/finished in [0-9.]+s/ { seconds = $0; sub(/.*finished in /, "", seconds); printf "%8.1f  %s\n", seconds, name }' "$log" |
	sort -rn | awk '$1 >= 0.1'
sed -n 's/^took: \([0-9.]*\) s: \(.*\)/\1 \2/p' "$log" | sort -rn | head -n 15 | sed 's/^\([0-9.]*\) /  case \1  /'
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
