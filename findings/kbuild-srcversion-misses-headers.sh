#!/bin/bash
# Guess: srcversion in a module's .modinfo is a checksum of its sources ("to see exactly which source was used to build
# a module", says MODULE_SRCVERSION_ALL): two modules with the same one were built from the same source.
# Linux 6.12.117 (Debian): it covers the .c files, and of the headers those that lie in the same directory as the .c file. A header in
# include/ beside it, as most drivers have it, is no part of it, nor is any of the kernel's, nor a -D of the Makefile or of
# KCFLAGS. Comments are no part of it either, but a blank in a string is. So: an equal srcversion is no proof of an equal module;
# compare the code, or keep a checksum of the whole tree.
. "$(dirname "$0")/lib.sh"
kbuild_root
run_inside <<'CODE'
mkdir -p /tmp/x/include
echo '#define FAR 1' >/tmp/x/include/far.h
echo '#define NEAR 1' >/tmp/x/near.h
module x one '#include "far.h"
#include "near.h"
MODULE_VERSION("1");
int far = FAR, near = NEAR;
const char *text = "a b";
#ifdef FLAG
int flag;
#endif'
echo 'ccflags-y += -I$(src)/include' >>/tmp/x/Makefile
last=
# build WHAT WORD…: whether srcversion and the code are the last build's
build() {
	local now code_now
	kbuild x "${@:2}" modules
	now=$(modinfo -F srcversion /tmp/x/one.ko)
	strip -g -R .note.gnu.build-id -R .modinfo -o /tmp/code /tmp/x/one.ko
	code_now=$(sha256sum </tmp/code)
	[ -z "$last" ] || echo "$1: $code, srcversion $([ "$now" = "$last" ] && echo same || echo other), module $([ "$code_now" = "$last_code" ] && echo same || echo other)"
	last=$now last_code=$code_now
}
build first
echo '#define FAR 2' >/tmp/x/include/far.h
build 'include/far.h'
build KCFLAGS KCFLAGS=-DFLAG
echo '#define NEAR 2' >/tmp/x/near.h
build 'near.h' KCFLAGS=-DFLAG
echo '/* why */' >>/tmp/x/one.c
build 'a comment' KCFLAGS=-DFLAG
sed -i 's/"a b"/"a  b"/' /tmp/x/one.c
build 'a string' KCFLAGS=-DFLAG
CODE
same 'a header in include/' 'include/far.h: 0, srcversion same, module other' "$(line 1)"
same 'KCFLAGS=-D' 'KCFLAGS: 0, srcversion same, module other' "$(line 2)"
same 'a header beside the source' 'near.h: 0, srcversion other, module other' "$(line 3)"
same 'a comment' 'a comment: 0, srcversion same, module same' "$(line 4)"
same 'a blank in a string' 'a string: 0, srcversion other, module other' "$(line 5)"
