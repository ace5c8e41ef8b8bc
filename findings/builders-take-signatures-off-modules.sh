#!/bin/bash
# Guess: a signed module that a package's build only copies into place arrives as it was. Tools that strip look for programs and
# libraries: files with the x bit, or names like lib*.so and *.a.
# rpm 4.20.1 and makepkg 7.0.0 (option strip): both strip a .ko, with mode 644 as well. The signature stands behind the ELF file and is
# gone with it; the build ends with 0. A compressed module is no ELF file and stays. Debian's dh_strip (debhelper 13.24.2) leaves
# modules alone. So: in a .spec file %global __brp_strip %{nil}, in a PKGBUILD options=(!strip), or sign after that step, or compress
# before it; and look at the signature in the finished package.
. "$(dirname "$0")/lib.sh"
root trixie debhelper=13.24.2 rpm=4.20.1+dfsg-3 makepkg=7.0.0-1+b1 pacman-package-manager=7.0.0-1+b1 libarchive-tools
# What sign-file puts behind a module, as far as these tools look at it.
module "$T/root/opt/x.ko" x
printf '~Module signature appended~\n' >>"$T/root/opt/x.ko"
xz -k "$T/root/opt/x.ko"
run_inside <<'CODE'
cd /tmp
install -d -m 777 /tmp/built
signed() { tail -c 28 "$1/x.ko" | grep -qa '^~Module signature appended~$' && echo -n signed || echo -n unsigned; }
report() { echo "$1: $code $(signed "$2") $(cmp -s /opt/x.ko.xz "$2/x.ko.xz" && echo same)"; }
dir=lib/modules/6.12/updates

# rpm OPTION…
rpm_of() {
	printf '%s\n' 'Name: trial' 'Version: 1' 'Release: 1' 'Summary: trial' 'License: none' '%description' trial '%install' "mkdir -p %{buildroot}/usr/$dir" \
		"install -m 644 /opt/x.ko /opt/x.ko.xz %{buildroot}/usr/$dir" '%files' "/usr/$dir" >x.spec
	rpmbuild -bb --quiet --define '_rpmdir /tmp' --define 'debug_package %{nil}' "$@" x.spec >/dev/null 2>&1 && code=0 || code=$?
	rm -rf out
	mkdir out
	bsdtar -C out -xf /tmp/*/trial-1-1.*.rpm
}
rpm_of
report rpmbuild "out/usr/$dir"
rpm_of --define '__brp_strip %{nil}'
report 'without brp-strip' "out/usr/$dir"

arch() {
	rm -rf built/*
	printf '%s\n' pkgname=trial pkgver=1 pkgrel=1 pkgdesc=trial 'arch=(any)' "license=(none)" "options=($1)" \
		"package() { install -Dm644 -t \"\$pkgdir/usr/$dir\" /opt/x.ko /opt/x.ko.xz; }" >built/PKGBUILD
	(cd built && setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=/tmp/built makepkg -d >/dev/null 2>&1) && code=0 || code=$?
	rm -rf out
	mkdir out
	bsdtar -C out -xf built/trial-1-1-any.pkg.tar*
}
arch strip
report makepkg "out/usr/$dir"
arch '!strip'
report 'with !strip' "out/usr/$dir"

mkdir -p debian
printf '%s\n' 'Source: trial' 'Maintainer: Trial <trial@example.org>' 'Build-Depends: debhelper-compat (= 13)' '' 'Package: trial' 'Architecture: any' 'Description: trial' >debian/control
printf '%s\n' 'trial (1) unstable; urgency=low' '' '  * Trial.' '' ' -- Trial <trial@example.org>  Thu, 01 Jan 2026 00:00:00 +0000' >debian/changelog
install -Dm644 -t "debian/trial/usr/$dir" /opt/x.ko /opt/x.ko.xz
dh_strip >/dev/null 2>&1 && code=0 || code=$?
report dh_strip "debian/trial/usr/$dir"
CODE
same 'rpmbuild' 'rpmbuild: 0 unsigned same' "$(line 1)"
same 'rpmbuild without its brp-strip' 'without brp-strip: 0 signed same' "$(line 2)"
same 'makepkg with strip' 'makepkg: 0 unsigned same' "$(line 3)"
same 'makepkg with !strip' 'with !strip: 0 signed same' "$(line 4)"
same 'dh_strip' 'dh_strip: 0 signed same' "$(line 5)"
