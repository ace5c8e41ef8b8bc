#!/bin/bash
# Guess: a hook file that pacman can't understand (a key of a later release, a typing mistake) is skipped with a warning, or at
# worst stops transactions that it is for.
# pacman 7.0.0: it stops every transaction, before anything is done: installations and removals of packages that the hook does
# not name, exit 1. The transaction that brings the file is let through with exit 0 (an error line among its output); from
# then on even the package that owns the file can't be removed. A hook that can be read but fails is the opposite: without
# AbortOnFail, and after the transaction always, pacman ends with 0. So: a hook may use only keys that every pacman in use
# knows, and pacman's exit code says nothing of what hooks did.
. "$(dirname "$0")/lib.sh"
root trixie pacman-package-manager=7.0.0-1+b1 libarchive-tools
run_inside <<'CODE'
printf '%s\n' '[options]' 'Architecture = auto' 'SigLevel = Never' 'LocalFileSigLevel = Never' >/pacman.conf
mkdir -p /var/lib/pacman
# package NAME: its files are below /tmp/NAME
package() {
	mkdir -p "/tmp/$1/usr/share/$1"
	printf '%s\n' "pkgname = $1" "pkgbase = $1" 'pkgver = 1-1' 'pkgdesc = trial' 'url = https://example.org' 'builddate = 1' \
		'packager = trial' 'size = 1' 'arch = any' >"/tmp/$1/.PKGINFO"
	(cd "/tmp/$1" && bsdtar -cf "/tmp/$1.tar" .PKGINFO *)
}
# run COMMAND…: exit code and error lines of pacman
run() {
	local code=0
	pacman --config /pacman.conf --dbpath /var/lib/pacman --hookdir /hooks --noconfirm "$@" >/told 2>&1 || code=$?
	echo "$code, $(grep -c ^error: /told) errors, installed: $(pacman --config /pacman.conf --dbpath /var/lib/pacman -Qq | tr '\n' ' ')"
}
hook() { printf '%s\n' '[Trigger]' 'Type = Package' 'Operation = Install' "Target = $1" '[Action]' "When = $2" 'Exec = /bin/false' "${@:3}"; }
mkdir -p /tmp/later/hooks
hook no-such-package PostTransaction NeedsWhat >/tmp/later/hooks/later.hook
for name in later one two three; do package "$name"; done
run -U /tmp/later.tar
run -U /tmp/one.tar
run -R later
rm /hooks/later.hook
run -R later
mkdir -p /hooks
hook '*' PostTransaction >/hooks/fails.hook
run -U /tmp/one.tar
hook '*' PreTransaction >/hooks/fails.hook
run -U /tmp/two.tar
hook '*' PreTransaction AbortOnFail >/hooks/fails.hook
run -U /tmp/three.tar
CODE
same 'the hook comes' '0, 1 errors, installed: later ' "$(line 1)"
same 'another package' '1, 2 errors, installed: later ' "$(line 2)"
same 'the package of the hook' '1, 1 errors, installed: later ' "$(line 3)"
same 'without the file' '0, 0 errors, installed: ' "$(line 4)"
same 'a hook that fails afterwards' '0, 1 errors, installed: one ' "$(line 5)"
same 'a hook that fails before' '0, 1 errors, installed: one two ' "$(line 6)"
same 'the same with AbortOnFail' '1, 2 errors, installed: one two ' "$(line 7)"
