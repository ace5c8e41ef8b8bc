#!/bin/bash
# rpm-world.sh            (run once inside a new bed; its result is kept with the bed)
#
# Makes a Debian root look like Fedora to dkms and to package managers: os-release, kernel-install plugins that only take
# notes, and a local repository, /srv/rpm/repo, with three kernels in Fedora's layout and with its scriptlets, made of
# the Debian kernel that is installed. The Debian kernel itself goes out of sight.
set -eu
kernel=$(head -n 1 /etc/dkms-bed-kernels)
arch=$(uname -m)
case $arch in x86_64) karch=x86 ;; aarch64) karch=arm64 ;; *) karch=$arch ;; esac
top=/srv/rpm
mkdir -p $top/repo $top/specs $top/trees

# The beginning of a kernel image whose banner names RELEASE (the boot protocol's kernel_version: offset 0x20e holds its
# place less 0x200): nobody boots it.
rename_image() {
	perl -0777 -e '
		my ($file, $release) = @ARGV;
		open my $in, "<:raw", $file or die $!;
		read $in, my $image, 262144;
		if (substr($image, 0x202, 4) eq "HdrS") {
			my $at = unpack("v", substr $image, 0x20e, 2) + 0x200;
			my $length = index($image, "\0", $at) - $at;
			my $banner = substr $image, $at, $length;
			$banner =~ s/^\S+/$release/;
			substr($image, $at, $length) = pack "a$length", substr $banner, 0, $length;
		}
		binmode STDOUT; print $image' "$1" "$2"
}

for version in 7.2.13 7.2.14 7.2.15; do
	release=$version-100.fc99.$arch
	bash /mnt/make-kernel-tree.sh "$kernel" "$release"
	# Only what building for this machine takes: the tree is packed, unpacked and copied often.
	(
		cd "/opt/$release"
		rm -rf vmlinux include/{dt-bindings,sound,media,drm,rdma,scsi,pcmcia,target,ufs,math-emu}
		find . \( -name 'Kconfig*' -o -name '*.rst' -o -name '*.1' \) -delete
		find include/config -type f ! -name auto.conf ! -name kernel.release -delete
		find arch -mindepth 1 -maxdepth 1 ! -name "$karch" -exec rm -rf {} +
	)
	mkdir -p "$top/trees/$release"
	rm -f "/lib/modules/$release/build"
	mv "/lib/modules/$release" "$top/trees/$release/modules"
	mv "/opt/$release" "$top/trees/$release/devel"
	mkdir -p "$top/trees/$release/modules/kernel/drivers/net"
	find "/lib/modules/$kernel/kernel" -name 'dummy.ko*' -exec cp {} "$top/trees/$release/modules/kernel/drivers/net/" \;
	image=/boot/vmlinuz-$kernel
	[ -e "$image" ] || image=/lib/modules/$kernel/vmlinuz
	rename_image "$image" "$release" >"$top/trees/$release/modules/vmlinuz"
	cat >$top/specs/kernel-$version.spec <<-S
		%global debug_package %{nil}
		%global __os_install_post %{nil}
		%global __brp_mangle_shebangs %{nil}
		%global _build_id_links none
		%global KVERREL $release
		Name: kernel
		Version: $version
		Release: 100.fc99
		Summary: A Debian kernel in Fedora's clothes
		License: GPL-2.0-only
		AutoReqProv: no
		%description
		%{summary}.
		%package core
		Summary: The kernel image
		AutoReqProv: no
		Provides: installonlypkg(kernel)
		Provides: kernel-core-uname-r = %{KVERREL}
		Requires: kernel-modules-uname-r = %{KVERREL}
		%description core
		%{summary}.
		%package modules
		Summary: The kernel's modules
		AutoReqProv: no
		Provides: installonlypkg(kernel-module)
		Provides: kernel-modules-uname-r = %{KVERREL}
		%description modules
		%{summary}.
		%package devel
		Summary: What builds modules for it
		AutoReqProv: no
		Provides: installonlypkg(kernel)
		Provides: kernel-devel-uname-r = %{KVERREL}
		%description devel
		%{summary}.
		%install
		mkdir -p %{buildroot}/lib/modules %{buildroot}/usr/src/kernels
		cp -a $top/trees/%{KVERREL}/modules %{buildroot}/lib/modules/%{KVERREL}
		ln -s /usr/src/kernels/%{KVERREL} %{buildroot}/lib/modules/%{KVERREL}/build
		cp -al $top/trees/%{KVERREL}/devel %{buildroot}/usr/src/kernels/%{KVERREL}
		%post modules
		/sbin/depmod -a %{KVERREL}
		%postun modules
		[ ! -d /lib/modules/%{KVERREL} ] || /sbin/depmod -a %{KVERREL} 2>/dev/null || :
		%posttrans core
		echo "kernel-core posttrans %{KVERREL}" >>/var/log/seen
		[ -e /etc/no-kernel-install ] || kernel-install add %{KVERREL} /lib/modules/%{KVERREL}/vmlinuz || exit \$?
		%preun core
		echo "kernel-core preun %{KVERREL}" >>/var/log/seen
		[ -e /etc/no-kernel-install ] || kernel-install remove %{KVERREL} || exit \$?
		%files core
		%dir /lib/modules/%{KVERREL}
		/lib/modules/%{KVERREL}/vmlinuz
		/lib/modules/%{KVERREL}/build
		/lib/modules/%{KVERREL}/modules.builtin*
		%ghost /lib/modules/%{KVERREL}/modules.dep
		%ghost /lib/modules/%{KVERREL}/modules.dep.bin
		%ghost /lib/modules/%{KVERREL}/modules.alias
		%ghost /lib/modules/%{KVERREL}/modules.alias.bin
		%ghost /lib/modules/%{KVERREL}/modules.builtin.bin
		%ghost /lib/modules/%{KVERREL}/modules.builtin.alias.bin
		%ghost /lib/modules/%{KVERREL}/modules.symbols
		%ghost /lib/modules/%{KVERREL}/modules.symbols.bin
		%ghost /lib/modules/%{KVERREL}/modules.softdep
		%ghost /lib/modules/%{KVERREL}/modules.weakdep
		%ghost /lib/modules/%{KVERREL}/modules.devname
		%files modules
		/lib/modules/%{KVERREL}/kernel
		/lib/modules/%{KVERREL}/modules.order
		%files devel
		/usr/src/kernels/%{KVERREL}
	S
done

# What a package may require of a system and dpkg has installed.
cat >$top/specs/base-shim.spec <<-'S'
	Name: base-shim
	Version: 1
	Release: 1
	Summary: What dpkg has put here
	License: GPL-2.0-only
	BuildArch: noarch
	AutoReqProv: no
	Provides: /bin/sh /usr/bin/sh /usr/bin/bash bash coreutils kmod gcc make patch systemd openssl elfutils-libelf-devel
	%description
	%{summary}.
	%install
	mkdir -p %{buildroot}/usr/share/base-shim
	%files
	/usr/share/base-shim
S
build() {
	rpmbuild -bb --quiet --define "_topdir $top/build" --define "_rpmdir $top/repo" \
		--define '_binary_payload w.ufdio' --define "_buildhost bed" "$1" >"$1.log" 2>&1 || { tail "$1.log"; exit 1; }
}
for spec in "$top"/specs/*.spec; do build "$spec"; done
createrepo_c -q $top/repo
rm -rf $top/build $top/trees $top/specs

# The classic as Debian packages it, for a package that ours replaces: unpacked, not installed.
(cd /tmp && apt-get -q download dkms >/dev/null && dpkg-deb -x dkms_*.deb /srv/classic)

# Out of sight: /lib/modules belongs to rpm from here on.
rm -rf /lib/modules/* /usr/src/linux-* /usr/lib/linux-kbuild-* /var/lib/dkms /usr/lib/kernel/install.d/40-dkms.install
find /boot -mindepth 1 -delete
printf 'NAME="Fedora Linux"\nID=fedora\nVERSION_ID=99\n' >/etc/os-release.new
rm -f /etc/os-release && mv /etc/os-release.new /etc/os-release
systemd-machine-id-setup >/dev/null 2>&1 || echo 0123456789abcdef0123456789abcdef >/etc/machine-id

# The plugins that come before and after ours: what they see is what counts.
mkdir -p /etc/kernel/install.d /var/log
for plugin in /usr/lib/kernel/install.d/*.install; do ln -sf /dev/null "/etc/kernel/install.d/${plugin##*/}"; done
rm -f /etc/kernel/install.d/50-depmod.install
for plugin in 50-dracut 90-loaderentry; do
	rm -f "/etc/kernel/install.d/$plugin.install"
	cat >/etc/kernel/install.d/$plugin.install <<-'S'
		#!/bin/sh
		modules=$(cd "/lib/modules/$2" 2>/dev/null && find extra updates -name '*.ko*' 2>/dev/null | sed 's,.*/,,; s,\.ko.*,,' | sort | tr '\n' ' ')
		echo "$(basename "$0" .install) $1 $2 modules: ${modules% }" >>/var/log/seen
		[ "$1" != add ] || echo "$modules" >"/boot/initramfs-$2.img"
		[ "$1" = add ] || rm -f "/boot/initramfs-$2.img"
	S
	chmod +x /etc/kernel/install.d/$plugin.install
done
mkdir -p /etc/yum.repos.d /etc/zypp/repos.d
cat >/etc/yum.repos.d/bed.repo <<-S
	[bed]
	name=bed
	baseurl=file://$top/repo
	gpgcheck=0
	metadata_expire=1
S
cp /etc/yum.repos.d/bed.repo /etc/zypp/repos.d/
