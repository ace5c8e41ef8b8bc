#!/bin/bash
# run.sh [SECONDS]: fuzzes the reader of archives with libFuzzer, as `cargo fuzz` would, which need not be installed.
# Takes a nightly compiler, g++ or clang++, and crates.io. Ends with 0 if nothing was found.
set -eu
cd "$(dirname "$0")"
seconds=${1:-300}
export RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cdebug-assertions'
RUSTFLAGS=$(echo $RUSTFLAGS)
target=$(rustc +nightly -vV | sed -n 's/^host: //p')
cargo +nightly build --release --target "$target" --target-dir ../../target/fuzz
mkdir -p ../../target/fuzz/corpus
# Seeds: small archives of every kind, so that the fuzzer starts inside the format.
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
(
	cd "$seeds"
	mkdir -p in/dkms_source_tree in/dkms_main_tree/6.1.0/x86_64/module
	printf 'PACKAGE_NAME=a\nPACKAGE_VERSION=1\n' >in/dkms_source_tree/dkms.conf
	ln -s dkms.conf in/dkms_source_tree/link; ln in/dkms_source_tree/dkms.conf in/dkms_source_tree/hard
	echo x >in/dkms_main_tree/6.1.0/x86_64/module/a.ko; touch "in/$(printf 'n%.0s' {1..150})"
	for format in gnu pax ustar; do
		tar --format=$format -C in -cf $format.tar . 2>/dev/null || true
		gzip -k $format.tar; xz -k $format.tar; bzip2 -k $format.tar
		zstd -q $format.tar 2>/dev/null || true
	done
	rm -r in
)
"../../target/fuzz/$target/release/reader" -max_len=65536 -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
	-artifact_prefix=../../target/fuzz/ ../../target/fuzz/corpus "$seeds"
