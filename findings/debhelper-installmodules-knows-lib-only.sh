#!/bin/bash
# Guess: dh_installmodules, part of every `dh` build, adds a depmod to a package's scripts wherever the package has modules for a kernel:
# /lib and /usr/lib are one directory since long, and packages are to use the second.
# debhelper 13.24.2: it looks below lib/modules of the package only. A package with usr/lib/modules/6.12/updates/x.ko gets no script, exit
# 0 and no word: its modules are in no index until somebody else runs depmod. A module right in lib/modules/6.12 is not seen
# either. And the script that it does add runs depmod only where /boot/System.map-6.12 is there. So: a package of modules brings a
# postinst and postrm of its own that run depmod.
. "$(dirname "$0")/lib.sh"
root trixie debhelper=13.24.2 rpm=4.20.1+dfsg-3 makepkg=7.0.0-1+b1 pacman-package-manager=7.0.0-1+b1 libarchive-tools
run_inside <<'CODE'
cd /tmp
mkdir -p debian
printf '%s\n' 'Source: trial' 'Maintainer: Trial <trial@example.org>' 'Build-Depends: debhelper-compat (= 13)' '' 'Package: trial' 'Architecture: any' 'Description: trial' >debian/control
printf '%s\n' 'trial (1) unstable; urgency=low' '' '  * Trial.' '' ' -- Trial <trial@example.org>  Thu, 01 Jan 2026 00:00:00 +0000' >debian/changelog
for file in lib/modules/6.12/updates/x.ko usr/lib/modules/6.12/updates/x.ko lib/modules/6.12/updates/x.ko.xz lib/modules/6.12/x.ko; do
	rm -rf debian/trial debian/*.debhelper
	mkdir -p "debian/trial/$(dirname "$file")"
	touch "debian/trial/$file"
	dh_installmodules >/dev/null 2>&1 && code=0 || code=$?
	echo "$file: $code $(find debian -name 'trial.post*' | sort | sed 's/.*trial\.\(.*\)\.debhelper/\1/' | paste -sd ' ')"
	[ "$file" != lib/modules/6.12/updates/x.ko ] || script=$(cat debian/trial.postinst.debhelper)
done
echo "$script" >/tmp/script
printf '#!/bin/sh\necho "$@" >>/tmp/ran\n' >/usr/sbin/depmod
chmod +x /usr/sbin/depmod
touch /tmp/ran
sh /tmp/script configure
echo "runs: $(wc -l </tmp/ran)"
touch /boot/System.map-6.12
sh /tmp/script configure
echo "with a map: $(cat /tmp/ran)"
CODE
same 'below lib/' 'lib/modules/6.12/updates/x.ko: 0 postinst postrm' "$(line 1)"
same 'below usr/lib/' 'usr/lib/modules/6.12/updates/x.ko: 0 ' "$(line 2)"
same 'compressed' 'lib/modules/6.12/updates/x.ko.xz: 0 postinst postrm' "$(line 3)"
same 'without a directory' 'lib/modules/6.12/x.ko: 0 ' "$(line 4)"
same 'no System.map: depmod' 'runs: 0' "$(line 5)"
same 'with one' 'with a map: -a -F /boot/System.map-6.12 6.12' "$(line 6)"
