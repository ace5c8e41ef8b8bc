#!/bin/bash
# Guess: apt autoremove keeps the newest two kernels: those with the highest release, the part of the name that uname -r prints. The
# headers of a newer release than any image are newest, too.
# apt 3.0.4: the package's version decides, the name does not. A kernel 6.1.0-9 whose package has version 1.0 is removed as the oldest;
# 5.0-mine with an epoch is the newest, and pushes the real second newest out. Only releases that have an image are looked
# at: headers that are there alone, of whatever release, go. The running kernel is protected by what uname says: in a
# chroot or a container that is the host's, whatever runs there later. So: a package of a self-built kernel needs a version in
# line with the distribution's; and headers that are wanted without their image are marked manual.
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
for release in 6.1.0-1 6.1.0-2 6.1.0-3; do package "linux-image-$release-amd64" "6.1.${release#*-}"; done
package linux-image-6.1.0-2-cloud-amd64 6.1.2
package linux-headers-6.1.0-3-amd64 6.1.3
package linux-headers-6.1.0-7-amd64 6.1.7
installed
echo "plain: $(removed)"
package linux-image-6.1.0-9-amd64 1.0
installed
echo "low version: $(removed)"
package linux-image-5.0-mine 1:5.0
installed
echo "epoch: $(removed)"
package "linux-image-$(uname -r)" 0.1
installed
echo "the host's kernel, version 0.1: $(removed | grep -c "linux-image-$(uname -r)" || true) removed"
CODE
same 'newest two of three, and headers' 'plain: linux-headers-6.1.0-7-amd64 linux-image-6.1.0-1-amd64' "$(line 1)"
same 'release 6.1.0-9, version 1.0' 'low version: linux-headers-6.1.0-7-amd64 linux-image-6.1.0-1-amd64 linux-image-6.1.0-9-amd64' "$(line 2)"
same 'release 5.0, version 1:5.0' 'epoch: linux-headers-6.1.0-7-amd64 linux-image-6.1.0-1-amd64 linux-image-6.1.0-2-amd64 linux-image-6.1.0-2-cloud-amd64 linux-image-6.1.0-9-amd64' "$(line 3)"
same 'a package for what uname says' "the host's kernel, version 0.1: 0 removed" "$(line 4)"
