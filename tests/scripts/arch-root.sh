#!/bin/bash
# arch-root.sh
#
# Run inside a copy of a Debian bed, as root, with the sources of two real module packages in /mnt/sources. Turns the
# bed into a root that pacman manages as Arch has it: os-release says arch, there are no kernels but pacman's, and
# /srv/pool holds packages of kernels (made from the bed's Debian kernel), headers and modules.
set -eu
pool=/srv/pool
mkdir -p $pool
debian=$(head -n 1 /etc/dkms-bed-kernels)

# One self-contained build tree, without what a module's build never reads.
/usr/bin/env bash /mnt/make-kernel-tree.sh "$debian" template
tree=/opt/template
find "$tree/arch" -mindepth 1 -maxdepth 1 -type d ! -name x86 -exec rm -rf {} +
for directory in "$tree"/*/; do
	case $(basename "$directory") in arch | include | scripts | tools) ;; *) rm -rf "$directory" ;; esac
done
find "$tree" -name 'Kconfig*' -delete
vmlinuz=/boot/vmlinuz-$debian
[ -e "$vmlinuz" ] || vmlinuz=/lib/modules/$debian/vmlinuz
module=$(find "/lib/modules/$debian/kernel" -name 'dummy.ko*' | head -n 1)

# pack NAME VERSION BASE [FIELD=VALUE...]: a package of what is in ./pkg
pack() {
	local name=$1 version=$2 base=$3 field
	shift 3
	{
		printf 'pkgname = %s\npkgbase = %s\nxdata = pkgtype=pkg\npkgver = %s\n' "$name" "$base" "$version"
		printf 'pkgdesc = %s\nbuilddate = 1\npackager = Nobody <nobody@example.org>\n' "$name"
		printf 'size = %s\narch = x86_64\nlicense = GPL\n' "$(du -sb pkg | cut -f1)"
		for field; do printf '%s = %s\n' "${field%%=*}" "${field#*=}"; done
	} >pkg/.PKGINFO
	# Files of a package come before its directories' contents are listed, .PKGINFO first.
	(cd pkg && shopt -s nullglob && names=(*) && bsdtar -cf - --uid 0 --gid 0 .PKGINFO "${names[@]}") >"$pool/$name-$version-x86_64.pkg.tar"
	rm -rf pkg
}

# kernel NAME VERSION RELEASE [FIELD...]
kernel() {
	local name=$1 version=$2 release=$3
	shift 3
	local dir=pkg/usr/lib/modules/$release
	mkdir -p "$dir/kernel/drivers/net"
	cp "$module" "$dir/kernel/drivers/net/"
	cp /lib/modules/template/modules.{order,builtin,builtin.modinfo} "$dir/"
	cp "$vmlinuz" "$dir/vmlinuz"
	# The image says whose it is: without this, the headers would be another build's.
	OLD=$debian NEW=$release perl -0777 -pi -e \
		's/\Q$ENV{OLD}\E( \([^\0\n]*)\0/my $new = "$ENV{NEW}$1"; $new . "\0" x (length($&) - length($new))/e' "$dir/vmlinuz"
	echo "$name" >"$dir/pkgbase"
	pack "$name" "$version" "$name" "$@"
}

# headers NAME VERSION RELEASE BASE [FIELD...]
headers() {
	local name=$1 version=$2 release=$3 base=$4
	shift 4
	local build=pkg/usr/lib/modules/$release/build
	mkdir -p "$build"
	cp -a "$tree/." "$build/"
	echo "$release" >"$build/include/config/kernel.release"
	echo "#define UTS_RELEASE \"$release\"" >"$build/include/generated/utsrelease.h"
	pack "$name" "$version" "$base" "$@"
}

# module PACKAGE VERSION NAME NUMBER [FIELD...]: of the source in ./source, as usr/src/NAME-NUMBER
module() {
	local package=$1 version=$2 name=$3 number=$4
	shift 4
	mkdir -p pkg/usr/src
	mv source "pkg/usr/src/$name-$number"
	pack "$package" "$version" "$package" depend=dkms "$@"
}

# small NAME VERSION AUTOINSTALL: a module of one file, which breaks on kernels called 7.2.14 if it is called bad
small() {
	mkdir source
	cat >source/Makefile <<'MAKE'
obj-m += NAME.o
ccflags-$(if $(findstring 7.2.14,$(KERNELRELEASE)),y) += -DNEW_KERNEL
MAKE
	sed -i "s/NAME/$1/" source/Makefile
	cat >"source/$1.c" <<C
#include <linux/module.h>
#if defined(NEW_KERNEL) && defined(BAD)
#error this kernel is too new
#endif
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("$1");
MODULE_VERSION("$2");
C
	[ "${1#bad}" = "$1" ] || sed -i '1i #define BAD' "source/$1.c"
	cat >source/dkms.conf <<CONF
PACKAGE_NAME="$1"
PACKAGE_VERSION="$2"
BUILT_MODULE_NAME[0]="$1"
DEST_MODULE_LOCATION[0]="/extra"
${3:+AUTOINSTALL="$3"}
${4:-}
CONF
}

cd "$(mktemp -d)"
kernel linux 7.2.13.arch1-1 7.2.13-arch1-1
headers linux-headers 7.2.13.arch1-1 7.2.13-arch1-1 linux
kernel linux 7.2.14.arch1-1 7.2.14-arch1-1
headers linux-headers 7.2.14.arch1-1 7.2.14-arch1-1 linux
kernel linux-lts 6.12.95-1 6.12.95-1-lts
headers linux-lts-headers 6.12.95-1 6.12.95-1-lts linux-lts
# The same kernel by another name, and its headers.
kernel linux-new 7.2.14.arch1-2 7.2.14-arch1-1 replaces=linux conflict=linux provides=linux
headers linux-new-headers 7.2.14.arch1-2 7.2.14-arch1-1 linux-new replaces=linux-headers conflict=linux-headers
# A kernel that calls itself as the machine's running one.
kernel linux-running 1-1 "$(uname -r)"
headers linux-running-headers 1-1 "$(uname -r)" linux-running

small hello 1.0 yes; module hello-dkms 1.0-1 hello 1.0
small hello 2.0 yes; module hello-dkms 2.0-1 hello 2.0
small hello 2.0 yes; sed -i 's/("hello")/("repackaged")/' source/hello.c; module hello-dkms 2.0-2 hello 2.0
small bad 1.0 yes; module bad-dkms 1.0-1 bad 1.0
# A good version, one that builds nowhere, and its mended successor.
small worse 1.0 yes; module worse-dkms 1.0-1 worse 1.0
small worse 2.0 yes; sed -i '1i #error this version is broken' source/worse.c; module worse-dkms 2.0-1 worse 2.0
small worse 3.0 yes; module worse-dkms 3.0-1 worse 3.0
small byhand 1.0 ''; module byhand-dkms 1.0-1 byhand 1.0
small old 1.0 yes 'BUILD_EXCLUSIVE_KERNEL_MAX=7.2.13-arch1-1'; module old-dkms 1.0-1 old 1.0
# Its dkms.conf says 9, whatever the package's version is.
for number in 1.0 1.1; do
	small odd 9 yes
	sed -i "s/(\"9\")/(\"$number\")/" source/odd.c
	module odd-dkms $number-1 odd $number
done
# The module of another package's name, in its place.
small nv 1.0 yes; module nv-dkms 1.0-1 nv 1.0
small nv 2.0 yes; sed -i 's/_NAME="nv"/_NAME="nv-ng"/' source/dkms.conf; module nv-ng-dkms 2.0-1 nv-ng 2.0 replaces=nv-dkms conflict=nv-dkms
for real in /mnt/sources/*; do
	cp -a "$real" source
	base=$(basename "$real")
	module "${base%-*}-dkms" "${base##*-}-1" "${base%-*}" "${base##*-}"
done
# libalpm of another soname in place of this one: what pacman is when a hook runs that is linked to it.
library=$(find /usr/lib -maxdepth 2 -name 'libalpm.so.*' -type l | head -n 1)
mkdir -p "pkg$(dirname "$library")"
cp -a "$library"* "pkg$(dirname "$library")/"
pack libalpm 1-1 libalpm
mkdir -p "pkg$(dirname "$library")"
echo "not a library" >"pkg$(dirname "$library")/libalpm.so.99"
pack libalpm 2-1 libalpm

# The kernel's own hooks, in their places: 60 makes modules.dep, 90 would make the initramfs.
hooks=/usr/share/libalpm/hooks scripts=/usr/share/libalpm/scripts
mkdir -p $hooks $scripts
cat >$scripts/depmod-kernels <<'S'
#!/bin/bash
# depmod for kernels that came; for those that went, its files go too
for dir in $(sed -n 's,^usr/lib/modules/\([^/]*\)/.*,\1,p' | sort -u); do
	if [ -e "/usr/lib/modules/$dir/modules.order" ]; then depmod "$dir"; else
		rm -f "/usr/lib/modules/$dir"/modules.{alias,dep,symbols,builtin.alias,builtin}{,.bin} "/usr/lib/modules/$dir"/modules.{devname,softdep,weakdep}
		rmdir "/usr/lib/modules/$dir" 2>/dev/null
	fi
done
exit 0
S
cat >$scripts/observe <<'S'
#!/bin/bash
# what a hook sees of the modules: one line a module, with what depmod knows of it
cat >/dev/null
for file in /usr/lib/modules/*/{updates,extra}/{,dkms/}*.ko*; do
	[ -e "$file" ] || continue
	kernel=${file#/usr/lib/modules/} kernel=${kernel%%/*} name=$(basename "${file%.ko*}")
	echo "$1 $kernel $name $(modinfo -k "$kernel" -F version "$name" 2>/dev/null || echo unknown-to-depmod)" >>/var/log/observed
done
exit 0
S
chmod 755 $scripts/*
trigger() { # OPERATIONS TARGET...
	local word
	echo '[Trigger]'
	for word in $1; do echo "Operation = $word"; done
	echo 'Type = Path'
	shift
	printf 'Target = %s\n' "$@"
}
hook() { # FILE WHEN SCRIPT, its triggers on standard input
	{
		cat
		printf '[Action]\nDescription = %s\nWhen = %s\nExec = %s\nNeedsTargets\n' "$1" "$2" "$3"
	} >"$hooks/$1.hook"
}
any='Install Upgrade Remove' coming='Install Upgrade' image='usr/lib/modules/*/vmlinuz'
trigger "$any" "$image" 'usr/src/*/dkms.conf' | hook 60-depmod PostTransaction $scripts/depmod-kernels
# As mkinitcpio and dracut have theirs: images go at 60, before the transaction; they come at 90, after it.
trigger Remove "$image" | hook 60-mkinitcpio-remove PreTransaction "$scripts/observe 60"
trigger "$any" "$image" 'usr/src/*/dkms.conf' | hook 80-observe PreTransaction "$scripts/observe pre"
{ trigger "$any" 'usr/src/*/dkms.conf'; trigger "$coming" "$image"; } |
	hook 90-mkinitcpio-install PostTransaction "$scripts/observe 90"
trigger "$coming" 'usr/lib/modules/*/pkgbase' | hook 90-dracut-install PostTransaction "$scripts/observe dracut"

cat >/etc/pacman.conf <<'C'
[options]
Architecture = x86_64
SigLevel = Never
LocalFileSigLevel = Never
HookDir = /usr/share/libalpm/hooks/
CacheDir = /var/cache/pacman/pkg/
[test]
Server = file:///srv/repo
C
mkdir -p /var/cache/pacman/pkg /var/lib/pacman /var/log
rm -f /etc/os-release
printf 'NAME="Arch Linux"\nID=arch\n' >/etc/os-release

# repo PACKAGE-VERSION...: what the archive has from now on
cat >/usr/local/bin/repo <<'S'
#!/bin/bash
set -eu
rm -rf /srv/repo; mkdir -p /srv/repo; cd /srv/repo
for package; do ln -s "/srv/pool/$package-x86_64.pkg.tar" .; done
repo-add -q test.db.tar.gz ./*.pkg.tar >/dev/null
S
chmod 755 /usr/local/bin/repo

rm -rf /opt/template /lib/modules/* /usr/src/* /boot/vmlinuz-* /boot/initrd* /boot/System.map-*
# The key stays, so that two roots sign alike.
find /var/lib/dkms -mindepth 1 ! -name 'mok.*' -delete
# An initramfs is made by other programs there.
rm -f /usr/sbin/{mkinitramfs,update-initramfs} /usr/bin/dracut
ls -l $pool
