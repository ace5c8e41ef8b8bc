#!/bin/bash
# build-debian.sh PROFILE DIR USER      (inside a root that builds; Debian's source package is in /srv/dist)
#
# Builds the source package below DIR as the ordinary user USER, without a network; what comes of it is in /srv/built.
set -eu
profile=$1 directory=$2 user=$3
useradd --create-home "$user"
mkdir -p "$directory"
cp /srv/dist/dkms-rs_* "$directory/"
chown -R "$user:" "$directory"
rm -rf /srv/built
unshare --net -- su "$user" -c "set -e; export LC_ALL=C.UTF-8 DKMS_PROFILE=$profile
	cd $directory; dpkg-source --extract dkms-rs_*.dsc source; cd source; dpkg-buildpackage --build=binary --no-sign"
mkdir /srv/built
cp "$directory"/*.deb "$directory"/*.changes "$directory"/*.buildinfo /srv/built/
ls -l /srv/built
