#!/bin/bash
# Guess: the checksum of an exported symbol is the same as long as the binary interface is: another way to write the same
# declaration does not change it, nor does including one header more.
# genksyms of Linux 6.12.117 (Debian): `int a, b;` and `int a; int b;` are two checksums, `int` and `signed int`, [4] and [2 + 2],
# an enum with its values written out and without. An #include that completes a structure known so far by name only changes
# the checksum of every function that takes a pointer to it; the code is the same. Names of parameters are not looked at, those of
# members are. So: "disagrees about version of symbol" need not be a real difference, and a clean-up of a header makes modules
# that worked useless.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
grep -q -x CONFIG_MODVERSIONS=y /usr/src/linux-headers-*-amd64/.config
# checksum HEADER: of f, and of the code that comes out
checksum() {
	rm -rf /tmp/x
	mkdir /tmp/x
	printf '%s\n' "$1" >/tmp/x/x.h
	module x one '#include "x.h"
int f(struct s *p, int n) { return n; }
EXPORT_SYMBOL_GPL(f);'
	kbuild x modules
	objcopy -O binary --only-section=.text /tmp/x/one.ko /tmp/x/code
	echo "$code $(cut -f 1 /tmp/x/Module.symvers) $(sha256sum </tmp/x/code)"
}
# two WHAT HEADER HEADER
two() {
	local first second
	read -r -a first <<<"$(checksum "$2
${4-int f(struct s *p, int n);}")"
	read -r -a second <<<"$(checksum "$3
int f(struct s *p, int n);")"
	echo "$1: ${first[0]} ${second[0]}, code $([ "${first[2]}" = "${second[2]}" ] && echo same || echo other), checksum $([ "${first[1]}" = "${second[1]}" ] && echo same || echo other)"
}
two 'two members' 'struct s { int a, b; };' 'struct s { int a; int b; };'
two signed 'struct s { int a; };' 'struct s { signed int a; };'
two array 'struct s { int a[4]; };' 'struct s { int a[2 + 2]; };'
two enum 'enum e { A, B }; struct s { enum e a; };' 'enum e { A = 0, B = 1 }; struct s { enum e a; };'
two complete 'struct s;' 'struct s { int a; };'
two member 'struct s { int a; };' 'struct s { int b; };'
two parameter 'struct s { int a; };' 'struct s { int a; };' 'int f(struct s *other, int name);'
CODE
same 'members in one declaration or two' 'two members: 0 0, code same, checksum other' "$(line 1)"
same 'int, signed int' 'signed: 0 0, code same, checksum other' "$(line 2)"
same '4, 2 + 2' 'array: 0 0, code same, checksum other' "$(line 3)"
same 'values of an enum' 'enum: 0 0, code same, checksum other' "$(line 4)"
same 'a structure completed' 'complete: 0 0, code same, checksum other' "$(line 5)"
same 'name of a member' 'member: 0 0, code same, checksum other' "$(line 6)"
same 'names of parameters' 'parameter: 0 0, code same, checksum same' "$(line 7)"
