#!/bin/bash
# Guess: `apt-get install linux-headers-RELEASE` installs that package, or says that there is none; `apt-get remove` removes.
# apt 3.0.4: a name that is no package is a regular expression for apt-get, as soon as it has a dot in it, and fits anywhere:
# linux-headers-6.1 is all headers of 6.1.0-9, of the cloud flavour and of 6.12, and all are installed, exit 0. And a + at the end means
# "install": where there is no package of that very name, `apt-get remove linux-image-6.9.0+`, of a kernel that was built from a tree
# with changes, installs linux-image-6.9.0. apt (without -get) knows no patterns, but the + as well. So: ask first
# whether the package is there (apt-cache show NAME), or write ^NAME$ with its dots quoted.
. "$(dirname "$0")/lib.sh"
root trixie apt=3.0.4 dpkg=1.22.22 dpkg-dev=1.22.22
run_inside <<'CODE'
mkdir -p /tmp/archive
cd /tmp/archive
for name in linux-headers-6.1.0-9-amd64 linux-headers-6.1.0-9-cloud-amd64 linux-headers-6.12.9-amd64 linux-image-6.9.0 linux-image-6.8.0 linux-image-6.8.0+; do
	mkdir -p x/DEBIAN
	printf '%s\n' "Package: $name" 'Version: 1' 'Architecture: all' 'Maintainer: Trial <trial@example.org>' 'Description: trial' >x/DEBIAN/control
	dpkg-deb -b x . >/dev/null
	rm -r x
done
dpkg-scanpackages . >Packages 2>/dev/null
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/tmp/archive ./' >/etc/apt/sources.list
apt-get update -qq 2>/dev/null
run() {
	"$@" -s >/tmp/told 2>/dev/null && code=0 || code=$?
	echo "$code: $(sed -n 's/^Inst \([^ ]*\).*/+\1/p; s/^Remv \([^ ]*\).*/-\1/p' /tmp/told | sort | sed 's/linux-//' | paste -sd ' ')"
}
run apt-get install linux-headers-6.1.0-9-amd64
run apt-get install linux-headers-6.1.0-9
run apt-get install linux-headers-6.1
run apt install linux-headers-6.1
run apt-get install '^linux-headers-6\.1$'
run apt-get install linux-image-6.8.0+
run apt-get remove linux-image-6.9.0+
run apt remove linux-image-6.9.0+
CODE
same 'a package' '0: +headers-6.1.0-9-amd64' "$(line 1)"
same 'without the flavour' '0: +headers-6.1.0-9-amd64 +headers-6.1.0-9-cloud-amd64' "$(line 2)"
same 'linux-headers-6.1' '0: +headers-6.1.0-9-amd64 +headers-6.1.0-9-cloud-amd64 +headers-6.12.9-amd64' "$(line 3)"
same 'the same, apt' '100: ' "$(line 4)"
same 'quoted' '100: ' "$(line 5)"
same 'a package with + at the end' '0: +image-6.8.0+' "$(line 6)"
same 'remove, without such a package' '0: +image-6.9.0' "$(line 7)"
same 'the same, apt' '0: +image-6.9.0' "$(line 8)"
