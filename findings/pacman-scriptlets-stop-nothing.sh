#!/bin/bash
# Guess: pre_install and pre_upgrade of a package can say no, as preinst of Debian's and %pre of rpm's packages can; a post_ function that
# fails is told by the exit code.
# pacman 7.0.0: none of the six stops anything. A package whose pre_install fails is installed, one whose pre_remove fails is removed; a
# line "command failed to execute correctly", without the function's name, and exit 0. A module that post_install
# could not build is an installed package and a success. So: what must be able to say no is a PreTransaction hook with AbortOnFail;
# what a scriptlet did is looked at afterwards.
. "$(dirname "$0")/lib.sh"
root trixie debhelper=13.24.2 rpm=4.20.1+dfsg-3 makepkg=7.0.0-1+b1 pacman-package-manager=7.0.0-1+b1 libarchive-tools
run_inside <<'CODE'
printf '%s\n' '[options]' 'Architecture = auto' 'SigLevel = Never' 'LocalFileSigLevel = Never' >/pacman.conf
mkdir -p /var/lib/pacman /tmp/hooks
# package VERSION FUNCTION: in which this function fails
package() {
	rm -rf /tmp/x
	mkdir -p /tmp/x/opt
	echo "$1" >/tmp/x/opt/file
	printf '%s\n' 'pkgname = x' 'pkgbase = x' "pkgver = $1-1" 'pkgdesc = trial' 'url = https://example.org' 'builddate = 1' \
		'packager = trial' 'size = 1' 'arch = any' >/tmp/x/.PKGINFO
	printf '%s() { exit 3; }\n' "$2" >/tmp/x/.INSTALL
	(cd /tmp/x && bsdtar -cf /tmp/x.tar .PKGINFO .INSTALL opt)
}
run() {
	pacman --config /pacman.conf --dbpath /var/lib/pacman --hookdir /tmp/hooks --noconfirm "$@" >/tmp/told 2>&1 && code=0 || code=$?
	echo "$code, $(grep -c 'command failed to execute correctly' /tmp/told || true) failed, $(cat /opt/file 2>/dev/null || echo none), told $(grep -c '_install\|_upgrade\|_remove' /tmp/told || true)"
}
package 1 pre_install
run -U /tmp/x.tar
package 2 pre_upgrade
run -U /tmp/x.tar
package 3 post_upgrade
run -U /tmp/x.tar
package 4 pre_remove
run -U /tmp/x.tar
run -R x
package 5 post_install
run -U /tmp/x.tar
package 6 post_remove
run -U /tmp/x.tar
run -R x
CODE
same 'pre_install' '0, 1 failed, 1, told 0' "$(line 1)"
same 'pre_upgrade' '0, 1 failed, 2, told 0' "$(line 2)"
same 'post_upgrade' '0, 1 failed, 3, told 0' "$(line 3)"
same 'pre_remove' '0, 1 failed, none, told 0' "$(line 5)"
same 'post_install' '0, 1 failed, 5, told 0' "$(line 6)"
same 'post_remove' '0, 1 failed, none, told 0' "$(line 8)"
