#!/bin/bash
# make-debian-bed.sh SUITE DIR
#
# Makes the Debian root that the suites of the Debian family start from: the classic dkms as Debian installs it, with its
# hooks; initramfs-tools; the tools to build packages; the third newest cloud kernel with its headers. The two newer
# kernels and some module packages are downloaded, so that hardly a test needs the network: apt finds them in its cache.
# Writes DIR/etc/dkms-bed-kernels: the three kernel releases, newest first (only the last is installed).
set -eu
suite=$1 dir=$2
here=$(dirname "$(readlink -f "$0")")
inside() { "$here/in-bed.sh" "$dir" "$@"; }

"$here/make-bed.sh" "$suite" "$dir" 0 cloud \
	dkms dh-dkms gcc make kmod patch xz-utils zstd openssl file gawk libc6-dev initramfs-tools \
	debhelper dpkg-dev fakeroot build-essential

arch=$(inside dpkg --print-architecture)
kernels=$(inside apt-cache search --names-only "^linux-headers-[0-9].*-cloud-$arch\$" |
	sed -n "s/^linux-headers-\([0-9][^ ]*-cloud-$arch\) .*/\1/p" | sort -rV | head -n 3)
mapfile -t kernels <<<"$kernels"
set -- "${kernels[@]}"
[ $# = 3 ] || { echo "make-debian-bed: $suite has no three cloud kernels" >&2; exit 1; }
inside apt-get -q -y install "linux-image-$3" "linux-headers-$3" >/dev/null
inside apt-get clean
# What apt needs to fetch is in its cache before the network is gone.
inside apt-get -q -y install --download-only "linux-image-$2" "linux-headers-$2" "linux-image-$1" "linux-headers-$1" >/dev/null
inside bash -ec '
for package in v4l2loopback acpi-call bbswitch lime-forensics tp-smapi ddcci dm-writeboost; do
	apt-get -q -y install --download-only $package-dkms >/dev/null 2>&1 || echo "make-debian-bed: no $package-dkms" >&2
done
dpkg-query -W -f "\${Version}" dkms >/tmp/classic
apt-get -q -y install --download-only --reinstall dkms dh-dkms >/dev/null
mkdir -p /usr/share/dkms-bed; mv /tmp/classic /usr/share/dkms-bed/classic
apt-get -q -y install --download-only unattended-upgrades >/dev/null
'
printf '%s\n' "$@" >"$dir/etc/dkms-bed-kernels"
