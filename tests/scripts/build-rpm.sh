#!/bin/bash
# build-rpm.sh PROFILE DIR USER OPTION...      (inside a root that builds; the source is in /srv/dist)
#
# Builds the spec below DIR as the ordinary user USER, without a network; the packages are in /srv/built. Debian's rpm knows
# no packages: what BuildRequires asks for is there, and rpm can't see it. What makes packages reproducible is said as
# distributions say it, in both of rpm's tongues.
set -eu
profile=$1 directory=$2 user=$3 umask=${BUILD_UMASK:-022}
shift 3
useradd --create-home "$user"
mkdir -p "$directory/SOURCES"
cp /srv/dist/dkms-rs-*.tar.xz /srv/dist/dkms-rs.spec "$directory/SOURCES/"
chown -R "$user:" "$directory"
rm -rf /srv/built
unshare --net -- su "$user" -c "umask $umask; export LC_ALL=C.UTF-8 PATH=/usr/local/bin:\$PATH
	cd; rpmbuild -ba --nodeps --define '_topdir $directory' --define 'dkms_profile $profile' \
		--define 'source_date_epoch_from_changelog 1' --define 'use_source_date_epoch_as_buildtime 1' \
		--define 'clamp_mtime_to_source_date_epoch 1' --define 'build_mtime_policy clamp_to_source_date_epoch' \
		--define '_buildhost localhost' $* $directory/SOURCES/dkms-rs.spec"
mkdir -p /srv/built
cp "$directory"/RPMS/*/*.rpm "$directory"/SRPMS/*.rpm /srv/built/
ls -l /srv/built
