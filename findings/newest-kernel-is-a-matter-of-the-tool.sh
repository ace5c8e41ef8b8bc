#!/bin/bash
# Guess: which of two kernel releases is newer is a settled question but for -rc: dpkg's order, sort -V, which copies it, and Debian's
# linux-version, made for the purpose, agree on Debian's own names; rpm and systemd differ in corners.
# dpkg 1.22.22, linux-base 4.12.1, sort of coreutils 9.7, systemd 257, rpm 4.20.1: a second build with a longer name, +deb13+1 after
# +deb13, is newer for dpkg, rpm and systemd, and older for linux-version and sort -V; so is +deb13 beside a plain 6.12.9. An
# -rc is above its release for all but linux-version; written with ~, it is below for all but linux-version. `6.12.9+`, of a
# tree with changes, is the same as 6.12.9 for rpm and systemd. So: one program must not sort and another one take the first;
# and who asks for the newest should say by what.
. "$(dirname "$0")/lib.sh"
root trixie systemd=257.13-1~deb13u1 rpm=4.20.1+dfsg-3 linux-base=4.12.1
run_inside <<'CODE'
# order A B: < = or > of A, to B
order() {
	local dpkg=+ linux=+ sort='>' rpm systemd op
	for op in lt eq gt; do
		! dpkg --compare-versions "$1" "$op" "$2" || dpkg=$op
		! linux-version compare "$1" "$op" "$2" || linux=$op
	done
	[ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" != "$1" ] || sort=lt
	rpm=$(rpm --eval "%{lua: print(rpm.vercmp('$1', '$2'))}")
	systemd=$(systemd-analyze compare-versions "$1" "$2" 2>/dev/null | cut -d ' ' -f 2) || true
	echo "dpkg $dpkg, rpm $rpm, systemd $systemd, sort $sort, linux-version $linux" | sed 's/ lt/ </g; s/ eq/ =/g; s/ gt/ >/g; s/ -1/ </; s/ 0/ =/; s/ 1/ >/; s/==/=/'
}
order 6.12.9+deb13-amd64 6.12.10+deb13-amd64
order 6.12.9+deb13-amd64 6.12.9+deb13+1-amd64
order 6.12.9-amd64 6.12.9+deb13-amd64
order 6.13.0-rc2-amd64 6.13.0-amd64
order 6.13.0~rc2-amd64 6.13.0-amd64
order 6.12.9+ 6.12.9
CODE
same '6.12.9+deb13, 6.12.10+deb13' 'dpkg <, rpm <, systemd <, sort <, linux-version <' "$(line 1)"
same '+deb13, +deb13+1' 'dpkg <, rpm <, systemd <, sort >, linux-version >' "$(line 2)"
same '6.12.9, 6.12.9+deb13' 'dpkg <, rpm <, systemd <, sort >, linux-version >' "$(line 3)"
same '6.13.0-rc2, 6.13.0' 'dpkg >, rpm >, systemd >, sort >, linux-version <' "$(line 4)"
same '6.13.0~rc2, 6.13.0' 'dpkg <, rpm <, systemd <, sort <, linux-version >' "$(line 5)"
same '6.12.9+, 6.12.9' 'dpkg >, rpm =, systemd =, sort >, linux-version >' "$(line 6)"
