#!/bin/bash
# build-arch.sh PROFILE DIR USER OPTION...      (inside a root that builds; the source is in /srv/dist)
#
# Builds the PKGBUILD with makepkg in DIR as the ordinary user USER, without a network; the packages are in /srv/built. Debian
# has no packages of pacman's: --nodeps.
set -eu
profile=$1 directory=$2 user=$3 umask=${BUILD_UMASK:-022}
shift 3
useradd --create-home "$user"
mkdir -p "$directory" /var/lib/pacman/local
cp /srv/dist/dkms-rs-*.tar.xz /srv/dist/PKGBUILD /srv/dist/dkms.install "$directory/"
cp /etc/makepkg.conf "$directory/makepkg.conf"
# Debian's makepkg has no architecture of Arch's.
printf '%s\n' "CARCH=$(uname -m)" "PKGEXT='.pkg.tar.zst'" >>"$directory/makepkg.conf"
chown -R "$user:" "$directory"
# The day that a packager's chroot gives it.
epoch=$(tar -tvf /srv/dist/dkms-rs-*.tar.xz --full-time --utc 2>/dev/null | awk 'NR == 1 { print $4, $5 }')
rm -rf /srv/built
unshare --net -- su "$user" -c "umask $umask; export LC_ALL=C.UTF-8 DKMS_PROFILE=$profile SOURCE_DATE_EPOCH=$(date --utc -d "$epoch" +%s)
	cd $directory; makepkg --nodeps --config $directory/makepkg.conf $*"
mkdir -p /srv/built
cp "$directory"/*.pkg.tar.zst /srv/built/
ls -l /srv/built
