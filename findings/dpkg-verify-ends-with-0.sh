#!/bin/bash
# Guess: `dpkg --verify PACKAGE` is for dpkg what rpm -V is for rpm: it looks at all that the package brought, and its exit code says
# whether that is so.
# dpkg 1.22.22: it ends with 0 whatever is missing or changed; only a package that is not there makes 1. It compares contents of files
# and nothing else: modes are not looked at, and a link that leads elsewhere by now (a kernel's `build`) is as good as before; a link or
# directory that is gone is told. `dpkg --audit` has no word on any of it. rpm 4.20.1 ends with 1, and sees the link. So: what
# counts is whether dpkg --verify printed anything, and links are compared with the package's archive.
. "$(dirname "$0")/lib.sh"
root trixie debhelper=13.24.2 rpm=4.20.1+dfsg-3 makepkg=7.0.0-1+b1 pacman-package-manager=7.0.0-1+b1 libarchive-tools
run_inside <<'CODE'
cd /tmp
mkdir -p x/DEBIAN x/opt/trial/dir
echo one >x/opt/trial/one
echo two >x/opt/trial/two
ln -s one x/opt/trial/build
printf '%s\n' 'Package: trial' 'Version: 1' 'Architecture: all' 'Maintainer: Trial <trial@example.org>' 'Description: trial' >x/DEBIAN/control
dpkg-deb -b x x.deb >/dev/null
dpkg -i x.deb >/dev/null 2>&1
verify() {
	dpkg --verify trial >told && code=0 || code=$?
	echo "$1: $code $(sed 's#/opt/trial/##; s/  */ /g' told | sort | paste -sd ','), audit $(dpkg --audit trial | wc -l)"
}
verify installed
chmod 600 /opt/trial/one
ln -sfn /elsewhere /opt/trial/build
verify 'mode and link'
echo other >/opt/trial/one
rm /opt/trial/two
verify 'contents'
rm /opt/trial/build
rmdir /opt/trial/dir
verify 'all gone'
dpkg --verify nothing >/dev/null 2>&1 && code=0 || code=$?
echo "no package: $code"
printf '%s\n' 'Name: trial' 'Version: 1' 'Release: 1' 'Summary: trial' 'License: none' 'BuildArch: noarch' '%description' trial '%install' \
	'mkdir -p %{buildroot}/opt/rpm; ln -s one %{buildroot}/opt/rpm/build' '%files' /opt/rpm >x.spec
rpmbuild -bb --quiet --define '_rpmdir /tmp' x.spec >/dev/null 2>&1
rpm --nodeps -i noarch/trial-1-1.noarch.rpm 2>/dev/null
ln -sfn /elsewhere /opt/rpm/build
rpm -V trial >told && code=0 || code=$?
echo "rpm: $code $(grep -c 'L.*/opt/rpm/build' told)"
CODE
same 'as installed' 'installed: 0 , audit 0' "$(line 1)"
same 'another mode, a link elsewhere' 'mode and link: 0 , audit 0' "$(line 2)"
same 'a changed file, a missing one' 'contents: 0 ??5?????? one,missing two, audit 0' "$(line 3)"
same 'and a missing link and directory' 'all gone: 0 ??5?????? one,missing build,missing dir,missing two, audit 0' "$(line 4)"
same 'a package that is not there' 'no package: 1' "$(line 5)"
same 'rpm, a link elsewhere' 'rpm: 1 1' "$(line 6)"
