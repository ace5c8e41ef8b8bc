#!/bin/bash
# build-arch.sh PROFILE      (inside a root that builds; the source is in /srv/dist)
#
# Builds the PKGBUILD with makepkg as an ordinary user, without a network; the packages are in /srv/built. Debian has no
# packages of pacman's: --nodeps.
set -eu
useradd --create-home builder
mkdir -p /home/builder/build /var/lib/pacman/local
cp /srv/dist/dkms-rs-*.tar.xz /srv/dist/PKGBUILD /srv/dist/dkms.install /home/builder/build/
cp /etc/makepkg.conf /home/builder/makepkg.conf
# Debian's makepkg has no architecture of Arch's.
printf '%s\n' "CARCH=$(uname -m)" "PKGEXT='.pkg.tar.zst'" >>/home/builder/makepkg.conf
chown -R builder: /home/builder
unshare --net -- su builder -c "export LC_ALL=C.UTF-8 DKMS_PROFILE=$1
	cd build; makepkg --nodeps --config /home/builder/makepkg.conf"
mkdir -p /srv/built
cp /home/builder/build/*.pkg.tar.zst /srv/built/
ls -l /srv/built
