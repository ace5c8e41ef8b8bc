#!/bin/bash
# make-bed.sh SUITE DIR KERNELS PACKAGE...     (KERNELS: two words)
#
# Makes a Debian root ("bed") in DIR: the packages named, and kernels with their headers. KERNELS is a count and a
# flavour: `3 cloud` are the newest three cloud kernels of the suite, `1 full` its newest general one (which has the
# subsystems that many real packages ask for, and is large). Needs root and mmdebstrap. Takes 1 to 3 minutes. The mirror
# is the one this machine's apt uses.
# Writes DIR/etc/dkms-bed-kernels: one kernel release a line, newest first.
set -eu
suite=$1 dir=$2 kernels=$3 flavour=$4
shift 4

uri() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sort -u | grep -E "$1" | head -n 1; }
mirror=$(uri '/debian/?$' || true)
security=$(uri '/debian-security/?$' || true)
[ -n "$mirror" ] || { echo "make-bed: this machine's apt configuration names no Debian archive" >&2; exit 1; }

components='main contrib non-free non-free-firmware'
sources() {
	echo "deb $mirror $suite $components"
	[ "$suite" = sid ] && return
	echo "deb $mirror $suite-updates $components"
	[ -z "$security" ] || echo "deb $security $suite-security $components"
}

mkdir -p "$(dirname "$dir")"
# A frozen archive may be past its Valid-Until; unpacking needs no fsync, the bed is thrown away when the machine dies.
sources | mmdebstrap --quiet --variant=apt --mode=root \
	--aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
	--dpkgopt=force-unsafe-io "$suite" "$dir" -

here=$(dirname "$(readlink -f "$0")")
inside() { "$here/in-bed.sh" "$dir" "$@"; }
inside apt-get -q update >/dev/null
inside apt-get -q -y install "$@" >/dev/null

# headers SUFFIX: the kernel releases that end so and have headers
headers() {
	inside apt-cache search --names-only "^linux-headers-[0-9].*$1\$" | sed -n "s/^linux-headers-\([0-9][^ ]*$1\) .*/\1/p"
}
arch=$(inside dpkg --print-architecture)
releases=
if [ "$kernels" -gt 0 ]; then
	case $flavour in
	cloud) releases=$(headers "-cloud-$arch") ;;
	full) releases=$(headers "-$arch" | grep -vE -- '-(cloud|rt)-') ;;
	*) echo "make-bed: unknown flavour $flavour" >&2; exit 2 ;;
	esac
	releases=$(echo "$releases" | sort -rV | head -n "$kernels")
	[ -n "$releases" ] || { echo "make-bed: $suite has no $flavour kernels" >&2; exit 1; }
	packages=()
	for k in $releases; do packages+=("linux-image-$k" "linux-headers-$k"); done
	inside apt-get -q -y install "${packages[@]}" >/dev/null
fi
echo "$releases" >"$dir/etc/dkms-bed-kernels"
inside apt-get clean
