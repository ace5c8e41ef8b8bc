#!/bin/bash
# lint-archive.sh        (inside a Debian bed, with the network)
#
# Has `dkms lint` look at every dkms.conf of the *-dkms packages of this bed's suite. Prints what it finds, one finding a line:
#   PACKAGE <tab> FILE:LINE: SEVERITY: MESSAGE [RULE]
# with the file below the package's source, then `looked at N`.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
apt-get -q -o Acquire::Check-Valid-Until=false update >/dev/null
count=0
for package in $(apt-cache search --names-only -- '-dkms$' | cut -d' ' -f1 | sort); do
	apt-get -q -o APT::Sandbox::User=root download "$package" >/dev/null 2>&1 ||
		{ echo "$package cannot be downloaded" >&2; continue; }
	dpkg-deb -x ./"$package"_*.deb new
	for conf in new/usr/src/*/dkms.conf; do
		[ -e "$conf" ] || continue
		count=$((count + 1))
		code=0
		dkms lint "${conf%/*}" >found || code=$?
		# 8: there are errors.
		[ "$code" = 0 ] || [ "$code" = 8 ] || { echo "dkms lint ends with $code for $package" >&2; exit 1; }
		sed -n "s,^new/usr/src/[^/]*/,$package\t,p" found
	done
	rm -rf new ./*.deb
done
echo "looked at $count"
