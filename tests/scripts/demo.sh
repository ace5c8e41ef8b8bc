#!/bin/bash
# demo.sh: a real module package, built and installed for a real kernel in a private root. Called by `make demo`.
#
# Everything happens below target/demo; at the end the places where modules live on this machine are compared with what
# they were before.
set -eu
cd "$(dirname "$0")/../.."
demo=$PWD/target/demo root=$PWD/target/demo/root
dkms=$PWD/target/dkms

# Bold on a terminal only.
bold='' plain=''
[ ! -t 1 ] || { bold=$'\033[1m' plain=$'\033[0m'; }
say() { printf '\n%s\n' "$bold$*$plain"; }
run() { printf '$ %s\n' "${*//$PWD\//}"; "$@"; }

# Names, kinds, modes, sizes, times, targets and contents.
digest() {
	for place in /lib/modules /usr/src /var/lib/dkms /boot /etc/dkms; do
		[ -e "$place" ] || { echo "$place: none"; continue; }
		find -H "$place" -printf '%p %y %m %U:%G %s %T@ %l\n'
		find -H "$place" -type f -print0 | xargs -0r sha256sum
	done | LC_ALL=C sort
}

rm -rf "$demo"
mkdir -p "$demo/debs" "$root"
digest >"$demo/before"

say "Fetching v4l2loopback-dkms, and the kernel and headers of this release"
arch=$(dpkg --print-architecture)
# The release's own general kernel: its packages are made for it, while a backported one may be too new for them, and
# a cloud kernel has no video subsystem, so that v4l2loopback declines it.
newest() {
	apt-cache depends "linux-headers-$arch" 2>/dev/null |
		sed -n 's/^ *Depends: linux-headers-\([0-9][^ ]*\)$/\1/p' | head -n 1
}
kernel=$(newest)
[ -n "$kernel" ] || { [ "$(id -u)" != 0 ] || apt-get -q update >/dev/null; kernel=$(newest); }
[ -n "$kernel" ] || { echo "apt knows no kernel headers: run apt-get update" >&2; exit 1; }
depends() { apt-cache depends --important "$1" | sed -n 's/^ *Depends: \(linux-\(headers\|kbuild\)-[^ ]*\)$/\1/p'; }
packages=(v4l2loopback-dkms "linux-image-$kernel" "linux-headers-$kernel")
while read -r package; do packages+=("$package"); done < <(depends "linux-headers-$kernel")
# linux-image-K may be a front for packages that hold the files.
while read -r package; do packages+=("$package"); done < <(
	apt-cache depends --important "linux-image-$kernel" |
		sed -n 's/^ *Depends: \(linux-\(base\|binary\|modules\)-[0-9][^ ]*\)$/\1/p')
echo "  ${packages[*]}"
(cd "$demo/debs" && apt-get -q -o APT::Sandbox::User=root download "${packages[@]}" >/dev/null)

say "Unpacking them into ${root#"$PWD"/}"
mkdir -p "$root"/usr/{bin,lib,sbin} "$root"/etc "$root"/var/lib
for name in bin lib sbin; do ln -s "usr/$name" "$root/$name"; done
for deb in "$demo"/debs/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -C "$root" --keep-directory-symlink -xf -; done
cp -L /etc/os-release "$root/etc/os-release"
[ -e "$root/lib/modules/$kernel/modules.order" ] || { echo "no kernel in $root" >&2; exit 1; }
depmod -b "$root" "$kernel"
source=$(basename "$(dirname "$(echo "$root"/usr/src/v4l2loopback-*/dkms.conf)")")
package=v4l2loopback/${source#v4l2loopback-}

say "A whole life of $package for $kernel"
run "$dkms" --root "$root" add "$package"
run "$dkms" --root "$root" build "$package" -k "$kernel"
run "$dkms" --root "$root" install "$package" -k "$kernel"
run "$dkms" --root "$root" status
module=$(find "$root/lib/modules/$kernel/updates" -name 'v4l2loopback.ko*')
# Without the parameters and the bytes of the signature.
run /sbin/modinfo "$module" | sed '/^parm:/d; /^signature:/d; /^\t/d'
/sbin/modinfo -F vermagic "$module" | grep -qF "$kernel " || { echo "the module is not for $kernel" >&2; exit 1; }

say 'This machine before and after'
digest >"$demo/after"
if ! cmp -s "$demo/before" "$demo/after"; then
	diff "$demo/before" "$demo/after" | head -n 20
	echo "/lib/modules, /usr/src, /var/lib/dkms, /boot or /etc/dkms has changed" >&2
	exit 1
fi
echo "/lib/modules, /usr/src, /var/lib/dkms, /boot and /etc/dkms are as they were, byte for byte"
