#!/bin/bash
# need.sh WHAT...   (book, build, deb, demo, dist, lint, rpm, test, unit)
#
# Makes sure that this machine has what the named part of the work takes. Root on a Debian machine gets what is missing
# from apt, after the list is printed; anybody else is told. Only what `build` needs is an error then: the tests name
# what they had to leave out.
set -eu

lacking=() essential=
# need PROGRAM PACKAGE
need() {
	PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null || lacking+=("$2")
}

# True if there is a cargo that can read this workspace.
cargo_serves() {
	local version
	version=$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p')
	[ -n "$version" ] && [ "$(printf '%s\n1.85\n' "$version" | sort -V | head -n 1)" = 1.85 ]
}

for what; do
	case $what in
	build)
		cargo_serves || { lacking+=(cargo rustc); essential=1; }
		command -v cc >/dev/null || { lacking+=(gcc libc6-dev); essential=1; }
		;;
	deb)
		need dpkg-buildpackage dpkg-dev; need dh debhelper; need pkg-config pkgconf
		essential=1
		;;
	dist) need xz xz-utils; essential=1 ;;
	demo)
		need make make; need gcc gcc; need depmod kmod; need xz xz-utils; need patch patch; need dpkg-deb dpkg
		[ -e /etc/ssl/certs/ca-certificates.crt ] || lacking+=(ca-certificates)
		# Building against the headers wants it (and libelf, which it brings); the demo only unpacks the package that
		# depends on it.
		need pahole pahole
		essential=1
		;;
	book) need mandoc mandoc; need git git; essential=1 ;;
	lint) need shellcheck shellcheck; essential=1 ;;
	rpm) need rpmbuild rpm; essential=1 ;;
	test | unit)
		need make make; need depmod kmod; need xz xz-utils; need zstd zstd; need patch patch; need openssl openssl
		need strip binutils; need file file; need jq jq
		if [ "$what$(id -u)" = test0 ]; then
			need rpmbuild rpm; need mmdebstrap mmdebstrap; need unshare util-linux
			need dpkg-buildpackage dpkg-dev; need dh debhelper; need pkg-config pkgconf
		fi
		;;
	*) echo "need.sh: unknown: $what" >&2; exit 2 ;;
	esac
done
[ ${#lacking[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "Installing from the archive: ${lacking[*]}"
	apt-get -q update >/dev/null
	DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${lacking[@]}" >/dev/null
	if [[ " $* " = *" build "* ]] && ! cargo_serves; then
		echo "cargo 1.85 or newer is needed, and the archive has $(cargo --version)" >&2
		exit 1
	fi
	exit 0
fi
echo "Not on this machine: ${lacking[*]}" >&2
[ -z "$essential" ] || exit 1
