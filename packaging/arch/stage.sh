#!/bin/bash
# stage.sh OUT DKMS DKMS-ALPM [DKMS-ALPM-PREFLIGHT]
#
# Makes of built programs what `makepkg --repackage` wants to find: OUT/PKGBUILD and OUT/src/<package>-<version>/.
set -eu
out=$1 dkms=$2 alpm=$3 preflight=${4:-}
top=$(readlink -f "$(dirname "$0")/../..")
. "$top/packaging/arch/PKGBUILD"
# shellcheck disable=SC2154 # from the PKGBUILD
source=$out/src/$pkgbase-$pkgver
mkdir -p "$source/target"
cp "$top"/packaging/arch/{PKGBUILD,dkms.install} "$out/"
cp "$top/Makefile" "$source/"
cp -a "$top/hook-files" "$source/"
# Made with cargo, which the root that packages has not.
[ -e "$top/target/man/dkms.8" ] || make -C "$top" --no-print-directory documents-now >&2
cp -a "$top/target/man" "$top/target/completions" "$source/target/"
mkdir -p "$source/packaging/debian"
cp -a "$top/packaging/systemd" "$source/packaging/"
cp "$top/packaging/debian/copyright" "$source/packaging/debian/"
cp -a "$top"/{README.md,COMPATIBILITY.md,CHANGELOG.md,docs} "$source/"
install -m 0755 "$dkms" "$source/target/dkms"
# Beside dkms; what builds the package there has a Rust that is new enough.
for name in dkms-mkpkg dkms-share; do
	if [ -e "${dkms%/*}/$name" ]; then
		install -m 0755 "${dkms%/*}/$name" "$source/target/"
	else
		sed -i "/^pkgname=/s/ $name//" "$out/PKGBUILD"
	fi
done
install -m 0755 "$alpm" "$source/target/dkms-alpm"
# Whatever modes the checkout has.
chmod -R u=rwX,go=rX "$source"
[ -z "$preflight" ] || install -m 0755 "$preflight" "$source/target/dkms-alpm-preflight"
