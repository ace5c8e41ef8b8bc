#!/bin/bash
# Guess: dh_clean removes what builds leave behind: debhelper's own files, and what debian/clean names. The sources of a package are
# as before.
# debhelper 13.24.2: it also removes, in every directory, files that look like leavings of editors and of patch: *.orig, *.rej, *.bak, *~,
# TAGS, .SUMS, DEADJOE. A crate from crates.io has its author's Cargo.toml as Cargo.toml.orig, and cargo vendor lists it with its
# checksum: after `debian/rules clean`, with which dpkg-buildpackage begins, cargo refuses the crate. The source package is made after
# that step, without these files. So: override_dh_clean: dh_clean -XCargo.toml.orig.
. "$(dirname "$0")/lib.sh"
root trixie debhelper=13.24.2 rpm=4.20.1+dfsg-3 makepkg=7.0.0-1+b1 pacman-package-manager=7.0.0-1+b1 libarchive-tools
source=$T/root/source
mkdir -p "$source/src" "$source/debian" "$source/.cargo"
cat >"$source/Cargo.toml" <<'C'
[package]
name = "trial"
version = "0.0.0"
edition = "2021"
[dependencies]
itoa = "=1.0.15"
C
echo 'fn main() { println!("{}", itoa::Buffer::new().format(1)); }' >"$source/src/main.rs"
(cd "$source" && cargo vendor -q)
printf '%s\n' '[source.crates-io]' 'replace-with = "vendored"' '[source.vendored]' 'directory = "vendor"' >"$source/.cargo/config.toml"
printf '%s\n' 'Source: trial' 'Maintainer: Trial <trial@example.org>' 'Build-Depends: debhelper-compat (= 13)' '' 'Package: trial' 'Architecture: any' 'Description: trial' >"$source/debian/control"
printf '%s\n' 'trial (1) unstable; urgency=low' '' '  * Trial.' '' ' -- Trial <trial@example.org>  Thu, 01 Jan 2026 00:00:00 +0000' >"$source/debian/changelog"
built() {
	if (cd "$source" && CARGO_TARGET_DIR=$T/target cargo build -q --offline 2>"$T/told"); then
		echo built
	else
		grep -o Cargo.toml.orig "$T/told" | head -n 1
	fi
}
cp -a "$source" "$T/copy"
run_inside <<'CODE'
cd /source
touch src/x.orig src/x.rej src/x.bak src/x~ src/TAGS src/.SUMS src/DEADJOE src/x.old
find . -type f | sort >/tmp/before
dh_clean >/dev/null 2>&1 && echo 0 || echo $?
find . -type f | sort | comm -23 /tmp/before - | paste -sd ' '
CODE
same 'dh_clean ends with' 0 "$(line 1)"
same 'and takes' './src/.SUMS ./src/DEADJOE ./src/TAGS ./src/x.bak ./src/x.orig ./src/x.rej ./src/x~ ./vendor/itoa/Cargo.toml.orig' "$(line 2)"
same 'cargo, which misses' Cargo.toml.orig "$(built)"
rm -r "$source"
mv "$T/copy" "$source"
run_inside <<<'cd /source && dh_clean -XCargo.toml.orig >/dev/null 2>&1'
same 'cargo, with -XCargo.toml.orig' built "$(built)"
