#!/bin/bash
# Guess: `-include FILE` in debian/rules passes over a file that is not there, as make's manual says; `include` of one says that it is
# missing, by its name.
# debhelper 13.24.2 with make 4.4.1: make first tries to make the file, and the `%:` of dh's three lines makes anything: `dh FILE` runs,
# with every call of debian/rules, -n included. With -include its error, "Unknown sequence", stands in the log of a build that ends
# with 0; with include make stops with that error as the last one, below its own line about the file. So:
# -include $(wildcard FILE), or an explicit empty rule for FILE.
. "$(dirname "$0")/lib.sh"
root trixie debhelper=13.24.2 rpm=4.20.1+dfsg-3 makepkg=7.0.0-1+b1 pacman-package-manager=7.0.0-1+b1 libarchive-tools
run_inside <<'CODE'
cd /tmp
mkdir debian
printf '%s\n' 'Source: trial' 'Maintainer: Trial <trial@example.org>' 'Build-Depends: debhelper-compat (= 13)' '' 'Package: trial' 'Architecture: any' 'Description: trial' >debian/control
printf '%s\n' 'trial (1) unstable; urgency=low' '' '  * Trial.' '' ' -- Trial <trial@example.org>  Thu, 01 Jan 2026 00:00:00 +0000' >debian/changelog
# rules LINE ARGUMENT…
rules() {
	printf '#!/usr/bin/make -f\n%%:\n\tdh $@\n%s\n' "$1" >debian/rules
	chmod +x debian/rules
	shift
	debian/rules "$@" >told 2>&1 && code=0 || code=$?
	echo "$code: dh local.mk $(grep -c '^dh local.mk' told || true), Unknown $(grep -c 'Unknown sequence' told || true), missing $(grep -c 'No such file' told || true)"
}
rules '' clean
rules '-include local.mk' clean
rules '-include local.mk' -n clean
rules 'include local.mk' clean
rules '-include $(wildcard local.mk)' clean
rules "$(printf -- '-include local.mk\nlocal.mk: ;')" clean
CODE
same 'no include' '0: dh local.mk 0, Unknown 0, missing 0' "$(line 1)"
same '-include' '0: dh local.mk 1, Unknown 1, missing 0' "$(line 2)"
same '-include, make -n' '0: dh local.mk 1, Unknown 1, missing 0' "$(line 3)"
same 'include' '2: dh local.mk 1, Unknown 1, missing 1' "$(line 4)"
same '-include by wildcard' '0: dh local.mk 0, Unknown 0, missing 0' "$(line 5)"
same '-include and an empty rule' '0: dh local.mk 0, Unknown 0, missing 0' "$(line 6)"
