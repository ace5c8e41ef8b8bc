#!/bin/bash
# installed.sh: the last words of `make install`. It puts no package manager's hooks in place: dpkg's and rpm's triggers
# exist in packages only, and a part of them would leave kernels without modules. Which packages have them on this system.
set -eu
like=$( (. /etc/os-release && echo "$ID ${ID_LIKE:-}") 2>/dev/null || true)
package=
for word in $like; do
	case $word in
	debian | ubuntu) package='make deb && sudo apt install ./target/packages/deb/dkms_*.deb' ;;
	fedora | rhel | centos) package='make rpm && sudo dnf install ./target/packages/rpm/dkms-[0-9]*.rpm' ;;
	suse | opensuse*) package='make rpm && sudo zypper install ./target/packages/rpm/dkms-[0-9]*.rpm' ;;
	arch) package='make arch && sudo pacman -U target/packages/arch/dkms-[0-9]*.pkg.tar.zst' ;;
	*) continue ;;
	esac
	break
done
echo 'dkms is installed, without hooks: no modules are built by themselves when a kernel comes.'
if [ -n "$package" ]; then
	echo "The package has the hooks; in its place: sudo make uninstall && $package"
else
	echo 'Run "dkms reconcile" after each change of kernels, or "systemctl enable dkms.service", which does it at each boot.'
fi
