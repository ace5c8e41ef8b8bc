#!/bin/bash
# real-sources.sh DIR      (inside a Debian bed, with the network)
#
# Leaves in DIR, one directory each, unpacked source packages of the archive that use dh_dkms, and installs what building
# them takes. All suites are asked, since mirrors have holes. Where a mirror has a package's debian/ but not the original
# sources, those of the binary package in this bed's own suite are put under it: dh_dkms never looks at them.
set -eu
dir=$1
wanted='xtrx-dkms iptables-netflow xtables-addons openvpn-dco-dkms lttng-modules acpi-call bbswitch'
uri=$(sed -n 's/^deb \([^ ]*\) .*main.*/\1/p' /etc/apt/sources.list | head -n 1)
list=/etc/apt/sources.list.d/real-sources.list
trap 'rm -f "$list"' EXIT
for suite in bookworm trixie sid; do echo "deb-src $uri $suite main contrib non-free"; done >"$list"
apt-get -q -o Acquire::Check-Valid-Until=false update >/dev/null
mkdir -p "$dir"

# unpack NAME VERSION: the source package as it is in the archive
unpack() {
	(cd "$work" && apt-get -q source --download-only "$1=$2" && dpkg-source --no-check -x ./*.dsc "$dir/$1")
}

# assemble NAME: its debian/ from the archive, its sources from its binary package
assemble() {
	local archives=("$work"/*.debian.tar.*)
	[ -e "${archives[0]}" ] || return 1
	mkdir "$work/tree"
	tar -xf "${archives[0]}" -C "$work/tree"
	(cd "$work" && apt-get -q download "${1%-dkms}-dkms" && dpkg-deb -x ./*.deb binary) || return 1
	rm "$work"/binary/usr/src/*/dkms.conf
	cp -a "$work"/binary/usr/src/*/. "$work/tree/"
	# The patches are for the sources that are not there.
	rm -rf "$work/tree/debian/patches"
	mv "$work/tree" "$dir/$1"
}

for name in $wanted; do
	for version in $(apt-cache showsrc --only-source "$name" | sed -n 's/^Version: //p' | sort -u); do
		work=$(mktemp -d)
		if unpack "$name" "$version" >"$work/log" 2>&1 || assemble "$name" >>"$work/log" 2>&1; then
			echo "$name $version"
			rm -rf "$work"
			break
		fi
		rm -rf "$work" "${dir:?}/$name"
	done
done
rm -f "$dir"/*.tar.*
apt-get -q -y install --no-install-recommends dh-exec libxtables-dev pkgconf autoconf automake libtool >/dev/null
