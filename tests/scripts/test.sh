#!/bin/bash
# test.sh: runs every test that this user and this machine can run, and ends with the list of those left out.
set -u
log=$(mktemp)
# What each suite says, until it has ended.
parts=$(mktemp -d)
trap 'rm -rf "$log" "$parts"' EXIT
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
# Everything is compiled in one call, which names the programs: `Executable e2e/x.rs (target/debug/deps/x-0123)`.
tests=(cargo test --locked --workspace "${exclude[@]}" "${features[@]}")
"${tests[@]}" --no-run 2>&1 | tee -a "$log"
[ "${PIPESTATUS[0]}" = 0 ] || exit 1
code=0

# Unit tests, and tests without a bed.
apart=(--lib --bins)
for file in */tests/*.rs */*/tests/*.rs; do apart+=(--test "$(basename "$file" .rs)"); done
"${tests[@]}" --no-fail-fast "${apart[@]}" 2>&1 | tee -a "$log"
[ "${PIPESTATUS[0]}" = 0 ] || code=1
"${tests[@]}" --no-fail-fast --doc 2>&1 | tee -a "$log"
[ "${PIPESTATUS[0]}" = 0 ] || code=1

# The suites, side by side: their cases wait for disks and for each other's steps, so processors are left over. They are
# started in the order of tests/Cargo.toml, which begins with the longest.
lanes=$(($(nproc) + ($(nproc) + 1) / 2))
sed -n 's,^path = "\(e2e/.*\)",\1,p' tests/Cargo.toml | while read -r file; do
	program=$(sed -n "s,^ *Executable $file (\(.*\))\$,\1,p" "$log" | head -n 1)
	if [ -n "$program" ]; then
		printf '%s\0' "$file" "$program" "$parts"
	else
		echo "left out: $file: cargo has not made it" >>"$log"
	fi
done | xargs -0 -r -n 3 -P "$lanes" bash tests/scripts/suite.sh 2>&1 | tee -a "$log"
[ "${PIPESTATUS[2]}" = 0 ] || code=1
grep -q '^begins: ' "$log" || {
	echo 'No suite was begun: does tests/Cargo.toml name their files as "e2e/..."?'
	code=1
}

echo
echo 'Seconds by suite, and the cases that took longest:'
# `Running e2e/root.rs (…)` or `Doc-tests dkms_core`, and later `… finished in 1.23s`; our suites print `took:`.
awk '$1 == "Running" || $1 == "Doc-tests" {
		name = $0; sub(/^ *(Running|Doc-tests) /, "", name)
		# Unit tests are named by their crate.
		if (match(name, /^unittests .*deps\/[^)]*/)) { sub(/.*deps\//, "unit tests of ", name); sub(/-[0-9a-f]*\)$/, "", name) }
		sub(/ \(.*\)$/, "", name)
	}
	/finished in [0-9.]+s/ { seconds = $0; sub(/.*finished in /, "", seconds); printf "%8.1f  %s\n", seconds, name }' "$log" |
	sort -rn | awk '$1 >= 0.1'
if grep -q '^cost: ' "$log"; then
	echo 'Seconds of processor time by suite:'
	sed -n 's/^cost: \([0-9]*\) s: \(.*\)/\1 \2/p' "$log" | sort -rn | awk '{ printf "%8d  %s\n", $1, $2; all += $1 } END { printf "%8d  all\n", all }'
fi
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
