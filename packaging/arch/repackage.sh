#!/bin/bash
# repackage.sh STAGE      (inside a root with makepkg, as root; STAGE as made by stage.sh)
#
# Packages what is staged; the package is left in STAGE. makepkg won't run as root.
set -eu
cd "$1"
cp /etc/makepkg.conf makepkg.conf
# Debian's makepkg has no architecture of Arch's.
printf '%s\n' "CARCH=$(uname -m)" "PKGEXT='.pkg.tar.zst'" 'OPTIONS=(!strip !debug !lto zipman)' "PACKAGER='${PACKAGER:-DKMS <dkms@localhost.localdomain>}'" >>makepkg.conf
# makepkg asks pacman what is installed, as nobody, who can't make the database.
mkdir -p /var/lib/pacman/local
chown -R nobody .
HOME=/tmp runuser -u nobody -- makepkg --repackage --nodeps --force --config "$PWD/makepkg.conf"
