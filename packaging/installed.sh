#!/bin/bash
# installed.sh: the last words of `make install`. It puts no package manager's hooks in place: dpkg's and rpm's triggers
# exist in packages only, and a part of them would leave kernels without modules. Which packages have them on this system.
set -eu
like=$( (. /etc/os-release && echo "$ID ${ID_LIKE:-}") 2>/dev/null || true)
for word in $like none; do
	case $word in
	debian | ubuntu) how='make deb && sudo apt install ./target/packages/deb/dkms_*.deb' ;;
	fedora | rhel | centos) how='make rpm && sudo dnf install ./target/packages/rpm/dkms-[0-9]*.rpm' ;;
	suse | opensuse*) how='make rpm && sudo zypper install ./target/packages/rpm/dkms-[0-9]*.rpm' ;;
	arch) how='make arch && sudo pacman -U target/packages/arch/dkms-[0-9]*.pkg.tar.zst' ;;
	none) how='there is no package for this system: run "dkms reconcile" after each change of kernel, or enable dkms.service' ;;
	*) continue ;;
	esac
	break
done
echo 'dkms is installed. No hooks were installed: nothing builds modules by itself when a kernel comes.'
echo "With hooks: $how"
