#!/bin/bash
# real-build.sh SOURCE OUT      (inside a Debian bed)
#
# Builds a copy of the unpacked source package SOURCE with whichever dh_dkms is installed; each of its packages that has
# a dkms.conf is left in OUT as PACKAGE.deb, and unpacked in OUT/PACKAGE.
set -eu
source=$1 out=$2
work=$(mktemp -d)
cp -a "$source" "$work/source"
cd "$work/source"
SOURCE_DATE_EPOCH=1795000000 dpkg-buildpackage --build=binary --no-sign -d >"$work/log" 2>&1 ||
	{ tail -n 40 "$work/log" >&2; exit 1; }
mkdir -p "$out"
found=
for deb in "$work"/*.deb; do
	# To its end: dpkg-deb fails if nobody reads what it prints.
	dpkg-deb --contents "$deb" | grep '/usr/src/.*/dkms\.conf$' >/dev/null || continue
	name=$(dpkg-deb --field "$deb" Package)
	dpkg-deb -R "$deb" "$out/$name"
	cp "$deb" "$out/$name.deb"
	found=1
done
[ -n "$found" ] || { echo "$source: no package with a dkms.conf" >&2; exit 1; }
rm -rf "$work"
