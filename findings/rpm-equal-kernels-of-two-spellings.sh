#!/bin/bash
# Guess: `Requires: kernel-uname-r = RELEASE`, with what uname -r prints, ties a package of modules to that one kernel: = means equal.
# rpm 4.20.1: = compares versions, and in a version all that is neither a letter, a digit, ~ nor ^ only separates. 1.el.x86_64 is
# 1.el_x86+64 and 1el.x86.64; 01 is 1; rt_1 is rt1. A side without a release (no dash) fits every release: 6.12.0 is met by
# 6.12.0-5 and the other way round. A name with two dashes, as SUSE's kernels and Debian's have, can't be written in this
# form at all: "double separator". So: a capability that has the release in its name, kernel-uname-r(RELEASE), is compared as text.
. "$(dirname "$0")/lib.sh"
root trixie rpm=4.20.1+dfsg-3
run_inside <<'CODE'
export HOME=/root
# package NAME LINE
package() {
	printf '%s\n' "Name: $1" 'Version: 1' 'Release: 1' 'Summary: trial' 'License: none' 'BuildArch: noarch' "$2" %description trial %files >/tmp/x.spec
	rpmbuild -bb --quiet --define '_rpmdir /tmp' /tmp/x.spec >/tmp/said 2>&1
}
# met PROVIDED REQUIRED: whether the kernel that provides the one meets the other
met() {
	package kernel "Provides: $1"
	package modules "Requires: $2"
	rpm -i --test /tmp/noarch/kernel-1-1.noarch.rpm /tmp/noarch/modules-1-1.noarch.rpm >/dev/null 2>&1 && echo met || echo 'not met'
}
release() { met "kernel-uname-r = $1" "kernel-uname-r = $2"; }
release 6.12.0-1.el.x86_64 6.12.0-2.el.x86_64
release 6.12.0-1.el.x86_64 6.12.0-1.el_x86+64
release 6.12.0-1.el.x86_64 6.12.0-1el.x86.64
release 6.12.0-1 6.12.0-01
release 6.12.0-rt_1 6.12.0-rt1
release 6.12.0-5 6.12.0
release 6.12.0 6.12.0-5
release 6.12.0 6.12
package kernel 'Provides: kernel-uname-r = 6.4.0-150600.23-default' || tail -n 1 /tmp/said
met 'kernel-uname-r(6.12.0-1.el.x86_64)' 'kernel-uname-r(6.12.0-1.el_x86+64)'
met 'kernel-uname-r(6.4.0-150600.23-default)' 'kernel-uname-r(6.4.0-150600.23-default)'
CODE
same 'another release' 'not met' "$(line 1)"
same '1.el.x86_64, 1.el_x86+64' met "$(line 2)"
same '1.el.x86_64, 1el.x86.64' met "$(line 3)"
same '1, 01' met "$(line 4)"
same 'rt_1, rt1' met "$(line 5)"
same '6.12.0-5, 6.12.0' met "$(line 6)"
same '6.12.0, 6.12.0-5' met "$(line 7)"
same '6.12.0, 6.12' 'not met' "$(line 8)"
same 'two dashes' "error: line 7: Invalid version (double separator '-'): 6.4.0-150600.23-default: Provides: kernel-uname-r = 6.4.0-150600.23-default" "$(line 9)"
same 'in the name, of two spellings' 'not met' "$(line 10)"
same 'in the name, the same' met "$(line 11)"
