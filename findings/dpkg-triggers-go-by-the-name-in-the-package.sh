#!/bin/bash
# Guess: a file trigger (`interest /usr/lib/watched`) is activated when dpkg puts a file into that directory or takes one out.
# dpkg 1.22.22: it is activated by the names in packages, before diversions and links are looked at. A file that is diverted
# to another directory activates it, although nothing changed there; one that is diverted into the directory does not.
# dpkg-divert --rename moves files in and out of it without a trigger. A package that spells the directory /lib/watched
# puts its file there (/lib is a link to usr/lib) and activates nothing. So: whoever watches modules by a trigger needs
# both spellings, and has to look at the directory itself: the trigger is a hint.
. "$(dirname "$0")/lib.sh"
root trixie dpkg=1.22.22
run_inside <<'CODE'
# package NAME FILE: makes NAME.deb
package() {
	mkdir -p "/tmp/$1/DEBIAN" "/tmp/$1/$(dirname "$2")"
	echo content >"/tmp/$1/$2"
	printf '%s\n' "Package: $1" 'Version: 1' 'Architecture: all' 'Maintainer: trial <trial@example.org>' 'Description: trial' >"/tmp/$1/DEBIAN/control"
	[ "$1" != watcher ] || {
		echo 'interest /usr/lib/watched' >/tmp/watcher/DEBIAN/triggers
		printf '#!/bin/sh\n[ "$1" != triggered ] || echo "$2" >>/triggered\n' >/tmp/watcher/DEBIAN/postinst
		chmod +x /tmp/watcher/DEBIAN/postinst
	}
	dpkg-deb -b "/tmp/$1" "/tmp/$1.deb" >/dev/null
}
# after WHAT COMMAND…: runs it; what is in the directory then, and how often the trigger ran
after() {
	local what=$1
	shift
	: >/triggered
	"$@" >/dev/null 2>&1
	dpkg --triggers-only --pending >/dev/null
	echo "$what: $(find /usr/lib/watched -type f -printf '%f\n' | sort | tr '\n' ' ')triggered $(wc -l </triggered)"
}
mkdir -p /usr/lib/watched /usr/share/kept
package watcher /usr/share/watcher
package plain /usr/lib/watched/plain
package away /usr/lib/watched/away
package in /usr/share/in
package old /lib/watched/old
dpkg -i /tmp/watcher.deb >/dev/null
dpkg-divert --quiet --package trial --divert /usr/share/kept/away --no-rename --add /usr/lib/watched/away
dpkg-divert --quiet --package trial --divert /usr/lib/watched/in --no-rename --add /usr/share/in
after 'a package' dpkg -i /tmp/plain.deb
after 'diverted away' dpkg -i /tmp/away.deb
after 'diverted into it' dpkg -i /tmp/in.deb
after 'moved by dpkg-divert' dpkg-divert --package trial --divert /usr/share/kept/plain --rename --add /usr/lib/watched/plain
after 'the other spelling' dpkg -i /tmp/old.deb
CODE
same 'to compare with' 'a package: plain triggered 1' "$(line 1)"
same 'nothing changed' 'diverted away: plain triggered 1' "$(line 2)"
same 'a file came' 'diverted into it: in plain triggered 0' "$(line 3)"
same 'a file went' 'moved by dpkg-divert: in triggered 0' "$(line 4)"
same 'a file came' 'the other spelling: in old triggered 0' "$(line 5)"
