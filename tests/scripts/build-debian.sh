#!/bin/bash
# build-debian.sh PROFILE DIR USER      (inside a root that builds; Debian's source package is in /srv/dist)
#
# Builds the source package below DIR as the ordinary user USER, without a network; what comes of it is in /srv/built. With
# $BUILD_FOR, for that architecture, without tests.
set -eu
profile=$1 directory=$2 user=$3 umask=${BUILD_UMASK:-022}
# Nobody reads where in the source a program of these is.
export CARGO_PROFILE_DEV_DEBUG=false
across=
[ -z "${BUILD_FOR:-}" ] || across="--host-arch=$BUILD_FOR --build-profiles=cross,nocheck -d"
useradd --create-home "$user"
mkdir -p "$directory"
cp /srv/dist/dkms-rs_* "$directory/"
chown -R "$user:" "$directory"
rm -rf /srv/built
unshare --net -- su "$user" -c "umask $umask; set -e; export LC_ALL=C.UTF-8 DKMS_PROFILE=$profile
	cd $directory; dpkg-source --extract dkms-rs_*.dsc source; cd source; dpkg-buildpackage --build=binary --no-sign $across"
mkdir /srv/built
cp "$directory"/*.deb "$directory"/*.changes "$directory"/*.buildinfo /srv/built/
ls -l /srv/built
