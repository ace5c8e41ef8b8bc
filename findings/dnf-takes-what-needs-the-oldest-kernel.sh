#!/bin/bash
# Guess: `dnf install kernel`, over installonly_limit, removes the oldest kernel if nothing needs it any more; what was
# installed by name and requires that kernel keeps it, or stops the transaction. Nothing is removed that was asked for by
# name.
# dnf 4.23.0: the kernel goes, and a package of modules that requires it goes with it, exit 0, although it was installed by
# name. One that has a newer version for the new kernel is exchanged for that in the same transaction: not when the kernel
# that it fits came, but when the one that it needed went; the kernel in between never had it. So: whoever ties modules to a
# kernel by Requires has to see for the next kernel's himself, before the old one goes.
. "$(dirname "$0")/lib.sh"
root trixie dnf=4.23.0-1 createrepo-c=1.2.0-2+b1 rpm=4.20.1+dfsg-3
run_inside <<'CODE'
export HOME=/root
package() {
	printf '%s\n' "Name: $1" "Version: $2" 'Release: 1' 'Summary: trial' 'License: none' 'BuildArch: noarch' "${@:3}" '%description' trial '%files' >/tmp/x.spec
	rpmbuild -bb --quiet --define '_rpmdir /repo' /tmp/x.spec >/dev/null 2>&1
}
for version in 1 2 3 4; do
	package kernel "$version"
	package modules "$version" 'Provides: installonlypkg(kernel-module)' "Requires: kernel = $version"
done
package named 1 'Requires: kernel = 1'
createrepo_c -q /repo
mkdir -p /etc/yum.repos.d
printf '%s\n' '[trial]' 'name=trial' 'baseurl=file:///repo' 'gpgcheck=0' >/etc/yum.repos.d/trial.repo
install() {
	local code=0
	dnf -q -y --setopt=installonly_limit=2 --setopt=cachedir=/tmp/cache install "$@" >/dev/null 2>&1 || code=$?
	echo "$*: $code, $(rpm -qa --qf '%{name}-%{version}\n' | sort | paste -sd ' ')"
}
install kernel-1 named
install kernel-2 modules-2
install kernel-3
install kernel-4
CODE
same 'a kernel, and a package that requires it' 'kernel-1 named: 0, kernel-1 named-1' "$(line 1)"
same 'the second kernel' 'kernel-2 modules-2: 0, kernel-1 kernel-2 modules-2 named-1' "$(line 2)"
same 'the third' 'kernel-3: 0, kernel-2 kernel-3 modules-2' "$(line 3)"
same 'the fourth' 'kernel-4: 0, kernel-3 kernel-4 modules-4' "$(line 4)"
