#!/bin/bash
# build-preflight.sh ROOT OUT [CARGO-OPTION...]
#
# Builds dkms-alpm-preflight against the libalpm of another root (any of 13 to 16) into the file OUT. Nothing but the
# library itself is taken from there: the bindings need no header, and what libalpm is linked to is its own business.
set -eu
root=$1 out=$2
shift 2
library=$(find "$root"/usr/lib -maxdepth 2 -name 'libalpm.so.*.*' -type f | head -n 1)
[ -n "$library" ] || { echo "build-preflight: no libalpm in $root" >&2; exit 1; }
version=${library##*.so.}
here=$(dirname "$(readlink -f "$0")")
link=$here/../../target/libalpm-$version
mkdir -p "$link"
cp "$library" "$link/libalpm.so.$version"
ln -sfn "libalpm.so.$version" "$link/libalpm.so.${version%%.*}"
ln -sfn "libalpm.so.$version" "$link/libalpm.so"
cat >"$link/libalpm.pc" <<PC
Name: libalpm
Description: pacman's library
Version: $version
Libs: -L$link -lalpm
PC
cd "$here/../.."
export PKG_CONFIG_PATH=$link
cargo rustc --locked -q -p dkms-hooks-pacman-preflight --bin dkms-alpm-preflight --features libalpm "$@" -- \
	-C link-arg=-Wl,--allow-shlib-undefined
mode=debug
case " $* " in *" --release "*) mode=release ;; esac
install -D -m 0755 "${CARGO_TARGET_DIR:-target}/$mode/dkms-alpm-preflight" "$out"
