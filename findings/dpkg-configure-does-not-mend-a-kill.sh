#!/bin/bash
# Guess: after dpkg was killed, `dpkg --configure -a` finishes what it can, or fails and says which package it can't.
# dpkg 1.22.22, apt 3.0.4: a dpkg killed while it unpacks leaves the package half-installed with the flag reinstreq.
# `dpkg --configure -a` says nothing of it and ends with 0; `dpkg --audit` names it, and ends with 0 as well. dpkg refuses to
# remove the package, and apt refuses everything, for any package, -f included: it finds no archive of it. Where a local
# .deb was being installed, another dpkg -i of it helps. So: exit 0 of --configure -a is no proof; look for reinstreq in the
# status that dpkg-query gives.
. "$(dirname "$0")/lib.sh"
root trixie dpkg=1.22.22 apt=3.0.4
run_inside <<'CODE'
# package NAME VERSION: its preinst kills dpkg, while /kill is there
package() {
	mkdir -p "/tmp/$1/DEBIAN" "/tmp/$1/usr/share/$1"
	echo "$2" >"/tmp/$1/usr/share/$1/file"
	printf '%s\n' "Package: $1" "Version: $2" 'Architecture: all' 'Maintainer: trial <trial@example.org>' 'Description: trial' >"/tmp/$1/DEBIAN/control"
	printf '#!/bin/sh\n[ ! -e /kill ] || kill -KILL $PPID\n' >"/tmp/$1/DEBIAN/preinst"
	chmod +x "/tmp/$1/DEBIAN/preinst"
	dpkg-deb -b "/tmp/$1" "/tmp/$1-$2.deb" >/dev/null
}
# run COMMAND…: its name, exit code and the number of lines that it printed
run() {
	local code=0
	"$@" >/tmp/said 2>&1 || code=$?
	echo "$code, $(wc -l </tmp/said) lines, $(dpkg-query -W -f '${Version} ${Status}' pkg)"
}
package pkg 1
package pkg 2
package other 1
rm -f /kill
dpkg -i /tmp/pkg-1.deb >/dev/null
touch /kill
bash -c 'dpkg -i /tmp/pkg-2.deb >/dev/null 2>&1' 2>/dev/null || true
rm /kill
run dpkg --configure -a
run dpkg --audit | sed 's/, .*//'
echo "audit names it: $(grep -c '^ pkg ' /tmp/said)"
run dpkg -r pkg | sed 's/, .* lines//'
for words in 'install /tmp/other-1.deb' 'remove pkg' 'install -f'; do
	# shellcheck disable=SC2086
	run apt-get -qq -y $words | sed 's/, .* lines//'
done
run dpkg -i /tmp/pkg-2.deb | sed 's/, .* lines//'
CODE
same 'dpkg --configure -a' '0, 0 lines, 1 install reinstreq half-installed' "$(line 1)"
same 'dpkg --audit ends with' 0 "$(line 2)"
same 'what it says' 'audit names it: 1' "$(line 3)"
same 'dpkg -r' '1, 1 deinstall reinstreq half-installed' "$(line 4)"
same 'apt-get install of another' '100, 1 deinstall reinstreq half-installed' "$(line 5)"
same 'apt-get remove' '100, 1 deinstall reinstreq half-installed' "$(line 6)"
same 'apt-get install -f' '100, 1 deinstall reinstreq half-installed' "$(line 7)"
same 'dpkg -i again' '0, 2 install ok installed' "$(line 8)"
