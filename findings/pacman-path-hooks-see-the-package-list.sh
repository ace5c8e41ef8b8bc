#!/bin/bash
# Guess: a pacman hook of Type = Path is run for files that come or go, its Target is matched as a shell matches names, and
# a package's own hooks see its installation and its removal.
# pacman 7.0.0: `*` matches across /, so usr/lib/modules/*/vmlinuz is run for a file of that name at any depth. What is matched is
# the package's file list: a file that NoExtract keeps off the disk is left out at the installation and reported at the
# removal. Hooks are read before and after a transaction: a PreTransaction hook in a package sees that package's removal and
# never its installation, a PostTransaction hook the installation and never the removal. --noscriptlet runs hooks all the
# same; --dbonly runs none. So: a hook has to look at each path itself, and can't be the one that cleans up for its own package.
. "$(dirname "$0")/lib.sh"
root trixie pacman-package-manager=7.0.0-1+b1 libarchive-tools
run_inside <<'CODE'
printf '%s\n' '[options]' 'Architecture = auto' 'SigLevel = Never' 'LocalFileSigLevel = Never' 'NoExtract = usr/lib/modules/6/kept-off' >/pacman.conf
mkdir -p /var/lib/pacman /hooks
printf '#!/bin/sh\necho "$1: $(sort | tr "\\n" " ")" >>/told\n' >/hook
chmod +x /hook
# package NAME FILE…
package() {
	local name=$1 file
	shift
	mkdir -p "/tmp/$name"
	for file in "$@"; do
		mkdir -p "/tmp/$name/$(dirname "$file")"
		[ -e "/tmp/$name/$file" ] || echo "$name" >"/tmp/$name/$file"
	done
	printf '%s\n' "pkgname = $name" "pkgbase = $name" 'pkgver = 1-1' 'pkgdesc = trial' 'url = https://example.org' 'builddate = 1' \
		'packager = trial' 'size = 1' 'arch = any' >"/tmp/$name/.PKGINFO"
	(cd "/tmp/$name" && bsdtar -cf "/tmp/$name.tar" .PKGINFO *)
}
hook() {
	printf '%s\n' '[Trigger]' "Type = $1" 'Operation = Install' 'Operation = Upgrade' 'Operation = Remove' "Target = $2" '[Action]' "When = $3Transaction" \
		"Exec = /hook $3" NeedsTargets
}
# run WHAT COMMAND…: what the hooks were told
run() {
	local what=$1
	shift
	: >/told
	pacman --config /pacman.conf --dbpath /var/lib/pacman --hookdir /hooks --noconfirm "$@" >/dev/null 2>&1
	echo "$what: $(tr '\n' ' ' </told | sed 's/ *$//')"
}
package kernel usr/lib/modules/6/vmlinuz usr/lib/modules/6/extra/deep/vmlinuz
package half usr/lib/modules/6/kept-off
mkdir -p /tmp/own/hooks
hook Package own Pre >/tmp/own/hooks/own-pre.hook
hook Package own Post >/tmp/own/hooks/own-post.hook
package own hooks/own-pre.hook hooks/own-post.hook
hook Path 'usr/lib/modules/*/vmlinuz' Post >/hooks/a.hook
run star -U /tmp/kernel.tar
run noscriptlet -U --noscriptlet /tmp/kernel.tar
run dbonly -U --dbonly /tmp/kernel.tar
hook Path 'usr/lib/modules/6/kept-off' Post >/hooks/a.hook
run comes -U /tmp/half.tar
run goes -R half
run 'own comes' -U /tmp/own.tar
run 'own goes' -R own
CODE
both='Post: usr/lib/modules/6/extra/deep/vmlinuz usr/lib/modules/6/vmlinuz'
same 'a star' "star: $both" "$(line 1)"
same '--noscriptlet' "noscriptlet: $both" "$(line 2)"
same '--dbonly' 'dbonly: ' "$(line 3)"
same 'a file that NoExtract keeps off' 'comes: ' "$(line 4)"
same 'its removal' 'goes: Post: usr/lib/modules/6/kept-off' "$(line 5)"
same 'hooks of a package, when it comes' 'own comes: Post: own' "$(line 6)"
same 'when it goes' 'own goes: Pre: own' "$(line 7)"
