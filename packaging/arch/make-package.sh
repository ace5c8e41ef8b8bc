#!/bin/bash
# make-package.sh PROGRAMS     (the directory that holds dkms and dkms-alpm, built)
#
# Makes target/packages/arch/dkms-<version>-<arch>.pkg.tar.zst with the makepkg of this machine, or, as root on a Debian
# machine, with that of Debian sid in a root of its own. The preflight program is linked to that root's libalpm.
set -eu
programs=$1
here=$(readlink -f "$(dirname "$0")")
top=$here/../..
out=$top/target/packages/arch
stage=$(mktemp -d "${TMPDIR:-/var/tmp}/dkms-arch.XXXXXX")
trap 'rm -rf "$stage"' EXIT
mkdir -p "$out"

if command -v makepkg >/dev/null && [ "$(id -u)" != 0 ]; then
	preflight=()
	if pkg-config --exists libalpm 2>/dev/null; then
		preflight=("$stage/preflight")
		bash "$here/build-preflight.sh" / "${preflight[0]}" --release
	fi
	bash "$here/stage.sh" "$stage/build" "$programs/dkms" "$programs/dkms-alpm" "${preflight[@]}"
	(cd "$stage/build" && makepkg --repackage --nodeps --force)
else
	cache=${DKMS_BED_CACHE:-/var/cache/dkms-tests}/beds
	bed=$cache/makepkg-sid
	if [ ! -e "$bed/etc/dkms-bed-kernels" ] || [ ! -x "$bed/usr/bin/bsdtar" ]; then
		rm -rf "$bed" "$bed.new"
		bash "$top/tests/scripts/make-bed.sh" sid "$bed.new" 0 cloud makepkg pacman-package-manager make libarchive-tools zstd
		mv "$bed.new" "$bed"
	fi
	bash "$here/build-preflight.sh" "$bed" "$stage/preflight" --release
	bash "$here/stage.sh" "$stage/build" "$programs/dkms" "$programs/dkms-alpm" "$stage/preflight"
	cp "$here/repackage.sh" "$stage/"
	chmod 755 "$stage"
	BED_BIND=$stage bash "$top/tests/scripts/in-bed.sh" "$bed" bash /mnt/repackage.sh /mnt/build
fi
cp "$stage"/build/*.pkg.tar* "$out/"
ls -l "$out"
