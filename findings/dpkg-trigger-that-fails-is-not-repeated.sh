#!/bin/bash
# Guess: a trigger is a debt: dpkg keeps it until the interested package's `postinst triggered` has ended with 0.
# dpkg 1.22.22: a failure drops it. The package is half-configured with nothing pending. What activates the trigger from then
# on is dropped as well, with exit 0; and `dpkg --configure -a` calls `postinst configure`, never `triggered`. The same when
# the interested package is installed or upgraded in the same run: one `configure`, no `triggered`, for all that was
# unpacked beside it. So: the configure branch has to do the trigger's work, for everything that is on the disk.
. "$(dirname "$0")/lib.sh"
root trixie dpkg=1.22.22
run_inside <<'CODE'
# package NAME VERSION
package() {
	mkdir -p "/tmp/$1/DEBIAN" "/tmp/$1/usr/lib/watched"
	echo content >"/tmp/$1/usr/lib/watched/$1"
	printf '%s\n' "Package: $1" "Version: $2" 'Architecture: all' 'Maintainer: trial <trial@example.org>' 'Description: trial' >"/tmp/$1/DEBIAN/control"
	[ "$1" != watcher ] || {
		rm -r /tmp/watcher/usr
		echo 'interest-noawait /usr/lib/watched' >/tmp/watcher/DEBIAN/triggers
		printf '#!/bin/sh\necho "$1" >>/called\n[ "$1" != triggered ] || [ ! -e /broken ]\n' >/tmp/watcher/DEBIAN/postinst
		chmod +x /tmp/watcher/DEBIAN/postinst
	}
	dpkg-deb -b "/tmp/$1" "/tmp/$1-$2.deb" >/dev/null
}
# after WHAT COMMAND…: its exit code, what postinst was called with, the interested package's state and its pending triggers
after() {
	local what=$1 code=0
	shift
	: >/called
	"$@" >/dev/null 2>&1 || code=$?
	echo "$what: $code, $(tr '\n' ' ' </called)$(dpkg-query -W -f '${db:Status-Status} ${Triggers-Pending}' watcher)"
}
package watcher 1
package watcher 2
for name in one two three; do package "$name" 1; done
dpkg -i /tmp/watcher-1.deb >/dev/null
touch /broken
after 'one, while it fails' dpkg -i /tmp/one-1.deb
rm /broken
after 'two, mended' dpkg -i /tmp/two-1.deb
after 'configure -a' dpkg --configure -a
after 'three, with an upgrade' dpkg -i /tmp/watcher-2.deb /tmp/three-1.deb
CODE
same 'a failure' 'one, while it fails: 1, triggered half-configured ' "$(line 1)"
same 'afterwards' 'two, mended: 0, half-configured ' "$(line 2)"
same 'the repair' 'configure -a: 0, configure installed ' "$(line 3)"
same 'one run' 'three, with an upgrade: 0, configure installed ' "$(line 4)"
