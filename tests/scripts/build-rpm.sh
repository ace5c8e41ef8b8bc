#!/bin/bash
# build-rpm.sh PROFILE OPTION...      (inside a root that builds; the source is in /srv/dist)
#
# Builds the spec as an ordinary user, without a network; the packages are in /srv/built. Debian's rpm knows no packages: what
# BuildRequires asks for is there, and rpm can't see it.
set -eu
profile=$1
shift
useradd --create-home builder
mkdir -p /home/builder/rpmbuild/SOURCES
cp /srv/dist/dkms-rs-*.tar.xz /srv/dist/dkms-rs.spec /home/builder/rpmbuild/SOURCES/
chown -R builder: /home/builder
unshare --net -- su builder -c "export LC_ALL=C.UTF-8 PATH=/usr/local/bin:\$PATH
	cd; rpmbuild -ba --nodeps --define 'dkms_profile $profile' $* rpmbuild/SOURCES/dkms-rs.spec"
mkdir -p /srv/built
cp /home/builder/rpmbuild/RPMS/*/*.rpm /home/builder/rpmbuild/SRPMS/*.rpm /srv/built/
ls -l /srv/built
