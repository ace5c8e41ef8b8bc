#!/bin/bash
# dh-dkms-build.sh OUT PACKAGE STYLE      (inside a Debian bed)
#
# Makes a source package around the dkms.conf and the sources of the archive's binary package PACKAGE, whose .deb is in
# apt's cache, and builds it with debhelper and whichever dh_dkms is installed; the .deb is unpacked at OUT.
# STYLE: own (debian/PACKAGE.dkms is the dkms.conf), version (with #MODULE_VERSION# in it), list (it names the file),
# main (debian/dkms), words (dh_dkms is called with -V and -- FILE).
set -eu
out=$1 package=$2 style=$3
work=$(mktemp -d)
dpkg-deb -R /var/cache/apt/archives/"$package"_*.deb "$work/real"
mkdir -p "$work/source/debian/source"
cd "$work/source"
conf=$(find ../real/usr/src -name dkms.conf)
sources=$(dirname "$conf")
mkdir src
cp -a "$sources"/. src/
rm src/dkms.conf
version=${sources##*-}
echo '1.0' >debian/source/format
cat >debian/control <<END
Source: $package
Section: kernel
Priority: optional
Maintainer: Nobody <nobody@example.org>
Build-Depends: debhelper-compat (= 13), dh-sequence-dkms
Standards-Version: 4.6.2

Package: $package
Architecture: all
Depends: \${misc:Depends}
Description: a real module package, wrapped anew
 For comparison.
END
cat >debian/changelog <<END
$package (1:$version-1) unstable; urgency=low

  * Wrapped anew.

 -- Nobody <nobody@example.org>  Sun, 22 Nov 2026 12:00:00 +0000
END
override=
case $style in
own) cp "$conf" "debian/$package.dkms" ;;
version) sed "s/^\(PACKAGE_VERSION=\).*/\1\"#MODULE_VERSION#\"/" "$conf" >"debian/$package.dkms" ;;
list)
	cp "$conf" src.conf
	echo src.conf >"debian/$package.dkms"
	;;
main) cp "$conf" debian/dkms ;;
words)
	sed "s/^\(PACKAGE_VERSION=\).*/\1#MODULE_VERSION#/" "$conf" >upstream.conf
	override='override_dh_dkms:\n\tdh_dkms -V -- upstream.conf\n'
	;;
esac
(cd src && find . -mindepth 1 -maxdepth 1 -printf "src/%f usr/src/${sources##*/}\n") >"debian/$package.install"
printf '#!/usr/bin/make -f\n%%:\n\tdh $@\noverride_dh_auto_build override_dh_auto_clean override_dh_auto_install override_dh_auto_test override_dh_auto_configure:\n'"$override" >debian/rules
chmod 755 debian/rules
SOURCE_DATE_EPOCH=1795000000 dpkg-buildpackage --build=binary --no-sign -d >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
rm -rf "$out"
dpkg-deb -R ../"$package"_*_all.deb "$out"
cp ../"$package"_*_all.deb "$out.deb"
rm -rf "$work"
