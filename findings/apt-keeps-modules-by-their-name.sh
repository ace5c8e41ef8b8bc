#!/bin/bash
# Guess: apt autoremove keeps the packages of modules that were built for a kernel as long as it keeps the kernel: it finds them by the
# release in their names, or by none of them. APT::NeverAutoRemove holds names of packages.
# apt 3.0.4: it goes by how the name begins. linux-ANYTHING, WORD-modules and WORD-kernel, followed by the release, are kept
# with the image; nvidia-kmod-RELEASE, nvidia-modules-extra-RELEASE and dkms-RELEASE are removed while the kernel that they are for
# is the newest. A name with the release cut short (without the flavour) is removed, too. NeverAutoRemove takes
# regular expressions that fit anywhere: `dkms` keeps foo-dkms-bar as well. So: name such packages NAME-modules-RELEASE, or
# let something depend on them.
. "$(dirname "$0")/lib.sh"
root trixie apt=3.0.4
cat >"$T/root/helpers" <<'CODE'
mkdir /repo
# package NAME VERSION: into the archive
package() {
	mkdir -p "/tmp/$1/DEBIAN"
	printf '%s\n' "Package: $1" "Version: $2" 'Architecture: all' 'Maintainer: trial <trial@example.org>' 'Description: trial' >"/tmp/$1/DEBIAN/control"
	dpkg-deb -b "/tmp/$1" "/repo/$1.deb" >/dev/null
}
# installed: installs all of them as dependencies that nothing needs any more
installed() {
	dpkg -i /repo/*.deb >/dev/null
	apt-mark auto $(cd /repo && printf '%s\n' *.deb | sed 's/.deb$//') >/dev/null
}
# removed OPTION…: what autoremove would remove
removed() { apt-get -s "$@" autoremove | sed -n 's/^Remv \([^ ]*\).*/\1/p' | sort | paste -sd ' '; }
CODE
run_inside <<'CODE'
for release in 6.1.0-1-amd64 6.1.0-2-amd64; do package "linux-image-$release" 6.1; done
release=6.1.0-2-amd64
for name in linux-zfs nvidia-modules nvidia-kernel nvidia-kmod nvidia-modules-extra dkms; do package "$name-$release" 1; done
package zfs-modules-6.1.0-2 1
installed
echo "removed: $(removed)"
echo "with dkms: $(removed -o APT::NeverAutoRemove::=dkms)"
echo "with modules-e: $(removed -o APT::NeverAutoRemove::=s-e.tra)"
CODE
same 'modules of the newest kernel' 'removed: dkms-6.1.0-2-amd64 nvidia-kmod-6.1.0-2-amd64 nvidia-modules-extra-6.1.0-2-amd64 zfs-modules-6.1.0-2' "$(line 1)"
same 'NeverAutoRemove dkms' 'with dkms: nvidia-kmod-6.1.0-2-amd64 nvidia-modules-extra-6.1.0-2-amd64 zfs-modules-6.1.0-2' "$(line 2)"
same 'NeverAutoRemove s-e.tra' 'with modules-e: dkms-6.1.0-2-amd64 nvidia-kmod-6.1.0-2-amd64 zfs-modules-6.1.0-2' "$(line 3)"
