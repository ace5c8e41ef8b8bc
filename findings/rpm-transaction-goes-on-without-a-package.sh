#!/bin/bash
# Guess: a transaction of rpm is one: when a package can't be installed, the rest is not, or at least not what requires it. An exit
# code above 0 counts the packages that failed.
# rpm 4.20.1: where %pre of one package fails, the others are installed, also the one that requires it and was let through
# by the dependency check for its sake: the database has an unmet dependency now, which rpm -Va finds and the exit code does
# not tell. That code is the number of packages in the transaction, those that went well included. And an upgrade whose old
# package fails in %preun leaves both versions installed. So: after any code but 0 ask rpm -q for each package.
. "$(dirname "$0")/lib.sh"
root trixie rpm=4.20.1+dfsg-3
run_inside <<'CODE'
export HOME=/root
# package NAME VERSION LINE…
package() {
	printf '%s\n' "Name: $1" "Version: $2" 'Release: 1' 'Summary: trial' 'License: none' 'BuildArch: noarch' "${@:3}" >/tmp/x.spec
	rpmbuild -bb --quiet --define '_rpmdir /tmp' /tmp/x.spec >/dev/null 2>&1
}
# run WHAT COMMAND…: the exit code and what is installed
run() {
	local what=$1 code=0
	shift
	(cd /tmp/noarch && rpm "$@" >/dev/null 2>&1) || code=$?
	echo "$what: $code, $(rpm -qa --qf '%{name}-%{version}\n' | grep -v '^shell' | sort | paste -sd ' ')"
}
package shell 1 'Provides: /bin/sh' %description trial %files
package kernel 1 %description trial %files %pre 'exit 1'
package module 1 'Requires: kernel' %description trial %files
package other 1 %description trial %files
package another 1 %description trial %files
package old 1 %description trial %files %preun 'exit 1'
package old 2 %description trial %files
(cd /tmp/noarch && rpm -i shell-1-1.noarch.rpm)
run 'module alone' -i module-1-1.noarch.rpm
run 'kernel alone' -i kernel-1-1.noarch.rpm
run 'four' -i module-1-1.noarch.rpm kernel-1-1.noarch.rpm other-1-1.noarch.rpm another-1-1.noarch.rpm
echo "rpm -V: $(rpm -V module 2>&1 | tr -s '\n\t ' ' ' | sed 's: *$::')"
run 'two' -i --force kernel-1-1.noarch.rpm other-1-1.noarch.rpm
run removal -e module other another
run old -i old-1-1.noarch.rpm
run upgrade -U old-2-1.noarch.rpm
CODE
same 'the dependency is known' 'module alone: 1, ' "$(line 1)"
same 'a package whose %pre fails' 'kernel alone: 1, ' "$(line 2)"
same 'that one with three more' 'four: 4, another-1 module-1 other-1' "$(line 3)"
same 'the dependency afterwards' 'rpm -V: Unsatisfied dependencies for module-1-1.noarch: kernel is needed by (installed) module-1-1.noarch' "$(line 4)"
same 'that one with one more' 'two: 2, another-1 module-1 other-1' "$(line 5)"
same 'removal' 'removal: 0, ' "$(line 6)"
same 'an upgrade' 'upgrade: 1, old-1 old-2' "$(line 8)"
