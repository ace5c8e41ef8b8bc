#!/bin/bash
# module-deb.sh OUT NAME VERSION REVISION [C]      (inside a Debian bed)
#
# Builds the Debian package NAME-dkms, of one small module NAME, with debhelper and whichever dh_dkms is installed; the
# result goes to OUT. C is put at the end of its source.
set -eu
out=$1 name=$2 version=$3 revision=$4 code=${5-}
work=$(mktemp -d)
cd "$work"
mkdir -p debian/source
echo '1.0' >debian/source/format
cat >debian/control <<END
Source: $name-dkms
Section: kernel
Priority: optional
Maintainer: Nobody <nobody@example.org>
Build-Depends: debhelper-compat (= 13), dh-sequence-dkms
Standards-Version: 4.6.2

Package: $name-dkms
Architecture: all
Depends: \${misc:Depends}
Description: a module for tests
 It does nothing.
END
cat >debian/changelog <<END
$name-dkms ($version-$revision) unstable; urgency=low

  * Made to order.

 -- Nobody <nobody@example.org>  Sun, 22 Nov 2026 12:00:00 +0000
END
cat >"debian/$name-dkms.dkms" <<END
PACKAGE_NAME="$name"
PACKAGE_VERSION="$version"
BUILT_MODULE_NAME[0]="$name"
DEST_MODULE_LOCATION[0]="/updates/dkms"
AUTOINSTALL="yes"
END
cat >"$name.c" <<END
/* revision $revision */
#include <linux/module.h>
#include <linux/version.h>
static int __init begin(void) { return 0; }
static void __exit end(void) { }
module_init(begin);
module_exit(end);
MODULE_LICENSE("GPL");
MODULE_VERSION("$version");
MODULE_DESCRIPTION("revision $revision");
$code
END
echo "obj-m := $name.o" >Makefile
echo "$name.c Makefile usr/src/$name-$version" >"debian/$name-dkms.install"
printf '#!/usr/bin/make -f\n%%:\n\tdh $@\noverride_dh_auto_build override_dh_auto_clean override_dh_auto_install override_dh_auto_test:\n' >debian/rules
chmod 755 debian/rules
dpkg-buildpackage --build=binary --no-sign -d >"$work.log" 2>&1 || { cat "$work.log" >&2; exit 1; }
mkdir -p "$out"
mv ../"$name"-dkms_*.deb "$out"
rm -rf "$work" ../"$name"-dkms_*.changes ../"$name"-dkms_*.buildinfo
