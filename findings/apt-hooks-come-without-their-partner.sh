#!/bin/bash
# Guess: DPkg::Pre-Invoke and DPkg::Post-Invoke are a pair, the second runs whatever happens, as a finally block would; and
# what DPkg::Pre-Install-Pkgs is told tells a purge from a removal.
# apt 3.0.4: when a Pre-Install-Pkgs hook says no, Post-Invoke does not run: what Pre-Invoke put away stays away. It does run
# after dpkg failed. A Post-Invoke that fails makes apt end with 100 although all was done. A purge is told as **REMOVE**
# with its version, also where the package had been removed before and only its configuration goes. So: nothing may lean on
# Post-Invoke to undo, and a hook has to ask dpkg what a removal takes.
. "$(dirname "$0")/lib.sh"
root trixie apt=3.0.4
run_inside <<'CODE'
mkdir -p /tmp/p/DEBIAN /tmp/p/etc
echo x >/tmp/p/etc/pkg.conf
echo /etc/pkg.conf >/tmp/p/DEBIAN/conffiles
printf '%s\n' 'Package: pkg' 'Version: 1' 'Architecture: all' 'Maintainer: trial <trial@example.org>' 'Description: trial' >/tmp/p/DEBIAN/control
printf '#!/bin/sh\n[ ! -e /no-dpkg ]\n' >/tmp/p/DEBIAN/preinst
chmod +x /tmp/p/DEBIAN/preinst
dpkg-deb -b /tmp/p /tmp/pkg.deb >/dev/null
cat >/hook <<'HOOK'
#!/bin/sh
printf '%s ' "$1" >>/told
[ "$1" != pkgs ] || sed -n 's/^pkg /pkg /p' | tr '\n' ' ' >>/told
[ ! -e "/no-$1" ]
HOOK
chmod +x /hook
cat >/etc/apt/apt.conf.d/trial <<'CONF'
DPkg::Pre-Invoke {"/hook before";};
DPkg::Pre-Install-Pkgs {"/hook pkgs";};
DPkg::Tools::Options::/hook::Version "3";
DPkg::Post-Invoke {"/hook after";};
CONF
# apt FAILING WORD…: exit code, what the hooks were told, and dpkg's word on the package
run() {
	local code=0 failing=$1
	shift
	rm -f /told /no-*
	touch "/no-$failing"
	apt-get -qq -y "$@" >/dev/null 2>&1 || code=$?
	echo "$code: $(cat /told)= $(dpkg-query -W -f '${db:Status-Status}' pkg 2>/dev/null || echo nothing)"
}
run pkgs install /tmp/pkg.deb
run dpkg install /tmp/pkg.deb
dpkg --purge pkg >/dev/null 2>&1
run after install /tmp/pkg.deb
run none remove pkg
run none purge pkg
run none install /tmp/pkg.deb
run none purge pkg
CODE
come='pkg - - none < 1 all none /tmp/pkg.deb pkg - - none < 1 all none **CONFIGURE**'
go='pkg 1 all none > - - none **REMOVE**'
same 'Pre-Install-Pkgs says no' "100: before pkgs $come = nothing" "$(line 1)"
same 'dpkg fails' "100: before pkgs $come after = not-installed" "$(line 2)"
same 'Post-Invoke fails' "100: before pkgs $come after = installed" "$(line 3)"
same 'removal' "0: before pkgs $go after = config-files" "$(line 4)"
same 'purge of what was removed' "0: before pkgs $go after = nothing" "$(line 5)"
same 'purge of what was installed' "0: before pkgs $go after = nothing" "$(line 7)"
